//! Netflix Gradient2: a long average of round trips against a short one.
//!
//! Source: Netflix concurrency-limits, `Gradient2Limit` behind `WindowedLimit` (commit 78a74b9). Steps, once per window
//! of 1 s with at least 10 samples, of which the mean is taken: `long = EWMA(600)`; if `long / short > 2`,
//! `long *= 0.95`; less than half used: hold; `g = clamp(1.5 long / short, 0.5, 1)`; `L = 0.8 L + 0.2 (g L + 4)`.
//! Refusals carry no round trip; a timeout counts with the time that it took.

use tidegate_flow::Time;

use crate::limiter::{Answer, Done, Limiter, Range, span, whole};
use crate::smooth::Average;

const WINDOW_SECONDS: f64 = 1.0;
const WINDOW_SAMPLES: u32 = 10;
const TOLERANCE: f64 = 1.5;
const QUEUE: f64 = 4.0;
const SMOOTHING: f64 = 0.2;

/// Netflix Gradient2.
#[derive(Clone, Debug)]
pub struct Gradient2 {
    range: Range,
    limit: f64,
    long: Average,
    window_ends: Time,
    sum_seconds: f64,
    samples: u32,
    most_in_flight: u32,
}

impl Gradient2 {
    /// The published range is 20, 20, 200.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self {
            range,
            limit: range.start(),
            long: Average::over(600.0, 10),
            window_ends: Time::ZERO,
            sum_seconds: 0.0,
            samples: 0,
            most_in_flight: 0,
        }
    }

    fn update(&mut self, short: f64) {
        let mut long = self.long.add(short);
        if long / short > 2.0 {
            long = self.long.scale(0.95);
        }
        if f64::from(self.most_in_flight) * 2.0 < self.limit {
            return;
        }
        let gradient = (TOLERANCE * long / short).clamp(0.5, 1.0);
        let next = gradient * self.limit + QUEUE;
        self.limit = self.range.clamp(self.limit * (1.0 - SMOOTHING) + next * SMOOTHING);
    }
}

impl Limiter for Gradient2 {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn done(&mut self, done: &Done, _in_flight: u32, _chance: f64) {
        if matches!(done.answer, Answer::PushedBack(_)) {
            return;
        }
        self.sum_seconds += done.rtt();
        self.samples += 1;
        self.most_in_flight = self.most_in_flight.max(done.in_flight);
        if done.now < self.window_ends || self.samples < WINDOW_SAMPLES {
            return;
        }
        self.update(self.sum_seconds / f64::from(self.samples));
        self.window_ends = done.now + span(WINDOW_SECONDS);
        (self.sum_seconds, self.samples, self.most_in_flight) = (0.0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::script::end;

    fn window(gradient2: &mut Gradient2, at: f64, rtt: f64) -> f64 {
        for _ in 0..10 {
            end(gradient2, at, rtt, 20, Answer::Ok);
        }
        gradient2.limit
    }

    #[test]
    fn one_step_per_window_by_the_gradient() {
        let mut gradient2 = Gradient2::new(Range::new(4, 20, 200));
        assert!((window(&mut gradient2, 2.0, 0.1) - 20.8).abs() < 1e-9, "no gradient: a fifth of the queue of 4");
        assert!((window(&mut gradient2, 2.5, 0.1) - 20.8).abs() < 1e-9, "the window is not over");
        let before = window(&mut gradient2, 4.0, 1.0);
        let after = window(&mut gradient2, 8.0, 1.0);
        assert!(after < before, "slower than 1.5 times the long average: {before}, then {after}");
    }
}
