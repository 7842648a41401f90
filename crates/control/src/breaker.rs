//! [`Breaker`]: stops calling a remote that fails or is too slow, and comes back to it by a ramp.
//!
//! Source: M. Nygard, "Release It!" (2007), chapter "Circuit Breaker"; the slow-call share after resilience4j. Two things
//! differ. Half-open is a ramp: 1, 2, 4, ... calls at a time, each round only after all of the one before went well, so
//! that a remote that has just come back is not met by everybody at once. And the open time doubles while it does not
//! come back, and is drawn by chance from the upper half of that, so that many clients do not return together.
//!
//! A refusal for load or quota (429, 503 with pushback) is no failure: it says that the remote is well and busy. Limiters
//! deal with that. Such an answer counts as no answer at all.
//!
//! | state | a call is | good | bad or slow | pushed back |
//! |---|---|---|---|---|
//! | closed | admitted | counted | counted; opens at the share | - |
//! | open | held until the open time is over, then half-open | - (sent before) | - | - |
//! | half-open | admitted up to the ramp | next round; closed after the last | opens again, for longer | gives its place back |

use std::time::Duration;

use tidegate_flow::Time;

use crate::limiter::{Admit, Answer, Done, span};

/// The most calls that a window by count holds, and the slices that one by time is cut into.
const MOST_CALLS: usize = 1024;
const SLICES: u8 = 10;

/// Which of the last calls decide.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// So many, at most 1,024.
    Calls(usize),
    /// Those of the last so long, in tenths of it.
    Time(Duration),
}

/// When a breaker opens, and for how long. [`Default`] suits calls of up to some seconds.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct BreakerOptions {
    /// Which calls decide. Default: those of the last 10 s.
    pub window: Window,
    /// So many have to be in the window. Default 20.
    pub least_calls: u32,
    /// This share of failures opens it. Default 0.5; above 1 never.
    pub failed_share: f64,
    /// A call is slow that takes so long, also where it ends well. Default: never.
    pub slow_after: Duration,
    /// This share of slow calls opens it. Default 0.8.
    pub slow_share: f64,
    /// How long it stays open the first time, before chance takes up to half of it. Default 1 s.
    pub open_first: Duration,
    /// And at most. Default 60 s.
    pub open_most: Duration,
    /// The ramp ends, and it is closed, after a round of so many. Default 16.
    pub ramp: u32,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            window: Window::Time(Duration::from_secs(10)),
            least_calls: 20,
            failed_share: 0.5,
            slow_after: Duration::MAX,
            slow_share: 0.8,
            open_first: Duration::from_secs(1),
            open_most: Duration::from_secs(60),
            ramp: 16,
        }
    }
}

/// The state, for those who look.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// None does, until then.
    Open {
        /// When the first is let through again.
        until: Time,
    },
    /// So many at a time do.
    HalfOpen {
        /// At a time.
        ramp: u32,
    },
}

#[derive(Clone, Debug)]
enum State {
    Closed(Counts),
    Open { until: Time, in_a_row: u32 },
    HalfOpen(Ramp),
}

/// A round of half-open.
#[derive(Copy, Clone, Debug)]
struct Ramp {
    /// What was sent before does not count.
    since: Time,
    size: u32,
    out: u32,
    good: u32,
    in_a_row: u32,
}

/// A circuit breaker. The caller asks [`admit`](Self::admit), says [`sent`](Self::sent) for what goes out, and
/// [`done`](Self::done) or [`cancelled`](Self::cancelled) once for each of these. Allocates when it is made only.
#[derive(Clone, Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
    opened: u64,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, state: State::Closed(Counts::new(options.window)), opened: 0 }
    }

    /// The state now. An open one whose time is over becomes half-open with the next [`admit`](Self::admit).
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match &self.state {
            State::Closed(_) => BreakerState::Closed,
            State::Open { until, .. } => BreakerState::Open { until: *until },
            State::HalfOpen(ramp) => BreakerState::HalfOpen { ramp: ramp.size },
        }
    }

    /// How often it has opened.
    #[must_use]
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// May a call be sent?
    pub fn admit(&mut self, now: Time) -> Admit {
        match &self.state {
            State::Closed(_) => Admit::Send,
            State::Open { until, .. } if now < *until => Admit::Until(*until),
            State::Open { in_a_row, .. } => {
                let in_a_row = *in_a_row;
                self.state = State::HalfOpen(Ramp { since: now, size: 1, out: 0, good: 0, in_a_row });
                Admit::Send
            }
            State::HalfOpen(ramp) if ramp.out + ramp.good < ramp.size => Admit::Send,
            State::HalfOpen(_) => Admit::Wait,
        }
    }

    /// A call goes out that was admitted.
    pub fn sent(&mut self, _now: Time) {
        if let State::HalfOpen(ramp) = &mut self.state {
            ramp.out = ramp.out.saturating_add(1);
        }
    }

    /// A call that went out ended without telling anything of the remote: its caller gave it up.
    pub fn cancelled(&mut self, sent: Time) {
        if let State::HalfOpen(ramp) = &mut self.state
            && sent >= ramp.since
        {
            ramp.out = ramp.out.saturating_sub(1);
        }
    }

    /// A call has ended; `chance` is drawn evenly from 0 to 1 for this call.
    pub fn done(&mut self, done: &Done, chance: f64) {
        let kind = match done.answer {
            Answer::PushedBack(_) => return self.cancelled(done.sent),
            Answer::TimedOut | Answer::Failed => Kind::Failed,
            Answer::Ok if done.now.since(done.sent) >= self.options.slow_after => Kind::Slow,
            Answer::Ok => Kind::Good,
        };
        match &mut self.state {
            State::Closed(counts) => {
                counts.add(kind, done.now);
                if is_over(&counts.sum, &self.options) {
                    self.open(done.now, 0, chance);
                }
            }
            // Sent before it opened: that is known already.
            State::Open { .. } => {}
            State::HalfOpen(ramp) if done.sent < ramp.since => {}
            State::HalfOpen(ramp) => match kind {
                Kind::Failed | Kind::Slow => {
                    let in_a_row = ramp.in_a_row.saturating_add(1);
                    self.open(done.now, in_a_row, chance);
                }
                Kind::Good => {
                    ramp.out = ramp.out.saturating_sub(1);
                    ramp.good += 1;
                    if ramp.good >= ramp.size {
                        if ramp.size >= self.options.ramp {
                            self.state = State::Closed(Counts::new(self.options.window));
                        } else {
                            (ramp.size, ramp.good) = (ramp.size.saturating_mul(2).min(self.options.ramp), 0);
                        }
                    }
                }
            },
        }
    }

    fn open(&mut self, now: Time, in_a_row: u32, chance: f64) {
        let doubled = self.options.open_first.saturating_mul(1_u32 << in_a_row.min(20)).min(self.options.open_most);
        let until = now + span(doubled.as_secs_f64() * (0.5 + 0.5 * chance.clamp(0.0, 1.0)));
        self.state = State::Open { until, in_a_row };
        self.opened += 1;
    }
}

fn is_over(sum: &Sum, options: &BreakerOptions) -> bool {
    let all = sum.good + sum.failed + sum.slow;
    let share = |count: u32| f64::from(count) / f64::from(all.max(1));
    all >= options.least_calls.max(1)
        && (share(sum.failed) >= options.failed_share || share(sum.slow) >= options.slow_share)
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    Slow,
    Failed,
}

/// How many calls of each kind.
#[derive(Copy, Clone, Debug, Default)]
struct Sum {
    good: u32,
    slow: u32,
    failed: u32,
}

impl Sum {
    fn of(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Good => &mut self.good,
            Kind::Slow => &mut self.slow,
            Kind::Failed => &mut self.failed,
        }
    }
}

/// The calls of a window.
#[derive(Clone, Debug)]
struct Counts {
    sum: Sum,
    held: Held,
}

#[derive(Clone, Debug)]
enum Held {
    /// A ring, and where the next goes.
    Calls { ring: Vec<Kind>, size: usize, next: usize },
    /// Slices, the one at work, and when that ends.
    Time { slices: [Sum; SLICES as usize], slice: Duration, at: usize, ends: Time },
}

impl Counts {
    fn new(window: Window) -> Self {
        let held = match window {
            Window::Calls(size) => {
                let size = size.clamp(1, MOST_CALLS);
                Held::Calls { ring: Vec::with_capacity(size), size, next: 0 }
            }
            Window::Time(time) => {
                let slice = (time / u32::from(SLICES)).max(Duration::from_millis(1));
                Held::Time { slices: [Sum::default(); SLICES as usize], slice, at: 0, ends: Time::ZERO }
            }
        };
        Self { sum: Sum::default(), held }
    }

    fn add(&mut self, kind: Kind, now: Time) {
        match &mut self.held {
            Held::Calls { ring, size, next } => {
                if ring.len() < *size {
                    ring.push(kind);
                } else {
                    *self.sum.of(std::mem::replace(&mut ring[*next], kind)) -= 1;
                }
                *next = (*next + 1) % *size;
            }
            Held::Time { slices, slice, at, ends } => {
                for _ in 0..SLICES {
                    if now < *ends {
                        break;
                    }
                    *at = (*at + 1) % SLICES as usize;
                    let gone = std::mem::take(&mut slices[*at]);
                    self.sum.good -= gone.good;
                    self.sum.slow -= gone.slow;
                    self.sum.failed -= gone.failed;
                    *ends = *ends + *slice;
                }
                if now >= *ends {
                    *ends = now + *slice;
                }
                *slices[*at].of(kind) += 1;
            }
        }
        *self.sum.of(kind) += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::from(span(seconds))
    }

    fn ends(breaker: &mut Breaker, sent: f64, now: f64, answer: Answer) {
        breaker.done(&Done { now: at(now), sent: at(sent), in_flight: 1, answer }, 1.0);
    }

    fn options() -> BreakerOptions {
        BreakerOptions { least_calls: 4, ramp: 4, window: Window::Calls(8), ..BreakerOptions::default() }
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(options());
        (0..4).for_each(|_| ends(&mut breaker, 0.0, 1.0, Answer::Failed));
        breaker
    }

    fn half_open() -> Breaker {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(2.0)), Admit::Send);
        breaker.sent(at(2.0));
        breaker
    }

    /// Every state with every event: what becomes of it.
    #[test]
    fn every_event_in_every_state() {
        let states: [(&str, fn() -> Breaker); 3] =
            [("closed", || Breaker::new(options())), ("open", opened), ("half-open", half_open)];
        let events: [(&str, fn(&mut Breaker)); 7] = [
            ("good", |breaker| ends(breaker, 2.0, 2.1, Answer::Ok)),
            ("failed", |breaker| ends(breaker, 2.0, 2.1, Answer::Failed)),
            ("timed out", |breaker| ends(breaker, 2.0, 2.1, Answer::TimedOut)),
            ("pushed back", |breaker| ends(breaker, 2.0, 2.1, Answer::PushedBack(None))),
            ("failed, sent before", |breaker| ends(breaker, 0.5, 2.1, Answer::Failed)),
            ("cancelled", |breaker| breaker.cancelled(at(2.0))),
            ("asked", |breaker| _ = breaker.admit(at(2.1))),
        ];
        let mut table = String::new();
        for (state, make) in states {
            for (event, happen) in events {
                let mut breaker = make();
                happen(&mut breaker);
                table.push_str(&format!("{state}, {event}: {:?}\n", breaker.state()));
            }
        }
        assert_eq!(
            table,
            "closed, good: Closed\n\
             closed, failed: Closed\n\
             closed, timed out: Closed\n\
             closed, pushed back: Closed\n\
             closed, failed, sent before: Closed\n\
             closed, cancelled: Closed\n\
             closed, asked: Closed\n\
             open, good: Open { until: +2s }\n\
             open, failed: Open { until: +2s }\n\
             open, timed out: Open { until: +2s }\n\
             open, pushed back: Open { until: +2s }\n\
             open, failed, sent before: Open { until: +2s }\n\
             open, cancelled: Open { until: +2s }\n\
             open, asked: HalfOpen { ramp: 1 }\n\
             half-open, good: HalfOpen { ramp: 2 }\n\
             half-open, failed: Open { until: +4.1s }\n\
             half-open, timed out: Open { until: +4.1s }\n\
             half-open, pushed back: HalfOpen { ramp: 1 }\n\
             half-open, failed, sent before: HalfOpen { ramp: 1 }\n\
             half-open, cancelled: HalfOpen { ramp: 1 }\n\
             half-open, asked: HalfOpen { ramp: 1 }\n"
        );
    }

    #[test]
    fn half_open_is_a_ramp_of_whole_rounds() {
        let mut breaker = half_open();
        assert_eq!(breaker.admit(at(2.0)), Admit::Wait, "one at a time");
        ends(&mut breaker, 2.0, 2.1, Answer::Ok);
        for _ in 0..2 {
            assert_eq!(breaker.admit(at(2.2)), Admit::Send);
            breaker.sent(at(2.2));
        }
        assert_eq!(breaker.admit(at(2.2)), Admit::Wait);
        ends(&mut breaker, 2.2, 2.3, Answer::Ok);
        assert_eq!(breaker.admit(at(2.3)), Admit::Wait, "the other one has not told yet");
        ends(&mut breaker, 2.2, 2.3, Answer::PushedBack(None));
        assert_eq!(breaker.admit(at(2.3)), Admit::Send, "a refusal for load gives its place back");
        breaker.sent(at(2.3));
        ends(&mut breaker, 2.3, 2.4, Answer::Ok);
        assert_eq!(breaker.state(), BreakerState::HalfOpen { ramp: 4 });
        (0..4).for_each(|_| breaker.sent(at(2.5)));
        (0..4).for_each(|_| ends(&mut breaker, 2.5, 2.6, Answer::Ok));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn the_open_time_doubles_while_it_does_not_come_back_and_begins_anew_after() {
        let mut breaker = opened();
        let mut now = 2.0;
        for seconds in [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            assert_eq!(breaker.admit(at(now)), Admit::Send);
            breaker.sent(at(now));
            ends(&mut breaker, now, now, Answer::TimedOut);
            assert_eq!(breaker.state(), BreakerState::Open { until: at(now + seconds) });
            now += seconds;
        }
        breaker.admit(at(now));
        for _ in 0..7 {
            breaker.sent(at(now));
            ends(&mut breaker, now, now, Answer::Ok);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        (0..4).for_each(|_| ends(&mut breaker, now, now, Answer::Failed));
        assert_eq!(breaker.state(), BreakerState::Open { until: at(now + 1.0) });
    }

    #[test]
    fn a_window_forgets_by_count_and_by_time_and_slow_calls_count() {
        let mut by_count = Breaker::new(options());
        for _ in 0..2 {
            (0..8).for_each(|_| ends(&mut by_count, 0.0, 1.0, Answer::Ok));
            (0..3).for_each(|_| ends(&mut by_count, 0.0, 1.0, Answer::Failed));
        }
        assert_eq!(by_count.state(), BreakerState::Closed, "three of the last eight");
        ends(&mut by_count, 0.0, 1.0, Answer::Failed);
        assert!(matches!(by_count.state(), BreakerState::Open { .. }));

        let time = BreakerOptions { window: Window::Time(Duration::from_secs(10)), ..options() };
        let mut by_time = Breaker::new(time);
        (0..3).for_each(|_| ends(&mut by_time, 0.0, 1.0, Answer::Failed));
        (0..3).for_each(|_| ends(&mut by_time, 11.0, 12.0, Answer::Failed));
        assert_eq!(by_time.state(), BreakerState::Closed, "three in ten seconds are too few to tell");
        ends(&mut by_time, 11.0, 12.0, Answer::Failed);
        assert!(matches!(by_time.state(), BreakerState::Open { .. }));

        let mut slow = Breaker::new(BreakerOptions { slow_after: Duration::from_secs(2), ..options() });
        (0..4).for_each(|_| ends(&mut slow, 0.0, 2.0, Answer::Ok));
        assert!(matches!(slow.state(), BreakerState::Open { .. }) && slow.opened() == 1);
    }

    #[test]
    fn a_remote_that_refuses_for_load_never_opens_it() {
        let mut breaker = Breaker::new(options());
        (0..1_000).for_each(|_| ends(&mut breaker, 0.0, 1.0, Answer::PushedBack(None)));
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Closed, 0));
    }
}
