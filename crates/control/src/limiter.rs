//! [`Limiter`]: what every controller of concurrency is. Events in (sent, done), decisions out (may this be sent?).

use std::time::Duration;

use tidegate_flow::Time;

/// How one request ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was served.
    Ok,
    /// No answer within the caller's timeout. The remote may still be at work on it.
    TimedOut,
    /// The remote refused it for load or quota (429, 503, `RESOURCE_EXHAUSTED`), with its hint when to come again.
    PushedBack(Option<Duration>),
    /// It failed for a reason that is not load (a 500, a reset): says nothing about the right limit.
    Failed,
}

/// The end of one request that was sent.
#[derive(Copy, Clone, Debug)]
pub struct Done {
    /// Now.
    pub now: Time,
    /// When it was sent.
    pub sent: Time,
    /// How many were in flight right after it was sent, itself included.
    pub in_flight: u32,
    /// How it ended.
    pub answer: Answer,
}

impl Done {
    /// From sent to answered, in seconds.
    #[must_use]
    pub fn rtt(&self) -> f64 {
        self.now.since(self.sent).as_secs_f64()
    }
}

/// Whether one more request may be sent now.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may.
    Send,
    /// Not before another request ends.
    Wait,
    /// Not before this moment; a request that ends earlier does not change that.
    Until(Time),
    /// This one never: shed it. Another may be admitted at once.
    Refuse,
}

/// A controller of how many requests may be in flight to one remote.
///
/// The caller asks [`admit`](Self::admit) for each request, says [`sent`](Self::sent) when it goes out, and
/// [`done`](Self::done) exactly once when it ends, however it ends. Calls come in the order of time.
pub trait Limiter: Send {
    /// How many may be in flight now. At least 1: progress is always possible.
    fn limit(&self) -> u32;

    /// May one more be sent, with `in_flight` out already? `chance` is drawn evenly from 0 to 1 for this call.
    fn admit(&mut self, _now: Time, in_flight: u32, _chance: f64) -> Admit {
        if in_flight < self.limit() { Admit::Send } else { Admit::Wait }
    }

    /// A request goes out; `in_flight` counts it.
    fn sent(&mut self, _now: Time, _in_flight: u32) {}

    /// A request has ended; `in_flight` is what is still out; `chance` is drawn evenly from 0 to 1 for this call.
    fn done(&mut self, done: &Done, in_flight: u32, chance: f64);
}

/// Where a limit starts and what it never leaves. Always `1 <= min <= max`.
#[derive(Copy, Clone, Debug)]
pub struct Range {
    min: f64,
    max: f64,
    start: f64,
}

impl Range {
    /// From `min` (at least 1) to `max` (at least `min`), starting at `start`, all in requests in flight.
    #[must_use]
    pub fn new(min: u32, start: u32, max: u32) -> Self {
        let min = f64::from(min.max(1));
        let max = f64::from(max).max(min);
        Self { min, max, start: f64::from(start).clamp(min, max) }
    }

    /// The start.
    #[must_use]
    pub const fn start(&self) -> f64 {
        self.start
    }

    /// The smallest.
    #[must_use]
    pub const fn min(&self) -> f64 {
        self.min
    }

    /// `limit`, brought into the range.
    #[must_use]
    pub fn clamp(&self, limit: f64) -> f64 {
        if limit.is_nan() { self.min } else { limit.clamp(self.min, self.max) }
    }
}

/// The whole requests in a limit: what fits, at least 1.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
pub fn whole(limit: f64) -> u32 {
    limit.clamp(1.0, 1e9).floor() as u32
}

/// Seconds as a span; nothing for what is not a positive number, at most a day.
#[must_use]
pub fn span(seconds: f64) -> Duration {
    if seconds > 0.0 { Duration::from_secs_f64(seconds.min(86_400.0)) } else { Duration::ZERO }
}

#[cfg(test)]
pub(crate) mod script {
    //! What tests of controllers share: one event in one line.

    use super::{Answer, Done, Limiter, Time, span};

    /// Ends one request that was sent `rtt` seconds before `at`, with `in_flight` out.
    pub(crate) fn end(limiter: &mut dyn Limiter, at: f64, rtt: f64, in_flight: u32, answer: Answer) {
        let done = Done { now: Time::from(span(at)), sent: Time::from(span(at - rtt)), in_flight, answer };
        limiter.done(&done, in_flight.saturating_sub(1), 0.5);
    }

    #[test]
    fn a_range_holds_what_it_promises() {
        let range = super::Range::new(0, 50, 20);
        assert_eq!((range.min(), range.start(), range.clamp(f64::NAN), range.clamp(99.0)), (1.0, 20.0, 1.0, 20.0));
        assert_eq!((super::whole(0.2), super::whole(3.9)), (1, 3));
    }
}
