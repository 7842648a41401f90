//! What was seen at the last looks, and the picture of the time between two of them.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_flow::blame::EdgePicture;
use tidegate_flow::queue::Snapshot;
use tidegate_flow::{StageTimes, Time, Weight};

/// A recent picture reaches back over this many looks.
const REACH: usize = 10;

/// Everything at one moment, with sums since the start, so that the difference of any two is an average.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    at: Time,
    stages: Vec<StageTimes>,
    edges: Vec<EdgeSample>,
}

#[derive(Clone, Debug)]
struct EdgeSample {
    window: Weight,
    /// The share that is full now.
    fill: f64,
    /// Records in the edge now.
    held: f64,
    /// Records that have left it since the start.
    left: u64,
    /// Records that it was given, and those of them that it shed or diverted, since the start.
    given: u64,
    lost: u64,
    /// The largest batch that waits for room now.
    next: Option<Weight>,
    /// The fill, summed up over the seconds since the start.
    fill_seconds: f64,
    /// The records in the edge, summed up over the seconds since the start.
    held_seconds: f64,
}

/// What happened over a window of time: a row for each stage and edge of the graph.
pub(super) struct Picture {
    pub(super) stages: Vec<StageTimes>,
    pub(super) edges: Vec<EdgePicture>,
}

/// The last looks, oldest first; at most [`REACH`] and one.
#[derive(Debug)]
pub(super) struct History {
    /// From one look to the next.
    every: Duration,
    samples: VecDeque<Sample>,
}

impl Sample {
    pub(super) fn new(at: Time, stages: Vec<StageTimes>, edges: &[Snapshot]) -> Self {
        let edges = edges.iter().map(EdgeSample::new).collect();
        Self { at, stages, edges }
    }

    pub(super) fn at(&self) -> Time {
        self.at
    }

    pub(super) fn stages(&self) -> &[StageTimes] {
        &self.stages
    }

    /// How full each edge is, never 0 while anything is in it.
    pub(super) fn fills(&self) -> impl Iterator<Item = f64> {
        self.edges.iter().map(|edge| if edge.held > 0.0 { edge.fill.max(f64::MIN_POSITIVE) } else { 0.0 })
    }

    /// Carries the sums on from `last`: between two looks, an edge counts as having filled steadily.
    fn follow(&mut self, last: &Self) {
        let seconds = self.at.since(last.at).as_secs_f64();
        for (edge, before) in self.edges.iter_mut().zip(&last.edges) {
            edge.fill_seconds = before.fill_seconds + seconds * f64::midpoint(before.fill, edge.fill);
            edge.held_seconds = before.held_seconds + seconds * f64::midpoint(before.held, edge.held);
        }
    }
}

impl EdgeSample {
    #[allow(clippy::cast_precision_loss, reason = "an average needs no more digits")]
    fn new(edge: &Snapshot) -> Self {
        Self {
            window: edge.window,
            fill: edge.fill_share(),
            held: edge.fill.records.get() as f64,
            left: edge.flows.output.get(),
            given: edge.flows.input.get(),
            lost: (edge.flows.shed_total() + edge.flows.diverted).get(),
            next: (edge.waiting_claims > 0).then_some(edge.largest_claim),
            fill_seconds: 0.0,
            held_seconds: 0.0,
        }
    }

    /// The edge over the `seconds` since `before`.
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    fn picture(&self, before: Option<&Self>, seconds: f64) -> EdgePicture {
        let was = |sum: fn(&Self) -> f64| before.map_or(0.0, sum);
        let since = |sum: fn(&Self) -> u64| sum(self).saturating_sub(before.map_or(0, sum));
        let (given, lost) = (since(|edge| edge.given), since(|edge| edge.lost));
        let lost = if given == 0 { 0.0 } else { (lost as f64 / given as f64).min(1.0) };
        let (window, next) = (self.window, self.next);
        if seconds <= 0.0 {
            return EdgePicture { fill: self.fill, window, residence: None, records_per_second: None, lost, next };
        }
        let left = since(|edge| edge.left);
        let held = (self.held_seconds - was(|edge| edge.held_seconds)) / seconds;
        let rate = left as f64 / seconds;
        // Little's law: what is in the edge is the rate times the time that each record stays.
        let residence = (left > 0).then(|| Duration::try_from_secs_f64(held / rate).unwrap_or(Duration::MAX));
        EdgePicture {
            fill: (self.fill_seconds - was(|edge| edge.fill_seconds)) / seconds,
            window,
            residence,
            records_per_second: Some(rate),
            lost,
            next,
        }
    }
}

impl History {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, samples: VecDeque::new() }
    }

    /// Remembers a look and forgets what recent pictures no longer need.
    pub(super) fn add(&mut self, mut sample: Sample) {
        if let Some(last) = self.samples.back() {
            sample.follow(last);
        }
        self.samples.push_back(sample);
        if self.samples.len() > REACH + 1 {
            self.samples.pop_front();
        }
    }

    /// The time until `now` from the look nearest to ten looks ago, or from the first.
    pub(super) fn recent(&self, mut now: Sample) -> Picture {
        let Some(last) = self.samples.back() else { return self.overall(now) };
        now.follow(last);
        let reach = self.every.mul_f64(REACH as f64 - 0.5);
        let reaches = |sample: &&Sample| now.at.since(sample.at) >= reach;
        let Some(oldest) = self.samples.iter().rev().find(reaches).or(self.samples.front()) else {
            return self.overall(now);
        };
        let seconds = now.at.since(oldest.at).as_secs_f64();
        let stages = now.stages.iter().zip(&oldest.stages).map(|(now, before)| now.since(before)).collect();
        let edges = now.edges.iter().zip(&oldest.edges).map(|(now, before)| now.picture(Some(before), seconds));
        Picture { stages, edges: edges.collect() }
    }

    /// The time from the start until `now`.
    pub(super) fn overall(&self, mut now: Sample) -> Picture {
        if let Some(last) = self.samples.back() {
            now.follow(last);
        }
        let seconds = now.at.since(Time::ZERO).as_secs_f64();
        let edges = now.edges.iter().map(|edge| edge.picture(None, seconds)).collect();
        Picture { stages: now.stages, edges }
    }
}
