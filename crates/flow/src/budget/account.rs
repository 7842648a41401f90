//! One account per edge and per holding: what it has reserved, what it uses, what it owes, and who waits for room.

mod state;
mod transfer;

use std::fmt;
use std::task::{Context, Poll};

use super::lease::Lease;
use super::park::Parked;
use super::plan::BudgetError;
use super::pool::Pool;
use super::spec::{AccountKind, AccountSpec, OverBudget};
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::units::Bytes;
use state::State;

/// The account of an edge or a holding. A handle; clones refer to the same account.
///
/// It stays open, with its reservation, until the last handle and the last lease are gone.
#[derive(Clone)]
pub struct Account(Arc<Inner>);

struct Inner {
    id: u64,
    name: Box<str>,
    kind: AccountKind,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

impl Account {
    pub(super) fn open(pool: Arc<Pool>, name: &str, spec: &AccountSpec) -> Result<Self, BudgetError> {
        spec.check(name)?;
        pool.reserve(name, spec.reserves())?;
        let state = State {
            minimum: spec.maximum.unwrap_or(spec.minimum),
            maximum: spec.maximum,
            overdraft: spec.overdraft,
            used: Bytes::ZERO,
            debt: Bytes::ZERO,
            peak: Bytes::ZERO,
            refused: 0,
            parked: Parked::default(),
        };
        let id = pool.root().next_account();
        Ok(Self(Arc::new(Inner { id, name: name.into(), kind: spec.kind, pool, state: Mutex::new(state) })))
    }

    /// Charges `bytes` and returns the proof, or `None` (counted as [`refused`](Self::refused)). Takes the minimum
    /// first, then floating memory; never the overdraft; never waits.
    ///
    /// Always granted where the charge stays within the minimum and the account is not in debt; always refused while
    /// it is in debt. Zero bytes are always granted. Costs one short lock and no allocation.
    #[must_use]
    pub fn try_lease(&self, bytes: Bytes) -> Option<Lease> {
        self.lease(bytes).ok()
    }

    /// Like [`try_lease`](Self::try_lease), and says why not.
    ///
    /// # Errors
    /// [`OverBudget::Busy`]: it may fit later. [`OverBudget::Never`]: it cannot, see [`largest`](Self::largest).
    pub fn lease(&self, bytes: Bytes) -> Result<Lease, OverBudget> {
        self.charge(bytes)?;
        Ok(Lease::new(self.clone(), bytes))
    }

    /// Charges `bytes` even where [`try_lease`](Self::try_lease) would not: what does not fit is taken from the
    /// overdraft, and only then from floating memory. For the output of a transform that expands and has to finish
    /// what it took. Until the debt is repaid (by any release in this account) the transform takes no further input.
    ///
    /// # Errors
    /// Beyond the overdraft: [`OverBudget::Busy`] or [`OverBudget::Never`], as for [`lease`](Self::lease).
    pub fn overdraw(&self, bytes: Bytes) -> Result<Lease, OverBudget> {
        self.charge_overdrawing(bytes)?;
        Ok(Lease::new(self.clone(), bytes))
    }

    /// Whether part of the overdraft is drawn. Then the account grants nothing but further overdraft.
    #[must_use]
    pub fn in_debt(&self) -> bool {
        !self.state().debt.is_zero()
    }

    /// Completes when `bytes` could be leased at this moment, or at once with an error when they never can. Reserves
    /// nothing: try the lease, and poll again if somebody was faster.
    ///
    /// The task is woken by a release in this account and, if it floats, by a release of floating memory anywhere in
    /// the tree. At most [`MAX_PARKED`](super::MAX_PARKED) tasks park on one account; a further one wakes the one that has waited
    /// longest, which asks again. Cancel-safe: a task that stops polling costs at most one wake-up for nothing.
    ///
    /// # Errors
    /// [`OverBudget::Never`]: waiting would be for ever.
    pub fn poll_room(&self, cx: &mut Context<'_>, bytes: Bytes) -> Poll<Result<(), OverBudget>> {
        let mut state = self.state();
        let verdict = self.verdict(&state, bytes);
        if verdict.is_ready() {
            return verdict;
        }
        let mut evicted = [state.parked.add(cx.waker()), None];
        let mut verdict = Poll::Pending;
        if state.maximum.is_none() && state.debt.is_zero() {
            evicted[1] = self.0.pool.root().park(self.0.id, cx.waker());
            // Floating memory may have been given back since the first look, by somebody who saw nobody waiting.
            verdict = self.verdict(&state, bytes);
        }
        drop(state);
        evicted.into_iter().flatten().for_each(std::task::Waker::wake);
        verdict
    }

    fn verdict(&self, state: &State, bytes: Bytes) -> Poll<Result<(), OverBudget>> {
        if bytes.is_zero() {
            return Poll::Ready(Ok(()));
        }
        if bytes > self.largest_of(state) {
            return Poll::Ready(Err(OverBudget::Never));
        }
        match state.needs(bytes) {
            Some(floating) if floating.is_zero() || self.0.pool.has_room(floating) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Changes its size while it is in use. A smaller account gives back at once what it does not use, and the rest
    /// as its leases are dropped; until its charge is below a new maximum it grants nothing. The overdraft stays.
    ///
    /// # Errors
    /// What it would have to reserve more does not fit, or the maximum is below the minimum; nothing has changed then.
    pub fn resize(&self, minimum: Bytes, maximum: Option<Bytes>) -> Result<(), BudgetError> {
        let overdraft = Bytes::ZERO;
        AccountSpec { kind: self.0.kind, minimum, maximum, overdraft }.check(&self.0.name)?;
        let mut state = self.state();
        let (old, new) = (state.minimum, maximum.unwrap_or(minimum));
        let (before, after) = (state.own().max(old), state.own().max(new));
        if !self.0.pool.commit(after.saturating_sub(before)) {
            drop(state);
            self.0.pool.root().wake_after_refusal();
            return Err(self.0.pool.no_room(&self.0.name, after - before));
        }
        (state.minimum, state.maximum) = (new, maximum);
        let parked = state.parked.take();
        drop(state);
        self.0.pool.uncount_reserved(old);
        self.0.pool.count_reserved(new);
        self.0.pool.uncommit(before.saturating_sub(after));
        parked.wake();
        Ok(())
    }

    /// The largest lease that could ever be granted with the accounts that are open now: the maximum, or the minimum
    /// and all memory that can float.
    #[must_use]
    pub fn largest(&self) -> Bytes {
        self.largest_of(&self.state())
    }

    fn largest_of(&self, state: &State) -> Bytes {
        match state.maximum {
            Some(maximum) => maximum,
            None => state.minimum + self.0.pool.floats_at_most(),
        }
    }

    /// Its name, for reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it pays for.
    #[must_use]
    pub fn kind(&self) -> AccountKind {
        self.0.kind
    }

    /// Bytes charged now.
    #[must_use]
    pub fn used(&self) -> Bytes {
        self.state().used
    }

    /// The most bytes that were charged at one instant.
    #[must_use]
    pub fn peak(&self) -> Bytes {
        self.state().peak
    }

    /// What it can always have: its minimum, or its maximum where one is set (it is reserved whole).
    #[must_use]
    pub fn minimum(&self) -> Bytes {
        self.state().minimum
    }

    /// Its explicit maximum; `None` where it floats.
    #[must_use]
    pub fn maximum(&self) -> Option<Bytes> {
        self.state().maximum
    }

    /// How often a lease, a growth or an overdraft was refused here.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    /// Whether both are handles on the same account.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it holds no floating memory and owes nothing.
    pub(crate) fn is_within_minimum(&self) -> bool {
        let state = self.state();
        state.debt.is_zero() && state.used <= state.minimum
    }

    /// Wakes the tasks that wait on this account, because what they wait for came without a release.
    pub(crate) fn wake_parked(&self) {
        let parked = self.state().parked.take();
        parked.wake();
    }

    #[inline]
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Counts a refusal and says of which kind it is.
    fn refuse(&self, mut state: MutexGuard<'_, State>, bytes: Bytes, more: Bytes) -> OverBudget {
        state.refused += 1;
        let never = bytes > self.largest_of(&state) + more;
        drop(state);
        self.0.pool.root().wake_after_refusal();
        if never { OverBudget::Never } else { OverBudget::Busy }
    }

    #[inline]
    pub(super) fn charge(&self, bytes: Bytes) -> Result<(), OverBudget> {
        if bytes.is_zero() {
            return Ok(());
        }
        let mut state = self.state();
        match state.needs(bytes) {
            Some(floating) if self.0.pool.commit(floating) => {
                state.charge(bytes, Bytes::ZERO);
                self.0.pool.count_used(bytes);
                Ok(())
            }
            _ => Err(self.refuse(state, bytes, Bytes::ZERO)),
        }
    }

    pub(super) fn charge_overdrawing(&self, bytes: Bytes) -> Result<(), OverBudget> {
        let mut state = self.state();
        if let Some(floating) = state.needs(bytes)
            && self.0.pool.commit(floating)
        {
            state.charge(bytes, Bytes::ZERO);
            self.0.pool.count_used(bytes);
            return Ok(());
        }
        let beyond = bytes.saturating_sub(state.minimum.saturating_sub(state.own()));
        let debt = beyond.min(state.overdraft - state.debt);
        let floating = beyond - debt;
        let fixed = state.maximum.is_some() && !floating.is_zero();
        if fixed || !self.0.pool.commit(floating) {
            let overdraft = state.overdraft;
            return Err(self.refuse(state, bytes, overdraft));
        }
        state.charge(bytes, debt);
        self.0.pool.count_used(bytes);
        Ok(())
    }

    pub(super) fn release(&self, bytes: Bytes) {
        if bytes.is_zero() {
            return;
        }
        let mut state = self.state();
        self.0.pool.uncount_used(bytes);
        let floating = state.give_back(bytes);
        let parked = state.parked.take();
        drop(state);
        self.0.pool.uncommit(floating);
        parked.wake();
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let State { used, minimum, debt, .. } = &*state;
        write!(f, "Account({}: {used} used, {minimum} minimum, {debt} debt)", self.0.name)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let reserved = {
            let state = lock(&self.state);
            debug_assert!(state.used.is_zero(), "account {} closed with bytes charged", self.name);
            state.minimum + state.overdraft
        };
        self.pool.uncount_reserved(reserved);
        self.pool.uncommit(reserved);
    }
}
