//! Retries that cannot make it worse: [`Backoff`] says when, [`RetryBudget`] whether.
//!
//! * **Backoff** is exponential with full jitter: a pause is drawn evenly from nothing to `min(most, first * 2^n)` (M.
//!   Brooker, "Exponential Backoff And Jitter", 2015). A hint of the remote (`Retry-After`) is the floor, and the jitter
//!   comes on top, so that those who were told the same do not come at the same moment.
//! * **Budget**, two bounds: retries under way are at most a share of all that is under way (Envoy's retry budget), and
//!   a gate of tokens, which failures take and successes give back slowly, stops retries where failures are more than a
//!   few per cent (gRPC proposal A6). Without it, three tries a layer multiply the load of a remote that is failing
//!   *because* of load, by up to four.
//!
//! There must be one owner of retries on a way; two that retry multiply.

use std::time::Duration;

use crate::limiter::{Answer, span};

/// What kind of failure a retry follows: each has its own pause.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A reset, a 500, a timeout: the next may go well.
    Transient,
    /// Refused for load or quota: the next goes well when there is less.
    Throttled,
    /// Another try cannot go well.
    Permanent,
}

impl Failure {
    /// The kind of an answer; nothing for a good one.
    #[must_use]
    pub const fn of(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Ok => None,
            Answer::TimedOut | Answer::Failed => Some(Self::Transient),
            Answer::PushedBack(_) => Some(Self::Throttled),
        }
    }
}

/// The pauses between tries.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first pause after a transient failure. Default 100 ms.
    pub first: Duration,
    /// The longest first pause after a refusal for load. Default 1 s.
    pub first_throttled: Duration,
    /// The longest pause, hints apart. Default 30 s.
    pub most: Duration,
    /// The longest hint that is believed. Default 5 min.
    pub most_hint: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            first_throttled: Duration::from_secs(1),
            most: Duration::from_secs(30),
            most_hint: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    /// How long to wait before try number `tries + 1`, after `tries` (at least 1) have failed; `chance` is drawn evenly
    /// from 0 to 1. `None`: there is no use in another one.
    #[must_use]
    pub fn pause(&self, failure: Failure, tries: u32, hint: Option<Duration>, chance: f64) -> Option<Duration> {
        let first = match failure {
            Failure::Transient => self.first,
            Failure::Throttled => self.first_throttled,
            Failure::Permanent => return None,
        };
        let most = first.saturating_mul(1_u32 << tries.saturating_sub(1).min(30)).min(self.most);
        let floor = hint.unwrap_or_default().min(self.most_hint);
        Some(floor + span(most.as_secs_f64() * chance.clamp(0.0, 1.0)))
    }
}

/// How many retries a remote gets.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct RetryOptions {
    /// Retries under way are at most this share of everything that is under way. Default 0.1.
    pub share: f64,
    /// But so many are always allowed, for remotes with few calls. Default 3.
    pub least: u32,
    /// The most tokens of the gate; retries stop at half of them. Default 100.
    pub tokens: f64,
    /// What a transient failure takes, in tokens. Default 1.
    pub transient_cost: f64,
    /// What a refusal for load takes, in tokens. Default 1.
    pub throttled_cost: f64,
    /// What a success gives back, in tokens. Default 0.1: retries go on while one call in eleven fails.
    pub earned: f64,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self { share: 0.1, least: 3, tokens: 100.0, transient_cost: 1.0, throttled_cost: 1.0, earned: 0.1 }
    }
}

/// Why a retry is not allowed now.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Too many retries are under way beside too few first tries.
    Share,
    /// Too much has failed lately.
    Gate,
}

/// The retry budget of one remote. Every end of a call is told to [`ended`](Self::ended), a first try or not.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    options: RetryOptions,
    tokens: f64,
    under_way: u32,
    denied: u64,
}

impl RetryBudget {
    /// A full one.
    #[must_use]
    pub fn new(options: RetryOptions) -> Self {
        Self { options, tokens: options.tokens, under_way: 0, denied: 0 }
    }

    /// May a retry go out now, or wait out its pause, while `under_way` calls (retries among them) are? If so it counts as
    /// under way until [`retried`](Self::retried).
    ///
    /// # Errors
    /// Which bound it would pass. The call has failed then: whoever called is told.
    pub fn take(&mut self, under_way: u32) -> Result<(), Denied> {
        let share = self.options.share * f64::from(under_way);
        let denied = if f64::from(self.under_way) >= share.max(f64::from(self.options.least)) {
            Denied::Share
        } else if self.tokens <= self.options.tokens / 2.0 {
            Denied::Gate
        } else {
            self.under_way += 1;
            return Ok(());
        };
        self.denied += 1;
        Err(denied)
    }

    /// A retry is no longer under way, however it ended, also where it was never sent.
    pub fn retried(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// A call has ended.
    pub fn ended(&mut self, answer: Answer) {
        let change = match Failure::of(answer) {
            None => self.options.earned,
            Some(Failure::Throttled) => -self.options.throttled_cost,
            Some(Failure::Transient | Failure::Permanent) => -self.options.transient_cost,
        };
        self.tokens = (self.tokens + change).clamp(0.0, self.options.tokens);
    }

    /// Retries under way.
    #[must_use]
    pub const fn under_way(&self) -> u32 {
        self.under_way
    }

    /// The tokens of the gate.
    #[must_use]
    pub const fn tokens(&self) -> f64 {
        self.tokens
    }

    /// How many retries were denied.
    #[must_use]
    pub const fn denied(&self) -> u64 {
        self.denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_are_drawn_whole_and_come_on_top_of_a_hint() {
        let backoff = Backoff::default();
        let longest = |failure, tries| backoff.pause(failure, tries, None, 1.0).unwrap().as_millis();
        let transient: Vec<_> = [1, 2, 3, 9, 10, u32::MAX].map(|tries| longest(Failure::Transient, tries)).into();
        assert_eq!(transient, [100, 200, 400, 25_600, 30_000, 30_000]);
        assert_eq!([1, 2, 5, 6].map(|tries| longest(Failure::Throttled, tries)), [1_000, 2_000, 16_000, 30_000]);
        assert_eq!(backoff.pause(Failure::Transient, 5, None, 0.0), Some(Duration::ZERO), "full jitter");
        let hint = Some(Duration::from_secs(7));
        assert_eq!(backoff.pause(Failure::Throttled, 1, hint, 0.5), Some(Duration::from_millis(7_500)));
        let foolish = Some(Duration::from_secs(1 << 40));
        assert_eq!(backoff.pause(Failure::Throttled, 1, foolish, 0.0), Some(Duration::from_secs(300)));
        assert_eq!(backoff.pause(Failure::Permanent, 1, hint, 0.5), None);
    }

    #[test]
    fn retries_are_a_share_of_what_is_under_way_and_a_few_always() {
        let mut budget = RetryBudget::new(RetryOptions::default());
        assert!((0..3).all(|_| budget.take(3).is_ok()));
        assert_eq!(budget.take(3), Err(Denied::Share));
        assert!((0..7).all(|_| budget.take(100).is_ok()));
        assert_eq!((budget.take(100), budget.under_way(), budget.denied()), (Err(Denied::Share), 10, 2));
        budget.retried();
        assert_eq!(budget.take(100), Ok(()));
    }

    #[test]
    fn the_gate_shuts_while_more_fails_than_success_earns() {
        let mut budget = RetryBudget::new(RetryOptions::default());
        (0..50).for_each(|_| budget.ended(Answer::Failed));
        assert_eq!(budget.take(1_000), Err(Denied::Gate));
        (0..10).for_each(|_| budget.ended(Answer::Ok));
        assert_eq!(budget.take(1_000), Ok(()), "ten successes earn one");
        // One in twelve fails: it earns more than it spends, and stays open for ever.
        for call in 0..10_000 {
            budget.ended(if call % 12 == 0 { Answer::TimedOut } else { Answer::Ok });
        }
        assert!(budget.tokens() > 98.0, "{}", budget.tokens());
        // All fail: what a first try makes is not multiplied.
        (0..1_000).for_each(|_| budget.ended(Answer::PushedBack(None)));
        assert_eq!((budget.take(1_000), budget.tokens()), (Err(Denied::Gate), 0.0));
    }
}
