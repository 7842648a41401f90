//! How far files were delivered: what was read and is not settled, what is settled, and where that is stored.
//!
//! Each read is noted with its number and its place. When the numbers settle, in order, the places are what is stored. A
//! read that was refused for now sends its file back to where the read began; what was read of the file since is then read
//! again as well, and counts no more.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_flow::{NackKind, Outcome, Settled};
use tidegate_runtime::{Clock, Committer, Companion, Intake};

use super::fingerprint::Sum;
use crate::contract::{Counter, StartError};

/// How often positions are stored.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// The most places of files that are gone which are remembered; the oldest are forgotten first.
const MOST_GONE: usize = 4096;

/// A place in a file that is known by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Where the file was when it was last seen; for people.
    pub(super) path: String,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Of its first lines; `None` where it is known by its number alone.
    pub(super) first: Option<Sum>,
    pub(super) offset: u64,
    /// Of what stands before `offset`.
    pub(super) behind: Sum,
}

/// The number of a file while it is followed.
pub(super) type FileId = u64;

/// What was read in one go.
struct Read {
    number: u64,
    file: FileId,
    epoch: u32,
    from: u64,
    to: u64,
    behind: Sum,
}

/// A file that is followed.
struct Followed {
    place: Place,
    /// How often it was sent back.
    epoch: u32,
}

#[derive(Default)]
struct State {
    followed: HashMap<FileId, Followed>,
    /// Places in files that are not followed now, oldest first.
    gone: VecDeque<Place>,
    reads: VecDeque<Read>,
    next_read: u64,
    next_file: FileId,
    /// Files to be sent back: to which offset, as which epoch.
    back: Vec<(FileId, u64, u32)>,
    is_changed: bool,
}

/// The positions of a source. Clones are the same.
#[derive(Clone)]
pub(super) struct Store {
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
}

/// What is in the file of positions.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    files: Vec<Place>,
}

const VERSION: u32 = 1;

impl Store {
    /// Reads the positions in `folder`, where there are any and they are wanted.
    pub(super) fn open(folder: PathBuf, forget: bool) -> Result<Self, StartError> {
        let path = folder.join("positions.json");
        let text = match fs::read(&path) {
            Ok(text) if !forget => Some(text),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let stored: Option<Stored> =
            text.map(|text| serde_json::from_slice(&text)).transpose().map_err(|error| unreadable(&path, &error))?;
        let mut state = State::default();
        if let Some(stored) = stored {
            if stored.version != VERSION {
                return Err(StartError::new(format!(
                    "{} is of version {}, and this program knows {VERSION}",
                    path.display(),
                    stored.version
                ))
                .help("run the version that wrote it, or remove the file to read from the beginning"));
            }
            state.gone = stored.files.into();
        }
        Ok(Self { path: path.into(), state: Arc::new(Mutex::new(state)) })
    }

    /// Takes the place that `fits`, of those that no file has; one of the same number in the file system first.
    pub(super) fn claim(&self, device: u64, inode: u64, mut fits: impl FnMut(&Place) -> bool) -> Option<Place> {
        let mut state = self.lock();
        let is_same = |place: &Place| (place.device, place.inode) == (device, inode);
        let same = state.gone.iter().position(|place| is_same(place) && fits(place));
        let found = same.or_else(|| state.gone.iter().position(|place| !is_same(place) && fits(place)));
        found.and_then(|at| state.gone.remove(at))
    }

    /// A file is followed from `place` on.
    pub(super) fn follow(&self, place: Place) -> FileId {
        let mut state = self.lock();
        state.next_file += 1;
        let id = state.next_file;
        state.followed.insert(id, Followed { place, epoch: 0 });
        state.is_changed = true;
        id
    }

    /// A file has this path and number now.
    pub(super) fn moved(&self, file: FileId, path: &Path) {
        let mut state = self.lock();
        if let Some(followed) = state.followed.get_mut(&file) {
            followed.place.path = path.to_string_lossy().into_owned();
            state.is_changed = true;
        }
    }

    /// A file is not followed any more. Its place is remembered, where that is of use.
    pub(super) fn leave(&self, file: FileId) {
        let mut state = self.lock();
        let Some(followed) = state.followed.remove(&file) else { return };
        state.gone.push_back(followed.place);
        while state.gone.len() > MOST_GONE {
            state.gone.pop_front();
        }
        state.is_changed = true;
    }

    /// Whether reads of the file are not settled.
    pub(super) fn is_pending(&self, file: FileId) -> bool {
        self.lock().reads.iter().any(|read| read.file == file)
    }

    /// Notes a read of a file, and gives its number.
    pub(super) fn read(&self, file: FileId, epoch: u32, from: u64, to: u64, behind: Sum) -> u64 {
        let mut state = self.lock();
        state.next_read += 1;
        let number = state.next_read;
        state.reads.push_back(Read { number, file, epoch, from, to, behind });
        number
    }

    /// The files that are to be sent back: to which offset, as which epoch.
    pub(super) fn take_back(&self) -> Vec<(FileId, u64, u32)> {
        std::mem::take(&mut self.lock().back)
    }

    /// What is told about settled reads.
    pub(super) fn committer(&self, refused: Counter, again: Counter) -> Commits {
        Commits { store: self.clone(), refused, again }
    }

    /// Stores what has changed, now and then and at the end.
    pub(super) fn keeper(&self, clock: Clock, mut closing: Intake, failed: Counter) -> Companion {
        let store = self.clone();
        Box::pin(async move {
            loop {
                let wake = clock.now() + STORE_EVERY;
                let closes = tokio::select! {
                    biased;
                    () = closing.shut() => true,
                    () = clock.sleep_until(wake) => false,
                };
                failed.add(u64::from(store.save().is_err()));
                if closes {
                    return;
                }
            }
        })
    }

    /// Writes the positions, where they have changed. The file is replaced as a whole.
    pub(super) fn save(&self) -> io::Result<()> {
        let files = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.is_changed) {
                return Ok(());
            }
            let mut followed: Vec<(&FileId, &Followed)> = state.followed.iter().collect();
            followed.sort_by_key(|(id, _)| **id);
            let followed = followed.into_iter().map(|(_, followed)| followed.place.clone());
            state.gone.iter().cloned().chain(followed).collect()
        };
        let written = self.write(&Stored { version: VERSION, files });
        if written.is_err() {
            self.lock().is_changed = true;
        }
        written
    }

    fn write(&self, stored: &Stored) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = self.path.with_extension("json.new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(stored)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> StartError {
    StartError::new(format!("the positions in {} cannot be read: {error}", path.display()))
        .help("mend or remove the file; without it files are read from their beginning")
}

/// Whether positions could be kept in the folder.
pub(super) fn probe(folder: &Path) -> Result<(), StartError> {
    let failed = |error: &io::Error| {
        StartError::new(format!("positions cannot be kept in {}: {error}", folder.display()))
            .help("choose a `data_dir` that can be written to")
    };
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let trial = folder.join(format!(".tidegate-{}", std::process::id()));
    fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial)).map_err(|error| failed(&error))
}

/// Hears what became of the reads.
pub(super) struct Commits {
    store: Store,
    /// Records that were refused for good.
    refused: Counter,
    /// Reads that are read again.
    again: Counter,
}

impl Committer<u64> for Commits {
    async fn settled(&mut self, settled: Settled<u64>) {
        let for_now = settled.counts.get(Outcome::Abandoned).get() > 0
            || settled.nack.as_ref().is_some_and(|nack| nack.kind == NackKind::Transient);
        if !for_now {
            self.refused.add(settled.counts.get(Outcome::Returned).get());
        }
        let mut state = self.store.lock();
        while state.reads.front().is_some_and(|read| read.number <= settled.position) {
            let Some(read) = state.reads.pop_front() else { return };
            let State { followed, back, is_changed, .. } = &mut *state;
            let Some(file) = followed.get_mut(&read.file).filter(|file| file.epoch == read.epoch) else { continue };
            if for_now {
                file.epoch += 1;
                back.push((read.file, read.from, file.epoch));
                self.again.add(1);
            } else {
                file.place.offset = read.to;
                file.place.behind = read.behind;
                *is_changed = true;
            }
        }
    }
}
