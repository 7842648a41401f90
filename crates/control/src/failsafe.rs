//! The adaptive limiter of failsafe-go: a Vegas queue test on smoothed windows, with correlations as guards.
//!
//! Source: failsafe-go, package `adaptivelimiter` (commit 5759a5e, August 2026); the guards follow Uber's Cinnamon. Steps,
//! once per window of 1 to 30 s with at least 50 samples: `short` = p90, then the median of 5 windows, then an EWMA;
//! `long` = EWMA of age 10; `q = ceil(L (1 - long / short))`. Decrease by `log10 L` when `q > 6 log10 L`, or when full
//! and: in-flight and throughput correlate below 0; or weakly, and in-flight and round trip above 0.5; or throughput
//! varies by less than 0.2, and the latter. Increase by `log10 L` when `q < 3 log10 L`. At most 5 times what is in
//! flight. Throughput is in-flight by round trip, not measured. Refusals carry no round trip.

use tidegate_flow::Time;

use crate::limiter::{Answer, Done, Limiter, Range, span, whole};
use crate::smooth::{Average, quantile};

const WINDOW_SAMPLES: usize = 50;
const MOST_SAMPLES: usize = 8192;
const WINDOW_SECONDS: (f64, f64) = (1.0, 30.0);
const QUANTILE: f64 = 0.9;
const CORRELATED: usize = 50;

/// failsafe-go's adaptive limiter.
#[derive(Clone, Debug)]
pub struct Failsafe {
    range: Range,
    limit: f64,
    samples: Vec<f64>,
    rtt_min: f64,
    window_ends: Time,
    recent: Ring<5>,
    short: Average,
    long: Average,
    in_flights: Ring<CORRELATED>,
    throughputs: Ring<CORRELATED>,
    rtts: Ring<CORRELATED>,
    most_in_flight: u32,
}

impl Failsafe {
    /// The published range is 1, 20, 200.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self {
            range,
            limit: range.start(),
            samples: Vec::with_capacity(MOST_SAMPLES),
            rtt_min: f64::INFINITY,
            window_ends: Time::ZERO,
            recent: Ring::default(),
            short: Average::over(5.0, 1),
            long: Average::over(10.0, 10),
            in_flights: Ring::default(),
            throughputs: Ring::default(),
            rtts: Ring::default(),
            most_in_flight: 0,
        }
    }

    fn update(&mut self, p90: f64) {
        self.recent.push(p90);
        let mut recent = self.recent;
        let filtered = quantile(recent.values_mut(), 0.5).unwrap_or(p90);
        let short = self.short.add(filtered);
        let long = self.long.add(short);
        let in_flight = f64::from(self.most_in_flight);
        self.in_flights.push(in_flight);
        self.throughputs.push(in_flight / short);
        self.rtts.push(short);
        let log = self.limit.log10().max(1.0);
        let queue = (self.limit * (1.0 - long / short)).ceil();
        if queue > 6.0 * log || (in_flight >= self.limit.floor() && self.is_drifting()) {
            self.limit -= log;
        } else if queue < 3.0 * log {
            self.limit = (self.limit + log).min((in_flight * 5.0).max(self.limit));
        }
        self.limit = self.range.clamp(self.limit);
    }

    /// Whether more in flight has bought time in a queue instead of throughput.
    fn is_drifting(&self) -> bool {
        let follows = correlation(&self.in_flights, &self.throughputs);
        let waits = correlation(&self.in_flights, &self.rtts);
        let is_flat = variation(&self.throughputs) < 0.2;
        follows < 0.0 || (follows < 0.3 && waits > 0.5) || (is_flat && waits > 0.5)
    }
}

impl Limiter for Failsafe {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn done(&mut self, done: &Done, _in_flight: u32, _chance: f64) {
        if matches!(done.answer, Answer::PushedBack(_)) {
            return;
        }
        let rtt = done.rtt();
        self.rtt_min = self.rtt_min.min(rtt);
        self.most_in_flight = self.most_in_flight.max(done.in_flight);
        if self.samples.len() < MOST_SAMPLES {
            self.samples.push(rtt);
        }
        if done.now < self.window_ends || self.samples.len() < WINDOW_SAMPLES {
            return;
        }
        let p90 = quantile(&mut self.samples, QUANTILE).unwrap_or(rtt);
        self.update(p90);
        let wait = (self.rtt_min * 2.0).clamp(WINDOW_SECONDS.0, WINDOW_SECONDS.1);
        self.window_ends = done.now + span(wait);
        self.samples.clear();
        (self.rtt_min, self.most_in_flight) = (f64::INFINITY, 0);
    }
}

/// The last `N` values.
#[derive(Copy, Clone, Debug)]
struct Ring<const N: usize> {
    values: [f64; N],
    at: usize,
    count: usize,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self { values: [0.0; N], at: 0, count: 0 }
    }
}

impl<const N: usize> Ring<N> {
    fn push(&mut self, value: f64) {
        self.values[self.at] = value;
        self.at = (self.at + 1) % N;
        self.count = (self.count + 1).min(N);
    }

    fn values(&self) -> &[f64] {
        &self.values[..self.count]
    }

    fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values[..self.count]
    }

    fn mean(&self) -> f64 {
        self.values().iter().sum::<f64>() / self.count.max(1) as f64
    }
}

/// Pearson's correlation of two rings that were filled together; 0 where one does not vary.
fn correlation<const N: usize>(a: &Ring<N>, b: &Ring<N>) -> f64 {
    let (mean_a, mean_b) = (a.mean(), b.mean());
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.values().iter().zip(b.values()) {
        ab += (x - mean_a) * (y - mean_b);
        aa += (x - mean_a) * (x - mean_a);
        bb += (y - mean_b) * (y - mean_b);
    }
    if aa <= 0.0 || bb <= 0.0 { 0.0 } else { ab / (aa * bb).sqrt() }
}

/// The coefficient of variation.
fn variation<const N: usize>(ring: &Ring<N>) -> f64 {
    let mean = ring.mean();
    let variance = ring.values().iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    if mean > 0.0 { (variance / ring.count.max(1) as f64).sqrt() / mean } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::script::end;

    fn window(failsafe: &mut Failsafe, at: f64, rtt: f64) -> f64 {
        for _ in 0..50 {
            let in_flight = failsafe.limit();
            end(failsafe, at, rtt, in_flight, Answer::Ok);
        }
        failsafe.limit
    }

    #[test]
    fn grows_while_flat_and_shrinks_when_round_trips_follow_what_is_in_flight() {
        let mut failsafe = Failsafe::new(Range::new(1, 20, 200));
        let grown = window(&mut failsafe, 2.0, 0.1);
        assert!((grown - (20.0 + 20.0_f64.log10())).abs() < 1e-9);
        assert!((window(&mut failsafe, 2.5, 0.1) - grown).abs() < 1e-9, "the window is not over");
        let mut at = 4.0;
        let mut last = grown;
        for step in 0..12 {
            last = window(&mut failsafe, at, 0.1 + 0.05 * f64::from(step));
            at += 2.0;
        }
        assert!(last < grown + 3.0, "it did not follow its own queue: {last}");
    }

    #[test]
    fn correlations() {
        let (mut up, mut down) = (Ring::<8>::default(), Ring::<8>::default());
        for n in 0..8 {
            up.push(f64::from(n));
            down.push(f64::from(-n));
        }
        assert!((correlation(&up, &up) - 1.0).abs() < 1e-9 && (correlation(&up, &down) + 1.0).abs() < 1e-9);
    }
}
