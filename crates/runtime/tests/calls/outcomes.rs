//! What becomes of every record: refused, timed out, expired, drained, stopped; and limits that are refused.

use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{EdgeSpec, Nack, Outcome, Time, Weight};
use tidegate_runtime::{
    Backoff, BuildError, CallLimits, Class, Order, Pipeline, PipelineEnd, SourceOptions, Supervision, sink, source,
};
use tokio::time::{Instant, sleep};

use super::{Gauge, Kept, assert_balanced, builder, ended, latency, run, slow};

#[tokio::test(start_paused = true)]
async fn a_record_that_times_out_panics_or_is_refused_goes_back_alone() {
    for order in [Order::Ordered, Order::Unordered] {
        let (kept, keep) = slow(Duration::ZERO);
        let builder = builder();
        let limits = CallLimits::new(8).timeout(Duration::from_secs(5));
        builder
            .source("count", source::iter(0..100_u64))
            .try_map_async(limits, order, |n| {
                assert!(n != 20, "no call can be made of {n}");
                async move {
                    match n {
                        40 => std::future::pending().await,
                        60 => panic!("sixty"),
                        80 => return Err(Nack::permanent("eighty")),
                        _ => sleep(latency(n)).await,
                    }
                    Ok(n)
                }
            })
            .edge("out")
            .sink("keep", keep);
        let report = run(&builder).await;
        assert_eq!(report.end, PipelineEnd::Completed);
        assert_eq!(ended(&report, Outcome::Returned), 4, "{report}");
        let mut kept = kept.lock().unwrap();
        kept.sort_unstable();
        assert_eq!(*kept, (0..100).filter(|n| n % 20 != 0 || *n == 0).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn many_refusals_behind_a_slow_call_stay_within_the_limit() {
    let gauge = Gauge::default();
    let (builder, gauged) = (builder(), gauge.clone());
    let started = Instant::now();
    builder
        .source("count", source::iter(0..2_000_u64))
        .try_map_async(8, Order::Ordered, move |n| {
            let in_flight = gauged.enter(n);
            async move {
                sleep(Duration::from_millis(if n % 100 == 0 { 1_000 } else { 1 })).await;
                drop(in_flight);
                if n % 100 == 0 { Ok(n) } else { Err(Nack::transient("busy")) }
            }
        })
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (20, 1_980));
    assert!(gauge.most() <= 8);
    // Of any eight records in a row at most one is slow, so the slow ones come one after the other.
    assert!(started.elapsed() >= Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn supervision_that_stops_ends_the_pipeline_with_the_cause() {
    let builder = builder().supervision(Supervision::Stop);
    builder
        .source("count", source::iter(0..100_u64))
        .map_async(4, Order::Ordered, |n| async move {
            sleep(Duration::from_secs(1)).await;
            assert!(n != 30, "thirty");
            n
        })
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    match &report.end {
        PipelineEnd::Failed { cause, .. } => assert!(cause.as_str().contains("thirty"), "{cause:?}"),
        other => panic!("{other:?}"),
    }
    assert!(ended(&report, Outcome::Abandoned) > 0, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_pauses_before_the_next_call() {
    let calls: Kept<(u64, Duration)> = Arc::default();
    let backoff = Backoff { first: Duration::from_secs(30), ..Backoff::default() };
    let builder = builder().supervision(Supervision::Restart(backoff));
    let (started, log) = (Instant::now(), Arc::clone(&calls));
    builder
        .source("count", source::iter(0..3_u64))
        .map_async(1, Order::Ordered, move |n| {
            log.lock().unwrap().push((n, started.elapsed()));
            async move {
                assert!(n != 0, "zero");
                n
            }
        })
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!(ended(&report, Outcome::Delivered), 2);
    let later = Duration::from_secs(30);
    assert_eq!(*calls.lock().unwrap(), [(0, Duration::ZERO), (1, later), (2, later)]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_record_is_not_called_for_and_a_call_has_no_more_time_than_its_record() {
    let called: Kept<u64> = Arc::default();
    let (builder, log) = (builder(), Arc::clone(&called));
    let source = SourceOptions::new(source::iter(0..10_u64))
        .classify_by(|_, now: Time| Class { deadline: now + Duration::from_secs(25), ..Class::default() });
    let started = Instant::now();
    builder
        .source("count", source)
        .map_async(CallLimits::new(2).timeout(Duration::from_secs(60)), Order::Ordered, move |n| {
            log.lock().unwrap().push(n);
            async move {
                sleep(Duration::from_secs(10)).await;
                n
            }
        })
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    // Two at 0 s, two at 10 s, two at 20 s that have 5 s left; the rest has expired by then.
    assert_eq!(*called.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(started.elapsed(), Duration::from_secs(25));
    let outcomes = [Outcome::Delivered, Outcome::Returned, Outcome::Expired];
    assert_eq!(outcomes.map(|outcome| ended(&report, outcome)), [4, 2, 4], "{report}");
    let (_, _, flows) = &report.ledger.stages[0];
    assert_eq!((flows.output.get(), flows.returned.get(), flows.expired.get()), (4, 2, 4), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_expires_behind_its_key_calls_up_the_next() {
    let builder = builder();
    let source = SourceOptions::new(source::iter(0..4_u64)).classify_by(|n, now: Time| Class {
        deadline: if *n == 1 || *n == 2 { now + Duration::from_secs(5) } else { Time::MAX },
        ..Class::default()
    });
    builder
        .source("count", source)
        .map_async_by_key(
            4,
            |_| (),
            |n| async move {
                sleep(Duration::from_secs(10)).await;
                n
            },
        )
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Expired)), (2, 2), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_the_calls_in_flight() {
    let (kept, keep) = slow(Duration::ZERO);
    let builder = builder().batch(Weight::new(4, 1024));
    builder
        .source("count", source::iter(0_u64..))
        .map_async(8, Order::Ordered, |n| async move {
            sleep(Duration::from_secs(10)).await;
            n
        })
        .edge("out")
        .sink("keep", keep);
    let running = builder.build().unwrap().start();
    sleep(Duration::from_secs(15)).await;
    let report = running.drain(Duration::from_secs(60)).await;
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_balanced(&report);
    let delivered = ended(&report, Outcome::Delivered);
    assert!(delivered >= 16, "{report}");
    assert_eq!(*kept.lock().unwrap(), (0..delivered).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_stop_abandons_the_calls_in_flight() {
    let builder = builder();
    builder
        .source("count", source::iter(0..10_u64))
        .map_async(4, Order::Ordered, |n| async move {
            sleep(Duration::from_secs(1_000_000)).await;
            n
        })
        .sink("drop", sink::for_each(|_: u64| {}));
    let running = builder.build().unwrap().start();
    sleep(Duration::from_secs(1)).await;
    let report = running.stop().await;
    assert_balanced(&report);
    assert_eq!(ended(&report, Outcome::Abandoned), 10);
}

#[test]
fn a_limit_of_zero_is_refused_by_name() {
    let builder = builder();
    builder
        .source("count", source::iter(0..10_u64))
        .named("asker")
        .map_async(0, Order::Ordered, |n| async move { n })
        .sink("drop", sink::for_each(|_: u64| {}));
    let errors = builder.build().err().unwrap();
    assert!(matches!(errors.errors(), [BuildError::Setting { stage, .. }] if stage == "asker"), "{errors}");
    assert!(errors.to_string().contains("at least 1"), "{errors}");
}

/// With a budget of nothing but the minima, what an operator before the calls makes is paid for by the overdraft of
/// the stage; the calls themselves must then go on, or it would never be repaid.
#[tokio::test(start_paused = true)]
async fn a_stage_in_debt_goes_on_with_what_it_has_in_hand() {
    let pipeline = |bytes: u64| {
        let builder = Pipeline::builder("tight").budget(tidegate_flow::Bytes::new(bytes)).batch(Weight::new(64, 1_024));
        builder
            .source("count", source::iter(0..500_u64))
            // Nine of these make a batch of 1026 bytes in memory for sixteen: more than one record over the minimum.
            .map(|_| "x".repeat(90))
            .map_async(1, Order::Ordered, |text| async move {
                sleep(Duration::from_millis(5)).await;
                text
            })
            .edge(EdgeSpec::new("out"))
            .sink("drop", sink::for_each(|_: String| {}));
        builder
    };
    let least = (8_192_u64..32_768).find(|bytes| pipeline(*bytes).build().is_ok()).unwrap();
    assert!(least > 8_192, "the search begins below the least");
    let report = run(&pipeline(least)).await;
    assert_eq!(ended(&report, Outcome::Delivered), 500, "{report}");
}

/// Random settings and outcomes; every record is accounted for and every limit holds.
#[tokio::test(start_paused = true)]
async fn every_record_is_accounted_for() {
    for seed in 0..60_u64 {
        let random = move |salt: u64, below: u64| {
            let mixed = (seed * 1_000_003 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33) % below.max(1)
        };
        let limit = u32::try_from(1 + random(1, 20)).unwrap();
        let order = if random(2, 2) == 0 { Order::Ordered } else { Order::Unordered };
        let gauge = Gauge::default();
        let (_, keep) = slow(Duration::from_millis(random(3, 20)));
        let builder = builder().batch(Weight::new(1 + random(4, 60), 1024));
        let gauged = gauge.clone();
        let source = SourceOptions::new(source::iter(0..300_u64)).classify_by(move |n, now: Time| Class {
            lane: u8::from(random(*n, 2) == 1),
            deadline: if random(*n, 3) == 0 { now + Duration::from_millis(random(n + 7, 400)) } else { Time::MAX },
            ..Class::default()
        });
        builder
            .source("count", source)
            .filter(|n| n % 7 != 3)
            .try_map_async(CallLimits::new(limit).timeout(Duration::from_millis(100)), order, move |n| {
                let in_flight = gauged.enter(n);
                async move {
                    sleep(Duration::from_millis(random(n + 11, 110))).await;
                    drop(in_flight);
                    assert!(random(n + 13, 20) != 0, "unlucky");
                    if random(n + 17, 10) == 0 { Err(Nack::permanent("bad")) } else { Ok(n.to_string()) }
                }
            })
            .filter(|text| !text.ends_with('5'))
            .edge(EdgeSpec::new("out").records(20))
            .sink("keep", keep);
        let report = run(&builder).await;
        assert!(gauge.most() <= limit as usize, "seed {seed}");
        let total = report.ledger.total();
        let ended: u64 = Outcome::ALL.iter().map(|outcome| total.ended.get(*outcome).get()).sum();
        assert_eq!(ended, 300, "seed {seed}: {report}");
        assert!(total.ended.get(Outcome::Abandoned).is_zero(), "seed {seed}: {report}");
    }
}
