//! Checks 1 to 8, 26: how much goes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::super::{Feature, Spec, Window, has, needs};
use super::*;
use crate::check::{Checked, Dice, in_virtual_time};

/// At every instant, the records that were sent and not received are no more than the window.
pub fn c01_records_delivered_never_exceed_the_records_granted<E: EdgeUnderTest>() -> Checked {
    for seed in 0..24 {
        in_virtual_time(async {
            let mut dice = Dice::new(seed);
            let window = 1 + dice.below(8);
            let most = if has::<E>(Feature::RecordWeight) { window } else { 1 };
            random_load::<E>(
                seed,
                Spec::records(window),
                move |dice| (1 + dice.below(most), 1),
                move |held, _| held.0 <= window.cast_signed(),
            )
            .await
        })?;
    }
    Ok(())
}

/// The same in bytes, but for one item that is larger than the window and alone.
pub fn c02_bytes_delivered_never_exceed_the_bytes_granted<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Bytes)?;
    for seed in 0..24 {
        in_virtual_time(async {
            let sizes = |dice: &mut Dice| (1, if dice.below(20) == 0 { 1000 } else { 1 + dice.below(100) });
            random_load::<E>(seed, Spec::records(100).bytes(256), sizes, |held, items| held.1 <= 256 || items <= 1)
                .await
        })?;
    }
    Ok(())
}

/// What was sent and not received, as seen from outside.
#[derive(Default)]
struct Held {
    records: AtomicI64,
    bytes: AtomicI64,
    items: AtomicI64,
}

impl Held {
    fn add(&self, sign: i64, (records, bytes): (u64, u64)) {
        self.records.fetch_add(sign * records.cast_signed(), Ordering::SeqCst);
        self.bytes.fetch_add(sign * bytes.cast_signed(), Ordering::SeqCst);
        self.items.fetch_add(sign, Ordering::SeqCst);
    }
}

/// Several producers, one consumer, at a random pace: `within` must hold of what was sent and not received, after every
/// send.
async fn random_load<E: EdgeUnderTest>(
    seed: u64,
    spec: Spec,
    size: impl Fn(&mut Dice) -> (u64, u64) + Copy + Send + 'static,
    within: impl Fn((i64, i64), i64) -> bool + Copy + Send + 'static,
) -> Checked {
    let (tx, mut rx) = E::make(spec);
    let mut producers = vec![tx];
    if has::<E>(Feature::ManyProducers) {
        producers.extend([producers[0].another(), producers[0].another()]);
    }
    let held = Arc::new(Held::default());
    let mut tasks = Vec::new();
    let census = Census::default();
    for (producer, mut tx) in (0..).zip(producers) {
        let (held, census) = (Arc::clone(&held), census.clone());
        tasks.push(tokio::spawn(async move {
            let mut dice = Dice::new(seed * 31 + producer);
            for number in 0..40 {
                let (records, bytes) = size(&mut dice);
                send(&mut tx, census.sized(producer, number, records, bytes)).await?;
                held.add(1, (records, bytes));
                let seen = (held.records.load(Ordering::SeqCst), held.bytes.load(Ordering::SeqCst));
                let items = held.items.load(Ordering::SeqCst);
                ensure!(within(seen, items), "{spec:?}, seed {seed}: (records, bytes) {seen:?} were in it at once");
                dice.maybe_yield().await;
            }
            Ok(())
        }));
    }
    let mut dice = Dice::new(seed);
    for _ in 0..tasks.len() * 40 {
        let item = next(&mut rx).await?;
        held.add(-1, (item.records, item.bytes));
        dice.maybe_yield().await;
    }
    for task in tasks {
        joined(task.await)?;
    }
    ensure!(census.live() == 0, "{} items are neither sent nor received nor dropped", census.live());
    Ok(())
}

/// A consumer that takes nothing is sent no more than the window, however long it takes.
pub fn c03_zero_demand_means_zero_deliveries<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, _rx) = E::make(Spec::records(4));
        fill(&mut tx, &census, 0, 4)?;
        let mut slot = Some(census.item(4));
        let sent = tx.try_send(&mut slot);
        ensure!(is_full(sent), "try_send on a full channel says {sent:?}");
        ensure!(slot.is_some(), "try_send on a full channel took the item");
        let sent = within(LONG, tx.send(&mut slot)).await;
        ensure!(sent.is_err(), "with the window used up and nothing received, send says {sent:?}");
        Ok(())
    })
}

/// Room comes back for what was taken: never more, all of it once the consumer waits, and waiting again adds none.
pub fn c04_what_is_taken_comes_back_as_room_once<E: EdgeUnderTest>() -> Checked {
    for seed in 0..24 {
        in_virtual_time(async {
            let (mut dice, census) = (Dice::new(seed), Census::default());
            let (mut tx, mut rx) = E::make(Spec::records(8));
            let (mut sent, mut taken) = (0, 0);
            for _ in 0..40 {
                sent += room(&mut tx, &census, 1 + dice.below(12));
                ensure!(sent <= taken + 8, "seed {seed}: {sent} were sent when {taken} were received, window 8");
                for _ in 0..dice.below(sent - taken + 1) {
                    next(&mut rx).await?;
                    taken += 1;
                }
            }
            drain_now(&mut rx).await;
            for _ in 0..5 {
                ensure!(try_once(rx.recv()).is_none(), "something came out of an empty channel");
            }
            let free = room(&mut tx, &census, 20);
            ensure!(free == 8, "seed {seed}: empty and with its consumer waiting, a window of 8 takes {free}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A window of `u64::MAX` works, and can be cancelled.
pub fn c05_an_unlimited_window_does_not_overflow<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::AnyWindow)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(u64::MAX).bytes(u64::MAX));
        for round in 0..3 {
            fill(&mut tx, &census, 0, 100)?;
            let taken = drain_now(&mut rx).await.len();
            ensure!(taken == 100, "round {round}: 100 were sent and {taken} received");
        }
        fill(&mut tx, &census, 0, 10)?;
        drop(rx);
        ensure!(census.live() == 0, "{} items survive the consumer", census.live());
        Ok(())
    })
}

/// A window made smaller takes nothing back: what was let in stays, and the new bound holds from then on.
pub fn c06_a_smaller_window_revokes_nothing<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Resize)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(8));
        fill(&mut tx, &census, 0, 8)?;
        tx.resize(Window { records: 2, bytes: 1 << 20 });
        for number in 0..6 {
            let free = room(&mut tx, &census, 1);
            ensure!(free == 0, "with {} in it, a window made 2 took another", 8 - number);
            let item = next(&mut rx).await?;
            ensure!(item.number == number, "item {} came instead of {number}", item.number);
        }
        let rest = drain_now(&mut rx).await;
        ensure!(rest == [6, 7], "the last of the items let in before were {rest:?}, not [6, 7]");
        let free = room(&mut tx, &census, 20);
        ensure!(free == 2, "empty again, a window made 2 takes {free}");
        Ok(())
    })
}

/// Running out of one unit does not use up the other, however often it happens.
pub fn c07_record_and_byte_credit_move_together<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Bytes)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(4).bytes(100));
        for round in 0..50 {
            fill(&mut tx, &census, 0, 4)?;
            ensure!(room(&mut tx, &census, 1) == 0, "round {round}: a fifth record had room");
            drain_now(&mut rx).await;
            let sent = tx.try_send(&mut Some(census.sized(0, 0, 1, 100)));
            ensure!(sent.is_ok(), "round {round}: 100 bytes have room, but {sent:?}");
            ensure!(room(&mut tx, &census, 1) == 0, "round {round}: byte 101 had room");
            drain_now(&mut rx).await;
        }
        for number in 0..4 {
            let sent = tx.try_send(&mut Some(census.sized(0, number, 1, 25)));
            ensure!(sent.is_ok(), "item {number} of 4 times 25 bytes has room, but {sent:?}");
        }
        Ok(())
    })
}

/// Producers that wait for work, having been told that there is room, keep none of it from the one that has work.
pub fn c08_waiting_for_room_reserves_nothing<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Ready)?;
    needs::<E>(Feature::ManyProducers)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(1));
        let mut idle: Vec<E::Tx> = (0..3).map(|_| tx.another()).collect();
        for producer in &mut idle {
            // Whether it is told now or would be later makes no difference: it sends nothing.
            let _ = within(TICK, producer.ready()).await;
        }
        let consumer = tokio::spawn(async move {
            for _ in 0..10 {
                next(&mut rx).await?;
            }
            Ok(rx)
        });
        for number in 0..10 {
            send(&mut tx, census.item(number)).await.map_err(|unmet| {
                Unmet::Failed(format!("three idle producers were told that there is room, and now: {unmet}"))
            })?;
        }
        joined(consumer.await).map(drop)
    })
}

/// An item larger than the window goes in when the channel is empty, alone; it never hangs.
pub fn c26_an_oversize_item_is_admitted_alone<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Bytes)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(10).bytes(100));
        let sent = tx.try_send(&mut Some(census.sized(0, 0, 1, 1000)));
        ensure!(sent.is_ok(), "an empty channel refuses an item larger than its window: {sent:?}");
        ensure!(room(&mut tx, &census, 1) == 0, "a small item went in beside one larger than the window");
        next(&mut rx).await?;
        fill(&mut tx, &census, 1, 2)?;
        let mut slot = Some(census.sized(0, 3, 1, 1000));
        let early = within(LONG, tx.send(&mut slot)).await;
        ensure!(early.is_err(), "an item larger than the window went in beside others");
        let consumer = tokio::spawn(async move {
            let mut numbers = Vec::new();
            while numbers.len() < 3 {
                tokio::time::sleep(TICK).await;
                numbers.push(next(&mut rx).await?.number);
            }
            Ok(numbers)
        });
        ensure!(slot.is_some(), "the item is gone though its send was cancelled");
        if let Some(item) = slot {
            send(&mut tx, item).await?;
        }
        let numbers = joined(consumer.await)?;
        ensure!(numbers == [1, 2, 3], "received {numbers:?}, not [1, 2, 3]");
        Ok(())
    })
}
