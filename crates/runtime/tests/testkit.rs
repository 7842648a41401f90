//! The testkit itself, and the peers that a pipeline must survive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::time::Duration;

use tidegate_flow::{Cause, EdgeSpec, Nack, Outcome, Weight, kib, mib};
use tidegate_runtime::testkit::peers::{self, Ballast};
use tidegate_runtime::testkit::{TestSink, TestSource, balanced, ended, settle};
use tidegate_runtime::{Pipeline, PipelineEnd, SinkOptions, SinkPolicy, sink, source};

#[tokio::test(start_paused = true)]
async fn a_script_is_read_push_by_push_and_told_what_settled() {
    let (script, probe) = (TestSource::new(), TestSink::new());
    let builder = Pipeline::builder("script");
    builder.source("script", script.source()).edge("out").sink("probe", probe.sink());
    let running = builder.build().unwrap().start();
    script.push_all([1_u64, 2, 3]);
    script.push(4);
    script.end();
    settle().await;
    assert_eq!((script.read(), script.position()), (4, 0), "nothing was requested");

    probe.request(2);
    probe.expect_next(1).await;
    probe.expect_next(2).await;
    probe.expect_none_for(Duration::from_secs(60)).await;
    assert_eq!(script.position(), 0, "half a batch is not settled");
    probe.refuse(Nack::permanent("not three"));
    probe.request(1);
    probe.expect_next(4).await;
    let settled = script.expect_settled(4).await;
    assert_eq!(settled.last().unwrap().nack, Some(Nack::permanent("not three")));
    probe.expect_end().await;
    let report = balanced(running.wait().await);
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (3, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_script_can_fail() {
    let script = TestSource::new();
    let builder = Pipeline::builder("script");
    builder.source("script", script.source()).edge("out").sink("drop", sink::null());
    script.push(1_u64);
    script.fail("the cable");
    let report = balanced(builder.build().unwrap().start().wait().await);
    assert_eq!(report.end, PipelineEnd::Failed { stage: "script".into(), cause: Cause::from("the cable") });
    assert_eq!((ended(&report, Outcome::Delivered), script.position()), (1, 1));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "another record")]
async fn expecting_the_wrong_record_panics() {
    let probe = TestSink::new();
    let builder = Pipeline::builder("script");
    builder.source("one", source::iter([1_u64])).sink("probe", probe.sink());
    let _running = builder.build().unwrap().start();
    probe.request(1);
    probe.expect_next(2).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waited an hour")]
async fn expecting_what_never_comes_panics() {
    TestSource::<u64>::new().expect_settled(1).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "expected nothing for")]
async fn expecting_nothing_panics_when_something_comes() {
    let probe = TestSink::new();
    let builder = Pipeline::builder("script");
    builder.source("one", source::iter([1_u64])).sink("probe", probe.sink());
    let _running = builder.build().unwrap().start();
    probe.request(1);
    probe.expect_none_for(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_operator_costs_one_record() {
    let builder = Pipeline::builder("panicker");
    let (kept, keep) = sink::collect();
    builder.source("count", source::iter(0..10_u64)).map(peers::panicker(4)).edge("out").sink("keep", keep);
    let report = balanced(builder.build().unwrap().start().wait().await);
    assert_eq!((kept.len(), ended(&report, Outcome::Returned)), (9, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_drip_is_passed_on_drop_by_drop() {
    let probe = TestSink::new();
    let builder = Pipeline::builder("drip");
    let drip = peers::slow_drip(0..3_u64, Duration::from_secs(10));
    builder.source("drip", source::stream(drip)).edge("out").sink("probe", probe.sink());
    let running = builder.build().unwrap().start();
    probe.request(u64::MAX);
    for n in 0..3 {
        probe.expect_none_for(Duration::from_secs(9)).await;
        probe.expect_next(n).await;
    }
    balanced(running.wait().await);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_vanishes_ends_at_the_deadline_or_by_its_time_limit() {
    for limited in [false, true] {
        let builder = Pipeline::builder("vanishes").batch(Weight::new(10, kib(64).get()));
        let mut policy = SinkPolicy { retries: 0, ..SinkPolicy::default() };
        policy.timeout = limited.then_some(Duration::from_secs(5));
        builder.source("count", source::iter(0..40_u64)).edge("out").sink_with(
            "vanishes",
            peers::grants_then_vanishes(2),
            SinkOptions::default().policy(policy),
        );
        let running = builder.build().unwrap().start();
        settle().await;
        let report = balanced(running.drain(Duration::from_secs(60)).await);
        let lost = if limited { Outcome::Returned } else { Outcome::Abandoned };
        let delivered = ended(&report, Outcome::Delivered);
        assert_eq!(report.end == PipelineEnd::DeadlinePassed, !limited, "{report}");
        assert_eq!(delivered + ended(&report, lost), report.ledger.total().accepted.get(), "{report}");
        assert!(delivered <= 20, "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_no_bytes_are_bounded_by_their_number() {
    let builder = Pipeline::builder("nothing");
    let probe = TestSink::new();
    let script = TestSource::new();
    (0..1_000).for_each(|n| script.push(Ballast::nothing(n)));
    script.end();
    builder.source("nothing", script.source()).edge(EdgeSpec::new("out").records(10)).sink("probe", probe.sink());
    let running = builder.build().unwrap().start();
    settle().await;
    assert!(script.read() <= 20, "{} read by nobody's demand", script.read());
    probe.request(u64::MAX);
    let report = balanced(running.wait().await);
    assert_eq!(ended(&report, Outcome::Delivered), 1_000, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_every_window_passes_where_the_budget_holds_it() {
    for edge in [EdgeSpec::new("floats"), EdgeSpec::new("fixed").bytes(kib(128))] {
        let builder = Pipeline::builder("huge").budget(mib(256));
        let (kept, keep) = sink::collect();
        let records = [Ballast::nothing(0), Ballast::huge(1), Ballast::huge(2), Ballast::nothing(3)];
        let second = EdgeSpec { name: "second".into(), ..edge.clone() };
        builder
            .source("huge", source::iter(records))
            .edge(edge)
            .map(|record: Ballast| record)
            .edge(second)
            .sink("keep", keep);
        let running = builder.build().unwrap().start();
        let report = tokio::time::timeout(Duration::from_secs(60), running.wait()).await.expect("no progress");
        let report = balanced(report);
        assert_eq!(report.end, PipelineEnd::Completed, "{report}");
        assert_eq!(kept.take().iter().map(|record| record.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(report.peak <= mib(256), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_an_edge_may_hold_waits_for_it_to_be_empty_without_spinning() {
    let builder = Pipeline::builder("huge").budget(mib(256)).batch(Weight::new(1, kib(64).get()));
    // While the sink works on a record it pays with the room of its edge. Time only moves when nobody spins.
    let slow = sink::for_each_async(|_: Ballast| tokio::time::sleep(Duration::from_secs(1)));
    let small = |number| Ballast { number, bytes: 1024 };
    builder
        .source("huge", source::iter([small(0), Ballast::huge(1), small(2), Ballast::huge(3)]))
        .edge(EdgeSpec::new("fixed").bytes(kib(128)))
        .sink("slow", slow);
    let report = balanced(builder.build().unwrap().start().wait().await);
    assert_eq!(ended(&report, Outcome::Delivered), 4, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_the_budget_fails_its_source_with_advice() {
    let builder = Pipeline::builder("huge").budget(mib(16));
    builder.source("huge", source::iter([Ballast::huge(0)])).edge("out").sink("drop", sink::null());
    let report = balanced(builder.build().unwrap().start().wait().await);
    let PipelineEnd::Failed { stage, cause } = &report.end else { panic!("{report}") };
    assert_eq!(stage, "huge");
    assert!(cause.as_str().contains("raise the pipeline's budget"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn settling_runs_everything_that_is_ready() {
    let (done, told) = std::sync::mpsc::sync_channel(1);
    tokio::spawn(async move {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        done.send(()).unwrap();
    });
    settle().await;
    told.try_recv().unwrap();
}
