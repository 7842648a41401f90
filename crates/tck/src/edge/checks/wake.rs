//! Checks 13 to 16, 29, 35: nobody sleeps for ever, and nobody is woken for nothing.

use std::future::poll_fn;
use std::sync::Weak;

use super::super::{Feature, Spec, needs};
use super::*;
use crate::check::{Checked, Dice, in_virtual_time};

/// A producer that waits is woken by room, whoever comes first.
pub fn c13_room_wakes_a_parked_producer<E: EdgeUnderTest>() -> Checked {
    for seed in 0..24 {
        in_virtual_time(async {
            let (mut dice, census) = (Dice::new(seed), Census::default());
            let window = 1 + dice.below(8);
            let (mut tx, mut rx) = E::make(Spec::records(window));
            fill(&mut tx, &census, 0, window)?;
            let producer = tokio::spawn(async move {
                for number in 0..2 * window {
                    send(&mut tx, census.item(number)).await?;
                }
                Ok(())
            });
            for _ in 0..3 * window {
                dice.maybe_yield().await;
                next(&mut rx).await?;
            }
            joined(producer.await)
        })?;
    }
    Ok(())
}

/// A consumer that waits is woken by an item, and by the end.
pub fn c14_data_and_end_wake_a_parked_consumer<E: EdgeUnderTest>() -> Checked {
    for seed in 0..24 {
        in_virtual_time(async {
            let (mut dice, census) = (Dice::new(seed), Census::default());
            let (mut tx, mut rx) = E::make(Spec::records(1 + dice.below(3)));
            let consumer = tokio::spawn(async move { until_end(&mut rx).await });
            for number in 0..10 {
                dice.maybe_yield().await;
                if dice.below(2) == 0 {
                    tokio::time::sleep(TICK).await;
                }
                send(&mut tx, census.item(number)).await?;
            }
            tokio::time::sleep(TICK).await;
            drop(tx);
            let (numbers, end) = joined(consumer.await)?;
            ensure!(numbers.iter().copied().eq(0..10), "seed {seed}: received {numbers:?}");
            ensure!(matches!(end, Got::Completed), "seed {seed}: it ended with {end:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A producer that waits hears that its consumer is gone.
pub fn c14_the_loss_of_the_consumer_wakes_a_parked_producer<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, rx) = E::make(Spec::records(1));
        fill(&mut tx, &census, 0, 1)?;
        let producer = tokio::spawn(async move {
            let sent = within(LONG, tx.send(&mut Some(census.item(1)))).await;
            ensure!(sent == Ok(Err(Refused::Closed)), "the consumer is gone, and the producer hears {sent:?}");
            Ok(())
        });
        tokio::time::sleep(TICK).await;
        drop(rx);
        joined(producer.await)
    })
}

/// Whoever polled last is woken; polls that nobody asked for change nothing.
pub fn c15_the_last_waker_wins<E: EdgeUnderTest>() -> Checked {
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(1));
        let ((_, first), (last_wakes, last)) = (Wakes::new(), Wakes::new());
        {
            let mut receiving = pin!(rx.recv());
            for waker in [&first, &first, &last.clone()] {
                ensure!(poll_with(receiving.as_mut(), waker).is_pending(), "an empty channel gives something");
            }
            fill(&mut tx, &census, 0, 1)?;
            ensure!(last_wakes.count() > 0, "the consumer moved to another task, and only the old one was woken");
            let got = poll_with(receiving.as_mut(), &last);
            ensure!(matches!(got, Poll::Ready(Got::Item(_))), "woken for an item, it got {got:?}");
        }
        fill(&mut tx, &census, 1, 1)?;
        let ((_, first), (last_wakes, last)) = (Wakes::new(), Wakes::new());
        let mut slot = Some(census.item(2));
        let mut sending = pin!(tx.send(&mut slot));
        for waker in [&first, &first, &last.clone()] {
            ensure!(poll_with(sending.as_mut(), waker).is_pending(), "a full channel takes something");
        }
        drain_now(&mut rx).await;
        ensure!(last_wakes.count() > 0, "the producer moved to another task, and only the old one was woken");
        let sent = poll_with(sending.as_mut(), &last);
        ensure!(sent == Poll::Ready(Ok(())), "woken for room, the producer got {sent:?}");
        Ok(())
    })
}

/// A producer that was woken for room and goes away leaves the room to the next in line.
pub fn c16_a_cancelled_wait_passes_its_wakeup_on<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::ManyProducers)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(1));
        let mut second = tx.another();
        fill(&mut tx, &census, 0, 1)?;
        let mut slot = Some(census.item(1));
        let mut sending = Box::pin(tx.send(&mut slot));
        ensure!(poll_with(sending.as_mut(), Waker::noop()).is_pending(), "a full channel takes something");
        let behind = census.item(2);
        let waiting = tokio::spawn(async move { send(&mut second, behind).await });
        tokio::time::sleep(TICK).await;
        next(&mut rx).await?;
        drop(sending);
        tokio::time::sleep(TICK).await;
        if !waiting.is_finished() {
            // Some channels move the item of a waiting producer in by themselves; then there was no room to pass on.
            let moved_in = within(TICK, rx.recv()).await;
            let fair = matches!(moved_in, Ok(Got::Item(Item { number: 1, .. })));
            ensure!(fair, "the first in line was woken and went away; the second sleeps beside free room");
        }
        joined(waiting.await)
    })
}

/// A task that would be woken; known to be forgotten once nobody holds its waker.
struct Sleeper;

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {}
}

/// However often a wait is begun and dropped, the channel keeps no more than a few wakers.
pub fn c29_waits_leave_no_wakers_behind<E: EdgeUnderTest>() -> Checked {
    const KEPT: usize = 4;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(1));
        let kept = |sleepers: &[Weak<Sleeper>]| sleepers.iter().filter(|sleeper| sleeper.strong_count() > 0).count();
        let mut sleepers = Vec::new();
        for _ in 0..500 {
            let sleeper = Arc::new(Sleeper);
            sleepers.push(Arc::downgrade(&sleeper));
            let polled = poll_with(pin!(rx.recv()), &Waker::from(sleeper));
            ensure!(polled.is_pending(), "an empty channel gives something");
            tokio::task::yield_now().await;
        }
        let left = kept(&sleepers);
        ensure!(left <= KEPT, "after 500 dropped receives it keeps {left} wakers");
        fill(&mut tx, &census, 0, 1)?;
        sleepers.clear();
        for number in 0..500 {
            let sleeper = Arc::new(Sleeper);
            sleepers.push(Arc::downgrade(&sleeper));
            let mut slot = Some(census.item(number));
            let polled = poll_with(pin!(tx.send(&mut slot)), &Waker::from(sleeper));
            ensure!(polled.is_pending(), "a full channel takes something");
            tokio::task::yield_now().await;
        }
        let left = kept(&sleepers);
        ensure!(left <= KEPT, "after 500 dropped sends it keeps {left} wakers");
        Ok(())
    })
}

/// A producer faster than its consumer loses nothing, and is polled at most twice for an item: once to wait, once to go
/// on.
pub fn c35_a_blocked_producer_loses_nothing_and_wakes_once<E: EdgeUnderTest>() -> Checked {
    const ITEMS: u64 = 100;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(4));
        let producer = tokio::spawn(async move {
            let mut polls = 0;
            for number in 0..ITEMS {
                let mut slot = Some(census.item(number));
                let mut sending = pin!(tx.send(&mut slot));
                let counted = poll_fn(|cx| {
                    polls += 1;
                    sending.as_mut().poll(cx)
                });
                let sent = within(LONG, counted).await;
                ensure!(sent == Ok(Ok(())), "item {number} was not sent: {sent:?}");
            }
            Ok(polls)
        });
        for number in 0..ITEMS {
            tokio::time::sleep(TICK).await;
            let item = next(&mut rx).await?;
            ensure!(item.number == number, "item {} came instead of {number}", item.number);
        }
        let polls: u64 = joined(producer.await)?;
        ensure!(polls <= 2 * ITEMS, "{ITEMS} items took {polls} polls: the producer is woken for nothing");
        Ok(())
    })
}
