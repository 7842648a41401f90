//! Merges the records of a key into one: what belongs together, or figures of each key for a span of time.
//!
//! * **Emits** a record when its group has ended: no record came for `expire_after_ms`, `end_every_period_ms` is over,
//!   `ends_when` or `starts_when` says so, it has `max_events`, or its input has ended. When there is no room for another
//!   key, the oldest group ends early, which is counted.
//! * **Blocks** its input while what it has emitted fills `max_size` and is not safe yet, or while 8192 records wait for a
//!   checkpoint; it holds twice `max_size`, and 1.5 MiB, reserved.
//! * **Sheds** nothing.
//! * **Settles** a record as absorbed when a checkpoint has it (`ack: on_checkpoint`), or at once (`ack: on_absorb`: what is in
//!   open groups is lost with the process). Records that it emits are kept in the checkpoint until they are safe.
//!   One that has come before, by its id, is not merged again: see `records_repeated`.
//!   One that would take more than half of `max_size` goes back to its source, alone, or to `dead_letter`.
//! * **Completes** with its input, when all groups are sent; told to stop, it leaves them in the checkpoint, and goes on
//!   with them when it is started again.
//! * **Fails** when its checkpoint is larger than `max_size`.
//!
//! A disk that fails holds back what waits for a checkpoint, and with it the sources; the log says why.

mod book;
mod group;
mod merge;
mod number;
mod saved;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Bytes, Lease, Records, Time, Weight};
use tidegate_record::{Path, Segment};

use self::book::{Book, Bounds, MOST_WAITING, WAITING_BYTES};
use self::group::{Nested, Spec};
pub use self::merge::Strategy;
use self::step::{ReduceStep, Saving, Texts, Waits, origin};
use super::condition::{ConditionText, counter};
use crate::checkpoints::{KNOWN_BYTES, Place, SAVED_BYTES, check_period};
use crate::contract::page::page;
use crate::contract::{
    BuildContext, BuiltTransform, Check, Ignored, Keeps, StartError, TransformConfig, TransformKind,
};
use crate::ids::fresh_stream;
use crate::value::{ByteSize, Period};

/// The entry in the list of transforms.
pub const KIND: TransformKind = TransformKind::of::<Reduce>(
    "reduce",
    "Merges the records of a key into one.",
    "type: reduce\ngroup_by: [host]\nmerge_strategies:\n  message: concat_newline\nend_every_period_ms: 60000\n",
)
.page(page!("reduce.rs"))
.ignores(&[Ignored { key: "flush_period_ms", why: "a group ends when its time has come, not at the next look at it" }])
.counts(&[
    "conditions_failed",
    "groups_ended_early",
    "values_ignored",
    "records_repeated",
    "checkpoint_failures",
    "checkpoints_set_aside",
]);

/// Merges the records of a key into one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reduce {
    /// Records that are equal in these fields belong together, as paths. A field that both lack is equal. Default: all
    /// records belong together.
    pub group_by: Vec<String>,
    /// How the values of a field become one, by path. Default: numbers are added, of `timestamp` the first stays and the
    /// last goes to `timestamp_end`, and of everything else the first stays.
    pub merge_strategies: BTreeMap<String, Strategy>,
    /// A group ends when no record has come for so many milliseconds. Default: 30000.
    pub expire_after_ms: u64,
    /// A group ends so many milliseconds after its first record, whatever comes. Default: never for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_every_period_ms: Option<u64>,
    /// A group ends with so many records. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u64>,
    /// A record that this is true of begins a new group; the one before it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_when: Option<ConditionText>,
    /// A record that this is true of is the last of its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_when: Option<ConditionText>,
    /// When a record that was merged is settled.
    pub ack: AckWhen,
    /// How often the groups are saved; sooner when much waits for it. A source that answers its senders does so after
    /// the checkpoint. From 10 ms to 1 h. Default: 1s.
    pub checkpoint: Period,
    /// The most groups at a time; at the next key the oldest ends early. 1 to 10 million. Default: 10000.
    pub max_keys: u32,
    /// The most bytes of groups, and of records made of them that are not safe yet. A group of more than an eighth of it, or
    /// than the largest batch, ends early. At least 1 MiB. Default: 4MiB.
    pub max_size: ByteSize,
}

/// When a record that was merged is settled.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AckWhen {
    /// When a checkpoint on disk has it. Default.
    #[default]
    OnCheckpoint,
    /// At once: nothing is saved, and what is in open groups is lost with the process.
    OnAbsorb,
}

impl Default for Reduce {
    fn default() -> Self {
        Self {
            group_by: Vec::new(),
            merge_strategies: BTreeMap::new(),
            expire_after_ms: 30_000,
            end_every_period_ms: None,
            max_events: None,
            starts_when: None,
            ends_when: None,
            ack: AckWhen::OnCheckpoint,
            checkpoint: Period::secs(1),
            max_keys: 10_000,
            max_size: SIZE,
        }
    }
}

const SIZE: ByteSize = ByteSize::new(4 << 20);
const LEAST_SIZE: ByteSize = ByteSize::new(1 << 20);
const MOST_SIZE: ByteSize = ByteSize::new(1 << 30);
const MOST_KEYS: u32 = 10_000_000;

impl Reduce {
    fn spec(&self) -> Result<Spec, (String, String)> {
        let path = |key: String, text: &str| {
            Path::parse(text).map_err(|error| (key, format!("is no path of a field: {error}")))
        };
        let mut spec = Spec {
            expire_after: Duration::from_millis(self.expire_after_ms),
            end_every: self.end_every_period_ms.map(Duration::from_millis),
            max_events: self.max_events.unwrap_or(u64::MAX),
            print: format!("{:?} {:?}", self.group_by, self.merge_strategies),
            ..Spec::default()
        };
        for (at, text) in self.group_by.iter().enumerate() {
            spec.group_by.push(path(format!("group_by[{at}]"), text)?);
        }
        for (text, strategy) in &self.merge_strategies {
            let path = path(format!("merge_strategies.{text}"), text)?;
            match path.segments() {
                [] => return Err((format!("merge_strategies.{text}"), "is the record itself, not a field".to_owned())),
                [Segment::Field(key)] => spec.top.push((unquoted(key.quoted()), *strategy)),
                _ => spec.nested.push(Nested { text: text.clone(), path, strategy: *strategy }),
            }
        }
        // What records are equal in is not added up.
        let known = |spec: &Spec, name: &[u8]| spec.top.iter().any(|(known, _)| **known == *name);
        for path in spec.group_by.clone() {
            if let [Segment::Field(key)] = path.segments()
                && !known(&spec, &unquoted(key.quoted()))
            {
                spec.top.push((unquoted(key.quoted()), Strategy::Discard));
            }
        }
        Ok(spec)
    }

    /// Where nothing runs, there are no checkpoints to wait for.
    fn bounds(&self, cx: &BuildContext) -> Bounds {
        let checkpoints = self.ack == AckWhen::OnCheckpoint && cx.runs;
        let bytes = self.max_size.as_len();
        Bounds {
            keys: self.max_keys as usize,
            bytes,
            waiting_bytes: bytes as u64,
            checkpoints,
            knows: checkpoints && cx.one_way,
        }
    }

    /// What is reserved: the state, and where it is saved a copy of it to write and the tickets that wait.
    fn holds(&self) -> Weight {
        let state = Bytes::from(self.max_size.as_len());
        match self.ack {
            AckWhen::OnAbsorb => Weight { records: Records::ZERO, bytes: state },
            AckWhen::OnCheckpoint => {
                let beside = Bytes::new(MOST_WAITING * WAITING_BYTES) + Bytes::from(KNOWN_BYTES + SAVED_BYTES);
                Weight { records: Records::new(MOST_WAITING), bytes: state + state + beside }
            }
        }
    }
}

fn unquoted(name: &[u8]) -> Box<[u8]> {
    name.get(1..name.len().saturating_sub(1)).unwrap_or_default().into()
}

impl TransformConfig for Reduce {
    fn check(&self, at: &mut Check<'_>) {
        if let Err((key, text)) = self.spec() {
            at.refuse(&key, text);
        }
        if self.starts_when.is_some() && self.ends_when.is_some() {
            at.refuse("starts_when", "and `ends_when` exclude each other; leave out one of the two");
        }
        for (key, condition) in [("starts_when", &self.starts_when), ("ends_when", &self.ends_when)] {
            if let Some(condition) = condition {
                condition.check(key, at);
            }
        }
        let zero = [
            ("expire_after_ms", self.expire_after_ms == 0),
            ("end_every_period_ms", self.end_every_period_ms == Some(0)),
            ("max_events", self.max_events == Some(0)),
        ];
        for (key, _) in zero.into_iter().filter(|(_, is_zero)| *is_zero) {
            at.refuse(key, "no group would ever hold a record").help("set it to at least 1");
        }
        if !(1..=MOST_KEYS).contains(&self.max_keys) {
            at.refuse("max_keys", format!("{} is not from 1 to {MOST_KEYS}", self.max_keys));
        }
        if !(LEAST_SIZE..=MOST_SIZE).contains(&self.max_size) {
            at.refuse("max_size", format!("{} is not from {LEAST_SIZE} to {MOST_SIZE}", self.max_size));
        }
        check_period(self.checkpoint, at);
    }

    fn keeps(&self) -> Option<Keeps> {
        let period = self.checkpoint;
        Some(match self.ack {
            AckWhen::OnAbsorb => Keeps {
                words: "merges records, which count as safe at once (ack: on_absorb): those of open groups are lost when the \
                        process dies"
                    .to_owned(),
                loses: true,
            },
            AckWhen::OnCheckpoint => Keeps {
                words: format!(
                    "merges records, which count as safe when a checkpoint has them (every {period}); one that is read \
                     again after a crash is counted once where its id is the same then, and what was merged may come \
                     twice, with the same id"
                ),
                loses: false,
            },
        })
    }

    fn refuses_records(&self) -> bool {
        true
    }

    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        let holds = self.holds();
        Ok(BuiltTransform::holding(self.step(cx)?, holds))
    }
}

impl Reduce {
    fn step(&self, cx: &BuildContext) -> Result<ReduceStep, StartError> {
        drop(counter(cx));
        let spec = self.spec().map_err(|(key, text)| StartError::new(format!("`{key}` {text}")))?;
        let asked = |key: &str, text: &Option<ConditionText>| text.as_ref().map(|text| text.asked(key, cx)).transpose();
        let (bounds, holds, place) = (self.bounds(cx), self.holds(), Place::of(cx));
        let saving = Saving { place, period: self.checkpoint, most: Bytes::from(bounds.bytes + SAVED_BYTES) };
        Ok(ReduceStep {
            group_by: spec.group_by.clone(),
            book: Arc::new(Book::new(Arc::new(spec), bounds, fresh_stream(&cx.node))),
            saving: bounds.checkpoints.then_some(saving),
            keeper: None,
            node: Arc::clone(&cx.node),
            letters: cx.letters.clone(),
            starts: asked("starts_when", &self.starts_when)?,
            ends: asked("ends_when", &self.ends_when)?,
            input: None,
            texts: Texts::default(),
            origin: origin(),
            most_bytes: bounds.bytes / 8,
            holds,
            lease: Lease::none(),
            ended_early: cx.meters.counter(&cx.node, "groups_ended_early"),
            repeated: cx.meters.counter(&cx.node, "records_repeated"),
            ignored: cx.meters.counter(&cx.node, "values_ignored"),
            seen: Time::ZERO,
            wake_at: None,
            waits: Waits::Nothing,
        })
    }
}

#[cfg(test)]
mod tests;
