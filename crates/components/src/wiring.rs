//! How a plan becomes a pipeline: nodes with inputs, joined by edges on the builder of the runtime.
//!
//! * Each node with inputs has **one edge before it**, named after it, to which all its inputs send; the node's `buffer`
//!   says how much it holds and what it does when it is full. So what is slow, or sheds, is seen under its own name.
//! * A transform with one input, whose input goes nowhere else, and without a `buffer` of its own is **fused** into the
//!   stage before it: no edge, no task.
//! * What goes to several nodes is a **fork**: each consumer has its own edge and policy. A consumer that blocks makes all
//!   wait when it is full; one that sheds costs only itself.
//! * A transform with named outputs ends its stage: each output goes to the nodes that name it (`name.output`); records
//!   of an output that nobody names settle as filtered.
//! * A node whose `buffer` is on disk has **two edges and a log between them**: `name.to_disk` before the stage that
//!   appends, and the node's own behind the stage that reads, `name.from_disk`. What is in the log is settled.
//! * Settlement waits for every sink but those with `acknowledgements: false`: a branch that leads only to such is
//!   best-effort, and counts its losses by itself.

mod durable;
mod join;
mod layout;
mod slot;
mod swap;

use std::fmt;
use std::sync::Arc;

pub use self::durable::{BUFFERS, FROM_DISK, LETTER_BOX, LETTERS, TO_DISK, folder_of, letters_folder, node_of};
pub(crate) use self::durable::{LOG_COUNTS, escaped, log_counters, wall_nanos};
pub use self::join::join;
pub use self::layout::{Layout, comes_one_way};
#[cfg(test)]
pub(crate) use self::slot::lone_source;
pub use self::slot::{SinkSlot, SourceSlot};
pub use self::swap::{new_step, put_sink};
use crate::columns::Columns;
use crate::contract::{SinkConfig, SourceConfig, StartError, TransformConfig};
use crate::options::Buffer;

/// The most named outputs that a transform can have.
pub const MAX_OUTPUTS: usize = tidegate_runtime::BranchSet::MAX;

/// One node of a plan.
#[derive(Debug)]
pub struct Node {
    /// Its name in the file, which is the name of its stage and of the edge before it. Unique in the plan.
    pub name: Arc<str>,
    /// Where its records come from; none for a source.
    pub inputs: Vec<Input>,
    /// What the edge before it is to be; `None` for the defaults. Not for sources.
    pub buffer: Option<Buffer>,
    /// For a source: how its records are sorted; `None` where they are not.
    pub columns: Option<Columns>,
    /// For a sink or a transform: the sink that takes what this one refuses for good. `None`: such records go back to their
    /// source, or where the transform's own keys say.
    pub dead_letters: Option<Arc<str>>,
    /// What it is.
    pub part: Part,
}

/// What a node is.
#[derive(Debug)]
pub enum Part {
    /// It lets records in.
    Source(Box<dyn SourceConfig>),
    /// It changes them.
    Transform(Box<dyn TransformConfig>),
    /// It hands them out.
    Sink(Box<dyn SinkConfig>),
}

/// An output of another node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// The node.
    pub node: Arc<str>,
    /// Which of its outputs, where they have names.
    pub output: Option<Arc<str>>,
}

impl Input {
    /// The only output of a node.
    #[must_use]
    pub fn of(node: impl Into<Arc<str>>) -> Self {
        Self { node: node.into(), output: None }
    }

    /// A named output of a node.
    #[must_use]
    pub fn named(node: impl Into<Arc<str>>, output: impl Into<Arc<str>>) -> Self {
        Self { node: node.into(), output: Some(output.into()) }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.output {
            None => f.write_str(&self.node),
            Some(output) => write!(f, "{}.{output}", self.node),
        }
    }
}

/// Why a plan could not be wired: which node, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// The node.
    pub node: Arc<str>,
    /// What is wrong.
    pub error: StartError,
}

impl WireError {
    fn new(node: &Arc<str>, text: impl Into<String>) -> Self {
        Self { node: Arc::clone(node), error: StartError::new(text) }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.node, self.error)
    }
}

impl std::error::Error for WireError {}
