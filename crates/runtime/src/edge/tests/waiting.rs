//! Who waits, for how long, and in which order they go on.

use std::sync::Mutex;

use tidegate_flow::kib;
use tokio::time::{Instant, sleep};

use super::*;

const TICK: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_without_credit_however_long_one_waits() {
    let (mut tx, mut rx) = holding(1);
    send(&mut tx, 1).await;
    let sending = tokio::spawn(async move { tx.send(&mut Some(item(2))).await });
    sleep(Duration::from_secs(1_000_000)).await;
    assert!(!sending.is_finished());
    assert_eq!(rx.recv().await, Event::Batch(item(1)));
    assert_eq!(sending.await.unwrap(), Ok(Sent::Enqueued));
}

#[tokio::test(start_paused = true)]
async fn block_with_a_limit_gives_up_at_the_limit_and_keeps_the_batch() {
    let (mut tx, mut rx) = policy(1, OnFull::Block { max: Some(TICK) });
    send(&mut tx, 1).await;
    let mut slot = Some(item(2));
    for _ in 0..2 {
        let started = Instant::now();
        let error = tx.send(&mut slot).await.unwrap_err();
        assert_eq!(error, SendError::Timeout { edge: "test".into(), limit: TICK });
        let waited = started.elapsed();
        assert!(waited >= TICK && waited < TICK + Duration::from_millis(5), "{waited:?}");
        assert_eq!(slot, Some(item(2)));
        assert_eq!(tx.handle().snapshot().waiting_claims, 0);
    }
    rx.recv().await;
    assert_eq!(tx.send(&mut slot).await, Ok(Sent::Enqueued));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_takes_the_claim_back_whoever_polls() {
    let (mut tx, mut rx) = policy(1, OnFull::Block { max: Some(TICK) });
    send(&mut tx, 1).await;
    let mut slot = Some(item(2));
    let sent = std::future::poll_fn(|cx| tx.poll_send(cx, &mut slot)).await;
    assert!(matches!(sent, Err(SendError::Timeout { .. })));
    assert_eq!(tx.handle().snapshot().waiting_claims, 0);
    // The next wait is a whole one again.
    let started = Instant::now();
    assert!(std::future::poll_fn(|cx| tx.poll_send(cx, &mut slot)).await.is_err());
    assert!(started.elapsed() >= TICK);
    assert_eq!(rx.recv().await, Event::Batch(item(1)));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_edge_wakes_those_who_wait() {
    for close in [true, false] {
        let (mut tx, mut rx) = holding(1);
        send(&mut tx, 1).await;
        let mut other = tx.try_clone().unwrap();
        let waiting = tokio::spawn(async move {
            other.ready().await;
            other.send(&mut Some(item(3))).await
        });
        let sending = tokio::spawn(async move {
            let mut slot = Some(item(2));
            (tx.send(&mut slot).await, slot)
        });
        sleep(TICK).await;
        if close {
            rx.close();
        } else {
            drop(rx);
        }
        let (sent, slot) = sending.await.unwrap();
        assert_eq!((sent, slot), (Err(SendError::Closed { edge: "test".into() }), Some(item(2))));
        assert!(matches!(waiting.await.unwrap(), Err(SendError::Closed { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn idle_producers_hold_no_slot() {
    let (mut tx, mut rx) = holding(1);
    send(&mut tx, 0).await;
    let idle: Vec<_> = (0..8)
        .map(|_| {
            let mut idle = tx.try_clone().unwrap();
            // Ready, and then nothing to send for ever.
            tokio::spawn(async move {
                idle.ready().await;
                std::future::pending::<()>().await;
                drop(idle);
            })
        })
        .collect();
    let sending = tokio::spawn(async move {
        for number in 1..100 {
            send(&mut tx, number).await;
        }
        tx
    });
    for number in 0..100 {
        assert_eq!(rx.recv().await, Event::Batch(item(number)));
    }
    drop(sending.await.unwrap());
    for task in idle {
        task.abort();
    }
}

#[tokio::test]
async fn a_starving_consumer_is_noticed() {
    let (mut tx, mut rx) = holding(10);
    send(&mut tx, 1).await;
    assert!(!tx.is_starving());
    let starving = tokio::spawn(async move {
        std::future::poll_fn(|cx| tx.poll_starving(cx)).await;
        tx
    });
    tokio::task::yield_now().await;
    assert!(!starving.is_finished());
    rx.recv().await;
    assert_eq!(rx.try_recv(), None);
    let tx = starving.await.unwrap();
    assert!(tx.is_starving());
}

#[tokio::test]
async fn a_task_that_always_finds_room_or_data_still_yields() {
    let (mut tx, mut rx) = policy(1, OnFull::DropOldest);
    let neighbour = Arc::new(AtomicUsize::new(0));
    let turns = Arc::clone(&neighbour);
    let task = tokio::spawn(async move {
        loop {
            turns.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for number in 0..10_000 {
        send(&mut tx, number).await;
        rx.recv().await;
    }
    task.abort();
    assert!(neighbour.load(Ordering::Relaxed) > 10);
}

#[tokio::test]
async fn producers_share_by_bytes() {
    let spec = EdgeSpec::new("test").records(1).quantum(kib(1));
    let (tx, mut rx) = edge(spec).unwrap();
    let sizes = [100_u64, 500, 2000];
    let producers: Vec<_> = sizes
        .iter()
        .map(|&bytes| {
            let mut tx = tx.try_clone().unwrap();
            tokio::spawn(async move { while tx.send(&mut Some(Item { number: bytes, bytes })).await.is_ok() {} })
        })
        .collect();
    drop(tx);
    let mut bytes = std::collections::BTreeMap::new();
    for _ in 0..20_000 {
        if let Event::Batch(item) = rx.recv().await {
            *bytes.entry(item.number).or_insert(0_u64) += item.bytes;
        }
        // Let whoever was served come back in time.
        tokio::task::yield_now().await;
    }
    drop(rx);
    for producer in producers {
        producer.await.unwrap();
    }
    let (least, most) = (bytes.values().min().unwrap(), bytes.values().max().unwrap());
    assert!(most - least <= 1024 + 2 * 2000, "{bytes:?}");
}

/// A budget of so many batches.
#[derive(Default)]
struct Places {
    free: Mutex<usize>,
    waiting: Mutex<Vec<Waker>>,
}

impl Places {
    fn give_back(&self) {
        *self.free.lock().unwrap() += 1;
        for waker in self.waiting.lock().unwrap().drain(..) {
            waker.wake();
        }
    }
}

impl EdgeBudget<Item> for Places {
    fn charge(&self, _: &mut Item) -> bool {
        let mut free = self.free.lock().unwrap();
        let charged = *free > 0;
        *free -= usize::from(charged);
        charged
    }
    fn wake_when_free(&self, _batch: &Item, waker: &Waker) {
        self.waiting.lock().unwrap().push(waker.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn producers_go_on_when_memory_comes_free() {
    let places = Arc::new(Places { free: Mutex::new(1), ..Places::default() });
    let surroundings = Surroundings { budget: Some(Arc::clone(&places) as _), ..Surroundings::default() };
    let (tx, mut rx) = edge_in(EdgeSpec::new("test").records(100), surroundings).unwrap();
    let producers: Vec<_> = (0..4)
        .map(|index| {
            let mut tx = tx.try_clone().unwrap();
            tokio::spawn(async move {
                for number in 0..25 {
                    send(&mut tx, index * 100 + number).await;
                }
            })
        })
        .collect();
    drop(tx);
    let mut received = 0;
    while let Event::Batch(_) = rx.recv().await {
        received += 1;
        // The bytes live on after the batch has left the edge.
        sleep(TICK).await;
        places.give_back();
    }
    assert_eq!(received, 100);
    for producer in producers {
        producer.await.unwrap();
    }
    assert_calm(&rx.handle());
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_goes_on_through_futures_that_are_dropped() {
    let limit = Duration::from_secs(1);
    let (mut tx, mut rx) = policy(1, OnFull::Block { max: Some(limit) });
    send(&mut tx, 1).await;
    let part = limit * 2 / 5;
    let mut slot = Some(item(2));
    for _ in 0..2 {
        assert!(tokio::time::timeout(part, tx.send(&mut slot)).await.is_err(), "not yet");
    }
    let before = tokio::time::Instant::now();
    assert!(matches!(tx.send(&mut slot).await, Err(SendError::Timeout { .. })));
    assert_eq!(before.elapsed(), limit - part * 2, "what it had waited before counts");

    assert!(tokio::time::timeout(part, tx.send(&mut slot)).await.is_err(), "after a timeout it begins anew");
    tx.cancel();
    let before = tokio::time::Instant::now();
    assert!(matches!(tx.send(&mut slot).await, Err(SendError::Timeout { .. })));
    assert_eq!(before.elapsed(), limit, "the batch before was given up");

    assert!(tokio::time::timeout(part, tx.send(&mut slot)).await.is_err());
    assert_eq!(rx.recv().await, Event::Batch(item(1)));
    assert_eq!(tx.send(&mut slot).await, Ok(Sent::Enqueued));
    let before = tokio::time::Instant::now();
    assert!(matches!(tx.send(&mut Some(item(3))).await, Err(SendError::Timeout { .. })));
    assert_eq!(before.elapsed(), limit, "the batch before was sent");
}
