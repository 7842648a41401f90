//! Search in JSON text that was validated before: members, elements, paths. Nothing is decoded but keys with escapes.
//!
//! Where a name occurs twice the last member counts, as for most readers.

use std::borrow::Cow;
use std::ops::Range;

use super::scan::Member;
use super::text::unquote;
use super::word;
use crate::path::Segment;

/// The first byte from `at` on that is no white space.
#[inline(always)]
pub(crate) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// The members that a scan noted, with the text of their keys (without quotes, not decoded) and the ranges of their
/// values.
pub(crate) struct Members<'a> {
    text: &'a [u8],
    noted: std::slice::Iter<'a, Member>,
}

impl<'a> Members<'a> {
    pub(crate) fn new(text: &'a [u8], noted: &'a [Member]) -> Self {
        Self { text, noted: noted.iter() }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Range<usize>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let member = self.noted.next()?;
        let key = self.text.get(member.key as usize..member.key_end as usize)?;
        Some((key, member.value as usize..member.value_end as usize))
    }
}

/// What to cut out of an object so that one of its members is gone, with the comma before it, or behind it for the
/// first.
pub(crate) fn cut_of(members: &[Member], at: usize) -> Range<usize> {
    let own = &members[at];
    match (at.checked_sub(1).and_then(|before| members.get(before)), members.get(at + 1)) {
        (Some(before), _) => before.value_end as usize..own.value_end as usize,
        // A key is noted without its quote.
        (None, Some(next)) => own.key as usize - 1..next.key as usize - 1,
        (None, None) => own.key as usize - 1..own.value_end as usize,
    }
}

/// The members of an object: the text of each key, without quotes and not decoded, and the range of each value. Ends
/// early where the text is no object.
pub fn members(object: &[u8]) -> impl Iterator<Item = (&[u8], Range<usize>)> {
    let mut items = Items::new(object, b'{');
    std::iter::from_fn(move || {
        let quote = items.next()?;
        let key_end = skip_string(object, quote + 1)?;
        let colon = skip_space(object, key_end);
        let value = skip_space(object, colon + 1);
        let end = skip_value(object, value)?;
        items.at = end;
        Some((object.get(quote + 1..key_end - 1)?, value..end))
    })
}

/// The elements of an array, as ranges of `array`. Ends early where the text is no array.
pub fn elements(array: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut items = Items::new(array, b'[');
    std::iter::from_fn(move || {
        let value = items.next()?;
        let end = skip_value(array, value)?;
        items.at = end;
        Some(value..end)
    })
}

/// The range of the value at `path` in `text`, or `None` where there is none.
#[must_use]
pub fn find(text: &[u8], path: &[Segment]) -> Option<Range<usize>> {
    let start = skip_space(text, 0);
    if path.is_empty() {
        return Some(start..skip_value(text, start)?);
    }
    let mut range = start..text.len();
    for segment in path {
        let value = &text[range.clone()];
        let inner = match segment {
            Segment::Field(key) => field(value, key.name())?,
            Segment::Index(index) => element(value, *index)?,
        };
        range = range.start + inner.start..range.start + inner.end;
    }
    Some(range)
}

/// The value of the member `name`, the last where there are several.
pub(crate) fn field(object: &[u8], name: &str) -> Option<Range<usize>> {
    members(object).filter(|(key, _)| key_is(key, name)).last().map(|(_, value)| value)
}

/// The value of the member `name` of an object without escaped or repeated keys.
pub(crate) fn first_field(object: &[u8], name: &str) -> Option<Range<usize>> {
    members(object).find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
}

fn element(array: &[u8], index: isize) -> Option<Range<usize>> {
    match usize::try_from(index) {
        Ok(index) => elements(array).nth(index),
        Err(_) => {
            let count = elements(array).count();
            elements(array).nth(count.checked_sub(index.unsigned_abs())?)
        }
    }
}

/// Whether the text of a key, without quotes, stands for `name`.
#[inline]
pub(crate) fn key_is(key: &[u8], name: &str) -> bool {
    key == name.as_bytes() || (key.len() > name.len() && key.contains(&b'\\') && is_escaped(key, name))
}

#[cold]
fn is_escaped(key: &[u8], name: &str) -> bool {
    let mut quoted = Vec::with_capacity(key.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(key);
    quoted.push(b'"');
    let decoded: Cow<'_, [u8]> = unquote(&quoted);
    *decoded == *name.as_bytes()
}

/// Walks over the commas of a container.
struct Items<'a> {
    text: &'a [u8],
    /// Behind the last item, or at the opening bracket.
    at: usize,
    is_first: bool,
}

impl<'a> Items<'a> {
    fn new(text: &'a [u8], bracket: u8) -> Self {
        let at = skip_space(text, 0);
        let at = if text.get(at) == Some(&bracket) { at } else { text.len() };
        Self { text, at, is_first: true }
    }

    /// Where the next item begins.
    #[inline]
    fn next(&mut self) -> Option<usize> {
        if !std::mem::take(&mut self.is_first) {
            self.at = skip_space(self.text, self.at);
            if self.text.get(self.at) != Some(&b',') {
                return None;
            }
        }
        let item = skip_space(self.text, self.at + 1);
        match self.text.get(item) {
            None | Some(b'}' | b']') => None,
            Some(_) => Some(item),
        }
    }
}

/// Behind the closing quote of the string whose text begins at `at`.
#[inline]
pub(super) fn skip_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        while let Some(eight) = word::load(text, at) {
            let marks = word::marks_end(eight);
            if marks != 0 {
                at += word::lowest(marks);
                break;
            }
            at += 8;
        }
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Behind the value that begins at `at`.
#[inline]
pub(super) fn skip_value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => skip_string(text, at + 1),
        b'{' | b'[' => skip_container(text, at + 1),
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            let rest = text.get(at..)?;
            Some(at + rest.iter().position(is_end).unwrap_or(rest.len()))
        }
    }
}

/// Behind the closing bracket of the container whose content begins at `at`.
fn skip_container(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1_usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at = skip_string(text, at + 1)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Path;

    fn at<'a>(text: &'a str, path: &str) -> Option<&'a str> {
        let path = Path::parse(path).unwrap();
        find(text.as_bytes(), path.segments()).map(|range| &text[range])
    }

    #[test]
    fn paths_lead_to_the_text_of_values() {
        let text = r#" {"a" : {"b": [1, {"c d":"x\"}"}, true ]}, "e":{}, "\u0066":null, "g":[] } "#;
        assert_eq!(at(text, "."), Some(text.trim()));
        assert_eq!(at(text, ".a.b[1].\"c d\""), Some(r#""x\"}""#));
        assert_eq!(at(text, ".a.b[-1]"), Some("true"));
        assert_eq!(at(text, ".a.b[0]"), Some("1"));
        assert_eq!(at(text, ".f"), Some("null"), "a key with an escape");
        for absent in [".a.c", ".a.b[3]", ".a.b[-4]", ".e.x", ".g[0]", ".a[0]", "[0]", ".a.b.c", ".a.b[0].c"] {
            assert_eq!(at(text, absent), None, "{absent}");
        }
    }

    #[test]
    fn of_two_members_of_one_name_the_last_counts() {
        assert_eq!(at(r#"{"a":1,"b":2,"a":3}"#, ".a"), Some("3"));
        assert_eq!(at(r#"{"a":1,"\u0061":{"b":4}}"#, ".a.b"), Some("4"));
    }
}
