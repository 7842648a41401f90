//! When two results of a program are the same.

use serde_json::Value;
use tidegate_remap::Verdict;

/// Equal as JSON values: numbers by what they are, not how they are written. VRL reads a whole number beyond 64 bits as
/// a float, and the reader of floats that it uses may miss the last bit.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right
                || match (left.as_f64(), right.as_f64()) {
                    (Some(left), Some(right)) => (left - right).abs() <= left.abs() * 4.0 * f64::EPSILON,
                    _ => false,
                }
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| is_same(value, other)))
        }
        _ => left == right,
    }
}

/// Whether two records are the same, as they are written.
pub(crate) fn is_same_text(left: &[u8], right: &[u8]) -> bool {
    let read = |text| serde_json::from_slice::<Value>(text).ok();
    match (read(left), read(right)) {
        (Some(left), Some(right)) => is_same(&left, &right),
        // A record that nobody parsed: a number out of range of the reader.
        (None, None) => left == right,
        _ => false,
    }
}

/// Whether two ends of a program are the same.
pub(crate) fn is_same_verdict(left: &Verdict, right: &Verdict) -> bool {
    match (left, right) {
        (Verdict::Split(left), Verdict::Split(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same_text(left, right))
        }
        _ => left == right,
    }
}
