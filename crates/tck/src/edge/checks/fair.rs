//! Checks 39 and 42: everyone gets a turn.

use super::super::{Feature, Spec, needs};
use super::*;
use crate::check::{Checked, in_virtual_time};

/// Of three producers that never stop, none gets less than half of its share.
pub fn c39_no_producer_starves<E: EdgeUnderTest>() -> Checked {
    const ITEMS: usize = 300;
    needs::<E>(Feature::ManyProducers)?;
    in_virtual_time(async {
        let census = Census::default();
        let (tx, mut rx) = E::make(Spec::records(2));
        for producer in 0..3 {
            let (mut tx, census) = (tx.another(), census.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    if tx.send(&mut Some(census.sized(producer, number, 1, 1))).await.is_err() {
                        break;
                    }
                }
            });
        }
        drop(tx);
        let mut received = [0_usize; 3];
        for _ in 0..ITEMS {
            let item = next(&mut rx).await?;
            received[usize::try_from(item.producer).unwrap_or(0)] += 1;
        }
        ensure!(received.iter().all(|count| *count >= ITEMS / 6), "of {ITEMS} items the three got {received:?} in");
        Ok(())
    })
}

/// A task that sends and receives without ever having to wait still lets its neighbours run.
pub fn c42_a_task_that_never_waits_gives_way<E: EdgeUnderTest>() -> Checked {
    const ROUNDS: u64 = 10_000;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(4));
        let busy = tokio::spawn(async move {
            for number in 0..ROUNDS {
                send(&mut tx, census.item(number)).await?;
                next(&mut rx).await?;
            }
            Ok(())
        });
        let mut turns = 0;
        while !busy.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        joined(busy.await)?;
        ensure!(turns > 10, "while {ROUNDS} items went through, its neighbour got {turns} turns");
        Ok(())
    })
}
