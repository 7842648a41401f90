//! The log under test beside the model of it, and the rules that hold after each step.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_store::{Counts, Fault, Health, Log, LogOptions, Read, Refused, Seq, SimulatedDisk, Trouble, frame};

use super::steps::{Shape, Step};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// After so long without a save, a settlement is saved in the next round.
const SAVE: u64 = 50 * MILLI;

/// A batch that was appended.
#[derive(Clone, Debug)]
struct Batch {
    records: u32,
    payload: Vec<u8>,
    time: u64,
}

impl Batch {
    fn bytes(&self) -> u64 {
        frame::frame_bytes(self.payload.len())
    }
}

/// Which states were met.
#[derive(Clone, Default, Debug)]
pub(crate) struct Met {
    refused: u64,
    at_max_size: u64,
    disk_full: u64,
    disk_fails: u64,
    expired: u64,
    dropped: u64,
    power_cuts: u64,
    rewound: u64,
    inside_a_batch: u64,
    from_disk: u64,
    failed_to_open: u64,
}

impl Met {
    fn counts(&mut self) -> [&mut u64; 11] {
        [
            &mut self.refused,
            &mut self.at_max_size,
            &mut self.disk_full,
            &mut self.disk_fails,
            &mut self.expired,
            &mut self.dropped,
            &mut self.power_cuts,
            &mut self.rewound,
            &mut self.inside_a_batch,
            &mut self.from_disk,
            &mut self.failed_to_open,
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        for (sum, more) in self.counts().into_iter().zip(other.counts()) {
            *sum += *more;
        }
    }

    pub(crate) fn all(&self) -> bool {
        self.clone().counts().into_iter().all(|count| *count > 0)
    }
}

pub(crate) struct System {
    shape: Shape,
    disk: SimulatedDisk,
    log: Option<Log<SimulatedDisk>>,
    now: u64,
    was_set_back: bool,
    /// Power cuts that are planned: the disk is off until it is cut.
    power_is_planned: bool,
    /// By the number of the first record.
    appended: BTreeMap<Seq, Batch>,
    next: Seq,
    durable: Seq,
    /// The next record that the reader hands out.
    position: Seq,
    /// What was settled, and what of that is certainly saved.
    settled: Seq,
    saved: Seq,
    /// Below this, records were given up on purpose.
    given_up: Seq,
    count: u64,
    pub(crate) met: Met,
}

impl System {
    pub(crate) fn new(shape: Shape) -> Self {
        let disk = SimulatedDisk::new(shape.seed).journaling();
        let mut system = Self {
            shape,
            disk,
            log: None,
            now: 10_000_000 * SECOND,
            was_set_back: false,
            power_is_planned: false,
            appended: BTreeMap::new(),
            next: 0,
            durable: 0,
            position: 0,
            settled: 0,
            saved: 0,
            given_up: 0,
            count: 0,
            met: Met::default(),
        };
        assert!(system.open(), "nothing fails yet");
        system
    }

    pub(crate) fn take(&mut self, step: &Step) {
        if self.log.is_none() && !self.open() {
            // The disk fails at the start: it is tried again, and nothing is lost by that.
            self.met.failed_to_open += 1;
            self.restart_disk();
            assert!(self.open(), "nothing fails any more");
        }
        match step {
            Step::Append { records, bytes } => self.append(*records, *bytes),
            Step::Round { millis } => self.round(millis * MILLI),
            Step::Read { most } => self.read(*most),
            Step::Settle { but } => self.settle(*but),
            Step::Rewind { by } => self.rewind(*by),
            Step::Reopen => self.log = None,
            Step::Crash => {
                self.log = None;
                self.crash();
            }
            Step::Fail { after, fault } => {
                self.power_is_planned |= *fault == Fault::Power;
                self.disk.plan(self.disk.calls() + after, *fault);
            }
            Step::Capacity { bytes } => self.disk.set_capacity(*bytes),
            Step::Free => self.disk.set_capacity(u64::MAX),
            Step::DropOldest => self.drop_oldest(),
            Step::Hurry => self.log().appender.hurry(),
            Step::Fill { batches } => {
                for _ in 0..*batches {
                    self.append(1, 24_000);
                    self.round(10 * MILLI);
                }
            }
            Step::Wait { seconds } => self.now += seconds * SECOND,
            Step::SetBack { seconds } => {
                self.was_set_back = true;
                self.now -= seconds * SECOND;
            }
        }
        self.check();
    }

    /// Nothing fails any more: what was taken becomes durable, all of it is read, and a power cut changes nothing.
    pub(crate) fn come_to_rest(&mut self) {
        self.disk.set_capacity(u64::MAX);
        if self.power_is_planned {
            self.log = None;
        }
        self.restart_disk();
        if self.log.is_none() {
            assert!(self.open(), "nothing fails any more");
        }
        for _ in 0..8 {
            self.round(6 * SECOND);
            self.read(usize::MAX);
            self.settle(0);
            self.check();
        }
        assert_eq!(self.log().appender.health(), Health::Good);
        assert_eq!(self.durable, self.next, "what was taken is durable");
        self.read(usize::MAX);
        assert_eq!(self.position, self.durable, "all of it is read");
        self.log = None;
        self.crash();
        assert!(self.open());
        self.read(usize::MAX);
        assert_eq!(self.position, self.durable);
        self.check();
    }

    fn log(&mut self) -> &mut Log<SimulatedDisk> {
        self.log.as_mut().unwrap()
    }

    fn counts(&mut self) -> Counts {
        self.log().appender.counts()
    }

    fn crash(&mut self) {
        self.met.power_cuts += 1;
        self.power_is_planned = false;
        self.disk.crash();
    }

    fn restart_disk(&mut self) {
        self.disk.mend();
        if std::mem::take(&mut self.power_is_planned) {
            self.crash();
        }
    }

    fn open(&mut self) -> bool {
        let Ok(log) = Log::open(self.disk.clone(), self.shape.options(), &["r"], self.now) else { return false };
        assert_eq!(log.recovered.damaged_tail, 0, "nothing that was durable is missing at the end");
        assert!(!log.recovered.cursors_lost || self.saved == 0, "one of the two cursor files is always whole");
        let next = log.recovered.next;
        assert!(next >= self.durable, "what was durable is there: {next}, {}", self.durable);
        assert!(next <= self.next, "nothing is there that was not appended: {next}, {}", self.next);
        // What was appended and is not there gives its numbers back.
        self.appended.split_off(&next);
        (self.next, self.durable) = (next, next);
        let position = log.readers[0].position();
        assert!(position <= self.settled, "a cursor passes only what was settled: {position}, {}", self.settled);
        assert!(position >= self.saved, "a cursor that was saved is where it was: {position}, {}", self.saved);
        (self.position, self.settled) = (position, position);
        self.log = Some(log);
        true
    }

    fn append(&mut self, records: u32, bytes: usize) {
        self.count += 1;
        let mut payload = self.count.to_le_bytes().to_vec();
        payload.resize(bytes.max(8), (self.count % 251) as u8);
        let batch = Batch { records, payload, time: self.now };
        let (now, shared) = (self.now, Arc::from(&batch.payload[..]));
        let waiting: u64 = self.appended.range(self.durable..).map(|(_, batch)| batch.bytes()).sum();
        match self.log().appender.append(records, &shared, now) {
            Ok(end) => {
                assert_eq!(end, self.next + u64::from(records), "numbers have no gaps");
                self.appended.insert(self.next, batch);
                self.next = end;
            }
            Err(Refused::Full) => {
                self.met.refused += 1;
                let most = self.shape.memory;
                assert!(waiting > 0 && waiting + batch.bytes() > most, "{waiting} of {most} wait: there is room");
            }
            Err(Refused::TooLarge) => assert!(batch.bytes() > LogOptions::MIN_SIZE_BYTES / 4),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn round(&mut self, pass: u64) {
        self.now += pass;
        let (now, before) = (self.now, self.counts());
        let settled = self.log().readers[0].settler().settled();
        self.log().committer.round(now);
        let after = self.counts();
        assert!(after.durable >= self.durable, "what is durable stays so");
        self.durable = after.durable;
        self.expired(now, before, after, settled);
        if pass >= SAVE && after.failures == before.failures && self.log().appender.health() == Health::Good {
            self.saved = self.saved.max(settled);
        }
        match self.log().appender.health() {
            Health::Good => {}
            Health::Waiting(Trouble::AtMaxSize) => self.met.at_max_size += 1,
            Health::Waiting(Trouble::DiskFull) => self.met.disk_full += 1,
            Health::Waiting(Trouble::DiskFails { .. }) => self.met.disk_fails += 1,
        }
    }

    /// What is given up for its age is old, and counted.
    fn expired(&mut self, now: u64, before: Counts, after: Counts, settled: Seq) {
        let cursor = self.log().readers[0].settler().settled();
        assert_eq!(cursor - settled, after.expired - before.expired, "what is given up is counted");
        let age = self.shape.max_age.map(|age| age.as_nanos() as u64);
        if cursor > settled && !self.was_set_back {
            let age = age.expect("without an age nothing is given up");
            let young = self.appended.range(..cursor).any(|(_, batch)| batch.time + age > now);
            assert!(!young, "only what is old is given up");
        }
        self.met.expired += cursor - settled;
        self.moved_to(cursor);
    }

    fn drop_oldest(&mut self) {
        let before = self.log().readers[0].settler().settled();
        let dropped = self.log().appender.drop_oldest();
        let cursor = self.log().readers[0].settler().settled();
        assert_eq!(cursor - before, dropped, "what is given up is counted");
        self.met.dropped += dropped;
        self.moved_to(cursor);
    }

    /// The reader was moved on purpose.
    fn moved_to(&mut self, cursor: Seq) {
        if cursor > self.settled {
            self.settled = cursor;
            self.given_up = self.given_up.max(cursor);
        }
    }

    fn read(&mut self, most: usize) {
        for _ in 0..most {
            let from_disk = self.counts().read_from_disk;
            let read = match self.log().readers[0].read() {
                Ok(read) => read,
                // The power is off.
                Err(_) if self.power_is_planned => return,
                Err(error) => panic!("no read was to fail: {error}"),
            };
            self.met.from_disk += self.counts().read_from_disk - from_disk;
            // What was given up is passed over; nothing else is.
            self.position = self.position.max(self.settled.min(self.given_up));
            let (entry, skip) = match read {
                Read::Empty => {
                    assert!(self.position >= self.durable, "{} of {} was read", self.position, self.durable);
                    return;
                }
                Read::Damaged(records) => panic!("{records} records are damaged, and nobody damaged any"),
                Read::Entry { entry, skip } => (entry, skip),
            };
            assert_eq!(entry.first + u64::from(skip), self.position, "nothing is passed over");
            assert!(entry.end() <= self.durable, "only what is durable is read");
            let batch = &self.appended[&entry.first];
            assert_eq!((entry.records, &entry.payload[..]), (batch.records, &batch.payload[..]));
            self.met.inside_a_batch += u64::from(skip > 0);
            self.position = entry.end();
        }
    }

    fn settle(&mut self, but: u64) {
        let until = self.position.saturating_sub(but);
        self.log().readers[0].settle(until);
        self.settled = self.settled.max(until);
    }

    fn rewind(&mut self, by: u64) {
        let to = self.position.saturating_sub(by);
        self.log().readers[0].rewind(to);
        self.met.rewound += u64::from(to < self.position);
        self.position = to.max(self.settled);
    }

    /// What holds after each step.
    fn check(&mut self) {
        if self.log.is_none() {
            return;
        }
        let counts = self.counts();
        let cursor = self.log().readers[0].settler().settled();
        assert_eq!(cursor, self.settled, "the cursor is where it was settled");
        assert!(cursor <= self.durable, "a cursor never passes what is durable");
        assert!(counts.disk_bytes <= LogOptions::MIN_SIZE_BYTES, "{} bytes on disk", counts.disk_bytes);
        let largest = self.appended.values().map(Batch::bytes).max().unwrap_or(0);
        assert!(counts.memory_bytes <= self.shape.memory + largest, "{} bytes in memory", counts.memory_bytes);
        assert_eq!(counts.damaged, 0);
        assert_eq!(self.log().readers[0].position().max(cursor), self.position.max(cursor));
    }
}
