//! [`Batch`]: how large the batches are that a sink is given.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_runtime::BatchLimits;

use crate::contract::Check;
use crate::value::{ByteSize, Period};

/// When a batch for the sink is closed: by the first limit that it reaches, and earlier where the sink has nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// The most records in a batch, at least 1. The default is the sink's.
    pub max_events: Option<u32>,
    /// The most bytes in a batch, before encoding; a single larger record goes alone. The default is the sink's.
    pub max_bytes: Option<ByteSize>,
    /// The longest that a record waits for others. The default is the sink's.
    #[serde(alias = "timeout")]
    pub timeout_secs: Option<Period>,
}

impl Batch {
    /// The limits, with what is not said taken from `defaults`.
    #[must_use]
    pub fn limits(&self, defaults: BatchLimits) -> BatchLimits {
        BatchLimits {
            records: self.max_events.unwrap_or(defaults.records),
            bytes: self.max_bytes.map_or(defaults.bytes, ByteSize::bytes),
            linger: self.timeout_secs.map_or(defaults.linger, Period::get),
        }
    }

    /// Reports what cannot work. Keys are those within `batch`.
    pub fn check(&self, at: &mut Check<'_>) {
        if self.max_events == Some(0) {
            at.refuse("max_events", "a batch of no records is never full").help("set it to at least 1");
        }
        if self.max_bytes.is_some_and(|bytes| bytes.get() == 0) {
            at.refuse("max_bytes", "a batch of no bytes is never full").help("set it to at least the size of a record");
        }
    }
}
