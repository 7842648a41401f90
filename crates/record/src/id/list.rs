//! The ids of the records of a request as one short text, for a header.
//!
//! ```text
//! ids    = "1" *( "," run )            the version, and the records in the order of the body
//! run    = [ stream ":" ] number [ "." part ] [ "*" count ]
//!        / "_" [ "*" count ]           records that have no id
//! stream = 22 digits / "$" place       a stream; or one that was named before, by its place among those, from 0
//! number = decimal / "+" decimal       or how far behind the number of the record before
//! ```
//!
//! A run without a stream is of that of the run before. `count` records of a run have numbers (or, of a record that became
//! several, parts) one behind the other. `1,Af..Q:100*3,+2,$0:7` names the records 100, 101, 102 and 104 of a stream, and 7
//! of it. The text depends on the ids alone: a record has the same one however requests are cut.

use std::fmt::Write as _;

use super::{RecordId, StreamId};

/// Ids one behind the other.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct IdRun {
    /// The first of them; `None` for records without an id.
    pub first: Option<RecordId>,
    /// How many; at least one.
    pub count: u32,
}

/// Why a text is no list of ids.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum InvalidIds {
    /// It is of a version that is not known here.
    Version,
    /// The run at this place (from 0) is not what it should be.
    Run(usize),
    /// It names more records than that.
    TooMany(u32),
}

impl std::fmt::Display for InvalidIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version => f.write_str("ids of another version"),
            Self::Run(at) => write!(f, "the run {} of ids is not `stream:number*count`", at + 1),
            Self::TooMany(most) => write!(f, "ids for more than {most} records"),
        }
    }
}

impl std::error::Error for InvalidIds {}

const VERSION: &str = "1";

/// What is known of the runs so far.
#[derive(Clone, Debug, Default)]
struct Known {
    streams: Vec<StreamId>,
    /// The last id that was named.
    last: Option<RecordId>,
}

/// The ids as text of at most `most` bytes; `None` where that is too short, or no record has an id.
#[must_use]
pub fn write_ids(ids: impl Iterator<Item = Option<RecordId>>, most: usize) -> Option<String> {
    let (mut text, mut known) = (VERSION.to_owned(), Known::default());
    let mut run: Option<(IdRun, Option<RecordId>)> = None;
    for id in ids {
        if let Some((run, next)) = &mut run
            && id == *next
            && (id.is_some() || run.first.is_none())
        {
            run.count += 1;
            *next = id.and_then(RecordId::next);
            continue;
        }
        if let Some((run, _)) = run.replace((IdRun { first: id, count: 1 }, id.and_then(RecordId::next))) {
            known.write(run, &mut text);
            if text.len() > most {
                return None;
            }
        }
    }
    if let Some((run, _)) = run {
        known.write(run, &mut text);
    }
    (text.len() <= most && known.last.is_some()).then_some(text)
}

/// A list of ids that was read, to be taken from its front. Holds its text, and 16 bytes for each stream in it.
#[derive(Clone, Debug)]
pub struct IdList {
    text: Box<str>,
    /// Where in the text the next run begins.
    at: usize,
    /// What is left of the run before.
    run: Option<IdRun>,
    known: Known,
    count: u32,
}

impl IdList {
    /// Reads ids, of at most `most` records.
    ///
    /// # Errors
    /// Why the text is no list of them.
    pub fn parse(text: &str, most: u32) -> Result<Self, InvalidIds> {
        let text = text.trim();
        let rest = match text.strip_prefix(VERSION) {
            Some("") => text.len(),
            Some(rest) if rest.starts_with(',') => text.len() - rest.len() + 1,
            _ => return Err(InvalidIds::Version),
        };
        let has_runs = text.len() > VERSION.len();
        let mut list = Self { text: text.into(), at: rest, run: None, known: Known::default(), count: 0 };
        let (mut known, mut total) = (Known::default(), 0_u32);
        for (at, word) in text[rest..].split(',').enumerate().filter(|_| has_runs) {
            let run = known.read(word.trim()).ok_or(InvalidIds::Run(at))?;
            total = total.checked_add(run.count).filter(|total| *total <= most).ok_or(InvalidIds::TooMany(most))?;
        }
        list.count = total;
        Ok(list)
    }

    /// Of how many records they are that were not taken yet.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Takes the next ids that follow each other, at most `most` (at least 1).
    pub fn take(&mut self, most: u32) -> Option<IdRun> {
        let run = match self.run.take() {
            Some(run) => run,
            None => {
                let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
                let word = rest.split(',').next()?;
                self.at += word.len() + 1;
                // It could be read when it came.
                self.known.read(word.trim())?
            }
        };
        let taken = run.count.min(most.max(1));
        self.count -= taken;
        if taken < run.count {
            self.run = Some(IdRun { first: run.first.and_then(|first| first.behind(taken)), count: run.count - taken });
        }
        Some(IdRun { first: run.first, count: taken })
    }
}

impl Known {
    fn write(&mut self, run: IdRun, text: &mut String) {
        text.push(',');
        // Writing to a string does not fail.
        let _written = match run.first {
            None => text.write_char('_'),
            Some(first) => self.write_first(first, text),
        };
        if run.count > 1 {
            let _written = write!(text, "*{}", run.count);
        }
        self.pass(run);
    }

    fn write_first(&mut self, first: RecordId, text: &mut String) -> std::fmt::Result {
        let same = self.last.filter(|last| last.stream == first.stream);
        if same.is_none() {
            match self.streams.iter().position(|stream| *stream == first.stream) {
                Some(place) => write!(text, "${place}:")?,
                None => {
                    self.streams.push(first.stream);
                    write!(text, "{}:", first.stream)?;
                }
            }
        }
        match same.and_then(|last| first.number.checked_sub(last.number)) {
            Some(behind) if first.number > 9 => write!(text, "+{behind}")?,
            _ => write!(text, "{}", first.number)?,
        }
        if first.part > 0 { write!(text, ".{}", first.part) } else { Ok(()) }
    }

    fn read(&mut self, word: &str) -> Option<IdRun> {
        let (ids, count) = match word.split_once('*') {
            Some((ids, count)) => (ids, decimal(count).and_then(|count| u32::try_from(count).ok())?),
            None => (word, 1),
        };
        if count == 0 {
            return None;
        }
        let first = if ids == "_" { None } else { Some(self.read_first(ids)?) };
        let run = IdRun { first, count };
        self.pass(run)?;
        Some(run)
    }

    fn read_first(&mut self, ids: &str) -> Option<RecordId> {
        let (stream, number) = match ids.rsplit_once(':') {
            None => (self.last?.stream, ids),
            Some((name, number)) => match name.strip_prefix('$') {
                Some(place) => (*self.streams.get(usize::try_from(decimal(place)?).ok()?)?, number),
                None => {
                    let stream = StreamId::parse(name)?;
                    if !self.streams.contains(&stream) {
                        self.streams.push(stream);
                    }
                    (stream, number)
                }
            },
        };
        let (number, part) = match number.split_once('.') {
            Some((number, part)) => (number, decimal(part).and_then(|part| u32::try_from(part).ok())?),
            None => (number, 0),
        };
        let number = match number.strip_prefix('+') {
            Some(behind) => self.last.filter(|last| last.stream == stream)?.number.checked_add(decimal(behind)?)?,
            None => decimal(number)?,
        };
        Some(RecordId { stream, number, part })
    }

    /// Goes to the last id of a run; `None` where there are no such ids.
    fn pass(&mut self, run: IdRun) -> Option<()> {
        if let Some(first) = run.first {
            self.last = Some(first.behind(run.count - 1)?);
        }
        Some(())
    }
}

fn decimal(text: &str) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn id(stream: u128, number: u64) -> RecordId {
        RecordId::new(StreamId::from_bits(stream), number)
    }

    fn all(mut list: IdList, most: u32) -> Vec<Option<RecordId>> {
        let mut all = Vec::new();
        while let Some(run) = list.take(most) {
            assert!(run.count <= most);
            all.extend((0..run.count).map(|at| run.first.map(|first| first.behind(at).unwrap())));
        }
        assert_eq!(list.count(), 0);
        all
    }

    #[test]
    fn ids_are_text_and_back() {
        let (a, b) = (id(1, 100), id(u128::MAX, 3));
        let lists: [&[Option<RecordId>]; 8] = [
            &[Some(a)],
            &[Some(a), Some(id(1, 101)), Some(id(1, 102)), Some(id(1, 104)), Some(id(1, 50))],
            &[Some(a), Some(b), Some(id(1, 101)), Some(id(u128::MAX, 4)), Some(id(u128::MAX, 2))],
            &[None, Some(a), None, None, Some(id(1, 101)), None],
            &[Some(a.part(1)), Some(a.part(2)), Some(id(1, 101)), Some(id(1, 101).part(1))],
            &[Some(a.part(2)), Some(a.part(3)), Some(a.part(7))],
            &[Some(id(1, u64::MAX)), Some(id(1, u64::MAX)), Some(id(1, 0))],
            &[Some(a), Some(a), Some(a)],
        ];
        for list in lists {
            let text = write_ids(list.iter().copied(), 4096).unwrap();
            let read = IdList::parse(&text, 100).unwrap();
            assert_eq!(read.count() as usize, list.len(), "{text}");
            (1..4).for_each(|most| assert_eq!(all(read.clone(), most), list, "{text}"));
        }
        let many = (0..10_000).map(|number| Some(id(5, 77 + number)));
        assert_eq!(write_ids(many, 64).unwrap(), format!("1,{}:77*10000", StreamId::from_bits(5)));
    }

    #[test]
    fn the_text_is_bounded_and_says_something() {
        let sparse = || (0..100).map(|number| Some(id(5, 1_000 + 10 * number)));
        let text = write_ids(sparse(), 4096).unwrap();
        assert!(text.len() < 430, "four bytes a record that stands alone: {}", text.len());
        assert_eq!(write_ids(sparse(), text.len() - 1), None);
        assert_eq!(write_ids([None, None].into_iter(), 4096), None);
        assert_eq!(write_ids(std::iter::empty(), 4096), None);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_place() {
        let stream = StreamId::from_bits(5).to_string();
        for (text, error) in [
            ("".to_owned(), InvalidIds::Version),
            ("2,x".to_owned(), InvalidIds::Version),
            ("12".to_owned(), InvalidIds::Version),
            ("1,".to_owned(), InvalidIds::Run(0)),
            ("1,7".to_owned(), InvalidIds::Run(0)),
            (format!("1,{stream}:7,+1,x"), InvalidIds::Run(2)),
            (format!("1,{stream}:+1"), InvalidIds::Run(0)),
            (format!("1,{stream}:1*0"), InvalidIds::Run(0)),
            (format!("1,{stream}:1,$1:1"), InvalidIds::Run(1)),
            (format!("1,{stream}:{}*2", u64::MAX), InvalidIds::Run(0)),
            (format!("1,{stream}:1.4294967295*2"), InvalidIds::Run(0)),
            (format!("1,{stream}:1*11"), InvalidIds::TooMany(10)),
            (format!("1,{stream}:1*10,_"), InvalidIds::TooMany(10)),
        ] {
            assert_eq!(IdList::parse(&text, 10).unwrap_err(), error, "{text}");
        }
        assert_eq!(IdList::parse("1", 10).unwrap().count(), 0);
    }
}
