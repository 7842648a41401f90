//! [`Rate`]: so many in so much time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::{self, Quantity, split_number};

/// A rate: a plain number for so many a second, or text: `"5k/s"`, `"100/min"`, `"1.5M/h"`. The letters `k`, `M` and `G`
/// are powers of 1000. Above zero.
#[derive(Copy, Clone, Debug, PartialEq, PartialOrd)]
pub struct Rate {
    per_second: f64,
}

const TIMES: [(&str, f64); 11] = [
    ("s", 1.0),
    ("sec", 1.0),
    ("second", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("minute", 60.0),
    ("h", 3_600.0),
    ("hour", 3_600.0),
    ("d", 86_400.0),
    ("day", 86_400.0),
    ("ms", 0.001),
];

const MOST_PER_SECOND: f64 = 1e12;

impl Rate {
    /// So many a second; `None` where that is not above zero, or above 10^12.
    #[must_use]
    pub fn per_second(number: f64) -> Option<Self> {
        (number > 0.0 && number <= MOST_PER_SECOND).then_some(Self { per_second: number })
    }

    /// How many a second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.per_second
    }

    /// The time from one to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.per_second).unwrap_or(Duration::MAX)
    }
}

impl Quantity for Rate {
    const EXPECTED: &'static str =
        "a rate: write a number a second that is above zero, or one with a time like \"5k/s\" or \"100/min\"";

    fn from_number(number: f64) -> Option<Self> {
        Self::per_second(number)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (count, time) = match text.split_once('/') {
            Some((count, time)) => (count, TIMES.iter().find(|(name, _)| *name == time.trim()).map(|(_, time)| *time)?),
            None => (text, 1.0),
        };
        let (number, factor) = split_number(count)?;
        let factor = match factor.trim_end() {
            "" => 1.0,
            "k" | "K" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            _ => return None,
        };
        Self::per_second(number * factor / time)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number::parse(text)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = [("G", 1e9), ("M", 1e6), ("k", 1e3)];
        match whole.into_iter().find(|(_, factor)| self.per_second >= *factor && self.per_second % factor == 0.0) {
            Some((letter, factor)) => write!(f, "{}{letter}/s", self.per_second / factor),
            None => write!(f, "{}/s", self.per_second),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number::deserialize(from)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A rate above zero: so many a second, or text with a time (s, min, h, d); k, M and G are powers of 1000.",
            "anyOf": [
                { "type": "number", "exclusiveMinimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9][0-9_.]*\\s*[kKMG]?\\s*(/\\s*[a-z]+)?\\s*$" }
            ],
            "examples": ["5k/s", "100/min", 20]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, per_second) in [
            ("5k/s", 5_000.0),
            ("100/min", 100.0 / 60.0),
            ("20", 20.0),
            ("1.5M / h", 1_500_000.0 / 3_600.0),
            ("1 / d", 1.0 / 86_400.0),
        ] {
            assert_eq!(text.parse(), Ok(Rate { per_second }), "{text}");
        }
        assert_eq!(serde_json::from_str::<Rate>("2.5").map(Rate::get).unwrap(), 2.5);
        assert_eq!("4/s".parse::<Rate>().map(Rate::interval), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_rate_is_refused_with_an_example() {
        for text in ["", "0/s", "k/s", "5/parsec", "5q/s", "-5/s", "9999G/s"] {
            let refused = text.parse::<Rate>().unwrap_err();
            assert!(refused.starts_with(&format!("\"{text}\" is not a rate: write")), "{refused}");
        }
        assert!(serde_json::from_str::<Rate>("0").is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for per_second in [0.25, 1.0, 1_500.0, 5_000.0, 2e6, 3e9, 0.001] {
            let rate = Rate { per_second };
            assert_eq!(rate.to_string().parse(), Ok(rate), "{rate}");
        }
    }
}
