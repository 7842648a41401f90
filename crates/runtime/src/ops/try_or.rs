//! [`TryOr`]: works on records one by one, and sends those that it has to give up to a dead letter port.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use tidegate_flow::{Batch, Items, Meta, Nack, Payload, Weigh};

use super::side::{take_deadlines, take_tickets};
use crate::context::{StageContext, panic_nack};
use crate::dead_letter::DeadLetterPort;
use crate::faults::{Faults, row_number};
use crate::records::{Edits, Next, RecordOp};
use crate::stage::Ended;
use crate::transform::{Step, Transform};

/// What came of one record.
pub enum Tried<T, U> {
    /// This was made of it.
    Made(U),
    /// Removed by intent.
    Filtered,
    /// It is given up, for this reason.
    Refused(T, Nack),
}

/// Works on one record, and gives it back where that cannot be done.
pub trait Attempt<T>: Send + 'static {
    /// What it makes.
    type Out: Weigh + Send + 'static;

    /// Works on the record.
    fn attempt(&mut self, record: T) -> Tried<T, Self::Out>;

    /// The record on which the last attempt panicked, where it was kept.
    fn culprit(&mut self) -> Option<T> {
        None
    }

    /// Starts afresh after a panic.
    fn restart(&mut self) {}
}

/// A closure that gives the record back with the reason. One on which it panics is gone with it.
pub struct Returning<F>(pub(crate) F);

impl<T, U, F> Attempt<T> for Returning<F>
where
    U: Weigh + Send + 'static,
    F: FnMut(T) -> Result<U, (T, Nack)> + Send + 'static,
{
    type Out = U;

    fn attempt(&mut self, record: T) -> Tried<T, U> {
        match (self.0)(record) {
            Ok(record) => Tried::Made(record),
            Err((record, nack)) => Tried::Refused(record, nack),
        }
    }
}

/// A chain of record operators, and a copy of the record that it works on: what was refused, or panicked, is given up as
/// it was before the chain.
pub struct Copying<C: RecordOp> {
    op: C,
    /// Where the operators start afresh after a panic: a copy made before the first record.
    pristine: Option<(C, fn(&C) -> C)>,
    copy: Option<C::In>,
}

impl<C: RecordOp> Copying<C> {
    pub(crate) fn new(op: C, pristine: Option<(C, fn(&C) -> C)>) -> Self {
        Self { op, pristine, copy: None }
    }
}

impl<C: RecordOp> Attempt<C::In> for Copying<C>
where
    C::In: Clone,
{
    type Out = C::Out;

    fn attempt(&mut self, record: C::In) -> Tried<C::In, C::Out> {
        self.copy = Some(record.clone());
        match (self.op.apply(record), self.copy.take()) {
            (Next::Keep(made), _) => Tried::Made(made),
            (Next::Filter, _) => Tried::Filtered,
            (Next::Refuse(nack), Some(copy)) => Tried::Refused(copy, nack),
            (Next::Refuse(_), None) => unreachable!("it was copied above"),
        }
    }

    fn culprit(&mut self) -> Option<C::In> {
        self.copy.take()
    }

    fn restart(&mut self) {
        if let Some((pristine, copy)) = &self.pristine {
            self.op = copy(pristine);
        }
    }
}

/// Sends the records that it has to give up to a dead letter port, and passes on what it makes of the others, as much
/// as one output batch holds in one step.
pub struct TryOr<T: Weigh + Send + 'static, A> {
    attempt: A,
    port: DeadLetterPort<Items<T>>,
    /// Records that were given up with their reasons, in order; at most those of one batch.
    letters: VecDeque<(Batch<Items<T>>, Nack)>,
    edits: Edits,
    /// Rows that did not fit into one output batch.
    rest: Option<Batch<Items<T>>>,
    faults: Faults,
}

impl<T, A> TryOr<T, A>
where
    T: Weigh + Send + 'static,
    A: Attempt<T>,
{
    pub(crate) fn new(attempt: A, port: DeadLetterPort<Items<T>>) -> Self {
        let (letters, edits, faults) = (VecDeque::new(), Edits::default(), Faults::default());
        Self { attempt, port, letters, edits, rest: None, faults }
    }

    /// Takes rows until they are used up, the output is full, or a fault wants something else. Gives the rows that are
    /// given up, in order.
    fn pass(
        &mut self,
        rows: &mut std::vec::Drain<'_, T>,
        made: &mut Items<A::Out>,
        cx: &StageContext,
    ) -> Vec<(u32, T, Nack)> {
        let (attempt, edits, before) = (&mut self.attempt, &mut self.edits, rows.len());
        let mut given_up = Vec::new();
        edits.taken = 0;
        while !cx.is_full(made) && rows.len() > 0 {
            let run = catch_unwind(AssertUnwindSafe(|| {
                while !cx.is_full(made) {
                    let Some(record) = rows.next() else { return };
                    let row = row_number(before - rows.len() - 1);
                    match attempt.attempt(record) {
                        Tried::Made(record) => made.push(record),
                        Tried::Filtered => edits.filtered.push(row),
                        Tried::Refused(record, nack) => given_up.push((row, record, nack)),
                    }
                }
            }));
            let Err(panic) = run else { break };
            let (row, nack) = (row_number(before - rows.len() - 1), panic_nack(&*panic));
            let goes_on = self.faults.add(&nack, cx);
            match attempt.culprit() {
                Some(record) => given_up.push((row, record, nack)),
                None => edits.refused.push((row, nack)),
            }
            if !goes_on {
                attempt.restart();
                break;
            }
        }
        edits.taken = row_number(before - rows.len());
        given_up
    }

    /// Takes the rows of `input` as far as one output batch goes.
    fn work(&mut self, input: Batch<Items<T>>, out: &mut Option<Batch<Items<A::Out>>>, cx: &mut StageContext) -> Step {
        let mut shell = input;
        let mut taken = shell.payload.take();
        let mut rows = taken.drain(..);
        let mut made = Items::default();
        let given_up = self.pass(&mut rows, &mut made, cx);
        if rows.len() > 0 {
            let payload: Items<T> = rows.collect();
            let lease = shell.lease.split(payload.retained_bytes());
            let ticket = shell.ticket.split_off(self.edits.taken);
            let deadlines = shell.meta.deadlines.split_off(self.edits.taken);
            self.rest = Some(Batch { payload, ticket, lease, meta: Meta { deadlines, ..shell.meta.clone() } });
        } else {
            drop(rows);
        }
        drop(taken);
        self.put_in_line(&mut shell, given_up);
        let Batch { ticket, lease, meta, .. } = shell;
        let mut batch = Batch { payload: made, ticket, lease, meta };
        self.edits.settle(&mut batch, cx);
        cx.emit(batch, out);
        self.next(cx)
    }

    /// Puts what was given up in line for the port, each record as a batch of its own with its part of the charge.
    fn put_in_line(&mut self, shell: &mut Batch<Items<T>>, given_up: Vec<(u32, T, Nack)>) {
        let numbers: Vec<u32> = given_up.iter().map(|(row, ..)| *row).collect();
        let mut tickets = take_tickets(&mut shell.ticket, &numbers);
        let mut deadlines = take_deadlines(&mut shell.meta.deadlines, &numbers);
        for (_, record, nack) in given_up {
            let payload: Items<T> = vec![record].into();
            let lease = shell.lease.split(payload.retained_bytes());
            let (ticket_rest, deadlines_rest) = (tickets.split_off(1), deadlines.split_off(1));
            let ticket = std::mem::replace(&mut tickets, ticket_rest);
            let meta = Meta { deadlines: std::mem::replace(&mut deadlines, deadlines_rest), ..shell.meta.clone() };
            self.letters.push_back((Batch { payload, ticket, lease, meta }, nack));
        }
        // The rows that are left have moved up.
        let moved = |row: &mut u32| *row -= row_number(numbers.partition_point(|number| number < row));
        self.edits.filtered.iter_mut().for_each(moved);
        self.edits.refused.iter_mut().for_each(|(row, _)| moved(row));
    }

    /// First what was given up, then what a fault asks for, then the rest of the rows.
    fn next(&mut self, cx: &StageContext) -> Step {
        if let Some((batch, nack)) = self.letters.pop_front() {
            let now = cx.now();
            self.port.stage(batch, nack, (1, now), cx);
            return Step::Side;
        }
        self.faults.or(if self.rest.is_some() { Step::More } else { Step::Done })
    }
}

impl<T, A> Transform<Items<T>> for TryOr<T, A>
where
    T: Weigh + Send + 'static,
    A: Attempt<T>,
{
    type Out = Items<A::Out>;

    fn open(&mut self, cx: &StageContext) {
        self.port.open(cx);
    }

    fn process(
        &mut self,
        input: Batch<Items<T>>,
        out: &mut Option<Batch<Items<A::Out>>>,
        cx: &mut StageContext,
    ) -> Step {
        self.work(input, out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<Items<A::Out>>>, cx: &mut StageContext) -> Step {
        let comes_first = !self.letters.is_empty() || self.faults.want_something();
        match if comes_first { None } else { self.rest.take() } {
            Some(rest) => self.work(rest, out, cx),
            None => self.next(cx),
        }
    }

    fn flush(&mut self, out: &mut Option<Batch<Items<A::Out>>>, cx: &mut StageContext) -> Step {
        self.resume(out, cx)
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        self.port.poll_sent(task, cx)
    }
}
