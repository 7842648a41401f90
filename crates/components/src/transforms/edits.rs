//! What a transform decides about the rows of a batch, gathered row by row and done at once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_flow::{Batch, Nack, ShedReason};
use tidegate_record::Row;
use tidegate_runtime::{StageContext, panic_nack};

use crate::Rows;

/// What becomes of one row.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on.
    Keep,
    /// It is not wanted.
    Filter,
    /// It is given up because of overload.
    Shed,
}

/// The rows of a batch that do not go on. Reused from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Edits {
    filtered: Vec<u32>,
    shed: Vec<u32>,
    refused: Vec<(u32, Nack)>,
}

impl Edits {
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
        let Self { filtered, shed, refused } = self;
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
        let Self { filtered, shed, refused } = self;
        for row in shed.iter_mut().chain(refused.iter_mut().map(|(row, _)| row)) {
            *row -= before(filtered, *row);
        }
        for (row, _) in refused.iter_mut() {
            *row -= before(shed, *row);
        }
        cx.filter_rows(&mut batch, filtered);
        cx.shed_rows(&mut batch, shed, reason);
        if !refused.is_empty() {
            cx.refuse_rows(&mut batch, std::mem::take(refused));
        }
        filtered.clear();
        shed.clear();
        (batch.records() > 0).then_some(batch)
    }
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
