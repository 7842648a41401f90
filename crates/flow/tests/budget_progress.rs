//! The deadlock argument of the budget as a test: whatever the accounts, and with all floating memory taken away, a
//! chain of stages whose minima hold one maximal batch always moves on, until everything has left it.
//!
//! The stages do what the rules allow and no more: the source leases before it "reads" and grows its frame in pieces;
//! a stage that is refused keeps its batch and does nothing; one kind of stage expands from its overdraft and takes
//! nothing while in debt; one kind forks and keeps shared leases alive in a side queue; the sink leases for its
//! encoded request before it takes input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]
#![cfg(not(tidegate_loom))]

use std::collections::VecDeque;

use proptest::prelude::*;
use tidegate_flow::{Account, AccountSpec, Budget, Bytes, Lease};

const EXPANDS: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Pass,
    Filter,
    Expand,
    Fork,
}

#[derive(Clone, Debug)]
struct Plan {
    /// One maximal batch: the minimum of every edge.
    batch: u64,
    /// Per stage: what it does, extra minimum of the edge behind it, and whether that edge is fixed.
    stages: Vec<(Kind, u64, bool)>,
    /// Floating memory beyond the minima, and how much of it somebody else has taken for good.
    floating: u64,
    hogged: u64,
    frames: Vec<u64>,
    schedule: Vec<usize>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let kind = prop_oneof![Just(Kind::Pass), Just(Kind::Filter), Just(Kind::Expand), Just(Kind::Fork)];
    let stage = (kind, prop_oneof![Just(0), 0_u64..200], any::<bool>());
    (1_u64..100, proptest::collection::vec(stage, 1..8), 0_u64..500)
        .prop_flat_map(|(batch, stages, floating)| {
            let frames = proptest::collection::vec(1..=batch, 1..30);
            let schedule = proptest::collection::vec(0..stages.len() + 2, 0..300);
            (Just(batch), Just(stages), Just(floating), prop_oneof![Just(floating), 0..=floating], frames, schedule)
        })
        .prop_map(|(batch, stages, floating, hogged, frames, schedule)| Plan {
            batch,
            stages,
            floating,
            hogged,
            frames,
            schedule,
        })
}

struct Edge {
    account: Account,
    queue: VecDeque<Lease>,
}

impl Edge {
    /// Admits a batch if its charge can move here, else gives it back.
    fn push(&mut self, mut batch: Lease) -> Option<Lease> {
        if batch.rebind(&self.account).is_err() {
            return Some(batch);
        }
        self.queue.push_back(batch);
        None
    }
}

struct Stage {
    kind: Kind,
    /// What it has in hand, waiting for room downstream. The oldest is first.
    hand: VecDeque<Lease>,
    /// A best-effort branch: it keeps shared batches for a while.
    side: VecDeque<Lease>,
}

struct Chain {
    source: Account,
    /// The frame being read, and how far it has got.
    frame: Option<(Lease, u64)>,
    frames: VecDeque<u64>,
    stages: Vec<Stage>,
    /// `edges[i]` is in front of stage `i`; the last is in front of the sink.
    edges: Vec<Edge>,
    sink: Account,
    delivered: usize,
}

impl Chain {
    fn build(plan: &Plan) -> (Budget, Self, Lease) {
        let batch = Bytes::new(plan.batch);
        let mut specs = vec![AccountSpec::holding(batch), AccountSpec::holding(batch), AccountSpec::edge(batch)];
        for &(kind, more, fixed) in &plan.stages {
            let overdraft = if kind == Kind::Expand { EXPANDS * plan.batch } else { 0 };
            let spec = AccountSpec::edge(batch + Bytes::new(more)).overdraft(Bytes::new(overdraft));
            specs.push(if fixed { spec.clone().maximum(spec.minimum) } else { spec });
        }
        let minima: Bytes = specs.iter().map(AccountSpec::reserves).sum();
        let process = Budget::new(minima + Bytes::new(plan.floating));
        let mut accounts: Vec<Account> =
            specs.into_iter().map(|spec| process.account("a", spec).expect("the minima fit")).collect();
        let hog = process.account("hog", AccountSpec::holding(Bytes::ZERO)).expect("needs nothing");
        let hogged = hog.try_lease(Bytes::new(plan.hogged)).expect("all of it floats");
        let edges = accounts.split_off(2).into_iter().map(|account| Edge { account, queue: VecDeque::new() });
        let stage = |&(kind, ..): &(Kind, u64, bool)| Stage { kind, hand: VecDeque::new(), side: VecDeque::new() };
        let chain = Self {
            edges: edges.collect(),
            sink: accounts.pop().unwrap(),
            source: accounts.pop().unwrap(),
            frame: None,
            frames: plan.frames.iter().copied().collect(),
            stages: plan.stages.iter().map(stage).collect(),
            delivered: 0,
        };
        (process, chain, hogged)
    }

    /// One step of the source (0), a stage, or the sink (last). Whether it did anything.
    fn step(&mut self, who: usize) -> bool {
        match who {
            0 => self.step_source(),
            _ if who <= self.stages.len() => self.step_stage(who - 1),
            _ => self.step_sink(),
        }
    }

    fn step_source(&mut self) -> bool {
        match self.frame.take() {
            None => {
                // Waits for readiness without a lease, then tries one, then reads.
                let Some(&size) = self.frames.front() else { return false };
                let Some(lease) = self.source.try_lease(Bytes::new(size.div_ceil(2))) else { return false };
                self.frames.pop_front();
                self.frame = Some((lease, size));
                true
            }
            Some((mut lease, size)) if lease.bytes() < Bytes::new(size) => {
                let next = Bytes::new((lease.bytes().get() + size.div_ceil(4)).min(size));
                let grown = lease.resize(next).is_ok();
                assert!(grown, "a maximal frame did not complete from the minimum of its source");
                self.frame = Some((lease, size));
                true
            }
            Some((lease, size)) => {
                let back = self.edges[0].push(lease);
                let moved = back.is_none();
                self.frame = back.map(|lease| (lease, size));
                moved
            }
        }
    }

    fn step_stage(&mut self, index: usize) -> bool {
        let (before, after) = self.edges.split_at_mut(index + 1);
        let (inlet, outlet, stage) = (&mut before[index], &mut after[0], &mut self.stages[index]);
        // The side branch lets go of what it has kept long enough, whenever it runs.
        let let_go = stage.side.len() > 2 || (!stage.side.is_empty() && inlet.queue.is_empty());
        if let_go {
            stage.side.pop_front();
            return true;
        }
        if let Some(batch) = stage.hand.pop_front() {
            return match outlet.push(batch) {
                None => true,
                Some(batch) => {
                    stage.hand.push_front(batch);
                    false
                }
            };
        }
        if outlet.account.in_debt() {
            return false;
        }
        let Some(mut batch) = inlet.queue.pop_front() else { return false };
        match stage.kind {
            Kind::Pass => stage.hand.push_back(batch),
            Kind::Filter => drop(batch.split(Bytes::new(batch.bytes().get() / 2))),
            Kind::Expand => {
                // The output is written in full before the input goes: it must never be refused.
                let size = Bytes::new(batch.bytes().get().min(outlet.account.minimum().get()));
                for _ in 0..EXPANDS {
                    let part = outlet.account.overdraw(size).expect("the overdraft is reserved");
                    outlet.queue.push_back(part);
                }
            }
            Kind::Fork => {
                stage.side.push_back(batch.share());
                stage.hand.push_back(batch);
                return true;
            }
        }
        true
    }

    fn step_sink(&mut self) -> bool {
        let edge = self.edges.last_mut().unwrap();
        let Some(size) = edge.queue.front().map(Lease::bytes) else { return false };
        let request = self.sink.try_lease(size).expect("the sink's minimum holds a maximal request");
        let batch = edge.queue.pop_front();
        drop((batch, request));
        self.delivered += 1;
        true
    }

    fn is_empty(&self) -> bool {
        let empty = |stage: &Stage| stage.hand.is_empty() && stage.side.is_empty();
        self.frames.is_empty()
            && self.frame.is_none()
            && self.edges.iter().all(|edge| edge.queue.is_empty())
            && self.stages.iter().all(empty)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_always_moves_on_without_floating_memory(plan in plans()) {
        let (process, mut chain, hogged) = Chain::build(&plan);
        let actors = plan.stages.len() + 2;
        for &who in &plan.schedule {
            chain.step(who);
            prop_assert!(process.used() <= process.total());
        }
        while !chain.is_empty() {
            let moved = (0..actors).filter(|&who| chain.step(who)).count();
            prop_assert!(moved > 0, "deadlock: nobody can move, {} delivered, {:?}", chain.delivered, process);
        }
        prop_assert_eq!(process.used(), hogged.bytes());
        drop((chain, hogged));
        prop_assert_eq!(process.free(), process.total());
    }
}
