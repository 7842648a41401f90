//! [`Snapshot`]: what an edge shows to those who look.

use std::sync::Arc;
use std::time::Duration;

use super::Load;
use super::core::Queue;
use super::counts::EdgeFlows;
use super::marks::{Level, share};
use crate::time::Time;
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

impl<B: Load> Queue<B> {
    /// How pressured the edge is at `now`.
    pub fn level(&mut self, now: Time) -> Level {
        if self.gauge.by_residence() {
            self.look(now);
        }
        self.gauge.level()
    }

    /// How often the pressure level has moved.
    #[must_use]
    pub const fn transitions(&self) -> u64 {
        self.gauge.transitions()
    }

    /// Everything there is to see, at one instant.
    pub fn snapshot(&mut self, now: Time) -> Snapshot {
        let level = self.level(now);
        let fill = self.lanes.weight();
        assert_eq!(fill, self.credit.fill(), "edge {:?}: the queue and its credit disagree", self.name);
        let flows = EdgeFlows { held: fill.records, ..self.flows };
        Snapshot {
            name: Arc::clone(&self.name),
            window: self.credit.window(),
            allowed: self.credit.allowed(),
            fill,
            reserved: self.claims.reserved(),
            batches: self.lanes.len(),
            level,
            transitions: self.gauge.transitions(),
            head_age: self.head_age(now),
            producers: self.claims.producers(),
            waiting_claims: self.claims.waiting(),
            largest_claim: self.claims.largest_waiting(),
            consumer_waits: self.parked,
            ended: self.is_ended(),
            flows,
        }
    }

    pub(super) fn head_age(&self, now: Time) -> Duration {
        self.lanes.oldest().map_or(Duration::ZERO, |at| now.since(at))
    }
}
