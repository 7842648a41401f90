//! [`Halving`]: how a stage looks for the culprits in batches that were refused for good, so that a few of them cost
//! little, and a receiver that refuses everything is not flooded. One for all sinks of a stage; `now` is an argument.
//!
//! *Halves wait for a budget*: a token bucket with debt. A delivery of a part takes a token, time and accepted records
//! earn them, and what is owed is waited for.
//!
//! *Where nothing is accepted any more, halving ends*: after [`ENOUGH`] records that were refused alone, and nothing
//! accepted between them, the first and the last record of each refused batch are tried alone, and where both are refused
//! too, so is what is between them. The first record that is accepted ends this.

use tidegate_flow::Time;

use crate::ops::TokenBucket;

/// So many parts are delivered before any has to be earned: enough to find a handful of culprits in large batches.
const BURST: f64 = 200.0;

/// So many are earned in a second.
const PER_SECOND: f64 = 100.0;

/// So many are earned by an accepted record: repetitions are at most a quarter of the records, beside those of time.
const PER_RECORD: f64 = 0.25;

/// So many records in a row, each refused alone and nothing accepted meanwhile, show that a receiver refuses everything.
const ENOUGH: u32 = 32;

/// What a stage has learned about its receiver.
#[derive(Copy, Clone, Debug)]
pub(super) struct Halving {
    bucket: TokenBucket,
    /// Records that were refused alone since something was accepted.
    in_a_row: u32,
}

impl Default for Halving {
    fn default() -> Self {
        Self { bucket: TokenBucket::new(PER_SECOND, BURST, Time::ZERO), in_a_row: 0 }
    }
}

impl Halving {
    /// So many records were accepted.
    pub(super) fn accepted(&mut self, records: u32) {
        self.bucket.earn(f64::from(records) * PER_RECORD);
        self.in_a_row = 0;
    }

    /// A record was refused for good that was tried alone.
    pub(super) fn refused_alone(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// Whether the receiver refuses whatever it is sent, as far as can be seen: how many it refused in a row.
    pub(super) fn refuses_everything(&self) -> Option<u32> {
        (self.in_a_row >= ENOUGH).then_some(self.in_a_row)
    }

    /// A part of a refused batch is about to be delivered; says until when that has to wait.
    pub(super) fn take(&mut self, now: Time) -> Option<Time> {
        self.bucket.owe(1.0, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn parts_are_free_until_the_budget_is_used_up_and_then_wait_for_time_or_success() {
        let start = Time::ZERO;
        let mut halving = Halving::default();
        assert!((0..200).all(|_| halving.take(start).is_none()));
        let until = halving.take(start).unwrap();
        assert!(until.since(start + Duration::from_millis(10)) < Duration::from_micros(1), "a hundred a second");
        assert_eq!(halving.take(start + Duration::from_millis(20)), None, "time has earned it");
        halving.accepted(800);
        assert!((0..200).all(|_| halving.take(start + Duration::from_millis(20)).is_none()), "success has too");
        assert!(halving.take(start + Duration::from_millis(20)).is_some(), "and no more than a whole bucket");
    }

    #[test]
    fn a_receiver_refuses_everything_until_it_accepts_something() {
        let mut halving = Halving::default();
        (1..ENOUGH).for_each(|_| halving.refused_alone());
        assert_eq!(halving.refuses_everything(), None);
        halving.refused_alone();
        assert_eq!(halving.refuses_everything(), Some(ENOUGH));
        halving.accepted(1);
        assert_eq!(halving.refuses_everything(), None);
    }
}
