//! [`Batch`]: what moves along an edge: a payload, the ticket that settles it, the lease that pays for its bytes, and
//! the few facts about it that scheduling needs.

use std::sync::Arc;

use crate::budget::{Account, Lease, OverBudget};
use crate::outcome::{Nack, Outcome};
use crate::payload::{Payload, Share};
use crate::queue::{Load, ShedReason};
use crate::settle::{Ticket, Verdict};
use crate::time::Time;
use crate::units::{Records, Weight};

/// Deadlines of the rows of a batch.
///
/// Most pipelines declare none, so the common case costs nothing. A column is kept only where rows differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Deadlines {
    /// No row expires.
    #[default]
    None,
    /// Every row expires at this moment.
    All(Time),
    /// One deadline a row. Behind a pointer: every batch that moves is copied, and few have this.
    Rows(Box<DeadlineColumn>),
}

/// One deadline a row, in row order; the earliest is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineColumn {
    earliest: Time,
    /// `Time::MAX` for none.
    column: Vec<Time>,
}

impl DeadlineColumn {
    /// The deadline of each row, in row order; `Time::MAX` for none.
    #[must_use]
    pub fn as_slice(&self) -> &[Time] {
        &self.column
    }
}

impl Deadlines {
    /// One deadline a row; collapses to the cheapest form that says the same.
    #[must_use]
    pub fn from_column(column: Vec<Time>) -> Self {
        let Some(first) = column.first().copied() else { return Self::None };
        if column.iter().all(|deadline| *deadline == first) {
            return if first == Time::MAX { Self::None } else { Self::All(first) };
        }
        let earliest = column.iter().copied().min().unwrap_or(first);
        Self::Rows(Box::new(DeadlineColumn { earliest, column }))
    }

    /// The earliest deadline of any row.
    #[must_use]
    pub const fn earliest(&self) -> Option<Time> {
        match self {
            Self::None => None,
            Self::All(at) => Some(*at),
            Self::Rows(rows) => Some(rows.earliest),
        }
    }

    /// The deadline of one row.
    #[must_use]
    pub fn of_row(&self, row: u32) -> Option<Time> {
        match self {
            Self::None => None,
            Self::All(at) => Some(*at),
            Self::Rows(rows) => rows.column.get(row as usize).copied().filter(|at| *at != Time::MAX),
        }
    }

    /// Which of the first `rows` rows have a deadline that is not after `now`.
    fn passed(&self, now: Time, rows: u32) -> Vec<u32> {
        (0..rows).filter(|row| self.of_row(*row).is_some_and(|deadline| deadline <= now)).collect()
    }

    /// Keeps the deadlines of the first `at` rows and returns those of the rest.
    #[must_use]
    pub fn split_off(&mut self, at: u32) -> Self {
        match self {
            Self::None => Self::None,
            Self::All(moment) => Self::All(*moment),
            Self::Rows(rows) => {
                let rest = Self::from_column(rows.column.split_off(at as usize));
                *self = Self::from_column(std::mem::take(&mut rows.column));
                rest
            }
        }
    }

    /// Appends the deadlines of `other_rows` rows to those of `rows` rows.
    pub fn append(&mut self, rows: u32, other: Self, other_rows: u32) {
        match (&*self, &other) {
            (Self::None, Self::None) => return,
            (Self::All(a), Self::All(b)) if a == b => return,
            _ => {}
        }
        let mut column = std::mem::take(self).into_column(rows);
        column.extend(other.into_column(other_rows));
        *self = Self::from_column(column);
    }

    fn into_column(self, rows: u32) -> Vec<Time> {
        match self {
            Self::None => vec![Time::MAX; rows as usize],
            Self::All(at) => vec![at; rows as usize],
            Self::Rows(rows) => rows.column,
        }
    }

    /// Removes the listed rows (ascending, distinct).
    pub fn remove_rows(&mut self, rows: &[u32]) {
        if let Self::Rows(kept) = self {
            let column = &mut kept.column;
            let mut victims = rows.iter().peekable();
            let mut number = 0;
            column.retain(|_| {
                let gone = victims.next_if(|row| **row == number).is_some();
                number += 1;
                !gone
            });
            *self = Self::from_column(std::mem::take(column));
        }
    }

    /// Row `i` becomes `counts[i]` rows that inherit its deadline.
    pub fn expand(&mut self, counts: &[u32]) {
        if let Self::Rows(rows) = self {
            let rows = rows.column.iter().zip(counts).flat_map(|(at, count)| std::iter::repeat_n(*at, *count as usize));
            *self = Self::from_column(rows.collect());
        }
    }
}

/// What scheduling knows of a batch.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// Priority lane, 0 (highest) to 3.
    pub lane: u8,
    /// Fairness bucket within the lane, below 64.
    pub bucket: u8,
    /// When the batch entered the pipeline.
    pub born: Time,
    /// When its rows expire.
    pub deadlines: Deadlines,
    /// Why these rows were given up, where they are dead letters: a sink that accepts them has dead-lettered, not
    /// delivered, them.
    pub dead_letter: Option<Arc<Note>>,
}

/// Why a record became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What was wrong.
    pub nack: Nack,
    /// The stage that gave it up.
    pub origin: Arc<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first refused.
    pub first: Time,
    /// When it was given up.
    pub at: Time,
}

/// A run of records on its way, with everything that must follow it.
///
/// The ticket counts the same rows as the payload at all times; the methods here are the only ones that change both.
#[derive(Debug)]
pub struct Batch<P> {
    /// The records.
    pub payload: P,
    /// Settles the records; a batch dropped with its ticket counts as abandoned.
    pub ticket: Ticket,
    /// Pays for the bytes.
    pub lease: Lease,
    /// What scheduling knows.
    pub meta: Meta,
}

impl<P: Payload> Batch<P> {
    /// A batch that belongs to no source and pays for nothing: for tests and for records born outside a pipeline.
    #[must_use]
    pub fn detached(payload: P) -> Self {
        let ticket = Ticket::detached(row_count(payload.weight()));
        Self { payload, ticket, lease: Lease::none(), meta: Meta::default() }
    }

    /// What the payload weighs.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.payload.weight()
    }

    /// How many records.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.ticket.records()
    }

    /// Keeps the first `at` records and returns the rest, each part with its own ticket and its share of the lease.
    #[must_use]
    pub fn split_off(&mut self, at: u32) -> Self {
        let payload = self.payload.split_off(Records::new(u64::from(at)));
        let lease = self.lease.split(payload.retained_bytes());
        let ticket = self.ticket.split_off(at);
        let deadlines = self.meta.deadlines.split_off(at);
        Self { payload, ticket, lease, meta: Meta { deadlines, ..self.meta.clone() } }
    }

    /// Appends `other`, or gives it back when the payloads or the leases cannot be joined.
    ///
    /// # Errors
    /// `other`, unchanged.
    pub fn append(&mut self, other: Self) -> Result<(), Self> {
        if self.meta.dead_letter != other.meta.dead_letter {
            return Err(other);
        }
        let (rows, other_rows) = (self.records(), other.records());
        let Self { payload, ticket, lease, meta } = other;
        let charged = lease.bytes();
        if let Err(lease) = self.lease.merge(lease) {
            return Err(Self { payload, ticket, lease, meta });
        }
        if let Err(payload) = self.payload.append(payload) {
            // The payload that stays apart keeps its own charge.
            let lease = self.lease.split(charged);
            return Err(Self { payload, ticket, lease, meta });
        }
        self.ticket.append(ticket);
        self.meta.deadlines.append(rows, meta.deadlines, other_rows);
        Ok(())
    }

    /// Moves the charge for the batch's bytes to the account of whatever holds it next. A lease that a fork shares stays
    /// where it is.
    ///
    /// # Errors
    /// The account has no room; the charge is where it was.
    pub fn rebind(&mut self, to: &Account) -> Result<(), OverBudget> {
        self.payload.rebind(to)?;
        self.lease.rebind(to)
    }

    /// Removes the listed rows (ascending, distinct) and settles them.
    pub fn settle_rows(&mut self, rows: &[u32], verdict: impl Into<Verdict>) {
        if rows.is_empty() {
            return;
        }
        self.payload.remove_rows(rows);
        self.meta.deadlines.remove_rows(rows);
        self.ticket.settle_rows(rows, verdict);
    }

    /// Removes the listed rows (ascending, distinct), which whoever is given their ticket settles.
    pub fn take_rows(&mut self, rows: &[u32]) -> Ticket {
        self.payload.remove_rows(rows);
        self.meta.deadlines.remove_rows(rows);
        self.ticket.take_rows(rows)
    }

    /// Ends every record of the batch with `outcome` and drops the payload.
    pub fn settle(self, outcome: Outcome) {
        let Self { payload, ticket, lease, .. } = self;
        drop(payload);
        drop(lease);
        ticket.settle(outcome);
    }

    /// Refuses every record of the batch and drops the payload.
    pub fn nack(self, nack: Nack) {
        let Self { payload, ticket, lease, .. } = self;
        drop(payload);
        drop(lease);
        ticket.nack(nack);
    }

    /// Makes rows that a fork shares this batch's own: they are copied, where the account that pays for what is shared
    /// has room for the copies. Says whether they are its own now.
    pub fn try_own(&mut self) -> bool {
        let paid = self.pay_for_own();
        if paid {
            self.payload.make_own();
        }
        paid
    }

    /// Pays for a copy of rows that a fork shares, to be made at once. Says whether the rows may be copied now.
    fn pay_for_own(&mut self) -> bool {
        if !self.payload.is_shared() || self.lease.reclaim() {
            return true;
        }
        let Some(account) = self.lease.account() else { return true };
        let own = account.try_lease(self.payload.weight().bytes);
        own.map(|own| self.lease = own).is_some()
    }

    /// Removes and settles the rows whose deadline is not after `now`; says how many they were. Some of the rows that a
    /// fork shares are removed only where there is room for a copy of the others: what stays has its deadline still.
    pub fn expire(&mut self, now: Time) -> Records {
        if self.meta.deadlines.earliest().is_none_or(|earliest| now < earliest) {
            return Records::ZERO;
        }
        let rows = self.meta.deadlines.passed(now, self.records());
        if rows.len() < self.records() as usize && !self.try_own() {
            return Records::ZERO;
        }
        self.settle_rows(&rows, Outcome::Expired);
        Records::from(rows.len())
    }
}

impl<P: Share> Batch<P> {
    /// Forks the batch to `branches` required branches that share its payload and its lease. The records settle when
    /// every branch has settled them, with the worst of the outcomes.
    #[must_use]
    pub fn fork(mut self, branches: usize) -> Vec<Self> {
        let tickets = self.ticket.fork(branches);
        let mut forked: Vec<Self> = Vec::with_capacity(branches);
        let mut tickets = tickets.into_iter();
        let last = tickets.next_back();
        for ticket in tickets {
            let (payload, lease) = (self.payload.share(), self.lease.share());
            forked.push(Self { payload, ticket, lease, meta: self.meta.clone() });
        }
        if let Some(ticket) = last {
            forked.push(Self { payload: self.payload, ticket, lease: self.lease, meta: self.meta });
        }
        forked
    }
}

impl<P: Payload> Load for Batch<P> {
    fn weight(&self) -> Weight {
        self.payload.weight()
    }

    fn lane(&self) -> u8 {
        self.meta.lane
    }

    fn bucket(&self) -> u8 {
        self.meta.bucket
    }

    fn earliest(&self) -> Option<Time> {
        self.meta.deadlines.earliest()
    }

    fn settle_expired(&mut self, now: Time) -> Records {
        let rows = self.meta.deadlines.passed(now, self.records());
        if rows.len() < self.records() as usize && !self.pay_for_own() {
            return Records::ZERO;
        }
        self.ticket.settle_rows(&rows, Outcome::Expired);
        Records::from(rows.len())
    }

    fn drop_expired(&mut self, now: Time) {
        if row_count(self.payload.weight()) == self.records() {
            // Nothing was settled: there was no memory for a copy of what stays.
            return;
        }
        let rows = self.meta.deadlines.passed(now, row_count(self.payload.weight()));
        self.payload.remove_rows(&rows);
        self.meta.deadlines.remove_rows(&rows);
    }

    fn settle_shed(&mut self, _reason: ShedReason) {
        std::mem::take(&mut self.ticket).settle(Outcome::Shed);
    }
}

/// The number of rows of a payload as tickets count it.
///
/// # Panics
/// A single batch of more than four thousand million records.
fn row_count(weight: Weight) -> u32 {
    match u32::try_from(weight.records.get()) {
        Ok(rows) => rows,
        Err(_) => panic!("a batch of {} is more than a ticket can count", weight.records),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;
    use crate::{AccountSpec, Budget, Items};

    /// A payload of one record that joins with nothing.
    #[derive(Debug)]
    struct Alone;

    impl Payload for Alone {
        fn weight(&self) -> Weight {
            Weight::new(1, 100)
        }
        fn split_off(&mut self, _at: Records) -> Self {
            Self
        }
        fn append(&mut self, other: Self) -> Result<(), Self> {
            Err(other)
        }
        fn remove_rows(&mut self, _rows: &[u32]) {}
    }

    #[test]
    fn some_expired_rows_of_a_fork_go_only_where_a_copy_is_paid_for() {
        let budget = Budget::new(Bytes::new(100));
        let account = budget.account("test", AccountSpec::holding(Bytes::new(100))).unwrap();
        let mut whole = Batch::detached((0..8_u64).collect::<Items<u64>>());
        whole.lease = account.try_lease(Bytes::new(64)).unwrap();
        whole.meta.deadlines = Deadlines::from_column((0..8).map(Time::from_nanos).collect());
        let [mut one, mut other] = <[_; 2]>::try_from(whole.fork(2)).unwrap();
        assert_eq!(one.settle_expired(Time::from_nanos(1)), Records::ZERO);
        one.drop_expired(Time::from_nanos(1));
        assert_eq!(one.expire(Time::from_nanos(1)), Records::ZERO, "36 bytes are left, and the rows weigh 64");
        assert_eq!((one.records(), account.used().get()), (8, 64));
        assert_eq!(one.expire(Time::from_nanos(7)).get(), 8, "all of them need no copy");
        drop(one);
        assert_eq!(other.settle_expired(Time::from_nanos(1)).get(), 2, "nobody else holds the rows any more");
        other.drop_expired(Time::from_nanos(1));
        assert!(!other.payload.is_shared() && other.payload.as_slice() == [2, 3, 4, 5, 6, 7]);
        assert_eq!(account.used().get(), 64);
    }

    #[test]
    fn payloads_that_do_not_join_keep_their_charges() {
        let budget = Budget::new(Bytes::new(1_000));
        let account = budget.account("test", AccountSpec::holding(Bytes::new(500))).unwrap();
        let batch = || Batch { lease: account.try_lease(Bytes::new(100)).unwrap(), ..Batch::detached(Alone) };
        let (mut first, second) = (batch(), batch());
        let second = first.append(second).unwrap_err();
        assert_eq!((first.lease.bytes().get(), second.lease.bytes().get()), (100, 100));
        assert_eq!((first.records(), second.records()), (1, 1));
    }
}
