//! `map_async` in whole pipelines: order, bounds, progress while downstream is full, and what becomes of every record.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tidegate_flow::{Batch, EdgeSpec, Items, Meta, Nack, Outcome, Payload, Time, Weigh, Weight, mib};
use tidegate_runtime::{
    Accepted, Backoff, BuildError, CallLimits, Class, Order, Pipeline, PipelineBuilder, PipelineEnd, Report, Sink,
    SourceOptions, StageContext, Step, Supervision, Transform, sink, source,
};
use tokio::time::{Instant, sleep};
use tower_service::Service;

fn assert_balanced(report: &Report) {
    report.ledger.check().unwrap_or_else(|imbalance| panic!("{imbalance}\n{report}"));
    assert!(report.ledger.total().in_flight.is_zero(), "{report}");
}

fn ended(report: &Report, outcome: Outcome) -> u64 {
    report.ledger.total().ended.get(outcome).get()
}

/// A latency that is different for each record, and the same in each run.
fn latency(n: u64) -> Duration {
    Duration::from_millis(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57)
}

/// Counts what is in flight at once, over all and for each key.
#[derive(Clone, Default)]
struct Gauge(Arc<Mutex<Gauged>>);

#[derive(Default)]
struct Gauged {
    now: usize,
    most: usize,
    by_key: HashMap<u64, usize>,
}

struct InFlight(Gauge, u64);

impl Gauge {
    fn enter(&self, key: u64) -> InFlight {
        let mut gauged = self.0.lock().unwrap();
        gauged.now += 1;
        gauged.most = gauged.most.max(gauged.now);
        let of_key = gauged.by_key.entry(key).or_default();
        *of_key += 1;
        assert_eq!(*of_key, 1, "two calls for key {key} at once");
        InFlight(self.clone(), key)
    }

    fn most(&self) -> usize {
        self.0.lock().unwrap().most
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut gauged = self.0.0.lock().unwrap();
        gauged.now -= 1;
        *gauged.by_key.get_mut(&self.1).unwrap() -= 1;
    }
}

/// What a sink was given, each with the time.
type Kept<T> = Arc<Mutex<Vec<T>>>;

/// Takes this long for each batch.
struct Slow<T> {
    pause: Duration,
    kept: Kept<T>,
}

impl<T: Weigh + Send + 'static> Sink<Items<T>> for Slow<T> {
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        sleep(self.pause).await;
        self.kept.lock().unwrap().extend(payload.take());
        Ok(Accepted::All)
    }
}

fn slow<T>(pause: Duration) -> (Kept<T>, Slow<T>) {
    let kept: Kept<T> = Arc::default();
    (Arc::clone(&kept), Slow { pause, kept })
}

fn builder() -> PipelineBuilder {
    Pipeline::builder("calls").budget(mib(16))
}

async fn run(builder: &PipelineBuilder) -> Report {
    let running = builder.build().unwrap_or_else(|errors| panic!("{errors}")).start();
    // Far longer than any test takes in the runtime's time: what is still going on then has stalled.
    let report = running.drain_after(Duration::from_secs(36_000)).await;
    assert_balanced(&report);
    report
}

/// Waits for a pipeline to end by itself, but not for ever.
trait DrainAfter {
    async fn drain_after(self, limit: Duration) -> Report;
}

impl DrainAfter for tidegate_runtime::Running {
    async fn drain_after(self, limit: Duration) -> Report {
        let view = self.view();
        match tokio::time::timeout(limit, self.wait()).await {
            Ok(report) => report,
            Err(_) => panic!("stalled:\n{}", view.ledger()),
        }
    }
}

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

#[tokio::test(start_paused = true)]
async fn calls_go_on_while_the_sink_is_busy() {
    for order in [Order::Ordered, Order::Unordered] {
        let (_, keep) = slow(Duration::from_secs(100));
        let times: Kept<Duration> = Arc::default();
        let started = Instant::now();
        let (builder, log) = (builder(), Arc::clone(&times));
        builder
            .source("count", source::iter(1..=4_u64))
            .map_async(4, order, move |n| {
                let log = Arc::clone(&log);
                async move {
                    for _ in 0..n {
                        sleep(Duration::from_secs(1)).await;
                    }
                    log.lock().unwrap().push(started.elapsed());
                    n
                }
            })
            .sink("keep", keep);
        run(&builder).await;
        assert_eq!(*times.lock().unwrap(), [1, 2, 3, 4].map(Duration::from_secs), "{order:?}");
    }
}

/// Holds up the stage for a while after each batch, as a throttle does.
struct Hold(Duration);

impl<P: Payload> Transform<P> for Hold {
    type Out = P;

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        *out = Some(input);
        Step::WaitUntil(cx.now() + self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_while_a_step_behind_them_in_the_same_stage_waits() {
    let times: Kept<Duration> = Arc::default();
    let started = Instant::now();
    let (builder, log) = (builder(), Arc::clone(&times));
    builder
        .source("count", source::iter(1..=4_u64))
        .map_async(4, Order::Ordered, move |n| {
            let log = Arc::clone(&log);
            async move {
                for _ in 0..n {
                    sleep(Duration::from_secs(1)).await;
                }
                log.lock().unwrap().push(started.elapsed());
                n
            }
        })
        .transform(Hold(Duration::from_secs(100)))
        .sink("drop", sink::for_each(|_: u64| {}));
    run(&builder).await;
    assert_eq!(*times.lock().unwrap(), [1, 2, 3, 4].map(Duration::from_secs));
}

#[tokio::test(start_paused = true)]
async fn calls_behind_calls_go_on_in_one_stage() {
    let times: Kept<Duration> = Arc::default();
    let started = Instant::now();
    let (builder, log) = (builder(), Arc::clone(&times));
    builder
        .source("count", source::iter(1..=4_u64))
        .map_async(4, Order::Ordered, move |n| {
            let log = Arc::clone(&log);
            async move {
                for _ in 0..n {
                    sleep(Duration::from_secs(1)).await;
                }
                log.lock().unwrap().push(started.elapsed());
                n
            }
        })
        .map_async(1, Order::Ordered, |n| async move {
            sleep(Duration::from_secs(100)).await;
            n
        })
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!(*times.lock().unwrap(), [1, 2, 3, 4].map(Duration::from_secs));
    assert_eq!(ended(&report, Outcome::Delivered), 4);
}

#[tokio::test(start_paused = true)]
async fn calls_behind_calls_go_on_while_the_sink_is_busy() {
    let (_, keep) = slow(Duration::from_secs(100));
    let times: Kept<Duration> = Arc::default();
    let started = Instant::now();
    let (builder, log) = (builder(), Arc::clone(&times));
    builder
        .source("count", source::iter(1..=4_u64))
        .map_async(4, Order::Ordered, move |n| {
            let log = Arc::clone(&log);
            async move {
                for _ in 0..n {
                    sleep(Duration::from_secs(1)).await;
                }
                log.lock().unwrap().push(started.elapsed());
                n
            }
        })
        .map_async(4, Order::Ordered, |n| async move { n })
        .sink("keep", keep);
    run(&builder).await;
    assert_eq!(*times.lock().unwrap(), [1, 2, 3, 4].map(Duration::from_secs));
}

#[tokio::test(start_paused = true)]
async fn results_that_wait_count_against_the_limit() {
    for order in [Order::Ordered, Order::Unordered] {
        let (_, keep) = slow(Duration::from_secs(100));
        let called: Kept<u64> = Arc::default();
        let (builder, log) = (builder(), Arc::clone(&called));
        builder
            .source("count", source::iter(0..100_u64))
            .map_async(4, order, move |n| {
                log.lock().unwrap().push(n);
                async move {
                    sleep(Duration::from_secs(1)).await;
                    n
                }
            })
            .sink("keep", keep);
        let running = builder.build().unwrap().start();
        sleep(Duration::from_secs(50)).await;
        let called = called.lock().unwrap().len();
        assert!(called <= 8, "{order:?}: the sink has at most four, and four wait, but {called} were called for");
        drop(running);
    }
}

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

/// Holds every record back until it is told to flush.
#[derive(Default)]
struct Gather(Option<Batch<Items<u64>>>);

impl Transform<Items<u64>> for Gather {
    type Out = Items<u64>;

    fn process(
        &mut self,
        input: Batch<Items<u64>>,
        _out: &mut Option<Batch<Items<u64>>>,
        _cx: &mut StageContext,
    ) -> Step {
        match &mut self.0 {
            None => self.0 = Some(input),
            Some(held) => assert!(held.append(input).is_ok()),
        }
        Step::Done
    }

    fn flush(&mut self, out: &mut Option<Batch<Items<u64>>>, _cx: &mut StageContext) -> Step {
        *out = self.0.take();
        Step::Done
    }

    fn holds_back(&self) -> bool {
        self.0.is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn records_held_back_before_the_calls_come_when_the_calls_run_out() {
    let at = |n: u64, seconds| async move {
        sleep(Duration::from_secs(seconds)).await;
        n
    };
    let arriving = stream::once(at(0, 0)).chain(stream::once(at(1, 1))).chain(stream::once(at(2, 2)));
    let arriving = arriving.chain(stream::once(at(3, 1_000)));
    let calls: Kept<(u64, u64)> = Arc::default();
    let started = Instant::now();
    let (builder, log) = (builder(), Arc::clone(&calls));
    builder
        .source("arriving", source::stream(arriving))
        .transform(Gather::default())
        .try_map_async(2, Order::Ordered, move |n| {
            log.lock().unwrap().push((n, started.elapsed().as_secs()));
            async move {
                sleep(Duration::from_secs(10)).await;
                if n == 3 { Ok(n) } else { Err(Nack::transient("not this one")) }
            }
        })
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    run(&builder).await;
    assert_eq!(*calls.lock().unwrap(), [(0, 0), (1, 10), (2, 10), (3, 1_003)]);
}

#[tokio::test(start_paused = true)]
async fn the_stage_waits_for_something_external_only_while_every_slot_is_taken() {
    for (limit, external, idle) in [(1, 10, 10), (2, 0, 20)] {
        let builder = builder();
        let arriving = stream::once(async { 0_u64 }).chain(stream::once(async {
            sleep(Duration::from_secs(20)).await;
            1
        }));
        builder
            .source("arriving", source::stream(arriving))
            .edge("in")
            .map_async(limit, Order::Ordered, |n| async move {
                sleep(Duration::from_secs(if n == 0 { 10 } else { 0 })).await;
                n
            })
            .edge("out")
            .sink("drop", sink::for_each(|_: u64| {}));
        let running = builder.build().unwrap().start();
        sleep(Duration::from_secs(30)).await;
        let times = running.times()[1].clone();
        assert_eq!((times.external.as_secs(), times.idle.as_secs()), (external, idle), "{times:?}");
        assert_balanced(&running.wait().await);
    }
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

/// A service with a few permits, taken by whoever is told that it is ready.
#[derive(Clone)]
struct Permits(Arc<Mutex<Shared>>, bool);

#[derive(Default)]
struct Shared {
    free: usize,
    asked: usize,
    called: usize,
    wakers: Vec<std::task::Waker>,
}

impl Permits {
    fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(Shared { free, ..Shared::default() })), false)
    }

    fn give_back(shared: &Mutex<Shared>) {
        let mut shared = shared.lock().unwrap();
        shared.free += 1;
        shared.wakers.drain(..).for_each(std::task::Waker::wake);
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if self.1 {
            Self::give_back(&self.0);
        }
    }
}

impl Service<u64> for Permits {
    type Response = u64;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<u64, &'static str>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        let mut shared = self.0.lock().unwrap();
        if shared.free == 0 {
            shared.wakers.push(task.waker().clone());
            return Poll::Pending;
        }
        shared.asked += 1;
        shared.free -= 1;
        drop(shared);
        self.1 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u64) -> Self::Future {
        assert!(std::mem::take(&mut self.1), "called without being ready");
        let shared = Arc::clone(&self.0);
        shared.lock().unwrap().called += 1;
        Box::pin(async move {
            sleep(Duration::from_secs(1)).await;
            Self::give_back(&shared);
            if n == 13 { Err("thirteen") } else { Ok(n * 10) }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_asked_once_for_each_record_and_hoards_nothing() {
    let service = Permits::new(2);
    let (kept, keep) = slow(Duration::ZERO);
    let builder = builder();
    let started = Instant::now();
    builder
        .source("count", source::iter(0..20_u64))
        .call_service(8, Order::Ordered, service.clone())
        .edge("out")
        .sink("keep", keep);
    let report = run(&builder).await;
    assert_eq!(*kept.lock().unwrap(), (0..20).filter(|n| *n != 13).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(ended(&report, Outcome::Returned), 1);
    assert_eq!(started.elapsed(), Duration::from_secs(10), "two at a time");
    let shared = service.0.lock().unwrap();
    assert_eq!((shared.asked, shared.called, shared.free), (20, 20, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_waiting_for_a_service_leaves_its_place() {
    let service = Permits::new(0);
    let builder = builder();
    builder
        .source("count", source::iter(0..6_u64))
        .call_service(CallLimits::new(2).timeout(Duration::from_secs(3)), Order::Unordered, service.clone())
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!(ended(&report, Outcome::Returned), 6, "{report}");
    let shared = service.0.lock().unwrap();
    assert_eq!((shared.asked, shared.called, shared.free), (0, 0, 0));
}

/// Never ready: what it says is an error.
#[derive(Clone)]
struct Broken;

impl Service<u64> for Broken {
    type Response = u64;
    type Error = &'static str;
    type Future = std::future::Ready<Result<u64, &'static str>>;

    fn poll_ready(&mut self, _task: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("broken"))
    }

    fn call(&mut self, _n: u64) -> Self::Future {
        unreachable!("never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_before_the_call_refuses_the_record_for_now() {
    let builder = builder();
    builder
        .source("count", source::iter(0..3_u64))
        .call_service(2, Order::Ordered, Broken)
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!(ended(&report, Outcome::Returned), 3);
}
