//! Where a stage's output goes when it is not a sink: one edge, a fork, a partition, or a side output.

mod choice;
mod parts;
mod side;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tidegate_flow::{Batch, Cause, Nack, Payload, Share, Ticket};

use crate::clock::Clock;
use crate::context::StageContext;
use crate::edge::{Control, EdgeTx, SendError};
use crate::faults::{Faults, ask_rows};
use crate::handover::Handover;
use crate::stage::{Ended, Outlet, StageEnd};

pub(crate) use self::choice::ChoiceOutlet;
pub use self::choice::{BranchSet, Chooser};
use self::parts::Parts;
pub(crate) use self::side::{Side, SideSent};

/// Sends to one edge.
pub(crate) struct EdgeOutlet<P: Payload> {
    tx: EdgeTx<Batch<P>>,
    parts: Parts<P>,
}

impl<P: Payload> EdgeOutlet<P> {
    pub(crate) fn new(tx: EdgeTx<Batch<P>>) -> Self {
        Self { tx, parts: Parts::new() }
    }
}

impl<P: Payload> Outlet<P> for EdgeOutlet<P> {
    async fn ready(&mut self, _cx: &mut StageContext) -> Result<(), Ended> {
        self.tx.ready().await;
        Ok(())
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        loop {
            self.parts.fill(slot, |lane| self.tx.largest(lane));
            let Some(part) = slot.as_ref() else { return Ok(()) };
            let records = part.records();
            match self.tx.send(slot).await {
                Ok(_) => cx.count_sent(records),
                Err(error @ SendError::Timeout { .. }) => {
                    self.parts.unsent(slot).for_each(|part| cx.refuse(part, Nack::transient(error.to_string())));
                }
                Err(error) => return Err(ended(&error)),
            }
        }
    }

    async fn control(&mut self, control: Control, _cx: &mut StageContext) -> Result<(), Ended> {
        send_control(&mut self.tx, control);
        Ok(())
    }

    async fn finish(&mut self, end: &StageEnd, _cx: &mut StageContext) -> Result<(), Ended> {
        finish_edge(&mut self.tx, end);
        Ok(())
    }

    fn consumer_is_idle(&self) -> bool {
        self.tx.is_starving()
    }

    fn poll_consumer_idle(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.tx.poll_starving(task)
    }

    fn hand_over(self, to: &mut Handover) {
        to.leave_tx(self.tx);
    }
}

/// How a stage ends that cannot send.
fn ended(error: &SendError) -> Ended {
    match error {
        SendError::Closed { .. } => Ended::Cancelled,
        SendError::Full { .. } | SendError::Timeout { .. } | SendError::NoDivert { .. } => {
            Ended::Failed(Cause::from(error.to_string()))
        }
    }
}

/// Passes a control message on. A full control lane means that its consumer has not run for that many messages, so
/// that one of the same kind is on its way already.
fn send_control<P: Payload>(tx: &mut EdgeTx<Batch<P>>, control: Control) {
    drop(tx.send_control(control));
}

fn finish_edge<P: Payload>(tx: &mut EdgeTx<Batch<P>>, end: &StageEnd) {
    match end {
        // Dropping the end, which the stage does next, completes the edge.
        StageEnd::Completed | StageEnd::Cancelled => {}
        StageEnd::Failed(cause) => tx.fail(cause.clone()),
    }
}

/// One branch of a fork or partition.
struct Arm<P: Payload> {
    tx: EdgeTx<Batch<P>>,
    waiting: VecDeque<Batch<P>>,
    slot: Option<Batch<P>>,
    parts: Parts<P>,
    /// Whether the records' outcome counts on this branch, and the stage ends when it is gone.
    required: bool,
    gone: bool,
}

impl<P: Payload> Arm<P> {
    /// Completes when everything in line for this branch was sent, or the branch is gone and was not required.
    fn poll_sent(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            self.parts.fill(&mut self.slot, |lane| self.tx.largest(lane));
            if self.slot.is_none() {
                match self.waiting.pop_front() {
                    None => return Poll::Ready(Ok(())),
                    batch => self.slot = batch,
                }
                continue;
            }
            let sent = ready!(self.tx.poll_send(task, &mut self.slot));
            match sent {
                Ok(_) => {}
                Err(SendError::Closed { .. }) if !self.required => {
                    self.gone = true;
                    drop(self.parts.unsent(&mut self.slot));
                    self.waiting.clear();
                }
                // The stage has counted these records as sent; refusing them is the branch's own affair.
                Err(error @ SendError::Timeout { .. }) => {
                    let nack = || Nack::transient(error.to_string());
                    self.parts.unsent(&mut self.slot).for_each(|part| part.nack(nack()));
                }
                Err(error) => return Poll::Ready(Err(ended(&error))),
            }
        }
    }
}

/// Several branches, and what they have in common.
struct Arms<P: Payload>(Vec<Arm<P>>);

impl<P: Payload> Arms<P> {
    fn new(branches: Vec<(EdgeTx<Batch<P>>, bool)>) -> Self {
        let arm = |(tx, required)| Arm {
            tx,
            waiting: VecDeque::new(),
            slot: None,
            parts: Parts::new(),
            required,
            gone: false,
        };
        Self(branches.into_iter().map(arm).collect())
    }

    /// Waits until every branch that is still there has room; branches that shed always do.
    async fn ready(&mut self) -> Result<(), Ended> {
        for arm in self.0.iter_mut().filter(|arm| !arm.gone) {
            arm.tx.ready().await;
        }
        if self.0.iter().all(|arm| arm.gone) { Err(Ended::Cancelled) } else { Ok(()) }
    }

    /// Sends what is in line for every branch; the branches do not wait for each other.
    async fn sent(&mut self) -> Result<(), Ended> {
        poll_fn(|task| {
            let mut all = Poll::Ready(Ok(()));
            for arm in &mut self.0 {
                match arm.poll_sent(task) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(ended)) => return Poll::Ready(Err(ended)),
                    Poll::Pending => all = Poll::Pending,
                }
            }
            all
        })
        .await
    }

    fn control(&mut self, control: Control) {
        self.0.iter_mut().filter(|arm| !arm.gone).for_each(|arm| send_control(&mut arm.tx, control));
    }

    /// Every push waits until nothing is in line, so that only the ends are left.
    fn hand_over(self, to: &mut Handover) {
        self.0.into_iter().for_each(|arm| to.leave_tx(arm.tx));
    }

    fn finish(&mut self, end: &StageEnd) {
        self.0.iter_mut().for_each(|arm| finish_edge(&mut arm.tx, end));
    }
}

/// Sends every record to every branch.
pub(crate) struct ForkOutlet<P: Share> {
    arms: Arms<P>,
    required: usize,
}

impl<P: Share> ForkOutlet<P> {
    /// `branches` with whether each is required.
    pub(crate) fn new(branches: Vec<(EdgeTx<Batch<P>>, bool)>) -> Self {
        let required = branches.iter().filter(|(_, required)| *required).count();
        Self { arms: Arms::new(branches), required }
    }

    /// Puts a share of `batch` in line for every branch. Best-effort branches hold tickets of no source: what becomes
    /// of their share is counted on the branch alone.
    fn fork(&mut self, mut batch: Batch<P>) {
        for arm in self.arms.0.iter_mut().filter(|arm| !arm.required && !arm.gone) {
            let ticket = Ticket::detached(batch.records());
            let (payload, lease) = (batch.payload.share(), batch.lease.share());
            arm.waiting.push_back(Batch { payload, ticket, lease, meta: batch.meta.clone() });
        }
        let shares = batch.fork(self.required);
        let required = self.arms.0.iter_mut().filter(|arm| arm.required);
        for (arm, share) in required.zip(shares) {
            arm.waiting.push_back(share);
        }
    }
}

impl<P: Share> Outlet<P> for ForkOutlet<P> {
    async fn ready(&mut self, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.ready().await
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        if let Some(batch) = slot {
            cx.take_charge(batch).await;
        }
        if let Some(batch) = slot.take() {
            cx.count_sent(batch.records());
            self.fork(batch);
        }
        self.arms.sent().await
    }

    async fn control(&mut self, control: Control, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.control(control);
        Ok(())
    }

    async fn finish(&mut self, end: &StageEnd, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.finish(end);
        Ok(())
    }

    fn hand_over(self, to: &mut Handover) {
        self.arms.hand_over(to);
    }
}

/// Says for each row of a payload which branch it takes.
pub trait Router<P>: Send + 'static {
    /// Pushes one branch number a row, in row order. A number that no branch has counts as the last branch. A panic costs
    /// the row whose number would have come next, and no other.
    fn route(&mut self, payload: &P, branches: &mut Vec<usize>);
}

/// Sends every record to one branch.
pub(crate) struct PartitionOutlet<P: Payload, R> {
    arms: Arms<P>,
    router: R,
    routes: Vec<usize>,
    faults: Faults,
    clock: Clock,
}

impl<P: Payload, R: Router<P>> PartitionOutlet<P, R> {
    pub(crate) fn new(branches: Vec<EdgeTx<Batch<P>>>, router: R, clock: Clock) -> Self {
        let branches = branches.into_iter().map(|tx| (tx, true)).collect();
        Self { arms: Arms::new(branches), router, routes: Vec::new(), faults: Faults::default(), clock }
    }

    /// Puts each run of rows with the same branch in line for it; runs of one branch are joined where they can be.
    fn partition(&mut self, batch: Batch<P>) {
        let last = self.arms.0.len() - 1;
        let mut rest = Some(batch);
        let mut rows = self.routes.as_slice();
        while let (Some(mut piece), Some(first)) = (rest.take(), rows.first()) {
            let run = rows.iter().take_while(|route| *route == first).count();
            rows = &rows[run..];
            if !rows.is_empty() {
                rest = Some(piece.split_off(u32::try_from(run).unwrap_or(u32::MAX)));
            }
            put_in_line(&mut self.arms.0[(*first).min(last)].waiting, piece);
        }
    }
}

/// Joins the batch to the last in line where that can be.
fn put_in_line<P: Payload>(line: &mut VecDeque<Batch<P>>, batch: Batch<P>) {
    let leftover = match line.back_mut() {
        Some(open) => open.append(batch).err(),
        None => Some(batch),
    };
    line.extend(leftover);
}

impl<P: Payload, R: Router<P>> Outlet<P> for PartitionOutlet<P, R> {
    async fn ready(&mut self, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.ready().await
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        if let Some(mut batch) = slot.take() {
            cx.own_outbound(&mut batch);
            let Self { router, routes, faults, .. } = self;
            ask_rows(&mut batch, routes, faults, cx, |payload, routes| router.route(payload, routes));
            cx.count_sent(batch.records());
            self.partition(batch);
        }
        self.arms.sent().await?;
        self.faults.heed(self.clock, cx).await
    }

    async fn control(&mut self, control: Control, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.control(control);
        Ok(())
    }

    async fn finish(&mut self, end: &StageEnd, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.finish(end);
        Ok(())
    }

    fn hand_over(self, to: &mut Handover) {
        self.arms.hand_over(to);
    }
}
