//! Dropping any future at any await loses nothing.

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::testkit::{Cut, drop_at_every_await};

const TICK: Duration = Duration::from_secs(1);

/// A full edge whose consumer takes one batch a tick, and another producer that wants to send as well.
struct Scene {
    tx: EdgeTx<Item>,
    slot: Option<Item>,
    handle: EdgeHandle,
    other: JoinHandle<()>,
    received: JoinHandle<Vec<u64>>,
}

impl Scene {
    fn new(spec: EdgeSpec) -> Self {
        let (mut tx, mut rx) = edge(spec).unwrap();
        assert_eq!(tx.try_send(&mut Some(item(1))), Ok(Sent::Enqueued));
        let mut second = tx.try_clone().unwrap();
        let other = tokio::spawn(async move {
            sleep(TICK / 2).await;
            send(&mut second, 2).await;
        });
        let handle = tx.handle();
        let received = tokio::spawn(async move {
            let mut numbers = Vec::new();
            loop {
                sleep(TICK).await;
                match rx.recv().await {
                    Event::Batch(item) => numbers.push(item.number),
                    Event::Completed => return numbers,
                    other => panic!("{other:?}"),
                }
            }
        });
        Self { tx, slot: Some(item(3)), handle, other, received }
    }

    /// Ends the edge, and says what was received and what is still in the slot. The other producer must get through
    /// while this one is still there: what was dropped may hold nothing back.
    async fn end(self) -> (Vec<u64>, Option<u64>) {
        let Self { tx, slot, handle, other, received } = self;
        tokio::time::timeout(TICK * 100, other).await.expect("the other producer is stuck").unwrap();
        drop(tx);
        let mut numbers = received.await.unwrap();
        numbers.sort_unstable();
        assert_calm(&handle);
        (numbers, slot.map(|item| item.number))
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_leaves_the_batch_with_its_owner_and_the_credit_with_the_next() {
    let runs = drop_at_every_await(
        || Scene::new(EdgeSpec::new("test").records(1)),
        async |scene: &mut Scene| scene.tx.send(&mut scene.slot).await,
        async |scene, cut| {
            let (received, kept) = scene.end().await;
            match cut {
                Cut::Done(sent) => {
                    assert_eq!((sent, kept), (Ok(Sent::Enqueued), None));
                    assert_eq!(received, [1, 2, 3]);
                }
                Cut::Pending(_) | Cut::Woken(_) => assert_eq!((received, kept), (vec![1, 2], Some(3))),
            }
        },
    )
    .await;
    assert!(runs >= 4, "{runs} runs: it waited once, and was granted");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_of_a_large_batch_frees_those_behind_it() {
    let runs = drop_at_every_await(
        || {
            let mut scene = Scene::new(EdgeSpec::new("test").records(10).bytes(tidegate_flow::Bytes::new(10)));
            scene.slot = Some(Item { number: 3, bytes: 1000 });
            scene
        },
        async |scene: &mut Scene| scene.tx.send(&mut scene.slot).await,
        async |scene, cut| {
            let (received, kept) = scene.end().await;
            match cut {
                Cut::Done(_) => assert_eq!((received, kept), (vec![1, 2, 3], None)),
                Cut::Pending(_) | Cut::Woken(_) => assert_eq!((received, kept), (vec![1, 2], Some(3))),
            }
        },
    )
    .await;
    assert!(runs >= 4, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_for_room_holds_nothing() {
    drop_at_every_await(
        || Scene::new(EdgeSpec::new("test").records(1)),
        async |scene: &mut Scene| scene.tx.ready().await,
        async |scene, _| {
            let (received, kept) = scene.end().await;
            assert_eq!((received, kept), (vec![1, 2], Some(3)));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_with_a_time_limit_leaves_nothing_either() {
    let limit = OnFull::Block { max: Some(TICK * 10) };
    drop_at_every_await(
        || Scene::new(EdgeSpec::new("test").records(1).on_full(limit)),
        async |scene: &mut Scene| scene.tx.send(&mut scene.slot).await,
        async |scene, cut| {
            let (received, kept) = scene.end().await;
            let sent = matches!(cut, Cut::Done(Ok(Sent::Enqueued)));
            assert_eq!((received.len(), kept.is_none()), (2 + usize::from(sent), sent));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_that_diverts_leaves_nothing_in_either_edge() {
    struct Two {
        scene: Scene,
        dead: EdgeHandle,
        dead_letters: JoinHandle<Vec<u64>>,
    }
    drop_at_every_await(
        || {
            let (mut dead_tx, mut dead_rx) = holding(1);
            assert_eq!(dead_tx.try_send(&mut Some(item(9))), Ok(Sent::Enqueued));
            let dead = dead_tx.handle();
            let (mut tx, mut rx) = policy(1, OnFull::Divert);
            assert_eq!(tx.try_send(&mut Some(item(1))), Ok(Sent::Enqueued));
            tx.bind_divert(dead_tx).unwrap();
            let handle = tx.handle();
            let dead_letters = tokio::spawn(async move {
                sleep(TICK).await;
                let first = dead_rx.recv().await;
                assert_eq!(first, Event::Batch(item(9)));
                drain(dead_rx).await
            });
            let received = tokio::spawn(async move {
                sleep(TICK * 5).await;
                let first = rx.recv().await;
                assert_eq!(first, Event::Batch(item(1)));
                drain(rx).await
            });
            let scene = Scene { tx, slot: Some(item(3)), handle, other: tokio::spawn(async {}), received };
            Two { scene, dead, dead_letters }
        },
        async |two: &mut Two| two.scene.tx.send(&mut two.scene.slot).await,
        async |two, cut| {
            let (received, kept) = two.scene.end().await;
            let diverted = two.dead_letters.await.unwrap();
            assert_calm(&two.dead);
            assert_eq!(received, []);
            match cut {
                Cut::Done(sent) => assert_eq!((sent, kept, diverted), (Ok(Sent::Diverted), None, vec![3])),
                Cut::Pending(_) | Cut::Woken(_) => assert_eq!((kept, diverted), (Some(3), vec![])),
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receive_loses_and_repeats_nothing() {
    struct Receiving {
        rx: EdgeRx<Item>,
        sender: JoinHandle<()>,
    }
    let setup = || {
        let (mut tx, rx) = holding(1);
        let sender = tokio::spawn(async move {
            for number in 1..=3 {
                sleep(TICK).await;
                send(&mut tx, number).await;
            }
        });
        Receiving { rx, sender }
    };
    drop_at_every_await(
        setup,
        async |state: &mut Receiving| state.rx.recv().await,
        async |state, cut| {
            let rest = drain(state.rx).await;
            state.sender.await.unwrap();
            match cut {
                Cut::Done(event) => assert_eq!((event, rest), (Event::Batch(item(1)), vec![2, 3])),
                Cut::Pending(_) | Cut::Woken(_) => assert_eq!(rest, [1, 2, 3]),
            }
        },
    )
    .await;
    let received = std::cell::RefCell::new(Vec::new());
    drop_at_every_await(
        setup,
        async |state: &mut Receiving| {
            received.borrow_mut().clear();
            let mut into = Vec::new();
            let answer = state.rx.recv_up_to(8, &mut into).await;
            received.borrow_mut().append(&mut into);
            answer
        },
        async |state, cut| {
            let mut all: Vec<u64> = match cut {
                Cut::Done(_) => received.borrow().iter().map(|item: &Item| item.number).collect(),
                Cut::Pending(_) | Cut::Woken(_) => Vec::new(),
            };
            all.extend(drain(state.rx).await);
            assert_eq!(all, [1, 2, 3]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_watch_of_pressure_misses_nothing() {
    struct Watching {
        watch: PressureWatch,
        sender: JoinHandle<(EdgeTx<Item>, EdgeRx<Item>)>,
    }
    drop_at_every_await(
        || {
            let (mut tx, rx) = holding(1);
            let watch = tx.watch().unwrap();
            let sender = tokio::spawn(async move {
                sleep(TICK).await;
                send(&mut tx, 1).await;
                (tx, rx)
            });
            Watching { watch, sender }
        },
        async |state: &mut Watching| state.watch.changed().await,
        async |mut state, cut| {
            let ends = state.sender.await.unwrap();
            if !matches!(cut, Cut::Done(_)) {
                assert_eq!(state.watch.changed().await, Some(Level::Critical));
            }
            drop(ends);
            while state.watch.changed().await.is_some() {}
        },
    )
    .await;
}

#[tokio::test]
async fn who_stops_polling_calls_cancel() {
    let (mut tx, mut rx) = holding(1);
    let mut other = tx.try_clone().unwrap();
    send(&mut tx, 1).await;
    let (mut mine, mut theirs) = (Some(item(2)), Some(item(3)));
    assert!(poll_once(&mut tx, &mut mine).is_pending());
    assert!(poll_once(&mut other, &mut theirs).is_pending());
    rx.recv().await;
    assert!(poll_once(&mut other, &mut theirs).is_pending(), "the credit is reserved for the first claim");
    tx.cancel();
    assert_eq!(poll_once(&mut other, &mut theirs), Poll::Ready(Ok(Sent::Enqueued)));
    assert_eq!(mine, Some(item(2)));
}
