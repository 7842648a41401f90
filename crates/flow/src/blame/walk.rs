//! The search: from what is held up, downstream to what holds it up.

use super::scene::{Scene, Trail};
use super::{EdgePicture, Evidence, FlowPicture, Kind, Remark, Verdict, Who};
use crate::clock::{StageState, StageTimes};
use crate::graph::{EdgeId, FanIn, OnFull, StageId, StageKind};
use crate::time::Time;
use crate::units::{Bytes, Records, Weight};
use std::time::Duration;

/// Occupied for at least this share is enough to be the limit: two stages that take turns have half each.
const OCCUPIED: f64 = 0.45;
/// Occupied for at least this share is at its limit, whatever else is waited for.
const SATURATED: f64 = 0.8;
/// Less than this is nothing.
const NOTHING: f64 = 0.01;

pub(super) fn bottleneck(picture: &FlowPicture<'_>) -> Verdict {
    let scene = Scene { picture };
    let mut verdicts: Vec<Verdict> = Vec::new();
    for start in scene.starts() {
        let verdict = scene.judge(start);
        let same = verdicts.iter_mut().find(|known| known.names_the_same(&verdict));
        match same {
            Some(known) => known.limits.extend(verdict.limits),
            None => verdicts.push(verdict),
        }
    }
    if verdicts.is_empty() {
        verdicts = scene.without_pressure();
    }
    let mut verdicts = verdicts.into_iter();
    let mut first = verdicts.next().unwrap_or_else(|| scene.nothing());
    first.others = verdicts.collect();
    first.remarks = scene.remarks();
    first
}

impl Scene<'_> {
    /// The stage on the trail that was occupied most, nearest to its end.
    fn most_occupied(&self, trail: &Trail) -> (usize, f64) {
        let shares = trail.stages.iter().map(|stage| self.own(*stage)).enumerate();
        shares.fold((0, 0.0), |best, next| if next.1 >= best.1 { next } else { best })
    }

    fn judge(&self, start: StageId) -> Verdict {
        let pressure = self.pressure(start);
        let trails = self.trails(start);
        for trail in &trails {
            let (place, own) = self.most_occupied(trail);
            if own >= OCCUPIED || (!trail.ring && own >= pressure) {
                return self.blame(trail, place);
            }
            if let Some(verdict) = self.beside(trail) {
                return verdict;
            }
        }
        // Nobody on any trail is occupied: it is the way, not a stage.
        let Some(trail) = trails.first() else { return self.nothing() };
        let (place, own) = self.most_occupied(trail);
        let Some(edge) = trail.edges.last().copied() else { return self.blame(trail, place) };
        let stands = self.edge(edge).records_per_second.is_some_and(|rate| rate <= 0.0);
        if trail.ring || (own < NOTHING && stands) {
            return self.stalled(trail, edge);
        }
        self.window_too_small(trail, edge)
    }

    /// Where the trail ends in a stage that waits for *another* input: who fails to fill that one?
    fn beside(&self, trail: &Trail) -> Option<Verdict> {
        let (end, edge) = (*trail.stages.last()?, *trail.edges.last()?);
        if self.graph().stage(end).fan_in != FanIn::All || trail.ring {
            return None;
        }
        let mut way = trail.clone();
        let mut at = self.emptiest(end, Some(edge))?;
        while !way.stages.contains(&at) {
            way.stages.push(at);
            if self.own(at) >= OCCUPIED {
                return Some(self.blame(&way, way.stages.len() - 1));
            }
            if self.graph().stage(at).kind == StageKind::Source {
                let idles = self.idle(at) >= OCCUPIED;
                return idles.then(|| self.verdict(Kind::StarvedSource, &way, at, StageState::Idle));
            }
            at = self.emptiest(at, None)?;
        }
        None
    }

    /// The producer that fills the emptiest input of `stage`, `except` one.
    fn emptiest(&self, stage: StageId, except: Option<EdgeId>) -> Option<StageId> {
        let inputs = self.graph().inputs(stage).filter(|edge| Some(*edge) != except);
        let edge = inputs.min_by(|a, b| self.edge(*a).fill.total_cmp(&self.edge(*b).fill))?;
        self.graph().edge(edge).from.first().copied()
    }

    /// Blames the stage at `place` of the trail, or what it waits for.
    fn blame(&self, trail: &Trail, place: usize) -> Verdict {
        let culprit = trail.stages[place];
        let trail = Trail {
            stages: trail.stages[..=place].to_vec(),
            edges: trail.edges[..place.min(trail.edges.len())].to_vec(),
            ring: false,
        };
        let state = main_state(self.times(culprit));
        if matches!(state, StageState::BudgetWait | StageState::SettleWait) {
            return self.blame_wait(&trail, culprit, state);
        }
        self.verdict(self.kind_of(culprit, state), &trail, culprit, state)
    }

    /// `waiter` waits for memory or for settlement: the saturated stage that keeps them, or the limit itself.
    fn blame_wait(&self, trail: &Trail, waiter: StageId, state: StageState) -> Verdict {
        let kind = if state == StageState::BudgetWait { Kind::Budget } else { Kind::SettleWindow };
        let works = |stage: StageId| {
            let times = self.times(stage);
            times.share(times.own() - times.budget_wait - times.settle_wait)
        };
        let ways = self.ways_down(waiter);
        let saturated = ways.iter().filter(|way| way.len() > 1 && works(way[way.len() - 1]) >= SATURATED);
        let worst = saturated.max_by(|a, b| works(a[a.len() - 1]).total_cmp(&works(b[b.len() - 1])));
        let mut verdict = match worst {
            None => self.verdict(kind, trail, waiter, state),
            Some(way) => {
                let mut trail = trail.clone();
                trail.stages.extend(&way[1..]);
                let culprit = way[way.len() - 1];
                let doing = main_state(self.times(culprit));
                self.verdict(self.kind_of(culprit, doing), &trail, culprit, doing)
            }
        };
        let times = self.times(waiter);
        let share = times.share(times.in_state(state));
        let is_budget = kind == Kind::Budget;
        verdict.evidence = Some(if is_budget { Evidence::Budget(share) } else { Evidence::SettleWindow(share) });
        if worst.is_none() {
            let (what, smaller) = if is_budget {
                ("memory budget", "give explicit sizes to the edges and holdings that need less")
            } else {
                ("settle window", "settle sooner (smaller batches, a shorter linger) at the sinks")
            };
            verdict.hint = Some(format!("raise the {what}, or {smaller}"));
        }
        verdict
    }

    fn kind_of(&self, culprit: StageId, state: StageState) -> Kind {
        match (state, self.graph().stage(culprit).kind) {
            (StageState::Throttled, _) => Kind::Throttled,
            (_, StageKind::Source) => Kind::StarvedSource,
            (StageState::External, _) => Kind::External,
            (_, StageKind::Sink) => Kind::SlowSink,
            (_, StageKind::Transform) => Kind::SlowTransform,
        }
    }

    fn who(&self, id: StageId) -> Who {
        let stage = self.graph().stage(id);
        Who { id, kind: stage.kind, name: stage.name.clone() }
    }

    /// The frame of a verdict about the trail, with no culprit yet.
    fn about(&self, kind: Kind, trail: &Trail) -> Verdict {
        let first = trail.stages.first();
        let evidence = trail.edges.last().zip(trail.stages.get(trail.edges.len().saturating_sub(1)));
        Verdict {
            kind,
            culprit: None,
            state: None,
            share: 0.0,
            since: None,
            trouble: None,
            longest_stall: None,
            limits: first.map(|stage| self.who(*stage)).into_iter().collect(),
            chain: trail.stages.iter().map(|stage| self.graph().stage_name(*stage).to_owned()).collect(),
            evidence: evidence.map(|(edge, producer)| self.evidence(*producer, *edge)),
            hint: None,
            window: self.picture.stages.iter().map(StageTimes::window).max().unwrap_or(Duration::ZERO),
            others: Vec::new(),
            remarks: Vec::new(),
            idle: trail.stages.last().map_or(0.0, |stage| self.idle(*stage)),
            pressure: first.map_or(0.0, |stage| self.pressure(*stage)),
        }
    }

    fn verdict(&self, kind: Kind, trail: &Trail, culprit: StageId, state: StageState) -> Verdict {
        let times = self.times(culprit);
        let mut verdict = self.about(kind, trail);
        verdict.culprit = Some(self.who(culprit));
        verdict.state = Some(state);
        verdict.share = times.share(times.in_state(state));
        verdict.since = (times.state == state).then_some(times.state_since);
        verdict.longest_stall = times.longest_stall;
        verdict
    }

    fn evidence(&self, producer: StageId, edge: EdgeId) -> Evidence {
        let times = self.times(producer);
        Evidence::Edge {
            id: edge,
            name: self.graph().edge_name(edge).to_owned(),
            fill: self.edge(edge).fill,
            blocked: times.share(times.blocked_on(edge)),
            needs: self.needs(edge),
        }
    }

    /// What the next batch needs, where an edge as full as this one was on average has no room for it.
    fn needs(&self, edge: EdgeId) -> Option<Weight> {
        let EdgePicture { fill, window, next, .. } = self.edge(edge);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
        #[allow(clippy::cast_precision_loss, reason = "a share of a window needs no more digits")]
        let free = |of: u64| (of as f64 * (1.0 - fill)) as u64;
        let free =
            Weight { records: Records::new(free(window.records.get())), bytes: Bytes::new(free(window.bytes.get())) };
        next.filter(|next| !next.fits(free))
    }

    /// The edges that lost records for want of room, most first.
    fn remarks(&self) -> Vec<Remark> {
        let losing = self.graph().edge_ids().filter(|edge| self.edge(*edge).lost >= NOTHING);
        let mut remarks: Vec<Remark> = losing
            .map(|edge| Remark {
                edge,
                name: self.graph().edge_name(edge).to_owned(),
                best_effort: self.is_best_effort(edge),
                lost: self.edge(edge).lost,
                diverts: matches!(self.graph().edge(edge).on_full, OnFull::Divert(_)),
            })
            .collect();
        remarks.sort_by(|a, b| b.lost.total_cmp(&a.lost));
        remarks
    }

    fn stalled(&self, trail: &Trail, edge: EdgeId) -> Verdict {
        let mut verdict = self.about(Kind::Stalled, trail);
        if let (true, Some(closes)) = (trail.ring, trail.stages.last()) {
            let from = trail.stages.iter().position(|stage| stage == closes).unwrap_or(0);
            verdict.chain.drain(..from);
        }
        let producers = self.graph().edge(edge).from.iter();
        let since: Option<Time> = producers.map(|stage| self.times(*stage).state_since).min();
        verdict.since = since;
        verdict
    }

    fn window_too_small(&self, trail: &Trail, edge: EdgeId) -> Verdict {
        let mut verdict = self.about(Kind::WindowTooSmall, trail);
        verdict.share = verdict.pressure;
        verdict.hint = trail.stages.last().and_then(|end| self.window_hint(edge, *end));
        verdict
    }

    /// Little's law: what is in an edge is the rate times the time that each record stays. To keep the consumer busy
    /// the window must hold that for the rate which it would reach if it never idled. Only where all is measured.
    fn window_hint(&self, edge: EdgeId, consumer: StageId) -> Option<String> {
        let own = self.own(consumer);
        let picture = self.edge(edge);
        let (rate, residence) = (picture.records_per_second?, picture.residence?);
        if own < NOTHING || rate <= 0.0 || residence.is_zero() {
            return None;
        }
        let possible = rate / own;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
        let need = (possible * residence.as_secs_f64()).ceil() as u64;
        (need > picture.window.records.get()).then(|| {
            format!(
                "a window of {need} records would keep \"{}\" busy: it could take {possible:.0} records/s, and a record \
                 stays {} in the edge (Little's law)",
                self.graph().stage_name(consumer),
                super::span(residence)
            )
        })
    }

    /// Nothing is pressured: the sources are the limit, the most occupied one first, unless all is idle.
    fn without_pressure(&self) -> Vec<Verdict> {
        let graph = self.graph();
        let moves = |edge: &EdgePicture| edge.records_per_second.is_some_and(|rate| rate > 0.0);
        if graph.stage_ids().all(|stage| self.own(stage) < NOTHING) && !self.picture.edges.iter().any(moves) {
            return Vec::new();
        }
        let mut sources: Vec<StageId> =
            graph.stage_ids().filter(|stage| graph.stage(*stage).kind == StageKind::Source).collect();
        if sources.iter().all(|source| self.was_over_early(*source)) {
            return self.busiest().into_iter().collect();
        }
        sources.sort_by(|a, b| self.own(*b).total_cmp(&self.own(*a)));
        let judged = sources.into_iter().map(|source| {
            let times = self.times(source);
            let state = if self.own(source) >= self.idle(source) { main_state(times) } else { StageState::Idle };
            let trail = Trail { stages: vec![source], edges: Vec::new(), ring: false };
            self.verdict(self.kind_of(source, state), &trail, source, state)
        });
        judged.collect()
    }

    /// Whether the stage was over before half of the window had passed: what went on then was not its doing.
    fn was_over_early(&self, stage: StageId) -> bool {
        let times = self.times(stage);
        let until = self.picture.stages.iter().map(|stage| stage.until).max().unwrap_or(Time::ZERO);
        let window = self.picture.stages.iter().map(StageTimes::window).max().unwrap_or(Duration::ZERO);
        times.finished && until.since(times.until) > window / 2
    }

    /// The stage that was occupied longest, of those that can hold a source up: what remains to be blamed when every
    /// source has ended.
    fn busiest(&self) -> Option<Verdict> {
        let graph = self.graph();
        let sources = graph.stage_ids().filter(|stage| graph.stage(*stage).kind == StageKind::Source);
        let stages = sources.flat_map(|source| self.ways_down(source)).filter_map(|way| way.last().copied());
        let longest = stages.max_by_key(|stage| self.times(*stage).own())?;
        if self.own(longest) < NOTHING {
            return None;
        }
        let state = main_state(self.times(longest));
        let trail = Trail { stages: vec![longest], edges: Vec::new(), ring: false };
        let mut verdict = self.verdict(self.kind_of(longest, state), &trail, longest, state);
        verdict.limits.clear();
        Some(verdict)
    }

    fn nothing(&self) -> Verdict {
        self.about(Kind::None, &Trail { stages: Vec::new(), edges: Vec::new(), ring: false })
    }
}

impl Verdict {
    /// Whether both name the same limit, so that they are one verdict about several sources.
    fn names_the_same(&self, other: &Self) -> bool {
        let edge = |verdict: &Self| match (&verdict.evidence, verdict.kind) {
            (Some(Evidence::Edge { id, .. }), Kind::WindowTooSmall | Kind::Stalled) => Some(*id),
            _ => None,
        };
        let id = |verdict: &Self| verdict.culprit.as_ref().map(|culprit| culprit.id);
        self.kind == other.kind && id(self) == id(other) && edge(self) == edge(other)
    }
}

/// What the stage mostly did when it was neither idle nor blocked.
fn main_state(times: &StageTimes) -> StageState {
    let states = [
        StageState::Ready,
        StageState::Throttled,
        StageState::SettleWait,
        StageState::BudgetWait,
        StageState::External,
        StageState::Busy,
    ];
    states.into_iter().max_by_key(|state| times.in_state(*state)).unwrap_or(StageState::Busy)
}
