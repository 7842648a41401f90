//! [`Admission`]: whether a request would be answered in time, judged before its body is read. A plain state machine: the
//! time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_flow::Time;

/// How fast the past is forgotten.
const MEMORY_SECONDS: f64 = 5.0;

/// The longest that somebody is asked to wait.
const LONGEST_WAIT_SECONDS: u64 = 60;

/// What is ahead, and how fast it goes.
pub(super) struct Admission {
    ack_timeout: Duration,
    bytes_ahead: u64,
    /// When the requests ahead came, oldest first; a request that is gone leaves a gap.
    ahead: VecDeque<Option<Time>>,
    /// The number of the first in `ahead`.
    first: u64,
    /// Bytes that settled, weighted less the longer ago that is, as of `at`.
    settled: f64,
    at: Time,
}

/// A request that was let in, by its number.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Admitted(u64);

impl Admission {
    pub(super) fn new(ack_timeout: Duration) -> Self {
        Self { ack_timeout, bytes_ahead: 0, ahead: VecDeque::new(), first: 0, settled: 0.0, at: Time::ZERO }
    }

    /// Lets a request in, or says in how many seconds to try again: where what is ahead takes longer than a request
    /// waits, or the oldest has waited for half of that already, and so nothing moves.
    pub(super) fn admit(&mut self, now: Time) -> Result<Admitted, u64> {
        let allowed = self.ack_timeout.as_secs_f64();
        if let Some(oldest) = self.ahead.front().copied().flatten() {
            let waited = now.since(oldest).as_secs_f64();
            let rate = self.rate(now);
            #[allow(clippy::cast_precision_loss, reason = "an estimate")]
            let expected = if rate > 0.0 { self.bytes_ahead as f64 / rate } else { 0.0 };
            let over = (expected - allowed).max(2.0 * waited - allowed);
            if over > 0.0 {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below")]
                return Err((over.ceil() as u64).clamp(1, LONGEST_WAIT_SECONDS));
            }
        }
        self.ahead.push_back(Some(now));
        Ok(Admitted(self.first + self.ahead.len() as u64 - 1))
    }

    /// The body of a request was read.
    pub(super) fn read(&mut self, bytes: u64) {
        self.bytes_ahead += bytes;
    }

    /// A request is over; `settled` says whether its records are, or it was given up.
    pub(super) fn over(&mut self, request: Admitted, bytes: u64, settled: bool, now: Time) {
        self.bytes_ahead = self.bytes_ahead.saturating_sub(bytes);
        if settled {
            self.forget(now);
            #[allow(clippy::cast_precision_loss, reason = "an estimate")]
            let bytes = bytes as f64;
            self.settled += bytes;
        }
        let place = request.0.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(entry) = place.and_then(|at| self.ahead.get_mut(at)) {
            *entry = None;
        }
        while matches!(self.ahead.front(), Some(None)) {
            self.ahead.pop_front();
            self.first += 1;
        }
    }

    fn forget(&mut self, now: Time) {
        let passed = now.since(self.at).as_secs_f64();
        self.settled *= (-passed / MEMORY_SECONDS).exp();
        self.at = now;
    }

    /// Bytes that settle in a second.
    fn rate(&mut self, now: Time) -> f64 {
        self.forget(now);
        self.settled / MEMORY_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn who_comes_first_is_let_in_whatever_is_known() {
        let mut admission = Admission::new(Duration::from_secs(10));
        assert!(admission.admit(at(0)).is_ok());
        admission.read(1 << 30);
        assert!(admission.admit(at(1)).is_ok(), "nothing is known of how fast it goes");
    }

    #[test]
    fn nobody_is_let_in_while_nothing_moves_and_all_when_it_does() {
        let mut admission = Admission::new(Duration::from_secs(10));
        let first = admission.admit(at(0)).unwrap();
        admission.read(100);
        assert!(admission.admit(at(5)).is_ok());
        assert_eq!(admission.admit(at(7)), Err(4));
        assert_eq!(admission.admit(at(500)), Err(60));
        admission.over(first, 100, true, at(501));
        // The next oldest came at 5.
        assert!(admission.admit(at(501)).is_err());
        admission.over(Admitted(1), 0, false, at(501));
        assert!(admission.admit(at(501)).is_ok());
    }

    #[test]
    fn what_is_ahead_is_weighed_against_the_pace() {
        let mut admission = Admission::new(Duration::from_secs(10));
        for second in 0..30 {
            let request = admission.admit(at(second)).unwrap();
            admission.read(1_000);
            admission.over(request, 1_000, true, at(second));
        }
        // About a thousand bytes a second.
        admission.admit(at(30)).unwrap();
        admission.read(5_000);
        assert!(admission.admit(at(30)).is_ok(), "five seconds' worth is ahead");
        admission.read(15_000);
        let wait = admission.admit(at(30)).unwrap_err();
        assert!((5..=15).contains(&wait), "twenty seconds' worth is ahead, of which ten are allowed: {wait}");
    }
}
