//! [`Expand`]: `flat_map`. One record becomes any number of records, in bounded steps.

use std::iter::Peekable;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_flow::{Batch, Bytes, Items, Lease, Meta, Nack, Records, Spares, Weigh};

use crate::context::{AfterFault, StageContext, panic_nack};
use crate::transform::{Step, Transform};

/// Makes the records of an iterator out of each record.
///
/// At most one output batch is filled at a time, and no input is taken before the last one was expanded whole: the
/// rest of an iterator waits, with the rows behind it, until the output was sent. The output is paid for by the
/// stage's bounded overdraft, which must be repaid before the stage takes more input.
///
/// An input record settles when all the records made of it have settled, with the worst of their outcomes. A record
/// that makes none is filtered. When the iterator panics, what it gave before goes on and the input is refused.
pub struct Expand<T, F, It: Iterator> {
    function: F,
    spares: Option<Spares<Items<It::Item>>>,
    waiting: Option<Waiting<T>>,
    /// The iterator of the first row of `waiting`, when that row goes on from an earlier output batch.
    current: Option<Peekable<It>>,
    /// Pays for the record that was looked at to see whether `current` goes on.
    ahead: Lease,
    /// What became of each row begun for the output batch in hand; reused.
    begun: Vec<Begun>,
    faults: u32,
}

/// The rest of an input batch: rows not begun, and a batch (of no payload) whose ticket covers the row in progress, if
/// there is one, and then those rows.
struct Waiting<T> {
    rows: std::vec::IntoIter<T>,
    shell: Batch<Items<T>>,
}

/// One row that was begun or went on.
#[derive(Default)]
struct Begun {
    made: u32,
    failed: Option<Nack>,
}

impl<T, F, It: Iterator> Expand<T, F, It> {
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            spares: None,
            waiting: None,
            current: None,
            ahead: Lease::none(),
            begun: Vec::new(),
            faults: 0,
        }
    }
}

impl<T, F, It> Expand<T, F, It>
where
    T: Weigh + Send + 'static,
    F: FnMut(T) -> It + Send + 'static,
    It: Iterator + Send + 'static,
    It::Item: Weigh + Send + 'static,
{
    /// Fills one output batch.
    fn fill(&mut self, out: &mut Option<Batch<Items<It::Item>>>, cx: &mut StageContext) -> Step {
        let Some(mut waiting) = self.waiting.take() else { return Step::Done };
        let spare = self.spares.as_ref().and_then(Spares::take);
        let (mut payload, lease) = spare.unwrap_or_else(|| (Items::default(), Lease::none()));
        // The record that was looked at is part of this output.
        self.ahead = Lease::none();
        let step = self.run(&mut waiting.rows, &mut payload, cx);
        let open = u32::from(self.current.is_some());
        let batch = self.take_tickets(&mut waiting, payload, lease, open, cx);
        cx.emit(batch, out);
        if let Some(next) = self.current.as_mut().and_then(Peekable::peek) {
            // Only for a record larger than the largest batch is there nothing reserved.
            self.ahead = cx.account().overdraw(Bytes::new(next.weigh() as u64)).unwrap_or_default();
        }
        if open == 1 || waiting.rows.len() > 0 {
            self.waiting = Some(waiting);
            return if step == Step::Done { Step::More } else { step };
        }
        step
    }

    /// Expands rows until the output is full or the rows are used up, going on after a panic as the supervision says.
    fn run(&mut self, rows: &mut std::vec::IntoIter<T>, made: &mut Items<It::Item>, cx: &StageContext) -> Step {
        self.begun.clear();
        loop {
            let pass = catch_unwind(AssertUnwindSafe(|| self.expand_rows(rows, made, cx)));
            let Err(panic) = pass else { return Step::Done };
            let nack = panic_nack(&*panic);
            let cause = nack.cause.clone();
            self.current = None;
            if let Some(row) = self.begun.last_mut() {
                row.failed = Some(nack);
            }
            self.faults += 1;
            match cx.after_fault(self.faults) {
                AfterFault::Resume => {}
                AfterFault::Stop => return Step::Fail(cause),
                AfterFault::Restart(at) => return Step::WaitUntil(at),
            }
        }
    }

    fn expand_rows(&mut self, rows: &mut std::vec::IntoIter<T>, made: &mut Items<It::Item>, cx: &StageContext) {
        if self.current.is_some() {
            self.begun.push(Begun::default());
        }
        loop {
            if let Some(records) = &mut self.current {
                for record in records.by_ref() {
                    made.push(record);
                    if let Some(row) = self.begun.last_mut() {
                        row.made += 1;
                    }
                    if made.bytes() >= cx.chunk_bytes() {
                        break;
                    }
                }
                if records.peek().is_some() {
                    return;
                }
                self.current = None;
            }
            if made.bytes() >= cx.chunk_bytes() {
                return;
            }
            let Some(row) = rows.next() else { return };
            self.begun.push(Begun::default());
            self.current = Some((self.function)(row).peekable());
        }
    }

    /// Moves the tickets of the rows that were begun to the records made of them. A row that goes on in the next batch
    /// keeps one share of its ticket for that; a row whose iterator panicked is refused through a share of its own.
    fn take_tickets(
        &mut self,
        waiting: &mut Waiting<T>,
        payload: Items<It::Item>,
        lease: Lease,
        open: u32,
        cx: &StageContext,
    ) -> Batch<Items<It::Item>> {
        let begun = u32::try_from(self.begun.len()).unwrap_or(u32::MAX);
        let rest = waiting.shell.split_off(begun);
        let Batch { mut ticket, mut meta, lease: input, .. } = std::mem::replace(&mut waiting.shell, rest);
        if open == 1 || waiting.rows.len() > 0 {
            // The memory of the input is one allocation, charged until the last row of it is gone.
            drop(waiting.shell.lease.merge(input));
        }
        let last = self.begun.len().saturating_sub(1);
        let shares = |(index, row): (usize, &Begun)| {
            row.made + u32::from(row.failed.is_some()) + if index == last { open } else { 0 }
        };
        let counts: Vec<u32> = self.begun.iter().enumerate().map(shares).collect();
        self.count(&counts, cx);
        ticket.expand(&counts);
        meta.deadlines.expand(&counts);
        let mut batch = Batch { payload, ticket, lease, meta: Meta { ..meta } };
        if open == 1 {
            let shares: u32 = counts.iter().sum();
            let mut next = Batch {
                payload: Items::default(),
                ticket: batch.ticket.split_off(shares - 1),
                lease: Lease::none(),
                meta: Meta { deadlines: batch.meta.deadlines.split_off(shares - 1), ..batch.meta.clone() },
            };
            let behind = std::mem::replace(&mut waiting.shell, Batch::detached(Items::default()));
            drop(next.append(behind));
            waiting.shell = next;
        }
        self.refuse_failed(&mut batch);
        batch
    }

    /// Settles the extra share of every row whose iterator panicked; from the last to the first, so that the numbers
    /// of the rows before stay true.
    fn refuse_failed(&mut self, batch: &mut Batch<Items<It::Item>>) {
        let mut position: u32 = self.begun.iter().map(|row| row.made + u32::from(row.failed.is_some())).sum();
        for row in self.begun.iter_mut().rev() {
            if let Some(nack) = row.failed.take() {
                batch.ticket.settle_rows(&[position - 1], nack);
                batch.meta.deadlines.remove_rows(&[position - 1]);
                position -= 1;
            }
            position -= row.made;
        }
    }

    fn count(&self, shares: &[u32], cx: &StageContext) {
        let born: u64 = shares.iter().map(|share| u64::from(share.saturating_sub(1))).sum();
        let filtered = shares.iter().filter(|share| **share == 0).count();
        let failed = self.begun.iter().filter(|row| row.failed.is_some()).count();
        cx.counter().record(|flows| {
            flows.born += Records::new(born);
            flows.held += Records::new(born);
        });
        cx.count_lost(filtered, failed);
    }
}

impl<T, F, It> Transform<Items<T>> for Expand<T, F, It>
where
    T: Weigh + Send + 'static,
    F: FnMut(T) -> It + Send + 'static,
    It: Iterator + Send + 'static,
    It::Item: Weigh + Send + 'static,
{
    type Out = Items<It::Item>;

    fn open(&mut self, cx: &StageContext) {
        self.spares = Some(cx.spares());
    }

    fn process(&mut self, input: Batch<Items<T>>, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        let mut shell = input;
        let rows = shell.payload.take().into_iter();
        self.waiting = Some(Waiting { rows, shell });
        self.fill(out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        self.fill(out, cx)
    }

    fn flush(&mut self, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        self.fill(out, cx)
    }

    /// The rows that wait, and the record that was looked at to see whether there are more.
    fn batches_in_hand(&self) -> u32 {
        2
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tidegate_flow::Payload as _;

    use super::*;
    use crate::testkit::lone_context;

    #[test]
    fn the_record_looked_at_is_paid_for_until_it_is_sent() {
        let mut cx = lone_context("expand").unwrap();
        cx.chunk = Bytes::new(100);
        let texts = |n: u64| (0..n).map(|_| "x".repeat(176)).collect::<Vec<String>>().into_iter();
        let mut expand = Expand::new(texts);
        expand.open(&cx);
        let input = Batch::detached(std::iter::once(2).collect::<Items<u64>>());
        cx.count_taken(1);
        let mut out = None;
        assert_eq!(expand.process(input, &mut out, &mut cx), Step::More);
        let first = out.take().unwrap();
        assert_eq!(cx.account().used() - first.payload.retained_bytes(), Bytes::new(200));
        assert_eq!(expand.resume(&mut out, &mut cx), Step::Done);
        drop(first);
        assert_eq!(cx.account().used(), out.unwrap().payload.retained_bytes());
    }
}
