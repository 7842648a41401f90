//! The words of a stage's time account, and the arithmetic on them.

use crate::graph::EdgeId;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Time;

use super::NEVER;
use super::state::{StageState, TOTALS, code, state_of};
use super::times::StageTimes;

/// The account behind a [`StageClock`](super::StageClock): one writer, any number of readers.
pub(super) struct Account {
    pub(super) started: u64,
    /// The cached time of the current poll.
    pub(super) now: AtomicU64,
    /// The most severe wait announced in this poll, as a word.
    pub(super) announced: AtomicU64,
    /// When the first wake-up since the last poll came, or `NEVER`.
    pub(super) woken: AtomicU64,
    pub(super) progress: AtomicU64,
    /// Odd while the writer is changing what follows.
    pub(super) sequence: AtomicU64,
    pub(super) state: AtomicU64,
    /// Everything before this moment has been booked; `state` goes on from here.
    pub(super) booked: AtomicU64,
    /// When the wait began that `state` is part of: polls that do no work do not interrupt a wait.
    pub(super) stretch: AtomicU64,
    /// The wait that the current poll interrupted, as a word. Used by the writer only.
    pub(super) interrupted: AtomicU64,
    pub(super) ended: AtomicU64,
    totals: [AtomicU64; TOTALS],
    blocked: Box<[BlockedBy]>,
    longest: Longest,
}

struct BlockedBy {
    edge: EdgeId,
    nanos: AtomicU64,
}

struct Longest {
    nanos: AtomicU64,
    state: AtomicU64,
    at: AtomicU64,
}

impl Account {
    /// Everything begins at `started`, ready.
    pub(super) fn new(started: u64, edges: &[EdgeId]) -> Self {
        let zero = || AtomicU64::new(0);
        let slot = |edge| BlockedBy { edge, nanos: zero() };
        Self {
            started,
            now: AtomicU64::new(started),
            announced: AtomicU64::new(code::word(code::READY)),
            woken: AtomicU64::new(NEVER),
            progress: zero(),
            sequence: zero(),
            state: AtomicU64::new(code::word(code::READY)),
            booked: AtomicU64::new(started),
            stretch: AtomicU64::new(started),
            interrupted: AtomicU64::new(code::word(code::READY)),
            ended: AtomicU64::new(NEVER),
            totals: std::array::from_fn(|_| zero()),
            blocked: edges.iter().copied().chain([EdgeId::UNLISTED]).map(slot).collect(),
            longest: Longest { nanos: zero(), state: zero(), at: zero() },
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed) != NEVER
    }

    /// Moves the cached time to `now`, or to what is booked where that is later, and says which it was.
    #[inline]
    pub(super) fn reach(&self, now: Time) -> u64 {
        let now = now.as_nanos().max(self.booked.load(Ordering::Relaxed));
        self.now.store(now, Ordering::Relaxed);
        now
    }

    /// What follows the poll that is ending.
    pub(super) fn next_state(&self) -> u64 {
        if self.woken.load(Ordering::Relaxed) == NEVER {
            self.announced.load(Ordering::Relaxed)
        } else {
            code::word(code::READY)
        }
    }

    /// Runs `work` as one change that readers see whole or not at all.
    pub(super) fn change(&self, work: impl FnOnce(&Self)) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        work(self);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Ends the wait that is going on, if any, where the first wake-up came or else at `now`; from there on it is
    /// ready.
    pub(super) fn end_wait(&self, now: u64) {
        let state = self.state.load(Ordering::Relaxed);
        let woken = self.woken.load(Ordering::Relaxed);
        if woken != NEVER {
            self.woken.store(NEVER, Ordering::Release);
        }
        if !code::is_wait(state) {
            return;
        }
        let end = if woken == NEVER { now } else { woken.clamp(self.booked.load(Ordering::Relaxed), now) };
        self.note(state, end);
        self.book(end);
        self.begin(code::word(code::READY));
    }

    /// Books the time up to `until` to the state that is going on.
    pub(super) fn book(&self, until: u64) {
        let nanos = until - self.booked.load(Ordering::Relaxed);
        if nanos == 0 {
            return;
        }
        let total = self.total_of(self.state.load(Ordering::Relaxed));
        total.store(total.load(Ordering::Relaxed) + nanos, Ordering::Release);
        self.booked.store(until, Ordering::Release);
    }

    pub(super) fn begin(&self, state: u64) {
        self.state.store(state, Ordering::Release);
    }

    fn total_of(&self, state: u64) -> &AtomicU64 {
        let code = code::of(state);
        if code != code::BLOCKED {
            #[allow(clippy::cast_possible_truncation, reason = "a code is less than 8")]
            return &self.totals[code as usize];
        }
        let StageState::Blocked(edge) = state_of(state) else { return &self.totals[0] };
        let listed = self.blocked.iter().find(|slot| slot.edge == edge);
        &listed.unwrap_or(&self.blocked[self.blocked.len() - 1]).nanos
    }

    /// The state under which time in `state` is booked.
    fn listed(&self, state: StageState) -> StageState {
        match state {
            StageState::Blocked(edge) if self.blocked.iter().all(|slot| slot.edge != edge) => {
                StageState::Blocked(EdgeId::UNLISTED)
            }
            listed => listed,
        }
    }

    /// Remembers the stretch in `state` that ends at `end`, if it is the longest so far. Being without input is no
    /// stall.
    pub(super) fn note(&self, state: u64, end: u64) {
        let from = self.stretch_of(state);
        let nanos = end.saturating_sub(from);
        if code::of(state) != code::IDLE && nanos > self.longest.nanos.load(Ordering::Relaxed) {
            self.longest.nanos.store(nanos, Ordering::Release);
            self.longest.state.store(state, Ordering::Release);
            self.longest.at.store(from, Ordering::Release);
        }
    }

    /// When the stretch in `state`, the one going on, began: a wait may reach back over polls that did no work.
    fn stretch_of(&self, state: u64) -> u64 {
        if code::is_wait(state) { self.stretch.load(Ordering::Acquire) } else { self.booked.load(Ordering::Acquire) }
    }

    /// The account up to `now`; only valid if no change happened meanwhile.
    pub(super) fn read(&self, now: u64) -> StageTimes {
        let booked = self.booked.load(Ordering::Acquire);
        let ended = self.ended.load(Ordering::Acquire);
        let until = if ended == NEVER { now.max(booked) } else { booked };
        let mut times = StageTimes::new(Time::from_nanos(self.started), Time::from_nanos(until));
        for (code, total) in self.totals.iter().enumerate() {
            times.add(state_of(code::word(code as u64)), total.load(Ordering::Acquire));
        }
        for slot in &self.blocked {
            times.add(StageState::Blocked(slot.edge), slot.nanos.load(Ordering::Acquire));
        }
        let longest = self.longest.nanos.load(Ordering::Acquire);
        if longest > 0 {
            let state = state_of(self.longest.state.load(Ordering::Acquire));
            times.offer_stall(state, self.longest.at.load(Ordering::Acquire), longest);
        }
        self.read_open_state(&mut times, booked, until);
        times.finished = ended != NEVER;
        times
    }

    /// Adds what is going on, from `booked` to `until`: a state, and ready behind it if a wake-up has ended it.
    fn read_open_state(&self, times: &mut StageTimes, booked: u64, until: u64) {
        let word = self.state.load(Ordering::Acquire);
        let state = state_of(word);
        let stretch = self.stretch_of(word);
        let woken = self.woken.load(Ordering::Acquire);
        let end = if code::is_wait(word) && woken != NEVER { woken.clamp(booked, until) } else { until };
        times.add(self.listed(state), end - booked);
        times.add(StageState::Ready, until - end);
        if state != StageState::Idle {
            times.offer_stall(state, stretch, end.saturating_sub(stretch));
        }
        let is_ready = code::is_wait(word) && woken != NEVER;
        times.state = if is_ready { StageState::Ready } else { state };
        times.state_since = Time::from_nanos(if is_ready { end } else { stretch });
        if is_ready {
            times.offer_stall(StageState::Ready, end, until - end);
        }
    }
}
