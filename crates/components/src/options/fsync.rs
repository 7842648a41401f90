//! [`Fsync`]: when a buffer on disk makes what it took durable.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_runtime::durable::SyncPolicy;

use crate::value::Period;

/// When a buffer on disk makes what it took durable: `always`, or `every` so long. Records are acknowledged after that in
/// either case.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Fsync(SyncPolicy);

/// Longer than this nobody should wait for an acknowledgement.
const LONGEST: Duration = Duration::from_secs(10);

const EXPECTED: &str = "when to sync: write `always`, or `every` and a time of at most 10s like \"every 5ms\"";

impl Fsync {
    /// As the log has it.
    #[must_use]
    pub const fn policy(self) -> SyncPolicy {
        self.0
    }
}

impl Default for Fsync {
    fn default() -> Self {
        Self(SyncPolicy::Every(Duration::from_millis(5)))
    }
}

impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SyncPolicy::Always => f.write_str("always"),
            SyncPolicy::Every(period) => write!(f, "every {}", Period::new(period)),
        }
    }
}

impl std::str::FromStr for Fsync {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "always" {
            return Ok(Self(SyncPolicy::Always));
        }
        let period = text.strip_prefix("every ").and_then(|period| period.trim().parse::<Period>().ok());
        let period = period.map(Period::get).filter(|period| !period.is_zero() && *period <= LONGEST);
        period.map(|period| Self(SyncPolicy::Every(period))).ok_or(EXPECTED)
    }
}

impl Serialize for Fsync {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fsync {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(from)?;
        text.parse().map_err(|expected| D::Error::custom(format!("`{text}` is not {expected}")))
    }
}

impl JsonSchema for Fsync {
    fn schema_name() -> Cow<'static, str> {
        "Fsync".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "When a buffer on disk makes what it took durable: `always`, or `every 5ms`. Records are acknowledged after that in either case.",
            "type": "string",
            "pattern": "^(always|every .+)$",
            "default": "every 5ms"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_others_refused_with_an_example() {
        for text in ["always", "every 5ms", "every 1s"] {
            let fsync: Fsync = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(fsync.to_string(), text);
        }
        assert_eq!(Fsync::default().to_string(), "every 5ms");
        for text in ["never", "5ms", "every 0s", "every 1h", "every"] {
            let refused = serde_json::from_str::<Fsync>(&format!("\"{text}\"")).unwrap_err().to_string();
            assert!(refused.contains("\"every 5ms\""), "{refused}");
        }
    }
}
