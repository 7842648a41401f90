//! [`Plan`]: a generated pipeline and what will happen to it, as data.

mod traits;

use std::time::Duration;

use tidegate_flow::OnFull;
use tidegate_runtime::Order;

/// A pipeline, and what will happen to it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed it came from.
    pub seed: u64,
    /// The largest batch: records and bytes.
    pub batch: (u64, u64),
    /// The budget as a multiple of the least that the pipeline is built with.
    pub budget_times: u64,
    /// What stages do after a fault.
    pub supervision: Care,
    /// Where records come from. The flows 0, 1, ... are theirs.
    pub sources: Vec<SourcePlan>,
    /// What is done with the flows, in order.
    pub steps: Vec<Step>,
    /// Where edges divert to that are full: edges that each end in a sink.
    pub spills: Vec<(EdgePlan, SinkPlan)>,
    /// What never answers again.
    pub stall: Option<StallPlan>,
    /// Whether sinks take as long as no generator says: for the test that such a run is noticed.
    pub noisy: bool,
    /// How it ends.
    pub end: End,
}

/// The number of a flow: sources first, then what the steps open, in order.
pub type FlowNo = usize;

/// The number of a port, in the order of the steps that open them.
pub type PortNo = usize;

/// One source.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// How many records it has.
    pub records: u64,
    /// The heaviest usual record.
    pub weight: u64,
    /// One of about so many records is heavier than a batch.
    pub oversize_every: u64,
    /// Whether it is a plain iterator, without waits, positions that are listened to, or errors.
    pub iterator: bool,
    /// In percent: how often it makes the pipeline wait before a read.
    pub waits: u64,
    /// The longest such wait, in milliseconds.
    pub longest_wait: u64,
    /// How many lanes its records are sorted into; 0 for no sorting.
    pub lanes: u8,
    /// How many buckets its records are sorted into.
    pub buckets: u8,
    /// How long a record may take, in milliseconds; 0 for ever.
    pub deadline: u64,
    /// After this many records it fails.
    pub fails_at: Option<u64>,
    /// How long its committer takes, in milliseconds.
    pub commit_takes: u64,
}

/// One edge.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgePlan {
    /// Its name.
    pub name: String,
    /// Its window in records.
    pub records: u64,
    /// Its window in bytes, where it is not the default.
    pub bytes: Option<u64>,
    /// What it does when it is full.
    pub when_full: OnFull,
    /// The floors of its lanes.
    pub lanes: Vec<u8>,
    /// Its buckets.
    pub buckets: u8,
    /// The spill that takes what it has no room for, where it diverts.
    pub diverts_to: Option<usize>,
}

/// Something that never answers again, from some record or batch on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct StallPlan {
    /// What.
    pub site: Site,
    /// It answers so many times before.
    pub after: u64,
}

/// What never answers again.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// A sink, by its number.
    Sink(usize),
    /// The call of a `map_async`, by the number of its step.
    Call(usize),
    /// A step on batches that waits for a side output and is never woken, by the number of the step that it is.
    Wait(usize),
}

impl Site {
    /// The name in the coverage table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sink(_) => "a sink",
            Self::Call(_) => "a call",
            Self::Wait(_) => "a wait for nothing",
        }
    }
}

/// One thing done with flows.
#[derive(Clone, Debug)]
pub enum Step {
    /// Opens a port, and the flow behind it.
    Port {
        /// Its edge.
        edge: EdgePlan,
        /// Whether what comes out are copies that nobody waits for.
        side: bool,
    },
    /// Operators, fused, and an edge behind them; opens a flow.
    Chain {
        /// The flow.
        flow: FlowNo,
        /// The operators.
        shape: Shape,
        /// The edge.
        edge: EdgePlan,
        /// What this stage does after a fault, where it is not what the pipeline says.
        care: Option<Care>,
    },
    /// Every record to every branch; opens a flow for each.
    Fork {
        /// The flow.
        flow: FlowNo,
        /// The branches, and whether each is required.
        arms: Vec<(EdgePlan, bool)>,
        /// Whether the branches mark what passes, so that it can be told apart where they meet.
        marked: bool,
    },
    /// Every record to one branch; opens a flow for each.
    Partition {
        /// The flow.
        flow: FlowNo,
        /// The branches.
        edges: Vec<EdgePlan>,
    },
    /// Sends a flow to a port.
    Send {
        /// The flow.
        flow: FlowNo,
        /// The port.
        port: PortNo,
    },
    /// Ends a flow in a sink.
    Sink {
        /// The flow.
        flow: FlowNo,
        /// The sink.
        sink: SinkPlan,
        /// Where records go that it refuses for good.
        dead_letters: Option<PortNo>,
    },
}

/// Fused operators.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// None.
    Plain,
    /// `map`, which may panic on one of about so many records (0 for never).
    Map(u64),
    /// `filter`.
    Filter,
    /// `filter_map`.
    FilterMap,
    /// `try_map`, which refuses one of about so many records.
    TryMap(u64),
    /// `map`, `filter` and `try_map`.
    Three(u64),
    /// `flat_map`, whose iterator may panic.
    FlatMap(u64),
    /// `filter`, `flat_map`, `map`.
    Expand(u64),
    /// `wire_tap`, then `map`.
    Tap(PortNo),
    /// `divert_to`, then `filter`.
    Divert(PortNo),
    /// `try_map_or`, which refuses one of about so many records.
    TryMapOr(PortNo, u64),
    /// `map`, which panics on one of about so many records and is restarted from a copy.
    Restartable(u64),
    /// `map_async`, in order or not, which panics on one of about so many records.
    Calls(Order, u64),
    /// `batch`, of so many records.
    Batch(u32),
    /// `throttle`, to so many records a second.
    Throttle(u32),
    /// `group`, of so many records, and `flat_map` back to single ones.
    Group(u32),
    /// `map_async` or a step on batches, which never answers again.
    Stuck,
}

/// What a stage does after a fault.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Care {
    /// The pipeline fails.
    Stop,
    /// It goes on.
    Resume,
    /// It starts afresh, so many times.
    Restart(u32),
}

/// One sink. A period of 0 is never.
#[derive(Clone, Debug, Default)]
pub struct SinkPlan {
    /// The longest that a delivery takes, in milliseconds.
    pub takes: u64,
    /// One of about so many records is refused for good.
    pub refuses: u64,
    /// Whether a refused record is named, or its whole batch refused.
    pub names_rows: bool,
    /// One of about so many records makes the sink panic.
    pub panics: u64,
    /// One of about so many records is refused for now.
    pub hesitates: u64,
    /// How often.
    pub hesitations: u32,
    /// In percent: how often a whole delivery fails for now.
    pub fails: u64,
    /// Deliveries are given up after this time, in milliseconds.
    pub timeout: u64,
}

/// How a run ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// When its sources do.
    Complete,
    /// The pipeline's switch is thrown.
    Kill(Duration),
    /// The switch of the first source is thrown.
    KillSource(Duration),
    /// It is drained, from a moment on, for at most so long.
    Drain(Duration, Duration),
    /// It is stopped.
    Stop(Duration),
    /// The handle is dropped.
    Drop(Duration),
    /// It is stopped once something that never answers again was named.
    Stalled,
}
