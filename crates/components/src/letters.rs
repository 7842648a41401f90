//! Dead letters on disk, and what was left in buffers: looked at, marked as done, and read again by a pipeline of its own,
//! also while the pipeline that writes them runs.
//!
//! A [`Stock`] is the folder of one log. Whoever works with its records one by one keeps [`Marker`]s beside the log,
//! under a lock of its own; the log itself is never changed while somebody has it open.

mod marker;
mod replay;
mod wish;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tidegate_flow::{Meta, NackKind, Note, Time};
use tidegate_record::{JsonText, Row, Timestamp};
use tidegate_runtime::durable::{Marks, Renewal, Survey, batch_of};

pub use self::marker::Marker;
pub use self::replay::{Desk, Replay, Tally};
pub use self::wish::Wish;
use crate::Rows;
use crate::buffers;
use crate::wiring::{BUFFERS, LETTERS, folder_of, letters_folder, wall_nanos};
pub use tidegate_runtime::durable::RealDisk;

/// The log of one dead letter queue, or of one buffer.
#[derive(Clone, Debug)]
pub struct Stock {
    folder: PathBuf,
}

/// A record in a stock.
#[derive(Debug)]
pub struct Letter<'a> {
    /// Its number in the log.
    pub number: u64,
    /// When it came into the log.
    pub stored: Timestamp,
    /// What is known of its batch.
    pub meta: &'a Meta,
    /// What came of it since, where it was tried again.
    pub renewal: Option<&'a Renewal>,
    /// The record.
    pub row: Row<'a>,
}

/// What a look at a stock found.
#[derive(Debug)]
pub struct Looked {
    /// The log, file by file.
    pub survey: Survey,
    /// Records of a version that this program does not read.
    pub unknown: u64,
}

/// The names of the components that have, or had, dead letters in this data directory, in alphabetical order.
///
/// # Errors
/// The directory cannot be read, or is not there. That there are no letters in it is no error.
pub fn names(data_dir: &Path) -> io::Result<Vec<String>> {
    buffers::names_in(&data_dir.join(LETTERS))
}

impl Stock {
    /// The dead letters of a component.
    ///
    /// # Errors
    /// There are none.
    pub fn of_letters(data_dir: &Path, name: &str) -> io::Result<Self> {
        Self::at(
            letters_folder(data_dir, name),
            &format!("{} has no dead letters of `{name}`", shown(data_dir, LETTERS)),
        )
    }

    /// The buffer of a component.
    ///
    /// # Errors
    /// There is none.
    pub fn of_buffer(data_dir: &Path, name: &str) -> io::Result<Self> {
        Self::at(folder_of(data_dir, name), &format!("{} has no buffer of `{name}`", shown(data_dir, BUFFERS)))
    }

    fn at(folder: PathBuf, missing: &str) -> io::Result<Self> {
        if folder.is_dir() { Ok(Self { folder }) } else { Err(io::Error::new(io::ErrorKind::NotFound, missing)) }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps pipelines from opening the log, for as long as what is returned lives.
    ///
    /// # Errors
    /// A pipeline has it open ([`io::ErrorKind::WouldBlock`]), or the folder cannot be opened.
    pub fn lock(&self) -> io::Result<RealDisk> {
        RealDisk::at(&self.folder)
    }

    /// Shows the records that are neither settled nor done, the oldest first, for as long as `see` wants more. Nothing is
    /// locked or changed. In the memory of one segment (8 MiB, or one record that is larger).
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn look(&self, mut see: impl FnMut(&Letter<'_>) -> bool) -> io::Result<Looked> {
        let disk = RealDisk::to_look_at(&self.folder);
        // Twice: what is settled and which log it is are known when all of it was looked at.
        let before = Survey::of(&disk)?;
        let marks = Marks::read(&disk, before.log.unwrap_or(0))?;
        let settled = before.settled();
        let mut unknown = 0;
        let survey = Survey::visit(&disk, |header, payload| {
            if header.end() <= settled {
                return true;
            }
            let Some((meta, rows)) = batch_of::<Rows>(payload) else {
                unknown += u64::from(header.records);
                return true;
            };
            let stored = Timestamp::from_unix_nanos(i64::try_from(header.time).unwrap_or(i64::MAX));
            let numbered = (header.first..).zip(rows.iter());
            let mut waiting = numbered.filter(|(number, _)| *number >= settled && !marks.is_done(*number));
            waiting
                .all(|(number, row)| see(&Letter { number, stored, meta: &meta, renewal: marks.renewal(number), row }))
        })?;
        Ok(Looked { survey, unknown })
    }
}

impl Letter<'_> {
    fn note(&self) -> Option<&Note> {
        self.meta.dead_letter.as_deref()
    }

    /// What was wrong, the last time.
    #[must_use]
    pub fn cause(&self) -> &str {
        let of_note = || self.note().map_or("", |note| note.nack.cause.as_str());
        self.renewal.map_or_else(of_note, |renewal| &renewal.cause)
    }

    /// The component that gave it up; `None` where nobody has.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.note().map(|note| &*note.origin)
    }

    /// Whether it was refused for good, or given up after tries that might have passed.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.note().map(|note| note.nack.kind) {
            Some(NackKind::Permanent) => "permanent",
            Some(NackKind::Transient) => "transient",
            None => "none",
        }
    }

    /// How often it was tried.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        let of_note = self.note().map_or(0, |note| u64::from(note.attempts));
        of_note + self.renewal.map_or(0, |renewal| u64::from(renewal.attempts))
    }

    /// When it was first refused.
    #[must_use]
    pub fn first(&self) -> Timestamp {
        self.note().map_or(self.stored, |note| day(note.first))
    }

    /// When it was last refused.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        let of_note = || self.note().map_or(self.stored, |note| day(note.at));
        self.renewal.map_or_else(of_note, |renewal| from_nanos(renewal.at))
    }

    /// How long ago it was last refused.
    #[must_use]
    pub fn age(&self) -> Duration {
        let last = u64::try_from(self.last().unix_nanos()).unwrap_or(0);
        Duration::from_nanos(wall_nanos().saturating_sub(last))
    }

    /// The record byte for byte, as a JSON text under the key `text`, or where it is no UTF-8 under `base64`.
    #[must_use]
    pub fn bytes_json(&self) -> String {
        let bytes = self.row.bytes();
        let (key, text) = match std::str::from_utf8(bytes) {
            Ok(text) => ("text", text.to_owned()),
            Err(_) => ("base64", BASE64_STANDARD.encode(bytes)),
        };
        format!("\"{key}\":{}", String::from_utf8_lossy(JsonText::string(&text).as_bytes()))
    }

    /// What is known of it beside the record, as a JSON object.
    #[must_use]
    pub fn facts(&self) -> String {
        let text = |text: &str| String::from_utf8_lossy(JsonText::string(text).as_bytes()).into_owned();
        format!(
            "{{\"number\":{},\"cause\":{},\"kind\":\"{}\",\"origin\":{},\"attempts\":{},\"first\":\"{}\",\"last\":\"{}\"}}",
            self.number,
            text(self.cause()),
            self.kind(),
            self.origin().map_or_else(|| "null".to_owned(), text),
            self.attempts(),
            self.first(),
            self.last()
        )
    }
}

/// The times of a batch that was read outside of a pipeline are those of the day.
fn day(time: Time) -> Timestamp {
    from_nanos(time.as_nanos())
}

fn from_nanos(nanos: u64) -> Timestamp {
    Timestamp::from_unix_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn shown(data_dir: &Path, place: &str) -> String {
    data_dir.join(place).display().to_string()
}
