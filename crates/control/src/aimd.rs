//! Additive increase, multiplicative decrease, on errors and timeouts alone.
//!
//! Source: Netflix concurrency-limits, `AIMDLimit` (commit 78a74b9, January 2026). Steps: on a dropped request or a round
//! trip above the timeout `L *= ratio`; else if twice the requests in flight reach `L`, `L += 1`.

use crate::limiter::{Answer, Done, Limiter, Range, whole};

/// Netflix AIMD.
#[derive(Clone, Debug)]
pub struct Aimd {
    range: Range,
    limit: f64,
    ratio: f64,
    timeout_seconds: f64,
}

impl Aimd {
    /// With the published ratio of 0.9 and timeout of 5 s. The published range is 20, 20, 200.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self { range, limit: range.start(), ratio: 0.9, timeout_seconds: 5.0 }
    }
}

impl Limiter for Aimd {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn done(&mut self, done: &Done, _in_flight: u32, _chance: f64) {
        let failed = !matches!(done.answer, Answer::Ok) || done.rtt() > self.timeout_seconds;
        if failed {
            self.limit = (self.limit * self.ratio).floor();
        } else if f64::from(done.in_flight) * 2.0 >= self.limit {
            self.limit += 1.0;
        }
        self.limit = self.range.clamp(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::script::end;

    #[test]
    fn grows_by_one_where_it_is_used_and_falls_by_a_tenth() {
        let mut aimd = Aimd::new(Range::new(1, 20, 200));
        end(&mut aimd, 1.0, 0.1, 9, Answer::Ok);
        assert_eq!(aimd.limit(), 20, "less than half used: hold");
        end(&mut aimd, 1.0, 0.1, 10, Answer::Ok);
        assert_eq!(aimd.limit(), 21);
        end(&mut aimd, 1.0, 0.1, 10, Answer::TimedOut);
        assert_eq!(aimd.limit(), 18);
        end(&mut aimd, 9.0, 5.1, 18, Answer::Ok);
        assert_eq!(aimd.limit(), 16, "an answer after the timeout is a failure");
        for _ in 0..99 {
            end(&mut aimd, 9.0, 0.1, 9, Answer::PushedBack(None));
        }
        assert_eq!(aimd.limit(), 1);
    }
}
