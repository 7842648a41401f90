//! The wait-for graph at one moment: what each stage waits for, who can go on, and the chain of waits.

use super::{EdgeObservation, Link, StageObservation};
use crate::clock::StageState;
use crate::graph::{EdgeId, FanIn, Graph, StageId};
use crate::time::Time;

/// Everything as it is now.
pub(super) struct Waits<'a> {
    pub(super) graph: &'a Graph,
    stages: Vec<Option<&'a StageObservation>>,
    fill: Vec<f64>,
}

/// What a stage needs in order to go on.
enum Need {
    /// Nothing that anybody could give it.
    Nothing,
    /// One stage out of each of these groups.
    OneOfEach(Vec<Vec<StageId>>),
    /// Any of these, provided that it has work.
    AnyBusy(Vec<StageId>),
}

/// The way along the waits: each stage waits for the next.
pub(super) struct Chain {
    pub(super) stages: Vec<StageId>,
    /// Where the cycle begins, if the last stage waits for one of the chain; else 0.
    pub(super) cycle_from: usize,
    pub(super) is_cycle: bool,
}

impl<'a> Waits<'a> {
    pub(super) fn new(graph: &'a Graph, stages: &'a [StageObservation], edges: &[EdgeObservation]) -> Self {
        let mut rows = vec![None; graph.stages().len()];
        for stage in stages.iter().filter(|stage| stage.id.index() < graph.stages().len()) {
            rows[stage.id.index()] = Some(stage);
        }
        let mut fill = vec![0.0; graph.edges().len()];
        for edge in edges.iter().filter(|edge| edge.id.index() < graph.edges().len()) {
            fill[edge.id.index()] = edge.fill;
        }
        Self { graph, stages: rows, fill }
    }

    pub(super) fn stages(&self) -> impl Iterator<Item = &'a StageObservation> {
        self.stages.iter().copied().flatten()
    }

    fn stage(&self, id: StageId) -> Option<&'a StageObservation> {
        self.stages[id.index()]
    }

    /// The fullest input of a stage that holds anything.
    fn waiting_input(&self, stage: StageId) -> Option<EdgeId> {
        let inputs = self.graph.inputs(stage).filter(|edge| self.fill[edge.index()] > 0.0);
        inputs.max_by(|a, b| self.fill[a.index()].total_cmp(&self.fill[b.index()]))
    }

    /// Whether there is anything that the stage should be doing.
    pub(super) fn has_work(&self, stage: StageId) -> bool {
        let Some(seen) = self.stage(stage) else { return false };
        !seen.finished && (seen.has_work || seen.state != StageState::Idle || self.waiting_input(stage).is_some())
    }

    /// By stage, whether it can go on: the least set that contains who moves or has a known cause, and whoever waits
    /// for a member.
    pub(super) fn who_can_go_on(&self, now: Time, is_quiet: impl Fn(StageId) -> bool) -> Vec<bool> {
        let stages = self.graph.stage_ids();
        let mut can: Vec<bool> = stages.map(|stage| !is_quiet(stage) || self.has_known_cause(now, stage)).collect();
        let mut grows = true;
        while grows {
            grows = false;
            for stage in self.graph.stage_ids() {
                if !can[stage.index()] && self.gets_what_it_needs(stage, &can) {
                    can[stage.index()] = true;
                    grows = true;
                }
            }
        }
        can
    }

    fn has_known_cause(&self, now: Time, stage: StageId) -> bool {
        let Some(seen) = self.stage(stage) else { return true };
        if seen.paused || seen.finished {
            return true;
        }
        match seen.state {
            StageState::Throttled => seen.deadline.is_none_or(|deadline| deadline > now),
            StageState::Idle if seen.calling => seen.deadline.is_some_and(|deadline| deadline > now),
            StageState::Idle => !self.has_work(stage) && self.graph.stage(stage).inputs.is_empty(),
            StageState::Busy | StageState::Ready => false,
            StageState::Blocked(_) | StageState::BudgetWait | StageState::SettleWait | StageState::External => {
                seen.deadline.is_some_and(|deadline| deadline > now)
            }
        }
    }

    fn gets_what_it_needs(&self, stage: StageId, can: &[bool]) -> bool {
        match self.need(stage) {
            Need::Nothing => false,
            Need::OneOfEach(groups) => groups.iter().all(|group| group.iter().any(|stage| can[stage.index()])),
            Need::AnyBusy(stages) => stages.iter().any(|stage| can[stage.index()] && self.has_work(*stage)),
        }
    }

    fn need(&self, stage: StageId) -> Need {
        let Some(seen) = self.stage(stage) else { return Need::Nothing };
        match seen.state {
            StageState::Blocked(edge) => match self.graph.edges().get(edge.index()).and_then(|edge| edge.to) {
                Some(consumer) => Need::OneOfEach(vec![vec![consumer]]),
                None => Need::Nothing,
            },
            StageState::Idle if seen.calling => Need::Nothing,
            StageState::Idle => self.need_of_idle(stage),
            StageState::BudgetWait => Need::AnyBusy(self.graph.stage_ids().filter(|other| *other != stage).collect()),
            StageState::SettleWait => Need::AnyBusy(self.behind(stage)),
            StageState::Busy | StageState::Ready | StageState::External | StageState::Throttled => Need::Nothing,
        }
    }

    fn need_of_idle(&self, stage: StageId) -> Need {
        let empty = || self.graph.inputs(stage).filter(|edge| self.fill[edge.index()] <= 0.0);
        let producers = |edge: EdgeId| self.graph.edge(edge).from.clone();
        match self.graph.stage(stage).fan_in {
            FanIn::All if empty().next().is_some() => Need::OneOfEach(empty().map(producers).collect()),
            FanIn::Any if self.waiting_input(stage).is_none() && empty().next().is_some() => {
                Need::OneOfEach(vec![empty().flat_map(producers).collect()])
            }
            FanIn::All | FanIn::Any => Need::Nothing,
        }
    }

    /// The stages that can be reached from `stage`, without itself.
    fn behind(&self, stage: StageId) -> Vec<StageId> {
        let mut seen = vec![stage];
        let mut place = 0;
        while let Some(at) = seen.get(place).copied() {
            place += 1;
            for next in self.graph.outputs(at).filter_map(|edge| self.graph.edge(edge).to) {
                if !seen.contains(&next) {
                    seen.push(next);
                }
            }
        }
        seen.split_off(1)
    }

    /// The stage that `stage` waits for and that cannot go on either. Where there is a choice, one with work; rather one
    /// that does not wait for `stage` in turn; and for memory or settlement rather one that waits for nobody, because
    /// it is what the others wait for, too.
    fn next(&self, stage: StageId, can: &[bool]) -> Option<StageId> {
        let stuck = |stage: &&StageId| !can[stage.index()];
        match self.need(stage) {
            Need::Nothing => None,
            Need::OneOfEach(groups) => {
                let group = groups.iter().find(|group| group.iter().all(|stage| !can[stage.index()]))?;
                let others = |other: &&StageId| (self.has_work(**other), !self.is_blocked_by(**other, stage));
                group.iter().filter(stuck).max_by_key(others).copied()
            }
            Need::AnyBusy(stages) => {
                let busy = || stages.iter().filter(stuck).filter(|stage| self.has_work(**stage));
                let root = busy().find(|stage| matches!(self.need(**stage), Need::Nothing));
                root.or_else(|| busy().next()).copied()
            }
        }
    }

    /// Whether `stage` is blocked on an edge that `consumer` reads.
    fn is_blocked_by(&self, stage: StageId, consumer: StageId) -> bool {
        let Some(StageState::Blocked(edge)) = self.stage(stage).map(|seen| seen.state) else { return false };
        self.graph.edges().get(edge.index()).is_some_and(|edge| edge.to == Some(consumer))
    }

    /// Follows the waits from `start` to their root, or until they come back.
    pub(super) fn chain(&self, start: StageId, can: &[bool]) -> Chain {
        let mut stages = vec![start];
        while let Some(next) = self.next(stages[stages.len() - 1], can) {
            if let Some(cycle_from) = stages.iter().position(|stage| *stage == next) {
                return Chain { stages, cycle_from, is_cycle: true };
            }
            stages.push(next);
        }
        Chain { stages, cycle_from: 0, is_cycle: false }
    }

    pub(super) fn link(&self, stage: StageId, can: &[bool]) -> Link {
        let state = self.stage(stage).map_or(StageState::Idle, doing);
        let next = self.next(stage, can);
        Link { stage, name: self.graph.stage_name(stage).to_owned(), state, waits_for: self.text(stage, state, next) }
    }

    /// What to do about a chain of waits.
    pub(super) fn advice(&self, chain: &[StageId], is_cycle: bool) -> &'static str {
        let state_of = |stage: &StageId| self.stage(*stage).map_or(StageState::Idle, doing);
        let waits = |state: StageState| chain.iter().any(|stage| state_of(stage) == state);
        let lost = |stage: &StageId| matches!(state_of(stage), StageState::Blocked(edge) if self.is_empty(edge));
        match chain.last().map_or(StageState::Idle, state_of) {
            _ if chain.iter().any(lost) => "a wake-up was lost; report this",
            _ if is_cycle && waits(StageState::BudgetWait) => "raise the memory budget",
            _ if is_cycle && waits(StageState::SettleWait) => "raise the settle window",
            _ if is_cycle => "give one of these edges a larger window, or a policy other than block",
            StageState::External => "set a timeout on its calls",
            StageState::Busy => "give long work a thread of its own, or a limit",
            StageState::Ready => "give the runtime more threads, or find the stage that keeps them",
            StageState::BudgetWait => "raise the memory budget",
            StageState::SettleWait => "raise the settle window",
            StageState::Throttled => "check the rate limit",
            StageState::Blocked(_) | StageState::Idle => "a wake-up was lost; report this",
        }
    }

    fn is_empty(&self, edge: EdgeId) -> bool {
        self.fill.get(edge.index()).is_some_and(|fill| *fill <= 0.0)
    }

    fn text(&self, stage: StageId, state: StageState, next: Option<StageId>) -> String {
        match state {
            StageState::Blocked(edge) => {
                let empty = if self.is_empty(edge) { ", which is empty," } else { "" };
                format!("waits for room in \"{}\"{empty}", self.graph.edge_name(edge))
            }
            StageState::BudgetWait => "waits for memory".to_owned(),
            StageState::SettleWait => "waits for room in the settle window".to_owned(),
            StageState::Busy => "is in one call that does not end".to_owned(),
            StageState::Ready => "is ready and gets no CPU".to_owned(),
            StageState::Throttled => "is held by a rate limit that should have let it go".to_owned(),
            StageState::External => match self.stage(stage).and_then(|seen| seen.deadline) {
                Some(_) => "waits for its remote past the deadline".to_owned(),
                None => "waits for its remote without a deadline".to_owned(),
            },
            StageState::Idle => {
                let mut inputs = self.graph.inputs(stage);
                let from = inputs.find(|edge| {
                    self.fill[edge.index()] <= 0.0
                        && next.is_some_and(|next| self.graph.edge(*edge).from.contains(&next))
                });
                match (from, self.waiting_input(stage)) {
                    (Some(edge), _) => format!("waits for records in \"{}\"", self.graph.edge_name(edge)),
                    (None, Some(edge)) => format!("is idle although work waits in \"{}\"", self.graph.edge_name(edge)),
                    (None, None) => "is idle although it has work".to_owned(),
                }
            }
        }
    }
}

/// What a stage is doing, where calls in flight count as waiting for a remote.
fn doing(seen: &StageObservation) -> StageState {
    if seen.calling && seen.state == StageState::Idle { StageState::External } else { seen.state }
}
