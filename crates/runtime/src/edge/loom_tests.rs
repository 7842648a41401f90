//! The parking of an edge under every interleaving.
//!
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test -p tidegate-runtime --lib edge::loom_tests`
//! A lost wake-up shows as a deadlock, which the model checker reports.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::thread;
use tidegate_flow::queue::{EdgeSpec, Load, ShedReason};
use tidegate_flow::{Time, Weight};

use super::*;

#[derive(Debug, PartialEq, Eq)]
struct Item(u64);

impl Load for Item {
    fn weight(&self) -> Weight {
        Weight::new(1, 1)
    }
    fn settle_shed(&mut self, _: ShedReason) {}
}

/// Time stands still: no rule tested here needs it.
struct Still;

impl EdgeClock for Still {
    fn now(&self) -> Time {
        Time::ZERO
    }
}

fn holding(records: u64, budget: Option<std::sync::Arc<dyn EdgeBudget<Item>>>) -> (EdgeTx<Item>, EdgeRx<Item>) {
    let spec = EdgeSpec::new("loom").records(records).max_producers(3).control_capacity(1);
    edge_in(spec, Surroundings { clock: std::sync::Arc::new(Still), budget }).unwrap()
}

/// Checks every interleaving with at most this many preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn model(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(test);
}

fn poll_once(tx: &mut EdgeTx<Item>, slot: &mut Option<Item>) -> Poll<Result<Sent, SendError>> {
    tx.poll_send(&mut Context::from_waker(Waker::noop()), slot)
}

/// Receives until the end, and says how much came.
fn drain(mut rx: EdgeRx<Item>) -> Vec<u64> {
    block_on(async {
        let mut numbers = Vec::new();
        while let Event::Batch(Item(number)) = rx.recv().await {
            numbers.push(number);
        }
        numbers
    })
}

/// Push against park, grant against park, and the end against park: all three happen in these few steps.
#[test]
fn no_wake_up_is_lost_between_a_producer_and_the_consumer() {
    model(3, || {
        let (mut tx, rx) = holding(1, None);
        let sender = thread::spawn(move || {
            block_on(async {
                for number in 0..3 {
                    assert_eq!(tx.send(&mut Some(Item(number))).await, Ok(Sent::Enqueued));
                }
            });
        });
        assert_eq!(drain(rx), [0, 1, 2]);
        sender.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost_between_two_producers_and_the_consumer() {
    model(2, || {
        let (mut tx, rx) = holding(1, None);
        let mut other = tx.try_clone().unwrap();
        let first = thread::spawn(move || block_on(async { tx.send(&mut Some(Item(1))).await.unwrap() }));
        let second = thread::spawn(move || block_on(async { other.send(&mut Some(Item(2))).await.unwrap() }));
        assert_eq!(drain(rx).len(), 2);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_consumer_that_leaves_wakes_a_blocked_producer_and_the_batch_is_somewhere() {
    model(3, || {
        let (mut tx, rx) = holding(1, None);
        let handle = tx.handle();
        let sender = thread::spawn(move || {
            block_on(async {
                let (mut first, mut second) = (Some(Item(1)), Some(Item(2)));
                let _ = tx.send(&mut first).await;
                let _ = tx.send(&mut second).await;
                u64::from(first.is_some()) + u64::from(second.is_some())
            })
        });
        drop(rx);
        let kept = sender.join().unwrap();
        let seen = handle.snapshot();
        assert!(seen.flows.balances());
        assert_eq!(seen.flows.abandoned.get() + kept, 2);
    });
}

#[test]
fn a_granted_claim_that_is_given_up_passes_on() {
    model(2, || {
        let (mut tx, mut rx) = holding(1, None);
        let mut quitter = tx.try_clone().unwrap();
        assert!(poll_once(&mut tx, &mut Some(Item(0))).is_ready());
        let mut slot = Some(Item(1));
        assert!(poll_once(&mut quitter, &mut slot).is_pending());
        let giving_up = thread::spawn(move || {
            quitter.cancel();
            drop(quitter);
        });
        let sender = thread::spawn(move || block_on(async { tx.send(&mut Some(Item(2))).await.unwrap() }));
        let first = block_on(rx.recv());
        assert_eq!(first, Event::Batch(Item(0)));
        assert_eq!(drain(rx), [2]);
        giving_up.join().unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn the_last_waker_wins() {
    model(3, || {
        let (mut tx, mut rx) = holding(1, None);
        let sender = thread::spawn(move || block_on(async { tx.send(&mut Some(Item(1))).await.unwrap() }));
        // Somebody else polled before: his waker must not keep ours out.
        let _ = rx.poll_recv(&mut Context::from_waker(Waker::noop())).map(|event| match event {
            Event::Batch(Item(number)) => assert_eq!(number, 1),
            other => panic!("{other:?}"),
        });
        let rest = drain(rx);
        assert!(rest.is_empty() || rest == [1]);
        sender.join().unwrap();
    });
}

#[test]
fn ready_is_woken_by_a_grant() {
    model(3, || {
        let (mut tx, mut rx) = holding(1, None);
        assert!(poll_once(&mut tx, &mut Some(Item(0))).is_ready());
        let waiter = thread::spawn(move || {
            block_on(async {
                tx.ready().await;
                assert_eq!(tx.try_send(&mut Some(Item(1))), Ok(Sent::Enqueued));
            });
        });
        assert_eq!(block_on(rx.recv()), Event::Batch(Item(0)));
        assert_eq!(drain(rx), [1]);
        waiter.join().unwrap();
    });
}

/// One place of memory, given back by another thread.
struct Place(loom::sync::Mutex<(bool, Option<Waker>)>);

impl EdgeBudget<Item> for Place {
    fn charge(&self, _: &mut Item) -> bool {
        let mut state = self.0.lock().unwrap();
        std::mem::take(&mut state.0)
    }
    fn wake_when_free(&self, _batch: &Item, waker: &Waker) {
        self.0.lock().unwrap().1 = Some(waker.clone());
    }
}

#[test]
fn memory_that_comes_free_wakes_the_producer_that_it_was_refused_to() {
    model(3, || {
        let place = std::sync::Arc::new(Place(loom::sync::Mutex::new((false, None))));
        let (mut tx, rx) = holding(1, Some(place.clone()));
        let sender = thread::spawn(move || block_on(async { tx.send(&mut Some(Item(1))).await.unwrap() }));
        let waker = {
            let mut state = place.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        // A consumer that parks would let the claim try again too: it must not be needed.
        sender.join().unwrap();
        assert_eq!(drain(rx), [1]);
    });
}
