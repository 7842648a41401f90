//! What a full edge does ([`OnFull`]), and the sampler behind `sample`.

use std::time::Duration;

use super::marks::{Marks, share};
use crate::units::{Records, Weight};

/// What an edge does with a batch that does not fit.
///
/// All but `Block` look at the true fill: they shed, fail or divert only when the batch really has no room, however
/// much of the window is consumed but not yet granted.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum OnFull {
    /// The producer waits. With `max`, for at most that long; then it gets a timeout and keeps the batch.
    Block {
        /// The longest wait; `None` waits for as long as it takes.
        max: Option<Duration>,
    },
    /// The incoming batch is shed.
    DropNewest,
    /// Older batches are shed until the incoming one fits: from the lowest lane first, inside it from the fullest
    /// bucket, the oldest batch. A higher lane than its own is never touched, nor what another lane's floor
    /// guarantees; where that leaves no room, the incoming batch itself is shed.
    DropOldest,
    /// The edge keeps a sample while it is pressured, and nothing when it is full. Without randomness: the error of
    /// each decision is carried into the next, weighted by records.
    Sample(SampleRate),
    /// The producer gets an error and keeps the batch.
    Fail,
    /// The batch goes to another edge, whose own policy applies.
    Divert,
}

impl Default for OnFull {
    fn default() -> Self {
        Self::Block { max: None }
    }
}

impl OnFull {
    /// The name in config, metrics and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Block { .. } => "block",
            Self::DropNewest => "drop_newest",
            Self::DropOldest => "drop_oldest",
            Self::Sample(_) => "sample",
            Self::Fail => "fail",
            Self::Divert => "divert",
        }
    }
}

/// How much `sample` keeps.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum SampleRate {
    /// This share (0 to 1) at or above high water; everything below it.
    Ratio(f64),
    /// Everything up to low water, then less and less in proportion to the fill, nothing when full.
    RisingWithFill,
}

/// Decides batch by batch what a sampling edge keeps.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    /// Records that should have been kept, less those that were.
    owed: f64,
}

impl Sampler {
    /// Whether to keep a batch of `records` that finds the edge filled with `fill`.
    pub(super) fn keeps(
        &mut self,
        rate: SampleRate,
        marks: Marks,
        (fill, window): (Weight, Weight),
        records: Records,
    ) -> bool {
        let full = share(fill, window);
        let ratio = match rate {
            SampleRate::Ratio(ratio) if full >= marks.high => ratio,
            SampleRate::RisingWithFill if full > marks.low => (1.0 - full).max(0.0) / (1.0 - marks.low),
            SampleRate::Ratio(_) | SampleRate::RisingWithFill => return true,
        };
        #[allow(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 records")]
        let size = records.get() as f64;
        self.owed += ratio * size;
        let keep = ratio > 0.0 && self.owed >= size / 2.0;
        if keep {
            self.owed -= size;
        }
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Weight = Weight::new(100, 100);

    fn kept(rate: SampleRate, fill: u64, batches: &[u64]) -> u64 {
        let mut sampler = Sampler::default();
        let fill = Weight::new(fill, 0);
        batches
            .iter()
            .filter(|&&records| sampler.keeps(rate, Marks::default(), (fill, WINDOW), Records::new(records)))
            .sum()
    }

    #[test]
    fn a_ratio_is_exact_in_records_whatever_the_batch_sizes() {
        let sizes: Vec<u64> = (0..1000).map(|index| 1 + index * 7 % 13).collect();
        let total: u64 = sizes.iter().sum();
        for percent in [0, 10, 25, 50, 90, 100] {
            let kept = kept(SampleRate::Ratio(f64::from(percent) / 100.0), 80, &sizes);
            let wanted = total * u64::try_from(percent).unwrap() / 100;
            assert!(kept.abs_diff(wanted) <= 13, "{percent} %: kept {kept}, wanted {wanted}");
        }
    }

    #[test]
    fn below_high_water_a_ratio_keeps_everything() {
        assert_eq!(kept(SampleRate::Ratio(0.0), 79, &[1; 50]), 50);
        assert_eq!(kept(SampleRate::Ratio(0.0), 80, &[1; 50]), 0);
    }

    #[test]
    fn the_rising_rate_goes_from_all_at_low_water_to_none_when_full() {
        let at = |fill| kept(SampleRate::RisingWithFill, fill, &[1; 1000]);
        assert_eq!([at(50), at(60), at(75), at(90), at(100)], [1000, 800, 500, 200, 0]);
    }

    #[test]
    fn no_two_runs_differ() {
        let sizes: Vec<u64> = (0..200).map(|index| 1 + index % 5).collect();
        assert_eq!(kept(SampleRate::Ratio(0.3), 90, &sizes), kept(SampleRate::Ratio(0.3), 90, &sizes));
    }
}
