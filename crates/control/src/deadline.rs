//! [`Predictor`]: whether a call can end before its deadline. What cannot is refused before it costs the remote anything.
//!
//! A call is not started when less is left than calls usually take (their median, of the last hundred) and a reserve for
//! the way back. On the wire, what is left is sent and not the moment, since clocks differ (as gRPC's `grpc-timeout`).

use std::time::Duration;

use tidegate_flow::Time;

use crate::limiter::span;
use crate::smooth::quantile;

/// So many calls are remembered.
const REMEMBERED: usize = 101;
/// The median is found again after so many calls, since that takes a sort of them.
const LOOK_EVERY: u32 = 10;

/// Whether a call can be in time. Allocates when it is made only.
#[derive(Clone, Debug)]
pub struct Predictor {
    reserve: Duration,
    latencies: Vec<f64>,
    scratch: Vec<f64>,
    next: usize,
    fresh: u32,
    median: Option<f64>,
}

impl Predictor {
    /// Keeps `reserve` of what is left for the way back.
    #[must_use]
    pub fn new(reserve: Duration) -> Self {
        let scratch = Vec::with_capacity(REMEMBERED);
        Self { reserve, latencies: Vec::with_capacity(REMEMBERED), scratch, next: 0, fresh: 0, median: None }
    }

    /// A call was answered after so long. Calls that failed at once tell nothing of how long they take.
    pub fn answered(&mut self, latency: Duration) {
        let latency = latency.as_secs_f64();
        if self.latencies.len() < REMEMBERED {
            self.latencies.push(latency);
        } else {
            self.latencies[self.next] = latency;
        }
        self.next = (self.next + 1) % REMEMBERED;
        self.fresh += 1;
        if self.fresh >= LOOK_EVERY || self.median.is_none() {
            self.fresh = 0;
            self.scratch.clear();
            self.scratch.extend_from_slice(&self.latencies);
            self.median = quantile(&mut self.scratch, 0.5);
        }
    }

    /// What calls usually take; nothing before the first.
    #[must_use]
    pub fn usual(&self) -> Option<Duration> {
        self.median.map(span)
    }

    /// Whether a call that is started now can be in time. [`Time::MAX`] is no deadline.
    #[must_use]
    pub fn is_in_time(&self, now: Time, deadline: Time) -> bool {
        deadline == Time::MAX
            || (now < deadline && deadline.since(now) >= self.reserve + self.usual().unwrap_or_default())
    }

    /// Whether another try after `pause` can be.
    #[must_use]
    pub fn is_worth_a_retry(&self, now: Time, pause: Duration, deadline: Time) -> bool {
        self.is_in_time(now + pause, deadline)
    }

    /// What is left for the remote: to be sent with the call. `None`: there is no deadline.
    #[must_use]
    pub fn left(&self, now: Time, deadline: Time) -> Option<Duration> {
        (deadline != Time::MAX).then(|| deadline.since(now).saturating_sub(self.reserve))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_in_time_is_not_started() {
        let second = Duration::from_secs(1);
        let (now, in_two) = (Time::from(second), Time::from(3 * second));
        let mut calls = Predictor::new(second / 10);
        assert!(calls.is_in_time(now, in_two) && !calls.is_in_time(in_two, in_two) && calls.usual().is_none());
        (0..50).for_each(|_| calls.answered(second));
        (0..40).for_each(|_| calls.answered(100 * second));
        assert_eq!(calls.usual(), Some(second), "the median: a few long ones do not matter");
        assert!(calls.is_in_time(now, in_two) && calls.is_worth_a_retry(now, second / 2, in_two));
        assert!(!calls.is_worth_a_retry(now, second, in_two), "not with the pause before it");
        assert_eq!((calls.left(now, in_two), calls.left(now, Time::MAX)), (Some(19 * second / 10), None));
        (0..200).for_each(|_| calls.answered(4 * second));
        assert!(!calls.is_in_time(now, in_two) && calls.is_in_time(now, Time::MAX));
    }
}
