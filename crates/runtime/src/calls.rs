//! `map_async`: one asynchronous call for each record, with bounded concurrency, in the stage's own task.
//!
//! * **Emits** what the calls made, joined into batches: as much as is ready, at once.
//! * **Blocks** its input while calls in flight and results not yet sent on reach the limit. It never blocks the calls:
//!   they go on while the stage waits for room downstream, for memory, or for input.
//! * **Sheds** nothing. A record whose deadline has passed is not called for; it expires.
//! * **Settles** a record that was refused, timed out or panicked as a nack, alone; the others go on.
//! * **Completes** when its input has ended and everything taken was called for and sent on.
//! * **Fails** with its input, or as its supervision says; what was taken before the input failed is finished first.
//!
//! A control message passes once everything taken before it was sent on; until then no input is taken.
//!
//! What a record weighs stays charged during its call, and what the call made is charged when the call ends. While a
//! result waits that the budget had no room for, no further call is started, so that at most the limit of results is
//! ever uncharged, and each is charged before it is sent on.

mod call;
mod lines;
mod results;
mod service;
mod set;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::{Batch, Items, Payload as _, Wait, Weigh};

use crate::context::StageContext;
use crate::edge::Event;
use crate::stage::Inlet;

pub use self::call::{Caller, Fallible, Infallible};
pub use self::lines::{ByKey, KeyOf, Unkeyed};
pub use self::service::ByService;
pub(crate) use self::set::{CallSet, CallTools};

/// How many calls a stage makes at once, and how long one may take.
///
/// A call that failed is not made again: put a retry into the call itself, or let the source try the record again.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// At most this many records are in a call, or have a result that was not sent on yet. Zero is refused when the
    /// pipeline is built.
    pub in_flight: u32,
    /// A call that takes longer is dropped, and its record refused for now. A record with a deadline has no more time
    /// than is left until then. Default: none.
    pub timeout: Option<Duration>,
}

impl CallLimits {
    /// At most `in_flight` records at once, with no timeout.
    #[must_use]
    pub const fn new(in_flight: u32) -> Self {
        Self { in_flight, timeout: None }
    }

    /// The same with a timeout for each call.
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}

impl From<u32> for CallLimits {
    fn from(in_flight: u32) -> Self {
        Self::new(in_flight)
    }
}

/// The order in which results are sent on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the records came in. A slow call holds back the results behind it, and they count against the limit.
    Ordered,
    /// As the calls end.
    Unordered,
}

/// An inlet whose records are what the calls for the records of `I` made. See [the module](self).
pub struct Calls<I, T, C, K>
where
    T: Weigh + Send + 'static,
    C: Caller<T>,
    K: KeyOf<T>,
{
    inlet: I,
    set: CallSet<T, C, K>,
    /// What is left of a batch whose rows a fork shares.
    rest: Option<Batch<Items<T>>>,
    /// What came behind the records taken, to be passed on when they are done.
    behind: Option<Event<Batch<Items<C::Out>>>>,
}

impl<I, T, C, K> Calls<I, T, C, K>
where
    I: Inlet<Payload = Items<T>>,
    T: Weigh + Send + 'static,
    C: Caller<T>,
    K: KeyOf<T>,
{
    pub(crate) fn new(inlet: I, set: CallSet<T, C, K>) -> Self {
        Self { inlet, set, rest: None, behind: None }
    }

    /// Whether input is to be taken now.
    fn wants_input(&self) -> bool {
        self.behind.is_none() && self.set.has_room()
    }

    /// Waits for input, or for something to pass on; says whether there was input. Cancel-safe: input is kept in the
    /// poll that gets it.
    async fn take(&mut self, cx: &mut StageContext) -> bool {
        if let Some(rest) = self.rest.take() {
            self.put(rest, cx);
            return true;
        }
        let taken = {
            let Self { inlet, set, .. } = &mut *self;
            let was_idle = set.is_idle();
            let consumer = Consumer::new(cx, was_idle);
            let mut input = pin!(inlet.next(&mut *consumer.cx));
            poll_fn(|task| {
                set.drive(task);
                if set.has_failed() || !set.has_room() {
                    return Poll::Ready(None);
                }
                if let Poll::Ready(event) = input.as_mut().poll(task) {
                    return Poll::Ready(Some(event));
                }
                // An inlet that holds records back gives them when it is told that its consumer has run out of work.
                let ran_out = set.is_idle() && !was_idle;
                if set.has_output() || ran_out { Poll::Ready(None) } else { Poll::Pending }
            })
            .await
        };
        match taken {
            None => return false,
            Some(Event::Batch(batch)) => self.put(batch, cx),
            Some(Event::Control(control)) => self.behind = Some(Event::Control(control)),
            Some(Event::Completed) => self.behind = Some(Event::Completed),
            Some(Event::Failed(cause)) => self.behind = Some(Event::Failed(cause)),
        }
        true
    }

    /// Takes a batch in hand; of rows that a fork shares as many as can be paid for at once.
    fn put(&mut self, mut batch: Batch<Items<T>>, cx: &StageContext) {
        if batch.payload.is_shared() {
            let (rest, owned) = cx.own(&mut batch);
            self.rest = rest;
            if let Err(nack) = owned {
                return cx.refuse(batch, nack);
            }
        }
        self.set.put(batch);
    }

    /// Waits until the calls have something to pass on, or there is room for input. Changes nothing else.
    async fn work(&mut self, cx: &StageContext) {
        let input_may_come = self.behind.is_none();
        let Self { inlet, set, .. } = self;
        poll_fn(|task| {
            set.drive(task);
            inlet.poll_background(task);
            if set.has_failed() || set.has_output() || set.is_idle() || (input_may_come && set.has_room()) {
                return Poll::Ready(());
            }
            cx.clock.will_wait(if set.is_paused() { Wait::Throttled } else { Wait::External });
            Poll::Pending
        })
        .await;
    }
}

impl<I, T, C, K> Inlet for Calls<I, T, C, K>
where
    I: Inlet<Payload = Items<T>>,
    T: Weigh + Send + 'static,
    C: Caller<T>,
    K: KeyOf<T>,
{
    type Payload = Items<C::Out>;

    /// Slots are filled before results are given, as far as input is there: otherwise a slow consumer, which always
    /// finds results, would let the calls in flight run out.
    async fn next(&mut self, cx: &mut StageContext) -> Event<Batch<Items<C::Out>>> {
        loop {
            let may_get_more = if self.wants_input() {
                self.take(cx).await
            } else {
                self.work(cx).await;
                self.wants_input()
            };
            if let Some(cause) = self.set.failure() {
                return Event::Failed(cause);
            }
            if may_get_more {
                continue;
            }
            if let Some(batch) = self.set.take_output(cx) {
                return Event::Batch(batch);
            }
            if self.set.is_idle()
                && let Some(event) = self.behind.take()
            {
                return event;
            }
        }
    }

    fn poll_background(&mut self, task: &mut Context<'_>) {
        self.set.drive(task);
        self.inlet.poll_background(task);
    }

    fn is_working(&self) -> bool {
        !self.set.is_idle() || self.rest.is_some() || self.inlet.is_working()
    }
}

/// The stage's context as the inlet behind the calls sees it: its consumer is the calls.
struct Consumer<'a> {
    cx: &'a mut StageContext,
    /// What was said of the consumer of the whole stage; said again when this is dropped.
    downstream_is_idle: bool,
}

impl<'a> Consumer<'a> {
    fn new(cx: &'a mut StageContext, is_idle: bool) -> Self {
        let downstream_is_idle = std::mem::replace(&mut cx.consumer_is_idle, is_idle);
        Self { cx, downstream_is_idle }
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        self.cx.consumer_is_idle = self.downstream_is_idle;
    }
}
