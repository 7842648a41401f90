//! [`ByteSize`]: a number of bytes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_flow::Bytes;

use super::number::{self, Quantity, split_number, whole};

/// A number of bytes: a plain number, or text with a unit: `"256MiB"`, `"64 KiB"`, `"1.5GB"`. `K`, `M`, `G` and `T` with
/// `iB` are powers of 1024; with `B` alone (also as `kB`) powers of 1000. At most 2^53 bytes.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 9] = [
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many KiB.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// So many MiB.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as a length in memory; the largest such length where it is more.
    #[must_use]
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The number as the core counts it.
    #[must_use]
    pub const fn bytes(self) -> Bytes {
        Bytes::new(self.0)
    }
}

impl Quantity for ByteSize {
    const EXPECTED: &'static str =
        "a number of bytes: write a whole number, or one with a unit like \"64KiB\" or \"256MiB\"";

    fn from_number(number: f64) -> Option<Self> {
        whole(number).map(Self)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text)?;
        if unit.is_empty() {
            return Self::from_number(number);
        }
        let unit = unit.to_ascii_lowercase();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        #[allow(clippy::cast_precision_loss, reason = "the units are powers that a float holds exactly, or nearly")]
        let bytes = number * *factor as f64;
        whole(bytes.round()).map(Self)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number::parse(text)
    }
}

impl fmt::Display for ByteSize {
    /// With the largest binary unit that leaves a whole number: `256MiB`, `100000B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1_u64 << 10)];
        match units.into_iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number::deserialize(from)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes: a whole number, or text with a unit (KiB, MiB, GiB, TiB, kB, MB, GB, TB).",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9][0-9_.]*\\s*([kKmMgGtT]?[iI]?[bB])?\\s*$" }
            ],
            "examples": ["256MiB", 65536]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_units_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("100_000", 100_000),
            ("64KiB", 65_536),
            (" 1.5 GiB ", 3 << 29),
            ("10kB", 10_000),
            ("2mb", 2_000_000),
            ("1TiB", 1 << 40),
            ("7b", 7),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(serde_json::from_str::<ByteSize>("65536").unwrap(), ByteSize::kib(64));
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in ["", "MiB", "-1", "1 parsec", "1..2", "0.5", "99999999999TiB", "1e3"] {
            let refused = text.parse::<ByteSize>().unwrap_err();
            assert!(refused.starts_with(&format!("\"{text}\" is not a number of bytes: write")), "{refused}");
        }
        for json in ["-1", "1.5", "true", "[]"] {
            let refused = serde_json::from_str::<ByteSize>(json).unwrap_err().to_string();
            assert!(refused.contains("a number of bytes: write a whole number"), "{refused}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1, 1_000, 1 << 10, 3 << 20, (1 << 30) + 1, 5 << 40] {
            let size = ByteSize(bytes);
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(ByteSize::mib(256).to_string(), "256MiB");
    }
}
