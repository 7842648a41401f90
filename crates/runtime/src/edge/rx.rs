//! [`EdgeRx`]: the consumer's end of an edge.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::queue::{Control, Load, Take};
use tidegate_flow::{Cause, Time};

use super::clock::EdgeClock;
use super::handle::EdgeHandle;
use super::park::block_on;
use super::pending::cooperate;
use super::shared::{After, Shared, store};
use super::sync::Arc;

/// What comes out of an edge.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<B> {
    /// A batch.
    Batch(B),
    /// A control message. It overtakes data.
    Control(Control),
    /// All producers are gone (or the edge was closed) and everything was received. Nothing else will come.
    Completed,
    /// A producer failed, and everything that was sent before was received. Nothing else will come.
    Failed(Cause),
}

/// What came out of an edge when several batches were asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// This many batches, at least one; they were appended.
    Batches(usize),
    /// A control message. It overtakes data.
    Control(Control),
    /// As [`Event::Completed`].
    Completed,
    /// As [`Event::Failed`].
    Failed(Cause),
}

/// The consumer's end of an edge. There is one.
///
/// # Cancel safety
/// Every receive takes a batch out only in the poll that returns it: dropping its future loses and repeats nothing.
///
/// Dropping this end cancels the edge: what is in it is dropped (unsettled tickets are then abandoned), and producers
/// get [`SendError::Closed`](super::SendError::Closed) with their batch still in its slot.
pub struct EdgeRx<B: Load> {
    shared: Arc<Shared<B>>,
    clock: std::sync::Arc<dyn EdgeClock>,
    after: After<B>,
}

impl<B: Load> EdgeRx<B> {
    pub(super) fn new(shared: Arc<Shared<B>>) -> Self {
        let clock = std::sync::Arc::clone(&shared.clock);
        Self { shared, clock, after: After::default() }
    }

    /// Receives what is next: control before data, the end after everything. After the end it says the end again.
    pub fn recv(&mut self) -> impl Future<Output = Event<B>> + '_ {
        poll_fn(|cx| cooperate(cx, |cx| self.poll_recv(cx)))
    }

    /// [`recv`](Self::recv) as a poll function.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Event<B>> {
        let now = self.clock.now();
        let taken = self.shared.step(&mut self.after, |state| {
            let taken = state.queue.take(now);
            if matches!(taken, Take::Empty) {
                store(&mut state.consumer, cx.waker());
            }
            taken
        });
        match taken {
            Take::Batch(mut batch) => {
                drop_expired(&mut batch, now);
                Poll::Ready(Event::Batch(batch))
            }
            Take::Control(message) => Poll::Ready(Event::Control(message)),
            Take::Completed => Poll::Ready(Event::Completed),
            Take::Failed(cause) => Poll::Ready(Event::Failed(cause)),
            Take::Empty => {
                self.clock.waiting_idle();
                Poll::Pending
            }
        }
    }

    /// Receives what is there, up to `max` batches under one lock, and appends them to `into`. Waits for the first.
    pub fn recv_up_to<'a>(
        &'a mut self,
        max: usize,
        into: &'a mut Vec<B>,
    ) -> impl Future<Output = Received> + use<'a, B> {
        poll_fn(move |cx| cooperate(cx, |cx| self.poll_recv_up_to(cx, max, into)))
    }

    /// [`recv_up_to`](Self::recv_up_to) as a poll function.
    pub fn poll_recv_up_to(&mut self, cx: &mut Context<'_>, max: usize, into: &mut Vec<B>) -> Poll<Received> {
        let now = self.clock.now();
        let before = into.len();
        let taken = self.shared.step(&mut self.after, |state| {
            let mut taken = state.queue.take(now);
            while let Take::Batch(batch) = taken {
                into.push(batch);
                let more = if into.len() - before < max { state.queue.take_batch(now) } else { None };
                taken = more.map_or(Take::Empty, Take::Batch);
            }
            if into.len() == before && matches!(taken, Take::Empty) {
                store(&mut state.consumer, cx.waker());
            }
            taken
        });
        into[before..].iter_mut().for_each(|batch| drop_expired(batch, now));
        match taken {
            Take::Control(message) => Poll::Ready(Received::Control(message)),
            Take::Completed => Poll::Ready(Received::Completed),
            Take::Failed(cause) => Poll::Ready(Received::Failed(cause)),
            Take::Batch(_) | Take::Empty if into.len() > before => Poll::Ready(Received::Batches(into.len() - before)),
            Take::Batch(_) | Take::Empty => {
                self.clock.waiting_idle();
                Poll::Pending
            }
        }
    }

    /// Receives what is there now; `None` where nothing is. The edge then counts its consumer as waiting.
    pub fn try_recv(&mut self) -> Option<Event<B>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.poll_recv(&mut cx) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    /// [`recv`](Self::recv) for a thread: parks it until there is something. Not for use inside a task.
    pub fn blocking_recv(&mut self) -> Event<B> {
        loop {
            if let Some(event) = block_on(|cx| self.poll_recv(cx), || None) {
                return event;
            }
        }
    }

    /// [`blocking_recv`](Self::blocking_recv) for at most `limit`; `None` when nothing came.
    pub fn blocking_recv_timeout(&mut self, limit: Duration) -> Option<Event<B>> {
        let clock = std::sync::Arc::clone(&self.clock);
        let deadline = clock.now() + limit;
        block_on(|cx| self.poll_recv(cx), || Some(deadline.since(clock.now())))
    }

    /// Takes no more in; what is in the edge can still be received, and then the end.
    pub fn close(&mut self) {
        self.shared.step(&mut self.after, |state| state.queue.close());
    }

    /// Reads the time from `clock` and tells it what this end waits for. Same epoch as the edge's own clock.
    pub fn set_clock(&mut self, clock: std::sync::Arc<dyn EdgeClock>) {
        self.clock = clock;
    }

    /// The name of the edge.
    #[must_use]
    pub fn name(&self) -> std::sync::Arc<str> {
        std::sync::Arc::clone(&self.shared.name)
    }
}

impl<B: Load + Send + 'static> EdgeRx<B> {
    /// Looks at the edge from outside.
    #[must_use]
    pub fn handle(&self) -> EdgeHandle {
        EdgeHandle::new(&self.shared)
    }
}

/// Drops the rows that the edge has settled as expired at `now`. Not under its lock: dropping may run any code.
#[inline]
fn drop_expired<B: Load>(batch: &mut B, now: Time) {
    if batch.earliest().is_some_and(|earliest| earliest <= now) {
        batch.drop_expired(now);
    }
}

impl<B: Load> Drop for EdgeRx<B> {
    fn drop(&mut self) {
        let now = self.clock.now();
        let batches = self.shared.step(&mut self.after, |state| state.queue.cancel_consumer(now));
        // Dropped without the lock: what a batch does when it is dropped is not the edge's business.
        drop(batches);
    }
}
