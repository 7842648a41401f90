//! Framing by lengths, with reads cut anywhere: what is written by the encoder is read by the framer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_flow::{AccountSpec, Budget, SlabPool, mib};
use tidegate_record::codec::{Codec, EncodeFraming, Encoder};
use tidegate_record::frame::{Framer, Framing, Rest};
use tidegate_record::{Origin, Rows, Timestamp};

/// Reads `stream` in the given portions the way a source does, a few frames at a time.
fn read(stream: &[u8], portions: &[usize], framer: &mut Framer) -> Vec<Vec<u8>> {
    let account = Budget::new(mib(16)).account("test", AccountSpec::holding(mib(8))).unwrap();
    let pool = SlabPool::new(account, 64, 4);
    let origin = Arc::new(Origin::new("socket", Timestamp::default()));
    let mut rows = Rows::default();
    let mut buffer = pool.try_slab(64).unwrap();
    let (mut rest, mut portions) = (stream, portions.iter().copied().cycle());
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
                match framer.cut_some(&slab, &origin, &mut rows, portions.next().unwrap_or(1).max(1)) {
                    Rest::Partial(tail) => break tail,
                    Rest::Uncut(more) => slab = more,
                }
            };
            buffer = pool.try_slab(tail.len() + 1).unwrap();
            assert_eq!(buffer.put(&tail), tail.len());
        } else {
            framer.skip_oversize(&mut buffer);
        }
        assert!(buffer.len() <= framer.max_length() + 12, "no more than one partial frame is held: {}", buffer.len());
    }
    framer.finish(&buffer.freeze(), &origin, &mut rows);
    rows.iter().map(|row| row.bytes().to_vec()).collect()
}

fn write(frames: &[Vec<u8>], framing: EncodeFraming) -> Vec<u8> {
    let mut out = Vec::new();
    Rows::from_texts(frames).encode(Encoder { codec: Codec::Text, framing }, &mut out);
    out
}

const BOTH: [(EncodeFraming, Framing); 2] = [
    (EncodeFraming::OctetCounting, Framing::OctetCounting),
    (EncodeFraming::LengthDelimited, Framing::LengthDelimited),
];

proptest! {
    #[test]
    fn what_was_written_is_read_and_what_is_too_long_is_counted(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
        portions in prop::collection::vec(1_usize..50, 1..10),
        max in 1_usize..100,
    ) {
        for (encode, framing) in BOTH {
            let mut framer = Framer::new(framing, max);
            let got = read(&write(&frames, encode), &portions, &mut framer);
            let fits = |frame: &&Vec<u8>| !frame.is_empty() && frame.len() <= max;
            prop_assert_eq!(got, frames.iter().filter(fits).cloned().collect::<Vec<_>>());
            let long = frames.iter().filter(|frame| frame.len() > max).count();
            prop_assert_eq!((framer.oversize(), framer.cut_off()), (long as u64, 0));
        }
    }

    #[test]
    fn garbage_is_bounded(
        garbage in prop::collection::vec(prop_oneof![any::<u8>(), Just(b' '), b'0'..=b'9', Just(b'\n')], 0..400),
        portions in prop::collection::vec(1_usize..50, 1..10),
    ) {
        for (_, framing) in BOTH {
            let mut framer = Framer::new(framing, 40);
            let got = read(&garbage, &portions, &mut framer);
            prop_assert!(got.iter().all(|frame| frame.len() <= 40));
        }
    }
}

#[test]
fn the_forms_are_those_of_the_standards() {
    let frames = [b"<34>1 a".to_vec(), b"two\nlines".to_vec()];
    assert_eq!(write(&frames, EncodeFraming::OctetCounting), b"7 <34>1 a9 two\nlines");
    assert_eq!(write(&frames[..1], EncodeFraming::LengthDelimited), b"\0\0\0\x07<34>1 a");
}

#[test]
fn lines_among_counted_frames_are_taken_and_a_frame_cut_off_is_counted() {
    let mut framer = Framer::new(Framing::OctetCounting, 15);
    let got = read(b"5 first<13>a line\r\n6 second\n99999999999 no count\n7 cut", &[3], &mut framer);
    let texts: Vec<&str> = got.iter().map(|frame| std::str::from_utf8(frame).unwrap()).collect();
    assert_eq!(texts, ["first", "<13>a line", "second"], "the eleven digits and what follows are a line, and too long");
    assert_eq!((framer.oversize(), framer.cut_off()), (1, 1));
    let mut framer = Framer::new(Framing::LengthDelimited, 20);
    assert_eq!(read(b"\0\0\0\x02ab\0\0\0\x05abc", &[3], &mut framer), [b"ab"]);
    assert_eq!(framer.cut_off(), 1);
}
