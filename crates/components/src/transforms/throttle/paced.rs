//! [`Paced`]: a rate for each key; what is over it waits, and the records of other keys pass meanwhile.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tidegate_flow::{Batch, Bytes, Lease, Records, Time, Weight, mib};
use tidegate_record::Row;
use tidegate_runtime::ops::{KeyedBuckets, MAX_KEYS};
use tidegate_runtime::{StageContext, Step, Transform};

use super::Keys;
use super::saved::Levels;
use crate::Rows;

/// The most records, and bytes of them, that wait at a time, beyond those of one batch. When they do, nothing more is
/// taken until some have passed: the pressure travels upstream, and then to all keys.
const MOST_WAITING: Weight = Weight { records: Records::new(4_096), bytes: mib(1) };

/// A rate for each key; what is over it waits.
///
/// The order of records is kept by key alone. Keys are known by a hash of 64 bits: two with one hash share a rate.
pub(super) struct Paced {
    buckets: KeyedBuckets,
    keys: Keys,
    /// What waits, by key; no key without a batch.
    waiting: HashMap<u64, VecDeque<Batch<Rows>>>,
    /// When the first record of each key may pass.
    due: BTreeSet<(Time, u64)>,
    held: Weight,
    /// What goes on now.
    ready: VecDeque<Batch<Rows>>,
    /// For each row of the batch in hand the key that it waits for.
    ways: Vec<Option<u64>>,
    /// Pays for the keys.
    lease: Lease,
}

impl Paced {
    pub(super) fn new(buckets: KeyedBuckets, keys: Keys) -> Self {
        Self {
            buckets,
            keys,
            waiting: HashMap::new(),
            due: BTreeSet::new(),
            held: Weight::ZERO,
            ready: VecDeque::new(),
            ways: Vec::new(),
            lease: Lease::none(),
        }
    }

    /// What is reserved for it: the keys, and what waits.
    pub(super) fn holds() -> Weight {
        Weight { records: MOST_WAITING.records, bytes: MOST_WAITING.bytes + Self::key_bytes() }
    }

    /// What the keys take. Tables double, so that up to twice the keys are allocated.
    fn key_bytes() -> Bytes {
        Bytes::from(2 * MAX_KEYS * KeyedBuckets::KEY_BYTES)
    }

    fn is_full(&self) -> bool {
        self.held.records >= MOST_WAITING.records || self.held.bytes >= MOST_WAITING.bytes
    }

    /// Says of each row whether it passes. Behind a record that waits, all others of its key do.
    fn decide(&mut self, rows: &Rows, now: Time) {
        let Self { buckets, keys, waiting, ways, .. } = self;
        ways.clear();
        // Keys that wait since this batch.
        let mut late: Vec<u64> = Vec::new();
        ways.extend(rows.iter().map(|row: Row<'_>| {
            let key = keys.of(row)?;
            let waits = waiting.contains_key(&key) || late.contains(&key) || !buckets.try_take(key, 1.0, now);
            if waits && !late.contains(&key) {
                late.push(key);
            }
            waits.then_some(key)
        }));
    }

    /// Sends on what passes of a batch, and keeps the rest.
    fn take_in(&mut self, mut input: Batch<Rows>, cx: &StageContext) {
        self.decide(&input.payload, cx.now());
        let ways = std::mem::take(&mut self.ways);
        for run in ways.chunk_by(|one, other| one == other) {
            let behind = input.split_off(u32::try_from(run.len()).unwrap_or(u32::MAX));
            let part = std::mem::replace(&mut input, behind);
            match run.first() {
                Some(Some(key)) => self.hold(*key, part, cx),
                _ => self.send(part),
            }
        }
        self.ways = ways;
    }

    fn hold(&mut self, key: u64, mut batch: Batch<Rows>, cx: &StageContext) {
        // Where the memory is short, it stays charged as what it was: in the hand of the stage, for one batch at most.
        let _ = batch.rebind(cx.held());
        self.held += batch.weight();
        let queue = self.waiting.entry(key).or_default();
        if queue.is_empty() {
            self.due.insert((self.buckets.ready_at(key, 1.0, cx.now()), key));
        }
        queue.push_back(batch);
    }

    fn send(&mut self, batch: Batch<Rows>) {
        let alike = |one: &Batch<Rows>| (one.meta.lane, one.meta.bucket) == (batch.meta.lane, batch.meta.bucket);
        let apart = match self.ready.back_mut() {
            Some(last) if alike(last) => last.append(batch).err(),
            _ => Some(batch),
        };
        self.ready.extend(apart);
    }

    /// Sends on what may pass now.
    fn release(&mut self, now: Time) {
        while let Some((due, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, key));
            let Some(mut queue) = self.waiting.remove(&key) else { continue };
            // The first record counts from when it was due, so that a timer that fires late does not lower the rate.
            let mut at = due;
            while let Some(mut batch) = queue.pop_front() {
                let records = batch.records();
                let passes = |_: &u32| self.buckets.try_take(key, 1.0, std::mem::replace(&mut at, now));
                let allowed = u32::try_from((0..records).take_while(passes).count()).unwrap_or(records);
                let before = batch.weight();
                let rest = (allowed < records).then(|| batch.split_off(allowed));
                self.held -= before;
                if batch.records() > 0 {
                    self.send(batch);
                }
                if let Some(rest) = rest {
                    self.held += rest.weight();
                    queue.push_front(rest);
                    break;
                }
            }
            if !queue.is_empty() {
                self.due.insert((self.buckets.ready_at(key, 1.0, now), key));
                self.waiting.insert(key, queue);
            }
        }
    }

    /// The next batch that goes on, and what to ask for then.
    fn next(&mut self, out: &mut Option<Batch<Rows>>) -> Step {
        *out = self.ready.pop_front();
        match self.due.first() {
            _ if !self.ready.is_empty() => Step::More,
            Some((due, _)) if self.is_full() => Step::WaitUntil(*due),
            _ => Step::Done,
        }
    }
}

impl Levels for Paced {
    fn levels(&mut self, now: Time, each: &mut dyn FnMut(u64, f64)) {
        self.buckets.levels(now).for_each(|(key, tokens)| each(key, tokens));
    }

    fn restore(&mut self, key: u64, tokens: f64, age: Duration, now: Time) {
        self.buckets.restore(key, tokens, age, now);
    }
}

impl Transform<Rows> for Paced {
    type Out = Rows;

    fn open(&mut self, cx: &StageContext) {
        // The plan has reserved it.
        self.lease = cx.held().try_lease(Self::key_bytes()).unwrap_or_default();
    }

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.release(cx.now());
        self.take_in(input, cx);
        self.next(out)
    }

    fn resume(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.release(cx.now());
        self.next(out)
    }

    /// What waits passes when it may, not before: that is what it waits for.
    fn flush(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.release(cx.now());
        match (self.next(out), self.due.first()) {
            (Step::Done, Some((due, _))) => Step::WaitUntil(*due),
            (step, _) => step,
        }
    }

    fn wake_at(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }
}
