//! [`Beside`]: work beside the stages of a pipeline that outlives them: it ends when nothing of theirs is left to do.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::drain::KillSwitch;
use crate::durable::LogTrouble;

/// Work beside the stages of one pipeline. Clones are the same.
#[derive(Clone)]
pub(crate) struct Beside {
    pub(crate) clock: Clock,
    /// The switch that shuts the intake of the pipeline.
    kill: KillSwitch,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when some work has ended.
    ended: Notify,
}

#[derive(Default)]
struct State {
    running: usize,
    tasks: Vec<AbortHandle>,
    looks: Vec<(Arc<str>, Weak<dyn Troubled>)>,
}

/// What can say why it waits.
pub(crate) trait Troubled: Send + Sync {
    /// Why it does not do its work now. `None`: it does.
    fn trouble(&self) -> Option<LogTrouble>;
}

/// Counts work that has ended, however it did.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ended.notify_waiters();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beside {
    pub(crate) fn new(clock: Clock, kill: KillSwitch) -> Self {
        Self { clock, kill, shared: Arc::default() }
    }

    /// Whether the pipeline was told to stop reading.
    pub(crate) fn is_stopping(&self) -> bool {
        self.kill.is_shut()
    }

    /// Starts work for the component `name`, which can be asked why it waits. Says whether there is a runtime to start it
    /// in.
    pub(crate) fn start(
        &self,
        name: &Arc<str>,
        look: Weak<dyn Troubled>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let mut state = self.shared.lock();
        state.running += 1;
        let running = Running(Arc::clone(&self.shared));
        let task = runtime.spawn(async move {
            work.await;
            drop(running);
        });
        state.tasks.retain(|task| !task.is_finished());
        state.tasks.push(task.abort_handle());
        state.looks.retain(|(_, look)| look.strong_count() > 0);
        state.looks.push((Arc::clone(name), look));
        true
    }

    /// Completes when all work has ended. Cancel-safe.
    pub(crate) async fn done(&self) {
        loop {
            let ended = self.shared.ended.notified();
            if self.shared.lock().running == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Ends all work now.
    pub(crate) fn abort(&self) {
        self.shared.lock().tasks.iter().for_each(AbortHandle::abort);
    }

    /// Whose work waits, and why.
    pub(crate) fn troubles(&self) -> Vec<(Arc<str>, LogTrouble)> {
        let looks = self.shared.lock().looks.clone();
        let trouble = |(name, look): (Arc<str>, Weak<dyn Troubled>)| Some((name, look.upgrade()?.trouble()?));
        looks.into_iter().filter_map(trouble).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fine;

    impl Troubled for Fine {
        fn trouble(&self) -> Option<LogTrouble> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_done_when_the_last_work_has_ended_or_was_ended() {
        let beside = Beside::new(Clock::new(), KillSwitch::new());
        let look: Arc<dyn Troubled> = Arc::new(Fine);
        beside.done().await;
        let go = Arc::new(Notify::new());
        let waits = Arc::clone(&go);
        beside.start(&Arc::from("one"), Arc::downgrade(&look), async move { waits.notified().await });
        assert!(futures_util::poll!(std::pin::pin!(beside.done())).is_pending());
        assert!(beside.troubles().is_empty());
        go.notify_one();
        beside.done().await;
        beside.start(&Arc::from("two"), Arc::downgrade(&look), std::future::pending());
        beside.abort();
        beside.done().await;
    }
}
