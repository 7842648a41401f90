//! Whole pipelines: what goes in comes out or is accounted for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, Nack, OnFull, Outcome, Weight, kib, mib};
use tidegate_runtime::testkit::assert_balanced;
use tidegate_runtime::{Branch, Pipeline, PipelineEnd, sink, source};

/// A sink that keeps what it is given.
fn collect<T: Send + 'static>() -> (Arc<Mutex<Vec<T>>>, impl FnMut(T) + Send + 'static) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&kept);
    (kept, move |record| sink.lock().unwrap().push(record))
}

#[tokio::test(start_paused = true)]
async fn records_pass_through_fused_operators_and_edges_in_order() {
    let builder = Pipeline::builder("numbers").budget(mib(16));
    let (kept, keep) = collect();
    builder
        .source("count", source::iter(1..=10_000_u64))
        .filter(|n| n % 2 == 0)
        .map(|n| n * 10)
        .edge("even")
        .map(|n: u64| n.to_string())
        .edge("text")
        .sink("keep", sink::for_each(keep));
    let report = builder.build().unwrap().start().wait().await;
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_balanced(&report);
    let expected: Vec<String> = (1..=10_000_u64).filter(|n| n % 2 == 0).map(|n| (n * 10).to_string()).collect();
    assert_eq!(*kept.lock().unwrap(), expected);
    let total = report.ledger.total();
    assert_eq!(total.ended.get(Outcome::Delivered).get(), 5_000, "{report}");
    assert_eq!(total.ended.get(Outcome::Filtered).get(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_fork_delivers_everything_to_every_branch() {
    let builder = Pipeline::builder("fork");
    let (left_kept, left_keep) = collect();
    let (right_kept, right_keep) = collect();
    let [left, right] = builder
        .source("count", source::iter(0..1_000_u64))
        .fork([Branch::required("left"), Branch::required(EdgeSpec::new("right").records(10))]);
    left.filter(|n| n % 3 != 0).sink("left-sink", sink::for_each(left_keep));
    right.sink("right-sink", sink::for_each(right_keep));
    let report = builder.build().unwrap().start().wait().await;
    assert_balanced(&report);
    assert_eq!(left_kept.lock().unwrap().len(), 666);
    assert_eq!(right_kept.lock().unwrap().len(), 1_000);
    assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn flat_map_multiplies_and_settles_each_input_once() {
    let builder = Pipeline::builder("expand");
    let (kept, keep) = collect();
    builder
        .source("count", source::iter(0..100_u64))
        .flat_map(|n| vec![n; (n % 5) as usize])
        .edge("many")
        .sink("keep", sink::for_each(keep));
    let report = builder.build().unwrap().start().wait().await;
    assert_balanced(&report);
    assert_eq!(kept.lock().unwrap().len(), 200);
    assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 80, "{report}");
    assert_eq!(report.ledger.total().ended.get(Outcome::Filtered).get(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_goes_back_and_a_panic_costs_one_record() {
    let builder = Pipeline::builder("faults");
    let (kept, keep) = collect();
    builder
        .source("count", source::iter(0..100_u64))
        .try_map(|n| if n == 7 { Err(Nack::permanent("seven")) } else { Ok(n) })
        .map(|n| {
            assert!(n != 50, "fifty");
            n
        })
        .edge("out")
        .sink("keep", sink::for_each(keep));
    let report = builder.build().unwrap().start().wait().await;
    assert_balanced(&report);
    assert_eq!(kept.lock().unwrap().len(), 98);
    assert_eq!(report.ledger.total().ended.get(Outcome::Returned).get(), 2, "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_a_full_edge_sheds_is_counted_and_the_rest_arrives() {
    let builder = Pipeline::builder("shed");
    let (kept, keep) = collect();
    builder
        .source("count", source::iter(0..100_000_u64))
        .edge(EdgeSpec::new("narrow").records(512).on_full(OnFull::DropOldest))
        .sink("keep", sink::for_each(keep));
    let report = builder.build().unwrap().start().wait().await;
    assert_balanced(&report);
    let total = report.ledger.total();
    let delivered = total.ended.get(Outcome::Delivered).get();
    assert_eq!(delivered + total.ended.get(Outcome::Shed).get(), 100_000, "{report}");
    assert_eq!(kept.lock().unwrap().len() as u64, delivered);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_an_endless_source() {
    let builder = Pipeline::builder("endless");
    builder.source("count", source::iter(0_u64..)).edge("out").sink("drop", sink::for_each(|_: u64| {}));
    let running = builder.build().unwrap().start();
    // An endless source keeps virtual time from moving, so the test gives way instead of sleeping.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let report = running.drain(Duration::from_secs(5)).await;
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_balanced(&report);
    assert!(report.ledger.total().in_flight.is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_declared_loop_completes_when_everything_is_settled() {
    let builder = Pipeline::builder("loop");
    let (kept, keep) = collect();
    let (port, flow) = builder.port::<Items<u64>>(EdgeSpec::new("again").records(100_000).on_full(OnFull::DropNewest));
    builder.source("count", source::iter(0..1_000_u64)).to(&port);
    let [done, again] = flow
        .map(|n: u64| n / 2)
        .partition(|n| usize::from(*n > 0), [EdgeSpec::new("done"), EdgeSpec::new("back").records(10_000)]);
    done.sink("keep", sink::for_each(keep));
    again.feed_back(&port);
    let report = builder.build().unwrap().start().wait().await;
    assert_balanced(&report);
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_eq!(kept.lock().unwrap().len(), 1_000, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_for_budget_does_not_spin() {
    let builder = Pipeline::builder("tight").budget(kib(512)).batch(Weight::new(64, kib(16).get()));
    let (kept, keep) = collect();
    builder
        .source("strings", source::iter((0..2_000_u64).map(|n| format!("{n:0200}"))))
        .edge(EdgeSpec::new("first").bytes(kib(64)))
        .map(|text: String| text + &"x".repeat(100))
        .edge(EdgeSpec::new("second").bytes(kib(64)))
        .sink("keep", sink::for_each(keep));
    let running = builder.build().unwrap().start();
    let report = tokio::time::timeout(Duration::from_secs(60), running.wait()).await.expect("no progress");
    assert_balanced(&report);
    assert_eq!(kept.lock().unwrap().len(), 2_000);
    assert!(report.peak <= kib(512), "{report}");
}
