//! [`State`]: what an account has reserved, uses and owes, and the arithmetic on it.

use super::super::park::Parked;
use crate::units::Bytes;

/// `debt <= min(overdraft, used)`; committed for this account: `max(minimum, used - debt) + overdraft`.
pub(super) struct State {
    /// What is reserved, but for the overdraft: the maximum where one is set.
    pub(super) minimum: Bytes,
    pub(super) maximum: Option<Bytes>,
    pub(super) overdraft: Bytes,
    pub(super) used: Bytes,
    pub(super) debt: Bytes,
    pub(super) peak: Bytes,
    pub(super) refused: u64,
    pub(super) parked: Parked,
}

impl State {
    /// What is charged to the minimum and to floating memory.
    #[inline]
    pub(super) fn own(&self) -> Bytes {
        self.used - self.debt
    }

    /// What is committed for an account that has charged `own`.
    #[inline]
    pub(super) fn covers(&self, own: Bytes) -> Bytes {
        own.max(self.minimum)
    }

    /// The floating memory needed to charge `bytes` more; `None` where the account may not.
    #[inline]
    pub(super) fn needs(&self, bytes: Bytes) -> Option<Bytes> {
        let own = self.own() + bytes;
        let within = self.debt.is_zero() && self.maximum.is_none_or(|maximum| own <= maximum);
        within.then(|| self.covers(own) - self.covers(self.own()))
    }

    /// Charges `bytes`, `debt` of them to the overdraft.
    #[inline]
    pub(super) fn charge(&mut self, bytes: Bytes, debt: Bytes) {
        self.used += bytes;
        self.debt += debt;
        self.peak = self.peak.max(self.used);
    }

    /// Gives back `bytes`, the debt first; returns the floating memory that this sets free.
    #[inline]
    pub(super) fn give_back(&mut self, bytes: Bytes) -> Bytes {
        let before = self.covers(self.own());
        self.debt = self.debt.saturating_sub(bytes);
        self.used -= bytes;
        before - self.covers(self.own())
    }
}
