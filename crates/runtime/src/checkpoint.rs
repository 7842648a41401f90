//! Checkpoints: the state of a step saved beside the data path, so that it survives the process.
//!
//! ```text
//! step --changes--> State <--puts itself down-- keeper (a task) --> blocking thread: write, sync, rename, sync
//!                     ^------ written: settles what the checkpoint holds ------|
//! ```
//!
//! * The **state** is shared by the step and its keeper, behind a lock of its own. It is put down under that lock, in
//!   memory, on the blocking thread: no other stage waits for that. The disk is waited for without the lock.
//! * The **keeper** saves when something has changed and the period is over, sooner when the state is urgent, and when
//!   the step is gone. It is a task beside the stages: the pipeline is not at its end before it is.
//! * A save that fails is tried again after a second, for as long as the pipeline runs. What the state holds back
//!   meanwhile stays unsettled, so that its sources wait: a full disk is pressure, never a loss.
//!
//! The file is that of [`tidegate_store::checkpoint`].

mod keep;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate_flow::{Bytes, Cause, Time};
use tidegate_store::Disk;
use tokio::sync::Notify;

use crate::beside::Troubled;
use crate::context::StageContext;
use crate::durable::{LogTrouble, WallClock};

/// What a checkpoint is of. Called by one keeper at a time; what takes long, on a thread that may block.
pub trait State: Send + Sync + 'static {
    /// Takes over what was saved; called once, before anything else, and only where something was. On a thread that may
    /// block.
    ///
    /// # Errors
    /// It is not what this state puts down. The state is empty then, and the checkpoint is set aside.
    fn restore(&self, saved: Restored<'_>) -> Result<(), String>;

    /// Whether it differs from what was put down last.
    fn is_changed(&self) -> bool;

    /// Whether it is to be saved before its time: what waits for it is much.
    fn is_urgent(&self) -> bool {
        false
    }

    /// Puts itself down at the end of `into`, as it is `now`, by the clock of the pipeline. On a thread that may block.
    fn put_down(&self, now: Time, into: &mut Vec<u8>);

    /// What was put down last is durable, or is not: then it counts as changed.
    fn written(&self, durable: bool);

    /// Whether it may still change when its step is gone: it waits to hear of something.
    fn is_awaiting(&self) -> bool {
        false
    }
}

/// What was saved.
#[derive(Copy, Clone, Debug)]
pub struct Restored<'a> {
    /// What the state put down.
    pub bytes: &'a [u8],
    /// How long ago, by the clock of the day; nothing where that went back.
    pub age: Duration,
    /// The time now, by the clock of the pipeline.
    pub now: Time,
}

/// Something to be counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CheckpointEvent {
    /// The disk failed; it is tried again.
    Failed,
    /// A checkpoint that could not be read was set aside, and the state began empty.
    SetAside,
}

/// A checkpoint, before its step is opened.
pub struct CheckpointSpec<D> {
    disk: Box<dyn FnMut() -> io::Result<D> + Send>,
    form: u32,
    most: Bytes,
    period: Duration,
    wall: WallClock,
    on_event: Box<dyn Fn(CheckpointEvent) + Send>,
}

impl<D: Disk> CheckpointSpec<D> {
    /// A checkpoint of the form `form` on the disk that `disk` finds, asked again while it fails; of at most `most` bytes,
    /// saved every `period`.
    pub fn new(
        disk: impl FnMut() -> io::Result<D> + Send + 'static,
        form: u32,
        most: Bytes,
        period: Duration,
        wall: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { disk: Box::new(disk), form, most, period, wall: Arc::new(wall), on_event: Box::new(|_| ()) }
    }

    /// Calls this of every event. It must not block.
    #[must_use]
    pub fn on_event(mut self, call: impl Fn(CheckpointEvent) + Send + 'static) -> Self {
        self.on_event = Box::new(call);
        self
    }

    /// Starts to keep `state` for the component `name`: reads what is there, and saves from then on. To be called when
    /// the step is opened, within the runtime of the pipeline; outside of one nothing is ever saved or settled.
    pub fn keep(self, name: &str, state: Arc<dyn State>, cx: &StageContext) -> Keeper {
        let shared = Arc::new(Shared::default());
        let clock = cx.beside.clock;
        let task = keep::Keep { shared: Arc::clone(&shared), spec: self, state, clock };
        let weak = Arc::downgrade(&shared);
        let look: Weak<dyn Troubled> = weak;
        if !cx.beside.start(&Arc::from(name), look, task.run()) {
            shared.enter(Life::Open);
        }
        Keeper { shared }
    }
}

/// The step's side of a checkpoint. Dropped, it says that the step is gone: the state is saved a last time when nothing
/// can change it any more.
pub struct Keeper {
    shared: Arc<Shared>,
}

/// Tells the keeper that there is something to save. Clones are the same.
#[derive(Clone)]
pub struct Bell(Arc<Shared>);

impl Bell {
    /// Has the keeper look at the state: it has changed, or has become urgent, or is not awaited any more.
    pub fn ring(&self) {
        self.0.bell.notify_one();
    }
}

impl Keeper {
    /// Whether the state may be used: what was saved has been read. Otherwise `task` is woken when it may be.
    ///
    /// # Errors
    /// It never will be.
    pub fn poll_open(&self, task: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let mut inner = self.shared.lock();
        match &inner.life {
            Life::Open => Poll::Ready(Ok(())),
            Life::Failed(cause) => Poll::Ready(Err(cause.clone())),
            Life::Opening => {
                inner.waker = Some(task.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the state may be used now.
    ///
    /// # Errors
    /// It never will be.
    pub fn is_open(&self) -> Result<bool, Cause> {
        match &self.shared.lock().life {
            Life::Open => Ok(true),
            Life::Opening => Ok(false),
            Life::Failed(cause) => Err(cause.clone()),
        }
    }

    /// What tells the keeper.
    #[must_use]
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.shared))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().step_is_gone = true;
        self.shared.bell.notify_one();
    }
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    bell: Notify,
}

#[derive(Default)]
struct Inner {
    life: Life,
    /// Of the step, while it waits for the state.
    waker: Option<Waker>,
    step_is_gone: bool,
    /// Why nothing is saved.
    trouble: Option<String>,
    /// What was set aside.
    set_aside: Option<String>,
}

#[derive(Default)]
enum Life {
    #[default]
    Opening,
    Open,
    Failed(Cause),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, life: Life) {
        let mut inner = self.lock();
        inner.life = life;
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    fn step_is_gone(&self) -> bool {
        self.lock().step_is_gone
    }

    /// Forgets what was set aside when it is `until`; otherwise says that it has to be done.
    fn say_no_longer(&self, now: Time, until: Time) -> Option<Time> {
        let mut inner = self.lock();
        if now >= until {
            inner.set_aside = None;
        }
        inner.set_aside.as_ref().map(|_| until)
    }

    fn note(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }
}

impl Troubled for Shared {
    fn trouble(&self) -> Option<LogTrouble> {
        let inner = self.lock();
        let failed = match &inner.life {
            Life::Failed(cause) => Some(cause.to_string()),
            Life::Opening | Life::Open => None,
        };
        let words = failed.or_else(|| inner.trouble.clone()).or_else(|| inner.set_aside.clone())?;
        Some(LogTrouble { words, is_fault: true })
    }
}

#[cfg(test)]
mod tests;
