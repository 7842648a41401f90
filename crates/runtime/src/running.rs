//! A pipeline at work: [`Running`], its ledger, its bottleneck, and how it is stopped.

mod alarm;
mod holdings;
mod replace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_flow::queue::{Control, Snapshot};
use tidegate_flow::{
    Budget, Cause, FlowKind, Flows, Graph, Ledger, Records, SourceLedger, StageId, StageKind, StageTimes, Time,
};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};

use crate::beside::Beside;
use crate::build::{Places, SettleFuture, StageFuture};
use crate::clock::{Clock, Timed};
use crate::drain::KillSwitch;
use crate::durable::{LogTrouble, LogView};
use crate::edge::EdgeHandle;
use crate::egress::SinkRefusals;
use crate::ingress::Companion;
use crate::monitor::{Monitor, Watched};
use crate::probe::{SourceProbe, StageProbe};
use crate::report::{PipelineEnd, Report, StageReport};
use crate::stage::StageEnd;

use self::alarm::Alarm;
pub use self::holdings::HoldingFacts;
pub(crate) use self::holdings::{Holding, Holdings};
pub use self::replace::NewStep;

/// What is known of a pipeline when it starts.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    pub(crate) graph: Graph,
    pub(crate) stages: Vec<StageProbe>,
    pub(crate) edges: Vec<EdgeHandle>,
    pub(crate) holdings: Holdings,
    pub(crate) kill: KillSwitch,
    pub(crate) logs: Vec<(Arc<str>, LogView)>,
    pub(crate) beside: Beside,
    pub(crate) stall_after: Duration,
    pub(crate) watch_every: Duration,
    /// Told when a sink was refused, or accepts again.
    pub(crate) news: Arc<Notify>,
}

/// How long an aborted pipeline waits for user code: a stage that blocks its thread, a committer that does not answer.
const GRACE: Duration = Duration::from_secs(1);

/// How to look at one source, the task that reports to it, and those that work beside it.
pub(crate) struct SourceTask {
    pub(crate) stage: StageId,
    pub(crate) probe: Arc<dyn SourceProbe>,
    pub(crate) settle: SettleFuture,
    pub(crate) companions: Vec<Companion>,
}

/// A pipeline at work. Dropping it aborts every stage; what is in flight is then abandoned.
pub struct Running {
    pub(crate) view: Arc<View>,
    stages: Vec<StageTask>,
    /// What tells the sources, and what works beside them.
    settlers: Vec<JoinHandle<()>>,
    monitor: Monitor,
    alarm: Alarm,
    places: Places,
}

struct StageTask {
    id: StageId,
    name: Arc<str>,
    task: JoinHandle<StageEnd>,
    /// How it ended, once that was seen.
    end: Option<StageEnd>,
}

/// Everything that can be looked at while the pipeline runs, shared with whoever watches it.
pub struct View {
    pub(crate) parts: Parts,
    sources: Mutex<Vec<SourceRow>>,
    pub(crate) watched: Watched,
}

impl Running {
    pub(crate) fn spawn(
        parts: Parts,
        stages: Vec<(StageId, Timed<StageFuture>)>,
        sources: Vec<SourceTask>,
        places: Places,
    ) -> Self {
        let alarm = Alarm::new(parts.kill.clone());
        let required = alarm::required_stages(&parts.graph);
        let stages = stages
            .into_iter()
            .map(|(id, task)| {
                let name = Arc::clone(&parts.stages[id.index()].name);
                let stops_all = required[id.index()];
                let task = tokio::spawn(alarm.clone().watch(Arc::clone(&name), stops_all, task));
                StageTask { id, name, task, end: None }
            })
            .collect();
        let every = parts.watch_every;
        let watched = Watched::new(parts.stall_after, every);
        let view = Arc::new(View { parts, sources: Mutex::default(), watched });
        let monitor = Monitor::spawn(&view, every);
        let mut running = Self { view, stages, settlers: Vec::new(), monitor, alarm, places };
        sources.into_iter().for_each(|source| running.settle(source));
        running
    }

    /// Starts what tells a source, and what works beside it.
    fn settle(&mut self, source: SourceTask) {
        let SourceTask { stage, probe, settle, companions } = source;
        let name = &self.view.parts.stages[stage.index()].name;
        for task in std::iter::once(settle).chain(companions) {
            self.settlers.push(tokio::spawn(self.alarm.clone().watch_settling(Arc::clone(name), task)));
        }
        let mut rows = self.view.lives();
        let mut past = SourceLedger::default();
        rows.retain(|row| {
            let ended = row.stage == stage && row.probe.counts().in_flight == Records::ZERO;
            if ended {
                past.add_all(&row.counts());
            }
            !ended
        });
        rows.push(SourceRow { stage, probe, past });
    }

    /// A handle to look at the pipeline from elsewhere.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Completes when every stage has ended, by itself or because the intake was shut. [`wait`](Self::wait) then gives
    /// the report at once. Cancel-safe: unlike `wait` it leaves the pipeline to whoever asks.
    pub async fn ended(&mut self) {
        self.join().await;
    }

    /// Waits until every stage has ended by itself and every source was told what became of its records. When a stage
    /// fails, the intake shuts and what is in flight elsewhere drains.
    ///
    /// Dropping the future aborts the pipeline, as dropping `Running` does.
    pub async fn wait(mut self) -> Report {
        self.join().await;
        self.tell().await;
        self.report(PipelineEnd::Completed)
    }

    /// Shuts the intake and waits until everything in flight is settled, but no longer than `deadline`; then stops what
    /// is left. User code that blocks its thread or never finishes its commits is given a second more.
    ///
    /// Dropping the future aborts the pipeline, as dropping `Running` does.
    pub async fn drain(mut self, deadline: Duration) -> Report {
        self.view.parts.kill.shut();
        let drained = async {
            self.join().await;
            self.tell().await;
        };
        if tokio::time::timeout(deadline, drained).await.is_ok() {
            return self.report(PipelineEnd::Completed);
        }
        self.abort().await;
        self.report(PipelineEnd::DeadlinePassed)
    }

    /// Ends now. What is in flight is abandoned, and its sources are told.
    pub async fn stop(mut self) -> Report {
        self.abort().await;
        self.report(PipelineEnd::Stopped)
    }

    /// Waits for every stage. Cancel-safe: a stage that was seen to end is not waited for again.
    async fn join(&mut self) {
        if self.view.parts.graph.edges().iter().any(|edge| edge.feedback) {
            self.join_loop().await;
        }
        self.join_stages().await;
    }

    /// The stages of a loop keep each other alive. Once the sources have ended and everything they read is settled,
    /// nothing can be in the loop any more, and it is ended from outside.
    async fn join_loop(&mut self) {
        let rows = self.view.lives().clone();
        let sources: Vec<StageId> = rows.iter().map(|row| row.stage).collect();
        for stage in self.stages.iter_mut().filter(|stage| sources.contains(&stage.id)) {
            if stage.end.is_none() {
                stage.end = Some(ended(&mut stage.task).await);
            }
        }
        for row in &rows {
            std::future::poll_fn(|task| row.probe.poll_idle(task)).await;
        }
        for stage in self.stages.iter_mut().filter(|stage| stage.end.is_none()) {
            stage.task.abort();
            drop((&mut stage.task).await);
            stage.end = Some(StageEnd::Completed);
        }
    }

    async fn join_stages(&mut self) {
        for stage in &mut self.stages {
            if stage.end.is_none() {
                stage.end = Some(ended(&mut stage.task).await);
            }
            if let Some(StageEnd::Failed(cause)) = &stage.end {
                // Known already, unless its task ended without saying so.
                self.alarm.note(&stage.name, cause);
            }
        }
    }

    /// Lets the sources hear of everything that was settled. Cancel-safe.
    async fn tell(&mut self) {
        self.view.lives().iter().for_each(|row| row.probe.close());
        while let Some(settler) = self.settlers.last_mut() {
            drop(settler.await);
            self.settlers.pop();
        }
        self.view.parts.beside.done().await;
    }

    /// Ends every stage, and lets the sources hear of it; neither for longer than the grace.
    async fn abort(&mut self) {
        for stage in &self.stages {
            stage.task.abort();
        }
        let aborted = async {
            for stage in self.stages.iter_mut().filter(|stage| stage.end.is_none()) {
                stage.end = Some(ended(&mut stage.task).await);
            }
        };
        drop(tokio::time::timeout(GRACE, aborted).await);
        if tokio::time::timeout(GRACE, self.tell()).await.is_err() {
            self.settlers.iter().for_each(JoinHandle::abort);
            self.view.parts.beside.abort();
        }
    }

    /// Sums up. A failure says more than how the pipeline was ended.
    fn report(mut self, end: PipelineEnd) -> Report {
        self.monitor.stop(&self.view);
        let ran = self.view.parts.clock.now().since(Time::ZERO);
        Report {
            name: self.view.parts.name.clone(),
            end: self.alarm.raised().unwrap_or(end),
            ledger: self.view.ledger(),
            stages: self.view.stage_reports(),
            budget: self.view.parts.budget.total(),
            peak: self.view.parts.budget.peak(),
            ran,
            bottleneck: self.view.bottleneck_overall(),
            refusals: self.view.refusals().into_iter().filter(SinkRefusals::is_any).collect(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for stage in &self.stages {
            stage.task.abort();
        }
        self.view.lives().iter().for_each(|row| row.probe.close());
        self.monitor.stop(&self.view);
    }
}

impl std::ops::Deref for Running {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

fn flow_kind(kind: StageKind) -> FlowKind {
    match kind {
        StageKind::Source => FlowKind::Source,
        StageKind::Transform => FlowKind::Transform,
        StageKind::Sink => FlowKind::Sink,
    }
}

async fn ended(task: &mut JoinHandle<StageEnd>) -> StageEnd {
    task.await.unwrap_or_else(|error| StageEnd::Failed(join_cause(&error)))
}

fn join_cause(error: &JoinError) -> Cause {
    Cause::from(if error.is_panic() { "panicked outside its operators" } else { "was cancelled" })
}

/// The settlement of one life of a source.
#[derive(Clone)]
struct SourceRow {
    stage: StageId,
    probe: Arc<dyn SourceProbe>,
    /// What became of the records of earlier lives.
    past: SourceLedger,
}

impl SourceRow {
    fn counts(&self) -> SourceLedger {
        let mut counts = self.past;
        counts.add_all(&self.probe.counts());
        counts
    }
}

impl View {
    fn lives(&self) -> MutexGuard<'_, Vec<SourceRow>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the pipeline.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// The stages and edges.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.parts.graph
    }

    /// The memory that is charged, and its bound.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.parts.budget
    }

    /// What each stage holds outside of edges, as the plan named it, in the order of the stages.
    #[must_use]
    pub fn holdings(&self) -> Vec<HoldingFacts> {
        self.parts.holdings.facts()
    }

    /// The edges on disk, by the names that they were given.
    #[must_use]
    pub fn logs(&self) -> &[(Arc<str>, LogView)] {
        &self.parts.logs
    }

    /// The checkpoints that cannot be read or saved now, by component, and why. They go on by themselves.
    #[must_use]
    pub fn checkpoint_troubles(&self) -> Vec<(Arc<str>, LogTrouble)> {
        self.parts.beside.troubles()
    }

    /// The time since the pipeline started.
    #[must_use]
    pub fn now(&self) -> Time {
        self.parts.clock.now()
    }

    /// What became of every record so far: one row for each stage, edge and source, each of which balances at any
    /// instant. Components that are fused into a stage have rows of their own behind it.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for stage in &self.parts.stages {
            let (own, steps) = stage.steps.divide(&stage.name, || stage.counter.snapshot());
            ledger.stages.push((stage.name.to_string(), flow_kind(stage.kind), own));
            let steps = steps.into_iter().map(|(name, flows)| (name.to_string(), FlowKind::Transform, flows));
            ledger.stages.extend(steps);
        }
        for edge in &self.parts.edges {
            let snapshot = edge.snapshot();
            ledger.stages.push((snapshot.name.to_string(), FlowKind::Edge, Flows::from(snapshot.flows)));
        }
        for row in self.lives().iter() {
            let name = self.parts.graph.stage_name(row.stage);
            let counts = row.counts();
            match ledger.sources.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => sum.add_all(&counts),
                None => ledger.sources.push((name.to_string(), counts)),
            }
        }
        ledger
    }

    /// How every edge is now, in the order of the graph.
    #[must_use]
    pub fn edges(&self) -> Vec<Snapshot> {
        self.parts.edges.iter().map(|edge| edge.snapshot()).collect()
    }

    /// How one edge is now.
    #[must_use]
    pub fn edge(&self, name: &str) -> Option<Snapshot> {
        let index = self.parts.graph.edges().iter().position(|edge| edge.name == name)?;
        Some(self.parts.edges[index].snapshot())
    }

    /// A handle on one edge: its pressure to watch, its window to change.
    #[must_use]
    pub fn edge_handle(&self, name: &str) -> Option<EdgeHandle> {
        let index = self.parts.graph.edges().iter().position(|edge| edge.name == name)?;
        Some(self.parts.edges[index].clone())
    }

    /// What every stage has done with its time so far, in the order of the graph.
    #[must_use]
    pub fn times(&self) -> Vec<StageTimes> {
        let now = self.now();
        self.parts.stages.iter().map(|stage| stage.clock.snapshot(now)).collect()
    }

    fn stage_reports(&self) -> Vec<StageReport> {
        let stages = self.parts.stages.iter().zip(self.times());
        stages.map(|(stage, times)| StageReport { name: stage.name.to_string(), kind: stage.kind, times }).collect()
    }

    /// What each sink was refused so far, in the order of the graph; sinks that never were included.
    #[must_use]
    pub fn refusals(&self) -> Vec<SinkRefusals> {
        let sinks = self.parts.stages.iter().filter(|stage| stage.kind == StageKind::Sink);
        sinks.map(|stage| stage.refusals.facts(&stage.name)).collect()
    }

    /// Completes when a sink is refused that was not before, or accepts again. For one listener; what happened since it
    /// last listened completes it at once. Cancel-safe.
    pub async fn refusals_changed(&self) {
        self.parts.news.notified().await;
    }

    /// Tells every stage behind an edge to push its partial batches out now. Does not wait.
    pub fn flush(&self) {
        // A full control lane holds messages that its consumer has not seen, and a flush among them is enough.
        self.parts.edges.iter().for_each(|edge| drop(edge.send_control(Control::Flush)));
    }

    /// Shuts the intake: every source ends as if its input had. Does not wait.
    pub fn shut_intake(&self) {
        self.parts.kill.shut();
    }
}
