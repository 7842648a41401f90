//! Checks 9 to 12, 20: order, and how a channel ends.

use super::super::{Feature, Spec, has, needs};
use super::*;
use crate::check::{Checked, Dice, in_virtual_time};

/// Runs some producers at a random pace; gives for each the numbers in the order in which they were received, and
/// whether anything came after the end.
async fn received_by_producer<E: EdgeUnderTest>(seed: u64) -> Result<(Vec<Vec<u64>>, bool), Unmet> {
    let mut dice = Dice::new(seed);
    let (tx, mut rx) = E::make(Spec::records(1 + dice.below(6)));
    let mut producers = vec![tx];
    if has::<E>(Feature::ManyProducers) {
        producers.extend([producers[0].another(), producers[0].another()]);
    }
    let mut received = vec![Vec::new(); producers.len()];
    let census = Census::default();
    let mut tasks = Vec::new();
    for (producer, mut tx) in (0..).zip(producers) {
        let census = census.clone();
        tasks.push(tokio::spawn(async move {
            let mut dice = Dice::new(seed * 17 + producer);
            for number in 0..30 {
                send(&mut tx, census.sized(producer, number, 1, 1)).await?;
                dice.maybe_yield().await;
            }
            Ok(())
        }));
    }
    loop {
        match within(LONG, rx.recv()).await {
            Ok(Got::Item(item)) => {
                let producer = usize::try_from(item.producer).unwrap_or(usize::MAX);
                received[producer].push(item.number);
                dice.maybe_yield().await;
            }
            Ok(Got::Completed) => break,
            Ok(other) => return Err(Unmet::Failed(format!("seed {seed}: out of the channel came {other:?}"))),
            Err(_) => return Err(Unmet::Failed(format!("seed {seed}: all producers are gone, and no end comes"))),
        }
    }
    let more = (0..5).any(|_| matches!(try_once(rx.recv()), Some(Got::Item(_) | Got::Control(_) | Got::Failed(_))));
    for task in tasks {
        joined(task.await)?;
    }
    Ok((received, more))
}

/// What one producer sends comes out in the order in which it was sent.
pub fn c09_first_in_first_out_for_each_producer<E: EdgeUnderTest>() -> Checked {
    for seed in 0..24 {
        in_virtual_time(async {
            let (received, _) = received_by_producer::<E>(seed).await?;
            for (producer, numbers) in received.iter().enumerate() {
                ensure!(
                    numbers.iter().copied().eq(0..30),
                    "seed {seed}: producer {producer} sent 0 to 29 and {numbers:?} came out"
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// When the last producer has gone, everything it sent comes out, then one end, then nothing.
pub fn c10_one_end_and_nothing_after_it<E: EdgeUnderTest>() -> Checked {
    for seed in 100..124 {
        in_virtual_time(async {
            let (received, more) = received_by_producer::<E>(seed).await?;
            let count: usize = received.iter().map(Vec::len).sum();
            ensure!(count == 30 * received.len(), "seed {seed}: the end came after {count} items");
            ensure!(!more, "seed {seed}: something came out after the end");
            Ok(())
        })?;
    }
    Ok(())
}

/// A full channel can be ended, at once.
pub fn c11_the_end_needs_no_room<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(2));
        fill(&mut tx, &census, 0, 2)?;
        drop(tx);
        let (numbers, end) = until_end(&mut rx).await?;
        ensure!(numbers == [0, 1], "out of the full channel came {numbers:?}");
        ensure!(matches!(end, Got::Completed), "it ended with {end:?}");
        Ok(())
    })
}

/// A control message comes out of a full channel before the data.
pub fn c11_control_overtakes_a_full_channel<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Control)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(2));
        fill(&mut tx, &census, 0, 2)?;
        tx.control(7);
        let first = within(LONG, rx.recv()).await;
        ensure!(matches!(first, Ok(Got::Control(7))), "before the data came {first:?}");
        let numbers = drain_now(&mut rx).await;
        ensure!(numbers == [0, 1], "after the message came {numbers:?}");
        Ok(())
    })
}

/// What is in the channel when its last producer goes comes out before the end does.
pub fn c12_data_comes_before_completion<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let census = Census::default();
        for count in 0..=8 {
            let (mut tx, mut rx) = E::make(Spec::records(8));
            fill(&mut tx, &census, 0, count)?;
            drop(tx);
            let (numbers, end) = until_end(&mut rx).await?;
            ensure!(numbers.iter().copied().eq(0..count), "{count} were sent, and {numbers:?} came out");
            ensure!(matches!(end, Got::Completed), "it ended with {end:?}");
        }
        Ok(())
    })
}

/// A failure comes after the data that was sent before it, with its cause; it needs no room, stops the other producers,
/// and the first one stands.
pub fn c12_data_comes_before_a_failure_and_the_cause_is_kept<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Failure)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(2));
        fill(&mut tx, &census, 0, 2)?;
        tx.fail("the disk is on fire");
        tx.fail("and so is the second");
        let sent = tx.try_send(&mut Some(census.item(9)));
        ensure!(sent == Err(Refused::Closed), "after its failure the channel answers {sent:?}");
        drop(tx);
        let (numbers, end) = until_end(&mut rx).await?;
        ensure!(numbers == [0, 1], "before the failure came {numbers:?}");
        ensure!(matches!(&end, Got::Failed(cause) if cause.contains("the disk")), "the end was {end:?}");
        Ok(())
    })
}

/// A consumer that closes the channel can receive what is in it, and then the end; closing it again changes nothing.
pub fn c12_closing_keeps_what_is_in_the_channel<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Close)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(4));
        fill(&mut tx, &census, 0, 3)?;
        rx.close();
        rx.close();
        let mut slot = Some(census.item(3));
        let sent = tx.try_send(&mut slot);
        ensure!(sent == Err(Refused::Closed) && slot.is_some(), "closed, it answers {sent:?} and keeps {slot:?}");
        let (numbers, end) = until_end(&mut rx).await?;
        ensure!(numbers == [0, 1, 2], "closed with 0 to 2 in it, and {numbers:?} came out");
        ensure!(matches!(end, Got::Completed), "it ended with {end:?}");
        Ok(())
    })
}

/// Dropping the consumer frees what is in the channel, while its producers are still there, and tells them.
pub fn c20_dropping_the_consumer_frees_what_was_queued<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, rx) = E::make(Spec::records(4));
        fill(&mut tx, &census, 0, 4)?;
        drop(rx);
        ensure!(census.live() == 0, "{} items that nobody can receive are kept", census.live());
        let mut slot = Some(census.item(4));
        let sent = tx.try_send(&mut slot);
        ensure!(sent == Err(Refused::Closed), "without a consumer try_send says {sent:?}");
        let sent = within(LONG, tx.send(&mut slot)).await;
        ensure!(sent == Ok(Err(Refused::Closed)), "without a consumer send says {sent:?}");
        ensure!(slot.is_some(), "a refused item is not with its owner");
        Ok(())
    })
}
