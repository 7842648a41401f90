//! What happens after a fault: stop, resume, restart, retry, and panics everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_flow::{Items, Meta, Nack, Outcome, Weight, kib};
use tidegate_runtime::{
    Accepted, Backoff, DeadLetter, Jitter, Pipeline, PipelineBuilder, PipelineEnd, Sink, SinkOptions, SinkPolicy,
    Supervision, sink, source,
};

use crate::{NO_PAUSE, accepting, answering, complete, ended, millis, run};

fn restarting(restarts: u32) -> Supervision {
    Supervision::Restart(Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(4), restarts })
}

/// Numbers records and panics on the listed ones.
fn counting(culprits: &'static [u64]) -> impl FnMut(u64) -> (u64, u64) + Clone + Send + 'static {
    let mut seen = 0;
    move |n| {
        seen += 1;
        assert!(!culprits.contains(&n), "culprit {n}");
        (n, seen)
    }
}

fn supervised(supervision: Supervision) -> PipelineBuilder {
    Pipeline::builder("supervised").batch(Weight::new(50, kib(64).get())).supervision(supervision)
}

#[tokio::test(start_paused = true)]
async fn resume_keeps_the_state_and_loses_one_record() {
    let builder = supervised(Supervision::Resume);
    let (seen, sink) = accepting(NO_PAUSE);
    builder.source("count", source::iter(0..100_u64)).map(counting(&[10, 11, 60])).edge("out").sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows().len(), 97);
    assert_eq!(seen.rows().last(), Some(&(99, 100)));
    assert_eq!(ended(&report, Outcome::Returned), 3, "{report}");
}

#[tokio::test(start_paused = true)]
async fn stop_fails_the_pipeline_and_abandons_the_rest() {
    let builder = supervised(Supervision::Stop);
    let (seen, sink) = accepting(NO_PAUSE);
    builder.source("count", source::iter(0..100_u64)).map(counting(&[60])).edge("out").sink("keep", sink);
    let report = run(&builder).await;
    let PipelineEnd::Failed { stage, cause } = &report.end else { panic!("{report}") };
    assert_eq!((stage.as_str(), cause.as_str()), ("count", "panicked: culprit 60"));
    assert_eq!(seen.rows().len(), 60, "{report}");
    assert_eq!((ended(&report, Outcome::Returned), ended(&report, Outcome::Abandoned)), (1, 39));
}

#[tokio::test(start_paused = true)]
async fn restart_pauses_longer_each_time_and_forgets_the_state() {
    let builder = supervised(restarting(5));
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("count", source::iter(0..100_u64))
        .map(counting(&[10, 20, 70]))
        .restartable()
        .edge("out")
        .sink("keep", sink);
    let report = complete(&builder).await;
    let rows = seen.rows();
    assert_eq!(rows.len(), 97);
    let first_after = |culprit: u64| rows.iter().find(|(n, _)| *n == culprit + 1).map(|(_, seen)| *seen);
    assert_eq!([10, 20, 70].map(first_after), [Some(1); 3], "the count starts afresh");
    let (at, batches) = (seen.millis(), seen.batches());
    let when = |n: u64| at[batches.iter().position(|rows| rows.iter().any(|(row, _)| *row == n)).unwrap()];
    assert_eq!((when(9), when(10 + 1) / 1_000, when(21) / 1_000, when(71) / 1_000), (0, 1, 3, 7));
    assert_eq!(ended(&report, Outcome::Returned), 3);
}

#[tokio::test(start_paused = true)]
async fn too_many_restarts_fail_the_pipeline() {
    let builder = supervised(restarting(2));
    builder
        .source("count", source::iter(0..100_u64))
        .map(counting(&[10, 20, 30]))
        .restartable()
        .edge("out")
        .sink("keep", sink::for_each(drop::<(u64, u64)>));
    let report = run(&builder).await;
    assert!(
        matches!(&report.end, PipelineEnd::Failed { cause, .. } if cause.as_str().contains("culprit 30")),
        "{report}"
    );
    assert_eq!(report.ran.as_secs(), 3);
    assert_eq!(ended(&report, Outcome::Delivered), 28);
}

#[tokio::test(start_paused = true)]
async fn panics_beside_the_fused_operators_cost_one_record_too() {
    let builder = supervised(Supervision::Resume);
    let (port, letters) = builder.dead_letters::<u64>("dlq");
    let (letters_seen, letters_sink) = accepting::<DeadLetter<u64>>(NO_PAUSE);
    letters.sink("dlq-sink", letters_sink);
    let (other, other_flow) = builder.port::<Items<u64>>("other");
    let (other_seen, other_sink) = accepting(NO_PAUSE);
    other_flow.sink("other-sink", other_sink);
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("count", source::iter(0..200_u64))
        .divert_to(&other, |n| {
            assert!(*n != 30 && *n != 31);
            n % 10 == 3
        })
        .try_map_or(&port, |n| {
            assert!(n != 40 && n != 45);
            if n % 10 == 4 { Err((n, Nack::permanent("four"))) } else { Ok(n) }
        })
        .flat_map(|n| {
            assert!(n != 50);
            vec![n, n]
        })
        .edge("out")
        .sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(ended(&report, Outcome::Returned), 5, "{report}");
    assert_eq!(ended(&report, Outcome::DeadLettered), 20);
    assert_eq!(letters_seen.rows().len(), 20);
    assert!(letters_seen.rows().iter().all(|letter| letter.record % 10 == 4));
    assert_eq!(other_seen.rows(), (3..200).step_by(10).collect::<Vec<_>>());
    let expected = (0..200).filter(|n| n % 10 != 3 && n % 10 != 4 && ![30, 31, 40, 45, 50].contains(n));
    assert_eq!(seen.rows(), expected.flat_map(|n| [n, n]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_for_each_is_no_delivery_and_costs_one_record() {
    let builder = supervised(Supervision::Resume);
    let kept = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&kept);
    builder.source("count", source::iter(0..100_u64)).edge("out").sink(
        "keep",
        sink::for_each(move |n: u64| {
            assert!(n != 17);
            count.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let report = complete(&builder).await;
    assert_eq!(kept.load(Ordering::Relaxed), 99);
    assert_eq!(ended(&report, Outcome::Delivered), 99, "{report}");
    assert_eq!(ended(&report, Outcome::Returned), 1);
}

/// Takes the rows out before it panics.
struct Greedy;

impl Sink<Items<u64>> for Greedy {
    async fn deliver(&mut self, payload: &mut Items<u64>, _meta: &Meta) -> Result<Accepted, Nack> {
        let rows = payload.take();
        assert!(!rows.contains(&60));
        Ok(Accepted::All)
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_a_sink_lost_are_returned_and_never_delivered() {
    let builder = supervised(Supervision::Resume);
    builder.source("count", source::iter(0..100_u64)).edge("out").sink("greedy", Greedy);
    let report = complete(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (50, 50), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_sink_costs_its_culprits() {
    let builder = supervised(Supervision::Resume);
    let (seen, sink) = answering(NO_PAUSE, |rows: &[u64]| {
        assert!(!rows.contains(&60));
        Ok(Accepted::All)
    });
    builder.source("count", source::iter(0..100_u64)).edge("out").sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (99, 1), "{report}");
    assert!(seen.sizes().len() <= 2 + 2 * 6 + 1, "{:?}", seen.sizes());
}

fn retrying(retries: u32) -> SinkOptions<'static, Items<u64>> {
    let backoff = Backoff { first: millis(100), longest: millis(300), restarts: 10 };
    SinkOptions::default().policy(SinkPolicy { retries, backoff, ..SinkPolicy::default() })
}

#[tokio::test(start_paused = true)]
async fn a_transient_refusal_is_tried_again_with_pauses_and_then_returned() {
    let builder = supervised(Supervision::Resume);
    let (seen, sink) = answering(NO_PAUSE, |_: &[u64]| Err(Nack::transient("busy")));
    builder.source("count", source::iter(0..10_u64)).edge("out").sink_with("keep", sink, retrying(3));
    let report = complete(&builder).await;
    let at = seen.millis();
    assert_eq!(at.iter().map(|at| at / 100).collect::<Vec<_>>(), [0, 1, 3, 6], "{at:?}");
    assert_eq!(ended(&report, Outcome::Returned), 10);
}

#[tokio::test(start_paused = true)]
async fn pauses_can_be_scattered_and_what_the_receiver_asks_for_is_still_the_least() {
    let builder = supervised(Supervision::Resume);
    let (seen, sink) = answering(NO_PAUSE, |_: &[u64]| Err(Nack::transient("busy")));
    let backoff = Backoff { first: millis(100_000), longest: millis(100_000), restarts: 50 };
    let policy = SinkPolicy { retries: 40, backoff, jitter: Jitter::Full { seed: 3 }, ..SinkPolicy::default() };
    let options = SinkOptions::default().policy(policy);
    builder.source("count", source::iter(0..10_u64)).edge("out").sink_with("keep", sink, options);
    complete(&builder).await;
    let at = seen.millis();
    let pauses: Vec<u128> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 40);
    assert!(pauses.iter().all(|pause| *pause <= 100_000), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause < 40_000) && pauses.iter().any(|pause| *pause > 60_000), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_refused_for_now_are_tried_again_together() {
    let builder = supervised(Supervision::Resume);
    let mut first = true;
    let (seen, sink) = answering(NO_PAUSE, move |rows: &[u64]| {
        if !std::mem::take(&mut first) {
            return Ok(Accepted::All);
        }
        // Out of order, twice, and beyond the end: a sink that cannot count does no harm.
        let late = (0..rows.len() as u32).filter(|row| row % 2 == 0).map(|row| (row, Nack::transient("later")));
        let mut refused: Vec<_> = late.collect();
        refused.reverse();
        refused.push((1, Nack::permanent("never")));
        refused.push((1, Nack::permanent("never")));
        refused.push((5_000, Nack::permanent("never")));
        Ok(Accepted::Except(refused))
    });
    builder.source("count", source::iter(0..50_u64)).edge("out").sink_with("keep", sink, retrying(3));
    let report = complete(&builder).await;
    assert_eq!(seen.sizes(), [50, 25]);
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (49, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_takes_too_long_counts_as_refused_for_now() {
    let builder = supervised(Supervision::Resume);
    let (seen, sink) = accepting::<u64>(Duration::from_secs(10));
    let policy = SinkPolicy { retries: 1, timeout: Some(Duration::from_secs(1)), ..SinkPolicy::default() };
    builder.source("count", source::iter(0..10_u64)).edge("out").sink_with(
        "keep",
        sink,
        SinkOptions::default().policy(policy),
    );
    let report = complete(&builder).await;
    assert_eq!(seen.sizes(), [10, 10]);
    assert_eq!(ended(&report, Outcome::Returned), 10, "{report}");
}
