//! What a transform decides about the rows of a batch, gathered row by row and done at once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_flow::{Batch, Deadlines, Lease, Meta, Nack, Records, ShedReason, Stored as _, Ticket, Weight};
use tidegate_record::Row;
use tidegate_runtime::{LetterTray, StageContext, panic_nack};

use crate::Rows;
use crate::contract::BuildContext;

/// What becomes of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on.
    Keep,
    /// It is not wanted.
    Filter,
    /// It is given up because of overload.
    Shed,
    /// It is refused for good, for this reason.
    Refuse(Nack),
}

/// The rows of a batch that do not go on. Reused from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Edits {
    filtered: Vec<u32>,
    shed: Vec<u32>,
    refused: Vec<(u32, Nack)>,
    /// Where those that are refused are kept; else they go back to their source.
    letters: Option<LetterTray<Rows>>,
    keeps_refused: bool,
}

impl Edits {
    /// For a node.
    pub(super) fn of(cx: &BuildContext) -> Self {
        Self { letters: cx.letters.clone(), keeps_refused: cx.keeps_refused(), ..Self::default() }
    }

    /// Whether records that are refused are kept.
    pub(super) fn keeps_refused(&self) -> bool {
        self.keeps_refused
    }

    /// Asks `decide` about each row. Where it panics, that row alone is refused for good, and the next is asked about.
    pub(super) fn decide(&mut self, rows: &Rows, mut decide: impl FnMut(Row<'_>) -> Decision) {
        let mut number = 0;
        let mut left = rows.iter();
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| {
            for row in left.by_ref() {
                number += 1;
                match decide(row) {
                    Decision::Keep => {}
                    Decision::Filter => self.filtered.push(number - 1),
                    Decision::Shed => self.shed.push(number - 1),
                    Decision::Refuse(nack) => self.refused.push((number - 1, nack)),
                }
            }
        })) {
            self.refused.push((number - 1, panic_nack(&*panic)));
        }
    }

    /// A row that is not wanted. Rows are named in ascending order.
    pub(super) fn filter(&mut self, row: u32) {
        self.filtered.push(row);
    }

    /// A row that goes back to its source, with the reason. Rows are named in ascending order.
    pub(super) fn refuse(&mut self, row: u32, nack: Nack) {
        self.refused.push((row, nack));
    }

    /// Names the rows anew, after some of them became several.
    pub(super) fn renumber(&mut self, rename: impl Fn(u32) -> u32) {
        let Self { filtered, shed, refused, .. } = self;
        let rows = filtered.iter_mut().chain(shed).chain(refused.iter_mut().map(|(row, _)| row));
        rows.for_each(|row| *row = rename(*row));
    }

    /// How many rows before this one do not go on.
    pub(super) fn before(&self, row: u32) -> u32 {
        let refused = self.refused.partition_point(|(gone, _)| *gone < row);
        before(&self.filtered, row) + before(&self.shed, row) + u32::try_from(refused).unwrap_or(u32::MAX)
    }

    /// Takes the rows out of `batch`, settled and counted, and gives what is left, if anything.
    pub(super) fn apply(
        &mut self,
        mut batch: Batch<Rows>,
        reason: ShedReason,
        cx: &StageContext,
    ) -> Option<Batch<Rows>> {
        let Self { filtered, shed, refused, letters, .. } = self;
        for row in shed.iter_mut().chain(refused.iter_mut().map(|(row, _)| row)) {
            *row -= before(filtered, *row);
        }
        for (row, _) in refused.iter_mut() {
            *row -= before(shed, *row);
        }
        cx.filter_rows(&mut batch, filtered);
        cx.shed_rows(&mut batch, shed, reason);
        match letters {
            _ if refused.is_empty() => {}
            Some(letters) => put(std::mem::take(refused), letters, &mut batch, cx),
            None => cx.refuse_rows(&mut batch, std::mem::take(refused)),
        }
        filtered.clear();
        shed.clear();
        (batch.records() > 0).then_some(batch)
    }
}

/// Moves rows that are refused to the tray, each as it stands: with its edits, and without what it shared with others.
fn put(refused: Vec<(u32, Nack)>, letters: &LetterTray<Rows>, batch: &mut Batch<Rows>, cx: &StageContext) {
    let mut text = Vec::new();
    let copies: Vec<Rows> = refused.iter().map(|(row, _)| copy_of(&batch.payload, *row, &mut text)).collect();
    let numbers: Vec<u32> = refused.iter().map(|(row, _)| *row).collect();
    let mut tickets = batch.take_rows(&numbers);
    for (copy, (_, nack)) in copies.into_iter().zip(refused) {
        let rest = tickets.split_off(1);
        let ticket = std::mem::replace(&mut tickets, rest);
        put_row(copy, ticket, &batch.meta, nack, letters, cx);
    }
}

/// A row alone.
fn copy_of(rows: &Rows, row: u32, text: &mut Vec<u8>) -> Rows {
    text.clear();
    rows.store(row..row + 1, text);
    let mut copy = Rows::default();
    // What was just written can be read.
    let _ = copy.restore(text, 0, Weight::new(1, u64::MAX));
    copy
}

fn put_row(row: Rows, ticket: Ticket, of: &Meta, nack: Nack, letters: &LetterTray<Rows>, cx: &StageContext) {
    let meta = Meta { deadlines: Deadlines::None, ..of.clone() };
    let mut letter = Batch { payload: row, ticket, lease: Lease::none(), meta };
    match cx.cover(&mut letter) {
        Ok(()) => letters.put(letter, nack),
        Err(nack) => cx.refuse(letter, nack),
    }
}

/// Refuses one row for good, whose ticket was taken from its batch: to the tray where there is one, else back to its source.
pub(super) fn refuse_one(
    (batch, row): (&Batch<Rows>, u32),
    ticket: Ticket,
    nack: Nack,
    letters: Option<&LetterTray<Rows>>,
    cx: &StageContext,
) {
    if let Some(letters) = letters {
        put_row(copy_of(&batch.payload, row, &mut Vec::new()), ticket, &batch.meta, nack, letters, cx);
        return;
    }
    ticket.nack(nack);
    cx.counter().record(|flows| {
        flows.returned += Records::new(1);
        flows.held -= Records::new(1);
    });
}

/// How many of `rows`, which are in ascending order, come before `row`.
pub(super) fn before(rows: &[u32], row: u32) -> u32 {
    u32::try_from(rows.partition_point(|gone| *gone < row)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use tidegate_runtime::testkit::lone_context;

    use super::*;

    #[test]
    fn every_row_meets_its_own_fate() {
        let cx = lone_context("edits").unwrap();
        cx.counter().record(|flows| flows.held += tidegate_flow::Records::new(10));
        let rows = Rows::from_texts((0..10).map(|n| n.to_string()));
        let mut edits = Edits::default();
        edits.decide(&rows, |row| match row.bytes()[0] - b'0' {
            1 | 6 => Decision::Filter,
            2 | 7 => Decision::Shed,
            3 | 9 => panic!("three or nine"),
            _ => Decision::Keep,
        });
        let left = edits.apply(Batch::detached(rows), ShedReason::Throttle, &cx).unwrap();
        let texts: Vec<&[u8]> = left.payload.iter().map(|row| row.bytes()).collect();
        assert_eq!(texts, [b"0", b"4", b"5", b"8"]);
        let flows = cx.counter().snapshot();
        assert_eq!(
            (flows.filtered.get(), flows.shed.total().get(), flows.returned.get(), flows.held.get()),
            (2, 2, 2, 4)
        );
        assert!(edits.apply(Batch::detached(Rows::default()), ShedReason::Throttle, &cx).is_none(), "used up");
    }
}
