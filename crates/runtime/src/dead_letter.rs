//! Dead letters: where records go that were refused for good, with the cause.
//!
//! A port is one more producer on the dead letter queue's own edge. That edge has its own window and policy, so a full
//! queue is backpressure (or what its policy says), never a silent loss.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tidegate_flow::{Batch, Cause, Items, Meta, Nack, Note, Payload, Time, Weigh};

use crate::context::StageContext;
use crate::handover::Handover;
use crate::outlet::{Side, SideSent};
use crate::stage::Ended;
use crate::transform::{Step, Transform};

/// A record that was given up, as a dead letter queue sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<T> {
    /// The record as it was when it was refused.
    pub record: T,
    /// What was wrong.
    pub cause: Cause,
    /// The stage that gave it up.
    pub origin: Arc<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, since the pipeline started.
    pub at: Time,
}

impl<T: Weigh> Weigh for DeadLetter<T> {
    fn weigh(&self) -> usize {
        size_of::<Self>() - size_of::<T>() + self.record.weigh() + self.cause.as_str().len()
    }
}

/// Sends refused records to a dead letter queue.
pub struct DeadLetterPort<P: Payload> {
    side: Side<P>,
}

impl<P: Payload> DeadLetterPort<P> {
    pub(crate) fn new(side: Side<P>) -> Self {
        Self { side }
    }

    pub(crate) fn hand_over(self, to: &mut Handover) {
        to.leave_tx(self.side.into_end());
    }

    pub(crate) fn open(&mut self, cx: &StageContext) {
        self.side.open(cx);
    }

    /// Puts a refused batch in line; [`poll_sent`](Self::poll_sent) sends it. Only when the last one was sent.
    /// `tried`: how often, and when it was first refused.
    pub(crate) fn stage(&mut self, batch: Batch<P>, nack: Nack, tried: (u32, Time), cx: &StageContext) {
        self.stage_from(batch, nack, tried, Arc::clone(&cx.name), cx);
    }

    /// As [`stage`](Self::stage), of a step that has a name of its own.
    pub(crate) fn stage_from(
        &mut self,
        mut batch: Batch<P>,
        nack: Nack,
        (attempts, first): (u32, Time),
        origin: Arc<str>,
        cx: &StageContext,
    ) {
        let at = cx.now();
        batch.meta.dead_letter = Some(Arc::new(Note { nack, origin, attempts, first: first.min(at), at }));
        self.side.stage(batch);
    }

    /// Completes when nothing waits to be sent; counts what was.
    pub(crate) fn poll_sent(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        let SideSent { sent, returned } = ready!(self.side.poll_sent(task, cx))?;
        cx.counter().record(|flows| {
            flows.dead_lettered += sent;
            flows.returned += returned;
            flows.held -= sent + returned;
        });
        Poll::Ready(Ok(()))
    }
}

/// Turns rows that carry a note into [`DeadLetter`] records that carry it themselves.
#[derive(Copy, Clone, Debug, Default)]
pub struct Annotate;

impl<T: Weigh + Send + 'static> Transform<Items<T>> for Annotate {
    type Out = Items<DeadLetter<T>>;

    fn process(&mut self, input: Batch<Items<T>>, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        let Batch { mut payload, ticket, lease, meta } = input;
        let note = meta.dead_letter.clone();
        let letters = payload.take().into_iter().map(|record| letter(record, note.as_deref(), cx));
        let batch = Batch { payload: letters.collect(), ticket, lease, meta: Meta { ..meta } };
        cx.emit(batch, out);
        Step::Done
    }
}

fn letter<T>(record: T, note: Option<&Note>, cx: &StageContext) -> DeadLetter<T> {
    match note {
        Some(note) => DeadLetter {
            record,
            cause: note.nack.cause.clone(),
            origin: Arc::clone(&note.origin),
            attempts: note.attempts,
            at: note.at,
        },
        None => DeadLetter {
            record,
            cause: Cause::from("diverted"),
            origin: Arc::clone(&cx.name),
            attempts: 0,
            at: cx.now(),
        },
    }
}
