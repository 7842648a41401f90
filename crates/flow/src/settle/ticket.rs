//! [`Ticket`]: what a batch carries so that each of its rows is settled exactly once.

use std::fmt;
use std::sync::Arc;

use crate::outcome::{Nack, Outcome};
use crate::sync;

use super::few::Few;
use super::node::{Node, Watched, Witness};
use super::part::{Owner, Part, Plain, rows_u32};
use super::runs::{Run, Runs};
use super::tally::Tally;
use super::verdict::Verdict;

/// The right and the duty to settle the rows of a batch.
///
/// A ticket belongs to the batch it travels with and has one row per record, in the same order. Whatever is done to
/// the batch is done to the ticket: [`split_off`](Self::split_off), [`append`](Self::append),
/// [`settle_rows`](Self::settle_rows) for rows that leave, [`expand`](Self::expand) for rows that become several,
/// [`fork`](Self::fork) for branches, [`join`](Self::join) for aggregates. It cannot be copied, and settling consumes
/// it, so a row settles exactly once by construction.
///
/// Dropping a ticket settles the rows left in it as [`Outcome::Abandoned`], which its source sees as a transient
/// nack: no cancelled task, panic or early return loses a record silently.
///
/// A ticket whose rows come from one batch of a source costs no allocation to open, move, split or settle. Rows are
/// counted in `u32`: no ticket holds more than `u32::MAX`.
#[must_use = "dropping a ticket abandons its records"]
#[derive(Default)]
pub struct Ticket {
    records: u32,
    parts: Few<Part>,
}

impl Ticket {
    /// A ticket for rows that nobody waits for: born records, best-effort branches, tests.
    pub fn detached(records: u32) -> Self {
        Self::from_part(Part::Plain(Plain::loose(records)))
    }

    /// A ticket for rows that belong to no source but are counted: the copies on a best-effort branch, for example.
    pub fn observed(records: u32, tally: &Tally) -> Self {
        let owner = tally.open(records);
        Self::from_part(Part::Plain(Plain { owner: Some(owner), slot: 0, count: records }))
    }

    /// A ticket for a group that was just opened.
    #[inline]
    pub(super) fn of_group(owner: Arc<dyn Owner>, slot: u32, records: u32) -> Self {
        Self::from_part(Part::Plain(Plain { owner: Some(owner), slot, count: records }))
    }

    #[inline]
    fn from_part(part: Part) -> Self {
        let records = part.count();
        let parts = if records == 0 { Few::new() } else { Few::one(part) };
        Self { records, parts }
    }

    /// How many rows are not settled yet.
    #[must_use]
    #[inline]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Whether no row is left to settle.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Every row ended with `outcome`.
    #[inline]
    pub fn settle(self, outcome: Outcome) {
        self.settle_as(outcome);
    }

    /// Every row was refused. They end as [`Outcome::Returned`] and the source hears of `nack`.
    pub fn nack(self, nack: Nack) {
        self.settle_as(nack);
    }

    /// Every row ended as `verdict` says: an [`Outcome`], a [`Nack`], or a [`Verdict`].
    #[inline]
    pub fn settle_as(mut self, verdict: impl Into<Verdict>) {
        self.finish(&verdict.into());
    }

    /// Keeps the first `at` rows and returns a ticket for the rest.
    ///
    /// # Panics
    /// Where `at` is more than [`records`](Self::records).
    pub fn split_off(&mut self, at: u32) -> Self {
        assert!(at <= self.records, "a ticket of {} rows cannot be split at row {at}", self.records);
        let (mut kept, mut rest) = (Self::default(), Self::default());
        for mut part in self.take_parts() {
            let cut = (at - kept.records).min(part.count());
            let tail = part.split_off(cut);
            kept.push(part);
            rest.push(tail);
        }
        *self = kept;
        rest
    }

    /// Adds the rows of `other` after these. Rows of several groups, and of several sources, may share a ticket.
    ///
    /// # Panics
    /// Where both together hold more than `u32::MAX` rows.
    pub fn append(&mut self, mut other: Self) {
        let _fits = rows_u32(u64::from(self.records) + u64::from(other.records));
        for part in other.take_parts() {
            self.push(part);
        }
    }

    /// The listed rows ended as `verdict` says and leave the ticket (filtered, expired, answered one by one by a
    /// sink); the others stay and are numbered anew from 0.
    ///
    /// # Panics
    /// Where `rows` is not ascending and distinct, or names a row that the ticket does not have.
    pub fn settle_rows(&mut self, rows: &[u32], verdict: impl Into<Verdict>) {
        let Some(last) = rows.last() else { return };
        assert!(rows.is_sorted_by(|a, b| a < b), "rows to settle must be ascending and distinct");
        assert!(*last < self.records, "row {last} to settle, but the ticket has {} rows", self.records);
        let verdict = verdict.into();
        if let Some(Part::Plain(part)) = self.parts.only_mut() {
            // By far the most frequent case: nothing has to be taken apart. Counted first, so that whatever panics
            // below, no row settles twice.
            let count = rows_u32(rows.len());
            (part.count, self.records) = (part.count - count, self.records - count);
            part.settle(count, &verdict);
            if self.records == 0 {
                self.parts = Few::new();
            }
            return;
        }
        let (mut left, mut base) = (rows, 0);
        for mut part in self.take_parts() {
            let end = base + part.count();
            let (here, after) = left.split_at(left.partition_point(|row| *row < end));
            if !here.is_empty() {
                part.settle_rows(here, base, &verdict);
            }
            self.push(part);
            (left, base) = (after, end);
        }
    }

    /// Row `i` becomes `counts[i]` rows (`flat_map`). A row that becomes none ends as [`Outcome::Filtered`]; any
    /// other ends when all its new rows have, with the worst of their outcomes. Free where every count is 1, and no
    /// dearer than [`settle_rows`](Self::settle_rows) where none is above.
    ///
    /// # Panics
    /// Where `counts` has not one entry per row, or the counts add up to more than `u32::MAX`.
    pub fn expand(&mut self, counts: &[u32]) {
        assert_eq!(counts.len(), self.records as usize, "expanding needs one count per row");
        if counts.iter().all(|count| *count == 1) {
            return;
        }
        let _fits = rows_u32(counts.iter().map(|count| u64::from(*count)).sum::<u64>());
        if counts.contains(&0) {
            let none: Vec<u32> = (0..self.records).filter(|row| counts[*row as usize] == 0).collect();
            self.settle_rows(&none, Outcome::Filtered);
            let counts: Vec<u32> = counts.iter().copied().filter(|count| *count > 0).collect();
            return self.expand(&counts);
        }
        let (mut left, mut plain) = (counts, Few::new());
        for part in self.take_parts() {
            match part {
                Part::Plain(part) => plain.push(part),
                Part::Node { node, mut runs } => {
                    left = self.push_expanded(std::mem::take(&mut plain), left);
                    let (here, after) = left.split_at(runs.rows() as usize);
                    node.await_more(&runs.widen(here));
                    self.push(Part::Node { node, runs });
                    left = after;
                }
            }
        }
        self.push_expanded(plain, left);
    }

    /// One ticket for each of `required` branches, each with all rows of this one. A row ends when it has ended on
    /// every branch, with the worst of the outcomes (the order of [`Outcome`]).
    ///
    /// Best-effort branches are not counted here: their copies carry [`observed`](Self::observed) tickets. With no
    /// required branch nobody is left to ask, and the rows end as [`Outcome::Filtered`], the least of all outcomes.
    #[must_use = "dropping the branches abandons their records"]
    pub fn fork(mut self, required: usize) -> Vec<Self> {
        if required == 0 {
            self.finish(&Outcome::Filtered.into());
            return Vec::new();
        }
        let mut branches = Vec::with_capacity(required);
        branches.resize_with(required, Self::default);
        let mut plain = Few::new();
        for part in self.take_parts() {
            match part {
                Part::Plain(part) => plain.push(part),
                Part::Node { node, runs } => {
                    push_forked(&mut branches, std::mem::take(&mut plain));
                    fork_node(&mut branches, &node, &runs);
                }
            }
        }
        push_forked(&mut branches, plain);
        branches
    }

    /// One ticket of `outputs` rows for everything in `inputs`: an aggregate. All input rows end when all outputs
    /// have, with the worst of their outcomes; with no outputs they end at once as [`Outcome::Filtered`].
    ///
    /// With no input rows the outputs belong to nobody, as in [`detached`](Self::detached).
    pub fn join(inputs: impl IntoIterator<Item = Self>, outputs: u32) -> Self {
        let mut origin = Few::new();
        for mut input in inputs {
            input.take_parts().into_iter().for_each(|part| origin.push(part));
        }
        if origin.is_empty() {
            return Self::detached(outputs);
        }
        if outputs == 0 {
            origin.iter().for_each(|part: &Part| part.settle(&Outcome::Filtered.into()));
            return Self::default();
        }
        let node = sync::Arc::new(Node::joint(origin, outputs));
        Self::from_part(Part::Node { node, runs: Box::new(Runs::one(Run { start: 0, len: 1, times: outputs })) })
    }

    /// The same rows, and `witness` hears how each of them ends. Costs an allocation.
    pub fn witnessed(mut self, witness: &Arc<dyn Witness>) -> Self {
        let mut ticket = Self::default();
        let mut plain = Few::new();
        let watched = |ticket: &Self| Watched { witness: Arc::clone(witness), base: ticket.records };
        for part in self.take_parts() {
            match part {
                Part::Plain(part) => plain.push(part),
                Part::Node { node, runs } => {
                    ticket.push_watched(std::mem::take(&mut plain), watched);
                    let all = Runs::one(Run { start: 0, len: runs.rows(), times: 1 });
                    let node = sync::Arc::new(Node::below(node, *runs, watched(&ticket)));
                    ticket.push(Part::Node { node, runs: Box::new(all) });
                }
            }
        }
        ticket.push_watched(plain, watched);
        ticket
    }

    /// Adds the rows of `plain`, of which somebody hears.
    fn push_watched(&mut self, plain: Few<Plain>, watched: impl Fn(&Self) -> Watched) {
        let count = rows_u32(plain.iter().map(|part| u64::from(part.count)).sum::<u64>());
        if count > 0 {
            let runs = Runs::one(Run { start: 0, len: count, times: 1 });
            let node = sync::Arc::new(Node::over_rows(plain, &runs).watched(watched(self)));
            self.push(Part::Node { node, runs: Box::new(runs) });
        }
    }

    /// Takes the listed rows out, in a ticket of their own; the others stay and are numbered anew from 0.
    ///
    /// # Panics
    /// Where `rows` is not ascending and distinct, or names a row that the ticket does not have.
    pub fn take_rows(&mut self, rows: &[u32]) -> Self {
        assert!(rows.is_sorted_by(|a, b| a < b), "rows to take must be ascending and distinct");
        assert!(rows.last().is_none_or(|last| *last < self.records), "a row to take that the ticket does not have");
        let (mut kept, mut taken) = (Self::default(), Self::default());
        let (mut rows, mut base) = (rows, 0);
        for mut part in self.take_parts() {
            let end = base + part.count();
            let (here, after) = rows.split_at(rows.partition_point(|row| *row < end));
            taken.push(part.take_rows(here, base));
            kept.push(part);
            (rows, base) = (after, end);
        }
        *self = kept;
        taken
    }

    /// Adds `part` at the end, joined with the last one where both have the same origin.
    #[inline]
    fn push(&mut self, part: Part) {
        if part.count() == 0 {
            return;
        }
        self.records += part.count();
        match self.parts.pop() {
            None => self.parts.push(part),
            Some(mut last) => {
                let apart = last.append(part);
                self.parts.push(last);
                if let Err(part) = apart {
                    self.parts.push(part);
                }
            }
        }
    }

    /// Adds the rows of `plain`, row `i` of them `counts[i]` times, and returns the counts that are left.
    fn push_expanded<'a>(&mut self, plain: Few<Plain>, counts: &'a [u32]) -> &'a [u32] {
        let rows: usize = plain.iter().map(|part| part.count as usize).sum();
        let (here, after) = counts.split_at(rows);
        let mut runs = Runs::new();
        for (start, times) in (0..).zip(here) {
            runs.push(Run { start, len: 1, times: *times });
        }
        if plain.iter().all(|part| part.owner.is_none()) {
            self.push(Part::Plain(Plain::loose(runs.rows())));
        } else if here.iter().all(|count| *count == 1) {
            plain.into_iter().for_each(|part| self.push(Part::Plain(part)));
        } else {
            let node = sync::Arc::new(Node::over_rows(plain, &runs));
            self.push(Part::Node { node, runs: Box::new(runs) });
        }
        after
    }

    /// Settles what is left.
    ///
    /// # Panics
    /// Where the parts do not add up to the rows that the ticket counts.
    #[inline]
    fn finish(&mut self, verdict: &Verdict) {
        // Zero first: whatever panics below, no row settles twice.
        let records = std::mem::take(&mut self.records);
        let mut settled = 0;
        for part in self.parts.iter() {
            settled += part.count();
            part.settle(verdict);
        }
        self.parts = Few::new();
        assert_eq!(settled, records, "a ticket must settle exactly the rows that it counts");
    }

    /// Empties the ticket into the caller's hands, who now owes each row.
    fn take_parts(&mut self) -> Few<Part> {
        self.records = 0;
        std::mem::take(&mut self.parts)
    }
}

/// Adds the rows of `plain` to every branch.
fn push_forked(branches: &mut [Ticket], plain: Few<Plain>) {
    let count = rows_u32(plain.iter().map(|part| u64::from(part.count)).sum::<u64>());
    if plain.iter().all(|part| part.owner.is_none()) {
        branches.iter_mut().for_each(|branch| branch.push(Part::Plain(Plain::loose(count))));
    } else if let [only] = branches {
        plain.into_iter().for_each(|part| only.push(Part::Plain(part)));
    } else {
        let runs = Runs::one(Run { start: 0, len: count, times: 1 });
        let node = sync::Arc::new(Node::over_rows(plain, &runs));
        fork_node(branches, &node, &runs);
    }
}

/// Adds the rows `runs` of `node`, held once so far, to every branch.
fn fork_node(branches: &mut [Ticket], node: &sync::Arc<Node>, runs: &Runs) {
    for _ in 1..branches.len() {
        node.await_more(runs);
    }
    for branch in branches {
        branch.push(Part::Node { node: sync::Arc::clone(node), runs: Box::new(runs.clone()) });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.records > 0 {
            self.finish(&Outcome::Abandoned.into());
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("records", &self.records).finish_non_exhaustive()
    }
}
