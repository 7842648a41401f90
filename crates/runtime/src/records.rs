//! The fused chain: record-by-record operators (`map`, `filter`, ...) composed at compile time and run in one loop
//! per batch.
//!
//! The closures see records; everything else (ticket, lease, counters, panics) is done once a batch. A chain of any
//! length is one [`RecordOp`], so it costs what the plain iterator chain costs plus one push per record.
//!
//! A panic in a closure is caught. The record it was working on is known exactly, so it alone is refused for good and
//! the rest of the batch goes on; nothing is replayed.

mod edits;
mod ops;

use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_flow::{Batch, Bytes, Items, Lease, Meta, Nack, Payload, Spares, Weigh};

use crate::context::{AfterFault, StageContext, panic_nack};
use crate::faults::row_number;
use crate::transform::{Step, Transform};

pub(crate) use self::edits::Edits;
pub use self::ops::{Filter, FilterMap, Identity, Map, Next, RecordOp, TryMap};

/// Runs a [`RecordOp`] over batches.
pub struct Records<C: RecordOp> {
    op: C,
    /// A copy made before the first record, where the stage restarts its operators after a fault.
    pristine: Option<(C, fn(&C) -> C)>,
    /// Emptied payloads, to fill and to give back; there once the stage is started.
    spares: Option<(Spares<Items<C::In>>, Spares<Items<C::Out>>)>,
    /// The payload that was emptied last, to be filled next where what comes out is of the same type.
    kept: Option<(Items<C::In>, Lease)>,
    edits: Edits,
    /// Rows that did not fit into one output batch.
    rest: Option<Batch<Items<C::In>>>,
    /// Faults so far; the backoff grows with them.
    faults: u32,
}

/// An input that was emptied, and the leases of it and of the output made from it.
struct Emptied<T> {
    payload: Items<T>,
    lease: Lease,
    made_lease: Lease,
}

/// How a pass over the rows of a batch ended.
enum Pass {
    Finished,
    /// The output batch is full and rows are left.
    Full,
    /// A closure panicked on the last row taken.
    Panicked(Nack),
}

/// Starts a chain of record operators outside of a flow, for pipelines put together at run time: extend it, box it as
/// a [`BoxTransform`](crate::BoxTransform), and add it with [`Flow::transform`](crate::Flow::transform).
#[must_use]
pub fn records<T: Weigh + Send + 'static>() -> Records<Identity<T>> {
    Records::new(Identity::default())
}

impl<C: RecordOp> Records<C> {
    /// Makes one record of each.
    #[must_use]
    pub fn map<T, F>(self, function: F) -> Records<Map<C, F>>
    where
        T: Weigh + Send + 'static,
        F: FnMut(C::Out) -> T + Send + 'static,
    {
        self.extend(|first| Map { first, function })
    }

    /// Passes on the records for which `predicate` holds; the others settle as filtered.
    #[must_use]
    pub fn filter<F>(self, predicate: F) -> Records<Filter<C, F>>
    where
        F: FnMut(&C::Out) -> bool + Send + 'static,
    {
        self.extend(|first| Filter { first, predicate })
    }

    /// The operators, and a copy to start afresh from where they are restartable.
    pub(crate) fn into_parts(self) -> (C, Option<(C, fn(&C) -> C)>) {
        (self.op, self.pristine)
    }

    pub(crate) fn new(op: C) -> Self {
        Self { op, pristine: None, spares: None, kept: None, edits: Edits::default(), rest: None, faults: 0 }
    }

    /// Extends the chain by one operator.
    pub(crate) fn extend<D: RecordOp<In = C::In>>(self, change: impl FnOnce(C) -> D) -> Records<D> {
        Records::new(change(self.op))
    }

    /// Makes the chain start afresh from a copy of its operators after a fault.
    pub(crate) fn restartable(&mut self)
    where
        C: Clone,
    {
        self.pristine = Some((self.op.clone(), C::clone));
    }

    /// Runs the operators over `rows` until they are used up, `out` weighs `limit`, or a closure panics.
    fn pass(&mut self, rows: &mut std::vec::Drain<'_, C::In>, out: &mut Items<C::Out>, limit: Bytes) -> Pass {
        let (op, edits, before) = (&mut self.op, &mut self.edits, rows.len());
        if out.is_empty() {
            // Rounded up, so that batches of about one size reuse each other's memory without changing its charge.
            out.reserve(before.min(most_rows::<C::Out>(limit)).next_power_of_two());
        }
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut row = edits.taken;
            while rows.len() > 0 {
                let some = rows.by_ref().take(rows_that_fit::<C::Out>(out.bytes(), limit));
                if C::KEEPS_ALL {
                    out.extend(some.map(|record| match op.apply(record) {
                        Next::Keep(record) => record,
                        Next::Filter | Next::Refuse(_) => unreachable!("an operator that keeps all did not"),
                    }));
                } else {
                    keep(some, out, |record| {
                        row += 1;
                        match op.apply(record) {
                            Next::Keep(record) => return Some(record),
                            Next::Filter => edits.filtered.push(row - 1),
                            Next::Refuse(nack) => edits.refused.push((row - 1, nack)),
                        }
                        None
                    });
                }
                if out.bytes() >= limit {
                    return Pass::Full;
                }
            }
            Pass::Finished
        }));
        // Counted from what is left, so that the loop above has nothing to keep in memory for the case of a panic.
        edits.taken += row_number(before - rows.len());
        run.unwrap_or_else(|panic| Pass::Panicked(panic_nack(&*panic)))
    }

    /// Takes the rows of `input` through the operators as far as one output batch goes.
    fn work(
        &mut self,
        input: Batch<Items<C::In>>,
        out: &mut Option<Batch<Items<C::Out>>>,
        cx: &mut StageContext,
    ) -> Step {
        let Batch { mut payload, mut ticket, mut lease, mut meta } = input;
        let (mut made, made_lease) = self.empty();
        let mut taken = payload.take();
        let mut rows = taken.drain(..);
        self.edits.taken = 0;
        let step = self.run(&mut rows, &mut made, cx);
        if rows.len() > 0 {
            let payload: Items<C::In> = rows.collect();
            let lease = lease.split(payload.retained_bytes());
            let ticket = ticket.split_off(self.edits.taken);
            let deadlines = meta.deadlines.split_off(self.edits.taken);
            self.rest = Some(Batch { payload, ticket, lease, meta: Meta { deadlines, ..meta.clone() } });
        } else {
            drop(rows);
        }
        let emptied = Items::from(taken);
        let lease = match self.keep(emptied, lease, made_lease) {
            Ok(lease) => lease,
            Err(Emptied { payload, lease, made_lease }) => {
                if let Some((inputs, _)) = &self.spares {
                    inputs.put(payload, lease);
                }
                made_lease
            }
        };
        let mut batch = Batch { payload: made, ticket, lease, meta };
        self.edits.settle(&mut batch, cx);
        match cx.cover(&mut batch) {
            Ok(()) if batch.records() == 0 => self.give_back(batch),
            Ok(()) => *out = Some(batch),
            Err(nack) => cx.refuse(batch, nack),
        }
        if step == Step::Done && self.rest.is_some() { Step::More } else { step }
    }

    /// An empty payload to fill, and the charge of its allocation.
    fn empty(&mut self) -> (Items<C::Out>, Lease) {
        let kept: &mut dyn Any = &mut self.kept;
        let same_type = kept.downcast_mut::<Option<(Items<C::Out>, Lease)>>();
        same_type
            .and_then(Option::take)
            .or_else(|| self.spares.as_ref().and_then(|(_, outputs)| outputs.take()))
            .unwrap_or_else(|| (Items::default(), Lease::none()))
    }

    /// Keeps the emptied input for the next output, and lets the two swap their leases: the output goes on under the
    /// lease that its input came with, and in the steady state no account has to be touched.
    fn keep(&mut self, payload: Items<C::In>, lease: Lease, mut made_lease: Lease) -> Result<Lease, Emptied<C::In>> {
        let same_type = TypeId::of::<C::In>() == TypeId::of::<C::Out>();
        let own = |lease: &Lease| !lease.is_shared() && lease.account().is_some();
        if same_type && own(&lease) && own(&made_lease) && made_lease.resize(payload.retained_bytes()).is_ok() {
            self.kept = Some((payload, made_lease));
            return Ok(lease);
        }
        Err(Emptied { payload, lease, made_lease })
    }

    /// Keeps the allocation of a batch that came out empty.
    fn give_back(&self, batch: Batch<Items<C::Out>>) {
        if let Some((_, outputs)) = &self.spares {
            outputs.put(batch.payload, batch.lease);
        }
    }

    /// Runs passes until the rows or the output batch are used up, going on after faults as the supervision says.
    fn run(&mut self, rows: &mut std::vec::Drain<'_, C::In>, made: &mut Items<C::Out>, cx: &mut StageContext) -> Step {
        loop {
            let refused = self.edits.refused.len();
            let nack = match self.pass(rows, made, cx.chunk_bytes()) {
                Pass::Panicked(nack) => {
                    self.edits.refused.push((self.edits.taken - 1, nack.clone()));
                    nack
                }
                Pass::Finished | Pass::Full => match self.edits.refused.get(refused) {
                    Some((_, nack)) if cx.stops_on_refusal() => nack.clone(),
                    _ => return Step::Done,
                },
            };
            self.faults += 1;
            match cx.after_fault(self.faults) {
                AfterFault::Resume => {}
                AfterFault::Stop => return Step::Fail(nack.cause),
                AfterFault::Restart(at) => {
                    if let Some((pristine, copy)) = &self.pristine {
                        self.op = copy(pristine);
                    }
                    return Step::WaitUntil(at);
                }
            }
        }
    }
}

/// Adds what `decide` makes of the rows.
#[inline]
fn keep<T, U: Weigh>(rows: impl Iterator<Item = T>, out: &mut Items<U>, mut decide: impl FnMut(T) -> Option<U>) {
    if U::FIXED.is_none() {
        return rows.for_each(|row| out.extend(decide(row)));
    }
    out.edit(|all| {
        for row in rows {
            if let Some(kept) = decide(row) {
                all.push(kept);
            }
        }
    });
}

/// The most rows of an output batch that is closed at `limit` bytes.
fn most_rows<T: Weigh>(limit: Bytes) -> usize {
    if T::FIXED.is_some() { rows_that_fit::<T>(Bytes::ZERO, limit) } else { usize::MAX }
}

/// How many rows may be added to `bytes` before `limit` must be looked at again: the one that reaches it is the last.
fn rows_that_fit<T: Weigh>(bytes: Bytes, limit: Bytes) -> usize {
    match T::FIXED {
        Some(each) if each > 0 => {
            let room = limit.saturating_sub(bytes).get().div_ceil(each as u64).max(1);
            usize::try_from(room).unwrap_or(usize::MAX)
        }
        Some(_) => usize::MAX,
        None => 1,
    }
}

impl<C: RecordOp> Transform<Items<C::In>> for Records<C> {
    type Out = Items<C::Out>;

    fn open(&mut self, cx: &StageContext) {
        self.spares = Some((cx.spares(), cx.spares()));
    }

    fn process(
        &mut self,
        input: Batch<Items<C::In>>,
        out: &mut Option<Batch<Items<C::Out>>>,
        cx: &mut StageContext,
    ) -> Step {
        match C::pass_through(input) {
            Ok(batch) => {
                *out = Some(batch);
                Step::Done
            }
            Err(input) => self.work(input, out, cx),
        }
    }

    fn resume(&mut self, out: &mut Option<Batch<Items<C::Out>>>, cx: &mut StageContext) -> Step {
        match self.rest.take() {
            Some(rest) => self.work(rest, out, cx),
            None => Step::Done,
        }
    }

    fn flush(&mut self, out: &mut Option<Batch<Items<C::Out>>>, cx: &mut StageContext) -> Step {
        self.resume(out, cx)
    }

    fn takes_rows(&self) -> bool {
        !C::PASSES
    }

    fn batches_in_hand(&self) -> u32 {
        u32::from(!C::PASSES)
    }
}
