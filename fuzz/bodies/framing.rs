//! Framing: however a stream is cut into reads, its frames are those of a naive splitter, and no more is held of it than
//! the longest frame and one read.

use std::sync::Arc;

use tidegate_flow::{AccountSpec, Budget, SlabPool, mib};
use tidegate_record::frame::{Framer, Framing, Rest};
use tidegate_record::{Origin, Rows, Timestamp};

use crate::dice::Dice;

/// The frames of a stream, and how many were skipped because they were too long.
type Cut = (Vec<Vec<u8>>, u64);

/// The first bytes choose framing, limit and reads; the rest is the stream.
pub(crate) fn check(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let framing = dice.pick(&[Framing::NewlineDelimited, Framing::CharacterDelimited(b'a')]);
    let (max, most, slab) = (1 + dice.below(64), 1 + dice.below(8), 1 + dice.below(128));
    let reads: Vec<usize> = (0..1 + dice.below(8)).map(|_| 1 + dice.below(48)).collect();
    let stream = dice.rest();
    let cut = read(stream, &reads, Framer::new(framing, max), most, slab);
    assert_eq!(cut, naive(stream, framing, max), "{framing:?}, at most {max}, reads of {reads:?}, {most} a time");
}

/// Reads the stream the way a source does.
fn read(stream: &[u8], reads: &[usize], mut framer: Framer, most: usize, slab: usize) -> Cut {
    let Some(account) = Budget::new(mib(16)).account("fuzz", AccountSpec::holding(mib(8))).ok() else {
        return (Vec::new(), 0);
    };
    let pool = SlabPool::new(account, slab, 2);
    let origin = Arc::new(Origin::new("fuzz", Timestamp::default()));
    let (mut rows, mut rest) = (Rows::default(), stream);
    let largest = reads.iter().max().map_or(0, |largest| *largest);
    let mut buffer = pool.try_slab(slab).expect("there is memory for it");
    for count in reads.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let needed = buffer.len() + count;
        if needed > buffer.capacity() {
            buffer.grow(needed).expect("it is short");
        }
        let (now, later) = rest.split_at((*count).min(rest.len()));
        assert_eq!(buffer.put(now), now.len());
        rest = later;
        if framer.is_due(&buffer) {
            let tail = cut_all(&mut framer, buffer.freeze(), &origin, &mut rows, most);
            buffer = pool.try_slab(tail.len() + 1).expect("it is short");
            assert_eq!(buffer.put(&tail), tail.len());
        } else {
            framer.skip_oversize(&mut buffer);
        }
        // A `\r` may be the first half of an ending, and so is no part of the frame yet.
        assert!(buffer.len() <= framer.max_length() + 1, "more is held than the longest frame");
        assert!(buffer.capacity() <= slab.max(framer.max_length() + 2 + largest), "more room than for that and a read");
    }
    framer.finish(&buffer.freeze(), &origin, &mut rows);
    (rows.iter().map(|row| row.bytes().to_vec()).collect(), framer.oversize())
}

/// Cuts a buffer a few frames at a time, and gives the partial frame at its end.
fn cut_all(
    framer: &mut Framer,
    mut slab: tidegate_flow::Slab,
    origin: &Arc<Origin>,
    rows: &mut Rows,
    most: usize,
) -> tidegate_flow::Slab {
    loop {
        let before = rows.len();
        match framer.cut_some(&slab, origin, rows, most) {
            Rest::Partial(tail) => return tail,
            Rest::Uncut(more) => slab = more,
        }
        assert_eq!(rows.len() - before, most, "it stops where it was told to");
    }
}

/// The same by the book.
fn naive(stream: &[u8], framing: Framing, max: usize) -> Cut {
    let delimiter = if let Framing::CharacterDelimited(byte) = framing { byte } else { b'\n' };
    let trim = |frame: &[u8]| match frame.strip_suffix(b"\r") {
        Some(line) if framing == Framing::NewlineDelimited => line.to_vec(),
        _ => frame.to_vec(),
    };
    let mut frames: Vec<Vec<u8>> = stream.split(|byte| *byte == delimiter).map(trim).collect();
    let oversize = frames.iter().filter(|frame| frame.len() > max).count() as u64;
    frames.retain(|frame| !frame.is_empty() && frame.len() <= max);
    (frames, oversize)
}
