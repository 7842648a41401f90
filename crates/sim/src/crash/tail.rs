//! The end of a log whose process is dead: found by the format that `store` documents, and torn.

use std::fs;
use std::path::{Path, PathBuf};

use super::record;
use crate::rng::Rng;

/// Bytes before the first frame, and before the payload of one.
const SEGMENT_HEADER: usize = 64;
const FRAME_HEADER: usize = 40;
/// The most garbage that a torn write leaves.
const GARBAGE_BYTES: usize = 16 << 10;

/// The last frame of the newest segment.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Tail {
    /// Where its payload stands.
    last: std::ops::Range<usize>,
    /// Where the next frame would begin.
    end: usize,
}

/// Damages what no one was promised. Says what it did; nothing, where there is no log.
pub(super) fn tear(folder: &Path, dice: u64, is_promised: impl Fn(u64) -> bool) -> Result<Option<String>, String> {
    let Some(path) = newest(folder) else { return Ok(None) };
    let mut bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let Some(tail) = find(&bytes) else { return Ok(None) };
    let mut rng = Rng::new(dice);
    let mut text = String::new();
    let ids = record::ids_in(&bytes[tail.last.clone()]);
    if !ids.is_empty() && !ids.into_iter().any(is_promised) {
        let at = tail.last.start + rng.below(tail.last.len());
        bytes[at] ^= 1 << rng.below(8);
        text.push_str("a bit of the last frame, which was not acked, and ");
    }
    let end = bytes.len().min(tail.end + 1 + rng.below(GARBAGE_BYTES));
    for byte in &mut bytes[tail.end..end] {
        *byte = rng.next().to_le_bytes()[0];
    }
    fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(format!("{text}{} bytes behind the last frame", end - tail.end)))
}

fn newest(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_segment = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".segment") && name != "spare.segment"
    };
    names.filter(is_segment).max()
}

/// Follows the frames by their lengths and numbers, from the first on.
fn find(bytes: &[u8]) -> Option<Tail> {
    let mut expected = number(bytes, 24, 8)?;
    let mut at = SEGMENT_HEADER;
    let mut last = 0..0;
    loop {
        let length = usize::try_from(number(bytes, at + 4, 4).unwrap_or(0)).ok()?;
        let records = number(bytes, at + 16, 4).unwrap_or(0);
        let first = number(bytes, at + 8, 8).unwrap_or(0);
        // Behind a gap, what is durable says where the segment had come to.
        let is_after_gap = number(bytes, at + 20, 4) == Some(1);
        let follows = if is_after_gap { number(bytes, at + 32, 8).unwrap_or(0) } else { first };
        let end = at + FRAME_HEADER + length;
        if length == 0 || records == 0 || !(follows..first + records).contains(&expected) || end > bytes.len() {
            return Some(Tail { last, end: at });
        }
        last = at + FRAME_HEADER..end;
        expected = first + records;
        at = end.next_multiple_of(8);
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..size].copy_from_slice(bytes.get(at..at + size)?);
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(frames: &[(u64, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_HEADER];
        bytes[24] = 7;
        for (first, payload) in frames {
            let at = bytes.len();
            bytes.resize(at + FRAME_HEADER, 0);
            bytes[at + 4] = u8::try_from(payload.len()).unwrap();
            bytes[at + 8..at + 16].copy_from_slice(&first.to_le_bytes());
            bytes[at + 16] = 1;
            bytes.extend_from_slice(payload);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes.resize(bytes.len() + 100, 0);
        bytes
    }

    #[test]
    fn the_last_frame_is_the_last_with_the_number_that_is_expected() {
        let bytes = segment(&[(7, b"hello"), (8, b"world"), (3, b"stale")]);
        let tail = find(&bytes).unwrap();
        assert_eq!((&bytes[tail.last], tail.end), (&b"world"[..], SEGMENT_HEADER + 96));
        assert_eq!(find(&segment(&[])).unwrap(), Tail { last: 0..0, end: SEGMENT_HEADER });
    }

    #[test]
    fn a_frame_behind_records_that_need_not_be_there_counts() {
        let mut bytes = segment(&[(7, b"hello"), (12, b"world"), (13, b"again")]);
        let second = SEGMENT_HEADER + 48;
        assert_eq!(find(&bytes).unwrap().end, second, "8 is missing");
        bytes[second + 20] = 1;
        bytes[second + 32] = 8;
        let tail = find(&bytes).unwrap();
        assert_eq!((&bytes[tail.last], tail.end), (&b"again"[..], SEGMENT_HEADER + 144));
        bytes[second + 32] = 9;
        assert_eq!(find(&bytes).unwrap().end, second, "8 was durable");
    }
}
