//! [`Part`]: the rows of a ticket that have one and the same origin, and [`Owner`], who hears how they ended.
//!
//! Owners are held by the standard library's `Arc` even under the model checker, whose own cannot hold a `dyn` type
//! beside a typed handle. The state behind it is checked like all other state.

use std::sync::Arc;

use crate::outcome::{Nack, Outcome};
use crate::sync;

use super::node::Node;
use super::runs::Runs;
use super::verdict::Verdict;

/// Who opened rows and hears how each of them ended: a window (by slot) or a tally.
pub(super) trait Owner: Send + Sync {
    /// `count` more rows (not zero) of the group in `slot` ended with `outcome`. Called without any lock held.
    fn settle(&self, slot: u32, outcome: Outcome, count: u32, nack: Option<&Nack>);
}

/// Rows straight from a group, or rows that nobody waits for. They need no identity: any of them may settle first.
pub(super) struct Plain {
    /// `None` for rows that nobody waits for.
    pub(super) owner: Option<Arc<dyn Owner>>,
    pub(super) slot: u32,
    pub(super) count: u32,
}

impl Plain {
    /// Rows that nobody waits for.
    pub(super) const fn loose(count: u32) -> Self {
        Self { owner: None, slot: 0, count }
    }

    /// Tells the owner that `count` of these rows ended.
    pub(super) fn settle(&self, count: u32, verdict: &Verdict) {
        if let Some(owner) = &self.owner
            && count > 0
        {
            owner.settle(self.slot, verdict.outcome(), count, verdict.nack());
        }
    }

    /// Keeps the first `at` rows and returns the rest.
    fn split_off(&mut self, at: u32) -> Self {
        let rest = self.count - at;
        self.count = at;
        Self { owner: self.owner.clone(), slot: self.slot, count: rest }
    }

    /// Whether the rows of both belong to one group, or to nobody.
    fn same_group(&self, other: &Self) -> bool {
        match (&self.owner, &other.owner) {
            (None, None) => true,
            (Some(one), Some(two)) => self.slot == other.slot && Arc::ptr_eq(one, two),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

/// Rows with one origin. A part is plain data: the ticket or node that holds it settles it.
pub(super) enum Part {
    /// Rows of a group, or of nobody.
    Plain(Plain),
    /// Rows below a fork, an expansion or a join.
    Node { node: sync::Arc<Node>, runs: Box<Runs> },
}

impl Part {
    /// How many rows.
    pub(super) const fn count(&self) -> u32 {
        match self {
            Self::Plain(plain) => plain.count,
            Self::Node { runs, .. } => runs.rows(),
        }
    }

    /// Settles every row.
    pub(super) fn settle(&self, verdict: &Verdict) {
        match self {
            Self::Plain(plain) => plain.settle(plain.count, verdict),
            Self::Node { node, runs } => node.settle(runs, verdict),
        }
    }

    /// Settles and removes the rows whose numbers are listed (ascending, distinct, each with `base` added).
    pub(super) fn settle_rows(&mut self, rows: &[u32], base: u32, verdict: &Verdict) {
        match self {
            Self::Plain(plain) => {
                let count = rows_u32(rows.len());
                plain.count -= count;
                plain.settle(count, verdict);
            }
            Self::Node { node, runs } => {
                let taken = runs.take_rows(rows, base);
                node.settle(&taken, verdict);
            }
        }
    }

    /// Takes out the rows whose numbers are listed (ascending, distinct, each with `base` added).
    pub(super) fn take_rows(&mut self, rows: &[u32], base: u32) -> Self {
        match self {
            Self::Plain(plain) => {
                let count = rows_u32(rows.len());
                Self::Plain(plain.split_off(plain.count - count))
            }
            Self::Node { node, runs } => {
                Self::Node { node: sync::Arc::clone(node), runs: Box::new(runs.take_rows(rows, base)) }
            }
        }
    }

    /// Keeps the first `at` rows and returns the rest.
    pub(super) fn split_off(&mut self, at: u32) -> Self {
        match self {
            Self::Plain(plain) => Self::Plain(plain.split_off(at)),
            Self::Node { node, runs } => {
                Self::Node { node: sync::Arc::clone(node), runs: Box::new(runs.split_off(at)) }
            }
        }
    }

    /// Takes in the rows of `next` where both have the same origin, or gives it back.
    pub(super) fn append(&mut self, next: Self) -> Result<(), Self> {
        match (self, next) {
            (Self::Plain(plain), Self::Plain(next)) if plain.same_group(&next) => plain.count += next.count,
            (Self::Node { node, runs }, Self::Node { node: next, runs: more }) if sync::Arc::ptr_eq(node, &next) => {
                runs.append(*more);
            }
            (_, next) => return Err(next),
        }
        Ok(())
    }
}

/// A number of rows within one batch.
///
/// # Panics
/// Above `u32::MAX`, which a ticket cannot hold.
#[track_caller]
pub(super) fn rows_u32(rows: impl TryInto<u32>) -> u32 {
    match rows.try_into() {
        Ok(rows) => rows,
        Err(_) => panic!("a ticket holds at most {} rows: split the batch before it grows this large", u32::MAX),
    }
}
