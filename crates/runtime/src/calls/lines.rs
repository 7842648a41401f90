//! The records that wait for a call: the batch in hand, and one line for each key that has a call in flight.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_flow::{Batch, Bytes, Deadlines, Items, Lease, Meta, Nack, Ticket, Weigh};

use super::call::Shell;
use crate::context::panic_nack;

/// Says which records must not be called for at the same time.
pub trait KeyOf<T>: Send + 'static {
    /// Records with equal keys are called for one after the other.
    type Key: Clone + Eq + Hash + Send + 'static;

    /// The key of a record; `None` where it need not wait for any other. A panic refuses the record for good.
    fn key(&mut self, record: &T) -> Option<Self::Key>;
}

/// No record waits for another.
#[derive(Copy, Clone, Debug, Default)]
pub struct Unkeyed;

impl<T> KeyOf<T> for Unkeyed {
    type Key = ();

    fn key(&mut self, _record: &T) -> Option<()> {
        None
    }
}

/// Every record has the key that a function gives it.
pub struct ByKey<F>(pub(crate) F);

impl<T, Key, F> KeyOf<T> for ByKey<F>
where
    Key: Clone + Eq + Hash + Send + 'static,
    F: FnMut(&T) -> Key + Send + 'static,
{
    type Key = Key;

    fn key(&mut self, record: &T) -> Option<Key> {
        Some((self.0)(record))
    }
}

/// The next record to call for.
pub(super) struct Pick<T, K> {
    pub(super) record: T,
    pub(super) shell: Shell,
    pub(super) key: Option<K>,
}

/// What there is to call for.
pub(super) enum Next<T, K> {
    Pick(Pick<T, K>),
    /// The key function panicked on this record.
    Refuse(Shell, Nack),
    /// Nothing, or nothing whose key is free.
    Nothing,
}

/// Records in the order in which they came, but for those that wait for their key.
///
/// A line exists exactly as long as its key has a call in flight or a record that is next in `free`; so a record in a
/// line always has somebody before it who will call it up.
pub(super) struct Lines<T, K: KeyOf<T>> {
    key_of: K,
    hand: Option<Hand<T>>,
    /// The record at the head, where its line had no room.
    head: Option<Pick<T, K::Key>>,
    lines: HashMap<K::Key, VecDeque<(T, Shell)>>,
    /// Keys whose call is over, and whose line has a record: each record here is next.
    free: VecDeque<K::Key>,
    /// Records in all lines together, at most `limit`.
    parked: usize,
    limit: usize,
}

impl<T: Weigh, K: KeyOf<T>> Lines<T, K> {
    pub(super) fn new(key_of: K, limit: usize) -> Self {
        Self { key_of, hand: None, head: None, lines: HashMap::new(), free: VecDeque::new(), parked: 0, limit }
    }

    /// Takes a batch in hand. Only when the last one is used up.
    pub(super) fn put(&mut self, batch: Batch<Items<T>>)
    where
        T: Send + 'static,
    {
        debug_assert!(self.wants_input(), "one batch in hand at a time");
        self.hand = Some(Hand::new(batch)).filter(|hand| hand.rows.len() > 0);
    }

    /// Whether the batch in hand is used up.
    pub(super) fn wants_input(&self) -> bool {
        self.hand.is_none() && self.head.is_none()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants_input() && self.parked == 0
    }

    /// The next record whose key is free. Its key is taken until [`Lines::over`] is told.
    pub(super) fn next(&mut self) -> Next<T, K::Key> {
        while let Some(key) = self.free.pop_front() {
            if let Some((record, shell)) = self.lines.get_mut(&key).and_then(VecDeque::pop_front) {
                self.parked -= 1;
                return Next::Pick(Pick { record, shell, key: Some(key) });
            }
        }
        loop {
            let pick = match self.head.take() {
                Some(pick) => pick,
                None => match self.take_row() {
                    Ok(Some(pick)) => pick,
                    Ok(None) => return Next::Nothing,
                    Err((shell, nack)) => return Next::Refuse(shell, nack),
                },
            };
            let Some(key) = &pick.key else { return Next::Pick(pick) };
            match self.lines.get_mut(key) {
                None => {
                    self.lines.insert(key.clone(), VecDeque::new());
                    return Next::Pick(pick);
                }
                Some(line) if self.parked < self.limit => {
                    line.push_back((pick.record, pick.shell));
                    self.parked += 1;
                }
                Some(_) => {
                    self.head = Some(pick);
                    return Next::Nothing;
                }
            }
        }
    }

    /// The call for a record with this key is over.
    pub(super) fn over(&mut self, key: K::Key) {
        match self.lines.get(&key) {
            Some(line) if !line.is_empty() => self.free.push_back(key),
            _ => drop(self.lines.remove(&key)),
        }
    }

    fn take_row(&mut self) -> Result<Option<Pick<T, K::Key>>, (Shell, Nack)> {
        let Some(hand) = &mut self.hand else { return Ok(None) };
        let row = hand.take();
        if hand.rows.len() == 0 {
            self.hand = None;
        }
        let Some((record, shell)) = row else { return Ok(None) };
        let key_of = &mut self.key_of;
        match catch_unwind(AssertUnwindSafe(|| key_of.key(&record))) {
            Ok(key) => Ok(Some(Pick { record, shell, key })),
            Err(panic) => Err((shell, panic_nack(&*panic))),
        }
    }
}

/// A batch that is taken apart from its first row to its last.
struct Hand<T> {
    rows: std::vec::IntoIter<T>,
    taken: u32,
    ticket: Ticket,
    lease: Lease,
    meta: Meta,
}

impl<T: Weigh> Hand<T> {
    fn new(batch: Batch<Items<T>>) -> Self {
        let Batch { mut payload, ticket, lease, meta } = batch;
        Self { rows: payload.take().into_iter(), taken: 0, ticket, lease, meta }
    }

    /// The next row with its own part of everything. The last one takes what is left of the lease, so that the memory
    /// of the batch itself is paid for as long as it is there.
    fn take(&mut self) -> Option<(T, Shell)> {
        let record = self.rows.next()?;
        let rest = self.ticket.split_off(1);
        let ticket = std::mem::replace(&mut self.ticket, rest);
        let lease = match self.rows.len() {
            0 => std::mem::take(&mut self.lease),
            _ => self.lease.split(Bytes::new(record.weigh() as u64)),
        };
        let deadlines = self.meta.deadlines.of_row(self.taken).map_or(Deadlines::None, Deadlines::All);
        self.taken += 1;
        let Meta { lane, bucket, born, dead_letter, .. } = &self.meta;
        let meta = Meta { lane: *lane, bucket: *bucket, born: *born, deadlines, dead_letter: dead_letter.clone() };
        Some((record, Shell { ticket, lease, meta }))
    }
}
