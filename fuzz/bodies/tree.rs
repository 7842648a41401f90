//! The model of edits: what they do to a tree of values.

use serde_json::{Map, Value};
use tidegate_record::Segment;

/// The value at a path.
pub(crate) fn get<'a>(value: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match (segment, value) {
        (Segment::Field(key), Value::Object(map)) => map.get(key.name()),
        (Segment::Index(index), Value::Array(items)) => items.get(place(*index, items.len())?),
        _ => None,
    })
}

fn place(index: isize, length: usize) -> Option<usize> {
    usize::try_from(index).ok().or_else(|| length.checked_sub(index.unsigned_abs()))
}

/// Sets the value at a path, as VRL does: what is missing on the way is made, what is of another kind gives way.
pub(crate) fn set(value: &mut Value, path: &[Segment], new: Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = new;
        return;
    };
    match first {
        Segment::Field(key) => {
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            set(value.as_object_mut().expect("it is one").entry(key.name()).or_insert(Value::Null), rest, new);
        }
        Segment::Index(index) => {
            if !value.is_array() {
                *value = Value::Array(Vec::new());
            }
            let items = value.as_array_mut().expect("it is one");
            let at = place(*index, items.len()).unwrap_or_else(|| {
                let missing = index.unsigned_abs() - items.len();
                items.splice(0..0, std::iter::repeat_n(Value::Null, missing));
                0
            });
            while items.len() <= at {
                items.push(Value::Null);
            }
            set(&mut items[at], rest, new);
        }
    }
}

/// Removes the value at a path; says whether there was one.
pub(crate) fn remove(value: &mut Value, path: &[Segment]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    match (first, value) {
        (Segment::Field(key), Value::Object(map)) if rest.is_empty() => map.remove(key.name()).is_some(),
        (Segment::Field(key), Value::Object(map)) => map.get_mut(key.name()).is_some_and(|inner| remove(inner, rest)),
        (Segment::Index(index), Value::Array(items)) => match place(*index, items.len()).filter(|at| *at < items.len())
        {
            Some(at) if rest.is_empty() => {
                items.remove(at);
                true
            }
            Some(at) => remove(&mut items[at], rest),
            None => false,
        },
        _ => false,
    }
}
