//! What both ends of an edge share: the queue and the wakers behind one lock.

use std::task::Waker;

use tidegate_flow::queue::{Load, ProducerId, Queue};

use super::clock::{EdgeBudget, EdgeClock};
use super::sync::{Arc, Mutex, lock};

/// The most pressure watches on one edge.
pub const MAX_WATCHES: usize = 64;

/// One edge.
pub(super) struct Shared<B> {
    state: Mutex<State<B>>,
    pub(super) name: std::sync::Arc<str>,
    pub(super) clock: std::sync::Arc<dyn EdgeClock>,
    pub(super) budget: Option<std::sync::Arc<dyn EdgeBudget<B>>>,
}

/// What the lock protects.
pub(super) struct State<B> {
    pub(super) queue: Queue<B>,
    pub(super) consumer: Option<Waker>,
    producers: Vec<Option<Waker>>,
    /// One entry for each watch; the outer option says whether the watch is alive.
    pub(super) watches: Vec<Option<Option<Waker>>>,
}

impl<B: Load> Shared<B> {
    pub(super) fn new(
        queue: Queue<B>,
        clock: std::sync::Arc<dyn EdgeClock>,
        budget: Option<std::sync::Arc<dyn EdgeBudget<B>>>,
    ) -> Arc<Self> {
        let name = std::sync::Arc::clone(queue.name());
        let state = State { queue, consumer: None, producers: Vec::new(), watches: Vec::new() };
        Arc::new(Self { state: Mutex::new(state), name, clock, budget })
    }

    /// One operation: does `step` under the lock, and after the lock is released wakes whom it says and drops what is
    /// gone.
    #[inline]
    pub(super) fn step<R>(&self, after: &mut After<B>, step: impl FnOnce(&mut State<B>) -> R) -> R {
        let mut state = lock(&self.state);
        let answer = step(&mut state);
        state.collect(after);
        drop(state);
        after.unlocked();
        answer
    }

    /// An operation by someone who has no list of his own.
    pub(super) fn step_once<R>(&self, step: impl FnOnce(&mut State<B>) -> R) -> R {
        self.step(&mut After::default(), step)
    }
}

impl<B: Load> State<B> {
    /// Remembers whom to wake when the wait of `id` is over. The last one counts.
    pub(super) fn park_producer(&mut self, id: ProducerId, waker: &Waker) {
        let index = id.index();
        if self.producers.len() <= index {
            self.producers.resize(index + 1, None);
        }
        store(&mut self.producers[index], waker);
    }

    /// Moves the wakers of all who have to be woken into `after`, and what is gone.
    #[inline]
    fn collect(&mut self, after: &mut After<B>) {
        if !self.queue.gone().is_empty() {
            // What `after` holds is empty: the two change places, so that neither has to be allocated again.
            std::mem::swap(self.queue.gone(), &mut after.gone);
        }
        let todo = self.queue.wakes();
        if todo.is_empty() {
            return;
        }
        if std::mem::take(&mut todo.consumer) {
            after.wakers.extend(self.consumer.take());
        }
        if std::mem::take(&mut todo.watchers) {
            after.wakers.extend(self.watches.iter_mut().flatten().filter_map(Option::take));
        }
        for id in todo.producers.drain(..) {
            after.wakers.extend(self.producers.get_mut(id.index()).and_then(Option::take));
        }
    }
}

/// Keeps `waker`, without cloning one that is there already.
pub(super) fn store(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) if kept.will_wake(waker) => {}
        Some(_) | None => *place = Some(waker.clone()),
    }
}

/// What is done once the lock is released, because it may run any code: wakers are called, and what was shed is dropped.
/// Each end keeps its lists, so that they are allocated once.
pub(super) struct After<B> {
    wakers: Vec<Waker>,
    gone: Vec<B>,
}

impl<B> Default for After<B> {
    fn default() -> Self {
        Self { wakers: Vec::new(), gone: Vec::new() }
    }
}

impl<B> After<B> {
    #[inline]
    fn unlocked(&mut self) {
        if !self.wakers.is_empty() {
            self.wakers.drain(..).for_each(Waker::wake);
        }
        if !self.gone.is_empty() {
            self.gone.clear();
        }
    }
}
