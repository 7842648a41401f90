//! [`Period`]: a length of time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::{self, Quantity, split_number};

/// A length of time: a plain number of seconds, also with a fraction, or text with units: `"10s"`, `"500ms"`,
/// `"1m30s"`, `"2h"`, `"7d"`. At most ten years.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

const LONGEST_SECONDS: f64 = 10.0 * 366.0 * 86_400.0;

const UNITS: [(&str, f64); 6] =
    [("us", 0.000_001), ("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];

impl Period {
    /// A length of time.
    #[must_use]
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// So many seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Quantity for Period {
    const EXPECTED: &'static str =
        "a length of time: write a number of seconds, or one with a unit like \"10s\", \"500ms\" or \"1m30s\"";

    fn from_number(seconds: f64) -> Option<Self> {
        // Nanoseconds beyond the microsecond are what a float made up.
        (0.0..=LONGEST_SECONDS).contains(&seconds).then(|| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the longest period")]
            Self(Duration::from_micros((seconds * 1_000_000.0).round() as u64))
        })
    }

    fn from_text(text: &str) -> Option<Self> {
        let (mut seconds, mut rest) = (0.0, text);
        loop {
            let (number, behind) = split_number(rest)?;
            if behind.is_empty() && rest.len() == text.len() {
                return Self::from_number(number);
            }
            let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
            let (_, factor) = UNITS.iter().find(|(name, _)| *name == &behind[..end])?;
            seconds += number * factor;
            rest = behind[end..].trim();
            if rest.is_empty() {
                return Self::from_number(seconds);
            }
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number::parse(text)
    }
}

impl fmt::Display for Period {
    /// In the largest unit that leaves a whole number: `90s`, `2h`, `1500us`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let units =
            [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000_u128)];
        match units.into_iter().find(|(_, factor)| micros >= *factor && micros.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", micros / factor),
            None if micros == 0 => f.write_str("0s"),
            None => write!(f, "{micros}us"),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number::deserialize(from)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time: a number of seconds, or text with units (us, ms, s, m, h, d).",
            "anyOf": [
                { "type": "number", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*([0-9][0-9_.]*\\s*(us|ms|s|m|h|d)\\s*)+$|^\\s*[0-9][0-9_.]*\\s*$" }
            ],
            "examples": ["10s", "1m30s", 0.5]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_units_are_read() {
        for (text, millis) in [
            ("10", 10_000),
            ("0.25", 250),
            ("10s", 10_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            (" 2 h 5 m ", 7_500_000),
            ("7d", 604_800_000),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Period::millis(millis)), "{text}");
        }
        assert_eq!(serde_json::from_str::<Period>("1.5").unwrap(), Period::millis(1_500));
    }

    #[test]
    fn what_is_no_period_is_refused_with_an_example() {
        for text in ["", "s", "5 parsecs", "1m30", "-1s", "1s-", "99999d"] {
            let refused = text.parse::<Period>().unwrap_err();
            assert!(refused.starts_with(&format!("\"{text}\" is not a length of time: write")), "{refused}");
        }
        assert!(serde_json::from_str::<Period>("-0.5").is_err());
        assert!(serde_json::from_str::<Period>("1e300").is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for micros in [0, 1, 1_500, 250_000, 90_000_000, 7_200_000_000, 604_800_000_000] {
            let period = Period(Duration::from_micros(micros));
            assert_eq!(period.to_string().parse(), Ok(period), "{period}");
        }
    }
}
