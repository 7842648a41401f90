//! The scratch copy in which bugs are planted, so that a broken file never stands in the work tree.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::shell::Fail;
use crate::tidy;

/// A copy of the sources of a workspace.
pub(super) struct Scratch {
    /// Its root.
    pub(super) root: PathBuf,
}

impl Scratch {
    /// Brings the copy in `to` up to date with the sources in `from`.
    ///
    /// Files that are equal are not written again: their times stay, and cargo builds only what changed.
    pub(super) fn sync(from: &Path, to: &Path) -> Result<Self, Fail> {
        let scratch = Self { root: to.to_path_buf() };
        let wanted = tidy::paths(from)?;
        for path in &wanted {
            let source = from.join(path);
            if source.is_file() {
                let bytes = fs::read(&source).map_err(|error| scratch.cannot("read", path, &error))?;
                scratch.write(path, &bytes)?;
            }
        }
        scratch.remove_others(from, &wanted)?;
        Ok(scratch)
    }

    /// Writes one file unless it says so already.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Fail> {
        let full = self.root.join(path);
        if fs::read(&full).is_ok_and(|present| present == bytes) {
            return Ok(());
        }
        let folder = full.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&full, bytes))
            .map_err(|error| self.cannot("write", path, &error))
    }

    /// The text of one file.
    pub(super) fn read(&self, path: &str) -> Result<String, Fail> {
        fs::read_to_string(self.root.join(path)).map_err(|error| self.cannot("read", path, &error))
    }

    fn remove_others(&self, from: &Path, wanted: &[String]) -> Result<(), Fail> {
        let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
        for path in tidy::paths(&self.root)? {
            if !wanted.contains(path.as_str()) || !from.join(&path).is_file() {
                fs::remove_file(self.root.join(&path)).map_err(|error| self.cannot("remove", &path, &error))?;
            }
        }
        Ok(())
    }

    fn cannot(&self, what: &str, path: &str, error: &io::Error) -> Fail {
        Fail::red(format!("cannot {what} {path} for the scratch copy in {}: {error}", self.root.display()))
    }
}
