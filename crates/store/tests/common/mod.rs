//! A log on a simulated disk beside what it ought to hold.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{Log, LogOptions, Read, Refused, Seq, SimulatedDisk, WritePolicy};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// The log under test, the disk it stands on, and a plain model: which payload has which number, what was said to be
/// durable, and what was settled.
pub(crate) struct World {
    pub(crate) disk: SimulatedDisk,
    pub(crate) options: LogOptions,
    pub(crate) log: Option<Log<SimulatedDisk>>,
    pub(crate) now: u64,
    /// Numbers are given out anew after a crash only to records that were never durable.
    pub(crate) appended: BTreeMap<Seq, Vec<u8>>,
    pub(crate) durable: Seq,
    pub(crate) settled: Seq,
    /// The number below which the reader was moved on purpose.
    pub(crate) given_up: Seq,
    /// Whether what is settled before it was written never is.
    passes: bool,
    count: u64,
}

impl World {
    pub(crate) fn new(seed: u64, options: LogOptions) -> Self {
        let disk = SimulatedDisk::new(seed);
        let mut world = Self {
            disk,
            options: options.identity(seed ^ 0x5eed),
            log: None,
            now: 1_000 * SECOND,
            appended: BTreeMap::new(),
            durable: 0,
            settled: 0,
            given_up: 0,
            passes: false,
            count: 0,
        };
        world.open();
        world
    }

    /// A log that writes under pressure only: when more than three batches wait, or one for longer than a second.
    pub(crate) fn passing(seed: u64, options: LogOptions) -> Self {
        let policy = WritePolicy::UnderPressure { batches: 4, wait: Duration::from_secs(1) };
        Self { passes: true, ..Self::new(seed, options.write(policy)) }
    }

    /// Small segments, so that a few appends fill several.
    pub(crate) fn small() -> LogOptions {
        LogOptions::new(LogOptions::MIN_SIZE_BYTES).segment_bytes(4096).memory_bytes(16 << 10)
    }

    pub(crate) fn open(&mut self) {
        assert!(self.try_open(), "the disk does not fail here");
    }

    pub(crate) fn try_open(&mut self) -> bool {
        self.log = None;
        match Log::open(self.disk.clone(), self.options.clone(), &["r"], self.now) {
            Ok(log) => {
                assert_eq!(log.recovered.damaged_tail, 0, "nothing durable is missing");
                assert!(log.recovered.next >= self.durable);
                assert!(log.readers[0].position() <= self.settled, "a cursor never passes what was settled");
                // What was appended and never durable, and is not there, gives its numbers back.
                self.appended.split_off(&log.recovered.next);
                self.settled = self.settled.min(log.recovered.next);
                self.log = Some(log);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn log(&mut self) -> &mut Log<SimulatedDisk> {
        self.log.as_mut().unwrap()
    }

    pub(crate) fn append(&mut self, bytes: usize) -> Result<Seq, Refused> {
        self.count += 1;
        let mut payload = self.count.to_le_bytes().to_vec();
        payload.resize(bytes.max(8), (self.count % 251) as u8);
        let now = self.now;
        let end = self.log().appender.append(1, &Arc::from(&payload[..]), now)?;
        self.appended.insert(end - 1, payload);
        Ok(end)
    }

    /// One round of the committer, after the time of the group commit.
    pub(crate) fn round(&mut self) {
        self.now += SECOND / 100;
        let now = self.now;
        let log = self.log();
        log.committer.round(now);
        let (durable, safe) = (log.appender.durable(), log.appender.safe());
        assert!(durable >= self.durable);
        assert_eq!(safe, durable.max(self.settled));
        self.durable = durable;
    }

    /// Reads at most this many batches, compares each, and returns the number after the last.
    pub(crate) fn read(&mut self, most: usize) -> Seq {
        let mut read = 0;
        while read < most {
            let before = self.log().readers[0].position();
            match self.log().readers[0].read().unwrap() {
                Read::Empty => break,
                Read::Damaged(records) => panic!("{records} records are damaged from {before} on"),
                Read::Entry { entry, skip } => {
                    assert_eq!(skip, 0);
                    assert!(entry.first >= before);
                    let gone = if self.passes { self.settled } else { self.given_up };
                    assert!(entry.first == before || entry.first <= gone, "nothing is passed over");
                    assert!(self.passes || entry.end() <= self.durable, "only what is durable is read");
                    assert_eq!(self.appended.get(&entry.first).map(Vec::as_slice), Some(&entry.payload[..]));
                    read += 1;
                }
            }
        }
        self.log().readers[0].position()
    }

    pub(crate) fn settle(&mut self, until: Seq) {
        self.log().readers[0].settle(until);
        self.settled = self.settled.max(until);
    }

    /// Reads everything, which must reach what was said to be durable.
    pub(crate) fn read_all(&mut self) {
        let end = self.read(usize::MAX);
        assert!(end >= self.durable, "read up to {end}, durable up to {}", self.durable);
    }

    /// Reopens on what the crash left, and checks that nothing that was durable is missing.
    pub(crate) fn crash(&mut self) {
        self.log = None;
        self.disk.crash();
        self.open();
        self.durable = self.log().appender.durable();
        self.read_all();
    }
}
