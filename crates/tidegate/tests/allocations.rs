//! In the steady state a pipeline allocates nothing per record nor per batch: batches, tickets and payloads are used
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tidegate::{Pipeline, PipelineEnd, Weight, kib, mib, sink, source};
use tidegate_heap::Counting;

#[global_allocator]
static HEAP: Counting = Counting::new();

const RECORDS: u64 = 400_000;
const BATCH: u64 = 64;

#[test]
fn the_second_half_of_a_run_allocates_nothing_per_batch() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (at_half, at_end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (half, end) = (Arc::clone(&at_half), Arc::clone(&at_end));
    runtime.block_on(async {
        let builder = Pipeline::builder("steady").budget(mib(8)).batch(Weight::new(BATCH, kib(64).get()));
        builder
            .source("count", source::iter(0..RECORDS))
            .map(|n| n * 3)
            .edge("mapped")
            .filter(|n| n % 8 != 0)
            .edge("kept")
            .sink(
                "look",
                sink::for_each(move |n: u64| match n / 3 {
                    at if at == RECORDS / 2 + 1 => half.store(HEAP.counts().allocations, Relaxed),
                    at if at == RECORDS - BATCH - 1 => end.store(HEAP.counts().allocations, Relaxed),
                    _ => {}
                }),
            );
        let report = builder.build().unwrap().start().wait().await;
        assert_eq!(report.end, PipelineEnd::Completed);
    });
    let (half, end) = (at_half.load(Relaxed), at_end.load(Relaxed));
    assert!(half > 0 && end >= half, "the sink saw both marks: {half}, {end}");
    let batches = RECORDS / 2 / BATCH;
    assert!(end - half < batches / 100, "{} allocations in {batches} batches", end - half);
}
