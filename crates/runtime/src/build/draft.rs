//! What has been put together so far: [`PipelineBuilder`], shared by every flow of one pipeline.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_flow::graph::OnFull as GraphOnFull;
use tidegate_flow::{
    Batch, Budget, Bytes, EdgeId, EdgeSpec, Graph, OnFull, Payload, StageId, StageKind, Weight, kib, mib,
};

use super::error::{BuildError, BuildErrors};
use super::flow::{EdgeEnd, EdgeFlow, EdgeStart, Flow, Head, MakeInlet};
use super::launch::{EdgeAccount, StageFuture, StageLaunch};
use super::options::{ReadingDraft, SourceOptions};
use super::plan::Pipeline;
use crate::context::Supervision;
use crate::drain::KillSwitch;
use crate::durable::LogView;
use crate::edge::{EdgeBudget, EdgeHandle, Surroundings, edge_in};
use crate::ingress::{Source, SourceInlet};
use crate::inlet::EdgeInlet;
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
    /// Where other steps can be offered, by name: `Offer`s of the payload of their flow.
    pub(super) offers: Vec<(Arc<str>, Box<dyn Any + Send + Sync>)>,
    /// Lets go of the producers that ports keep to clone.
    pub(super) ports: Vec<Box<dyn FnOnce() + Send>>,
    pub(super) kill: KillSwitch,
    /// The edges on disk.
    pub(super) logs: Vec<(Arc<str>, LogView)>,
    /// Whether `build` was called. What is left describes the pipeline for flows that are still around.
    pub(super) built: bool,
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
    /// The smallest window that it sends to: what it makes is no larger.
    pub(super) largest: Weight,
    /// The edges of the branches that it forks to.
    pub(super) branches: Vec<EdgeId>,
    /// Bytes that its steps must be able to hold back from one batch to the next; reserved. Beyond them it floats.
    pub(super) held: Bytes,
    /// What a source needs between two reads; reserved. Beyond that it floats.
    pub(super) reading: ReadingDraft,
    /// What a delivery of its sink holds beside its batch; reserved once, and floating for further ones.
    pub(super) encoding: Bytes,
    pub(super) supervision: Option<Supervision>,
    /// `None` until something consumes the flow.
    pub(super) launch: Option<Launcher>,
    /// Whether an error was reported about it already.
    pub(super) abandoned: bool,
    /// Whether it ends in a sink.
    pub(super) is_sink: bool,
    /// Whether a running stage of this kind can be asked to make way for another.
    pub(super) makes_way: bool,
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
    /// Whether somebody sends to it who does not fork: what that sends is charged here.
    pub(super) pays: bool,
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
                offers: Vec::new(),
                ports: Vec::new(),
                kill: KillSwitch::new(),
                logs: Vec::new(),
                built: false,
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

    /// The largest batch that a source reads or a step makes at once: it is closed at this many records or bytes, or
    /// earlier where the window of the edge behind is smaller. Default: 256 records or 64 KiB. Every edge and source
    /// reserves room for one.
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

    /// Work that waits this long without progress and without a known cause is reported as a stall. Above zero; default: 30 s.
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

    /// Checks everything and gives the pipeline, ready to start. Once: what was put together is handed over.
    ///
    /// # Errors
    /// Every mistake that was found, each with the stage or edge it is about and what to do.
    pub fn build(&self) -> Result<Pipeline, BuildErrors> {
        let mut draft = self.lock();
        if std::mem::replace(&mut draft.built, true) {
            return Err(BuildErrors { pipeline: draft.name.clone(), errors: vec![BuildError::AlreadyBuilt] });
        }
        let planned = Pipeline::plan(&mut draft);
        // What was refused is dropped without the lock: it holds what the user put in.
        let refused: Vec<_> = draft.stages.iter_mut().filter_map(|stage| stage.launch.take()).collect();
        drop(draft);
        drop(refused);
        planned
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
        let said = said_of(spec.when_full);
        draft.graph.edge_mut(id).on_full = on_full.unwrap_or(said);
        draft.edges.push(EdgeDraft { spec, account, handle: tx.handle(), pays: false });
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

    /// Whether both put together the same pipeline.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.draft, &other.draft)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Draft {
    /// Notes a mistake for `build`, once.
    pub(super) fn refuse(&mut self, error: BuildError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn add_stage(&mut self, name: &str, kind: StageKind) -> StageId {
        let id = self.graph.add_stage(name, kind);
        self.stages.push(StageDraft {
            id,
            name: Arc::from(name),
            batches_in_hand: 0,
            largest: Weight::MAX,
            branches: Vec::new(),
            held: Bytes::ZERO,
            reading: ReadingDraft::default(),
            encoding: Bytes::ZERO,
            supervision: None,
            launch: None,
            abandoned: false,
            is_sink: false,
            makes_way: false,
            settle: None,
        });
        id
    }

    /// Fixes an output of `stage` to an edge.
    pub(super) fn connect(&mut self, edge: EdgeId, stage: StageId) {
        self.connect_main(edge, stage);
        self.edges[edge.index()].pays = true;
    }

    /// Fixes a branch of a fork to an edge. The branches share one charge, which stays with the stage that forks until
    /// the last of them has let go; so what they may hold is that stage's to reserve, and not the edge's.
    pub(super) fn connect_branch(&mut self, edge: EdgeId, stage: StageId) {
        self.connect_main(edge, stage);
        self.stage(stage).branches.push(edge);
    }

    /// Fixes a side output of `stage` to an edge.
    pub(super) fn connect_side(&mut self, edge: EdgeId, stage: StageId) {
        self.graph.add_producer(edge, stage);
        self.edges[edge.index()].pays = true;
    }

    /// What the stage makes is kept small enough for the edge.
    fn connect_main(&mut self, edge: EdgeId, stage: StageId) {
        self.graph.add_producer(edge, stage);
        let window = self.edges[edge.index()].spec.window;
        let largest = &mut self.stage(stage).largest;
        *largest = largest.min(window);
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

/// What the graph knows of a policy.
pub(super) const fn said_of(when_full: OnFull) -> GraphOnFull {
    match when_full {
        OnFull::Block { .. } => GraphOnFull::Block,
        OnFull::Fail => GraphOnFull::Fail,
        OnFull::DropNewest | OnFull::DropOldest | OnFull::Sample(_) | OnFull::Divert => GraphOnFull::Shed,
    }
}
