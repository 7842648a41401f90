//! `divert`: batches that do not fit into one edge go to another.

use std::task::{Context, Poll};

use tidegate_flow::Weight;
use tidegate_flow::queue::{Load, Offer, OnFull};

use super::error::{BindError, SendError, Sent};
use super::sync::Arc;
use super::tx::{EdgeTx, Mode};

impl<B: Load> EdgeTx<B> {
    /// Where batches go that do not fit. The policy of the target applies to them: if that is to block, a full target
    /// blocks this producer. Nothing is lost silently.
    ///
    /// # Errors
    /// Where this edge does not divert, or the target leads back here.
    pub fn bind_divert(&mut self, target: EdgeTx<B>) -> Result<(), BindError> {
        if self.when_full != OnFull::Divert {
            return Err(BindError::NotDiverting { edge: self.name() });
        }
        let mut next = Some(&target);
        while let Some(tx) = next {
            if Arc::ptr_eq(&tx.shared, &self.shared) {
                return Err(BindError::Loop { edge: self.name(), target: target.name() });
            }
            next = tx.divert.as_deref();
        }
        self.divert = Some(Box::new(target));
        Ok(())
    }

    /// The edge is full: to the other edge, or here after all if room comes first.
    pub(super) fn poll_divert(&mut self, cx: &mut Context<'_>, slot: &mut Option<B>) -> Poll<Result<Sent, SendError>> {
        let weight = slot.as_ref().map_or(Weight::ZERO, Load::weight);
        let Some(target) = &mut self.divert else {
            return Poll::Ready(Err(SendError::NoDivert { edge: self.name() }));
        };
        if let Poll::Ready(sent) = target.poll_send_untimed(cx, slot) {
            self.cancel();
            return Poll::Ready(sent.map(|sent| self.count_diverted(weight, sent)));
        }
        if self.poll_room(cx, weight).is_ready() && self.offer(Mode::Wait(cx.waker()), slot) == Offer::Admitted {
            self.cancel();
            return Poll::Ready(Ok(Sent::Enqueued));
        }
        Poll::Pending
    }

    pub(super) fn try_divert(&mut self, slot: &mut Option<B>) -> Result<Sent, SendError> {
        let weight = slot.as_ref().map_or(Weight::ZERO, Load::weight);
        let Some(target) = &mut self.divert else { return Err(SendError::NoDivert { edge: self.name() }) };
        let sent = target.try_send(slot)?;
        Ok(self.count_diverted(weight, sent))
    }

    fn count_diverted(&mut self, weight: Weight, sent: Sent) -> Sent {
        if sent == Sent::Nothing {
            return sent;
        }
        self.shared.step(&mut self.after, |state| state.queue.count_diverted(weight.records));
        Sent::Diverted
    }
}
