//! [`Flow::into_stream`]: the way out of a pipeline into a `futures` stream.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use tidegate_flow::{Items, Meta, Nack, Weigh};

use crate::build::Flow;
use crate::egress::{Accepted, Sink};
use crate::stage::Inlet;
use crate::transform::Transform;

impl<I, U, V> Flow<I, U, V>
where
    I: Inlet,
    U: Transform<I::Payload>,
{
    /// Ends in a stream that the application reads. Pulling is demand: a batch is taken from the last edge when the
    /// one before it was handed out. A record counts as delivered when the next one is asked for.
    ///
    /// The stream ends when the pipeline does. Dropping it cancels the flow; what was not handed out, and the last
    /// record that was, go back to their source. A pipeline completes only when its stream was read to the end or
    /// dropped, so read it in another task than the one that waits.
    pub fn into_stream<T>(self, name: &str) -> FlowStream<T>
    where
        T: Weigh + Send + 'static,
        V: Transform<U::Out, Out = Items<T>>,
    {
        let hand = Hand { shared: Arc::new(Mutex::new(State::new())) };
        self.sink(name, StreamSink { hand: hand.clone() });
        FlowStream { hand }
    }
}

/// What the sink and the stream share.
struct Hand<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// The batch that is being handed out.
struct State<T> {
    rows: VecDeque<T>,
    /// Records of this batch whose fate is known: the next one was asked for, or they were refused.
    confirmed: u32,
    /// Whether a record was handed out and is not confirmed.
    out: bool,
    refused: Vec<(u32, Nack)>,
    /// Neither end is there any more: the sink has none to give, or the stream takes none.
    ended: bool,
    dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<T> State<T> {
    const fn new() -> Self {
        Self {
            rows: VecDeque::new(),
            confirmed: 0,
            out: false,
            refused: Vec::new(),
            ended: false,
            dropped: false,
            reader: None,
            writer: None,
        }
    }

    /// The record that was handed out last is settled, as refused if there is a nack. Wakes the sink with the last one.
    fn confirm(&mut self, nack: Option<Nack>) {
        if std::mem::take(&mut self.out) {
            self.refused.extend(nack.map(|nack| (self.confirmed, nack)));
            self.confirmed += 1;
            if self.rows.is_empty() {
                wake(&mut self.writer);
            }
        }
    }
}

fn wake(place: &mut Option<Waker>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}

impl<T> Hand<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Hand<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The records at the end of a flow. See [`Flow::into_stream`]. It may be polled from any task; the last one that
/// polled is woken.
#[must_use = "dropping the stream cancels the flow"]
pub struct FlowStream<T> {
    hand: Hand<T>,
}

impl<T> FlowStream<T> {
    /// Refuses the record that was handed out last, instead of asking for the next: it goes back to its source with
    /// the nack. Says whether there was one.
    pub fn refuse(&mut self, nack: Nack) -> bool {
        let mut state = self.hand.lock();
        let out = state.out;
        state.confirm(Some(nack));
        out
    }

    /// Accepts the record that was handed out last, without asking for the next.
    pub fn accept(&mut self) {
        self.hand.lock().confirm(None);
    }
}

impl<T> Unpin for FlowStream<T> {}

impl<T> Stream for FlowStream<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.hand.lock();
        state.confirm(None);
        if let Some(record) = state.rows.pop_front() {
            state.out = true;
            return Poll::Ready(Some(record));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(task.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for FlowStream<T> {
    fn drop(&mut self) {
        let mut state = self.hand.lock();
        state.dropped = true;
        let rows = std::mem::take(&mut state.rows);
        wake(&mut state.writer);
        drop(state);
        // Dropped without the lock: what a record does when it is dropped is not our business.
        drop(rows);
    }
}

/// The sink behind a [`FlowStream`].
pub struct StreamSink<T> {
    hand: Hand<T>,
}

impl<T: Weigh + Send + 'static> Sink<Items<T>> for StreamSink<T> {
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let total = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        {
            let mut state = self.hand.lock();
            if state.dropped {
                return Err(gone());
            }
            state.rows = payload.take().into();
            (state.confirmed, state.out) = (0, false);
            state.refused.clear();
            wake(&mut state.reader);
        }
        let taken = TakeBack(&self.hand);
        let answer = poll_fn(|task| {
            let mut state = taken.0.lock();
            if state.confirmed < total && !state.dropped {
                state.writer = Some(task.waker().clone());
                return Poll::Pending;
            }
            let confirmed = state.confirmed;
            let mut refused = std::mem::take(&mut state.refused);
            refused.extend((confirmed..total).map(|row| (row, gone())));
            Poll::Ready(Accepted::all_but(refused))
        });
        Ok(answer.await)
    }

    fn is_closed(&self) -> bool {
        self.hand.lock().dropped
    }
}

impl<T> Drop for StreamSink<T> {
    fn drop(&mut self) {
        let mut state = self.hand.lock();
        state.ended = true;
        wake(&mut state.reader);
    }
}

/// Takes back what was not handed out when a delivery ends or is dropped: nothing is handed out that was given up.
struct TakeBack<'a, T>(&'a Hand<T>);

impl<T> Drop for TakeBack<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let rows = std::mem::take(&mut state.rows);
        state.out = false;
        drop(state);
        drop(rows);
    }
}

fn gone() -> Nack {
    Nack::transient("the stream that it was meant for was dropped")
}
