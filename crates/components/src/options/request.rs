//! [`Request`]: how a sink is called: how many times at once, for how long, and how often again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_runtime::{Backoff, SinkPolicy};

use super::retry::{JitterMode, Retry};
use crate::contract::{Check, Class};
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
    /// How often and when a delivery that was refused for now is tried again.
    pub retry: Retry,
    /// Another way to write `retry.attempts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_attempts: Option<u32>,
    /// Another way to write `retry.initial_backoff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_initial_backoff_secs: Option<Period>,
    /// Another way to write `retry.max_backoff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_max_duration_secs: Option<Period>,
    /// Another way to write `retry.jitter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_jitter_mode: Option<JitterMode>,
    /// Further headers of requests over HTTP, by name.
    pub headers: BTreeMap<String, String>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            concurrency: Concurrency::default(),
            timeout_secs: Period::secs(60),
            retry: Retry::default(),
            retry_attempts: None,
            retry_initial_backoff_secs: None,
            retry_max_duration_secs: None,
            retry_jitter_mode: None,
            headers: BTreeMap::new(),
        }
    }
}

impl Request {
    /// What the runtime does around the sink.
    #[must_use]
    pub fn policy(&self) -> SinkPolicy {
        let retries = self.retry.attempts.or(self.retry_attempts).unwrap_or(u32::MAX);
        let (first, longest) = self.pauses();
        SinkPolicy {
            retries,
            backoff: Backoff { first: first.get(), longest: longest.get().max(first.get()), restarts: retries },
            jitter: self.retry.jitter.or(self.retry_jitter_mode).unwrap_or_default().start(),
            timeout: Some(self.timeout_secs.get()).filter(|timeout| *timeout > Duration::ZERO),
        }
    }

    /// The first and the longest pause, as they were written.
    fn pauses(&self) -> (Period, Period) {
        let first = self.retry.initial_backoff.or(self.retry_initial_backoff_secs).unwrap_or(Period::secs(1));
        let longest = self.retry.max_backoff.or(self.retry_max_duration_secs);
        (first, longest.unwrap_or(Period::secs(30).max(first)))
    }

    /// Reports what cannot work. Keys are those within `request`.
    pub fn check(&self, at: &mut Check<'_>) {
        if self.concurrency == Concurrency::Adaptive {
            at.warn(
                "concurrency",
                "a concurrency that adapts itself is not available yet; deliveries go one at a time",
            )
            .about(Class::Later)
            .help("write a number for more, such as 8");
        }
        if self.timeout_secs.get().is_zero() {
            at.refuse("timeout_secs", "no delivery is done in no time").help("set it above zero");
        }
        let twice = [
            ("retry_attempts", "attempts", self.retry_attempts.is_some() && self.retry.attempts.is_some()),
            (
                "retry_initial_backoff_secs",
                "initial_backoff",
                self.retry_initial_backoff_secs.is_some() && self.retry.initial_backoff.is_some(),
            ),
            (
                "retry_max_duration_secs",
                "max_backoff",
                self.retry_max_duration_secs.is_some() && self.retry.max_backoff.is_some(),
            ),
            ("retry_jitter_mode", "jitter", self.retry_jitter_mode.is_some() && self.retry.jitter.is_some()),
        ];
        for (key, ours, _) in twice.into_iter().filter(|(.., is_twice)| *is_twice) {
            at.refuse(key, format!("`retry.{ours}` says it already")).help("leave out one of the two");
        }
        if self.retry.budget.is_some() {
            at.warn("retry.budget", "a budget of tries has no effect yet")
                .about(Class::Later)
                .help("pauses that double and are scattered keep tries few; `retry.attempts` limits those of a batch");
        }
        let (first, longest) = self.pauses();
        if longest < first {
            let key = if self.retry.max_backoff.is_some() { "retry.max_backoff" } else { "retry_max_duration_secs" };
            at.warn(key, "is shorter than the first pause, which counts");
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
    use tidegate_runtime::Jitter;

    use super::*;
    use crate::contract::{BuildContext, Depth, Level};

    #[test]
    fn a_policy_follows_from_what_was_written() {
        let request: Request = serde_json::from_str(r#"{"timeout":"5s","retry_attempts":2,"concurrency":8}"#).unwrap();
        let policy = request.policy();
        assert_eq!((policy.retries, policy.timeout), (2, Some(Duration::from_secs(5))));
        assert_eq!(policy.backoff.pause(2), Some(Duration::from_secs(2)));
        assert_eq!(request.concurrency.get(), 8);
        assert_eq!(Request::default().policy().retries, u32::MAX);
        assert!(matches!(Request::default().policy().jitter, Jitter::Full { .. }));
    }

    #[test]
    fn the_keys_of_vector_and_ours_say_the_same() {
        let ours = r#"{"retry":{"attempts":5,"initial_backoff":"2s","max_backoff":"1m","jitter":"none"}}"#;
        let theirs = r#"{"retry_attempts":5,"retry_initial_backoff_secs":2,"retry_max_duration_secs":60,"retry_jitter_mode":"None"}"#;
        for json in [ours, theirs] {
            let policy = serde_json::from_str::<Request>(json).unwrap().policy();
            assert_eq!((policy.retries, policy.jitter), (5, Jitter::None));
            assert_eq!(
                (policy.backoff.first, policy.backoff.longest),
                (Duration::from_secs(2), Duration::from_secs(60))
            );
        }
    }

    #[test]
    fn what_is_said_twice_or_has_no_effect_is_reported() {
        let json = r#"{"concurrency":"adaptive","retry":{"attempts":5,"budget":"10%"},"retry_attempts":4}"#;
        let (request, cx): (Request, _) = (serde_json::from_str(json).unwrap(), BuildContext::new("data"));
        let mut check = Check::new(&cx, Depth::Values);
        request.check(&mut check);
        let found: Vec<_> = check.into_problems().into_iter().map(|one| (one.key, one.level, one.class)).collect();
        let expected = [
            ("concurrency", Level::Warning, Class::Later),
            ("retry_attempts", Level::Error, Class::Setting),
            ("retry.budget", Level::Warning, Class::Later),
        ];
        assert_eq!(found, expected.map(|(key, level, class)| (key.to_owned(), level, class)));
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
