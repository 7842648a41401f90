//! Draws a [`Plan`] from a seed.

use std::time::Duration;

use tidegate_flow::{OnFull, SampleRate};

use crate::plan::{Care, EdgePlan, End, FlowNo, Plan, PortNo, Shape, SinkPlan, SourcePlan, Step};
use crate::rng::{Rng, mix2};
use crate::vary::vary;

/// The fewest and the most stages.
pub const STAGES: (u64, u64) = (3, 40);
/// No flow carries more records than this, forks and expansions counted.
const MOST_RECORDS: u64 = 4_000;
/// No more flows are open at once.
const MOST_OPEN: usize = 8;

/// The plan of a seed.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let mut plan = base(seed);
    vary(&mut plan, &mut Rng::new(mix2(seed, 7)));
    plan
}

/// The plan of a seed before it is [varied](crate::vary). What it draws stays as it is, so that the seeds that once
/// failed stay what they were.
#[must_use]
pub fn base(seed: u64) -> Plan {
    let mut rng = Rng::new(seed);
    let batch = (
        rng.weighted(&[(2, 1), (3, 4), (4, 16), (3, 64), (2, 256)]),
        rng.weighted(&[(2, 2048), (4, 8192), (2, 65_536)]),
    );
    let stages = usize::try_from(rng.from_to(STAGES.0, STAGES.1)).unwrap_or(3);
    let count = rng.from_to(1, 3.min(stages as u64 / 2));
    let sources: Vec<SourcePlan> = (0..count).map(|_| source(&mut rng, batch)).collect();
    let end = end(&mut rng);
    let supervision = care(&mut rng);
    let faults = rng.percent(50);
    let mut drawing = Drawing {
        mood: Mood::draw(&mut rng),
        open: sources.iter().enumerate().map(|(flow, source)| Open { flow, records: source.records }).collect(),
        flows: sources.len(),
        stages: sources.len(),
        ports: Vec::new(),
        edges: 0,
        steps: Vec::new(),
        batch,
        faults,
        rng,
    };
    drawing.graph(stages);
    let (steps, mut rng) = (drawing.steps, drawing.rng);
    let budget_times = rng.weighted(&[(3, 1), (2, 2), (2, 8), (2, 64)]);
    let (spills, stall, noisy) = (Vec::new(), None, false);
    Plan { seed, batch, budget_times, supervision, sources, steps, spills, stall, noisy, end }
}

fn source(rng: &mut Rng, batch: (u64, u64)) -> SourcePlan {
    let iterator = rng.percent(20);
    let sorted = !iterator && rng.percent(30);
    let records = rng.from_to(5, 250);
    SourcePlan {
        records,
        weight: rng.weighted(&[(1, 0), (3, 40), (2, batch.1 / 8 + 1), (1, batch.1 / 2)]),
        oversize_every: rng.weighted(&[(5, 0), (2, 40), (2, 12)]),
        iterator,
        waits: rng.weighted(&[(2, 0), (3, 20), (2, 80)]),
        longest_wait: rng.from_to(1, 40),
        lanes: if sorted { u8::try_from(rng.from_to(1, 4)).unwrap_or(1) } else { 0 },
        buckets: if sorted { rng.weighted(&[(2, 1), (1, 4), (1, 64)]) } else { 1 },
        deadline: if sorted && rng.percent(50) { rng.from_to(1, 200) } else { 0 },
        fails_at: (!iterator && rng.percent(4)).then(|| rng.from_to(1, records)),
        commit_takes: rng.weighted(&[(3, 0), (1, 5)]),
    }
}

fn end(rng: &mut Rng) -> End {
    let at =
        Duration::from_millis(rng.weighted(&[(1, 0), (3, 5), (3, 50), (2, 400)]).min(400) * rng.from_to(0, 10) / 5);
    let deadline = Duration::from_millis(rng.weighted(&[(1, 0), (2, 20), (3, 60_000)]));
    rng.weighted(&[
        (60, End::Complete),
        (8, End::Kill(at)),
        (6, End::KillSource(at)),
        (11, End::Drain(at, deadline)),
        (8, End::Stop(at)),
        (7, End::Drop(at)),
    ])
}

fn care(rng: &mut Rng) -> Care {
    let restarts = u32::try_from(rng.from_to(1, 12)).unwrap_or(1);
    rng.weighted(&[(12, Care::Resume), (2, Care::Stop), (5, Care::Restart(restarts))])
}

/// How the edges of one plan behave: where every edge may fail, hardly a pipeline of 40 would live for long.
#[derive(Copy, Clone, Debug)]
enum Mood {
    /// Every edge blocks.
    Patient,
    /// Every policy but `fail`.
    Mixed,
    /// Every policy; the edges that fail have room for everything, most of the time.
    Rash,
}

impl Mood {
    fn draw(rng: &mut Rng) -> Self {
        rng.weighted(&[(4, Self::Patient), (4, Self::Mixed), (4, Self::Rash)])
    }
}

struct Open {
    flow: FlowNo,
    /// About how many records pass.
    records: u64,
}

struct Drawing {
    rng: Rng,
    mood: Mood,
    open: Vec<Open>,
    flows: usize,
    stages: usize,
    /// Ports whose flows are at their end: anything upstream may send there.
    ports: Vec<PortNo>,
    edges: usize,
    steps: Vec<Step>,
    batch: (u64, u64),
    faults: bool,
}

#[derive(Copy, Clone)]
enum Move {
    Chain,
    Side,
    Fork,
    Partition,
    Join,
}

impl Drawing {
    fn graph(&mut self, stages: usize) {
        while self.stages < stages {
            let room = stages - self.stages;
            let wide = self.open.len() >= MOST_OPEN;
            let part = u64::from(room >= 2 && !wide);
            let join = u64::from(self.open.len() >= 2);
            let choice = self.rng.weighted(&[
                (10, Move::Chain),
                (4 * u64::from(room >= 2), Move::Side),
                (4 * part, Move::Fork),
                (3 * part, Move::Partition),
                (5 * join + 8 * u64::from(wide), Move::Join),
            ]);
            match choice {
                Move::Chain => self.chain(),
                Move::Side => self.side(),
                Move::Fork => self.fork(room),
                Move::Partition => self.partition(room),
                Move::Join => self.join(),
            }
        }
        while let Some(open) = self.open.pop() {
            self.sink(open);
        }
    }

    fn take(&mut self) -> Open {
        let at = self.rng.below(self.open.len());
        self.open.swap_remove(at)
    }

    fn new_flow(&mut self, records: u64) {
        self.open.push(Open { flow: self.flows, records });
        self.flows += 1;
        self.stages += 1;
    }

    fn chain(&mut self) {
        let Open { flow, records } = self.take();
        let shape = self.shape(records);
        let care = self.rng.percent(15).then(|| care(&mut self.rng));
        let edge = self.edge();
        let grown = if matches!(shape, Shape::FlatMap(_) | Shape::Expand(_)) { records * 2 } else { records };
        self.steps.push(Step::Chain { flow, shape, edge, care });
        self.new_flow(grown);
    }

    fn shape(&mut self, records: u64) -> Shape {
        let every = if self.faults { self.rng.weighted(&[(2, 0), (2, 50), (1, 7)]) } else { 0 };
        let refuse = if self.faults { self.rng.from_to(5, 60) } else { 0 };
        let expand = u64::from(records * 2 <= MOST_RECORDS);
        self.rng.weighted(&[
            (4, Shape::Plain),
            (4, Shape::Map(every)),
            (2, Shape::Filter),
            (2, Shape::FilterMap),
            (2, Shape::TryMap(refuse)),
            (2, Shape::Three(refuse)),
            (3 * expand, Shape::FlatMap(every)),
            (2 * expand, Shape::Expand(every)),
        ])
    }

    /// A side output: to a port that is there already, or to a new one.
    fn side(&mut self) {
        let Open { flow, records } = self.take();
        let is_tap = self.rng.percent(35);
        let fresh = self.ports.is_empty() || self.rng.percent(60) || is_tap;
        let ends = !is_tap && self.rng.percent(50);
        let port = if fresh { self.port(is_tap, records, ends) } else { self.ports[self.rng.below(self.ports.len())] };
        let every = self.rng.from_to(3, 30);
        let shape = match self.rng.below(2) {
            _ if is_tap => Shape::Tap(port),
            0 => Shape::Divert(port),
            _ => Shape::TryMapOr(port, every),
        };
        let edge = self.edge();
        self.steps.push(Step::Chain { flow, shape, edge, care: None });
        self.new_flow(records);
    }

    /// Opens a port. Its flow ends in a sink at once (and later stages may send to it too), or it stays open.
    fn port(&mut self, side: bool, records: u64, ends: bool) -> PortNo {
        let mut edge = self.edge();
        if side && !matches!(edge.when_full, OnFull::DropNewest | OnFull::DropOldest | OnFull::Sample(_)) {
            // A tap never waits: its edge must shed.
            edge.when_full = OnFull::DropNewest;
        }
        let port = self.steps.iter().filter(|step| matches!(step, Step::Port { .. })).count();
        self.steps.push(Step::Port { edge, side });
        self.new_flow(records);
        if ends && let Some(open) = self.open.pop() {
            self.sink(open);
            self.ports.push(port);
        }
        port
    }

    fn fork(&mut self, room: usize) {
        let Open { flow, records } = self.take();
        let count = if room >= 3 && self.rng.percent(40) { 3 } else { 2 };
        if records * count > MOST_RECORDS {
            return self.chain_of(flow, records);
        }
        let required = self.rng.below(usize::try_from(count).unwrap_or(2));
        let arms: Vec<(EdgePlan, bool)> = (0..usize::try_from(count).unwrap_or(2))
            .map(|arm| (self.edge(), arm == required || self.rng.percent(65)))
            .collect();
        let marked = self.rng.percent(90);
        arms.iter().for_each(|_| self.new_flow(records));
        self.steps.push(Step::Fork { flow, arms, marked });
    }

    fn chain_of(&mut self, flow: FlowNo, records: u64) {
        let edge = self.edge();
        self.steps.push(Step::Chain { flow, shape: Shape::Plain, edge, care: None });
        self.new_flow(records);
    }

    fn partition(&mut self, room: usize) {
        let Open { flow, records } = self.take();
        let count = if room >= 3 && self.rng.percent(40) { 3 } else { 2 };
        let edges: Vec<EdgePlan> = (0..count).map(|_| self.edge()).collect();
        edges.iter().for_each(|_| self.new_flow(records));
        self.steps.push(Step::Partition { flow, edges });
    }

    fn join(&mut self) {
        let count = self.rng.from_to(2, 3.min(self.open.len() as u64));
        let joined: Vec<Open> = (0..count).map(|_| self.take()).collect();
        let records = joined.iter().map(|open| open.records).sum();
        let port = self.port(false, records, false);
        self.steps.extend(joined.into_iter().map(|open| Step::Send { flow: open.flow, port }));
    }

    fn sink(&mut self, open: Open) {
        let mut sink = SinkPlan { takes: self.rng.weighted(&[(4, 0), (3, 2), (2, 15)]), ..SinkPlan::default() };
        let every = self.rng.from_to(5, 60);
        if self.faults && self.rng.percent(50) {
            sink.names_rows = self.rng.percent(50);
            match self.rng.below(6) {
                0 | 1 => sink.refuses = every,
                2 => (sink.hesitates, sink.hesitations) = (every, u32::try_from(self.rng.from_to(1, 5)).unwrap_or(1)),
                3 => sink.fails = self.rng.from_to(5, 60),
                4 => sink.panics = every,
                _ => (sink.takes, sink.timeout) = (40, 30),
            }
        }
        let dead = !self.ports.is_empty() && self.rng.percent(30);
        let dead_letters = dead.then(|| self.ports[self.rng.below(self.ports.len())]);
        self.steps.push(Step::Sink { flow: open.flow, sink, dead_letters });
    }

    fn edge(&mut self) -> EdgePlan {
        let rng = &mut self.rng;
        self.edges += 1;
        let when_full = policy(rng, self.mood);
        let roomy = when_full == OnFull::Fail && rng.percent(85);
        let records = rng.weighted(&[(3, 1), (3, 3), (4, 16), (4, 100), (3, 4096)]);
        let bytes = rng.weighted(&[(6, 0), (1, 1), (1, self.batch.1), (2, self.batch.1 * 2), (2, self.batch.1 * 8)]);
        let lanes: &[u8] =
            rng.weighted::<&[u8]>(&[(6, &[0]), (1, &[0, 0]), (1, &[40, 20, 10]), (1, &[10, 10, 10, 70])]);
        EdgePlan {
            name: format!("e{}", self.edges),
            records: if roomy { 1 << 20 } else { records },
            bytes: (bytes > 0 && !roomy).then_some(bytes),
            when_full,
            lanes: lanes.to_vec(),
            buckets: rng.weighted(&[(6, 1), (1, 4), (1, 64)]),
            diverts_to: None,
        }
    }
}

fn policy(rng: &mut Rng, mood: Mood) -> OnFull {
    let forever = OnFull::Block { max: None };
    let patience = OnFull::Block { max: Some(Duration::from_millis(rng.from_to(1, 60))) };
    let rate = if rng.percent(50) { SampleRate::RisingWithFill } else { SampleRate::Ratio(0.5) };
    let fail = match mood {
        Mood::Patient => return forever,
        Mood::Mixed => 0,
        Mood::Rash => 6,
    };
    rng.weighted(&[
        (8, forever),
        (4, patience),
        (4, OnFull::DropNewest),
        (4, OnFull::DropOldest),
        (4, OnFull::Sample(rate)),
        (fail, OnFull::Fail),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_have_as_many_stages_as_they_may() {
        let sizes: Vec<usize> = (0..500).map(|seed| plan(seed).stages()).collect();
        let (least, most) = (sizes.iter().min().copied(), sizes.iter().max().copied());
        assert!(least.is_some_and(|least| least >= 3) && most.is_some_and(|most| most <= 43), "{least:?} {most:?}");
        assert!(most.is_some_and(|most| most >= 35));
    }

    #[test]
    fn every_flow_is_consumed_once() {
        for seed in 0..200 {
            let plan = plan(seed);
            let mut consumed = Vec::new();
            let mut opened = plan.sources.len();
            for step in &plan.steps {
                match step {
                    Step::Port { .. } => opened += 1,
                    Step::Chain { flow, .. } => (opened, _) = (opened + 1, consumed.push(*flow)),
                    Step::Fork { flow, arms, .. } => (opened, _) = (opened + arms.len(), consumed.push(*flow)),
                    Step::Partition { flow, edges } => (opened, _) = (opened + edges.len(), consumed.push(*flow)),
                    Step::Send { flow, .. } | Step::Sink { flow, .. } => consumed.push(*flow),
                }
            }
            consumed.sort_unstable();
            assert_eq!(consumed, (0..opened).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}
