//! Checks 36 to 38: what a full channel does, and how it says that it is pressured.

use super::super::{Feature, Spec, WhenFull, needs};
use super::*;
use crate::check::{Checked, in_virtual_time};

/// Sends 0 to 9 into a channel of 3; gives what came out, and what was given up.
async fn kept_of_ten<E: EdgeUnderTest>(when_full: WhenFull) -> Result<(Vec<u64>, u64), Unmet> {
    let census = Census::default();
    let (mut tx, mut rx) = E::make(Spec::records(3).when_full(when_full));
    for number in 0..10 {
        send(&mut tx, census.item(number)).await?;
    }
    drop(tx);
    let (numbers, _) = until_end(&mut rx).await?;
    let (kept, shed) = (numbers.len() as u64, census.shed());
    ensure!(kept + shed == 10, "10 were sent, {kept} received, and {shed} were said to be given up");
    ensure!(census.live() == 0, "{} items are neither received nor dropped", census.live());
    Ok((numbers, shed))
}

/// A full channel gives up what comes, and keeps what it has in order.
pub fn c36_drop_newest_gives_up_what_comes_last<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::DropNewest)?;
    in_virtual_time(async {
        let (numbers, _) = kept_of_ten::<E>(WhenFull::DropNewest).await?;
        ensure!(numbers == [0, 1, 2], "the first three are to stay, and {numbers:?} did");
        Ok(())
    })
}

/// A full channel gives up what it has had longest, and keeps the rest in order.
pub fn c36_drop_oldest_gives_up_what_came_first<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::DropOldest)?;
    in_virtual_time(async {
        let (numbers, _) = kept_of_ten::<E>(WhenFull::DropOldest).await?;
        ensure!(numbers == [7, 8, 9], "the last three are to stay, and {numbers:?} did");
        Ok(())
    })
}

/// A sampling channel gives up some and says how many; what it keeps stays in order.
pub fn c36_sample_accounts_for_everything<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Sample)?;
    in_virtual_time(async {
        let (numbers, shed) = kept_of_ten::<E>(WhenFull::Sample).await?;
        ensure!(shed > 0 && !numbers.is_empty(), "of ten into a room of three it kept {numbers:?}");
        ensure!(numbers.is_sorted(), "what it kept is out of order: {numbers:?}");
        Ok(())
    })
}

/// A full channel refuses at once, and the item is still with its owner; with room again it takes it.
pub fn c37_fail_fast_leaves_the_item_with_its_owner<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::FailFast)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(2).when_full(WhenFull::Fail));
        fill(&mut tx, &census, 0, 2)?;
        let mut slot = Some(census.item(2));
        let sent = within(TICK, tx.send(&mut slot)).await;
        ensure!(sent == Ok(Err(Refused::Full)), "a full channel that is to fail says {sent:?}");
        ensure!(slot.is_some(), "the refused item is not with its owner");
        next(&mut rx).await?;
        let sent = within(TICK, tx.send(&mut slot)).await;
        ensure!(sent == Ok(Ok(())) && slot.is_none(), "with room again it says {sent:?}");
        Ok(())
    })
}

/// What does not fit goes to the other channel; when that is full too, the producer waits and nothing is lost.
pub fn c37_divert_waits_for_room_where_it_leads<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Divert)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(2).when_full(WhenFull::Divert));
        let (other_tx, mut other_rx) = E::make(Spec::records(2));
        tx.divert_to(other_tx);
        for number in 0..4 {
            send(&mut tx, census.item(number)).await?;
        }
        let mut slot = Some(census.item(4));
        let early = within(LONG, tx.send(&mut slot)).await;
        ensure!(early.is_err() && slot.is_some(), "with both full, send says {early:?} and leaves {slot:?}");
        let diverted = next(&mut other_rx).await?.number;
        ensure!(diverted == 2, "diverted first was {diverted}");
        other_rx = tidy_up(other_rx).await;
        let sent = within(LONG, tx.send(&mut slot)).await;
        ensure!(sent == Ok(Ok(())), "with room where it leads, send says {sent:?}");
        drop(tx);
        let (here, _) = until_end(&mut rx).await?;
        let (there, _) = until_end(&mut other_rx).await?;
        ensure!(here == [0, 1] && there == [4], "here came {here:?}, there at last {there:?}");
        Ok(())
    })
}

/// Empties a channel, so that it grants all its room.
async fn tidy_up<R: RxUnderTest>(mut rx: R) -> R {
    drain_now(&mut rx).await;
    rx
}

/// Pressured at the high mark, calm at the low one, and no change between the two, whichever way it goes.
pub fn c38_marks_move_once_for_each_crossing<E: EdgeUnderTest>() -> Checked {
    needs::<E>(Feature::Pressure)?;
    in_virtual_time(async {
        let census = Census::default();
        let (mut tx, mut rx) = E::make(Spec::records(8));
        for round in 0..5 {
            for fill in 1..=8 {
                send(&mut tx, census.item(fill)).await?;
                ensure!(
                    tx.is_pressured() == (fill >= 6),
                    "round {round}, rising: {} at {fill} of 8",
                    tx.is_pressured()
                );
            }
            for fill in (0..8).rev() {
                next(&mut rx).await?;
                ensure!(
                    tx.is_pressured() == (fill > 2),
                    "round {round}, falling: {} at {fill} of 8",
                    tx.is_pressured()
                );
            }
        }
        Ok(())
    })
}
