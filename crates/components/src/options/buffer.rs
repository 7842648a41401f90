//! [`Buffer`]: how much may wait before a component, and what happens when it is full.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::queue::SampleRate;
use tidegate_flow::{Bytes, EdgeSpec, OnFull, kib};

use crate::contract::{Check, Class};
use crate::value::ByteSize;

/// What waits before a component. Without `max_size` it holds at most 256 KiB, of memory that it shares with others; a
/// `max_size` is reserved whole. It is full as soon as either limit is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Buffer {
    /// Where it is. Only in memory for now.
    #[serde(rename = "type")]
    pub kind: BufferType,
    /// The most records that may wait. Default: 4096, or as many as fit where `max_size` is given.
    pub max_events: Option<u64>,
    /// The most bytes that may wait.
    pub max_size: Option<ByteSize>,
    /// What happens when it is full. Default: `block`.
    pub when_full: WhenFull,
}

/// Where a buffer is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferType {
    /// In memory: what is in it when the process dies is sent again by sources that can.
    #[default]
    Memory,
    /// On disk. Not available yet.
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

    /// Reports what cannot work. Keys are those within `buffer`.
    pub fn check(&self, at: &mut Check<'_>) {
        if self.kind == BufferType::Disk {
            at.refuse("type", "buffers on disk are not available yet").about(Class::Later).help(
                "remove `type` and write a `max_size` that fits into `memory`; when it is full, a file is read on later and \
                 a request is refused with a time to try again, so that neither loses anything when the process dies",
            );
        }
        if self.max_events == Some(0) {
            at.refuse("max_events", "a buffer of no records is always full").help("set it to at least 1");
        }
        if self.max_size.is_some_and(|size| size.get() == 0) {
            at.refuse("max_size", "a buffer of no bytes is always full").help("set it to at least \"64KiB\"");
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
    use tidegate_flow::mib;

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
    fn an_unknown_policy_is_refused_with_those_that_there_are() {
        let refused = serde_json::from_str::<Buffer>(r#"{"when_full": "overflow"}"#).unwrap_err().to_string();
        assert!(refused.contains("`drop_oldest`"), "{refused}");
    }
}
