//! Calls of tower services: asked once for each record, and hoarding nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::Outcome;
use tidegate_runtime::{CallLimits, Order, sink, source};
use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::{builder, ended, run, slow};

/// A service with a few permits, taken by whoever is told that it is ready.
#[derive(Clone)]
struct Permits(Arc<Mutex<Shared>>, bool);

#[derive(Default)]
struct Shared {
    free: usize,
    asked: usize,
    called: usize,
    wakers: Vec<std::task::Waker>,
}

impl Permits {
    fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(Shared { free, ..Shared::default() })), false)
    }

    fn give_back(shared: &Mutex<Shared>) {
        let mut shared = shared.lock().unwrap();
        shared.free += 1;
        shared.wakers.drain(..).for_each(std::task::Waker::wake);
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if self.1 {
            Self::give_back(&self.0);
        }
    }
}

impl Service<u64> for Permits {
    type Response = u64;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<u64, &'static str>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        let mut shared = self.0.lock().unwrap();
        if shared.free == 0 {
            shared.wakers.push(task.waker().clone());
            return Poll::Pending;
        }
        shared.asked += 1;
        shared.free -= 1;
        drop(shared);
        self.1 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u64) -> Self::Future {
        assert!(std::mem::take(&mut self.1), "called without being ready");
        let shared = Arc::clone(&self.0);
        shared.lock().unwrap().called += 1;
        Box::pin(async move {
            sleep(Duration::from_secs(1)).await;
            Self::give_back(&shared);
            if n == 13 { Err("thirteen") } else { Ok(n * 10) }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_asked_once_for_each_record_and_hoards_nothing() {
    let service = Permits::new(2);
    let (kept, keep) = slow(Duration::ZERO);
    let builder = builder();
    let started = Instant::now();
    builder
        .source("count", source::iter(0..20_u64))
        .call_service(8, Order::Ordered, service.clone())
        .edge("out")
        .sink("keep", keep);
    let report = run(&builder).await;
    assert_eq!(*kept.lock().unwrap(), (0..20).filter(|n| *n != 13).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(ended(&report, Outcome::Returned), 1);
    assert_eq!(started.elapsed(), Duration::from_secs(10), "two at a time");
    let shared = service.0.lock().unwrap();
    assert_eq!((shared.asked, shared.called, shared.free), (20, 20, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_waiting_for_a_service_leaves_its_place() {
    let service = Permits::new(0);
    let builder = builder();
    builder
        .source("count", source::iter(0..6_u64))
        .call_service(CallLimits::new(2).timeout(Duration::from_secs(3)), Order::Unordered, service.clone())
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!(ended(&report, Outcome::Returned), 6, "{report}");
    let shared = service.0.lock().unwrap();
    assert_eq!((shared.asked, shared.called, shared.free), (0, 0, 0));
}

/// Never ready: what it says is an error.
#[derive(Clone)]
struct Broken;

impl Service<u64> for Broken {
    type Response = u64;
    type Error = &'static str;
    type Future = std::future::Ready<Result<u64, &'static str>>;

    fn poll_ready(&mut self, _task: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("broken"))
    }

    fn call(&mut self, _n: u64) -> Self::Future {
        unreachable!("never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_before_the_call_refuses_the_record_for_now() {
    let builder = builder();
    builder
        .source("count", source::iter(0..3_u64))
        .call_service(2, Order::Ordered, Broken)
        .edge("out")
        .sink("drop", sink::for_each(|_: u64| {}));
    let report = run(&builder).await;
    assert_eq!(ended(&report, Outcome::Returned), 3);
}
