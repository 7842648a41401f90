//! The checked form of a pipeline: [`Pipeline`]. Its edges fit together, its minima fit the budget, and its settle
//! windows hold what the buffers behind them can hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_flow::budget::PlanSum;
use tidegate_flow::graph::{GraphError, check, settle_window_needs};
use tidegate_flow::settle::{MAX_LANES, MAX_SLOTS, WindowSpec};
use tidegate_flow::{
    Account, AccountSpec, Budget, BudgetError, Bytes, EdgeSpec, FlowCounter, Graph, OnFull, Records, StageClock,
    StageId, StageKind, Weight,
};

use super::draft::{BudgetChoice, Draft, PipelineBuilder, StageDraft};
use super::error::{BuildError, BuildErrors};
use super::launch::{Launch, Reading, StageFuture, StageLaunch, StartedSource};
use crate::clock::{Clock, Timed};
use crate::context::Supervision;
use crate::drain::KillSwitch;
use crate::edge::EdgeHandle;
use crate::probe::{Due, StageProbe};
use crate::running::{Parts, Running, SourceTask};
use crate::spares::{SPARE_BATCHES, SpareLists};

/// A pipeline that was checked and can be started.
pub struct Pipeline {
    name: String,
    budget: Budget,
    batch: Weight,
    stall_after: Duration,
    watch_every: Duration,
    graph: Graph,
    stages: Vec<PlannedStage>,
    edges: Vec<EdgeHandle>,
    spares: Account,
    kill: KillSwitch,
    sum: PlanSum,
}

/// A stage with the accounts and limits that the plan gave it.
struct PlannedStage {
    draft: StageDraft,
    kind: StageKind,
    supervision: Supervision,
    accounts: StageAccounts,
    window: WindowSpec,
}

/// The accounts of one stage.
struct StageAccounts {
    /// What it has in hand.
    hand: Account,
    /// What its steps hold back from one batch to the next.
    held: Account,
    /// What has left it and is in no edge's account.
    outbound: Account,
    /// What it reads, where it is a source.
    intake: Account,
    /// What it holds from one read to the next, where it is a source.
    reading: Account,
    /// What it reads into, where that is slabs.
    slabs: Account,
}

impl Pipeline {
    /// Starts to put a pipeline together.
    #[must_use]
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder::new(name)
    }

    /// What the plan reserves, line by line, and what floats.
    #[must_use]
    pub fn memory(&self) -> &PlanSum {
        &self.sum
    }

    /// The stages and edges.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The budget that everything in flight is charged to.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Checks a draft and plans it.
    pub(super) fn plan(draft: Draft) -> Result<Self, BuildErrors> {
        let name = draft.name.clone();
        plan(draft).map_err(|errors| BuildErrors { pipeline: name, errors })
    }

    /// Starts every stage as a task of the current tokio runtime. Must be called within one; on a current-thread
    /// runtime the whole pipeline runs on that thread.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[must_use = "dropping the handle aborts the pipeline"]
    pub fn start(self) -> Running {
        let clock = Clock::new();
        let launch =
            Launch { clock, batch: self.batch, spares: SpareLists::new(self.spares), sources: Mutex::new(Vec::new()) };
        let mut tasks = Vec::new();
        let mut probes = Vec::new();
        for stage in self.stages {
            let (probe, task) = launch_stage(stage, &launch, &self.graph);
            tasks.push((probe.id, Timed::new(task, probe.clock.clone(), clock)));
            probes.push(probe);
        }
        let sources = launch.sources.into_inner().unwrap_or_else(PoisonError::into_inner);
        let parts = Parts {
            name: self.name,
            clock,
            budget: self.budget,
            graph: self.graph,
            stages: probes,
            edges: self.edges,
            kill: self.kill,
            stall_after: self.stall_after,
            watch_every: self.watch_every,
        };
        let task = |source: StartedSource| SourceTask {
            stage: source.stage,
            probe: source.probe,
            settle: source.settle,
            companion: source.companion,
        };
        let sources = sources.into_iter().map(task).collect();
        Running::spawn(parts, tasks, sources)
    }
}

fn launch_stage(stage: PlannedStage, launch: &Launch, graph: &Graph) -> (StageProbe, StageFuture) {
    let PlannedStage { draft, kind, supervision, accounts, window } = stage;
    let outputs: Vec<_> = graph.outputs(draft.id).collect();
    let times = StageClock::new(launch.clock.now(), &outputs);
    let counter = FlowCounter::default();
    let due = Due::default();
    let given = StageLaunch {
        pipeline: launch,
        id: draft.id,
        name: Arc::clone(&draft.name),
        times: times.clone(),
        due: due.clone(),
        counter: counter.clone(),
        account: accounts.hand,
        held_account: accounts.held,
        outbound_account: accounts.outbound,
        intake_account: accounts.intake,
        reading: Reading {
            account: accounts.reading,
            slabs: accounts.slabs,
            slab_size: draft.reading.slab_size,
            keep: draft.reading.slabs,
        },
        supervision,
        window,
    };
    let task = match draft.launch {
        Some(launcher) => launcher(&given),
        None => unreachable!("the plan refuses stages without an end"),
    };
    (StageProbe { id: draft.id, name: draft.name, kind, clock: times, counter, due }, task)
}

fn plan(mut draft: Draft) -> Result<Pipeline, Vec<BuildError>> {
    let mut errors = std::mem::take(&mut draft.errors);
    draft.ports.drain(..).for_each(|let_go| let_go());
    check_settings(&draft, &mut errors);
    check_graph(&draft, &mut errors);
    let (budget, total) = match &draft.budget {
        BudgetChoice::Own(bytes) => (Budget::new(*bytes).child(&draft.name, *bytes), *bytes),
        BudgetChoice::Within(shared, bytes) => (shared.child(&draft.name, *bytes), *bytes),
    };
    let sum = match reserve(&draft, total) {
        Ok(sum) => Some(sum),
        Err(error) => {
            errors.push(BuildError::Budget(error));
            None
        }
    };
    let windows = settle_windows(&draft, total, &mut errors);
    let Some(sum) = sum.filter(|_| errors.is_empty()) else { return Err(errors) };
    open_accounts(draft, &budget, sum, windows).map_err(|error| vec![BuildError::Budget(error)])
}

fn check_settings(draft: &Draft, errors: &mut Vec<BuildError>) {
    if draft.stages.is_empty() {
        errors.push(BuildError::Empty);
    }
    if draft.batch.records.is_zero() || draft.batch.bytes.is_zero() {
        errors.push(BuildError::EmptyBatch);
    }
}

/// The checks on the graph, and that every flow was given an end.
fn check_graph(draft: &Draft, errors: &mut Vec<BuildError>) {
    let dangling = |stage: &&StageDraft| stage.launch.is_none() && !stage.abandoned;
    errors.extend(
        draft.stages.iter().filter(dangling).map(|stage| BuildError::Dangling { stage: stage.name.to_string() }),
    );
    let unfinished = |id: StageId| draft.stages[id.index()].launch.is_none() || draft.stages[id.index()].is_sink;
    if let Err(found) = check(&draft.graph) {
        let reported = |error: &GraphError| match error {
            // A flow without an end was reported above; a source that is fused with its sink has no output.
            GraphError::NoOutput(stage) => {
                draft.stages.iter().any(|known| stage.name == *known.name && unfinished(known.id))
            }
            _ => false,
        };
        errors.extend(found.into_iter().filter(|error| !reported(error)).map(BuildError::Graph));
    }
}

/// The most that a step makes at once: an output is closed by the record that makes it as large as the largest batch,
/// and that record may be as large itself.
fn largest_output(draft: &Draft) -> Bytes {
    draft.batch.bytes + draft.batch.bytes
}

/// What the steps of a stage may have in hand: the output being made, what is left of the output of each step before the
/// last, and what is left of the input, copied where a fork shares it. Half of the output is the overdraft.
fn hand_account(draft: &Draft, stage: &StageDraft) -> AccountSpec {
    let Some(before) = stage.batches_in_hand.checked_sub(1) else { return AccountSpec::holding(Bytes::ZERO) };
    let kept = Bytes::new(largest_output(draft).get().saturating_mul(u64::from(before))) + draft.batch.bytes;
    AccountSpec::holding(kept + draft.batch.bytes).overdraft(draft.batch.bytes)
}

/// What may be on its way from a stage and in no edge's account: one output that no edge could take over, or what the
/// branches of a fork share.
fn outbound_account(draft: &Draft, stage: &StageDraft) -> AccountSpec {
    let lets_go = stage.batches_in_hand > 0 || draft.graph.outputs(stage.id).count() > 1;
    let one = if lets_go { largest_output(draft) } else { Bytes::ZERO };
    AccountSpec::holding(one + stage.shared)
}

/// What a source reads: the largest batch; and beyond that one record as heavy as a batch, and the room that the list of
/// rows has for more of them.
fn intake_account(draft: &Draft) -> AccountSpec {
    AccountSpec::holding(draft.batch.bytes).overdraft(draft.batch.bytes + draft.batch.bytes)
}

fn edge_account(draft: &Draft, spec: &EdgeSpec) -> AccountSpec {
    let minimum = draft.batch.bytes;
    match spec.when_full {
        // A shedding edge must be able to hold its window, or memory rather than its policy would decide.
        OnFull::DropOldest | OnFull::DropNewest | OnFull::Sample(_)
            if spec.window.bytes != EdgeSpec::DEFAULT_WINDOW.bytes =>
        {
            let whole = spec.window.bytes.max(minimum);
            AccountSpec::edge(minimum).maximum(whole)
        }
        _ if spec.window.bytes != EdgeSpec::DEFAULT_WINDOW.bytes => {
            AccountSpec::edge(minimum).maximum(spec.window.bytes.max(minimum))
        }
        _ => AccountSpec::edge(minimum),
    }
}

/// Adds up what is reserved, and refuses it with the sum spelled out when it does not fit.
fn reserve(draft: &Draft, total: Bytes) -> Result<PlanSum, BudgetError> {
    let mut sum = PlanSum::new(total);
    for edge in &draft.edges {
        sum.add(&*edge.spec.name, "edge", edge_account(draft, &edge.spec).reserves());
    }
    for stage in &draft.stages {
        let parts = [
            ("in hand", hand_account(draft, stage).reserves()),
            ("on its way", outbound_account(draft, stage).reserves()),
            ("held back", stage.held),
        ];
        parts
            .iter()
            .filter(|(_, bytes)| !bytes.is_zero())
            .for_each(|(what, bytes)| sum.add(&*stage.name, *what, *bytes));
        if stage.settle.is_some() {
            sum.add(&*stage.name, "intake", intake_account(draft).reserves());
            let between = [("slabs", stage.reading.slab_bytes()), ("between reads", stage.reading.holding)];
            for (what, bytes) in between.into_iter().filter(|(_, bytes)| !bytes.is_zero()) {
                sum.add(&*stage.name, what, bytes);
            }
        }
    }
    sum.add("spares", "emptied batches", spares_of(draft));
    sum.clone().check()?;
    Ok(sum)
}

fn spares_of(draft: &Draft) -> Bytes {
    Bytes::new(draft.batch.bytes.get().saturating_mul(SPARE_BATCHES))
}

/// The settle window of each source: as large as the buffers behind it need, or as the user said if that is enough. A
/// slot is taken by a batch, and a batch may be a single record.
fn settle_windows(draft: &Draft, total: Bytes, errors: &mut Vec<BuildError>) -> Vec<(StageId, WindowSpec)> {
    let mut windows = Vec::new();
    for need in settle_window_needs(&draft.graph) {
        let Some(settle) = draft.stages[need.source.index()].settle else { continue };
        let given = Weight {
            records: settle.slots.map_or(Records::MAX, |slots| Records::new(u64::from(slots))),
            bytes: settle.bytes.unwrap_or(Bytes::MAX),
        };
        if let Err(error) = need.check(given) {
            errors.push(BuildError::SettleWindow(error));
            continue;
        }
        // Beyond the buffers, a batch in hand at each stage; a pipeline without edges still needs a few.
        let slots = u32::try_from(need.need.records.get()).unwrap_or(u32::MAX).saturating_add(64).min(MAX_SLOTS);
        let window = WindowSpec {
            slots: settle.slots.unwrap_or(slots),
            bytes: settle.bytes.unwrap_or(total.max(need.need.bytes)),
            lanes: MAX_LANES,
        };
        match window.check() {
            Ok(()) => windows.push((need.source, window)),
            Err(error) => errors.push(BuildError::Window { source: need.name, error }),
        }
    }
    windows
}

fn open_accounts(
    draft: Draft,
    budget: &Budget,
    sum: PlanSum,
    windows: Vec<(StageId, WindowSpec)>,
) -> Result<Pipeline, BudgetError> {
    for edge in &draft.edges {
        let account = budget.account(&edge.spec.name, edge_account(&draft, &edge.spec))?;
        edge.account.bind(account);
    }
    let spares = budget.account("spares", AccountSpec::holding(spares_of(&draft)))?;
    let mut planned = Vec::new();
    for index in 0..draft.stages.len() {
        planned.push(stage_accounts(&draft, index, budget)?);
    }
    let stages = draft.stages.into_iter().zip(planned).map(|(stage, accounts)| {
        let window = windows.iter().find(|(source, _)| *source == stage.id).map(|(_, window)| *window);
        PlannedStage {
            kind: draft.graph.stage(stage.id).kind,
            supervision: stage.supervision.clone().unwrap_or_else(|| draft.supervision.clone()),
            window: window.unwrap_or_default(),
            draft: stage,
            accounts,
        }
    });
    Ok(Pipeline {
        stages: stages.collect(),
        name: draft.name,
        budget: budget.clone(),
        batch: draft.batch,
        stall_after: draft.stall_after,
        watch_every: draft.watch_every,
        graph: draft.graph,
        edges: draft.edges.into_iter().map(|edge| edge.handle).collect(),
        spares,
        kill: draft.kill,
        sum,
    })
}

fn stage_accounts(draft: &Draft, index: usize, budget: &Budget) -> Result<StageAccounts, BudgetError> {
    let stage = &draft.stages[index];
    let hand = budget.account(&stage.name, hand_account(draft, stage))?;
    let outbound = budget.account(&stage.name, outbound_account(draft, stage))?;
    let held = budget.account(&stage.name, AccountSpec::holding(stage.held))?;
    let intake = match stage.settle {
        Some(_) => budget.account(&stage.name, intake_account(draft))?,
        None => hand.clone(),
    };
    let (reading, slabs) = match stage.settle {
        Some(_) => (
            budget.account(&stage.name, AccountSpec::holding(stage.reading.holding))?,
            budget.account(&stage.name, AccountSpec::holding(stage.reading.slab_bytes()))?,
        ),
        None => (held.clone(), held.clone()),
    };
    Ok(StageAccounts { hand, held, outbound, intake, reading, slabs })
}
