//! [`Snapshot`]: what an edge shows.

use std::sync::Arc;
use std::time::Duration;

use super::counts::EdgeFlows;
use super::marks::{Level, share};
use crate::units::Weight;

/// One edge at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The name of the edge.
    pub name: Arc<str>,
    /// What a grant allows beyond what was consumed.
    pub window: Weight,
    /// The most that the edge may hold under the credit that is out; memory must be kept for this much.
    pub allowed: Weight,
    /// What is in the edge.
    pub fill: Weight,
    /// Credit that granted claims hold.
    pub reserved: Weight,
    /// Batches in the edge.
    pub batches: usize,
    /// How pressured the edge is.
    pub level: Level,
    /// How often the level has moved.
    pub transitions: u64,
    /// The age of the oldest batch.
    pub head_age: Duration,
    /// Producers that the edge has.
    pub producers: usize,
    /// Producers that wait with a batch in hand.
    pub waiting_claims: usize,
    /// The largest batch that a producer waits with; nothing where none does.
    pub largest_claim: Weight,
    /// Whether the consumer waits for data.
    pub consumer_waits: bool,
    /// Whether the edge takes no more in.
    pub ended: bool,
    /// Where the records went.
    pub flows: EdgeFlows,
}

impl Snapshot {
    /// The fill as a share of the window, in the unit that is fuller.
    #[must_use]
    pub fn fill_share(&self) -> f64 {
        share(self.fill, self.window)
    }
}
