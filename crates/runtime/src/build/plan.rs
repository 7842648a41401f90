//! The checked form of a pipeline: [`Pipeline`]. Its edges fit together, its minima fit the budget, and its settle
//! windows hold what the buffers behind them can hold.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::budget::PlanSum;
use tidegate_flow::graph::{GraphError, check, settle_window_needs};
use tidegate_flow::settle::{MAX_LANES, MAX_SLOTS, WindowSpec};
use tidegate_flow::{Account, AccountSpec, Budget, BudgetError, Bytes, Graph, Records, StageId, StageKind, Weight};

use super::draft::{BudgetChoice, Draft, EdgeDraft, Launcher, PipelineBuilder, StageDraft};
use super::error::{BuildError, BuildErrors};
use super::options::ReadingDraft;
use crate::context::Supervision;
use crate::drain::KillSwitch;
use crate::durable::LogView;
use crate::edge::EdgeHandle;
use crate::running::Holding;
use crate::spares::SPARE_BATCHES;

/// A pipeline that was checked and can be started.
pub struct Pipeline {
    pub(super) name: String,
    pub(super) budget: Budget,
    pub(super) batch: Weight,
    pub(super) stall_after: Duration,
    pub(super) watch_every: Duration,
    pub(super) graph: Graph,
    pub(super) stages: Vec<PlannedStage>,
    pub(super) edges: Vec<EdgeHandle>,
    pub(super) spares: Account,
    pub(super) kill: KillSwitch,
    pub(super) logs: Vec<(Arc<str>, LogView)>,
    pub(super) sum: PlanSum,
    /// Where other steps can be offered, by name.
    pub(super) offers: Vec<(Arc<str>, Box<dyn Any + Send + Sync>)>,
}

/// A stage with the accounts and limits that the plan gave it.
pub(super) struct PlannedStage {
    pub(super) id: StageId,
    pub(super) name: Arc<str>,
    pub(super) kind: StageKind,
    pub(super) launch: Launcher,
    /// The largest batch that it reads or makes.
    pub(super) batch: Weight,
    pub(super) reading: ReadingDraft,
    pub(super) supervision: Supervision,
    pub(super) accounts: StageAccounts,
    /// How its accounts were opened.
    pub(super) specs: StageSpecs,
    /// Whether it can be asked to make way.
    pub(super) makes_way: bool,
    /// The settle window of a source.
    pub(super) window: WindowSpec,
}

/// How the accounts of one stage are opened; see [`StageAccounts`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StageSpecs {
    hand: AccountSpec,
    held: AccountSpec,
    outbound: AccountSpec,
    encoding: AccountSpec,
    /// Of a source: intake, reading, slabs.
    source: Option<[AccountSpec; 3]>,
}

/// The accounts of one stage.
#[derive(Clone)]
pub(super) struct StageAccounts {
    /// What it has in hand.
    pub(super) hand: Account,
    /// What its steps hold back from one batch to the next.
    pub(super) held: Account,
    /// What has left it and is in no edge's account.
    pub(super) outbound: Account,
    /// What it reads, where it is a source.
    pub(super) intake: Account,
    /// What it holds from one read to the next, where it is a source.
    pub(super) reading: Account,
    /// What it reads into, where that is slabs.
    pub(super) slabs: Account,
    /// What its deliveries hold beside their batches, where it ends in a sink.
    pub(super) encoding: Account,
}

impl StageAccounts {
    /// What the stage `name` holds outside of edges, under the names that the sum of the plan has for them.
    pub(super) fn holdings(&self, name: &Arc<str>) -> Vec<Holding> {
        let Self { hand, held, outbound, intake, reading, slabs, encoding } = self;
        let named = [
            (IN_HAND, hand),
            (ON_ITS_WAY, outbound),
            (HELD_BACK, held),
            (INTAKE, intake),
            (SLABS, slabs),
            (BETWEEN_READS, reading),
            (ENCODING, encoding),
        ];
        let mut holdings: Vec<Holding> = Vec::new();
        for (what, account) in named {
            // An account that stands for two is named once.
            if !account.minimum().is_zero() && !holdings.iter().any(|known| known.account.is(account)) {
                holdings.push(Holding { stage: Arc::clone(name), what, account: account.clone() });
            }
        }
        holdings
    }
}

// What a stage holds outside of edges, in the sum of the plan and in its figures.
const IN_HAND: &str = "in hand";
const ON_ITS_WAY: &str = "on its way";
const HELD_BACK: &str = "held back";
const INTAKE: &str = "intake";
const SLABS: &str = "slabs";
const BETWEEN_READS: &str = "between reads";
const ENCODING: &str = "encoding";

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
    pub(super) fn plan(draft: &mut Draft) -> Result<Self, BuildErrors> {
        plan(draft).map_err(|errors| BuildErrors { pipeline: draft.name.clone(), errors })
    }
}

fn plan(draft: &mut Draft) -> Result<Pipeline, Vec<BuildError>> {
    let mut errors = std::mem::take(&mut draft.errors);
    draft.ports.drain(..).for_each(|let_go| let_go());
    check_settings(draft, &mut errors);
    check_graph(draft, &mut errors);
    let (budget, total) = match &draft.budget {
        BudgetChoice::Own(bytes) => (Budget::new(*bytes).child(&draft.name, *bytes), *bytes),
        BudgetChoice::Within(shared, bytes) => (shared.child(&draft.name, *bytes), *bytes),
    };
    let sum = match reserve(draft, total) {
        Ok(sum) => Some(sum),
        Err(error) => {
            errors.push(BuildError::Budget(error));
            None
        }
    };
    let windows = settle_windows(draft, total, &mut errors);
    let Some(sum) = sum.filter(|_| errors.is_empty()) else { return Err(errors) };
    let accounts = open_accounts(draft, &budget).map_err(|error| vec![BuildError::Budget(error)])?;
    let spares = budget.account("spares", AccountSpec::holding(spares_of(draft)));
    let spares = spares.map_err(|error| vec![BuildError::Budget(error)])?;
    Ok(Pipeline {
        stages: planned_stages(draft, accounts, &windows)?,
        name: draft.name.clone(),
        budget,
        batch: draft.batch,
        stall_after: draft.stall_after,
        watch_every: draft.watch_every,
        graph: draft.graph.clone(),
        edges: draft.edges.iter().map(|edge| edge.handle.clone()).collect(),
        spares,
        kill: draft.kill.clone(),
        logs: std::mem::take(&mut draft.logs),
        sum,
        offers: std::mem::take(&mut draft.offers),
    })
}

fn check_settings(draft: &Draft, errors: &mut Vec<BuildError>) {
    if draft.stages.is_empty() {
        errors.push(BuildError::Empty);
    }
    if draft.batch.records.is_zero() || draft.batch.bytes.is_zero() {
        errors.push(BuildError::EmptyBatch);
    }
    if draft.stall_after.is_zero() {
        errors.push(BuildError::NoStallThreshold);
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
    AccountSpec::holding(one + shared_by_branches(draft, stage))
}

/// What a source reads: the largest batch; and beyond that one record as heavy as a batch, and the room that the list of
/// rows has for more of them.
fn intake_account(draft: &Draft) -> AccountSpec {
    AccountSpec::holding(draft.batch.bytes).overdraft(draft.batch.bytes + draft.batch.bytes)
}

/// What the branches of a fork may keep alive together: they may hold different records. Only of edges that nobody else
/// sends to, or the same bytes would be reserved there too.
fn shared_by_branches(draft: &Draft, stage: &StageDraft) -> Bytes {
    let edges = stage.branches.iter().map(|edge| &draft.edges[edge.index()]);
    edges.filter(|edge| edge.spec.sized && !edge.pays).map(|edge| edge.spec.window.bytes).sum()
}

/// The account of an edge; none for the branch of a fork, whose batches stay charged to the stage that forks. One that
/// was given a size can always hold it, or memory rather than its policy would decide; others float above one batch.
fn edge_account(draft: &Draft, edge: &EdgeDraft) -> Option<AccountSpec> {
    let EdgeDraft { spec, pays, .. } = edge;
    let minimum = draft.batch.bytes;
    let account = AccountSpec::edge(minimum);
    pays.then(|| if spec.sized { account.maximum(spec.window.bytes.max(minimum)) } else { account })
}

/// Adds up what is reserved, and refuses it with the sum spelled out when it does not fit.
fn reserve(draft: &Draft, total: Bytes) -> Result<PlanSum, BudgetError> {
    let mut sum = PlanSum::new(total);
    for edge in &draft.edges {
        if let Some(account) = edge_account(draft, edge) {
            sum.add(&*edge.spec.name, "edge", account.reserves());
        }
    }
    for stage in &draft.stages {
        let shared = shared_by_branches(draft, stage);
        let parts = [
            (IN_HAND, hand_account(draft, stage).reserves()),
            (ON_ITS_WAY, outbound_account(draft, stage).reserves() - shared),
            ("in its branches", shared),
            (HELD_BACK, stage.held),
            (ENCODING, stage.encoding),
        ];
        parts
            .iter()
            .filter(|(_, bytes)| !bytes.is_zero())
            .for_each(|(what, bytes)| sum.add(&*stage.name, *what, *bytes));
        if stage.settle.is_some() {
            sum.add(&*stage.name, INTAKE, intake_account(draft).reserves());
            let between = [(SLABS, stage.reading.slab_bytes()), (BETWEEN_READS, stage.reading.holding)];
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

/// Opens the accounts of every edge, and those of every stage in their order.
fn open_accounts(draft: &Draft, budget: &Budget) -> Result<Vec<(StageSpecs, StageAccounts)>, BudgetError> {
    for edge in &draft.edges {
        if let Some(account) = edge_account(draft, edge) {
            edge.account.bind(budget.account(&edge.spec.name, account)?);
        }
    }
    let open = |stage: &StageDraft| {
        let specs = StageSpecs::of(draft, stage);
        let accounts = specs.open(&stage.name, budget)?;
        Ok((specs, accounts))
    };
    draft.stages.iter().map(open).collect()
}

/// Takes the stages over, each with what the plan gave it.
fn planned_stages(
    draft: &mut Draft,
    accounts: Vec<(StageSpecs, StageAccounts)>,
    windows: &[(StageId, WindowSpec)],
) -> Result<Vec<PlannedStage>, Vec<BuildError>> {
    let Draft { stages, graph, supervision, batch, .. } = draft;
    let planned = stages.iter_mut().zip(accounts).map(|(stage, (specs, accounts))| {
        let name = Arc::clone(&stage.name);
        let window = windows.iter().find(|(source, _)| *source == stage.id).map(|(_, window)| *window);
        Ok(PlannedStage {
            id: stage.id,
            kind: graph.stage(stage.id).kind,
            launch: stage.launch.take().ok_or_else(|| vec![BuildError::Dangling { stage: name.to_string() }])?,
            name,
            batch: batch.min(stage.largest),
            reading: stage.reading,
            supervision: stage.supervision.clone().unwrap_or_else(|| supervision.clone()),
            window: window.unwrap_or_default(),
            accounts,
            specs,
            makes_way: stage.makes_way,
        })
    });
    planned.collect()
}

impl StageSpecs {
    pub(super) fn of(draft: &Draft, stage: &StageDraft) -> Self {
        let source = stage.settle.map(|_| {
            let [reading, slabs] = [stage.reading.holding, stage.reading.slab_bytes()].map(AccountSpec::holding);
            [intake_account(draft), reading, slabs]
        });
        Self {
            hand: hand_account(draft, stage),
            held: AccountSpec::holding(stage.held),
            outbound: outbound_account(draft, stage),
            encoding: AccountSpec::holding(stage.encoding),
            source,
        }
    }

    pub(super) fn open(&self, name: &str, budget: &Budget) -> Result<StageAccounts, BudgetError> {
        let open = |spec: &AccountSpec| budget.account(name, spec.clone());
        let (hand, held, outbound) = (open(&self.hand)?, open(&self.held)?, open(&self.outbound)?);
        let encoding = open(&self.encoding)?;
        let (intake, reading, slabs) = match &self.source {
            Some([intake, reading, slabs]) => (open(intake)?, open(reading)?, open(slabs)?),
            None => (hand.clone(), held.clone(), held.clone()),
        };
        Ok(StageAccounts { hand, held, outbound, intake, reading, slabs, encoding })
    }
}
