//! [`GroupWatch`]: hears when one group has settled, for sources that answer a request afterwards.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::ledger::OutcomeCounts;
use crate::outcome::Nack;
use crate::sync::{Arc, Mutex, lock};

/// How all records of one group ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOutcome {
    /// How many records ended how.
    pub counts: OutcomeCounts,
    /// Why records were refused: the first nack for now where there is one, else the first for good, so that no record is
    /// taken for refused for good that was not. `Some` exactly where `counts.refused()` is not zero.
    pub nack: Option<Nack>,
}

/// Waits for one group to settle. It is a future that ends with the group's outcome.
///
/// Dropping it settles nothing and loses nothing but the news. One task may wait at a time; the last one that polled
/// is woken.
#[must_use = "a watch does nothing unless it is polled"]
pub struct GroupWatch(Arc<WatchCell>);

/// Where a window leaves the news.
pub(super) struct WatchCell(Mutex<News>);

enum News {
    Awaited(Option<Waker>),
    Here(GroupOutcome),
}

impl GroupWatch {
    /// A watch, and the end of it that the window keeps.
    pub(super) fn new() -> (Self, Arc<WatchCell>) {
        let cell = Arc::new(WatchCell(Mutex::new(News::Awaited(None))));
        (Self(Arc::clone(&cell)), cell)
    }

    /// Ready as soon as every record of the group is settled, and again at every later poll. Cancel-safe.
    pub fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<GroupOutcome> {
        let mut news = lock(&self.0.0);
        let stale = match &mut *news {
            News::Here(outcome) => return Poll::Ready(outcome.clone()),
            News::Awaited(parked) => parked.replace(cx.waker().clone()),
        };
        drop(news);
        // Dropping a waker may run any code: never under the lock.
        drop(stale);
        Poll::Pending
    }
}

impl Future for GroupWatch {
    type Output = GroupOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<GroupOutcome> {
        self.poll_outcome(cx)
    }
}

impl WatchCell {
    /// The group has settled: leaves the news and wakes whoever waits. Called once, without any lock held.
    pub(super) fn tell(&self, outcome: GroupOutcome) {
        let before = std::mem::replace(&mut *lock(&self.0), News::Here(outcome));
        if let News::Awaited(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl fmt::Debug for GroupWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupWatch")
    }
}
