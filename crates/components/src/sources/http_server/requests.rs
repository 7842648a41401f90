//! What the server and the source share: requests that wait to be read, and how each hears what became of its records.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tidegate_flow::{Account, GroupOutcome, GroupWatch, Lease, NackKind, Outcome, OutcomeCounts, Slab, SlabPool};
use tidegate_record::{Form, IdList, Origin, RecordId};
use tidegate_runtime::Clock;

/// The records of a request, until they are read.
pub(super) struct Parcel {
    pub(super) body: Slab,
    pub(super) form: Form,
    pub(super) records: VecDeque<Range<usize>>,
    /// Of those that are left.
    pub(super) ids: Ids,
    /// Pays for the list of them.
    #[allow(dead_code, reason = "held until the parcel was read")]
    pub(super) lease: Lease,
    pub(super) origin: Arc<Origin>,
    pub(super) reply: Reply,
}

/// By what the records of a request are known.
pub(super) enum Ids {
    /// The sender says nothing: they are counted here.
    Own,
    /// From this one on.
    Of(RecordId),
    /// As the sender lists them, and what pays for the list.
    Listed(Box<IdList>, #[allow(dead_code, reason = "held as long as the list")] Lease),
}

impl Ids {
    /// The ids of the next records, at most `most`, and how many; `None` where they are counted here.
    pub(super) fn take(&mut self, most: u32) -> Option<(Option<RecordId>, u32)> {
        match self {
            Self::Own => None,
            Self::Of(first) => {
                let taken = *first;
                first.number += u64::from(most);
                Some((Some(taken), most))
            }
            // As many as there are records; it was counted.
            Self::Listed(list, _) => Some(list.take(most).map_or((None, most), |run| (run.first, run.count))),
        }
    }
}

/// What the pipeline gave the source.
#[derive(Clone)]
pub(super) struct Given {
    /// Where bodies are read into.
    pub(super) pool: SlabPool,
    /// Pays for the lists of records.
    pub(super) holding: Account,
    pub(super) clock: Clock,
}

/// The place where they meet. Clones are the same. At most one parcel a connection waits here.
#[derive(Clone, Default)]
pub(super) struct Meeting(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Parcel>,
    reader: Option<Waker>,
    is_over: bool,
}

impl Meeting {
    /// Puts a parcel in line; `false` where nothing is read any more.
    pub(super) fn hand_over(&self, parcel: Parcel) -> bool {
        let mut state = self.lock();
        if state.is_over {
            return false;
        }
        state.waiting.push_back(parcel);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Completes when a parcel is in line.
    pub(super) fn poll_waiting(&self, task: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.waiting.is_empty() {
            return Poll::Ready(());
        }
        let before = state.reader.replace(task.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// The first in line.
    pub(super) fn take(&self) -> Option<Parcel> {
        self.lock().waiting.pop_front()
    }

    /// Puts back what was not read in full.
    pub(super) fn put_back(&self, parcel: Parcel) {
        self.lock().waiting.push_front(parcel);
    }

    /// Nothing is read any more: who waits is told.
    pub(super) fn end(&self) {
        let waiting = {
            let mut state = self.lock();
            state.is_over = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(|parcel| parcel.reply.give_up());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of the records of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every record is safe, or was given up by a policy.
    Safe(OutcomeCounts),
    /// Some were refused for now, or never read: send it again.
    Again,
    /// Some were refused for good.
    Refused,
}

/// Where a request hears what became of its records. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Reply(Arc<Mutex<Awaited>>);

#[derive(Default)]
struct Awaited {
    /// The reads that its records were in, as far as they have not settled.
    watches: Vec<GroupWatch>,
    /// Reads that were made and have no watch yet.
    unwatched: u32,
    settled: GroupOutcome,
    /// Whether all of it was read.
    is_read: bool,
    is_given_up: bool,
    waker: Option<Waker>,
}

impl Reply {
    /// A part of it was read; a watch will come.
    pub(super) fn was_read(&self, is_last: bool) {
        let mut awaited = self.lock();
        awaited.unwatched += 1;
        awaited.is_read |= is_last;
    }

    pub(super) fn watch(&self, watch: GroupWatch) {
        self.change(|awaited| {
            awaited.unwatched = awaited.unwatched.saturating_sub(1);
            awaited.watches.push(watch);
        });
    }

    /// It will not be read.
    pub(super) fn give_up(&self) {
        self.change(|awaited| awaited.is_given_up = true);
    }

    /// Completes when every record has settled.
    pub(super) fn poll_verdict(&self, task: &mut Context<'_>) -> Poll<Verdict> {
        let mut awaited = self.lock();
        let Awaited { watches, settled, .. } = &mut *awaited;
        watches.retain_mut(|watch| match watch.poll_outcome(task) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                settled.counts.add_all(&outcome.counts);
                if settled.nack.is_none() || outcome.nack.as_ref().is_some_and(|nack| nack.kind == NackKind::Transient)
                {
                    settled.nack = outcome.nack.or(settled.nack.take());
                }
                false
            }
        });
        if awaited.is_given_up {
            return Poll::Ready(Verdict::Again);
        }
        if !awaited.is_read || awaited.unwatched > 0 || !awaited.watches.is_empty() {
            let before = awaited.waker.replace(task.waker().clone());
            drop(awaited);
            drop(before);
            return Poll::Pending;
        }
        let GroupOutcome { counts, nack } = &awaited.settled;
        Poll::Ready(match nack {
            None => Verdict::Safe(*counts),
            Some(nack) if nack.kind == NackKind::Permanent && counts.get(Outcome::Abandoned).is_zero() => {
                Verdict::Refused
            }
            Some(_) => Verdict::Again,
        })
    }

    fn change(&self, change: impl FnOnce(&mut Awaited)) {
        let mut awaited = self.lock();
        change(&mut awaited);
        let waker = awaited.waker.take();
        drop(awaited);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
