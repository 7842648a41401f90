//! A transform on its own, for tests: batches in, rows and counters out.

use std::time::Duration;

use tidegate_flow::{Batch, Flows, Outcome, Records, Time};
use tidegate_runtime::testkit::{lone_context, set_time};
use tidegate_runtime::{BoxTransform, StageContext, Step, Transform as _};

use crate::Rows;
use crate::contract::{BuildContext, BuiltTransform, Check, Depth, Problem, TransformKind};

/// A step without a pipeline around it.
pub(super) struct Bench {
    step: BoxTransform<Rows>,
    cx: StageContext,
}

/// The problems that the configuration has.
pub(super) fn problems(json: &str, kind: TransformKind) -> Vec<Problem> {
    let cx = BuildContext::new("data");
    let mut check = Check::new(&cx, Depth::Values);
    let mut from = serde_json::Deserializer::from_str(json);
    (kind.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut from)).unwrap().check(&mut check);
    check.into_problems()
}

/// The transform of a kind, from its configuration.
pub(super) fn built(json: &str, kind: TransformKind) -> BuiltTransform {
    assert_eq!(problems(json, kind), [], "{json}");
    let mut from = serde_json::Deserializer::from_str(json);
    let config = (kind.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut from)).unwrap();
    config.build(&BuildContext::new("data")).unwrap()
}

impl Bench {
    pub(super) fn new(built: BuiltTransform) -> Self {
        let cx = lone_context("bench").unwrap();
        let BuiltTransform::Step { mut step, .. } = built else { panic!("it has several outputs") };
        step.open(&cx);
        Self { step, cx }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let now = self.cx.now() + time;
        set_time(&self.cx, now);
    }

    pub(super) fn now(&self) -> Time {
        self.cx.now()
    }

    /// What comes out for a batch.
    pub(super) fn pass_on(&mut self, batch: Batch<Rows>) -> Option<Batch<Rows>> {
        self.process_batch(batch).0
    }

    /// What comes out for rows of nobody, and what the step asks for then.
    pub(super) fn process(&mut self, rows: Rows) -> (Option<Batch<Rows>>, Step) {
        self.process_batch(Batch::detached(rows))
    }

    fn process_batch(&mut self, batch: Batch<Rows>) -> (Option<Batch<Rows>>, Step) {
        let records = Records::new(u64::from(batch.records()));
        self.cx.counter().record(|flows| flows.held += records);
        let mut out = None;
        let step = self.step.process(batch, &mut out, &mut self.cx);
        (out, step)
    }

    /// What comes out when the step goes on.
    pub(super) fn resume(&mut self) -> (Option<Batch<Rows>>, Step) {
        let mut out = None;
        let step = self.step.resume(&mut out, &mut self.cx);
        (out, step)
    }

    /// What comes out when nothing more will come in.
    pub(super) fn flush(&mut self) -> (Option<Batch<Rows>>, Step) {
        let mut out = None;
        let step = self.step.flush(&mut out, &mut self.cx);
        (out, step)
    }

    /// The messages that come out for messages.
    pub(super) fn texts<const N: usize>(&mut self, texts: [&str; N]) -> Vec<String> {
        let (out, step) = self.process(Rows::from_texts(texts));
        assert_eq!(step, Step::Done);
        messages(out)
    }

    /// The records that come out for messages, as JSON.
    pub(super) fn jsons<const N: usize>(&mut self, texts: [&str; N]) -> Vec<String> {
        let (out, step) = self.process(Rows::from_texts(texts));
        assert_eq!(step, Step::Done);
        jsons(out)
    }

    pub(super) fn flows(&self) -> Flows {
        self.cx.counter().snapshot()
    }
}

/// The messages of a batch, which is delivered.
pub(super) fn messages(out: Option<Batch<Rows>>) -> Vec<String> {
    let text =
        |row: tidegate_record::Row<'_>| String::from_utf8(row.message().unwrap_or_default().into_owned()).unwrap();
    let texts = out.iter().flat_map(|batch| batch.payload.iter().map(text).collect::<Vec<_>>()).collect();
    out.into_iter().for_each(|batch| batch.settle(Outcome::Delivered));
    texts
}

/// The records of a batch, which is delivered, as JSON.
pub(super) fn jsons(out: Option<Batch<Rows>>) -> Vec<String> {
    let json = |row: tidegate_record::Row<'_>| {
        let mut text = Vec::new();
        row.write_json(&mut text);
        String::from_utf8(text).unwrap()
    };
    let texts = out.iter().flat_map(|batch| batch.payload.iter().map(json).collect::<Vec<_>>()).collect();
    out.into_iter().for_each(|batch| batch.settle(Outcome::Delivered));
    texts
}
