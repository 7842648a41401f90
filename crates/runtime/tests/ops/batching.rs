//! `batch` and `group`.

use std::time::Duration;

use tidegate_flow::{EdgeSpec, Nack, Outcome, Weight, kib, mib};
use tidegate_runtime::testkit::assert_balanced;
use tidegate_runtime::{Accepted, BatchLimits, Branch, Class, Pipeline, PipelineBuilder, SourceOptions, sink, source};

use crate::{NO_PAUSE, accepting, answering, complete, ended, flows, millis, timed};

const LONG: Duration = Duration::from_secs(100);

fn in_tens(name: &str) -> PipelineBuilder {
    Pipeline::builder(name).batch(Weight::new(10, kib(64).get()))
}

#[tokio::test(start_paused = true)]
async fn small_batches_are_joined_while_the_consumer_is_busy() {
    let builder = in_tens("join");
    let (seen, sink) = accepting(millis(10));
    builder
        .source("count", source::iter(0..5_000_u64))
        .batch(BatchLimits::records(128).linger(LONG))
        .edge("out")
        .sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows(), (0..5_000).collect::<Vec<_>>());
    let sizes = seen.sizes();
    assert!(sizes.iter().all(|size| *size <= 128), "{sizes:?}");
    assert!(sizes[2..sizes.len() - 1].iter().all(|size| *size == 128), "{sizes:?}");
    assert_eq!(ended(&report, Outcome::Delivered), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_byte_limit_closes_a_batch() {
    let builder = in_tens("bytes");
    let (seen, sink) = accepting(millis(10));
    builder
        .source("count", source::iter((0..500_u64).map(|n| format!("{n:0>84}").into_boxed_str())))
        .batch(BatchLimits::records(10_000).bytes(kib(4)).linger(LONG))
        .edge("out")
        .sink("keep", sink);
    complete(&builder).await;
    let sizes = seen.sizes();
    // A record weighs 100 bytes, and ten come at a time.
    assert!(sizes[2..sizes.len() - 1].iter().all(|size| *size == 40), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn batches_above_the_limit_are_split_and_stay_in_order() {
    let builder = Pipeline::builder("split");
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("count", source::iter(0..1_000_u64))
        .batch(BatchLimits::records(100).linger(LONG))
        .edge("out")
        .sink("keep", sink);
    complete(&builder).await;
    assert_eq!(seen.rows(), (0..1_000).collect::<Vec<_>>());
    assert!(seen.sizes().iter().all(|size| *size <= 100), "{:?}", seen.sizes());
}

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_gets_every_record_at_once() {
    let builder = Pipeline::builder("idle");
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("slow", timed((0..20).map(|n| (n * 10, n))))
        .batch(BatchLimits::records(100).linger(LONG))
        .edge("out")
        .sink("keep", sink);
    complete(&builder).await;
    let expected: Vec<u128> = (0..20).map(|n| n * 10).collect();
    assert!(seen.millis().iter().zip(&expected).all(|(at, due)| at - due <= 1), "{:?}", seen.millis());
}

#[tokio::test(start_paused = true)]
async fn a_partial_batch_goes_on_when_its_consumer_becomes_idle() {
    let builder = Pipeline::builder("idle-later");
    let (seen, sink) = accepting(millis(50));
    builder
        .source("slow", timed([(0, 0), (10, 1), (20, 2), (2_000, 3_u64)]))
        .batch(BatchLimits::records(100).linger(LONG))
        .edge("out")
        .sink("keep", sink);
    complete(&builder).await;
    assert_eq!(seen.batches(), [vec![0], vec![1, 2], vec![3]]);
    assert!((50..=51).contains(&seen.millis()[1]), "{:?}", seen.millis());
}

#[tokio::test(start_paused = true)]
async fn no_record_waits_longer_than_the_linger_time() {
    let builder = Pipeline::builder("linger");
    let (seen, sink) = accepting(millis(1_000));
    builder
        .source("slow", timed([(0, 0), (10, 1), (20, 2), (30, 3), (40, 4), (9_000, 5_u64)]))
        .batch(BatchLimits::records(100).linger(millis(100)))
        .edge(EdgeSpec::new("out").records(4))
        .sink("keep", sink);
    let running = builder.build().unwrap().start();
    tokio::time::sleep(millis(50)).await;
    let before = running.edge("out").unwrap().flows.input.get();
    tokio::time::sleep(millis(100)).await;
    let after = running.edge("out").unwrap().flows.input.get();
    assert!(before < 5, "{before}");
    assert_eq!(after, 5);
    let report = running.wait().await;
    crate::assert_balanced(&report);
    assert_eq!(seen.rows(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn lanes_and_buckets_are_never_joined() {
    let builder = in_tens("lanes");
    let (seen, sink) = accepting(millis(10));
    let source = SourceOptions::new(source::iter(0..2_000_u64)).classify_by(|n, _| Class {
        lane: u8::try_from(n % 2).unwrap(),
        bucket: u8::try_from(n % 3).unwrap(),
        ..Class::default()
    });
    builder
        .source("count", source)
        .batch(BatchLimits::records(64).linger(LONG))
        .edge(EdgeSpec::new("out").lanes(&[0, 20]).buckets(3))
        .sink("keep", sink);
    let report = complete(&builder).await;
    for (rows, meta) in seen.batches().iter().zip(seen.metas()) {
        assert!(rows.iter().all(|n| (n % 2, n % 3) == (u64::from(meta.lane), u64::from(meta.bucket))), "{rows:?}");
        assert!(rows.is_sorted());
    }
    let sizes = seen.sizes();
    assert!(sizes.iter().filter(|size| **size == 64).count() > sizes.len() / 2, "{sizes:?}");
    assert_eq!(ended(&report, Outcome::Delivered), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_batcher_without_memory_sends_what_it_has_instead_of_waiting() {
    let builder = in_tens("tight").batch(Weight::new(64, kib(8).get())).budget(kib(200));
    let (seen, sink) = accepting(millis(10));
    builder
        .source("count", source::iter((0..3_000_u64).map(|n| format!("{n:0>100}"))))
        .batch(BatchLimits::records(100_000).bytes(mib(10)).linger(LONG))
        // Smaller than the batches that the budget allows, which pass one at a time.
        .edge(EdgeSpec::new("out").bytes(kib(16)))
        .sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows().len(), 3_000);
    assert!(report.peak <= kib(200), "{}", report.peak);
    assert!(seen.sizes().len() > 2, "{:?}", seen.sizes());
}

#[tokio::test(start_paused = true)]
async fn rows_that_a_fork_shares_are_joined_too() {
    let builder = in_tens("fork");
    let (left_seen, left_sink) = accepting(millis(10));
    let (right_seen, right_sink) = accepting(NO_PAUSE);
    let [left, right] =
        builder.source("count", source::iter(0..1_000_u64)).fork([Branch::required("left"), Branch::required("right")]);
    left.batch(BatchLimits::records(100).linger(LONG)).edge("left-out").sink("left-sink", left_sink);
    right.sink("right-sink", right_sink);
    let report = complete(&builder).await;
    assert_eq!(left_seen.rows(), (0..1_000).collect::<Vec<_>>());
    assert!(left_seen.sizes().contains(&100), "{:?}", left_seen.sizes());
    assert_eq!(right_seen.rows().len(), 1_000);
    assert_eq!(ended(&report, Outcome::Delivered), 1_000);
}

#[tokio::test(start_paused = true)]
async fn an_expansion_into_a_batcher_repays_what_it_owes() {
    let builder = Pipeline::builder("debt").batch(Weight::new(16, kib(4).get())).budget(kib(100));
    let (seen, sink) = accepting(millis(1));
    builder
        .source("count", source::iter(0..300_u64))
        .flat_map(|n| (0..40).map(move |k| format!("{n}-{k:0>200}")))
        .map(|text| text)
        .batch(BatchLimits::records(500).bytes(mib(1)).linger(LONG))
        .map(|text| text)
        .edge(EdgeSpec::new("out").bytes(kib(16)))
        .sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows().len(), 12_000, "{report}");
    assert_eq!(ended(&report, Outcome::Delivered), 300);
    assert!(report.peak <= kib(100), "{}", report.peak);
}

#[tokio::test(start_paused = true)]
async fn deadlines_follow_their_rows_into_a_batch() {
    let builder = in_tens("deadlines");
    let (seen, sink) = accepting(millis(100));
    let source = SourceOptions::new(source::iter(0..400_u64)).classify_by(|n, now| Class {
        deadline: if n % 4 == 0 { now + millis(150) } else { tidegate_flow::Time::MAX },
        ..Class::default()
    });
    builder.source("count", source).batch(BatchLimits::records(50).linger(LONG)).edge("out").sink("keep", sink);
    let report = complete(&builder).await;
    let rows = seen.rows();
    assert!((0..400).filter(|n| n % 4 != 0).all(|n| rows.contains(&n)), "only rows with a deadline expire");
    let expired = ended(&report, Outcome::Expired);
    assert_eq!(rows.len() as u64 + expired, 400);
    assert!(expired > 50, "{report}");
}

#[tokio::test(start_paused = true)]
async fn groups_are_complete_but_for_the_last_and_settle_their_inputs() {
    let builder = Pipeline::builder("group");
    let (seen, sink) = answering(NO_PAUSE, |groups: &[Vec<u64>]| {
        let bad = |group: &Vec<u64>| group.contains(&42);
        match groups.iter().position(bad) {
            Some(row) => Ok(Accepted::Except(vec![(u32::try_from(row).unwrap(), Nack::permanent("42"))])),
            None => Ok(Accepted::All),
        }
    });
    builder.source("count", source::iter(0..103_u64)).group(10, LONG).edge("out").sink("keep", sink);
    let report = complete(&builder).await;
    let groups = seen.rows();
    assert_eq!(groups.len(), 11);
    assert!(groups[..10].iter().all(|group| group.len() == 10));
    assert_eq!(groups.concat(), (0..103).collect::<Vec<_>>());
    assert_eq!(ended(&report, Outcome::Returned), 10, "{report}");
    assert_eq!(ended(&report, Outcome::Delivered), 93);
    let counted = flows(&report, "count");
    assert_eq!((counted.absorbed.get(), counted.born.get(), counted.output.get()), (103, 11, 11));
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_its_linger_time_even_for_an_idle_consumer() {
    let builder = Pipeline::builder("group-linger");
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("slow", timed([(0, 0), (10, 1), (20, 2), (500, 3), (510, 4_u64)]))
        .batch(BatchLimits::records(100).linger(LONG))
        .group(10, millis(100))
        .edge("out")
        .sink("keep", sink);
    complete(&builder).await;
    assert_eq!(seen.rows(), [vec![0, 1, 2], vec![3, 4]]);
    assert!((100..=102).contains(&seen.millis()[0]), "{:?}", seen.millis());
}

#[tokio::test(start_paused = true)]
async fn a_flush_empties_batchers_and_groups() {
    let builder = Pipeline::builder("flush");
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("slow", timed([(0, 0), (10, 1), (5_000, 2_u64)]))
        .edge("in")
        .group(10, LONG)
        .edge("out")
        .sink("keep", sink);
    let running = builder.build().unwrap().start();
    tokio::time::sleep(millis(50)).await;
    assert!(seen.rows().is_empty());
    running.flush();
    tokio::time::sleep(millis(5)).await;
    assert_eq!(seen.rows(), [[0, 1]]);
    assert_balanced(&running.wait().await);
    assert_eq!(seen.rows(), [vec![0, 1], vec![2]]);
}

#[tokio::test(start_paused = true)]
async fn sizes_of_zero_are_refused_by_name() {
    let builder = Pipeline::builder("zero");
    builder
        .source("count", source::iter(0..3_u64))
        .batch(BatchLimits::records(0))
        .group(0, LONG)
        .sink("keep", sink::for_each(drop::<Vec<u64>>));
    let errors = builder.build().err().expect("refused").to_string();
    assert!(errors.contains("stage \"count\": a batch of no records"), "{errors}");
    assert!(errors.contains("stage \"count\": a group of no records"), "{errors}");
}
