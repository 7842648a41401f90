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

mod account;
mod state;
mod times;

pub use state::{StageState, Wait};
pub use times::{StageTimes, Stall};

use crate::graph::EdgeId;
use crate::sync::{Arc, Ordering, pause};
use crate::time::Time;
use account::Account;
use state::{code, state_of};
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

impl StageClock {
    /// The clock of a stage that starts now, ready, and can be blocked by `edges` (its outputs). Time blocked on any
    /// other edge is booked under [`EdgeId::UNLISTED`].
    #[must_use]
    pub fn new(started: Time, edges: &[EdgeId]) -> Self {
        Self(Arc::new(Account::new(started.as_nanos(), edges)))
    }

    /// The stage's task is being polled: it is busy from `now`. What it waited for ends here, or ended where
    /// [`woken`](Self::woken) said so.
    #[inline]
    pub fn poll_started(&self, now: Time) {
        let Some(account) = self.open() else { return };
        let now = account.reach(now);
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
        let Some(account) = self.open() else { return };
        let now = account.reach(now);
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
        let Some(account) = self.open() else { return };
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

    /// The account, while the stage is not over and its time is accounted for at all.
    #[inline]
    fn open(&self) -> Option<&Account> {
        (!cfg!(tidegate_unmetered) && !self.0.is_over()).then_some(&*self.0)
    }
}

impl fmt::Debug for StageClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = state_of(self.0.state.load(Ordering::Acquire));
        f.debug_struct("StageClock").field("state", &state).field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(all(test, tidegate_loom))]
mod loom_tests;
#[cfg(test)]
mod tests;
