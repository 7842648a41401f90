//! [`Rotation`]: when a file is put aside, and where to.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::contract::Check;
use crate::value::{ByteSize, Period};

/// When a file is put aside and begun anew: before it would be written to beyond either limit. `app.log` becomes
/// `app.log.1`, and what was that before `app.log.2`, and so on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// A file of this size is put aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<ByteSize>,
    /// A file of this age is put aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
    /// So many files that were put aside are kept; the oldest is deleted. Default: 5, at most 1000.
    #[serde(default = "keep")]
    pub keep: u32,
}

const fn keep() -> u32 {
    5
}

const MOST_KEPT: u32 = 1_000;

impl Rotation {
    /// Reports what cannot work. Keys are those within `rotate`.
    pub(in crate::sinks) fn check(&self, at: &mut Check<'_>) {
        if self.max_size.is_none() && self.max_age.is_none() {
            at.refuse("", "says neither `max_size` nor `max_age`")
                .help("give it one of them, such as `max_size: 100MiB`");
        }
        if self.max_size.is_some_and(|size| size.get() == 0) {
            at.refuse("max_size", "no file is that small").help("set it above zero");
        }
        if self.max_age.is_some_and(|age| age.get().is_zero()) {
            at.refuse("max_age", "no file is that young").help("set it above zero");
        }
        if !(1..=MOST_KEPT).contains(&self.keep) {
            at.refuse("keep", format!("{} is not from 1 to {MOST_KEPT}", self.keep));
        }
    }

    /// Whether a file of this length, begun then, is to be put aside.
    pub(super) fn is_due(&self, length: u64, begun: Instant, now: Instant) -> bool {
        let too_large = self.max_size.is_some_and(|size| length >= size.get());
        let too_old = self.max_age.is_some_and(|age| now.duration_since(begun) >= age.get());
        length > 0 && (too_large || too_old)
    }

    /// Moves the file at `path` to the first place, and each of those before it to the next. The oldest makes room.
    pub(super) fn put_aside(&self, path: &Path) -> io::Result<()> {
        let gaps = (1..=self.keep).find(|number| !numbered(path, *number).exists());
        for number in (1..gaps.unwrap_or(self.keep)).rev() {
            fs::rename(numbered(path, number), numbered(path, number + 1))?;
        }
        match fs::rename(path, numbered(path, 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}
