//! How far files were delivered: what was read and is not settled, what is settled, and where that is stored.
//!
//! Each read is noted with its number and its place. When the numbers settle, in order, the places are what is stored. A
//! read that was refused for now sends its file back to where the read began; what was read of the file since is then read
//! again as well, and counts no more.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_flow::{NackKind, Outcome, Settled};
use tidegate_runtime::{Clock, Committer, Companion, Intake, blocking};
use tokio::sync::Notify;

use super::fingerprint::Sum;
use super::stored::{Files, Stored};
use crate::contract::{Counter, StartError};

/// How often positions are stored so that they survive a loss of power.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How often they are stored at least so that they survive the end of the process.
const STORE_EVERY: Duration = Duration::from_millis(100);

/// So much that was settled is stored sooner.
const MANY_BYTES: u64 = 1 << 20;

/// But not sooner than this after they were stored last, nor than so many times what storing took.
const REST: Duration = Duration::from_millis(10);
const RESTS: u32 = 20;

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
    /// Whether something has changed since positions were stored at all, and since they were synced.
    is_changed: bool,
    is_unsafe: bool,
    /// Bytes of files that were settled since positions were stored.
    settled_bytes: u64,
    /// The number of what was stored last.
    number: u64,
}

/// The positions of a source. Clones are the same.
#[derive(Clone)]
pub(super) struct Store {
    files: Arc<Files>,
    state: Arc<Mutex<State>>,
    /// Told when much was settled.
    much: Arc<Notify>,
}

impl State {
    fn change(&mut self) {
        self.is_changed = true;
        self.is_unsafe = true;
    }
}

impl Store {
    /// Reads the positions, where there are any and they are wanted.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn open(files: Files, forget: bool) -> Result<Self, StartError> {
        let mut state = State::default();
        let stored = files.read();
        // What is to be forgotten need not be readable; its number goes on, so that what is recent of it counts no more.
        let stored = if forget { stored.ok().flatten() } else { stored? };
        if let Some(stored) = stored {
            state.number = stored.number;
            if !forget {
                state.gone = stored.files.into();
            }
        }
        Ok(Self { files: Arc::new(files), state: Arc::new(Mutex::new(state)), much: Arc::new(Notify::new()) })
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
        state.change();
        id
    }

    /// A file has this path and number now.
    pub(super) fn moved(&self, file: FileId, path: &Path) {
        let mut state = self.lock();
        if let Some(followed) = state.followed.get_mut(&file) {
            followed.place.path = path.to_string_lossy().into_owned();
            state.change();
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
        state.change();
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

    /// Stores what has changed, often, and at the end.
    pub(super) fn keeper(&self, clock: Clock, mut closing: Intake, failed: Counter) -> Companion {
        let store = self.clone();
        Box::pin(async move {
            let (mut synced, mut not_before) = (clock.now(), clock.now());
            loop {
                let at_least_by = clock.now() + STORE_EVERY;
                let due = async {
                    clock.sleep_until(not_before).await;
                    tokio::select! {
                        () = clock.sleep_until(at_least_by) => {}
                        () = store.much.notified() => {}
                    }
                };
                let closes = tokio::select! {
                    biased;
                    () = closing.shut() => true,
                    () = due => false,
                };
                let began = clock.now();
                let sync = closes || began.since(synced) >= SYNC_EVERY;
                let saving = store.clone();
                let saved = blocking(move || saving.save(sync)).await;
                failed.add(u64::from(!matches!(saved, Ok(Ok(())))));
                if closes {
                    return;
                }
                let now = clock.now();
                synced = if sync { now } else { synced };
                not_before = now + REST.max(RESTS * now.since(began));
            }
        })
    }

    /// Writes the positions, where they have changed; with `sync` so that they survive a loss of power. Blocks.
    ///
    /// # Errors
    /// Of the file system; it is to be tried again.
    pub(super) fn save(&self, sync: bool) -> io::Result<()> {
        let (stored, safe) = {
            let mut state = self.lock();
            // The first are safe ones: recent ones alone mean nothing.
            let safe = sync || state.number == 0;
            if !(state.is_changed || (safe && state.is_unsafe)) {
                return Ok(());
            }
            state.is_changed = false;
            state.is_unsafe &= !safe;
            state.settled_bytes = 0;
            state.number += 1;
            let mut followed: Vec<(&FileId, &Followed)> = state.followed.iter().collect();
            followed.sort_by_key(|(id, _)| **id);
            let followed = followed.into_iter().map(|(_, followed)| followed.place.clone());
            (Stored::new(state.number, state.gone.iter().cloned().chain(followed).collect()), safe)
        };
        let written = self.files.write(&stored, safe);
        if written.is_err() {
            self.lock().change();
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            let State { followed, back, is_changed, is_unsafe, settled_bytes, .. } = &mut *state;
            let Some(file) = followed.get_mut(&read.file).filter(|file| file.epoch == read.epoch) else { continue };
            if for_now {
                file.epoch += 1;
                back.push((read.file, read.from, file.epoch));
                self.again.add(1);
            } else {
                file.place.offset = read.to;
                file.place.behind = read.behind;
                (*is_changed, *is_unsafe) = (true, true);
                *settled_bytes += read.to.saturating_sub(read.from);
            }
        }
        if state.settled_bytes >= MANY_BYTES {
            self.store.much.notify_one();
        }
    }
}
