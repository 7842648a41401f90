//! Declared loops: what comes back may be shed, while fresh input waits.

#![allow(clippy::unwrap_used, reason = "a test or benchmark fails by panicking, on numbers that it chose itself")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, OnFull, Outcome};
use tidegate_runtime::{Pipeline, PipelineBuilder, Report, sink, source};

/// A number, and how often it was tried.
type Try = (u64, u8);

/// 5 000 numbers that are tried three times each: those that were tried at all, and how it ended.
async fn tried_three_times(spec: EdgeSpec, when_full: Option<OnFull>) -> (usize, Report) {
    let builder = Pipeline::builder("shop");
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let seen_by = Arc::clone(&seen);
    let (again, tries) = builder.port::<Items<Try>>(spec);
    let tried = tries.named("try").map(move |(n, tries)| {
        seen_by.lock().unwrap().insert(n);
        (n, tries + 1)
    });
    let [back, done] = tried
        .partition(|(_, tries)| usize::from(*tries == 3), [EdgeSpec::new("back").records(8), EdgeSpec::new("done")]);
    match when_full {
        Some(when_full) => back.feed_back_with(&again, when_full),
        None => back.feed_back(&again),
    }
    done.sink("store", sink::for_each_async(|_| tokio::task::yield_now()));
    builder.source("fresh", source::iter((0..5_000).map(|n| (n, 0)))).to_lane(&again, 1);
    let running = builder.build().unwrap().start();
    let view = running.view();
    let Ok(report) = tokio::time::timeout(Duration::from_secs(3_600), running.wait()).await else {
        panic!("stuck: {} {:?}", view.bottleneck(), view.ledger().total())
    };
    report.ledger.check().unwrap();
    let seen = seen.lock().unwrap().len();
    (seen, report)
}

fn spec() -> EdgeSpec {
    EdgeSpec::new("tries").records(64).lanes(&[50, 0])
}

#[tokio::test(start_paused = true)]
async fn fresh_input_waits_where_only_the_loop_sheds() {
    for when_full in [OnFull::DropNewest, OnFull::Sample(tidegate_flow::SampleRate::RisingWithFill)] {
        let (seen, report) = tried_three_times(spec(), Some(when_full)).await;
        assert_eq!(seen, 5_000, "every number had its first try: {report}");
    }
    let (_, report) = tried_three_times(spec(), Some(OnFull::DropNewest)).await;
    assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 5_000, "the floor has room: {report}");
}

#[tokio::test(start_paused = true)]
async fn one_policy_for_all_sheds_fresh_input_too() {
    let (seen, report) = tried_three_times(spec().on_full(OnFull::DropNewest), None).await;
    assert!(seen < 5_000, "{report}");
}

/// What `build` says of a loop whose port is `spec` and closed by `close`.
fn built(
    spec: EdgeSpec,
    close: impl FnOnce(&PipelineBuilder, tidegate_runtime::EdgeFlow<Items<u64>>, &tidegate_runtime::Port<Items<u64>>),
) -> Result<(), String> {
    let builder = Pipeline::builder("shop");
    let (again, tries) = builder.port::<Items<u64>>(spec);
    builder.source("fresh", source::iter(0..10_u64)).to(&again);
    let [back, done] = tries.named("try").partition(|n| usize::from(*n > 3), ["back", "done"].map(EdgeSpec::new));
    done.sink("store", sink::null());
    close(&builder, back, &again);
    builder.build().map(drop).map_err(|errors| errors.to_string())
}

#[test]
fn a_loop_that_blocks_is_refused() {
    let says = "feedback edge \"again\" blocks when it is full";
    let again = || EdgeSpec::new("again");
    assert!(built(again(), |_, back, port| back.feed_back(port)).unwrap_err().contains(says));
    let blocks = built(again(), |_, back, port| back.feed_back_with(port, OnFull::Block { max: None }));
    assert!(blocks.unwrap_err().contains(says));
    let diverts = built(again(), |_, back, port| back.feed_back_with(port, OnFull::Divert)).unwrap_err();
    assert!(diverts.contains("stage \"back\": what comes back through a loop cannot be diverted"), "{diverts}");
    assert_eq!(built(again(), |_, back, port| back.feed_back_with(port, OnFull::DropNewest)), Ok(()));
    assert_eq!(built(again().on_full(OnFull::DropOldest), |_, back, port| back.feed_back(port)), Ok(()));
}
