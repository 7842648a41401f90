//! Several deliveries at once, and the pause that a receiver asks for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, Meta, Nack, Outcome, Weight};
use tidegate_runtime::testkit::{TestSource, balanced, ended};
use tidegate_runtime::{
    Accepted, BatchLimits, Pipeline, PipelineBuilder, PipelineEnd, Sink, SinkOptions, SinkPolicy, sink, source,
};
use tokio::time::Instant;

/// A pipeline whose batches have one record each.
fn builder() -> PipelineBuilder {
    Pipeline::builder("pool").batch(Weight::new(1, 1 << 12))
}

/// What the sinks of a pool saw together.
#[derive(Default)]
struct Seen {
    under_way: AtomicU64,
    most: AtomicU64,
    records: Mutex<Vec<u64>>,
}

/// Takes a second for each batch; what `refuse` gives a reason for is refused.
struct Slow {
    seen: Arc<Seen>,
    refuse: fn(u64) -> Option<Nack>,
}

impl Sink<Items<u64>> for Slow {
    async fn deliver(&mut self, payload: &mut Items<u64>, _meta: &Meta) -> Result<Accepted, Nack> {
        let under_way = self.seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.most.fetch_max(under_way, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.seen.under_way.fetch_sub(1, Ordering::SeqCst);
        let refused = payload.as_slice().iter().zip(0..).filter_map(|(n, row)| Some((row, (self.refuse)(*n)?)));
        let refused: Vec<_> = refused.collect();
        let gone: Vec<u32> = refused.iter().map(|(row, _)| *row).collect();
        let kept = payload.as_slice().iter().zip(0_u32..).filter(|(_, row)| !gone.contains(row));
        self.seen.records.lock().unwrap().extend(kept.map(|(n, _)| *n));
        Ok(Accepted::all_but(refused))
    }
}

fn pool(seen: &Arc<Seen>, size: usize, refuse: fn(u64) -> Option<Nack>) -> Vec<Slow> {
    (0..size).map(|_| Slow { seen: Arc::clone(seen), refuse }).collect()
}

#[tokio::test(start_paused = true)]
async fn as_many_deliveries_are_under_way_as_there_are_sinks() {
    let seen = Arc::new(Seen::default());
    let builder = builder();
    let flow = builder.source("count", source::iter(0..12_u64)).edge("out");
    flow.sink_pool("slow", pool(&seen, 4, |_| None), SinkOptions::default());
    let began = Instant::now();
    let report = balanced(builder.build().unwrap().start().wait().await);
    assert_eq!(began.elapsed(), Duration::from_secs(3), "12 batches of a second, four at a time");
    assert_eq!((report.end.clone(), ended(&report, Outcome::Delivered)), (PipelineEnd::Completed, 12));
    assert_eq!(seen.most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn what_no_sink_is_free_for_stays_in_the_edge() {
    let seen = Arc::new(Seen::default());
    let builder = builder();
    let flow = builder.source("count", source::iter(0..100_u64)).edge(EdgeSpec::new("out").records(5));
    flow.sink_pool("slow", pool(&seen, 3, |_| None), SinkOptions::default());
    let running = builder.build().unwrap().start();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let held: Vec<u64> = running.ledger().stages.iter().map(|(_, _, flows)| flows.held.get()).collect();
    assert_eq!(held, [0, 3, 5], "three in the sinks and five in the edge: {}", running.ledger());
    balanced(running.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_goes_on_and_is_settled_while_there_is_no_input() {
    let seen = Arc::new(Seen::default());
    let builder = builder();
    let script = TestSource::new();
    let flow = builder.source("script", script.source()).edge("out");
    flow.sink_pool("slow", pool(&seen, 4, |_| None), SinkOptions::default());
    let running = builder.build().unwrap().start();
    script.push(7);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(script.position(), 1, "answered after a second, and the source was told");
    script.end();
    balanced(running.wait().await);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_goes_to_the_port_while_others_are_under_way() {
    let refuse = |n: u64| n.is_multiple_of(5).then(|| Nack::permanent("no fives"));
    let seen = Arc::new(Seen::default());
    let builder = builder().batch(Weight::new(4, 1 << 12));
    let (port, letters) = builder.dead_letters::<u64>("letters");
    letters.sink("kept", sink::null());
    let script = TestSource::new();
    let flow = builder.source("script", script.source()).edge("out");
    flow.sink_pool("slow", pool(&seen, 3, refuse), SinkOptions::default().dead_letters(&port));
    let running = builder.build().unwrap().start();
    (0..10).for_each(|n| script.push_all(4 * n..4 * n + 4));
    // No end yet: the letters must not wait for it.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(script.position(), 40);
    script.end();
    let report = balanced(running.wait().await);
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::DeadLettered)), (32, 8), "{report}");
    let mut records = seen.records.lock().unwrap().clone();
    records.sort_unstable();
    assert_eq!(records, (0..40).filter(|n| n % 5 != 0).collect::<Vec<_>>(), "each once");
}

#[tokio::test(start_paused = true)]
async fn stopped_at_any_moment_everything_is_accounted_for() {
    for millis in (0..6_000).step_by(250) {
        let refuse = |n: u64| match n % 4 {
            1 => Some(Nack::transient("later")),
            2 => Some(Nack::permanent("never")),
            _ => None,
        };
        let seen = Arc::new(Seen::default());
        let builder = builder().batch(Weight::new(3, 1 << 12));
        let (port, letters) = builder.dead_letters::<u64>("letters");
        letters.sink("kept", sink::null());
        let flow = builder.source("count", source::iter(0..30_u64)).edge("out");
        flow.sink_pool("slow", pool(&seen, 3, refuse), SinkOptions::default().dead_letters(&port));
        let running = builder.build().unwrap().start();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        balanced(running.stop().await);
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_made_full_while_something_is_in_flight() {
    let seen = Arc::new(Seen::default());
    let builder = builder();
    let script = TestSource::new();
    let limits = BatchLimits::records(100).linger(Duration::from_secs(10));
    let flow = builder.source("script", script.source()).edge("out").batch(limits);
    flow.sink_pool("slow", pool(&seen, 2, |_| None), SinkOptions::default());
    let running = builder.build().unwrap().start();
    for n in 0..10 {
        script.push(n);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(script.position(), 10);
    let most = seen.most.load(Ordering::SeqCst);
    assert_eq!(most, 1, "the first went alone, and what came meanwhile went behind it as one batch");
    script.end();
    balanced(running.wait().await);
}

/// Refuses the first tries, and asks for a pause.
struct AsksForPause {
    refusals: u32,
    pause: Duration,
}

impl Sink<Items<u64>> for AsksForPause {
    async fn deliver(&mut self, _: &mut Items<u64>, _: &Meta) -> Result<Accepted, Nack> {
        if self.refusals == 0 {
            return Ok(Accepted::All);
        }
        self.refusals -= 1;
        Err(Nack::transient("busy"))
    }

    fn retry_after(&mut self) -> Option<Duration> {
        Some(self.pause)
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_that_a_receiver_asks_for_is_the_least_pause() {
    for (asked, paused) in [(5_000, 10_000), (1, 300)] {
        let builder = builder();
        let sink = AsksForPause { refusals: 2, pause: Duration::from_millis(asked) };
        let flow = builder.source("one", source::iter(0..1_u64)).edge("out");
        flow.sink_with("busy", sink, SinkOptions::default().policy(SinkPolicy::default()));
        let began = Instant::now();
        let report = balanced(builder.build().unwrap().start().wait().await);
        assert_eq!(ended(&report, Outcome::Delivered), 1);
        // The policy's own pauses are 100 ms and 200 ms.
        assert_eq!(began.elapsed(), Duration::from_millis(paused));
    }
}

#[test]
fn a_pool_of_no_sinks_is_refused() {
    let builder = builder();
    let flow = builder.source("count", source::iter(0..1_u64)).edge("out");
    flow.sink_pool("none", Vec::<Slow>::new(), SinkOptions::default());
    let errors = builder.build().map(drop).unwrap_err().to_string();
    assert!(errors.contains("\"none\" is a pool of no sinks"), "{errors}");
}
