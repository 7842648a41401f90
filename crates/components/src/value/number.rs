//! What values with a unit have in common: they are read from a number or from text, and written back as what a person
//! would write.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

/// A value that is a number in a base unit, or text with a unit.
pub(super) trait Quantity: Sized {
    /// What is expected, with an example: the end of "this is not ...".
    const EXPECTED: &'static str;

    /// From a plain number in the base unit.
    fn from_number(number: f64) -> Option<Self>;

    /// From text.
    fn from_text(text: &str) -> Option<Self>;
}

/// Reads a quantity.
pub(super) fn deserialize<'de, Q: Quantity, D: Deserializer<'de>>(from: D) -> Result<Q, D::Error> {
    from.deserialize_any(QuantityVisitor(PhantomData))
}

/// Reads a quantity from text, as the command line and tests do.
pub(super) fn parse<Q: Quantity>(text: &str) -> Result<Q, String> {
    Q::from_text(text).ok_or_else(|| refusal::<Q>(&format!("\"{text}\"")))
}

fn refusal<Q: Quantity>(given: &str) -> String {
    format!("{given} is not {}", Q::EXPECTED)
}

struct QuantityVisitor<Q>(PhantomData<Q>);

impl<Q: Quantity> Visitor<'_> for QuantityVisitor<Q> {
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Q::EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Q, E> {
        #[allow(clippy::cast_precision_loss, reason = "no limit is set to the byte beyond 2^53")]
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Q, E> {
        #[allow(clippy::cast_precision_loss, reason = "no limit is set to the byte beyond 2^53")]
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Q, E> {
        let value = Some(number).filter(|number| number.is_finite() && *number >= 0.0).and_then(Q::from_number);
        value.ok_or_else(|| E::custom(refusal::<Q>(&number.to_string())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Q, E> {
        parse(text).map_err(E::custom)
    }
}

/// A number that is not negative, and what follows it, without blanks around either.
pub(super) fn split_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let digits = text[..end].replace('_', "");
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some((number, text[end..].trim_start()))
}

/// A whole number of base units; `None` where it is not one, or too large to be exact.
pub(super) fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}
