//! Starting a checked pipeline: every stage becomes a task.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_flow::{FlowCounter, Graph, StageClock};
use tokio::runtime::Handle;

use super::launch::{Launch, Reading, StageFuture, StageLaunch, StartedSource};
use super::plan::{Pipeline, PlannedStage};
use crate::clock::{Clock, Timed};
use crate::probe::{Due, StageProbe};
use crate::running::{Parts, Running, SourceTask};
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
        let launch =
            Launch { clock, batch: self.batch, spares: SpareLists::new(self.spares), sources: Mutex::new(Vec::new()) };
        let mut tasks = Vec::new();
        let mut probes = Vec::new();
        let holdings = self.stages.iter().flat_map(PlannedStage::holdings).collect();
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
            holdings,
            kill: self.kill,
            stall_after: self.stall_after,
            watch_every: self.watch_every,
        };
        let task = |source: StartedSource| SourceTask {
            stage: source.stage,
            probe: source.probe,
            settle: source.settle,
            companions: source.companions,
        };
        let sources = sources.into_iter().map(task).collect();
        Ok(Running::spawn(parts, tasks, sources))
    }
}

fn launch_stage(stage: PlannedStage, launch: &Launch, graph: &Graph) -> (StageProbe, StageFuture) {
    let PlannedStage { id, name, kind, launch: launcher, batch, reading, supervision, accounts, window } = stage;
    let outputs: Vec<_> = graph.outputs(id).collect();
    let times = StageClock::new(launch.clock.now(), &outputs);
    let counter = FlowCounter::default();
    let due = Due::default();
    let given = StageLaunch {
        pipeline: launch,
        id,
        name: Arc::clone(&name),
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
            slab_size: reading.slab_size,
            keep: reading.slabs,
        },
        encoding_account: accounts.encoding,
        batch,
        supervision,
        window,
    };
    let task = launcher(&given);
    (StageProbe { id, name, kind, clock: times, counter, due }, task)
}
