//! Kill switches, idle timeouts and limits on blocking.

use std::time::Duration;

use tidegate_flow::{EdgeSpec, OnFull, Outcome, Weight, kib};
use tidegate_runtime::testkit::assert_balanced;
use tidegate_runtime::{BatchLimits, Branch, Class, KillSwitch, Pipeline, PipelineEnd, SourceOptions, sink, source};

use crate::{NO_PAUSE, accepting, complete, ended, flows, millis, run, timed};

#[tokio::test(start_paused = true)]
async fn a_kill_switch_ends_one_branch_and_what_it_had_taken_is_delivered() {
    let builder = Pipeline::builder("kill");
    let switch = KillSwitch::new();
    let (left_seen, left_sink) = accepting(NO_PAUSE);
    let (right_seen, right_sink) = accepting(NO_PAUSE);
    let [left, right] = builder
        .source("slow", timed((0..100).map(|n| (n * 10, n))))
        .fork([Branch::required("left"), Branch::best_effort("right")]);
    left.sink("left-sink", left_sink);
    right.kill_switch(&switch).group(30, Duration::from_secs(100)).edge("groups").sink("right-sink", right_sink);
    let running = builder.build().unwrap().start();
    tokio::time::sleep(millis(455)).await;
    switch.shut();
    let report = running.wait().await;
    assert_balanced(&report);
    assert_eq!(report.end, PipelineEnd::Completed, "{report}");
    assert_eq!(left_seen.rows().len(), 100);
    assert_eq!(right_seen.rows().iter().map(Vec::len).collect::<Vec<_>>(), [30, 16], "the open group is flushed");
}

#[tokio::test(start_paused = true)]
async fn a_kill_switch_right_behind_a_source_ends_it() {
    let builder = Pipeline::builder("kill-source").batch(Weight::new(48, kib(64).get()));
    let switch = KillSwitch::new();
    let (seen, sink) = accepting(millis(10));
    let source = SourceOptions::new(source::iter(0_u64..))
        .classify_by(|n, _| Class { bucket: u8::try_from(n % 3).unwrap(), ..Class::default() });
    builder
        .source("endless", source)
        .kill_switch(&switch)
        .edge(EdgeSpec::new("out").records(256).buckets(3))
        .sink("keep", sink);
    let running = builder.build().unwrap().start();
    // In the middle of a read, which is split into three batches.
    tokio::time::sleep(millis(1_015)).await;
    switch.shut();
    let report = running.wait().await;
    assert_balanced(&report);
    let mut rows = seen.rows();
    rows.sort_unstable();
    assert_eq!(rows, (0..rows.len() as u64).collect::<Vec<_>>(), "what was read is delivered whole");
    assert_eq!(ended(&report, Outcome::Delivered), rows.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn an_idle_timeout_fails_the_pipeline_and_a_linger_time_does_not_renew_it() {
    let builder = Pipeline::builder("silence");
    builder
        .source("slow", timed([(0, 0), (900, 1), (1_800, 2), (60_000, 3_u64)]))
        .edge("in")
        .idle_timeout(Duration::from_secs(1))
        .named("listener")
        .group(10, millis(700))
        .edge("out")
        .sink("drop", sink::for_each(drop::<Vec<u64>>));
    let report = run(&builder).await;
    let PipelineEnd::Failed { stage, cause } = &report.end else { panic!("{report}") };
    assert_eq!(stage, "listener");
    assert!(cause.as_str().contains("received nothing for 1s"), "{cause}");
    assert!((2_800..2_810).contains(&report.ran.as_millis()), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_producer_blocked_for_too_long_gives_its_batch_back() {
    let builder = Pipeline::builder("blocked").batch(Weight::new(10, kib(64).get()));
    let (seen, sink) = accepting(millis(500));
    builder
        .source("count", source::iter(0..100_u64))
        .map(|n| n)
        .edge(EdgeSpec::new("narrow").records(10).on_full(OnFull::Block { max: Some(millis(100)) }))
        .batch(BatchLimits::records(10))
        .sink("keep", sink);
    let report = complete(&builder).await;
    let returned = ended(&report, Outcome::Returned);
    assert_eq!(returned + seen.rows().len() as u64, 100, "{report}");
    // The edge has no room until a batch is taken out of it, and `ready` waits for that without a batch in hand.
    assert_eq!(flows(&report, "count").returned.get(), returned);
}
