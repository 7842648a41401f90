//! Edges on disk: what is acked survives a power cut, order is kept, and a disk that fails is waited for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{Bytes, EdgeSpec, Items, Meta, Nack, Outcome, Settled, Weight, kib, mib};
use tidegate_runtime::durable::{LogOptions, LogSource, LogSpec, LogView, SyncPolicy, WritePolicy};
use tidegate_runtime::testkit::{assert_balanced, balanced};
use tidegate_runtime::{
    Accepted, Pipeline, PipelineBuilder, PipelineEnd, Running, Sink, SinkOptions, SinkPolicy, SourceOptions, sink,
    source,
};
use tidegate_store::{Fault, Log, Read, SimulatedDisk};
use tokio::sync::watch;

type Texts = Items<String>;

/// A clock with which whatever waits for a time is due.
fn wall() -> impl Fn() -> u64 + Send + Sync {
    steady(&Arc::new(AtomicU64::new(FAST)))
}

/// Small segments, so that a few batches fill several.
fn options() -> LogOptions {
    LogOptions::new(LogOptions::MIN_SIZE_BYTES)
        .segment_bytes(4096)
        .memory_bytes(16 << 10)
        .sync(SyncPolicy::Always)
        .save_every(Duration::ZERO)
}

/// The same, and what downstream takes in time is not written.
fn passing() -> LogOptions {
    options().write(WritePolicy::UnderPressure { batches: 32, wait: Duration::from_millis(20) })
}

/// Goes on by `step` nanoseconds each time it is looked at.
fn steady(step: &Arc<AtomicU64>) -> impl Fn() -> u64 + Send + Sync + use<> {
    let (now, step) = (AtomicU64::new(1_000_000_000_000), Arc::clone(step));
    move || now.fetch_add(step.load(Ordering::Relaxed), Ordering::Relaxed)
}

/// A step of [`steady`] with which little time passes.
const SLOW: u64 = 10_000;
/// One with which whatever waits for a time is due.
const FAST: u64 = 10_000_000_000;

/// A pipeline from `from` over a log on `disk` to `to`, with batches of four records.
fn pipeline<S, T>(disk: &SimulatedDisk, options: LogOptions, drops: bool, from: S, to: T) -> (Running, LogView)
where
    S: tidegate_runtime::Source<Payload = Texts>,
    T: Sink<Texts>,
{
    let step = if options.writes_under_pressure() { SLOW } else { FAST };
    pipeline_at(disk, options, drops, (from, to), &Arc::new(AtomicU64::new(step)))
}

fn pipeline_at<S, T>(
    disk: &SimulatedDisk,
    options: LogOptions,
    drops: bool,
    (from, to): (S, T),
    step: &Arc<AtomicU64>,
) -> (Running, LogView)
where
    S: tidegate_runtime::Source<Payload = Texts>,
    T: Sink<Texts>,
{
    let disk = disk.clone();
    let spec = LogSpec::new(move || Ok(disk.clone()), options, steady(step));
    let ends = spec.drop_oldest(drops).ends::<Texts>();
    let builder: PipelineBuilder = Pipeline::builder("durable").budget(mib(16)).batch(Weight::new(4, kib(64).get()));
    builder.boxed_source("in", from).edge(EdgeSpec::new("before")).sink_pool(
        "to_disk",
        ends.sinks,
        SinkOptions::default().encoding(ends.encoding),
    );
    let reading = SourceOptions::new(ends.source).holding(LogSource::<Texts, SimulatedDisk>::HOLDING);
    let options = SinkOptions::default().policy(SinkPolicy { retries: 0, ..SinkPolicy::default() });
    builder
        .boxed_source("from_disk", reading)
        .edge(EdgeSpec::new("behind").bytes(kib(4)))
        .sink_with("out", to, options);
    (builder.build().unwrap().start(), ends.view)
}

fn texts(count: u64) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("record {number:06} {}", "x".repeat(80)))
}

fn number(text: &str) -> u64 {
    text[7..13].parse().unwrap()
}

/// What came out, in order, and how many that were, to be waited for.
#[derive(Clone)]
struct Out {
    seen: Arc<Mutex<Vec<u64>>>,
    count: watch::Sender<usize>,
    /// Refuses what it says, for now or for good.
    refuse: fn(u64, usize) -> Option<Nack>,
}

impl Out {
    fn new() -> Self {
        Self { seen: Arc::default(), count: watch::Sender::new(0), refuse: |_, _| None }
    }

    fn seen(&self) -> Vec<u64> {
        self.seen.lock().unwrap().clone()
    }
}

impl Sink<Texts> for Out {
    async fn deliver(&mut self, payload: &mut Texts, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut refused = Vec::new();
        for (text, row) in payload.as_slice().iter().zip(0..) {
            let mut seen = self.seen.lock().unwrap();
            match (self.refuse)(number(text), seen.len()) {
                Some(nack) => refused.push((row, nack)),
                None => seen.push(number(text)),
            }
        }
        self.count.send_replace(self.seen.lock().unwrap().len());
        // Others hear of the batches before this one.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        Ok(Accepted::all_but(refused))
    }
}

/// Where the records, all of which came, are not in order.
fn out_of_order(seen: &[u64]) -> Vec<&[u64]> {
    seen.windows(3).filter(|three| three[0] + 1 != three[1] || three[1] + 1 != three[2]).take(12).collect()
}

/// Never takes anything.
struct Shut;

impl Sink<Texts> for Shut {
    async fn deliver(&mut self, _payload: &mut Texts, _meta: &Meta) -> Result<Accepted, Nack> {
        std::future::pending().await
    }
}

/// A source of the first `count` texts, and how many of them are acked so far. It does not end by itself.
fn numbered(count: u64) -> (impl tidegate_runtime::Source<Payload = Texts>, watch::Receiver<u64>) {
    let (told, acked) = watch::channel(0);
    let stream = futures_util::stream::StreamExt::chain(
        futures_util::stream::iter(texts(count)),
        futures_util::stream::pending(),
    );
    let committer = move |settled: Settled<u64>| {
        if settled.nack.is_none() && settled.counts.get(Outcome::Abandoned).is_zero() {
            told.send_replace(settled.position);
        }
    };
    (source::with_committer(source::stream(stream), committer), acked)
}

#[tokio::test]
async fn what_goes_in_comes_out_in_order_and_the_log_is_empty_then() {
    let (disk, out) = (SimulatedDisk::new(1), Out::new());
    let (running, view) = pipeline(&disk, options(), false, source::iter(texts(5_000)), out.clone());
    let report = running.wait().await;
    assert_balanced(&report);
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_eq!(out_of_order(&out.seen()), [] as [&[u64]; 0]);
    assert_eq!(out.seen().len(), 5_000);
    assert_eq!(view.trouble(), None);
    assert_eq!((view.counts().durable, view.waiting_records()), (5_000, 0), "also after the end");
    let again = Out::new();
    let (running, _) = pipeline(&disk, options(), false, source::iter(texts(0)), again.clone());
    balanced(running.wait().await);
    assert_eq!(again.seen(), [], "all of it was settled, and that was saved");
}

/// The power goes at some call of the disk, at each of many: with a sink that takes everything, and with none.
#[tokio::test]
async fn what_was_acked_survives_a_power_cut() {
    let mut acked_in_all = 0;
    for (seed, options) in (0..60).flat_map(|seed| [(seed, options()), (seed, passing())]) {
        let disk = SimulatedDisk::new(seed);
        disk.plan(5 + seed * 3, Fault::Power);
        let (from, mut acked) = numbered(400);
        let out = Out::new();
        let step = Arc::new(AtomicU64::new(if options.writes_under_pressure() { SLOW } else { FAST }));
        let (running, view) = if seed % 2 == 0 {
            pipeline_at(&disk, options.clone(), false, (from, out.clone()), &step)
        } else {
            pipeline_at(&disk, options.clone(), false, (from, Shut), &step)
        };
        // Until the power is gone, or so much was acked that it never will be.
        let ends = async {
            while view.trouble().is_none() && *acked.borrow_and_update() < 400 {
                tokio::task::yield_now().await;
            }
        };
        ends.await;
        step.store(FAST, Ordering::Relaxed);
        running.stop().await;
        let acked = *acked.borrow();
        acked_in_all += acked;
        disk.crash();
        disk.mend();
        let before: BTreeSet<u64> = out.seen().into_iter().collect();
        let (running, _) = pipeline(&disk, options, false, source::iter(texts(0)), out.clone());
        balanced(running.wait().await);
        let all: BTreeSet<u64> = out.seen().into_iter().collect();
        let lost: Vec<u64> = (0..acked).filter(|number| !all.contains(number)).collect();
        assert!(lost.is_empty(), "seed {seed}: acked {acked}, seen before {}, lost {lost:?}", before.len());
        let after = out.seen().split_off(before.len());
        assert!(after.is_sorted(), "seed {seed}: the order is kept: {after:?}");
    }
    assert!(acked_in_all > 1_000, "the test must reach something: {acked_in_all}");
}

/// Downstream keeps up, stops, and keeps up again: records pass in memory, go over the disk, and pass again, in one order.
#[tokio::test]
async fn a_log_that_writes_under_pressure_does_and_keeps_the_order() {
    let gate = watch::Sender::new(true);
    let out = Gated { out: Out::new(), gate: gate.subscribe() };
    let seen = out.out.clone();
    let (given, from) = tokio::sync::mpsc::channel(64);
    let from = futures_util::stream::unfold(from, |mut from| async { from.recv().await.map(|text| (text, from)) });
    let disk = SimulatedDisk::new(10);
    let (running, view) = pipeline(&disk, passing(), false, source::stream(from), out);
    let mut texts = texts(3_000);
    let mut count = seen.count.subscribe();
    for until in 1..=200 {
        given.send(texts.next().unwrap()).await.unwrap();
        count.wait_for(|count| *count == until).await.unwrap();
    }
    let counts = view.counts();
    assert!(counts.written == 0 && counts.passed >= 199, "downstream keeps up: {counts:?}");
    gate.send_replace(false);
    for _ in 200..2_000 {
        given.send(texts.next().unwrap()).await.unwrap();
    }
    while view.counts().written < 1_000 {
        tokio::task::yield_now().await;
    }
    gate.send_replace(true);
    count.wait_for(|count| *count == 2_000).await.unwrap();
    while view.waiting_records() > 0 {
        tokio::task::yield_now().await;
    }
    let written = view.counts().written;
    for until in 2_001..=3_000 {
        given.send(texts.next().unwrap()).await.unwrap();
        count.wait_for(|count| *count == until).await.unwrap();
    }
    assert!(view.counts().written < written + 100, "calm again: {:?}", view.counts());
    drop(given);
    balanced(running.wait().await);
    assert_eq!(seen.seen(), (0..3_000).collect::<Vec<_>>());
    let counts = view.counts();
    assert_eq!((counts.written + counts.passed, counts.damaged), (3_000, 0), "{counts:?}");
    let again = Out::new();
    let (running, _) = pipeline(&disk, passing(), false, source::iter(texts), again.clone());
    balanced(running.wait().await);
    assert_eq!(again.seen(), [], "all of it was settled, and that was saved");
}

/// A sink before a gate.
struct Gated {
    out: Out,
    gate: watch::Receiver<bool>,
}

impl Sink<Texts> for Gated {
    async fn deliver(&mut self, payload: &mut Texts, meta: &Meta) -> Result<Accepted, Nack> {
        drop(self.gate.wait_for(|is_open| *is_open).await);
        self.out.deliver(payload, meta).await
    }
}

#[tokio::test]
async fn a_full_disk_is_named_waited_for_and_gone_on_from() {
    let (disk, out) = (SimulatedDisk::new(2), Out::new());
    disk.set_capacity(64 << 10);
    let (from, mut acked) = numbered(3_000);
    let (running, view) = pipeline(&disk, options(), false, from, Shut);
    while !view.trouble().is_some_and(|trouble| trouble.is_fault && trouble.words.contains("no space left")) {
        tokio::task::yield_now().await;
    }
    let before = *acked.borrow_and_update();
    assert!(before < 3_000, "{before}");
    disk.set_capacity(u64::MAX);
    acked.wait_for(|acked| *acked == 3_000).await.unwrap();
    assert_eq!(view.trouble(), None);
    running.drain(Duration::ZERO).await;
    let (running, _) = pipeline(&disk, options(), false, source::iter(texts(0)), out.clone());
    balanced(running.wait().await);
    assert_eq!(out_of_order(&out.seen()), [] as [&[u64]; 0]);
    assert_eq!(out.seen().len(), 3_000);
}

#[tokio::test]
async fn at_its_max_size_it_blocks_or_drops_the_oldest() {
    let size = LogOptions::MIN_SIZE_BYTES;
    // As many as fit at the most: records and nothing else.
    let fits = size / 94;
    for drops in [false, true] {
        let (from, mut acked) = numbered(4 * fits);
        let disk = SimulatedDisk::new(3);
        let (running, view) = pipeline(&disk, options(), drops, from, Shut);
        if drops {
            acked.wait_for(|acked| *acked == 4 * fits).await.unwrap();
            assert!(view.counts().dropped > 2 * fits, "{:?}", view.counts());
        } else {
            while !view.trouble().is_some_and(|trouble| !trouble.is_fault && trouble.words.contains("max_size")) {
                tokio::task::yield_now().await;
            }
            assert!(*acked.borrow() < fits, "{} of {fits}", *acked.borrow());
        }
        assert!(view.counts().disk_bytes <= size, "{:?}", view.counts());
        running.stop().await;
        let out = Out::new();
        let (running, _) = pipeline(&disk, options(), drops, source::iter(texts(0)), out.clone());
        balanced(running.wait().await);
        let seen = out.seen();
        assert!(seen.is_sorted() && seen.len() as u64 > fits / 2, "{}", seen.len());
        assert_eq!(seen.first() == Some(&0), !drops);
        assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]), "nothing between is missing");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_for_now_is_read_again_and_what_is_refused_for_good_is_passed() {
    let out = Out {
        refuse: |number, seen| match number {
            7 => Some(Nack::permanent("never")),
            // Refused at first: what is behind it is under way then, and comes, and does not count.
            20..24 if seen < 60 => Some(Nack::transient("not now")),
            _ => None,
        },
        ..Out::new()
    };
    let (running, _) = pipeline(&SimulatedDisk::new(4), options(), false, source::iter(texts(100)), out.clone());
    let report = running.wait().await;
    report.ledger.check().unwrap();
    let all: BTreeSet<u64> = out.seen().into_iter().collect();
    assert_eq!(all, (0..100).filter(|number| *number != 7).collect());
    let log = report.ledger.sources.iter().find(|(name, _)| name == "from_disk").unwrap();
    assert!(log.1.ended.get(Outcome::Returned).get() > 1);
}

/// What cannot be read by this version stops the pipeline, which says what to do; nothing is passed over.
#[tokio::test]
async fn what_is_of_another_version_stops_the_pipeline_and_stays() {
    let disk = SimulatedDisk::new(8);
    let mut log = Log::open(disk.clone(), options(), &["edge"], 1).unwrap();
    log.appender.append(3, &Arc::from(&b"of the future"[..]), 1).unwrap();
    log.committer.round(1);
    drop(log);
    let (running, _) = pipeline(&disk, options(), false, source::iter(texts(0)), Out::new());
    let PipelineEnd::Failed { stage, cause } = running.wait().await.end else { panic!("it has to fail") };
    let cause = cause.to_string();
    assert!(stage == "from_disk" && cause.contains("run the version that wrote them"), "{stage}: {cause}");
    let mut log = Log::open(disk, options(), &["edge"], 2).unwrap();
    assert!(matches!(log.readers[0].read().unwrap(), Read::Entry { skip: 0, .. }));
}

/// A fault of the program itself ends the pipeline by name, rather than that everybody waits for ever.
#[tokio::test]
async fn a_thread_that_panics_fails_the_pipeline() {
    let spec = LogSpec::new(|| -> std::io::Result<SimulatedDisk> { panic!("out of ink") }, options(), wall());
    let ends = spec.ends::<Texts>();
    let builder: PipelineBuilder = Pipeline::builder("durable").budget(mib(16));
    let encoding = SinkOptions::default().encoding(ends.encoding);
    builder.boxed_source("in", source::iter(texts(10))).sink_pool("to_disk", ends.sinks, encoding);
    let reading = SourceOptions::new(ends.source).holding(LogSource::<Texts, SimulatedDisk>::HOLDING);
    builder.boxed_source("from_disk", reading).sink("out", sink::null());
    let PipelineEnd::Failed { cause, .. } = builder.build().unwrap().start().wait().await.end else {
        panic!("it has to fail")
    };
    assert!(cause.to_string().contains("the thread of the log: panicked: out of ink"), "{cause}");
}

/// Records far larger than usual over a budget that has room for a few of them: they come out as they went in.
#[tokio::test]
async fn the_order_is_kept_also_while_memory_is_short() {
    let sizes = |number: u64| if number % 7 == 3 { 220_000 } else { 100 };
    let texts = (0..400_u64).map(move |number| format!("record {number:06} {}", "x".repeat(sizes(number))));
    let out = Out::new();
    let options = LogOptions::new(64 << 20).memory_bytes(256 << 10).sync(SyncPolicy::Always);
    let disk = SimulatedDisk::new(9);
    let ends = LogSpec::new(move || Ok(disk.clone()), options, wall()).ends::<Texts>();
    let builder: PipelineBuilder = Pipeline::builder("tight").budget(kib(4_400)).batch(Weight::new(4, kib(256).get()));
    let encoding = SinkOptions::default().encoding(ends.encoding);
    builder.boxed_source("in", source::iter(texts)).edge(EdgeSpec::new("before")).sink_pool(
        "to_disk",
        ends.sinks,
        encoding.policy(SinkPolicy { retries: u32::MAX, ..SinkPolicy::default() }),
    );
    let reading = SourceOptions::new(ends.source).holding(LogSource::<Texts, SimulatedDisk>::HOLDING);
    builder.boxed_source("from_disk", reading).edge(EdgeSpec::new("behind")).sink("out", out.clone());
    let running = builder.build().unwrap().start();
    let view = running.view();
    let Ok(report) = tokio::time::timeout(Duration::from_secs(30), running.wait()).await else {
        panic!("stuck at {} records: {}", out.seen().len(), view.bottleneck())
    };
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_eq!(out.seen(), (0..400).collect::<Vec<_>>());
    balanced(report);
}

#[tokio::test]
async fn the_memory_of_the_log_is_charged_and_given_back() {
    let disk = SimulatedDisk::new(5);
    let (from, mut acked) = numbered(200);
    let (running, _) = pipeline(&disk, options(), false, from, Shut);
    acked.wait_for(|acked| *acked == 200).await.unwrap();
    let budget = running.budget().clone();
    let held: Bytes = running.holdings().iter().filter(|held| &*held.stage == "to_disk").map(|held| held.used).sum();
    assert_eq!(held, Bytes::new(options().held_bytes(1)), "nothing is under way, and the log is there");
    running.shut_intake();
    running.stop().await;
    assert_eq!(budget.used(), Bytes::ZERO);
}

/// A log that is full of what downstream does not take is a known cause: the stage that appends is not what stands still.
#[tokio::test(start_paused = true)]
async fn a_full_log_is_no_stall_of_who_writes_it() {
    let (from, _acked) = numbered(40_000);
    let (running, view) = pipeline(&SimulatedDisk::new(7), options(), false, from, Shut);
    while view.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let stalled: Vec<String> = running.stalls().iter().map(ToString::to_string).collect();
    assert!(!stalled.iter().any(|stall| stall.contains("to_disk\" waits for its remote")), "{stalled:?}");
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_opened_before_the_pipeline_starts() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let spec = LogSpec::new(
        move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(SimulatedDisk::new(6))
        },
        options(),
        wall(),
    );
    let ends = spec.ends::<Texts>();
    let builder: PipelineBuilder = Pipeline::builder("planned").budget(mib(16));
    builder.boxed_source("in", source::iter(texts(1))).sink_pool("to_disk", ends.sinks, SinkOptions::default());
    builder.boxed_source("from_disk", ends.source).sink("out", sink::null());
    drop(builder.build().unwrap());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}
