//! [`Window`]: what a source has opened and not yet settled, and how far it may commit.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::ledger::SourceLedger;
use crate::outcome::{Nack, Outcome};
use crate::sync::{self, Mutex, MutexGuard, lock};
use crate::time::Time;
use crate::units::{Bytes, Weight};

use super::part::{Owner, rows_u32};
use super::progress::Settled;
use super::spec::{WindowError, WindowSpec};
use super::state::{Opening, State};
use super::ticket::Ticket;
use super::watch::{GroupWatch, WatchCell};

/// The settle window of one source. Clones share it.
///
/// The source opens a *group* per batch that it lets in ([`try_open`](Self::try_open)) and gets the [`Ticket`] that
/// travels with the batch. When the last record of a group is settled the group's slot and bytes are free again,
/// in whatever order groups settle; positions are reported in the order in which groups were opened
/// ([`take_settled`](Self::take_settled)).
///
/// The bound is the spec's: `slots` groups per lane and `bytes` over all lanes, where an empty window admits a group
/// of any weight. Beyond it the window says no and never queues. What settles ahead of an unsettled group costs at
/// most one interval per live group.
///
/// Each of the three `poll_` methods parks one task, the last one that called it; they may be three tasks or one.
/// None of them takes anything in the poll that returns `Pending`, so dropping the future around them loses nothing.
/// A position may be dropped under the window's lock: its `Drop` must not use the window.
pub struct Window<Pos> {
    shared: Arc<Shared<Pos>>,
    owner: Arc<dyn Owner>,
}

struct Shared<Pos> {
    spec: WindowSpec,
    state: Mutex<State<Pos>>,
}

/// The group that keeps a source from committing further.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// How many groups the source had opened before it.
    pub sequence: u64,
    /// The lane it was opened in.
    pub lane: u8,
    /// When it was opened.
    pub opened: Time,
    /// Records of it that are not settled.
    pub left: u32,
}

/// How full a window is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowFill {
    /// Unsettled groups, over all lanes.
    pub groups: u32,
    /// Bytes of unsettled groups. A group counts whole until its last record is settled.
    pub bytes: Bytes,
    /// Stretches that settled ahead of an unsettled group; never more than `groups`.
    pub intervals: u32,
}

impl<Pos: Send + 'static> Window<Pos> {
    /// An empty window.
    ///
    /// # Errors
    /// Where the spec could never let a record in, or is larger than a window can be.
    pub fn new(spec: WindowSpec) -> Result<Self, WindowError> {
        spec.check()?;
        let shared = Arc::new(Shared { spec, state: Mutex::new(State::new()) });
        Ok(Self { owner: Arc::clone(&shared) as Arc<dyn Owner>, shared })
    }

    /// What the window was made with.
    #[must_use]
    pub fn spec(&self) -> WindowSpec {
        self.shared.spec
    }

    /// Opens a group of `weight` in `lane` and returns its ticket, or `None` where the window is full (wait with
    /// [`poll_room`](Self::poll_room)).
    ///
    /// `position` is what the source may commit once this group and all before it are settled. `None` means that it
    /// has no position of its own: a source that splits what it read into several groups gives the position to the
    /// last of them, and hears of all of them together. A source without positions gives `Some(())`.
    ///
    /// A group without records is settled as it is opened; that moves the position past input that held nothing.
    /// `now` is kept for [`oldest_unsettled`](Self::oldest_unsettled).
    ///
    /// # Panics
    /// Where the window has no such lane, or the weight holds more than `u32::MAX` records.
    #[must_use = "dropping the ticket abandons the records"]
    #[inline]
    pub fn try_open(&self, lane: u8, weight: Weight, position: Option<Pos>, now: Time) -> Option<Ticket> {
        self.open(lane, weight, position, now, None)
    }

    /// Like [`try_open`](Self::try_open), for a source that answers when this one group has settled. Allocates the
    /// watch.
    ///
    /// # Panics
    /// As `try_open`.
    #[must_use = "dropping the ticket abandons the records"]
    pub fn try_open_watched(
        &self,
        lane: u8,
        weight: Weight,
        position: Option<Pos>,
        now: Time,
    ) -> Option<(Ticket, GroupWatch)> {
        let (watch, cell) = GroupWatch::new();
        let ticket = self.open(lane, weight, position, now, Some(cell))?;
        Some((ticket, watch))
    }

    /// Whether a group of `weight` would be admitted in `lane` now.
    ///
    /// # Panics
    /// Where the window has no such lane.
    #[must_use]
    #[inline]
    pub fn has_room(&self, lane: u8, weight: Weight) -> bool {
        self.locked(lane).has_room(&self.shared.spec, lane, weight.bytes)
    }

    /// Ready when a group of `weight` would be admitted in `lane`. A source that does not know yet what it will read
    /// asks for [`Weight::ZERO`]. Reserves nothing.
    ///
    /// One task may wait, for one weight in each lane; it is woken when any of these would be admitted.
    ///
    /// # Panics
    /// Where the window has no such lane.
    pub fn poll_room(&self, lane: u8, weight: Weight, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.locked(lane);
        if state.has_room(&self.shared.spec, lane, weight.bytes) {
            return Poll::Ready(());
        }
        let stale = state.park_for_room(lane, weight.bytes, cx.waker());
        drop(state);
        drop(stale);
        Poll::Pending
    }

    /// The next news, coalesced, or `None` where no further position can be committed. Call it until it is `None`:
    /// a stretch with refused records is reported apart from the one before it.
    #[must_use = "news is reported once"]
    pub fn take_settled(&self) -> Option<Settled<Pos>> {
        lock(&self.shared.state).take_settled()
    }

    /// Ready with the next news as in [`take_settled`](Self::take_settled).
    pub fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<Settled<Pos>> {
        let mut state = lock(&self.shared.state);
        if let Some(settled) = state.take_settled() {
            return Poll::Ready(settled);
        }
        let stale = state.park_for_news(cx.waker());
        drop(state);
        drop(stale);
        Poll::Pending
    }

    /// Ready when everything that was opened is settled.
    pub fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.shared.state);
        if state.is_idle() {
            return Poll::Ready(());
        }
        let stale = state.park_for_idle(cx.waker());
        drop(state);
        drop(stale);
        Poll::Pending
    }

    /// The source's side of the ledger, balanced at any instant: what was accepted, how each record ended, and what
    /// is in flight, counted from the live groups. Takes one step per live group.
    #[must_use]
    pub fn counts(&self) -> SourceLedger {
        lock(&self.shared.state).counts()
    }

    /// How full the window is.
    #[must_use]
    pub fn fill(&self) -> WindowFill {
        lock(&self.shared.state).fill()
    }

    /// The oldest group that is not settled; `None` where the window is idle. Takes one step per live group.
    #[must_use]
    pub fn oldest_unsettled(&self) -> Option<Oldest> {
        lock(&self.shared.state).oldest_unsettled()
    }

    #[inline]
    fn open(
        &self,
        lane: u8,
        weight: Weight,
        position: Option<Pos>,
        now: Time,
        watch: Option<sync::Arc<WatchCell>>,
    ) -> Option<Ticket> {
        let records = rows_u32(weight.records.get());
        let mut state = self.locked(lane);
        if !state.has_room(&self.shared.spec, lane, weight.bytes) {
            return None;
        }
        let group = Opening { lane, records, bytes: weight.bytes, position, opened: now, watch };
        let (slot, wakes) = state.open(group);
        drop(state);
        if let Some(wakes) = wakes {
            wakes.wake();
        }
        Some(match slot {
            Some(slot) => Ticket::of_group(Arc::clone(&self.owner), slot, records),
            None => Ticket::default(),
        })
    }

    #[inline]
    fn locked(&self, lane: u8) -> MutexGuard<'_, State<Pos>> {
        let lanes = self.shared.spec.lanes;
        assert!(lane < lanes, "lane {lane} of a settle window with {lanes} lanes (they count from 0)");
        lock(&self.shared.state)
    }
}

impl<Pos: Send + 'static> Owner for Shared<Pos> {
    fn settle(&self, slot: u32, outcome: Outcome, count: u32, nack: Option<&Nack>) {
        let wakes = lock(&self.state).settle(&self.spec, slot, outcome, count, nack);
        if let Some(wakes) = wakes {
            wakes.wake();
        }
    }
}

impl<Pos> Clone for Window<Pos> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), owner: Arc::clone(&self.owner) }
    }
}

impl<Pos> fmt::Debug for Window<Pos> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("spec", &self.shared.spec).finish_non_exhaustive()
    }
}
