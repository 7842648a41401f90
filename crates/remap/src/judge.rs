//! Answering tests on the raw text of a row. Strings are compared as they stand; a number is read when it is asked for;
//! nothing else is decoded.

use std::borrow::Cow;
use std::cmp::Ordering;

use tidegate_record::{Form, Path, Row, json};
use vrl::compiler::value::VrlValueArithmetic;
use vrl::value::Value;

use crate::plan::{Comparison, Halt, Kind, Match, Operand, Test};

/// Whether the test holds for the row.
pub(crate) fn holds(test: &Test, row: Row<'_>) -> Result<bool, Halt> {
    match test {
        Test::Known(yes) => Ok(*yes),
        Test::Not(inner) => holds(inner, row).map(|yes| !yes),
        Test::And(left, right) => Ok(holds(left, row)? && holds(right, row)?),
        Test::Or(left, right) => Ok(holds(left, row)? || holds(right, row)?),
        Test::Else(left, right) => match holds(left, row) {
            Err(Halt::Fails) => holds(right, row),
            result => result,
        },
        Test::Compare { what, how, with } => compare(&required(what, row)?, *how, with),
        Test::Text { what, how, needle } => match required(what, row)? {
            Seen::Text(text) => Ok(search(&text, *how, needle.as_bytes())),
            Seen::Missing | Seen::Other(_) => Err(Halt::Fails),
        },
        Test::Flag(what) => match required(what, row)? {
            Seen::Other(raw) => Ok(*raw == *b"true"),
            Seen::Missing | Seen::Text(_) => Err(Halt::Fails),
        },
        Test::Exists(path) => Ok(look(path, row)?.is_some()),
        Test::Is(path, kind) => Ok(seen(path, row)?.kind() == *kind),
    }
}

/// A field as it stands.
enum Seen<'a> {
    /// There is none: `null` to VRL.
    Missing,
    /// A string, its escapes resolved.
    Text(Cow<'a, [u8]>),
    /// Any other value, as JSON text.
    Other(Cow<'a, [u8]>),
}

impl Seen<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing => Kind::Null,
            Self::Text(_) => Kind::String,
            Self::Other(raw) => match json::kind(raw) {
                json::Kind::Object => Kind::Object,
                json::Kind::Array => Kind::Array,
                json::Kind::String => Kind::String,
                json::Kind::Bool => Kind::Boolean,
                json::Kind::Null => Kind::Null,
                json::Kind::Number if matches!(decode(raw), Ok(Value::Integer(_))) => Kind::Integer,
                json::Kind::Number => Kind::Float,
            },
        }
    }
}

/// A value that VRL reads from JSON text.
fn decode(raw: &[u8]) -> Result<Value, Halt> {
    match small_integer(raw) {
        Some(number) => Ok(Value::Integer(number)),
        None => serde_json::from_slice(raw).map_err(|_| Halt::Defer),
    }
}

/// A whole number of at most 18 digits, as most are: VRL reads it as an integer.
fn small_integer(raw: &[u8]) -> Option<i64> {
    let (sign, digits) = match raw {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    // `-0` is a float to VRL.
    let is_small = matches!(digits.len(), 1..=18) && digits.iter().all(u8::is_ascii_digit) && raw != b"-0";
    is_small.then(|| sign * digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

fn required<'a>(what: &Operand, row: Row<'a>) -> Result<Seen<'a>, Halt> {
    let seen = seen(&what.path, row)?;
    match what.must {
        Some(kind) if seen.kind() != kind => Err(Halt::Fails),
        _ => Ok(seen),
    }
}

fn seen<'a>(path: &Path, row: Row<'a>) -> Result<Seen<'a>, Halt> {
    if row.form() == Form::Message && is_field(path, "message") {
        let text = row.bytes();
        // VRL has the bytes as they are, raw JSON text cannot: what is not UTF-8 is for VRL.
        return if std::str::from_utf8(text).is_ok() { Ok(Seen::Text(Cow::Borrowed(text))) } else { Err(Halt::Defer) };
    }
    Ok(match look(path, row)? {
        None => Seen::Missing,
        Some(raw) if raw.first() == Some(&b'"') => Seen::Text(match raw {
            Cow::Borrowed(raw) => json::unquote(raw),
            Cow::Owned(raw) => Cow::Owned(json::unquote(&raw).into_owned()),
        }),
        Some(raw) => Seen::Other(raw),
    })
}

/// The JSON text of a field. `.timestamp` may be a time to VRL, and a time is like no text: that is for VRL.
fn look<'a>(path: &Path, row: Row<'a>) -> Result<Option<Cow<'a, [u8]>>, Halt> {
    if path.top().is_some_and(|key| key.name() == "timestamp") && crate::decode::has_typed_time(row) {
        return Err(Halt::Defer);
    }
    Ok(row.get(path))
}

fn is_field(path: &Path, name: &str) -> bool {
    matches!(path.segments(), [_]) && path.top().is_some_and(|key| key.name() == name)
}

fn compare(seen: &Seen<'_>, how: Comparison, with: &Value) -> Result<bool, Halt> {
    match seen {
        Seen::Text(text) => compare_text(text, how, with),
        Seen::Missing => compare_value(Value::Null, how, with),
        Seen::Other(raw) => match json::kind(raw) {
            // A list or an object equals no literal that is compared here, and has no order.
            json::Kind::Object | json::Kind::Array => match how {
                Comparison::Equal => Ok(false),
                Comparison::Unequal => Ok(true),
                _ => Err(Halt::Fails),
            },
            _ => compare_value(decode(raw)?, how, with),
        },
    }
}

fn compare_text(text: &[u8], how: Comparison, with: &Value) -> Result<bool, Halt> {
    let with = match with {
        Value::String(with) => with.as_bytes(),
        Value::Bytes(with) => with,
        _ => {
            return match how {
                Comparison::Equal => Ok(false),
                Comparison::Unequal => Ok(true),
                _ => Err(Halt::Fails),
            };
        }
    };
    let order = || text.cmp(with);
    Ok(match how {
        Comparison::Equal => *text == **with,
        Comparison::Unequal => *text != **with,
        Comparison::Less => order() == Ordering::Less,
        Comparison::LessOrEqual => order() != Ordering::Greater,
        Comparison::Greater => order() == Ordering::Greater,
        Comparison::GreaterOrEqual => order() != Ordering::Less,
    })
}

/// Compares as VRL does, by its own code: numbers across their kinds, errors for what has no order.
fn compare_value(value: Value, how: Comparison, with: &Value) -> Result<bool, Halt> {
    let answer = match how {
        Comparison::Equal => return Ok(value.eq_lossy(with)),
        Comparison::Unequal => return Ok(!value.eq_lossy(with)),
        Comparison::Less => value.try_lt(with.clone()),
        Comparison::LessOrEqual => value.try_le(with.clone()),
        Comparison::Greater => value.try_gt(with.clone()),
        Comparison::GreaterOrEqual => value.try_ge(with.clone()),
    };
    match answer {
        Ok(Value::Boolean(yes)) => Ok(yes),
        Ok(_) => Err(Halt::Defer),
        Err(_) => Err(Halt::Fails),
    }
}

fn search(text: &[u8], how: Match, needle: &[u8]) -> bool {
    match how {
        Match::Starts => text.starts_with(needle),
        Match::Ends => text.ends_with(needle),
        Match::Contains => memchr::memmem::find(text, needle).is_some(),
    }
}
