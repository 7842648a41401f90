//! The checks of what only some channels have can fail too: our own edge, bent in one place at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use tidegate_runtime::edge::{EdgeRx, EdgeTx};
use tidegate_tck::check::{Checked, Unmet};
use tidegate_tck::edge::{
    EdgeUnderTest, Got, Item, Refused, RxUnderTest, Spec, Tidegate, TxUnderTest, WhenFull, Window, checks,
};

struct Bent<const BEND: u8>;

const IGNORES_BYTES: u8 = 1;
const REFUSES_LARGE_ITEMS: u8 = 2;
const OVERFLOWS: u8 = 3;
const NEVER_SHRINKS: u8 = 4;
const FORGETS_CONTROL: u8 = 5;
const FORGETS_THE_CAUSE: u8 = 6;
const CLOSING_LOSES_DATA: u8 = 7;
const SHEDS_THE_WRONG_END: u8 = 8;
const WAITS_WHERE_IT_SHOULD_FAIL: u8 = 9;
const LOSES_WHAT_IT_DIVERTS: u8 = 10;
const MARKS_WITHOUT_HYSTERESIS: u8 = 11;
const SHEDS_WITHOUT_COUNTING: u8 = 12;

struct Tx<const BEND: u8> {
    tx: EdgeTx<Item>,
    fill: u64,
    most_bytes: u64,
}

struct Rx<const BEND: u8> {
    rx: EdgeRx<Item>,
    closed: bool,
}

impl<const BEND: u8> EdgeUnderTest for Bent<BEND> {
    type Tx = Tx<BEND>;
    type Rx = Rx<BEND>;
    const NAME: &'static str = "bent";

    fn make(mut spec: Spec) -> (Self::Tx, Self::Rx) {
        let most_bytes = spec.window.bytes;
        match BEND {
            IGNORES_BYTES => spec.window.bytes = 1 << 40,
            OVERFLOWS => spec.window.records = spec.window.records.wrapping_add(2).max(1),
            SHEDS_THE_WRONG_END => {
                spec.when_full = match spec.when_full {
                    WhenFull::DropNewest => WhenFull::DropOldest,
                    WhenFull::DropOldest => WhenFull::DropNewest,
                    other => other,
                }
            }
            WAITS_WHERE_IT_SHOULD_FAIL => spec.when_full = WhenFull::Block,
            _ => {}
        }
        let (tx, rx) = Tidegate::make(spec);
        (Tx { tx, fill: 0, most_bytes }, Rx { rx, closed: false })
    }
}

impl<const BEND: u8> TxUnderTest for Tx<BEND> {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        if BEND == SHEDS_WITHOUT_COUNTING && self.fill >= 3 {
            drop(slot.take());
        }
        if BEND == LOSES_WHAT_IT_DIVERTS && self.fill >= 4 {
            drop(slot.take());
        }
        self.fill += 1;
        TxUnderTest::send(&mut self.tx, slot).await
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        if BEND == REFUSES_LARGE_ITEMS && slot.as_ref().is_some_and(|item| item.bytes > self.most_bytes) {
            return Err(Refused::Full);
        }
        TxUnderTest::try_send(&mut self.tx, slot)
    }

    fn another(&self) -> Self {
        Self { tx: self.tx.another(), fill: 0, most_bytes: self.most_bytes }
    }

    async fn ready(&mut self) {
        TxUnderTest::ready(&mut self.tx).await;
    }

    fn fail(&mut self, cause: &str) {
        let cause = if BEND == FORGETS_THE_CAUSE { "something" } else { cause };
        TxUnderTest::fail(&mut self.tx, cause);
    }

    fn control(&mut self, message: u64) {
        if BEND != FORGETS_CONTROL {
            TxUnderTest::control(&mut self.tx, message);
        }
    }

    fn is_pressured(&self) -> bool {
        if BEND == MARKS_WITHOUT_HYSTERESIS {
            return self.tx.handle().snapshot().fill.records.get() >= 6;
        }
        TxUnderTest::is_pressured(&self.tx)
    }

    fn resize(&mut self, window: Window) {
        if BEND != NEVER_SHRINKS {
            self.tx.resize(window);
        }
    }

    fn divert_to(&mut self, target: Self) {
        self.tx.divert_to(target.tx);
    }
}

impl<const BEND: u8> RxUnderTest for Rx<BEND> {
    async fn recv(&mut self) -> Got {
        if BEND == CLOSING_LOSES_DATA && self.closed {
            return Got::Completed;
        }
        RxUnderTest::recv(&mut self.rx).await
    }

    fn close(&mut self) {
        self.closed = true;
        RxUnderTest::close(&mut self.rx);
    }
}

fn found(what: &str, checked: Checked) {
    match checked {
        Err(Unmet::Failed(_)) => {}
        other => panic!("an edge that {what} passes: {other:?}"),
    }
}

macro_rules! finds {
    ($($test:ident: $bend:ident, $($check:ident)+;)*) => {
        $(
            #[test]
            fn $test() {
                $(found(stringify!($test), checks::$check::<Bent<$bend>>());)+
            }
        )*
    };
}

finds! {
    ignores_bytes: IGNORES_BYTES,
        c02_bytes_delivered_never_exceed_the_bytes_granted c07_record_and_byte_credit_move_together
        c26_an_oversize_item_is_admitted_alone;
    refuses_an_item_larger_than_its_window: REFUSES_LARGE_ITEMS, c26_an_oversize_item_is_admitted_alone;
    overflows_at_the_largest_window: OVERFLOWS, c05_an_unlimited_window_does_not_overflow;
    never_shrinks: NEVER_SHRINKS, c06_a_smaller_window_revokes_nothing;
    forgets_control_messages: FORGETS_CONTROL, c11_control_overtakes_a_full_channel;
    forgets_the_cause_of_a_failure: FORGETS_THE_CAUSE, c12_data_comes_before_a_failure_and_the_cause_is_kept;
    loses_data_when_it_is_closed: CLOSING_LOSES_DATA, c12_closing_keeps_what_is_in_the_channel;
    sheds_the_wrong_end: SHEDS_THE_WRONG_END,
        c36_drop_newest_gives_up_what_comes_last c36_drop_oldest_gives_up_what_came_first;
    sheds_without_counting: SHEDS_WITHOUT_COUNTING,
        c36_drop_newest_gives_up_what_comes_last c36_sample_accounts_for_everything;
    waits_where_it_should_fail: WAITS_WHERE_IT_SHOULD_FAIL, c37_fail_fast_leaves_the_item_with_its_owner;
    loses_what_it_diverts: LOSES_WHAT_IT_DIVERTS, c37_divert_waits_for_room_where_it_leads;
    flaps_between_its_marks: MARKS_WITHOUT_HYSTERESIS, c38_marks_move_once_for_each_crossing;
}

tidegate_tck::edge_suite!(straight, Bent<0>);
