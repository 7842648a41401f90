//! Framing: where one record ends and the next begins in a stream of bytes.
//!
//! A [`Framer`] belongs to one stream. Its owner reads into a [`SlabBuf`], asks [`is_due`](Framer::is_due) whether that
//! holds a whole frame, freezes it and [cuts](Framer::cut) it: the frames become rows on the slab, without a copy, and
//! the partial frame at its end is given back, to be put into the next buffer.
//!
//! | framing | frame | at the limit |
//! |---|---|---|
//! | [`Framing::NewlineDelimited`] | what stands between two newlines, without a `\r` before them; empty ones are dropped | longer than `max_length`: skipped up to the next newline, and counted |
//! | [`Framing::CharacterDelimited`] | the same with another byte; empty ones are dropped, a `\r` is kept | the same |
//! | [`Framing::OctetCounting`] | as many bytes as the decimal number before it says, with a blank between (RFC 6587); what begins with no number is a line | as many bytes are skipped, and counted |
//! | [`Framing::LengthDelimited`] | as many bytes as the four before it say, big-endian | the same |
//! | [`Framing::Bytes`] | whatever one read gave (a packet of UDP, a body) | the same |
//!
//! The end of the stream ends the last frame too, but for one that says how long it is and is not: that is counted as cut
//! off. Bytes are not looked at: what is no UTF-8 stays as it is.

mod counted;

use std::ops::Range;
use std::sync::Arc;

use tidegate_flow::{Slab, SlabBuf};

use self::counted::Step;
use crate::origin::Origin;
use crate::row::Form;
use crate::rows::Rows;

/// The longest frame where nothing else is said, in bytes: Vector's default for sockets and files.
pub const DEFAULT_MAX_LENGTH: usize = 102_400;

/// How a stream is cut into frames.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Lines that end with `\n` or `\r\n`.
    #[default]
    NewlineDelimited,
    /// Frames that end with this byte.
    CharacterDelimited(u8),
    /// Frames with their length as a decimal number and a blank before them (RFC 6587).
    OctetCounting,
    /// Frames with their length as four bytes before them, big-endian.
    LengthDelimited,
    /// Each read is a frame.
    Bytes,
}

/// What is left of a buffer when its frames were cut.
#[derive(Clone, Debug)]
pub enum Rest {
    /// No whole frame: the part of one (empty where there is none), whose bytes must come first in the next buffer.
    Partial(Slab),
    /// At least one whole frame, to be cut next.
    Uncut(Slab),
}

/// Cuts one stream into frames.
#[derive(Clone, Debug)]
pub struct Framer {
    framing: Framing,
    max_length: usize,
    /// Whether what comes up to the next delimiter belongs to a frame that was too long.
    skips: bool,
    /// How many bytes of the buffer were searched before.
    seen: usize,
    /// Of a frame that says how long it is, and is too long: how much of it is still to come.
    left: usize,
    oversize: u64,
    cut_off: u64,
}

impl Framer {
    /// A framer at the begin of a stream. `max_length` (at least 1) counts the bytes of a frame without its delimiter.
    #[must_use]
    pub fn new(framing: Framing, max_length: usize) -> Self {
        Self { framing, max_length: max_length.max(1), skips: false, seen: 0, left: 0, oversize: 0, cut_off: 0 }
    }

    /// Frames skipped so far because they were too long.
    #[must_use]
    pub fn oversize(&self) -> u64 {
        self.oversize
    }

    /// Frames so far that a stream ended in the middle of, where frames say how long they are.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        self.cut_off
    }

    /// The longest frame, in bytes.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Whether `buffer` holds a whole frame, so that it is time to cut. Bytes that were searched before are not searched
    /// again, however slowly a frame arrives.
    #[must_use]
    pub fn is_due(&mut self, buffer: &[u8]) -> bool {
        if self.is_counted() {
            return self.is_counted_due(buffer);
        }
        let Some(delimiter) = self.delimiter() else { return !buffer.is_empty() };
        let from = self.seen.min(buffer.len());
        match memchr::memrchr(delimiter, &buffer[from..]) {
            Some(_) => true,
            None => {
                self.seen = buffer.len();
                false
            }
        }
    }

    /// Empties a buffer that holds nothing but a part of a frame that is too long already, and counts that frame. Says
    /// whether it was so. To be asked when a buffer is not [due](Self::is_due) and before it is grown: so a stream never
    /// holds more than the longest frame and one read.
    pub fn skip_oversize(&mut self, buffer: &mut SlabBuf) -> bool {
        if self.delimiter().is_none() || (!self.skips && buffer.len() <= self.max_length.saturating_add(1)) {
            return false;
        }
        self.begin_skip();
        buffer.truncate(0);
        self.seen = 0;
        true
    }

    /// Appends the whole frames of `slab` to `rows`. Gives back the partial frame at its end (empty where there is none),
    /// whose bytes must come first in the next buffer.
    #[must_use]
    pub fn cut(&mut self, slab: &Slab, origin: &Arc<Origin>, rows: &mut Rows) -> Slab {
        match self.cut_some(slab, origin, rows, usize::MAX) {
            Rest::Partial(rest) | Rest::Uncut(rest) => rest,
        }
    }

    /// Like [`cut`](Self::cut), but stops after `most` frames, so that a buffer of very short ones does not become a
    /// batch that is larger than there is room for.
    #[must_use]
    pub fn cut_some(&mut self, slab: &Slab, origin: &Arc<Origin>, rows: &mut Rows, most: usize) -> Rest {
        self.seen = 0;
        if self.is_counted() {
            return self.cut_counted(slab, origin, rows, most);
        }
        let Some(delimiter) = self.delimiter() else {
            self.push_whole(slab, origin, rows);
            return Rest::Partial(Slab::default());
        };
        let before = rows.len();
        let mut frames = Frames { framer: self, text: slab, delimiter, at: 0 };
        rows.push_ranges(slab, Form::Message, origin, frames.by_ref().take(most));
        let rest = frames.at;
        if rows.len() - before == most && memchr::memchr(delimiter, &slab[rest..]).is_some() {
            return Rest::Uncut(slab.slice(rest..));
        }
        if self.skips || slab.len() - rest > self.max_length.saturating_add(1) {
            if rest < slab.len() {
                self.begin_skip();
            }
            return Rest::Partial(Slab::default());
        }
        self.seen = slab.len() - rest;
        Rest::Partial(slab.slice(rest..))
    }

    /// The stream has ended: cuts what is left, the last frame included, though no delimiter follows it.
    pub fn finish(&mut self, slab: &Slab, origin: &Arc<Origin>, rows: &mut Rows) {
        let rest = self.cut(slab, origin, rows);
        self.seen = 0;
        if self.is_counted() {
            if let Some(frame) = self.finish_counted(&rest).filter(|frame| !frame.is_empty()) {
                rows.push_ranges(&rest, Form::Message, origin, std::iter::once(frame));
            }
            return;
        }
        if !std::mem::take(&mut self.skips) {
            self.push_whole(&rest, origin, rows);
        }
    }

    fn cut_counted(&mut self, slab: &Slab, origin: &Arc<Origin>, rows: &mut Rows, most: usize) -> Rest {
        let (before, mut at) = (rows.len(), 0);
        let frames = std::iter::from_fn(|| {
            loop {
                match self.step(slab, at) {
                    Step::Frame(frame, end) => {
                        at = end;
                        if !frame.is_empty() {
                            return Some(frame);
                        }
                    }
                    Step::Skipped(end) => at = end,
                    Step::Partial => return None,
                }
            }
        });
        rows.push_ranges(slab, Form::Message, origin, frames.take(most));
        let rest = slab.slice(at..);
        self.seen = 0;
        if rows.len() - before == most && self.is_counted_due(&rest) {
            self.seen = 0;
            return Rest::Uncut(rest);
        }
        Rest::Partial(rest)
    }

    fn delimiter(&self) -> Option<u8> {
        match self.framing {
            Framing::NewlineDelimited => Some(b'\n'),
            Framing::CharacterDelimited(byte) => Some(byte),
            Framing::OctetCounting | Framing::LengthDelimited | Framing::Bytes => None,
        }
    }

    fn begin_skip(&mut self) {
        if !self.skips {
            self.skips = true;
            self.oversize += 1;
        }
    }

    fn push_whole(&mut self, slab: &Slab, origin: &Arc<Origin>, rows: &mut Rows) {
        let frame = self.trim(slab, 0..slab.len());
        if frame.len() > self.max_length {
            self.oversize += 1;
        } else if !frame.is_empty() {
            rows.push_ranges(slab, Form::Message, origin, std::iter::once(frame));
        }
    }

    /// A frame without the `\r` of a line that ends with `\r\n`.
    #[inline]
    fn trim(&self, text: &[u8], frame: Range<usize>) -> Range<usize> {
        let has_return = self.framing == Framing::NewlineDelimited && text[frame.clone()].ends_with(b"\r");
        frame.start..frame.end - usize::from(has_return)
    }
}

/// The whole frames of a buffer.
struct Frames<'a> {
    framer: &'a mut Framer,
    text: &'a [u8],
    delimiter: u8,
    /// Behind the last delimiter found.
    at: usize,
}

impl Iterator for Frames<'_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let length = memchr::memchr(self.delimiter, &self.text[self.at..])?;
            let whole = self.at..self.at + length;
            self.at = whole.end + 1;
            if std::mem::take(&mut self.framer.skips) {
                continue;
            }
            let frame = self.framer.trim(self.text, whole);
            if frame.len() > self.framer.max_length {
                self.framer.oversize += 1;
            } else if !frame.is_empty() {
                return Some(frame);
            }
        }
    }
}
