//! Who waits to send: one claim per producer, and deficit round-robin by bytes among them.

use std::fmt;
use std::sync::Arc;

use super::fair::Drr;
use super::lanes::{MAX_LANES, cost_of};
use super::spec::EdgeSpec;
use crate::units::Weight;

/// A producer of one edge.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProducerId(pub(super) u16);

impl ProducerId {
    /// A small number that is free again when the producer is gone.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The edge has as many producers as it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooManyProducers {
    /// The edge.
    pub edge: Arc<str>,
    /// How many it may have.
    pub limit: u16,
}

impl fmt::Display for TooManyProducers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "edge {:?}: it has {} producers already; raise max_producers, or share a producer",
            self.edge, self.limit
        )
    }
}

impl std::error::Error for TooManyProducers {}

/// What a producer's batch is waiting for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The producer claims nothing.
    None,
    /// It waits for its turn. `refused`: it had it, and the budget said no.
    Waiting { lane: usize, weight: Weight, refused: bool },
    /// Credit for exactly this batch is reserved.
    Granted { lane: usize, weight: Weight },
}

/// What a producer without a claim wants to be woken for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    Nothing,
    /// Room for a batch of this weight in this lane (in any, if none is named).
    Room {
        lane: Option<usize>,
        weight: Weight,
    },
    /// The consumer waits for data.
    Starving,
}

/// How far a batch may go while others wait.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Nobody is before it.
    Open,
    /// A higher lane waits: only what its own lane's floor keeps for it.
    FloorOnly,
    /// It must wait behind others.
    Shut,
}

#[derive(Debug)]
struct Producer {
    live: bool,
    claim: Claim,
    watch: Watch,
}

/// The claims of one lane.
#[derive(Debug)]
struct LaneClaims {
    turns: Drr,
    waiting: usize,
    /// What went to other lanes since this lane was last served.
    passed: Weight,
    /// Whether it may ever hold the other lanes up.
    guaranteed: bool,
}

/// The producers of an edge and what they claim. The slots are allocated once.
#[derive(Debug)]
pub(super) struct Claims {
    producers: Vec<Producer>,
    free: Vec<u16>,
    max: u16,
    lanes: Box<[LaneClaims]>,
    waiting: usize,
    granted: usize,
    watching: usize,
    reserved: Weight,
    reserved_by_lane: [Weight; MAX_LANES as usize],
}

impl Claims {
    pub(super) fn new(spec: &EdgeSpec) -> Self {
        let slots = usize::from(spec.max_producers);
        let lane = |index: u8| LaneClaims {
            turns: Drr::new(slots, spec.quantum.get()),
            waiting: 0,
            passed: Weight::ZERO,
            guaranteed: index == 0 || spec.lanes.floor(index) > 0,
        };
        Self {
            producers: Vec::with_capacity(slots),
            free: Vec::with_capacity(slots),
            max: spec.max_producers,
            lanes: (0..spec.lanes.count()).map(lane).collect(),
            waiting: 0,
            granted: 0,
            watching: 0,
            reserved: Weight::ZERO,
            reserved_by_lane: [Weight::ZERO; MAX_LANES as usize],
        }
    }

    /// A slot for one more producer, or `None` when there are as many as there may be.
    pub(super) fn add(&mut self) -> Option<ProducerId> {
        let fresh = Producer { live: true, claim: Claim::None, watch: Watch::Nothing };
        if let Some(id) = self.free.pop() {
            self.producers[usize::from(id)] = fresh;
            return Some(ProducerId(id));
        }
        let id = u16::try_from(self.producers.len()).ok().filter(|&id| id < self.max)?;
        self.producers.push(fresh);
        Some(ProducerId(id))
    }

    /// Forgets a producer. Its claim must be cancelled before.
    pub(super) fn remove(&mut self, id: ProducerId) {
        self.set_watch(id, Watch::Nothing);
        self.producers[id.index()].live = false;
        self.free.push(id.0);
    }

    pub(super) fn producers(&self) -> usize {
        self.producers.len() - self.free.len()
    }

    /// Places of producers that were ever used, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = ProducerId> + use<> {
        let places = u16::try_from(self.producers.len()).unwrap_or(u16::MAX);
        (0..places).map(ProducerId)
    }

    pub(super) const fn max(&self) -> u16 {
        self.max
    }

    #[inline]
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Claims that hold credit.
    #[inline]
    pub(super) const fn granted(&self) -> usize {
        self.granted
    }

    #[inline]
    pub(super) const fn watching(&self) -> usize {
        self.watching
    }

    /// Credit held by granted claims.
    #[inline]
    pub(super) const fn reserved(&self) -> Weight {
        self.reserved
    }

    pub(super) const fn reserved_by_lane(&self) -> &[Weight; MAX_LANES as usize] {
        &self.reserved_by_lane
    }

    #[inline]
    pub(super) fn claim_of(&self, id: ProducerId) -> Claim {
        self.producers[id.index()].claim
    }

    pub(super) fn watch_of(&self, id: ProducerId) -> Watch {
        self.producers[id.index()].watch
    }

    pub(super) fn set_watch(&mut self, id: ProducerId, watch: Watch) {
        let old = std::mem::replace(&mut self.producers[id.index()].watch, watch);
        self.watching -= usize::from(old != Watch::Nothing);
        self.watching += usize::from(watch != Watch::Nothing);
    }

    /// Every producer that waits for something.
    pub(super) fn waiters(&self) -> impl Iterator<Item = ProducerId> + '_ {
        self.places().filter(|id| {
            let producer = &self.producers[id.index()];
            producer.live && (producer.claim != Claim::None || producer.watch != Watch::Nothing)
        })
    }

    /// The largest batch that waits, in either unit.
    pub(super) fn largest_waiting(&self) -> Weight {
        let waiting = self.producers.iter().filter_map(|producer| match producer.claim {
            Claim::Waiting { weight, .. } => Some(weight),
            Claim::None | Claim::Granted { .. } => None,
        });
        waiting.fold(Weight::ZERO, Weight::max)
    }

    /// Queues the claim of a producer that has none.
    pub(super) fn claim(&mut self, id: ProducerId, lane: usize, weight: Weight) {
        debug_assert_eq!(self.claim_of(id), Claim::None);
        self.producers[id.index()].claim = Claim::Waiting { lane, weight, refused: false };
        self.lanes[lane].turns.join(id.0);
        self.lanes[lane].waiting += 1;
        self.waiting += 1;
    }

    /// Takes back whatever `id` claims. Says whether that may let somebody else go on.
    pub(super) fn cancel(&mut self, id: ProducerId) -> bool {
        match std::mem::replace(&mut self.producers[id.index()].claim, Claim::None) {
            Claim::None => false,
            Claim::Granted { lane, weight } => {
                self.release(lane, weight);
                true
            }
            Claim::Waiting { lane, .. } => {
                self.lanes[lane].turns.leave(id.0);
                self.stop_waiting(lane);
                true
            }
        }
    }

    /// Turns the granted claim of `id` into what it stands for: its credit is the caller's now.
    pub(super) fn redeem(&mut self, id: ProducerId) {
        if let Claim::Granted { lane, weight } = self.claim_of(id) {
            self.producers[id.index()].claim = Claim::None;
            self.release(lane, weight);
        }
    }

    /// Queues the claim of a producer whose turn it was, first in its lane. `refused`: it waits for the budget.
    pub(super) fn claim_first(&mut self, id: ProducerId, lane: usize, weight: Weight, refused: bool) {
        debug_assert_eq!(self.claim_of(id), Claim::None);
        self.producers[id.index()].claim = Claim::Waiting { lane, weight, refused };
        self.waiting += 1;
        self.lanes[lane].waiting += 1;
        self.lanes[lane].turns.put_first(id.0, cost_of(weight));
    }

    /// The claim of `lane` that is next, and its weight. Nothing is decided before it is granted.
    pub(super) fn head(&self, lane: usize) -> Option<(ProducerId, Weight)> {
        let id = self.lanes[lane].turns.peek(|id| cost(&self.producers, id))?;
        match self.producers[usize::from(id)].claim {
            Claim::Waiting { weight, .. } => Some((ProducerId(id), weight)),
            Claim::None | Claim::Granted { .. } => None,
        }
    }

    /// Reserves credit for the head of `lane`.
    pub(super) fn grant_head(&mut self, lane: usize) -> Option<ProducerId> {
        let Self { producers, lanes, .. } = self;
        let id = lanes[lane].turns.pick(|id| cost(producers, id))?;
        let Claim::Waiting { weight, .. } = producers[usize::from(id)].claim else { return None };
        producers[usize::from(id)].claim = Claim::Granted { lane, weight };
        lanes[lane].turns.pause(id);
        self.stop_waiting(lane);
        self.granted += 1;
        self.reserved += weight;
        self.reserved_by_lane[lane] += weight;
        Some(ProducerId(id))
    }

    /// Notes that `lane` was served: the lanes that wait were passed over.
    #[inline]
    pub(super) fn note_served(&mut self, lane: usize, weight: Weight) {
        if self.waiting == 0 {
            return;
        }
        for (index, claims) in self.lanes.iter_mut().enumerate() {
            if index == lane {
                claims.passed = Weight::ZERO;
            } else if claims.waiting > 0 {
                claims.passed += weight;
            }
        }
    }

    /// The lane that was passed over for more than a whole window and now goes first, if there is one. Without this, a
    /// batch that needs an empty edge would wait for ever behind lanes that keep trickling in.
    pub(super) fn due(&self, window: Weight) -> Option<usize> {
        if self.waiting == 0 || self.lanes.len() == 1 {
            return None;
        }
        self.lanes.iter().position(|claims| claims.waiting > 0 && claims.guaranteed && !claims.passed.fits(window))
    }

    #[inline]
    pub(super) fn waits_in(&self, lane: usize) -> bool {
        self.lanes[lane].waiting > 0
    }

    /// Who goes before a batch of `lane`, leaving aside claims of its own lane.
    #[inline]
    pub(super) fn gate(&self, lane: usize, window: Weight) -> Gate {
        if self.waiting == 0 {
            return Gate::Open;
        }
        match self.due(window) {
            Some(due) if due == lane => Gate::Open,
            Some(_) => Gate::Shut,
            None if (0..lane).any(|higher| self.waits_in(higher)) => Gate::FloorOnly,
            None => Gate::Open,
        }
    }

    fn stop_waiting(&mut self, lane: usize) {
        self.waiting -= 1;
        let claims = &mut self.lanes[lane];
        claims.waiting -= 1;
        if claims.waiting == 0 {
            claims.passed = Weight::ZERO;
        }
    }

    fn release(&mut self, lane: usize, weight: Weight) {
        self.granted -= 1;
        self.reserved -= weight;
        self.reserved_by_lane[lane] -= weight;
    }
}

/// What the claim of a producer costs in the round-robin.
fn cost(producers: &[Producer], id: u16) -> u64 {
    match producers[usize::from(id)].claim {
        Claim::Waiting { weight, .. } | Claim::Granted { weight, .. } => cost_of(weight),
        Claim::None => 0,
    }
}
