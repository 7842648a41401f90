//! [`Lettered`]: a step whose refused records go to a dead letter port. The step leaves them in a [`LetterTray`], each with
//! its reason, instead of giving them back to their source; what is in the tray is sent before the step is called again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tidegate_flow::{Batch, Nack, Payload, Time};

use crate::context::StageContext;
use crate::dead_letter::DeadLetterPort;
use crate::stage::Ended;
use crate::transform::{BoxTransform, Step, Transform};

/// Where a step puts the records that it refuses. Clones are the same: the step and what sends for it run in one task, one
/// after the other, so this holds at most the records of one batch.
pub struct LetterTray<P: Payload>(Arc<Mutex<VecDeque<(Batch<P>, Nack)>>>);

impl<P: Payload> Default for LetterTray<P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<P: Payload> Clone for LetterTray<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Payload> fmt::Debug for LetterTray<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LetterTray")
    }
}

impl<P: Payload> LetterTray<P> {
    /// Puts refused records in line, with their ticket and the reason.
    pub fn put(&self, batch: Batch<P>, nack: Nack) {
        self.lock().push_back((batch, nack));
    }

    fn take(&self) -> Option<(Batch<P>, Nack)> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Batch<P>, Nack)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step, and the port for what it refuses.
pub(crate) struct Lettered<P: Payload> {
    step: BoxTransform<P>,
    tray: LetterTray<P>,
    port: DeadLetterPort<P>,
    /// The component of the step, which gives the records up.
    name: Arc<str>,
    /// What the step asked for last, while what it refused is sent.
    after: Option<Step>,
}

impl<P: Payload> Lettered<P> {
    pub(crate) fn new(name: &str, step: BoxTransform<P>, tray: LetterTray<P>, port: DeadLetterPort<P>) -> Self {
        Self { step, tray, port, name: Arc::from(name), after: None }
    }

    /// Sends what was refused, one by one, then asks for what the step asked for.
    fn then(&mut self, step: Step, cx: &StageContext) -> Step {
        match self.tray.take() {
            Some((batch, nack)) => {
                self.port.stage_from(batch, nack, (1, cx.now()), Arc::clone(&self.name), cx);
                self.after = Some(step);
                Step::Side
            }
            None => step,
        }
    }

    /// Goes on with what is to be sent, if anything is; else with the step, by `call`.
    fn go_on(
        &mut self,
        out: &mut Option<Batch<P>>,
        cx: &mut StageContext,
        call: impl FnOnce(&mut BoxTransform<P>, &mut Option<Batch<P>>, &mut StageContext) -> Step,
    ) -> Step {
        let step = match self.after.take() {
            Some(step) => step,
            None => call(&mut self.step, out, cx),
        };
        self.then(step, cx)
    }
}

impl<P: Payload> Transform<P> for Lettered<P> {
    type Out = P;

    fn open(&mut self, cx: &StageContext) {
        self.step.open(cx);
        self.port.open(cx);
    }

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        let step = self.step.process(input, out, cx);
        self.then(step, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        self.go_on(out, cx, |step, out, cx| step.resume(out, cx))
    }

    fn flush(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        self.go_on(out, cx, |step, out, cx| step.flush(out, cx))
    }

    fn lull(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        self.go_on(out, cx, |step, out, cx| step.lull(out, cx))
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        if self.after.is_some() { self.port.poll_sent(task, cx) } else { self.step.poll_side(task, cx) }
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

    /// What it refuses leaves its batches.
    fn takes_rows(&self) -> bool {
        true
    }

    fn batches_in_hand(&self) -> u32 {
        self.step.batches_in_hand()
    }
}
