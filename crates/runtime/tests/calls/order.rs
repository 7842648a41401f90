//! The order of results, for all records and for each key, and the limit on calls in flight.

use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::Outcome;
use tidegate_runtime::{Order, sink, source};
use tokio::time::{Instant, sleep};

use super::{Gauge, Kept, builder, ended, latency, run, slow};

#[tokio::test(start_paused = true)]
async fn results_keep_the_order_of_their_records_and_the_limit_holds() {
    let (kept, keep) = slow(Duration::ZERO);
    let gauge = Gauge::default();
    let (builder, gauged) = (builder(), gauge.clone());
    let started = Instant::now();
    builder
        .source("count", source::iter(0..1_000_u64))
        .map_async(16, Order::Ordered, move |n| {
            let in_flight = gauged.enter(n);
            async move {
                sleep(latency(n)).await;
                drop(in_flight);
                n * 2
            }
        })
        .edge("out")
        .sink("keep", keep);
    let report = run(&builder).await;
    assert_eq!(*kept.lock().unwrap(), (0..1_000).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(ended(&report, Outcome::Delivered), 1_000);
    assert_eq!(gauge.most(), 16);
    let serial: Duration = (0..1_000).map(latency).sum();
    assert!(started.elapsed() < serial / 8, "{:?} of {serial:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_order_a_slow_call_holds_back_nothing() {
    let (kept, keep) = slow(Duration::ZERO);
    let builder = builder();
    builder
        .source("count", source::iter(0..100_u64))
        .map_async(4, Order::Unordered, |n| async move {
            sleep(Duration::from_millis(if n == 0 { 10_000 } else { 10 })).await;
            n
        })
        .edge("out")
        .sink("keep", keep);
    run(&builder).await;
    let kept = kept.lock().unwrap();
    assert_eq!(kept.last(), Some(&0), "the slow call ends last");
    assert_eq!(kept.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn order_holds_for_each_key_and_keys_run_side_by_side() {
    for (keys, limit) in [(1, 8), (2, 1), (3, 8), (7, 3), (50, 16), (1_000, 16)] {
        let (kept, keep) = slow(Duration::from_millis(3));
        let gauge = Gauge::default();
        let (builder, gauged) = (builder(), gauge.clone());
        builder
            .source("count", source::iter(0..1_000_u64))
            .map_async_by_key(
                limit,
                move |n| n % keys,
                move |n| {
                    let in_flight = gauged.enter(n % keys);
                    async move {
                        sleep(latency(n)).await;
                        drop(in_flight);
                        n
                    }
                },
            )
            .edge("out")
            .sink("keep", keep);
        run(&builder).await;
        let kept = kept.lock().unwrap();
        assert_eq!(kept.len(), 1_000);
        for key in 0..keys {
            assert!(kept.iter().filter(|n| *n % keys == key).is_sorted(), "{keys} keys: order of key {key}");
        }
        let most = gauge.most();
        assert!(most <= limit as usize, "{keys} keys: {most} in flight");
        assert_eq!(most, (keys as usize).min(limit as usize), "{keys} keys run side by side");
    }
}

/// When the calls for the given keys ended, with calls of 100 s for key 0 and of 1 s for the others.
async fn calls_by_key(keys: Vec<u64>, limit: u32) -> Vec<(u64, u64)> {
    let times: Kept<(u64, u64)> = Arc::default();
    let started = Instant::now();
    let (builder, log) = (builder(), Arc::clone(&times));
    builder
        .source("count", source::iter(keys))
        .map_async_by_key(
            limit,
            |n| *n,
            move |n| {
                let log = Arc::clone(&log);
                async move {
                    sleep(Duration::from_secs(if n == 0 { 100 } else { 1 })).await;
                    log.lock().unwrap().push((n, started.elapsed().as_secs()));
                    n
                }
            },
        )
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    run(&builder).await;
    times.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_stops_the_others_only_when_as_many_records_as_the_limit_wait_for_it() {
    let times = calls_by_key(vec![0, 0, 0, 0, 0, 1, 2, 3], 4).await;
    assert_eq!(times[..3], [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(times.last(), Some(&(0, 500)));
    let times = calls_by_key(vec![0, 0, 0, 0, 0, 0, 1], 4).await;
    assert_eq!(times[..2], [(0, 100), (1, 101)], "a sixth record of the hot key has no place to wait in");
}
