//! `demo_logs`: makes log lines up, to try a pipeline out and to load it.
//!
//! * **Emits** one record a line, at `rate`, or as fast as they are taken.
//! * **Blocks** by making fewer: a second's worth of what was missed is made up for, no more.
//! * **Sheds** nothing.
//! * **Settles** nothing outside: what is refused is gone.
//! * **Completes** after `count` lines, if that is given.
//! * **Fails** never.

mod lines;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Cause, Time, Weight};
use tidegate_record::{Form, Origin, Rows, StreamId};
use tidegate_runtime::{Clock, NoCommit, Pull, Readiness, Source, SourceContext};

use self::lines::Lines;
use super::decode::ROW_BYTES;
use crate::clock::wall_time;
use crate::contract::page::page;
use crate::contract::{Check, Delivery, Exposure, Ignored, SourceConfig, SourceKind, StartError};
use crate::ids::Counted;
use crate::value::{Period, Rate};
use crate::wiring::SourceSlot;

/// The entry of the list.
pub const KIND: SourceKind =
    SourceKind::of::<DemoLogs>("demo_logs", "Makes log lines up.", EXAMPLE).page(page!("demo_logs.rs")).ignores(&[
        Ignored { key: "framing", why: "each line is a record" },
        Ignored { key: "decoding", why: "each line is a message; `parse_json!` in `remap` reads it" },
    ]);

const EXAMPLE: &str = "\
type: demo_logs
format: apache_common
rate: 100/s
";

/// Makes log lines up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DemoLogs {
    /// What the lines look like.
    pub format: Format,
    /// How many lines to make; without end by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The time from one line to the next, as in Vector; zero for as fast as they are taken. Default: 1 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// How many lines in how much time: another way to say `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The lines of the format `shuffle`, of which one is drawn each time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// With `shuffle`, put a number that counts up before each line.
    #[serde(default)]
    pub sequence: bool,
    /// Where the chain of random choices begins; the same number gives the same lines, but for their times, with the same
    /// ids.
    #[serde(default)]
    pub seed: u64,
}

/// What the lines look like.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The access log of a web server, in the Common Log Format.
    ApacheCommon,
    /// The error log of Apache httpd.
    ApacheError,
    /// Syslog as in RFC 3164.
    BsdSyslog,
    /// Syslog as in RFC 5424.
    Syslog,
    /// A JSON object.
    Json,
    /// One of the given `lines`.
    Shuffle,
}

impl SourceConfig for DemoLogs {
    fn check(&self, at: &mut Check<'_>) {
        if self.format == Format::Shuffle && self.lines.is_empty() {
            at.refuse("lines", "there is nothing to draw from")
                .help("give at least one line, or choose another format");
        }
        if self.format != Format::Shuffle && (!self.lines.is_empty() || self.sequence) {
            let key = if self.sequence { "sequence" } else { "lines" };
            at.warn(key, "has an effect with `format: shuffle` only").help("remove it, or write `format: shuffle`");
        }
        if self.rate.is_some() && self.interval.is_some() {
            at.refuse("interval", "`rate` says the same in another way").help("leave one of them out");
        }
    }

    fn exposure(&self) -> Exposure {
        Exposure { delivery: Delivery::Generated, acked: "nobody waits for it", blocked: "fewer lines are made" }
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        let host = slot.context().host.clone();
        let node = Arc::clone(slot.name());
        slot.source(Maker::new(*self, host, &node));
        Ok(())
    }
}

impl DemoLogs {
    /// Lines in a second; `None` for as many as are taken.
    fn per_second(&self) -> Option<f64> {
        match (self.rate, self.interval) {
            (Some(rate), _) => Some(rate.get()),
            (None, None) => Some(1.0),
            (None, Some(interval)) if interval.get().is_zero() => None,
            (None, Some(interval)) => Some(1.0 / interval.get().as_secs_f64()),
        }
    }
}

/// The source at work.
struct Maker {
    lines: Lines,
    host: Option<Arc<str>>,
    left: Option<u64>,
    pace: Option<Pace>,
    clock: Option<Clock>,
    numbers: Counted,
}

/// When how many lines are due.
struct Pace {
    per_second: f64,
    /// Lines that may be made, as of `at`; the first at once.
    due: f64,
    at: Time,
}

impl Pace {
    /// Lines that may be made now: what came due since the last look, a second's worth at most.
    fn due(&mut self, now: Time) -> u64 {
        let passed = now.since(self.at).as_secs_f64();
        self.at = now;
        self.due = (self.due + passed * self.per_second).min(self.per_second.max(1.0));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between zero and the rate")]
        let due = self.due as u64;
        due
    }

    /// When the next line is due.
    fn next(&self) -> Time {
        let wait = ((1.0 - self.due) / self.per_second).max(0.0);
        self.at + std::time::Duration::try_from_secs_f64(wait).unwrap_or(std::time::Duration::MAX)
    }
}

impl Maker {
    fn new(config: DemoLogs, host: Option<Arc<str>>, node: &str) -> Self {
        let (seed, format) = (config.seed.to_le_bytes(), format!("{:?}", config.format));
        let host_name = host.as_deref().unwrap_or_default();
        let stream = StreamId::of(&[b"demo_logs", host_name.as_bytes(), node.as_bytes(), format.as_bytes(), &seed]);
        let pace = config.per_second().map(|per_second| Pace { per_second, due: 1.0, at: Time::ZERO });
        let left = config.count;
        Self { lines: Lines::new(config), host, left, pace, clock: None, numbers: Counted::of(stream) }
    }

    fn now(&self) -> Time {
        self.clock.map_or(Time::ZERO, |clock| clock.now())
    }
}

impl Source for Maker {
    type Payload = Rows;
    type Position = ();
    type Committer = NoCommit;

    fn open(&mut self, cx: SourceContext) {
        self.clock = Some(cx.clock);
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        // A source that is always ready must not starve its neighbours.
        tokio::task::coop::consume_budget().await;
        if self.left == Some(0) {
            return Ok(Readiness::Ended);
        }
        while let (Some(pace), Some(clock)) = (&mut self.pace, self.clock) {
            if pace.due(clock.now()) > 0 {
                break;
            }
            clock.sleep_until(pace.next()).await;
        }
        Ok(Readiness::Ready)
    }

    fn read(&mut self, room: Weight, mut rows: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let now = self.now();
        let mut most = room.records.get().min(self.left.unwrap_or(u64::MAX));
        if let Some(pace) = &mut self.pace {
            most = most.min(pace.due(now));
        }
        let received = wall_time();
        let mut origin = Origin::new("demo_logs", received);
        origin.host.clone_from(&self.host);
        let origin = Arc::new(origin);
        let (mut made, mut bytes) = (0, 0);
        while made < most && (made == 0 || bytes < room.bytes.get()) {
            let line = self.lines.next(received);
            rows.push_copy(line, Form::Message, &origin);
            bytes += line.len() as u64 + ROW_BYTES;
            made += 1;
        }
        if let Some(pace) = &mut self.pace {
            #[allow(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 records")]
            let made = made as f64;
            pace.due -= made;
        }
        self.left = self.left.map(|left| left - made);
        self.numbers.number(&mut rows);
        Ok(Pull { payload: rows, position: None })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_pace_makes_up_for_a_second_and_no_more() {
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        let mut pace = Pace { per_second: 10.0, due: 1.0, at: Time::ZERO };
        assert_eq!(pace.due(at(0)), 1);
        pace.due -= 1.0;
        assert_eq!((pace.due(at(50)), pace.next()), (0, at(100)));
        assert_eq!(pace.due(at(350)), 3);
        assert_eq!(pace.due(at(60_000)), 10);
    }
}
