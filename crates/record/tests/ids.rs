//! Rows keep the ids that their source gave them, whatever is done to them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use tidegate_flow::{AccountSpec, Budget, Payload as _, Records, Share as _, SlabPool, mib};
use tidegate_record::frame::{Framer, Framing};
use tidegate_record::{Form, Origin, Path, RecordId, Rows, StreamId, Timestamp};

fn stream(bits: u128) -> StreamId {
    StreamId::from_bits(bits)
}

/// Rows of one read, the first with this number of a stream.
fn read(texts: &[&str], bits: u128, first: u64) -> Rows {
    let mut rows = Rows::from_texts(texts);
    rows.identify(RecordId::new(stream(bits), first));
    rows
}

fn ids(rows: &Rows) -> Vec<(String, u128, u64, u32)> {
    let of = |row: tidegate_record::Row<'_>| {
        let id = row.id().unwrap();
        let mut text = Vec::new();
        row.write_text(&mut text);
        (String::from_utf8(text).unwrap(), id.stream.bits(), id.number, id.part)
    };
    rows.iter().map(of).collect()
}

fn numbers(rows: &Rows) -> Vec<u64> {
    rows.iter().map(|row| row.id().unwrap().number).collect()
}

#[test]
fn a_read_is_numbered_at_once_and_rows_without_ids_have_none() {
    assert_eq!(Rows::from_texts(["a"]).row(0).id(), None);
    let rows = read(&["a", "b"], 1, 40);
    assert_eq!(ids(&rows), [("a".to_owned(), 1, 40, 0), ("b".to_owned(), 1, 41, 0)]);
}

#[test]
fn what_the_framer_cut_is_numbered_line_by_line() {
    let budget = Budget::new(mib(1));
    let pool = SlabPool::new(budget.account("test", AccountSpec::holding(mib(1))).unwrap(), 4_096, 1);
    let mut slab = pool.try_slab(1).unwrap();
    slab.put(b"a\n\nb\nc\n");
    let (slab, mut rows) = (slab.freeze(), Rows::default());
    let origin = Arc::new(Origin::new("test", Timestamp::default()));
    let _rest = Framer::new(Framing::NewlineDelimited, 10).cut(&slab, &origin, &mut rows);
    rows.compact();
    rows.remove_rows(&[1]);
    rows.identify(RecordId::new(stream(1), 7));
    assert_eq!(numbers(&rows), [7, 9], "also where one was removed before");
}

#[test]
fn ids_stay_with_their_rows_when_rows_go_and_come() {
    let mut rows = read(&["a", "b", "c", "d", "e"], 1, 100);
    rows.remove_rows(&[1]);
    assert_eq!(numbers(&rows), [100, 102, 103, 104]);
    let mut rest = rows.split_off(Records::new(2));
    assert_eq!((numbers(&rows), numbers(&rest)), (vec![100, 102], vec![103, 104]));
    rest.append(rows).unwrap();
    assert_eq!(numbers(&rest), [103, 104, 100, 102], "not in the order of their numbers");
    rest.append(read(&["x"], 2, 5)).unwrap();
    rest.append(read(&["f"], 1, 105)).unwrap();
    rest.append(read(&["far"], 1, 1 << 40)).unwrap();
    rest.append(Rows::from_texts(["none"])).unwrap();
    let last = rest.split_off(Records::new(7));
    assert_eq!(last.row(0).id(), None);
    let seen: Vec<(u128, u64)> = ids(&rest).into_iter().map(|(_, stream, number, _)| (stream, number)).collect();
    assert_eq!(seen, [(1, 103), (1, 104), (1, 100), (1, 102), (2, 5), (1, 105), (1, 1 << 40)]);
}

#[test]
fn joined_over_and_over_numbers_stay_true() {
    let mut all = Rows::default();
    let mut expected = Vec::new();
    for step in 0..8_u64 {
        let mut rows = read(&["a", "b"], 1, step << 30);
        let mut more = read(&["c"], 1, (step << 30) + (1 << 31) - 2);
        more.remove_rows(&[]);
        rows.append(more).unwrap();
        expected.extend([step << 30, (step << 30) + 1, (step << 30) + (1 << 31) - 2]);
        all.append(rows).unwrap();
    }
    assert_eq!(numbers(&all), expected);
}

#[test]
fn edits_forks_and_whole_new_texts_change_no_id() {
    let mut rows = read(&[r#"{"a":1}"#, r#"{"a":2}"#], 1, 0);
    let other = rows.share();
    rows.row_mut(1).parse_message().unwrap();
    rows.row_mut(1).set(&Path::field("b"), b"3");
    rows.row_mut(0).replace(b"{}");
    rows.shrink_to_fit();
    assert_eq!((numbers(&rows), numbers(&other)), (vec![0, 1], vec![0, 1]));
}

#[test]
fn parts_of_a_record_have_its_number_and_their_own() {
    let origin = Arc::new(Origin::new("test", Timestamp::default()));
    let id = RecordId::new(stream(1), 9);
    let mut rows = read(&["a"], 1, 8);
    for part in 1..=2 {
        rows.push_copy_as(Some(id.part(part)), b"{\"message\":\"p\"}", Form::Object, &origin);
    }
    rows.append(read(&["b"], 1, 10)).unwrap();
    let seen: Vec<(u64, u32)> = ids(&rows).into_iter().map(|(_, _, number, part)| (number, part)).collect();
    assert_eq!(seen, [(8, 0), (9, 1), (9, 2), (10, 0)]);
    rows.remove_rows(&[1]);
    assert_eq!(rows.row(1).id(), Some(id.part(2)));
}
