//! TCP Vegas for requests: the queue is judged by the smallest round trip ever seen.
//!
//! Source: Netflix concurrency-limits, `VegasLimit` (commit 78a74b9), after Brakmo and Peterson, "TCP Vegas" (1994).
//! Steps, per sample: `q = ceil(L (1 - rtt_min / rtt))`; dropped: `L -= log10 L`; less than half used: hold;
//! `q <= log10 L`: `L += 6 log10 L`; `q < 3 log10 L`: `+ log10 L`; `q > 6 log10 L`: `- log10 L`. The minimum is learned
//! anew every `30 L U(0.5, 1)` samples.

use crate::limiter::{Answer, Done, Limiter, Range, whole};

/// Samples per limit until the minimum is learned anew.
const PROBE_MULTIPLIER: f64 = 30.0;

/// Netflix Vegas.
#[derive(Clone, Debug)]
pub struct Vegas {
    range: Range,
    limit: f64,
    rtt_min: f64,
    samples: f64,
    jitter: f64,
}

impl Vegas {
    /// The published range is 1, 20, 1000.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self { range, limit: range.start(), rtt_min: 0.0, samples: 0.0, jitter: 0.75 }
    }

    /// The log10 of the limit, at least 1, as published.
    fn log(&self) -> f64 {
        self.limit.log10().max(1.0)
    }
}

impl Limiter for Vegas {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn done(&mut self, done: &Done, _in_flight: u32, chance: f64) {
        let rtt = done.rtt();
        let dropped = !matches!(done.answer, Answer::Ok | Answer::Failed);
        self.samples += 1.0;
        if self.samples >= self.jitter * PROBE_MULTIPLIER * self.limit {
            self.samples = 0.0;
            self.jitter = 0.5 + 0.5 * chance;
            self.rtt_min = rtt;
            return;
        }
        if !dropped && (self.rtt_min == 0.0 || rtt < self.rtt_min) {
            self.rtt_min = rtt;
            return;
        }
        let queue = (self.limit * (1.0 - self.rtt_min / rtt)).ceil();
        let log = self.log();
        if dropped {
            self.limit -= log;
        } else if f64::from(done.in_flight) * 2.0 < self.limit {
            return;
        } else if queue <= log {
            self.limit += 6.0 * log;
        } else if queue < 3.0 * log {
            self.limit += log;
        } else if queue > 6.0 * log {
            self.limit -= log;
        }
        self.limit = self.range.clamp(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::script::end;

    #[test]
    fn the_steps_by_queue() {
        let mut vegas = Vegas::new(Range::new(1, 20, 1000));
        end(&mut vegas, 1.0, 0.100, 20, Answer::Ok);
        assert_eq!(vegas.limit(), 20, "the first sample is the minimum");
        end(&mut vegas, 1.0, 0.101, 20, Answer::Ok);
        assert_eq!(vegas.limit(), 27, "a queue of 1: six steps of log10 20");
        end(&mut vegas, 1.0, 0.108, 9, Answer::Ok);
        assert_eq!(vegas.limit(), 27, "less than half used: hold");
        end(&mut vegas, 1.0, 0.112, 27, Answer::Ok);
        assert_eq!(vegas.limit(), 29, "a queue of 3: one step");
        end(&mut vegas, 1.0, 0.120, 29, Answer::Ok);
        assert_eq!(vegas.limit(), 29, "a queue of 5: hold");
        end(&mut vegas, 1.0, 0.200, 29, Answer::Ok);
        assert_eq!(vegas.limit(), 27, "a queue of 15: back");
        end(&mut vegas, 1.0, 0.100, 29, Answer::TimedOut);
        assert_eq!(vegas.limit(), 26);
    }
}
