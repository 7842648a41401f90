//! [`Request`]: how a sink is called: how many times at once, for how long, and how often again.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_runtime::{Backoff, SinkPolicy};

use crate::contract::Check;
use crate::value::Period;

/// How a sink is called. The runtime does it, so that it is the same for every sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// How many deliveries are under way at once: a number, or `none` for one. Default: one.
    pub concurrency: Concurrency,
    /// A delivery that takes longer counts as refused for now. Default: 60 s.
    #[serde(alias = "timeout")]
    pub timeout_secs: Period,
    /// How often a batch that was refused for now is tried again before it goes back to its source. Default: without
    /// end, as in Vector.
    pub retry_attempts: Option<u32>,
    /// The first pause before another try; each next one is twice as long. Default: 1 s.
    pub retry_initial_backoff_secs: Period,
    /// The longest pause between two tries. Default: 30 s.
    pub retry_max_duration_secs: Period,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            concurrency: Concurrency::default(),
            timeout_secs: Period::secs(60),
            retry_attempts: None,
            retry_initial_backoff_secs: Period::secs(1),
            retry_max_duration_secs: Period::secs(30),
        }
    }
}

impl Request {
    /// What the runtime does around the sink.
    #[must_use]
    pub fn policy(&self) -> SinkPolicy {
        let retries = self.retry_attempts.unwrap_or(u32::MAX);
        let first = self.retry_initial_backoff_secs.get();
        let longest = self.retry_max_duration_secs.get().max(first);
        SinkPolicy {
            retries,
            backoff: Backoff { first, longest, restarts: retries },
            timeout: Some(self.timeout_secs.get()).filter(|timeout| *timeout > Duration::ZERO),
        }
    }

    /// Reports what cannot work. Keys are those within `request`.
    pub fn check(&self, at: &mut Check<'_>) {
        if self.concurrency == Concurrency::Adaptive {
            at.warn(
                "concurrency",
                "a concurrency that adapts itself is not available yet; deliveries go one at a time",
            )
            .help("write a number for more");
        }
        if self.timeout_secs.get().is_zero() {
            at.refuse("timeout_secs", "no delivery is done in no time").help("set it above zero");
        }
        if self.retry_max_duration_secs < self.retry_initial_backoff_secs {
            at.warn("retry_max_duration_secs", "is shorter than the first pause, which counts");
        }
    }
}

/// How many deliveries are under way at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many, at least 1.
    Fixed(u32),
    /// As many as do good. Not available yet: one.
    Adaptive,
}

const MOST: u32 = 1024;

impl Concurrency {
    /// The number, at least 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        match self {
            Self::Fixed(number) => number,
            Self::Adaptive => 1,
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self::Fixed(1)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Word(String),
}

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = || format!("write a number from 1 to {MOST}, or \"none\" for one at a time");
        match Written::deserialize(from) {
            Ok(Written::Number(number @ 1..=MOST)) => Ok(Self::Fixed(number)),
            Ok(Written::Number(number)) => Err(serde::de::Error::custom(format!("{number} at once: {}", expected()))),
            Ok(Written::Word(word)) if word == "none" => Ok(Self::Fixed(1)),
            Ok(Written::Word(word)) if word == "adaptive" => Ok(Self::Adaptive),
            Ok(Written::Word(word)) => Err(serde::de::Error::custom(format!("\"{word}\" at once: {}", expected()))),
            Err(_) => Err(serde::de::Error::custom(expected())),
        }
    }
}

impl Serialize for Concurrency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(number) => to.serialize_u32(*number),
            Self::Adaptive => to.serialize_str("adaptive"),
        }
    }
}

impl JsonSchema for Concurrency {
    fn schema_name() -> Cow<'static, str> {
        "Concurrency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many deliveries are under way at once; `none` is one.",
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": MOST }, { "enum": ["none", "adaptive"] }],
            "default": 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_follows_from_what_was_written() {
        let request: Request = serde_json::from_str(r#"{"timeout":"5s","retry_attempts":2,"concurrency":8}"#).unwrap();
        let policy = request.policy();
        assert_eq!((policy.retries, policy.timeout), (2, Some(Duration::from_secs(5))));
        assert_eq!(policy.backoff.pause(2), Some(Duration::from_secs(2)));
        assert_eq!(request.concurrency.get(), 8);
        assert_eq!(Request::default().policy().retries, u32::MAX);
    }

    #[test]
    fn what_is_no_concurrency_is_refused_with_what_is() {
        for (json, said) in
            [("0", "0 at once"), ("2000", "2000 at once"), ("\"many\"", "\"many\" at once"), ("[]", "write a number")]
        {
            let refused = serde_json::from_str::<Concurrency>(json).unwrap_err().to_string();
            assert!(refused.contains(said) && refused.contains("from 1 to 1024"), "{refused}");
        }
        assert_eq!(serde_json::from_str::<Concurrency>("\"none\"").unwrap().get(), 1);
    }
}
