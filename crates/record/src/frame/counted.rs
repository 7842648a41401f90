//! Frames that say how long they are: octet counting (RFC 6587, section 3.4.1) and a length of four bytes before each.

use std::ops::Range;

use super::{Framer, Framing};

/// A count of more digits is none.
const MOST_DIGITS: usize = 10;

/// The bytes of a length before a frame, big-endian.
const LENGTH_BYTES: usize = 4;

/// What stands before a frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Head {
    /// Not all of it is there.
    Short,
    /// The frame begins so far behind and is so long.
    Counted { start: usize, length: usize },
    /// No count: the frame is a line, as some senders of syslog mix the two (RFC 6587, section 3.4.2).
    Line,
}

/// One step through a buffer.
pub(super) enum Step {
    /// A frame, and where the next one begins.
    Frame(Range<usize>, usize),
    /// What is up to here belongs to no frame that is taken.
    Skipped(usize),
    /// A part of a frame.
    Partial,
}

fn head(framing: Framing, text: &[u8]) -> Head {
    if framing == Framing::LengthDelimited {
        return match text.first_chunk::<LENGTH_BYTES>() {
            Some(length) => {
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                Head::Counted { start: LENGTH_BYTES, length }
            }
            None => Head::Short,
        };
    }
    let digits = text.iter().take(MOST_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    match (digits, text.get(digits)) {
        (1..=MOST_DIGITS, Some(b' ')) => {
            let digit = |sum: usize, byte: &u8| sum.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
            Head::Counted { start: digits + 1, length: text[..digits].iter().fold(0, digit) }
        }
        (0..=MOST_DIGITS, None) => Head::Short,
        _ => Head::Line,
    }
}

impl Framer {
    /// Whether frames of this stream say how long they are.
    pub(super) fn is_counted(&self) -> bool {
        matches!(self.framing, Framing::OctetCounting | Framing::LengthDelimited)
    }

    /// Whether `buffer` holds a whole frame, or something to be skipped.
    pub(super) fn is_counted_due(&mut self, buffer: &[u8]) -> bool {
        if buffer.is_empty() {
            return false;
        }
        if self.left > 0 || self.skips {
            return true;
        }
        match head(self.framing, buffer) {
            Head::Short => false,
            Head::Counted { start, length } => length > self.max_length || buffer.len() - start >= length,
            Head::Line => {
                let from = std::mem::replace(&mut self.seen, buffer.len()).min(buffer.len());
                memchr::memchr(b'\n', &buffer[from..]).is_some() || buffer.len() > self.max_length.saturating_add(1)
            }
        }
    }

    /// Goes on from `at`. What is too long is skipped as it comes, and counted.
    pub(super) fn step(&mut self, text: &[u8], at: usize) -> Step {
        let rest = text.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Step::Partial;
        }
        if self.left > 0 {
            let gone = self.left.min(rest.len());
            self.left -= gone;
            return Step::Skipped(at + gone);
        }
        if self.skips {
            let end = memchr::memchr(b'\n', rest);
            self.skips = end.is_none();
            return Step::Skipped(end.map_or(text.len(), |end| at + end + 1));
        }
        match head(self.framing, rest) {
            Head::Short => Step::Partial,
            Head::Counted { start, length } if length > self.max_length => {
                self.oversize += 1;
                self.left = length;
                Step::Skipped(at + start)
            }
            Head::Counted { start, length } if rest.len() - start >= length => {
                Step::Frame(at + start..at + start + length, at + start + length)
            }
            Head::Counted { .. } => Step::Partial,
            Head::Line => self.line(text, at),
        }
    }

    fn line(&mut self, text: &[u8], at: usize) -> Step {
        let rest = &text[at..];
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                let frame = at..at + end - usize::from(rest[..end].ends_with(b"\r"));
                if frame.len() > self.max_length {
                    self.oversize += 1;
                    return Step::Skipped(at + end + 1);
                }
                Step::Frame(frame, at + end + 1)
            }
            None if rest.len() > self.max_length.saturating_add(1) => {
                self.begin_skip();
                Step::Skipped(text.len())
            }
            None => Step::Partial,
        }
    }

    /// The stream has ended with this part of a frame: one that says how long it is was cut off; a line is a frame.
    pub(super) fn finish_counted(&mut self, text: &[u8]) -> Option<Range<usize>> {
        let was_skipping = std::mem::take(&mut self.left) > 0 || std::mem::take(&mut self.skips);
        if text.is_empty() || was_skipping {
            return None;
        }
        if head(self.framing, text) == Head::Line {
            return Some(0..text.len() - usize::from(text.ends_with(b"\r")));
        }
        self.cut_off += 1;
        None
    }
}
