//! The core benchmarks: what an edge, a fused chain, settlement, metrics and a whole small pipeline cost per record, beside
//! tokio's and crossfire's channels and a `futures::Stream` chain.
//!
//! `cargo xtask bench core [-- --json | --smoke | --only NAME]`. All cases of all rows are measured in turns, so that a
//! machine that slows down slows all of them, and the median of the repetitions counts. `--one NAME` runs one case of the
//! pipeline and prints its figure; the metrics row uses it to run a binary that was built without metrics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its table")]

mod fused;
mod hop;
mod peers;
mod pipeline;
mod report;
mod settle;
mod turns;

use turns::Options;

/// Counts allocations for `allocs_per_record`; every case pays for the counting alike.
#[global_allocator]
static HEAP: tidegate_heap::Counting = tidegate_heap::Counting::new();

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            std::process::exit(2);
        }
    };
    if let Some(name) = &options.one {
        return pipeline::one(name, &options);
    }
    let mut rows = Vec::new();
    rows.extend(fused::rows());
    rows.extend(hop::rows());
    rows.push(settle::row());
    rows.extend(pipeline::rows(&options));
    if let Some(only) = &options.only {
        rows.retain(|row| row.name.starts_with(only.as_str()));
    }
    if options.alone {
        rows.iter_mut().for_each(|row| row.cases.truncate(if row.value == turns::Value::First { 1 } else { 2 }));
    }
    let figures = turns::measure(rows, &options);
    if options.json { report::json(&figures) } else { report::table(&figures) }
}
