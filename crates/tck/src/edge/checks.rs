//! The checks themselves, by number. Each runs on any [`EdgeUnderTest`].

mod cancel;
mod credit;
mod end;
mod fair;
mod policy;
mod wake;

pub use cancel::*;
pub use credit::*;
pub use end::*;
pub use fair::*;
pub use policy::*;
pub use wake::*;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Census, EdgeUnderTest, Got, Item, Refused, RxUnderTest, TxUnderTest};
use crate::check::{Check, Unmet, ensure, within};

/// Long enough, in virtual time, for everything that is going to happen.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// What a slow consumer takes for an item.
const TICK: Duration = Duration::from_secs(1);

/// The list of all checks, for the tests of a suite and for the table of results. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __edge_checks {
    (list $mode:ident $edge:ty) => {
        $crate::__edge_checks! { $mode $edge;
            c01_records_delivered_never_exceed_the_records_granted
            c02_bytes_delivered_never_exceed_the_bytes_granted
            c03_zero_demand_means_zero_deliveries
            c04_what_is_taken_comes_back_as_room_once
            c05_an_unlimited_window_does_not_overflow
            c06_a_smaller_window_revokes_nothing
            c07_record_and_byte_credit_move_together
            c08_waiting_for_room_reserves_nothing
            c09_first_in_first_out_for_each_producer
            c10_one_end_and_nothing_after_it
            c11_the_end_needs_no_room
            c11_control_overtakes_a_full_channel
            c12_data_comes_before_completion
            c12_data_comes_before_a_failure_and_the_cause_is_kept
            c12_closing_keeps_what_is_in_the_channel
            c13_room_wakes_a_parked_producer
            c14_data_and_end_wake_a_parked_consumer
            c14_the_loss_of_the_consumer_wakes_a_parked_producer
            c15_the_last_waker_wins
            c16_a_cancelled_wait_passes_its_wakeup_on
            c17_a_cancelled_send_leaves_the_item_with_its_owner
            c18_a_cancelled_receive_loses_and_repeats_nothing
            c20_dropping_the_consumer_frees_what_was_queued
            c26_an_oversize_item_is_admitted_alone
            c29_waits_leave_no_wakers_behind
            c35_a_blocked_producer_loses_nothing_and_wakes_once
            c36_drop_newest_gives_up_what_comes_last
            c36_drop_oldest_gives_up_what_came_first
            c36_sample_accounts_for_everything
            c37_fail_fast_leaves_the_item_with_its_owner
            c37_divert_waits_for_room_where_it_leads
            c38_marks_move_once_for_each_crossing
            c39_no_producer_starves
            c42_a_task_that_never_waits_gives_way
        }
    };
    (tests $edge:ty; $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::check::assert_holds(stringify!($check), &$crate::edge::checks::$check::<$edge>());
            }
        )*
    };
    (table $edge:ty; $($check:ident)*) => {
        vec![$($crate::check::Check { name: stringify!($check), run: $crate::edge::checks::$check::<$edge> }),*]
    };
}

/// Every check, tied to one subject.
#[must_use]
pub fn all<E: EdgeUnderTest>() -> Vec<Check> {
    __edge_checks!(list table E)
}

/// Fills the channel with items of one record and one byte, numbered from `from`.
fn fill<T: TxUnderTest>(tx: &mut T, census: &Census, from: u64, count: u64) -> Result<(), Unmet> {
    for number in from..from + count {
        let sent = tx.try_send(&mut Some(census.item(number)));
        ensure!(sent.is_ok(), "item {number} has room, but try_send said {sent:?}");
    }
    Ok(())
}

/// How many items go in without waiting, up to `most`.
fn room<T: TxUnderTest>(tx: &mut T, census: &Census, most: u64) -> u64 {
    (0..most).take_while(|number| tx.try_send(&mut Some(census.item(*number))).is_ok()).count() as u64
}

/// The next item, or a failure that says what came instead.
async fn next<R: RxUnderTest>(rx: &mut R) -> Result<Item, Unmet> {
    match within(LONG, rx.recv()).await {
        Ok(Got::Item(item)) => Ok(item),
        Ok(other) => Err(Unmet::Failed(format!("expected an item, got {other:?}"))),
        Err(_) => Err(Unmet::Failed("an item is there, but the consumer is not given it".to_owned())),
    }
}

/// The numbers of all items up to the end, and the end.
async fn until_end<R: RxUnderTest>(rx: &mut R) -> Result<(Vec<u64>, Got), Unmet> {
    let mut numbers = Vec::new();
    loop {
        match within(LONG, rx.recv()).await {
            Ok(Got::Item(item)) => numbers.push(item.number),
            Ok(end) => return Ok((numbers, end)),
            Err(_) => {
                return Err(Unmet::Failed(format!("after the items {numbers:?} the consumer hears of no end")));
            }
        }
    }
}

/// Takes what is there, and shows the channel a consumer that waits.
async fn drain_now<R: RxUnderTest>(rx: &mut R) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Ok(Got::Item(item)) = within(TICK, rx.recv()).await {
        numbers.push(item.number);
    }
    numbers
}

/// Sends, and fails the check where that takes for ever.
async fn send<T: TxUnderTest>(tx: &mut T, item: Item) -> Result<(), Unmet> {
    let number = item.number;
    let mut slot = Some(item);
    match within(LONG, tx.send(&mut slot)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) => Err(Unmet::Failed(format!("item {number} was refused: {refused:?}"))),
        Err(_) => Err(Unmet::Failed(format!("item {number} is never taken, though the consumer takes what comes"))),
    }
}

/// A task of the check that went wrong.
fn joined<T>(joined: Result<Result<T, Unmet>, tokio::task::JoinError>) -> Result<T, Unmet> {
    joined.unwrap_or_else(|error| Err(Unmet::Failed(format!("a task of the check ended: {error}"))))
}

/// A waker that counts.
#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls once with the given waker.
fn poll_with<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Polls a future once and drops it.
fn try_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_with(future.as_mut(), Waker::noop()) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What is left of a refusal once it is known that there was one.
fn is_full(sent: Result<(), Refused>) -> bool {
    sent == Err(Refused::Full)
}
