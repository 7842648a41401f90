//! Passes on records that differ from those before them.
//!
//! * **Emits** the first record of each kind, in order.
//! * **Blocks** with what is behind it; it holds the marks of the last records (`cache.num_events`), reserved.
//! * **Sheds** nothing.
//! * **Settles** a record that repeats one that is safe, or went to the dead letters, as filtered. While the first of its
//!   kind is on its way, a repetition does not pass, and ends when that does and as that does: a source is not told that
//!   a record is safe because its like is under way. Where the first was refused for now, so is the repetition, and the
//!   next one passes. In the counters of this stage it is filtered in any case.
//! * **Completes** with its input; what was seen is forgotten with the process, unless `checkpoint` says how often it is
//!   saved. Then a record that was settled before the last checkpoint does not pass again after a restart, and one that was
//!   settled after it may: when the process is killed, not when it is told to stop.
//! * **Fails** when its checkpoint has more than `cache.num_events` records.
//!
//! With `by: id`, records are known by the ids that their sources gave them and not by what they say: so what is sent or read
//! again is told from what is only equal. A record without an id passes (`records_without_id`).
//!
//! The marks of records that are not settled, and repetitions that wait for them, are charged to the memory that floats.
//! Where there is none, such records pass: they may arrive twice.

mod seen;

use std::sync::Arc;
use std::task::{Context, Poll};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Batch, Bytes, Lease, Records, ShedReason, Weight};
use tidegate_record::{Path, RecordId, Row, json};
use tidegate_runtime::stage::Ended;
use tidegate_runtime::{StageContext, Step, Transform};

use self::seen::{FORM, Seen};
use super::edits::{Decision, Edits, before};
use crate::Rows;
use crate::checkpoints::{Gate, Place, check_period};
use crate::contract::page::page;
use crate::contract::{
    BuildContext, BuiltTransform, Check, Counter, Ignored, Keeps, StartError, TransformConfig, TransformKind,
};
use crate::value::Period;

/// The entry in the list of transforms.
pub const KIND: TransformKind = TransformKind::of::<Dedupe>(
    "dedupe",
    "Passes on records that differ from those before them.",
    "type: dedupe\nfields:\n  match: [id]\ncache:\n  num_events: 5000\ncheckpoint: 1s\n",
)
.page(page!("dedupe.rs"))
.counts(&["records_without_id", "checkpoint_failures", "checkpoints_set_aside"])
.lacks(&[Ignored { key: "time_settings", why: "records are remembered by number: `cache.num_events`" }]);

/// Passes on records that differ from those before them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dedupe {
    /// By what records are known. Default: by their fields.
    pub by: By,
    /// Which fields must be equal. Default: `match: [timestamp, host, message]`.
    pub fields: Fields,
    /// How much is remembered.
    pub cache: Cache,
    /// How often what is remembered is saved, in `data_dir`, to be known after a restart. From 10 ms to 1 h. Default: it is
    /// not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Period>,
}

/// By what records are known.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// By their fields: see `fields`.
    #[default]
    Fields,
    /// By the id that the source or the sender gave each of them.
    Id,
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
    Ids,
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
        if self.by == By::Id {
            let has_fields = self.fields.matching.is_some() || self.fields.ignore.is_some();
            let text = "has no effect with `by: id`; leave out one of the two";
            return if has_fields { Err(("fields".to_owned(), text.to_owned())) } else { Ok(Compared::Ids) };
        }
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
        if let Some(period) = self.checkpoint {
            check_period(period, at);
        }
    }

    fn keeps(&self) -> Option<Keeps> {
        let period = self.checkpoint?;
        let words = format!(
            "repetitions of what was settled up to {period} before a crash, and the time of one save more, do not come \
             again"
        );
        Some(Keeps { words, loses: false })
    }

    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        let compared = self.compared().map_err(|(key, text)| StartError::new(format!("`{key}` {text}")))?;
        let capacity = self.cache.num_events.clamp(1, MOST_EVENTS) as usize;
        // Tables double, so that up to twice the keys are allocated.
        let memory = Bytes::from(2 * capacity * Seen::KEY_BYTES);
        let print = format!("{:?} {:?}", self.by, self.fields);
        let most = Bytes::from(Seen::saved_bytes(capacity, &print));
        let place = Place::of(cx);
        // Where it is saved: a copy, to be written.
        let bytes = if self.checkpoint.is_some() { memory + most } else { memory };
        let step = DedupeStep {
            compared,
            seen: Seen::new(capacity, print),
            saving: self.checkpoint.filter(|_| cx.runs).map(|period| (place, most, period)),
            gate: Gate::default(),
            node: Arc::clone(&cx.node),
            text: Vec::new(),
            marks: Vec::new(),
            edits: Edits::default(),
            without_id: cx.meters.counter(&cx.node, "records_without_id"),
            holds: bytes,
            lease: Lease::none(),
        };
        Ok(BuiltTransform::holding(step, Weight { records: Records::ZERO, bytes }))
    }
}

/// Records are known by a hash of 128 bits with keys that were drawn: of 10^12 different records, two have one hash with
/// a probability of 10^-15.
struct DedupeStep {
    compared: Compared,
    seen: Seen,
    /// Where it is saved, until it is opened.
    saving: Option<(Place, Bytes, Period)>,
    gate: Gate,
    node: Arc<str>,
    text: Vec<u8>,
    /// Those of the rows of a batch; `None` for a row that panicked.
    marks: Vec<Option<u128>>,
    edits: Edits,
    without_id: Counter,
    holds: Bytes,
    /// Pays for what is remembered.
    lease: Lease,
}

/// Puts down in `text` what makes `row` equal to others. Each value is preceded by its length, so that no two lists of
/// values give the same text.
///
/// Says whether there is anything: a row without an id equals none.
fn describe(row: Row<'_>, compared: &Compared, text: &mut Vec<u8>) -> bool {
    text.clear();
    match compared {
        Compared::Ids => {
            let Some(RecordId { stream, number, part }) = row.id() else { return false };
            text.extend_from_slice(&stream.bits().to_le_bytes());
            text.extend_from_slice(&number.to_le_bytes());
            text.extend_from_slice(&part.to_le_bytes());
        }
        Compared::These(paths) => paths.iter().for_each(|path| match row.get(path) {
            None => text.push(b'-'),
            Some(value) => put_value(&value, text),
        }),
        Compared::AllBut(ignored) => {
            // Members in the order of their names, so that the same record written otherwise is the same.
            let mut copy = Rows::default();
            let mut whole = Vec::new();
            row.write_json(&mut whole);
            let Some(origin) = row.origin() else { return true };
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
                put_value(key, text);
                put_value(value, text);
            }
        }
    }
    true
}

/// Appends a value: strings decoded, so that escapes do not matter.
pub(super) fn put_value(value: &[u8], text: &mut Vec<u8>) {
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
        if let Some((place, most, period)) = self.saving.take() {
            let keeper = place.spec(FORM, most, period).keep(&self.node, Arc::new(self.seen.clone()), cx);
            self.seen.set_bell(keeper.bell());
            self.gate = Gate::of(keeper);
        }
    }

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.gate.hold(input);
        self.resume(out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        match self.gate.pass() {
            Ok(Some(input)) => {
                self.sort(input, out, cx);
                Step::Done
            }
            Ok(None) => Step::Done,
            Err(step) => step,
        }
    }

    fn poll_side(&mut self, task: &mut Context<'_>, _cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        self.gate.poll_side(task)
    }
}

impl DedupeStep {
    fn sort(&mut self, mut input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &StageContext) {
        let Self { compared, seen, text, marks, edits, without_id, .. } = self;
        let hasher = seen.hasher();
        marks.clear();
        edits.decide(&input.payload, |row| {
            marks.push(None);
            let known = describe(row, compared, text);
            if let Some(mark) = marks.last_mut() {
                *mark = Some(if known { Seen::mark(hasher.hash(text).as_u128()) } else { Seen::NO_MARK });
            }
            without_id.add(u64::from(!known));
            Decision::Keep
        });
        let sorted = seen.sort(marks.iter().copied(), cx.held(), |rows| input.take_rows(rows));
        let waiting: Vec<u32> = sorted.waiting.iter().map(|(row, _)| *row).collect();
        sorted.filtered.iter().for_each(|row| edits.filter(*row));
        edits.renumber(|row| row - before(&waiting, row));
        let held_back = Records::from(waiting.len());
        cx.counter().record(|flows| {
            flows.filtered += held_back;
            flows.held -= held_back;
        });
        *out = edits.apply(input, ShedReason::Throttle, cx);
        if let (Some(batch), Some(witness)) = (out, sorted.witness(seen)) {
            batch.ticket = std::mem::take(&mut batch.ticket).witnessed(&witness);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_flow::{Outcome, Time, Window, WindowSpec};

    use super::*;
    use crate::transforms::bench::{Bench, built, jsons, messages, problems};

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
    fn by_id_what_is_read_again_is_filtered_and_what_is_only_equal_is_not() {
        let stream = |bits| tidegate_record::StreamId::from_bits(bits);
        let mut bench = Bench::new(built(r#"{"by": "id"}"#, KIND));
        let mut texts = |stream, first, texts: &[&str]| {
            let mut rows = Rows::from_texts(texts);
            rows.identify(RecordId::new(stream, first));
            messages(bench.process(rows).0)
        };
        assert_eq!(texts(stream(1), 0, &["a", "a", "b"]), ["a", "a", "b"]);
        assert_eq!(texts(stream(1), 1, &["a", "b", "c"]), ["c"], "numbers 1 and 2 came before");
        assert_eq!(texts(stream(2), 0, &["a"]), ["a"], "of another stream");
        let mut origin = Rows::from_texts(["x"]);
        origin.identify(RecordId::new(stream(3), 0));
        let from = std::sync::Arc::clone(origin.row(0).origin().unwrap());
        let id = RecordId::new(stream(3), 7);
        let ids = [Some(id), None, Some(id.part(1)), Some(id.part(2)), None, Some(id)];
        let mixed = |ids: &[Option<RecordId>]| {
            let mut rows = Rows::default();
            ids.iter().for_each(|id| rows.push_copy_as(*id, b"x", tidegate_record::Form::Message, &from));
            rows
        };
        let mut passed = |ids: &[Option<RecordId>]| {
            let out = bench.process(mixed(ids)).0.unwrap();
            let passed: Vec<_> = out.payload.iter().map(|row| row.id()).collect();
            out.settle(Outcome::Delivered);
            passed
        };
        assert_eq!(passed(&ids), ids[..5], "parts are records of their own, and those without ids pass");
        assert_eq!(passed(&ids[1..4]), [None]);
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

    /// Rows with a ticket of a window, and whether and how its group has ended.
    fn asked(window: &Window<()>, texts: &[&str]) -> Batch<Rows> {
        let rows = Rows::from_texts(texts);
        let weight = Weight::new(texts.len() as u64, 100);
        let ticket = window.try_open(0, weight, Some(()), Time::ZERO).unwrap();
        Batch { ticket, ..Batch::detached(rows) }
    }

    #[test]
    fn a_repetition_ends_as_the_first_does_and_a_failed_one_may_pass_again() {
        let window = Window::new(WindowSpec::default()).unwrap();
        let mut bench = Bench::new(built("{}", KIND));
        let ended = || window.take_settled().map(|settled| (settled.counts.refused().get(), settled.nack.is_some()));
        let first = bench.pass_on(asked(&window, &["a", "a", "b"])).unwrap();
        assert_eq!(first.records(), 2, "a repetition in the same batch does not pass either");
        assert!(bench.pass_on(asked(&window, &["a"])).is_none());
        assert!(bench.pass_on(asked(&window, &["b"])).is_none());
        assert_eq!(ended(), None, "nobody is told that it is safe while the first is on its way");
        first.nack(tidegate_flow::Nack::transient("the sink is dead"));
        assert_eq!(ended(), Some((5, true)), "they are refused as the first");

        let mut again = bench.pass_on(asked(&window, &["b", "a"])).unwrap();
        assert_eq!(again.records(), 2, "and pass, as none was delivered");
        assert!(bench.pass_on(asked(&window, &["a", "b"])).is_none());
        let rest = again.split_off(1);
        rest.settle(Outcome::Delivered);
        drop(again);
        let b_again = bench.pass_on(asked(&window, &["a", "b"])).unwrap();
        assert_eq!(b_again.records(), 1, "a is safe, b was dropped unsettled");
        b_again.settle(Outcome::Delivered);
        assert!(bench.pass_on(asked(&window, &["a", "b"])).is_none());
        let counts = std::iter::from_fn(|| window.take_settled()).map(|settled| settled.counts);
        let counts = counts.reduce(|mut all, more| {
            all.add_all(&more);
            all
        });
        let of = |outcome| counts.unwrap().get(outcome).get();
        assert_eq!((of(Outcome::Delivered), of(Outcome::Filtered), of(Outcome::Abandoned)), (2, 4, 2));
    }

    #[test]
    fn a_repetition_behind_a_fork_waits_for_all_branches() {
        let window = Window::new(WindowSpec::default()).unwrap();
        let mut bench = Bench::new(built("{}", KIND));
        let upstream = asked(&window, &["a", "b"]).ticket.fork(2);
        let mut branches = upstream.into_iter();
        let batch = Batch { ticket: branches.next().unwrap(), ..Batch::detached(Rows::from_texts(["a", "b"])) };
        let mut first = bench.pass_on(batch).unwrap().ticket.fork(2);
        assert!(bench.pass_on(asked(&window, &["b"])).is_none());
        first.pop().unwrap().settle(Outcome::Delivered);
        branches.next().unwrap().settle(Outcome::Delivered);
        assert_eq!(window.take_settled(), None);
        first.pop().unwrap().settle(Outcome::Delivered);
        assert_eq!(window.take_settled().unwrap().counts.total().get(), 3);
    }

    #[test]
    fn what_cannot_work_is_reported_by_key() {
        for (json, key) in [
            (r#"{"cache": {"num_events": 0}}"#, "cache.num_events"),
            (r#"{"fields": {"match": ["a"], "ignore": ["b"]}}"#, "fields"),
            (r#"{"fields": {"match": []}}"#, "fields.match"),
            (r#"{"by": "id", "fields": {"match": ["a"]}}"#, "fields"),
            (r#"{"fields": {"match": ["a", "b["]}}"#, "fields.match[1]"),
        ] {
            let keys: Vec<String> = problems(json, KIND).into_iter().map(|problem| problem.key).collect();
            assert_eq!(keys, [key], "{json}");
        }
    }
}
