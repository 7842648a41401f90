//! Who is to blame: [`bottleneck`] names what limits the pipeline, as data and as one sentence.
//!
//! Input is a [`FlowPicture`]: the graph, and for a window of time what every stage did ([`StageTimes`]) and how full
//! every edge was. From each pressured source (and where none is, from each pressured stage that nobody presses) it
//! follows the edge with the most blocked time downstream, until a stage that is not blocked itself. Of the stages on
//! that way, the one that was occupied for the largest share is the culprit; the shares also decide where a pipeline
//! swings between two limits. What only waits is never named:
//!
//! - Everything on the way idles although the source is blocked: the window of an edge is too small.
//! - The way ends in a stage that needs another input: the search goes on upstream from the input that is empty.
//! - The way leads in a ring, or ends in a stage that is idle before a full edge that does not move: a stall.
//! - A stage waits for the budget or the settle window: the stage behind it that is saturated, since it is what keeps
//!   the bytes and the records; where none is, the budget or the window itself.
//! - Nothing is pressured: the source itself, unless all is idle.
//! - An edge that sheds or diverts holds nobody up, so nobody behind it limits anything: it is a [`Remark`].
//!
//! Flink's figures are the model (busy, idle and back-pressured time per task; the first busy task behind the
//! back-pressured ones is the suspect), with three differences: blocked time is kept per edge, waiting for a remote is
//! not busy, and the suspect is named rather than coloured.

mod scene;
mod sentence;
mod walk;

pub(crate) use sentence::span;

use crate::clock::{StageState, StageTimes, Stall};
use crate::graph::{EdgeId, Graph, StageId, StageKind};
use crate::outcome::Cause;
use crate::time::Time;
use crate::units::Weight;
use std::fmt;
use std::time::Duration;

/// What an edge looked like over the window.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgePicture {
    /// How full it was on average, 0 to 1, in the fuller of its two units.
    pub fill: f64,
    /// How much it can hold.
    pub window: Weight,
    /// How long a record stayed in it, on average; `None` where not measured.
    pub residence: Option<Duration>,
    /// How many records left it per second; `None` where not measured.
    pub records_per_second: Option<f64>,
    /// The share of the records given to it that it shed or diverted, 0 to 1.
    pub lost: f64,
    /// The largest batch that waits for room, at the end of the window; `None` where none does.
    pub next: Option<Weight>,
}

/// What happened in a pipeline over a window of time.
#[derive(Clone, Debug)]
pub struct FlowPicture<'a> {
    /// The plan.
    pub graph: &'a Graph,
    /// What each stage did: one row per stage of the graph, in its order, all over the same window.
    pub stages: &'a [StageTimes],
    /// How each edge was: one row per edge of the graph, in its order.
    pub edges: &'a [EdgePicture],
}

/// What limits the pipeline.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sink that needs all its time.
    SlowSink,
    /// A transform that needs all its time.
    SlowTransform,
    /// A stage that waits for a remote.
    External,
    /// A source that brings no more than this; everything behind it could take more.
    StarvedSource,
    /// A rate limit that the user set.
    Throttled,
    /// The memory budget.
    Budget,
    /// A source's settle window.
    SettleWindow,
    /// The window of an edge: its producer is blocked while its consumer idles.
    WindowTooSmall,
    /// Nothing moves; see [`crate::stall`] for the exact wait.
    Stalled,
    /// Nothing: there is no input.
    None,
}

/// A stage, as data and as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The stage.
    pub id: StageId,
    /// Source, transform or sink.
    pub kind: StageKind,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.kind, self.name)
    }
}

/// What shows that a stage is held up.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// This edge is full.
    Edge {
        /// The edge.
        id: EdgeId,
        /// Its name.
        name: String,
        /// How full it was, 0 to 1.
        fill: f64,
        /// The share of the window for which the stage that fills it was blocked on it.
        blocked: f64,
        /// What the next batch needs, where that is more than is free.
        needs: Option<Weight>,
    },
    /// The stage waited this share of the window for memory.
    Budget(f64),
    /// The stage waited this share of the window for room in its settle window.
    SettleWindow(f64),
}

/// An edge that lost records over the window, because it was full and its policy is not to block. That limits nobody.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    /// The edge.
    pub edge: EdgeId,
    /// Its name.
    pub name: String,
    /// Whether settlement does not ask for it.
    pub best_effort: bool,
    /// The share of the records given to it that it lost, 0 to 1.
    pub lost: f64,
    /// Whether what it lost went to another edge instead.
    pub diverts: bool,
}

/// What limits the pipeline, and why. Its `Display` is one plain sentence, and one more for each remark.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What kind of limit it is.
    pub kind: Kind,
    /// The stage to blame; `None` where no stage is ([`Kind::WindowTooSmall`], [`Kind::Stalled`], [`Kind::None`]). For
    /// [`Kind::Budget`] and [`Kind::SettleWindow`], the stage that waits.
    pub culprit: Option<Who>,
    /// What the culprit mostly did.
    pub state: Option<StageState>,
    /// The share of the window for which it did, 0 to 1.
    pub share: f64,
    /// Since when it does, if it is doing so now.
    pub since: Option<Time>,
    /// The longest single stall of the culprit.
    pub longest_stall: Option<Stall>,
    /// The stages that are held up, pressured sources first.
    pub limits: Vec<Who>,
    /// The names from the pressured source down to the culprit, both included.
    pub chain: Vec<String>,
    /// What shows it.
    pub evidence: Option<Evidence>,
    /// What would help, where the figures say.
    pub hint: Option<String>,
    /// Why the culprit's remote refuses, and for how long it has, where that is known.
    pub trouble: Option<(Cause, Duration)>,
    /// How long the picture's window was.
    pub window: Duration,
    /// Other limits, of other sources, by the share for which they hold them up.
    pub others: Vec<Self>,
    /// Edges that lost records without limiting anything, most first.
    pub remarks: Vec<Remark>,
    /// What the last stage of the chain did, for the sentence: the share for which it idled.
    idle: f64,
    /// The share for which the first stage of the chain was held up.
    pressure: f64,
}

impl Verdict {
    /// Says of each culprit why its remote refuses what it sends, where `trouble` knows a cause and a duration.
    #[must_use]
    pub fn because(mut self, trouble: &dyn Fn(StageId) -> Option<(Cause, Duration)>) -> Self {
        self.trouble = self.culprit.as_ref().and_then(|culprit| trouble(culprit.id));
        self.others = self.others.into_iter().map(|other| other.because(trouble)).collect();
        self
    }
}

/// Names what limits the pipeline. Where several sources are held up by different things, the verdict for the source
/// that is held up for the largest share comes first and has the rest in [`Verdict::others`].
///
/// # Panics
/// Where the picture has not one row for each stage and each edge of the graph.
#[must_use]
pub fn bottleneck(picture: &FlowPicture<'_>) -> Verdict {
    assert_eq!(picture.stages.len(), picture.graph.stages().len(), "one row of times for each stage");
    assert_eq!(picture.edges.len(), picture.graph.edges().len(), "one row for each edge");
    walk::bottleneck(picture)
}

#[cfg(test)]
mod tests;
