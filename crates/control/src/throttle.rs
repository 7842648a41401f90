//! Client throttling: reject locally in proportion to what the remote rejects.
//!
//! Source: Google, "Site Reliability Engineering" (2016), chapter 21, "Client-side throttling". A request is shed with
//! the probability `max(0, (requests - K accepts) / (requests + 1))` over the last two minutes, K = 2. A request counts
//! when it is sent or shed (counting at the end delays protection by a round trip); shed ones count as requests.

use std::time::Duration;

use tidegate_flow::Time;

use crate::limiter::{Admit, Answer, Done, Limiter};

const K: f64 = 2.0;
const SLICES: usize = 24;
const SLICE: Duration = Duration::from_secs(5);

/// Client throttling. It has no limit on what is in flight.
#[derive(Clone, Debug)]
pub struct Throttle {
    slices: [(f64, f64); SLICES],
    at: usize,
    slice_ends: Time,
    requests: f64,
    accepts: f64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { slices: [(0.0, 0.0); SLICES], at: 0, slice_ends: Time::ZERO + SLICE, requests: 0.0, accepts: 0.0 }
    }
}

impl Throttle {
    /// With the published window of two minutes and K of 2.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what is older than the window.
    fn turn(&mut self, now: Time) {
        for _ in 0..SLICES {
            if now < self.slice_ends {
                return;
            }
            self.at = (self.at + 1) % SLICES;
            let (requests, accepts) = std::mem::take(&mut self.slices[self.at]);
            self.requests -= requests;
            self.accepts -= accepts;
            self.slice_ends = self.slice_ends + SLICE;
        }
        self.slice_ends = now + SLICE;
    }
}

impl Limiter for Throttle {
    fn limit(&self) -> u32 {
        u32::MAX
    }

    fn admit(&mut self, now: Time, _in_flight: u32, chance: f64) -> Admit {
        self.turn(now);
        self.requests += 1.0;
        self.slices[self.at].0 += 1.0;
        let shed = (self.requests - 1.0 - K * self.accepts) / self.requests;
        if chance < shed { Admit::Refuse } else { Admit::Send }
    }

    fn done(&mut self, done: &Done, _in_flight: u32, _chance: f64) {
        self.turn(done.now);
        if matches!(done.answer, Answer::Ok | Answer::Failed) {
            self.accepts += 1.0;
            self.slices[self.at].1 += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::script::end;

    #[test]
    fn sheds_in_proportion_to_what_is_refused() {
        let mut throttle = Throttle::new();
        let now = Time::from(Duration::from_secs(1));
        for n in 0..100 {
            assert_eq!(throttle.admit(now, 0, 0.99), Admit::Send);
            end(&mut throttle, 1.0, 0.1, 1, if n % 2 == 0 { Answer::Ok } else { Answer::PushedBack(None) });
        }
        for _ in 0..100 {
            throttle.admit(now, 0, 0.99);
        }
        // 201 requests, 50 accepted: half is shed.
        assert_eq!(throttle.admit(now, 0, 0.49), Admit::Refuse);
        assert_eq!(throttle.admit(now, 0, 0.52), Admit::Send);
        let later = now + Duration::from_secs(200);
        assert_eq!(throttle.admit(later, 0, 0.0), Admit::Send, "two minutes later all is forgotten");
    }
}
