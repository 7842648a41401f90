//! The plan's graph: which stages there are, which edges join them, and the checks that refuse a graph before it runs.
//!
//! The builder and the configuration both describe a plan as a [`Graph`]; [`check`] says what is wrong with it, by
//! name and with a remedy; [`settle_window_needs`] says how large a source's settle window must be. The same graph is
//! what the bottleneck ([`crate::blame`]) and the stall detector ([`crate::stall`]) walk at run time.
//!
//! The checks are conservative: a graph that might deadlock is refused. Whether a loop or a diamond deadlocks in fact
//! can depend on the data, and for bounded queues it is undecidable in general (Parks, *Bounded Scheduling of Process
//! Networks*, 1995); what no check can see is left to the stall detector.

mod check;
mod cycle;
mod diamond;
mod error;
mod paths;
mod settle;
#[cfg(test)]
pub(crate) mod sketch;

pub use check::check;
pub use error::{Conflict, GraphError, NameOf};
pub use settle::{Holder, SettleNeed, SettleWindowTooSmall, settle_window_needs};

use crate::units::Weight;
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The id with this number: the place in its [`Graph`], counted from 0.
            #[must_use]
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// The number as an index into a table with one row for each.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The id of row `index`; the largest id where there are more rows than ids.
            #[must_use]
            pub fn at(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id! {
    /// One stage of a [`Graph`].
    StageId
}

id! {
    /// One edge of a [`Graph`].
    EdgeId
}

impl EdgeId {
    /// An edge that the plan does not list. Time that a stage spends blocked on an edge it did not declare is booked
    /// here, so that no time is lost from the sum.
    pub const UNLISTED: Self = Self(u32::MAX);
}

/// The three kinds of component.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum StageKind {
    /// Where records enter.
    Source,
    /// What works on records between a source and a sink.
    Transform,
    /// Where records leave.
    Sink,
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
        })
    }
}

/// How a stage reads when it has several inputs.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum FanIn {
    /// Takes from whichever input has something (a merge). The default.
    #[default]
    Any,
    /// Needs something on every input before it can go on (a zip, a join). The checks of a plan, blame and the stall
    /// detector know it, for graphs drawn by hand; no operator of the builder reads this way yet.
    All,
}

/// How a stage writes when it has several outputs.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum FanOut {
    /// It has one output. The default.
    #[default]
    Single,
    /// Every output gets every record (a broadcast).
    Fork,
    /// Each record goes to one output (a partition, a route).
    Route,
}

/// Whether the settlement of a record waits for this branch of a fork.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Branch {
    /// The record is settled only when this branch has settled it. The default.
    #[default]
    Required,
    /// What this branch loses is counted on the branch only.
    BestEffort,
}

/// What a full edge does, as far as the rules on graphs care: does its producer wait, or not?
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFull {
    /// The producer waits (`block`). A `block` with a time limit counts as waiting too. The default.
    #[default]
    Block,
    /// Somebody's records are shed (`drop_newest`, `drop_oldest`, `sample`).
    Shed,
    /// The batch is refused and the producer told so (`fail`).
    Fail,
    /// The batch goes to another edge (`divert`).
    Divert(EdgeId),
}

impl OnFull {
    /// Whether a producer can be held up by this edge being full.
    #[must_use]
    pub const fn blocks(self) -> bool {
        matches!(self, Self::Block)
    }
}

/// One place where an edge can be fixed to a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What the stage calls it.
    pub name: String,
    /// What is fixed to it; `None` is refused by [`check`].
    pub edge: Option<EdgeId>,
    /// For an output: whether settlement waits for it.
    pub branch: Branch,
}

/// One stage of the plan (operators that are fused into one task count as one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name, unique among the stages of the plan.
    pub name: String,
    /// Source, transform or sink.
    pub kind: StageKind,
    /// Its inputs.
    pub inputs: Vec<Port>,
    /// How it reads when it has several.
    pub fan_in: FanIn,
    /// Its outputs.
    pub outputs: Vec<Port>,
    /// How it writes when it has several.
    pub fan_out: FanOut,
    /// Whether it may give out fewer records than it took (a filter, a sampler, an aggregation).
    pub may_drop: bool,
    /// The most that it may hold outside its edges (a batcher, keyed state, calls in flight).
    pub holding: Weight,
}

/// One edge: the queue between the stages that fill it and the stage that empties it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its name, unique among the edges of the plan.
    pub name: String,
    /// The stages that fill it (several where a merge shares one queue).
    pub from: Vec<StageId>,
    /// The stage that empties it.
    pub to: Option<StageId>,
    /// What it does when it is full.
    pub on_full: OnFull,
    /// How much it can hold.
    pub window: Weight,
    /// Whether it was declared to close a loop.
    pub feedback: bool,
    /// Whether credit is kept apart per hop number, so that hop n waits only for hop n + 1.
    pub hop_credit: bool,
}

impl Edge {
    /// Whether a full edge can hold its producer up, loops considered.
    const fn waits(&self) -> bool {
        self.on_full.blocks() && !(self.feedback && self.hop_credit)
    }
}

/// The description of a plan: stages and the edges between them. [`StageId`] and [`EdgeId`] are places in its tables,
/// so nothing is ever removed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    stages: Vec<Stage>,
    edges: Vec<Edge>,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stage without ports.
    pub fn add_stage(&mut self, name: impl Into<String>, kind: StageKind) -> StageId {
        let id = StageId::at(self.stages.len());
        self.stages.push(Stage {
            name: name.into(),
            kind,
            inputs: Vec::new(),
            fan_in: FanIn::Any,
            outputs: Vec::new(),
            fan_out: FanOut::Single,
            may_drop: false,
            holding: Weight::ZERO,
        });
        id
    }

    /// Adds an edge that nothing is fixed to yet: it blocks when full, and holds `window`.
    pub fn add_edge(&mut self, name: impl Into<String>, window: Weight) -> EdgeId {
        let id = EdgeId::at(self.edges.len());
        self.edges.push(Edge {
            name: name.into(),
            from: Vec::new(),
            to: None,
            on_full: OnFull::Block,
            window,
            feedback: false,
            hop_credit: false,
        });
        id
    }

    /// Adds an edge from `from` to `to`, with a new port on each side.
    ///
    /// # Panics
    /// Where `from` or `to` is no stage of this graph.
    pub fn connect(&mut self, name: impl Into<String>, from: StageId, to: StageId, window: Weight) -> EdgeId {
        let edge = self.add_edge(name, window);
        self.add_producer(edge, from);
        self.set_consumer(edge, to);
        edge
    }

    /// Fixes a new output of `stage` to `edge`. An edge may have several producers.
    ///
    /// # Panics
    /// Where `stage` or `edge` is not of this graph.
    pub fn add_producer(&mut self, edge: EdgeId, stage: StageId) {
        let name = self.edges[edge.index()].name.clone();
        self.stages[stage.index()].outputs.push(Port { name, edge: Some(edge), branch: Branch::Required });
        self.edges[edge.index()].from.push(stage);
    }

    /// Fixes `edge` to a new input of `stage`.
    ///
    /// # Panics
    /// Where `stage` or `edge` is not of this graph.
    pub fn set_consumer(&mut self, edge: EdgeId, stage: StageId) {
        let name = self.edges[edge.index()].name.clone();
        self.stages[stage.index()].inputs.push(Port { name, edge: Some(edge), branch: Branch::Required });
        self.edges[edge.index()].to = Some(stage);
    }

    /// Adds an input that nothing is fixed to; [`check`] refuses the graph until something is.
    ///
    /// # Panics
    /// Where `stage` is not of this graph.
    pub fn open_input(&mut self, stage: StageId, name: impl Into<String>) {
        let port = Port { name: name.into(), edge: None, branch: Branch::Required };
        self.stages[stage.index()].inputs.push(port);
    }

    /// Adds an output that nothing is fixed to; [`check`] refuses the graph until something is.
    ///
    /// # Panics
    /// Where `stage` is not of this graph.
    pub fn open_output(&mut self, stage: StageId, name: impl Into<String>) {
        let port = Port { name: name.into(), edge: None, branch: Branch::Required };
        self.stages[stage.index()].outputs.push(port);
    }

    /// The stages; a [`StageId`] is a place in this table.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The edges; an [`EdgeId`] is a place in this table.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// One stage.
    ///
    /// # Panics
    /// Where `id` is not of this graph.
    #[must_use]
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.index()]
    }

    /// One stage, to describe it further.
    ///
    /// # Panics
    /// Where `id` is not of this graph.
    pub fn stage_mut(&mut self, id: StageId) -> &mut Stage {
        &mut self.stages[id.index()]
    }

    /// One edge.
    ///
    /// # Panics
    /// Where `id` is not of this graph.
    #[must_use]
    pub fn edge(&self, id: EdgeId) -> &Edge {
        &self.edges[id.index()]
    }

    /// One edge, to describe it further.
    ///
    /// # Panics
    /// Where `id` is not of this graph.
    pub fn edge_mut(&mut self, id: EdgeId) -> &mut Edge {
        &mut self.edges[id.index()]
    }

    /// The id of every stage.
    pub fn stage_ids(&self) -> impl Iterator<Item = StageId> + use<> {
        (0..self.stages.len()).map(StageId::at)
    }

    /// The id of every edge.
    pub fn edge_ids(&self) -> impl Iterator<Item = EdgeId> + use<> {
        (0..self.edges.len()).map(EdgeId::at)
    }

    /// The edges that `stage` fills.
    pub fn outputs(&self, stage: StageId) -> impl Iterator<Item = EdgeId> + '_ {
        self.stage(stage).outputs.iter().filter_map(|port| port.edge)
    }

    /// The edges that `stage` empties.
    pub fn inputs(&self, stage: StageId) -> impl Iterator<Item = EdgeId> + '_ {
        self.stage(stage).inputs.iter().filter_map(|port| port.edge)
    }

    /// The name of an edge; a neutral word for one that the graph does not list.
    #[must_use]
    pub fn edge_name(&self, id: EdgeId) -> &str {
        self.edges.get(id.index()).map_or("(unlisted edge)", |edge| edge.name.as_str())
    }

    /// The name of a stage; a neutral word for one that the graph does not list.
    #[must_use]
    pub fn stage_name(&self, id: StageId) -> &str {
        self.stages.get(id.index()).map_or("(unlisted stage)", |stage| stage.name.as_str())
    }
}
