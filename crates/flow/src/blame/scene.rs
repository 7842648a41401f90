//! What a picture shows: shares, pressure, and the ways along which it travels.

use super::{EdgePicture, FlowPicture};
use crate::clock::StageTimes;
use crate::graph::{Branch, EdgeId, Graph, StageId, StageKind};

/// Blocked for less than this share of the window is not pressured (Flink's "OK").
pub(super) const PRESSURED: f64 = 0.1;

/// The way from a stage that is held up to one that is not: stages, and the edges between them.
#[derive(Clone)]
pub(super) struct Trail {
    pub(super) stages: Vec<StageId>,
    pub(super) edges: Vec<EdgeId>,
    /// The last stage is on the way already.
    pub(super) ring: bool,
}

pub(super) struct Scene<'p> {
    pub(super) picture: &'p FlowPicture<'p>,
}

impl Scene<'_> {
    pub(super) fn graph(&self) -> &Graph {
        self.picture.graph
    }

    pub(super) fn times(&self, stage: StageId) -> &StageTimes {
        &self.picture.stages[stage.index()]
    }

    pub(super) fn edge(&self, edge: EdgeId) -> &EdgePicture {
        &self.picture.edges[edge.index()]
    }

    /// The share for which `stage` was occupied with its own affairs, neither without input nor blocked.
    pub(super) fn own(&self, stage: StageId) -> f64 {
        let times = self.times(stage);
        times.share(times.own())
    }

    pub(super) fn idle(&self, stage: StageId) -> f64 {
        let times = self.times(stage);
        times.share(times.idle)
    }

    /// How much `edge` holds `stage` up: the share blocked on it.
    pub(super) fn pressure_of(&self, stage: StageId, edge: EdgeId) -> f64 {
        let times = self.times(stage);
        times.share(times.blocked_on(edge))
    }

    /// Whether settlement does not ask for what comes out of `edge`.
    pub(super) fn is_best_effort(&self, edge: EdgeId) -> bool {
        let ports = |stage: &StageId| self.graph().stage(*stage).outputs.iter();
        let mut ports = self.graph().edge(edge).from.iter().flat_map(ports).filter(|port| port.edge == Some(edge));
        ports.all(|port| port.branch == Branch::BestEffort)
    }

    /// Whether what lies behind `edge` can hold up what lies before it: it blocks, and its records are waited for.
    fn holds_up(&self, edge: EdgeId) -> bool {
        self.graph().edge(edge).on_full.blocks() && !self.is_best_effort(edge)
    }

    /// The edges that hold `stage` up, most first.
    pub(super) fn pressing(&self, stage: StageId) -> Vec<EdgeId> {
        let mut edges: Vec<EdgeId> = self.graph().outputs(stage).collect();
        edges.dedup();
        edges.retain(|edge| self.pressure_of(stage, *edge) >= PRESSURED);
        edges.sort_by(|a, b| self.pressure_of(stage, *b).total_cmp(&self.pressure_of(stage, *a)));
        edges
    }

    /// The share for which `stage` was held up by what lies behind it.
    pub(super) fn pressure(&self, stage: StageId) -> f64 {
        let times = self.times(stage);
        let edges = self.pressing(stage).first().map_or(0.0, |edge| self.pressure_of(stage, *edge));
        edges.max(times.share(times.budget_wait)).max(times.share(times.settle_wait))
    }

    /// Where to start: what is held up and holds nobody up; sources first, then by share.
    pub(super) fn starts(&self) -> Vec<StageId> {
        let pressured: Vec<StageId> =
            self.graph().stage_ids().filter(|stage| self.pressure(*stage) >= PRESSURED).collect();
        let presses = |stage: StageId| {
            self.graph().inputs(stage).any(|edge| {
                let producers = &self.graph().edge(edge).from;
                producers.iter().any(|producer| self.pressure_of(*producer, edge) >= PRESSURED)
            })
        };
        let mut starts: Vec<StageId> = pressured.iter().copied().filter(|stage| !presses(*stage)).collect();
        if starts.is_empty() {
            starts.extend(pressured.first());
        }
        let is_source = |stage: &StageId| self.graph().stage(*stage).kind == StageKind::Source;
        starts.sort_by(|a, b| is_source(b).cmp(&is_source(a)).then(self.pressure(*b).total_cmp(&self.pressure(*a))));
        starts
    }

    /// Every way along pressing edges, the most pressing first; each stage is left once.
    pub(super) fn trails(&self, start: StageId) -> Vec<Trail> {
        let mut trails = Vec::new();
        let mut left = vec![false; self.graph().stages().len()];
        let mut open = vec![Trail { stages: vec![start], edges: Vec::new(), ring: false }];
        while let Some(trail) = open.pop() {
            let at = trail.stages[trail.stages.len() - 1];
            let pressing = self.pressing(at);
            if trail.ring || pressing.is_empty() || std::mem::replace(&mut left[at.index()], true) {
                trails.push(trail);
                continue;
            }
            for edge in pressing.into_iter().rev() {
                let Some(next) = self.graph().edge(edge).to else { continue };
                let mut further = trail.clone();
                further.ring = further.stages.contains(&next);
                further.stages.push(next);
                further.edges.push(edge);
                open.push(further);
            }
        }
        trails
    }

    /// A shortest way from `from` to every stage that it reaches and that can hold it up.
    pub(super) fn ways_down(&self, from: StageId) -> Vec<Vec<StageId>> {
        let mut seen = vec![false; self.graph().stages().len()];
        seen[from.index()] = true;
        let mut ways = vec![vec![from]];
        let mut place = 0;
        while let Some(way) = ways.get(place).cloned() {
            place += 1;
            let outputs = self.graph().outputs(way[way.len() - 1]).filter(|edge| self.holds_up(*edge));
            for next in outputs.filter_map(|edge| self.graph().edge(edge).to) {
                if !std::mem::replace(&mut seen[next.index()], true) {
                    ways.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        ways
    }
}
