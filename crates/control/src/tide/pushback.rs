//! What refusals (429, 503) teach, apart from what latency teaches: a ceiling on what is in flight, a pace, or a closed
//! gate.
//!
//! A remote that refuses at once shows no queue, so its bound must be learned from the refusals themselves. Two kinds are
//! told apart by where they come: a cap on what is inside refuses only above the most that was lately let in; a quota per
//! second refuses at any number in flight. The first sets a ceiling just below; the second a pace a little under the rate
//! that was let in. Both are held, then raised in steps that grow while nothing is refused (after CUBIC, RFC 9438), and
//! each refusal makes the next hold longer. A hint closes the gate until then. When nothing at all is let in, the gate
//! opens for single requests, at most a second apart.

use std::time::Duration;

use tidegate_flow::Time;

use crate::limiter::{Admit, Answer, Done, span};
use crate::smooth::Average;

/// Round trips that a ceiling is held at first, and at most.
const HOLD: (f64, f64) = (40.0, 400.0);
/// Round trips between two raises.
const RAISE_EVERY: f64 = 6.0;
/// A ceiling that is refused so often before it is raised is none.
const EARLY: u32 = 2;
/// Refusals in a row, with nothing let in, until the remote counts as away.
const AWAY_AFTER: u32 = 8;
/// The longest pause between two single requests to a remote that is away.
const MOST_PAUSE_SECONDS: f64 = 1.0;

/// The bound that refusals have taught.
#[derive(Clone, Debug)]
pub(super) struct Pushback {
    bound: Bound,
    rtt: Average,
    gate: Time,
    /// Refusals of what was sent before this belong to what is dealt with already.
    dealt_with: Time,
    hold: f64,
    raise_at: Time,
    raises: i32,
    /// Volleys of refusals in a row before the ceiling was raised.
    early: u32,
    refused_in_row: u32,
    accepts: Accepts,
    paced_next: Time,
    was_paced: bool,
}

/// Which kind of bound.
#[derive(Copy, Clone, Debug)]
enum Bound {
    /// Nothing is refused.
    None,
    /// At most so many in flight.
    Ceiling(f64),
    /// At most so many per second.
    Pace(f64),
    /// Everything is refused; the ceiling to come back to.
    Away(f64),
}

impl Pushback {
    pub(super) fn new() -> Self {
        Self {
            bound: Bound::None,
            rtt: Average::weighing(0.05),
            gate: Time::ZERO,
            dealt_with: Time::ZERO,
            hold: HOLD.0,
            raise_at: Time::ZERO,
            raises: 0,
            early: 0,
            refused_in_row: 0,
            accepts: Accepts::default(),
            paced_next: Time::ZERO,
            was_paced: false,
        }
    }

    /// The most in flight, if refusals have taught one.
    pub(super) fn ceiling(&self) -> Option<f64> {
        match self.bound {
            Bound::Ceiling(ceiling) => Some(ceiling.max(1.0)),
            Bound::Away(_) => Some(1.0),
            Bound::None | Bound::Pace(_) => None,
        }
    }

    /// Whether it keeps requests back now for reasons of time.
    pub(super) fn admit(&mut self, now: Time) -> Admit {
        if now < self.gate {
            return Admit::Until(self.gate);
        }
        if matches!(self.bound, Bound::Pace(_)) && now < self.paced_next {
            self.was_paced = true;
            return Admit::Until(self.paced_next);
        }
        Admit::Send
    }

    pub(super) fn sent(&mut self, now: Time) {
        if let Bound::Pace(rate) = self.bound {
            // What was not used does not pile up: at most one goes out early.
            let every = span(1.0 / rate);
            let earliest = if self.paced_next + every < now { now } else { self.paced_next };
            self.paced_next = earliest + every;
        }
        if let Bound::Away(_) = self.bound {
            self.gate = now + self.pause();
        }
    }

    pub(super) fn done(&mut self, done: &Done) {
        match done.answer {
            Answer::Ok => self.accepted(done),
            Answer::PushedBack(hint) => self.refused(done, hint),
            Answer::TimedOut | Answer::Failed => {}
        }
    }

    fn seconds(&self) -> f64 {
        self.rtt.get().unwrap_or(0.1).max(1e-4)
    }

    fn pause(&self) -> Duration {
        let doubled = self.seconds() * f64::from(1_u32 << self.refused_in_row.saturating_sub(AWAY_AFTER).min(16));
        span(doubled.min(MOST_PAUSE_SECONDS))
    }

    fn accepted(&mut self, done: &Done) {
        self.rtt.add(done.rtt());
        self.refused_in_row = 0;
        self.accepts.add(done, self.seconds());
        match self.bound {
            Bound::Away(ceiling) => {
                // It is back: from a few up to what it was, doubling.
                self.bound = Bound::Ceiling(ceiling.min(4.0));
                self.gate = Time::ZERO;
                self.hold = HOLD.0;
                self.raises = 6;
                self.raise_at = done.now + span(self.seconds());
            }
            Bound::Ceiling(ceiling) if done.now >= self.raise_at && f64::from(done.in_flight) >= ceiling.floor() => {
                let step = (ceiling * 0.02 * 2_f64.powi(self.raises.min(6))).min(ceiling).max(1.0);
                self.raised(done.now, Bound::Ceiling(ceiling + step));
            }
            Bound::Pace(rate) if done.now >= self.raise_at && self.was_paced => {
                let step = 0.005 * 1.5_f64.powi(self.raises.min(12));
                self.was_paced = false;
                self.raised(done.now, Bound::Pace(rate * (1.0 + step.min(0.5))));
            }
            Bound::None | Bound::Ceiling(_) | Bound::Pace(_) => {}
        }
    }

    fn raised(&mut self, now: Time, bound: Bound) {
        let every = if matches!(bound, Bound::Pace(_)) { 1.5 * RAISE_EVERY } else { RAISE_EVERY };
        let every = if self.raises >= 6 && matches!(bound, Bound::Ceiling(_)) { 1.0 } else { every };
        self.bound = bound;
        self.raises += 1;
        self.raise_at = now + span(every * self.seconds());
    }

    fn refused(&mut self, done: &Done, hint: Option<Duration>) {
        self.refused_in_row = self.refused_in_row.saturating_add(1);
        if let Some(hint) = hint {
            self.gate = self.gate.max(done.now + hint);
        }
        let below = f64::from(done.in_flight.saturating_sub(1)).max(1.0);
        if self.refused_in_row >= AWAY_AFTER && self.accepts.none_since(done.now, 4.0 * self.seconds()) {
            let back = match self.bound {
                Bound::Away(ceiling) | Bound::Ceiling(ceiling) => ceiling,
                Bound::None | Bound::Pace(_) => f64::from(self.accepts.most()).max(1.0),
            };
            self.bound = Bound::Away(back.max(f64::from(self.accepts.most())));
            self.gate = self.gate.max(done.now + self.pause());
            return;
        }
        if done.sent < self.dealt_with {
            // One of the same volley; the lowest of them tells where the cap is.
            if let Bound::Ceiling(ceiling) = self.bound
                && below < ceiling
                && below + 1.0 > f64::from(self.accepts.most()) * 0.75
            {
                self.bound = Bound::Ceiling(below);
            }
            return;
        }
        let held = self.hold;
        self.dealt_with = done.now;
        let is_quota = self.is_quota(done);
        self.bound = match self.bound {
            Bound::Pace(rate) => {
                Bound::Pace(self.accepts.rate(done.now).map_or(rate * 0.95, |seen| seen * 0.98).min(rate * 0.99))
            }
            Bound::None | Bound::Ceiling(_) | Bound::Away(_) if is_quota => {
                Bound::Pace(self.accepts.rate(done.now).unwrap_or(1.0 / self.seconds()) * 0.98)
            }
            Bound::None | Bound::Ceiling(_) | Bound::Away(_) => Bound::Ceiling(below),
        };
        let hold = if matches!(self.bound, Bound::Pace(_)) { HOLD.0 } else { held };
        self.raises = 0;
        self.raise_at = done.now + span(hold * self.seconds());
        self.hold = (self.hold * 1.6).min(HOLD.1);
    }

    /// Refused below a ceiling that was just found, for the second time, or well below it and below what was let in only
    /// lately: what is counted is not what is inside. The first volley shows nothing of the kind: some of what was out
    /// with it was on its way to be refused as well.
    fn is_quota(&mut self, done: &Done) -> bool {
        let Bound::Ceiling(ceiling) = self.bound else { return false };
        self.early = if done.now < self.raise_at && self.raises == 0 { self.early + 1 } else { 0 };
        self.early >= EARLY || f64::from(done.in_flight) <= ceiling.min(f64::from(self.accepts.most())) * 0.8 - 1.0
    }
}

/// What was let in: how many a second, and with how many in flight.
#[derive(Copy, Clone, Debug, Default)]
struct Accepts {
    /// Count, most in flight and start of the slice before and of this one.
    before: Slice,
    now: Slice,
    last: Time,
}

#[derive(Copy, Clone, Debug, Default)]
struct Slice {
    from: Time,
    count: f64,
    most: u32,
}

impl Accepts {
    fn add(&mut self, done: &Done, rtt: f64) {
        self.last = done.now;
        if done.now.since(self.now.from).as_secs_f64() > (20.0 * rtt).max(1.0) {
            self.before = self.now;
            self.now = Slice { from: done.now, count: 0.0, most: 0 };
        }
        self.now.count += 1.0;
        self.now.most = self.now.most.max(done.in_flight);
    }

    fn most(&self) -> u32 {
        self.before.most.max(self.now.most)
    }

    fn rate(&self, now: Time) -> Option<f64> {
        let seconds = now.since(self.before.from).as_secs_f64();
        let count = self.before.count + self.now.count;
        (seconds > 0.0 && count >= 10.0).then(|| count / seconds)
    }

    fn none_since(&self, now: Time, seconds: f64) -> bool {
        now.since(self.last).as_secs_f64() > seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(now: f64, rtt: f64, in_flight: u32, answer: Answer) -> Done {
        Done { now: Time::from(span(now)), sent: Time::from(span(now - rtt)), in_flight, answer }
    }

    #[test]
    fn a_cap_sets_a_ceiling_below_the_lowest_refusal_of_a_volley() {
        let mut pushback = Pushback::new();
        for n in 1..=32 {
            pushback.done(&done(1.0, 0.1, n, Answer::Ok));
        }
        for n in [40, 36, 33, 39] {
            pushback.done(&done(1.05, 0.02, n, Answer::PushedBack(None)));
        }
        assert_eq!(pushback.ceiling(), Some(32.0));
        pushback.done(&done(1.1, 0.1, 32, Answer::Ok));
        assert_eq!(pushback.ceiling(), Some(32.0), "held");
        pushback.done(&done(9.0, 0.1, 32, Answer::Ok));
        assert_eq!(pushback.ceiling(), Some(33.0), "then tried");
    }

    #[test]
    fn a_refusal_far_below_what_was_let_in_is_a_quota() {
        let mut pushback = Pushback::new();
        for n in 0..200 {
            pushback.done(&done(1.0 + f64::from(n) * 0.005, 0.1, 20, Answer::Ok));
        }
        pushback.done(&done(2.0, 0.02, 18, Answer::PushedBack(None)));
        assert_eq!(pushback.ceiling(), Some(17.0), "it may be a cap");
        pushback.done(&done(2.1, 0.02, 8, Answer::PushedBack(None)));
        assert!(matches!(pushback.bound, Bound::Pace(rate) if (50.0..200.0).contains(&rate)), "{:?}", pushback.bound);
        assert_eq!(pushback.ceiling(), None);
    }

    #[test]
    fn a_hint_closes_the_gate_and_a_remote_that_is_away_gets_single_requests() {
        let mut pushback = Pushback::new();
        let hint = Some(Duration::from_secs(3));
        pushback.done(&done(1.0, 0.02, 1, Answer::PushedBack(hint)));
        assert_eq!(pushback.admit(Time::from(span(2.0))), Admit::Until(Time::from(span(4.0))));
        for n in 0..20 {
            pushback.done(&done(5.0 + f64::from(n), 0.02, 1, Answer::PushedBack(None)));
        }
        assert!(matches!(pushback.bound, Bound::Away(_)) && pushback.ceiling() == Some(1.0));
        assert!(matches!(pushback.admit(Time::from(span(24.5))), Admit::Until(_)));
    }
}
