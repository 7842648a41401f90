//! What can be said of a plan before it runs: what it is made of, what may go wrong in it, and what must hold.

use tidegate_flow::OnFull;
use tidegate_runtime::Order;

use super::{Care, EdgePlan, End, Plan, Shape, SinkPlan, Site, Step};

impl End {
    /// Whether the run is cut short from outside.
    #[must_use]
    pub fn cancels(&self) -> bool {
        *self != Self::Complete
    }

    /// The name in the coverage table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Kill(_) => "kill switch",
            Self::KillSource(_) => "kill one source",
            Self::Drain(..) => "drain",
            Self::Stop(_) => "stop",
            Self::Drop(_) => "drop",
            Self::Stalled => "stopped after a stall",
        }
    }
}

impl SinkPlan {
    /// Whether what becomes of a record here cannot be told from the record alone.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        self.fails > 0 || self.timeout > 0
    }
}

impl Shape {
    /// Whether the shape has an operator that panics.
    #[must_use]
    pub fn panics(&self) -> bool {
        use Shape::{Calls, Expand, FlatMap, Map, Restartable};
        matches!(self, Map(every) | FlatMap(every) | Expand(every) | Restartable(every) | Calls(_, every) if *every > 0)
    }

    /// Whether the shape has an operator that refuses records or panics.
    #[must_use]
    pub fn faults(&self) -> bool {
        self.panics() || matches!(self, Self::TryMap(_) | Self::Three(_))
    }

    /// Whether the shape has an operator that sends to a port.
    #[must_use]
    pub fn uses_port(&self) -> bool {
        matches!(self, Self::Tap(_) | Self::Divert(_) | Self::TryMapOr(..))
    }

    /// The name in the coverage table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Map(_) => "map",
            Self::Filter => "filter",
            Self::FilterMap => "filter_map",
            Self::TryMap(_) => "try_map",
            Self::Three(_) => "map+filter+try_map",
            Self::FlatMap(_) => "flat_map",
            Self::Expand(_) => "filter+flat_map+map",
            Self::Tap(_) => "wire_tap",
            Self::Divert(_) => "divert_to",
            Self::TryMapOr(..) => "try_map_or",
            Self::Restartable(_) => "restartable map",
            Self::Calls(Order::Ordered, _) => "map_async, in order",
            Self::Calls(Order::Unordered, _) => "map_async",
            Self::Batch(_) => "batch",
            Self::Throttle(_) => "throttle",
            Self::Group(_) => "group+flat_map",
            Self::Stuck => "stuck",
        }
    }
}

impl Plan {
    /// Every edge.
    pub fn edges(&self) -> impl Iterator<Item = &EdgePlan> {
        let steps = self.steps.iter().flat_map(|step| match step {
            Step::Port { edge, .. } | Step::Chain { edge, .. } => vec![edge],
            Step::Fork { arms, .. } => arms.iter().map(|(edge, _)| edge).collect(),
            Step::Partition { edges, .. } => edges.iter().collect(),
            Step::Send { .. } | Step::Sink { .. } => Vec::new(),
        });
        steps.chain(self.spills.iter().map(|(edge, _)| edge))
    }

    /// Every sink.
    pub fn sinks(&self) -> impl Iterator<Item = &SinkPlan> {
        let steps = self.steps.iter().filter_map(|step| match step {
            Step::Sink { sink, .. } => Some(sink),
            _ => None,
        });
        steps.chain(self.spills.iter().map(|(_, sink)| sink))
    }

    /// Every shape of fused operators.
    pub fn shapes(&self) -> impl Iterator<Item = Shape> {
        self.steps.iter().filter_map(|step| match step {
            Step::Chain { shape, .. } => Some(*shape),
            _ => None,
        })
    }

    /// Stages: one for each source and one behind each edge.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.sources.len() + self.edges().count()
    }

    /// Whether a flow parts.
    #[must_use]
    pub fn forks(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Fork { .. } | Step::Partition { .. }))
    }

    /// Whether flows meet.
    #[must_use]
    pub fn joins(&self) -> bool {
        let senders = self.steps.iter().filter_map(|step| match step {
            Step::Send { port, .. } => Some(*port),
            _ => None,
        });
        let mut seen = Vec::new();
        senders.into_iter().any(|port| {
            let again = seen.contains(&port);
            seen.push(port);
            again
        })
    }

    /// Whether user code panics somewhere, if the records are so.
    #[must_use]
    pub fn panics(&self) -> bool {
        self.shapes().any(|shape| shape.panics()) || self.sinks().any(|sink| sink.panics > 0)
    }

    /// Whether the pipeline may fail by itself, and as planned.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        let cares = self.steps.iter().filter_map(|step| match step {
            Step::Chain { care, .. } => *care,
            _ => None,
        });
        let gives_up = |care: Care| care != Care::Resume;
        self.edges().any(|edge| edge.when_full == OnFull::Fail)
            || self.sources.iter().any(|source| source.fails_at.is_some())
            || (self.shapes().any(|shape| shape.faults() || matches!(shape, Shape::Calls(..)))
                && (gives_up(self.supervision) || cares.into_iter().any(gives_up)))
    }

    /// The name of the stage that never answers again.
    #[must_use]
    pub fn stuck_stage(&self) -> Option<String> {
        let Site::Sink(number) = self.stall?.site else { return Some("stuck".to_owned()) };
        let mut flows = self.steps.iter().filter_map(|step| match step {
            Step::Sink { flow, .. } => Some(*flow),
            _ => None,
        });
        // A sink right behind a source is fused with it, and the source keeps its name.
        let source = flows.nth(number).filter(|flow| *flow < self.sources.len());
        Some(source.map_or_else(|| format!("k{number}"), |flow| format!("s{flow}")))
    }

    /// Whether what becomes of each record can be told from the record alone, as long as nothing is shed, expires or
    /// is abandoned.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        let timed = |edge: &EdgePlan| matches!(edge.when_full, OnFull::Block { max: Some(_) });
        let loose = |step: &Step| matches!(step, Step::Fork { marked: false, .. });
        // The records of a group share their end.
        let groups = self.shapes().any(|shape| matches!(shape, Shape::Group(_)));
        let certain = !self.edges().any(timed) && !self.sinks().any(SinkPlan::is_uncertain);
        certain && !self.steps.iter().any(loose) && !groups
    }

    /// Whether parts of records can be told apart everywhere.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Fork { marked: false, .. }))
    }

    /// Whether records that take the same way must stay in order.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        let sorted = self.sources.iter().any(|source| source.lanes > 0 || source.buckets > 1);
        let repeats = self.sinks().any(|sink| sink.hesitates > 0);
        let meets = self.joins() || self.shapes().any(|shape| matches!(shape, Shape::Divert(_) | Shape::TryMapOr(..)));
        let overtakes = self.shapes().any(|shape| matches!(shape, Shape::Calls(Order::Unordered, _)));
        self.is_marked() && !sorted && !repeats && !meets && !overtakes && self.spills.is_empty()
    }
}
