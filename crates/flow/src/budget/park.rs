//! Tasks that wait for memory: a bounded list of wakers per account, and one for floating memory per tree.

use std::task::Waker;

use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock};

/// The most tasks that wait for memory on one account at a time, see [`Account::poll_room`].
///
/// One more wakes the task that has waited longest, which then asks again: the list stays bounded and no wake-up is
/// lost; the price is CPU. A stage has one task and an account has one or two stages, so this is far from usual.
///
/// [`Account::poll_room`]: super::Account::poll_room
pub const MAX_PARKED: usize = 32;

/// Parked tasks, oldest first.
#[derive(Default)]
pub(super) struct Parked(Vec<Waker>);

impl Parked {
    /// Adds `waker` unless it is there; returns the waker that had to leave.
    pub(super) fn add(&mut self, waker: &Waker) -> Option<Waker> {
        if self.0.iter().any(|parked| parked.will_wake(waker)) {
            return None;
        }
        let evicted = (self.0.len() >= MAX_PARKED).then(|| self.0.remove(0));
        self.0.push(waker.clone());
        evicted
    }

    /// Everybody, to be woken after the lock is let go.
    ///
    /// All of them, not just the first: a task that was woken may have been cancelled, and then its wake-up would be
    /// lost to those behind it.
    #[inline]
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    #[inline]
    pub(super) fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}

/// What one tree of pools shares: the numbers of its accounts, and the tasks that wait for floating memory.
///
/// All floating memory is charged up to the root, so one list for the tree sees every release.
#[derive(Default)]
pub(super) struct Root {
    accounts: AtomicU64,
    /// How many wait, so that a release with nobody waiting costs one load.
    count: AtomicUsize,
    waiting: Mutex<Vec<(u64, Waker)>>,
    /// Set by a commit that had to be taken back in part, until [`wake_after_refusal`](Self::wake_after_refusal).
    taken_back: AtomicUsize,
}

impl Root {
    /// The number of a new account; it orders locks.
    pub(super) fn next_account(&self) -> u64 {
        self.accounts.fetch_add(1, Ordering::Relaxed)
    }

    /// Parks a task of account `id`; returns the waker that had to leave. At most [`MAX_PARKED`] per account.
    ///
    /// The caller must look for room again afterwards, by read-modify-write operations: either it sees what a
    /// release gave back, or that release sees the new count (its write comes later in the order of the same atomic,
    /// hence after this count).
    pub(super) fn park(&self, id: u64, waker: &Waker) -> Option<Waker> {
        let mut waiting = lock(&self.waiting);
        if waiting.iter().any(|(account, parked)| *account == id && parked.will_wake(waker)) {
            return None;
        }
        let mut evicted = None;
        if waiting.iter().filter(|(account, _)| *account == id).count() >= MAX_PARKED {
            let oldest = waiting.iter().position(|(account, _)| *account == id);
            evicted = oldest.map(|index| waiting.remove(index).1);
        }
        waiting.push((id, waker.clone()));
        self.count.swap(waiting.len(), Ordering::AcqRel);
        evicted
    }

    /// Notes that a refused commit has given back what it had taken: somebody may have parked because of it.
    pub(super) fn note_taken_back(&self) {
        self.taken_back.swap(1, Ordering::AcqRel);
    }

    /// To be called after every refused commit, with no lock held (a waker may drop a lease).
    pub(super) fn wake_after_refusal(&self) {
        if self.taken_back.swap(0, Ordering::AcqRel) != 0 {
            self.wake();
        }
    }

    /// Wakes everybody; to be called with no lock held, after floating memory has been given back.
    #[inline]
    pub(super) fn wake(&self) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let waiting = {
            let mut waiting = lock(&self.waiting);
            self.count.swap(0, Ordering::AcqRel);
            std::mem::take(&mut *waiting)
        };
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}
