//! Blocking calls on threads, and everything at once on several workers.

use std::thread;

use super::*;

#[test]
fn threads_can_block_on_both_ends() {
    let (mut tx, mut rx) = holding(2);
    let sender = thread::spawn(move || {
        for number in 0..2000 {
            assert_eq!(tx.blocking_send(&mut Some(item(number))), Ok(Sent::Enqueued));
        }
    });
    for number in 0..2000 {
        assert_eq!(rx.blocking_recv(), Event::Batch(item(number)));
    }
    sender.join().unwrap();
    assert_eq!(rx.blocking_recv(), Event::Completed);
}

#[test]
fn blocking_calls_give_up_in_time() {
    let (mut tx, mut rx) = holding(1);
    let limit = Duration::from_millis(20);
    assert_eq!(rx.blocking_recv_timeout(limit), None);
    assert_eq!(tx.blocking_send_timeout(&mut Some(item(1)), limit), Ok(Sent::Enqueued));
    let mut slot = Some(item(2));
    let error = tx.blocking_send_timeout(&mut slot, limit).unwrap_err();
    assert_eq!(error, SendError::Timeout { edge: "test".into(), limit });
    assert_eq!((slot, tx.handle().snapshot().waiting_claims), (Some(item(2)), 0));
    assert_eq!(rx.blocking_recv_timeout(limit), Some(Event::Batch(item(1))));
}

#[test]
fn block_with_a_limit_works_without_a_runtime() {
    let limit = Duration::from_millis(20);
    let (mut tx, _rx) = policy(1, OnFull::Block { max: Some(limit) });
    assert_eq!(tx.blocking_send(&mut Some(item(1))), Ok(Sent::Enqueued));
    let error = tx.blocking_send(&mut Some(item(2))).unwrap_err();
    assert_eq!(error, SendError::Timeout { edge: "test".into(), limit });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_stuck_with_many_producers_that_keep_giving_up() {
    const PRODUCERS: usize = 6;
    const EACH: u64 = 3000;
    let (tx, mut rx) = edge(EdgeSpec::new("test").records(3).lanes(&[0, 20])).unwrap();
    let handle = tx.handle();
    let producers: Vec<_> = (0..)
        .take(PRODUCERS)
        .map(|index: u64| {
            let mut tx = tx.try_clone().unwrap().with_lane(u8::try_from(index % 2).unwrap());
            tokio::spawn(async move {
                for number in 0..EACH {
                    let mut slot = Some(item(index * EACH + number));
                    while slot.is_some() {
                        // Give up at once every third time: a granted claim must pass on.
                        if number % 3 == index % 3 {
                            let _ = poll_once(&mut tx, &mut slot);
                            tokio::task::yield_now().await;
                            tx.cancel();
                        }
                        if slot.is_some() {
                            tx.ready().await;
                            assert_eq!(tx.send(&mut slot).await, Ok(Sent::Enqueued));
                        }
                    }
                }
            })
        })
        .collect();
    drop(tx);
    let mut next = [0; PRODUCERS];
    let mut batches = Vec::new();
    while let Received::Batches(_) = rx.recv_up_to(2, &mut batches).await {
        for item in batches.drain(..) {
            let index = usize::try_from(item.number / EACH).unwrap();
            assert_eq!(item.number % EACH, next[index], "in order for each producer");
            next[index] += 1;
        }
    }
    assert_eq!(next, [EACH; PRODUCERS]);
    for producer in producers {
        producer.await.unwrap();
    }
    assert_calm(&handle);
}
