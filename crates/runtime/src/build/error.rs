//! What is wrong with a pipeline: one [`BuildError`] for each mistake, reported together.

use std::fmt;

use tidegate_flow::BudgetError;
use tidegate_flow::graph::{GraphError, SettleWindowTooSmall};
use tidegate_flow::queue::EdgeSpecError;
use tidegate_flow::settle::WindowError;

/// One mistake. The text names the stage or edge it is about and says what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum BuildError {
    /// A specification that no edge can have.
    Edge(EdgeSpecError),
    /// The stages and edges do not fit together, or could deadlock.
    Graph(GraphError),
    /// The minima do not fit the budget.
    Budget(BudgetError),
    /// A settle window that nothing fits into.
    Window {
        /// The source.
        source: String,
        /// What is wrong.
        error: WindowError,
    },
    /// A settle window smaller than the buffers behind it.
    SettleWindow(SettleWindowTooSmall),
    /// A fork without a branch that settlement can wait for.
    NoRequiredBranch {
        /// The stage that forks.
        stage: String,
    },
    /// A junction with too few branches to be one.
    TooFewBranches {
        /// The stage.
        stage: String,
        /// How many there are.
        branches: usize,
    },
    /// A batch size of zero records or bytes.
    EmptyBatch,
    /// A stall threshold of zero.
    NoStallThreshold,
    /// An edge that diverts, without a place to divert to.
    NoDivertTarget {
        /// The edge.
        edge: String,
    },
    /// A port with more producers than its edge allows.
    TooManyProducers {
        /// The edge.
        edge: String,
        /// How many it allows.
        allowed: u16,
    },
    /// A port of another pipeline.
    ForeignPort {
        /// The port's edge.
        port: String,
        /// The pipeline that the port belongs to.
        port_of: String,
        /// The pipeline that was to use it.
        pipeline: String,
    },
    /// A lane that the edge does not have.
    NoSuchLane {
        /// The edge.
        edge: String,
        /// The lane, counted from 0.
        lane: u8,
        /// How many lanes the edge has.
        lanes: u8,
    },
    /// A stage that was started but never given an end.
    Dangling {
        /// The stage.
        stage: String,
    },
    /// A setting that makes no sense.
    Setting {
        /// The stage.
        stage: String,
        /// What is wrong and what to do.
        text: String,
    },
    /// There is nothing to run.
    Empty,
    /// The pipeline was built before: a builder, its flows and its ports make one pipeline.
    AlreadyBuilt,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge(error) => write!(f, "{error}"),
            Self::Graph(error) => write!(f, "{error}"),
            Self::Budget(error @ BudgetError::Minima(_)) => write!(
                f,
                "{error}; most parts are multiples of the largest batch, so a smaller `.batch(..)` lowers them all"
            ),
            Self::Budget(error) => write!(f, "{error}"),
            Self::Window { source, error } => write!(f, "source \"{source}\": {error}"),
            Self::SettleWindow(error) if error.need.need.records > error.window.records => {
                write!(f, "{error} (a batch takes a slot, and a batch may be a single record)")
            }
            Self::SettleWindow(error) => write!(f, "{error}"),
            Self::NoRequiredBranch { stage } => {
                write!(
                    f,
                    "fork \"{stage}\": every branch is best effort, so nothing would settle a record; make one required"
                )
            }
            Self::TooFewBranches { stage, branches } => {
                write!(f, "junction \"{stage}\" has {branches} branches; it needs at least one")
            }
            Self::EmptyBatch => {
                f.write_str("the largest batch is zero records or zero bytes; set both with `.batch(..)`")
            }
            Self::NoStallThreshold => f.write_str(
                "every wait is a stall after zero time; set `.stall_after(..)` above zero, to more than a usual wait takes",
            ),
            Self::NoDivertTarget { edge } => write!(
                f,
                "edge \"{edge}\" diverts when it is full, but was not told where to; use `.edge_diverting(spec, &port)`, \
                 or give it another policy"
            ),
            Self::TooManyProducers { edge, allowed } => {
                write!(
                    f,
                    "edge \"{edge}\" was given more producers than it allows ({allowed}); raise its `max_producers`"
                )
            }
            Self::ForeignPort { port, port_of, pipeline } => write!(
                f,
                "port \"{port}\" belongs to pipeline \"{port_of}\", not to \"{pipeline}\"; use a port of the same builder, or \
                 join the two pipelines by a channel"
            ),
            Self::NoSuchLane { edge, lane, lanes } => write!(
                f,
                "edge \"{edge}\" has no lane {lane}: its lanes are 0 to {}; give it more with `EdgeSpec::lanes`, or send \
                 to another",
                lanes.saturating_sub(1)
            ),
            Self::Dangling { stage } => write!(
                f,
                "stage \"{stage}\": its output is connected to nothing; end the flow in a sink, an edge, a junction or a port"
            ),
            Self::Setting { stage, text } => write!(f, "stage \"{stage}\": {text}"),
            Self::Empty => f.write_str("the pipeline has no stages; start a flow with `.source(..)`"),
            Self::AlreadyBuilt => f.write_str(
                "it was built before: a builder, its flows and its ports make one pipeline; start with a new builder",
            ),
        }
    }
}

impl std::error::Error for BuildError {}

/// Every mistake found in a pipeline, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildErrors {
    pub(super) pipeline: String,
    pub(super) errors: Vec<BuildError>,
}

impl BuildErrors {
    /// The mistakes, in the order in which they were found.
    #[must_use]
    pub fn errors(&self) -> &[BuildError] {
        &self.errors
    }
}

impl fmt::Display for BuildErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pipeline \"{}\" cannot run:", self.pipeline)?;
        for error in &self.errors {
            write!(f, "\n  - {}", error.to_string().replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildErrors {}
