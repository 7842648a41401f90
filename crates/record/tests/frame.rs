//! Framing against a naive splitter, with reads cut anywhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_flow::{AccountSpec, Budget, Bytes, SlabPool, mib};
use tidegate_record::frame::{Framer, Framing, Rest};
use tidegate_record::{Origin, Rows, Timestamp};

fn pool(slab: usize) -> SlabPool {
    let budget = Budget::new(mib(16));
    let account = budget.account("test", AccountSpec::holding(mib(8))).unwrap();
    SlabPool::new(account, slab, 4)
}

fn origin() -> Arc<Origin> {
    Arc::new(Origin::new("socket", Timestamp::default()))
}

/// Reads `stream` in the given portions the way a source does, and gives the rows and how many frames were skipped.
fn read(stream: &[u8], portions: &[usize], framer: &mut Framer, slab: usize) -> Vec<Vec<u8>> {
    let (pool, origin) = (pool(slab), origin());
    let mut rows = Rows::default();
    let mut buffer = pool.try_slab(slab).unwrap();
    let mut rest = stream;
    let mut portions = portions.iter().copied().cycle();
    while !rest.is_empty() {
        if buffer.len() == buffer.capacity() {
            let larger = buffer.capacity() * 2;
            buffer.grow(larger).unwrap();
        }
        let count = portions.next().unwrap_or(1).clamp(1, rest.len());
        let count = buffer.put(&rest[..count]);
        rest = &rest[count..];
        if framer.is_due(&buffer) {
            let mut slab = buffer.freeze();
            let tail = loop {
                let (before, most) = (rows.len(), portions.next().unwrap_or(1));
                match framer.cut_some(&slab, &origin, &mut rows, most) {
                    Rest::Partial(tail) => break tail,
                    Rest::Uncut(more) => slab = more,
                }
                assert_eq!(rows.len() - before, most, "it stops where it was told to");
            };
            buffer = pool.try_slab(tail.len() + 1).unwrap();
            assert_eq!(buffer.put(&tail), tail.len());
        } else {
            framer.skip_oversize(&mut buffer);
        }
        assert!(buffer.len() <= framer.max_length() + 1, "no more than one partial frame is held");
    }
    framer.finish(&buffer.freeze(), &origin, &mut rows);
    rows.iter().map(|row| row.bytes().to_vec()).collect()
}

/// The same by the book: the frames, and how many were too long.
fn naive(stream: &[u8], delimiter: u8, strip: bool, max: usize) -> (Vec<Vec<u8>>, u64) {
    let mut frames: Vec<Vec<u8>> = stream.split(|byte| *byte == delimiter).map(<[u8]>::to_vec).collect();
    if strip {
        frames.iter_mut().filter(|frame| frame.ends_with(b"\r")).for_each(|frame| {
            frame.pop();
        });
    }
    let oversize = frames.iter().filter(|frame| frame.len() > max).count() as u64;
    frames.retain(|frame| !frame.is_empty() && frame.len() <= max);
    (frames, oversize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_those_of_a_naive_splitter(
        stream in prop::collection::vec(prop::sample::select(b"abc\r\n\n\xff".to_vec()), 0..300),
        portions in prop::collection::vec(1_usize..40, 1..10),
        max in 1_usize..30,
        slab in 8_usize..64,
    ) {
        let mut framer = Framer::new(Framing::NewlineDelimited, max);
        let (frames, oversize) = naive(&stream, b'\n', true, max);
        prop_assert_eq!(read(&stream, &portions, &mut framer, slab), frames);
        prop_assert_eq!(framer.oversize(), oversize);

        let mut framer = Framer::new(Framing::CharacterDelimited(b'a'), max);
        let (frames, oversize) = naive(&stream, b'a', false, max);
        prop_assert_eq!(read(&stream, &portions, &mut framer, slab), frames);
        prop_assert_eq!(framer.oversize(), oversize);
    }
}

#[test]
fn each_read_is_a_frame_where_that_is_the_framing() {
    let (pool, origin) = (pool(64), origin());
    let mut rows = Rows::default();
    let mut framer = Framer::new(Framing::Bytes, 4);
    for read in [&b"a\nb\r"[..], b"", b"12345", b"x"] {
        let mut buffer = pool.try_slab(64).unwrap();
        buffer.put(read);
        assert_eq!(framer.is_due(&buffer), !read.is_empty());
        assert!(framer.cut(&buffer.freeze(), &origin, &mut rows).is_empty());
    }
    let rows: Vec<&[u8]> = rows.iter().map(|row| row.bytes()).collect();
    assert_eq!(rows, [&b"a\nb\r"[..], b"x"]);
    assert_eq!(framer.oversize(), 1);
}

#[test]
fn a_line_far_longer_than_the_limit_is_never_held() {
    let mut framer = Framer::new(Framing::NewlineDelimited, 1_000);
    let mut stream = vec![b'x'; 1_000_000];
    stream.extend_from_slice(b"\nshort\n");
    assert_eq!(read(&stream, &[700], &mut framer, 2_048), [b"short"]);
    assert_eq!(framer.oversize(), 1);
}

#[test]
fn the_rows_of_one_buffer_share_it_and_the_pool_gets_it_back() {
    let (pool, origin) = (pool(64), origin());
    let mut rows = Rows::default();
    let mut framer = Framer::new(Framing::NewlineDelimited, 100);
    let mut buffer = pool.try_slab(64).unwrap();
    buffer.put(b"one\ntwo\nthr");
    let tail = framer.cut(&buffer.freeze(), &origin, &mut rows);
    assert_eq!(&*tail, b"thr");
    drop(tail);
    assert_eq!(rows.len(), 2);
    assert_eq!(pool.account().used(), Bytes::new(64), "one slab for both rows");
    assert_eq!(pool.spare(), 0);
    drop(rows);
    assert_eq!(pool.spare(), 1);
}
