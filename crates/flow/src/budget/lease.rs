//! [`Lease`]: the owned proof that bytes are charged to an account.

use std::fmt;

use super::account::Account;
use super::spec::OverBudget;
use crate::sync::Arc;
use crate::units::Bytes;

/// Bytes charged to an account; dropping it gives them back.
///
/// *Exclusive* leases move with their batch from account to account. A *shared* lease (below a fork) is one charge
/// with several handles: it stays with the account where it was when it was first shared, and is given back with the
/// last handle. A lease that was shared stays so until its last handle [reclaims](Self::reclaim) it.
#[must_use = "dropping a lease gives its bytes back"]
pub struct Lease {
    /// Zero where the charge is shared.
    bytes: Bytes,
    hold: Hold,
}

enum Hold {
    Nothing,
    Exclusive(Account),
    Shared(Arc<Charge>),
}

/// A charge with several handles.
struct Charge {
    account: Account,
    bytes: Bytes,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}

impl Lease {
    pub(super) const fn new(account: Account, bytes: Bytes) -> Self {
        Self { bytes, hold: Hold::Exclusive(account) }
    }

    /// No bytes, no account. It can be rebound to one.
    pub const fn none() -> Self {
        Self { bytes: Bytes::ZERO, hold: Hold::Nothing }
    }

    /// The bytes of the charge. Each handle of a shared lease shows the whole charge.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match &self.hold {
            Hold::Shared(charge) => charge.bytes,
            Hold::Nothing | Hold::Exclusive(_) => self.bytes,
        }
    }

    /// The account that is charged; `None` for [`none`](Self::none).
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match &self.hold {
            Hold::Nothing => None,
            Hold::Exclusive(account) => Some(account),
            Hold::Shared(charge) => Some(&charge.account),
        }
    }

    /// Whether the charge is or was shared with another handle.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.hold, Hold::Shared(_))
    }

    /// Moves the charge to another account: it is charged there, then given back where it was. Floating memory that
    /// it holds goes with it, so that a full budget does not stop a batch that moves within its pipeline.
    ///
    /// A shared lease stays where it is, which is `Ok`: whoever receives it needs no memory for it.
    ///
    /// # Errors
    /// `to` has no room; the lease is unchanged. [`OverBudget::Busy`] or [`OverBudget::Never`] as for
    /// [`Account::lease`].
    #[inline]
    pub fn rebind(&mut self, to: &Account) -> Result<(), OverBudget> {
        match &mut self.hold {
            Hold::Shared(_) => {}
            Hold::Nothing => self.hold = Hold::Exclusive(to.clone()),
            Hold::Exclusive(account) if account.is(to) => {}
            Hold::Exclusive(account) => {
                account.move_to(to, self.bytes)?;
                *account = to.clone();
            }
        }
        Ok(())
    }

    /// Like [`rebind`](Self::rebind), but only where `to` then uses no more than its minimum and owes nothing. Says
    /// whether the charge is in `to` now.
    pub(super) fn rebind_within_minimum(&mut self, to: &Account) -> bool {
        match &mut self.hold {
            Hold::Nothing | Hold::Shared(_) => false,
            Hold::Exclusive(account) if account.is(to) => to.is_within_minimum(),
            Hold::Exclusive(account) => {
                let moved = account.move_within_minimum(to, self.bytes);
                if moved {
                    *account = to.clone();
                }
                moved
            }
        }
    }

    /// Makes a lease of nothing a charge of `bytes` in `to`, under the condition of
    /// [`rebind_within_minimum`](Self::rebind_within_minimum).
    pub(super) fn charge_within_minimum(&mut self, to: &Account, bytes: Bytes) -> bool {
        if let Ok(lease) = to.lease(bytes) {
            *self = lease;
        }
        self.account().is_some() && to.is_within_minimum()
    }

    /// Another handle on the same charge, which is shared from now on. Allocates once, on the first call.
    pub fn share(&mut self) -> Self {
        if let Hold::Exclusive(account) = &self.hold {
            let charge = Charge { account: account.clone(), bytes: self.bytes };
            self.bytes = Bytes::ZERO;
            self.hold = Hold::Shared(Arc::new(charge));
        }
        match &self.hold {
            Hold::Shared(charge) => Self { bytes: Bytes::ZERO, hold: Hold::Shared(Arc::clone(charge)) },
            Hold::Nothing | Hold::Exclusive(_) => Self::none(),
        }
    }

    /// Makes a shared charge exclusive again, where this is its last handle. Says whether the lease is exclusive now.
    ///
    /// Whoever lets go of a share drops the bytes before the lease, so that nobody else uses the bytes then.
    #[must_use]
    pub fn reclaim(&mut self) -> bool {
        let Hold::Shared(charge) = &mut self.hold else { return self.account().is_some() };
        let Some(last) = Arc::get_mut(charge) else { return false };
        // What is dropped with the shared charge gives nothing back.
        self.bytes = std::mem::take(&mut last.bytes);
        self.hold = Hold::Exclusive(last.account.clone());
        true
    }

    /// Makes it a charge of `bytes`. Shrinking always works; growing is tried like [`Account::lease`].
    ///
    /// A shared charge stays as large as it is: shrinking is `Ok` and does nothing (another handle may still use the
    /// bytes), growing is refused as `Busy`: take another lease.
    ///
    /// # Errors
    /// The account has no room for the difference ([`OverBudget::Never`] for a lease without account); the lease is
    /// unchanged.
    #[inline]
    pub fn resize(&mut self, bytes: Bytes) -> Result<(), OverBudget> {
        self.resize_by(bytes, Account::charge)
    }

    /// Like [`resize`](Self::resize), but what does not fit is taken from the overdraft, like [`Account::overdraw`].
    ///
    /// # Errors
    /// As for [`resize`](Self::resize), beyond the overdraft.
    pub fn resize_overdrawing(&mut self, bytes: Bytes) -> Result<(), OverBudget> {
        self.resize_by(bytes, Account::charge_overdrawing)
    }

    #[inline]
    fn resize_by(
        &mut self,
        bytes: Bytes,
        charge_more: impl FnOnce(&Account, Bytes) -> Result<(), OverBudget>,
    ) -> Result<(), OverBudget> {
        match &self.hold {
            Hold::Shared(charge) if bytes > charge.bytes => return Err(OverBudget::Busy),
            Hold::Shared(_) => return Ok(()),
            Hold::Nothing if bytes.is_zero() => {}
            Hold::Nothing => return Err(OverBudget::Never),
            Hold::Exclusive(account) if bytes > self.bytes => charge_more(account, bytes - self.bytes)?,
            Hold::Exclusive(account) => account.release(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Splits off `bytes` (at most all of them) as a lease of its own, in the same account; the sum stays the same.
    /// A shared lease is [shared](Self::share) once more instead.
    pub fn split(&mut self, bytes: Bytes) -> Self {
        match &self.hold {
            Hold::Nothing => Self::none(),
            Hold::Shared(_) => self.share(),
            Hold::Exclusive(account) => {
                let part = bytes.min(self.bytes);
                let rest = Self::new(account.clone(), part);
                self.bytes -= part;
                rest
            }
        }
    }

    /// Takes over the charge of `other`, where both are exclusive and in one account, both are handles of one shared
    /// charge, or one of them has no bytes.
    ///
    /// # Errors
    /// `other` itself, unchanged: keep both.
    pub fn merge(&mut self, mut other: Self) -> Result<(), Self> {
        let same = match (&self.hold, &other.hold) {
            (_, _) if other.bytes().is_zero() => return Ok(()),
            (_, _) if self.bytes().is_zero() => {
                *self = other;
                return Ok(());
            }
            (Hold::Exclusive(mine), Hold::Exclusive(theirs)) => mine.is(theirs),
            (Hold::Shared(mine), Hold::Shared(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        };
        if !same {
            return Err(other);
        }
        self.bytes += std::mem::take(&mut other.bytes);
        Ok(())
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::none()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Hold::Exclusive(account) = &self.hold {
            account.release(self.bytes);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = if self.is_shared() { ", shared" } else { "" };
        match self.account() {
            Some(account) => write!(f, "Lease({} in {}{shared})", self.bytes(), account.name()),
            None => f.write_str("Lease(none)"),
        }
    }
}
