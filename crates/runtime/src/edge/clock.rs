//! What an edge asks of its surroundings: the time ([`EdgeClock`]) and memory ([`EdgeBudget`]).

use std::task::Waker;

use tidegate_flow::Time;
use tokio::time::Instant;

/// The time, and who is told what a stage waits for.
///
/// Each end of an edge has its own, so that a stage can plug in the clock that it reads once per poll. All clocks of
/// one edge must count from the same epoch: batches are stamped by one end and aged by the other.
pub trait EdgeClock: Send + Sync {
    /// The time now.
    fn now(&self) -> Time;

    /// Called just before an operation returns pending because the edge is full.
    fn waiting_blocked(&self) {}

    /// Called just before an operation returns pending because the budget refused.
    fn waiting_budget(&self) {
        self.waiting_blocked();
    }

    /// Called just before an operation returns pending because the edge is empty.
    fn waiting_idle(&self) {}
}

/// Counts tokio's time since it was made; follows paused time in tests.
#[derive(Clone, Debug)]
pub struct TokioClock {
    epoch: Instant,
}

impl TokioClock {
    /// A clock that is at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self { epoch: Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl EdgeClock for TokioClock {
    fn now(&self) -> Time {
        self.epoch.elapsed().into()
    }
}

/// Who pays for the bytes in an edge.
pub trait EdgeBudget<B>: Send + Sync {
    /// Charges the batch to the edge's account, or says no and changes nothing. A refusal counts as a full edge.
    ///
    /// Called under the lock of the edge: it must not touch the edge. It must say yes to any one batch while nothing
    /// else is charged to the account; that is what keeps a blocked edge from waiting for ever.
    fn charge(&self, batch: &mut B) -> bool;

    /// Wakes `waker` when there may be memory for `batch`, which was refused. Called after a refusal and without the lock;
    /// the edge asks once more afterwards, so that nothing is missed in between.
    fn wake_when_free(&self, batch: &B, waker: &Waker);
}
