//! [`Script`]: a source of any payload that gives what a test pushes, and keeps what it was told.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_flow::{Cause, Payload as _, Settled, Weight};
use tidegate_runtime::{Committer, Pull, Readiness, Source};
use tokio::sync::watch;

use super::{READ, Traffic};

/// The script of a source, in the hands of a check. Clones are the same.
pub struct Script<T: Traffic>(pub(super) Arc<Shared<T>>);

pub(super) struct Shared<T: Traffic> {
    state: Mutex<State<T::Payload>>,
    changes: watch::Sender<u64>,
}

struct State<P> {
    reads: VecDeque<P>,
    ended: bool,
    read: u64,
    settled: Vec<Settled<u64>>,
}

impl<T: Traffic> Script<T> {
    pub(super) fn new() -> Self {
        let state = State { reads: VecDeque::new(), ended: false, read: 0, settled: Vec::new() };
        Self(Arc::new(Shared { state: Mutex::new(state), changes: watch::Sender::new(0) }))
    }

    pub(super) fn source(&self) -> ScriptSource<T> {
        ScriptSource(Self(Arc::clone(&self.0)))
    }

    /// Lets the records of these numbers be read, [`READ`] at a time.
    pub(super) fn push(&self, numbers: Range<u64>) {
        let mut first = numbers.start;
        while first < numbers.end {
            let end = numbers.end.min(first + READ);
            self.push_batch(T::records(first..end));
            first = end;
        }
    }

    /// Lets these be read at once.
    pub(super) fn push_batch(&self, batch: T::Payload) {
        self.change(|state| state.reads.push_back(batch));
    }

    /// Ends behind what was pushed.
    pub(super) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// What it was told so far.
    pub(super) fn settled(&self) -> Vec<Settled<u64>> {
        self.lock().settled.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State<T::Payload>)) {
        change(&mut self.lock());
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State<T::Payload>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source that follows a [`Script`]; its position is the number of records read.
pub struct ScriptSource<T: Traffic>(Script<T>);

impl<T: Traffic> std::fmt::Debug for ScriptSource<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptSource")
    }
}

impl<T: Traffic> Source for ScriptSource<T> {
    type Payload = T::Payload;
    type Position = u64;
    type Committer = Told<T>;

    fn committer(&mut self) -> Told<T> {
        Told(Script(Arc::clone(&self.0.0)))
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        let mut changes = self.0.0.changes.subscribe();
        loop {
            {
                let state = self.0.lock();
                if !state.reads.is_empty() {
                    return Ok(Readiness::Ready);
                }
                if state.ended {
                    return Ok(Readiness::Ended);
                }
            }
            // The sender is in `self`.
            drop(changes.changed().await);
        }
    }

    fn read(&mut self, room: Weight, spare: T::Payload) -> Result<Pull<T::Payload, u64>, Cause> {
        let mut state = self.0.lock();
        let mut payload = state.reads.pop_front().unwrap_or(spare);
        if payload.weight().records > room.records {
            let rest = payload.split_off(room.records);
            state.reads.push_front(rest);
        }
        state.read += payload.weight().records.get();
        Ok(Pull { payload, position: Some(state.read) })
    }
}

/// Keeps what the source is told.
pub struct Told<T: Traffic>(Script<T>);

impl<T: Traffic> Committer<u64> for Told<T> {
    async fn settled(&mut self, settled: Settled<u64>) {
        self.0.change(|state| state.settled.push(settled));
    }
}
