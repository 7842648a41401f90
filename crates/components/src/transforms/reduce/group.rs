//! [`Group`]: the records of one key, merged; [`Spec`]: how.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::Time;
use tidegate_record::{Form, Origin, Path, json};

use super::merge::{MERGED_BYTES, Merged, Strategy};
use crate::Rows;
use crate::checkpoints::{Put, Take};

/// What a group takes beside its key and its fields: its places in three tables.
pub(super) const GROUP_BYTES: usize = 384;

/// Where a group has more fields, there is an index of them.
const FEW: usize = 64;

/// What a field takes in the index beside its name, which is part of the record twice.
pub(super) const INDEX_BYTES: usize = 80;

/// How records are merged.
#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) group_by: Vec<Path>,
    /// Fields of the record itself, by the JSON text of their names without quotes.
    pub(super) top: Vec<(Box<[u8]>, Strategy)>,
    /// Fields further down.
    pub(super) nested: Vec<Nested>,
    /// What of the configuration groups depend on: those of another one are not added to.
    pub(super) print: String,
    pub(super) expire_after: Duration,
    pub(super) end_every: Option<Duration>,
    pub(super) max_events: u64,
}

/// A field further down.
#[derive(Clone, Debug)]
pub(super) struct Nested {
    pub(super) text: String,
    pub(super) path: Path,
    pub(super) strategy: Strategy,
}

/// The records of one key, merged.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) key: Arc<[u8]>,
    fields: Vec<(Box<[u8]>, Merged)>,
    /// Where each of them is, if there are more than [`FEW`]; else empty.
    index: HashMap<Box<[u8]>, usize>,
    nested: Vec<Merged>,
    pub(super) records: u64,
    /// When it ends if no record comes.
    expire_at: Time,
    /// When it ends whatever comes.
    end_at: Option<Time>,
    /// When it is looked at whether it has ended: no later than it ends.
    pub(super) look_at: Time,
    /// What it takes.
    pub(super) bytes: usize,
}

impl Group {
    pub(super) fn new(key: Arc<[u8]>, spec: &Spec, now: Time) -> Self {
        let counts = spec.top.iter().filter(|(_, strategy)| *strategy == Strategy::Count);
        let (expire_at, end_at) = (now + spec.expire_after, spec.end_every.map(|every| now + every));
        let mut group = Self {
            key,
            fields: counts.map(|(name, strategy)| (name.clone(), Merged::new(*strategy))).collect(),
            index: HashMap::new(),
            nested: spec.nested.iter().map(|nested| Merged::new(nested.strategy)).collect(),
            records: 0,
            expire_at,
            end_at,
            look_at: end_at.map_or(expire_at, |end| end.min(expire_at)),
            bytes: 0,
        };
        group.measure();
        group
    }

    /// When it ends.
    pub(super) fn ends_at(&self) -> Time {
        self.end_at.map_or(self.expire_at, |end| end.min(self.expire_at))
    }

    /// Merges one more record, a JSON object. Says how many of its values are of a kind that does not count.
    pub(super) fn add(&mut self, record: &[u8], spec: &Spec, now: Time) -> u64 {
        let (mut ignored, mut hint) = (0, 0);
        for (name, range) in json::members(record) {
            let value = &record[range];
            // Records of one kind have their fields in the same order.
            let at = match self.fields.get(hint) {
                Some((known, _)) if **known == *name => hint,
                _ => self.find(name).unwrap_or_else(|| self.push(name, Merged::new(spec.strategy_of(name, value)))),
            };
            hint = at + 1;
            ignored += add_to(&mut self.fields[at].1, value, &mut self.bytes);
        }
        for (merged, nested) in self.nested.iter_mut().zip(&spec.nested) {
            if let Some(range) = json::find(record, nested.path.segments()) {
                ignored += add_to(merged, &record[range], &mut self.bytes);
            }
        }
        self.records += 1;
        self.expire_at = now + spec.expire_after;
        ignored
    }

    /// Where the field of this name is.
    fn find(&self, name: &[u8]) -> Option<usize> {
        if self.index.is_empty() {
            return self.fields.iter().position(|(known, _)| **known == *name);
        }
        self.index.get(name).copied()
    }

    /// Adds a field that is not there. Says where.
    fn push(&mut self, name: &[u8], merged: Merged) -> usize {
        self.bytes += name.len() + merged.bytes() + MERGED_BYTES;
        self.fields.push((name.into(), merged));
        self.fill_index();
        self.fields.len() - 1
    }

    /// Adds the fields that are not in the index, where there is one.
    fn fill_index(&mut self) {
        if self.fields.len() <= FEW {
            return;
        }
        for at in self.index.len()..self.fields.len() {
            let name = &self.fields[at].0;
            self.bytes += name.len() + INDEX_BYTES;
            self.index.insert(name.clone(), at);
        }
    }

    /// Whether it has the fields further down that the configuration says.
    pub(super) fn nested_fit(&self, spec: &Spec) -> bool {
        let mut both = self.nested.iter().zip(&spec.nested);
        self.nested.len() == spec.nested.len() && both.all(|(merged, nested)| merged.strategy() == nested.strategy)
    }

    /// Counts all that it takes, and makes the index.
    fn measure(&mut self) {
        let of_fields = self.fields.iter().map(|(name, merged)| name.len() + merged.bytes() + MERGED_BYTES);
        let of_nested = self.nested.iter().map(|merged| merged.bytes() + MERGED_BYTES);
        self.bytes = GROUP_BYTES + 2 * self.key.len() + of_fields.chain(of_nested).sum::<usize>();
        self.index = HashMap::new();
        self.fill_index();
    }

    /// The record that it becomes, as JSON.
    pub(super) fn write(&self, nested: &[Nested]) -> Vec<u8> {
        let mut out = vec![b'{'];
        let begin = |out: &mut Vec<u8>, name: &[u8], suffix: &[u8]| {
            if out.len() > 1 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name);
            out.extend_from_slice(suffix);
            out.extend_from_slice(b"\":");
        };
        for (name, merged) in &self.fields {
            let before = out.len();
            begin(&mut out, name, b"");
            if !merged.write(self.records, &mut out) {
                out.truncate(before);
            }
        }
        for (name, merged) in &self.fields {
            if let Some(end) = merged.end().filter(|_| self.find(&[name, b"_end".as_slice()].concat()).is_none()) {
                begin(&mut out, name, b"_end");
                out.extend_from_slice(end);
            }
        }
        out.push(b'}');
        if self.nested.is_empty() { out } else { self.with_nested(&out, nested) }
    }

    fn with_nested(&self, record: &[u8], nested: &[Nested]) -> Vec<u8> {
        let mut rows = Rows::default();
        rows.push_copy(record, Form::Object, &Arc::new(Origin::default()));
        let mut value = Vec::new();
        for (merged, nested) in self.nested.iter().zip(nested) {
            value.clear();
            if merged.write(self.records, &mut value) {
                rows.row_mut(0).set(&nested.path, &value);
            }
        }
        value.clear();
        rows.row(0).write_json(&mut value);
        value
    }

    pub(super) fn put(&self, now: Time, out: &mut Vec<u8>) {
        out.put_text(&self.key);
        out.put_u64(self.records);
        out.put_duration(self.expire_at.since(now));
        out.put_u8(u8::from(self.end_at.is_some()));
        out.put_duration(self.end_at.map(|end| end.since(now)).unwrap_or_default());
        out.put_u32(u32::try_from(self.fields.len()).unwrap_or(u32::MAX));
        for (name, merged) in &self.fields {
            out.put_text(name);
            merged.put(out);
        }
        out.put_u32(u32::try_from(self.nested.len()).unwrap_or(u32::MAX));
        self.nested.iter().for_each(|merged| merged.put(out));
    }

    /// Of a checkpoint that is `age` old.
    pub(super) fn take(from: &mut Take<'_>, now: Time, age: Duration) -> Option<Self> {
        let (key, records) = (from.text()?.into(), from.u64()?);
        let left = |remaining: Duration| now + remaining.saturating_sub(age);
        let expire_at = left(from.duration()?);
        let (has_end, end) = (from.u8()? == 1, from.duration()?);
        let end_at = has_end.then(|| left(end));
        let count = from.u32()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            fields.push((from.text()?.into(), Merged::take(from)?));
        }
        let count = from.u32()?;
        let mut nested = Vec::new();
        for _ in 0..count {
            nested.push(Merged::take(from)?);
        }
        let mut group = Self {
            key,
            fields,
            index: HashMap::new(),
            nested,
            records,
            expire_at,
            end_at,
            look_at: expire_at,
            bytes: 0,
        };
        group.look_at = group.ends_at();
        group.measure();
        Some(group)
    }
}

/// Adds a value to what is merged. Says how many are of a kind that does not count.
fn add_to(merged: &mut Merged, value: &[u8], bytes: &mut usize) -> u64 {
    let before = merged.bytes();
    let counts = merged.add(value);
    *bytes = *bytes + merged.bytes() - before;
    u64::from(!counts)
}

impl Spec {
    fn strategy_of(&self, name: &[u8], value: &[u8]) -> Strategy {
        let declared = self.top.iter().find(|(known, _)| **known == *name);
        declared.map_or_else(|| Strategy::default_of(name, value), |(_, strategy)| *strategy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted_anew(group: &Group) -> usize {
        let mut same = group.clone();
        same.measure();
        same.bytes
    }

    #[test]
    fn each_of_very_many_fields_is_found_in_the_index_and_counted() {
        const FIELDS: usize = 20_000;
        let spec = Spec { max_events: 9, ..Spec::default() };
        let record = |order: &mut dyn Iterator<Item = usize>| {
            let fields: Vec<String> = order.map(|n| format!("\"{n:x}\":1")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let mut group = Group::new(b"k".as_slice().into(), &spec, Time::ZERO);
        group.add(record(&mut (0..FEW)).as_bytes(), &spec, Time::ZERO);
        assert!(group.index.is_empty());
        assert_eq!(group.bytes, counted_anew(&group));
        group.add(record(&mut (0..FIELDS)).as_bytes(), &spec, Time::ZERO);
        // In another order: none is where the one before says.
        group.add(record(&mut (0..FIELDS).rev()).as_bytes(), &spec, Time::ZERO);
        assert_eq!((group.fields.len(), group.index.len()), (FIELDS, FIELDS));
        assert!(group.fields.iter().zip(0..).all(|((name, _), at)| group.index.get(name) == Some(&at)));
        assert_eq!(group.bytes, counted_anew(&group));
        let whole: serde_json::Value = serde_json::from_slice(&group.write(&[])).unwrap();
        assert_eq!((whole.as_object().unwrap().len(), &whole["3f"], &whole["40"]), (FIELDS, &3.into(), &2.into()));
        let mut text = Vec::new();
        group.put(Time::ZERO, &mut text);
        let again = Group::take(&mut Take(&text), Time::ZERO, Duration::ZERO).unwrap();
        assert_eq!((&again.index, again.fields.len()), (&group.index, FIELDS));
    }
}
