//! What is in the edge: lanes by strict priority with floors, and inside each lane fair buckets.

use std::collections::VecDeque;

use super::Load;
use super::fair::Drr;
use super::spec::{EdgeSpec, Lanes};
use crate::time::Time;
use crate::units::{Bytes, Records, Weight};

/// The most priority lanes of an edge.
pub const MAX_LANES: u8 = 4;
/// The most fairness buckets of a lane.
pub const MAX_BUCKETS: u8 = 64;

/// A batch in the edge.
#[derive(Debug)]
pub(super) struct Entry<B> {
    pub(super) load: B,
    /// Its weight when it entered: what leaves the credit when it leaves.
    pub(super) weight: Weight,
    /// When it entered.
    pub(super) at: Time,
}

/// A queue of batches that share one hash.
#[derive(Debug)]
struct Bucket<B> {
    entries: VecDeque<Entry<B>>,
    weight: Weight,
}

/// One priority lane.
#[derive(Debug)]
struct Lane<B> {
    buckets: Box<[Bucket<B>]>,
    /// Whose turn it is; unused where there is one bucket.
    turns: Drr,
    len: usize,
    weight: Weight,
    floor_percent: u64,
    /// Hundredths of bytes that this lane's floor has earned beyond what it was served; at most a batch below zero.
    owed: i64,
}

/// All the batches of an edge.
#[derive(Debug)]
pub(super) struct LaneSet<B> {
    lanes: Box<[Lane<B>]>,
    len: usize,
    has_floors: bool,
}

impl<B: Load> LaneSet<B> {
    pub(super) fn new(spec: &EdgeSpec) -> Self {
        let lane = |index| Lane::new(spec, index);
        let lanes: Box<[Lane<B>]> = (0..spec.lanes.count()).map(lane).collect();
        let has_floors = lanes.iter().any(|lane| lane.floor_percent > 0);
        Self { lanes, len: 0, has_floors }
    }

    /// Batches, not records.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lane of the edge that serves the wanted one.
    #[inline]
    pub(super) fn index(&self, lane: u8) -> usize {
        usize::from(lane).min(self.lanes.len() - 1)
    }

    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn weight(&self) -> Weight {
        self.lanes.iter().map(|lane| lane.weight).sum()
    }

    pub(super) fn weight_of(&self, lane: usize) -> Weight {
        self.lanes[lane].weight
    }

    /// The share of `window` that is kept for `lane`.
    pub(super) fn floor(&self, lane: usize, window: Weight) -> Weight {
        percent_of(window, self.lanes[lane].floor_percent)
    }

    /// What the floors of all lanes but `lane` still keep free, given what each has reserved besides its batches.
    #[inline]
    pub(super) fn kept_free(&self, lane: usize, window: Weight, reserved: &[Weight; MAX_LANES as usize]) -> Weight {
        if !self.has_floors {
            return Weight::ZERO;
        }
        let unused = |other: usize| {
            let used = self.lanes[other].weight + reserved[other];
            self.floor(other, window).saturating_sub(used)
        };
        (0..self.lanes.len()).filter(|&other| other != lane).map(unused).sum()
    }

    #[inline]
    pub(super) fn push(&mut self, lane: usize, entry: Entry<B>) {
        self.len += 1;
        self.lanes[lane].push(entry);
    }

    /// Takes the batch that is next: from the lane that its floor owes most, or else from the highest lane.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry<B>> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        if self.lanes.len() == 1 {
            return self.lanes[0].pop();
        }
        let (index, by_floor) = self.next_lane()?;
        let entry = self.lanes[index].pop()?;
        if self.has_floors {
            self.earn(index, by_floor, cost_of(entry.weight));
        }
        Some(entry)
    }

    fn next_lane(&self) -> Option<(usize, bool)> {
        let waiting = || self.lanes.iter().enumerate().filter(|(_, lane)| lane.len > 0);
        let owed = waiting().filter(|(_, lane)| lane.owed > 0).max_by_key(|(_, lane)| lane.owed);
        match owed {
            Some((index, _)) => Some((index, true)),
            None => waiting().next().map(|(index, _)| (index, false)),
        }
    }

    /// Every lane earns its floor's share of the bytes that were served, and the served lane pays for them.
    ///
    /// A lane that was served by priority pays no more than it had earned: what it got because nobody else wanted it
    /// must not count against its floor later. A lane that is empty earns only what it owes: it neither saves up for
    /// later, nor comes back with its debt forgiven and takes a turn for each batch.
    fn earn(&mut self, served: usize, by_floor: bool, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 200);
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let floor = i64::try_from(lane.floor_percent).unwrap_or(0);
            lane.owed = lane.owed.saturating_add(bytes.saturating_mul(floor));
            if index == served {
                let paid = lane.owed.saturating_sub(bytes.saturating_mul(100));
                lane.owed = if by_floor { paid } else { paid.max(lane.owed.min(0)) };
            }
            if lane.len == 0 {
                lane.owed = lane.owed.min(0);
            }
        }
    }

    /// What `drop_oldest` could free for a batch of `lane`: its own lane, and what lower lanes hold above their floors.
    pub(super) fn evictable(&self, lane: usize, window: Weight) -> Weight {
        let surplus = |index: usize| {
            let weight = self.lanes[index].weight;
            if index == lane { weight } else { weight.saturating_sub(self.floor(index, window)) }
        };
        (lane..self.lanes.len()).map(surplus).sum()
    }

    /// Takes out the next victim for a batch of `lane`: from the lowest lane that is not below its floor (its own is
    /// fair game), inside it from the fullest bucket, the oldest batch.
    pub(super) fn evict(&mut self, lane: usize, window: Weight) -> Option<Entry<B>> {
        let index = (lane..self.lanes.len()).rev().find(|&index| {
            let held = &self.lanes[index];
            held.len > 0 && (index == lane || !held.weight.fits(self.floor(index, window)))
        })?;
        self.len -= 1;
        self.lanes[index].pop_fullest()
    }

    /// When the oldest batch entered.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.lanes
            .iter()
            .filter(|lane| lane.len > 0)
            .flat_map(|lane| lane.buckets.iter().filter_map(|bucket| bucket.entries.front()))
            .map(|entry| entry.at)
            .min()
    }
}

impl<B: Load> Lane<B> {
    fn new(spec: &EdgeSpec, index: u8) -> Self {
        let bucket = || Bucket { entries: VecDeque::new(), weight: Weight::ZERO };
        Self {
            buckets: std::iter::repeat_with(bucket).take(usize::from(spec.buckets)).collect(),
            turns: Drr::new(usize::from(spec.buckets), spec.quantum.get()),
            len: 0,
            weight: Weight::ZERO,
            floor_percent: u64::from(Lanes::floor(&spec.lanes, index)),
            owed: 0,
        }
    }

    #[inline]
    fn push(&mut self, entry: Entry<B>) {
        let index = match self.buckets.len() {
            1 => 0,
            buckets => usize::from(entry.load.bucket()) % buckets,
        };
        self.len += 1;
        self.weight += entry.weight;
        let shared = self.buckets.len() > 1;
        let bucket = &mut self.buckets[index];
        bucket.weight += entry.weight;
        bucket.entries.push_back(entry);
        if shared && bucket.entries.len() == 1 {
            self.turns.join(bucket_id(index));
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Entry<B>> {
        if self.buckets.len() == 1 {
            return self.pop_from(0);
        }
        let buckets = &self.buckets;
        let id =
            self.turns.pick(|id| buckets[usize::from(id)].entries.front().map_or(0, |entry| cost_of(entry.weight)));
        self.pop_from(usize::from(id?))
    }

    fn pop_fullest(&mut self) -> Option<Entry<B>> {
        let filled = self.buckets.iter().enumerate().filter(|(_, bucket)| !bucket.entries.is_empty());
        let (index, _) = filled.rev().max_by_key(|(_, bucket)| (bucket.weight.bytes, bucket.weight.records))?;
        self.pop_from(index)
    }

    #[inline]
    fn pop_from(&mut self, index: usize) -> Option<Entry<B>> {
        let shared = self.buckets.len() > 1;
        let bucket = &mut self.buckets[index];
        let entry = bucket.entries.pop_front()?;
        bucket.weight -= entry.weight;
        self.weight -= entry.weight;
        self.len -= 1;
        if shared && bucket.entries.is_empty() {
            self.turns.leave(bucket_id(index));
        }
        Some(entry)
    }
}

/// What a batch costs in a round-robin: its bytes, and never nothing.
pub(super) fn cost_of(weight: Weight) -> u64 {
    weight.bytes.get().max(1)
}

fn bucket_id(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

pub(super) fn percent_of(window: Weight, percent: u64) -> Weight {
    let of = |value: u64| u64::try_from(u128::from(value) * u128::from(percent) / 100).unwrap_or(u64::MAX);
    Weight { records: Records::new(of(window.records.get())), bytes: Bytes::new(of(window.bytes.get())) }
}
