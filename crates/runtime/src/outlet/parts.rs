//! Batches that are larger than the edge they go to holds: they are sent in parts.

use tidegate_flow::{Batch, Payload, Weight};

#[cfg(doc)]
use crate::edge::EdgeTx;

/// What is left of a batch that was too large for its edge, behind the part that is being sent.
///
/// Halved until each part fits, so that a batch of `n` parts is copied `log2(n)` times at most, and at most that many
/// parts are in line. A single record is never split: a record larger than the edge waits until the edge is empty.
pub(super) struct Parts<P> {
    /// The next one is last.
    behind: Vec<Batch<P>>,
}

impl<P: Payload> Parts<P> {
    pub(super) const fn new() -> Self {
        Self { behind: Vec::new() }
    }

    /// Puts the next part into `slot`, unless there is a batch in it already; keeps back what is beyond what is
    /// [`largest`](EdgeTx::largest) for its lane.
    #[inline]
    pub(super) fn fill(&mut self, slot: &mut Option<Batch<P>>, largest: impl Fn(u8) -> Weight) {
        if slot.is_none() {
            *slot = self.behind.pop();
        }
        if let Some(batch) = slot {
            let largest = largest(batch.meta.lane);
            while let Some(at) = middle(batch.weight(), largest) {
                self.behind.push(batch.split_off(at));
            }
        }
    }

    /// Everything that was not sent: what is in `slot`, and the parts behind it.
    pub(super) fn unsent<'a>(&'a mut self, slot: &mut Option<Batch<P>>) -> impl Iterator<Item = Batch<P>> + use<'a, P> {
        slot.take().into_iter().chain(self.behind.drain(..).rev())
    }
}

/// Where to halve a batch of `weight` so that in the end each part fits into `largest`; `None` where it fits, or is a
/// single record.
#[inline]
fn middle(weight: Weight, largest: Weight) -> Option<u32> {
    let records = weight.records.get();
    if weight.fits(largest) || records < 2 {
        return None;
    }
    let by_records = records.div_ceil(largest.records.get().max(1));
    let by_bytes = weight.bytes.get().div_ceil(largest.bytes.get().max(1));
    let parts = by_records.max(by_bytes).clamp(2, records);
    u32::try_from(records.div_ceil(parts) * (parts / 2)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_flow::Items;

    /// The parts of a batch of strings of these lengths, as their lengths.
    fn parts(lengths: &[usize], largest: Weight) -> Vec<Vec<usize>> {
        let rows: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        let (mut slot, mut parts, mut sent) = (Some(Batch::detached(Items::from(rows))), Parts::new(), Vec::new());
        loop {
            parts.fill(&mut slot, |_| largest);
            let Some(part) = slot.take() else { return sent };
            assert_eq!(part.records() as usize, part.payload.len(), "the ticket goes with its rows");
            assert!(part.weight().fits(largest) || part.records() == 1, "{} in {largest}", part.weight());
            sent.push(part.payload.as_slice().iter().map(String::len).collect());
        }
    }

    #[test]
    fn a_batch_is_sent_in_parts_that_fit_and_in_order() {
        let lengths: Vec<usize> = (0..256).map(|n| n % 7).collect();
        let by_records = parts(&lengths, Weight::new(10, 1 << 20));
        assert_eq!(by_records.len(), 26, "{by_records:?}");
        assert_eq!(by_records.concat(), lengths);
        let by_bytes = parts(&lengths, Weight::new(1_000, 500));
        assert_eq!(by_bytes.concat(), lengths);
        assert!(by_bytes.len() < 40, "{}", by_bytes.len());
    }

    #[test]
    fn a_batch_that_fits_stays_whole_and_a_large_record_alone() {
        assert_eq!(parts(&[1, 2, 3], Weight::new(3, 1 << 20)), [[1, 2, 3]]);
        assert_eq!(parts(&[9_000], Weight::new(3, 100)), [[9_000]]);
        assert_eq!(parts(&[1, 9_000, 2], Weight::new(3, 100)), [[1], [9_000], [2]]);
        assert_eq!(parts(&[1, 2], Weight::new(1, 1)), [[1], [2]]);
    }
}
