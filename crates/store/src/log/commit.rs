//! [`Committer`]: the one thread that writes, syncs, saves cursors and gives segments up.
//!
//! A round makes durable what waits, in this order: write, sync the file, sync the names, and only then say so. When
//! any of these fails, the segment is left for good and what is not durable yet is written to a new one.

use std::sync::Arc;
use std::time::Duration;

use super::save::Saver;
use super::shared::Shared;
use super::space::Space;
use super::{Entry, Health, LogOptions, SyncPolicy, Trouble, WritePolicy};
use crate::Seq;
use crate::disk::{Disk, DiskFile};
use crate::frame;

/// Bytes gathered before they are written with one call.
pub(super) const WRITE_BYTES: usize = 256 << 10;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// When the next round is due.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// When it is told: by an append, by a reader that settles.
    Idle,
    /// At this time, in nanoseconds since 1970, or when it is told.
    At(u64),
    /// The log was closed, everything is durable and saved: never.
    Done,
}

/// The side of a log that does the writing. It belongs to one thread, which calls [`round`](Self::round) and
/// [`wait`](Self::wait) in turn.
pub struct Committer<D: Disk> {
    pub(super) shared: Arc<Shared>,
    pub(super) options: LogOptions,
    pub(super) space: Space<D>,
    pub(super) saver: Saver<D>,
    pub(super) active: Option<Active<D::File>>,
    /// Frames that are encoded and not yet written.
    pub(super) buffer: Vec<u8>,
    /// The number after the last record that was put in line to be written.
    pub(super) follows: Seq,
    pub(super) retry: Retry,
}

/// The segment that is being written.
pub(super) struct Active<F> {
    pub(super) number: u64,
    pub(super) salt: u32,
    pub(super) file: F,
    /// Where the next frame goes.
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// When a disk that failed is asked again.
#[derive(Default)]
pub(super) struct Retry {
    at: Option<u64>,
    pause: Duration,
}

impl Retry {
    fn failed(&mut self, now: u64) {
        self.pause = (self.pause * 2).clamp(FIRST_RETRY, LAST_RETRY);
        self.at = Some(now.saturating_add(nanos(self.pause)));
    }

    fn is_due(&self, now: u64) -> bool {
        // A clock that was set back must not put the retry off for long.
        self.at.is_none_or(|at| at <= now || at - now > nanos(LAST_RETRY))
    }
}

impl<D: Disk> Committer<D> {
    /// Does what is due: makes appends durable, saves cursors, gives up old segments. Blocks on the disk. `now`:
    /// nanoseconds since 1970; it may jump.
    pub fn round(&mut self, now: u64) -> Next {
        let before = self.visible();
        self.shared.lock().told = false;
        self.expire(now);
        self.shared.lock().watched = false;
        if self.save_is_due(now) {
            self.save(now);
        }
        let due = self.due(now);
        if !due.is_empty() && self.may_try(now) {
            let outcome = self.write_all(&due, now);
            self.note(outcome, now);
        } else if due.is_empty() {
            self.forget_trouble_that_passed();
        }
        self.space.refill(&self.shared, self.options.segment, now);
        if self.visible() != before {
            (self.options.on_change)();
        }
        self.next(now)
    }

    /// Blocks until the next round is due, or the committer is told.
    pub fn wait(&self, next: Next, now: u64) {
        match next {
            Next::Done => {}
            Next::Idle => self.shared.wait_until_told(None),
            Next::At(time) => self.shared.wait_until_told(Some(Duration::from_nanos(time.saturating_sub(now)))),
        }
    }

    /// Forgets a reader that is not there any more, with its place. What only it had not settled is given up.
    /// Returns how many records that were.
    pub fn forget(&mut self, reader: &str) -> u64 {
        let mut state = self.shared.lock();
        let Some(at) = state.cursors.iter().position(|cursor| cursor.name == reader) else { return 0 };
        let gone = state.cursors.remove(at);
        state.unsaved = true;
        state.durable.saturating_sub(gone.next)
    }

    /// What others may wait for.
    fn visible(&self) -> (Seq, Health, u64) {
        let state = self.shared.lock();
        (state.durable, state.health.clone(), state.settled())
    }

    fn due(&self, now: u64) -> Vec<Entry> {
        let mut state = self.shared.lock();
        let writes = state.writes(self.shared.memory, now);
        // Also where nothing waits: else each cursor that moves would be saved at once from now on.
        let hurry = std::mem::take(&mut state.hurry);
        let Some(oldest) = state.pending.front().map(|entry| entry.time).filter(|_| writes) else { return Vec::new() };
        let waited = match self.options.sync {
            SyncPolicy::Always => true,
            SyncPolicy::Every(period) => oldest > now || now - oldest >= nanos(period),
        };
        let many = state.pending_bytes >= self.shared.memory / 2;
        if !(waited || many || hurry || state.closed) {
            return Vec::new();
        }
        state.pending.iter().cloned().collect()
    }

    fn may_try(&mut self, now: u64) -> bool {
        let trouble = match self.shared.lock().health.clone() {
            Health::Good => return true,
            Health::Waiting(trouble) => trouble,
        };
        match trouble {
            Trouble::AtMaxSize => self.space.has_room(&self.shared, self.options.segment),
            Trouble::DiskFull | Trouble::DiskFails { .. } => self.space.spare || self.retry.is_due(now),
        }
    }

    /// Makes these durable. What readers settle meanwhile is kept until that is done.
    fn write_all(&mut self, entries: &[Entry], now: u64) -> Result<(), Trouble> {
        let end = entries.last().map_or(0, Entry::end);
        self.follows = {
            let mut state = self.shared.lock();
            state.writing = end;
            state.durable
        };
        let outcome = self.make_durable(entries, now);
        let mut state = self.shared.lock();
        state.writing = 0;
        state.pass_settled();
        drop(state);
        outcome
    }

    /// Writes these, syncs, and says that they are durable. On an error, those before it may be durable.
    fn make_durable(&mut self, entries: &[Entry], now: u64) -> Result<(), Trouble> {
        let mut last: Option<&Entry> = None;
        for entry in entries {
            if !self.fits(entry) {
                if let Some(last) = last.take() {
                    self.sync(last)?;
                }
                self.active = None;
                self.begin(entry, now)?;
            }
            self.put(entry)?;
            last = Some(entry);
        }
        match last {
            Some(last) => self.sync(last),
            None => Ok(()),
        }
    }

    fn fits(&self, entry: &Entry) -> bool {
        let bytes = frame::frame_bytes(entry.payload.len());
        self.active.as_ref().is_some_and(|active| active.offset + self.buffer.len() as u64 + bytes <= active.size)
    }

    fn begin(&mut self, entry: &Entry, now: u64) -> Result<(), Trouble> {
        self.buffer.clear();
        let needed = frame::frame_bytes(entry.payload.len());
        self.active =
            Some(self.space.begin(&self.shared, self.options.segment, needed, self.follows.min(entry.first), now)?);
        Ok(())
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let bytes = frame::frame_bytes(entry.payload.len());
        if !self.buffer.is_empty() && self.buffer.len() as u64 + bytes > WRITE_BYTES as u64 {
            self.write()?;
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        let header = frame::Header {
            length: u32::try_from(entry.payload.len()).unwrap_or(u32::MAX),
            first: entry.first,
            records: entry.records,
            time: entry.time,
            durable: self.shared.lock().durable,
            after_gap: entry.first > self.follows,
        };
        self.follows = entry.end();
        let head = header.encode(active.salt, &entry.payload);
        self.buffer.extend_from_slice(&head);
        if bytes <= WRITE_BYTES as u64 {
            self.buffer.extend_from_slice(&entry.payload);
            self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
            return Ok(());
        }
        // One that is larger than the buffer is written from where it is.
        self.write()?;
        let Some(active) = &mut self.active else { return Ok(()) };
        let outcome = active.file.write_at(active.offset, &entry.payload);
        active.offset += bytes - head.len() as u64;
        outcome.map_err(|err| self.leave("write", &err))
    }

    fn write(&mut self) -> Result<(), Trouble> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let outcome = active.file.write_at(active.offset, &self.buffer);
        active.offset += self.buffer.len() as u64;
        self.buffer.clear();
        outcome.map_err(|err| self.leave("write", &err))
    }

    /// Makes durable what was written, up to and with `last`, and says so.
    fn sync(&mut self, last: &Entry) -> Result<(), Trouble> {
        self.write()?;
        let Some(active) = &mut self.active else { return Ok(()) };
        if let Err(err) = active.file.sync() {
            return Err(self.leave("sync", &err));
        }
        if let Err(err) = self.space.sync_names() {
            return Err(self.leave("sync the names of segments", &err));
        }
        let mut state = self.shared.lock();
        if let Some(segment) = state.segments.back_mut() {
            segment.end = last.end();
            segment.newest = last.time;
        }
        state.counts.syncs += 1;
        state.made_durable(last.end(), self.shared.memory);
        Ok(())
    }

    /// Leaves the segment for good: nothing more is written to it, and it is not synced again.
    fn leave(&mut self, operation: &'static str, err: &std::io::Error) -> Trouble {
        if let Some(active) = self.active.take() {
            self.space.leave(&self.shared, active.number);
        }
        self.buffer.clear();
        self.shared.lock().counts.failures += 1;
        Trouble::of(operation, err)
    }

    fn note(&mut self, outcome: Result<(), Trouble>, now: u64) {
        let health = match outcome {
            Ok(()) => {
                self.retry = Retry::default();
                self.saver.trouble.clone().map_or(Health::Good, Health::Waiting)
            }
            Err(trouble) => {
                if trouble != Trouble::AtMaxSize {
                    self.retry.failed(now);
                }
                Health::Waiting(trouble)
            }
        };
        self.shared.lock().health = health;
    }

    /// What waited for a disk that failed has been settled from memory: nothing waits for it any more, though what came
    /// since may wait in memory.
    fn forget_trouble_that_passed(&mut self) {
        let mut state = self.shared.lock();
        if (state.pending.is_empty() || !state.spilling) && self.options.write != WritePolicy::Always {
            self.retry = Retry::default();
            state.health = self.saver.trouble.clone().map_or(Health::Good, Health::Waiting);
        }
    }

    fn expire(&mut self, now: u64) {
        let Some(age) = self.options.max_age else { return };
        let mut state = self.shared.lock();
        let old = |segment: &&super::shared::Segment| {
            segment.end > segment.first && segment.newest.saturating_add(nanos(age)) <= now
        };
        let Some(last) = state.segments.iter().take_while(old).last().copied() else { return };
        if self.active.as_ref().is_some_and(|active| active.number == last.number) {
            self.active = None;
        }
        let expired = state.move_readers_to(last.end);
        state.counts.expired += expired;
        state.unsaved |= expired > 0;
    }

    fn save_is_due(&self, now: u64) -> bool {
        let state = self.shared.lock();
        let wanted = state.closed || state.hurry || state.health != Health::Good;
        state.must_save() && (wanted || self.saver.is_due(now, self.options.save_every)) && self.saver.may_try(now)
    }

    fn save(&mut self, now: u64) {
        let outcome = self.saver.save(&self.space.disk, &self.shared, now);
        match outcome {
            Ok(settled) => {
                let mended = self.saver.trouble.take().map(Health::Waiting);
                let mut state = self.shared.lock();
                state.saved = settled;
                if mended.as_ref() == Some(&state.health) {
                    state.health = Health::Good;
                }
                drop(state);
                let active = self.active.as_ref().map(|active| active.number);
                self.space.free(&self.shared, self.options.segment, settled, active);
            }
            Err(trouble) => {
                let mut state = self.shared.lock();
                state.counts.failures += 1;
                state.unsaved = true;
                let before = self.saver.trouble.replace(trouble.clone()).map(Health::Waiting);
                // Another trouble with the cursors than the last time takes its place, so that it ends with it.
                if state.health == Health::Good || before.as_ref() == Some(&state.health) {
                    state.health = Health::Waiting(trouble);
                }
            }
        }
    }

    fn next(&self, now: u64) -> Next {
        let mut state = self.shared.lock();
        if state.closed && state.pending.is_empty() && !state.unsaved {
            return Next::Done;
        }
        state.watched = state.health == Health::Good && !state.pending.is_empty();
        let mut at: Option<u64> = None;
        let mut sooner = |time: u64| at = Some(at.map_or(time, |at| at.min(time)));
        if let Some(oldest) = state.pending.front() {
            let due = match (self.options.write, self.options.sync) {
                (WritePolicy::UnderPressure { wait, .. }, _) if !state.spilling => {
                    oldest.time.min(now).saturating_add(nanos(wait))
                }
                (_, SyncPolicy::Always) => now,
                (_, SyncPolicy::Every(_)) if state.closed => now,
                (_, SyncPolicy::Every(period)) => oldest.time.min(now).saturating_add(nanos(period)),
            };
            match (&state.health, self.retry.at) {
                // A reader that settles tells.
                (Health::Waiting(Trouble::AtMaxSize), _) => {}
                (Health::Waiting(_), Some(retry)) => sooner(retry),
                (Health::Waiting(_), None) | (Health::Good, _) => sooner(due),
            }
        }
        if state.must_save() {
            sooner(self.saver.next(now, self.options.save_every));
        }
        if let (Some(age), Some(oldest)) = (self.options.max_age, state.segments.front()) {
            sooner(oldest.newest.saturating_add(nanos(age)).max(now.saturating_add(nanos(FIRST_RETRY))));
        }
        at.map_or(Next::Idle, Next::At)
    }
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
