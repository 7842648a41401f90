//! The state of a window, under its lock: live groups, what they occupy, what they add up to, and who waits.
//!
//! Nothing here wakes or drops a waker: both may run any code, so the caller does it after the lock is released.

use std::task::Waker;

use crate::ledger::{OutcomeCounts, SourceLedger};
use crate::outcome::{Nack, Outcome};
use crate::sync::Arc;
use crate::time::Time;
use crate::units::{Bytes, Records};

use super::progress::{Progress, Settled};
use super::slots::Slots;
use super::spec::{MAX_LANES, WindowSpec};
use super::watch::{GroupOutcome, WatchCell};
use super::window::{Oldest, WindowFill};

pub(super) struct State<Pos> {
    slots: Slots<Pos>,
    progress: Progress<Pos>,
    opened: u64,
    groups: [u32; MAX_LANES as usize],
    bytes: Bytes,
    accepted: Records,
    ended: OutcomeCounts,
    parked: Parked,
}

/// A group that is about to be opened.
pub(super) struct Opening<Pos> {
    pub(super) lane: u8,
    pub(super) records: u32,
    pub(super) bytes: Bytes,
    pub(super) position: Option<Pos>,
    pub(super) opened: Time,
    pub(super) watch: Option<Arc<WatchCell>>,
}

/// Who waits: at most one task for each kind of event.
#[derive(Default)]
struct Parked {
    room: Option<Waker>,
    /// The bytes that the task waiting for room wants to open, for each lane that it waits for.
    wished: [Option<Bytes>; MAX_LANES as usize],
    news: Option<Waker>,
    idle: Option<Waker>,
}

/// Whom to wake once the lock is released.
#[must_use]
#[derive(Default)]
pub(super) struct Wakes {
    room: Option<Waker>,
    news: Option<Waker>,
    idle: Option<Waker>,
    watch: Option<(Arc<WatchCell>, GroupOutcome)>,
}

impl Parked {
    fn any(&self) -> bool {
        self.room.is_some() || self.news.is_some() || self.idle.is_some()
    }
}

impl Wakes {
    /// Wakes them all. The window's lock must be free.
    pub(super) fn wake(self) {
        if let Some((watch, outcome)) = self.watch {
            watch.tell(outcome);
        }
        for waker in [self.room, self.news, self.idle].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl<Pos> State<Pos> {
    pub(super) fn new() -> Self {
        Self {
            slots: Slots::new(),
            progress: Progress::new(),
            opened: 0,
            groups: [0; MAX_LANES as usize],
            bytes: Bytes::ZERO,
            accepted: Records::ZERO,
            ended: OutcomeCounts::default(),
            parked: Parked::default(),
        }
    }

    /// Whether a group of so many bytes may be opened: a slot in its lane, and room in bytes or an empty window.
    #[inline]
    pub(super) fn has_room(&self, spec: &WindowSpec, lane: u8, bytes: Bytes) -> bool {
        self.groups[usize::from(lane)] < spec.slots && (self.is_idle() || self.bytes + bytes <= spec.bytes)
    }

    /// Opens a group, for which there is room. Returns its slot, unless it holds no records and is settled already.
    #[inline]
    pub(super) fn open(&mut self, group: Opening<Pos>) -> (Option<u32>, Option<Wakes>) {
        let sequence = self.opened;
        self.opened += 1;
        self.accepted += Records::new(u64::from(group.records));
        if group.records == 0 {
            let outcome = GroupOutcome::default();
            self.progress.settle(sequence, &outcome, group.position);
            let watch = group.watch.map(|watch| (watch, outcome));
            return (None, Some(Wakes { watch, news: self.wake_for_news(), ..Wakes::default() }));
        }
        self.groups[usize::from(group.lane)] += 1;
        self.bytes += group.bytes;
        (Some(self.slots.insert(sequence, group)), None)
    }

    /// Records of the group in `slot` ended.
    pub(super) fn settle(
        &mut self,
        spec: &WindowSpec,
        slot: u32,
        outcome: Outcome,
        count: u32,
        nack: Option<&Nack>,
    ) -> Option<Wakes> {
        self.ended.add(outcome, Records::new(u64::from(count)));
        let group = self.slots.settle(slot, outcome, count, nack)?;
        self.groups[usize::from(group.lane)] -= 1;
        self.bytes -= group.bytes;
        group.name_a_cause();
        self.progress.settle(group.sequence, &group.ended, group.position.take());
        let watch = group.watch.take().map(|watch| (watch, group.ended.clone()));
        self.check_bounds();
        if watch.is_none() && !self.parked.any() {
            return None;
        }
        Some(Wakes { watch, room: self.wake_for_room(spec), news: self.wake_for_news(), idle: self.wake_for_idle() })
    }

    /// Invariants that hold after every group.
    #[inline]
    fn check_bounds(&self) {
        let (intervals, live) = (self.progress.intervals(), self.slots.live());
        assert!(intervals <= live, "{intervals} intervals settled ahead of {live} live groups");
        let accounted = self.groups.iter().map(|groups| *groups as usize).sum::<usize>();
        assert!(accounted == live, "{accounted} slots taken by {live} live groups");
        assert!(live > 0 || self.bytes.is_zero(), "an idle window still counts {}", self.bytes);
    }

    pub(super) fn take_settled(&mut self) -> Option<Settled<Pos>> {
        self.progress.take()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.slots.live() == 0
    }

    pub(super) fn counts(&self) -> SourceLedger {
        let in_flight = self.slots.iter().map(|group| Records::new(u64::from(group.left))).sum();
        SourceLedger { accepted: self.accepted, ended: self.ended, in_flight }
    }

    pub(super) fn fill(&self) -> WindowFill {
        #[allow(clippy::cast_possible_truncation, reason = "at most 4 lanes of 2^20 slots")]
        let [groups, intervals] = [self.slots.live() as u32, self.progress.intervals() as u32];
        WindowFill { groups, bytes: self.bytes, intervals }
    }

    pub(super) fn oldest_unsettled(&self) -> Option<Oldest> {
        let oldest = self.slots.iter().min_by_key(|group| group.sequence)?;
        assert_eq!(oldest.sequence, self.progress.next(), "the first unsettled group is the oldest live one");
        Some(Oldest { sequence: oldest.sequence, lane: oldest.lane, opened: oldest.opened, left: oldest.left })
    }

    /// Parks the task that waits for room; the one it replaces is returned, to be dropped without the lock.
    pub(super) fn park_for_room(&mut self, lane: u8, bytes: Bytes, waker: &Waker) -> Option<Waker> {
        self.parked.wished[usize::from(lane)] = Some(bytes);
        park(&mut self.parked.room, waker)
    }

    /// As [`park_for_room`](Self::park_for_room), for news.
    pub(super) fn park_for_news(&mut self, waker: &Waker) -> Option<Waker> {
        park(&mut self.parked.news, waker)
    }

    /// As [`park_for_room`](Self::park_for_room), for an idle window.
    pub(super) fn park_for_idle(&mut self, waker: &Waker) -> Option<Waker> {
        park(&mut self.parked.idle, waker)
    }

    fn wake_for_room(&mut self, spec: &WindowSpec) -> Option<Waker> {
        self.parked.room.as_ref()?;
        let granted = (0..spec.lanes)
            .any(|lane| self.parked.wished[usize::from(lane)].is_some_and(|bytes| self.has_room(spec, lane, bytes)));
        if !granted {
            return None;
        }
        self.parked.wished = Default::default();
        self.parked.room.take()
    }

    fn wake_for_news(&mut self) -> Option<Waker> {
        if self.progress.has_report() { self.parked.news.take() } else { None }
    }

    fn wake_for_idle(&mut self) -> Option<Waker> {
        if self.is_idle() { self.parked.idle.take() } else { None }
    }
}

fn park(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if place.as_ref().is_some_and(|parked| parked.will_wake(waker)) {
        return None;
    }
    place.replace(waker.clone())
}
