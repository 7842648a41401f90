//! The state of a `reduce` in a checkpoint.
//!
//! ```text
//! version of this form: 1 (1 byte)
//! print of the configuration: text
//! fields further down: how many (4), each its path: text
//! stream in which outputs are numbered (16), number of the next one (8)
//! groups: how many (4), each: key, records, remaining times, fields, fields further down
//! outputs that are not safe: how many (4), each: number (8), record as JSON: text
//! whether the ids of inputs are known (1); streams: how many (4), each: stream (16), runs: how many (4), each two numbers (8)
//! ```
//!
//! Numbers are little-endian, a text follows its length (4).

use tidegate_flow::Time;
use tidegate_record::{Path, StreamId, json};
use tidegate_runtime::checkpoint::Restored;

use super::book::Inner;
use super::group::{Group, Nested};
use super::merge::Strategy;
use crate::checkpoints::{Known, Put, Take};

/// What the state is, in the head of its file: "redu".
pub(super) const FORM: u32 = u32::from_le_bytes(*b"redu");

const VERSION: u8 = 1;

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

pub(super) fn put(from: &Inner, now: Time, into: &mut Vec<u8>) {
    into.put_u8(VERSION);
    into.put_text(from.spec.print.as_bytes());
    into.put_u32(count(from.spec.nested.len()));
    from.spec.nested.iter().for_each(|nested| into.put_text(nested.text.as_bytes()));
    into.extend_from_slice(&from.stream.bits().to_le_bytes());
    into.put_u64(from.next_output);
    into.put_u32(count(from.groups.len()));
    from.groups.values().for_each(|group| group.put(now, into));
    into.put_u32(count(from.outputs.len()));
    for (number, record) in &from.outputs {
        into.put_u64(*number);
        into.put_text(record);
    }
    into.put_u8(u8::from(from.known.is_some()));
    if let Some(known) = &from.known {
        known.put(into);
    }
}

/// What a checkpoint has.
struct Saved {
    print: String,
    nested: Vec<Nested>,
    stream: StreamId,
    next_output: u64,
    known: Option<Known>,
    groups: Vec<Group>,
    outputs: Vec<(u64, Vec<u8>)>,
}

/// Takes the state over; groups of another configuration end at once.
pub(super) fn take(into: &mut Inner, saved: Restored<'_>) -> Result<(), String> {
    let mut bytes = Take(saved.bytes);
    if bytes.u8() != Some(VERSION) {
        return Err("its state is of another version".to_owned());
    }
    let saved = read(&mut bytes, saved).filter(|_| bytes.is_empty()).ok_or("its state cannot be read")?;
    into.next_output = saved.next_output;
    into.stream = saved.stream;
    if into.bounds.knows {
        into.known = Some(saved.known.unwrap_or_default());
    }
    saved.outputs.into_iter().for_each(|(number, record)| into.restore_output(number, record));
    let is_same = saved.print == into.spec.print;
    for group in saved.groups {
        if is_same && group.nested_fit(&into.spec) {
            into.insert(group);
        } else {
            into.output(group.write(&saved.nested));
        }
    }
    Ok(())
}

fn read(from: &mut Take<'_>, saved: Restored<'_>) -> Option<Saved> {
    let print = String::from_utf8(from.text()?.to_vec()).ok()?;
    let mut nested = Vec::new();
    for _ in 0..from.u32()? {
        let text = String::from_utf8(from.text()?.to_vec()).ok()?;
        let path = Path::parse(&text).ok()?;
        nested.push(Nested { text, path, strategy: Strategy::Discard });
    }
    let stream = StreamId::from_bits(u128::from_le_bytes(from.bytes(16)?.try_into().ok()?));
    let next_output = from.u64()?;
    let mut groups = Vec::new();
    for _ in 0..from.u32()? {
        groups.push(Group::take(from, saved.now, saved.age)?);
    }
    let mut outputs = Vec::new();
    for _ in 0..from.u32()? {
        let (number, record) = (from.u64()?, from.text()?.to_vec());
        json::validate(&record).ok().filter(|_| number < next_output)?;
        outputs.push((number, record));
    }
    let known = if from.u8()? == 1 { Some(Known::take(from)?) } else { None };
    Some(Saved { print, nested, stream, next_output, known, groups, outputs })
}
