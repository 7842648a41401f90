//! How sending can fail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::queue::ShedReason;

/// What became of a batch that was sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the edge.
    Enqueued,
    /// The edge's policy gave it up; it is settled and counted.
    Shed(ShedReason),
    /// It went to the edge that this one diverts to (whose own policy may have shed it: then it is counted there).
    Diverted,
    /// There was nothing to send: the slot was empty, or its batch had no rows.
    Nothing,
}

/// Why a batch was not sent. It is still in its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The edge takes no more: its consumer is gone or has closed it, or another producer failed it.
    Closed {
        /// The edge.
        edge: Arc<str>,
    },
    /// The edge is full, and the policy (or a call that does not wait) is not to wait.
    Full {
        /// The edge.
        edge: Arc<str>,
    },
    /// The edge stayed full for longer than the producer may block.
    Timeout {
        /// The edge.
        edge: Arc<str>,
        /// How long it may block.
        limit: Duration,
    },
    /// The edge diverts, but was not told where to.
    NoDivert {
        /// The edge.
        edge: Arc<str>,
    },
}

impl SendError {
    /// The name of the edge that refused.
    #[must_use]
    pub const fn edge(&self) -> &Arc<str> {
        match self {
            Self::Closed { edge } | Self::Full { edge } | Self::Timeout { edge, .. } | Self::NoDivert { edge } => edge,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { edge } => {
                write!(f, "edge {edge:?} is closed: its consumer has stopped; stop sending, or return the batch")
            }
            Self::Full { edge } => {
                write!(f, "edge {edge:?} is full; send less, give it more room, or choose another when_full policy")
            }
            Self::Timeout { edge, limit } => write!(
                f,
                "edge {edge:?} stayed full for {limit:?}; find out why its consumer is slow, or let block wait longer"
            ),
            Self::NoDivert { edge } => {
                write!(f, "edge {edge:?} is to divert when full, but to nowhere; bind the edge that it diverts to")
            }
        }
    }
}

impl std::error::Error for SendError {}

/// An edge cannot divert there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindError {
    /// It would come back to itself.
    Loop {
        /// The edge that is to divert.
        edge: Arc<str>,
        /// Where it was to divert to.
        target: Arc<str>,
    },
    /// Its policy is not to divert.
    NotDiverting {
        /// The edge.
        edge: Arc<str>,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop { edge, target } => write!(
                f,
                "edge {edge:?} cannot divert to {target:?}: that leads back to {edge:?}; divert to an edge that does \
                 not divert back"
            ),
            Self::NotDiverting { edge } => {
                write!(f, "edge {edge:?} does not divert when full; set its when_full policy to divert")
            }
        }
    }
}

impl std::error::Error for BindError {}

/// An edge has as many [pressure watches](super::PressureWatch) as it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooManyWatches {
    /// The edge.
    pub edge: Arc<str>,
    /// How many it may have.
    pub limit: usize,
}

impl fmt::Display for TooManyWatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edge {:?}: {} watches watch its pressure already; share one of them", self.edge, self.limit)
    }
}

impl std::error::Error for TooManyWatches {}
