//! Passes on records that differ from those before them.
//!
//! * **Emits** the first record of each kind, in order.
//! * **Blocks** with what is behind it; it holds the marks of the last records (`cache.num_events`), reserved.
//! * **Sheds** nothing.
//! * **Settles** a record that was seen before as filtered. A record counts as seen when it has passed here, not when it
//!   was delivered: one that a sink gave back and that its source reads again is a repetition too. Let sinks try again
//!   without end (the default) where that matters.
//! * **Completes** with its input; what was seen is forgotten with the process.
//! * **Fails** never.

use std::hash::{BuildHasher as _, RandomState};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Batch, Bytes, Lease, Records, ShedReason, Weight};
use tidegate_record::{Path, Row, json};
use tidegate_runtime::ops::Recent;
use tidegate_runtime::{StageContext, Step, Transform};

use super::edits::{Decision, Edits};
use crate::Rows;
use crate::contract::page::page;
use crate::contract::{BuildContext, BuiltTransform, Check, Ignored, StartError, TransformConfig, TransformKind};

/// The entry in the list of transforms.
pub const KIND: TransformKind = TransformKind::of::<Dedupe>(
    "dedupe",
    "Passes on records that differ from those before them.",
    "type: dedupe\nfields:\n  match: [id]\ncache:\n  num_events: 5000\n",
)
.page(page!("dedupe.rs"))
.lacks(&[Ignored { key: "time_settings", why: "records are remembered by number: `cache.num_events`" }]);

/// Passes on records that differ from those before them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dedupe {
    /// Which fields must be equal. Default: `match: [timestamp, host, message]`.
    pub fields: Fields,
    /// How much is remembered.
    pub cache: Cache,
}

/// Which fields must be equal. One of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// These, as paths. A field that both records lack is equal.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Vec<String>>,
    /// All but these, as paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<String>>,
}

/// How much is remembered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// So many records; the one seen least recently is forgotten. Default: 5000, at most 10 million.
    pub num_events: u32,
}

impl Default for Cache {
    fn default() -> Self {
        Self { num_events: 5_000 }
    }
}

const MOST_EVENTS: u32 = 10_000_000;

/// What makes records equal.
enum Compared {
    These(Vec<Path>),
    AllBut(Vec<Path>),
}

impl Dedupe {
    fn compared(&self) -> Result<Compared, (String, String)> {
        let paths = |key: &str, texts: &[String]| {
            let parse = |(at, text): (usize, &String)| {
                Path::parse(text)
                    .map_err(|error| (format!("fields.{key}[{at}]"), format!("is no path of a field: {error}")))
            };
            texts.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()
        };
        match (&self.fields.matching, &self.fields.ignore) {
            (Some(_), Some(_)) => {
                Err(("fields".to_owned(), "has both `match` and `ignore`; leave out one of the two".to_owned()))
            }
            (None, Some(ignored)) => paths("ignore", ignored).map(Compared::AllBut),
            (Some(these), None) if these.is_empty() => {
                Err(("fields.match".to_owned(), "names no field, so that all records would be equal".to_owned()))
            }
            (Some(these), None) => paths("match", these).map(Compared::These),
            (None, None) => Ok(Compared::These(["timestamp", "host", "message"].map(Path::field).to_vec())),
        }
    }
}

impl TransformConfig for Dedupe {
    fn check(&self, at: &mut Check<'_>) {
        if let Err((key, text)) = self.compared() {
            at.refuse(&key, text);
        }
        if !(1..=MOST_EVENTS).contains(&self.cache.num_events) {
            at.refuse("cache.num_events", format!("{} is not from 1 to {MOST_EVENTS}", self.cache.num_events));
        }
    }

    fn build(self: Box<Self>, _cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        let compared = self.compared().map_err(|(key, text)| StartError::new(format!("`{key}` {text}")))?;
        let capacity = self.cache.num_events.clamp(1, MOST_EVENTS) as usize;
        // Tables double, so that up to twice the keys are allocated.
        let bytes = Bytes::from(2 * capacity * Recent::<u128, ()>::KEY_BYTES);
        let step = DedupeStep {
            compared,
            seen: Recent::new(capacity),
            hashers: [RandomState::new(), RandomState::new()],
            text: Vec::new(),
            edits: Edits::default(),
            holds: bytes,
            lease: Lease::none(),
        };
        Ok(BuiltTransform::holding(step, Weight { records: Records::ZERO, bytes }))
    }
}

/// Records are known by a hash of 128 bits with a key of this process: of 10^12 different records, two have one hash with
/// a probability of 10^-15.
struct DedupeStep {
    compared: Compared,
    seen: Recent<u128, ()>,
    hashers: [RandomState; 2],
    text: Vec<u8>,
    edits: Edits,
    holds: Bytes,
    /// Pays for what is remembered.
    lease: Lease,
}

/// Puts down in `text` what makes `row` equal to others. Each value is preceded by its length, so that no two lists of
/// values give the same text.
fn describe(row: Row<'_>, compared: &Compared, text: &mut Vec<u8>) {
    text.clear();
    match compared {
        Compared::These(paths) => paths.iter().for_each(|path| match row.get(path) {
            None => text.push(b'-'),
            Some(value) => put(&value, text),
        }),
        Compared::AllBut(ignored) => {
            // Members in the order of their names, so that the same record written otherwise is the same.
            let mut copy = Rows::default();
            let mut whole = Vec::new();
            row.write_json(&mut whole);
            let Some(origin) = row.origin() else { return };
            copy.push_copy(&whole, tidegate_record::Form::Object, origin);
            ignored.iter().for_each(|path| {
                copy.row_mut(0).remove(path);
            });
            whole.clear();
            copy.row(0).write_json(&mut whole);
            let mut members: Vec<(&[u8], &[u8])> =
                json::members(&whole).map(|(key, value)| (key, &whole[value])).collect();
            members.sort_unstable();
            for (key, value) in members {
                put(key, text);
                put(value, text);
            }
        }
    }
}

/// Appends a value: strings decoded, so that escapes do not matter.
fn put(value: &[u8], text: &mut Vec<u8>) {
    let is_string = json::kind(value) == json::Kind::String;
    let decoded = if is_string { json::unquote(value) } else { value.into() };
    text.push(if is_string { b's' } else { b'v' });
    text.extend_from_slice(&(decoded.len() as u64).to_le_bytes());
    text.extend_from_slice(&decoded);
}

impl Transform<Rows> for DedupeStep {
    type Out = Rows;

    fn open(&mut self, cx: &StageContext) {
        // The plan has reserved it.
        self.lease = cx.held().try_lease(self.holds).unwrap_or_default();
    }

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let Self { compared, seen, hashers, text, edits, .. } = self;
        edits.decide(&input.payload, |row| {
            describe(row, compared, text);
            let [high, low] = hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(&*text)));
            let (_, known) = seen.get_or_insert_with(high << 64 | low, || ());
            if known { Decision::Filter } else { Decision::Keep }
        });
        *out = edits.apply(input, ShedReason::Throttle, cx);
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transforms::bench::{Bench, built, jsons, problems};

    /// The records that pass, of JSON objects.
    fn passed<const N: usize>(config: &str, texts: [&str; N]) -> Vec<String> {
        let mut rows = Rows::from_texts(texts);
        (0..N).for_each(|row| rows.row_mut(row).parse_message().unwrap());
        jsons(Bench::new(built(config, KIND)).process(rows).0)
    }

    #[test]
    fn a_repetition_is_filtered() {
        let mut bench = Bench::new(built("{}", KIND));
        assert_eq!(bench.texts(["a", "b", "a"]), ["a", "b"]);
        assert_eq!(bench.texts(["b", "c"]), ["c"], "also in the next batch");
        assert_eq!(bench.flows().filtered.get(), 2);
    }

    #[test]
    fn the_fields_that_matter_can_be_chosen() {
        let texts = [r#"{"a":1,"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"b":1}"#, r#"{"b":3}"#, r#"{"a":"1"}"#];
        assert_eq!(passed(r#"{"fields": {"match": ["a"]}}"#, texts), [texts[0], texts[2], texts[4]]);
        assert_eq!(passed(r#"{"fields": {"ignore": ["b"]}}"#, texts), [texts[0], texts[2], texts[4]]);
    }

    #[test]
    fn how_a_value_was_written_does_not_matter() {
        let texts = [r#"{"a":"é","b":[1]}"#, r#"{"b":[1],"a":"\u00e9"}"#];
        assert_eq!(passed(r#"{"fields": {"ignore": []}}"#, texts), texts[..1]);
        assert_eq!(passed(r#"{"fields": {"match": [".a"]}}"#, texts), texts[..1]);
    }

    #[test]
    fn values_do_not_run_into_each_other() {
        let texts = [r#"{"a":"x","b":"yz"}"#, r#"{"a":"xy","b":"z"}"#];
        assert_eq!(passed(r#"{"fields": {"match": ["a", "b"]}}"#, texts), texts);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut bench = Bench::new(built(r#"{"cache": {"num_events": 2}}"#, KIND));
        assert_eq!(bench.texts(["a", "b", "a", "c", "a", "b"]), ["a", "b", "c", "b"], "a was used again, b forgotten");
    }

    #[test]
    fn what_cannot_work_is_reported_by_key() {
        for (json, key) in [
            (r#"{"cache": {"num_events": 0}}"#, "cache.num_events"),
            (r#"{"fields": {"match": ["a"], "ignore": ["b"]}}"#, "fields"),
            (r#"{"fields": {"match": []}}"#, "fields.match"),
            (r#"{"fields": {"match": ["a", "b["]}}"#, "fields.match[1]"),
        ] {
            let keys: Vec<String> = problems(json, KIND).into_iter().map(|problem| problem.key).collect();
            assert_eq!(keys, [key], "{json}");
        }
    }
}
