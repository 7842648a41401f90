//! [`EdgeTx`]: the producer's end of an edge.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate_flow::queue::{Control, ControlFull, Level, Load, Offer, OnFull, ProducerId, TooManyProducers, Want};
use tidegate_flow::{Cause, Records, Weight};

use super::clock::EdgeClock;
use super::error::{SendError, Sent, TooManyWatches};
use super::handle::{EdgeHandle, PressureWatch};
use super::pending::{ReadyFuture, SendFuture, Timer};
use super::shared::{After, Shared};
use super::sync::Arc;

/// The least that can be sent: what [`EdgeTx::ready`] waits for.
const LEAST: Weight = Weight::new(1, 1);

/// The producer's end of an edge. Dropping the last one completes the edge.
///
/// # Cancel safety
/// A batch leaves its slot only in the poll that is granted (or in which the policy sheds or diverts it). Dropping the
/// future of [`send`](Self::send) or [`ready`](Self::ready) at any await loses no batch, credit or wake-up: the claim
/// is taken back and what it held goes to the next. Who uses [`poll_send`](Self::poll_send) calls
/// [`cancel`](Self::cancel) when giving up.
///
/// The longest wait of `block { max }` goes on through futures that are dropped: it counts from when the batch was first
/// offered until it is sent, has timed out, or [`cancel`](Self::cancel) says that it was given up.
pub struct EdgeTx<B: Load> {
    pub(super) shared: Arc<Shared<B>>,
    id: ProducerId,
    pub(super) when_full: OnFull,
    lane: Option<u8>,
    pub(super) clock: std::sync::Arc<dyn EdgeClock>,
    pub(super) divert: Option<Box<EdgeTx<B>>>,
    timer: Timer,
    pub(super) after: After<B>,
    /// A claim or a watch may be registered under `id`.
    pending: bool,
}

/// Whether an operation waits.
#[derive(Copy, Clone)]
pub(super) enum Mode<'a> {
    Wait(&'a Waker),
    Try,
}

impl<B: Load> EdgeTx<B> {
    pub(super) fn new(shared: Arc<Shared<B>>, lane: Option<u8>) -> Result<Self, TooManyProducers> {
        let (id, when_full) =
            shared.step_once(|state| state.queue.add_producer().map(|id| (id, state.queue.when_full())))?;
        let clock = std::sync::Arc::clone(&shared.clock);
        let (timer, after) = (Timer::default(), After::default());
        Ok(Self { shared, id, when_full, lane, clock, divert: None, timer, after, pending: false })
    }

    /// Sends the batch in `slot`, waiting for room if the policy is to block.
    ///
    /// With `block { max }` it needs a tokio runtime with time; otherwise it runs anywhere.
    ///
    /// # Errors
    /// The batch is still in the slot: see [`SendError`].
    pub fn send<'a>(&'a mut self, slot: &'a mut Option<B>) -> SendFuture<'a, B> {
        SendFuture::new(self, slot)
    }

    /// [`send`](Self::send) as a poll function. A later call may bring another batch; its claim starts anew.
    #[inline]
    pub fn poll_send(&mut self, cx: &mut Context<'_>, slot: &mut Option<B>) -> Poll<Result<Sent, SendError>> {
        let polled = self.poll_send_untimed(cx, slot);
        if polled.is_ready() {
            self.timer.disarm();
            if let Some(target) = &mut self.divert {
                // Room came here first: what was claimed there is not needed any more.
                target.cancel();
            }
            return polled;
        }
        let Some((limit, edge)) = self.longest_block() else { return Poll::Pending };
        if self.timer.poll(cx, limit).is_pending() {
            return Poll::Pending;
        }
        self.cancel();
        Poll::Ready(Err(SendError::Timeout { edge, limit }))
    }

    /// Sends the batch in `slot` if that needs no waiting; never leaves a claim, and overtakes nobody who has one.
    ///
    /// # Errors
    /// The batch is still in the slot: see [`SendError`].
    pub fn try_send(&mut self, slot: &mut Option<B>) -> Result<Sent, SendError> {
        match self.offer(Mode::Try, slot) {
            Offer::Full if self.when_full == OnFull::Divert => self.try_divert(slot),
            Offer::Full | Offer::Waiting(_) | Offer::Again => Err(SendError::Full { edge: self.name() }),
            Offer::Admitted => Ok(Sent::Enqueued),
            Offer::Shed(reason) => Ok(Sent::Shed(reason)),
            Offer::Nothing => Ok(Sent::Nothing),
            Offer::Closed => Err(SendError::Closed { edge: self.name() }),
        }
    }

    /// Waits until there is room for something. Reserves nothing: who is idle holds no credit, so another producer may
    /// take the room first, and [`send`](Self::send) then waits with the batch in hand. At once where the policy never
    /// makes a producer wait, and when the edge has ended (sending then says so).
    pub fn ready(&mut self) -> ReadyFuture<'_, B> {
        ReadyFuture::new(self)
    }

    /// [`ready`](Self::ready) as a poll function.
    #[inline]
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_room(cx, LEAST).is_ready() {
            return Poll::Ready(());
        }
        if let Some(target) = &mut self.divert {
            if target.poll_ready(cx).is_ready() {
                return Poll::Ready(());
            }
        } else {
            self.clock.waiting_blocked();
        }
        Poll::Pending
    }

    /// Ready when the consumer waits on an empty edge, or the edge has ended: the moment to push a partial batch out
    /// instead of letting it linger.
    pub fn poll_starving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let id = self.id;
        let ready = self.shared.step(&mut self.after, |state| {
            let ready = state.queue.poll_starving(id);
            if !ready {
                state.park_producer(id, cx.waker());
            }
            ready
        });
        self.pending |= !ready;
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the consumer waits on an empty edge.
    #[must_use]
    pub fn is_starving(&self) -> bool {
        self.shared.step_once(|state| state.queue.is_starving())
    }

    /// Takes back the claim or watch that a pending [`poll_send`](Self::poll_send) or [`poll_ready`](Self::poll_ready)
    /// left. Credit that it held goes to the next claim. The batch is given up: the longest wait of the next one begins
    /// when that is offered.
    pub fn cancel(&mut self) {
        self.timer.disarm();
        self.pause();
    }

    /// Like [`cancel`](Self::cancel), but the same batch will be offered again.
    pub(crate) fn pause(&mut self) {
        if let Some(target) = &mut self.divert {
            target.pause();
        }
        if std::mem::take(&mut self.pending) {
            let (now, id) = (self.clock.now(), self.id);
            self.shared.step(&mut self.after, |state| state.queue.cancel(now, id));
        }
    }

    /// Another producer of the same edge, which diverts to the same edge as this one.
    ///
    /// # Errors
    /// Where the edge (or the one it diverts to) has as many producers as it may have.
    pub fn try_clone(&self) -> Result<Self, TooManyProducers> {
        let divert = self.divert.as_ref().map(|target| target.try_clone()).transpose()?;
        let mut clone = Self::new(Arc::clone(&self.shared), self.lane)?;
        clone.divert = divert.map(Box::new);
        clone.clock = std::sync::Arc::clone(&self.clock);
        Ok(clone)
    }

    /// This producer, all of whose batches go into `lane` from now on, whatever lane they name themselves. A lane that
    /// the edge does not have counts as its lowest.
    #[must_use]
    pub fn with_lane(mut self, lane: u8) -> Self {
        self.lane = Some(lane);
        self
    }

    /// This producer, with a policy of its own for when the edge is full, whatever that of the edge is. Its clones have
    /// that of the edge.
    #[must_use]
    pub fn with_policy(mut self, when_full: OnFull) -> Self {
        let id = self.id;
        self.shared.step(&mut self.after, |state| state.queue.set_policy(id, when_full));
        self.when_full = when_full;
        self
    }

    /// Reads the time from `clock` and tells it what this end waits for. Same epoch as the edge's own clock.
    pub fn set_clock(&mut self, clock: std::sync::Arc<dyn EdgeClock>) {
        self.clock = clock;
    }

    /// Sends a control message: it overtakes data and needs no credit.
    ///
    /// # Errors
    /// The message, where the control lane is full.
    pub fn send_control(&mut self, message: Control) -> Result<(), ControlFull> {
        self.shared.step(&mut self.after, |state| state.queue.send_control(message))
    }

    /// Fails the edge: nothing more is taken in from any producer, and the consumer gets `cause` after what is in it.
    /// The first cause stands.
    pub fn fail(&mut self, cause: impl Into<Cause>) {
        let cause = cause.into();
        self.shared.step(&mut self.after, |state| state.queue.fail(cause));
    }

    /// How pressured the edge is.
    #[must_use]
    pub fn pressure(&self) -> Level {
        let now = self.clock.now();
        self.shared.step_once(|state| state.queue.level(now))
    }

    /// The name of the edge.
    #[must_use]
    pub fn name(&self) -> std::sync::Arc<str> {
        std::sync::Arc::clone(&self.shared.name)
    }

    /// The most that is let in at once without waiting for the edge to be empty, for batches of `lane` (unless this end
    /// has a lane of its own): what the floors of other lanes leave of the window, here or in the edge that this one
    /// diverts to, whichever is less. Whoever sends more at once should split it.
    #[must_use]
    #[inline]
    pub fn largest(&self, lane: u8) -> Weight {
        let here = self.shared.window.most_of(self.lane.unwrap_or(lane));
        self.divert.as_ref().map_or(here, |target| here.min(target.largest(lane)))
    }

    /// One offer under one lock; once more for each time that its memory must come from victims.
    #[inline]
    pub(super) fn offer(&mut self, mode: Mode<'_>, slot: &mut Option<B>) -> Offer {
        let (now, id, lane) = (self.clock.now(), self.id, self.lane);
        let Self { shared, after, .. } = self;
        let budget = shared.budget.as_deref();
        let mut charge = |batch: &mut B| budget.is_none_or(|budget| budget.charge(batch));
        loop {
            let answer = shared.step(after, |state| match mode {
                Mode::Try => state.queue.try_offer(now, id, lane, slot, &mut charge),
                Mode::Wait(waker) => {
                    let answer = state.queue.offer(now, id, lane, slot, &mut charge);
                    if matches!(answer, Offer::Waiting(_)) {
                        state.park_producer(id, waker);
                    }
                    answer
                }
            });
            // The victims are dropped by now. Each round has at least one, so the edge runs out of them.
            if answer != Offer::Again {
                self.pending = matches!(answer, Offer::Waiting(_));
                return answer;
            }
        }
    }

    #[inline]
    pub(super) fn poll_send_untimed(
        &mut self,
        cx: &mut Context<'_>,
        slot: &mut Option<B>,
    ) -> Poll<Result<Sent, SendError>> {
        match self.offer(Mode::Wait(cx.waker()), slot) {
            Offer::Admitted => Poll::Ready(Ok(Sent::Enqueued)),
            Offer::Waiting(Want::Credit) => {
                self.clock.waiting_blocked();
                Poll::Pending
            }
            Offer::Waiting(Want::Budget) => self.poll_send_for_memory(cx, slot),
            Offer::Shed(reason) => Poll::Ready(Ok(Sent::Shed(reason))),
            Offer::Nothing => Poll::Ready(Ok(Sent::Nothing)),
            Offer::Closed => Poll::Ready(Err(SendError::Closed { edge: self.name() })),
            Offer::Full if self.when_full == OnFull::Divert => self.poll_divert(cx, slot),
            Offer::Full | Offer::Again => Poll::Ready(Err(SendError::Full { edge: self.name() })),
        }
    }

    /// The budget refused: asks to be woken, and then once more, in case memory came free in between.
    fn poll_send_for_memory(&mut self, cx: &mut Context<'_>, slot: &mut Option<B>) -> Poll<Result<Sent, SendError>> {
        if let (Some(budget), Some(batch)) = (&self.shared.budget, &*slot) {
            budget.wake_when_free(batch, cx.waker());
        }
        match self.offer(Mode::Wait(cx.waker()), slot) {
            Offer::Admitted => Poll::Ready(Ok(Sent::Enqueued)),
            Offer::Closed => Poll::Ready(Err(SendError::Closed { edge: self.name() })),
            Offer::Waiting(_) | Offer::Shed(_) | Offer::Nothing | Offer::Full | Offer::Again => {
                self.clock.waiting_budget();
                Poll::Pending
            }
        }
    }

    /// Counts records as shed for want of memory, without offering them.
    pub(crate) fn count_unpaid(&mut self, records: Records) {
        self.shared.step(&mut self.after, |state| state.queue.count_unpaid(records));
    }

    #[inline]
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>, weight: Weight) -> Poll<()> {
        let (id, lane) = (self.id, self.lane);
        let ready = self.shared.step(&mut self.after, |state| {
            let ready = state.queue.poll_room(id, lane, weight);
            if !ready {
                state.park_producer(id, cx.waker());
            }
            ready
        });
        self.pending |= !ready;
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The longest that a batch may wait, and at which edge: here, or where this edge diverts to.
    pub(super) fn longest_block(&self) -> Option<(Duration, std::sync::Arc<str>)> {
        match self.when_full {
            OnFull::Block { max } => max.map(|max| (max, self.name())),
            OnFull::Divert => self.divert.as_ref()?.longest_block(),
            OnFull::DropNewest | OnFull::DropOldest | OnFull::Sample(_) | OnFull::Fail => None,
        }
    }
}

impl<B: Load + Send + 'static> EdgeTx<B> {
    /// Hears of every change of pressure.
    ///
    /// # Errors
    /// Where the edge has as many watches as it may have.
    pub fn watch(&self) -> Result<PressureWatch, TooManyWatches> {
        self.handle().watch()
    }

    /// Looks at the edge from outside.
    #[must_use]
    pub fn handle(&self) -> EdgeHandle {
        EdgeHandle::new(&self.shared)
    }
}

impl<B: Load> Drop for EdgeTx<B> {
    fn drop(&mut self) {
        let (now, id) = (self.clock.now(), self.id);
        self.shared.step(&mut self.after, |state| state.queue.remove_producer(now, id));
    }
}
