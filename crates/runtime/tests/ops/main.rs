//! The steps of a flow, in whole pipelines under virtual time: batching, grouping, throttling, side outputs, conditions
//! on the input, and what happens after faults. Every pipeline here must balance its ledger and give all memory back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

mod batching;
mod conditions;
mod culprits;
mod faults;
mod side;
mod throttling;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{Items, Meta, Nack, Weigh};
use tidegate_runtime::testkit::{assert_balanced, ended};
use tidegate_runtime::{Accepted, PipelineBuilder, PipelineEnd, Report, Sink};
use tokio::time::Instant;

/// Runs a pipeline to its end and checks what must hold for every one.
async fn run(builder: &PipelineBuilder) -> Report {
    let pipeline = builder.build().unwrap_or_else(|errors| panic!("{errors}"));
    let budget = pipeline.budget().clone();
    let report = tokio::time::timeout(Duration::from_secs(3_600), pipeline.start().wait()).await;
    let report = report.expect("the pipeline ends within an hour of virtual time");
    assert_balanced(&report);
    assert_eq!(budget.used().get(), 0, "memory is given back\n{report}");
    report
}

async fn complete(builder: &PipelineBuilder) -> Report {
    let report = run(builder).await;
    assert_eq!(report.end, PipelineEnd::Completed, "{report}");
    report
}

/// The counters of a stage or edge.
fn flows(report: &Report, name: &str) -> tidegate_flow::Flows {
    let found = report.ledger.stages.iter().find(|(stage, ..)| stage == name);
    found.unwrap_or_else(|| panic!("no \"{name}\" in\n{report}")).2
}

/// What a sink was given, batch by batch.
#[derive(Clone)]
struct Seen<T>(Arc<Mutex<Vec<(Duration, Vec<T>, Meta)>>>);

impl<T: Clone> Seen<T> {
    fn batches(&self) -> Vec<Vec<T>> {
        self.0.lock().unwrap().iter().map(|(_, rows, _)| rows.clone()).collect()
    }

    fn rows(&self) -> Vec<T> {
        self.batches().concat()
    }

    fn sizes(&self) -> Vec<usize> {
        self.batches().iter().map(Vec::len).collect()
    }

    /// When each batch came, in milliseconds since the sink was made.
    fn millis(&self) -> Vec<u128> {
        self.0.lock().unwrap().iter().map(|(at, ..)| at.as_millis()).collect()
    }

    fn metas(&self) -> Vec<Meta> {
        self.0.lock().unwrap().iter().map(|(.., meta)| meta.clone()).collect()
    }
}

/// A sink that notes what it is given, takes its time, and answers as it is told.
struct Scripted<T, F> {
    seen: Seen<T>,
    epoch: Instant,
    pause: Duration,
    answer: F,
}

/// A sink that takes `pause` for a batch and accepts it.
fn accepting<T: Weigh + Clone + Send + Sync + 'static>(
    pause: Duration,
) -> (Seen<T>, Scripted<T, impl FnMut(&[T]) -> Result<Accepted, Nack> + Send + 'static>) {
    answering(pause, |_: &[T]| Ok(Accepted::All))
}

fn answering<T, F>(pause: Duration, answer: F) -> (Seen<T>, Scripted<T, F>)
where
    T: Weigh + Clone + Send + Sync + 'static,
    F: FnMut(&[T]) -> Result<Accepted, Nack> + Send + 'static,
{
    let seen = Seen(Arc::default());
    (seen.clone(), Scripted { seen, epoch: Instant::now(), pause, answer })
}

impl<T, F> Sink<Items<T>> for Scripted<T, F>
where
    T: Weigh + Clone + Send + Sync + 'static,
    F: FnMut(&[T]) -> Result<Accepted, Nack> + Send + 'static,
{
    async fn deliver(&mut self, payload: &mut Items<T>, meta: &Meta) -> Result<Accepted, Nack> {
        let rows = payload.as_slice().to_vec();
        self.seen.0.lock().unwrap().push((self.epoch.elapsed(), rows, meta.clone()));
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        (self.answer)(payload.as_slice())
    }
}

/// A source of the given records, each at its moment (milliseconds after the source was made).
fn timed<T: Weigh + Send + 'static>(
    records: impl IntoIterator<Item = (u64, T), IntoIter: Send + 'static>,
) -> impl tidegate_runtime::Source<Payload = Items<T>> {
    let epoch = Instant::now();
    let stream = futures_util::stream::unfold(records.into_iter(), move |mut records| async move {
        let (at, record) = records.next()?;
        tokio::time::sleep_until(epoch + Duration::from_millis(at)).await;
        Some((record, records))
    });
    tidegate_runtime::source::stream(stream)
}

const NO_PAUSE: Duration = Duration::ZERO;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
