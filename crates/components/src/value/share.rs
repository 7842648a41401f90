//! [`Share`]: a part of a whole.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::{self, Quantity, split_number};

/// A part of a whole: a plain number from 0 to 1, or text: `"10%"`.
#[derive(Copy, Clone, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// From a number from 0 to 1; `None` for any other.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        (0.0..=1.0).contains(&number).then_some(Self(number))
    }

    /// As a number from 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Quantity for Share {
    const EXPECTED: &'static str = "a share: write a number from 0 to 1, or one like \"10%\"";

    fn from_number(number: f64) -> Option<Self> {
        Self::new(number)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text)?;
        match unit.trim_end() {
            "" => Self::new(number),
            "%" => Self::new(number / 100.0),
            _ => None,
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number::parse(text)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number::deserialize(from)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A part of a whole: a number from 0 to 1, or text in percent.",
            "anyOf": [
                { "type": "number", "minimum": 0, "maximum": 1 },
                { "type": "string", "pattern": "^\\s*[0-9][0-9_.]*\\s*%?\\s*$" }
            ],
            "examples": ["10%", 0.1]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_written() {
        for (text, number) in [("10%", 0.1), ("0.25", 0.25), (" 100 % ", 1.0), ("0", 0.0)] {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.get(), number, "{text}");
            assert_eq!(share.to_string().parse(), Ok(share));
        }
        for text in ["110%", "1.5", "-1", "ten", "10 k"] {
            let refused = text.parse::<Share>().unwrap_err();
            assert!(refused.contains("is not a share"), "{refused}");
        }
    }
}
