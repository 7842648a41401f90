//! What an edge on disk costs beside one in memory: `cargo bench -p tidegate-runtime --bench durable`.
//!
//! Each turn sends the same records from an iterator to a sink that counts them, over an edge in memory and over one on
//! disk (all written, and written under pressure), in a folder of the target directory. The build machine's disk answers a
//! sync in 0.1 ms, which no medium does, so each sync takes 2 ms more. The edge in memory moves texts that nobody looks at,
//! which no pipeline of a program does: what counts is how the rate on disk compares with what the stages around it can do,
//! 1 to 2 million records a second.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark"
)]

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_flow::{EdgeSpec, Items, mib};
use tidegate_runtime::durable::{LogOptions, LogSource, LogSpec, RealDisk};
use tidegate_runtime::{Pipeline, PipelineBuilder, SinkOptions, SourceOptions, sink, source};
use tidegate_store::{Disk, DiskFile};

const RECORDS: u64 = 4_000_000;
const BYTES: usize = 256;
const SYNC: Duration = Duration::from_millis(2);

/// What a medium takes for a sync.
#[allow(clippy::disallowed_methods, reason = "it plays a disk")]
fn wait() {
    // tidy: allow(banned-calls): it plays a disk
    thread::sleep(SYNC);
}

/// A disk whose syncs take longer.
struct Slow(RealDisk);

struct SlowFile(<RealDisk as Disk>::File);

impl Disk for Slow {
    type File = SlowFile;

    fn create(&self, name: &str, size: u64) -> io::Result<SlowFile> {
        self.0.create(name, size).map(SlowFile)
    }

    fn open(&self, name: &str) -> io::Result<SlowFile> {
        self.0.open(name).map(SlowFile)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        wait();
        self.0.sync_names()
    }
}

impl DiskFile for SlowFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        DiskFile::read_at(&self.0, offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        wait();
        self.0.sync()
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

fn builder() -> PipelineBuilder {
    Pipeline::builder("bench").budget(mib(64))
}

fn records() -> source::IterSource<impl Iterator<Item = String>> {
    let text = "x".repeat(BYTES);
    source::iter((0..RECORDS).map(move |_| text.clone()))
}

async fn in_memory() -> f64 {
    let builder = builder();
    builder.boxed_source("in", records()).edge(EdgeSpec::new("edge")).sink("out", sink::for_each(drop::<String>));
    time(builder).await
}

/// Whether everything is written, or what the sink does not take in time.
#[derive(Copy, Clone)]
enum Form {
    Always,
    UnderPressure,
}

async fn on_disk(folder: PathBuf, form: Form) -> f64 {
    drop(std::fs::remove_dir_all(&folder));
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_nanos() as u64);
    let options = LogOptions::new(256 << 20).memory_bytes(2 << 20);
    let wait = match form {
        Form::Always => None,
        Form::UnderPressure => Some(Duration::from_secs(1)),
    };
    let spec = LogSpec::new(move || RealDisk::at(&folder).map(Slow), options, wall).write_under_pressure(wait);
    let ends = spec.ends::<Items<String>>();
    let view = ends.view.clone();
    let builder = builder();
    builder.boxed_source("in", records()).edge(EdgeSpec::new("before")).sink_pool(
        "to_disk",
        ends.sinks,
        SinkOptions::default().encoding(ends.encoding),
    );
    let reading = SourceOptions::new(ends.source).holding(LogSource::<Items<String>, Slow>::HOLDING);
    builder
        .boxed_source("from_disk", reading)
        .edge(EdgeSpec::new("behind"))
        .sink("out", sink::for_each(drop::<String>));
    let rate = time(builder).await;
    let counts = view.counts();
    println!("    written {} records, passed in memory {}, {} syncs", counts.written, counts.passed, counts.syncs);
    rate
}

/// Records a second.
async fn time(builder: PipelineBuilder) -> f64 {
    let begun = Instant::now();
    let report = builder.build().unwrap().start().wait().await;
    report.ledger.check().unwrap();
    RECORDS as f64 / begun.elapsed().as_secs_f64()
}

fn main() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("durable-bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut rates = Vec::new();
    for _ in 0..3 {
        let memory = runtime.block_on(in_memory());
        let disk = runtime.block_on(on_disk(folder.clone(), Form::Always));
        let spills = runtime.block_on(on_disk(folder.clone(), Form::UnderPressure));
        println!("in memory {memory:>12.0}/s   on disk {disk:>12.0}/s   under pressure {spills:>12.0}/s");
        rates.push(disk);
    }
    drop(std::fs::remove_dir_all(&folder));
    rates.sort_by(f64::total_cmp);
    let mib = rates[1] * BYTES as f64 / f64::from(1 << 20);
    println!(
        "{RECORDS} records of {BYTES} bytes, each sync {SYNC:?} longer: {:.0}/s on disk, {mib:.0} MiB/s",
        rates[1]
    );
}
