//! The control lane: a few messages that data cannot block.

use std::fmt;
use std::sync::Arc;

/// A message to the next stage that overtakes data and needs no credit.
///
/// Every stage matches all of them: a new message must not be ignored by accident.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Push partial batches out.
    Flush,
    /// Take the snapshot of this number.
    Checkpoint(u64),
    /// Finish what is in flight, take no new input.
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
