//! [`SlabBuf`]: a buffer that one owner fills, what it consists of, and how it returns to its pool.

use std::fmt;
use std::ops::Deref;

use super::{Home, Slab, SlabPool};
use crate::budget::{Lease, OverBudget};
use crate::sync::{Arc, lock};

/// What a slab consists of. The bytes are dropped before their charge.
#[derive(Default)]
pub(super) struct Parts {
    /// All initialised; `filled` of them mean something.
    pub(super) bytes: Box<[u8]>,
    pub(super) filled: usize,
    pub(super) lease: Lease,
    pub(super) home: Option<Arc<Home>>,
}

/// The parts, and where one is left over from an earlier slab, the shared cell that they go into when frozen.
pub(super) struct Buffer {
    pub(super) parts: Parts,
    pub(super) cell: Option<Arc<Parts>>,
}

impl Buffer {
    /// Returns to the free list, or frees itself where that is full or would hold more than the account's minimum.
    pub(super) fn recycle(mut self) {
        let Some(home) = self.parts.home.take() else { return };
        self.parts.filled = 0;
        let usual = self.parts.bytes.len() == home.slab_size && lock(&home.spare).len() < home.keep;
        if !usual || self.parts.lease.rebind(&home.account).is_err() || !home.account.is_within_minimum() {
            return;
        }
        let mut spare = lock(&home.spare);
        if spare.len() < home.keep {
            spare.push(self);
            drop(spare);
            // No bytes were released, yet a task that waits for a slab can go on.
            home.account.wake_parked();
        } else {
            drop(spare);
        }
    }
}

/// A buffer to fill: it belongs to one owner, and its capacity is leased. Dropping it gives everything back.
pub struct SlabBuf {
    pub(super) buffer: Buffer,
}

impl SlabBuf {
    /// A buffer of `capacity` bytes that no account pays for and no pool takes back: for a payload whose batch pays for
    /// what it retains. Charge it before it is made.
    #[must_use]
    pub fn unmetered(capacity: usize) -> Self {
        let bytes = vec![0; capacity].into_boxed_slice();
        Self { buffer: Buffer { parts: Parts { bytes, ..Parts::default() }, cell: None } }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.parts.filled
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it can hold, which are also the bytes charged.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.parts.bytes.len()
    }

    /// The part not yet written, for a reader to fill; then [`advance`](Self::advance). Its content means nothing.
    pub fn unfilled(&mut self) -> &mut [u8] {
        let filled = self.buffer.parts.filled;
        &mut self.buffer.parts.bytes[filled..]
    }

    /// Counts `count` bytes of [`unfilled`](Self::unfilled) as written.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.capacity() - self.len(), "advanced past the capacity of a slab");
        self.buffer.parts.filled += count;
    }

    /// Appends as much of `bytes` as there is room for; returns how much that was.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let room = self.unfilled();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        count
    }

    /// Keeps the first `len` bytes; no effect where there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.buffer.parts.filled = self.len().min(len);
    }

    /// Moves to a buffer of at least `min_capacity` bytes. The new one is leased before anything is copied, beside
    /// the old one; see [`SlabPool::minimum`].
    ///
    /// # Errors
    /// The budget has no room for the new one; this one is unchanged.
    pub fn grow(&mut self, min_capacity: usize) -> Result<(), OverBudget> {
        if min_capacity <= self.capacity() {
            return Ok(());
        }
        let Some(home) = self.buffer.parts.home.clone() else { return Err(OverBudget::Never) };
        let mut larger = SlabPool(home).slab(min_capacity)?;
        larger.put(self);
        *self = larger;
        Ok(())
    }

    /// Makes it readable and shareable. Costs no allocation where the buffer was recycled.
    #[must_use]
    pub fn freeze(mut self) -> Slab {
        let parts = std::mem::take(&mut self.buffer.parts);
        let end = parts.filled;
        let cell = match self.buffer.cell.take() {
            Some(mut cell) => match Arc::get_mut(&mut cell) {
                Some(empty) => {
                    *empty = parts;
                    cell
                }
                None => Arc::new(parts),
            },
            None => Arc::new(parts),
        };
        Slab { parts: Some(cell), start: 0, end }
    }
}

impl Deref for SlabBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer.parts.bytes[..self.buffer.parts.filled]
    }
}

impl fmt::Debug for SlabBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlabBuf({} of {} B, {:?})", self.len(), self.capacity(), self.buffer.parts.lease)
    }
}

impl Drop for SlabBuf {
    fn drop(&mut self) {
        Buffer { parts: std::mem::take(&mut self.buffer.parts), cell: self.buffer.cell.take() }.recycle();
    }
}
