//! Every interleaving (up to two preemptions) of a stage, a waker and a reader. Run with
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test -p tidegate-flow --lib --release loom_tests` (half a minute).

use super::{StageClock, StageState, Wait};
use crate::graph::EdgeId;
use crate::time::Time;
use std::time::Duration;

const A: EdgeId = EdgeId::new(0);

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// A stage that is polled at 10 and waits for A from 20 on.
fn run(clock: &StageClock) {
    clock.poll_started(at(10));
    clock.will_wait(Wait::Blocked(A));
    clock.poll_ended(at(20));
}

/// The stage runs in the first thread and the others are spawned: loom (0.7) remembers only the latest access to an
/// atomic, so a writer that loads before it stores would hide that a reader had loaded before.
#[test]
fn a_reader_sees_whole_changes() {
    explore(|| {
        let clock = StageClock::new(at(0), &[A]);
        let reader = clock.clone();
        let reader = loom::thread::spawn(move || {
            let times = reader.snapshot(at(0));
            let seen = (times.state, times.until, times.ready, times.busy, times.blocked);
            let ns = Duration::from_nanos;
            let whole = [
                (StageState::Ready, at(0), ns(0), ns(0), ns(0)),
                (StageState::Busy, at(10), ns(10), ns(0), ns(0)),
                (StageState::Blocked(A), at(20), ns(10), ns(10), ns(0)),
            ];
            assert!(whole.contains(&seen), "{times:?}");
            let stall = times.longest_stall.map_or(ns(0), |stall| stall.duration);
            assert_eq!(stall, times.until.since(at(0)).min(ns(10)));
        });
        run(&clock);
        reader.join().unwrap();
    });
}

#[test]
fn a_wake_up_loses_no_time() {
    explore(|| {
        let clock = StageClock::new(at(0), &[A]);
        let waker = clock.clone();
        let waker = loom::thread::spawn(move || waker.woken(at(25)));
        run(&clock);
        clock.poll_started(at(30));
        waker.join().unwrap();
        let times = clock.snapshot(at(40));
        assert_eq!(times.total(), Duration::from_nanos(40));
        assert_eq!(times.blocked + times.ready, Duration::from_nanos(20));
    });
}
