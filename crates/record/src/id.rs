//! [`RecordId`]: by what a record is known, in this run and the next, here and at the next program.
//!
//! A source counts the records of each of its *streams*: a file from the moment it was begun, the body of a request, the
//! run of a socket. `(stream, number)` names a record, and is the same when the same record is read again, so that whoever
//! receives it can tell a repetition: "not above the highest number that I have of this stream", or a set of ids. Numbers
//! of a stream only grow, by gaps where records were filtered. A record that a program made into several has parts: 1, 2,
//! ... of the number it had; ids compare in the order in which their records were read.
//!
//! | source | stream | the same after a restart |
//! |---|---|---|
//! | `file` | one a file, drawn when it is begun and kept with its position | yes |
//! | `http_server` | what the sender says (`Tidegate-Ids`, `Idempotency-Key`), or one a run | what the sender says |
//! | `demo_logs` | machine, name, format and seed | yes: the same lines, but for their times |
//! | `socket`, `stdin` | one a run | no: what was read cannot be read again |
//! | a buffer on disk | what was put in | yes |
//!
//! A batch carries ids by its pieces: a stream and the number of the first row. A row has its distance to that, which costs
//! four bytes of its place in the table and nothing else.

mod list;

use std::fmt;

pub use list::{IdList, IdRun, InvalidIds, write_ids};

/// What numbers are counted in. 128 bits: drawn, or a hash of what the stream is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId([u64; 2]);

/// By what a record is known. Ordered by stream, number and part.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// What it is counted in.
    pub stream: StreamId,
    /// Its number there. Grows from record to record, with gaps.
    pub number: u64,
    /// Of a record that became several, which of them, from 1; else 0.
    pub part: u32,
}

/// So many digits has a stream as text.
const DIGITS: usize = 22;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl StreamId {
    /// These bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
        Self([(bits >> 64) as u64, bits as u64])
    }

    /// All its bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        (self.0[0] as u128) << 64 | self.0[1] as u128
    }

    /// The stream that is known by these texts, in this order: FNV-1a of 128 bits (Fowler, Noll and Vo), with the length of
    /// each before it. Whoever may choose the texts can make two of them one stream.
    #[must_use]
    pub fn of(texts: &[&[u8]]) -> Self {
        const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let mix = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        let bits = texts.iter().fold(BASIS, |hash, text| {
            let hash = (text.len() as u64).to_le_bytes().iter().fold(hash, mix);
            text.iter().fold(hash, mix)
        });
        Self::from_bits(bits)
    }

    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != DIGITS {
            return None;
        }
        let digit = |byte: u8| ALPHABET.iter().position(|digit| *digit == byte).map(|at| at as u128);
        let mut bits = 0_u128;
        for byte in text.bytes() {
            bits = bits.checked_mul(64)? | digit(byte)?;
        }
        Some(Self::from_bits(bits))
    }
}

impl fmt::Display for StreamId {
    /// 22 digits to base 64, of letters, numbers, `-` and `_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits();
        let digit = |place: usize| char::from(ALPHABET[(bits >> (6 * place) & 63) as usize]);
        (0..DIGITS).rev().try_for_each(|place| fmt::Write::write_char(f, digit(place)))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RecordId {
    /// Number `number` of a stream.
    #[must_use]
    pub const fn new(stream: StreamId, number: u64) -> Self {
        Self { stream, number, part: 0 }
    }

    /// Part `part` (from 1) of this record, when it becomes several. The parts of a part are counted in a stream of their
    /// own, which follows from its id.
    #[must_use]
    pub fn part(self, part: u32) -> Self {
        if self.part == 0 {
            return Self { part, ..self };
        }
        let (bits, number, own) =
            (self.stream.bits().to_le_bytes(), self.number.to_le_bytes(), self.part.to_le_bytes());
        Self { stream: StreamId::of(&[b"parts", &bits, &number, &own]), number: 0, part }
    }

    /// The one so many behind it in its run: parts of a part, else numbers. `None` where there is none.
    #[must_use]
    pub fn behind(self, count: u32) -> Option<Self> {
        Some(match self.part {
            0 => Self { number: self.number.checked_add(u64::from(count))?, ..self },
            part => Self { part: part.checked_add(count)?, ..self },
        })
    }

    /// The one behind it in its run.
    pub(crate) fn next(self) -> Option<Self> {
        self.behind(1)
    }
}

impl fmt::Display for RecordId {
    /// `<stream>:<number>`, with `.<part>` where it is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.number)?;
        match self.part {
            0 => Ok(()),
            part => write!(f, ".{part}"),
        }
    }
}

/// The ids of the rows of one piece: where they are counted, and from where on. A row adds its own number.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    stream: StreamId,
    base: u64,
    /// Whether rows are parts of number `base`.
    is_parts: bool,
}

impl Ids {
    /// Ids from `first` on, and what the row with that id adds.
    pub(crate) fn from(first: RecordId) -> (Self, u32) {
        (Self { stream: first.stream, base: first.number, is_parts: first.part > 0 }, first.part)
    }

    /// The id of a row that adds `number`.
    pub(crate) fn of(self, number: u32) -> RecordId {
        match self.is_parts {
            true => RecordId { stream: self.stream, number: self.base, part: number },
            false => RecordId::new(self.stream, self.base.wrapping_add(u64::from(number))),
        }
    }

    /// What rows of `other` have to add more, to be rows of this; `None` where they cannot be.
    pub(crate) fn shift(self, other: Self) -> Option<u32> {
        if self.stream != other.stream || self.is_parts != other.is_parts {
            return None;
        }
        let shift = other.base.checked_sub(self.base).and_then(|shift| u32::try_from(shift).ok())?;
        // Half of what there is is left for the rows.
        (if self.is_parts { shift == 0 } else { shift < u32::MAX / 2 }).then_some(shift)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_stream_is_text_and_back_and_differs_by_every_text_it_is_of() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let stream = StreamId::from_bits(bits);
            let text = stream.to_string();
            assert_eq!((text.len(), StreamId::parse(&text), stream.bits()), (22, Some(stream), bits));
        }
        assert_eq!(StreamId::parse(&"_".repeat(22)), None, "more than 128 bits");
        assert_eq!((StreamId::parse(""), StreamId::parse(&"!".repeat(22))), (None, None));
        assert_ne!(StreamId::of(&[b"a", b"bc"]), StreamId::of(&[b"ab", b"c"]));
        assert_eq!(StreamId::of(&[b"a", b"bc"]), StreamId::of(&[b"a", b"bc"]));
    }

    #[test]
    fn ids_are_in_the_order_in_which_records_are_read() {
        let first = RecordId::new(StreamId::from_bits(7), 9);
        let ids = [first, first.part(1), first.part(2), first.next().unwrap()];
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
        assert_eq!(first.part(1).next(), Some(first.part(2)));
        let deeper = first.part(1).part(1);
        assert!(deeper != first.part(1) && deeper != first.part(2).part(1), "parts of parts are others");
        assert_eq!(first.part(2).to_string(), format!("{}:9.2", first.stream));
    }
}
