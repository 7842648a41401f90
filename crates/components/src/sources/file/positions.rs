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
use tidegate_record::{RecordId, StreamId};
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
    /// What its records are counted in; `None` where a program wrote it that counted nothing.
    #[serde(default)]
    pub(super) stream: Option<String>,
    /// How many there are before `offset`, counted from where the file was begun.
    #[serde(default)]
    pub(super) records: u64,
    /// The longest line, when they were counted.
    #[serde(default)]
    pub(super) longest: u64,
}

impl Place {
    /// By what the record at `offset` is known.
    pub(super) fn next(&self) -> Option<RecordId> {
        let stream = StreamId::parse(self.stream.as_deref()?)?;
        Some(RecordId::new(stream, self.records))
    }
}

/// The number of a file while it is followed.
pub(super) type FileId = u64;

/// Lines of a file.
#[derive(Copy, Clone, Debug)]
pub(super) struct Lines {
    /// Where they begin and end.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The number of the first record in them, and of the first behind them.
    pub(super) first: u64,
    pub(super) next: u64,
    /// What stands before their end.
    pub(super) behind: Sum,
}

/// A file that is to be read again from here on.
#[derive(Debug)]
pub(super) struct Back {
    pub(super) file: FileId,
    pub(super) offset: u64,
    /// Of the record there.
    pub(super) number: u64,
    pub(super) epoch: u32,
}

/// What was read in one go.
struct Read {
    number: u64,
    file: FileId,
    epoch: u32,
    lines: Lines,
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
    /// Files to be sent back.
    back: Vec<Back>,
    /// Whether files were begun whose streams are stored nowhere.
    has_new_streams: bool,
    /// Whether there are safe positions: without them, recent ones mean nothing.
    has_safe: bool,
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
    /// Held by whoever writes the files: positions that are older never take the place of newer ones.
    writing: Arc<Mutex<()>>,
}

impl State {
    /// Whether there is something to store: at all, or so that it survives a loss of power.
    fn is_due(&self, sync: bool) -> bool {
        self.is_changed || (self.is_unsafe && (sync || !self.has_safe))
    }

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
        // The numbers go on, so that what is recent of what was removed or is to be forgotten counts no more.
        let mut state = State { number: files.highest_number(), ..State::default() };
        // What is to be forgotten need not be readable.
        if !forget && let Some(stored) = files.read()? {
            (state.gone, state.has_safe) = (stored.files.into(), true);
        }
        let (state, writing) = (Arc::new(Mutex::new(state)), Arc::default());
        Ok(Self { files: Arc::new(files), state, much: Arc::new(Notify::new()), writing })
    }

    /// Takes the place that `fits`, of those that no file has; one of the same number in the file system first.
    pub(super) fn claim(&self, device: u64, inode: u64, mut fits: impl FnMut(&Place) -> bool) -> Option<Place> {
        let mut state = self.lock();
        let is_same = |place: &Place| (place.device, place.inode) == (device, inode);
        let same = state.gone.iter().position(|place| is_same(place) && fits(place));
        let found = same.or_else(|| state.gone.iter().position(|place| !is_same(place) && fits(place)));
        found.and_then(|at| state.gone.remove(at))
    }

    /// A file is followed from `place` on. `is_begun`: its stream is a new one.
    pub(super) fn follow(&self, place: Place, is_begun: bool) -> FileId {
        let mut state = self.lock();
        state.has_new_streams |= is_begun;
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
    pub(super) fn read(&self, file: FileId, epoch: u32, lines: Lines) -> u64 {
        let mut state = self.lock();
        state.next_read += 1;
        let number = state.next_read;
        state.reads.push_back(Read { number, file, epoch, lines });
        number
    }

    /// The files that are to be sent back.
    pub(super) fn take_back(&self) -> Vec<Back> {
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
                if store.lock().is_due(sync) {
                    store.save_apart(sync, &failed).await;
                }
                if closes {
                    return;
                }
                let now = clock.now();
                synced = if sync { now } else { synced };
                not_before = now + REST.max(RESTS * now.since(began));
            }
        })
    }

    /// Stores the streams of files that were begun, so that they survive a loss of power, before anything is read of them.
    /// Where that cannot be, it is counted, and they are read all the same: after a crash their records may have other ids.
    /// Cancel-safe.
    pub(super) async fn keep_streams(&self, failed: &Counter) {
        if self.lock().has_new_streams {
            self.save_apart(true, failed).await;
            self.lock().has_new_streams = false;
        }
    }

    async fn save_apart(&self, sync: bool, failed: &Counter) {
        let saving = self.clone();
        let saved = blocking(move || saving.save(sync)).await;
        failed.add(u64::from(!matches!(saved, Ok(Ok(())))));
    }

    /// Writes the positions, where they have changed; with `sync` so that they survive a loss of power. Blocks.
    ///
    /// # Errors
    /// Of the file system; it is to be tried again.
    pub(super) fn save(&self, sync: bool) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (stored, safe) = {
            let mut state = self.lock();
            if !state.is_due(sync) {
                return Ok(());
            }
            // The first are safe ones: recent ones alone mean nothing.
            let safe = sync || !state.has_safe;
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
        let mut state = self.lock();
        match &written {
            Ok(()) => state.has_safe |= safe,
            Err(_) => state.change(),
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
                let Lines { from: offset, first: number, .. } = read.lines;
                back.push(Back { file: read.file, offset, number, epoch: file.epoch });
                self.again.add(1);
            } else {
                let Lines { from, to, next, behind, .. } = read.lines;
                (file.place.offset, file.place.behind, file.place.records) = (to, behind, next);
                (*is_changed, *is_unsafe) = (true, true);
                *settled_bytes += to.saturating_sub(from);
            }
        }
        if state.settled_bytes >= MANY_BYTES {
            self.store.much.notify_one();
        }
    }
}
