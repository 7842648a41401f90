//! The reference: what any reader would write down of an edge.

use std::collections::HashMap;

use tidegate_flow::queue::EdgeSpec;
use tidegate_flow::{Time, Weight};

/// What the model knows of a batch in the edge.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) number: u64,
    pub(crate) who: usize,
    pub(crate) lane: usize,
    pub(crate) bucket: usize,
    pub(crate) weight: Weight,
    pub(crate) deadline: Option<Time>,
    pub(crate) mortal: u64,
}

pub(crate) struct Model {
    pub(crate) spec: EdgeSpec,
    pub(crate) window: Weight,
    pub(crate) held: Vec<Held>,
    pub(crate) sent: Weight,
    pub(crate) consumed: Weight,
    pub(crate) limit: Weight,
    /// Claims that hold credit, by producer.
    pub(crate) granted: HashMap<usize, (usize, Weight)>,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) expired: u64,
    pub(crate) diverted: u64,
    pub(crate) shed: u64,
}

impl Model {
    pub(crate) fn new(spec: &EdgeSpec) -> Self {
        Self {
            spec: spec.clone(),
            window: spec.window,
            held: Vec::new(),
            sent: Weight::ZERO,
            consumed: Weight::ZERO,
            limit: spec.window,
            granted: HashMap::new(),
            input: 0,
            output: 0,
            expired: 0,
            diverted: 0,
            shed: 0,
        }
    }

    pub(crate) fn lane(&self, lane: u8) -> usize {
        usize::from(lane).min(usize::from(self.spec.lanes.count()) - 1)
    }

    pub(crate) fn floor(&self, lane: usize) -> Weight {
        let percent = u64::from(self.spec.lanes.floor(u8::try_from(lane).unwrap()));
        Weight::new(self.window.records.get() * percent / 100, self.window.bytes.get() * percent / 100)
    }

    pub(crate) fn used(&self, lane: usize) -> Weight {
        let held: Weight = self.held.iter().filter(|held| held.lane == lane).map(|held| held.weight).sum();
        held + self.granted.values().filter(|(of, _)| *of == lane).map(|(_, weight)| *weight).sum()
    }

    pub(crate) fn kept_free(&self, lane: usize) -> Weight {
        let lanes = 0..usize::from(self.spec.lanes.count());
        lanes.filter(|&other| other != lane).map(|other| self.floor(other).saturating_sub(self.used(other))).sum()
    }

    pub(crate) fn reserved(&self) -> Weight {
        self.granted.values().map(|(_, weight)| *weight).sum()
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.held.is_empty() && self.granted.is_empty()
    }

    /// Whether a batch has room when everything is granted that could be.
    pub(crate) fn has_true_room(&self, lane: usize, weight: Weight) -> bool {
        let limit = self.limit.max(self.consumed + self.window);
        self.is_vacant() || (self.sent + self.reserved() + self.kept_free(lane) + weight).fits(limit)
    }

    /// The next victim of `drop_oldest`, by the book.
    pub(crate) fn victim(&self, lane: usize) -> Option<usize> {
        let count = usize::from(self.spec.lanes.count());
        let from = (lane..count).rev().find(|&other| {
            let any = self.held.iter().any(|held| held.lane == other);
            any && (other == lane || !self.used(other).fits(self.floor(other)))
        })?;
        let weight_of = |bucket| -> Weight {
            let inside = self.held.iter().filter(|held| held.lane == from && held.bucket == bucket);
            inside.map(|held| held.weight).sum()
        };
        let fullest = (0..usize::from(self.spec.buckets))
            .filter(|&bucket| self.held.iter().any(|held| held.lane == from && held.bucket == bucket))
            .max_by_key(|&bucket| (weight_of(bucket).bytes, weight_of(bucket).records, std::cmp::Reverse(bucket)))?;
        self.held.iter().position(|held| held.lane == from && held.bucket == fullest)
    }

    pub(crate) fn remove(&mut self, index: usize) -> Held {
        let held = self.held.remove(index);
        self.consumed += held.weight;
        held
    }
}
