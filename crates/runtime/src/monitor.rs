//! What watches a running pipeline: who limits it, and whether it stands still.
//!
//! One task looks at every stage and edge at a steady pace (once a second, see [`PipelineBuilder::watch_every`]). From
//! what it has seen, [`View::bottleneck`] speaks of the last ten looks rather than of the whole run, and the stall
//! detector says when work waits, nothing moves and there is no known cause. The task sleeps between two looks, so it
//! costs nothing in between, and it ends with the pipeline.
//!
//! [`PipelineBuilder::watch_every`]: crate::PipelineBuilder::watch_every

mod history;
mod stalls;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tidegate_flow::blame::{FlowPicture, Verdict, bottleneck};
use tidegate_flow::stall::{EdgeObservation, StageObservation, StallEvent};
use tidegate_flow::{Cause, EdgeId, Records, StageId, Time};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use self::history::{History, Picture, Sample};
use self::stalls::Stalls;
use crate::running::View;

pub use self::stalls::StallWatch;

/// What was seen of a pipeline so far.
pub(crate) struct Watched {
    history: Mutex<History>,
    stalls: Mutex<Stalls>,
}

impl Watched {
    pub(crate) fn new(stall_after: Duration, every: Duration) -> Self {
        Self { history: Mutex::new(History::new(every)), stalls: Mutex::new(Stalls::new(stall_after)) }
    }
}

/// The task that watches.
pub(crate) struct Monitor {
    task: JoinHandle<()>,
}

impl Monitor {
    pub(crate) fn spawn(view: &Arc<View>, every: Duration) -> Self {
        lock(&view.watched.history).add(view.sample());
        Self { task: tokio::spawn(watch(Arc::downgrade(view), every)) }
    }

    /// Ends the watch; whoever waits for a stall hears that there will be none.
    pub(crate) fn stop(&mut self, view: &View) {
        self.task.abort();
        lock(&view.watched.stalls).close();
    }
}

async fn watch(view: Weak<View>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    // A runtime that was too busy to look in time must not be made to look several times at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(view) = view.upgrade() else { return };
        view.look();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl View {
    /// What limits the pipeline now, as data, and as one sentence when displayed. It speaks of the last ten looks of
    /// the monitor (10 s by default), or of the time since the start where that is less.
    #[must_use]
    pub fn bottleneck(&self) -> Verdict {
        let picture = lock(&self.watched.history).recent(self.sample());
        self.judge(&picture)
    }

    /// What limited the pipeline from its start until now.
    #[must_use]
    pub fn bottleneck_overall(&self) -> Verdict {
        let picture = lock(&self.watched.history).overall(self.sample());
        self.judge(&picture)
    }

    /// The stalls that are going on: work that waits, does not move and has no known cause. As fresh as the last look
    /// of the monitor.
    #[must_use]
    pub fn stalls(&self) -> Vec<StallEvent> {
        lock(&self.watched.stalls).open()
    }

    /// Hears of every stall that begins or ends from now on.
    #[must_use]
    pub fn watch_stalls(&self) -> StallWatch {
        lock(&self.watched.stalls).subscribe()
    }

    /// Whether no stall is going on: the answer to a health check that alerts somebody. It is no reason to restart
    /// the process: what stands still is often a remote.
    #[must_use]
    pub fn is_progressing(&self) -> bool {
        !lock(&self.watched.stalls).is_stalled()
    }

    fn judge(&self, picture: &Picture) -> Verdict {
        let verdict = bottleneck(&FlowPicture { graph: self.graph(), stages: &picture.stages, edges: &picture.edges });
        let now = self.now();
        verdict.because(&|stage| self.trouble_of(stage, now))
    }

    /// Why a sink is refused now, and for how long.
    fn trouble_of(&self, stage: StageId, now: Time) -> Option<(Cause, Duration)> {
        let probe = self.parts.stages.iter().find(|probe| probe.id == stage)?;
        let facts = probe.refusals.facts(&probe.name);
        let since = facts.since?;
        facts.last.map(|last| (last.cause, now.since(since)))
    }

    /// Takes in how everything is now.
    fn look(&self) {
        let sample = self.sample();
        self.look_for_stalls(&sample);
        lock(&self.watched.history).add(sample);
    }

    fn sample(&self) -> Sample {
        Sample::new(self.now(), self.times(), &self.edges())
    }

    fn look_for_stalls(&self, sample: &Sample) {
        let observed = self.parts.stages.iter().zip(sample.stages());
        let stages: Vec<StageObservation> = observed
            .map(|(probe, times)| StageObservation {
                has_work: probe.counter.snapshot().held > Records::ZERO,
                calling: probe.due.is_calling(),
                finished: times.finished,
                // What is due now may end a moment after this look.
                deadline: probe.due.get().map(|due| due + self.parts.watch_every),
                ..StageObservation::new(probe.id, probe.clock.progress(), times.state)
            })
            .collect();
        let fills = sample.fills().enumerate();
        let edges: Vec<EdgeObservation> =
            fills.map(|(index, fill)| EdgeObservation { id: EdgeId::at(index), fill }).collect();
        lock(&self.watched.stalls).observe(sample.at(), self.graph(), &stages, &edges);
    }
}
