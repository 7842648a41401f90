//! Which files there are: the paths that `include` names and `exclude` does not.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use glob::Pattern;

use super::tail::Found;
use crate::contract::StartError;

/// The most files that are followed at a time; more wait until others are gone.
pub(super) const MOST_FILES: usize = 4096;

/// What to look for.
pub(super) struct Search {
    include: Vec<String>,
    exclude: Vec<Pattern>,
    /// Files not changed for so long are not begun.
    older: Option<Duration>,
}

/// A file by its number in the file system.
pub(super) type Number = (u64, u64);

impl Search {
    pub(super) fn new(include: Vec<String>, exclude: &[String], older: Option<Duration>) -> Result<Self, StartError> {
        let compiled = exclude.iter().map(|pattern| Pattern::new(pattern)).collect::<Result<_, _>>();
        let exclude = compiled.map_err(|error| StartError::new(format!("`exclude`: {error}")))?;
        Ok(Self { include, exclude, older })
    }

    /// The paths that there are now, each once, with the number of the file.
    pub(super) fn paths(&self) -> Vec<(PathBuf, Number)> {
        let mut seen = HashSet::new();
        let paths = self.include.iter().filter_map(|pattern| glob::glob(pattern).ok()).flatten().flatten();
        paths
            .filter(|path| !self.exclude.iter().any(|pattern| pattern.matches_path(path)))
            .filter_map(|path| {
                let metadata = path.metadata().ok().filter(|metadata| metadata.is_file())?;
                // Two paths of one file count once.
                let number = (metadata.dev(), metadata.ino());
                seen.insert(number).then_some((path, number))
            })
            .collect()
    }

    /// Opens a file that is not followed yet; `None` where it has not changed for too long, or is gone.
    pub(super) fn open(&self, path: &Path) -> io::Result<Option<Found>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let is_old = self.older.is_some_and(|older| {
            // tidy: allow(banned-calls): the age of a file is known by the time of day alone
            let now = SystemTime::now();
            metadata
                .modified()
                .ok()
                .and_then(|modified| now.duration_since(modified).ok())
                .is_some_and(|age| age > older)
        });
        Ok((!is_old).then(|| Found { path: path.to_owned(), file, metadata }))
    }
}
