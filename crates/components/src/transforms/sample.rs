//! Passes on one record in so many.
//!
//! * **Emits** the chosen records, each with the rate in the field `sample_rate`; those that `exclude` names pass as they
//!   are.
//! * **Blocks** with what is behind it; it holds nothing.
//! * **Sheds** nothing: what is not chosen was not wanted.
//! * **Settles** the others as filtered.
//! * **Completes** with its input.
//! * **Fails** never.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Batch, ShedReason};
use tidegate_record::{JsonText, Path, Row};
use tidegate_runtime::{StageContext, Step, Transform};

use super::condition::{Asked, COUNTED, ConditionText, counter};
use super::edits::{Decision, Edits};
use crate::Rows;
use crate::contract::page::page;
use crate::contract::{BuildContext, BuiltTransform, Check, Ignored, StartError, TransformConfig, TransformKind};

/// The entry in the list of transforms.
pub const KIND: TransformKind =
    TransformKind::of::<Sample>("sample", "Passes on one record in so many.", "type: sample\nrate: 10\n")
        .page(page!("sample.rs"))
        .lacks(&[Ignored {
            key: "group_by",
            why: "records are counted together; `key_field` treats those of a key alike",
        }])
        .counts(COUNTED);

/// Passes on one record in so many.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// One in so many: 10 passes one record of ten. Either this or `ratio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// The part that passes, above 0 and at most 1: 0.1 passes one record of ten. Either this or `rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The path of a field whose value decides: records with the same value pass together or not at all. A record
    /// without the field is counted with the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_field: Option<String>,
    /// Records that this is true of always pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<ConditionText>,
    /// The field of a record that passed in which the rate is written; empty for none. Default: `sample_rate`.
    #[serde(default = "sample_rate")]
    pub sample_rate_key: String,
}

fn sample_rate() -> String {
    "sample_rate".to_owned()
}

/// The share of records that passes.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Share {
    OneIn(u64),
    Ratio(f64),
}

impl Sample {
    fn share(&self) -> Result<Share, (&'static str, &'static str)> {
        match (self.rate, self.ratio) {
            (Some(0), None) => Err(("rate", "one record in none is not possible; set it to at least 1")),
            (Some(rate), None) => Ok(Share::OneIn(rate)),
            (None, Some(ratio)) if ratio > 0.0 && ratio <= 1.0 => Ok(Share::Ratio(ratio)),
            (None, Some(_)) => Err(("ratio", "a ratio is above 0 and at most 1, such as 0.1")),
            (Some(_), Some(_)) => Err(("ratio", "`rate` and `ratio` say the same; leave out one of the two")),
            (None, None) => Err(("rate", "is missing; `rate: 10` passes one record of ten")),
        }
    }

    fn path(key: &str, text: &str) -> Result<Path, StartError> {
        Path::parse(text).map_err(|error| StartError::new(format!("`{key}` is no path of a field: {error}")))
    }
}

impl TransformConfig for Sample {
    fn check(&self, at: &mut Check<'_>) {
        if let Err((key, text)) = self.share() {
            at.refuse(key, text);
        }
        for (key, path) in [("key_field", self.key_field.as_deref()), ("sample_rate_key", Some(&*self.sample_rate_key))]
        {
            if let Some(Err(error)) = path.filter(|path| !path.is_empty()).map(|path| Self::path(key, path)) {
                at.refuse(key, error.text);
            }
        }
        if let Some(exclude) = &self.exclude {
            exclude.check("exclude", at);
        }
    }

    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        drop(counter(cx));
        let share = self.share().map_err(|(key, text)| StartError::new(format!("`{key}`: {text}")))?;
        let note = match (&*self.sample_rate_key, share) {
            ("", _) => None,
            (key, Share::OneIn(rate)) => {
                Some((Self::path("sample_rate_key", key)?, JsonText::string(&rate.to_string())))
            }
            (key, Share::Ratio(ratio)) => {
                Some((Self::path("sample_rate_key", key)?, JsonText::string(&ratio.to_string())))
            }
        };
        let key = self.key_field.as_deref().map(|path| Self::path("key_field", path)).transpose()?;
        let exclude = self.exclude.as_ref().map(|text| text.asked("exclude", cx)).transpose()?;
        let draw = Draw { share, counted: 0, due: 1.0 };
        Ok(BuiltTransform::step(SampleStep { draw, key, exclude, note, chosen: Vec::new(), edits: Edits::default() }))
    }
}

/// Which records pass.
struct Draw {
    share: Share,
    counted: u64,
    /// Above 1, a record passes; begins there, so that the first one does.
    due: f64,
}

impl Draw {
    /// One more record.
    fn next(&mut self) -> bool {
        match self.share {
            Share::OneIn(rate) => {
                let passes = self.counted == 0;
                self.counted = (self.counted + 1) % rate;
                passes
            }
            Share::Ratio(ratio) => {
                let passes = self.due >= 1.0;
                self.due += ratio - f64::from(u8::from(passes));
                passes
            }
        }
    }

    /// A record with a key: the same key gives the same answer, also after a restart.
    fn of_key(&self, key: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        match self.share {
            Share::OneIn(rate) => hasher.finish().is_multiple_of(rate),
            Share::Ratio(ratio) => (hasher.finish() as f64) < ratio * (u64::MAX as f64),
        }
    }
}

struct SampleStep {
    draw: Draw,
    key: Option<Path>,
    exclude: Option<Asked>,
    /// Where the rate is written, and the rate.
    note: Option<(Path, JsonText)>,
    /// The rows of the batch in hand that were chosen, among those that go on.
    chosen: Vec<usize>,
    edits: Edits,
}

impl SampleStep {
    fn decide(&mut self, rows: &Rows) {
        let Self { draw, key, exclude, chosen, edits, .. } = self;
        let mut kept = 0;
        chosen.clear();
        edits.decide(rows, |row: Row<'_>| {
            if exclude.as_mut().is_some_and(|exclude| exclude.matches(row)) {
                kept += 1;
                return Decision::Keep;
            }
            let passes = match key.as_ref().and_then(|key| row.get(key)) {
                Some(value) => draw.of_key(&value),
                None => draw.next(),
            };
            if !passes {
                return Decision::Filter;
            }
            chosen.push(kept);
            kept += 1;
            Decision::Keep
        });
    }
}

impl Transform<Rows> for SampleStep {
    type Out = Rows;

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.decide(&input.payload);
        let Some(mut batch) = self.edits.apply(input, ShedReason::Throttle, cx) else { return Step::Done };
        if let Some((path, rate)) = &self.note {
            self.chosen.iter().for_each(|row| batch.payload.row_mut(*row).set(path, rate.as_bytes()));
            if let Err(nack) = cx.cover(&mut batch) {
                cx.refuse(batch, nack);
                return Step::Done;
            }
        }
        *out = Some(batch);
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transforms::bench::{Bench, built, problems};

    const NINE: [&str; 9] = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];

    #[test]
    fn one_in_so_many_passes_with_the_rate_beside_it() {
        let mut bench = Bench::new(built(r#"{"rate": 4}"#, KIND));
        assert_eq!(bench.texts(NINE), ["0", "4", "8"]);
        assert_eq!(bench.texts(NINE), ["3", "7"], "counted on from batch to batch");
        let note = ",\"sample_rate\":\"4\"}";
        let jsons = bench.jsons(NINE);
        assert!(jsons.len() == 2 && jsons.iter().all(|json| json.ends_with(note)), "{jsons:?}");
        assert_eq!(bench.flows().filtered.get(), 27 - 7);
    }

    #[test]
    fn a_ratio_is_met_as_closely_as_can_be() {
        let mut bench = Bench::new(built(r#"{"ratio": 0.4, "sample_rate_key": ""}"#, KIND));
        let passed: usize = (0..100).map(|_| bench.texts(NINE).len()).sum();
        assert_eq!(passed, 360);
        assert!(!bench.jsons(NINE)[0].contains("sample_rate"));
    }

    #[test]
    fn the_same_key_is_always_treated_the_same() {
        let mut bench = Bench::new(built(r#"{"rate": 3, "key_field": "message"}"#, KIND));
        let first = bench.texts(NINE);
        assert!(!first.is_empty() && first.len() < 9, "{first:?}");
        assert_eq!(bench.texts(NINE), first);
    }

    #[test]
    fn what_is_excluded_passes_as_it_is_and_is_not_counted() {
        let mut bench = Bench::new(built(r#"{"rate": 2, "exclude": ".message == \"1\" || .message == \"2\""}"#, KIND));
        let jsons = bench.jsons(["0", "1", "2", "3", "4"]);
        let rated: Vec<bool> = jsons.iter().map(|json| json.contains("sample_rate")).collect();
        assert_eq!(rated, [true, false, false, true], "{jsons:?}");
    }

    #[test]
    fn rates_that_make_no_sense_are_refused_by_key() {
        for (json, key) in [
            ("{}", "rate"),
            (r#"{"rate": 0}"#, "rate"),
            (r#"{"ratio": 1.5}"#, "ratio"),
            (r#"{"ratio": 0.0}"#, "ratio"),
            (r#"{"rate": 2, "ratio": 0.5}"#, "ratio"),
            (r#"{"rate": 2, "key_field": ".a[x]"}"#, "key_field"),
            (r#"{"rate": 2, "exclude": ".a ="}"#, "exclude"),
        ] {
            let keys: Vec<String> = problems(json, KIND).into_iter().map(|problem| problem.key).collect();
            assert_eq!(keys, [key], "{json}");
        }
    }
}
