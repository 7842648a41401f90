//! [`Appender`]: where batches enter the log.

use std::sync::Arc;

use super::shared::Shared;
use super::{Counts, Health, Refused};
use crate::Seq;

/// Where batches enter a log. Clones share it. No call blocks on the disk.
#[derive(Clone)]
pub struct Appender {
    pub(super) shared: Arc<Shared>,
}

impl Appender {
    /// Appends a batch; it is safe when [`safe`](Self::safe) has reached the number that is returned. `time`:
    /// nanoseconds since 1970.
    ///
    /// # Errors
    /// [`Refused`]; the batch was not taken.
    ///
    /// # Cancel safety
    /// Does not wait.
    pub fn append(&self, records: u32, payload: &Arc<[u8]>, time: u64) -> Result<Seq, Refused> {
        let limits = (self.shared.memory, self.shared.max_size);
        let mut state = self.shared.lock();
        let end = state.append(records, payload, time, limits)?;
        if state.is_news_for_the_committer(self.shared.memory) {
            self.shared.tell_committer(&mut state);
        }
        Ok(end)
    }

    /// Every record below this number is durable, or was settled by every reader before it was.
    #[must_use]
    pub fn safe(&self) -> Seq {
        self.shared.lock().safe()
    }

    /// Every record below this number is durable, or need not be any more.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.lock().durable
    }

    /// Asks for a sync now rather than at its time, and that what waits in memory is written.
    pub fn hurry(&self) {
        let mut state = self.shared.lock();
        state.hurry = true;
        self.shared.tell_committer(&mut state);
    }

    /// Makes room: moves every reader past the oldest segment that is no longer written. Returns how many records
    /// that were not settled are given up, summed over the readers; 0 when only one segment is left.
    pub fn drop_oldest(&self) -> u64 {
        let mut state = self.shared.lock();
        let settled = state.settled();
        let Some(end) = state.segments.iter().map(|segment| segment.end).find(|end| *end > settled) else { return 0 };
        if state.segments.back().is_none_or(|last| last.end <= end) {
            return 0;
        }
        let dropped = state.move_readers_to(end);
        state.counts.dropped += dropped;
        state.unsaved = true;
        state.hurry = true;
        self.shared.tell_committer(&mut state);
        dropped
    }

    /// No more appends; the committer makes durable what was taken, saves the cursors and ends.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.tell_committer(&mut state);
    }

    /// How the log does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.lock().health.clone()
    }

    /// What it has done, and what it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.shared.lock();
        Counts { durable: state.durable, ..state.counts }
    }
}
