//! Tests of the module above, as tables and goldens.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const A: EdgeId = EdgeId::new(0);
const B: EdgeId = EdgeId::new(1);

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// A clock that was ready from 0, polled at 10 and left at 30, after `announce`.
fn after_one_poll(announce: impl FnOnce(&StageClock)) -> StageClock {
    let clock = StageClock::new(at(0), &[A, B]);
    clock.poll_started(at(10));
    announce(&clock);
    clock.poll_ended(at(30));
    clock
}

#[test]
fn each_wait_is_booked_to_its_own_state() {
    let cases = [
        (Wait::Idle, StageState::Idle),
        (Wait::External, StageState::External),
        (Wait::Throttled, StageState::Throttled),
        (Wait::SettleWindow, StageState::SettleWait),
        (Wait::Budget, StageState::BudgetWait),
        (Wait::Blocked(B), StageState::Blocked(B)),
        (Wait::Blocked(EdgeId::new(77)), StageState::Blocked(EdgeId::UNLISTED)),
    ];
    for (wait, state) in cases {
        let clock = after_one_poll(|clock| clock.will_wait(wait));
        clock.poll_started(at(100));
        let times = clock.snapshot(at(105));
        assert_eq!(times.in_state(state), ns(70), "{wait:?}");
        assert_eq!((times.ready, times.busy), (ns(10), ns(25)), "{wait:?}");
        assert_eq!(times.total(), ns(105), "{wait:?}");
    }
}

#[test]
fn the_most_severe_wait_of_a_poll_counts() {
    let rising = [Wait::Idle, Wait::External, Wait::Throttled, Wait::SettleWindow, Wait::Budget, Wait::Blocked(A)];
    for (place, severe) in rising.iter().enumerate() {
        for mild in &rising[..place] {
            for pair in [[*severe, *mild], [*mild, *severe]] {
                let clock = after_one_poll(|clock| pair.iter().for_each(|wait| clock.will_wait(*wait)));
                let alone = after_one_poll(|clock| clock.will_wait(*severe));
                assert_eq!(clock.snapshot(at(50)), alone.snapshot(at(50)), "{pair:?}");
            }
        }
    }
}

#[test]
fn of_two_blocked_edges_the_first_counts() {
    let clock = after_one_poll(|clock| {
        clock.will_wait(Wait::Blocked(B));
        clock.will_wait(Wait::Blocked(A));
    });
    assert_eq!(clock.snapshot(at(50)).blocked_by, [(B, ns(20))]);
}

#[test]
fn a_poll_that_announced_nothing_yielded() {
    let clock = after_one_poll(|_| ());
    let times = clock.snapshot(at(50));
    assert_eq!((times.state, times.ready, times.busy), (StageState::Ready, ns(30), ns(20)));
}

#[test]
fn an_announcement_is_good_for_one_poll() {
    let clock = after_one_poll(|clock| clock.will_wait(Wait::Blocked(A)));
    clock.poll_started(at(40));
    clock.will_wait(Wait::Idle);
    clock.poll_ended(at(50));
    assert_eq!(clock.snapshot(at(60)).state, StageState::Idle);
}

#[test]
fn the_first_wake_up_ends_the_wait() {
    let clock = after_one_poll(|clock| clock.will_wait(Wait::Blocked(A)));
    clock.woken(at(50));
    clock.woken(at(60));
    let seen = clock.snapshot(at(70));
    assert_eq!((seen.state, seen.state_since), (StageState::Ready, at(50)));
    assert_eq!((seen.blocked, seen.ready), (ns(20), ns(30)));
    clock.poll_started(at(80));
    let times = clock.snapshot(at(80));
    assert_eq!((times.blocked, times.ready, times.busy), (ns(20), ns(40), ns(20)));
}

#[test]
fn a_wake_up_during_the_poll_makes_it_ready() {
    let clock = StageClock::new(at(0), &[A]);
    clock.poll_started(at(10));
    clock.will_wait(Wait::Idle);
    clock.woken(at(12));
    clock.poll_ended(at(20));
    assert_eq!(clock.snapshot(at(30)).state, StageState::Ready);
    clock.poll_started(at(40));
    clock.will_wait(Wait::Idle);
    clock.poll_ended(at(45));
    assert_eq!(clock.snapshot(at(50)).state, StageState::Idle);
}

#[test]
fn a_poll_without_work_takes_no_time_and_interrupts_no_wait() {
    let clock = after_one_poll(|clock| clock.will_wait(Wait::Blocked(A)));
    for start in [40, 60] {
        clock.poll_started(at(start));
        clock.will_wait(Wait::Blocked(A));
        clock.poll_ended_idle();
    }
    let times = clock.snapshot(at(100));
    assert_eq!((times.busy, times.blocked), (ns(20), ns(70)));
    assert_eq!(times.longest_stall, Some(Stall { duration: ns(70), state: StageState::Blocked(A), at: at(30) }));
    clock.poll_started(at(110));
    clock.will_wait(Wait::Blocked(B));
    clock.poll_ended_idle();
    assert_eq!(clock.snapshot(at(120)).state_since, at(110), "another edge is another wait");
}

#[test]
fn the_longest_stall_is_kept() {
    let clock = after_one_poll(|clock| clock.will_wait(Wait::External));
    for (start, wait) in [(530, Wait::Budget), (630, Wait::Idle), (5000, Wait::External)] {
        clock.poll_started(at(start));
        clock.will_wait(wait);
        clock.poll_ended(at(start + 10));
    }
    let stall = Stall { duration: ns(500), state: StageState::External, at: at(30) };
    assert_eq!(clock.snapshot(at(5100)).longest_stall, Some(stall), "4360 ns without input are no stall");
    let open = Stall { duration: ns(990), state: StageState::External, at: at(5010) };
    assert_eq!(clock.snapshot(at(6000)).longest_stall, Some(open), "what goes on counts");
}

#[test]
fn a_long_poll_is_a_stall() {
    let clock = StageClock::new(at(0), &[]);
    clock.poll_started(at(5));
    assert_eq!(clock.snapshot(at(905)).longest_stall.map(|stall| stall.state), Some(StageState::Busy));
    clock.poll_ended(at(1005));
    let stall = clock.snapshot(at(1010)).longest_stall;
    assert_eq!(stall, Some(Stall { duration: ns(1000), state: StageState::Busy, at: at(5) }));
}

#[test]
fn the_time_of_a_poll_is_cached() {
    let clock = StageClock::new(at(3), &[]);
    assert_eq!(clock.now(), at(3));
    clock.poll_started(at(10));
    assert_eq!(clock.now(), at(10));
    clock.poll_ended(at(12));
    assert_eq!(clock.now(), at(12));
}

#[test]
fn a_finished_account_stays_as_it_is() {
    let clock = after_one_poll(|clock| clock.will_wait(Wait::External));
    clock.finished(at(100));
    let closed = clock.snapshot(at(100));
    clock.poll_started(at(200));
    clock.poll_ended(at(300));
    assert_eq!(clock.snapshot(at(1000)), closed);
    assert!(closed.finished);
    assert_eq!((closed.external, closed.total()), (ns(70), ns(100)));
}

#[test]
fn a_window_is_the_difference_of_two_snapshots() {
    let clock = after_one_poll(|clock| clock.will_wait(Wait::Blocked(A)));
    let earlier = clock.snapshot(at(50));
    clock.poll_started(at(80));
    clock.will_wait(Wait::Blocked(B));
    clock.poll_ended(at(90));
    let window = clock.snapshot(at(100)).since(&earlier);
    assert_eq!((window.started, window.until), (at(50), at(100)));
    assert_eq!(window.blocked_by, [(A, ns(30)), (B, ns(10))]);
    assert_eq!((window.busy, window.blocked, window.total()), (ns(10), ns(40), ns(50)));
    let stall = Stall { duration: ns(30), state: StageState::Blocked(A), at: at(50) };
    assert_eq!(window.longest_stall, Some(stall), "clipped to the window");
}

#[test]
fn a_late_wake_up_leaves_the_window_exact() {
    let clock = after_one_poll(|clock| clock.will_wait(Wait::Blocked(A)));
    let earlier = clock.snapshot(at(60));
    clock.woken(at(40));
    let window = clock.snapshot(at(65)).since(&earlier);
    assert_eq!((window.blocked, window.ready, window.total()), (ns(0), ns(5), ns(5)));
}

/// One thing that can happen to a clock.
#[derive(Clone, Debug)]
enum Event {
    PollStarted,
    WillWait(Wait),
    PollEnded,
    PollEndedIdle,
    Woken(u64),
    Snapshot,
    Finished,
}

fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![
        Just(Wait::Idle),
        Just(Wait::External),
        Just(Wait::Throttled),
        Just(Wait::SettleWindow),
        Just(Wait::Budget),
        (0..4_u32).prop_map(|edge| Wait::Blocked(EdgeId::new(edge))),
    ];
    prop_oneof![
        8 => Just(Event::PollStarted),
        8 => wait.prop_map(Event::WillWait),
        8 => Just(Event::PollEnded),
        4 => Just(Event::PollEndedIdle),
        6 => (0..40_u64).prop_map(Event::Woken),
        4 => Just(Event::Snapshot),
        1 => Just(Event::Finished),
    ]
}

/// A plain model: the time line as a list of (from, state), rewritten from the back where an event says so.
#[derive(Default)]
struct Model {
    line: Vec<(u64, StageState)>,
    announced: Option<Wait>,
    woken: Option<u64>,
    ended: Option<u64>,
}

impl Model {
    fn start() -> Self {
        Self { line: vec![(0, StageState::Ready)], ..Self::default() }
    }

    fn last(&self) -> (u64, StageState) {
        *self.line.last().unwrap()
    }

    fn end_wait(&mut self, now: u64) {
        let (from, state) = self.last();
        let woken = self.woken.take();
        if state.is_held() || state == StageState::Idle {
            self.line.push((woken.unwrap_or(now).clamp(from, now), StageState::Ready));
        }
    }

    fn end_poll(&mut self, now: u64) {
        let next = match self.announced {
            _ if self.woken.is_some() => StageState::Ready,
            None => StageState::Ready,
            Some(Wait::Idle) => StageState::Idle,
            Some(Wait::External) => StageState::External,
            Some(Wait::Throttled) => StageState::Throttled,
            Some(Wait::SettleWindow) => StageState::SettleWait,
            Some(Wait::Budget) => StageState::BudgetWait,
            Some(Wait::Blocked(edge)) if edge.get() < 2 => StageState::Blocked(edge),
            Some(Wait::Blocked(_)) => StageState::Blocked(EdgeId::UNLISTED),
        };
        self.line.push((now, next));
    }

    fn total(&self, state: StageState, until: u64) -> Duration {
        let mut line = self.line.clone();
        let (from, last) = self.last();
        if let Some(woken) = self.woken
            && (last.is_held() || last == StageState::Idle)
            && self.ended.is_none()
        {
            line.push((woken.clamp(from, until), StageState::Ready));
        }
        let ends = line.iter().skip(1).map(|(from, _)| *from).chain([until]);
        let spans = line.iter().zip(ends).filter(|((_, of), _)| *of == state);
        ns(spans.map(|((from, _), end)| end - from).sum())
    }
}

/// Rank of a wait, written out a second time.
fn rank(wait: Wait) -> u8 {
    match wait {
        Wait::Blocked(_) => 6,
        Wait::Budget => 5,
        Wait::SettleWindow => 4,
        Wait::Throttled => 3,
        Wait::External => 2,
        Wait::Idle => 1,
    }
}

fn apply(model: &mut Model, clock: &StageClock, event: &Event, now: u64) {
    let open = model.ended.is_none();
    match *event {
        Event::PollStarted => {
            clock.poll_started(at(now));
            if open {
                model.end_wait(now);
                model.line.push((now, StageState::Busy));
                model.announced = None;
            }
        }
        Event::WillWait(wait) => {
            clock.will_wait(wait);
            if model.announced.is_none_or(|other| rank(wait) > rank(other)) {
                model.announced = Some(wait);
            }
        }
        Event::PollEnded => {
            clock.poll_ended(at(now));
            if open {
                model.end_poll(now);
            }
        }
        Event::PollEndedIdle => {
            clock.poll_ended_idle();
            if open && let Some((from, _)) = model.line.pop() {
                model.end_poll(from);
            }
        }
        Event::Woken(ago) => {
            clock.woken(at(now.saturating_sub(ago)));
            model.woken = model.woken.or(Some(now.saturating_sub(ago)));
        }
        Event::Finished => {
            clock.finished(at(now));
            if open {
                model.end_wait(now);
                model.line.push((now, StageState::Idle));
                model.ended = Some(now);
            }
        }
        Event::Snapshot => {}
    }
}

proptest! {
    /// The clock agrees with the plain model in every state, and the sum is exactly the time that passed; for every
    /// pair of snapshots the window between them sums up as exactly.
    #[test]
    fn every_nanosecond_is_booked_once(events in prop::collection::vec((event(), 0..50_u64), 0..80)) {
        let clock = StageClock::new(at(0), &[A, B]);
        let mut model = Model::start();
        let mut now = 0;
        let mut taken: Vec<StageTimes> = Vec::new();
        for (event, step) in events {
            now += step;
            apply(&mut model, &clock, &event, now);
            let times = clock.snapshot(at(now));
            let until = model.ended.unwrap_or(now);
            prop_assert_eq!(times.until, at(until));
            prop_assert_eq!(times.total(), times.until - times.started);
            prop_assert_eq!(times.blocked, times.blocked_by.iter().map(|(_, time)| *time).sum());
            let blocked = [A, B, EdgeId::UNLISTED].map(StageState::Blocked);
            for state in [StageState::Idle, StageState::Ready, StageState::Busy, StageState::BudgetWait,
                StageState::SettleWait, StageState::External, StageState::Throttled].into_iter().chain(blocked) {
                prop_assert_eq!(times.in_state(state), model.total(state, until), "{:?} after {:?}", state, event);
            }
            for earlier in &taken {
                let window = times.since(earlier);
                prop_assert_eq!(window.total(), window.until - window.started);
                prop_assert_eq!(window.blocked, window.blocked_by.iter().map(|(_, time)| *time).sum());
            }
            if matches!(event, Event::Snapshot) {
                taken.push(times);
            }
        }
    }

    /// Whatever the clocks of the callers say, the sum stays exact and nothing panics.
    #[test]
    fn a_time_that_runs_backwards_breaks_no_sum(events in prop::collection::vec((event(), 0..1000_u64), 0..60)) {
        let clock = StageClock::new(at(500), &[A, B]);
        for (event, now) in events {
            match event {
                Event::PollStarted => clock.poll_started(at(now)),
                Event::WillWait(wait) => clock.will_wait(wait),
                Event::PollEnded => clock.poll_ended(at(now)),
                Event::PollEndedIdle => clock.poll_ended_idle(),
                Event::Woken(ago) => clock.woken(at(ago)),
                Event::Finished => clock.finished(at(now)),
                Event::Snapshot => {}
            }
            let times = clock.snapshot(at(now));
            prop_assert_eq!(times.total(), times.until - times.started);
        }
    }
}

/// A reader on another thread never sees a half-made change.
#[test]
#[cfg(not(tidegate_loom))]
fn snapshots_are_whole_while_the_stage_runs() {
    let clock = StageClock::new(at(0), &[A, B]);
    let writer = clock.clone();
    let task = std::thread::spawn(move || {
        for round in 0..200_000_u64 {
            writer.poll_started(at(round * 10));
            writer.will_wait(if round % 3 == 0 { Wait::Blocked(A) } else { Wait::External });
            if round % 5 == 0 {
                writer.poll_ended_idle()
            } else {
                writer.poll_ended(at(round * 10 + 4))
            }
            writer.woken(at(round * 10 + 7));
        }
    });
    let mut last = clock.snapshot(at(0));
    while !task.is_finished() {
        let times = clock.snapshot(at(0));
        assert_eq!(times.total(), times.until - times.started);
        assert!(times.until >= last.until && times.busy >= last.busy, "{times:?} after {last:?}");
        last = times;
    }
    task.join().unwrap();
}
