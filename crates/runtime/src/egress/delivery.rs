//! [`Delivery`]: brings batches into one sink: tries again, halves, settles. What is given up is set aside for whoever
//! owns the dead letter port.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use tidegate_flow::{
    Account, Batch, FlowCounter, Meta, Nack, NackKind, Outcome, Payload, Records, Spares, StageClock, Ticket, Time,
    Wait,
};

use super::halving::Halving;
use super::part::{self, Attempt, Known};
use super::refusals::Refusals;
use super::{Accepted, Sink, SinkContext, SinkPolicy};
use crate::clock::{Clock, waiting};
use crate::context::{count_lost, count_sent, panic_nack};
use crate::handover::{GRACE, Handover, Relief};
use crate::pay::own;
use crate::probe::Due;
use crate::stage::Ended;

/// What a delivery shares with its stage, so that it can go on while the stage's own loop waits for something else.
#[derive(Clone)]
pub(crate) struct DeliveryTools {
    pub(crate) clock: Clock,
    pub(crate) times: StageClock,
    /// When the wait of this delivery ends at the latest.
    pub(crate) due: Due,
    pub(crate) counter: FlowCounter,
    /// Pays for rows that are copied because a fork shares them.
    pub(crate) outbound: Account,
    /// Whether what is refused for good goes to a dead letter port, or back to its source.
    pub(crate) keeps_letters: bool,
    /// Asks the stage to make way: then nothing is begun any more, and what is under way gets [`GRACE`].
    pub(crate) relief: Relief,
    /// Where refusals are noted, with their causes.
    pub(crate) refusals: Refusals,
    /// What the sink is given.
    pub(crate) given: SinkContext,
}

/// A sink, and what is on its way into it.
pub(crate) struct Delivery<S, P: Payload> {
    sink: S,
    policy: SinkPolicy,
    spares: Spares<P>,
    tools: DeliveryTools,
    /// Parts of the batch in hand that wait for their turn; at most one for each halving.
    pending: Vec<Attempt<P>>,
    letters: Vec<Letter<P>>,
}

/// A record that was given up.
pub(super) struct Letter<P> {
    pub(super) batch: Batch<P>,
    pub(super) nack: Nack,
    pub(super) attempts: u32,
    pub(super) first: Time,
}

impl<P: Payload, S: Sink<P>> Delivery<S, P> {
    pub(crate) fn new(mut sink: S, policy: SinkPolicy, tools: DeliveryTools, spares: Spares<P>) -> Self {
        sink.open(tools.given.clone());
        Self { sink, policy, spares, tools, pending: Vec::new(), letters: Vec::new() }
    }

    /// Puts a batch in line, behind what is there: something is only where the stage is to make way.
    pub(super) fn take(&mut self, batch: Batch<P>) {
        self.sink.begin();
        self.pending.insert(0, Attempt::new(batch));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }

    /// Whether the stage is asked to make way: what is in line stays there, for the next sink.
    pub(super) fn makes_way(&self) -> bool {
        self.tools.relief.is_asked()
    }

    /// Leaves what is in line to the next life of the stage, in the order in which it would have been delivered.
    pub(super) fn hand_over(self, to: &mut Handover) {
        self.pending.into_iter().rev().for_each(|attempt| to.leave_batch(attempt.batch));
    }

    /// Completes when the sink has the memory for a delivery.
    pub(super) fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_memory(task)
    }

    /// Gives that memory back.
    pub(super) fn release(&mut self) {
        self.sink.release();
    }

    /// Whether nothing is in line any more.
    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether something was given up that nobody has asked for yet.
    pub(super) fn has_letters(&self) -> bool {
        !self.letters.is_empty()
    }

    /// What was given up since this was last asked.
    pub(super) fn letters(&mut self) -> std::vec::Drain<'_, Letter<P>> {
        self.letters.drain(..)
    }

    /// When what it waits for ends at the latest.
    pub(super) fn due(&self) -> Due {
        self.tools.due.clone()
    }

    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        let Self { sink, tools, policy, .. } = self;
        let flushed = call(tools, policy.timeout, async { sink.flush().await }).await;
        flushed.map_err(|nack| Ended::Failed(format!("flush of the sink: {}", nack.cause).into()))
    }

    /// Delivers what is in line, until something was given up or the stage is to make way. What is dropped on the way is
    /// abandoned, never lost from the count.
    pub(super) async fn run(&mut self) -> Result<(), Ended> {
        while self.letters.is_empty()
            && !self.makes_way()
            && let Some(attempt) = self.pending.pop()
        {
            if self.sink.is_closed() {
                return Err(Ended::Cancelled);
            }
            if let Some(attempt) = self.foregone(attempt)
                && let Some(attempt) = self.afforded(attempt).await
            {
                self.try_once(attempt).await?;
            }
        }
        Ok(())
    }

    /// Delivers it once, and sees to the answer.
    async fn try_once(&mut self, mut attempt: Attempt<P>) -> Result<(), Ended> {
        let answer = self.deliver(&mut attempt.batch).await;
        self.note(&answer, attempt.batch.records());
        let hollow = attempt.batch.payload.weight().records != Records::new(u64::from(attempt.batch.records()));
        match answer {
            Ok(Accepted::All) => {
                if matches!(attempt.known, Known::FirstHalf | Known::Last) {
                    part::culprit_is_elsewhere(&mut self.pending);
                }
                self.delivered(attempt.batch);
                Ok(())
            }
            Ok(Accepted::Except(mut refused)) => {
                in_order(&mut refused, attempt.batch.records());
                if hollow {
                    self.partly_gone(attempt.batch, &refused);
                    Ok(())
                } else {
                    self.partly_delivered(attempt, refused).await
                }
            }
            // The rows are gone: there is nothing to try again with.
            Err(nack) if hollow => {
                self.refuse(attempt.batch, nack);
                Ok(())
            }
            Err(nack) => self.refused(attempt, nack).await,
        }
    }

    async fn deliver(&mut self, batch: &mut Batch<P>) -> Result<Accepted, Nack> {
        let Self { sink, tools, policy, .. } = self;
        call(tools, policy.timeout, async { sink.deliver(&mut batch.payload, &batch.meta).await }).await
    }

    /// Notes what was refused, and why.
    fn note(&self, answer: &Result<Accepted, Nack>, records: u32) {
        let Self { tools: DeliveryTools { refusals, clock, .. }, .. } = self;
        match answer {
            Ok(Accepted::All) => refusals.accepted(),
            Ok(Accepted::Except(refused)) => {
                if refused.len() < records as usize {
                    refusals.accepted();
                }
                for kind in [NackKind::Transient, NackKind::Permanent] {
                    if let Some((_, nack)) = refused.iter().find(|(_, nack)| nack.kind == kind) {
                        refusals.refused(nack, clock.now());
                    }
                }
            }
            // That it is replaced is no refusal.
            Err(_) if self.makes_way() => {}
            Err(nack) => refusals.refused(nack, clock.now()),
        }
    }

    fn delivered(&mut self, batch: Batch<P>) {
        let Batch { payload, ticket, lease, meta } = batch;
        self.tools.refusals.earned(ticket.records());
        self.spares.put(payload, lease);
        self.settle_delivered(ticket, &meta);
    }

    fn settle_delivered(&self, ticket: Ticket, meta: &Meta) {
        count_sent(&self.tools.counter, ticket.records());
        ticket.settle(if meta.dead_letter.is_some() { Outcome::DeadLettered } else { Outcome::Delivered });
    }

    /// Gives every record of `batch` back to its source.
    fn refuse(&self, batch: Batch<P>, nack: Nack) {
        count_lost(&self.tools.counter, 0, batch.records() as usize);
        // What nobody reads any more was not refused.
        if !self.sink.is_closed() {
            self.tools.refusals.returned(nack.kind, Records::new(u64::from(batch.records())));
        }
        batch.nack(nack);
    }

    /// Some rows were refused by a sink that had taken them out: they go back to their source, one by one.
    fn partly_gone(&mut self, batch: Batch<P>, refused: &[(u32, Nack)]) {
        let Batch { payload, mut ticket, lease, meta } = batch;
        for (row, nack) in refused.iter().rev() {
            self.tools.refusals.returned(nack.kind, Records::new(1));
            ticket.settle_rows(&[*row], nack.clone());
        }
        count_lost(&self.tools.counter, 0, refused.len());
        self.spares.put(payload, lease);
        self.settle_delivered(ticket, &meta);
    }

    /// Settles the rows that were accepted at once; those refused for now are tried again together, after one pause.
    async fn partly_delivered(&mut self, attempt: Attempt<P>, refused: Vec<(u32, Nack)>) -> Result<(), Ended> {
        let Attempt { mut batch, tries, first, .. } = attempt;
        // Rows that a fork shares could not be joined again.
        own(&mut batch, &self.tools.outbound);
        let mut culprits = Vec::with_capacity(refused.len());
        for (row, nack) in refused.into_iter().rev() {
            let behind = batch.split_off(row + 1);
            if behind.records() > 0 {
                self.delivered(behind);
            }
            culprits.push((batch.split_off(row), nack));
        }
        if batch.records() > 0 {
            self.delivered(batch);
        }
        let first = first.or(Some(self.tools.clock.now()));
        let alone = |batch| Attempt { batch, tries, first, known: Known::Whole };
        let mut again: Option<(Batch<P>, Nack)> = None;
        while let Some((culprit, nack)) = culprits.pop() {
            if nack.kind == NackKind::Permanent {
                self.refused(alone(culprit), nack).await?;
                continue;
            }
            again = match again.take() {
                None => Some((culprit, nack)),
                Some((mut batch, said)) => match batch.append(culprit) {
                    Ok(()) => Some((batch, said)),
                    Err(culprit) => {
                        self.refused(alone(batch), said).await?;
                        Some((culprit, nack))
                    }
                },
            };
        }
        match again {
            Some((batch, nack)) => self.refused(alone(batch), nack).await,
            None => Ok(()),
        }
    }

    /// Tries again later, halves, or gives up, by the kind of the refusal.
    async fn refused(&mut self, attempt: Attempt<P>, nack: Nack) -> Result<(), Ended> {
        let Attempt { batch, tries, first, known } = attempt;
        let first = first.unwrap_or_else(|| self.tools.clock.now());
        match nack.kind {
            // Nobody is left to try with.
            _ if self.sink.is_closed() => {
                self.refuse(batch, nack);
                Err(Ended::Cancelled)
            }
            // The next sink tries with all its tries.
            NackKind::Transient if self.makes_way() => {
                self.pending.push(Attempt { batch, tries: 0, first: Some(first), known });
                Ok(())
            }
            NackKind::Transient if tries < self.policy.retries => {
                let tries = tries.saturating_add(1);
                self.pending.push(Attempt { batch, tries, first: Some(first), known });
                self.tools.refusals.retried();
                self.pause(tries).await;
                Ok(())
            }
            NackKind::Transient => {
                self.refuse(batch, nack);
                Ok(())
            }
            NackKind::Permanent => {
                if matches!(known, Known::FirstHalf | Known::Last) {
                    part::culprit_is_here(&mut self.pending);
                }
                if batch.records() > 1 {
                    let everything = self.tools.refusals.halving(|halving| halving.refuses_everything());
                    let attempt = Attempt { batch, tries, first: Some(first), known };
                    self.pending.extend(attempt.split(everything.map(|_| nack)));
                } else {
                    self.tools.refusals.halving(Halving::refused_alone);
                    self.give_up(batch, nack, tries.saturating_add(1), first);
                }
                Ok(())
            }
        }
    }

    /// Splits what is known to hold a culprit, and gives up what is refused with everything else; gives back what has to
    /// be tried.
    fn foregone(&mut self, attempt: Attempt<P>) -> Option<Attempt<P>> {
        let everything = self.tools.refusals.halving(|halving| halving.refuses_everything());
        match (&attempt.known, everything) {
            (Known::LikeTheFirst(nack), Some(_)) if attempt.batch.records() > 1 => {
                let nack = nack.clone();
                self.pending.extend(attempt.split_last(nack));
                return None;
            }
            (Known::LikeBothEnds(nack), Some(_)) => {
                let (nack, tries) = (part::among_others(nack), attempt.tries.saturating_add(1));
                let first = attempt.first.unwrap_or_else(|| self.tools.clock.now());
                self.give_up(attempt.batch, nack, tries, first);
                return None;
            }
            _ => {}
        }
        if attempt.is_split_untried() {
            self.pending.extend(attempt.split(None));
            return None;
        }
        Some(attempt)
    }

    /// Waits until a part of a refused batch may be delivered. `None`: the stage makes way first, and it is in line again.
    async fn afforded(&mut self, attempt: Attempt<P>) -> Option<Attempt<P>> {
        if attempt.known == Known::Whole {
            return Some(attempt);
        }
        let now = self.tools.clock.now();
        if let Some(until) = self.tools.refusals.halving(|halving| halving.take(now)) {
            self.pause_until(until).await;
            if self.makes_way() {
                self.pending.push(attempt);
                return None;
            }
        }
        Some(attempt)
    }

    /// The pause before the given try, scattered, or what the receiver asked for where that is longer.
    async fn pause(&mut self, tries: u32) {
        let own = self.policy.backoff.pause(tries).unwrap_or(self.policy.backoff.longest);
        let own = self.policy.jitter.next(own);
        let asked = self.sink.retry_after().unwrap_or_default();
        self.pause_until(self.tools.clock.now() + own.max(asked)).await;
    }

    /// Delivers nothing before that time, unless the stage is to make way.
    async fn pause_until(&mut self, until: Time) {
        self.tools.due.set(until);
        let mut way = self.tools.relief.intake();
        let pause = async {
            tokio::select! {
                biased;
                () = self.tools.clock.sleep_until(until) => {}
                () = way.shut() => {}
            }
        };
        waiting(&self.tools.times, Wait::External, pause).await;
        self.tools.due.clear();
    }

    fn give_up(&mut self, batch: Batch<P>, nack: Nack, attempts: u32, first: Time) {
        if self.tools.keeps_letters {
            self.letters.push(Letter { batch, nack, attempts, first });
        } else {
            self.refuse(batch, nack);
        }
    }
}

/// Calls a sink: no answer within the limit is a refusal for now, a panic one for good.
async fn call<T>(
    tools: &DeliveryTools,
    limit: Option<Duration>,
    answer: impl Future<Output = Result<T, Nack>>,
) -> Result<T, Nack> {
    let answer = unless_relieved(&tools.relief, AssertUnwindSafe(answer).catch_unwind());
    let answer = match limit {
        None => waiting(&tools.times, Wait::External, answer).await,
        Some(limit) => {
            let timed = tokio::time::timeout(limit, answer);
            tools.due.set(tools.clock.now() + limit);
            let answer = waiting(&tools.times, Wait::External, timed).await;
            tools.due.clear();
            answer.map_err(|_| Nack::transient(format!("no answer within {limit:?}")))?
        }
    };
    answer.unwrap_or_else(|panic| Err(panic_nack(&*panic)))
}

/// Cuts a call short that goes on for longer than the grace after its stage was asked to make way.
async fn unless_relieved<T, E>(
    relief: &Relief,
    answer: impl Future<Output = Result<Result<T, Nack>, E>>,
) -> Result<Result<T, Nack>, E> {
    let mut way = relief.intake();
    let cut = async {
        way.shut().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        () = cut => Ok(Err(Nack::transient("its sink was replaced"))),
    }
}

/// Makes sense of the rows that a sink names: each once, in ascending order, and only rows that there are.
fn in_order(refused: &mut Vec<(u32, Nack)>, records: u32) {
    refused.sort_by_key(|(row, _)| *row);
    refused.dedup_by_key(|(row, _)| *row);
    refused.retain(|(row, _)| *row < records);
}
