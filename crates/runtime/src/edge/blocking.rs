//! Sending from a thread that is no task: it is parked until there is room.

use std::time::Duration;

use tidegate_flow::Time;
use tidegate_flow::queue::Load;

use super::error::{SendError, Sent};
use super::park::block_on;
use super::tx::EdgeTx;

impl<B: Load> EdgeTx<B> {
    /// [`send`](Self::send) for a thread: parks it until there is room. Not for use inside a task.
    ///
    /// # Errors
    /// The batch is still in the slot: see [`SendError`].
    pub fn blocking_send(&mut self, slot: &mut Option<B>) -> Result<Sent, SendError> {
        match self.longest_block() {
            Some((limit, _)) => self.blocking_send_timeout(slot, limit),
            None => self.blocking_send_until(slot, None),
        }
    }

    /// [`blocking_send`](Self::blocking_send) for at most `limit`.
    ///
    /// # Errors
    /// The batch is still in the slot: see [`SendError`].
    pub fn blocking_send_timeout(&mut self, slot: &mut Option<B>, limit: Duration) -> Result<Sent, SendError> {
        let limit = self.longest_block().map_or(limit, |(longest, _)| longest.min(limit));
        self.blocking_send_until(slot, Some(limit))
    }

    fn blocking_send_until(&mut self, slot: &mut Option<B>, limit: Option<Duration>) -> Result<Sent, SendError> {
        let clock = std::sync::Arc::clone(&self.clock);
        let deadline = limit.map(|limit| clock.now() + limit);
        let sent = block_on(|cx| self.poll_send_untimed(cx, slot), || left_until(deadline, clock.now()));
        sent.unwrap_or_else(|| {
            self.cancel();
            let edge = self.longest_block().map_or_else(|| self.name(), |(_, edge)| edge);
            Err(SendError::Timeout { edge, limit: limit.unwrap_or_default() })
        })
    }
}

fn left_until(deadline: Option<Time>, now: Time) -> Option<Duration> {
    deadline.map(|deadline| deadline.since(now))
}
