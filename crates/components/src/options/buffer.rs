//! [`Buffer`]: how much may wait before a component, and what happens when it is full.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::queue::SampleRate;
use tidegate_flow::{Bytes, EdgeSpec, OnFull, kib, mib};
use tidegate_runtime::durable::LogOptions;

use super::Fsync;
use crate::contract::Check;
use crate::value::{ByteSize, Period};

/// What waits before a component. In memory it holds at most 256 KiB where `max_size` is not given, of memory that it
/// shares with others; a `max_size` is reserved whole. It is full as soon as either limit is reached. On disk it is a log
/// of at most `max_size`, in the folder `buffers` of `data_dir`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Buffer {
    /// Where it is. Default: in memory.
    #[serde(rename = "type")]
    pub kind: BufferType,
    /// The most records that may wait in memory. Default: 4096, or as many as fit where `max_size` is given.
    pub max_events: Option<u64>,
    /// The most bytes that may wait. On disk it must be given: the log takes no more of the disk, its own files counted.
    pub max_size: Option<ByteSize>,
    /// What happens when it is full. Default: `block`.
    pub when_full: WhenFull,
    /// On disk: what is older is given up, some MiB at a time, and counted. Default: nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
    /// On disk: when what was taken is made durable. Default: `every 5ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync: Option<Fsync>,
    /// On disk: what is written. Default: `always`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Writes>,
}

/// What a buffer on disk writes.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Writes {
    /// Everything: a record is acknowledged when it is on disk, however fast the sink is.
    #[default]
    Always,
    /// What the sink does not take in time: as long as it keeps up, records pass in memory, and are acknowledged when it has
    /// accepted them. Writing begins when 1 MiB or 32 batches wait, or a record has waited for a second.
    UnderPressure,
}

/// Where a buffer is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferType {
    /// In memory: what is in it when the process dies is sent again by sources that can.
    #[default]
    Memory,
    /// On disk: sources are told that a record is safe when it is there, and a restart goes on where the sink was.
    Disk,
}

/// What a full buffer does.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Who sends waits, and so do its sources.
    #[default]
    Block,
    /// What comes is shed and counted.
    DropNewest,
    /// What has waited longest is shed and counted.
    DropOldest,
    /// From half full on, more and more of what comes is shed and counted; when it is full, all.
    Sample,
    /// The pipeline fails.
    Fail,
}

/// The records that fit into a buffer that was given in bytes: of this size, within the bounds below.
const SMALL_RECORD_BYTES: u64 = 64;
const MOST_RECORDS: u64 = 1 << 18;

/// The bytes of a buffer that was not given any: four reads of a source, enough that neither side waits for the other, and
/// little enough that what waits is young: 1,000 records of 256 bytes are a fifth of a second before a sink that takes
/// 5,000 a second.
const USUAL_BYTES: Bytes = kib(256);

/// What a log keeps in memory: what waits for its sync, and behind that the newest for a sink that keeps up. At 2 ms a
/// sync and one each 5 ms it is good for some 300 MiB/s.
const LOG_MEMORY: Bytes = mib(2);

/// How long a record may wait unwritten, and its sender for an answer, where the sink has stopped.
const UNWRITTEN_WAIT: Duration = Duration::from_secs(1);

impl Buffer {
    /// The edge of this name that the buffer describes, for at most so many producers.
    #[must_use]
    pub fn spec(&self, name: &str, producers: u16) -> EdgeSpec {
        let usual = EdgeSpec::DEFAULT_WINDOW.records.get();
        let fitting = self.max_size.map(|size| (size.get() / SMALL_RECORD_BYTES).clamp(usual, MOST_RECORDS));
        let records = self.max_events.or(fitting).unwrap_or(usual);
        let mut spec =
            EdgeSpec::new(name).records(records).on_full(self.when_full.into()).max_producers(producers.max(1));
        match self.max_size {
            Some(size) => spec.bytes(size.bytes()),
            None => {
                // Not `bytes`, which would reserve them.
                spec.window.bytes = USUAL_BYTES;
                spec
            }
        }
    }

    /// Whether it is on disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.kind == BufferType::Disk
    }

    /// The buffer in memory before one on disk. It sheds where that is told to shed what is new; otherwise who sends
    /// waits.
    #[must_use]
    pub fn before_disk(&self) -> Self {
        let when_full = if self.when_full == WhenFull::DropNewest { WhenFull::DropNewest } else { WhenFull::Block };
        Self { when_full, ..Self::default() }
    }

    /// How long a record may wait in memory, where not everything is written.
    #[must_use]
    pub fn unwritten_wait(&self) -> Option<Duration> {
        (self.write == Some(Writes::UnderPressure)).then_some(UNWRITTEN_WAIT)
    }

    /// The log of a buffer on disk.
    #[must_use]
    pub fn log(&self) -> LogOptions {
        let size = self.max_size.map_or(LogOptions::MIN_SIZE_BYTES, ByteSize::get);
        LogOptions::new(size)
            .memory_bytes(LOG_MEMORY.get())
            .max_age(self.max_age.map(Period::get))
            .sync(self.fsync.unwrap_or_default().policy())
    }

    /// Reports what cannot work. Keys are those within `buffer`.
    pub fn check(&self, at: &mut Check<'_>) {
        if self.max_events == Some(0) {
            at.refuse("max_events", "a buffer of no records is always full").help("set it to at least 1");
        }
        if self.max_size.is_some_and(|size| size.get() == 0) {
            at.refuse("max_size", "a buffer of no bytes is always full").help("set it to at least \"64KiB\"");
        }
        match self.kind {
            BufferType::Disk => self.check_on_disk(at),
            BufferType::Memory => self.check_in_memory(at),
        }
    }

    fn check_in_memory(&self, at: &mut Check<'_>) {
        let keys =
            [("max_age", self.max_age.is_some()), ("fsync", self.fsync.is_some()), ("write", self.write.is_some())];
        for (key, given) in keys {
            if given {
                at.refuse(key, "is for buffers on disk").help("remove it, or write `type: disk`");
            }
        }
    }

    fn check_on_disk(&self, at: &mut Check<'_>) {
        match self.max_size {
            None => {
                at.refuse("", "a buffer on disk must say how much of the disk it may take")
                    .help("write `max_size: 2GiB`, or what a long outage of the sink needs");
            }
            Some(size) if (1..LogOptions::MIN_SIZE_BYTES).contains(&size.get()) => {
                at.refuse("max_size", "a buffer on disk has 1 MiB at least").help("set it to \"1MiB\" or more");
            }
            Some(_) => {}
        }
        if self.max_events.is_some() {
            at.refuse("max_events", "a buffer on disk is bounded by its bytes").help("remove it, and set `max_size`");
        }
        if matches!(self.when_full, WhenFull::Sample | WhenFull::Fail) {
            at.refuse("when_full", "a buffer on disk waits, or drops what is new or what is old")
                .help("write `block`, `drop_newest` or `drop_oldest`");
        }
        if self.max_age.is_some_and(|age| age.get().is_zero()) {
            at.refuse("max_age", "everything is older than that").help("remove it, or set it to at least \"1s\"");
        }
    }
}

impl From<WhenFull> for OnFull {
    fn from(when_full: WhenFull) -> Self {
        match when_full {
            WhenFull::Block => Self::Block { max: None },
            WhenFull::DropNewest => Self::DropNewest,
            WhenFull::DropOldest => Self::DropOldest,
            WhenFull::Sample => Self::Sample(SampleRate::RisingWithFill),
            WhenFull::Fail => Self::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> EdgeSpec {
        serde_json::from_str::<Buffer>(json).unwrap().spec("sink", 2)
    }

    #[test]
    fn limits_that_are_not_given_follow_from_the_others() {
        let usual = spec("{}");
        assert_eq!((usual.window.records, usual.window.bytes), (EdgeSpec::DEFAULT_WINDOW.records, kib(256)));
        assert!(!usual.sized, "its memory floats");
        assert_eq!(spec(r#"{"max_events": 10}"#).window.records.get(), 10);
        let sized = spec(r#"{"max_size": "16MiB", "when_full": "drop_oldest"}"#);
        assert_eq!((sized.window.bytes, sized.window.records.get()), (mib(16), 1 << 18));
        assert_eq!(sized.when_full, OnFull::DropOldest);
        assert!(sized.validate().is_ok());
    }

    #[test]
    fn only_a_buffer_that_writes_under_pressure_lets_records_wait_unwritten() {
        let wait = |json| serde_json::from_str::<Buffer>(json).unwrap().unwritten_wait();
        assert_eq!(wait(r#"{"type": "disk"}"#), None);
        assert_eq!(wait(r#"{"type": "disk", "write": "always"}"#), None);
        assert_eq!(wait(r#"{"type": "disk", "write": "under_pressure"}"#), Some(UNWRITTEN_WAIT));
    }

    #[test]
    fn an_unknown_policy_is_refused_with_those_that_there_are() {
        let refused = serde_json::from_str::<Buffer>(r#"{"when_full": "overflow"}"#).unwrap_err().to_string();
        assert!(refused.contains("`drop_oldest`"), "{refused}");
    }
}
