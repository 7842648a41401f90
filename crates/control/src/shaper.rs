//! Rates: [`Bucket`] lets bursts through, [`Pacer`] spreads them; [`QuotaRate`] finds the rate that a remote allows.
//!
//! * `Bucket` is a token bucket (RFC 2697) whose rate can change while it is used, and that takes refunds: a cost that was
//!   estimated is settled when the true one is known. What costs more than a whole bucket passes when the bucket is full
//!   and leaves it in debt: late, and never stuck.
//! * `Pacer` is a leaky bucket as a meter of times (the virtual scheduling of GCRA, ITU-T I.371): one at a time, evenly.
//! * `QuotaRate` follows what the remote says in its headers, where it says something. Where it only refuses, it falls to
//!   seven tenths of the rate that was let in, comes back along a cubic that is flat there, and then looks for more (after
//!   CUBIC, RFC 9438). The cubic is in shares of the rate and in a fixed time, so that finding a hundred times the rate
//!   does not take longer.

use std::time::Duration;

use tidegate_flow::Time;

use crate::limiter::span;

/// Rates are held between these, a second.
const RATES: (f64, f64) = (1e-3, 1e9);

fn sane(value: f64) -> f64 {
    if value > 0.0 { value.min(RATES.1) } else { 0.0 }
}

/// A token bucket with a rate that can change.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Time,
}

impl Bucket {
    /// A full one: `rate` tokens a second (0.001 to a thousand million), at most `burst` of them (1 at least).
    #[must_use]
    pub fn new(rate: f64, burst: f64, now: Time) -> Self {
        let burst = sane(burst).max(1.0);
        Self { rate: sane(rate).max(RATES.0), burst, tokens: burst, at: now }
    }

    /// Another rate from now on; what was earned stays.
    pub fn set_rate(&mut self, rate: f64, now: Time) {
        self.refill(now);
        self.rate = sane(rate).max(RATES.0);
    }

    /// Tokens a second.
    #[must_use]
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    /// The tokens at `now`; below zero while something that cost too much is paid off.
    pub fn tokens(&mut self, now: Time) -> f64 {
        self.refill(now);
        self.tokens
    }

    /// Takes `cost`. A cost below zero or that is no number is none.
    ///
    /// # Errors
    /// When it can be taken, if nothing else is before.
    pub fn take(&mut self, cost: f64, now: Time) -> Result<(), Time> {
        self.refill(now);
        let cost = sane(cost);
        let missing = cost.min(self.burst) - self.tokens;
        // What rounding takes from a sum.
        if missing > 1e-6 {
            // Rounded up, so that the tokens are there at that moment.
            return Err(now + span(missing / self.rate) + Duration::from_nanos(1));
        }
        self.tokens -= cost;
        Ok(())
    }

    /// Gives back `tokens` of what was taken: it was not used, or cost less than was thought.
    pub fn refund(&mut self, tokens: f64) {
        self.tokens = (self.tokens + sane(tokens)).min(self.burst);
    }

    /// Takes `tokens` more for what was let through already: it cost more than was thought.
    pub fn owe(&mut self, tokens: f64) {
        self.tokens -= sane(tokens);
    }

    fn refill(&mut self, now: Time) {
        self.tokens = (self.tokens + now.since(self.at).as_secs_f64() * self.rate).min(self.burst);
        self.at = self.at.max(now);
    }
}

/// Lets one thing through at a time, evenly spread, whatever comes.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Pacer {
    rate: f64,
    next: Time,
}

impl Pacer {
    /// `rate` a second (0.001 to a thousand million), the first at once.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self { rate: sane(rate).max(RATES.0), next: Time::ZERO }
    }

    /// Another rate, from the next but one on.
    pub fn set_rate(&mut self, rate: f64) {
        self.rate = sane(rate).max(RATES.0);
    }

    /// Lets something of this cost through, after which the next has to wait `cost / rate` seconds.
    ///
    /// # Errors
    /// When it can go.
    pub fn take(&mut self, cost: f64, now: Time) -> Result<(), Time> {
        if now < self.next {
            return Err(self.next);
        }
        // What was not used does not pile up.
        self.next = now + span(sane(cost) / self.rate);
        Ok(())
    }
}

/// What a remote says of its quota.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Told {
    /// What is left of it.
    pub remaining: f64,
    /// In how long it is whole again.
    pub reset: Duration,
}

/// After a refusal: the share of the rate that was let in.
const FALL: f64 = 0.7;
/// So long until the rate is where the refusal came.
const PLATEAU_SECONDS: f64 = 10.0;
/// The most that is looked for above what was let in lately.
const MOST_ABOVE: f64 = 2.0;
/// What is let in is measured over so long.
const SLICE: Duration = Duration::from_secs(1);

/// The rate that a remote allows.
#[derive(Copy, Clone, Debug)]
pub struct QuotaRate {
    /// Where nothing was refused yet there is no bound.
    state: Quota,
    gate: Time,
    let_in: Measured,
}

#[derive(Copy, Clone, Debug, PartialEq)]
enum Quota {
    Free,
    /// The remote has said so much, until then.
    Told {
        rate: f64,
        until: Time,
    },
    /// Refused at `rate`, at that time.
    Cubic {
        rate: f64,
        since: Time,
    },
}

/// What was let in, a second.
#[derive(Copy, Clone, Debug, Default)]
struct Measured {
    from: Time,
    cost: f64,
    /// Of the slices before, the newest weighing most.
    rate: Option<f64>,
}

impl Measured {
    fn add(&mut self, cost: f64, now: Time) {
        self.turn(now);
        self.cost += sane(cost);
    }

    fn turn(&mut self, now: Time) {
        let passed = now.since(self.from);
        if passed >= SLICE {
            let seen = self.cost / passed.as_secs_f64();
            self.rate = Some(self.rate.map_or(seen, |rate| rate.midpoint(seen)));
            (self.from, self.cost) = (now, 0.0);
        }
    }

    fn rate(&mut self, now: Time) -> f64 {
        self.turn(now);
        let passed = now.since(self.from).as_secs_f64();
        let here = self.cost / passed.max(SLICE.as_secs_f64());
        self.rate.map_or(here, |rate| rate.max(here)).max(RATES.0)
    }
}

impl Default for QuotaRate {
    fn default() -> Self {
        Self { state: Quota::Free, gate: Time::ZERO, let_in: Measured::default() }
    }
}

impl QuotaRate {
    /// Nothing is known of the quota.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The most that may be sent a second; `None`: nothing bounds it yet.
    #[must_use]
    pub fn rate(&mut self, now: Time) -> Option<f64> {
        match self.state {
            Quota::Free => None,
            Quota::Told { rate, until } if now < until => Some(rate),
            Quota::Told { rate, .. } => Some(rate.max(self.let_in.rate(now))),
            Quota::Cubic { rate, since } => {
                let part = now.since(since).as_secs_f64() / PLATEAU_SECONDS - 1.0;
                let cubic = rate * (1.0 + (1.0 - FALL) * part.powi(3));
                let most = (self.let_in.rate(now) * MOST_ABOVE).max(rate * FALL);
                Some(cubic.clamp(RATES.0, most.max(RATES.0)))
            }
        }
    }

    /// Until when nothing may be sent at all, because the remote said so; the past where that is over.
    #[must_use]
    pub const fn gate(&self) -> Time {
        self.gate
    }

    /// Something of this cost was let in.
    pub fn let_in(&mut self, cost: f64, now: Time) {
        self.let_in.add(cost, now);
    }

    /// The remote has said what is left.
    pub fn told(&mut self, told: Told, now: Time) {
        let until = now + told.reset;
        if told.remaining <= 0.0 {
            self.gate = self.gate.max(until);
            return;
        }
        let seconds = told.reset.as_secs_f64().max(SLICE.as_secs_f64());
        self.state = Quota::Told { rate: (sane(told.remaining) / seconds).max(RATES.0), until };
    }

    /// Something was refused for quota, with a hint when to come again.
    pub fn refused(&mut self, hint: Option<Duration>, now: Time) {
        if let Some(hint) = hint {
            self.gate = self.gate.max(now + hint);
        }
        let is_one_volley = |since: Time| now.since(since) < SLICE;
        let rate = match self.state {
            Quota::Cubic { since, .. } if is_one_volley(since) => return,
            Quota::Free | Quota::Told { .. } | Quota::Cubic { .. } => self.let_in.rate(now),
        };
        self.state = Quota::Cubic { rate, since: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::from(span(seconds))
    }

    #[test]
    fn a_bucket_holds_its_rate_takes_refunds_and_lets_what_is_too_dear_through_alone() {
        let mut bucket = Bucket::new(10.0, 5.0, Time::ZERO);
        assert!((0..5).all(|_| bucket.take(1.0, Time::ZERO).is_ok()));
        let ready = bucket.take(1.0, Time::ZERO).unwrap_err();
        assert!(ready > at(0.1) && ready < at(0.100_001), "{ready:?}");
        assert_eq!(bucket.take(1.0, ready), Ok(()));
        bucket.refund(3.0);
        assert_eq!(bucket.take(3.0, ready), Ok(()), "given back");
        bucket.refund(1e30);
        assert_eq!(bucket.tokens(ready), 5.0, "never more than the burst");
        assert_eq!(bucket.take(25.0, ready), Ok(()), "dearer than the bucket: it passes when it is full");
        assert!(bucket.take(1.0, at(1.0)).is_err() && bucket.take(1.0, at(2.3)).is_ok(), "and is paid off");
        bucket.owe(100.0);
        assert!(bucket.take(1.0, at(5.0)).is_err());
        for foolish in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert_eq!(Bucket::new(1.0, 1.0, Time::ZERO).take(foolish, Time::ZERO), Ok(()));
        }
    }

    #[test]
    fn another_rate_counts_from_now_on() {
        let mut bucket = Bucket::new(1.0, 10.0, Time::ZERO);
        bucket.take(10.0, Time::ZERO).unwrap();
        bucket.set_rate(100.0, at(1.0));
        assert!((bucket.tokens(at(1.05)) - 6.0).abs() < 1e-9, "one at the old rate, five at the new one");
    }

    #[test]
    fn a_pacer_spreads_and_does_not_save_up() {
        let mut pacer = Pacer::new(4.0);
        assert_eq!(pacer.take(1.0, at(1.0)), Ok(()));
        assert_eq!(pacer.take(1.0, at(1.1)), Err(at(1.25)));
        assert_eq!(pacer.take(2.0, at(9.0)), Ok(()));
        assert_eq!(pacer.take(1.0, at(9.0)), Err(at(9.5)));
    }

    #[test]
    fn a_quota_is_learned_from_refusals_and_found_again_when_it_grows() {
        for scale in [1.0, 100.0] {
            let (mut quota, mut now, mut refused, mut let_in) = (QuotaRate::new(), 0.0, 0.0, 0.0);
            let mut remote = Bucket::new(20.0 * scale, 20.0 * scale, Time::ZERO);
            // A client that always has something to send, a thousandth of a second at a time.
            for step in 0..120_000 {
                now += 0.001;
                if step == 60_000 {
                    (refused, let_in) = (0.0, 0.0);
                }
                let cost = quota.rate(at(now)).unwrap_or(40.0 * scale) * 0.001;
                match remote.take(cost, at(now)) {
                    Ok(()) => {
                        quota.let_in(cost, at(now));
                        let_in += cost;
                    }
                    Err(_) => {
                        quota.refused(None, at(now));
                        refused += cost;
                    }
                }
            }
            assert!(let_in / (60.0 * 20.0 * scale) > 0.9, "{let_in}");
            assert!(refused / let_in < 0.02, "{refused} of {let_in}");
        }
    }

    #[test]
    fn what_the_remote_says_goes_before_what_is_guessed() {
        let mut quota = QuotaRate::new();
        assert_eq!(quota.rate(at(1.0)), None);
        quota.told(Told { remaining: 300.0, reset: Duration::from_secs(60) }, at(1.0));
        assert_eq!(quota.rate(at(2.0)), Some(5.0));
        quota.told(Told { remaining: 0.0, reset: Duration::from_secs(30) }, at(3.0));
        assert_eq!(quota.gate(), at(33.0));
        quota.refused(Some(Duration::from_secs(2)), at(4.0));
        assert_eq!(quota.gate(), at(33.0), "the later of the two");
    }
}
