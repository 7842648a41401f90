//! The pools of the tree: how much is committed, how much is in use, how much floats.

use std::fmt;

use super::account::Account;
use super::park::Root;
use super::plan::BudgetError;
use super::spec::AccountSpec;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::units::Bytes;

/// A pool of bytes: that of the process, or of a pipeline within it. A handle; clones refer to the same pool.
///
/// Every figure is a snapshot: other threads may change it at once. Use never exceeds the total at any instant.
#[derive(Clone)]
pub struct Budget(Arc<Pool>);

impl Budget {
    /// The pool of the process, of `total` bytes.
    #[must_use]
    pub fn new(total: Bytes) -> Self {
        Self(Arc::new(Pool::new("process", total, None, Arc::new(Root::default()))))
    }

    /// A pool within this one, for a pipeline: its accounts together never use more than `limit`.
    ///
    /// The limit is a ceiling, not a reservation: the minima of its accounts are reserved here and in every pool
    /// above as they are opened, and what floats comes out of both. A limit above the total of this pool is cut to it.
    #[must_use]
    pub fn child(&self, name: &str, limit: Bytes) -> Self {
        let parent = Arc::clone(&self.0);
        let root = Arc::clone(&self.0.root);
        Self(Arc::new(Pool::new(name, limit.min(self.total()), Some(parent), root)))
    }

    /// Opens an account for an edge or a holding and reserves its minimum (its whole maximum where that is given) and
    /// its overdraft, here and in every pool above. They are given back when the last handle on the account and its
    /// last lease are gone.
    ///
    /// # Errors
    /// The reservation does not fit in one of the pools, or the maximum is below the minimum. The message says which
    /// pool, by how much, and what to change. Check a whole plan with [`check_minima`](super::check_minima) first: it
    /// lists every part.
    pub fn account(&self, name: &str, spec: AccountSpec) -> Result<Account, BudgetError> {
        Account::open(Arc::clone(&self.0), name, &spec)
    }

    /// Its name, for reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its size.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.0.total
    }

    /// Bytes charged now, by all accounts below.
    #[must_use]
    pub fn used(&self) -> Bytes {
        Bytes::new(self.0.used.load(Ordering::Acquire))
    }

    /// The most bytes that were charged at one instant. A lease that moves between pipelines is charged in both for
    /// an instant.
    #[must_use]
    pub fn peak(&self) -> Bytes {
        Bytes::new(self.0.peak.load(Ordering::Acquire))
    }

    /// Bytes reserved by all accounts below: minima, explicit maxima and overdrafts, used or not.
    #[must_use]
    pub fn reserved(&self) -> Bytes {
        Bytes::new(self.0.reserved.load(Ordering::Acquire))
    }

    /// Floating memory that could be leased now: the least over this pool and those above it.
    #[must_use]
    pub fn free(&self) -> Bytes {
        self.0.chain().map(|pool| Bytes::new(pool.left())).min().unwrap_or(Bytes::ZERO)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = &self.0;
        write!(f, "Budget({}: {} used, {} reserved, {} in all)", pool.name, self.used(), self.reserved(), pool.total)
    }
}

/// A pool. `used <= committed <= total`, and `reserved <= committed`, whenever no call is under way in between.
pub(super) struct Pool {
    name: Box<str>,
    total: Bytes,
    parent: Option<Arc<Pool>>,
    root: Arc<Root>,
    /// Minima, overdrafts and floating memory in use: what cannot be promised to anybody else.
    committed: AtomicU64,
    /// Minima and overdrafts alone.
    reserved: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl Pool {
    fn new(name: &str, total: Bytes, parent: Option<Arc<Self>>, root: Arc<Root>) -> Self {
        Self {
            name: name.into(),
            total,
            parent,
            root,
            committed: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// This pool and those above it.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |pool| pool.parent.as_deref())
    }

    /// What this pool has left, read so that it is ordered with releases: see [`Root::park`].
    fn left(&self) -> u64 {
        self.total.get() - self.committed.fetch_add(0, Ordering::AcqRel)
    }

    /// Whether `bytes` of floating memory could be had now.
    pub(super) fn has_room(&self, bytes: Bytes) -> bool {
        self.chain().all(|pool| pool.left() >= bytes.get())
    }

    /// The most floating memory that could ever be had with the accounts that are open now.
    pub(super) fn floats_at_most(&self) -> Bytes {
        let room = |pool: &Self| pool.total.saturating_sub(Bytes::new(pool.reserved.fetch_add(0, Ordering::AcqRel)));
        self.chain().map(room).min().unwrap_or(Bytes::ZERO)
    }

    /// Commits `bytes` here and above, or nowhere. After a refusal the caller lets go of its locks and calls
    /// [`Root::wake_after_refusal`].
    pub(super) fn commit(&self, bytes: Bytes) -> bool {
        if bytes.is_zero() {
            return true;
        }
        // Look first, so that a refusal takes nothing back and wakes nobody: two tasks that are both refused would
        // wake each other for ever.
        if !self.chain().all(|pool| pool.total.get() - pool.committed.load(Ordering::Relaxed) >= bytes.get()) {
            return false;
        }
        for (depth, pool) in self.chain().enumerate() {
            if !pool.commit_here(bytes) {
                // Somebody was faster above.
                self.chain().take(depth).for_each(|below| below.uncommit_here(bytes));
                self.root.note_taken_back();
                return false;
            }
        }
        true
    }

    fn commit_here(&self, bytes: Bytes) -> bool {
        let total = self.total.get();
        let grown = |committed: u64| committed.checked_add(bytes.get()).filter(|&sum| sum <= total);
        self.committed.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).is_ok()
    }

    fn uncommit_here(&self, bytes: Bytes) {
        let before = self.committed.fetch_sub(bytes.get(), Ordering::AcqRel);
        assert!(before >= bytes.get(), "pool {} gave back more than it had committed", self.name);
    }

    /// Gives back what was committed, here and above, and wakes whoever waits for floating memory. To be called with
    /// no lock held.
    pub(super) fn uncommit(&self, bytes: Bytes) {
        if bytes.is_zero() {
            return;
        }
        self.chain().for_each(|pool| pool.uncommit_here(bytes));
        self.root.wake();
    }

    /// Commits `bytes` for good, as the minimum or the overdraft of an account.
    pub(super) fn reserve(&self, account: &str, bytes: Bytes) -> Result<(), BudgetError> {
        if !self.commit(bytes) {
            self.root.wake_after_refusal();
            return Err(self.no_room(account, bytes));
        }
        self.count_reserved(bytes);
        Ok(())
    }

    /// Counts bytes that are already committed as reserved.
    pub(super) fn count_reserved(&self, bytes: Bytes) {
        self.chain().for_each(|pool| {
            pool.reserved.fetch_add(bytes.get(), Ordering::AcqRel);
        });
        // A task that waits for floating memory may wait in vain from now on: let it look again.
        self.root.wake();
    }

    /// The opposite of [`count_reserved`](Self::count_reserved).
    pub(super) fn uncount_reserved(&self, bytes: Bytes) {
        self.chain().for_each(|pool| {
            pool.reserved.fetch_sub(bytes.get(), Ordering::AcqRel);
        });
    }

    /// The error for an account whose reservation does not fit: names the tightest pool.
    pub(super) fn no_room(&self, account: &str, needed: Bytes) -> BudgetError {
        let tightest = self.chain().min_by_key(|pool| pool.left()).unwrap_or(self);
        BudgetError::NoRoom {
            pool: tightest.name.clone(),
            account: account.into(),
            needed,
            reserved: Bytes::new(tightest.reserved.load(Ordering::Acquire)),
            free: Bytes::new(tightest.left()),
            total: tightest.total,
        }
    }

    /// Counts bytes that an account has charged; under the lock of the account, after they were committed.
    pub(super) fn count_used(&self, bytes: Bytes) {
        for pool in self.chain() {
            let now = pool.used.fetch_add(bytes.get(), Ordering::AcqRel) + bytes.get();
            if now > pool.peak.load(Ordering::Relaxed) {
                pool.peak.fetch_max(now, Ordering::AcqRel);
            }
        }
    }

    /// The opposite of [`count_used`](Self::count_used); under the lock of the account, before they are uncommitted.
    pub(super) fn uncount_used(&self, bytes: Bytes) {
        for pool in self.chain() {
            pool.used.fetch_sub(bytes.get(), Ordering::AcqRel);
        }
    }
}
