//! Steps with a second output: [`Divert`], [`TryOr`] (refused records go to a dead letter port) and [`Tap`].

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, ready};

use tidegate_flow::{Batch, Deadlines, Items, Meta, Nack, Payload, Share, Ticket, Weigh};

use crate::context::{AfterFault, StageContext, panic_nack};
use crate::dead_letter::DeadLetterPort;
use crate::outlet::{Side, SideSent};
use crate::stage::Ended;
use crate::transform::{Step, Transform};

/// Sends the records that match to a port, and passes the others on.
///
/// A full port makes the stage wait, unless the port's own edge sheds: what is diverted is never lost silently. A record
/// on which the predicate panics is refused for good.
pub struct Divert<T: Weigh + Send + 'static, F> {
    predicate: F,
    side: Side<Items<T>>,
    rows: Vec<u32>,
    faults: Faults,
}

impl<T: Weigh + Send + 'static, F: FnMut(&T) -> bool> Divert<T, F> {
    pub(crate) fn new(predicate: F, side: Side<Items<T>>) -> Self {
        Self { predicate, side, rows: Vec::new(), faults: Faults::default() }
    }

    /// Finds the rows that match; those on which the predicate panicked leave the batch.
    fn find(&mut self, input: &mut Batch<Items<T>>, cx: &StageContext) {
        self.rows.clear();
        let (predicate, found) = (&mut self.predicate, &mut self.rows);
        let mut culprits: Vec<(u32, Nack)> = Vec::new();
        let mut rows = input.payload.as_slice().iter().zip(0..);
        let mut at = 0;
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| {
            for (record, row) in rows.by_ref() {
                at = row;
                if predicate(record) {
                    found.push(row);
                }
            }
        })) {
            let nack = panic_nack(&*panic);
            self.faults.add(&nack, cx);
            culprits.push((at, nack));
        }
        cx.count_lost(0, culprits.len());
        // From the last row to the first, so that the numbers of the rows before stay true.
        for (row, nack) in culprits.into_iter().rev() {
            input.settle_rows(&[row], nack);
            let behind = self.rows.partition_point(|found| *found < row);
            self.rows[behind..].iter_mut().for_each(|found| *found -= 1);
        }
    }
}

impl<T, F> Transform<Items<T>> for Divert<T, F>
where
    T: Weigh + Send + 'static,
    F: FnMut(&T) -> bool + Send + 'static,
{
    type Out = Items<T>;

    fn open(&mut self, cx: &StageContext) {
        self.side.open(cx);
    }

    fn process(
        &mut self,
        mut input: Batch<Items<T>>,
        out: &mut Option<Batch<Items<T>>>,
        cx: &mut StageContext,
    ) -> Step {
        self.find(&mut input, cx);
        let diverts = !self.rows.is_empty();
        if diverts {
            self.side.stage(take_rows(&mut input, &self.rows));
        }
        if input.records() > 0 {
            *out = Some(input);
        }
        if diverts { Step::Side } else { self.faults.next() }
    }

    fn resume(&mut self, _out: &mut Option<Batch<Items<T>>>, _cx: &mut StageContext) -> Step {
        self.faults.next()
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        let SideSent { sent, returned } = ready!(self.side.poll_sent(task, cx))?;
        cx.counter().record(|flows| {
            flows.output += sent;
            flows.returned += returned;
            flows.held -= sent + returned;
        });
        Poll::Ready(Ok(()))
    }
}

/// Panics of user code in a step, and what the supervision wants after them.
#[derive(Default)]
struct Faults {
    count: u32,
    next: Option<Step>,
}

impl Faults {
    fn add(&mut self, nack: &Nack, cx: &StageContext) {
        self.count += 1;
        self.next = match cx.after_fault(self.count) {
            AfterFault::Resume => None,
            AfterFault::Stop => Some(Step::Fail(nack.cause.clone())),
            AfterFault::Restart(at) => Some(Step::WaitUntil(at)),
        };
    }

    /// What the step answers when the batch is dealt with.
    fn next(&mut self) -> Step {
        self.next.take().unwrap_or(Step::Done)
    }
}

/// Takes the listed rows (ascending, distinct) out of a batch, as a batch of their own.
fn take_rows<T: Weigh + Send + 'static>(batch: &mut Batch<Items<T>>, rows: &[u32]) -> Batch<Items<T>> {
    let mut kept = Vec::with_capacity(batch.payload.len() - rows.len());
    let mut taken = Vec::with_capacity(rows.len());
    let mut listed = rows.iter().copied().peekable();
    for (record, row) in batch.payload.take().into_iter().zip(0..) {
        let to = if listed.next_if_eq(&row).is_some() { &mut taken } else { &mut kept };
        to.push(record);
    }
    batch.payload = kept.into();
    let payload: Items<T> = taken.into();
    let lease = batch.lease.split(payload.retained_bytes());
    let ticket = take_tickets(&mut batch.ticket, rows);
    let deadlines = take_deadlines(&mut batch.meta.deadlines, rows);
    Batch { payload, ticket, lease, meta: Meta { deadlines, ..batch.meta.clone() } }
}

fn take_tickets(ticket: &mut Ticket, rows: &[u32]) -> Ticket {
    let (mut kept, mut taken) = (Ticket::default(), Ticket::default());
    let mut rest = std::mem::take(ticket);
    let mut at = 0;
    for run in runs(rows) {
        let mut piece = rest.split_off(run.start - at);
        kept.append(std::mem::replace(&mut rest, piece.split_off(run.end - run.start)));
        taken.append(piece);
        at = run.end;
    }
    kept.append(rest);
    *ticket = kept;
    taken
}

fn take_deadlines(deadlines: &mut Deadlines, rows: &[u32]) -> Deadlines {
    let taken = match &*deadlines {
        Deadlines::Rows(column) => {
            let column = column.as_slice();
            Deadlines::from_column(rows.iter().map(|row| column[*row as usize]).collect())
        }
        same => same.clone(),
    };
    deadlines.remove_rows(rows);
    taken
}

/// The runs of consecutive numbers in an ascending list.
fn runs(rows: &[u32]) -> impl Iterator<Item = std::ops::Range<u32>> + '_ {
    let mut rows = rows.iter().copied().peekable();
    std::iter::from_fn(move || {
        let start = rows.next()?;
        let mut end = start + 1;
        while rows.next_if_eq(&end).is_some() {
            end += 1;
        }
        Some(start..end)
    })
}

/// Maps records; those that the closure gives back with a reason go to a dead letter port. A record on which the
/// closure panics is gone with it, so that it can only be refused for good.
pub struct TryOr<T: Weigh + Send + 'static, F> {
    function: F,
    port: DeadLetterPort<Items<T>>,
    /// Refused records with their reasons, in order; at most those of one batch.
    refused: VecDeque<(Batch<Items<T>>, Nack)>,
    faults: Faults,
}

/// What became of the rows of a batch, but for those that the closure mapped.
struct Refused<T> {
    /// Given back by the closure.
    letters: Vec<(u32, T, Nack)>,
    /// Lost with a panic.
    lost: Vec<(u32, Nack)>,
}

impl<T: Weigh + Send + 'static, F> TryOr<T, F> {
    pub(crate) fn new(function: F, port: DeadLetterPort<Items<T>>) -> Self {
        Self { function, port, refused: VecDeque::new(), faults: Faults::default() }
    }

    fn map_rows<U: Weigh>(&mut self, rows: Vec<T>, made: &mut Items<U>, cx: &StageContext) -> Refused<T>
    where
        F: FnMut(T) -> Result<U, (T, Nack)>,
    {
        let function = &mut self.function;
        let (mut letters, mut lost) = (Vec::new(), Vec::new());
        let mut rows = rows.into_iter().zip(0..);
        let mut at = 0;
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| {
            for (record, row) in rows.by_ref() {
                at = row;
                match function(record) {
                    Ok(record) => made.push(record),
                    Err((record, nack)) => letters.push((row, record, nack)),
                }
            }
        })) {
            let nack = panic_nack(&*panic);
            self.faults.add(&nack, cx);
            lost.push((at, nack));
        }
        Refused { letters, lost }
    }

    /// Puts the refused rows in line for the port, each as a batch of its own with its part of the charge, and settles
    /// the lost ones. What is left of `shell` belongs to the rows that were mapped.
    fn sort_out(&mut self, shell: &mut Batch<Items<T>>, refused: Refused<T>, cx: &StageContext) {
        let Refused { letters, mut lost } = refused;
        let numbers: Vec<u32> = letters.iter().map(|(row, ..)| *row).collect();
        let mut tickets = take_tickets(&mut shell.ticket, &numbers);
        let mut deadlines = take_deadlines(&mut shell.meta.deadlines, &numbers);
        for (_, record, nack) in letters {
            let payload: Items<T> = vec![record].into();
            let lease = shell.lease.split(payload.retained_bytes());
            let (ticket_rest, deadlines_rest) = (tickets.split_off(1), deadlines.split_off(1));
            let ticket = std::mem::replace(&mut tickets, ticket_rest);
            let meta = Meta { deadlines: std::mem::replace(&mut deadlines, deadlines_rest), ..shell.meta.clone() };
            self.refused.push_back((Batch { payload, ticket, lease, meta }, nack));
        }
        cx.count_lost(0, lost.len());
        while let Some((row, nack)) = lost.pop() {
            let gone = numbers.partition_point(|number| *number < row);
            let row = row - u32::try_from(gone).unwrap_or(row);
            shell.ticket.settle_rows(&[row], nack);
            shell.meta.deadlines.remove_rows(&[row]);
        }
    }

    fn next(&mut self, cx: &StageContext) -> Step {
        match self.refused.pop_front() {
            None => self.faults.next(),
            Some((batch, nack)) => {
                self.port.stage(batch, nack, 1, cx);
                Step::Side
            }
        }
    }
}

impl<T, U, F> Transform<Items<T>> for TryOr<T, F>
where
    T: Weigh + Send + 'static,
    U: Weigh + Send + 'static,
    F: FnMut(T) -> Result<U, (T, Nack)> + Send + 'static,
{
    type Out = Items<U>;

    fn open(&mut self, cx: &StageContext) {
        self.port.open(cx);
    }

    fn process(
        &mut self,
        mut shell: Batch<Items<T>>,
        out: &mut Option<Batch<Items<U>>>,
        cx: &mut StageContext,
    ) -> Step {
        let mut made = Items::default();
        let refused = self.map_rows(shell.payload.take(), &mut made, cx);
        self.sort_out(&mut shell, refused, cx);
        let Batch { ticket, lease, meta, .. } = shell;
        let mut batch = Batch { payload: made, ticket, lease, meta };
        if batch.records() > 0 {
            match cx.cover(&mut batch) {
                Ok(()) => *out = Some(batch),
                Err(nack) => cx.refuse(batch, nack),
            }
        }
        self.next(cx)
    }

    fn resume(&mut self, _out: &mut Option<Batch<Items<U>>>, cx: &mut StageContext) -> Step {
        self.next(cx)
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        self.port.poll_sent(task, cx)
    }
}

/// Shows every batch to a port without ever waiting for it. What the port's edge cannot take at once is shed there, and
/// so is what there is no memory for.
pub struct Tap<P: Payload> {
    side: Side<P>,
}

impl<P: Payload> Tap<P> {
    pub(crate) fn new(side: Side<P>) -> Self {
        Self { side }
    }
}

impl<P: Share> Transform<P> for Tap<P> {
    type Out = P;

    fn open(&mut self, cx: &StageContext) {
        self.side.open(cx);
    }

    fn process(&mut self, mut input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        // What is shared stays charged where it is: not where the steps of this stage count on the room.
        if cx.try_let_go(&mut input) {
            let ticket = Ticket::detached(input.records());
            let (payload, lease) = (input.payload.share(), input.lease.share());
            self.side.offer(Batch { payload, ticket, lease, meta: input.meta.clone() });
        } else {
            self.side.count_unpaid(input.records());
        }
        *out = Some(input);
        Step::Done
    }

    fn takes_rows(&self) -> bool {
        false
    }
}
