//! [`Alarm`]: the first failure of a pipeline, and what it stops.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use tidegate_flow::graph::Branch;
use tidegate_flow::{Cause, Graph, StageKind};

use super::PipelineEnd;
use crate::build::SettleFuture;
use crate::context::panic_nack;
use crate::drain::KillSwitch;
use crate::stage::StageEnd;

/// Hears of the first failure. It stops the pipeline: every source ends as if its input had.
#[derive(Clone)]
pub(super) struct Alarm {
    kill: KillSwitch,
    first: Arc<OnceLock<PipelineEnd>>,
}

impl Alarm {
    pub(super) fn new(kill: KillSwitch) -> Self {
        Self { kill, first: Arc::default() }
    }

    /// The first failure, if there was one.
    pub(super) fn raised(&self) -> Option<PipelineEnd> {
        self.first.get().cloned()
    }

    pub(super) fn note(&self, stage: &str, cause: &Cause) {
        // Only the first counts.
        drop(self.first.set(PipelineEnd::Failed { stage: stage.to_string(), cause: cause.clone() }));
    }

    /// Runs a stage. A failure on a branch that nobody requires is noted, and stops nothing.
    pub(super) async fn watch<F: Future<Output = StageEnd>>(
        self,
        name: Arc<str>,
        stops_all: bool,
        stage: F,
    ) -> StageEnd {
        let end = stage.await;
        if let StageEnd::Failed(cause) = &end {
            self.note(&name, cause);
            if stops_all {
                self.kill.shut();
            }
        }
        end
    }

    /// Runs the task that tells a source what was settled. Where its committer panics the source could never commit
    /// again, and nobody would know.
    pub(super) async fn watch_settling(self, name: Arc<str>, settling: SettleFuture) {
        if let Err(panic) = AssertUnwindSafe(settling).catch_unwind().await {
            self.note(&name, &Cause::from(format!("its committer {}", panic_nack(&*panic).cause)));
            self.kill.shut();
        }
    }
}

/// For each stage whether records that somebody requires pass through it: it is reached from a source without a
/// best-effort branch on the way.
pub(super) fn required_stages(graph: &Graph) -> Vec<bool> {
    let mut required: Vec<bool> = graph.stages().iter().map(|stage| stage.kind == StageKind::Source).collect();
    let mut open: Vec<usize> = (0..required.len()).filter(|stage| required[*stage]).collect();
    while let Some(stage) = open.pop() {
        let ports = graph.stages()[stage].outputs.iter().filter(|port| port.branch == Branch::Required);
        for consumer in ports.filter_map(|port| graph.edge(port.edge?).to) {
            if !std::mem::replace(&mut required[consumer.index()], true) {
                open.push(consumer.index());
            }
        }
    }
    required
}
