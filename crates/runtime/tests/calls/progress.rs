//! Calls go on while something before or behind them waits, and what a stage waits for meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tidegate_flow::{Batch, Items, Nack, Outcome, Payload};
use tidegate_runtime::{Order, StageContext, Step, Transform, sink, source};
use tokio::time::{Instant, sleep};

use super::{Kept, assert_balanced, builder, ended, run, slow};

/// A call that takes `n` seconds, in steps of one, and answers `n`; and when each such call ended.
fn seconds() -> (Kept<Duration>, impl FnMut(u64) -> BoxFuture<'static, u64> + Send + 'static) {
    let times: Kept<Duration> = Arc::default();
    let (log, started) = (Arc::clone(&times), Instant::now());
    let call = move |n| {
        let log = Arc::clone(&log);
        async move {
            for _ in 0..n {
                sleep(Duration::from_secs(1)).await;
            }
            log.lock().unwrap().push(started.elapsed());
            n
        }
        .boxed()
    };
    (times, call)
}

/// Whether the calls for the records 1 to 4 went on side by side, whatever waited.
#[track_caller]
fn assert_side_by_side(times: &Kept<Duration>) {
    assert_eq!(*times.lock().unwrap(), [1, 2, 3, 4].map(Duration::from_secs));
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_while_the_sink_is_busy() {
    for order in [Order::Ordered, Order::Unordered] {
        let (_, keep) = slow(Duration::from_secs(100));
        let (times, call) = seconds();
        let builder = builder();
        builder.source("count", source::iter(1..=4_u64)).map_async(4, order, call).sink("keep", keep);
        run(&builder).await;
        assert_side_by_side(&times);
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
    let (times, call) = seconds();
    let builder = builder();
    builder
        .source("count", source::iter(1..=4_u64))
        .map_async(4, Order::Ordered, call)
        .transform(Hold(Duration::from_secs(100)))
        .sink("drop", sink::for_each(|_: u64| {}));
    run(&builder).await;
    assert_side_by_side(&times);
}

#[tokio::test(start_paused = true)]
async fn calls_behind_calls_go_on_in_one_stage() {
    let (times, call) = seconds();
    let builder = builder();
    builder
        .source("count", source::iter(1..=4_u64))
        .map_async(4, Order::Ordered, call)
        .map_async(1, Order::Ordered, |n| async move {
            sleep(Duration::from_secs(100)).await;
            n
        })
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_side_by_side(&times);
    assert_eq!(ended(&report, Outcome::Delivered), 4);
}

#[tokio::test(start_paused = true)]
async fn calls_behind_calls_go_on_while_the_sink_is_busy() {
    let (_, keep) = slow(Duration::from_secs(100));
    let (times, call) = seconds();
    let builder = builder();
    builder
        .source("count", source::iter(1..=4_u64))
        .map_async(4, Order::Ordered, call)
        .map_async(4, Order::Ordered, |n| async move { n })
        .sink("keep", keep);
    run(&builder).await;
    assert_side_by_side(&times);
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
