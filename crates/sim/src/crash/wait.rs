//! Real time: processes are watched that wake nobody here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(2);

pub(super) fn now() -> Instant {
    // tidy: allow(banned-calls): processes are played with, in their own time
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "other processes are waited for, which wake nobody here")]
pub(super) fn pause(time: Duration) {
    // tidy: allow(banned-calls): processes are played with, in their own time
    std::thread::sleep(time);
}

/// Waits until it `is`, for at most so long; whether it was.
pub(super) fn until(most: Duration, mut is: impl FnMut() -> bool) -> bool {
    let begun = now();
    loop {
        if is() {
            return true;
        }
        if begun.elapsed() >= most {
            return false;
        }
        pause(LOOK);
    }
}

pub(super) fn lock<T>(cell: &Mutex<T>) -> MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}
