//! A counting allocator: what the process really has allocated, by the allocator's own count and not by ours.
//!
//! Promises about memory are checked against it. It passes every call to the system allocator and keeps four numbers.
//! Counting costs two to four relaxed atomic operations per call, so it is for tests, benchmarks and examples.
//!
//! ```
//! #[global_allocator]
//! static HEAP: tidegate_heap::Counting = tidegate_heap::Counting::new();
//!
//! let before = HEAP.counts();
//! let kept = vec![0_u8; 4096];
//! assert_eq!(HEAP.counts().live_bytes - before.live_bytes, 4096);
//! drop(kept);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The system allocator, with counters. Install it with `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting {
    allocations: AtomicU64,
    live_bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

/// What a [`Counting`] allocator has counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Calls that allocated or reallocated, since the process started.
    pub allocations: u64,
    /// Bytes allocated and not freed, as asked for (the system allocator's own overhead is not in it).
    pub live_bytes: u64,
    /// The most live bytes since the process started or [`Counting::reset_peak`] was called.
    pub peak_bytes: u64,
}

impl Counting {
    /// An allocator that has counted nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { allocations: AtomicU64::new(0), live_bytes: AtomicU64::new(0), peak_bytes: AtomicU64::new(0) }
    }

    /// The counters; under load each is right, but they are not of one instant.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            allocations: self.allocations.load(Relaxed),
            live_bytes: self.live_bytes.load(Relaxed),
            peak_bytes: self.peak_bytes.load(Relaxed),
        }
    }

    /// Starts to look for the peak anew, from what is live now.
    pub fn reset_peak(&self) {
        self.peak_bytes.store(self.live_bytes.load(Relaxed), Relaxed);
    }

    fn grew(&self, bytes: u64) {
        self.allocations.fetch_add(1, Relaxed);
        let live = self.live_bytes.fetch_add(bytes, Relaxed) + bytes;
        if live > self.peak_bytes.load(Relaxed) {
            self.peak_bytes.fetch_max(live, Relaxed);
        }
    }

    fn shrank(&self, bytes: u64) {
        self.live_bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every call goes to `System` unchanged, which upholds the contract; counting allocates nothing.
#[allow(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc`.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            self.grew(layout.size() as u64);
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            self.grew(layout.size() as u64);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`; the block came from `System`.
        unsafe { System.dealloc(pointer, layout) };
        self.shrank(layout.size() as u64);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `realloc`; the block came from `System`.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        if !moved.is_null() {
            self.grew(size as u64);
            self.shrank(layout.size() as u64);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_live_and_its_peak() {
        let heap = Counting::new();
        heap.grew(100);
        heap.grew(50);
        heap.shrank(100);
        assert_eq!(heap.counts(), Counts { allocations: 2, live_bytes: 50, peak_bytes: 150 });
        heap.reset_peak();
        assert_eq!(heap.counts().peak_bytes, 50);
    }
}
