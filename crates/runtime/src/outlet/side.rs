//! [`Side`]: a second output of a stage, for a step that diverts, taps or gives records up.

use std::task::{Context, Poll, ready};

use tidegate_flow::{Batch, EdgeId, Nack, Outcome, Payload, Records, Wait};

use super::ended;
use super::parts::Parts;
use crate::context::StageContext;
use crate::edge::{EdgeTx, SendError};
use crate::handover::Handed;
use crate::stage::Ended;

/// What became of the records that were in line for a side output.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct SideSent {
    pub(crate) sent: Records,
    /// Given back to their source, because the port's edge did not take them in time.
    pub(crate) returned: Records,
}

/// A side output of a transform: what it puts in line is sent when the stage polls for it.
pub(crate) struct Side<P: Payload> {
    id: EdgeId,
    tx: EdgeTx<Batch<P>>,
    slot: Option<Batch<P>>,
    parts: Parts<P>,
    /// What was sent of the batch that is in line.
    sent: Records,
}

impl<P: Payload> Side<P> {
    pub(crate) fn new(id: EdgeId, tx: EdgeTx<Batch<P>>) -> Self {
        Self { id, tx, slot: None, parts: Parts::new(), sent: Records::ZERO }
    }

    /// Gives the edge the clock of the stage. Once, before anything is sent.
    pub(crate) fn open(&mut self, cx: &StageContext) {
        self.tx.set_clock(cx.edge_clock(self.id));
    }

    /// The end of the edge, for the next life of the stage.
    pub(crate) fn into_end(self) -> EdgeTx<Batch<P>> {
        self.tx
    }

    /// The same output, on the end that the last life of the stage left.
    pub(crate) fn taking_over(self, handed: &Handed) -> Self {
        match handed.take_tx(&self.tx.name()) {
            Some((id, tx)) => Self::new(id, tx),
            None => self,
        }
    }

    /// Puts a batch in line. Only when the last one was sent.
    pub(crate) fn stage(&mut self, batch: Batch<P>) {
        debug_assert!(self.slot.is_none(), "a side output takes one batch at a time");
        self.slot = Some(batch);
    }

    /// Completes when nothing is in line; says what became of the records. What an edge with a longest wait did not
    /// take in time goes back to its source.
    pub(crate) fn poll_sent(&mut self, task: &mut Context<'_>, cx: &StageContext) -> Poll<Result<SideSent, Ended>> {
        let mut returned = Records::ZERO;
        loop {
            self.parts.fill(&mut self.slot, |lane| self.tx.largest(lane));
            let Some(part) = &mut self.slot else { break };
            if cx.poll_let_go(task, part).is_pending() {
                cx.clock.will_wait(Wait::Budget);
                return Poll::Pending;
            }
            let records = Records::new(u64::from(part.records()));
            match ready!(self.tx.poll_send(task, &mut self.slot)) {
                Ok(_) => self.sent += records,
                Err(error @ SendError::Timeout { .. }) => {
                    for part in self.parts.unsent(&mut self.slot) {
                        returned += Records::new(u64::from(part.records()));
                        part.nack(Nack::transient(error.to_string()));
                    }
                }
                Err(error) => return Poll::Ready(Err(ended(&error))),
            }
        }
        Poll::Ready(Ok(SideSent { sent: std::mem::take(&mut self.sent), returned }))
    }

    /// Counts records as shed at this output, because there was no memory to send them.
    pub(crate) fn count_unpaid(&mut self, records: u32) {
        self.tx.count_unpaid(Records::new(u64::from(records)));
    }

    /// Sends without waiting. What the edge's policy gives up is counted there; a port that would make the sender wait
    /// is refused when the pipeline is built, so nothing else is let go here but what comes after the end of the edge.
    pub(crate) fn offer(&mut self, batch: Batch<P>) {
        let mut slot = Some(batch);
        while slot.is_some() {
            self.parts.fill(&mut slot, |lane| self.tx.largest(lane));
            if self.tx.try_send(&mut slot).is_err() {
                self.parts.unsent(&mut slot).for_each(|part| part.settle(Outcome::Abandoned));
            }
            self.parts.fill(&mut slot, |lane| self.tx.largest(lane));
        }
    }
}
