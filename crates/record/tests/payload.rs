//! The laws of a payload: weights add up, order is kept, nothing is lost, and the parts need no more than the whole.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_flow::{AccountSpec, Budget, Bytes, Payload, Records, Share, Slab, SlabPool, mib};
use tidegate_record::codec::{Codec, EncodeFraming, Encoder};
use tidegate_record::{Form, Origin, Path, Rows, Timestamp};

/// How a row came about.
#[derive(Clone, Debug)]
enum Made {
    /// On the slab of the given number.
    OnSlab(usize),
    Written,
    Edited(usize),
    Replaced(usize),
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        (0_usize..3).prop_map(Made::OnSlab),
        Just(Made::Written),
        (0_usize..3).prop_map(Made::Edited),
        (0_usize..3).prop_map(Made::Replaced),
    ]
}

fn slabs() -> (SlabPool, Vec<Slab>) {
    let budget = Budget::new(mib(1));
    let pool = SlabPool::new(budget.account("test", AccountSpec::holding(mib(1))).unwrap(), 4_096, 4);
    let slabs = (0..3).map(|_| {
        let mut buffer = pool.try_slab(1).unwrap();
        (100..200).for_each(|n| {
            buffer.put(format!("{{\"n\":{n}}}\n").as_bytes());
        });
        buffer.freeze()
    });
    let slabs = slabs.collect();
    (pool, slabs)
}

fn rows(slabs: &[Slab], plan: &[Made]) -> Rows {
    let origin = Arc::new(Origin::new("test", Timestamp::default()));
    let mut rows = Rows::default();
    for (number, made) in plan.iter().enumerate() {
        let on_slab = |slab: usize| slabs[slab].slice(number * 10..number * 10 + 9);
        match made {
            Made::Written => rows.push_copy(b"{\"written\":true}", Form::Object, &origin),
            Made::OnSlab(slab) | Made::Edited(slab) | Made::Replaced(slab) => {
                rows.push_message(on_slab(*slab), &origin);
                rows.row_mut(number).parse_message().unwrap();
            }
        }
        let mut row = rows.row_mut(number);
        match made {
            Made::Edited(_) => {
                row.set(&Path::field("e"), number.to_string().as_bytes());
                row.set(&Path::field("n"), b"null");
            }
            Made::Replaced(_) => row.replace(format!("{{\"r\":{number}}}")),
            Made::OnSlab(_) | Made::Written => {}
        }
    }
    rows
}

fn texts(rows: &Rows) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

fn check(rows: &Rows) {
    let weight = rows.weight();
    assert_eq!(weight.records, Records::from(rows.len()));
    assert_eq!(weight.bytes.get(), rows.iter().map(|row| row.weight()).sum::<u64>());
    for (codec, framing) in [
        (Codec::Json, EncodeFraming::NewlineDelimited),
        (Codec::Json, EncodeFraming::CharacterDelimited(b'|')),
        (Codec::Text, EncodeFraming::NewlineDelimited),
    ] {
        let mut out = b"before".to_vec();
        rows.encode(Encoder { codec, framing }, &mut out);
        let mut expected = b"before".to_vec();
        for row in rows.iter() {
            match codec {
                Codec::Json => row.write_json(&mut expected),
                Codec::Text => row.write_text(&mut expected),
            }
            expected.push(if framing == EncodeFraming::NewlineDelimited { b'\n' } else { b'|' });
        }
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
        let sliced = rows.encode_slices(Encoder { codec, framing }, Vec::new());
        assert_eq!([b"before".to_vec(), sliced.slices().collect::<Vec<_>>().concat()].concat(), out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn the_parts_of_a_split_are_the_whole(plan in prop::collection::vec(made(), 1..30), at in 0_u64..31, shared in any::<bool>()) {
        let (_pool, slabs) = slabs();
        let mut front = rows(&slabs, &plan);
        check(&front);
        let (before, whole, retained) = (texts(&front), front.weight(), front.retained_bytes());
        let sibling = shared.then(|| front.share());
        let at = at.min(plan.len() as u64);
        let rest = front.split_off(Records::new(at));
        check(&front);
        check(&rest);
        prop_assert_eq!(front.len() as u64, at);
        prop_assert_eq!(front.weight() + rest.weight(), whole);
        if !shared {
            prop_assert!(front.retained_bytes() + rest.retained_bytes() <= retained);
        }
        let parts = [texts(&front), texts(&rest)].concat();
        prop_assert_eq!(&parts, &before);
        prop_assert!(front.append(rest).is_ok());
        check(&front);
        prop_assert_eq!(front.weight(), whole);
        prop_assert_eq!(texts(&front), before.clone());
        if let Some(sibling) = sibling {
            check(&sibling);
            prop_assert_eq!(texts(&sibling), before);
        }
    }

    #[test]
    fn rows_that_are_removed_are_gone_and_no_other(
        plan in prop::collection::vec(made(), 1..30),
        victims in prop::collection::btree_set(0_u32..30, 0..20),
        shared in any::<bool>(),
    ) {
        let (_pool, slabs) = slabs();
        let mut own = rows(&slabs, &plan);
        let before = texts(&own);
        let sibling = shared.then(|| own.share());
        let victims: Vec<u32> = victims.into_iter().filter(|row| (*row as usize) < plan.len()).collect();
        own.remove_rows(&victims);
        check(&own);
        let kept = before.iter().zip(0..).filter(|(_, row)| !victims.contains(row)).map(|(text, _)| text.clone());
        prop_assert_eq!(texts(&own), kept.clone().collect::<Vec<_>>());
        own.shrink_to_fit();
        check(&own);
        prop_assert_eq!(texts(&own), kept.collect::<Vec<_>>());
        own.compact();
        check(&own);
        if let Some(sibling) = sibling {
            check(&sibling);
            prop_assert_eq!(texts(&sibling), before);
        }
    }

    #[test]
    fn a_change_on_one_side_of_a_fork_leaves_the_other_alone(plan in prop::collection::vec(made(), 1..20), row in 0_usize..20) {
        let (_pool, slabs) = slabs();
        let mut first = rows(&slabs, &plan);
        let before = texts(&first);
        let mut second = first.share();
        let row = row % plan.len();
        second.row_mut(row).set(&Path::field("x"), b"1");
        check(&second);
        check(&first);
        prop_assert_eq!(texts(&first), before);
        prop_assert!(second.row(row).get(&Path::field("x")).is_some());
    }
}

#[test]
fn split_row_by_row_needs_no_more_than_the_whole() {
    let (_pool, slabs) = slabs();
    let plan: Vec<Made> =
        (0..60).map(|n| if n % 7 == 0 { Made::Edited(n / 20) } else { Made::OnSlab(n / 20) }).collect();
    let mut rest = rows(&slabs, &plan);
    let whole = rest.retained_bytes();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let behind = rest.split_off(Records::new(1));
        parts.push(std::mem::replace(&mut rest, behind));
    }
    assert!(parts.iter().map(Payload::retained_bytes).sum::<Bytes>() <= whole);
}

#[test]
fn slabs_go_back_to_their_pool_with_the_last_row_on_them() {
    let (pool, slabs) = slabs();
    let all = pool.account().used();
    let mut own = rows(&slabs, &[Made::OnSlab(0), Made::OnSlab(1), Made::OnSlab(1), Made::OnSlab(2)]);
    drop(slabs);
    assert_eq!((pool.account().used(), pool.spare()), (all, 0));
    let mut tail = own.split_off(Records::new(3));
    assert_eq!(pool.spare(), 0);
    own.remove_rows(&[1, 2]);
    assert_eq!(pool.spare(), 1, "no row is left on the second slab");
    tail.compact();
    assert_eq!(pool.spare(), 2, "nine bytes of the third slab were copied out");
    let shared = own.share();
    drop(own);
    assert_eq!(pool.spare(), 2);
    drop(shared);
    assert_eq!(pool.spare(), 3);
}

#[test]
fn untouched_rows_side_by_side_are_one_slice_of_the_slab() {
    let (_pool, slabs) = slabs();
    let origin = Arc::new(Origin::new("test", Timestamp::default()));
    // Rows of 9 bytes and a newline, four thousand bytes in all, pushed one by one.
    let mut own = Rows::default();
    let large = large_slab();
    (0..400).for_each(|n| own.push_message(large.slice(n * 10..n * 10 + 9), &origin));
    (0..400).for_each(|n| own.row_mut(n).parse_message().unwrap());
    let slices = |rows: &Rows| {
        let encoded = rows.encode_slices(Encoder::default(), Vec::new());
        (encoded.slices().count(), encoded.bytes(), encoded.bytes_made())
    };
    assert_eq!(slices(&own), (2, 4_000, 1), "all but the last newline, which was not given");
    let rest = own.split_off(Records::new(170));
    assert!(own.append(rest).is_ok());
    assert_eq!(slices(&own), (2, 4_000, 1), "also when the parts are joined again");
    let mut whole = Rows::default();
    whole.push_ranges(&large, Form::Object, &origin, (0..400).map(|n| n * 10..n * 10 + 9));
    assert_eq!(slices(&whole), (1, 4_000, 0), "nothing is copied");
    own.row_mut(300).set(&Path::field("x"), b"1");
    assert_eq!(slices(&own), (2, 4_006, 1_006), "a short run is not worth a slice of its own");
    own.remove_rows(&[0, 399]);
    assert_eq!(slices(&own), (2, 3_986, 996));
    let mut short = Rows::default();
    short.push_ranges(&slabs[0], Form::Object, &origin, (0..100).map(|n| n * 10..n * 10 + 9));
    assert_eq!(slices(&short), (1, 1_000, 1_000));
}

/// 400 lines of an object each, 4,000 bytes.
fn large_slab() -> Slab {
    let budget = Budget::new(mib(1));
    let pool = SlabPool::new(budget.account("large", AccountSpec::holding(mib(1))).unwrap(), 8_192, 1);
    let mut buffer = pool.try_slab(1).unwrap();
    (0..400).for_each(|n| {
        buffer.put(format!("{{\"n\":{}}}\n", 100 + n).as_bytes());
    });
    buffer.freeze()
}
