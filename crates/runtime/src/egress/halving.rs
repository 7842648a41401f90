//! [`Halving`]: the budget of halves of refused batches, so that a receiver that refuses everything is not flooded.
//!
//! A token bucket with debt: each halving costs two deliveries. Accepted records earn, and so does time; what is owed is
//! waited for.

use std::time::Duration;

use tidegate_flow::Time;

/// So many deliveries of halves are free before any has to be earned: enough to find a handful of culprits in a large
/// batch at once.
const BURST: f64 = 100.0;

/// So many are earned in a second.
const PER_SECOND: f64 = 20.0;

/// So many are earned by an accepted record: repetitions are at most a tenth of the records, beside those of time.
const PER_RECORD: f64 = 0.1;

/// What halving costs: both halves are delivered.
const COST: f64 = 2.0;

/// How many halves may be delivered at once.
#[derive(Copy, Clone, Debug)]
pub(super) struct Halving {
    tokens: f64,
    at: Time,
}

impl Halving {
    pub(super) fn new(now: Time) -> Self {
        Self { tokens: BURST, at: now }
    }

    /// So many records were accepted.
    pub(super) fn earn(&mut self, records: u32) {
        self.tokens = (self.tokens + f64::from(records) * PER_RECORD).min(BURST);
    }

    /// A batch is halved; says until when the halves have to wait.
    pub(super) fn take(&mut self, now: Time) -> Option<Time> {
        let passed = now.since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST) - COST;
        self.at = now;
        (self.tokens < 0.0).then(|| now + Duration::from_secs_f64(-self.tokens / PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_free_until_the_budget_is_used_up_and_then_wait_for_time_or_success() {
        let start = Time::ZERO;
        let mut halving = Halving::new(start);
        assert!((0..50).all(|_| halving.take(start).is_none()));
        let until = halving.take(start);
        assert_eq!(until, Some(start + Duration::from_millis(100)), "two deliveries at twenty a second");
        assert_eq!(halving.take(start + Duration::from_millis(200)), None, "time has earned them");
        halving.earn(1_000);
        assert!((0..50).all(|_| halving.take(start + Duration::from_millis(200)).is_none()), "success has too");
    }
}
