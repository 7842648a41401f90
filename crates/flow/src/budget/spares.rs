//! [`Spares`]: emptied payloads of an edge, kept with their allocation for the next batch.

use std::fmt;

use super::account::Account;
use super::lease::Lease;
use crate::payload::Payload;
use crate::sync::{Arc, Mutex, lock};

/// A bounded list of emptied payloads, so that a producer can fill an allocation again instead of making a new one.
/// A handle; clones refer to the same list.
///
/// What is kept stays charged, to the account given here, and only within its minimum: spares never hold floating
/// memory. Give it an account of its own (a holding), so that they do not take the room of a batch either.
pub struct Spares<P>(Arc<Inner<P>>);

struct Inner<P> {
    account: Account,
    keep: usize,
    list: Mutex<Vec<(P, Lease)>>,
}

impl<P: Payload> Spares<P> {
    /// An empty list of at most `keep` payloads, charged to `account`.
    #[must_use]
    pub fn new(account: Account, keep: usize) -> Self {
        Self(Arc::new(Inner { account, keep, list: Mutex::new(Vec::with_capacity(keep)) }))
    }

    /// Empties `payload` and keeps its allocation, charged by what it retains. Frees both instead where the list is
    /// full, the account's minimum is, the payload cannot be emptied, or the lease is shared.
    #[inline]
    pub fn put(&self, mut payload: P, mut lease: Lease) {
        payload.clear();
        if !payload.weight().records.is_zero() || !self.keep_charged(&payload, &mut lease) {
            // The bytes go before their charge.
            drop(payload);
            drop(lease);
            return;
        }
        let mut list = lock(&self.0.list);
        if list.len() < self.0.keep {
            list.push((payload, lease));
        } else {
            drop(list);
            drop(payload);
            drop(lease);
        }
    }

    /// An empty payload and the charge of its allocation, to be rebound and resized by whoever fills it.
    #[must_use]
    #[inline]
    pub fn take(&self) -> Option<(P, Lease)> {
        lock(&self.0.list).pop()
    }

    /// How many payloads are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0.list).len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Charges exactly what `payload` retains, to the account of the spares.
    fn keep_charged(&self, payload: &P, lease: &mut Lease) -> bool {
        let retained = payload.retained_bytes();
        if lease.is_shared() {
            return false;
        }
        if lease.account().is_none() {
            return lease.charge_within_minimum(&self.0.account, retained);
        }
        (retained == lease.bytes() || lease.resize(retained).is_ok()) && lease.rebind_within_minimum(&self.0.account)
    }
}

impl<P> Clone for Spares<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P> fmt::Debug for Spares<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spares({} of {} in {})", lock(&self.0.list).len(), self.0.keep, self.0.account.name())
    }
}
