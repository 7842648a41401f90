//! The pipeline that a subject is put into, and what is asked of it afterwards.

use std::ops::Range;
use std::time::Duration;

use tidegate_flow::{Budget, EdgeSpec, FlowKind, Ledger, Weight, kib, mib};
use tidegate_runtime::testkit::{TestSink, TestSource, settle};
use tidegate_runtime::{Pipeline, PipelineBuilder, Report, Running};

use super::TransformUnderTest;
use crate::check::{Checked, Unmet, ensure, within};

/// Records in a read of the source.
pub(super) const READ: u64 = STEP as u64;
const STEP: usize = 4;
/// Records that each edge holds.
pub(super) const WINDOW: u64 = 8;
/// Long enough, in virtual time, for everything that is going to happen.
pub(super) const LONG: Duration = Duration::from_secs(24 * 3600);

/// A memory pool of its own, and a pipeline under construction within it.
pub(super) fn builder() -> (Budget, PipelineBuilder) {
    let memory = Budget::new(mib(64));
    let builder =
        Pipeline::builder("under-test").budget_within(&memory, mib(16)).batch(Weight::new(READ, kib(64).get()));
    (memory, builder)
}

/// The numbers, read by read.
pub(super) fn reads(numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = numbers.end;
    numbers.step_by(STEP).map(move |first| first..end.min(first + READ))
}

pub(super) fn start(builder: &PipelineBuilder) -> Result<Running, Unmet> {
    builder.build().map(Pipeline::start).map_err(|errors| Unmet::Failed(format!("it cannot be built: {errors}")))
}

/// A transform between a scripted source and a sink with explicit demand.
pub(super) struct Bed<T: TransformUnderTest> {
    pub(super) memory: Budget,
    pub(super) source: TestSource<T::In>,
    pub(super) sink: TestSink<T::Out>,
    pub(super) running: Running,
}

impl<T: TransformUnderTest> Bed<T> {
    pub(super) fn new() -> Result<Self, Unmet> {
        let (memory, builder) = builder();
        let (source, sink) = (TestSource::new(), TestSink::new());
        let flow = builder.source("source", source.source()).edge(EdgeSpec::new("in").records(WINDOW));
        T::attach(flow, EdgeSpec::new("out").records(WINDOW)).sink("sink", sink.sink());
        let running = start(&builder)?;
        Ok(Self { memory, source, sink, running })
    }

    /// Lets the source read the records of these numbers.
    pub(super) fn push(&self, numbers: Range<u64>) {
        reads(numbers).for_each(|read| self.source.push_all(read.map(T::record)));
    }

    /// Takes everything to the end, and gives what came out and the report.
    pub(super) async fn finish(self) -> Result<(Vec<T::Out>, Report), Unmet> {
        self.source.end();
        self.sink.request(u64::MAX);
        let Self { memory, sink, running, .. } = self;
        let report = wait(running).await?;
        balanced(&report.ledger, &memory)?;
        Ok((sink.arrived(), report))
    }

    /// What must come out of the records of these numbers.
    pub(super) fn outputs(numbers: Range<u64>) -> Vec<T::Out> {
        numbers.flat_map(T::outputs).collect()
    }
}

pub(super) async fn wait(running: Running) -> Result<Report, Unmet> {
    within(LONG, running.wait()).await.map_err(|()| Unmet::Failed("the pipeline does not come to its end".to_owned()))
}

/// Both laws hold, nothing is in flight, and every byte was given back.
pub(super) fn balanced(ledger: &Ledger, memory: &Budget) -> Checked {
    ledger.check().map_err(|imbalance| Unmet::Failed(imbalance.to_string()))?;
    let in_flight = ledger.total().in_flight;
    ensure!(in_flight.is_zero(), "{in_flight} were read and never settled:\n{ledger}");
    ensure!(memory.used().is_zero(), "{} are still charged after the end", memory.used());
    Ok(())
}

/// Records that the transforms have taken in and neither sent on nor accounted for.
pub(super) fn held(ledger: &Ledger) -> u64 {
    let transforms = ledger.stages.iter().filter(|(_, kind, _)| *kind == FlowKind::Transform);
    transforms.map(|(_, _, flows)| flows.held.get()).sum()
}

/// Lets everything come to rest.
pub(super) async fn rest() {
    settle().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
}

/// The two lists are the same; in any order where the subject promises none.
pub(super) fn same<R: Ord + std::fmt::Debug>(mut expected: Vec<R>, mut got: Vec<R>, ordered: bool) -> Checked {
    if !ordered {
        expected.sort_unstable();
        got.sort_unstable();
    }
    let at = expected.iter().zip(&got).position(|(expected, got)| expected != got);
    ensure!(
        expected == got,
        "{} were to come out and {} did; the first difference is at {}",
        expected.len(),
        got.len(),
        at.unwrap_or(expected.len().min(got.len()))
    );
    Ok(())
}
