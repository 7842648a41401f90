//! Dead letters in a log that nothing in the pipeline reads: they settle when they are durable, survive a power cut, and
//! wait while the disk is full; the reader elsewhere makes room.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, Meta, Nack, Outcome, Settled, Weight, kib, mib};
use tidegate_runtime::durable::{LogOptions, LogSpec, LogView, SyncPolicy, batch_of};
use tidegate_runtime::{Accepted, Pipeline, Running, Sink, SinkOptions, source};
use tidegate_store::{Fault, SimulatedDisk, Survey};
use tokio::sync::watch;

type Texts = Items<String>;

/// Goes on by ten seconds each time it is looked at, so that whatever waits for a time is due.
fn wall() -> impl Fn() -> u64 + Send + Sync {
    let now = AtomicU64::new(1_000_000_000_000);
    move || now.fetch_add(10_000_000_000, Ordering::Relaxed)
}

fn options() -> LogOptions {
    LogOptions::new(LogOptions::MIN_SIZE_BYTES)
        .segment_bytes(8192)
        .memory_bytes(16 << 10)
        .sync(SyncPolicy::Always)
        .save_every(Duration::ZERO)
}

/// Refuses every record for good, each by itself.
struct Refuses;

impl Sink<Texts> for Refuses {
    async fn deliver(&mut self, payload: &mut Texts, _meta: &Meta) -> Result<Accepted, Nack> {
        let rows = payload.as_slice().iter().zip(0..);
        Ok(Accepted::all_but(rows.map(|(text, row)| (row, Nack::permanent(format!("no {text}")))).collect()))
    }
}

/// A pipeline whose sink refuses `count` records; how many of them are acked, and a look at the log.
fn refusing(disk: &SimulatedDisk, count: u64, settled: &Arc<AtomicU64>) -> (Running, watch::Receiver<u64>, LogView) {
    let (disk, settled) = (disk.clone(), Arc::clone(settled));
    let ends = LogSpec::new(move || Ok(disk.clone()), options(), wall())
        .open_late()
        .settled_elsewhere(move || Some(settled.load(Ordering::Relaxed)))
        .inlet::<Texts>();
    let builder = Pipeline::builder("letters").budget(mib(16)).batch(Weight::new(4, kib(64).get()));
    let (told, acked) = watch::channel(0);
    let texts = futures_util::stream::iter((0..count).map(|number| format!("{number:06} {}", "x".repeat(200))));
    let stream = futures_util::stream::StreamExt::chain(texts, futures_util::stream::pending());
    let committer = move |settled: Settled<u64>| {
        if settled.nack.is_none() && settled.counts.get(Outcome::Abandoned).is_zero() {
            told.send_replace(settled.position);
        }
    };
    let (port, letters) = builder.boxed_port::<Texts>(EdgeSpec::new("letters"));
    letters.sink_pool("letters", ends.sinks, SinkOptions::default().encoding(ends.encoding));
    builder
        .boxed_source("in", source::with_committer(source::stream(stream), committer))
        .edge(EdgeSpec::new("to-out"))
        .sink_with("out", Refuses, SinkOptions::default().dead_letters(&port));
    (builder.build().unwrap().start(), acked, ends.view)
}

/// The letters on a disk, each with its cause.
fn letters(disk: &SimulatedDisk) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    Survey::visit(disk, |_, payload| {
        let (meta, rows) = batch_of::<Texts>(payload).unwrap();
        let note = meta.dead_letter.unwrap();
        for text in rows.as_slice() {
            assert_eq!((note.nack.cause.as_str(), &*note.origin), (format!("no {text}").as_str(), "out"));
            assert!(note.first <= note.at, "{note:?}");
            found.insert(text.clone());
        }
        true
    })
    .unwrap();
    found
}

/// Acked as dead-lettered means durable, wherever the power goes.
#[tokio::test]
async fn letters_that_were_acked_survive_a_power_cut() {
    let mut acked_in_all = 0;
    for seed in 0..40 {
        let disk = SimulatedDisk::new(seed);
        disk.plan(20 + seed * 7, Fault::Power);
        let (running, mut acked, view) = refusing(&disk, 300, &Arc::default());
        while view.trouble().is_none() && *acked.borrow_and_update() < 300 {
            tokio::task::yield_now().await;
        }
        running.stop().await;
        let acked = *acked.borrow();
        acked_in_all += acked;
        disk.crash();
        disk.mend();
        let found = letters(&disk);
        let lost: Vec<_> =
            (0..acked).filter(|number| !found.iter().any(|text| text.starts_with(&format!("{number:06}")))).collect();
        assert_eq!(lost, [] as [u64; 0], "seed {seed}: {acked} were acked");
    }
    assert!(acked_in_all > 500, "{acked_in_all}");
}

#[tokio::test]
async fn a_full_disk_makes_whoever_refuses_wait_and_nothing_is_lost() {
    let disk = SimulatedDisk::new(3);
    disk.set_capacity(40 << 10);
    let (running, mut acked, view) = refusing(&disk, 1_000, &Arc::default());
    while !view.trouble().is_some_and(|trouble| trouble.is_fault && trouble.words.contains("no space left")) {
        tokio::task::yield_now().await;
    }
    assert!(view.trouble().unwrap().about("out.dead_letters").starts_with("the dead letters of out: no space left"));
    assert!(*acked.borrow_and_update() < 1_000);
    disk.set_capacity(u64::MAX);
    acked.wait_for(|acked| *acked == 1_000).await.unwrap();
    running.drain(Duration::ZERO).await;
    assert_eq!(letters(&disk).len(), 1_000);
}

/// Nothing in the pipeline reads the log: at its size it waits, until what is done elsewhere gives space back.
#[tokio::test]
async fn a_log_at_its_size_goes_on_when_its_reader_elsewhere_has_settled() {
    let (disk, settled) = (SimulatedDisk::new(4), Arc::new(AtomicU64::new(0)));
    let (running, mut acked, view) = refusing(&disk, 6_000, &settled);
    while view.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    let trouble = view.trouble().unwrap();
    assert!(!trouble.is_fault && trouble.needs_somebody("out.dead_letters") && !trouble.needs_somebody("out"));
    assert!(trouble.about("out.dead_letters").contains("have reached their max_size"), "{trouble:?}");
    let before = *acked.borrow_and_update();
    assert!((1_000..6_000).contains(&before), "{before}");
    settled.store(before / 2, Ordering::Relaxed);
    acked.wait_for(|acked| *acked > before + 500).await.unwrap();
    settled.store(u64::MAX, Ordering::Relaxed);
    acked.wait_for(|acked| *acked == 6_000).await.unwrap();
    assert_eq!(view.trouble(), None);
    running.drain(Duration::ZERO).await;
}
