//! Where records leave: a [`Sink`], and the outlet that delivers to it: retries, bisection, dead letters, settlement.
//!
//! A sink says per record what it accepted. When it refuses a whole batch for good, or panics, the batch is halved
//! until the culprits are alone; they go to the dead letter port, or back to the source as permanent nacks, and the
//! rest is delivered. A batch of `n` records with `k` culprits costs at most `2 * k * log2(n) + 1` deliveries.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tidegate_flow::{Batch, Meta, Nack, NackKind, Outcome, Payload, Records, Spares, Ticket, Wait};

use crate::clock::{Clock, waiting};
use crate::context::{Backoff, StageContext, panic_nack};
use crate::dead_letter::DeadLetterPort;
use crate::edge::Control;
use crate::stage::{Ended, Outlet, StageEnd};

/// What a sink accepted of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    /// Every record.
    #[default]
    All,
    /// Every record but these (ascending row numbers), each with the reason.
    Except(Vec<(u32, Nack)>),
}

impl Accepted {
    /// Every record but those refused, which may be none.
    #[must_use]
    pub fn all_but(refused: Vec<(u32, Nack)>) -> Self {
        if refused.is_empty() { Self::All } else { Self::Except(refused) }
    }
}

/// Where records leave the pipeline.
///
/// `Ok` means **accepted**: the record is the receiver's now, and the source may acknowledge it. A sink never retries,
/// batches or times out by itself; that is the runtime's part, configured the same way everywhere.
pub trait Sink<P: Payload>: Send + 'static {
    /// Delivers a batch. Rows that were not accepted are tried again, bisected, or dead-lettered, so a sink leaves them
    /// in `payload`. One that takes the rows out gives this up: whatever it then refuses goes back to its source at
    /// once (all rows, where it answers with an error, panics or is cut short by its time limit). `meta` says how old
    /// the batch is, when it expires, and why its records were given up if they are dead letters.
    ///
    /// # Errors
    /// The whole batch was refused.
    fn deliver(&mut self, payload: &mut P, meta: &Meta) -> impl Future<Output = Result<Accepted, Nack>> + Send;

    /// Pushes out what the receiver buffers; called on a flush message and before the end.
    ///
    /// # Errors
    /// The pipeline stops with the cause.
    fn flush(&mut self) -> impl Future<Output = Result<(), Nack>> + Send {
        async { Ok(()) }
    }

    /// Whether the receiver is gone and nothing will be accepted any more. Asked before each delivery and after each
    /// refusal; the stage then ends as if everyone downstream had gone, and what it had in hand is given back.
    fn is_closed(&self) -> bool {
        false
    }
}

/// What the runtime does around a sink.
#[derive(Clone, Debug)]
pub struct SinkPolicy {
    /// How often a batch that was refused for now is tried again before it is returned to its source. The pauses are
    /// those of `backoff`. Default: 3.
    pub retries: u32,
    /// The pauses between tries.
    pub backoff: Backoff,
    /// A delivery that takes longer counts as refused for now. Default: none.
    pub timeout: Option<Duration>,
}

impl Default for SinkPolicy {
    fn default() -> Self {
        Self { retries: 3, backoff: Backoff::default(), timeout: None }
    }
}

/// Delivers a stage's batches to a [`Sink`].
pub(crate) struct SinkOutlet<S, P: Payload> {
    sink: S,
    policy: SinkPolicy,
    clock: Clock,
    dead_letters: Option<DeadLetterPort<P>>,
    spares: Spares<P>,
    /// Parts of the batch in hand that wait for their turn; at most one for each halving.
    pending: Vec<Attempt<P>>,
}

/// A batch on its way into the sink.
struct Attempt<P> {
    batch: Batch<P>,
    tries: u32,
}

impl<P: Payload, S: Sink<P>> SinkOutlet<S, P> {
    pub(crate) fn new(
        sink: S,
        policy: SinkPolicy,
        clock: Clock,
        dead_letters: Option<DeadLetterPort<P>>,
        spares: Spares<P>,
    ) -> Self {
        Self { sink, policy, clock, dead_letters, spares, pending: Vec::new() }
    }

    /// Delivers every pending part; what is dropped on the way is abandoned, never lost from the count.
    async fn drain(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        while let Some(mut attempt) = self.pending.pop() {
            if self.sink.is_closed() {
                return Err(Ended::Cancelled);
            }
            let answer = self.deliver(&mut attempt.batch, cx).await;
            let hollow = attempt.batch.payload.weight().records != Records::new(u64::from(attempt.batch.records()));
            match answer {
                Ok(Accepted::All) => self.delivered(attempt.batch, cx),
                Ok(Accepted::Except(mut refused)) => {
                    in_order(&mut refused, attempt.batch.records());
                    if hollow {
                        self.partly_gone(attempt.batch, &refused, cx);
                    } else {
                        self.partly_delivered(attempt, refused, cx).await?;
                    }
                }
                // The rows are gone: there is nothing to try again with.
                Err(nack) if hollow => cx.refuse(attempt.batch, nack),
                Err(nack) => self.refused(attempt, nack, cx).await?,
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, batch: &mut Batch<P>, cx: &StageContext) -> Result<Accepted, Nack> {
        let sink = &mut self.sink;
        let call = AssertUnwindSafe(async { sink.deliver(&mut batch.payload, &batch.meta).await }).catch_unwind();
        let answer = match self.policy.timeout {
            None => waiting(&cx.clock, Wait::External, call).await,
            Some(limit) => {
                let timed = tokio::time::timeout(limit, call);
                cx.due.set(self.clock.now() + limit);
                let answer = waiting(&cx.clock, Wait::External, timed).await;
                cx.due.clear();
                match answer {
                    Ok(answer) => answer,
                    Err(_) => return Err(Nack::transient(format!("no answer within {limit:?}"))),
                }
            }
        };
        answer.unwrap_or_else(|panic| Err(panic_nack(&*panic)))
    }

    fn delivered(&mut self, batch: Batch<P>, cx: &StageContext) {
        let Batch { payload, ticket, lease, meta } = batch;
        self.spares.put(payload, lease);
        self.settle_delivered(ticket, &meta, cx);
    }

    fn settle_delivered(&self, ticket: Ticket, meta: &Meta, cx: &StageContext) {
        cx.count_sent(ticket.records());
        ticket.settle(if meta.dead_letter.is_some() { Outcome::DeadLettered } else { Outcome::Delivered });
    }

    /// Some rows were refused by a sink that had taken them out: they go back to their source, one by one.
    fn partly_gone(&mut self, batch: Batch<P>, refused: &[(u32, Nack)], cx: &StageContext) {
        let Batch { payload, mut ticket, lease, meta } = batch;
        for (row, nack) in refused.iter().rev() {
            ticket.settle_rows(&[*row], nack.clone());
        }
        cx.count_lost(0, refused.len());
        self.spares.put(payload, lease);
        self.settle_delivered(ticket, &meta, cx);
    }

    /// Settles the rows that were accepted at once; those refused for now are tried again together, after one pause.
    async fn partly_delivered(
        &mut self,
        attempt: Attempt<P>,
        refused: Vec<(u32, Nack)>,
        cx: &mut StageContext,
    ) -> Result<(), Ended> {
        let Attempt { mut batch, tries } = attempt;
        // Rows that a fork shares could not be joined again.
        cx.own_outbound(&mut batch);
        let mut culprits = Vec::with_capacity(refused.len());
        for (row, nack) in refused.into_iter().rev() {
            let behind = batch.split_off(row + 1);
            if behind.records() > 0 {
                self.delivered(behind, cx);
            }
            culprits.push((batch.split_off(row), nack));
        }
        if batch.records() > 0 {
            self.delivered(batch, cx);
        }
        let mut again: Option<(Batch<P>, Nack)> = None;
        while let Some((culprit, nack)) = culprits.pop() {
            if nack.kind == NackKind::Permanent {
                self.refused(Attempt { batch: culprit, tries }, nack, cx).await?;
                continue;
            }
            again = match again.take() {
                None => Some((culprit, nack)),
                Some((mut batch, first)) => match batch.append(culprit) {
                    Ok(()) => Some((batch, first)),
                    Err(culprit) => {
                        self.refused(Attempt { batch, tries }, first, cx).await?;
                        Some((culprit, nack))
                    }
                },
            };
        }
        match again {
            Some((batch, nack)) => self.refused(Attempt { batch, tries }, nack, cx).await,
            None => Ok(()),
        }
    }

    /// Tries again later, halves, or gives up, by the kind of the refusal.
    async fn refused(&mut self, attempt: Attempt<P>, nack: Nack, cx: &mut StageContext) -> Result<(), Ended> {
        let Attempt { mut batch, tries } = attempt;
        match nack.kind {
            // Nobody is left to try with.
            _ if self.sink.is_closed() => {
                cx.refuse(batch, nack);
                Err(Ended::Cancelled)
            }
            NackKind::Transient if tries < self.policy.retries => {
                self.pending.push(Attempt { batch, tries: tries + 1 });
                let pause = self.policy.backoff.pause(tries + 1).unwrap_or(self.policy.backoff.longest);
                let until = self.clock.now() + pause;
                cx.due.set(until);
                waiting(&cx.clock, Wait::External, self.clock.sleep_until(until)).await;
                cx.due.clear();
                Ok(())
            }
            NackKind::Transient => {
                cx.refuse(batch, nack);
                Ok(())
            }
            NackKind::Permanent if batch.records() > 1 => {
                let behind = batch.split_off(batch.records() / 2);
                self.pending.push(Attempt { batch: behind, tries });
                self.pending.push(Attempt { batch, tries });
                Ok(())
            }
            NackKind::Permanent => self.give_up(batch, nack, tries + 1, cx).await,
        }
    }

    async fn give_up(
        &mut self,
        batch: Batch<P>,
        nack: Nack,
        attempts: u32,
        cx: &mut StageContext,
    ) -> Result<(), Ended> {
        let Some(port) = &mut self.dead_letters else {
            cx.refuse(batch, nack);
            return Ok(());
        };
        port.stage(batch, nack, attempts, cx);
        poll_fn(|task| port.poll_sent(task, cx)).await
    }
}

/// Makes sense of the rows that a sink names: each once, in ascending order, and only rows that there are.
fn in_order(refused: &mut Vec<(u32, Nack)>, records: u32) {
    refused.sort_by_key(|(row, _)| *row);
    refused.dedup_by_key(|(row, _)| *row);
    refused.retain(|(row, _)| *row < records);
}

impl<P: Payload, S: Sink<P>> Outlet<P> for SinkOutlet<S, P> {
    async fn ready(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        if self.sink.is_closed() {
            return Err(Ended::Cancelled);
        }
        self.drain(cx).await
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        if let Some(batch) = slot.take() {
            self.pending.push(Attempt { batch, tries: 0 });
        }
        self.drain(cx).await
    }

    async fn control(&mut self, control: Control, cx: &mut StageContext) -> Result<(), Ended> {
        match control {
            Control::Flush | Control::Checkpoint(_) | Control::Drain => {
                let flush = self.sink.flush();
                waiting(&cx.clock, Wait::External, flush).await.map_err(|nack| Ended::Failed(nack.cause))
            }
        }
    }

    async fn finish(&mut self, _end: &StageEnd, cx: &mut StageContext) -> Result<(), Ended> {
        self.drain(cx).await?;
        let flush = self.sink.flush();
        waiting(&cx.clock, Wait::External, flush).await.map_err(|nack| Ended::Failed(nack.cause))
    }

    fn consumer_is_idle(&self) -> bool {
        true
    }
}
