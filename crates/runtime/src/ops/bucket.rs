//! The arithmetic of a throttle: [`TokenBucket`], and [`KeyedBuckets`] with one for each key. `now` is an argument.
//!
//! A token bucket as in RFC 2697, with one difference: what costs more than a whole bucket passes when the bucket is
//! full and leaves it in debt, so that it is late but never stuck, and the rate holds in the long run.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_flow::Time;

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
    capacity: usize,
    places: HashMap<u64, usize>,
    /// The buckets, as a list from the key used last to the one used least recently.
    nodes: Vec<Node>,
    first: usize,
    last: usize,
}

#[derive(Debug)]
struct Node {
    key: u64,
    bucket: TokenBucket,
    before: usize,
    behind: usize,
}

/// No place.
const NOWHERE: usize = usize::MAX;

impl KeyedBuckets {
    /// The bytes that one key takes, with its part of the table.
    pub const KEY_BYTES: usize = size_of::<Node>() + 2 * (size_of::<u64>() + size_of::<usize>() + 1);

    /// No keys yet. Holds at most `capacity` (1 to [`MAX_KEYS`]).
    #[must_use]
    pub fn new(rate: f64, burst: f64, capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MAX_KEYS);
        Self { rate, burst, capacity, places: HashMap::new(), nodes: Vec::new(), first: NOWHERE, last: NOWHERE }
    }

    /// Takes `cost` from the bucket of `key` if it is there.
    pub fn try_take(&mut self, key: u64, cost: f64, now: Time) -> bool {
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => self.add(key, now),
        };
        if self.first != place {
            self.unlink(place);
            self.link_first(place);
        }
        self.nodes[place].bucket.try_take(cost, now)
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no key was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A full bucket for a new key, in the place of the key used least recently where all places are taken.
    fn add(&mut self, key: u64, now: Time) -> usize {
        let node = Node { key, bucket: TokenBucket::new(self.rate, self.burst, now), before: NOWHERE, behind: NOWHERE };
        let place = if self.nodes.len() < self.capacity {
            self.nodes.push(node);
            self.nodes.len() - 1
        } else {
            let place = self.last;
            self.unlink(place);
            self.places.remove(&self.nodes[place].key);
            self.nodes[place] = node;
            place
        };
        self.places.insert(key, place);
        self.link_first(place);
        place
    }

    fn unlink(&mut self, place: usize) {
        let (before, behind) = (self.nodes[place].before, self.nodes[place].behind);
        match before {
            NOWHERE => self.first = behind,
            before => self.nodes[before].behind = behind,
        }
        match behind {
            NOWHERE => self.last = before,
            behind => self.nodes[behind].before = before,
        }
    }

    fn link_first(&mut self, place: usize) {
        let second = std::mem::replace(&mut self.first, place);
        self.nodes[place].before = NOWHERE;
        self.nodes[place].behind = second;
        match second {
            NOWHERE => self.last = place,
            second => self.nodes[second].before = place,
        }
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

    #[test]
    fn the_list_of_keys_is_sound_under_any_use() {
        let mut buckets = KeyedBuckets::new(1.0, 1.0, 7);
        let mut recent: Vec<u64> = Vec::new();
        let mut random = 1_u64;
        for _ in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (random >> 33) % 12;
            recent.retain(|known| *known != key);
            recent.insert(0, key);
            recent.truncate(7);
            buckets.try_take(key, 1.0, Time::ZERO);
            let mut listed = Vec::new();
            let mut at = buckets.first;
            while at != NOWHERE {
                listed.push(buckets.nodes[at].key);
                at = buckets.nodes[at].behind;
            }
            assert_eq!(listed, recent);
        }
    }
}
