//! [`Exchange`]: a step in whose place another can be put while its stage runs.
//!
//! The old step is flushed first, then the new one is given what comes next: no batch sees both, and none is split
//! between them. An offer is taken up at the next batch or flush, never in the middle of one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tidegate_flow::{Batch, Payload, Time, Weight};

use crate::context::StageContext;
use crate::named::StepCounts;
use crate::stage::Ended;
use crate::transform::{BoxTransform, Step, Transform};

/// Where a new step is offered; the last one that was offered counts. Clones are the same.
pub(crate) struct Offer<P: Payload>(Arc<Offered<P>>);

struct Offered<P: Payload> {
    waits: AtomicBool,
    step: Mutex<Option<BoxTransform<P>>>,
    /// What the first step needs, which the stage has reserved.
    needs: Needs,
}

/// What a step needs of its stage.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    holds: Weight,
    batches_in_hand: u32,
    takes_rows: bool,
}

impl Needs {
    pub(crate) fn of<P: Payload>(step: &BoxTransform<P>, holds: Weight) -> Self {
        Self { holds, batches_in_hand: step.batches_in_hand(), takes_rows: step.takes_rows() }
    }

    /// Whether a stage that has this has what `other` needs.
    fn covers(self, other: Self) -> bool {
        other.holds.fits(self.holds)
            && other.batches_in_hand <= self.batches_in_hand
            && (self.takes_rows || !other.takes_rows)
    }
}

impl<P: Payload> Clone for Offer<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Payload> Offer<P> {
    pub(crate) fn new(needs: Needs) -> Self {
        Self(Arc::new(Offered { waits: AtomicBool::new(false), step: Mutex::new(None), needs }))
    }

    /// Whether a step that needs so much can be offered.
    pub(crate) fn takes(&self, needs: Needs) -> bool {
        self.0.needs.covers(needs)
    }

    /// Offers a step. One that was offered before and not taken up is let go.
    pub(crate) fn put(&self, step: BoxTransform<P>) {
        let before = self.lock().replace(step);
        self.0.waits.store(true, Ordering::Release);
        drop(before);
    }

    fn waits(&self) -> bool {
        self.0.waits.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<BoxTransform<P>> {
        let mut step = self.lock();
        self.0.waits.store(false, Ordering::Release);
        step.take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<BoxTransform<P>>> {
        self.0.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step, and the place where the next one is offered.
pub(crate) struct Exchange<P: Payload> {
    step: BoxTransform<P>,
    /// What it does, under the name of its component.
    counts: StepCounts,
    offer: Offer<P>,
    /// Came when a step was on offer; the new one is given it when the old one is flushed.
    waiting: Option<Batch<P>>,
}

impl<P: Payload> Exchange<P> {
    pub(crate) fn new(name: &str, step: BoxTransform<P>, offer: Offer<P>) -> Self {
        Self { step, counts: StepCounts::new(name), offer, waiting: None }
    }

    fn process_counted(&mut self, input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        let Self { step, counts, .. } = self;
        counts.around(input.records(), out, cx, |out, cx| step.process(input, out, cx))
    }

    fn flush_counted(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        let Self { step, counts, .. } = self;
        counts.around(0, out, cx, |out, cx| step.flush(out, cx))
    }

    /// Flushes the old step, puts the new one into its place, and gives it what waits.
    fn change(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        if self.offer.waits() {
            match self.flush_counted(out, cx) {
                Step::Done => self.take_up(cx),
                waiting => return waiting,
            }
            if out.is_some() {
                return Step::More;
            }
        }
        match self.waiting.take() {
            Some(batch) => self.process_counted(batch, out, cx),
            None => Step::Done,
        }
    }

    fn take_up(&mut self, cx: &StageContext) {
        if let Some(step) = self.offer.take() {
            self.step = step;
            self.step.open(cx);
        }
    }
}

impl<P: Payload> Transform<P> for Exchange<P> {
    type Out = P;

    fn open(&mut self, cx: &StageContext) {
        self.counts.open(cx);
        self.step.open(cx);
    }

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        if !self.offer.waits() {
            return self.process_counted(input, out, cx);
        }
        self.waiting = Some(input);
        self.change(out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        if self.waiting.is_some() {
            return self.change(out, cx);
        }
        let Self { step, counts, .. } = self;
        counts.around(0, out, cx, |out, cx| step.resume(out, cx))
    }

    fn flush(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        let next = self.flush_counted(out, cx);
        if next == Step::Done && self.offer.waits() {
            self.take_up(cx);
        }
        next
    }

    fn lull(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        let Self { step, counts, .. } = self;
        counts.around(0, out, cx, |out, cx| step.lull(out, cx))
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        let Self { step, counts, .. } = self;
        let mut polled = Poll::Pending;
        // What is sent there leaves the step too.
        counts.around(0, &mut None::<Batch<P>>, cx, |_, cx| {
            polled = step.poll_side(task, cx);
            Step::Done
        });
        polled
    }

    fn wake_at(&self) -> Option<Time> {
        self.step.wake_at()
    }

    fn holds_back(&self) -> bool {
        self.step.holds_back()
    }

    fn may_hold_back(&self) -> bool {
        self.step.may_hold_back()
    }

    fn takes_rows(&self) -> bool {
        self.offer.0.needs.takes_rows
    }

    fn batches_in_hand(&self) -> u32 {
        self.offer.0.needs.batches_in_hand
    }
}
