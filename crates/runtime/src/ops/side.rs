//! Steps with a second output: [`Divert`], and [`Tap`].

use std::task::{Context, Poll, ready};

use tidegate_flow::{Batch, Deadlines, Items, Meta, Payload, Share, Ticket, Weigh};

use crate::context::StageContext;
use crate::faults::{Faults, ask_rows};
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
    matches: Vec<bool>,
    rows: Vec<u32>,
    faults: Faults,
}

impl<T: Weigh + Send + 'static, F: FnMut(&T) -> bool> Divert<T, F> {
    pub(crate) fn new(predicate: F, side: Side<Items<T>>) -> Self {
        Self { predicate, side, matches: Vec::new(), rows: Vec::new(), faults: Faults::default() }
    }

    /// Finds the rows that match; those on which the predicate panicked leave the batch.
    fn find(&mut self, input: &mut Batch<Items<T>>, cx: &StageContext) {
        let Self { predicate, matches, rows, faults, .. } = self;
        ask_rows(input, matches, faults, cx, |payload, matches| {
            matches.extend(payload.as_slice().iter().map(&mut *predicate));
        });
        rows.clear();
        rows.extend(matches.iter().zip(0..).filter_map(|(matches, row)| matches.then_some(row)));
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

pub(super) fn take_tickets(ticket: &mut Ticket, rows: &[u32]) -> Ticket {
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

pub(super) fn take_deadlines(deadlines: &mut Deadlines, rows: &[u32]) -> Deadlines {
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
