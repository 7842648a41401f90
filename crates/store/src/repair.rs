//! [`repair`]: what keeps a log from being opened, or is of no more use, is set aside; nothing is deleted.
//!
//! Opening a log mends by itself what a crash leaves: a torn tail is cut off, a damaged middle is passed over, cursors that
//! are lost begin at the oldest record. What is left for a person to decide is a segment of another version, which keeps the
//! log shut, and files of which nothing can be read. They get another name, `NAME.damaged`, under which nobody reads them.

use std::fmt;
use std::io;

use crate::cursor::{Cursors, NAMES, SLOT_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::segment;
use crate::survey::Survey;
use crate::{Log, LogOptions, OpenError, Seq};

/// Behind the name of a file that was set aside.
const ASIDE: &str = ".damaged";

/// Whether a file of this name was set aside.
#[must_use]
pub fn is_set_aside(name: &str) -> bool {
    name.ends_with(ASIDE)
}

/// Something that was found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// A segment of a version that this program does not read is set aside.
    OtherVersion {
        /// The file.
        file: String,
        /// Its version.
        version: u16,
    },
    /// A segment of which nothing can be read is set aside.
    Unreadable {
        /// The file.
        file: String,
    },
    /// Some records of a segment are damaged. It stays where it is, and they are passed over.
    Damaged {
        /// The file.
        file: String,
        /// Records that are gone.
        gone: u64,
        /// Records of it that can be read.
        whole: u64,
    },
    /// Cursor files that cannot be read are set aside, and made anew: from the other one, or from the oldest record on.
    Cursors {
        /// The files.
        files: Vec<String>,
        /// The first record that is read then.
        from: Seq,
    },
    /// What is behind the last whole record of the newest segment is cut off.
    Tail {
        /// Records in it that had been durable.
        gone: u64,
    },
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherVersion { file, version } => {
                write!(
                    f,
                    "{file} is of version {version} of the format, and kept the log shut: set aside as {file}{ASIDE}"
                )
            }
            Self::Unreadable { file } => write!(f, "nothing can be read of {file}: set aside as {file}{ASIDE}"),
            Self::Damaged { file, gone, whole } => {
                write!(f, "{gone} records of {file} are damaged and gone; its other {whole} stay")
            }
            Self::Cursors { files, from } => {
                write!(
                    f,
                    "{} cannot be read: set aside, and made anew; reading begins at record {from}",
                    files.join(", ")
                )
            }
            Self::Tail { gone } => {
                write!(f, "the end of the newest segment is cut off; {gone} records had been durable")
            }
        }
    }
}

/// What a repair found, and what is left.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Repaired {
    /// What was done, or with `dry_run` would be.
    pub mends: Vec<Mend>,
    /// Records that had been durable, were not settled, and are gone.
    pub gone: u64,
    /// Records that wait to be read.
    pub waiting: u64,
}

/// Mends the log on this disk, which nobody else may have, for a reader of this name. With `dry_run` nothing is changed.
/// `now`: nanoseconds since 1970.
///
/// # Errors
/// The disk fails; what was mended stays mended, and it can be run again.
pub fn repair<D: Disk>(disk: D, reader: &str, dry_run: bool, now: u64) -> io::Result<Repaired> {
    let survey = Survey::of(&disk)?;
    let mut repaired = Repaired { gone: survey.damaged(), ..Repaired::default() };
    let mut aside = Vec::new();
    for found in &survey.segments {
        let file = segment::name(found.number);
        if let Some(version) = found.unknown_version {
            aside.push(file.clone());
            repaired.mends.push(Mend::OtherVersion { file, version });
        } else if found.frames == 0 && found.damaged_header && found.damaged > 0 {
            aside.push(file.clone());
            repaired.mends.push(Mend::Unreadable { file });
        } else if found.damaged > 0 {
            let whole = found.end.saturating_sub(found.first).saturating_sub(found.damaged);
            repaired.mends.push(Mend::Damaged { file, gone: found.damaged, whole });
        }
    }
    let broken = broken_slots(&disk)?;
    if !broken.is_empty() {
        aside.extend(broken.iter().cloned());
        repaired.mends.push(Mend::Cursors { files: broken, from: survey.settled() });
    }
    repaired.waiting = survey.end().saturating_sub(survey.settled()).saturating_sub(repaired.gone);
    if dry_run {
        return Ok(repaired);
    }
    for name in &aside {
        disk.rename(name, &format!("{name}{ASIDE}"))?;
    }
    if !aside.is_empty() {
        disk.sync_names()?;
    }
    settle_down(disk, &survey, reader, now, &mut repaired)?;
    Ok(repaired)
}

/// Opens the log, which cuts its tail off and makes its cursors, and closes it.
fn settle_down<D: Disk>(disk: D, survey: &Survey, reader: &str, now: u64, repaired: &mut Repaired) -> io::Result<()> {
    let size = survey.segments.iter().map(|segment| segment.size).max().unwrap_or(0);
    let options = LogOptions::new(size.saturating_mul(8)).segment_bytes(size).identity(survey.log.unwrap_or(now));
    let log = Log::open(disk, options, &[reader], now).map_err(|error| match error {
        OpenError::Disk { source, .. } => source,
        OpenError::Version { .. } | OpenError::Readers(_) => io::Error::other(error.to_string()),
    })?;
    if log.recovered.damaged_tail > 0 {
        repaired.mends.push(Mend::Tail { gone: log.recovered.damaged_tail });
    }
    let mut committer = log.committer;
    log.appender.close();
    committer.round(now);
    Ok(())
}

/// Cursor files that are there and not whole.
fn broken_slots(disk: &impl Disk) -> io::Result<Vec<String>> {
    let mut broken = Vec::new();
    for name in NAMES {
        match disk.open(name) {
            Ok(file) => {
                let mut slot = [0; SLOT_BYTES];
                let read = file.read_at(0, &mut slot)?;
                if Cursors::decode(&slot[..read]).is_none() {
                    broken.push(name.to_owned());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(broken)
}
