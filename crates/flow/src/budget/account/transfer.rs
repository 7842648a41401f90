//! A charge moves from one account to another, under both locks.

use super::super::spec::OverBudget;
use super::Account;
use super::state::State;
use crate::sync::{Arc, MutexGuard};
use crate::units::Bytes;

impl Account {
    /// Moves a charge of `bytes` from this account to `to`, or changes nothing.
    ///
    /// Both accounts are locked, so that floating memory which the charge holds here can go with it: a full budget
    /// never stops a batch that moves on. Between two pools it is charged there first and given back here then.
    pub(in crate::budget) fn move_to(&self, to: &Self, bytes: Bytes) -> Result<(), OverBudget> {
        if bytes.is_zero() || self.is(to) {
            return Ok(());
        }
        let states = self.lock_both(to);
        self.move_locked(to, bytes, states)
    }

    /// Moves a charge as [`move_to`](Self::move_to) does, where `to` then uses no more than its minimum. Says whether.
    pub(in crate::budget) fn move_within_minimum(&self, to: &Self, bytes: Bytes) -> bool {
        if bytes.is_zero() {
            return true;
        }
        let states = self.lock_both(to);
        let to_state = &states.1;
        let within = to_state.debt.is_zero() && to_state.used + bytes <= to_state.minimum;
        within && self.move_locked(to, bytes, states).is_ok()
    }

    fn move_locked<'a>(
        &'a self,
        to: &'a Self,
        bytes: Bytes,
        (mut from_state, mut to_state): (MutexGuard<'a, State>, MutexGuard<'a, State>),
    ) -> Result<(), OverBudget> {
        let same_pool = Arc::ptr_eq(&self.0.pool, &to.0.pool);
        let needed = to_state.needs(bytes);
        let set_free = {
            let before = from_state.covers(from_state.own());
            let repaid = bytes.min(from_state.debt);
            before - from_state.covers(from_state.own() - (bytes - repaid))
        };
        let carried = if same_pool { set_free.min(needed.unwrap_or(Bytes::ZERO)) } else { Bytes::ZERO };
        match needed {
            Some(floating) if to.0.pool.commit(floating - carried) => {}
            _ => {
                drop(from_state);
                return Err(to.refuse(to_state, bytes, Bytes::ZERO));
            }
        }
        to_state.charge(bytes, Bytes::ZERO);
        from_state.give_back(bytes);
        if !same_pool {
            to.0.pool.count_used(bytes);
            self.0.pool.uncount_used(bytes);
        }
        let parked = from_state.parked.take();
        drop((from_state, to_state));
        self.0.pool.uncommit(set_free - carried);
        parked.wake();
        Ok(())
    }

    /// The states of both, locked in the order of their numbers.
    #[inline]
    fn lock_both<'a>(&'a self, to: &'a Self) -> (MutexGuard<'a, State>, MutexGuard<'a, State>) {
        // Accounts of two trees may have the same number; their addresses differ.
        let order = |account: &Self| (account.0.id, std::ptr::from_ref(&*account.0).addr());
        if order(self) < order(to) {
            let from_state = self.state();
            (from_state, to.state())
        } else {
            let to_state = to.state();
            (self.state(), to_state)
        }
    }
}
