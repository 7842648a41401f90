//! [`FlowCounter`]: where a stage counts what it takes and what becomes of it.
//!
//! A stage counts several times for each batch, and its task is the only writer. So the counters are plain words behind
//! a sequence number, as in [`StageClock`](crate::StageClock) (Boehm, *Can Seqlocks Get Along With Programming Language
//! Memory Models?*, 2012): counting costs two stores and those of the counters that change, no lock and no atomic
//! read-modify-write. A reader that meets a change in progress reads again.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

use super::flows::Flows;
use super::shed::{ShedCounts, ShedReason};
use crate::sync::{Arc, AtomicU64, Ordering, pause};
use crate::units::Records;

/// By how much one counter changes.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Change(u64);

impl AddAssign<Records> for Change {
    #[inline]
    fn add_assign(&mut self, records: Records) {
        self.0 = self.0.wrapping_add(records.get());
    }
}

impl SubAssign<Records> for Change {
    #[inline]
    fn sub_assign(&mut self, records: Records) {
        self.0 = self.0.wrapping_sub(records.get());
    }
}

/// Changes by reason.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ShedChange([Change; ShedReason::ALL.len()]);

impl ShedChange {
    /// Counts `records` more that were shed for `reason`.
    #[inline]
    pub fn add(&mut self, reason: ShedReason, records: Records) {
        self.0[reason as usize] += records;
    }
}

/// What one [`record`](FlowCounter::record) changes; the fields are those of [`Flows`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is described where it is counted, in Flows")]
pub struct FlowChange {
    pub input: Change,
    pub born: Change,
    pub output: Change,
    pub filtered: Change,
    pub absorbed: Change,
    pub shed: ShedChange,
    pub expired: Change,
    pub dead_lettered: Change,
    pub returned: Change,
    pub abandoned: Change,
    pub held: Change,
}

/// The counters of one stage; a shared handle, cheap to clone.
///
/// One task counts ([`record`](Self::record)); anybody reads ([`snapshot`](Self::snapshot)). Count everything that
/// happened to a batch in one `record`: then every snapshot balances.
#[derive(Clone, Default)]
pub struct FlowCounter(Arc<Cells>);

/// Odd while the writer is changing the words behind it.
#[derive(Default)]
struct Cells {
    sequence: AtomicU64,
    input: AtomicU64,
    born: AtomicU64,
    output: AtomicU64,
    filtered: AtomicU64,
    absorbed: AtomicU64,
    shed: [AtomicU64; ShedReason::ALL.len()],
    expired: AtomicU64,
    dead_lettered: AtomicU64,
    returned: AtomicU64,
    abandoned: AtomicU64,
    held: AtomicU64,
}

impl FlowCounter {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the counters in one step. Only the task of the stage may count; were there two writers at once, nothing
    /// would break but the figures (and a debug build would say so).
    #[inline]
    pub fn record(&self, change: impl FnOnce(&mut FlowChange)) {
        if cfg!(tidegate_unmetered) {
            return;
        }
        // Filled and taken apart where it is made: what the closure does not name costs nothing.
        let mut by = FlowChange::default();
        change(&mut by);
        let cells = &*self.0;
        let sequence = cells.sequence.load(Ordering::Relaxed);
        debug_assert!(sequence.is_multiple_of(2), "two tasks count one stage");
        cells.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        cells.apply(&by);
        cells.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The counters as they are between two changes.
    #[must_use]
    pub fn snapshot(&self) -> Flows {
        let cells = &*self.0;
        loop {
            let before = cells.sequence.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let flows = cells.read();
                if cells.sequence.load(Ordering::Acquire) == before {
                    return flows;
                }
            }
            pause();
        }
    }
}

impl Cells {
    #[inline]
    fn apply(&self, by: &FlowChange) {
        add(&self.input, by.input);
        add(&self.born, by.born);
        add(&self.output, by.output);
        add(&self.filtered, by.filtered);
        add(&self.absorbed, by.absorbed);
        for (cell, by) in self.shed.iter().zip(by.shed.0) {
            add(cell, by);
        }
        add(&self.expired, by.expired);
        add(&self.dead_lettered, by.dead_lettered);
        add(&self.returned, by.returned);
        add(&self.abandoned, by.abandoned);
        add(&self.held, by.held);
    }

    fn read(&self) -> Flows {
        let get = |cell: &AtomicU64| Records::new(cell.load(Ordering::Acquire));
        let mut shed = ShedCounts::default();
        for (reason, cell) in ShedReason::ALL.into_iter().zip(&self.shed) {
            shed.add(reason, get(cell));
        }
        Flows {
            input: get(&self.input),
            born: get(&self.born),
            output: get(&self.output),
            filtered: get(&self.filtered),
            absorbed: get(&self.absorbed),
            shed,
            expired: get(&self.expired),
            dead_lettered: get(&self.dead_lettered),
            returned: get(&self.returned),
            abandoned: get(&self.abandoned),
            held: get(&self.held),
        }
    }
}

/// Stored with `Release`, so that a reader which sees it sees the odd sequence number before it too.
#[inline]
fn add(cell: &AtomicU64, by: Change) {
    if by.0 != 0 {
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(by.0), Ordering::Release);
    }
}

impl fmt::Debug for FlowCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlowCounter").field(&self.snapshot()).finish()
    }
}

#[cfg(all(test, tidegate_loom))]
mod loom_tests {
    use super::*;

    /// The stage runs in the first thread, as in the model of the stage clock.
    #[test]
    fn a_reader_sees_a_ledger_that_balances() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let counter = FlowCounter::new();
            let reader = counter.clone();
            let reader = loom::thread::spawn(move || {
                let flows = reader.snapshot();
                assert_eq!(flows.check(), Ok(()), "{flows:?}");
            });
            let two = Records::new(2);
            counter.record(|flows| {
                flows.input += two;
                flows.held += two;
            });
            counter.record(|flows| {
                flows.output += two;
                flows.held -= two;
            });
            assert!(reader.join().is_ok());
        });
    }
}
