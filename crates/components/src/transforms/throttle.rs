//! Lets records pass at a rate: all together, or those of each key on their own.
//!
//! * **Emits** what the rate allows, in order; with a key and `when_over: shape`, in the order of each key.
//! * **Blocks** its input with `when_over: shape`: what is over the rate waits, and the pressure travels upstream. With a
//!   key, up to 4096 records or 1 MiB wait while those of other keys pass; when it is full, all keys wait.
//! * **Sheds** what is over the rate with `when_over: shed`, which is what Vector does, counted with the reason `throttle`.
//! * **Settles** what was shed as shed.
//! * **Completes** with its input, when what waits has passed. What each key has left is forgotten with the process, unless
//!   `checkpoint` says how often it is saved; then the tokens that came meanwhile are added at the next start.
//! * **Fails** where its checkpoint is larger than one of 10 000 keys.

mod paced;
mod saved;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use tidegate_flow::{Batch, Bytes, Lease, Records, ShedReason, Time, Weight};
use tidegate_record::Row;
use tidegate_runtime::ops::{Cost, KeyedBuckets, MAX_KEYS, Throttle as Pace};
use tidegate_runtime::{OverRate, StageContext, Step, ThrottleSpec, Transform};

use self::paced::Paced;
use self::saved::{Levels, Saving};
use super::condition::{Asked, ConditionText, counter};
use super::edits::{Decision, Edits};
use crate::Rows;
use crate::checkpoints::check_period;
use crate::contract::page::page;
use crate::contract::{BuildContext, BuiltTransform, Check, Ignored, Shed, StartError, TransformConfig, TransformKind};
use crate::template::{RowClock, Template, Zone};
use crate::value::Period;

/// The entry in the list of transforms.
pub const KIND: TransformKind = TransformKind::of::<Throttle>(
    "throttle",
    "Lets records pass at a rate; what is over it waits or is shed.",
    "type: throttle\nthreshold: 1000\nwindow_secs: 1\nwhen_over: shape\n",
)
.page(page!("throttle.rs"))
.ignores(&[Ignored { key: "internal_metrics", why: "what is shed is counted by transform, not by key" }])
.counts(&["conditions_failed", "checkpoint_failures", "checkpoints_set_aside"]);

/// Lets records pass at a rate; what is over it waits or is shed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// So many records may pass in each window; also the most that pass at once after a pause.
    pub threshold: u32,
    /// The length of the window.
    #[serde(alias = "window")]
    pub window_secs: Period,
    /// Records for which this text is the same share a rate: `{{ host }}`. Without it, or where a record lacks the field,
    /// all share one. The 10 000 keys used last are remembered; one that was forgotten begins with a full window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_field: Option<String>,
    /// Records that this is true of pass and are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<ConditionText>,
    /// What happens to records that are over the rate. Default: `shed`.
    #[serde(default)]
    pub when_over: WhenOver,
    /// How often it is saved what each key has left, in `data_dir`, to go on with it after a restart. From 10 ms to 1 h.
    /// Default: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Period>,
}

/// What happens to records that are over the rate.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenOver {
    /// They wait, and what is behind them too. With `key_field`, only what is behind them of the same key: up to 4096
    /// records or 1 MiB wait so; when it is full, nothing more is taken until some have passed.
    Shape,
    /// They are shed and counted.
    #[default]
    Shed,
}

impl Throttle {
    fn key(&self) -> Result<Option<Template>, StartError> {
        let parse = |text: &String| Template::parse(text).map_err(|error| StartError::new(error.to_string()));
        self.key_field.as_ref().map(parse).transpose()
    }

    /// Records a second, and at once.
    fn rate(&self) -> (f64, f64) {
        let burst = f64::from(self.threshold);
        (burst / self.window_secs.get().as_secs_f64(), burst)
    }
}

impl TransformConfig for Throttle {
    fn check(&self, at: &mut Check<'_>) {
        if self.threshold == 0 {
            at.refuse("threshold", "nothing would ever pass").help("set it to at least 1");
        }
        if self.window_secs.get().is_zero() {
            at.refuse("window_secs", "is no time at all").help("set it above zero, such as 1");
        }
        if let Err(error) = self.key() {
            at.refuse("key_field", error.text);
        }
        if let Some(exclude) = &self.exclude {
            exclude.check("exclude", at);
        }
        if let Some(period) = self.checkpoint {
            check_period(period, at);
        }
    }

    fn sheds(&self) -> Vec<Shed> {
        let each = if self.key_field.is_some() { " of each key" } else { "" };
        let records = if self.threshold == 1 { "record" } else { "records" };
        let what = format!("what is over {} {records}{each} in {}", self.threshold, self.window_secs);
        let sheds = (self.when_over == WhenOver::Shed).then(|| Shed::any(what, ShedReason::Throttle.name()));
        sheds.into_iter().collect()
    }

    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        drop(counter(cx));
        let saving = Saving::of(self.checkpoint, cx);
        let (rate, burst) = self.rate();
        if !(rate.is_finite() && rate > 0.0) {
            return Err(StartError::new("a throttle needs a threshold and a window above zero"));
        }
        let exclude = self.exclude.as_ref().map(|text| text.asked("exclude", cx)).transpose()?;
        if let Some(key) = self.key()? {
            let (buckets, keys) = (KeyedBuckets::new(rate, burst, MAX_KEYS), Keys::new(key, exclude));
            return Ok(match self.when_over {
                WhenOver::Shape => saving.around(Paced::new(buckets, keys), Paced::holds(), MAX_KEYS),
                WhenOver::Shed => saving.around(ByKey::new(buckets, keys), ByKey::holds(), MAX_KEYS),
            });
        }
        let (over, waiting) = match self.when_over {
            WhenOver::Shape => (OverRate::Shape, Weight { records: Records::new(1), bytes: Bytes::ZERO }),
            WhenOver::Shed => (OverRate::Enforce, Weight::ZERO),
        };
        let spec = ThrottleSpec { over, ..ThrottleSpec::shape(rate).burst(burst) };
        Ok(saving.around(Pace::new(spec, Counted { exclude }), waiting, 1))
    }
}

/// A record costs 1, and one that is excluded nothing.
struct Counted {
    exclude: Option<Asked>,
}

impl Cost<Rows> for Counted {
    fn each(&self) -> Option<f64> {
        self.exclude.is_none().then_some(1.0)
    }

    fn of_rows(&mut self, payload: &Rows, costs: &mut Vec<f64>) {
        let Some(exclude) = &mut self.exclude else { return };
        costs.extend(payload.iter().map(|row| if exclude.matches(row) { 0.0 } else { 1.0 }));
    }
}

/// A rate for each key; sheds what is over it. Keys are known by a hash of 64 bits: two with one hash share a rate.
struct ByKey {
    buckets: KeyedBuckets,
    keys: Keys,
    edits: Edits,
    /// Pays for the keys.
    lease: Lease,
}

/// The hash of records that lack the field.
const NO_KEY: u64 = 0;

impl Levels for ByKey {
    fn levels(&mut self, now: Time, each: &mut dyn FnMut(u64, f64)) {
        self.buckets.levels(now).for_each(|(key, tokens)| each(key, tokens));
    }

    fn restore(&mut self, key: u64, tokens: f64, age: Duration, now: Time) {
        self.buckets.restore(key, tokens, age, now);
    }
}

impl Levels for Pace<Rows, Counted> {
    fn levels(&mut self, now: Time, each: &mut dyn FnMut(u64, f64)) {
        each(NO_KEY, self.bucket().tokens(now));
    }

    fn restore(&mut self, _key: u64, tokens: f64, age: Duration, now: Time) {
        self.bucket().restore(tokens, age, now);
    }
}

/// Finds the key of a record.
struct Keys {
    key: Template,
    exclude: Option<Asked>,
    clock: RowClock,
    text: String,
}

impl Keys {
    fn new(key: Template, exclude: Option<Asked>) -> Self {
        Self { key, exclude, clock: RowClock::new(Zone::Utc), text: String::new() }
    }

    /// The hash of the key; `None` for a record that is excluded. Records that lack the field share one.
    fn of(&mut self, row: Row<'_>) -> Option<u64> {
        if self.exclude.as_mut().is_some_and(|exclude| exclude.matches(row)) {
            return None;
        }
        self.text.clear();
        if self.key.render(row, &mut self.clock, &mut self.text).is_err() {
            return Some(NO_KEY);
        }
        // The same in the next run, which may have it in a checkpoint.
        Some(SipHasher13::new().hash(self.text.as_bytes()))
    }
}

impl ByKey {
    fn new(buckets: KeyedBuckets, keys: Keys) -> Self {
        Self { buckets, keys, edits: Edits::default(), lease: Lease::none() }
    }

    /// What the keys take. Tables double, so that up to twice the keys are allocated.
    fn holds() -> Weight {
        Weight { records: Records::ZERO, bytes: Bytes::from(2 * MAX_KEYS * KeyedBuckets::KEY_BYTES) }
    }
}

impl Transform<Rows> for ByKey {
    type Out = Rows;

    fn open(&mut self, cx: &StageContext) {
        // The plan has reserved it.
        self.lease = cx.held().try_lease(Self::holds().bytes).unwrap_or_default();
    }

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let Self { buckets, keys, edits, .. } = self;
        let now = cx.now();
        edits.decide(&input.payload, |row: Row<'_>| match keys.of(row) {
            Some(key) if !buckets.try_take(key, 1.0, now) => Decision::Shed,
            _ => Decision::Keep,
        });
        *out = edits.apply(input, ShedReason::Throttle, cx);
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transforms::bench::{Bench, built, messages, problems};

    #[test]
    fn what_is_over_the_rate_is_shed_as_in_vector() {
        let mut bench = Bench::new(built(r#"{"threshold": 2, "window_secs": 1}"#, KIND));
        assert_eq!(bench.texts(["a", "b", "c", "d"]), ["a", "b"]);
        bench.pass(Duration::from_millis(500));
        assert_eq!(bench.texts(["e", "f"]), ["e"]);
        assert_eq!((bench.flows().shed.total().get(), bench.flows().held.get()), (3, 3));
    }

    #[test]
    fn what_is_over_the_rate_waits_in_order_and_nothing_is_lost() {
        let mut bench = Bench::new(built(r#"{"threshold": 2, "window": "1s", "when_over": "shape"}"#, KIND));
        let (out, step) = bench.process(Rows::from_texts(["a", "b", "c", "d", "e"]));
        assert_eq!(messages(out), ["a", "b"]);
        let (mut got, mut next) = (Vec::new(), step);
        while let Step::WaitUntil(at) = next {
            bench.pass(at.since(bench.now()));
            let (out, step) = bench.resume();
            got.extend(messages(out));
            next = step;
        }
        assert_eq!((got.join(""), next), ("cde".to_owned(), Step::Done));
        let millis = bench.now().since(tidegate_flow::Time::ZERO).as_millis();
        assert!((1_500..1_510).contains(&millis), "{millis} ms for three more at two a second");
        assert_eq!(bench.flows().shed.total().get(), 0);
    }

    #[test]
    fn each_key_has_a_rate_of_its_own() {
        let config = r#"{"threshold": 1, "window_secs": 1, "key_field": "{{ message }}"}"#;
        let mut bench = Bench::new(built(config, KIND));
        assert_eq!(bench.texts(["a", "b", "a", "b", "c"]), ["a", "b", "c"]);
        let mut bench = Bench::new(built(&config.replace("{{ message }}", "{{ nothing }}"), KIND));
        assert_eq!(bench.texts(["a", "b"]), ["a"], "records without the field share one");
    }

    /// What a step gives until it wants nothing more, with the time in milliseconds at which it did.
    fn paced(bench: &mut Bench, first: (Option<Batch<Rows>>, Step)) -> Vec<(u128, String)> {
        let (mut got, mut last) = (Vec::new(), first);
        loop {
            let at = bench.now().since(tidegate_flow::Time::ZERO).as_millis();
            got.extend(messages(last.0.take()).into_iter().map(|text| (at, text)));
            last = match last.1 {
                Step::WaitUntil(at) => {
                    bench.pass(at.since(bench.now()));
                    bench.resume()
                }
                Step::More => bench.resume(),
                _ => match bench.flush() {
                    (None, Step::Done) => return got,
                    flushed => flushed,
                },
            };
        }
    }

    const SHAPED: &str = r#"{"threshold": 1, "window_secs": 1, "key_field": "{{ message }}", "when_over": "shape"}"#;

    #[test]
    fn a_key_over_its_rate_waits_and_others_pass() {
        let mut bench = Bench::new(built(SHAPED, KIND));
        let first = bench.process(Rows::from_texts(["a", "a", "b", "a", "c", "b"]));
        assert_eq!(first.1, Step::Done, "more can be taken");
        let mut got = paced(&mut bench, first);
        got.sort();
        let texts: Vec<(u128, &str)> = got.iter().map(|(at, text)| (at / 1_000, text.as_str())).collect();
        assert_eq!(texts, [(0, "a"), (0, "b"), (0, "c"), (1, "a"), (1, "b"), (2, "a")]);
        assert_eq!((bench.flows().shed.total().get(), bench.flows().held.get()), (0, 6), "nothing was settled here");
    }

    #[test]
    fn when_too_many_wait_nothing_more_is_taken_and_none_is_lost() {
        let mut bench = Bench::new(built(SHAPED, KIND));
        let many: Vec<String> = (0..9_000).map(|n| format!("{}", n % 3_000)).collect();
        let first = bench.process(Rows::from_texts(many.iter()));
        assert!(matches!(first.1, Step::WaitUntil(_)), "{:?}", first.1);
        let got = paced(&mut bench, first);
        let passed = |second: u128| got.iter().filter(|(at, _)| *at / 1_000 == second).count();
        assert_eq!((got.len(), [0, 1, 2].map(passed)), (9_000, [3_000; 3]));
    }

    #[test]
    fn what_is_excluded_passes_and_is_not_counted() {
        for key in ["", r#", "key_field": "all""#] {
            let config = format!(r#"{{"threshold": 1, "window_secs": 1, "exclude": ".message == \"x\""{key}}}"#);
            let mut bench = Bench::new(built(&config, KIND));
            assert_eq!(bench.texts(["x", "a", "x", "b", "x"]), ["x", "a", "x", "x"], "{config}");
        }
    }

    #[test]
    fn what_cannot_work_is_reported_by_key() {
        for (json, key) in [
            (r#"{"threshold": 0, "window_secs": 1}"#, "threshold"),
            (r#"{"threshold": 1, "window_secs": 0}"#, "window_secs"),
            (r#"{"threshold": 1, "window_secs": 1, "key_field": "{{ a"}"#, "key_field"),
            (r#"{"threshold": 1, "window_secs": 1, "exclude": ")"}"#, "exclude"),
        ] {
            let keys: Vec<String> = problems(json, KIND).into_iter().map(|problem| problem.key).collect();
            assert_eq!(keys, [key], "{json}");
        }
    }
}
