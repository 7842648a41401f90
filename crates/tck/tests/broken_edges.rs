//! The checks can fail: channels with one planted fault each, and the check that finds it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tidegate_tck::check::{Checked, Unmet};
use tidegate_tck::edge::{EdgeUnderTest, Feature, Got, Item, Refused, RxUnderTest, Spec, TxUnderTest, checks};

/// A plain bounded channel. The number says what is wrong with it; `SOUND` is the control.
struct Broken<const FAULT: u8>;

const SOUND: u8 = 0;
const LOSES_ON_CANCELLED_SEND: u8 = 1;
const TAKES_ONE_TOO_MANY: u8 = 2;
const FORGETS_THE_END: u8 = 3;
const NEVER_WAKES_PRODUCERS: u8 = 4;
const NEVER_WAKES_THE_CONSUMER: u8 = 5;
const LAST_IN_FIRST_OUT: u8 = 6;
const ENDS_BEFORE_ITS_DATA: u8 = 7;
const KEEPS_THE_FIRST_WAKER: u8 = 8;
const KEEPS_ALL_WAKERS: u8 = 9;
const LOSES_ON_CANCELLED_RECEIVE: u8 = 10;
const KEEPS_WHAT_NOBODY_RECEIVES: u8 = 11;
const WAKES_EVERYONE_ALWAYS: u8 = 12;
const REPEATS_ITEMS_AS_ROOM: u8 = 13;
const DEAF_TO_A_LOST_CONSUMER: u8 = 14;
const WAKES_ONLY_THE_FIRST_IN_LINE: u8 = 15;
const FAVOURS_ONE_PRODUCER: u8 = 16;
const NEVER_GIVES_WAY: u8 = 17;
const REFUSES_WITHOUT_THE_ITEM: u8 = 18;
const READY_RESERVES: u8 = 19;

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    window: usize,
    producers: usize,
    made: u64,
    consumer_gone: bool,
    ended: bool,
    waiting: VecDeque<(u64, Waker)>,
    consumer: Vec<Waker>,
    /// Kept for nothing.
    hoard: Vec<Waker>,
}

/// The number tells producers apart.
struct Tx<const FAULT: u8>(Arc<Mutex<State>>, u64);
struct Rx<const FAULT: u8>(Arc<Mutex<State>>);

impl<const FAULT: u8> EdgeUnderTest for Broken<FAULT> {
    type Tx = Tx<FAULT>;
    type Rx = Rx<FAULT>;
    const NAME: &'static str = "broken";
    const LACKS: &'static [(Feature, &'static str)] =
        &[(Feature::Bytes, "it only counts"), (Feature::RecordWeight, "it only counts")];

    fn make(spec: Spec) -> (Self::Tx, Self::Rx) {
        let window = usize::try_from(spec.window.records).unwrap();
        let window = if FAULT == TAKES_ONE_TOO_MANY { window + 1 } else { window };
        let state = Arc::new(Mutex::new(State { window, producers: 1, ..State::default() }));
        (Tx(Arc::clone(&state), 0), Rx(state))
    }
}

impl<const FAULT: u8> Tx<FAULT> {
    fn offer(&self, slot: &mut Option<Item>, waker: Option<&Waker>) -> Poll<Result<(), Refused>> {
        let mut state = self.0.lock().unwrap();
        if state.consumer_gone && FAULT != DEAF_TO_A_LOST_CONSUMER {
            return Poll::Ready(Err(Refused::Closed));
        }
        let unlucky = FAULT == FAVOURS_ONE_PRODUCER && self.1 > 1;
        if state.queue.len() < state.window && !(unlucky && state.producers > 1) {
            state.queue.extend(slot.take());
            state.waiting.retain(|(id, _)| *id != self.1);
            if FAULT != NEVER_WAKES_THE_CONSUMER {
                state.consumer.drain(..).for_each(Waker::wake);
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(waker) = waker {
            match state.waiting.iter_mut().find(|(id, _)| *id == self.1) {
                Some(_) if FAULT == KEEPS_THE_FIRST_WAKER => {}
                Some((_, old)) => old.clone_from(waker),
                None => state.waiting.push_back((self.1, waker.clone())),
            }
            if FAULT == KEEPS_ALL_WAKERS {
                state.hoard.push(waker.clone());
            }
            if FAULT == WAKES_EVERYONE_ALWAYS && state.made.is_multiple_of(2) {
                waker.wake_by_ref();
            }
            state.made += u64::from(FAULT == WAKES_EVERYONE_ALWAYS);
        }
        Poll::Pending
    }
}

/// Gives a wait up when its future is dropped.
struct Wait<'a, const FAULT: u8>(&'a Tx<FAULT>);

impl<const FAULT: u8> Drop for Wait<'_, FAULT> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap();
        state.waiting.retain(|(id, _)| *id != self.0.1);
        // What freed the room may have woken only this one; a sound channel tells the next.
        if FAULT != WAKES_ONLY_THE_FIRST_IN_LINE && state.queue.len() < state.window {
            wake_producers::<FAULT>(&mut state);
        }
    }
}

fn wake_producers<const FAULT: u8>(state: &mut State) {
    match FAULT {
        NEVER_WAKES_PRODUCERS => {}
        WAKES_ONLY_THE_FIRST_IN_LINE => state.waiting.pop_front().into_iter().for_each(|(_, waker)| waker.wake()),
        _ => state.waiting.iter().for_each(|(_, waker)| waker.wake_by_ref()),
    }
}

impl<const FAULT: u8> TxUnderTest for Tx<FAULT> {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        if FAULT != NEVER_GIVES_WAY {
            tokio::task::consume_budget().await;
        }
        let _wait = Wait(self);
        if FAULT == LOSES_ON_CANCELLED_SEND {
            let mut mine = slot.take();
            let sent = poll_fn(|cx| self.offer(&mut mine, Some(cx.waker()))).await;
            *slot = mine;
            return sent;
        }
        poll_fn(|cx| self.offer(slot, Some(cx.waker()))).await
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        match self.offer(slot, None) {
            Poll::Ready(sent) => sent,
            Poll::Pending if FAULT == REFUSES_WITHOUT_THE_ITEM => {
                drop(slot.take());
                Err(Refused::Full)
            }
            Poll::Pending => Err(Refused::Full),
        }
    }

    async fn ready(&mut self) {
        if FAULT == READY_RESERVES {
            let mut state = self.0.lock().unwrap();
            state.window = state.window.saturating_sub(1);
        }
    }

    fn another(&self) -> Self {
        let mut state = self.0.lock().unwrap();
        state.producers += 1;
        state.made += 1;
        Self(Arc::clone(&self.0), state.made)
    }
}

impl<const FAULT: u8> Drop for Tx<FAULT> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap();
        state.producers -= 1;
        state.ended |= state.producers == 0 && FAULT != FORGETS_THE_END;
        state.consumer.drain(..).for_each(Waker::wake);
    }
}

impl<const FAULT: u8> Rx<FAULT> {
    fn take(&mut self, cx: &Context<'_>) -> Poll<Got> {
        let mut state = self.0.lock().unwrap();
        if FAULT == ENDS_BEFORE_ITS_DATA && state.ended {
            return Poll::Ready(Got::Completed);
        }
        let item = if FAULT == LAST_IN_FIRST_OUT { state.queue.pop_back() } else { state.queue.pop_front() };
        if let Some(item) = item {
            if FAULT == REPEATS_ITEMS_AS_ROOM {
                state.window += 1;
            }
            wake_producers::<FAULT>(&mut state);
            return Poll::Ready(Got::Item(item));
        }
        if state.ended {
            return Poll::Ready(Got::Completed);
        }
        if FAULT != KEEPS_THE_FIRST_WAKER || state.consumer.is_empty() {
            if FAULT != KEEPS_ALL_WAKERS {
                state.consumer.clear();
            }
            state.consumer.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<const FAULT: u8> RxUnderTest for Rx<FAULT> {
    async fn recv(&mut self) -> Got {
        if FAULT != NEVER_GIVES_WAY {
            tokio::task::consume_budget().await;
        }
        let got = poll_fn(|cx| self.take(cx)).await;
        if FAULT == LOSES_ON_CANCELLED_RECEIVE {
            // The item is in a local variable across an await.
            tokio::task::yield_now().await;
        }
        got
    }
}

impl<const FAULT: u8> Drop for Rx<FAULT> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap();
        state.consumer_gone = true;
        let queued =
            if FAULT == KEEPS_WHAT_NOBODY_RECEIVES { VecDeque::new() } else { std::mem::take(&mut state.queue) };
        state.waiting.drain(..).for_each(|(_, waker)| waker.wake());
        drop(state);
        drop(queued);
    }
}

fn check(what: &str, fault: Checked) {
    match fault {
        Err(Unmet::Failed(_)) => {}
        other => panic!("a channel that {what} passes: {other:?}"),
    }
}

macro_rules! finds {
    ($($test:ident: $fault:ident, $($check:ident)+;)*) => {
        $(
            #[test]
            fn $test() {
                $(check(stringify!($test), checks::$check::<Broken<$fault>>());)+
            }
        )*
    };
}

finds! {
    loses_an_item_when_a_send_is_cancelled: LOSES_ON_CANCELLED_SEND, c17_a_cancelled_send_leaves_the_item_with_its_owner;
    loses_an_item_when_a_receive_is_cancelled: LOSES_ON_CANCELLED_RECEIVE, c18_a_cancelled_receive_loses_and_repeats_nothing;
    delivers_beyond_the_demand: TAKES_ONE_TOO_MANY,
        c01_records_delivered_never_exceed_the_records_granted c03_zero_demand_means_zero_deliveries;
    grants_what_was_taken_twice: REPEATS_ITEMS_AS_ROOM,
        c01_records_delivered_never_exceed_the_records_granted c04_what_is_taken_comes_back_as_room_once;
    forgets_the_end: FORGETS_THE_END,
        c10_one_end_and_nothing_after_it c11_the_end_needs_no_room c12_data_comes_before_completion
        c14_data_and_end_wake_a_parked_consumer;
    ends_before_its_data: ENDS_BEFORE_ITS_DATA, c10_one_end_and_nothing_after_it c12_data_comes_before_completion;
    never_wakes_its_producers: NEVER_WAKES_PRODUCERS,
        c13_room_wakes_a_parked_producer c35_a_blocked_producer_loses_nothing_and_wakes_once;
    never_wakes_its_consumer: NEVER_WAKES_THE_CONSUMER, c14_data_and_end_wake_a_parked_consumer c15_the_last_waker_wins;
    does_not_tell_producers_that_the_consumer_is_gone: DEAF_TO_A_LOST_CONSUMER,
        c14_the_loss_of_the_consumer_wakes_a_parked_producer c20_dropping_the_consumer_frees_what_was_queued;
    wakes_only_the_task_that_polled_first: KEEPS_THE_FIRST_WAKER, c15_the_last_waker_wins;
    loses_the_wakeup_of_a_cancelled_wait: WAKES_ONLY_THE_FIRST_IN_LINE, c16_a_cancelled_wait_passes_its_wakeup_on;
    hoards_wakers: KEEPS_ALL_WAKERS, c29_waits_leave_no_wakers_behind;
    wakes_producers_for_nothing: WAKES_EVERYONE_ALWAYS, c35_a_blocked_producer_loses_nothing_and_wakes_once;
    turns_the_order_around: LAST_IN_FIRST_OUT, c09_first_in_first_out_for_each_producer;
    keeps_what_nobody_can_receive: KEEPS_WHAT_NOBODY_RECEIVES, c20_dropping_the_consumer_frees_what_was_queued;
    starves_two_of_three_producers: FAVOURS_ONE_PRODUCER, c39_no_producer_starves;
    never_gives_way: NEVER_GIVES_WAY, c42_a_task_that_never_waits_gives_way;
    drops_what_it_refuses: REFUSES_WITHOUT_THE_ITEM, c03_zero_demand_means_zero_deliveries;
    reserves_room_for_idle_producers: READY_RESERVES, c08_waiting_for_room_reserves_nothing;
}

/// The same channel without a fault passes every one of these checks: it is the faults that they find.
mod sound {
    use super::*;

    macro_rules! passes {
        ($($check:ident)*) => {
            $(
                #[test]
                fn $check() {
                    let checked = checks::$check::<Broken<SOUND>>();
                    assert_eq!(checked, Ok(()));
                }
            )*
        };
    }

    passes! {
        c01_records_delivered_never_exceed_the_records_granted
        c03_zero_demand_means_zero_deliveries
        c04_what_is_taken_comes_back_as_room_once
        c08_waiting_for_room_reserves_nothing
        c09_first_in_first_out_for_each_producer
        c10_one_end_and_nothing_after_it
        c11_the_end_needs_no_room
        c12_data_comes_before_completion
        c13_room_wakes_a_parked_producer
        c14_data_and_end_wake_a_parked_consumer
        c14_the_loss_of_the_consumer_wakes_a_parked_producer
        c15_the_last_waker_wins
        c16_a_cancelled_wait_passes_its_wakeup_on
        c17_a_cancelled_send_leaves_the_item_with_its_owner
        c18_a_cancelled_receive_loses_and_repeats_nothing
        c20_dropping_the_consumer_frees_what_was_queued
        c29_waits_leave_no_wakers_behind
        c35_a_blocked_producer_loses_nothing_and_wakes_once
        c39_no_producer_starves
        c42_a_task_that_never_waits_gives_way
    }
}
