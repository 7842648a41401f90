//! [`Silent`]: connections on which nothing is said, and who is given up of them when others want to come in.
//!
//! Connections cost memory, and there are at most so many. When a new one finds no place, the one on which nothing was said
//! for the longest time (no head of a request, nothing of a body) is closed, if that is [`GRACE`] at least. So whoever opens
//! connections and says nothing keeps nobody out, and one that is kept open between requests costs its client no more than
//! to open it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_flow::Time;
use tokio::sync::Notify;

/// Nobody is given up before.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The connections on which nothing is said, by since when. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Silent(Arc<Mutex<State>>);

type Key = (Time, u64);

#[derive(Default)]
struct State {
    waiting: BTreeMap<Key, Arc<Notify>>,
    next: u64,
}

/// One connection. It is not among the silent ones any more when this is dropped.
pub(super) struct Line {
    silent: Silent,
    number: u64,
    since: Mutex<Option<Key>>,
    given_up: Arc<Notify>,
}

impl Silent {
    /// A connection that has said nothing yet.
    pub(super) fn enter(&self, now: Time) -> Line {
        let number = {
            let mut state = self.lock();
            state.next += 1;
            state.next
        };
        let line = Line { silent: self.clone(), number, since: Mutex::default(), given_up: Arc::default() };
        line.is_listened_to(now);
        line
    }

    /// Gives up the one that was silent for the longest time, where that is long enough.
    pub(super) fn give_up_oldest(&self, now: Time) -> bool {
        let mut state = self.lock();
        let Some(oldest) = state.waiting.first_entry().filter(|oldest| now.since(oldest.key().0) >= GRACE) else {
            return false;
        };
        oldest.remove().notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// The next word is awaited from here on.
    pub(super) fn is_listened_to(&self, now: Time) {
        self.stand_at(Some((now, self.number)));
    }

    /// All was said; it is for us to answer.
    pub(super) fn is_answered(&self) {
        self.stand_at(None);
    }

    /// Completes when it is given up.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    fn stand_at(&self, key: Option<Key>) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.silent.lock();
        if let Some(before) = since.take() {
            // One that was given up does not come back.
            if state.waiting.remove(&before).is_none() {
                return;
            }
        }
        if let Some(key) = key {
            state.waiting.insert(key, Arc::clone(&self.given_up));
        }
        *since = key;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stand_at(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[tokio::test]
    async fn who_was_silent_for_the_longest_time_is_given_up_and_nobody_who_is_answered() {
        let silent = Silent::default();
        let (first, second, third) = (silent.enter(at(0)), silent.enter(at(100)), silent.enter(at(200)));
        assert!(!silent.give_up_oldest(at(999)), "nobody is that old");
        first.is_answered();
        second.is_listened_to(at(300));
        assert!(!silent.give_up_oldest(at(1_199)));
        assert!(silent.give_up_oldest(at(1_200)));
        third.given_up().await;
        assert!(silent.give_up_oldest(at(1_300)) && !silent.give_up_oldest(at(9_000)));
        second.given_up().await;
        second.is_listened_to(at(9_000));
        first.is_listened_to(at(9_000));
        drop(first);
        assert!(!silent.give_up_oldest(at(99_000)), "who is given up or gone stays so");
    }
}
