//! Rows as bytes on disk, and back.
//!
//! ```text
//! offset size
//!      0    1  version of the form: 2
//!      1    2  number of origins; then each:
//!              received (8), flags (1: bit 0 = there is a host), source type, host, number of fields (2), and for
//!              each field its name and its JSON text. Texts have their length (4) before them
//!           2  number of streams (not in version 1); then each: its 128 bits (16)
//!              rows, each:
//!           1  1 for an object, 0 for a message; plus, for its id (not in version 1):
//!              2 = it is the next number (or part) of the row before, 4 = it follows here
//!           2  number of its origin
//!         0/14 its id: number of its stream (2), number (8), part (4)
//!           4  length
//!              its bytes, with the edits made
//! ```
//!
//! All numbers are little endian. A row that has lost its origin has number 65535 for it. A row of version 1 has no id.

use std::ops::Range;
use std::sync::Arc;

use tidegate_flow::{Bytes, Payload as _, Stored, Weight};

use super::Rows;
use crate::id::{RecordId, StreamId};
use crate::origin::{JsonText, Origin};
use crate::row::Form;
use crate::time::Timestamp;

const VERSION: u8 = 2;
/// Without ids.
const FIRST_VERSION: u8 = 1;
const NO_ORIGIN: u16 = u16::MAX;

/// So many origins can have a number in one piece of bytes.
const MOST_ORIGINS: usize = NO_ORIGIN as usize;

/// What stands around a row, at the most, beyond its [weight](crate::Row::weight).
const AROUND_ROW: u64 = 64;

const OBJECT: u8 = 1;
const NEXT_ID: u8 = 2;
const OWN_ID: u8 = 4;

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
        let mut streams: Vec<StreamId> = Vec::new();
        for row in rows.clone() {
            let row = self.row(row);
            numbers.push(row.origin().map_or(NO_ORIGIN, |origin| number_of(origin, &mut origins)));
            if let Some(id) = row.id()
                && streams.last() != Some(&id.stream)
                && !streams.contains(&id.stream)
            {
                streams.push(id.stream);
            }
        }
        // What is beyond has no id: it may come twice, but is never taken for another.
        streams.truncate(usize::from(u16::MAX));
        out.push(VERSION);
        out.extend_from_slice(&u16::try_from(origins.len()).unwrap_or(NO_ORIGIN).to_le_bytes());
        origins.iter().for_each(|origin| write_origin(origin, out));
        out.extend_from_slice(&u16::try_from(streams.len()).unwrap_or(u16::MAX).to_le_bytes());
        streams.iter().for_each(|stream| out.extend_from_slice(&stream.bits().to_le_bytes()));
        let mut next = None;
        for (row, number) in rows.zip(numbers) {
            let row = self.row(row);
            let id = row.id();
            let place = id.and_then(|id| streams.iter().position(|stream| *stream == id.stream));
            let place = place.and_then(|place| u16::try_from(place).ok());
            let flag = match place {
                None => 0,
                Some(_) if id == next => NEXT_ID,
                Some(_) => OWN_ID,
            };
            out.push(if row.form() == Form::Object { OBJECT | flag } else { flag });
            out.extend_from_slice(&number.to_le_bytes());
            if let (Some(place), Some(id), OWN_ID) = (place, id, flag) {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&id.number.to_le_bytes());
                out.extend_from_slice(&id.part.to_le_bytes());
            }
            next = place.and(id).and_then(RecordId::next);
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            row.write_edited(out);
            let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    fn restore(&mut self, bytes: &[u8], from: u32, room: Weight) -> Option<u32> {
        let mut bytes = bytes;
        let [version] = array(&mut bytes)?;
        if version != VERSION && version != FIRST_VERSION {
            return None;
        }
        let count = u16::from_le_bytes(array(&mut bytes)?);
        let origins = (0..count).map(|_| read_origin(&mut bytes).map(Arc::new)).collect::<Option<Vec<_>>>()?;
        let count = if version == FIRST_VERSION { 0 } else { u16::from_le_bytes(array(&mut bytes)?) };
        let stream = |bytes: &mut &[u8]| array(bytes).map(|bits| StreamId::from_bits(u128::from_le_bytes(bits)));
        let streams = (0..count).map(|_| stream(&mut bytes)).collect::<Option<Vec<_>>>()?;
        let none = Arc::new(Origin::default());
        let (mut row, mut last) = (0_u32, None);
        while !bytes.is_empty() {
            let [flags] = array(&mut bytes)?;
            let number = u16::from_le_bytes(array(&mut bytes)?);
            let id = read_id(flags, last, &streams, &mut bytes)?;
            last = id;
            let text = text(&mut bytes)?;
            if row >= from {
                let weight = self.weight();
                if row > from && (weight.records >= room.records || weight.bytes >= room.bytes) {
                    return Some(row);
                }
                let origin = if number == NO_ORIGIN { &none } else { origins.get(usize::from(number))? };
                self.push_copy_as(id, text, if flags & OBJECT == 0 { Form::Message } else { Form::Object }, origin);
            }
            row += 1;
        }
        Some(row)
    }
}

/// The id of a row with these flags, behind one with the id `last`; `None` where there is no such id.
fn read_id(flags: u8, last: Option<RecordId>, streams: &[StreamId], bytes: &mut &[u8]) -> Option<Option<RecordId>> {
    match flags & !OBJECT {
        0 => Some(None),
        NEXT_ID => last?.next().map(Some),
        OWN_ID => {
            let stream = *streams.get(usize::from(u16::from_le_bytes(array(bytes)?)))?;
            let number = u64::from_le_bytes(array(bytes)?);
            let part = u32::from_le_bytes(array(bytes)?);
            Some(Some(RecordId { stream, number, part }))
        }
        _ => None,
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

    fn identified() -> Rows {
        let (one, other) = (RecordId::new(StreamId::of(&[b"1"]), 7), RecordId::new(StreamId::of(&[b"2"]), 1 << 40));
        let ids = [Some(one), Some(RecordId { number: 8, ..one }), None, Some(other), Some(one), Some(one.part(3))];
        let mut rows = Rows::default();
        for (id, text) in ids.into_iter().zip(["a", "b", "c", "d", "e", "f"]) {
            rows.push_copy_as(id, text.as_bytes(), Form::Message, &origin("/x"));
        }
        rows
    }

    type Seen = (Form, Vec<u8>, Option<Arc<Origin>>, Option<RecordId>);

    fn texts(rows: &Rows) -> Vec<Seen> {
        let text = |row: crate::Row<'_>| {
            let mut text = Vec::new();
            row.write_edited(&mut text);
            (row.form(), text, row.origin().cloned(), row.id())
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
    fn ids_come_back_also_where_rows_before_are_left_out() {
        let rows = identified();
        assert_eq!(rows.row(5).id().map(|id| (id.number, id.part)), Some((7, 3)));
        let mut bytes = Vec::new();
        rows.store(0..6, &mut bytes);
        for from in 0..6 {
            let mut back = Rows::default();
            assert_eq!(back.restore(&bytes, from, ALL), Some(6));
            assert_eq!(texts(&back), texts(&rows)[from as usize..]);
        }
        let mut some = Vec::new();
        rows.store(1..5, &mut some);
        let mut back = Rows::default();
        assert_eq!((back.restore(&some, 0, ALL), texts(&back)), (Some(4), texts(&rows)[1..5].to_vec()));
        for end in 0..bytes.len() {
            assert!(Rows::default().restore(&bytes[..end], 0, ALL).is_none_or(|rows| rows < 6), "cut at {end}");
        }
    }

    #[test]
    fn rows_of_the_first_version_are_read_and_have_no_ids() {
        let mut old = vec![1, 1, 0];
        write_origin(&origin("/x"), &mut old);
        for (form, text) in [(0_u8, "a"), (1, "{}")] {
            old.push(form);
            old.extend_from_slice(&0_u16.to_le_bytes());
            write_text(text.as_bytes(), &mut old);
        }
        let mut back = Rows::default();
        assert_eq!(back.restore(&old, 0, ALL), Some(2));
        let from = Some(origin("/x"));
        let expected = [(Form::Message, b"a".to_vec(), from.clone(), None), (Form::Object, b"{}".to_vec(), from, None)];
        assert_eq!(texts(&back), expected);
    }

    #[test]
    fn bytes_that_are_cut_or_of_another_version_are_refused_without_a_panic() {
        let mut bytes = Vec::new();
        rows().store(0..5, &mut bytes);
        for end in 0..bytes.len() {
            let read = Rows::default().restore(&bytes[..end], 0, ALL);
            assert!(read.is_none_or(|rows| rows < 5), "cut at {end}");
        }
        bytes[0] = 3;
        assert_eq!(Rows::default().restore(&bytes, 0, ALL), None);
    }
}
