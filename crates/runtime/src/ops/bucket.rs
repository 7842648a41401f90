//! The arithmetic of a throttle: [`TokenBucket`], and [`KeyedBuckets`] with one for each key. `now` is an argument.
//!
//! A token bucket as in RFC 2697, with one difference: what costs more than a whole bucket passes when the bucket is
//! full and leaves it in debt, so that it is late but never stuck, and the rate holds in the long run.

use std::time::Duration;

use tidegate_flow::Time;

use super::recent::Recent;

/// The most keys that [`KeyedBuckets`] remembers.
pub const MAX_KEYS: usize = 10_000;

/// What rounding may take from a sum of tokens.
const ROUNDING: f64 = 1e-6;

/// Tokens that come at a rate, up to a burst.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct TokenBucket {
    /// Tokens a second.
    rate: f64,
    burst: f64,
    /// Tokens at `at`; negative while a cost above the burst is paid off.
    tokens: f64,
    at: Time,
}

impl TokenBucket {
    /// A full bucket. `rate` (a second) and `burst` are above zero and finite.
    #[must_use]
    pub const fn new(rate: f64, burst: f64, now: Time) -> Self {
        Self { rate, burst, tokens: burst, at: now }
    }

    /// Takes `cost` if there are so many tokens (or, for more than the burst, if the bucket is full). A negative cost,
    /// and one that is no number, is none at all.
    pub fn try_take(&mut self, cost: f64, now: Time) -> bool {
        self.refill(now);
        let cost = sane(cost);
        let passes = self.tokens + ROUNDING >= cost.min(self.burst);
        if passes {
            self.tokens -= cost;
        }
        passes
    }

    /// Takes `cost` whether it is there or not; says when what is owed then will be there, where something is.
    pub fn owe(&mut self, cost: f64, now: Time) -> Option<Time> {
        self.refill(now);
        self.tokens -= sane(cost);
        (self.tokens + ROUNDING < 0.0).then(|| self.ready_at(0.0))
    }

    /// Puts tokens in beside those that time brings, up to the burst.
    pub fn earn(&mut self, tokens: f64) {
        self.tokens = (self.tokens + sane(tokens)).min(self.burst);
    }

    /// When `cost` can be taken, if nothing else is taken before; `now` or earlier where it can be now.
    #[must_use]
    pub fn ready_at(&self, cost: f64) -> Time {
        let missing = sane(cost).min(self.burst) - self.tokens;
        if missing <= 0.0 {
            return self.at;
        }
        // Nanoseconds are rounded up, so that the tokens are there at that moment and not just before.
        let wait = Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX);
        self.at + wait.saturating_add(Duration::from_nanos(1))
    }

    /// How many tokens there are at `now`.
    #[must_use]
    pub fn tokens(&mut self, now: Time) -> f64 {
        self.refill(now);
        self.tokens
    }

    /// Goes on with what another one had so long ago: the tokens that came since are added. What is no number is not taken.
    pub fn restore(&mut self, tokens: f64, age: Duration, now: Time) {
        if tokens.is_finite() {
            self.tokens = (tokens + age.as_secs_f64() * self.rate).min(self.burst);
            self.at = now;
        }
    }

    fn refill(&mut self, now: Time) {
        let elapsed = now.since(self.at);
        if !elapsed.is_zero() {
            self.tokens = (self.tokens + elapsed.as_secs_f64() * self.rate).min(self.burst);
            self.at = now;
        }
    }
}

fn sane(cost: f64) -> f64 {
    // Also where it is not a number.
    if cost > 0.0 { cost.min(f64::from(u32::MAX) * f64::from(u32::MAX)) } else { 0.0 }
}

/// One bucket for each of at most [`MAX_KEYS`] keys. Where there are more, the key that was used least recently is
/// forgotten, and begins with a full bucket when it comes back.
#[derive(Debug)]
pub struct KeyedBuckets {
    rate: f64,
    burst: f64,
    buckets: Recent<u64, TokenBucket>,
}

impl KeyedBuckets {
    /// The bytes that one key takes, with its part of the table.
    pub const KEY_BYTES: usize = Recent::<u64, TokenBucket>::KEY_BYTES;

    /// No keys yet. Holds at most `capacity` (1 to [`MAX_KEYS`]).
    #[must_use]
    pub fn new(rate: f64, burst: f64, capacity: usize) -> Self {
        Self { rate, burst, buckets: Recent::new(capacity.min(MAX_KEYS)) }
    }

    /// Takes `cost` from the bucket of `key` if it is there.
    pub fn try_take(&mut self, key: u64, cost: f64, now: Time) -> bool {
        let (rate, burst) = (self.rate, self.burst);
        self.buckets.get_or_insert_with(key, || TokenBucket::new(rate, burst, now)).0.try_take(cost, now)
    }

    /// When `cost` can be taken from the bucket of `key`, if nothing else is taken before.
    pub fn ready_at(&mut self, key: u64, cost: f64, now: Time) -> Time {
        let (rate, burst) = (self.rate, self.burst);
        let bucket = self.buckets.get_or_insert_with(key, || TokenBucket::new(rate, burst, now)).0;
        bucket.refill(now);
        bucket.ready_at(cost)
    }

    /// Every key with its tokens at `now`, the one used least recently first.
    pub fn levels(&self, now: Time) -> impl Iterator<Item = (u64, f64)> {
        self.buckets.iter_from_oldest().map(move |(key, bucket)| (*key, { *bucket }.tokens(now)))
    }

    /// Goes on with what a key had so long ago.
    pub fn restore(&mut self, key: u64, tokens: f64, age: Duration, now: Time) {
        let (rate, burst) = (self.rate, self.burst);
        let bucket = self.buckets.get_or_insert_with(key, || TokenBucket::new(rate, burst, now)).0;
        bucket.restore(tokens, age, now);
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether no key was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(10.0, 3.0, Time::ZERO);
        let passed: Vec<u64> = (0..=1_000).filter(|at| bucket.try_take(1.0, millis(*at))).collect();
        assert_eq!(passed, [0, 1, 2, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000]);
    }

    #[test]
    fn what_is_restored_has_what_it_had_and_what_came_since() {
        let mut before = KeyedBuckets::new(10.0, 5.0, 10);
        (0..5).for_each(|_| assert!(before.try_take(1, 1.0, millis(0))));
        assert!(before.try_take(2, 1.0, millis(100)));
        let levels: Vec<(u64, f64)> = before.levels(millis(200)).collect();
        assert_eq!(levels, [(1, 2.0), (2, 5.0)]);
        let mut after = KeyedBuckets::new(10.0, 5.0, 10);
        levels.iter().for_each(|(key, tokens)| after.restore(*key, *tokens, Duration::from_millis(100), millis(7)));
        after.restore(3, f64::NAN, Duration::ZERO, millis(7));
        let passed = |after: &mut KeyedBuckets, key| (0..9).filter(|_| after.try_take(key, 1.0, millis(7))).count();
        assert_eq!([1, 2, 3].map(|key| passed(&mut after, key)), [3, 5, 5]);
    }

    #[test]
    fn tokens_are_there_at_the_moment_that_is_named_and_not_before() {
        for rate in [0.001, 0.3, 7.0, 1_000.0, 123_456.7] {
            let mut bucket = TokenBucket::new(rate, 5.0, millis(20));
            assert!(bucket.try_take(5.0, millis(20)));
            for cost in [1.0, 2.5, 5.0] {
                let at = bucket.ready_at(cost);
                let before = Time::from_nanos(at.as_nanos() - (at.as_nanos() - millis(20).as_nanos()) / 100);
                assert!(!bucket.clone().try_take(cost, before), "{rate} {cost}");
                assert!(bucket.clone().try_take(cost, at), "{rate} {cost}");
            }
        }
    }

    #[test]
    fn what_costs_more_than_the_burst_passes_late_and_leaves_a_debt() {
        let mut bucket = TokenBucket::new(10.0, 5.0, Time::ZERO);
        assert!(bucket.try_take(25.0, Time::ZERO));
        assert_eq!(bucket.tokens(Time::ZERO), -20.0);
        assert!(!bucket.try_take(1.0, millis(2_000)));
        assert!(bucket.try_take(1.0, millis(2_100)));
        assert!(!bucket.try_take(25.0, millis(2_400)));
        assert!(bucket.try_take(25.0, millis(2_600)));
    }

    #[test]
    fn what_is_owed_is_named_with_its_time_and_can_be_earned() {
        let mut bucket = TokenBucket::new(10.0, 5.0, Time::ZERO);
        assert_eq!(bucket.owe(5.0, Time::ZERO), None);
        let until = bucket.owe(2.0, Time::ZERO).unwrap();
        assert!(until >= millis(200) && until < millis(201), "{until:?}");
        bucket.earn(f64::NAN);
        bucket.earn(1.5);
        assert_eq!(bucket.tokens(Time::ZERO), -0.5);
        bucket.earn(100.0);
        assert_eq!(bucket.tokens(Time::ZERO), 5.0);
    }

    #[test]
    fn strange_costs_and_times_do_no_harm() {
        let mut bucket = TokenBucket::new(1e-300, 1.0, millis(5));
        assert!(bucket.try_take(f64::NAN, millis(5)));
        assert!(bucket.try_take(-7.0, millis(5)));
        assert_eq!(bucket.tokens(millis(5)), 1.0);
        assert!(bucket.try_take(1.0, millis(1)), "an earlier time changes nothing");
        assert!(bucket.ready_at(1.0) > millis(1_000_000_000));
        assert!(!bucket.try_take(f64::INFINITY, millis(9)));
    }

    #[test]
    fn keys_do_not_share_tokens_and_the_one_used_least_recently_is_forgotten() {
        let mut buckets = KeyedBuckets::new(1.0, 1.0, 2);
        assert!(buckets.try_take(1, 1.0, Time::ZERO));
        assert!(buckets.try_take(2, 1.0, Time::ZERO));
        assert!(!buckets.try_take(1, 1.0, millis(1)));
        // 2 was used least recently, so 3 takes its place and 1 is still known.
        assert!(buckets.try_take(3, 1.0, millis(2)));
        assert_eq!(buckets.len(), 2);
        assert!(!buckets.try_take(1, 1.0, millis(3)));
        assert!(buckets.try_take(2, 1.0, millis(4)), "2 begins anew");
        assert!(buckets.try_take(3, 1.0, millis(5)), "and has taken the place of 3");
    }
}
