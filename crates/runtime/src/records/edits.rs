//! [`Edits`]: the rows that a pass over a batch took out of it.

use tidegate_flow::{Batch, Nack, Outcome, Payload};

use crate::context::StageContext;

/// What one pass over a batch did to its rows; reused from batch to batch.
#[derive(Default)]
pub(crate) struct Edits {
    /// Rows that were looked at.
    pub(crate) taken: u32,
    /// Removed by intent, in ascending order.
    pub(crate) filtered: Vec<u32>,
    /// Given back to the source, in ascending order.
    pub(crate) refused: Vec<(u32, Nack)>,
}

impl Edits {
    /// Settles the rows that were filtered or refused, which the payload does not have any more; the rest of the ticket
    /// belongs to the rows that are left.
    pub(crate) fn settle<P: Payload>(&mut self, batch: &mut Batch<P>, cx: &StageContext) {
        let (filtered, refused) = (self.filtered.len(), self.refused.len());
        if filtered + refused == 0 {
            return;
        }
        // From the last row to the first, so that the numbers of the rows before stay true.
        for (row, nack) in self.refused.drain(..).rev() {
            batch.ticket.settle_rows(&[row], nack);
            batch.meta.deadlines.remove_rows(&[row]);
            let behind = self.filtered.partition_point(|gone| *gone < row);
            self.filtered[behind..].iter_mut().for_each(|gone| *gone -= 1);
        }
        batch.ticket.settle_rows(&self.filtered, Outcome::Filtered);
        batch.meta.deadlines.remove_rows(&self.filtered);
        self.filtered.clear();
        cx.count_lost(filtered, refused);
    }
}
