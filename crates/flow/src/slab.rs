//! Byte slabs that the budget recycles: leased before they are filled, charged by capacity until the last slice of
//! them is gone.
//!
//! A [`SlabPool`] hands out a [`SlabBuf`] to write into; [`freeze`](SlabBuf::freeze) makes it a [`Slab`], a cheap
//! handle on a range that can be cloned and sliced. The lease lives *in* the slab: it dies with the last reference,
//! wherever that is, not when a batch is dequeued.
//!
//! # What is charged when nothing is in flight
//!
//! The buffer of a dead slab goes to the pool's bounded free list and stays charged to the pool's account, but only
//! within the account's minimum; beyond that it is freed and its lease dropped. So every byte allocated here is
//! charged to some account, free lists never hold floating memory, and a pool that needs the room (for a frame larger
//! than a slab) frees its spares first. (Give the account a minimum of as many slabs as shall be recycled under load.) What the allocator keeps after a free is not charged; it belongs to the
//! constant beside the budget.

use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};
use std::task::{Context, Poll};

use crate::budget::{Account, Lease, OverBudget};
use crate::sync::{Arc, Mutex, lock};
use crate::units::Bytes;

/// Where slabs come from and where their buffers return to. A handle; clones refer to the same pool.
///
/// Nothing else should lease from its account: the free list uses part of its minimum, and only the pool can free it.
#[derive(Clone)]
pub struct SlabPool(Arc<Home>);

struct Home {
    account: Account,
    slab_size: usize,
    keep: usize,
    spare: Mutex<Vec<Buffer>>,
}

/// What a slab consists of. The bytes are dropped before their charge.
#[derive(Default)]
struct Parts {
    /// All initialised; `filled` of them mean something.
    bytes: Box<[u8]>,
    filled: usize,
    lease: Lease,
    home: Option<Arc<Home>>,
}

/// The parts, and where one is left over from an earlier slab, the shared cell that they go into when frozen.
struct Buffer {
    parts: Parts,
    cell: Option<Arc<Parts>>,
}

impl SlabPool {
    /// A pool of slabs of `slab_size` bytes (at least 1) charged to `account`, which keeps at most `keep` buffers for
    /// reuse.
    #[must_use]
    pub fn new(account: Account, slab_size: usize, keep: usize) -> Self {
        let spare = Mutex::new(Vec::with_capacity(keep));
        Self(Arc::new(Home { account, slab_size: slab_size.max(1), keep, spare }))
    }

    /// The account minimum with which one frame of `max_frame` bytes always completes: a slab, and beside it, while
    /// the bytes are copied, the buffer that [`SlabBuf::grow`] moves to.
    #[must_use]
    pub fn minimum(slab_size: usize, max_frame: usize) -> Bytes {
        let beside = if max_frame > slab_size { max_frame } else { 0 };
        Bytes::from(slab_size) + Bytes::from(beside)
    }

    /// An empty buffer of at least `min_capacity` bytes (a whole slab where that is more), or `None` where the budget
    /// has no room. Never waits. A recycled buffer costs no lease and no allocation.
    #[must_use]
    pub fn try_slab(&self, min_capacity: usize) -> Option<SlabBuf> {
        self.slab(min_capacity).ok()
    }

    /// Like [`try_slab`](Self::try_slab), and says why not.
    ///
    /// # Errors
    /// As for [`Account::lease`].
    pub fn slab(&self, min_capacity: usize) -> Result<SlabBuf, OverBudget> {
        if min_capacity <= self.0.slab_size
            && let Some(mut buffer) = lock(&self.0.spare).pop()
        {
            buffer.parts.home = Some(Arc::clone(&self.0));
            return Ok(SlabBuf { buffer });
        }
        let capacity = min_capacity.max(self.0.slab_size);
        let lease = self.lease(Bytes::from(capacity))?;
        let home = Some(Arc::clone(&self.0));
        let parts = Parts { bytes: vec![0; capacity].into_boxed_slice(), filled: 0, lease, home };
        Ok(SlabBuf { buffer: Buffer { parts, cell: None } })
    }

    /// Completes when [`try_slab`](Self::try_slab) could succeed at this moment. Reserves nothing; cancel-safe; waits
    /// as [`Account::poll_room`] does.
    ///
    /// # Errors
    /// [`OverBudget::Never`]: waiting would be for ever.
    pub fn poll_slab(&self, cx: &mut Context<'_>, min_capacity: usize) -> Poll<Result<(), OverBudget>> {
        let capacity = Bytes::from(min_capacity.max(self.0.slab_size));
        let recycles = min_capacity <= self.0.slab_size;
        if recycles && self.spare() > 0 {
            return Poll::Ready(Ok(()));
        }
        let verdict = self.0.account.poll_room(cx, capacity);
        // Only now is this task parked, and sees or is woken by every buffer that comes back.
        if verdict.is_ready() || self.spare() == 0 {
            return verdict;
        }
        if recycles {
            return Poll::Ready(Ok(()));
        }
        self.trim();
        self.0.account.poll_room(cx, capacity)
    }

    /// Frees the buffers that are kept for reuse, and gives back their leases.
    pub fn trim(&self) {
        // Dropped one by one outside of the lock: giving back a lease may wake a task.
        while let Some(buffer) = self.pop() {
            drop(buffer);
        }
    }

    /// Buffers kept for reuse now.
    #[must_use]
    pub fn spare(&self) -> usize {
        lock(&self.0.spare).len()
    }

    /// The account that pays.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// The capacity of a usual slab, in bytes.
    #[must_use]
    pub fn slab_size(&self) -> usize {
        self.0.slab_size
    }

    fn pop(&self) -> Option<Buffer> {
        lock(&self.0.spare).pop()
    }

    /// Leases `bytes`, freeing the spares where that is what it takes.
    fn lease(&self, bytes: Bytes) -> Result<Lease, OverBudget> {
        match self.0.account.lease(bytes) {
            Err(OverBudget::Busy) if self.spare() > 0 => {
                self.trim();
                self.0.account.lease(bytes)
            }
            verdict => verdict,
        }
    }
}

impl fmt::Debug for SlabPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlabPool({} B slabs, {} spare, {:?})", self.0.slab_size, self.spare(), self.0.account)
    }
}

impl Buffer {
    /// Returns to the free list, or frees itself where that is full or would hold more than the account's minimum.
    fn recycle(mut self) {
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
    buffer: Buffer,
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

/// A range of a frozen buffer. Cloning and slicing share the buffer; its whole capacity stays charged until the last
/// handle is gone. Then it returns to its pool (two handles that go at the same instant may free it instead).
#[derive(Clone, Default)]
pub struct Slab {
    parts: Option<Arc<Parts>>,
    start: usize,
    end: usize,
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
    /// is, like a [shared lease](Lease::rebind).
    ///
    /// # Errors
    /// As for [`Lease::rebind`]; nothing has changed.
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
