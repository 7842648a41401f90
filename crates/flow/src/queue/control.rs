//! The control lane: a few messages that data cannot block.

use std::fmt;
use std::sync::Arc;

/// A message to the next stage that overtakes data and needs no credit.
///
/// Every stage matches all of them: a new message must not be ignored by accident.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Push partial batches out: what flushing a running pipeline sends.
    Flush,
    /// Take the snapshot of this number: for stages whose state is stored, at the same point of every stream. No stage
    /// stores state yet, so nothing sends it; every stage passes it on, and a sink flushes at it.
    Checkpoint(u64),
    /// Finish what is in flight, take no new input: for a consumer that is told from afar. A pipeline drains by shutting
    /// its intakes instead, so nothing sends it yet; every stage passes it on, and a sink flushes at it.
    Drain,
}

/// The control lane is full: its consumer has not run since that many messages. The message comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFull {
    /// The edge.
    pub edge: Arc<str>,
    /// The message that was refused.
    pub message: Control,
}

impl fmt::Display for ControlFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "edge {:?}: the control lane is full, {:?} was not sent; send it again after the consumer has run",
            self.edge, self.message
        )
    }
}

impl std::error::Error for ControlFull {}
