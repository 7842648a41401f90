//! What a batch is beside its rows, as bytes before them.
//!
//! ```text
//! offset size
//!      0    1  version of the form: 2; 1 is read too
//!      1    1  flags: 1 = every row has the deadline at offset 4; 2 = each row has one; 4 = dead letters
//!      2    1  lane
//!      3    1  bucket
//!      4  8*n  deadlines, nanoseconds since 1970: none, one, or one a row after their number (4); all ones for never
//!              for dead letters: when they were first refused (8; not in version 1), when they were given up (8), attempts (4), kind (1: 0 for now, 1 for good), the name of
//!              the stage and the cause, each with its length (4) before it
//!              the rows, as [`Stored`](tidegate_flow::Stored) writes them
//! ```
//!
//! All numbers are little endian.

use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Deadlines, Meta, Nack, NackKind, Note, Time};

const VERSION: u8 = 2;
/// Before dead letters kept when they were first refused.
const WITHOUT_FIRST: u8 = 1;
const ONE_DEADLINE: u8 = 1;
const DEADLINES: u8 = 2;
const LETTERS: u8 = 4;

/// Two clocks at one moment: the time since the pipeline started, and the time of day in nanoseconds since 1970.
#[derive(Copy, Clone, Debug)]
pub(super) struct Moment {
    pub(super) here: Time,
    pub(super) wall: u64,
}

impl Moment {
    fn to_wall(self, time: Time) -> u64 {
        match (time == Time::MAX, time >= self.here) {
            (true, _) => u64::MAX,
            (_, true) => self.wall.saturating_add(nanos(time.since(self.here))),
            (_, false) => self.wall.saturating_sub(nanos(self.here.since(time))),
        }
    }

    /// What passed before the pipeline started has its start for a time.
    fn to_here(self, wall: u64) -> Time {
        if wall == u64::MAX {
            return Time::MAX;
        }
        let start = self.wall.saturating_sub(nanos(self.here.since(Time::ZERO)));
        Time::ZERO + Duration::from_nanos(wall.saturating_sub(start))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Appends what is known of rows `rows` of a batch.
pub(super) fn write(meta: &Meta, rows: std::ops::Range<u32>, now: Moment, out: &mut Vec<u8>) {
    let deadlines = match &meta.deadlines {
        Deadlines::None => 0,
        Deadlines::All(_) => ONE_DEADLINE,
        Deadlines::Rows(_) => DEADLINES,
    };
    let letters = if meta.dead_letter.is_some() { LETTERS } else { 0 };
    out.extend_from_slice(&[VERSION, deadlines | letters, meta.lane, meta.bucket]);
    match &meta.deadlines {
        Deadlines::None => {}
        Deadlines::All(time) => out.extend_from_slice(&now.to_wall(*time).to_le_bytes()),
        Deadlines::Rows(_) => {
            out.extend_from_slice(&(rows.end - rows.start).to_le_bytes());
            let each = rows.map(|row| now.to_wall(meta.deadlines.of_row(row).unwrap_or(Time::MAX)));
            each.for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
        }
    }
    if let Some(note) = &meta.dead_letter {
        out.extend_from_slice(&now.to_wall(note.first).to_le_bytes());
        out.extend_from_slice(&now.to_wall(note.at).to_le_bytes());
        out.extend_from_slice(&note.attempts.to_le_bytes());
        out.push(u8::from(note.nack.kind == NackKind::Permanent));
        for text in [&*note.origin, note.nack.cause.as_str()] {
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Reads what [`write`] wrote; leaves the rows in `bytes`. `None` where it wrote nothing like this.
pub(super) fn read(bytes: &mut &[u8], now: Moment) -> Option<Meta> {
    let [version, flags, lane, bucket] = array::<4>(bytes)?;
    if !(version == VERSION || version == WITHOUT_FIRST) || flags > (ONE_DEADLINE | DEADLINES | LETTERS) {
        return None;
    }
    let mut meta = Meta { born: now.here, lane, bucket, ..Meta::default() };
    if flags & ONE_DEADLINE != 0 {
        meta.deadlines = Deadlines::All(now.to_here(number(bytes)?));
    } else if flags & DEADLINES != 0 {
        let count = u32::from_le_bytes(array(bytes)?);
        let column = (0..count).map(|_| Some(now.to_here(number(bytes)?))).collect::<Option<Vec<Time>>>()?;
        meta.deadlines = Deadlines::from_column(column);
    }
    if flags & LETTERS != 0 {
        let first = if version == WITHOUT_FIRST { None } else { Some(now.to_here(number(bytes)?)) };
        let at = now.to_here(number(bytes)?);
        let attempts = u32::from_le_bytes(array(bytes)?);
        let [for_good] = array(bytes)?;
        let origin = Arc::from(text(bytes)?);
        let cause = text(bytes)?;
        let nack = if for_good == 0 { Nack::transient(cause) } else { Nack::permanent(cause) };
        meta.dead_letter = Some(Arc::new(Note { nack, origin, attempts, first: first.unwrap_or(at), at }));
    }
    Some(meta)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    array(bytes).map(u64::from_le_bytes)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = u32::from_le_bytes(array(bytes)?) as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    const BEFORE: Moment = Moment { here: Time::ZERO, wall: 1_000_000_000_000 };

    fn there_and_back(meta: &Meta, rows: std::ops::Range<u32>) -> Meta {
        let mut bytes = Vec::new();
        write(meta, rows, Moment { here: at(10), ..BEFORE }, &mut bytes);
        bytes.extend_from_slice(b"rows");
        for end in 0..bytes.len() - 4 {
            assert!(read(&mut &bytes[..end], BEFORE).is_none(), "cut at {end}");
        }
        let mut rest = &bytes[..];
        let read = read(&mut rest, Moment { here: at(10), ..BEFORE }).unwrap();
        assert_eq!(rest, b"rows");
        read
    }

    #[test]
    fn a_batch_keeps_its_place_its_deadlines_and_why_it_was_given_up() {
        let column = Deadlines::from_column(vec![at(1), at(20), Time::MAX, at(30)]);
        let meta = Meta { lane: 2, bucket: 7, deadlines: column, ..Meta::default() };
        let read = there_and_back(&meta, 1..4);
        assert_eq!((read.lane, read.bucket, read.born), (2, 7, at(10)));
        assert_eq!(read.deadlines, Deadlines::from_column(vec![at(20), Time::MAX, at(30)]));
        let note = Note { nack: Nack::permanent("no"), origin: "out".into(), attempts: 3, first: at(4), at: at(9) };
        let letters = Meta { deadlines: Deadlines::All(at(11)), dead_letter: Some(Arc::new(note)), ..Meta::default() };
        let read = there_and_back(&letters, 0..1);
        assert_eq!((&read.deadlines, &read.dead_letter), (&letters.deadlines, &letters.dead_letter));
    }

    #[test]
    fn letters_of_the_version_before_were_first_refused_when_they_were_given_up() {
        let note = Note { nack: Nack::permanent("no"), origin: "out".into(), attempts: 3, first: at(9), at: at(9) };
        let letters = Meta { dead_letter: Some(Arc::new(note)), ..Meta::default() };
        let mut bytes = Vec::new();
        write(&letters, 0..1, Moment { here: at(10), ..BEFORE }, &mut bytes);
        bytes[0] = WITHOUT_FIRST;
        bytes.drain(4..12);
        let read = read(&mut &bytes[..], Moment { here: at(10), ..BEFORE }).unwrap();
        assert_eq!(read.dead_letter, letters.dead_letter);
        bytes[0] = VERSION + 1;
        assert!(super::read(&mut &bytes[..], BEFORE).is_none(), "a version of the future");
    }

    #[test]
    fn a_deadline_is_a_time_of_day_for_the_next_process() {
        let mut bytes = Vec::new();
        let meta = Meta { deadlines: Deadlines::All(at(15)), ..Meta::default() };
        write(&meta, 0..1, Moment { here: at(10), wall: 1_000_000_000_000 }, &mut bytes);
        let restarted = Moment { here: at(1), wall: 1_003_000_000_000 };
        assert_eq!(read(&mut &bytes[..], restarted).unwrap().deadlines, Deadlines::All(at(3)), "two seconds are left");
        let late = Moment { here: at(1), wall: 1_010_000_000_000 };
        assert_eq!(read(&mut &bytes[..], late).unwrap().deadlines, Deadlines::All(Time::ZERO));
    }
}
