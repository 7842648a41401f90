//! Diverting: to where, and what happens when that is full too.

use super::*;

fn diverting(target: OnFull) -> (EdgeTx<Item>, EdgeRx<Item>, EdgeRx<Item>) {
    let (mut tx, rx) = policy(1, OnFull::Divert);
    let (dead_tx, dead_rx) = edge(EdgeSpec::new("dead").records(1).on_full(target)).unwrap();
    tx.bind_divert(dead_tx).unwrap();
    (tx, rx, dead_rx)
}

#[tokio::test]
async fn what_does_not_fit_goes_to_the_other_edge_and_both_count_it() {
    let (mut tx, rx, mut dead) = diverting(OnFull::Block { max: None });
    send(&mut tx, 1).await;
    assert_eq!(tx.send(&mut Some(item(2))).await, Ok(Sent::Diverted));
    assert_eq!(dead.recv().await, Event::Batch(item(2)));
    let (here, there) = (rx.handle().snapshot(), dead.handle().snapshot());
    assert!(here.flows.balances() && there.flows.balances());
    assert_eq!((here.flows.input.get(), here.flows.diverted.get(), there.flows.output.get()), (2, 1, 1));
}

#[tokio::test]
async fn a_full_dead_letter_edge_blocks_and_loses_nothing() {
    let (mut tx, mut rx, mut dead) = diverting(OnFull::Block { max: None });
    send(&mut tx, 1).await;
    assert_eq!(tx.try_send(&mut Some(item(2))), Ok(Sent::Diverted));
    let mut slot = Some(item(3));
    assert!(poll_once(&mut tx, &mut slot).is_pending());
    assert_eq!(dead.handle().snapshot().waiting_claims, 1);
    assert_eq!(dead.recv().await, Event::Batch(item(2)));
    assert_eq!(poll_once(&mut tx, &mut slot), Poll::Ready(Ok(Sent::Diverted)));

    let mut slot = Some(item(4));
    assert!(poll_once(&mut tx, &mut slot).is_pending());
    assert_eq!(rx.recv().await, Event::Batch(item(1)));
    assert_eq!(poll_once(&mut tx, &mut slot), Poll::Ready(Ok(Sent::Enqueued)), "room came here first");
    assert_eq!(dead.handle().snapshot().waiting_claims, 0, "the claim there is gone");
}

#[tokio::test]
async fn room_in_either_edge_wakes_the_producer() {
    for first in [true, false] {
        let (mut tx, mut rx, mut dead) = diverting(OnFull::Block { max: None });
        send(&mut tx, 1).await;
        assert_eq!(tx.send(&mut Some(item(2))).await, Ok(Sent::Diverted));
        let sending = tokio::spawn(async move { tx.send(&mut Some(item(3))).await });
        tokio::task::yield_now().await;
        assert!(!sending.is_finished());
        if first {
            rx.recv().await;
            assert_eq!(sending.await.unwrap(), Ok(Sent::Enqueued));
        } else {
            dead.recv().await;
            assert_eq!(sending.await.unwrap(), Ok(Sent::Diverted));
        }
    }
}

#[tokio::test]
async fn the_policy_of_the_target_applies() {
    let (mut tx, _rx, dead) = diverting(OnFull::DropNewest);
    for number in 1..=3 {
        assert!(tx.send(&mut Some(item(number))).await.is_ok());
    }
    assert_eq!(dead.handle().snapshot().flows.shed_for(ShedReason::DropNewest), Records::new(1));

    let (mut tx, _rx, _dead) = diverting(OnFull::Fail);
    send(&mut tx, 1).await;
    assert_eq!(tx.send(&mut Some(item(2))).await, Ok(Sent::Diverted));
    let mut slot = Some(item(3));
    assert_eq!(tx.send(&mut slot).await, Err(SendError::Full { edge: "dead".into() }));
    assert_eq!(slot, Some(item(3)));
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_of_the_target_applies() {
    let limit = Duration::from_secs(3);
    let (mut tx, _rx, _dead) = diverting(OnFull::Block { max: Some(limit) });
    send(&mut tx, 1).await;
    assert_eq!(tx.send(&mut Some(item(2))).await, Ok(Sent::Diverted));
    let mut slot = Some(item(3));
    let error = tx.send(&mut slot).await.unwrap_err();
    assert_eq!(error, SendError::Timeout { edge: "dead".into(), limit });
    assert_eq!(slot, Some(item(3)));
}

#[tokio::test]
async fn a_dead_letter_edge_without_consumer_is_an_error_and_no_loss() {
    let (mut tx, _rx, dead) = diverting(OnFull::Block { max: None });
    drop(dead);
    send(&mut tx, 1).await;
    let mut slot = Some(item(2));
    assert_eq!(tx.send(&mut slot).await, Err(SendError::Closed { edge: "dead".into() }));
    assert_eq!(slot, Some(item(2)));
}

#[tokio::test]
async fn wrong_bindings_are_refused_and_name_the_edge() {
    let (mut plain, _rx) = holding(1);
    let (target, _dead) = holding(1);
    let error = plain.bind_divert(target).unwrap_err();
    assert!(matches!(&error, BindError::NotDiverting { edge } if &**edge == "test"), "{error}");

    let (mut tx, _rx) = policy(1, OnFull::Divert);
    send(&mut tx, 1).await;
    let unbound = tx.send(&mut Some(item(2))).await.unwrap_err();
    assert_eq!(unbound, SendError::NoDivert { edge: "test".into() });

    let itself = tx.try_clone().unwrap();
    assert!(matches!(tx.bind_divert(itself), Err(BindError::Loop { .. })));

    let (mut second, _rx2) = policy(1, OnFull::Divert);
    second.bind_divert(tx.try_clone().unwrap()).unwrap();
    assert!(matches!(tx.bind_divert(second), Err(BindError::Loop { .. })), "there and back again");
}

#[tokio::test]
async fn a_clone_diverts_to_the_same_edge() {
    let (tx, _rx, mut dead) = diverting(OnFull::Block { max: None });
    let mut clone = tx.try_clone().unwrap();
    drop(tx);
    send(&mut clone, 1).await;
    assert_eq!(clone.send(&mut Some(item(2))).await, Ok(Sent::Diverted));
    drop(clone);
    assert_eq!(dead.recv().await, Event::Batch(item(2)));
    assert_eq!(dead.recv().await, Event::Completed);
}
