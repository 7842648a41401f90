//! [`OpenFiles`]: the files that are open, at most so many, and how a batch gets into one.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::ending::Mending;
use super::rotate::Rotation;

/// How often an open file is looked at, to see whether somebody has moved it away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The files that are open.
pub(in crate::sinks) struct OpenFiles {
    files: HashMap<PathBuf, OpenFile>,
    capacity: usize,
    idle: Duration,
    rotation: Option<Rotation>,
    mending: Mending,
}

/// A file that is appended to, by us alone as far as we can tell.
struct OpenFile {
    file: File,
    /// Its length, as we know it.
    length: u64,
    begun: Instant,
    used: Instant,
    looked_at: Instant,
    is_synced: bool,
}

impl OpenFiles {
    pub(in crate::sinks) fn new(capacity: usize, idle: Duration, rotation: Option<Rotation>, mending: Mending) -> Self {
        Self { files: HashMap::new(), capacity, idle, rotation, mending }
    }

    /// Appends the slices to the file at `path` in one piece: all of them, or, where there is an error, none.
    pub(in crate::sinks) fn append(
        &mut self,
        path: &Path,
        slices: &mut [IoSlice<'_>],
        sync: bool,
        now: Instant,
    ) -> io::Result<()> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if bytes == 0 {
            return Ok(());
        }
        self.make_current(path, now)?;
        let Some(open) = self.files.get_mut(path) else { return Err(io::ErrorKind::NotFound.into()) };
        let written =
            write_all(&mut open.file, slices).and_then(|()| if sync { open.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                open.length += bytes as u64;
                (open.used, open.is_synced) = (now, sync);
                Ok(())
            }
            Err(error) => {
                // Where another one writes to the file too, its end is not ours to cut off. The file is opened anew in any
                // case: after a failed sync the kernel may have forgotten what it owes.
                let ours = open.length..=open.length + bytes as u64;
                if open.file.metadata().is_ok_and(|about| ours.contains(&about.len())) {
                    drop(open.file.set_len(open.length));
                }
                self.files.remove(path);
                Err(error)
            }
        }
    }

    /// Brings what was written and not synced to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        for open in self.files.values_mut().filter(|open| !open.is_synced) {
            open.file.sync_data()?;
            open.is_synced = true;
        }
        Ok(())
    }

    /// Closes what was not used for long.
    pub(super) fn close_idle(&mut self, now: Instant) {
        let idle = self.idle;
        self.files.retain(|_, open| now.duration_since(open.used) < idle);
    }

    /// Makes sure that the file at `path` is open, is still the one of that name, and is not due to be put aside.
    fn make_current(&mut self, path: &Path, now: Instant) -> io::Result<()> {
        if let Some(open) = self.files.get_mut(path) {
            let is_moved = now.duration_since(open.looked_at) >= LOOK_EVERY && !open.is_at(path);
            open.looked_at = if now.duration_since(open.looked_at) >= LOOK_EVERY { now } else { open.looked_at };
            let is_due = self.rotation.as_ref().is_some_and(|rotation| rotation.is_due(open.length, open.begun, now));
            if !is_moved && !is_due {
                return Ok(());
            }
            self.files.remove(path);
            if let Some(rotation) = self.rotation.as_ref().filter(|_| is_due && !is_moved) {
                rotation.put_aside(path)?;
            }
        } else if self.files.len() >= self.capacity {
            let oldest = self.files.iter().min_by_key(|(_, open)| open.used).map(|(path, _)| path.clone());
            if let Some(oldest) = oldest {
                self.files.remove(&oldest);
            }
        }
        let mut open = OpenFile::open(path, &self.mending, now)?;
        // A file of an earlier process may be due already.
        if let Some(rotation) = self.rotation.as_ref().filter(|rotation| rotation.is_due(open.length, open.begun, now))
        {
            rotation.put_aside(path)?;
            open = OpenFile::open(path, &self.mending, now)?;
        }
        self.files.insert(path.to_owned(), open);
        Ok(())
    }
}

impl OpenFile {
    fn open(path: &Path, mending: &Mending, now: Instant) -> io::Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(path);
        let mut file = match (open(), path.parent()) {
            (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                open()?
            }
            (opened, _) => opened?,
        };
        let length = mending.begin(path, &mut file)?;
        let age = file.metadata()?.created().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        let begun = now.checked_sub(age).unwrap_or(now);
        Ok(Self { file, length, begun, used: now, looked_at: now, is_synced: true })
    }

    /// Whether the file of this name is still this one.
    fn is_at(&self, path: &Path) -> bool {
        match (self.file.metadata(), fs::metadata(path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

fn write_all(file: &mut File, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut left = slices;
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
