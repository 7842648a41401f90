//! An edge holds at most its window, whatever is sent to it, and nothing is lost where a batch is split for that.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, OnFull, Outcome, Weight, kib};
use tidegate_runtime::testkit::TestSink;
use tidegate_runtime::{
    BatchLimits, Branch, Pipeline, PipelineBuilder, Report, SinkOptions, SourceOptions, sink, source,
};

/// Runs until nothing moves any more, and says what is in each edge and how large that may be.
async fn filled(builder: &PipelineBuilder) -> Vec<(String, Weight, Weight)> {
    let running = builder.build().unwrap().start();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let edges = running.edges();
    let filled = edges.iter().map(|edge| (edge.name.to_string(), edge.fill, edge.window)).collect();
    running.stop().await.ledger.check().unwrap();
    filled
}

#[track_caller]
fn within(filled: &[(String, Weight, Weight)]) {
    for (name, fill, window) in filled {
        assert!(fill.fits(*window), "edge {name:?} holds {fill}, and its window is {window}");
        assert!(!fill.is_zero(), "edge {name:?} is empty: it proves nothing");
    }
}

async fn completed(builder: &PipelineBuilder) -> Report {
    let report = builder.build().unwrap().start().wait().await;
    report.ledger.check().unwrap();
    report
}

fn delivered(report: &Report) -> u64 {
    report.ledger.total().ended.get(Outcome::Delivered).get()
}

#[tokio::test(start_paused = true)]
async fn an_edge_smaller_than_a_batch_holds_its_window() {
    for spec in [EdgeSpec::new("to-store").records(10), EdgeSpec::new("to-store").bytes(kib(1))] {
        let builder = Pipeline::builder("shop");
        builder.source("orders", source::iter(0_u64..)).edge(spec).sink("store", TestSink::new().sink());
        within(&filled(&builder).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_smaller_than_the_batches_of_the_edge_before_it_holds_its_window() {
    let builder = Pipeline::builder("shop");
    builder
        .source("orders", source::iter(0_u64..))
        .edge("to-parse")
        .map(|n| vec![n])
        .edge(EdgeSpec::new("to-store").records(7))
        .sink("store", TestSink::new().sink());
    within(&filled(&builder).await);
}

#[tokio::test(start_paused = true)]
async fn what_expands_fills_no_edge_beyond_its_window() {
    let builder = Pipeline::builder("shop");
    builder
        .source("orders", source::iter(0_u64..))
        .flat_map(|_| 0..100_000_u64)
        .edge(EdgeSpec::new("to-store").records(1_000))
        .sink("store", TestSink::new().sink());
    within(&filled(&builder).await);
}

#[tokio::test(start_paused = true)]
async fn what_expands_closes_its_batches_by_records() {
    let builder = Pipeline::builder("shop").batch(Weight::new(50, 1 << 20));
    let (sizes, keep) = sink::collect();
    let sizes_of = |batch: Vec<u64>| batch.len() as u64;
    builder
        .source("orders", source::iter(0..3_u64))
        .flat_map(|_| 0..1_000_u64)
        .group(1_000_000, Duration::from_millis(1))
        .map(sizes_of)
        .sink("store", keep);
    completed(&builder).await;
    assert_eq!(sizes.take().iter().sum::<u64>(), 3_000);
    let builder = Pipeline::builder("shop").batch(Weight::new(50, 1 << 20));
    let store = TestSink::new();
    builder.source("orders", source::iter(0..3_u64)).flat_map(|_| 0..1_000_u64).edge("e").sink("store", store.sink());
    let running = builder.build().unwrap().start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let edge = running.edge("e").unwrap();
    assert_eq!(edge.fill.records.get(), 50 * edge.batches as u64, "{edge:?}");
    running.stop().await.ledger.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_branches_of_a_fork_and_of_a_partition_hold_their_windows() {
    let store = || TestSink::new().sink();
    let builder = Pipeline::builder("shop");
    let [left, right] = builder.source("orders", source::iter(0_u64..)).edge("all").fork([
        Branch::required(EdgeSpec::new("left").records(9)),
        Branch::required(EdgeSpec::new("right").records(30)),
    ]);
    left.sink("one", store());
    let [even, odd] = right.partition(|n| (n % 2) as usize, ["even", "odd"].map(|name| EdgeSpec::new(name).records(5)));
    even.sink("two", store());
    odd.sink("three", store());
    within(&filled(&builder).await);
}

#[tokio::test(start_paused = true)]
async fn side_outputs_and_diversions_hold_their_windows() {
    let store = || TestSink::new().sink();
    let builder = Pipeline::builder("shop");
    let (tapped, tap) = builder.port::<Items<u64>>(EdgeSpec::new("tap").records(3).on_full(OnFull::DropOldest));
    let (overflow, spilled) = builder.port::<Items<u64>>(EdgeSpec::new("overflow").records(4));
    let (big, apart) = builder.port::<Items<u64>>(EdgeSpec::new("big").records(5));
    tap.sink("watch", store());
    spilled.sink("shelf", store());
    apart.sink("large", sink::null());
    builder
        .source("orders", source::iter(0_u64..))
        .edge("all")
        .wire_tap(&tapped)
        .divert_to(&big, |n| *n < 100)
        .edge_diverting(EdgeSpec::new("to-store").records(6), &overflow)
        .sink("store", store());
    let filled = filled(&builder).await;
    let passing = ["tap", "big"];
    assert!(filled.iter().all(|(_, fill, window)| fill.fits(*window)), "{filled:?}");
    within(&filled.into_iter().filter(|(name, ..)| !passing.contains(&name.as_str())).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn every_part_of_a_split_batch_settles_once() {
    let builder = Pipeline::builder("shop");
    let (kept, keep) = sink::collect();
    let (letters, dead) = builder.dead_letters::<u64>(EdgeSpec::new("dead").records(2));
    dead.sink("letters", sink::null());
    builder
        .source("orders", SourceOptions::new(source::iter(0..10_000_u64)).settle_slots(9_000))
        .batch(BatchLimits::records(1_000))
        .edge(EdgeSpec::new("wide").records(2_000))
        .edge(EdgeSpec::new("narrow").records(3))
        .sink_with("store", keep, SinkOptions::default().dead_letters(&letters));
    let report = completed(&builder).await;
    assert_eq!(delivered(&report), 10_000);
    assert_eq!(kept.take(), (0..10_000).collect::<Vec<u64>>());
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_not_taken_in_time_go_back_to_their_source() {
    let builder = Pipeline::builder("shop");
    builder
        .source("orders", source::iter(0..100_u64))
        .batch(BatchLimits::records(100))
        .edge("wide")
        .edge(EdgeSpec::new("narrow").records(10).on_full(OnFull::Block { max: Some(Duration::from_secs(1)) }))
        .sink("store", sink::for_each_async(|_| tokio::time::sleep(Duration::from_secs(1))));
    let report = completed(&builder).await;
    let returned = report.ledger.total().ended.get(Outcome::Returned).get();
    assert_eq!(delivered(&report) + returned, 100);
    assert!(returned >= 50, "what the edge had no room for in a second went back: {returned}");
}

#[tokio::test(start_paused = true)]
async fn a_shedding_edge_sheds_parts_and_not_the_whole_batch() {
    for (policy, kept) in [(OnFull::DropNewest, 0..10_u64), (OnFull::DropOldest, 90..100)] {
        let builder = Pipeline::builder("shop");
        let store = TestSink::new();
        builder
            .source("orders", source::iter(0..100_u64))
            .batch(BatchLimits::records(100))
            .edge("wide")
            .edge(EdgeSpec::new("narrow").records(10).on_full(policy))
            .sink("store", store.sink());
        let running = builder.build().unwrap().start();
        store.request(10);
        let report = running.wait().await;
        report.ledger.check().unwrap();
        assert_eq!(store.arrived(), kept.collect::<Vec<_>>(), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_its_edge_enters_it_alone() {
    let builder = Pipeline::builder("shop");
    let (kept, keep) = sink::collect();
    let record = |n: u64| vec![7_u8; if n.is_multiple_of(3) { 5_000 } else { 10 }];
    builder
        .source("orders", source::iter(0..30_u64))
        .map(record)
        .edge(EdgeSpec::new("to-store").bytes(kib(1)))
        .sink("store", keep);
    assert_eq!(delivered(&completed(&builder).await), 30);
    assert_eq!(kept.take(), (0..30).map(record).collect::<Vec<_>>());
}
