//! What a stage pays for: its output, rows that it takes from a fork, and what has left it but is in no edge's account.
//!
//! Three accounts keep a stage from refusing a record because memory is short for a moment:
//!
//! * **in hand** pays for the chain of steps: what each holds from one call to the next, and the output being made. The
//!   plan reserves the most that they can need ([`Transform::batches_in_hand`](crate::Transform::batches_in_hand)), and
//!   nothing else is charged there. So the memory for an output is there before it is made.
//! * **on its way** pays for a batch that has left the chain with its charge, because no edge could take it over. Only
//!   here is memory waited for, with the batch in hand: whatever is charged here is downstream, and moves on.
//! * **held back** pays for partial batches and state; it is tried, never waited for.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tidegate_flow::{Account, AccountKind, Batch, Bytes, Cause, Lease, Nack, NackKind, OverBudget, Payload, Wait};

use crate::clock::waiting;
use crate::context::StageContext;

impl StageContext {
    /// Makes the lease of `batch` pay for what the payload weighs now: it gives back what is too much, and takes what
    /// is missing from what the plan has reserved for the stage.
    ///
    /// # Errors
    /// A nack that says by how much the output outgrew what is reserved, which only a record larger than the largest
    /// batch can do: transient where it is only that others use the memory now, permanent where it can never fit.
    pub fn cover<P: Payload>(&self, batch: &mut Batch<P>) -> Result<(), Nack> {
        if self.pay(&mut batch.lease, batch.payload.retained_bytes()).is_ok() {
            return Ok(());
        }
        // What stays of the batch is what its rows weigh: less than a step may make, but for a record that is larger.
        batch.payload.shrink_to_fit();
        let needed = batch.payload.retained_bytes();
        self.pay_overdrawing(&mut batch.lease, needed).map_err(|refused| {
            let kind = if refused == OverBudget::Busy { NackKind::Transient } else { NackKind::Permanent };
            let cause = Cause::from(format!(
                "stage \"{}\" made {needed} of output in one step, more than its overdraft allows ({refused}); \
                 give the pipeline a larger batch size or make the records smaller",
                self.name
            ));
            Nack { kind, cause }
        })
    }

    /// Makes `lease` pay for `bytes` without an overdraft.
    fn pay(&self, lease: &mut Lease, bytes: Bytes) -> Result<(), OverBudget> {
        if !lease.is_shared() && (bytes <= lease.bytes() || self.may_grow(lease)) && lease.resize(bytes).is_ok() {
            return Ok(());
        }
        *lease = self.account.lease(bytes)?;
        Ok(())
    }

    /// Makes `lease` pay for `bytes` out of the stage's account, and the overdraft for what that has no room for.
    fn pay_overdrawing(&self, lease: &mut Lease, bytes: Bytes) -> Result<(), OverBudget> {
        if !lease.is_shared() && lease.rebind(&self.account).is_ok() {
            // Only the growth is charged: two charges for one batch are more than a stage can always have.
            return lease.resize_overdrawing(bytes);
        }
        *lease = self.account.overdraw(bytes)?;
        Ok(())
    }

    /// Whether `lease` may grow in the account that it is in: not where another stage counts on its reservation.
    fn may_grow(&self, lease: &Lease) -> bool {
        lease.account().is_some_and(|account| {
            account.kind() == AccountKind::Edge
                || account.is(&self.account)
                || account.is(&self.held)
                || self.spares.are_paid_by(account)
        })
    }

    /// Makes the rows of `batch` its own, where a fork shares them: they are copied, as many as fit into one batch, and
    /// paid for. The rest comes back as it was.
    ///
    /// # Errors
    /// A record larger than the largest batch, and no memory for it: `batch` is to be refused.
    pub(crate) fn own<P: Payload>(&self, batch: &mut Batch<P>) -> (Option<Batch<P>>, Result<(), Nack>) {
        if batch.lease.reclaim() {
            batch.payload.make_own();
            return (None, self.cover(batch));
        }
        let rows = u32::try_from(batch.payload.rows_within(self.chunk).get()).unwrap_or(u32::MAX);
        let rest = (rows < batch.records()).then(|| batch.split_off(rows));
        batch.payload.make_own();
        (rest, self.cover(batch))
    }

    /// Moves the charge of a batch that leaves the stage out of what the stage has in hand. Waits where what left before
    /// it still takes the room. Cancel-safe.
    pub(crate) async fn let_go<P: Payload>(&self, batch: &mut Batch<P>) {
        let moved = poll_fn(|task| self.poll_let_go(task, batch));
        waiting(&self.clock, Wait::Budget, moved).await;
    }

    /// [`let_go`](Self::let_go) as a poll function.
    pub(crate) fn poll_let_go<P: Payload>(&self, task: &mut Context<'_>, batch: &mut Batch<P>) -> Poll<()> {
        if self.is_in_hand(&batch.lease) { poll_move(task, batch, &self.outbound) } else { Poll::Ready(()) }
    }

    /// Moves the charge of a batch that is about to be shared to the stage that shares it, so that a slow branch does
    /// not hold the room of the edge before the fork. Waits where there is no room: branches that let go make some.
    /// Cancel-safe.
    pub(crate) async fn take_charge<P: Payload>(&self, batch: &mut Batch<P>) {
        if batch.rebind(&self.outbound).is_err() {
            let moved = poll_fn(|task| poll_move(task, batch, &self.outbound));
            waiting(&self.clock, Wait::Budget, moved).await;
        }
    }

    /// [`take_charge`](Self::take_charge) without waiting, where the charge would otherwise stay with what the stage
    /// has in hand. Says whether it does not.
    pub(crate) fn try_let_go<P: Payload>(&self, batch: &mut Batch<P>) -> bool {
        !self.is_in_hand(&batch.lease) || batch.rebind(&self.outbound).is_ok()
    }

    /// Makes the rows of a batch that leaves the stage its own, where a fork shares them and there is memory for it.
    pub(crate) fn own_outbound<P: Payload>(&self, batch: &mut Batch<P>) {
        own(batch, &self.outbound);
    }

    /// Whether `lease` is charged to what the stage has in hand.
    pub(crate) fn is_in_hand(&self, lease: &Lease) -> bool {
        lease.account().is_some_and(|account| account.is(&self.account))
    }
}

/// Makes the rows of `batch` its own, where a fork shares them and `account` has memory for it.
pub(crate) fn own<P: Payload>(batch: &mut Batch<P>, account: &Account) {
    if batch.payload.is_shared()
        && let Some(lease) = account.try_lease(batch.payload.weight().bytes)
    {
        batch.payload.make_own();
        batch.lease = lease;
    }
}

/// Moves the charge of `batch` to `to` as soon as that has room. A batch that has no room there even when nothing is
/// charged to it goes on alone, with its charge where it is.
fn poll_move<P: Payload>(task: &mut Context<'_>, batch: &mut Batch<P>, to: &Account) -> Poll<()> {
    loop {
        if batch.rebind(to) != Err(OverBudget::Busy) || to.used().is_zero() {
            return Poll::Ready(());
        }
        // The whole lease moves, and it may be larger than what the payload retains.
        let bytes = batch.payload.retained_bytes().max(batch.lease.bytes());
        match to.poll_room(task, bytes) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending if to.used().is_zero() => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Makes `lease` pay for `bytes` where it is, if that is an edge, or out of `held`. Says whether it does.
pub(crate) fn pay_held(lease: &mut Lease, bytes: Bytes, held: &Account) -> bool {
    if lease.is_shared() {
        // The shared charge may be larger or smaller, and it is not ours: the record gets one of its own.
        let own = held.try_lease(bytes);
        return own.map(|own| *lease = own).is_some();
    }
    let edge = lease.account().is_some_and(|account| account.kind() == AccountKind::Edge);
    ((edge || bytes <= lease.bytes()) && lease.resize(bytes).is_ok())
        || (lease.rebind(held).is_ok() && lease.resize(bytes).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tidegate_flow::{AccountSpec, Budget, Items, Share as _};

    use super::*;
    use crate::testkit::lone_context;

    /// A context with nothing but what is reserved: in hand `(minimum, overdraft)`, and on its way.
    fn tight(hand: (u64, u64), outbound: u64) -> StageContext {
        let budget = Budget::new(Bytes::new(hand.0 + hand.1 + outbound));
        let hand = AccountSpec::holding(Bytes::new(hand.0)).overdraft(Bytes::new(hand.1));
        let mut cx = lone_context("tight").unwrap();
        cx.account = budget.account("hand", hand).unwrap();
        cx.held = budget.account("held", AccountSpec::holding(Bytes::ZERO)).unwrap();
        cx.outbound = budget.account("outbound", AccountSpec::holding(Bytes::new(outbound))).unwrap();
        cx.chunk = Bytes::new(80);
        cx
    }

    fn batch(rows: u64) -> Batch<Items<u64>> {
        Batch::detached((0..rows).collect())
    }

    fn let_go(cx: &StageContext, batch: &mut Batch<Items<u64>>) -> bool {
        cx.poll_let_go(&mut Context::from_waker(std::task::Waker::noop()), batch).is_ready()
    }

    #[test]
    fn what_left_the_stage_takes_no_room_from_its_next_output() {
        let cx = tight((80, 80), 160);
        let mut first = batch(20);
        cx.cover(&mut first).unwrap();
        assert!(let_go(&cx, &mut first), "there is room on its way");
        let mut second = batch(20);
        cx.cover(&mut second).unwrap();
        assert!(!let_go(&cx, &mut second), "the first one has not moved on");
        drop(first);
        assert!(let_go(&cx, &mut second));
        assert_eq!((cx.account.used().get(), cx.outbound.used().get()), (0, 160));
    }

    #[test]
    fn a_batch_with_no_room_on_its_way_goes_on_alone() {
        let cx = tight((160, 0), 80);
        let mut large = batch(20);
        cx.cover(&mut large).unwrap();
        assert!(let_go(&cx, &mut large), "it waits for nobody: only itself holds the memory");
        assert!(cx.is_in_hand(&large.lease));
    }

    #[test]
    fn a_lease_does_not_grow_where_another_stage_counts_on_the_room() {
        let (cx, other) = (tight((160, 0), 0), tight((160, 0), 0));
        let mut batch = batch(10);
        batch.lease = other.account.try_lease(Bytes::new(40)).unwrap();
        cx.cover(&mut batch).unwrap();
        assert_eq!((cx.account.used().get(), other.account.used().get()), (80, 0));
    }

    #[test]
    fn rows_of_a_fork_are_copied_in_parts_that_are_paid_for() {
        let cx = tight((80, 0), 0);
        let fork = tight((200, 0), 0);
        let mut mine = batch(25);
        mine.lease = fork.account.try_lease(Bytes::new(200)).unwrap();
        let sibling = Batch { lease: mine.lease.share(), ..Batch::detached(mine.payload.share()) };
        let (rest, owned) = cx.own(&mut mine);
        owned.unwrap();
        let mut rest = rest.unwrap();
        assert_eq!((mine.records(), rest.records(), cx.account.used().get()), (10, 15, 80));
        assert!(!mine.payload.is_shared() && rest.payload.is_shared());
        drop((mine, sibling));
        let (none, owned) = cx.own(&mut rest);
        owned.unwrap();
        assert!(none.is_none(), "nobody else holds the rows, so they are not copied in parts");
        assert_eq!((fork.account.used().get(), cx.account.used().get()), (120, 0));
    }
}
