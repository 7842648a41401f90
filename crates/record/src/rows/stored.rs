//! Rows as bytes on disk, and back.
//!
//! ```text
//! offset size
//!      0    1  version of the form: 1
//!      1    2  number of origins; then each:
//!              received (8), flags (1: bit 0 = there is a host), source type, host, number of fields (2), and for
//!              each field its name and its JSON text. Texts have their length (4) before them
//!              rows, each:
//!           1  1 for an object, 0 for a message
//!           2  number of its origin
//!           4  length
//!              its bytes, with the edits made
//! ```
//!
//! All numbers are little endian. A row that has lost its origin has number 65535 for it.

use std::ops::Range;
use std::sync::Arc;

use tidegate_flow::{Bytes, Payload as _, Stored, Weight};

use super::Rows;
use crate::origin::{JsonText, Origin};
use crate::row::Form;
use crate::time::Timestamp;

const VERSION: u8 = 1;
const NO_ORIGIN: u16 = u16::MAX;

/// So many origins can have a number in one piece of bytes.
const MOST_ORIGINS: usize = NO_ORIGIN as usize;

/// What stands around a row, at the most, beyond its [weight](crate::Row::weight).
const AROUND_ROW: u64 = 32;

impl Stored for Rows {
    fn stored_within(&self, rows: Range<u32>, room: Bytes) -> (u32, Bytes) {
        let (mut until, mut bytes) = (rows.start, Bytes::ZERO);
        let (mut last, mut origins): (Option<&Arc<Origin>>, usize) = (None, 0);
        for row in rows.clone() {
            let row = self.row(row as usize);
            let mut more = row.weight() + AROUND_ROW;
            if let Some(origin) = row.origin()
                && !last.is_some_and(|last| is_same(last, origin))
            {
                (last, origins) = (Some(origin), origins + 1);
                more += origin_bytes(origin);
            }
            let more = bytes + Bytes::new(more);
            if until > rows.start && (more > room || origins > MOST_ORIGINS) {
                break;
            }
            (until, bytes) = (until + 1, more);
        }
        (until, bytes)
    }

    fn store(&self, rows: Range<u32>, out: &mut Vec<u8>) {
        let rows = rows.start as usize..(rows.end as usize).min(self.len());
        let mut origins: Vec<&Arc<Origin>> = Vec::new();
        let mut numbers = Vec::with_capacity(rows.len());
        for row in rows.clone() {
            numbers.push(self.row(row).origin().map_or(NO_ORIGIN, |origin| number_of(origin, &mut origins)));
        }
        out.push(VERSION);
        out.extend_from_slice(&u16::try_from(origins.len()).unwrap_or(NO_ORIGIN).to_le_bytes());
        origins.iter().for_each(|origin| write_origin(origin, out));
        for (row, number) in rows.zip(numbers) {
            let row = self.row(row);
            out.push(u8::from(row.form() == Form::Object));
            out.extend_from_slice(&number.to_le_bytes());
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            row.write_edited(out);
            let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    fn restore(&mut self, bytes: &[u8], from: u32, room: Weight) -> Option<u32> {
        let mut bytes = bytes;
        let [VERSION] = array(&mut bytes)? else { return None };
        let count = u16::from_le_bytes(array(&mut bytes)?);
        let origins = (0..count).map(|_| read_origin(&mut bytes).map(Arc::new)).collect::<Option<Vec<_>>>()?;
        let none = Arc::new(Origin::default());
        let mut row = 0_u32;
        while !bytes.is_empty() {
            let [is_object] = array(&mut bytes)?;
            let number = u16::from_le_bytes(array(&mut bytes)?);
            let text = text(&mut bytes)?;
            if row >= from {
                let weight = self.weight();
                if row > from && (weight.records >= room.records || weight.bytes >= room.bytes) {
                    return Some(row);
                }
                let origin = if number == NO_ORIGIN { &none } else { origins.get(usize::from(number))? };
                self.push_copy(text, if is_object == 0 { Form::Message } else { Form::Object }, origin);
            }
            row += 1;
        }
        Some(row)
    }
}

/// The place of an origin in the list; it is added where it is not that of the row before. Rows of one read follow one
/// another and share it. [`Stored::stored_within`] sees to it that there are no more than have a number.
fn number_of<'a>(origin: &'a Arc<Origin>, origins: &mut Vec<&'a Arc<Origin>>) -> u16 {
    if !origins.last().is_some_and(|last| is_same(last, origin)) {
        origins.push(origin);
    }
    u16::try_from(origins.len() - 1).unwrap_or(NO_ORIGIN)
}

fn is_same(one: &Arc<Origin>, other: &Arc<Origin>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// What [`write_origin`] writes, and a little more.
fn origin_bytes(origin: &Origin) -> u64 {
    let fields: usize = origin.fields.iter().map(|(name, value)| 8 + name.len() + value.as_bytes().len()).sum();
    (32 + origin.source_type.len() + origin.host.as_deref().map_or(0, str::len) + fields) as u64
}

fn write_origin(origin: &Origin, out: &mut Vec<u8>) {
    out.extend_from_slice(&origin.received.unix_nanos().to_le_bytes());
    out.push(u8::from(origin.host.is_some()));
    write_text(origin.source_type.as_bytes(), out);
    write_text(origin.host.as_deref().unwrap_or_default().as_bytes(), out);
    let count = u16::try_from(origin.fields.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    for (name, value) in origin.fields.iter().take(usize::from(count)) {
        write_text(name.as_bytes(), out);
        write_text(value.as_bytes(), out);
    }
}

fn read_origin(bytes: &mut &[u8]) -> Option<Origin> {
    let received = Timestamp::from_unix_nanos(i64::from_le_bytes(array(bytes)?));
    let [has_host] = array(bytes)?;
    let mut origin = Origin::new(utf8(bytes)?, received);
    let host = utf8(bytes)?;
    origin.host = (has_host != 0).then(|| host.into());
    for _ in 0..u16::from_le_bytes(array(bytes)?) {
        let name = utf8(bytes)?;
        origin = origin.with_field(name, JsonText::parse(utf8(bytes)?).ok()?);
    }
    Some(origin)
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text);
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(array(bytes)?) as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

fn utf8<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(text(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::path::Path;

    const ALL: Weight = Weight::new(u64::MAX, u64::MAX);

    fn origin(field: &str) -> Arc<Origin> {
        let origin = Origin::new("file", Timestamp::from_unix_nanos(-5)).with_host("a");
        Arc::new(origin.with_field("file", JsonText::string(field)))
    }

    fn rows() -> Rows {
        let mut rows = Rows::from_texts([r#"{"a":1,"b":[2]}"#, "not \u{fffd} json"]);
        rows.row_mut(0).parse_message().unwrap();
        rows.row_mut(0).set(&Path::field("a"), b"77");
        rows.push_copy(b"from \xff elsewhere", Form::Message, &origin("/x"));
        rows.push_copy(b"", Form::Message, &origin("/y"));
        rows.push_copy(b"{}", Form::Object, &origin("/x"));
        rows
    }

    fn texts(rows: &Rows) -> Vec<(Form, Vec<u8>, Option<Arc<Origin>>)> {
        let text = |row: crate::Row<'_>| {
            let mut text = Vec::new();
            row.write_edited(&mut text);
            (row.form(), text, row.origin().cloned())
        };
        rows.iter().map(text).collect()
    }

    #[test]
    fn rows_come_back_as_they_were_whole_and_in_parts() {
        let rows = rows();
        let mut bytes = Vec::new();
        rows.store(0..5, &mut bytes);
        let mut whole = Rows::default();
        assert_eq!(whole.restore(&bytes, 0, ALL), Some(5));
        assert_eq!(texts(&whole), texts(&rows));
        for room in [Weight::new(1, u64::MAX), Weight::new(2, u64::MAX), Weight::new(u64::MAX, 1)] {
            let (mut parts, mut from) = (Vec::new(), 0);
            while from < 5 {
                let mut part = Rows::default();
                from = part.restore(&bytes, from, room).unwrap();
                assert!(part.len() as u64 <= room.records.get().max(1));
                parts.extend(texts(&part));
            }
            assert_eq!(parts, texts(&rows));
        }
        let mut some = Vec::new();
        rows.store(1..3, &mut some);
        let mut back = Rows::default();
        assert_eq!(back.restore(&some, 0, ALL), Some(2));
        assert_eq!(texts(&back), texts(&rows)[1..3]);
    }

    #[test]
    fn what_is_stored_is_within_what_was_said_and_no_origin_goes_without_a_number() {
        let rows = rows();
        for room in [0, 60, 150, 250, u64::MAX] {
            let mut from = 0;
            while from < 5 {
                let (until, bound) = rows.stored_within(from..5, Bytes::new(room));
                let mut bytes = Vec::new();
                rows.store(from..until, &mut bytes);
                assert!(until > from && (bytes.len() as u64) <= bound.get() + 8, "{from}..{until} in {room}");
                assert!(until == from + 1 || bound.get() <= room);
                from = until;
            }
        }
        let mut many = Rows::default();
        for n in 0..70_000_u32 {
            many.push_copy(b"x", Form::Message, &origin(&n.to_string()));
        }
        let (until, _) = many.stored_within(0..70_000, Bytes::new(u64::MAX));
        assert_eq!(until, u32::from(NO_ORIGIN));
        let mut bytes = Vec::new();
        many.store(0..until, &mut bytes);
        let mut back = Rows::default();
        assert_eq!(back.restore(&bytes, until - 1, ALL), Some(until));
        assert_eq!(texts(&back)[0].2, Some(origin(&(until - 1).to_string())));
    }

    #[test]
    fn bytes_that_are_cut_or_of_another_version_are_refused_without_a_panic() {
        let mut bytes = Vec::new();
        rows().store(0..5, &mut bytes);
        for end in 0..bytes.len() {
            let read = Rows::default().restore(&bytes[..end], 0, ALL);
            assert!(read.is_none_or(|rows| rows < 5), "cut at {end}");
        }
        bytes[0] = 2;
        assert_eq!(Rows::default().restore(&bytes, 0, ALL), None);
    }
}
