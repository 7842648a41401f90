//! [`Transform`]: one synchronous step on a batch, and how steps are chained without a queue between them.
//!
//! A transform is handed one batch and puts at most one batch into `out` per call. Whoever drives it sends `out` on
//! before it calls again, so a step that makes much out of little never holds more than one batch of output.

use std::task::{Context, Poll};

use tidegate_flow::{Batch, Cause, Payload, Time};

use crate::context::StageContext;
use crate::stage::Ended;

/// What a transform wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ready for new input.
    Done,
    /// There is more to emit for the input taken: call `resume` once `out` was sent.
    More,
    /// Nothing may be taken or emitted before this moment (a throttle, a restart with backoff): call `resume` then.
    WaitUntil(Time),
    /// A side output (a dead letter port, a diversion) is full: wait for `poll_side`, then call `resume`.
    Side,
    /// Failed: the stage stops and the pipeline learns the cause.
    Fail(Cause),
}

/// A synchronous step on batches of `P`.
///
/// * **Emits** at most one batch per call, into `out`.
/// * **Settles** by moving the ticket: rows that are not passed on must be settled with their outcome.
/// * **Panics** in user code are caught by the stage; whatever the transform held is abandoned.
pub trait Transform<P: Payload>: Send + 'static {
    /// What comes out.
    type Out: Payload;

    /// Called once, before the first batch.
    fn open(&mut self, _cx: &StageContext) {}

    /// Takes a batch. Called only when the last call answered [`Step::Done`].
    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step;

    /// Goes on after [`Step::More`], after the wait of [`Step::WaitUntil`] or [`Step::Side`], or at the moment that
    /// [`Transform::wake_at`] named.
    fn resume(&mut self, _out: &mut Option<Batch<Self::Out>>, _cx: &mut StageContext) -> Step {
        Step::Done
    }

    /// Emits what is held back (a partial batch). Begun only when the last call answered [`Step::Done`]; called again,
    /// after what its answer asks for, until it answers so too.
    fn flush(&mut self, _out: &mut Option<Batch<Self::Out>>, _cx: &mut StageContext) -> Step {
        Step::Done
    }

    /// Like [`flush`](Transform::flush), but only because the consumer waits: emits what was held back to make fuller
    /// batches, and leaves alone what is held for its own sake (a group, a window).
    fn lull(&mut self, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        if self.holds_back() { self.flush(out, cx) } else { Step::Done }
    }

    /// Completes when no side output has anything left to send; called after [`Step::Side`].
    fn poll_side(&mut self, _task: &mut Context<'_>, _cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        Poll::Ready(Ok(()))
    }

    /// When `resume` should be called even if no input arrives (a linger time).
    fn wake_at(&self) -> Option<Time> {
        None
    }

    /// Whether records are held back that a lull would emit; such a stage does not wait for more input while its
    /// consumer is idle.
    fn holds_back(&self) -> bool {
        false
    }

    /// Whether [`holds_back`](Transform::holds_back) can ever be true: such a stage watches its consumer.
    fn may_hold_back(&self) -> bool {
        false
    }

    /// Whether it takes rows out of its batches, or changes or joins them. Rows that a fork shares are then copied, and
    /// the copies paid for, before it is given them.
    fn takes_rows(&self) -> bool {
        true
    }

    /// How many batches in the stage's hand it needs room for: its input, as far as it keeps rows of it from one call to
    /// the next, while it makes an output. The plan reserves two of the largest batch for each.
    fn batches_in_hand(&self) -> u32 {
        1
    }
}

/// A transform behind a pointer, for pipelines put together at run time: one indirect call per *batch*.
pub type BoxTransform<P, Q = P> = Box<dyn Transform<P, Out = Q>>;

impl<P: Payload, Q: Payload> Transform<P> for BoxTransform<P, Q> {
    type Out = Q;

    fn open(&mut self, cx: &StageContext) {
        (**self).open(cx);
    }

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<Q>>, cx: &mut StageContext) -> Step {
        (**self).process(input, out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<Q>>, cx: &mut StageContext) -> Step {
        (**self).resume(out, cx)
    }

    fn flush(&mut self, out: &mut Option<Batch<Q>>, cx: &mut StageContext) -> Step {
        (**self).flush(out, cx)
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        (**self).poll_side(task, cx)
    }

    fn wake_at(&self) -> Option<Time> {
        (**self).wake_at()
    }

    fn lull(&mut self, out: &mut Option<Batch<Q>>, cx: &mut StageContext) -> Step {
        (**self).lull(out, cx)
    }

    fn holds_back(&self) -> bool {
        (**self).holds_back()
    }

    fn may_hold_back(&self) -> bool {
        (**self).may_hold_back()
    }

    fn takes_rows(&self) -> bool {
        (**self).takes_rows()
    }

    fn batches_in_hand(&self) -> u32 {
        (**self).batches_in_hand()
    }
}

/// Passes every batch on as it is.
#[derive(Copy, Clone, Debug, Default)]
pub struct Pass;

impl<P: Payload> Transform<P> for Pass {
    type Out = P;

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<P>>, _cx: &mut StageContext) -> Step {
        *out = Some(input);
        Step::Done
    }

    fn takes_rows(&self) -> bool {
        false
    }

    fn batches_in_hand(&self) -> u32 {
        0
    }
}

/// `first`, then `second`, in one task with no queue between them.
///
/// What `second` has begun comes before what `first` emitted, and that before anything more from `first`. What either
/// waits for (a moment, a side output) is remembered until it has come, however often the chain is called meanwhile.
pub struct Then<A, B, M> {
    /// The upstream step.
    pub first: A,
    /// The downstream step.
    pub second: B,
    /// What `first` emitted and `second` has not taken.
    middle: Option<Batch<M>>,
    /// What `first` asks for; `Done` when it is ready for input.
    first_next: Step,
    /// What `second` asks for; `Done` when it is ready for what is in the middle.
    second_next: Step,
    /// Whether a flush has come as far as `second`.
    second_flushes: bool,
}

impl<A, B, M> Then<A, B, M> {
    /// Chains the two.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second, middle: None, first_next: Step::Done, second_next: Step::Done, second_flushes: false }
    }

    /// The same `first`, with `change(second)` behind it. Only for chains that have not run yet.
    pub fn map_second<C>(self, change: impl FnOnce(B) -> C) -> Then<A, C, M> {
        Then::new(self.first, change(self.second))
    }

    fn is_done(&self) -> bool {
        self.first_next == Step::Done && self.second_next == Step::Done && self.middle.is_none()
    }
}

/// How a step is called again.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To go on with what it has begun.
    Resume,
    /// To empty itself: the input ended, or a control message says so.
    Flush,
    /// To send partial batches, because its consumer waits.
    Lull,
}

/// Goes on with `step` as `turn` says.
pub(crate) fn call<P: Payload, T: Transform<P>>(
    step: &mut T,
    turn: Turn,
    out: &mut Option<Batch<T::Out>>,
    cx: &mut StageContext,
) -> Step {
    match turn {
        Turn::Resume => step.resume(out, cx),
        Turn::Flush => step.flush(out, cx),
        Turn::Lull => step.lull(out, cx),
    }
}

/// Whether what a step asked for has come, so that it may be called again.
fn may_go_on(next: &Step, cx: &StageContext) -> bool {
    match next {
        Step::More => true,
        Step::WaitUntil(at) => *at <= cx.now(),
        Step::Done | Step::Side | Step::Fail(_) => false,
    }
}

impl<A, B, M: Payload> Then<A, B, M> {
    /// Runs what is under way until there is an output to send, something to wait for, or nothing left to do. `turn`
    /// says how `first` goes on.
    fn drive<P: Payload>(&mut self, turn: Turn, out: &mut Option<Batch<B::Out>>, cx: &mut StageContext) -> Step
    where
        A: Transform<P, Out = M>,
        B: Transform<M>,
    {
        loop {
            if self.second_next != Step::Done {
                if out.is_some() || !may_go_on(&self.second_next, cx) {
                    return self.second_next.clone();
                }
                self.second_next = self.second.resume(out, cx);
            } else if let Some(batch) = self.middle.take() {
                if out.is_some() {
                    // The rest of a batch that came in parts.
                    self.middle = Some(batch);
                    return Step::More;
                }
                self.second_next = self.hand_over(batch, out, cx);
            } else if out.is_some() || !may_go_on(&self.first_next, cx) {
                return self.first_next.clone();
            } else {
                self.first_next = call(&mut self.first, turn, &mut self.middle, cx);
            }
        }
    }

    /// Gives `second` the batch in the middle. Of rows that a fork shares it is given as many as can be paid for at once,
    /// where it takes rows; the rest stays in the middle.
    fn hand_over<P: Payload>(
        &mut self,
        mut batch: Batch<M>,
        out: &mut Option<Batch<B::Out>>,
        cx: &mut StageContext,
    ) -> Step
    where
        A: Transform<P, Out = M>,
        B: Transform<M>,
    {
        if batch.payload.is_shared() && self.second.takes_rows() {
            let (rest, owned) = cx.own(&mut batch);
            self.middle = rest;
            if let Err(nack) = owned {
                cx.refuse(batch, nack);
                return Step::Done;
            }
        }
        self.second.process(batch, out, cx)
    }

    /// Flushes `first` through `second`, and then `second`.
    fn flush_both<P: Payload>(&mut self, turn: Turn, out: &mut Option<Batch<B::Out>>, cx: &mut StageContext) -> Step
    where
        A: Transform<P, Out = M>,
        B: Transform<M>,
    {
        if !self.second_flushes {
            if self.is_done() {
                self.first_next = call(&mut self.first, turn, &mut self.middle, cx);
            }
            match self.drive(turn, out, cx) {
                Step::Done => self.second_flushes = true,
                waiting => return waiting,
            }
            if out.is_some() {
                return Step::More;
            }
        }
        let next = call(&mut self.second, turn, out, cx);
        self.second_flushes = next != Step::Done;
        next
    }
}

impl<P, A, B, M> Transform<P> for Then<A, B, M>
where
    P: Payload,
    M: Payload,
    A: Transform<P, Out = M>,
    B: Transform<M>,
{
    type Out = B::Out;

    fn open(&mut self, cx: &StageContext) {
        self.first.open(cx);
        self.second.open(cx);
    }

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<B::Out>>, cx: &mut StageContext) -> Step {
        self.first_next = self.first.process(input, &mut self.middle, cx);
        self.drive(Turn::Resume, out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<B::Out>>, cx: &mut StageContext) -> Step {
        if self.is_done() {
            // Nothing is under way, so a time has come that one of the two named: first what is further on.
            let due = |at: Option<Time>| at.is_some_and(|at| at <= cx.now());
            if due(self.second.wake_at()) {
                self.second_next = self.second.resume(out, cx);
            } else if due(self.first.wake_at()) {
                self.first_next = self.first.resume(&mut self.middle, cx);
            }
        }
        self.drive(Turn::Resume, out, cx)
    }

    fn flush(&mut self, out: &mut Option<Batch<B::Out>>, cx: &mut StageContext) -> Step {
        self.flush_both(Turn::Flush, out, cx)
    }

    fn lull(&mut self, out: &mut Option<Batch<B::Out>>, cx: &mut StageContext) -> Step {
        self.flush_both(Turn::Lull, out, cx)
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        let first = self.first.poll_side(task, cx)?.is_ready();
        let second = self.second.poll_side(task, cx)?.is_ready();
        if first && self.first_next == Step::Side {
            self.first_next = Step::More;
        }
        if second && self.second_next == Step::Side {
            self.second_next = Step::More;
        }
        if first && second { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn wake_at(&self) -> Option<Time> {
        match (self.first.wake_at(), self.second.wake_at()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn holds_back(&self) -> bool {
        self.first.holds_back() || self.second.holds_back()
    }

    fn may_hold_back(&self) -> bool {
        self.first.may_hold_back() || self.second.may_hold_back()
    }

    fn takes_rows(&self) -> bool {
        self.first.takes_rows() || self.second.takes_rows()
    }

    fn batches_in_hand(&self) -> u32 {
        self.first.batches_in_hand() + self.second.batches_in_hand()
    }
}
