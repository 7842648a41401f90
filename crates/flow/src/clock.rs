//! Stage time accounting: at any moment a stage is in exactly one [`StageState`], and every nanosecond of its life is
//! booked to one.
//!
//! The stage's task tells its [`StageClock`] when a poll starts and ends; the primitives that the task awaits (edges,
//! budget, settle window, ...) say during the poll what they are about to wait for. One clock read per poll is
//! enough: a poll that did no work ends with [`StageClock::poll_ended_idle`] and needs no second one.
//!
//! ```text
//!            poll_started                  poll_ended: the most severe wait that was announced in the poll
//!  any state ------------> Busy ---------> Idle | Blocked(edge) | BudgetWait | SettleWait | External | Throttled
//!                             \----------> Ready: none announced (it yielded), or woken while it was being polled
//!  a wait ----------------> Ready          woken: the first wake-up since the last poll
//! ```
//!
//! Cost: no lock and, bar the first wake-up after a poll, no atomic read-modify-write; plain loads and stores of a few
//! words. The one writer (the stage's task) guards them with a sequence number, and a reader that meets a change in
//! progress reads again. Every data word is stored with `Release` and loaded with `Acquire`, so a reader that sees any
//! word of a change also sees that the sequence number is odd or has moved on (Boehm, *Can Seqlocks Get Along With
//! Programming Language Memory Models?*, 2012).

mod state;
mod times;

pub use state::{StageState, Wait};
pub use times::{StageTimes, Stall};

use crate::graph::EdgeId;
use crate::sync::{Arc, AtomicU64, Ordering, pause};
use crate::time::Time;
use state::{TOTALS, code, state_of};
use std::fmt;

/// Stands for "not yet" where a time is expected.
const NEVER: u64 = u64::MAX;

/// The time account of one stage; a shared handle, cheap to clone.
///
/// One task writes ([`poll_started`](Self::poll_started), [`will_wait`](Self::will_wait),
/// [`poll_ended`](Self::poll_ended), [`poll_ended_idle`](Self::poll_ended_idle), [`processed`](Self::processed),
/// [`finished`](Self::finished)); wakers call [`woken`](Self::woken) and readers [`snapshot`](Self::snapshot) from any
/// thread. If two tasks wrote at once, nothing would break but the figures. A time that runs backwards counts as no
/// time having passed.
#[derive(Clone)]
pub struct StageClock(Arc<Account>);

struct Account {
    started: u64,
    /// The cached time of the current poll.
    now: AtomicU64,
    /// The most severe wait announced in this poll, as a word.
    announced: AtomicU64,
    /// When the first wake-up since the last poll came, or `NEVER`.
    woken: AtomicU64,
    progress: AtomicU64,
    /// Odd while the writer is changing what follows.
    sequence: AtomicU64,
    state: AtomicU64,
    /// Everything before this moment has been booked; `state` goes on from here.
    booked: AtomicU64,
    /// When the wait began that `state` is part of: polls that do no work do not interrupt a wait.
    stretch: AtomicU64,
    /// The wait that the current poll interrupted, as a word. Used by the writer only.
    interrupted: AtomicU64,
    ended: AtomicU64,
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

impl StageClock {
    /// The clock of a stage that starts now, ready, and can be blocked by `edges` (its outputs). Time blocked on any
    /// other edge is booked under [`EdgeId::UNLISTED`].
    #[must_use]
    pub fn new(started: Time, edges: &[EdgeId]) -> Self {
        let started = started.as_nanos();
        let zero = || AtomicU64::new(0);
        let slot = |edge| BlockedBy { edge, nanos: zero() };
        Self(Arc::new(Account {
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
        }))
    }

    /// The stage's task is being polled: it is busy from `now`. What it waited for ends here, or ended where
    /// [`woken`](Self::woken) said so.
    #[inline]
    pub fn poll_started(&self, now: Time) {
        if cfg!(tidegate_unmetered) {
            return;
        }
        let account = &*self.0;
        if account.is_over() {
            return;
        }
        let now = now.as_nanos().max(account.booked.load(Ordering::Relaxed));
        account.now.store(now, Ordering::Relaxed);
        account.announced.store(code::word(code::READY), Ordering::Relaxed);
        account.change(|account| {
            account.interrupted.store(account.state.load(Ordering::Relaxed), Ordering::Relaxed);
            account.end_wait(now);
            account.note(account.state.load(Ordering::Relaxed), now);
            account.book(now);
            account.begin(code::word(code::BUSY));
        });
    }

    /// A primitive is about to return `Pending`, and this is why. Of several in one poll the most severe counts:
    /// blocked, budget, settle window, throttled, external, idle. Of several blocked edges the first counts.
    #[inline]
    pub fn will_wait(&self, wait: Wait) {
        if cfg!(tidegate_unmetered) {
            return;
        }
        let word = wait.word();
        if code::of(word) > code::of(self.0.announced.load(Ordering::Relaxed)) {
            self.0.announced.store(word, Ordering::Relaxed);
        }
    }

    /// The poll is over and did work: it was busy until `now`, and what it announced begins. A poll that announced
    /// nothing yielded, and one during which the stage was woken will be polled again at once: both are ready.
    #[inline]
    pub fn poll_ended(&self, now: Time) {
        if cfg!(tidegate_unmetered) {
            return;
        }
        let account = &*self.0;
        if account.is_over() {
            return;
        }
        let now = now.as_nanos().max(account.booked.load(Ordering::Relaxed));
        account.now.store(now, Ordering::Relaxed);
        let next = account.next_state();
        account.change(|account| {
            account.note(account.state.load(Ordering::Relaxed), now);
            account.book(now);
            account.begin(next);
            account.stretch.store(now, Ordering::Release);
        });
    }

    /// The poll is over and did no work, so its end was not measured: it counts as having taken no time, and what it
    /// announced begins when the poll started. A wait that such a poll interrupted and that goes on counts as one
    /// wait in [`StageTimes::longest_stall`].
    #[inline]
    pub fn poll_ended_idle(&self) {
        if cfg!(tidegate_unmetered) {
            return;
        }
        let account = &*self.0;
        if account.is_over() {
            return;
        }
        let next = account.next_state();
        let goes_on = next == account.interrupted.load(Ordering::Relaxed);
        account.change(|account| {
            account.begin(next);
            if !goes_on {
                account.stretch.store(account.booked.load(Ordering::Relaxed), Ordering::Release);
            }
        });
    }

    /// The stage is being woken: its wait ends and it is ready. Only the first wake-up since the last poll counts.
    /// Call it *before* waking the task, with any recent time (the waker's own [`now`](Self::now) will do). A caller
    /// without one may leave it out: the wait then lasts until the stage is polled.
    #[inline]
    pub fn woken(&self, now: Time) {
        if cfg!(tidegate_unmetered) {
            return;
        }
        let woken = &self.0.woken;
        if woken.load(Ordering::Relaxed) == NEVER {
            // A lost race means that another wake-up came first, which is the one that counts.
            let _ = woken.compare_exchange(NEVER, now.as_nanos(), Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The cached time: when the current poll started, or the last one was seen to end. Costs one load.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    /// The stage has finished `batches` more batches. This is the progress that stall detection watches.
    #[inline]
    pub fn processed(&self, batches: u64) {
        if cfg!(tidegate_unmetered) {
            return;
        }
        let progress = &self.0.progress;
        progress.store(progress.load(Ordering::Relaxed).wrapping_add(batches), Ordering::Release);
    }

    /// How many batches the stage has finished.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.0.progress.load(Ordering::Acquire)
    }

    /// The stage is over: its account is closed at `now`, and nothing more is booked.
    pub fn finished(&self, now: Time) {
        let account = &*self.0;
        if account.is_over() {
            return;
        }
        let now = now.as_nanos().max(account.booked.load(Ordering::Relaxed));
        account.change(|account| {
            account.end_wait(now);
            account.note(account.state.load(Ordering::Relaxed), now);
            account.book(now);
            account.begin(code::word(code::IDLE));
            account.stretch.store(now, Ordering::Release);
            account.ended.store(now, Ordering::Release);
        });
    }

    /// The account up to `now`, the state that is going on included: the sum over all states is exactly
    /// [`StageTimes::until`] - [`StageTimes::started`]. Where `now` is earlier than what is already booked (a reader
    /// that read its clock before the stage did), the account reaches to what is booked.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> StageTimes {
        let account = &*self.0;
        loop {
            let before = account.sequence.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let times = account.read(now.as_nanos());
                if account.sequence.load(Ordering::Acquire) == before {
                    return times;
                }
            }
            pause();
        }
    }
}

impl fmt::Debug for StageClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = state_of(self.0.state.load(Ordering::Acquire));
        f.debug_struct("StageClock").field("state", &state).field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Account {
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed) != NEVER
    }

    /// What follows the poll that is ending.
    fn next_state(&self) -> u64 {
        if self.woken.load(Ordering::Relaxed) == NEVER {
            self.announced.load(Ordering::Relaxed)
        } else {
            code::word(code::READY)
        }
    }

    /// Runs `work` as one change that readers see whole or not at all.
    fn change(&self, work: impl FnOnce(&Self)) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        work(self);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Ends the wait that is going on, if any, where the first wake-up came or else at `now`; from there on it is
    /// ready.
    fn end_wait(&self, now: u64) {
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
    fn book(&self, until: u64) {
        let nanos = until - self.booked.load(Ordering::Relaxed);
        if nanos == 0 {
            return;
        }
        let total = self.total_of(self.state.load(Ordering::Relaxed));
        total.store(total.load(Ordering::Relaxed) + nanos, Ordering::Release);
        self.booked.store(until, Ordering::Release);
    }

    fn begin(&self, state: u64) {
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
    fn note(&self, state: u64, end: u64) {
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
    fn read(&self, now: u64) -> StageTimes {
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

#[cfg(all(test, tidegate_loom))]
mod loom_tests;
#[cfg(test)]
mod tests;
