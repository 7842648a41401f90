//! Components replaced while their pipeline runs: nothing is lost, repeated or reordered, and every ledger balances.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use tidegate_flow::{Account, Batch, Bytes, EdgeSpec, Items, Lease, Meta, Nack, Outcome, Weight, kib};
use tidegate_runtime::records::records;
use tidegate_runtime::{
    Accepted, BatchLimits, BoxTransform, NewStep, Pipeline, ReplaceError, Report, Running, Sink, SinkContext,
    SinkOptions, SinkPolicy, StageContext, Step, Transform, sink, source,
};
use tokio::time::sleep;

type Numbers = Items<u64>;
type Seen = Arc<Mutex<Vec<(u32, u64)>>>;

/// Notes what it accepts, with its own number; takes a while for each batch.
struct Noting {
    number: u32,
    takes: Duration,
    seen: Seen,
}

impl Sink<Numbers> for Noting {
    async fn deliver(&mut self, payload: &mut Numbers, _meta: &Meta) -> Result<Accepted, Nack> {
        sleep(self.takes).await;
        let mut seen = self.seen.lock().unwrap();
        seen.extend(payload.as_slice().iter().map(|n| (self.number, *n)));
        Ok(Accepted::All)
    }
}

/// Refuses everything for now.
struct Dead;

impl Sink<Numbers> for Dead {
    async fn deliver(&mut self, _payload: &mut Numbers, _meta: &Meta) -> Result<Accepted, Nack> {
        Err(Nack::transient("nobody there"))
    }
}

/// Never answers.
struct Stuck;

impl Sink<Numbers> for Stuck {
    async fn deliver(&mut self, _payload: &mut Numbers, _meta: &Meta) -> Result<Accepted, Nack> {
        std::future::pending().await
    }
}

fn noting(number: u32, millis: u64, seen: &Seen) -> Noting {
    Noting { number, takes: Duration::from_millis(millis), seen: Arc::clone(seen) }
}

fn stubborn() -> SinkOptions<'static, Numbers> {
    SinkOptions::default().policy(SinkPolicy { retries: u32::MAX, ..SinkPolicy::default() })
}

/// Numbers from 0 into a sink that is put behind the edge "out".
fn start(
    count: u64,
    end: impl FnOnce(tidegate_runtime::BoxFlow<tidegate_runtime::inlet::EdgeInlet<Numbers>>),
) -> Running {
    let builder = Pipeline::builder("counting").batch(Weight::new(10, kib(4).get()));
    let (port, flow) = builder.boxed_port::<Numbers>(EdgeSpec::new("out").records(100));
    end(flow);
    let step: BoxTransform<Numbers> = Box::new(records().map(|n: u64| n));
    builder.boxed_source("count", source::iter(0..count)).exchangeable("step", step, Weight::ZERO, true).to(&port);
    builder.build().unwrap().start()
}

/// Puts another sink into the place "out".
async fn replace<S: Sink<Numbers>>(running: &mut Running, sink: S) -> Result<(), ReplaceError> {
    let builder = running.places();
    let (_, flow) = builder.boxed_port::<Numbers>("out");
    flow.boxed_batch(BatchLimits::records(25)).sink_with("out", sink, stubborn());
    running.replace::<Numbers>(&builder, &["out"], Vec::new()).await
}

async fn finished(running: Running) -> Report {
    let report = running.wait().await;
    report.ledger.check().unwrap_or_else(|imbalance| panic!("{imbalance}\n{report}"));
    report
}

fn delivered(report: &Report) -> u64 {
    report.ledger.total().ended.get(Outcome::Delivered).get()
}

#[tokio::test(start_paused = true)]
async fn a_replaced_sink_hands_its_edge_over_and_nothing_is_lost_repeated_or_reordered() {
    let seen = Seen::default();
    let mut running = start(10_000, |flow| flow.sink_with("out", noting(0, 5, &seen), stubborn()));
    for number in 1..20 {
        sleep(Duration::from_millis(37)).await;
        replace(&mut running, noting(number, 5, &seen)).await.unwrap();
    }
    let view = running.view();
    let report = finished(running).await;
    let seen = seen.lock().unwrap();
    assert!(seen.iter().map(|(_, n)| *n).eq(0..10_000), "{report}");
    assert!(seen.is_sorted_by_key(|(sink, _)| *sink));
    assert!((1..20).all(|number| seen.iter().any(|(sink, _)| *sink == number)));
    assert_eq!(delivered(&report), 10_000);
    assert_eq!(view.budget().used(), Bytes::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_sink_had_in_hand_is_the_first_that_the_next_is_given() {
    let seen = Seen::default();
    let mut running =
        start(1_000, |flow| flow.boxed_batch(BatchLimits::records(30)).sink_with("out", Dead, stubborn()));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.view().ledger().total().ended.get(Outcome::Delivered).get(), 0);
    let before = tokio::time::Instant::now();
    replace(&mut running, noting(1, 1, &seen)).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO, "a pause between two tries ends at once");
    let report = finished(running).await;
    assert!(seen.lock().unwrap().iter().map(|(_, n)| *n).eq(0..1_000), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_is_flushed_when_a_dead_sink_makes_way_comes_behind_what_it_had() {
    let seen = Seen::default();
    let mut running = start(3_000, |flow| flow.sink_with("out", Dead, stubborn()));
    for _ in 0..3 {
        replace(&mut running, Dead).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    replace(&mut running, noting(1, 1, &seen)).await.unwrap();
    let report = finished(running).await;
    assert!(seen.lock().unwrap().iter().map(|(_, n)| *n).eq(0..3_000), "{report}");
}

/// Refuses a batch of several records for good, which halves it, and single ones for now.
struct Halving;

impl Sink<Numbers> for Halving {
    async fn deliver(&mut self, payload: &mut Numbers, _meta: &Meta) -> Result<Accepted, Nack> {
        Err(if payload.as_slice().len() > 1 { Nack::permanent("too many") } else { Nack::transient("not yet") })
    }
}

#[tokio::test(start_paused = true)]
async fn halves_of_a_refused_batch_are_handed_over_in_order() {
    let seen = Seen::default();
    let mut running = start(100, |flow| flow.sink_with("out", Halving, stubborn()));
    sleep(Duration::from_secs(10)).await;
    replace(&mut running, noting(1, 1, &seen)).await.unwrap();
    let report = finished(running).await;
    assert!(seen.lock().unwrap().iter().map(|(_, n)| *n).eq(0..100), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_does_not_end_is_cut_short_after_the_grace() {
    let seen = Seen::default();
    let mut running = start(1_000, |flow| flow.sink_with("out", Stuck, stubborn()));
    sleep(Duration::from_secs(1)).await;
    let before = tokio::time::Instant::now();
    replace(&mut running, noting(1, 1, &seen)).await.unwrap();
    assert_eq!(before.elapsed(), tidegate_runtime::handover::GRACE);
    let report = finished(running).await;
    assert!(seen.lock().unwrap().iter().map(|(_, n)| *n).eq(0..1_000), "{report}");
}

/// Holds memory for each delivery, as much as it says; none is ever enough for one that is greedy.
struct Paying {
    to: Noting,
    bytes: Bytes,
    is_greedy: bool,
    account: Option<Account>,
    lease: Lease,
}

fn paying(number: u32, bytes: Bytes, is_greedy: bool, seen: &Seen) -> Paying {
    Paying { to: noting(number, 5, seen), bytes, is_greedy, account: None, lease: Lease::none() }
}

impl Sink<Numbers> for Paying {
    fn open(&mut self, cx: SinkContext) {
        assert_eq!(&*cx.name, "out");
        self.account = Some(cx.holding);
    }

    fn poll_memory(&mut self, _task: &mut Context<'_>) -> Poll<()> {
        if self.is_greedy {
            return Poll::Pending;
        }
        if self.lease.bytes().is_zero() {
            self.lease = self.account.as_ref().and_then(|account| account.try_lease(self.bytes)).unwrap();
        }
        Poll::Ready(())
    }

    fn release(&mut self) {
        self.lease = Lease::none();
    }

    async fn deliver(&mut self, payload: &mut Numbers, meta: &Meta) -> Result<Accepted, Nack> {
        assert_eq!(self.lease.bytes(), self.bytes, "its memory was taken before its input");
        self.to.deliver(payload, meta).await
    }
}

/// Puts one sink into the place "out", or a pool of them, which encode into so much.
async fn replace_paying(running: &mut Running, mut sinks: Vec<Paying>, encoding: Bytes) {
    let builder = running.places();
    let (_, flow) = builder.boxed_port::<Numbers>("out");
    let options = stubborn().encoding(encoding);
    match (sinks.pop(), sinks.is_empty()) {
        (Some(sink), true) => flow.sink_with("out", sink, options),
        (last, _) => {
            sinks.extend(last);
            flow.sink_pool("out", sinks, options);
        }
    }
    running.replace::<Numbers>(&builder, &["out"], Vec::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_life_of_a_sink_pays_for_what_it_holds_itself() {
    let seen = Seen::default();
    let first = paying(0, kib(4), false, &seen);
    let mut running = start(10_000, |flow| flow.sink_with("out", first, stubborn().encoding(kib(4))));
    let held = |running: &Running| {
        let holdings = running.holdings();
        let encoding = holdings.into_iter().find(|held| &*held.stage == "out" && held.what == "encoding").unwrap();
        (encoding.reserved, encoding.used)
    };
    sleep(Duration::from_millis(101)).await;
    assert_eq!(held(&running), (kib(4), kib(4)));
    for (number, size, bytes) in [(1, 1, kib(8)), (2, 3, kib(2)), (3, 3, kib(2)), (4, 1, kib(2))] {
        let sinks = (0..size).map(|_| paying(number, bytes, false, &seen)).collect();
        replace_paying(&mut running, sinks, bytes).await;
        sleep(Duration::from_millis(101)).await;
        let (reserved, used) = held(&running);
        assert_eq!(reserved, bytes, "life {number}");
        assert_eq!(used.get(), bytes.get() * size, "life {number}: nothing of the last one is left");
    }
    let view = running.view();
    let report = finished(running).await;
    assert_eq!(delivered(&report), 10_000);
    assert!((0..5).all(|number| seen.lock().unwrap().iter().any(|(sink, _)| *sink == number)));
    assert_eq!(view.budget().used(), Bytes::ZERO);
}

#[tokio::test(start_paused = true)]
async fn sinks_that_wait_for_memory_make_way() {
    for size in [1, 3] {
        let seen = Seen::default();
        let mut running = start(1_000, |flow| flow.sink_with("out", Dead, stubborn()));
        let greedy = (0..size).map(|_| paying(1, kib(4), true, &seen)).collect();
        replace_paying(&mut running, greedy, kib(4)).await;
        sleep(Duration::from_secs(1)).await;
        let before = tokio::time::Instant::now();
        replace(&mut running, noting(2, 1, &seen)).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO, "{size} sinks");
        let report = finished(running).await;
        assert!(seen.lock().unwrap().iter().map(|(_, n)| *n).eq(0..1_000), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_sinks_makes_way_and_takes_over() {
    let seen = Seen::default();
    let pool = |number| (0..3).map(|_| noting(number, 20, &seen)).collect::<Vec<_>>();
    let mut running = start(5_000, |flow| flow.sink_pool("out", pool(0), stubborn()));
    for number in 1..6 {
        sleep(Duration::from_millis(101)).await;
        let builder = running.places();
        let (_, flow) = builder.boxed_port::<Numbers>("out");
        flow.sink_pool("out", pool(number), stubborn());
        running.replace::<Numbers>(&builder, &["out"], Vec::new()).await.unwrap();
    }
    let report = finished(running).await;
    let mut numbers: Vec<u64> = seen.lock().unwrap().iter().map(|(_, n)| *n).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..5_000), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_pool_gives_back_what_each_of_its_sinks_had() {
    let seen = Seen::default();
    let mut running = start(1_000, |flow| flow.sink_pool("out", vec![Dead, Dead, Dead], stubborn()));
    sleep(Duration::from_secs(10)).await;
    replace(&mut running, noting(1, 1, &seen)).await.unwrap();
    let report = finished(running).await;
    let mut numbers: Vec<u64> = seen.lock().unwrap().iter().map(|(_, n)| *n).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1_000), "{report}");
}

/// Holds each batch back until the next one comes.
struct Lagging(Option<Batch<Numbers>>);

impl Transform<Numbers> for Lagging {
    type Out = Numbers;

    fn process(&mut self, input: Batch<Numbers>, out: &mut Option<Batch<Numbers>>, _cx: &mut StageContext) -> Step {
        *out = self.0.replace(input);
        Step::Done
    }

    fn batches_in_hand(&self) -> u32 {
        2
    }

    fn flush(&mut self, out: &mut Option<Batch<Numbers>>, _cx: &mut StageContext) -> Step {
        *out = self.0.take();
        Step::Done
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_exchanged_between_two_batches_and_what_it_held_back_comes_first() {
    // More than the edge behind the step holds.
    const RECORDS: u64 = 200_000;
    let seen = Seen::default();
    let builder = Pipeline::builder("steps").batch(Weight::new(10, kib(4).get()));
    let (port, flow) = builder.boxed_port::<Numbers>("out");
    flow.sink("out", noting(0, 5, &seen));
    let old: BoxTransform<Numbers> = Box::new(Lagging(None));
    let holds = Weight::new(10, 0);
    builder.boxed_source("count", source::iter(0..RECORDS)).exchangeable("step", old, holds, true).to(&port);
    let mut running = builder.build().unwrap().start();
    sleep(Duration::from_millis(50)).await;
    let step: BoxTransform<Numbers> = Box::new(records().map(|n: u64| n + 1_000_000));
    let new = NewStep { name: "step".into(), step, holds: Weight::ZERO };
    let places = running.places();
    running.replace(&places, &[], vec![new]).await.unwrap();
    let report = finished(running).await;
    let seen = seen.lock().unwrap();
    assert!(seen.iter().map(|(_, n)| n % 1_000_000).eq(0..RECORDS), "{report}");
    let changed = seen.iter().position(|(_, n)| *n >= 1_000_000).unwrap();
    assert!(seen[changed..].iter().all(|(_, n)| *n >= 1_000_000), "once changed, changed for good");
    assert!(changed > 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_is_replaced_and_what_the_old_one_read_settles_as_ever() {
    let seen = Seen::default();
    let mut running = start(1 << 40, |flow| flow.sink_with("out", noting(0, 5, &seen), stubborn()));
    sleep(Duration::from_millis(100)).await;
    let builder = running.places();
    let (port, _) = builder.boxed_port::<Numbers>("out");
    let step: BoxTransform<Numbers> = Box::new(records().map(|n: u64| n));
    let flow = builder.boxed_source("count", source::iter(1 << 41..(1 << 41) + 100_u64));
    flow.exchangeable("step", step, Weight::ZERO, true).to(&port);
    running.replace::<Numbers>(&builder, &["count"], vec![]).await.unwrap();
    drop((builder, port));
    let step =
        NewStep::<Numbers> { name: "step".into(), step: Box::new(records().map(|n: u64| n)), holds: Weight::ZERO };
    let places = running.places();
    running.replace(&places, &[], vec![step]).await.unwrap();
    let report = finished(running).await;
    let seen = seen.lock().unwrap();
    let old = seen.iter().take_while(|(_, n)| *n < 1 << 41).count() as u64;
    assert!(old > 0 && seen.iter().map(|(_, n)| *n).eq((0..old).chain(1 << 41..(1 << 41) + 100)), "{report}");
    assert_eq!(report.ledger.sources.len(), 1);
    assert_eq!(delivered(&report), old + 100);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_replaced_is_refused_and_the_old_one_goes_on() {
    let seen = Seen::default();
    let mut running = start(500, |flow| flow.sink_with("out", noting(0, 5, &seen), stubborn()));
    let refused = |name: &str| ReplaceError::NoSuchStage { stage: name.to_owned() };
    let builder = running.places();
    assert_eq!(running.replace::<Numbers>(&builder, &["nowhere"], vec![]).await, Err(refused("nowhere")));
    let missing = ReplaceError::NotMade { stage: "out".into() };
    assert_eq!(running.replace::<Numbers>(&builder, &["out"], vec![]).await, Err(missing));
    let greedy = || NewStep::<Numbers> {
        name: "step".into(),
        step: Box::new(records().map(|n: u64| n)),
        holds: Weight::new(0, 1 << 20),
    };
    let more = ReplaceError::NeedsMore { step: "step".into() };
    assert_eq!(running.replace(&builder, &[], vec![greedy()]).await, Err(more));
    // A refused step leaves the stage beside it alone as well.
    let builder = running.places();
    let (_, flow) = builder.boxed_port::<Numbers>("out");
    flow.sink_with("out", Dead, stubborn());
    assert!(running.replace(&builder, &["out"], vec![greedy()]).await.is_err());
    let report = finished(running).await;
    assert!(seen.lock().unwrap().iter().map(|(_, n)| *n).eq(0..500), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_has_ended_is_not_replaced() {
    let seen = Seen::default();
    let mut running = start(10, |flow| flow.sink_with("out", noting(0, 1, &seen), stubborn()));
    sleep(Duration::from_secs(1)).await;
    let ended = ReplaceError::Ended { stage: "out".into() };
    assert_eq!(replace(&mut running, noting(1, 1, &seen)).await, Err(ended));
    assert_eq!(delivered(&finished(running).await), 10);
}

/// Refuses round numbers for good, slowly.
struct Picky;

impl Sink<Numbers> for Picky {
    async fn deliver(&mut self, payload: &mut Numbers, _meta: &Meta) -> Result<Accepted, Nack> {
        sleep(Duration::from_millis(5)).await;
        let rows = (0..).zip(payload.as_slice()).filter(|(_, n)| *n % 10 == 0);
        Ok(Accepted::all_but(rows.map(|(row, _)| (row, Nack::permanent("round"))).collect()))
    }
}

#[tokio::test(start_paused = true)]
async fn letters_go_on_to_their_port_from_the_sink_that_takes_over() {
    let builder = Pipeline::builder("letters").batch(Weight::new(10, kib(4).get()));
    let (letters, flow) = builder.boxed_port::<Numbers>("letters");
    let (kept, keep) = sink::collect();
    flow.sink("letters", keep);
    let (port, flow) = builder.boxed_port::<Numbers>("out");
    flow.sink_with("out", Picky, SinkOptions::default().dead_letters(&letters));
    builder.boxed_source("count", source::iter(0..500_u64)).to(&port);
    let mut running = builder.build().unwrap().start();
    sleep(Duration::from_millis(100)).await;
    let builder = running.places();
    let (_, flow) = builder.boxed_port::<Numbers>("out");
    let (letters, _) = builder.boxed_port::<Numbers>("letters");
    flow.sink_with("out", Picky, SinkOptions::default().dead_letters(&letters));
    running.replace::<Numbers>(&builder, &["out"], vec![]).await.unwrap();
    drop((builder, letters));
    let report = finished(running).await;
    assert_eq!(kept.len(), 50, "{report}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is put in the place of what, and when: every record arrives once, in order.
    #[test]
    fn records_in_are_records_out_across_random_swaps(
        swaps in prop::collection::vec((0_u64..300, 0_u8..4, 0_u64..40), 0..12),
        cancel in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let seen = Seen::default();
            let mut running = start(3_000, |flow| flow.sink_with("out", noting(0, 3, &seen), stubborn()));
            for (at, (pause, kind, takes)) in (1..).zip(&swaps) {
                sleep(Duration::from_millis(*pause)).await;
                let swapped = match kind {
                    0 => replace(&mut running, Dead).await,
                    1 => replace(&mut running, Stuck).await,
                    _ => replace(&mut running, noting(at, *takes, &seen)).await,
                };
                // The last record may be out already.
                assert!(matches!(swapped, Ok(()) | Err(ReplaceError::Ended { .. })), "{swapped:?}");
            }
            if cancel {
                let view = running.view();
                let report = running.stop().await;
                report.ledger.check().unwrap();
                let ledger = view.ledger().total();
                assert_eq!(ledger.in_flight.get(), 0);
                assert_eq!(view.budget().used(), Bytes::ZERO);
                return;
            }
            drop(replace(&mut running, noting(99, 1, &seen)).await);
            let report = finished(running).await;
            assert!(seen.lock().unwrap().iter().map(|(_, n)| *n).eq(0..3_000), "{report}");
        });
    }
}
