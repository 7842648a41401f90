//! [`Progress`]: how far a source may commit, when groups settle in any order.
//!
//! Groups are numbered in the order they were opened. What is settled without a gap from the start is *ready*;
//! settled stretches beyond the first unsettled group are kept as a sorted list of intervals, each with the last
//! positions in it. Before each interval stands a group that is not settled, so there are never more intervals than
//! live groups, however many groups settle ahead.

use std::collections::VecDeque;

use crate::ledger::OutcomeCounts;
use crate::outcome::Nack;

use super::verdict::keep_nack;
use super::watch::GroupOutcome;

/// News for a source: all records up to a position are settled.
///
/// A *pull* is what the source read in one go: the groups up to and including one that has a position. Pulls are
/// reported in the order they were opened and never past an unsettled record. Where `nack` is `None`, every record
/// since the last report ended as an ack and the position may be committed. Where it is `Some`, the report begins
/// with a pull that holds refused records: the source rewinds to the position before, or gives those records up
/// (they are counted) and commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<Pos> {
    /// Everything up to here is settled.
    pub position: Pos,
    /// How the records since the last report ended.
    pub counts: OutcomeCounts,
    /// Why records were refused: the first nack for now where there is one, else the first for good, so that no record is
    /// taken for refused for good that was not. `Some` exactly where `counts.refused()` is not zero.
    pub nack: Option<Nack>,
}

/// What is settled, and what of it was not reported yet.
pub(super) struct Progress<Pos> {
    /// The first group that is not settled.
    next: u64,
    /// Settled without a gap, not yet reported.
    ready: Span<Pos>,
    /// Settled beyond a gap: sorted, with at least one unsettled group before each.
    ahead: VecDeque<Interval<Pos>>,
    /// Spans to use again, so that settling out of order need not allocate either.
    spare: Vec<Box<Span<Pos>>>,
}

/// Groups `from .. to`, all settled.
struct Interval<Pos> {
    from: u64,
    to: u64,
    span: Box<Span<Pos>>,
}

/// A stretch of settled groups, in as much detail as its report will need.
struct Span<Pos> {
    /// Whole pulls without a refused record.
    acked: Stretch<Pos>,
    /// From the first pull with a refused record to the last whole pull.
    refused: Stretch<Pos>,
    /// Groups of a pull whose position is still to come; `None` where a pull begins.
    open: Option<GroupOutcome>,
}

struct Stretch<Pos> {
    ended: GroupOutcome,
    position: Option<Pos>,
}

impl<Pos> Progress<Pos> {
    pub(super) fn new() -> Self {
        Self { next: 0, ready: Span::new(), ahead: VecDeque::new(), spare: Vec::new() }
    }

    /// The first group that is not settled.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// How many intervals are settled beyond a gap.
    pub(super) fn intervals(&self) -> usize {
        self.ahead.len()
    }

    /// Whether [`take`](Self::take) has something to report.
    pub(super) const fn has_report(&self) -> bool {
        self.ready.acked.position.is_some() || self.ready.refused.position.is_some()
    }

    /// The oldest news, coalesced.
    pub(super) fn take(&mut self) -> Option<Settled<Pos>> {
        self.ready.acked.take().or_else(|| self.ready.refused.take())
    }

    /// Group `sequence` is settled; each group is told once.
    #[inline]
    pub(super) fn settle(&mut self, sequence: u64, ended: &GroupOutcome, position: Option<Pos>) {
        if sequence == self.next {
            self.ready.push(ended, position);
            self.next += 1;
            self.close_gap();
        } else {
            self.settle_ahead(sequence, ended, position);
        }
    }

    /// The first interval is reached: it becomes ready.
    fn close_gap(&mut self) {
        if let Some(mut first) = self.ahead.pop_front_if(|first| first.from == self.next) {
            self.next = first.to;
            self.ready.append(&mut first.span);
            self.spare.push(first.span);
        }
    }

    /// A group beyond the gap: joins the interval before or after it, or becomes one.
    fn settle_ahead(&mut self, sequence: u64, ended: &GroupOutcome, position: Option<Pos>) {
        assert!(sequence > self.next, "group {sequence} settled twice");
        let at = self.ahead.partition_point(|interval| interval.to < sequence);
        if let Some(before) = self.ahead.get_mut(at).filter(|interval| interval.to == sequence) {
            before.span.push(ended, position);
            before.to += 1;
            self.join(at);
            return;
        }
        let mut span = self.spare.pop().unwrap_or_else(|| Box::new(Span::new()));
        span.push(ended, position);
        self.ahead.insert(at, Interval { from: sequence, to: sequence + 1, span });
        self.join(at);
    }

    /// Joins interval `at` with the next one where they touch.
    fn join(&mut self, at: usize) {
        let end = self.ahead[at].to;
        let Some(next) = self.ahead.get(at + 1) else { return };
        assert!(next.from >= end, "group {} settled twice", next.from);
        if next.from == end
            && let Some(mut next) = self.ahead.remove(at + 1)
        {
            self.ahead[at].to = next.to;
            self.ahead[at].span.append(&mut next.span);
            self.spare.push(next.span);
        }
    }
}

impl<Pos> Span<Pos> {
    fn new() -> Self {
        Self { acked: Stretch::new(), refused: Stretch::new(), open: None }
    }

    /// The next settled groups, the last of which has this position if any.
    #[inline]
    fn push(&mut self, ended: &GroupOutcome, position: Option<Pos>) {
        if position.is_none() {
            self.open.get_or_insert_default().add(ended);
            return;
        }
        let before = self.open.take();
        let nacks = ended.nack.is_some() || before.as_ref().is_some_and(|before| before.nack.is_some());
        let refused = nacks || self.refused.position.is_some();
        let stretch = if refused { &mut self.refused } else { &mut self.acked };
        if let Some(before) = before {
            stretch.ended.add(&before);
        }
        stretch.ended.add(ended);
        stretch.position = position;
    }

    /// Moves everything from `later`, whose groups follow directly.
    fn append(&mut self, later: &mut Self) {
        self.push_stretch(&mut later.acked);
        self.push_stretch(&mut later.refused);
        if let Some(open) = later.open.take() {
            self.push(&open, None);
        }
    }

    fn push_stretch(&mut self, stretch: &mut Stretch<Pos>) {
        if stretch.position.is_some() {
            self.push(&std::mem::take(&mut stretch.ended), stretch.position.take());
        }
    }
}

impl<Pos> Stretch<Pos> {
    fn new() -> Self {
        Self { ended: GroupOutcome::default(), position: None }
    }

    fn take(&mut self) -> Option<Settled<Pos>> {
        let position = self.position.take()?;
        let GroupOutcome { counts, nack } = std::mem::take(&mut self.ended);
        Some(Settled { position, counts, nack })
    }
}

impl GroupOutcome {
    #[inline]
    fn add(&mut self, later: &Self) {
        self.counts.add_all(&later.counts);
        keep_nack(&mut self.nack, later.nack.as_ref());
    }
}
