//! Tests of the edge as tasks and threads see it. The rules themselves are tested in `tidegate_flow::queue`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

mod cancel;
mod divert;
mod gone;
mod threads;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate_flow::queue::{Control, EdgeSpec, Level, Load, OnFull, ShedReason};
use tidegate_flow::{Records, Weight};

use super::*;

/// A batch of one record, of this many bytes.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    number: u64,
    bytes: u64,
}

impl Load for Item {
    fn weight(&self) -> Weight {
        Weight::new(1, self.bytes)
    }
    fn settle_shed(&mut self, _: ShedReason) {}
}

const fn item(number: u64) -> Item {
    Item { number, bytes: 1 }
}

/// An edge that holds this many records.
fn holding(records: u64) -> (EdgeTx<Item>, EdgeRx<Item>) {
    edge(EdgeSpec::new("test").records(records)).unwrap()
}

fn policy(records: u64, when_full: OnFull) -> (EdgeTx<Item>, EdgeRx<Item>) {
    edge(EdgeSpec::new("test").records(records).on_full(when_full)).unwrap()
}

/// Everything that is in the edge and everything still to come, until it ends.
async fn drain(mut rx: EdgeRx<Item>) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Event::Batch(item) = rx.recv().await {
        numbers.push(item.number);
    }
    numbers
}

async fn send(tx: &mut EdgeTx<Item>, number: u64) {
    assert_eq!(tx.send(&mut Some(item(number))).await, Ok(Sent::Enqueued));
}

/// Polls once, with a waker that wakes nobody.
fn poll_once(tx: &mut EdgeTx<Item>, slot: &mut Option<Item>) -> Poll<Result<Sent, SendError>> {
    tx.poll_send(&mut Context::from_waker(Waker::noop()), slot)
}

/// Nothing is in the edge, nobody waits, and everything is accounted for.
fn assert_calm(handle: &EdgeHandle) {
    let seen = handle.snapshot();
    assert!(seen.flows.balances(), "{seen:?}");
    assert_eq!((seen.fill, seen.reserved, seen.waiting_claims), (Weight::ZERO, Weight::ZERO, 0), "{seen:?}");
}

#[tokio::test]
async fn batches_come_out_in_order_and_then_the_end() {
    let (mut tx, rx) = holding(2);
    let received = tokio::spawn(drain(rx));
    for number in 0..100 {
        send(&mut tx, number).await;
    }
    drop(tx);
    assert_eq!(received.await.unwrap(), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_batch_stays_in_the_slot_until_it_is_granted() {
    let (mut tx, mut rx) = holding(1);
    send(&mut tx, 1).await;
    let mut slot = Some(item(2));
    assert!(poll_once(&mut tx, &mut slot).is_pending());
    assert_eq!(slot, Some(item(2)));
    assert_eq!(rx.recv().await, Event::Batch(item(1)));
    assert_eq!(slot, Some(item(2)), "granted, and still ours until we are polled");
    assert_eq!(poll_once(&mut tx, &mut slot), Poll::Ready(Ok(Sent::Enqueued)));
    assert_eq!(slot, None);
}

#[tokio::test]
async fn a_failure_comes_after_the_data_and_stops_the_others() {
    let (mut tx, mut rx) = holding(10);
    let mut other = tx.try_clone().unwrap();
    send(&mut tx, 1).await;
    tx.fail("the disk is on fire");
    let mut slot = Some(item(2));
    let error = other.send(&mut slot).await.unwrap_err();
    assert_eq!(error, SendError::Closed { edge: "test".into() });
    assert_eq!(slot, Some(item(2)));
    assert_eq!(rx.recv().await, Event::Batch(item(1)));
    assert_eq!(rx.recv().await, Event::Failed("the disk is on fire".into()));
}

#[tokio::test]
async fn several_batches_come_out_under_one_lock_after_control() {
    let (mut tx, mut rx) = holding(10);
    for number in 0..5 {
        send(&mut tx, number).await;
    }
    tx.send_control(Control::Checkpoint(3)).unwrap();
    let mut batches = Vec::new();
    assert_eq!(rx.recv_up_to(3, &mut batches).await, Received::Control(Control::Checkpoint(3)));
    assert_eq!(rx.recv_up_to(3, &mut batches).await, Received::Batches(3));
    assert_eq!(rx.recv_up_to(3, &mut batches).await, Received::Batches(2));
    assert_eq!(batches.iter().map(|item| item.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    drop(tx);
    assert_eq!(rx.recv_up_to(3, &mut batches).await, Received::Completed);
}

#[tokio::test]
async fn closing_keeps_what_is_in_the_edge() {
    let (mut tx, mut rx) = holding(10);
    send(&mut tx, 1).await;
    rx.close();
    assert!(matches!(tx.send(&mut Some(item(2))).await, Err(SendError::Closed { .. })));
    assert_eq!(rx.recv().await, Event::Batch(item(1)));
    assert_eq!(rx.recv().await, Event::Completed);
    assert_eq!(rx.recv().await, Event::Completed, "the end is said again");
}

#[tokio::test]
async fn dropping_the_consumer_drops_what_is_in_the_edge() {
    #[derive(Debug)]
    struct Shared(Arc<()>);
    impl Load for Shared {
        fn weight(&self) -> Weight {
            Weight::new(1, 1)
        }
        fn settle_shed(&mut self, _: ShedReason) {}
    }
    let (mut tx, rx) = edge(EdgeSpec::new("test")).unwrap();
    let value = Arc::new(());
    tx.send(&mut Some(Shared(Arc::clone(&value)))).await.unwrap();
    drop(rx);
    assert_eq!(Arc::strong_count(&value), 1, "freed at once, though the producer is still there");
    let seen = tx.handle().snapshot();
    assert!(seen.flows.balances() && seen.flows.abandoned == Records::new(1));
    let mut slot = Some(Shared(value));
    assert!(matches!(tx.send(&mut slot).await, Err(SendError::Closed { .. })));
    assert_eq!(Arc::strong_count(&slot.unwrap().0), 1);
}

#[tokio::test]
async fn policies_answer_at_once() {
    let (mut tx, _rx) = policy(1, OnFull::DropNewest);
    send(&mut tx, 1).await;
    assert_eq!(tx.send(&mut Some(item(2))).await, Ok(Sent::Shed(ShedReason::DropNewest)));
    tx.ready().await;

    let (mut tx, _rx) = policy(1, OnFull::Fail);
    send(&mut tx, 1).await;
    let mut slot = Some(item(2));
    assert_eq!(tx.send(&mut slot).await, Err(SendError::Full { edge: "test".into() }));
    assert_eq!(slot, Some(item(2)));

    let (mut tx, mut rx) = policy(1, OnFull::DropOldest);
    send(&mut tx, 1).await;
    send(&mut tx, 2).await;
    assert_eq!(rx.recv().await, Event::Batch(item(2)));
}

#[tokio::test]
async fn try_send_never_waits() {
    let (mut tx, mut rx) = holding(1);
    send(&mut tx, 1).await;
    let mut slot = Some(item(2));
    assert_eq!(tx.try_send(&mut slot), Err(SendError::Full { edge: "test".into() }));
    assert_eq!(tx.handle().snapshot().waiting_claims, 0);
    assert_eq!(rx.try_recv(), Some(Event::Batch(item(1))));
    assert_eq!(tx.try_send(&mut slot), Ok(Sent::Enqueued));
    assert_eq!(tx.try_send(&mut slot), Ok(Sent::Nothing));
}

#[tokio::test]
async fn a_lane_can_be_fixed_for_a_producer() {
    let (mut low, mut rx) = edge(EdgeSpec::new("test").lanes(&[0, 0])).unwrap();
    let mut high = low.for_lane(0).unwrap();
    low = low.for_lane(1).unwrap();
    send(&mut low, 1).await;
    send(&mut high, 2).await;
    assert_eq!(rx.recv().await, Event::Batch(item(2)));
}

#[tokio::test]
async fn producers_and_watches_are_bounded() {
    let (tx, _rx) = edge::<Item>(EdgeSpec::new("test").max_producers(2)).unwrap();
    let other = tx.try_clone().unwrap();
    assert!(tx.try_clone().is_err());
    drop(other);
    assert!(tx.try_clone().is_ok());

    let watches: Vec<_> = (0..MAX_WATCHES).map(|_| tx.watch().unwrap()).collect();
    let error = tx.watch().err().unwrap();
    assert!(error.to_string().starts_with("edge \"test\": "), "{error}");
    drop(watches);
    assert!(tx.watch().is_ok());
}

#[tokio::test]
async fn pressure_can_be_heard() {
    let (mut tx, mut rx) = holding(10);
    let mut watch = tx.watch().unwrap();
    let heard = tokio::spawn(async move {
        let mut levels = Vec::new();
        while let Some(level) = watch.changed().await {
            levels.push(level);
        }
        levels
    });
    for number in 0..10 {
        send(&mut tx, number).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        rx.recv().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(tx.pressure(), Level::Normal);
    drop(tx);
    assert_eq!(heard.await.unwrap(), [Level::High, Level::Critical, Level::High, Level::Normal]);
}

#[tokio::test]
async fn bad_specs_are_refused_by_name() {
    let error = edge::<Item>(EdgeSpec::new("to-enrich").records(0)).err().unwrap();
    assert!(error.to_string().starts_with("edge \"to-enrich\": "), "{error}");
}

#[tokio::test]
async fn the_clocks_are_told_what_is_waited_for() {
    #[derive(Default)]
    struct Told {
        blocked: AtomicUsize,
        idle: AtomicUsize,
    }
    impl EdgeClock for Told {
        fn now(&self) -> tidegate_flow::Time {
            tidegate_flow::Time::ZERO
        }
        fn waiting_blocked(&self) {
            self.blocked.fetch_add(1, Ordering::Relaxed);
        }
        fn waiting_idle(&self) {
            self.idle.fetch_add(1, Ordering::Relaxed);
        }
    }
    let told = Arc::new(Told::default());
    let counts = || (told.blocked.load(Ordering::Relaxed), told.idle.load(Ordering::Relaxed));
    let clock: Arc<dyn EdgeClock> = told.clone();
    let (mut tx, mut rx) = holding(1);
    tx.set_clock(Arc::clone(&clock));
    rx.set_clock(clock);
    assert_eq!(rx.try_recv(), None);
    assert_eq!(counts(), (0, 1));
    send(&mut tx, 1).await;
    assert_eq!(counts(), (0, 1));
    assert!(poll_once(&mut tx, &mut Some(item(2))).is_pending());
    assert!(tx.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(counts(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_level_rises_with_age_when_somebody_looks() {
    let spec = EdgeSpec::new("test").high_residence(Duration::from_secs(1));
    let (mut tx, _rx) = edge(spec).unwrap();
    send(&mut tx, 1).await;
    tokio::time::sleep(Duration::from_millis(1001)).await;
    let handle = tx.handle();
    let seen = handle.snapshot();
    assert_eq!((seen.level, seen.head_age.as_secs()), (Level::High, 1));
}
