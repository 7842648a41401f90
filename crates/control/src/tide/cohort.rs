//! A cohort: requests sent one after the other under the same limit, and the low quantile of their latencies.
//!
//! A queue in front of servers delays all who pass it by about the same time, so it moves the whole distribution. The low
//! quantile shows that move with far less noise than the mean: a few long services among the samples do not touch it. And
//! it is known early: those of the cohort that are still out are later than it, whatever becomes of them, so there is no
//! bias towards what ends soon, and a remote that answers nothing shows as well.

use tidegate_flow::Time;

use crate::limiter::{Answer, Done};

/// The quantile that is looked at.
const QUANTILE: f64 = 0.1;
/// The largest cohort. What is larger tells little more.
pub(super) const MOST: u32 = 256;

/// What a cohort has shown.
#[derive(Copy, Clone, Debug)]
pub(super) struct Seen {
    /// The low quantile, in seconds.
    pub(super) low: f64,
    /// Its standard error, in seconds, from the samples around it.
    pub(super) error: f64,
    /// Answers per second while the cohort was out, of all requests.
    pub(super) throughput: f64,
    /// The answers that it was counted from.
    pub(super) answers: f64,
    /// The mean of what was in flight.
    pub(super) in_flight: f64,
    /// Whether most were sent with the limit reached.
    pub(super) is_full: bool,
    /// Whether most got no answer in time.
    pub(super) is_dead: bool,
}

/// Requests under observation.
#[derive(Clone, Debug)]
pub(super) struct Cohort {
    latencies: Vec<f64>,
    size: u32,
    skip: u32,
    sent: u32,
    lost: u32,
    full: u32,
    timed_out: u32,
    in_flight: f64,
    answers: u32,
    first_sent: Time,
    last_sent: Time,
}

impl Cohort {
    /// The next `size` requests, after `skip` that only fill up what the limit has gained.
    pub(super) fn new(size: u32) -> Self {
        let mut cohort = Self {
            latencies: Vec::with_capacity(MOST as usize),
            size: 0,
            skip: 0,
            sent: 0,
            lost: 0,
            full: 0,
            timed_out: 0,
            in_flight: 0.0,
            answers: 0,
            first_sent: Time::ZERO,
            last_sent: Time::ZERO,
        };
        cohort.begin(size, 0);
        cohort
    }

    /// Begins anew.
    pub(super) fn begin(&mut self, size: u32, skip: u32) {
        self.latencies.clear();
        self.size = size.clamp(2, MOST);
        self.skip = skip;
        (self.sent, self.lost, self.full, self.timed_out, self.answers) = (0, 0, 0, 0, 0);
        self.in_flight = 0.0;
    }

    /// A request goes out.
    pub(super) fn sent(&mut self, now: Time, in_flight: u32, limit: u32) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.sent < self.size {
            if self.sent == 0 {
                self.first_sent = now;
                self.answers = 0;
            }
            self.sent += 1;
            self.last_sent = now;
            self.full += u32::from(in_flight >= limit);
            self.in_flight += f64::from(in_flight);
        }
    }

    /// A request has ended; returns what the cohort shows, once it does.
    pub(super) fn done(&mut self, done: &Done) -> Option<Seen> {
        self.answers += u32::from(done.answer == Answer::Ok);
        if self.sent > 0 && done.sent >= self.first_sent && done.sent <= self.last_sent {
            match done.answer {
                Answer::Ok => self.latencies.push(done.rtt()),
                Answer::TimedOut => {
                    self.timed_out += 1;
                    self.latencies.push(done.rtt());
                }
                // A refusal and an instant failure have no service time.
                Answer::PushedBack(_) | Answer::Failed => self.lost += 1,
            }
        }
        if self.sent < self.size { None } else { self.look(done.now) }
    }

    /// Whether all that remained was refused or failed: such a cohort will never show anything.
    pub(super) fn is_void(&self) -> bool {
        self.sent == self.size && self.lost * 2 > self.size
    }

    fn look(&mut self, now: Time) -> Option<Seen> {
        let counted = f64::from(self.sent.saturating_sub(self.lost));
        let rank = (counted * QUANTILE).ceil().max(1.0);
        let spread = (rank * (1.0 - QUANTILE)).sqrt().max(1.0);
        let (rank, above, below) = (index(rank), index(rank + spread), index((rank - spread).max(1.0)));
        if self.latencies.len() <= above {
            return None;
        }
        let above = *self.latencies.select_nth_unstable_by(above, f64::total_cmp).1;
        if now.since(self.last_sent).as_secs_f64() < above {
            return None;
        }
        let low = *self.latencies.select_nth_unstable_by(rank, f64::total_cmp).1;
        let below = *self.latencies.select_nth_unstable_by(below, f64::total_cmp).1;
        let seconds = now.since(self.first_sent).as_secs_f64().max(1e-9);
        Some(Seen {
            low,
            error: (above - below) / 2.0,
            throughput: f64::from(self.answers) / seconds,
            answers: f64::from(self.answers),
            in_flight: self.in_flight / f64::from(self.sent),
            is_full: self.full * 2 >= self.sent,
            is_dead: self.timed_out * 2 >= self.sent,
        })
    }
}

/// The index of a rank that counts from 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks of at most a cohort")]
fn index(rank: f64) -> usize {
    rank.clamp(1.0, f64::from(MOST)) as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::span;

    fn done(sent: f64, rtt: f64, answer: Answer) -> Done {
        Done { now: Time::from(span(sent + rtt)), sent: Time::from(span(sent)), in_flight: 1, answer }
    }

    #[test]
    fn the_low_quantile_is_known_before_the_slow_ones_end() {
        let mut cohort = Cohort::new(20);
        for n in 0..20 {
            cohort.sent(Time::from(span(1.0 + f64::from(n) * 0.001)), 20, 20);
        }
        let mut seen = None;
        // Eight of the twenty are still out then.
        for n in 0..12 {
            seen = cohort.done(&done(1.0 + f64::from(n) * 0.001, 0.1 + f64::from(n) * 0.001, Answer::Ok));
            if seen.is_some() {
                break;
            }
        }
        let seen = seen.unwrap();
        assert!((seen.low - 0.101).abs() < 1e-6 && seen.is_full && !seen.is_dead, "{seen:?}");
    }

    #[test]
    fn one_that_was_sent_before_does_not_count_and_refusals_void_it() {
        let mut cohort = Cohort::new(4);
        for n in 0..4 {
            cohort.sent(Time::from(span(1.0 + f64::from(n))), 1, 4);
        }
        assert!(cohort.done(&done(0.5, 9.0, Answer::Ok)).is_none());
        for n in 0..3 {
            assert!(cohort.done(&done(1.0 + f64::from(n), 9.0, Answer::PushedBack(None))).is_none());
        }
        assert!(cohort.is_void());
    }
}
