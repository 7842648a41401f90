//! [`Group`]: the records of one key, merged; [`Spec`]: how.

use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::Time;
use tidegate_record::{Form, Origin, Path, json};

use super::merge::{MERGED_BYTES, Merged, Strategy};
use crate::Rows;
use crate::checkpoints::{Put, Take};

/// What a group takes beside its key and its fields: its places in three tables.
pub(super) const GROUP_BYTES: usize = 384;

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
            let is_it = |(known, _): &(Box<[u8]>, Merged)| **known == *name;
            // Records of one kind have their fields in the same order.
            let at = match self.fields.get(hint) {
                Some(field) if is_it(field) => hint,
                _ => self.fields.iter().position(is_it).unwrap_or_else(|| {
                    self.fields.push((name.into(), Merged::new(spec.strategy_of(name, value))));
                    self.fields.len() - 1
                }),
            };
            hint = at + 1;
            ignored += u64::from(!self.fields[at].1.add(value));
        }
        for (merged, nested) in self.nested.iter_mut().zip(&spec.nested) {
            if let Some(range) = json::find(record, nested.path.segments()) {
                ignored += u64::from(!merged.add(&record[range]));
            }
        }
        self.records += 1;
        self.expire_at = now + spec.expire_after;
        self.measure();
        ignored
    }

    /// Whether it has the fields further down that the configuration says.
    pub(super) fn nested_fit(&self, spec: &Spec) -> bool {
        let mut both = self.nested.iter().zip(&spec.nested);
        self.nested.len() == spec.nested.len() && both.all(|(merged, nested)| merged.strategy() == nested.strategy)
    }

    fn measure(&mut self) {
        let of_fields = self.fields.iter().map(|(name, merged)| name.len() + merged.bytes() + MERGED_BYTES);
        let of_nested = self.nested.iter().map(|merged| merged.bytes() + MERGED_BYTES);
        self.bytes = GROUP_BYTES + 2 * self.key.len() + of_fields.chain(of_nested).sum::<usize>();
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
            let has = |name: &[u8]| self.fields.iter().any(|(known, _)| **known == *name);
            if let Some(end) = merged.end().filter(|_| !has(&[name, b"_end".as_slice()].concat())) {
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
        let mut group = Self { key, fields, nested, records, expire_at, end_at, look_at: expire_at, bytes: 0 };
        group.look_at = group.ends_at();
        group.measure();
        Some(group)
    }
}

impl Spec {
    fn strategy_of(&self, name: &[u8], value: &[u8]) -> Strategy {
        let declared = self.top.iter().find(|(known, _)| **known == *name);
        declared.map_or_else(|| Strategy::default_of(name, value), |(_, strategy)| *strategy)
    }
}
