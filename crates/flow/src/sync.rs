//! The locks and atomics that this crate uses, so that a model checker can replace them.
//!
//! With `--cfg tidegate_loom` every type comes from `loom`; otherwise from the standard library. A poisoned lock is
//! taken over: the state behind each lock is valid between any two statements that can panic.

#[cfg(not(tidegate_loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

#[cfg(tidegate_loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Locks `mutex`, taking over a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Lets the writer behind a sequence number finish its change, which takes a few stores.
pub(crate) fn pause() {
    #[cfg(tidegate_loom)]
    loom::thread::yield_now();
    #[cfg(not(tidegate_loom))]
    std::hint::spin_loop();
}
