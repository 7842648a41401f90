//! Ours: find the knee, and stay just above it.
//!
//! One station of `c` servers does more with more in flight up to `c`, and from there on only queues. Tide keeps a small
//! queue, as TCP Vegas (1994) meant to, but measures it so that service times may vary:
//!
//! 1. **Cohort.** The limit stands while a cohort of requests goes out ([`cohort`]). The low quantile of their latencies,
//!    less the same quantile without a queue (the *base*), is the wait `W`; by Little's law `Q = W X` requests wait.
//! 2. **Move.** Above the target queue, the excess is cut at once, in one step. Below half of it, with the limit in use,
//!    the limit grows by a step that doubles each time, to a doubling of the limit: so the way up takes a logarithmic
//!    number of round trips, whatever the capacity.
//! 3. **Confirm.** A cut by more than a quarter waits for a second cohort: a stall that is over leaves no mark in it.
//! 4. **Test the base.** Where two cuts in a row leave the wait as it was, it is not a queue but slower service: the base is
//!    set anew and the limit goes back. Clients that share a queue see the same wait at the same time and cut together,
//!    so that their cuts do have an effect. A lower latency than the base is believed at once.
//! 5. **Silence.** Where most of a cohort times out, the limit falls to a quarter, and comes back by doubling as soon as
//!    answers do.
//! 6. **Refusals** set a bound of their own ([`pushback`]) and never touch the base.
//! 7. **Elasticity.** Where growth by a half has bought no throughput though no wait was seen (a station that shares itself
//!    out, a cache that answers some without a queue), growth ends there.
//!
//! The limit never changes while less than it is in use, and never falls below 1.

mod cohort;
mod pushback;

use tidegate_flow::Time;

use self::cohort::{Cohort, Seen};
use self::pushback::Pushback;
use crate::limiter::{Admit, Done, Limiter, Range, whole};

/// The queue to keep: so many, and so many per request of the limit.
const TARGET: (f64, f64) = (0.6, 0.06);
/// Above so many times the target, the limit is cut.
const CUT_ABOVE: f64 = 1.6;
/// Below so many times the target, the limit grows.
const GROW_BELOW: f64 = 0.6;
/// What so many standard errors could explain is not taken for a queue.
const DOUBT: f64 = 1.5;
/// The first step up, as a share of the limit; each next one doubles.
const STEP: f64 = 0.03;
/// So many doublings of the step make the limit double.
const FULL_SPEED: i32 = 6;
/// A cut to less than this share waits for a second cohort.
const SURE_CUT: f64 = 0.75;
/// The smallest cohort while the limit is found, and once it is.
const COHORT: (u32, u32) = (6, 24);

/// Tide.
#[derive(Clone, Debug)]
pub struct Tide {
    range: Range,
    limit: f64,
    base: Option<f64>,
    cohort: Cohort,
    pushback: Pushback,
    /// How often the step has doubled.
    speed: i32,
    /// A large cut waits to be confirmed.
    is_suspect: bool,
    trial: Option<Trial>,
    /// The limit before answers ceased.
    resume: Option<f64>,
    knee: Option<Knee>,
}

/// A cut, under test for its effect.
#[derive(Copy, Clone, Debug)]
struct Trial {
    /// The limit before the first cut.
    before: f64,
    /// What was in flight and what the wait was, before this cut.
    in_flight: f64,
    wait: f64,
    /// How many cuts have had no effect.
    without_effect: u32,
}

/// The place from which growth is judged by what it bought.
#[derive(Copy, Clone, Debug)]
struct Knee {
    in_flight: f64,
    throughput: f64,
    /// The answers that the throughput was counted from.
    answers: f64,
}

impl Tide {
    /// Starts at the start of `range`, which should be small: the base is learned there. 2 is a good start.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self {
            range,
            limit: range.start(),
            base: None,
            cohort: Cohort::new(COHORT.0),
            pushback: Pushback::new(),
            speed: FULL_SPEED,
            is_suspect: false,
            trial: None,
            resume: None,
            knee: None,
        }
    }

    /// The latency without a queue, in seconds, at the low quantile; nothing before the first cohort.
    #[must_use]
    pub const fn base_seconds(&self) -> Option<f64> {
        self.base
    }

    fn target(&self) -> f64 {
        TARGET.0 + TARGET.1 * self.limit
    }

    /// Begins the next cohort under `limit`.
    fn go_on(&mut self, limit: f64, in_flight: u32) {
        let most = self.pushback.ceiling().map_or(f64::INFINITY, |ceiling| ceiling * 1.25 + 1.0);
        self.limit = self.range.clamp(limit.min(most));
        let least = if self.speed >= 3 || self.resume.is_some() { COHORT.0 } else { COHORT.1 };
        let skip = self.limit().saturating_sub(in_flight + 1);
        self.cohort.begin(self.limit().max(least), skip.min(self.limit() / 2));
    }

    fn decide(&mut self, seen: &Seen, in_flight: u32) {
        if seen.is_dead {
            let before = self.resume.unwrap_or(self.limit).max(self.limit);
            self.resume = Some(before);
            self.trial = None;
            return self.go_on(self.limit / 4.0, in_flight);
        }
        let wait = self.wait(seen);
        let queue = (wait * seen.throughput).min(seen.in_flight);
        let noise = DOUBT * seen.error * seen.throughput;
        let limit = if queue > CUT_ABOVE * self.target() + noise {
            self.cut(seen, wait, queue)
        } else {
            self.is_suspect = false;
            self.settle_trial(seen, wait);
            if queue < GROW_BELOW * self.target() + noise && seen.is_full { self.grow(seen) } else { self.hold() }
        };
        self.go_on(limit, in_flight);
    }

    /// The wait in the queue; moves the base.
    fn wait(&mut self, seen: &Seen) -> f64 {
        let base = *self.base.get_or_insert(seen.low);
        let above = seen.low - base;
        let next = if above < -2.0 * seen.error {
            seen.low
        } else if above < 0.0 {
            base + 0.15 * above
        } else if above < seen.error {
            base + 0.03 * above
        } else {
            base
        };
        self.base = Some(next);
        above.max(0.0)
    }

    fn hold(&mut self) -> f64 {
        self.speed = self.speed.min(0);
        self.limit
    }

    fn grow(&mut self, seen: &Seen) -> f64 {
        if let Some(resume) = self.resume {
            if self.limit * 2.0 < resume {
                return self.limit * 2.0;
            }
            self.resume = None;
            return resume.min(self.limit * 2.0);
        }
        if self.is_in_vain(seen) {
            self.speed = 0;
            // What was seen there is measured anew: it may have been luck.
            return self.knee.take().map_or(self.limit, |knee| knee.in_flight.max(1.0));
        }
        let share = (STEP * 2_f64.powi(self.speed.min(FULL_SPEED))).min(1.0);
        self.speed = (self.speed + 1).min(FULL_SPEED);
        self.limit + (self.limit * share).max(0.5)
    }

    /// Whether growth has bought no throughput, beyond what chance explains.
    fn is_in_vain(&mut self, seen: &Seen) -> bool {
        let here = Knee { in_flight: seen.in_flight, throughput: seen.throughput, answers: seen.answers };
        let knee = *self.knee.get_or_insert(here);
        let grown = seen.in_flight / knee.in_flight;
        let bought = seen.throughput / knee.throughput.max(1e-9);
        // The relative error of a count is one over its root.
        let error = (1.0 / knee.answers.max(1.0) + 1.0 / seen.answers.max(1.0)).sqrt();
        let should = 1.0 + (grown - 1.0) * 0.2;
        if grown > 1.5 && bought * (1.0 + 2.0 * error) < should {
            return true;
        }
        if grown < 1.0 / 1.5 || (grown > 1.5 && bought * (1.0 - 2.0 * error) > should) {
            self.knee = Some(here);
        }
        false
    }

    fn cut(&mut self, seen: &Seen, wait: f64, queue: f64) -> f64 {
        let excess = queue - self.target();
        let in_use = seen.in_flight.min(self.limit);
        let limit = (in_use - excess).max(self.limit * 0.4).max(1.0);
        if limit < self.limit * SURE_CUT && !self.is_suspect {
            self.is_suspect = true;
            return self.limit;
        }
        self.is_suspect = false;
        self.speed = 0;
        self.knee = None;
        match &mut self.trial {
            None => {
                self.trial = Some(Trial { before: self.limit, in_flight: seen.in_flight, wait, without_effect: 0 });
            }
            Some(trial) if seen.in_flight <= 0.7 * trial.in_flight => {
                trial.without_effect = if wait > 0.75 * trial.wait { trial.without_effect + 1 } else { 0 };
                (trial.in_flight, trial.wait) = (seen.in_flight, wait);
                if trial.without_effect >= 2 {
                    let before = trial.before;
                    self.trial = None;
                    self.base = Some(seen.low);
                    return before;
                }
            }
            Some(_) => {}
        }
        limit
    }

    /// The queue is as it should be: the cuts had their effect.
    fn settle_trial(&mut self, _seen: &Seen, wait: f64) {
        if self.trial.is_some_and(|trial| wait < 0.5 * trial.wait) {
            self.trial = None;
        }
    }
}

impl Limiter for Tide {
    fn limit(&self) -> u32 {
        let ceiling = self.pushback.ceiling().unwrap_or(f64::INFINITY);
        whole((self.limit + 0.5).min(ceiling))
    }

    fn admit(&mut self, now: Time, in_flight: u32, _chance: f64) -> Admit {
        if in_flight >= self.limit() { Admit::Wait } else { self.pushback.admit(now) }
    }

    fn sent(&mut self, now: Time, in_flight: u32) {
        self.pushback.sent(now);
        let limit = self.limit();
        self.cohort.sent(now, in_flight, limit);
    }

    fn done(&mut self, done: &Done, in_flight: u32, _chance: f64) {
        self.pushback.done(done);
        match self.cohort.done(done) {
            Some(seen) => self.decide(&seen, in_flight),
            None if self.cohort.is_void() => self.go_on(self.limit, in_flight),
            None => {}
        }
    }
}
