//! `internal_metrics`: what the pipeline counts of itself, as records.
//!
//! * **Emits** one record for each counter, every `scrape_interval_secs`: an object as Vector writes a metric.
//! * **Blocks** by emitting less often: what is emitted is what holds when it is read.
//! * **Sheds** nothing.
//! * **Settles** nothing outside.
//! * **Completes** never by itself.
//! * **Fails** never.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Cause, Ledger, Time, Weight};
use tidegate_record::{Form, JsonText, Origin, Rows};
use tidegate_runtime::{Clock, NoCommit, Pull, Readiness, Source, SourceContext};

use super::decode::{ROW_BYTES, most_rows};
use crate::clock::wall_time;
use crate::contract::page::page;
use crate::contract::{BuildContext, Check, Delivery, Exposure, Ignored, Meter, SourceConfig, SourceKind, StartError};
use crate::value::Period;
use crate::wiring::SourceSlot;

/// The entry of the list.
pub const KIND: SourceKind =
    SourceKind::of::<InternalMetrics>("internal_metrics", "What the pipeline counts of itself, as records.", EXAMPLE)
        .page(page!("internal_metrics.rs"))
        .ignores(&[Ignored { key: "tags", why: "each record names its stage, and `host` the machine" }]);

const EXAMPLE: &str = "\
type: internal_metrics
scrape_interval_secs: 10
";

/// What the pipeline counts of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InternalMetrics {
    /// The time from one look to the next.
    pub scrape_interval_secs: Period,
    /// What stands before the names.
    pub namespace: String,
}

impl Default for InternalMetrics {
    fn default() -> Self {
        Self { scrape_interval_secs: Period::secs(1), namespace: "tidegate".to_owned() }
    }
}

impl SourceConfig for InternalMetrics {
    fn check(&self, at: &mut Check<'_>) {
        if self.scrape_interval_secs.get().is_zero() {
            at.refuse("scrape_interval_secs", "there would be nothing but metrics").help("set it above zero");
        }
    }

    fn exposure(&self) -> Exposure {
        Exposure {
            delivery: Delivery::Generated,
            acked: "nobody waits for it",
            blocked: "counters are looked at less often",
        }
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        let cx = slot.context().clone();
        let every = self.scrape_interval_secs;
        let source =
            Looker { config: *self, cx, clock: None, next: Time::ZERO + every.get(), waiting: VecDeque::new() };
        slot.source(source);
        Ok(())
    }
}

/// The source at work.
struct Looker {
    config: InternalMetrics,
    cx: BuildContext,
    clock: Option<Clock>,
    next: Time,
    /// Of the last look, what there was no room for.
    waiting: VecDeque<Vec<u8>>,
}

impl Looker {
    /// Notes every counter as it is now.
    fn look(&mut self) {
        if let Some(view) = self.cx.observed.view() {
            self.note_ledger(&view.ledger());
        }
        for Meter { node, name, counter } in self.cx.meters.all() {
            self.note(name, &[("component_id", &node)], counter.get());
        }
    }

    fn note_ledger(&mut self, ledger: &Ledger) {
        for (stage, kind, flows) in &ledger.stages {
            let tags = [("component_id", stage.as_str()), ("component_kind", kind.name())];
            for (what, records) in [("input", flows.input), ("born", flows.born)].into_iter().chain(flows.accounted()) {
                self.note(&format!("stage_records_{what}"), &tags, records.get());
            }
        }
        for (source, counts) in &ledger.sources {
            let tags = [("component_id", source.as_str()), ("component_kind", "source")];
            self.note("source_records_accepted", &tags, counts.accepted.get());
            self.note("source_records_in_flight", &tags, counts.in_flight.get());
            for (outcome, records) in counts.ended.iter() {
                self.note(&format!("source_records_{}", outcome.name()), &tags, records.get());
            }
        }
    }

    fn note(&mut self, name: &str, tags: &[(&str, &str)], value: u64) {
        let text = |text: &str| String::from_utf8_lossy(JsonText::string(text).as_bytes()).into_owned();
        let mut record =
            format!("{{\"name\":{},\"namespace\":{},\"tags\":{{", text(name), text(&self.config.namespace));
        for (at, (tag, of)) in tags.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _written = write!(record, "{comma}{}:{}", text(tag), text(of));
        }
        let _written = write!(
            record,
            "}},\"kind\":\"absolute\",\"counter\":{{\"value\":{value}}},\"timestamp\":\"{}\"}}",
            wall_time()
        );
        self.waiting.push_back(record.into_bytes());
    }
}

impl Source for Looker {
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
        let Some(clock) = self.clock else { return Ok(Readiness::Ended) };
        if self.waiting.is_empty() {
            clock.sleep_until(self.next).await;
            self.next = clock.now() + self.config.scrape_interval_secs.get();
            self.look();
        }
        Ok(Readiness::Ready)
    }

    fn read(&mut self, room: Weight, mut rows: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let mut origin = Origin::new("internal_metrics", wall_time());
        origin.host.clone_from(&self.cx.host);
        let origin = Arc::new(origin);
        let (most, mut bytes) = (most_rows(room), 0);
        while rows.len() < most
            && bytes < room.bytes.get()
            && let Some(record) = self.waiting.pop_front()
        {
            bytes += record.len() as u64 + ROW_BYTES;
            rows.push_copy(&record, Form::Object, &origin);
        }
        Ok(Pull { payload: rows, position: None })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testkit::{self, Kept};

    #[tokio::test(start_paused = true)]
    async fn every_counter_is_a_record_at_every_look() {
        let (cx, kept) = (BuildContext::new("unused"), Kept::default());
        cx.meters.counter(&"other".into(), "frames_oversize").add(7);
        let config: InternalMetrics = serde_json::from_str(r#"{"scrape_interval_secs":10}"#).unwrap();
        let running = testkit::start(&cx, &kept, |slot| Box::new(config).start(slot).unwrap());
        cx.observed.set(&running.view());
        let first = kept.arrive(1).await;
        assert_eq!(running.now().since(Time::ZERO).as_secs(), 10);
        kept.arrive(2 * first.len()).await;
        assert_eq!(running.now().since(Time::ZERO).as_secs(), 20);
        let records: Vec<serde_json::Value> =
            kept.texts().iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let of = |name: &str| records.iter().filter(|record| record["name"] == name).collect::<Vec<_>>();
        assert_eq!(of("frames_oversize")[1]["counter"]["value"], 7);
        let accepted = of("source_records_accepted");
        assert_eq!((&accepted[0]["counter"]["value"], &accepted[0]["namespace"]), (&0.into(), &"tidegate".into()));
        assert_eq!(accepted[1]["counter"]["value"], first.len(), "the second look sees what the first emitted");
        assert_eq!(accepted[0]["tags"]["component_id"], "source");
        running.drain(Duration::from_secs(5)).await.ledger.check().unwrap();
    }
}
