//! Stall detection: work waits, nothing moves, and there is no known cause.
//!
//! The [`StallDetector`] is shown every stage from time to time. From what each waits for it builds the wait-for graph
//! and asks who can still go on: a stage that made progress lately, one with a known cause for its wait, or one that
//! waits for such a stage. Who cannot and has work is stalled; the event names the chain of waits down to its root, or
//! the cycle.
//!
//! | a stage that is | waits for | and can go on if |
//! |---|---|---|
//! | blocked on an edge | its consumer | the consumer can |
//! | idle, and needs records | the producers of its inputs | one of them can (needs all inputs: one for each empty one) |
//! | idle, although work waits | nothing | never: a wake-up was lost |
//! | idle, with calls in flight | a remote | their deadline lies ahead |
//! | waiting for the budget | whoever holds memory | any stage with work can |
//! | waiting for the settle window | what is in flight | any stage behind it with work can |
//! | external | a remote | its deadline lies ahead |
//! | throttled | its rate limit | until its deadline, if it has one |
//! | busy or ready | nothing | never: one call that does not end, or no CPU |
//!
//! These are the conditions of a deadlock in the AND-OR model (Chandy, Misra and Haas, *Distributed Deadlock
//! Detection*, 1983), here with one observer that sees all. A wait with a deadline ahead ends by itself and is a known
//! cause; so is a stage that was paused.

mod waits;

use crate::blame::span;
use crate::clock::StageState;
use crate::graph::{EdgeId, Graph, StageId};
use crate::time::Time;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;
use waits::Waits;

/// One stage as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageObservation {
    /// The stage.
    pub id: StageId,
    /// How many batches it has finished ([`crate::StageClock::progress`]).
    pub progress: u64,
    /// What it is doing. A source that waits for something to read is idle, not external.
    pub state: StageState,
    /// Whether work waits inside it (calls in flight, a batch in hand). What waits in its input edges is seen there.
    pub has_work: bool,
    /// Whether calls are in flight while it waits for input: it goes on when one of them ends.
    pub calling: bool,
    /// When the wait that it is in (or the last of those calls) ends at the latest, if it has a deadline.
    pub deadline: Option<Time>,
    /// Whether somebody has paused it, or declared that it may stand still.
    pub paused: bool,
    /// Whether it is over.
    pub finished: bool,
}

impl StageObservation {
    /// A stage in `state` that has finished `progress` batches, with no deadline and nothing in hand.
    #[must_use]
    pub const fn new(id: StageId, progress: u64, state: StageState) -> Self {
        Self { id, progress, state, has_work: false, calling: false, deadline: None, paused: false, finished: false }
    }
}

/// One edge as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeObservation {
    /// The edge.
    pub id: EdgeId,
    /// How full it is, 0 to 1; anything above 0 is waiting work.
    pub fill: f64,
}

/// One stage of a stall: what it does and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The stage.
    pub stage: StageId,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: StageState,
    /// What it waits for, as text.
    pub waits_for: String,
}

/// Work waits, nothing moves, and there is no known cause. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StallEvent {
    /// Since when nothing on the chain has moved.
    pub since: Time,
    /// For how long that was when it was detected.
    pub lasted: Duration,
    /// Who waits for whom, down to the root; for a cycle, the stages of the cycle.
    pub chain: Vec<Link>,
    /// Whether the last of the chain waits for the first.
    pub is_cycle: bool,
    /// What to do about it.
    pub advice: &'static str,
}

/// A stall is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Since when nothing had moved.
    pub since: Time,
    /// How long that lasted.
    pub lasted: Duration,
    /// The names of the chain that was reported.
    pub chain: Vec<String>,
}

/// What the detector has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StallReport {
    /// Something stands still. Said once for each stall.
    Stalled(StallEvent),
    /// It moves again, or there is a known cause now. Said once for each stall that was reported.
    Recovered(Recovery),
}

impl fmt::Display for StallEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing has moved for {}: ", span(self.lasted))?;
        for (place, link) in self.chain.iter().enumerate() {
            let arrow = if place == 0 { "" } else { " -> " };
            write!(f, "{arrow}\"{}\" {}", link.name, link.waits_for)?;
        }
        match self.chain.first() {
            Some(first) if self.is_cycle => write!(f, " -> \"{}\" (a cycle); {}.", first.name, self.advice),
            _ => write!(f, "; {}.", self.advice),
        }
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.chain.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" -> ");
        write!(f, "{chain} no longer stalled, after {}.", span(self.lasted))
    }
}

/// Watches a pipeline for stalls. One for each pipeline; call [`observe`](Self::observe) several times per threshold.
#[derive(Clone, Debug)]
pub struct StallDetector {
    threshold: Duration,
    /// By stage: its last progress, and since when it has had work without making any.
    seen: Vec<Option<Seen>>,
    open: Vec<Open>,
}

#[derive(Copy, Clone, Debug)]
struct Seen {
    progress: u64,
    /// The last moment at which it made progress or had nothing to do.
    quiet_since: Time,
    /// The last moment at which it made progress.
    progressed: Time,
}

/// A stall that was reported.
#[derive(Clone, Debug)]
struct Open {
    since: Time,
    chain: Vec<String>,
    members: BTreeSet<StageId>,
}

/// The stalled stages that wait for one root or cycle.
struct Group {
    key: StageId,
    members: BTreeSet<StageId>,
    event: StallEvent,
}

impl StallDetector {
    /// Reports what has not moved for `threshold`. A `threshold` that is shorter than the longest honest work on a
    /// batch reports honest work.
    #[must_use]
    pub const fn new(threshold: Duration) -> Self {
        Self { threshold, seen: Vec::new(), open: Vec::new() }
    }

    /// Takes in how everything is at `now`; stages and edges that are left out count as able to go on, and as empty.
    /// Returns what has changed since the last call: new stalls, then recoveries.
    pub fn observe(
        &mut self,
        now: Time,
        graph: &Graph,
        stages: &[StageObservation],
        edges: &[EdgeObservation],
    ) -> Vec<StallReport> {
        let scene = Waits::new(graph, stages, edges);
        self.note(now, &scene);
        let is_quiet = |stage: StageId| self.is_quiet(now, stage, scene.has_work(stage));
        let groups = self.groups(now, &scene, &scene.who_can_go_on(now, is_quiet));
        self.report(now, groups)
    }

    /// Whether a stall is going on.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        !self.open.is_empty()
    }

    fn note(&mut self, now: Time, scene: &Waits<'_>) {
        self.seen.resize(self.seen.len().max(scene.graph.stages().len()), None);
        for stage in scene.stages() {
            let known = &mut self.seen[stage.id.index()];
            let moved = known.is_none_or(|seen| seen.progress != stage.progress);
            let last = known.unwrap_or(Seen { progress: stage.progress, quiet_since: now, progressed: now });
            *known = Some(Seen {
                progress: stage.progress,
                quiet_since: if moved || !scene.has_work(stage.id) { now } else { last.quiet_since },
                progressed: if moved { now } else { last.progressed },
            });
        }
    }

    /// Whether the stage has made no progress for the threshold; while it has work, that counts from when it got work.
    fn is_quiet(&self, now: Time, stage: StageId, has_work: bool) -> bool {
        let seen = self.seen.get(stage.index()).copied().flatten();
        let since = seen.map(|seen| if has_work { seen.quiet_since } else { seen.progressed });
        since.is_some_and(|since| now.since(since) >= self.threshold)
    }

    fn groups(&self, now: Time, scene: &Waits<'_>, can_go_on: &[bool]) -> Vec<Group> {
        let stuck = |stage: &StageId| !can_go_on[stage.index()] && scene.has_work(*stage);
        let since = |stage: StageId| self.seen[stage.index()].map_or(now, |seen| seen.quiet_since);
        let mut groups: Vec<Group> = Vec::new();
        for start in scene.graph.stage_ids().filter(stuck) {
            let chain = scene.chain(start, can_go_on);
            let cycle = &chain.stages[chain.cycle_from..];
            let key = if chain.is_cycle { cycle.iter().min() } else { chain.stages.last() };
            let key = key.copied().unwrap_or(start);
            if let Some(group) = groups.iter_mut().find(|group| group.key == key) {
                group.members.extend(chain.stages);
                continue;
            }
            let shown = if chain.is_cycle { cycle } else { &chain.stages[..] };
            let working = shown.iter().filter(|stage| scene.has_work(**stage));
            let since = working.map(|stage| since(*stage)).max().unwrap_or_else(|| since(start));
            groups.push(Group {
                key,
                event: StallEvent {
                    since,
                    lasted: now.since(since),
                    chain: shown.iter().map(|stage| scene.link(*stage, can_go_on)).collect(),
                    advice: scene.advice(shown, chain.is_cycle),
                    is_cycle: chain.is_cycle,
                },
                members: chain.stages.into_iter().collect(),
            });
        }
        groups
    }

    /// Compares with what was reported: a group that shares a stage with an open stall is that stall.
    fn report(&mut self, now: Time, groups: Vec<Group>) -> Vec<StallReport> {
        let mut reports = Vec::new();
        let before = std::mem::take(&mut self.open);
        let mut goes_on = vec![false; before.len()];
        for group in groups {
            let known = before.iter().position(|open| !open.members.is_disjoint(&group.members));
            match known {
                Some(place) if goes_on[place] => {}
                Some(place) => {
                    goes_on[place] = true;
                    let open = &before[place];
                    self.open.push(Open { members: group.members, chain: open.chain.clone(), since: open.since });
                }
                None => {
                    let chain = group.event.chain.iter().map(|link| link.name.clone()).collect();
                    self.open.push(Open { since: group.event.since, chain, members: group.members });
                    reports.push(StallReport::Stalled(group.event));
                }
            }
        }
        for (open, goes_on) in before.into_iter().zip(goes_on) {
            if !goes_on {
                let lasted = now.since(open.since);
                reports.push(StallReport::Recovered(Recovery { since: open.since, lasted, chain: open.chain }));
            }
        }
        reports
    }
}

#[cfg(test)]
mod tests;
