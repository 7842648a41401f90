//! What has been put together so far: [`PipelineBuilder`], shared by every flow of one pipeline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_flow::graph::{Branch, FanOut, OnFull as GraphOnFull};
use tidegate_flow::queue::MAX_PRODUCERS;
use tidegate_flow::{
    Batch, Budget, Bytes, EdgeId, EdgeSpec, Graph, OnFull, Payload, StageId, StageKind, Weight, kib, mib,
};

use super::error::{BuildError, BuildErrors};
use super::flow::{EdgeEnd, EdgeFlow, EdgeStart, Flow, Head, MakeInlet, Port};
use super::launch::{EdgeAccount, StageFuture, StageLaunch};
use super::options::{ReadingDraft, SourceOptions};
use super::plan::Pipeline;
use crate::context::Supervision;
use crate::drain::KillSwitch;
use crate::edge::{EdgeBudget, EdgeHandle, EdgeTx, Surroundings, edge_in};
use crate::ingress::{Source, SourceInlet};
use crate::inlet::EdgeInlet;
use crate::outlet::Side;
use crate::transform::Pass;

/// Puts a pipeline together. Cheap to clone; every clone and every flow builds the same pipeline.
///
/// ```
/// use tidegate_flow::mib;
/// use tidegate_runtime::{Pipeline, sink, source};
///
/// let builder = Pipeline::builder("numbers").budget(mib(16));
/// builder
///     .source("count", source::iter(1..=1_000_u64))
///     .filter(|n| n % 2 == 0)
///     .edge("even")
///     .sink("print", sink::for_each(|n: u64| println!("{n}")));
/// let pipeline = builder.build()?;
/// # Ok::<(), tidegate_runtime::BuildErrors>(())
/// ```
#[derive(Clone)]
pub struct PipelineBuilder {
    draft: Arc<Mutex<Draft>>,
}

/// Everything known of the pipeline under construction.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) budget: BudgetChoice,
    pub(super) batch: Weight,
    pub(super) supervision: Supervision,
    pub(super) stall_after: Duration,
    pub(super) watch_every: Duration,
    pub(super) graph: Graph,
    pub(super) stages: Vec<StageDraft>,
    pub(super) edges: Vec<EdgeDraft>,
    pub(super) errors: Vec<BuildError>,
    /// Lets go of the producers that ports keep to clone.
    pub(super) ports: Vec<Box<dyn FnOnce() + Send>>,
    pub(super) kill: KillSwitch,
}

/// Where the pipeline's memory comes from.
pub(super) enum BudgetChoice {
    /// A budget of its own.
    Own(Bytes),
    /// A part of a budget that several pipelines share.
    Within(Budget, Bytes),
}

/// One stage: what the checks need to know, and how to start it.
pub(super) struct StageDraft {
    pub(super) id: StageId,
    pub(super) name: Arc<str>,
    /// How many batches its steps need room for in hand; see [`Transform::batches_in_hand`](crate::Transform::batches_in_hand).
    pub(super) batches_in_hand: u32,
    /// Bytes that branches of a fork may keep alive together, beyond that; reserved where they were given explicitly.
    pub(super) shared: Bytes,
    /// Bytes that its steps must be able to hold back from one batch to the next; reserved. Beyond them it floats.
    pub(super) held: Bytes,
    /// What a source needs between two reads; reserved. Beyond that it floats.
    pub(super) reading: ReadingDraft,
    pub(super) supervision: Option<Supervision>,
    /// `None` until something consumes the flow.
    pub(super) launch: Option<Launcher>,
    /// Whether an error was reported about it already.
    pub(super) abandoned: bool,
    /// Whether it ends in a sink.
    pub(super) is_sink: bool,
    /// The settle window of a source, to be checked against the buffers behind it.
    pub(super) settle: Option<SettleDraft>,
}

/// Starts a stage once everything it needs is there.
pub(super) type Launcher = Box<dyn FnOnce(&StageLaunch<'_>) -> StageFuture + Send>;

/// What the user said about a source's settle window.
#[derive(Copy, Clone, Default)]
pub(super) struct SettleDraft {
    pub(super) slots: Option<u32>,
    pub(super) bytes: Option<Bytes>,
}

/// One edge: its specification and how to look at it.
pub(super) struct EdgeDraft {
    pub(super) spec: EdgeSpec,
    pub(super) account: Arc<EdgeAccount>,
    pub(super) handle: EdgeHandle,
}

impl PipelineBuilder {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            draft: Arc::new(Mutex::new(Draft {
                name: name.into(),
                budget: BudgetChoice::Own(mib(64)),
                batch: Weight::new(256, kib(64).get()),
                supervision: Supervision::default(),
                stall_after: Duration::from_secs(30),
                watch_every: Duration::from_secs(1),
                graph: Graph::new(),
                stages: Vec::new(),
                edges: Vec::new(),
                errors: Vec::new(),
                ports: Vec::new(),
                kill: KillSwitch::new(),
            })),
        }
    }

    /// The memory that everything in flight may use together. Default: 64 MiB.
    #[must_use]
    pub fn budget(self, bytes: Bytes) -> Self {
        self.lock().budget = BudgetChoice::Own(bytes);
        self
    }

    /// At most `bytes` of a budget that several pipelines share.
    #[must_use]
    pub fn budget_within(self, shared: &Budget, bytes: Bytes) -> Self {
        self.lock().budget = BudgetChoice::Within(shared.clone(), bytes);
        self
    }

    /// The largest batch that a source reads at once: it is closed at this many records or bytes. Default: 256 records
    /// or 64 KiB. Every edge and source reserves room for one.
    #[must_use]
    pub fn batch(self, largest: Weight) -> Self {
        self.lock().batch = largest;
        self
    }

    /// What stages do after a fault, unless they say otherwise. Default: [`Supervision::Resume`].
    #[must_use]
    pub fn supervision(self, supervision: Supervision) -> Self {
        self.lock().supervision = supervision;
        self
    }

    /// Work that waits this long without progress and without a known cause is reported as a stall. Default: 30 s.
    #[must_use]
    pub fn stall_after(self, threshold: Duration) -> Self {
        self.lock().stall_after = threshold;
        self
    }

    /// How often the monitor looks at the stages and edges, at least every millisecond. [`View::bottleneck`] speaks of
    /// the last ten looks, and a stall is noticed at a look. Default: 1 s, so the bottleneck of the last 10 s.
    ///
    /// [`View::bottleneck`]: crate::View::bottleneck
    #[must_use]
    pub fn watch_every(self, interval: Duration) -> Self {
        self.lock().watch_every = interval.max(Duration::from_millis(1));
        self
    }

    /// The switch that ends every source of this pipeline.
    #[must_use]
    pub fn kill_switch(&self) -> KillSwitch {
        self.lock().kill.clone()
    }

    /// Starts a flow that reads `source`.
    pub fn source<S: Source>(
        &self,
        name: &str,
        source: impl Into<SourceOptions<S>>,
    ) -> Flow<SourceInlet<S>, Pass, <S::Payload as Head>::Tail>
    where
        S::Payload: Head,
    {
        let (stage, inlet) = self.source_stage(name, source.into());
        Flow::start(self.clone(), stage, inlet)
    }

    /// Adds the stage of a source, and says how its inlet is made.
    pub(super) fn source_stage<S: Source>(
        &self,
        name: &str,
        options: SourceOptions<S>,
    ) -> (StageId, MakeInlet<SourceInlet<S>>) {
        let SourceOptions { source, classifier, settle, kill, acks, reading } = options;
        let mut draft = self.lock();
        let id = draft.add_stage(name, StageKind::Source);
        draft.stage(id).settle = Some(settle);
        draft.stage(id).reading = reading;
        let intake = draft.kill.intake_with(kill.as_ref());
        drop(draft);
        let inlet = Box::new(move |launch: &StageLaunch<'_>| launch.source_inlet(source, intake, classifier, acks));
        (id, inlet)
    }

    /// An edge that any number of flows of this pipeline may send to (with [`Flow::to`]), and the flow that reads it:
    /// the way to merge flows, and to declare the port that dead letters and diversions go to. Producers share the
    /// edge fairly by bytes.
    pub fn port<P: Head>(&self, spec: impl Into<EdgeSpec>) -> (Port<P>, EdgeFlow<P>) {
        let (port, rx) = self.port_edge(spec.into());
        (port, self.edge_flow(rx))
    }

    /// The edge of a port, and its end.
    pub(super) fn port_edge<P: Payload>(&self, mut spec: EdgeSpec) -> (Port<P>, EdgeStart<P>) {
        let allowed = spec.max_producers;
        // One more for the producer that others are cloned from; it is gone when the pipeline starts.
        if (1..MAX_PRODUCERS).contains(&allowed) {
            spec.max_producers += 1;
        }
        let (end, rx) = self.new_edge(spec);
        if let Some(edge) = self.lock().edges.get_mut(end.id.index()) {
            edge.spec.max_producers = allowed;
        }
        let port = Port { id: end.id, prototype: Arc::new(Mutex::new(Some(end.tx))) };
        let prototype = Arc::clone(&port.prototype);
        self.lock().ports.push(Box::new(move || drop(prototype.lock().unwrap_or_else(PoisonError::into_inner).take())));
        (port, rx)
    }

    /// Checks everything and gives the pipeline, ready to start.
    ///
    /// # Errors
    /// Every mistake that was found, each with the stage or edge it is about and what to do.
    pub fn build(&self) -> Result<Pipeline, BuildErrors> {
        let mut draft = self.lock();
        let taken = Draft {
            name: draft.name.clone(),
            budget: std::mem::replace(&mut draft.budget, BudgetChoice::Own(Bytes::ZERO)),
            batch: draft.batch,
            supervision: draft.supervision.clone(),
            stall_after: draft.stall_after,
            watch_every: draft.watch_every,
            graph: std::mem::take(&mut draft.graph),
            stages: std::mem::take(&mut draft.stages),
            edges: std::mem::take(&mut draft.edges),
            errors: std::mem::take(&mut draft.errors),
            ports: std::mem::take(&mut draft.ports),
            kill: draft.kill.clone(),
        };
        drop(draft);
        Pipeline::plan(taken)
    }

    /// Makes an edge that nothing is connected to yet. Where its specification is refused, the error is kept for
    /// `build`, and an edge with defaults stands in, so that the rest can be checked too.
    pub(super) fn new_edge<P: Payload>(&self, spec: EdgeSpec) -> (EdgeEnd<P>, EdgeStart<P>) {
        if spec.when_full == OnFull::Divert {
            self.lock().errors.push(BuildError::NoDivertTarget { edge: spec.name.to_string() });
        }
        self.new_edge_to(spec, None)
    }

    /// [`new_edge`](Self::new_edge), which where it is full does `on_full`.
    pub(super) fn new_edge_to<P: Payload>(
        &self,
        spec: EdgeSpec,
        on_full: Option<GraphOnFull>,
    ) -> (EdgeEnd<P>, EdgeStart<P>) {
        let mut draft = self.lock();
        let account = Arc::new(EdgeAccount::default());
        let surroundings = || {
            let budget: Arc<dyn EdgeBudget<Batch<P>>> = Arc::clone(&account) as _;
            Surroundings { budget: Some(budget), ..Surroundings::default() }
        };
        let (spec, made) = match edge_in::<Batch<P>>(spec.clone(), surroundings()) {
            Ok(made) => (spec, made),
            Err(error) => {
                draft.errors.push(BuildError::Edge(error));
                let stand_in = EdgeSpec::new("(refused)");
                let made = edge_in(stand_in.clone(), surroundings())
                    .unwrap_or_else(|_| unreachable!("the defaults are valid"));
                (stand_in, made)
            }
        };
        let (tx, rx) = made;
        let id = draft.graph.add_edge(spec.name.to_string(), spec.window);
        let said = match spec.when_full {
            OnFull::Block { .. } => GraphOnFull::Block,
            OnFull::Fail => GraphOnFull::Fail,
            OnFull::DropNewest | OnFull::DropOldest | OnFull::Sample(_) | OnFull::Divert => GraphOnFull::Shed,
        };
        draft.graph.edge_mut(id).on_full = on_full.unwrap_or(said);
        draft.edges.push(EdgeDraft { spec, account, handle: tx.handle() });
        (EdgeEnd { id, tx }, EdgeStart { id, rx })
    }

    /// The flow behind an edge, in a stage of its own.
    pub(super) fn edge_flow<P: Head>(&self, start: EdgeStart<P>) -> EdgeFlow<P> {
        let EdgeStart { id, rx } = start;
        let stage = self.edge_stage(id);
        let inlet = Box::new(move |launch: &StageLaunch<'_>| EdgeInlet::new(launch.consumer(EdgeStart { id, rx })));
        Flow::start(self.clone(), stage, inlet)
    }

    /// Adds the stage behind an edge, with the name of the edge.
    pub(super) fn edge_stage(&self, id: EdgeId) -> StageId {
        let mut draft = self.lock();
        let name = draft.graph.edge_name(id).to_string();
        let stage = draft.add_stage(&name, StageKind::Transform);
        draft.graph.set_consumer(id, stage);
        stage
    }

    /// Notes that `stage` closes a loop through the edge of `port`.
    pub(super) fn declare_feedback<P: Payload>(&self, port: &Port<P>) {
        self.lock().graph.edge_mut(port.id).feedback = true;
    }

    /// One more producer for the edge of a port; an error for `build` where there are too many.
    pub(super) fn another_producer<P: Payload>(&self, port: &Port<P>) -> Option<EdgeEnd<P>> {
        let prototype = port.prototype.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(tx)) = prototype.as_ref().map(EdgeTx::try_clone) {
            return Some(EdgeEnd { id: port.id, tx });
        }
        let mut draft = self.lock();
        let edge = draft.graph.edge_name(port.id).to_string();
        let allowed = draft.edges.get(port.id.index()).map_or(0, |edge| edge.spec.max_producers);
        let error = BuildError::TooManyProducers { edge, allowed };
        if !draft.errors.contains(&error) {
            draft.errors.push(error);
        }
        None
    }

    /// A producer for a side output of `stage`.
    pub(super) fn side_producer<P: Payload>(&self, port: &Port<P>, stage: StageId) -> Side<P> {
        self.side(port, stage, FanOut::Route, Branch::Required)
    }

    /// A producer for a tap of `stage`.
    pub(super) fn tap_producer<P: Payload>(&self, port: &Port<P>, stage: StageId) -> Side<P> {
        {
            let mut draft = self.lock();
            let edge = draft.edges[port.id.index()].spec.clone();
            if matches!(edge.when_full, OnFull::Block { .. } | OnFull::Fail | OnFull::Divert) {
                let stage = draft.stage(stage).name.to_string();
                let text = format!(
                    "a tap never waits, but edge \"{}\" does not shed when it is full; give it drop_newest, drop_oldest \
                     or sample",
                    edge.name
                );
                draft.errors.push(BuildError::Setting { stage, text });
            }
        }
        self.side(port, stage, FanOut::Fork, Branch::BestEffort)
    }

    fn side<P: Payload>(&self, port: &Port<P>, stage: StageId, fan_out: FanOut, branch: Branch) -> Side<P> {
        let Some(end) = self.another_producer(port) else {
            // An error is noted, so this pipeline will not run; the stand-in only has the right type.
            let (end, _) = self.new_edge(EdgeSpec::new("(refused)"));
            return Side::new(end.id, end.tx);
        };
        let mut draft = self.lock();
        draft.graph.add_producer(end.id, stage);
        let described = draft.graph.stage_mut(stage);
        described.fan_out = fan_out;
        if let Some(output) = described.outputs.last_mut() {
            output.branch = branch;
        }
        Side::new(end.id, end.tx)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Draft {
    pub(super) fn add_stage(&mut self, name: &str, kind: StageKind) -> StageId {
        let id = self.graph.add_stage(name, kind);
        self.stages.push(StageDraft {
            id,
            name: Arc::from(name),
            batches_in_hand: 0,
            shared: Bytes::ZERO,
            held: Bytes::ZERO,
            reading: ReadingDraft::default(),
            supervision: None,
            launch: None,
            abandoned: false,
            is_sink: false,
            settle: None,
        });
        id
    }

    pub(super) fn stage(&mut self, id: StageId) -> &mut StageDraft {
        &mut self.stages[id.index()]
    }

    pub(super) fn rename(&mut self, id: StageId, name: &str) {
        self.stage(id).name = Arc::from(name);
        self.graph.stage_mut(id).name = name.to_string();
    }

    /// Notes that a stage ends in a sink. A sink behind an edge gives the stage its name; a source that is fused with
    /// its sink keeps its own.
    pub(super) fn end_in_sink(&mut self, id: StageId, name: &str) -> StageId {
        self.stage(id).is_sink = true;
        if self.graph.stage(id).kind != StageKind::Source {
            self.rename(id, name);
            self.graph.stage_mut(id).kind = StageKind::Sink;
        }
        id
    }
}
