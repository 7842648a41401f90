//! [`Book`]: what the sources, operators and sinks of a run saw, kept apart from what the runtime counts, so that the
//! one can be held against the other.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_flow::stall::StallReport;
use tidegate_flow::{Outcome, OutcomeCounts, Settled};
use tokio::time::Instant;

use crate::record::Rec;
use crate::rng::mix2;

/// At most this many broken rules are kept; the first ones say the most.
const KEPT: usize = 8;

/// The notes of one run.
#[derive(Default)]
pub struct Book {
    live: AtomicI64,
    looks: AtomicU64,
    notes: Mutex<Notes>,
}

/// What was seen.
#[derive(Default)]
pub struct Notes {
    /// By source.
    pub sources: Vec<SourceNotes>,
    /// What each sink accepted: record and path, to find what comes twice.
    accepted: Vec<HashSet<(u8, u64, u64)>>,
    /// The last record of each path at each sink, to find what comes out of order.
    last: Vec<HashMap<(u8, u64), u64>>,
    /// Rules that were seen broken.
    pub broken: Vec<String>,
    /// A number that depends on everything that sinks accepted and in which order.
    pub digest: u64,
    /// When something stopped to answer.
    pub hung: Option<Instant>,
    /// What the watchdog said, and when.
    pub stalls: Vec<(Instant, StallReport)>,
    /// Deliveries of batches larger than the largest batch, in bytes.
    pub oversize: u64,
    /// Deliveries that the sinks answered.
    pub deliveries: u64,
}

/// What is known of one source.
#[derive(Default)]
pub struct SourceNotes {
    /// Records handed to the pipeline.
    pub read: u64,
    /// Up to here everything was reported settled.
    pub committed: u64,
    /// How what was reported ended.
    pub reported: OutcomeCounts,
    /// What operators and sinks did to each record.
    pub records: Vec<RecordNotes>,
}

/// What is known of one record.
#[derive(Clone, Default)]
pub struct RecordNotes {
    /// The worst end that one of its parts was seen to come to.
    pub worst: Option<Outcome>,
    /// Parts of it that have not been seen to end.
    pub open: i64,
}

impl Book {
    /// Notes for `sources` sources and `sinks` sinks.
    #[must_use]
    pub fn new(sources: usize, sinks: usize) -> Self {
        let book = Self::default();
        let mut notes = book.notes();
        notes.sources.resize_with(sources, SourceNotes::default);
        notes.accepted.resize_with(sinks, HashSet::new);
        notes.last.resize_with(sinks, HashMap::new);
        drop(notes);
        book
    }

    /// The notes, to read.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes of records that came to life, or died.
    pub fn live(&self, change: i64) {
        self.live.fetch_add(change, Ordering::Relaxed);
    }

    /// Bytes of the records that are alive.
    pub fn live_bytes(&self) -> u64 {
        u64::try_from(self.live.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// A sink was given a batch.
    pub fn delivery(&self, is_oversize: bool) {
        let mut notes = self.notes();
        notes.deliveries += 1;
        notes.oversize += u64::from(is_oversize);
    }

    /// The pipeline was looked at.
    pub fn looked(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// A record is about to enter the pipeline.
    pub fn read(&self, record: &Rec) {
        let mut notes = self.notes();
        let source = &mut notes.sources[usize::from(record.source)];
        source.read += 1;
        source.records.push(RecordNotes { worst: None, open: 1 });
    }

    /// A part of a record has come to an end.
    pub fn ended(&self, record: &Rec, outcome: Outcome) {
        self.change(record, |known| {
            known.worst = known.worst.max(Some(outcome));
            known.open -= 1;
        });
    }

    /// A record has become more parts (or fewer, where it became none).
    pub fn parts(&self, record: &Rec, more: i64) {
        self.change(record, |known| known.open += more);
    }

    fn change(&self, record: &Rec, change: impl FnOnce(&mut RecordNotes)) {
        if record.side {
            return;
        }
        let index = usize::try_from(record.id - 1).unwrap_or(usize::MAX);
        if let Some(known) = self.notes().sources[usize::from(record.source)].records.get_mut(index) {
            change(known);
        }
    }

    /// A sink takes a record over. `unique`: no part of a record may come twice; `ordered`: parts that took the same
    /// way come in the order in which they were read.
    pub fn accepted(&self, sink: usize, record: &Rec, outcome: Outcome, unique: bool, ordered: bool) {
        self.ended(record, outcome);
        let mut notes = self.notes();
        let notes = &mut *notes;
        let (source, id, path) = (record.source, record.id, record.path);
        notes.digest = mix2(mix2(notes.digest, sink as u64), mix2(id, path));
        if unique && !notes.accepted[sink].insert((source, id, path)) {
            broken(notes, format!("sink {sink} was given record {id} of source {source} twice by the same way"));
        }
        let last = notes.last[sink].insert((source, path), id);
        if ordered && last.is_some_and(|last| last > id) {
            broken(notes, format!("sink {sink} was given record {id} of source {source} after {last:?}"));
        }
        let committed = notes.sources[usize::from(source)].committed;
        if !record.side && id <= committed {
            broken(
                notes,
                format!("record {id} of source {source} was delivered after position {committed} was committed"),
            );
        }
    }

    /// A source is told that records settled.
    pub fn settled(&self, source: usize, settled: &Settled<u64>) {
        let mut notes = self.notes();
        let notes = &mut *notes;
        let known = &mut notes.sources[source];
        let before = std::mem::replace(&mut known.committed, settled.position);
        known.reported.add_all(&settled.counts);
        let (read, reported) = (known.read, known.reported.total().get());
        if settled.position <= before || settled.position > read {
            broken(
                notes,
                format!("source {source} was told position {} after {before}, of {read} read", settled.position),
            );
        }
        if reported != settled.position {
            broken(
                notes,
                format!("source {source} was told how {reported} records ended, up to position {}", settled.position),
            );
        }
        if settled.nack.is_some() == settled.counts.refused().is_zero() {
            broken(
                notes,
                format!("source {source} was told of {:?} with the reason {:?}", settled.counts, settled.nack),
            );
        }
    }

    /// A source is told why records were refused; every reason must be in the plan.
    pub fn refused(&self, source: usize, settled: &Settled<u64>) {
        const KNOWN: [&str; 5] = [
            "planned",
            "stayed full for",
            "no answer within",
            "no answer at the record's",
            "dropped before it was settled",
        ];
        let cause = settled.nack.as_ref().map(|nack| nack.cause.as_str()).unwrap_or_default();
        if settled.nack.is_some() && !KNOWN.iter().any(|known| cause.contains(known)) {
            self.broken(format!("source {source} was refused records for a reason of its own: {cause}"));
        }
    }

    /// Something will never answer again.
    pub fn hung(&self, now: Instant) {
        self.notes().hung.get_or_insert(now);
    }

    /// The watchdog has something to say.
    pub fn stalled(&self, now: Instant, report: StallReport) {
        self.notes().stalls.push((now, report));
    }

    /// A rule was seen broken.
    pub fn broken(&self, what: impl Into<String>) {
        broken(&mut self.notes(), what.into());
    }
}

fn broken(notes: &mut Notes, what: String) {
    if notes.broken.len() < KEPT {
        notes.broken.push(what);
    }
}
