//! One stream, two readers: an archive that must have everything, and a live view that may miss what it is too slow
//! for. The slow reader hurts only itself, and every record that it misses is counted.
//!
//! ```text
//! readings -> fork -> archive    (required: a reading is settled when the archive has it)
//!                 \-> live view  (best effort: an edge of 64 readings that drops the oldest)
//! ```
//!
//! `cargo run --release -p tidegate --example fan_out`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate::{Branch, EdgeSpec, OnFull, Outcome, Pipeline, Weight, kib, mib, sink, source};

mod say;
use say::say;

const READINGS: u64 = 50_000;

fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let archived = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(AtomicU64::new(0));
    let (archive, live) = (Arc::clone(&archived), Arc::clone(&seen));

    let builder = Pipeline::builder("readings").budget(mib(4)).batch(Weight::new(32, kib(16).get()));
    let [to_archive, to_live] = builder.source("readings", source::iter(0..READINGS)).fork([
        Branch::required("to-archive"),
        Branch::best_effort(EdgeSpec::new("to-live").records(64).on_full(OnFull::DropOldest)),
    ]);
    to_archive.sink("archive", sink::for_each(move |_| add_one(&archive)));
    to_live.sink(
        "live view",
        sink::for_each_async(move |_| {
            add_one(&live);
            tokio::time::sleep(Duration::from_millis(1))
        }),
    );

    let report = builder.build()?.start().wait().await;
    say!("{report}\n");

    let (archived, seen) = (archived.load(Ordering::Relaxed), seen.load(Ordering::Relaxed));
    let missed: u64 = report.ledger.shed().map(|(_, _, records)| records.get()).sum();
    say!("archived {archived} of {READINGS}; the live view saw {seen} and missed {missed}, each one counted");
    report.ledger.check()?;
    let verdict = &report.bottleneck;
    assert!(verdict.culprit.as_ref().is_none_or(|who| who.name != "live view"), "who may lose records limits nobody");
    assert!(verdict.remarks.iter().any(|remark| remark.name == "to-live" && remark.best_effort), "but it is told");
    assert_eq!(archived, READINGS, "the required branch loses nothing");
    assert_eq!(seen + missed, READINGS, "what the other branch loses is counted");
    assert!(missed > 0, "the live view is too slow for this");
    let delivered = report.ledger.total().ended.get(Outcome::Delivered);
    assert_eq!(delivered.get(), READINGS, "and for the source all of it was delivered");
    Ok(())
}
