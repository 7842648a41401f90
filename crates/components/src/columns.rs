//! [`Columns`]: what scheduling should know of the records of a source, read from each where it enters: whose it is, how
//! urgent, and until when it is of use.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};

use chrono::DateTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tidegate_flow::queue::{MAX_BUCKETS, MAX_LANES};
use tidegate_flow::{EdgeSpec, Time};
use tidegate_record::{Path, Row, Timestamp, json};
use tidegate_remap::Condition;
use tidegate_runtime::{Class, Classifier};

use crate::Rows;
use crate::clock::wall_time;
use crate::contract::{Check, StartError};
use crate::transforms::ConditionText;
use crate::value::Period;

/// What scheduling should know of the records of a source, read from each where it enters. So fields are those that the
/// source gives: with `decoding: { codec: json }` those of the record, otherwise those of the envelope (`.message`,
/// `.host`, ...). Nothing is read, and nothing is paid for, where no column is declared.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// Whose a record is: the path of a field, such as `.tenant`. Records of different keys take turns in each buffer, by
    /// bytes, and where a buffer sheds, the key with the most in it pays first. Keys are hashed into 64 groups; records
    /// without the field are one more key. The order of records is kept by key alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Conditions in VRL, at most 3, the most urgent first: a record goes into the lane of the first that is true, and
    /// behind them all otherwise. Buffers hand out more urgent lanes first, and keep a tenth for each of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority: Vec<ConditionText>,
    /// When a record is of no use any more: a length of time after its `time`, such as `30s`, or the path of a field with
    /// that moment. Wherever it waits then, it is given up and counted as expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The field with the time of a record, from which its deadline counts: text as in RFC 3339, or seconds since 1970.
    /// Default, and where the field holds neither: when it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// When a record is of no use any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a length of time such as 30s, or the path of a field such as .expires_at")]
pub enum Deadline {
    /// So long after its time.
    After(Period),
    /// At the moment in this field.
    Field(String),
}

impl JsonSchema for Deadline {
    fn schema_name() -> Cow<'static, str> {
        "Deadline".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time (seconds, or text with a unit), or the path of a field with a moment.",
            "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "string" }],
            "examples": ["30s", ".expires_at"]
        })
    }
}

/// The share of a buffer, in percent, that more urgent lanes leave to each of the others.
const FLOOR_PERCENT: u8 = 10;

/// The most conditions: one lane is for all other records.
const MOST_CONDITIONS: usize = MAX_LANES as usize - 1;

/// How the edges of a pipeline sort what is in them.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Sorting {
    /// Lanes beyond the usual one.
    more_lanes: u8,
    /// Whether keys take turns.
    by_key: bool,
}

impl Sorting {
    /// What serves both.
    #[must_use]
    pub fn with(self, columns: &Columns) -> Self {
        let conditions = u8::try_from(columns.priority.len().min(MOST_CONDITIONS)).unwrap_or(0);
        Self { more_lanes: self.more_lanes.max(conditions), by_key: self.by_key || columns.key.is_some() }
    }

    /// The edge, sorted so.
    #[must_use]
    pub fn of_edge(self, spec: EdgeSpec) -> EdgeSpec {
        let floors = [0, FLOOR_PERCENT, FLOOR_PERCENT, FLOOR_PERCENT];
        let spec = if self.more_lanes == 0 { spec } else { spec.lanes(&floors[..=usize::from(self.more_lanes)]) };
        if self.by_key { spec.buckets(MAX_BUCKETS) } else { spec }
    }
}

impl Columns {
    /// Whether records of one read may go different ways.
    #[must_use]
    pub fn sorts(&self) -> bool {
        self.key.is_some() || !self.priority.is_empty()
    }

    /// What becomes of records by them, a line for each column.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(key) = &self.key {
            lines.push(format!("those of each `{key}` take turns in every edge, by bytes, in {MAX_BUCKETS} groups"));
        }
        if !self.priority.is_empty() {
            let lanes = self.priority.len() + 1;
            lines.push(format!(
                "{lanes} lanes, the more urgent first; {FLOOR_PERCENT} % are kept for each of the others"
            ));
        }
        match &self.deadline {
            None => {}
            Some(Deadline::Field(field)) => lines.push(format!("given up, and counted as expired, at `{field}`")),
            Some(Deadline::After(length)) => {
                let from = self.time.as_ref().map_or("their read".to_owned(), |field| format!("`{field}`"));
                lines.push(format!("given up, and counted as expired, {length} after {from}"));
            }
        }
        lines
    }

    /// Reports what cannot work. Keys are those within `columns`.
    pub fn check(&self, at: &mut Check<'_>) {
        let moment = match &self.deadline {
            Some(Deadline::Field(path)) => Some(path),
            _ => None,
        };
        for (key, path) in [("key", self.key.as_ref()), ("deadline", moment), ("time", self.time.as_ref())] {
            if let Some(Err(error)) = path.map(|path| Path::parse(path)) {
                at.refuse(key, format!("is no path of a field: {error}")).help("write one like `.tenant`");
            }
        }
        if self.priority.len() > MOST_CONDITIONS {
            let text = format!("{} conditions, and there are {MAX_LANES} lanes", self.priority.len());
            at.refuse("priority", text).help("write at most 3; all other records go behind them");
        }
        for (number, condition) in self.priority.iter().enumerate() {
            condition.check(&format!("priority[{number}]"), at);
        }
        if self.time.is_some() && !matches!(self.deadline, Some(Deadline::After(_))) {
            at.warn("time", "has no effect without a `deadline` that counts from it")
                .help("write `deadline: 30s`, or leave it out");
        }
    }

    /// What sorts the rows of a source.
    ///
    /// # Errors
    /// A path or a condition that cannot be used; [`check`](Self::check) says so too.
    pub fn build(&self) -> Result<Sorter, StartError> {
        let path = |text: &String| Path::parse(text).map_err(|error| StartError::new(format!("`{text}`: {error}")));
        let deadline = match &self.deadline {
            None => None,
            Some(Deadline::After(period)) => {
                Some(Expiry::After(i64::try_from(period.get().as_nanos()).unwrap_or(i64::MAX)))
            }
            Some(Deadline::Field(text)) => Some(Expiry::Field(path(text)?)),
        };
        Ok(Sorter {
            key: self.key.as_ref().map(path).transpose()?,
            seed: RandomState::new().build_hasher().finish(),
            priority: self.priority.iter().map(|text| text.build("priority")).collect::<Result<_, _>>()?,
            deadline,
            time: self.time.as_ref().map(path).transpose()?,
        })
    }
}

/// Sorts the rows of a source into lanes and buckets, and gives them deadlines.
pub struct Sorter {
    key: Option<Path>,
    /// Drawn anew for each start, so that nobody can choose a key that shares the bucket of another.
    seed: u64,
    priority: Vec<Condition>,
    deadline: Option<Expiry>,
    time: Option<Path>,
}

/// When a row expires.
enum Expiry {
    /// Nanoseconds after its time.
    After(i64),
    /// At the moment in this field; never, where there is none.
    Field(Path),
}

impl Sorter {
    fn class(&mut self, row: Row<'_>, now: Time, wall: Timestamp) -> Class {
        let lane = self.priority.iter_mut().position(|condition| condition.matches(row));
        let lane = lane.unwrap_or(self.priority.len());
        let bucket = self.key.as_ref().map_or(0, |key| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed);
            hasher.write(&row.get(key).unwrap_or_default());
            hasher.finish() % u64::from(MAX_BUCKETS)
        });
        let deadline = self.expires(row).map_or(Time::MAX, |moment| {
            let left = moment.saturating_sub(wall.unix_nanos());
            now + std::time::Duration::from_nanos(u64::try_from(left).unwrap_or(0))
        });
        Class { lane: u8::try_from(lane).unwrap_or(0), bucket: u8::try_from(bucket).unwrap_or(0), deadline }
    }

    /// When a row expires, in nanoseconds since 1970.
    fn expires(&self, row: Row<'_>) -> Option<i64> {
        match self.deadline.as_ref()? {
            Expiry::Field(path) => moment(row, path),
            Expiry::After(length) => {
                let read = || row.origin().map(|origin| origin.received.unix_nanos());
                let time = self.time.as_ref().and_then(|path| moment(row, path)).or_else(read)?;
                Some(time.saturating_add(*length))
            }
        }
    }
}

/// The moment in a field, in nanoseconds since 1970.
fn moment(row: Row<'_>, path: &Path) -> Option<i64> {
    let value = row.get(path)?;
    if json::kind(&value) == json::Kind::String {
        let text = json::unquote(&value);
        let time = DateTime::parse_from_rfc3339(std::str::from_utf8(&text).ok()?).ok()?;
        return time.timestamp_nanos_opt();
    }
    let seconds: f64 = std::str::from_utf8(&value).ok()?.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "a cast to an integer saturates, and so does the time")]
    Some((seconds * 1e9) as i64)
}

impl Classifier<Rows> for Sorter {
    fn classify(&mut self, payload: &Rows, now: Time, classes: &mut Vec<Class>) {
        let wall = wall_time();
        classes.extend(payload.iter().map(|row| self.class(row, now, wall)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tidegate_record::{Form, Origin};

    use super::*;
    use crate::contract::{BuildContext, Depth};

    /// Records read at the second 1000.
    fn classes(columns: &str, records: &[&str], wall_seconds: i64) -> Vec<Class> {
        let columns: Columns = serde_json::from_str(columns).unwrap();
        let mut sorter = columns.build().unwrap();
        let origin = Arc::new(Origin::new("test", Timestamp::from_unix_nanos(1_000_000_000_000)));
        let mut rows = Rows::default();
        records.iter().for_each(|text| rows.push_copy(text.as_bytes(), Form::Object, &origin));
        let wall = Timestamp::from_unix_nanos(wall_seconds * 1_000_000_000);
        rows.iter().map(|row| sorter.class(row, Time::ZERO + Duration::from_secs(7), wall)).collect()
    }

    #[test]
    fn the_first_condition_that_is_true_says_the_lane() {
        let columns = r#"{"priority": [".level == \"error\"", ".level == \"warn\" || .vip == true"]}"#;
        let records =
            [r#"{"level":"error","vip":true}"#, r#"{"level":"warn"}"#, r#"{"vip":true}"#, r#"{"level":"info"}"#];
        let lanes: Vec<u8> = classes(columns, &records, 1_000).iter().map(|class| class.lane).collect();
        assert_eq!(lanes, [0, 1, 1, 2]);
    }

    #[test]
    fn records_of_one_key_share_a_bucket_and_those_of_many_do_not() {
        let records: Vec<String> = (0..200).map(|n| format!(r#"{{"tenant":"t{}"}}"#, n % 100)).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let buckets: Vec<u8> =
            classes(r#"{"key": ".tenant"}"#, &records, 1_000).iter().map(|class| class.bucket).collect();
        assert_eq!(buckets[..100], buckets[100..]);
        let mut distinct = buckets.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 32 && distinct.iter().all(|bucket| *bucket < 64), "{distinct:?}");
    }

    #[test]
    fn a_deadline_counts_from_the_time_of_the_record() {
        let left = |columns: &str, record: &str| {
            let deadline = classes(columns, &[record], 1_010)[0].deadline;
            (deadline != Time::MAX).then(|| deadline.since(Time::ZERO + Duration::from_secs(7)).as_secs())
        };
        assert_eq!(left(r#"{"deadline": "30s"}"#, "{}"), Some(20), "read ten seconds ago");
        let by_field = r#"{"deadline": "30s", "time": ".ts"}"#;
        assert_eq!(left(by_field, r#"{"ts":1005.0}"#), Some(25));
        assert_eq!(left(by_field, r#"{"ts":"1970-01-01T00:16:50Z"}"#), Some(30));
        assert_eq!(left(by_field, r#"{"ts":"soon"}"#), Some(20), "no time, so that of the read");
        assert_eq!(left(by_field, r#"{"ts":1}"#), Some(0), "late already");
        let moment = r#"{"deadline": ".expires_at"}"#;
        assert_eq!(left(moment, r#"{"expires_at":1015}"#), Some(5));
        assert_eq!(left(moment, "{}"), None, "never");
        assert_eq!(classes("{}", &["{}"], 1_010), [Class::default()]);
    }

    #[test]
    fn what_cannot_work_is_reported_by_key() {
        for (json, key) in [
            (r#"{"key": ".a["}"#, "key"),
            (r#"{"deadline": ".a["}"#, "deadline"),
            (r#"{"time": ".ts"}"#, "time"),
            (r#"{"priority": [".a ="]}"#, "priority[0]"),
            (r#"{"priority": ["true", "true", "true", "true"]}"#, "priority"),
        ] {
            let cx = BuildContext::new("data");
            let mut check = Check::new(&cx, Depth::Values);
            serde_json::from_str::<Columns>(json).unwrap().check(&mut check);
            let keys: Vec<_> = check.into_problems().into_iter().map(|problem| problem.key).collect();
            assert_eq!(keys.first().map(String::as_str), Some(key), "{json}: {keys:?}");
        }
    }

    #[test]
    fn edges_are_sorted_as_their_sources_need() {
        let columns = |json: &str| serde_json::from_str::<Columns>(json).unwrap();
        let sorting = Sorting::default().with(&columns(r#"{"priority": ["true"]}"#)).with(&columns(r#"{"key": ".a"}"#));
        let spec = sorting.of_edge(EdgeSpec::new("e"));
        assert_eq!((spec.lanes.count(), spec.lanes.floor(1), spec.buckets), (2, 10, 64));
        assert!(spec.validate().is_ok());
        let plain = Sorting::default().of_edge(EdgeSpec::new("e"));
        assert_eq!((plain.lanes.count(), plain.buckets), (1, EdgeSpec::new("e").buckets));
    }
}
