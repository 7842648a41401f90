//! `map_async` in whole pipelines: order, bounds, progress while downstream is full, and what becomes of every record.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

mod order;
mod outcomes;
mod progress;
mod services;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{Items, Meta, Nack, Weigh, mib};
use tidegate_runtime::testkit::{assert_balanced, ended};
use tidegate_runtime::{Accepted, Pipeline, PipelineBuilder, Report, Sink};
use tokio::time::sleep;

/// A latency that is different for each record, and the same in each run.
fn latency(n: u64) -> Duration {
    Duration::from_millis(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57)
}

/// Counts what is in flight at once, over all and for each key.
#[derive(Clone, Default)]
struct Gauge(Arc<Mutex<Gauged>>);

#[derive(Default)]
struct Gauged {
    now: usize,
    most: usize,
    by_key: HashMap<u64, usize>,
}

struct InFlight(Gauge, u64);

impl Gauge {
    fn enter(&self, key: u64) -> InFlight {
        let mut gauged = self.0.lock().unwrap();
        gauged.now += 1;
        gauged.most = gauged.most.max(gauged.now);
        let of_key = gauged.by_key.entry(key).or_default();
        *of_key += 1;
        assert_eq!(*of_key, 1, "two calls for key {key} at once");
        InFlight(self.clone(), key)
    }

    fn most(&self) -> usize {
        self.0.lock().unwrap().most
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut gauged = self.0.0.lock().unwrap();
        gauged.now -= 1;
        *gauged.by_key.get_mut(&self.1).unwrap() -= 1;
    }
}

/// What a sink was given, each with the time.
type Kept<T> = Arc<Mutex<Vec<T>>>;

/// Takes this long for each batch.
struct Slow<T> {
    pause: Duration,
    kept: Kept<T>,
}

impl<T: Weigh + Send + 'static> Sink<Items<T>> for Slow<T> {
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        sleep(self.pause).await;
        self.kept.lock().unwrap().extend(payload.take());
        Ok(Accepted::All)
    }
}

fn slow<T>(pause: Duration) -> (Kept<T>, Slow<T>) {
    let kept: Kept<T> = Arc::default();
    (Arc::clone(&kept), Slow { pause, kept })
}

fn builder() -> PipelineBuilder {
    Pipeline::builder("calls").budget(mib(16))
}

async fn run(builder: &PipelineBuilder) -> Report {
    let running = builder.build().unwrap_or_else(|errors| panic!("{errors}")).start();
    // Far longer than any test takes in the runtime's time: what is still going on then has stalled.
    let report = running.drain_after(Duration::from_secs(36_000)).await;
    assert_balanced(&report);
    report
}

/// Waits for a pipeline to end by itself, but not for ever.
trait DrainAfter {
    async fn drain_after(self, limit: Duration) -> Report;
}

impl DrainAfter for tidegate_runtime::Running {
    async fn drain_after(self, limit: Duration) -> Report {
        let view = self.view();
        match tokio::time::timeout(limit, self.wait()).await {
            Ok(report) => report,
            Err(_) => panic!("stalled:\n{}", view.ledger()),
        }
    }
}
