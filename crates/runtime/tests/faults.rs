//! What goes wrong, and what must hold then: pipelines that are full, out of memory, in trouble or in a hurry.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{Bytes, EdgeSpec, Items, Meta, Nack, NackKind, OnFull, Outcome, Settled, StageState, Weight, kib};
use tidegate_runtime::testkit::assert_balanced;
use tidegate_runtime::{
    Accepted, Committer, Pipeline, PipelineEnd, Pull, Readiness, Sink, SinkOptions, SinkPolicy, Source, Supervision,
    sink, source,
};

/// A sink that never answers.
struct Stuck;

impl<T: Send + 'static> Sink<Items<T>> for Stuck
where
    T: tidegate_flow::Weigh,
{
    async fn deliver(&mut self, _: &mut Items<T>, _: &Meta) -> Result<Accepted, Nack> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_takes_nothing_that_it_has_no_room_to_forward() {
    let builder = Pipeline::builder("full").batch(Weight::new(1, kib(1).get()));
    let first = EdgeSpec::new("first").records(1);
    let second = EdgeSpec::new("second").records(1);
    builder.source("count", source::iter(0..100_u64)).edge(first).map(|n| n).edge(second).sink("stuck", Stuck);
    let running = builder.build().unwrap().start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // One in the sink, one on each edge. The stage between them has nothing in hand, and the source read nothing more.
    let held: Vec<u64> = running.ledger().stages.iter().map(|(_, _, flows)| flows.held.get()).collect();
    assert_eq!(held, [0, 0, 1, 1, 1], "{}", running.ledger());
    assert!(matches!(running.times()[1].state, StageState::Blocked(_)));
    assert_balanced(&running.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline() {
    let builder = Pipeline::builder("stuck");
    builder.source("count", source::iter(0..10_u64)).edge("out").sink("stuck", Stuck);
    let running = builder.build().unwrap().start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = running.drain(Duration::from_secs(5)).await;
    assert_eq!((report.end.clone(), report.ran), (PipelineEnd::DeadlinePassed, Duration::from_secs(6)));
    assert_eq!(report.ledger.total().ended.get(Outcome::Abandoned).get(), 10);
    assert_balanced(&report);
}

/// Ten numbers, and what was said about them.
struct Ten(u64, Arc<Mutex<Vec<Settled<u64>>>>);

struct Told(Arc<Mutex<Vec<Settled<u64>>>>);

impl Committer<u64> for Told {
    async fn settled(&mut self, settled: Settled<u64>) {
        self.0.lock().unwrap().push(settled);
    }
}

impl Source for Ten {
    type Payload = Items<u64>;
    type Position = u64;
    type Committer = Told;

    fn committer(&mut self) -> Told {
        Told(Arc::clone(&self.1))
    }

    async fn ready(&mut self) -> Result<Readiness, tidegate_flow::Cause> {
        Ok(if self.0 == 10 { Readiness::Ended } else { Readiness::Ready })
    }

    fn read(&mut self, _: Weight, mut into: Items<u64>) -> Result<Pull<Items<u64>, u64>, tidegate_flow::Cause> {
        into.push(self.0);
        self.0 += 1;
        Ok(Pull { payload: into, position: Some(self.0) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_refused_for_good() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let builder = Pipeline::builder("panic");
    builder
        .source("ten", Ten(0, Arc::clone(&told)))
        .map(|n| {
            assert!(n != 4, "four");
            n
        })
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    assert_balanced(&builder.build().unwrap().start().wait().await);
    let told = told.lock().unwrap();
    let nacks: Vec<&Nack> = told.iter().filter_map(|settled| settled.nack.as_ref()).collect();
    assert_eq!(nacks.len(), 1);
    assert_eq!((nacks[0].kind, nacks[0].cause.as_str()), (NackKind::Permanent, "panicked: four"));
}

#[tokio::test(start_paused = true)]
async fn a_very_large_edge_gets_the_largest_settle_window_there_is() {
    let builder = Pipeline::builder("large");
    let large = EdgeSpec::new("large").records(1 << 22);
    builder.source("count", source::iter(0..10_u64)).edge(large).sink("drop", sink::for_each(|_: u64| {}));
    let report = builder.build().unwrap().start().wait().await;
    assert_eq!(report.end, PipelineEnd::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_the_memory_of_its_edge_passes_alone_and_nobody_spins() {
    // Each text weighs more than half of a batch, so that two make a batch that is larger than the edge's account.
    let builder = Pipeline::builder("oversize").batch(Weight::new(64, kib(4).get())).budget(kib(48));
    let narrow = EdgeSpec::new("narrow").bytes(Bytes::new(1));
    let (delivered, count) = (Arc::new(Mutex::new(0)), 40);
    let counter = Arc::clone(&delivered);
    builder
        .source("texts", source::iter((0..count).map(|_| "x".repeat(3_000))))
        .edge(narrow)
        .sink("count", Slow(counter));
    // Virtual time stands still while a task is always ready: a stage that spins would never let the sleep end.
    let report = builder.build().unwrap().start().wait().await;
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_eq!(*delivered.lock().unwrap(), count);
    assert_balanced(&report);
}

/// Takes its time, in virtual time.
struct Slow(Arc<Mutex<usize>>);

impl Sink<Items<String>> for Slow {
    async fn deliver(&mut self, payload: &mut Items<String>, _: &Meta) -> Result<Accepted, Nack> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        *self.0.lock().unwrap() += payload.drain().count();
        Ok(Accepted::All)
    }
}

#[tokio::test(start_paused = true)]
async fn the_stage_that_failed_is_named_not_the_one_that_sends_to_it() {
    let builder = Pipeline::builder("blame");
    let (odd, odds) = builder.port::<Items<u64>>("odd");
    builder
        .source("count", source::iter(0..100_000_u64))
        .divert_to(&odd, |n| n % 2 == 1)
        .edge(EdgeSpec::new("even").records(10).on_full(OnFull::Block { max: None }))
        .sink("even-sink", sink::for_each(|_: u64| {}));
    odds.map(|n| {
        assert!(n < 1_000, "too large");
        n
    })
    .supervise(Supervision::Stop)
    .edge("odd-out")
    .sink("odd-sink", sink::for_each(|_: u64| {}));
    let report = builder.build().unwrap().start().wait().await;
    assert!(matches!(&report.end, PipelineEnd::Failed { stage, .. } if stage == "odd"), "{}", report.end);
    assert_balanced(&report);
}

/// Takes everything, and flushes as it is told.
struct Flushes<F>(F);

impl<F, R> Sink<Items<u64>> for Flushes<F>
where
    F: Fn() -> R + Send + 'static,
    R: Future<Output = Result<(), Nack>> + Send,
{
    async fn deliver(&mut self, _payload: &mut Items<u64>, _meta: &Meta) -> Result<Accepted, Nack> {
        Ok(Accepted::All)
    }

    fn flush(&mut self) -> impl Future<Output = Result<(), Nack>> + Send {
        (self.0)()
    }
}

async fn flushed<R>(flush: impl Fn() -> R + Send + 'static) -> (PipelineEnd, Duration)
where
    R: Future<Output = Result<(), Nack>> + Send + 'static,
{
    let builder = Pipeline::builder("flush");
    let policy = SinkPolicy { timeout: Some(Duration::from_secs(3)), ..SinkPolicy::default() };
    let options = SinkOptions::default().policy(policy);
    builder.source("numbers", source::iter(0..100_u64)).edge("out").sink_with("sink", Flushes(flush), options);
    let report = tokio::time::timeout(Duration::from_secs(60), builder.build().unwrap().start().wait()).await.unwrap();
    report.ledger.check().unwrap();
    assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 100, "{report}");
    (report.end.clone(), report.ran)
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_never_ends_or_panics_ends_the_pipeline_with_its_cause() {
    let failed = |cause: &str| PipelineEnd::Failed { stage: "sink".into(), cause: cause.into() };
    let (end, ran) = flushed(std::future::pending).await;
    assert_eq!((end, ran), (failed("flush of the sink: no answer within 3s"), Duration::from_secs(3)));
    assert_eq!(flushed(|| async { panic!("cannot") }).await.0, failed("flush of the sink: panicked: cannot"));
    assert_eq!(flushed(|| async { Err(Nack::transient("busy")) }).await.0, failed("flush of the sink: busy"));
    assert_eq!(flushed(|| async { Ok(()) }).await.0, PipelineEnd::Completed);
}
