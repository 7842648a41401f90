//! What appenders, the committer and the readers agree on, under one lock that is never held during I/O.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::commit::nanos;
use super::{Entry, Health, Refused, WritePolicy};
use crate::Seq;
use crate::frame::{self, MAX_PAYLOAD_BYTES};

/// What a log has done since it was opened, and what it holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Records appended.
    pub appended: u64,
    /// The number after the last record that is durable.
    pub durable: Seq,
    /// Records that readers were moved past because they were older than `max_age`, summed over the readers.
    pub expired: u64,
    /// Records that readers were moved past to make room, summed over the readers.
    pub dropped: u64,
    /// Records that had been durable and could not be read back, summed over the readers.
    pub damaged: u64,
    /// Syncs of data that succeeded.
    pub syncs: u64,
    /// Calls of the disk that failed.
    pub failures: u64,
    /// Bytes on disk: segments, the spare one, cursors.
    pub disk_bytes: u64,
    /// Bytes in memory: waiting to be durable, and kept for readers.
    pub memory_bytes: u64,
    /// Records made durable.
    pub written: u64,
    /// Records that every reader settled before they were written, and that never were.
    pub passed: u64,
    /// Batches that readers took from memory.
    pub read_from_memory: u64,
    /// Batches that readers took from disk.
    pub read_from_disk: u64,
}

/// A segment that can be read.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) first: Seq,
    /// The number after its last durable record.
    pub(super) end: Seq,
    pub(super) size: u64,
    /// When its newest frame was appended.
    pub(super) newest: u64,
}

/// A reader's place: everything below `next` is settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    pub(super) name: String,
    pub(super) next: Seq,
}

#[derive(Debug)]
pub(super) struct State {
    /// The number of the next record that is appended.
    pub(super) next: Seq,
    pub(super) durable: Seq,
    pub(super) write: WritePolicy,
    /// Whether what waits is being written, where it need not always be.
    pub(super) spilling: bool,
    /// What waits below this number is being written at this moment.
    pub(super) writing: Seq,
    /// The committer looks at what waits by itself, at a time.
    pub(super) watched: bool,
    /// The cursors that are durable have passed this number.
    pub(super) saved: Seq,
    /// Appended and not durable, oldest first.
    pub(super) pending: VecDeque<Entry>,
    pub(super) pending_bytes: u64,
    /// Durable and still in memory: the newest ones, without a gap, up to `durable`.
    pub(super) recent: VecDeque<Entry>,
    pub(super) recent_bytes: u64,
    /// Oldest first. The last one may be the one that is being written.
    pub(super) segments: VecDeque<Segment>,
    pub(super) cursors: Vec<Cursor>,
    pub(super) health: Health,
    pub(super) counts: Counts,
    pub(super) closed: bool,
    /// Somebody waits for the next sync and does not want to wait for its time.
    pub(super) hurry: bool,
    /// A cursor moved since the cursors were last saved.
    pub(super) unsaved: bool,
    /// The committer has been told since its last round.
    pub(super) told: bool,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Told when the committer has something to do.
    work: Condvar,
    pub(super) memory: u64,
    pub(super) max_size: u64,
}

impl Shared {
    pub(super) fn new(state: State, memory: u64, max_size: u64) -> Self {
        Self { state: Mutex::new(state), work: Condvar::new(), memory, max_size }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the committer that there is something to do.
    pub(super) fn tell_committer(&self, state: &mut State) {
        state.told = true;
        self.work.notify_one();
    }

    /// Blocks until the committer is told something, at most `timeout`.
    pub(super) fn wait_until_told(&self, timeout: Option<Duration>) {
        let state = self.lock();
        match timeout {
            Some(span) => drop(self.work.wait_timeout_while(state, span, |state| !state.told)),
            None => drop(self.work.wait_while(state, |state| !state.told)),
        }
    }
}

impl State {
    /// Takes a batch in, or says why not. Everything that waits to be durable fits into `memory`, but a batch that
    /// finds nothing waiting is taken whatever its size.
    pub(super) fn append(
        &mut self,
        records: u32,
        payload: &std::sync::Arc<[u8]>,
        time: u64,
        (memory, max_size): (u64, u64),
    ) -> Result<Seq, Refused> {
        let bytes = frame::frame_bytes(payload.len());
        if self.closed {
            return Err(Refused::Closed);
        }
        if records == 0 || payload.is_empty() {
            return Err(Refused::Empty);
        }
        if payload.len() > MAX_PAYLOAD_BYTES || bytes > max_size / 4 {
            return Err(Refused::TooLarge);
        }
        if !self.pending.is_empty() && self.pending_bytes + bytes > memory {
            return Err(Refused::Full);
        }
        let entry = Entry { first: self.next, records, time, payload: payload.clone() };
        self.next = entry.end();
        self.pending_bytes += bytes;
        self.counts.appended += u64::from(records);
        self.pending.push_back(entry);
        self.keep_recent_within(memory);
        Ok(self.next)
    }

    /// Everything below `end` is durable now: it moves from the waiting ones to those kept for readers.
    pub(super) fn made_durable(&mut self, end: Seq, memory: u64) {
        let mut records = 0;
        while let Some(entry) = self.pending.pop_front_if(|entry| entry.end() <= end) {
            records += u64::from(entry.records);
            let bytes = frame::frame_bytes(entry.payload.len());
            self.pending_bytes -= bytes;
            self.recent_bytes += bytes;
            self.recent.push_back(entry);
        }
        self.counts.written += records;
        self.durable = self.durable.max(end);
        self.keep_recent_within(memory);
    }

    /// Readers get what waits out of memory: durable batches leave it, the oldest first.
    fn keep_recent_within(&mut self, memory: u64) {
        while self.pending_bytes + self.recent_bytes > memory
            && let Some(entry) = self.recent.pop_front()
        {
            self.recent_bytes -= frame::frame_bytes(entry.payload.len());
        }
        self.forget_what_all_have_settled();
        self.counts.memory_bytes = self.pending_bytes + self.recent_bytes;
    }

    fn forget_what_all_have_settled(&mut self) {
        let settled = self.settled();
        while let Some(entry) = self.recent.pop_front_if(|entry| entry.end() <= settled) {
            self.recent_bytes -= frame::frame_bytes(entry.payload.len());
        }
    }

    /// The batch with this record that readers may see, when it is in memory.
    pub(super) fn in_memory(&self, at: Seq) -> Option<Entry> {
        if at >= self.readable() {
            return None;
        }
        let waits = at >= self.durable;
        let batches = if waits { &self.pending } else { &self.recent };
        let behind = batches.partition_point(|entry| entry.end() <= at);
        // What is missing before the first that waits was settled by all, or its numbers were never given out.
        batches.get(behind).filter(|entry| waits || entry.first <= at).cloned()
    }

    /// Whether what is settled before it was written need not be.
    fn passes(&self) -> bool {
        self.write != WritePolicy::Always
    }

    /// Readers may see what is below this number.
    pub(super) fn readable(&self) -> Seq {
        if self.passes() { self.next } else { self.durable }
    }

    /// Nobody need keep anything below this number but the log.
    pub(super) fn safe(&self) -> Seq {
        self.durable.max(self.settled())
    }

    /// Forgets what waits to be written and was settled by every reader, unless it is being written.
    pub(super) fn pass_settled(&mut self) {
        if !self.passes() {
            return;
        }
        let settled = self.settled();
        while let Some(entry) = self.pending.pop_front_if(|entry| entry.end() <= settled && entry.first >= self.writing)
        {
            self.pending_bytes -= frame::frame_bytes(entry.payload.len());
            self.counts.passed += u64::from(entry.records);
        }
        self.counts.memory_bytes = self.pending_bytes + self.recent_bytes;
    }

    /// Whether what waits has to be written: all of it always, or there is pressure.
    pub(super) fn writes(&mut self, memory: u64, now: u64) -> bool {
        let WritePolicy::UnderPressure { wait, .. } = self.write else { return true };
        let is_old = self.pending.front().is_some_and(|oldest| oldest.time > now || now - oldest.time >= nanos(wait));
        if is_old || self.closed || self.hurry || self.is_high(memory) {
            self.spilling = true;
        } else if self.settled() >= self.durable && self.pending_bytes <= memory / 4 {
            self.spilling = false;
        }
        self.spilling
    }

    /// Whether as much waits in memory as may.
    fn is_high(&self, memory: u64) -> bool {
        let many = match self.write {
            WritePolicy::Always => false,
            WritePolicy::UnderPressure { batches, .. } => self.pending.len() >= batches,
        };
        many || self.pending_bytes >= memory / 2
    }

    /// Whether the committer has to hear of what was appended last. What joins others that already wait need not wake it,
    /// unless they are many.
    pub(super) fn is_news_for_the_committer(&self, memory: u64) -> bool {
        let first = if self.passes() && !self.spilling { !self.watched } else { self.pending.len() == 1 };
        first || self.is_high(memory)
    }

    /// Whether cursors have moved in a way that matters after a restart: what was settled and never written does not come
    /// again anyway.
    pub(super) fn must_save(&self) -> bool {
        self.unsaved && (!self.passes() || self.closed || self.saved < self.durable)
    }

    /// The first record that this reader has not settled; zero where there is no such reader.
    pub(super) fn cursor(&self, name: &str) -> Seq {
        self.cursors.iter().find(|cursor| cursor.name == name).map_or(0, |cursor| cursor.next)
    }

    /// Every record below this is settled by every reader.
    pub(super) fn settled(&self) -> Seq {
        self.cursors.iter().map(|cursor| cursor.next).min().unwrap_or(0)
    }

    /// Moves every reader to `end` at least; returns the records that they were moved past, summed.
    pub(super) fn move_readers_to(&mut self, end: Seq) -> u64 {
        let mut passed = 0;
        for cursor in &mut self.cursors {
            passed += end.saturating_sub(cursor.next);
            cursor.next = cursor.next.max(end);
        }
        passed
    }

    /// The segment with this record, or the first one behind it.
    pub(super) fn segment_of(&self, at: Seq) -> Option<Segment> {
        let behind = self.segments.partition_point(|segment| segment.end <= at);
        self.segments.get(behind).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Log, LogOptions, SimulatedDisk, WritePolicy};

    #[test]
    fn what_is_being_written_stays_in_the_count_of_the_memory() {
        let policy = WritePolicy::UnderPressure { batches: 4, wait: std::time::Duration::from_secs(1) };
        let options = LogOptions::new(LogOptions::MIN_SIZE_BYTES).write(policy);
        let log = Log::open(SimulatedDisk::new(1), options, &["r"], 1).unwrap();
        let settler = log.readers[0].settler();
        for _ in 0..2 {
            log.appender.append(1, &Arc::from(&b"some bytes"[..]), 1).unwrap();
        }
        log.appender.shared.lock().writing = 1;
        settler.settle(2);
        assert_eq!(log.appender.counts().memory_bytes, 112, "both, because what is before the second is being written");
        log.appender.shared.lock().writing = 0;
        log.appender.shared.lock().pass_settled();
        assert_eq!((log.appender.counts().memory_bytes, log.appender.counts().passed), (0, 2));
    }
}
