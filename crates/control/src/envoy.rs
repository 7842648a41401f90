//! Envoy's gradient controller: now and then the limit is pinned low to learn the ideal round trip.
//!
//! Source: Envoy, `adaptive_concurrency` filter, `gradient_controller.cc`. Steps: every update interval
//! `g = clamp(1.25 rtt_min / p50, 0.5, 2)`, `L = g L + sqrt(g L)`. The minimum: `L` is pinned to 3 until 50 samples have
//! come, whose median it is; at the start, each interval plus up to 15 % jitter, and after 5 updates in a row at the
//! floor. Maximum 1000. Samples are answers that came; refusals and timeouts are none.

use tidegate_flow::Time;

use crate::limiter::{Answer, Done, Limiter, Range, span, whole};
use crate::smooth::quantile;

const FLOOR: f64 = 3.0;
const PROBE_SAMPLES: usize = 50;
const BUFFER: f64 = 1.25;
const JITTER: f64 = 0.15;
const UPDATES_AT_FLOOR: u32 = 5;
/// Samples kept per update; more than that are not looked at.
const MOST_SAMPLES: usize = 4096;

/// Envoy's gradient controller.
#[derive(Clone, Debug)]
pub struct Envoy {
    range: Range,
    limit: f64,
    update_seconds: f64,
    probe_seconds: f64,
    samples: Vec<f64>,
    state: State,
    at_floor: u32,
}

#[derive(Copy, Clone, Debug)]
enum State {
    /// Pinned at the floor; the limit before.
    Probing { before: f64 },
    /// Following the gradient.
    Following { rtt_min: f64, update_at: Time, probe_at: Time },
}

impl Envoy {
    /// An update every 0.1 s, and a probe every 60 s. The published range is 3, 3, 1000.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self {
            range,
            limit: range.clamp(FLOOR),
            update_seconds: 0.1,
            probe_seconds: 60.0,
            samples: Vec::with_capacity(MOST_SAMPLES),
            state: State::Probing { before: range.start() },
            at_floor: 0,
        }
    }

    fn update(&mut self, rtt_min: f64, p50: f64) {
        let gradient = (BUFFER * rtt_min / p50).clamp(0.5, 2.0);
        let limit = gradient * self.limit;
        self.limit = self.range.clamp(limit + limit.sqrt());
        self.at_floor = if self.limit <= FLOOR { self.at_floor + 1 } else { 0 };
    }

    fn probe(&mut self) {
        self.state = State::Probing { before: self.limit };
        self.limit = self.range.clamp(FLOOR);
        self.at_floor = 0;
        self.samples.clear();
    }
}

impl Limiter for Envoy {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn done(&mut self, done: &Done, _in_flight: u32, chance: f64) {
        if done.answer == Answer::Ok && self.samples.len() < MOST_SAMPLES {
            self.samples.push(done.rtt());
        }
        match self.state {
            State::Probing { before } => {
                if self.samples.len() >= PROBE_SAMPLES {
                    let rtt_min = quantile(&mut self.samples, 0.5).unwrap_or_default();
                    self.samples.clear();
                    self.limit = before;
                    let wait = self.probe_seconds * (1.0 + JITTER * chance);
                    let update_at = done.now + span(self.update_seconds);
                    self.state = State::Following { rtt_min, update_at, probe_at: done.now + span(wait) };
                }
            }
            State::Following { rtt_min, update_at, probe_at } => {
                if done.now >= probe_at || self.at_floor >= UPDATES_AT_FLOOR {
                    self.probe();
                } else if done.now >= update_at {
                    if let Some(p50) = quantile(&mut self.samples, 0.5) {
                        self.update(rtt_min, p50);
                    }
                    self.samples.clear();
                    let update_at = done.now + span(self.update_seconds);
                    self.state = State::Following { rtt_min, update_at, probe_at };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::script::end;

    #[test]
    fn pinned_until_the_minimum_is_known_then_by_the_gradient() {
        let mut envoy = Envoy::new(Range::new(3, 3, 1000));
        for _ in 0..49 {
            end(&mut envoy, 1.0, 0.1, 3, Answer::Ok);
        }
        assert!(matches!(envoy.state, State::Probing { .. }));
        end(&mut envoy, 1.0, 0.1, 3, Answer::Ok);
        assert!(matches!(envoy.state, State::Following { .. }));
        end(&mut envoy, 1.2, 0.1, 3, Answer::Ok);
        assert!((envoy.limit - (3.75 + 3.75_f64.sqrt())).abs() < 1e-9, "{}", envoy.limit);
        end(&mut envoy, 1.4, 1.0, 3, Answer::Ok);
        assert!((envoy.limit - (2.843 + 2.843_f64.sqrt())).abs() < 0.01, "halved at most: {}", envoy.limit);
        end(&mut envoy, 70.0, 0.1, 3, Answer::Ok);
        assert_eq!(envoy.limit(), 3, "the minimum is learned anew");
    }
}
