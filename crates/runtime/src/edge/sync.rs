//! The lock of an edge, so that a model checker can replace it.
//!
//! With `--cfg tidegate_loom` it comes from `loom`, otherwise from the standard library. A poisoned lock is taken over:
//! the state behind it is valid between any two statements that can panic.

#[cfg(not(tidegate_loom))]
pub(super) use std::sync::{Arc, Mutex, MutexGuard};

#[cfg(tidegate_loom)]
pub(super) use loom::sync::{Arc, Mutex, MutexGuard};

/// Locks `mutex`, taking over a poisoned lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
