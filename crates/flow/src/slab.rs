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

mod buf;
mod range;

pub use buf::SlabBuf;
pub use range::Slab;

use std::fmt;
use std::task::{Context, Poll};

use crate::budget::{Account, Lease, OverBudget};
use crate::sync::{Arc, Mutex, lock};
use crate::units::Bytes;
use buf::{Buffer, Parts};

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
