//! Checks 17 and 18: dropping a future at any await loses nothing.

use tidegate_runtime::testkit::{Cut, drop_at_every_await};
use tokio::task::JoinHandle;

use super::super::Spec;
use super::*;
use crate::check::{Checked, in_virtual_time};

/// Keeps the first thing that went wrong in a series of runs.
struct First(Checked);

impl First {
    fn note(&mut self, checked: Checked) {
        if self.0.is_ok() {
            self.0 = checked;
        }
    }
}

/// A producer before a full channel, whose consumer takes an item a tick.
struct Sending<E: EdgeUnderTest> {
    tx: E::Tx,
    slot: Option<Item>,
    filled: Checked,
    consumer: JoinHandle<Result<Vec<u64>, Unmet>>,
}

impl<E: EdgeUnderTest> Sending<E> {
    fn new() -> Self {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(1));
        let filled = fill(&mut tx, &census, 0, 1);
        let consumer = tokio::spawn(async move {
            let mut numbers = Vec::new();
            loop {
                tokio::time::sleep(TICK).await;
                match within(LONG, rx.recv()).await {
                    Ok(Got::Item(item)) => numbers.push(item.number),
                    Ok(Got::Completed) => return Ok(numbers),
                    other => return Err(Unmet::Failed(format!("the consumer got {other:?}"))),
                }
            }
        });
        Self { tx, slot: Some(census.item(1)), filled, consumer }
    }

    /// The item is with its owner or was delivered: one of them.
    async fn end(self, cut: String) -> Checked {
        let Self { tx, slot, filled, consumer } = self;
        filled?;
        drop(tx);
        let numbers = joined(consumer.await)?;
        let (kept, delivered) = (slot.is_some(), numbers.contains(&1));
        ensure!(kept || delivered, "{cut}: the item is lost: neither with its owner nor delivered");
        ensure!(!(kept && delivered), "{cut}: the item was delivered, and its owner has it too");
        ensure!(numbers.first() == Some(&0), "{cut}: the item before it is lost: {numbers:?}");
        Ok(())
    }
}

/// A send dropped at any await has either sent the item or left it in the slot.
pub fn c17_a_cancelled_send_leaves_the_item_with_its_owner<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let mut first = First(Ok(()));
        drop_at_every_await(
            Sending::<E>::new,
            async |scene: &mut Sending<E>| scene.tx.send(&mut scene.slot).await,
            async |scene, cut| first.note(scene.end(said(&cut)).await),
        )
        .await;
        first.0
    })
}

fn said<T>(cut: &Cut<T>) -> String {
    match cut {
        Cut::Pending(polls) => format!("dropped after {polls} polls"),
        Cut::Woken(polls) => format!("dropped after {polls} polls, when it had been woken"),
        Cut::Done(_) => "completed".to_owned(),
    }
}

/// A consumer whose producer sends an item a tick.
struct Receiving<E: EdgeUnderTest> {
    rx: E::Rx,
    got: Option<Got>,
    producer: JoinHandle<Checked>,
}

impl<E: EdgeUnderTest> Receiving<E> {
    fn new() -> Self {
        let census = Census::default();
        let (mut tx, rx) = E::make(Spec::records(1));
        let producer = tokio::spawn(async move {
            for number in 0..3 {
                tokio::time::sleep(TICK).await;
                send(&mut tx, census.item(number)).await?;
            }
            Ok(())
        });
        Self { rx, got: None, producer }
    }

    async fn end(mut self, cut: String) -> Checked {
        let mut numbers = Vec::new();
        if let Some(Got::Item(item)) = &self.got {
            numbers.push(item.number);
        }
        let (rest, _) = until_end(&mut self.rx).await?;
        numbers.extend(rest);
        joined(self.producer.await)?;
        ensure!(numbers == [0, 1, 2], "{cut}: 0 to 2 were sent and {numbers:?} received");
        Ok(())
    }
}

/// A receive dropped at any await has taken nothing.
pub fn c18_a_cancelled_receive_loses_and_repeats_nothing<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let mut first = First(Ok(()));
        drop_at_every_await(
            Receiving::<E>::new,
            async |scene: &mut Receiving<E>| scene.got = Some(scene.rx.recv().await),
            async |scene, cut| first.note(scene.end(said(&cut)).await),
        )
        .await;
        first.0
    })
}
