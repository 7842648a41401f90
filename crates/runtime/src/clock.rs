//! Time in the runtime: the pipeline's clock, and the wrapper that accounts for every moment of a stage's task.
//!
//! Clock reads: one when a task is polled, one when the poll ends, one when the task is woken. What waits inside a
//! poll says so through [`waiting`] just before it returns pending; the rest is arithmetic in `tidegate_flow`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tidegate_flow::{EdgeId, StageClock, Time, Wait};
use tokio::time::Instant;

use crate::edge::EdgeClock;

/// The pipeline's clock: nanoseconds since it was made, from the runtime's time source (virtual in tests).
#[derive(Copy, Clone, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { epoch: Instant::now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from(self.epoch.elapsed())
    }

    /// Completes at `at`. Cancel-safe.
    pub async fn sleep_until(&self, at: Time) {
        tokio::time::sleep_until(self.epoch + at.since(Time::ZERO)).await;
    }
}

/// Runs `future`, and tells the stage's clock what it waits for whenever it cannot go on.
pub(crate) async fn waiting<F: Future>(clock: &StageClock, wait: Wait, future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|task| {
        let poll = future.as_mut().poll(task);
        if poll.is_pending() {
            clock.will_wait(wait);
        }
        poll
    })
    .await
}

/// A stage's task with its time accounted for.
pub(crate) struct Timed<F> {
    future: Pin<Box<F>>,
    stage: StageClock,
    clock: Clock,
    waker: Option<(Waker, Waker)>,
}

impl<F: Future> Timed<F> {
    pub(crate) fn new(future: F, stage: StageClock, clock: Clock) -> Self {
        Self { future: Box::pin(future), stage, clock, waker: None }
    }

    /// The waker to hand down: it stamps the time and wakes the task. Made anew only when the task's own changes.
    fn stamping(&mut self, task: &Waker) -> Waker {
        match &self.waker {
            Some((outer, inner)) if outer.will_wake(task) => inner.clone(),
            _ => {
                let stamp = Stamp { task: task.clone(), stage: self.stage.clone(), clock: self.clock };
                let inner = Waker::from(Arc::new(stamp));
                self.waker = Some((task.clone(), inner.clone()));
                inner
            }
        }
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if cfg!(tidegate_unmetered) {
            return this.future.as_mut().poll(task);
        }
        let waker = this.stamping(task.waker());
        this.stage.poll_started(this.clock.now());
        let poll = this.future.as_mut().poll(&mut Context::from_waker(&waker));
        match &poll {
            Poll::Ready(_) => this.stage.finished(this.clock.now()),
            Poll::Pending => this.stage.poll_ended(this.clock.now()),
        }
        poll
    }
}

/// A waker that notes when the stage was woken.
struct Stamp {
    task: Waker,
    stage: StageClock,
    clock: Clock,
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.stage.woken(self.clock.now());
        self.task.wake_by_ref();
    }
}

/// Lets an edge read the time that its stage read, and tells the stage's clock what the edge makes it wait for.
pub(crate) fn edge_clock(times: &StageClock, edge: EdgeId) -> Arc<dyn EdgeClock> {
    Arc::new(StageEdgeClock { times: times.clone(), edge })
}

struct StageEdgeClock {
    times: StageClock,
    edge: EdgeId,
}

impl EdgeClock for StageEdgeClock {
    fn now(&self) -> Time {
        self.times.now()
    }

    fn waiting_blocked(&self) {
        self.times.will_wait(Wait::Blocked(self.edge));
    }

    fn waiting_budget(&self) {
        self.times.will_wait(Wait::Budget);
    }

    fn waiting_idle(&self) {
        self.times.will_wait(Wait::Idle);
    }
}
