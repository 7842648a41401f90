//! [`Number`]: a number of JSON; whole ones stay exact for as long as they fit.

use crate::checkpoints::{Put, Take};

/// A number. Whole numbers are added exactly; one of 128 bits that overflows goes on with a float.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    /// A JSON value that is a number.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return None;
        }
        text.parse().map(Self::Whole).or_else(|_| text.parse().map(Self::Float)).ok()
    }

    #[allow(clippy::cast_precision_loss, reason = "a float is what it becomes when it is no whole number any more")]
    fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) if one.checked_add(other).is_some() => Self::Whole(one + other),
            _ => Self::Float(self.float() + other.float()),
        }
    }

    /// Of two equal ones, this.
    pub(super) fn larger(self, other: Self) -> Self {
        if other.is_above(self) { other } else { self }
    }

    /// Of two equal ones, the other.
    pub(super) fn smaller(self, other: Self) -> Self {
        if other.is_above(self) { self } else { other }
    }

    fn is_above(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one > other,
            _ => self.float() > other.float(),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a mean is a float")]
    pub(super) fn mean(self, count: u64) -> Self {
        Self::Float(self.float() / count.max(1) as f64)
    }

    /// As JSON; what is no finite number as `null`.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let text = match self {
            Self::Whole(whole) => whole.to_string(),
            Self::Float(float) => serde_json::Number::from_f64(float).map_or("null".to_owned(), |n| n.to_string()),
        };
        out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(whole) => {
                out.put_u8(0);
                out.put_i128(whole);
            }
            Self::Float(float) => {
                out.put_u8(1);
                out.put_f64(float);
            }
        }
    }

    pub(super) fn take(from: &mut Take<'_>) -> Option<Self> {
        match from.u8()? {
            0 => from.i128().map(Self::Whole),
            1 => from.f64().map(Self::Float),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_until_they_overflow() {
        let number = |text: &str| Number::parse(text.as_bytes()).unwrap();
        let sum = |texts: [&str; 2]| {
            let mut out = Vec::new();
            number(texts[0]).plus(number(texts[1])).write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(sum(["9007199254740993", "1"]), "9007199254740994");
        assert_eq!(sum(["1e3", "1"]), "1001.0");
        assert_eq!(sum([&i128::MAX.to_string(), "1"]), "1.7014118346046923e+38");
        assert_eq!(sum(["1e308", "1e308"]), "null");
        assert_eq!(Number::parse(b"inf"), None);
    }
}
