//! An edge seen from outside: [`EdgeHandle`], and [`PressureWatch`] for those who want to hear of pressure.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_flow::Weight;
use tidegate_flow::queue::{Control, ControlFull, Level, Load, Snapshot};

use super::error::TooManyWatches;
use super::shared::{MAX_WATCHES, Shared, store};
use super::sync;

/// Looks at an edge and steers it, without being one of its ends and whatever it carries. It does not keep the edge
/// open.
#[derive(Clone)]
pub struct EdgeHandle {
    edge: Arc<dyn Observed>,
}

impl EdgeHandle {
    pub(super) fn new<B: Load + Send + 'static>(shared: &sync::Arc<Shared<B>>) -> Self {
        Self { edge: Arc::new(OfType(sync::Arc::clone(shared))) }
    }

    /// The name of the edge.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.edge.name()
    }

    /// Everything there is to see, at one instant. Looks at the residence mark too, so that a steady look at an edge
    /// is enough to notice one whose consumer has stopped.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.edge.snapshot()
    }

    /// How pressured the edge is.
    #[must_use]
    pub fn pressure(&self) -> Level {
        self.edge.level()
    }

    /// Sets the window, at least one record and one byte. A smaller one revokes nothing: until
    /// [`Snapshot::allowed`] has come down, the edge may still hold as much as before.
    pub fn set_window(&self, window: Weight) {
        self.edge.set_window(window);
    }

    /// Sends a control message to the consumer.
    ///
    /// # Errors
    /// The message, where the control lane is full.
    pub fn send_control(&self, message: Control) -> Result<(), ControlFull> {
        self.edge.send_control(message)
    }

    /// Lets producers that the budget had refused try again. Not to be called from where a batch is charged: that is
    /// under the lock of this edge.
    pub fn budget_freed(&self) {
        self.edge.budget_freed();
    }

    /// Hears of every change of pressure.
    ///
    /// # Errors
    /// Where the edge has as many watches as it may have.
    pub fn watch(&self) -> Result<PressureWatch, TooManyWatches> {
        match self.edge.add_watch() {
            Some((index, seen)) => Ok(PressureWatch { edge: Arc::clone(&self.edge), index, seen }),
            None => Err(TooManyWatches { edge: self.name(), limit: MAX_WATCHES }),
        }
    }
}

/// Hears of changes of one edge's pressure. An edge has at most 64.
pub struct PressureWatch {
    edge: Arc<dyn Observed>,
    index: usize,
    seen: u64,
}

impl PressureWatch {
    /// The level now.
    #[must_use]
    pub fn level(&self) -> Level {
        self.edge.level()
    }

    /// Waits until the level has moved since this watch was made or last answered, and gives the level it has then.
    /// Several moves may be answered by one; `None` when the edge has ended. Cancel-safe: a move is not missed.
    pub fn changed(&mut self) -> impl Future<Output = Option<Level>> + '_ {
        poll_fn(|cx| self.poll_changed(cx))
    }

    /// [`changed`](Self::changed) as a poll function.
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Level>> {
        self.edge.poll_watch(self.index, &mut self.seen, cx)
    }
}

impl Drop for PressureWatch {
    fn drop(&mut self) {
        self.edge.remove_watch(self.index);
    }
}

/// What can be done to an edge from outside, whatever it carries.
trait Observed: Send + Sync {
    fn name(&self) -> Arc<str>;
    fn snapshot(&self) -> Snapshot;
    fn level(&self) -> Level;
    fn set_window(&self, window: Weight);
    fn send_control(&self, message: Control) -> Result<(), ControlFull>;
    fn budget_freed(&self);
    /// The place of a new watch and the number of moves so far; `None` where there are as many as there may be.
    fn add_watch(&self) -> Option<(usize, u64)>;
    fn remove_watch(&self, index: usize);
    fn poll_watch(&self, index: usize, seen: &mut u64, cx: &mut Context<'_>) -> Poll<Option<Level>>;
}

/// An edge of a known type.
struct OfType<B>(sync::Arc<Shared<B>>);

impl<B: Load + Send + 'static> Observed for OfType<B> {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    fn snapshot(&self) -> Snapshot {
        let now = self.0.clock.now();
        self.0.step_once(|state| state.queue.snapshot(now))
    }

    fn level(&self) -> Level {
        let now = self.0.clock.now();
        self.0.step_once(|state| state.queue.level(now))
    }

    fn set_window(&self, window: Weight) {
        let now = self.0.clock.now();
        self.0.step_once(|state| state.queue.set_window(now, window));
    }

    fn send_control(&self, message: Control) -> Result<(), ControlFull> {
        self.0.step_once(|state| state.queue.send_control(message))
    }

    fn budget_freed(&self) {
        self.0.step_once(|state| state.queue.budget_freed());
    }

    fn add_watch(&self) -> Option<(usize, u64)> {
        self.0.step_once(|state| {
            let free = state.watches.iter().position(Option::is_none);
            let index = free.unwrap_or(state.watches.len());
            if index == MAX_WATCHES {
                return None;
            }
            if index == state.watches.len() {
                state.watches.push(None);
            }
            state.watches[index] = Some(None);
            Some((index, state.queue.transitions()))
        })
    }

    fn remove_watch(&self, index: usize) {
        self.0.step_once(|state| state.watches[index] = None);
    }

    fn poll_watch(&self, index: usize, seen: &mut u64, cx: &mut Context<'_>) -> Poll<Option<Level>> {
        let now = self.0.clock.now();
        self.0.step_once(|state| {
            let level = state.queue.level(now);
            let moves = state.queue.transitions();
            if moves != *seen {
                *seen = moves;
                return Poll::Ready(Some(level));
            }
            if state.queue.is_ended() {
                return Poll::Ready(None);
            }
            if let Some(place) = &mut state.watches[index] {
                store(place, cx.waker());
            }
            Poll::Pending
        })
    }
}
