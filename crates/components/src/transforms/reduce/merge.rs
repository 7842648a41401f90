//! [`Strategy`]: how the values of a field become one; [`Merged`]: what has become of them so far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_record::json::{self, Kind};

use super::number::Number;
use crate::checkpoints::{Put, Take};

/// How the values of a field become one. The names are Vector's; `count`, `mean`, `first` and `last` are beside them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A list of all values.
    Array,
    /// Texts joined with a space.
    Concat,
    /// Texts joined with a line end.
    ConcatNewline,
    /// Texts joined with nothing.
    ConcatRaw,
    /// How many records there were, whatever the field has.
    Count,
    /// The first value, all others are discarded.
    #[serde(alias = "first")]
    Discard,
    /// A list of all different values; of lists and objects, of what is in them. For some hundred values.
    FlatUnique,
    /// The longest list.
    LongestArray,
    /// The largest number.
    Max,
    /// The mean of the numbers.
    Mean,
    /// The smallest number.
    Min,
    /// The last value.
    #[serde(alias = "last")]
    Retain,
    /// The shortest list.
    ShortestArray,
    /// The sum of the numbers. Whole numbers stay whole and exact.
    Sum,
    /// The first value, and the last one in a field with `_end` behind its name. Not to be written in a file: it is what
    /// becomes of `timestamp`.
    #[serde(skip)]
    Span,
}

impl Strategy {
    const ALL: [Self; 15] = [
        Self::Array,
        Self::Concat,
        Self::ConcatNewline,
        Self::ConcatRaw,
        Self::Count,
        Self::Discard,
        Self::FlatUnique,
        Self::LongestArray,
        Self::Max,
        Self::Mean,
        Self::Min,
        Self::Retain,
        Self::ShortestArray,
        Self::Sum,
        Self::Span,
    ];

    /// What becomes of a field that nothing is said of, by the first value: numbers are added, of everything else the
    /// first stays; of the time of the record the first and the last do.
    pub(super) fn default_of(name: &[u8], value: &[u8]) -> Self {
        match json::kind(value) {
            Kind::Number => Self::Sum,
            Kind::String if name == b"timestamp" => Self::Span,
            _ => Self::Discard,
        }
    }

    fn number(self) -> u8 {
        Self::ALL.iter().zip(0..).find(|(known, _)| **known == self).map_or(u8::MAX, |(_, number)| number)
    }

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What has become of the values of one field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Merged {
    strategy: Strategy,
    held: Held,
}

#[derive(Clone, Debug, PartialEq)]
enum Held {
    /// No value yet that counts.
    Nothing,
    /// A value as JSON; of lists their elements, with commas between; of joined texts the text itself.
    Text(Vec<u8>),
    /// Two values as JSON.
    Pair(Vec<u8>, Vec<u8>),
    Number(Number),
    /// A sum, and of how many.
    Sum(Number, u64),
}

/// What a value takes beside its bytes.
pub(super) const MERGED_BYTES: usize = size_of::<Merged>() + 32;

impl Merged {
    pub(super) const fn new(strategy: Strategy) -> Self {
        Self { strategy, held: Held::Nothing }
    }

    /// The bytes that it takes beside [`MERGED_BYTES`].
    pub(super) fn bytes(&self) -> usize {
        match &self.held {
            Held::Nothing | Held::Number(_) | Held::Sum(..) => 0,
            Held::Text(text) => text.capacity(),
            Held::Pair(first, last) => first.capacity() + last.capacity(),
        }
    }

    /// Takes one more value, as JSON. Says whether it is of a kind that counts.
    pub(super) fn add(&mut self, value: &[u8]) -> bool {
        match self.strategy {
            Strategy::Count => true,
            Strategy::Discard => {
                if self.held == Held::Nothing {
                    self.held = Held::Text(value.to_vec());
                }
                true
            }
            Strategy::Retain => {
                self.replace(value);
                true
            }
            Strategy::Span => {
                self.span(value);
                true
            }
            Strategy::Sum | Strategy::Max | Strategy::Min | Strategy::Mean => match Number::parse(value) {
                Some(number) => {
                    self.count_in(number);
                    true
                }
                None => false,
            },
            Strategy::Array => {
                self.list().push_element(value);
                true
            }
            Strategy::FlatUnique => {
                self.add_flat(value);
                true
            }
            Strategy::Concat => self.join(value, b" "),
            Strategy::ConcatNewline => self.join(value, b"\n"),
            Strategy::ConcatRaw => self.join(value, b""),
            Strategy::LongestArray => self.choose(value, |new, old| new > old),
            Strategy::ShortestArray => self.choose(value, |new, old| new < old),
        }
    }

    fn replace(&mut self, value: &[u8]) {
        let text = self.list();
        text.clear();
        text.extend_from_slice(value);
    }

    fn span(&mut self, value: &[u8]) {
        self.held = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Text(first) | Held::Pair(first, _) => Held::Pair(first, value.to_vec()),
            Held::Nothing | Held::Number(_) | Held::Sum(..) => Held::Text(value.to_vec()),
        };
    }

    fn count_in(&mut self, number: Number) {
        self.held = match (&self.held, self.strategy) {
            (Held::Number(held), Strategy::Sum) => Held::Number(held.plus(number)),
            (Held::Number(held), Strategy::Max) => Held::Number(held.larger(number)),
            (Held::Number(held), Strategy::Min) => Held::Number(number.smaller(*held)),
            (Held::Sum(sum, count), _) => Held::Sum(sum.plus(number), count + 1),
            (_, Strategy::Mean) => Held::Sum(number, 1),
            _ => Held::Number(number),
        };
    }

    /// What is held as text, empty where nothing is.
    fn list(&mut self) -> &mut Vec<u8> {
        if !matches!(self.held, Held::Text(_)) {
            self.held = Held::Text(Vec::new());
        }
        match &mut self.held {
            Held::Text(text) => text,
            _ => unreachable!("it was made a text"),
        }
    }

    fn add_flat(&mut self, value: &[u8]) {
        let each = |list: &mut Vec<u8>, value: &[u8]| {
            if !elements_of(list).any(|known| known == value) {
                list.push_element(value);
            }
        };
        let list = self.list();
        match json::kind(value) {
            Kind::Array => json::elements(value).for_each(|range| each(list, &value[range])),
            Kind::Object => json::members(value).for_each(|(_, range)| each(list, &value[range])),
            _ => each(list, value),
        }
    }

    fn join(&mut self, value: &[u8], between: &[u8]) -> bool {
        if json::kind(value) != Kind::String {
            return false;
        }
        let is_first = self.held == Held::Nothing;
        let text = self.list();
        if !is_first {
            text.extend_from_slice(between);
        }
        text.extend_from_slice(&json::unquote(value));
        true
    }

    fn choose(&mut self, value: &[u8], is_better: impl Fn(usize, usize) -> bool) -> bool {
        if json::kind(value) != Kind::Array {
            return false;
        }
        let length = |list: &[u8]| json::elements(list).count();
        let better = match &self.held {
            Held::Text(held) => is_better(length(value), length(held)),
            _ => true,
        };
        if better {
            self.replace(value);
        }
        true
    }

    /// Appends the value as JSON, and gives the second one, where there are two. `false`: there is none; nothing was
    /// appended. `records` is how many there were.
    pub(super) fn write(&self, records: u64, out: &mut Vec<u8>) -> bool {
        match (&self.held, self.strategy) {
            (_, Strategy::Count) => out.extend_from_slice(records.to_string().as_bytes()),
            (Held::Nothing, _) => return false,
            (Held::Text(list), Strategy::Array | Strategy::FlatUnique) => {
                out.push(b'[');
                out.extend_from_slice(list);
                out.push(b']');
            }
            (Held::Text(text), Strategy::Concat | Strategy::ConcatNewline | Strategy::ConcatRaw) => {
                json::quote(text, out);
            }
            (Held::Text(value) | Held::Pair(value, _), _) => out.extend_from_slice(value),
            (Held::Number(number), _) => number.write(out),
            (Held::Sum(sum, count), _) => sum.mean(*count).write(out),
        }
        true
    }

    /// The last value, where it stands in a field of its own.
    pub(super) fn end(&self) -> Option<&[u8]> {
        match &self.held {
            Held::Pair(_, last) => Some(last),
            Held::Text(only) if self.strategy == Strategy::Span => Some(only),
            _ => None,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u8(self.strategy.number());
        match &self.held {
            Held::Nothing => out.put_u8(0),
            Held::Text(text) => {
                out.put_u8(1);
                out.put_text(text);
            }
            Held::Pair(first, last) => {
                out.put_u8(2);
                out.put_text(first);
                out.put_text(last);
            }
            Held::Number(number) => {
                out.put_u8(3);
                number.put(out);
            }
            Held::Sum(sum, count) => {
                out.put_u8(4);
                sum.put(out);
                out.put_u64(*count);
            }
        }
    }

    pub(super) fn take(from: &mut Take<'_>) -> Option<Self> {
        let strategy = Strategy::of_number(from.u8()?)?;
        let held = match from.u8()? {
            0 => Held::Nothing,
            1 => Held::Text(from.text()?.to_vec()),
            2 => Held::Pair(from.text()?.to_vec(), from.text()?.to_vec()),
            3 => Held::Number(Number::take(from)?),
            4 => Held::Sum(Number::take(from)?, from.u64()?),
            _ => return None,
        };
        Some(Self { strategy, held })
    }

    pub(super) const fn strategy(&self) -> Strategy {
        self.strategy
    }
}

/// The elements of a list without its brackets.
fn elements_of(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut whole = Vec::with_capacity(list.len() + 2);
    whole.push(b'[');
    whole.extend_from_slice(list);
    whole.push(b']');
    let ranges: Vec<_> = json::elements(&whole).map(|range| range.start - 1..range.end - 1).collect();
    ranges.into_iter().filter_map(|range| list.get(range))
}

/// A list of JSON values without its brackets.
trait List {
    fn push_element(&mut self, value: &[u8]);
}

impl List for Vec<u8> {
    fn push_element(&mut self, value: &[u8]) {
        if !self.is_empty() {
            self.push(b',');
        }
        self.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(strategy: Strategy, values: &[&str]) -> String {
        let mut merged = Merged::new(strategy);
        for value in values {
            merged.add(value.as_bytes());
            let mut bytes = Vec::new();
            merged.put(&mut bytes);
            let mut take = Take(&bytes);
            assert_eq!(Merged::take(&mut take).as_ref(), Some(&merged), "it survives a checkpoint");
            assert!(take.is_empty());
        }
        let mut out = Vec::new();
        merged.write(values.len() as u64, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_strategy_makes_one_value_of_several() {
        for (strategy, values, expected) in [
            (Strategy::Array, &["1", "\"a\"", "[2]"][..], "[1,\"a\",[2]]"),
            (Strategy::Concat, &["\"a\"", "1", "\"b\\n\""], "\"a b\\n\""),
            (Strategy::ConcatNewline, &["\"a\"", "\"b\""], "\"a\\nb\""),
            (Strategy::ConcatRaw, &["\"a\"", "\"b\""], "\"ab\""),
            (Strategy::Count, &["null", "1"], "2"),
            (Strategy::Discard, &["1", "2"], "1"),
            (Strategy::FlatUnique, &["[1,2]", "2", "{\"a\":3}", "[1]"], "[1,2,3]"),
            (Strategy::LongestArray, &["[1]", "[1,2]", "[3]", "4"], "[1,2]"),
            (Strategy::ShortestArray, &["[1,2]", "[3]", "[4]"], "[3]"),
            (Strategy::Max, &["1", "-3", "2.5", "\"x\""], "2.5"),
            (Strategy::Min, &["1", "-3", "2.5"], "-3"),
            (Strategy::Mean, &["1", "2", "\"x\""], "1.5"),
            (Strategy::Retain, &["1", "\"x\""], "\"x\""),
            (Strategy::Sum, &["1", "2", "true"], "3"),
            (Strategy::Sum, &["9223372036854775807", "9223372036854775807"], "18446744073709551614"),
            (Strategy::Sum, &["1", "0.5"], "1.5"),
            (Strategy::Sum, &["\"x\""], ""),
        ] {
            assert_eq!(merged(strategy, values), expected, "{strategy:?} {values:?}");
        }
    }
}
