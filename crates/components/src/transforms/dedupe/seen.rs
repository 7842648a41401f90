//! [`Seen`]: what has passed, and whether that is settled.
//!
//! A record counts as seen once it is safe, or is a dead letter. Until then a repetition of it is held back, without
//! its content: its ticket waits, and ends as the record that passed first does. So nobody is told that a record is safe
//! because something equal is on its way; and one whose first delivery failed may pass again.
//!
//! In a checkpoint are the marks of what is settled, and the keys with which marks are made:
//!
//! ```text
//! version of this form: 1 (1 byte)
//! what makes records equal: text, after its length (4)
//! keys (16)
//! marks: how many (4), each (16), the one used least recently first
//! ```
//!
//! Numbers are little-endian.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use siphasher::sip128::SipHasher13;
use tidegate_flow::{Account, Bytes, Lease, Outcome, Ticket, Time, Verdict, Witness};
use tidegate_runtime::checkpoint::{Bell, Restored, State as Saved};
use tidegate_runtime::ops::Recent;

use crate::checkpoints::{Put, Take};

/// What a record that has passed and is not settled costs: its mark.
const PASSED_BYTES: usize = size_of::<u128>();

/// What a repetition that waits costs: its ticket and its place in a table.
const WAITING_BYTES: usize = 256;

/// So many of them are paid for at once, so that the account is not touched for each.
const WAITING_STEP: usize = 16;

/// The number of a passage that was settled.
const SETTLED: u64 = 0;

/// The number of no passage: the mark is forgotten.
const FORGOTTEN: u64 = u64::MAX;

/// What has passed. Clones are the same.
#[derive(Clone)]
pub(super) struct Seen(Arc<Mutex<State>>);

struct State {
    /// The number of the passage of the first of each kind.
    marks: Recent<u128, u64>,
    next: u64,
    /// The repetitions that wait for a passage to be settled.
    waiting: HashMap<u64, Waiting>,
    /// With which marks are made: of this process, or of the one that saved.
    keys: [u64; 2],
    /// What makes records equal, in words.
    print: String,
    /// Passed, and not settled.
    on_their_way: u64,
    is_changed: bool,
    bell: Option<Bell>,
}

/// What the state is, in the head of its file: "dedu".
pub(super) const FORM: u32 = u32::from_le_bytes(*b"dedu");

const VERSION: u8 = 1;

/// Repetitions that end as the first of their kind does.
struct Waiting {
    ticket: Ticket,
    /// Pay for them: one of each batch.
    leases: Vec<Arc<Lease>>,
}

/// What becomes of the rows of a batch.
#[derive(Default)]
pub(super) struct Sorted {
    /// Those that repeat what is settled.
    pub(super) filtered: Vec<u32>,
    /// Those that repeat what is not, each with the passage that it waits for.
    pub(super) waiting: Vec<(u32, u64)>,
    /// The marks of those that pass.
    passed: Vec<u128>,
    /// The passage of the first of them.
    first: u64,
    /// Pays for those that wait.
    waits: Lease,
    /// Pays for the marks; `None` where nothing could, so that nobody hears of their end.
    lease: Option<Lease>,
}

impl Seen {
    pub(super) const KEY_BYTES: usize = Recent::<u128, u64>::KEY_BYTES;

    /// Of a row that equals none: it passes, and nothing is remembered of it.
    pub(super) const NO_MARK: u128 = u128::MAX;

    /// The mark that is this hash.
    pub(super) const fn mark(hash: u128) -> u128 {
        if hash == Self::NO_MARK { 0 } else { hash }
    }

    /// Nothing yet, of at most `capacity` records that are equal in what `print` says.
    pub(super) fn new(capacity: usize, print: String) -> Self {
        Self(Arc::new(Mutex::new(State {
            marks: Recent::new(capacity),
            next: SETTLED + 1,
            waiting: HashMap::new(),
            keys: [RandomState::new(), RandomState::new()].map(|keys| keys.hash_one(0)),
            print,
            on_their_way: 0,
            is_changed: false,
            bell: None,
        })))
    }

    /// The most bytes that `capacity` records take in a checkpoint.
    pub(super) const fn saved_bytes(capacity: usize, print: &str) -> usize {
        capacity * size_of::<u128>() + print.len() + 32
    }

    /// Who is told that there is something to save.
    pub(super) fn set_bell(&self, bell: Bell) {
        self.lock().bell = Some(bell);
    }

    /// What makes marks. Not to be kept: a checkpoint may bring other keys.
    pub(super) fn hasher(&self) -> SipHasher13 {
        let [one, other] = self.lock().keys;
        SipHasher13::new_with_keys(one, other)
    }

    /// Decides about the rows with these marks; `take` is called with the rows that wait, ascending, and takes their
    /// tickets out. Where nothing can pay for what has to be remembered, records pass: they may come twice, but are never
    /// called safe when they are not.
    pub(super) fn sort(
        &self,
        marks: impl ExactSizeIterator<Item = Option<u128>>,
        held: &Account,
        take: impl FnOnce(&[u32]) -> Ticket,
    ) -> Sorted {
        let lease = held.try_lease(Bytes::from(marks.len() * PASSED_BYTES));
        let mut state = self.lock();
        let mut sorted = Sorted { lease, first: state.next, ..Sorted::default() };
        for (mark, row) in marks.zip(0..) {
            let Some(mark) = mark else { continue };
            if mark == Self::NO_MARK {
                sorted.passed.push(mark);
                continue;
            }
            let number = if sorted.lease.is_some() { sorted.first + sorted.passed.len() as u64 } else { FORGOTTEN };
            let (passage, is_known) = state.marks.get_or_insert_with(mark, || number);
            match *passage {
                SETTLED => sorted.filtered.push(row),
                FORGOTTEN => {
                    *passage = number;
                    sorted.passed.push(mark);
                }
                passage if is_known && sorted.pay(held) => sorted.waiting.push((row, passage)),
                _ => sorted.passed.push(mark),
            }
        }
        state.next += sorted.passed.len() as u64;
        state.hold(&mut sorted, take);
        sorted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Holds the rows back that wait. Under the lock, so that what they wait for cannot be settled meanwhile.
    fn hold(&mut self, sorted: &mut Sorted, take: impl FnOnce(&[u32]) -> Ticket) {
        if sorted.waiting.is_empty() {
            return;
        }
        let lease = Arc::new(std::mem::take(&mut sorted.waits));
        let rows: Vec<u32> = sorted.waiting.iter().map(|(row, _)| *row).collect();
        let mut tickets = take(&rows);
        for (_, passage) in &sorted.waiting {
            let rest = tickets.split_off(1);
            let ticket = std::mem::replace(&mut tickets, rest);
            let waiting = self
                .waiting
                .entry(*passage)
                .or_insert_with(|| Waiting { ticket: Ticket::default(), leases: Vec::with_capacity(1) });
            waiting.ticket.append(ticket);
            if !waiting.leases.last().is_some_and(|last| Arc::ptr_eq(last, &lease)) {
                waiting.leases.push(Arc::clone(&lease));
            }
        }
    }
}

impl Sorted {
    /// Pays for one more that waits, where there is memory.
    fn pay(&mut self, held: &Account) -> bool {
        if !self.waiting.len().is_multiple_of(WAITING_STEP) {
            return true;
        }
        let lease = held.try_lease(Bytes::from(WAITING_STEP * WAITING_BYTES));
        // All are of one account.
        lease.is_some_and(|lease| self.waits.merge(lease).is_ok())
    }

    /// Who hears how the rows that pass end; nobody, where nothing pays for that.
    pub(super) fn witness(self, seen: &Seen) -> Option<Arc<dyn Witness>> {
        let Self { passed, first, lease, .. } = self;
        let lease = lease?;
        seen.lock().on_their_way += passed.len() as u64;
        Some(Arc::new(Passage { seen: seen.clone(), marks: passed, first, _lease: lease }))
    }
}

/// The rows of one batch that passed.
struct Passage {
    seen: Seen,
    marks: Vec<u128>,
    /// The number of the first of them.
    first: u64,
    /// Pays for the marks.
    _lease: Lease,
}

impl Witness for Passage {
    fn ended(&self, first: u32, rows: u32, verdict: &Verdict) {
        let ends_all = match verdict.outcome() {
            Outcome::Delivered | Outcome::Filtered | Outcome::Absorbed | Outcome::DeadLettered => true,
            Outcome::Shed | Outcome::Expired | Outcome::Returned | Outcome::Abandoned => false,
        };
        let (mut freed, mut is_changed) = (Vec::new(), false);
        let mut state = self.seen.lock();
        state.on_their_way = state.on_their_way.saturating_sub(u64::from(rows));
        for (mark, number) in self.marks.iter().zip(self.first..).skip(first as usize).take(rows as usize) {
            if let Some(passage) = state.marks.get_mut(*mark).filter(|passage| **passage == number) {
                *passage = if ends_all { SETTLED } else { FORGOTTEN };
                is_changed |= ends_all;
            }
            if !state.waiting.is_empty() {
                freed.extend(state.waiting.remove(&number));
            }
        }
        state.is_changed |= is_changed;
        if let Some(bell) = &state.bell {
            bell.ring();
        }
        drop(state);
        for Waiting { ticket, .. } in freed {
            if ends_all {
                ticket.settle(Outcome::Filtered);
            } else {
                ticket.settle_as(verdict.clone());
            }
        }
    }
}

impl Saved for Seen {
    fn restore(&self, saved: Restored<'_>) -> Result<(), String> {
        let mut state = self.lock();
        let mut from = Take(saved.bytes);
        if from.u8() != Some(VERSION) {
            return Err("its state is of another version".to_owned());
        }
        let mut read = || {
            let fields = from.text()?.to_vec();
            let keys = [from.u64()?, from.u64()?];
            let count = from.u32()? as usize;
            let marks = from.bytes(count.checked_mul(size_of::<u128>())?)?;
            from.is_empty().then_some((fields, keys, marks))
        };
        let (fields, keys, marks) = read().ok_or("its state cannot be read")?;
        if fields != state.print.as_bytes() {
            // Other fields make records equal now: what was seen says nothing about them.
            state.is_changed = true;
            return Ok(());
        }
        state.keys = keys;
        for mark in marks.chunks_exact(size_of::<u128>()) {
            let mark = u128::from_le_bytes(mark.try_into().unwrap_or_default());
            state.marks.get_or_insert_with(mark, || SETTLED);
        }
        Ok(())
    }

    fn is_changed(&self) -> bool {
        self.lock().is_changed
    }

    fn put_down(&self, _now: Time, into: &mut Vec<u8>) {
        let mut state = self.lock();
        state.is_changed = false;
        into.put_u8(VERSION);
        into.put_text(state.print.as_bytes());
        state.keys.iter().for_each(|key| into.put_u64(*key));
        let settled = || state.marks.iter_from_oldest().filter(|(_, passage)| **passage == SETTLED);
        into.put_u32(u32::try_from(settled().count()).unwrap_or(u32::MAX));
        settled().for_each(|(mark, _)| into.extend_from_slice(&mark.to_le_bytes()));
    }

    fn written(&self, durable: bool) {
        self.lock().is_changed |= !durable;
    }

    fn is_awaiting(&self) -> bool {
        self.lock().on_their_way > 0
    }
}
