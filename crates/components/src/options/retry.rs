//! [`Retry`]: how often and when a delivery that was refused for now is tried again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_runtime::Jitter;

use crate::value::{Period, Share};

/// How often and when a delivery that was refused for now is tried again. The keys `retry_attempts`,
/// `retry_initial_backoff_secs`, `retry_max_duration_secs` and `retry_jitter_mode` beside it say the same, as in Vector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// How often a batch is tried again before it goes back to its source. Default: without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The first pause before another try; each next one is twice as long. Default: 1 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_backoff: Option<Period>,
    /// The longest pause between two tries. Default: 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<Period>,
    /// How pauses are scattered. Default: `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<JitterMode>,
    /// The share of deliveries that may be repetitions. No effect yet: the pauses alone keep repetitions rare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Share>,
}

/// How the pauses between tries are scattered.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JitterMode {
    /// Each pause is anywhere from nothing to its full length, so that senders that failed together do not come back
    /// together. What the receiver asked for is still waited.
    #[default]
    #[serde(alias = "Full")]
    Full,
    /// Pauses are as long as they are.
    #[serde(alias = "None")]
    None,
}

impl JitterMode {
    /// The jitter, with a seed of its own for each process.
    #[must_use]
    pub fn start(self) -> Jitter {
        match self {
            Self::None => Jitter::None,
            Self::Full => Jitter::Full { seed: RandomState::new().build_hasher().finish() },
        }
    }
}
