//! `pipeline3` and what follows from it: source, map, edge, filter, edge, sink, with everything on that a pipeline has.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tidegate::{Pipeline, PipelineEnd, SourceOptions, Weight, kib, mib, sink, source};
use tokio::runtime::Runtime;

use crate::HEAP;
use crate::peers::{self, Crossfire, Tokio, change, keep};
use crate::turns::{Case, Options, Row, Target, Value, nanos_per_record, runtime};

const BATCH: u64 = 256;

/// One way to run the pipeline.
#[derive(Copy, Clone)]
struct Setup {
    batch: u64,
    acks: bool,
}

const DEFAULT: Setup = Setup { batch: BATCH, acks: true };

pub(crate) fn rows(options: &Options) -> Vec<Row> {
    let mut rows = vec![
        throughput("pipeline3", 1, Target::AtLeast(20e6)),
        throughput("pipeline3_2t", 2, Target::None),
        acks_ratio(),
        allocations(options),
    ];
    rows.extend(metrics_overhead(options));
    rows
}

fn throughput(name: &'static str, threads: usize, target: Target) -> Row {
    let shared = Arc::new(runtime(threads));
    let case = |label, millions, work: fn(&Runtime, u64)| {
        let shared = Arc::clone(&shared);
        Case::new(label, millions, move |n| per_second(threads, n, || work(&shared, n)))
    };
    Row {
        name,
        unit: "records/s",
        target,
        value: Value::First,
        cases: vec![
            case("tidegate", 50, |runtime, n| run(runtime, n, DEFAULT)),
            case("mpsc_item", 5, peers::pipeline_items::<Tokio>),
            case("mpsc_batch", 50, |runtime, n| peers::pipeline_batches::<Tokio>(runtime, n, BATCH)),
            case("crossfire_item", 5, peers::pipeline_items::<Crossfire>),
            case("crossfire_batch", 50, |runtime, n| peers::pipeline_batches::<Crossfire>(runtime, n, BATCH)),
            case("futures_stream", 100, peers::pipeline_stream),
        ],
    }
}

fn acks_ratio() -> Row {
    let case = |label, acks| {
        let shared = runtime(1);
        let setup = Setup { acks, ..DEFAULT };
        Case::new(label, 50, move |n| per_second(1, n, || run(&shared, n, setup)))
    };
    Row {
        name: "acks_ratio",
        unit: "ratio",
        target: Target::AtLeast(0.85),
        value: Value::Ratio,
        cases: vec![case("acks_on", true), case("acks_off", false)],
    }
}

/// Allocations in the second half of a run, by the allocator's count.
fn allocations(_options: &Options) -> Row {
    let shared = runtime(1);
    let run = move |records: u64| {
        let (half, end) = (records / 2, records - BATCH);
        let at_half = Arc::new(AtomicU64::new(0));
        let at_end = Arc::new(AtomicU64::new(0));
        let (set_half, set_end) = (Arc::clone(&at_half), Arc::clone(&at_end));
        let records_read = (0..records).inspect(move |n| {
            if *n == half {
                set_half.store(HEAP.counts().allocations, Relaxed);
            } else if *n == end {
                set_end.store(HEAP.counts().allocations, Relaxed);
            }
        });
        run_source(&shared, records_read, DEFAULT);
        let made = at_end.load(Relaxed) - at_half.load(Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "a benchmark")]
        let per_record = made as f64 / (end - half) as f64;
        per_record
    };
    Row {
        name: "allocs_per_record",
        unit: "allocs",
        target: Target::AtMost(0.000_01),
        value: Value::First,
        cases: vec![Case::new("tidegate", 50, run)],
    }
}

/// This binary against the one that was built without metrics, each run as a process of its own, in turns.
fn metrics_overhead(options: &Options) -> Option<Row> {
    let Some(unmetered) = options.unmetered.clone() else {
        eprintln!("metrics_overhead is left out: `cargo xtask bench core` builds the second binary that it needs");
        return None;
    };
    let this = std::env::current_exe().unwrap().display().to_string();
    let smoke = options.smoke;
    let case = |label, binary: String| {
        Case::new(label, 50, move |_| {
            let mut command = Command::new(&binary);
            command.args(["--one", "pipeline3_64"]).args(smoke.then_some("--smoke"));
            let output = command.output().expect("the benchmark can be run");
            assert!(output.status.success(), "{binary}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints one number")
        })
    };
    Some(Row {
        name: "metrics_overhead",
        unit: "percent",
        target: Target::AtMost(2.0),
        value: Value::PercentBelow,
        cases: vec![case("metrics_on", this), case("metrics_off", unmetered)],
    })
}

/// What a child process does: prints records per second with batches of the size that the name ends in.
pub(crate) fn one(name: &str, options: &Options) {
    let batch = name.strip_prefix("pipeline3_").and_then(|size| size.parse().ok()).expect("--one pipeline3_SIZE");
    let shared = runtime(1);
    let setup = Setup { batch, ..DEFAULT };
    let records = options.records(50);
    run(&shared, records / 10, setup);
    // The best of a few: two processes share no moment, so what disturbed one of them must not count.
    let best = (0..5).map(|_| per_second(1, records, || run(&shared, records, setup))).fold(0.0, f64::max);
    println!("{best}");
}

fn per_second(threads: usize, records: u64, work: impl FnOnce()) -> f64 {
    1e9 / nanos_per_record(threads, records, work)
}

fn run(runtime: &Runtime, records: u64, setup: Setup) {
    run_source(runtime, 0..records, setup);
}

fn run_source(runtime: &Runtime, records: impl Iterator<Item = u64> + Send + 'static, setup: Setup) {
    let builder = Pipeline::builder("bench").budget(mib(16)).batch(Weight::new(setup.batch, kib(64).get()));
    let source = SourceOptions::new(source::iter(records));
    builder
        .source("count", if setup.acks { source } else { source.without_acks() })
        .map(change)
        .edge("changed")
        .filter(keep)
        .edge("kept")
        .sink(
            "look",
            sink::for_each(|n: u64| {
                black_box(n);
            }),
        );
    let pipeline = builder.build().expect("a valid pipeline");
    let report = runtime.block_on(async { pipeline.start().wait().await });
    assert_eq!(report.end, PipelineEnd::Completed);
    if !cfg!(tidegate_unmetered) {
        report.ledger.check().expect("a balanced ledger");
    }
}
