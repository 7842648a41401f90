//! [`Encoder`]: rows to bytes. Rows that nobody changed and that stand side by side go out as one slice, uncopied.

use std::io::IoSlice;
use std::ops::Range;

use crate::envelope::Envelope;
use crate::row::{Form, Row};
use crate::rows::{Body, Entry, Rows};

/// What is written of a record.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The record as one JSON object.
    #[default]
    Json,
    /// The text of `.message`; nothing where there is none.
    Text,
}

/// What is written around records.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum EncodeFraming {
    /// A newline behind each.
    #[default]
    NewlineDelimited,
    /// This byte behind each.
    CharacterDelimited(u8),
    /// Its length as a decimal number and a blank before each (RFC 6587).
    OctetCounting,
    /// Its length as four bytes before each, big-endian. A record of 4 GiB or more has the largest number there is.
    LengthDelimited,
    /// Nothing.
    Bytes,
    /// `[`, commas between, `]`: the body of many HTTP interfaces.
    JsonArray,
}

/// How rows are written.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encoder {
    /// What of each.
    pub codec: Codec,
    /// And what around it.
    pub framing: EncodeFraming,
}

/// A slice of rows that need no copy is worth its place in a list of slices from this size on.
const WORTH_A_SLICE: usize = 2_048;

/// Rows as bytes: slices of the slabs where nothing has changed, and a buffer with what was put together.
#[derive(Default)]
pub struct Encoded<'a> {
    parts: Vec<Part<'a>>,
    made: Vec<u8>,
}

enum Part<'a> {
    Kept(&'a [u8]),
    Made(Range<usize>),
}

impl<'a> Encoded<'a> {
    /// Nothing yet; what is put together goes into `buffer` (emptied first).
    #[must_use]
    pub fn into_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { parts: Vec::new(), made: buffer }
    }

    /// The bytes, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| match part {
            Part::Kept(slice) => slice,
            Part::Made(range) => &self.made[range.clone()],
        })
    }

    /// The bytes for a vectored write.
    #[must_use]
    pub fn io_slices(&self) -> Vec<IoSlice<'_>> {
        self.slices().map(IoSlice::new).collect()
    }

    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slices().map(<[u8]>::len).sum()
    }

    /// How many of them had to be put together.
    #[must_use]
    pub fn bytes_made(&self) -> usize {
        self.made.len()
    }

    /// The buffer, to be used again.
    #[must_use]
    pub fn take_buffer(self) -> Vec<u8> {
        self.made
    }

    fn close(&mut self, from: usize) {
        if self.made.len() > from {
            self.parts.push(Part::Made(from..self.made.len()));
        }
    }

    fn keep(&mut self, slice: &'a [u8]) {
        self.parts.push(Part::Kept(slice));
    }
}

impl Rows {
    /// Appends the rows as JSON objects with a newline behind each.
    pub fn encode_ndjson(&self, out: &mut Vec<u8>) {
        self.encode(Encoder::default(), out);
    }

    /// Appends the rows as `encoder` says.
    pub fn encode(&self, encoder: Encoder, out: &mut Vec<u8>) {
        let mut encoded = Encoded { parts: Vec::new(), made: std::mem::take(out) };
        self.write(encoder, &mut encoded, false);
        *out = encoded.made;
    }

    /// The rows as `encoder` says, as slices: those that nobody changed are not copied. `buffer` takes the others.
    #[must_use]
    pub fn encode_slices(&self, encoder: Encoder, buffer: Vec<u8>) -> Encoded<'_> {
        let mut encoded = Encoded::into_buffer(buffer);
        self.write(encoder, &mut encoded, true);
        encoded
    }

    /// Appends the rows with these numbers, in the order in which they are named, as `encoder` says. For framings that put
    /// nothing around all rows together: no [`EncodeFraming::JsonArray`].
    ///
    /// # Panics
    /// Where there is no row of a number.
    pub fn encode_picked(&self, encoder: Encoder, numbers: impl IntoIterator<Item = usize>, out: &mut Vec<u8>) {
        let mut envelope = Envelope::default();
        for number in numbers {
            let start = out.len();
            encoder.write_row(self.row(number), &mut envelope, out);
            encoder.count(start, out);
            out.extend(encoder.delimiter());
        }
    }

    fn write<'a>(&'a self, encoder: Encoder, out: &mut Encoded<'a>, may_keep: bool) {
        let (body, first) = self.body();
        let entries = self.entries();
        let delimiter = encoder.delimiter();
        let mut envelope = Envelope::default();
        let mut from = out.made.len();
        if encoder.framing == EncodeFraming::JsonArray {
            out.made.push(b'[');
        }
        let mut number = 0;
        while let Some(entry) = entries.get(number) {
            if encoder.passes(entry)
                && let Some(delimiter) = delimiter
            {
                let (count, run, ends) = run(body, &entries[number..], encoder, delimiter);
                number += count;
                if may_keep && run.len() >= WORTH_A_SLICE {
                    out.close(from);
                    out.keep(run);
                    from = out.made.len();
                } else {
                    out.made.extend_from_slice(run);
                }
                if !ends {
                    out.made.push(delimiter);
                }
                continue;
            }
            if encoder.framing == EncodeFraming::JsonArray && number > 0 {
                out.made.push(b',');
            }
            let start = out.made.len();
            encoder.write_row(Row::new(body, first + number), &mut envelope, &mut out.made);
            encoder.count(start, &mut out.made);
            out.made.extend(delimiter);
            number += 1;
        }
        if encoder.framing == EncodeFraming::JsonArray {
            out.made.push(b']');
        }
        out.close(from);
    }
}

/// The rows at the front of `entries` that stand side by side with nothing but `delimiter` between: how many they are,
/// their bytes, and whether these end with the last delimiter because it stands there too. At least one.
fn run<'a>(body: &'a Body, entries: &[Entry], encoder: Encoder, delimiter: u8) -> (usize, &'a [u8], bool) {
    let first = &entries[0];
    let start = first.range().start;
    let held = body.held(first);
    let mut end = first.range().end;
    let mut count = 1;
    let mut rest = &entries[1..];
    let mut is_delimited = held.get(end) == Some(&delimiter);
    while let Some((next, behind)) = rest.split_first()
        && is_delimited
        && next.range().start == end + 1
        && next.piece == first.piece
        && next.is_written == first.is_written
        && encoder.passes(next)
    {
        end = next.range().end;
        is_delimited = held.get(end) == Some(&delimiter);
        count += 1;
        rest = behind;
    }
    (count, held.get(start..end + usize::from(is_delimited)).unwrap_or_default(), is_delimited)
}

impl Encoder {
    /// The byte that stands behind each record, where one does.
    #[must_use]
    pub const fn delimiter(self) -> Option<u8> {
        match self.framing {
            EncodeFraming::NewlineDelimited => Some(b'\n'),
            EncodeFraming::CharacterDelimited(byte) => Some(byte),
            EncodeFraming::OctetCounting
            | EncodeFraming::LengthDelimited
            | EncodeFraming::Bytes
            | EncodeFraming::JsonArray => None,
        }
    }

    /// The bytes that stand around a record of this length.
    #[must_use]
    pub fn framing_bytes(self, length: usize) -> usize {
        match self.framing {
            EncodeFraming::NewlineDelimited | EncodeFraming::CharacterDelimited(_) | EncodeFraming::JsonArray => 1,
            EncodeFraming::OctetCounting => length.checked_ilog10().unwrap_or(0) as usize + 2,
            EncodeFraming::LengthDelimited => size_of::<u32>(),
            EncodeFraming::Bytes => 0,
        }
    }

    /// Puts the length of the record that was written from `start` on before it, where that is asked for.
    fn count(self, start: usize, out: &mut Vec<u8>) {
        let length = out.len() - start;
        match self.framing {
            EncodeFraming::OctetCounting => drop(out.splice(start..start, format!("{length} ").into_bytes())),
            EncodeFraming::LengthDelimited => {
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                drop(out.splice(start..start, length.to_be_bytes()));
            }
            EncodeFraming::NewlineDelimited
            | EncodeFraming::CharacterDelimited(_)
            | EncodeFraming::Bytes
            | EncodeFraming::JsonArray => {}
        }
    }

    /// Whether a row goes out as it is.
    #[inline]
    fn passes(self, entry: &Entry) -> bool {
        let form = match self.codec {
            Codec::Json => Form::Object,
            Codec::Text => Form::Message,
        };
        entry.form == form && !entry.has_edits() && !entry.has_newlines
    }

    /// Writes a row. An object is one line, whatever white space was in it; text is what it is.
    fn write_row(self, row: Row<'_>, envelope: &mut Envelope, out: &mut Vec<u8>) {
        match (self.codec, row.form()) {
            (Codec::Text, _) => row.write_text(out),
            (Codec::Json, Form::Object) => {
                let from = out.len();
                row.write_edited(out);
                if row.has_newlines() {
                    // Only white space: in a string they are escaped.
                    out[from..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
                }
            }
            (Codec::Json, Form::Message) => match row.origin() {
                Some(origin) => envelope.enclose(row.bytes(), origin, out),
                None => row.write_json(out),
            },
        }
    }
}
