//! [`place`]: which bytes of an object an assignment changes, and what it writes there.

use std::ops::Range;

use crate::json::{self, Kind};
use crate::path::Segment;
use crate::rows::Index;

/// What an assignment changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    at: Range<usize>,
    /// What is missing on the way to the value, and is made around it.
    missing: &'a [Segment],
    how: How,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    /// The value there is replaced.
    Replace,
    /// A member is added at the end of an object; whether others come before it.
    AddMember { has_others: bool },
    /// Elements are added at the end of an array, so many of them `null` before the value.
    AddElement { has_others: bool, nulls: usize },
    /// Elements are added at the front of an array, so many of them `null` behind the value.
    LeadElement { has_others: bool, nulls: usize },
}

/// Where the value at `path` of `object` is set. `index` is that of the object, where there is one.
pub(super) fn place<'a>(object: &[u8], path: &'a [Segment], index: Option<&Index>) -> Place<'a> {
    let mut range = 0..object.len();
    let mut skip = 0;
    match (index, path.first()) {
        (Some(index), Some(Segment::Field(key))) => match index.field(object, key.name()) {
            Some(value) => (range, skip) = (value, 1),
            None => {
                let end = index.object().end - 1;
                let how = How::AddMember { has_others: index.has_members() };
                return Place { at: end..end, missing: path, how };
            }
        },
        _ => range = json::find(object, &[]).unwrap_or(range),
    }
    for (depth, segment) in path.iter().enumerate().skip(skip) {
        let value = &object[range.clone()];
        let missing = &path[depth..];
        let inner = match (segment, json::kind(value)) {
            (Segment::Field(key), Kind::Object) => json::field(value, key.name()),
            (Segment::Index(_), Kind::Array) => json::find(value, &path[depth..=depth]),
            _ => return Place { at: range, missing, how: How::Replace },
        };
        match inner {
            Some(inner) => range = range.start + inner.start..range.start + inner.end,
            None => return absent(value, range, missing),
        }
    }
    Place { at: range, missing: &[], how: How::Replace }
}

/// The first of `missing` is no member or element of `container`, which stands at `range`.
fn absent<'a>(container: &[u8], range: Range<usize>, missing: &'a [Segment]) -> Place<'a> {
    let end = range.end - 1;
    let first = json::skip_space(container, 1);
    let has_others = !matches!(container.get(first), None | Some(b'}' | b']'));
    let (at, how) = match missing.first() {
        None | Some(Segment::Field(_)) => (end..end, How::AddMember { has_others }),
        Some(Segment::Index(index)) => {
            let count = json::elements(container).count();
            match usize::try_from(*index) {
                Ok(index) => (end..end, How::AddElement { has_others, nulls: index - count }),
                Err(_) => {
                    let nulls = index.unsigned_abs() - count - 1;
                    (range.start + 1..range.start + 1, How::LeadElement { has_others, nulls })
                }
            }
        }
    };
    Place { at, missing, how }
}

impl Place<'_> {
    /// The bytes that give way.
    pub(super) fn cut(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Appends what takes their place.
    pub(super) fn write(&self, json: &[u8], out: &mut Vec<u8>) {
        match self.how {
            How::Replace => wrap(self.missing, json, out),
            How::AddMember { has_others } => {
                let Some((Segment::Field(key), rest)) = self.missing.split_first() else { return };
                if has_others {
                    out.push(b',');
                }
                out.extend_from_slice(key.quoted());
                out.push(b':');
                wrap(rest, json, out);
            }
            How::AddElement { has_others, nulls } => {
                if has_others {
                    out.push(b',');
                }
                (0..nulls).for_each(|_| out.extend_from_slice(b"null,"));
                wrap(self.missing.get(1..).unwrap_or_default(), json, out);
            }
            How::LeadElement { has_others, nulls } => {
                wrap(self.missing.get(1..).unwrap_or_default(), json, out);
                (0..nulls).for_each(|_| out.extend_from_slice(b",null"));
                if has_others {
                    out.push(b',');
                }
            }
        }
    }

    /// Whether a splice with `text`, made before at the same place, decides what this one must write.
    pub(super) fn collides_with(&self, text: &[u8]) -> bool {
        match (&self.how, self.missing.first()) {
            // The other added members to the same object: they stand side by side, unless it is the same member, or the
            // comma between the two is missing.
            (How::AddMember { has_others: true }, Some(Segment::Field(key))) => {
                let own = text.strip_prefix(b",").and_then(|text| text.strip_prefix(key.quoted()));
                own.is_some_and(|rest| rest.starts_with(b":"))
            }
            _ => true,
        }
    }
}

/// Appends `json` within the objects and arrays that `missing` asks for.
fn wrap(missing: &[Segment], json: &[u8], out: &mut Vec<u8>) {
    let Some((first, rest)) = missing.split_first() else { return out.extend_from_slice(json) };
    match first {
        Segment::Field(key) => {
            out.push(b'{');
            out.extend_from_slice(key.quoted());
            out.push(b':');
            wrap(rest, json, out);
            out.push(b'}');
        }
        Segment::Index(index) => {
            out.push(b'[');
            let nulls_before = usize::try_from(*index).unwrap_or(0);
            let nulls_behind = if *index < 0 { index.unsigned_abs() - 1 } else { 0 };
            (0..nulls_before).for_each(|_| out.extend_from_slice(b"null,"));
            wrap(rest, json, out);
            (0..nulls_behind).for_each(|_| out.extend_from_slice(b",null"));
            out.push(b']');
        }
    }
}

/// `object` without the value at `path` (all members of the name, where there are several); `None` where there is none.
pub(super) fn without(object: &[u8], path: &[Segment]) -> Option<Vec<u8>> {
    let (last, parents) = path.split_last()?;
    let range = json::find(object, parents)?;
    let container = &object[range.clone()];
    let kept = match (last, json::kind(container)) {
        (Segment::Field(key), Kind::Object) => without_member(container, key.name())?,
        (Segment::Index(_), Kind::Array) => without_element(container, last)?,
        _ => return None,
    };
    let mut less = Vec::with_capacity(object.len());
    less.extend_from_slice(&object[..range.start]);
    less.extend_from_slice(&kept);
    less.extend_from_slice(&object[range.end..]);
    Some(less)
}

fn without_member(object: &[u8], name: &str) -> Option<Vec<u8>> {
    json::field(object, name)?;
    let mut kept = vec![b'{'];
    let mut at = 1;
    for (key, value) in json::members(object) {
        let item = json::skip_space(object, at)..value.end;
        at = json::skip_space(object, value.end) + 1;
        if !json::key_is(key, name) {
            push_item(&mut kept, &object[item]);
        }
    }
    kept.push(b'}');
    Some(kept)
}

fn without_element(array: &[u8], index: &Segment) -> Option<Vec<u8>> {
    let gone = json::find(array, std::slice::from_ref(index))?;
    let mut kept = vec![b'['];
    for item in json::elements(array).filter(|item| *item != gone) {
        push_item(&mut kept, &array[item]);
    }
    kept.push(b']');
    Some(kept)
}

fn push_item(kept: &mut Vec<u8>, item: &[u8]) {
    if kept.len() > 1 {
        kept.push(b',');
    }
    kept.extend_from_slice(item);
}
