//! [`Slots`]: the groups of a window that are not settled yet.

use crate::ledger::OutcomeCounts;
use crate::outcome::{Nack, Outcome};
use crate::sync::Arc;
use crate::time::Time;
use crate::units::{Bytes, Records};

use super::state::Opening;
use super::verdict::keep_nack;
use super::watch::{GroupOutcome, WatchCell};

/// The live groups, in slots that are used again.
pub(super) struct Slots<Pos> {
    list: Vec<Group<Pos>>,
    free: Vec<u32>,
}

/// A group of records that a source opened together. One with nothing left is a free slot.
pub(super) struct Group<Pos> {
    pub(super) sequence: u64,
    pub(super) bytes: Bytes,
    pub(super) opened: Time,
    pub(super) records: u32,
    /// Not settled yet.
    pub(super) left: u32,
    pub(super) lane: u8,
    pub(super) position: Option<Pos>,
    pub(super) watch: Option<Arc<WatchCell>>,
    /// How those ended that are settled.
    pub(super) ended: GroupOutcome,
}

impl<Pos> Slots<Pos> {
    pub(super) const fn new() -> Self {
        Self { list: Vec::new(), free: Vec::new() }
    }

    /// How many groups are live.
    pub(super) fn live(&self) -> usize {
        self.list.len() - self.free.len()
    }

    /// The live groups, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Group<Pos>> {
        self.list.iter().filter(|group| group.left > 0)
    }

    /// Takes in a group and returns its slot.
    #[inline]
    pub(super) fn insert(&mut self, sequence: u64, opening: Opening<Pos>) -> u32 {
        let Opening { lane, records, bytes, position, opened, watch } = opening;
        if let Some(slot) = self.free.pop() {
            // Field by field: a group is large.
            let group = &mut self.list[slot as usize];
            (group.sequence, group.bytes, group.opened, group.lane) = (sequence, bytes, opened, lane);
            (group.records, group.left) = (records, records);
            (group.position, group.watch) = (position, watch);
            (group.ended.counts, group.ended.nack) = (OutcomeCounts::default(), None);
            return slot;
        }
        let ended = GroupOutcome::default();
        self.list.push(Group { sequence, bytes, opened, records, left: records, lane, position, watch, ended });
        // The window has at most 4 lanes of at most 2^20 slots.
        u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
    }

    /// Rows of a group ended. Returns the group when these were its last; its slot is then free.
    ///
    /// # Panics
    /// Where more rows settle than the group has left, or its outcomes do not add up to its records.
    #[inline]
    pub(super) fn settle(
        &mut self,
        slot: u32,
        outcome: Outcome,
        count: u32,
        nack: Option<&Nack>,
    ) -> Option<&mut Group<Pos>> {
        let group = &mut self.list[slot as usize];
        assert!(
            count <= group.left,
            "{count} records settled where a group of {} had {} left",
            group.records,
            group.left
        );
        group.left -= count;
        group.ended.counts.add(outcome, Records::new(u64::from(count)));
        keep_nack(&mut group.ended.nack, nack);
        if group.left > 0 {
            return None;
        }
        if count < group.records {
            let total = group.ended.counts.total();
            assert_eq!(total, Records::new(u64::from(group.records)), "outcomes of a group against its records");
        }
        self.free.push(slot);
        Some(group)
    }
}

impl<Pos> Group<Pos> {
    /// A refusal always has a cause, also where whoever refused gave none.
    pub(super) fn name_a_cause(&mut self) {
        if self.ended.nack.is_none() && !self.ended.counts.refused().is_zero() {
            self.ended.nack = Some(Nack::transient(if self.ended.counts.get(Outcome::Abandoned).is_zero() {
                "returned without a cause"
            } else {
                "dropped before it was settled"
            }));
        }
    }
}
