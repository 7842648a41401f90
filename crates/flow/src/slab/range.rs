//! [`Slab`]: a range of a frozen buffer, shared and sliced.

use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};

use super::SlabBuf;
use super::buf::{Buffer, Parts};
use crate::budget::{Account, OverBudget};
use crate::sync::Arc;
use crate::units::Bytes;

/// A range of a frozen buffer. Cloning and slicing share the buffer; its whole capacity stays charged until the last
/// handle is gone. Then it returns to its pool (two handles that go at the same instant may free it instead).
#[derive(Clone, Default)]
pub struct Slab {
    pub(super) parts: Option<Arc<Parts>>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Slab {
    /// The part `range` of this range, on the same buffer.
    ///
    /// # Panics
    /// When `range` is not within `0..self.len()`.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let from = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&end) => end + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        assert!(from <= to && to <= self.len(), "slice {from}..{to} of a slab range of {} bytes", self.len());
        Self { parts: self.parts.clone(), start: self.start + from, end: self.start + to }
    }

    /// Makes this range reach over `other`, where that is a range of the same buffer and does not begin before this one.
    /// Gives the offset at which `other` begins in it; `None`, and nothing has changed, where the two cannot be one range.
    pub fn extend_over(&mut self, other: &Self) -> Option<usize> {
        let is_same = match (&self.parts, &other.parts) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let offset = other.start.checked_sub(self.start).filter(|_| is_same)?;
        self.end = self.end.max(other.end);
        Some(offset)
    }

    /// Bytes that this handle keeps allocated and charged: the capacity of the buffer, however short the range.
    #[must_use]
    pub fn retained_bytes(&self) -> Bytes {
        self.parts.as_deref().map_or(Bytes::ZERO, |parts| Bytes::from(parts.bytes.len()))
    }

    /// The account that is charged for the buffer; `None` for an empty default.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.parts.as_deref().and_then(|parts| parts.lease.account())
    }

    /// Moves the charge to another account where this is the only handle on the buffer; otherwise it stays where it
    /// is, like a [shared lease](crate::Lease::rebind).
    ///
    /// # Errors
    /// As for [`Lease::rebind`](crate::Lease::rebind); nothing has changed.
    pub fn rebind(&mut self, to: &Account) -> Result<(), OverBudget> {
        match self.parts.as_mut().and_then(Arc::get_mut) {
            Some(parts) => parts.lease.rebind(to),
            None => Ok(()),
        }
    }

    /// The buffer behind it, emptied, to be filled again; its charge stays with it.
    ///
    /// # Errors
    /// The slab itself, where other handles share the buffer, or there is none.
    pub fn try_into_buf(mut self) -> Result<SlabBuf, Self> {
        let Some(mut cell) = self.parts.take() else { return Err(self) };
        let Some(parts) = Arc::get_mut(&mut cell) else {
            self.parts = Some(cell);
            return Err(self);
        };
        let parts = Parts { filled: 0, ..std::mem::take(parts) };
        Ok(SlabBuf { buffer: Buffer { parts, cell: Some(cell) } })
    }

    /// Copies this range into a buffer of its own size where less than a quarter of the large one is live and a lease
    /// for the copy can be had, in the account that pays now. `live` is what all handles on the buffer still need, as
    /// far as the caller knows. Returns whether it was copied; the large buffer is freed with its last other handle.
    pub fn compact_if_sparse(&mut self, live: Bytes) -> bool {
        let retained = self.retained_bytes();
        if retained.is_zero() || live.get() >= retained.get().div_ceil(4) {
            return false;
        }
        let Some(lease) = self.account().and_then(|account| account.try_lease(Bytes::from(self.len()))) else {
            return false;
        };
        // Not recycled: it has an odd size.
        let parts = Parts { bytes: Box::from(&**self), filled: self.len(), lease, home: None };
        *self = Self { start: 0, end: parts.filled, parts: Some(Arc::new(parts)) };
        true
    }
}

impl Deref for Slab {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.parts.as_deref().map_or(&[], |parts| &parts.bytes[self.start..self.end])
    }
}

impl AsRef<[u8]> for Slab {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slab({}..{} of {})", self.start, self.end, self.retained_bytes())
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let Some(mut cell) = self.parts.take() else { return };
        if let Some(parts) = Arc::get_mut(&mut cell) {
            let parts = std::mem::take(parts);
            Buffer { parts, cell: Some(cell) }.recycle();
        }
    }
}
