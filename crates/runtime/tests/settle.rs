//! Settlement end to end: what a source hears, in which order, and that it never hears too much.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{Bytes, EdgeSpec, Items, Meta, Nack, NackKind, OnFull, Outcome, Payload, Settled, Weight};
use tidegate_runtime::testkit::{TestSink, TestSource, balanced, ended, settle};
use tidegate_runtime::{
    Accepted, Branch, Class, Pipeline, PipelineBuilder, Sink, SinkOptions, SinkPolicy, SourceOptions, sink, source,
};

/// A pipeline that reads in batches of `records`.
fn builder(records: u64) -> PipelineBuilder {
    Pipeline::builder("settle").batch(Weight::new(records, 1 << 16))
}

/// A sink that is slow for some records, so that branches answer out of order.
struct Uneven<F>(F);

impl<F: FnMut(u64) -> u64 + Send + 'static> Sink<Items<u64>> for Uneven<F> {
    async fn deliver(&mut self, payload: &mut Items<u64>, _meta: &Meta) -> Result<Accepted, Nack> {
        let millis = payload.as_slice().iter().map(|n| (self.0)(*n)).max().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(Accepted::All)
    }
}

/// A log of what was delivered where, and what the source was told meanwhile.
type Log = Arc<Mutex<BTreeMap<u64, u32>>>;

fn count_into(log: &Log) -> impl FnMut(u64) -> u64 + Send + 'static {
    let log = Arc::clone(log);
    move |n| {
        *log.lock().unwrap().entry(n).or_default() += 1;
        0
    }
}

#[tokio::test(start_paused = true)]
async fn positions_come_in_order_and_never_pass_what_a_branch_still_holds() {
    let delivered = Log::default();
    let told = Arc::new(Mutex::new(Vec::<Settled<u64>>::new()));
    let (log, seen) = (Arc::clone(&told), Arc::clone(&delivered));
    // Per record: a filter takes the multiples of 7; a fork sends the others to two branches, one of which is slow for
    // every tenth; one branch is partitioned again by parity.
    let needs = |n: u64| if n.is_multiple_of(7) { 0 } else { 2 };
    let commit = move |settled: Settled<u64>| {
        let seen = seen.lock().unwrap();
        for n in 0..settled.position {
            assert!(seen.get(&n).copied().unwrap_or(0) >= needs(n), "{n} is not delivered everywhere: {settled:?}");
        }
        log.lock().unwrap().push(settled);
    };
    let builder = builder(10);
    let numbers = source::with_committer(source::iter(0..1_000_u64), commit);
    let [plain, parted] = builder
        .source("numbers", numbers)
        .filter(|n| n % 7 != 0)
        .fork([Branch::required(EdgeSpec::new("plain").records(200)), Branch::required("parted")]);
    let (mut one, mut two, mut three) = (count_into(&delivered), count_into(&delivered), count_into(&delivered));
    plain.sink(
        "slow",
        SlowThenCount {
            slow: |n| n % 10 == 3,
            count: move |n| {
                one(n);
            },
        },
    );
    let [even, odd] = parted.partition(|n| usize::from(n % 2 == 1), ["even".into(), "odd".into()]);
    even.sink(
        "even",
        SlowThenCount {
            slow: |n| n % 40 == 2,
            count: move |n| {
                two(n);
            },
        },
    );
    odd.sink(
        "odd",
        SlowThenCount {
            slow: |_| false,
            count: move |n| {
                three(n);
            },
        },
    );
    let report = balanced(builder.build().unwrap().start().wait().await);
    let told = told.lock().unwrap();
    assert!(told.is_sorted_by(|a, b| a.position < b.position), "in order, each once");
    assert!(told.len() > 5, "{} reports", told.len());
    assert_eq!(told.last().unwrap().position, 1_000);
    let filtered = (0..1_000).filter(|n| n % 7 == 0).count() as u64;
    assert_eq!((ended(&report, Outcome::Filtered), ended(&report, Outcome::Delivered)), (filtered, 1_000 - filtered));
    let sum = |outcome| told.iter().map(|settled| settled.counts.get(outcome).get()).sum::<u64>();
    assert_eq!((sum(Outcome::Filtered), sum(Outcome::Delivered)), (filtered, 1_000 - filtered));
}

/// Sleeps for the records that are slow, and counts a record when it is accepted.
struct SlowThenCount<S, C> {
    slow: S,
    count: C,
}

impl<S, C> Sink<Items<u64>> for SlowThenCount<S, C>
where
    S: FnMut(u64) -> bool + Send + 'static,
    C: FnMut(u64) + Send + 'static,
{
    async fn deliver(&mut self, payload: &mut Items<u64>, _meta: &Meta) -> Result<Accepted, Nack> {
        if payload.as_slice().iter().any(|n| (self.slow)(*n)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        payload.as_slice().iter().for_each(|n| (self.count)(*n));
        Ok(Accepted::All)
    }
}

#[tokio::test(start_paused = true)]
async fn a_nack_reaches_the_source_with_its_cause_and_kind_and_the_worst_branch_counts() {
    for kind in [NackKind::Transient, NackKind::Permanent] {
        let script = TestSource::new();
        let builder = builder(10);
        let [good, bad] =
            builder.source("script", script.source()).fork([Branch::required("good"), Branch::required("bad")]);
        good.sink("good", sink::null());
        let policy = SinkPolicy { retries: 0, ..SinkPolicy::default() };
        let refuse = sink::try_for_each(
            move |n: &u64| {
                if *n == 5 { Err(Nack { kind, cause: "no fives".into() }) } else { Ok(()) }
            },
        );
        bad.sink_with("bad", refuse, SinkOptions::default().policy(policy));
        let running = builder.build().unwrap().start();
        script.push_all(0..5);
        script.push_all(5..8);
        script.push_all(8..10);
        script.end();
        let report = balanced(running.wait().await);
        let settled = script.settled();
        assert_eq!(settled.last().unwrap().position, 10);
        let nacks: Vec<_> = settled.iter().filter_map(|settled| settled.nack.clone()).collect();
        assert_eq!(nacks, [Nack { kind, cause: "no fives".into() }]);
        let refused = settled.iter().position(|settled| settled.nack.is_some()).unwrap();
        assert_eq!(settled[..refused].last().map_or(0, |settled| settled.position), 5, "acked before, apart");
        assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (9, 1), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_best_effort_branch_holds_nothing_up_and_loses_only_its_own() {
    let script = TestSource::new();
    let builder = builder(10);
    let stuck = TestSink::new();
    let [good, rest] = builder.source("script", script.source()).fork([
        Branch::required("good"),
        Branch::best_effort(EdgeSpec::new("rest").records(20).on_full(OnFull::DropNewest)),
    ]);
    good.sink("good", sink::null());
    rest.sink("stuck", stuck.sink());
    let running = builder.build().unwrap().start();
    for first in (0..200_u64).step_by(10) {
        script.push_all(first..first + 10);
    }
    script.end();
    script.expect_settled(200).await;
    assert_eq!(script.settled().iter().filter(|settled| settled.nack.is_some()).count(), 0);
    let report = balanced(running.drain(Duration::from_secs(1)).await);
    assert_eq!(ended(&report, Outcome::Delivered), 200, "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_position_waits_for_the_one_record_that_is_held() {
    let script = TestSource::new();
    let builder = builder(10);
    let held = TestSink::new();
    let [fast, slow] = builder
        .source("script", script.source())
        .partition(|n: &u64| usize::from(*n == 3), ["fast".into(), "slow".into()]);
    fast.sink("fast", sink::null());
    slow.sink("held", held.sink());
    let running = builder.build().unwrap().start();
    for n in 0..50 {
        script.push(n);
    }
    script.end();
    settle().await;
    assert_eq!(script.position(), 3, "everything but 3 is delivered");
    assert_eq!(running.ledger().total().in_flight.get(), 1);
    running.ledger().check().unwrap();
    held.request(1);
    script.expect_settled(50).await;
    balanced(running.wait().await);
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_or_dead_lettered_moves_the_position_on() {
    let script = TestSource::new();
    let builder = builder(10);
    let (dead, letters) = builder.port::<Items<u64>>("dead");
    let (kept, keep) = sink::collect();
    letters.sink("letters", keep);
    let refuse = sink::try_for_each(|n: &u64| if n.is_multiple_of(2) { Err(Nack::permanent("even")) } else { Ok(()) });
    builder.source("script", script.source()).edge("out").sink_with(
        "odd",
        refuse,
        SinkOptions::default().dead_letters(&dead),
    );
    let running = builder.build().unwrap().start();
    script.push_all(0..10);
    script.end();
    let settled = script.expect_settled(10).await;
    assert!(settled.iter().all(|settled| settled.nack.is_none()), "given up by a policy is not a nack: {settled:?}");
    let report = balanced(running.wait().await);
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::DeadLettered)), (5, 5), "{report}");
    let mut kept = kept.take();
    kept.sort_unstable();
    assert_eq!(kept, [0, 2, 4, 6, 8]);
}

#[tokio::test(start_paused = true)]
async fn classes_split_a_read_and_its_position_waits_for_every_part() {
    let script = TestSource::new();
    let builder = builder(10);
    let held = TestSink::new();
    let sorted = SourceOptions::new(script.source())
        .classify_by(|n: &u64, _| Class { lane: u8::try_from(n % 2).unwrap(), ..Class::default() });
    let [fast, slow] = builder
        .source("script", sorted)
        .partition(|n: &u64| usize::from(n.is_multiple_of(2)), ["odd".into(), "even".into()]);
    fast.sink("fast", sink::null());
    slow.sink("held", held.sink());
    let running = builder.build().unwrap().start();
    script.push_all(0..10);
    script.end();
    settle().await;
    assert_eq!(script.position(), 0, "the even half is held");
    held.request(5);
    script.expect_settled(10).await;
    let report = balanced(running.wait().await);
    assert_eq!(ended(&report, Outcome::Delivered), 10, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_forgets_rows_or_names_no_lane_fails_its_source_and_loses_nothing() {
    struct Forgets;
    impl tidegate_runtime::Classifier<Items<u64>> for Forgets {
        fn classify(&mut self, payload: &Items<u64>, _now: tidegate_flow::Time, classes: &mut Vec<Class>) {
            classes.extend((1..payload.len()).map(|_| Class::default()));
        }
    }
    let too_high = |_: &u64, _| Class { lane: 9, ..Class::default() };
    for (options, said) in [
        (SourceOptions::new(source::iter(0..10_u64)).classify(Forgets), "gave 9 classes"),
        (SourceOptions::new(source::iter(0..10_u64)).classify_by(too_high), "lane of 0 to 3"),
    ] {
        let builder = builder(10);
        builder.source("numbers", options).edge("out").sink("drop", sink::null());
        let report = balanced(builder.build().unwrap().start().wait().await);
        assert!(report.end.to_string().contains(said), "{report}");
        assert_eq!(report.ledger.total().accepted.get(), 0, "nothing is accepted that has no class");
    }
}

/// A source whose reads sometimes hold nothing but move its position: a file with empty lines.
struct Gaps {
    position: u64,
}

impl tidegate_runtime::Source for Gaps {
    type Payload = Items<u64>;
    type Position = u64;
    type Committer = tidegate_runtime::NoCommit;

    fn committer(&mut self) -> Self::Committer {
        tidegate_runtime::NoCommit
    }

    async fn ready(&mut self) -> Result<tidegate_runtime::Readiness, tidegate_flow::Cause> {
        use tidegate_runtime::Readiness::{Ended, Ready};
        Ok(if self.position == 10 { Ended } else { Ready })
    }

    fn read(
        &mut self,
        _room: Weight,
        mut into: Items<u64>,
    ) -> Result<tidegate_runtime::Pull<Items<u64>, u64>, tidegate_flow::Cause> {
        self.position += 1;
        if self.position.is_multiple_of(2) && self.position < 8 {
            into.push(self.position);
        }
        Ok(tidegate_runtime::Pull { payload: into, position: Some(self.position) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_without_records_moves_the_position() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let gaps = source::with_committer(Gaps { position: 0 }, move |settled: Settled<u64>| {
        log.lock().unwrap().push(settled.position);
    });
    let builder = builder(10);
    builder.source("gaps", gaps).edge("out").sink("drop", sink::null());
    let report = balanced(builder.build().unwrap().start().wait().await);
    assert_eq!(told.lock().unwrap().last(), Some(&10), "{report}");
    assert_eq!(ended(&report, Outcome::Delivered), 3);
}

#[tokio::test(start_paused = true)]
async fn a_slow_committer_stops_neither_reading_nor_delivery() {
    struct Slow(Arc<Mutex<Vec<u64>>>);
    impl tidegate_runtime::Committer<u64> for Slow {
        async fn settled(&mut self, settled: Settled<u64>) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.lock().unwrap().push(settled.position);
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let builder = builder(10);
    let (kept, keep) = sink::collect();
    let numbers = source::with_committer(source::iter(0..1_000_u64), Slow(Arc::clone(&told)));
    builder.source("numbers", numbers).edge("out").sink("keep", keep);
    let running = builder.build().unwrap().start();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(kept.len(), 1_000, "acks never wait for commits");
    balanced(running.wait().await);
    let told = told.lock().unwrap();
    assert_eq!(told.last(), Some(&1_000));
    assert!(told.len() <= 4, "commits are coalesced: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_slow_for_different_reasons_all_settle() {
    let builder = builder(7);
    let script = TestSource::new();
    builder.source("script", script.source()).edge("out").sink("uneven", Uneven(|n| n % 5));
    let running = builder.build().unwrap().start();
    for first in (0..70_u64).step_by(7) {
        script.push_all(first..first + 7);
    }
    script.end();
    script.expect_settled(70).await;
    let report = balanced(running.wait().await);
    assert_eq!(report.ledger.total().accepted.get(), 70);
}

#[tokio::test(start_paused = true)]
async fn a_settle_window_bounds_what_a_source_reads_ahead() {
    let builder = builder(10);
    let script = TestSource::new();
    (0..100_u64).for_each(|n| script.push(n));
    script.end();
    let held = TestSink::new();
    let options = SourceOptions::new(script.source()).settle_slots(4).settle_bytes(Bytes::new(1 << 20));
    builder
        .source("script", options)
        .edge(EdgeSpec::new("out").records(4).bytes(Bytes::new(1 << 16)))
        .sink("held", held.sink());
    let Ok(pipeline) = builder.build() else { return };
    let running = pipeline.start();
    settle().await;
    assert!(script.read() <= 6, "{} read", script.read());
    held.request(u64::MAX);
    let report = balanced(running.wait().await);
    assert_eq!(ended(&report, Outcome::Delivered), 100);
}

/// Rows of a payload that was taken cannot be told from rows that were never there.
#[test]
fn a_payload_that_was_taken_weighs_nothing() {
    let mut items: Items<u64> = (0..10).collect();
    drop(items.take());
    assert!(items.weight().is_zero());
}
