//! Vector's adaptive request concurrency (ARC): additive increase, multiplicative decrease, on round trips and pushback.
//!
//! Source: Vector, `src/sinks/util/adaptive_concurrency/controller.rs`. Steps, once per smoothed round trip: the limit
//! was reached, no pushback, and the mean round trip is at most the EWMA: `L += 1`; pushback, or a mean of at least 2.5
//! deviations above it: `L = floor(0.9 L)`. EWMA weight 0.4, start 1, maximum 200. Round trips come from successes alone;
//! refusals and timeouts are pushback.

use tidegate_flow::Time;

use crate::limiter::{Answer, Done, Limiter, Range, span, whole};

const WEIGHT: f64 = 0.4;
const DEVIATIONS: f64 = 2.5;
const DECREASE: f64 = 0.9;
/// Means of equal round trips differ by less, in seconds.
const ROUNDING: f64 = 1e-7;

/// Vector's ARC.
#[derive(Clone, Debug)]
pub struct Arc {
    range: Range,
    limit: f64,
    past: Option<(f64, f64)>,
    next_update: Time,
    sum_seconds: f64,
    samples: u32,
    reached: bool,
    pushed_back: bool,
}

impl Arc {
    /// The published range is 1, 1, 200.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self {
            range,
            limit: range.start(),
            past: None,
            next_update: Time::ZERO,
            sum_seconds: 0.0,
            samples: 0,
            reached: false,
            pushed_back: false,
        }
    }

    fn update(&mut self, now: Time) {
        let current = (self.samples > 0).then(|| self.sum_seconds / f64::from(self.samples));
        let (past, variance) = match (self.past, current) {
            (Some(past), _) => past,
            (None, Some(current)) => (current, 0.0),
            (None, None) => return,
        };
        let threshold = past + (DEVIATIONS * variance.sqrt()).max(ROUNDING);
        let is_slow = self.past.is_some() && current.is_some_and(|current| current >= threshold);
        if self.pushed_back || is_slow {
            self.limit = (self.limit * DECREASE).floor();
        } else if self.reached && current.is_some_and(|current| current <= past + ROUNDING) {
            self.limit += 1.0;
        }
        self.limit = self.range.clamp(self.limit);
        if let Some(current) = current {
            let step = WEIGHT * (current - past);
            let variance = (1.0 - WEIGHT) * (variance + WEIGHT * (current - past) * (current - past));
            self.past = Some((past + step, if self.past.is_some() { variance } else { 0.0 }));
        }
        let wait = self.past.map_or(past, |(mean, _)| mean);
        self.next_update = now + span(wait);
        (self.sum_seconds, self.samples, self.reached, self.pushed_back) = (0.0, 0, false, false);
    }
}

impl Limiter for Arc {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn sent(&mut self, _now: Time, in_flight: u32) {
        self.reached |= in_flight >= self.limit();
    }

    fn done(&mut self, done: &Done, _in_flight: u32, _chance: f64) {
        match done.answer {
            Answer::Ok => {
                self.sum_seconds += done.rtt();
                self.samples += 1;
            }
            Answer::TimedOut | Answer::PushedBack(_) => self.pushed_back = true,
            Answer::Failed => {}
        }
        if done.now >= self.next_update {
            self.update(done.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::script::end;

    #[test]
    fn one_more_per_round_trip_while_it_is_flat_and_a_tenth_less_on_pushback() {
        let mut arc = Arc::new(Range::new(1, 1, 200));
        let mut at = 0.0;
        for _ in 0..20 {
            at += 0.11;
            let limit = arc.limit();
            arc.sent(Time::from(span(at - 0.1)), limit);
            end(&mut arc, at, 0.1, limit, Answer::Ok);
        }
        assert_eq!(arc.limit(), 21);
        end(&mut arc, at + 0.2, 0.1, 20, Answer::PushedBack(None));
        assert_eq!(arc.limit(), 18);
        end(&mut arc, at + 0.4, 0.3, 18, Answer::Ok);
        assert_eq!(arc.limit(), 16, "three times the average");
    }
}
