//! Starting a checked pipeline: every stage becomes a task.

use std::fmt;
use std::sync::Arc;

use tidegate_flow::{FlowCounter, Graph, StageClock};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::launch::{Kit, Launch, Outfit, StageFuture};
use super::plan::{Pipeline, PlannedStage};
use super::replace::Places;
use crate::beside::Beside;
use crate::clock::{Clock, Timed};
use crate::egress::Refusals;
use crate::handover::{Relief, Seat, relay};
use crate::named::NamedSteps;
use crate::probe::{Due, StageProbe};
use crate::running::{Holdings, Parts, Running};
use crate::spares::SpareLists;

/// A pipeline was started where there is no tokio runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRuntime {
    /// The pipeline.
    pub pipeline: String,
}

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pipeline \"{}\" was started outside a tokio runtime; start it from an async function, or within \
             `runtime.block_on(..)` or `runtime.enter()`",
            self.pipeline
        )
    }
}

impl std::error::Error for NoRuntime {}

impl Pipeline {
    /// Starts every stage as a task of the current tokio runtime. Must be called within one; on a current-thread
    /// runtime the whole pipeline runs on that thread.
    ///
    /// # Panics
    /// Outside a tokio runtime, with the text of [`NoRuntime`], and in one without time. [`try_start`](Self::try_start)
    /// gives the first as an error.
    #[must_use = "dropping the handle aborts the pipeline"]
    pub fn start(self) -> Running {
        match self.try_start() {
            Ok(running) => running,
            Err(error) => panic!("{error}"),
        }
    }

    /// [`start`](Self::start), where it is not known whether there is a tokio runtime to start in.
    ///
    /// # Errors
    /// Outside a tokio runtime; nothing was started.
    pub fn try_start(self) -> Result<Running, NoRuntime> {
        if Handle::try_current().is_err() {
            return Err(NoRuntime { pipeline: self.name });
        }
        let clock = Clock::new();
        let spares = SpareLists::new(self.spares);
        let news = Arc::new(Notify::new());
        let beside = Beside::new(clock, self.kill.clone());
        let kit = Kit { clock, batch: self.batch, spares: spares.handle(), beside: beside.clone() };
        let launch = kit.launch();
        let mut tasks = Vec::new();
        let mut probes = Vec::new();
        let mut seats = Vec::new();
        let mut holdings = Vec::new();
        for stage in self.stages {
            holdings.extend(stage.accounts.holdings(&stage.name));
            let (probe, task, seat) = launch_stage(stage, &launch, &self.graph, &news);
            tasks.push((probe.id, Timed::new(task, probe.clock.clone(), clock)));
            probes.push(probe);
            seats.push(seat);
        }
        let parts = Parts {
            name: self.name,
            clock,
            budget: self.budget,
            graph: self.graph,
            stages: probes,
            edges: self.edges,
            holdings: Holdings::new(holdings),
            kill: self.kill,
            logs: self.logs,
            beside,
            stall_after: self.stall_after,
            watch_every: self.watch_every,
            news,
        };
        let places = Places { kit, seats, graph: parts.graph.clone(), offers: self.offers };
        Ok(Running::spawn(parts, tasks, launch.started(), places))
    }
}

fn launch_stage(
    stage: PlannedStage,
    launch: &Launch,
    graph: &Graph,
    news: &Arc<Notify>,
) -> (StageProbe, StageFuture, Option<(Outfit, Arc<Seat>)>) {
    let PlannedStage { id, name, kind, launch: launcher, batch, reading, supervision, accounts, window, .. } = stage;
    let outputs: Vec<_> = graph.outputs(id).collect();
    let times = StageClock::new(launch.clock.now(), &outputs);
    let counter = FlowCounter::default();
    let due = Due::default();
    let (refusals, steps) = (Refusals::new(Arc::clone(news)), NamedSteps::default());
    let probe = StageProbe {
        id,
        name: Arc::clone(&name),
        kind,
        clock: times.clone(),
        counter: counter.clone(),
        due: due.clone(),
        refusals: refusals.clone(),
        steps: steps.clone(),
    };
    let specs = stage.specs;
    let outfit =
        Outfit { id, name, times, due, counter, refusals, steps, accounts, specs, reading, batch, supervision, window };
    let relief = Relief::default();
    let life = outfit.launch(launcher, launch, relief.clone(), None);
    if !stage.makes_way {
        return (probe, life, None);
    }
    let seat = Seat::new(relief);
    let task: StageFuture = Box::pin(relay(life, Arc::clone(&seat)));
    (probe, task, Some((outfit, seat)))
}
