//! The checks of components can fail: stages with one planted fault each, and the check that finds it.
//!
//! There is no sink that settles a record twice: settling takes the ticket, so it does not compile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use tidegate_flow::{Batch, Cause, EdgeSpec, Items, Meta, Nack, Outcome, Weight};
use tidegate_runtime::{Accepted, EdgeFlow, NoCommit, Pull, Readiness, Sink, Source, StageContext, Step, Transform};
use tidegate_tck::check::{Checked, Unmet};
use tidegate_tck::stage::{Received, SinkUnderTest, SourceUnderTest, TransformUnderTest, sinks, sources, transforms};

type Rows = Items<u64>;

/// A transform that passes everything on, but for its fault.
struct Broken<const FAULT: u8> {
    kept: VecDeque<Batch<Rows>>,
    seen: u64,
}

const SOUND: u8 = 0;
const DROPS_WITHOUT_SETTLING: u8 = 1;
const SETTLES_AS_DELIVERED_TOO_EARLY: u8 = 2;
const TAKES_ALL_IT_CAN: u8 = 3;
const FORGETS_WHAT_IT_HOLDS_AT_THE_END: u8 = 4;
const TURNS_BATCHES_AROUND: u8 = 5;
const LEAKS_ITS_BATCHES: u8 = 6;
const REMEMBERS_THE_LAST_RUN: u8 = 7;
const LIES_ABOUT_FAULTS: u8 = 8;
const NEVER_ENDS: u8 = 9;
const SHARES_ITS_FATE: u8 = 10;

const POISON: u64 = 1_000_000;

/// What the fault of the third run depends on.
static RUNS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

impl<const FAULT: u8> Transform<Rows> for Broken<FAULT> {
    type Out = Rows;

    fn process(&mut self, mut input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.seen += 1;
        let poisoned = input.payload.as_slice().iter().position(|number| *number == POISON);
        if let Some(row) = poisoned.and_then(|row| u32::try_from(row).ok()) {
            return self.fault(row, input, out, cx);
        }
        match FAULT {
            DROPS_WITHOUT_SETTLING if self.seen == 3 => drop(input),
            LEAKS_ITS_BATCHES if self.seen == 3 => std::mem::forget(input),
            SETTLES_AS_DELIVERED_TOO_EARLY => {
                let records = input.payload.take();
                let lease = std::mem::replace(&mut input.lease, tidegate_flow::Lease::none());
                input.ticket.settle(Outcome::Delivered);
                let mut early = Batch::detached(Items::from(records));
                early.lease = lease;
                *out = Some(early);
            }
            TAKES_ALL_IT_CAN | FORGETS_WHAT_IT_HOLDS_AT_THE_END if self.kept.len() < 5 => self.kept.push_back(input),
            TAKES_ALL_IT_CAN | FORGETS_WHAT_IT_HOLDS_AT_THE_END => {
                self.kept.push_back(input);
                *out = self.kept.pop_front();
            }
            TURNS_BATCHES_AROUND => {
                let mut rows = input.payload.take();
                rows.reverse();
                input.payload = Items::from(rows);
                *out = Some(input);
            }
            REMEMBERS_THE_LAST_RUN if self.seen == 1 && RUNS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 => {
                cx.refuse(input, Nack::transient("the second run differs"));
            }
            _ => *out = Some(input),
        }
        Step::Done
    }

    fn flush(&mut self, out: &mut Option<Batch<Rows>>, _cx: &mut StageContext) -> Step {
        match FAULT {
            NEVER_ENDS => return Step::WaitUntil(tidegate_flow::Time::MAX),
            FORGETS_WHAT_IT_HOLDS_AT_THE_END => return Step::Done,
            _ => {}
        }
        *out = self.kept.pop_front();
        if self.kept.is_empty() { Step::Done } else { Step::More }
    }
}

impl<const FAULT: u8> Broken<FAULT> {
    /// One row is at fault.
    fn fault(&mut self, row: u32, mut input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &StageContext) -> Step {
        if FAULT == SHARES_ITS_FATE {
            cx.refuse(input, Nack::permanent("one of these is poisoned"));
            return Step::Done;
        }
        let behind = input.split_off(row + 1);
        let culprit = input.split_off(row);
        let nack = if FAULT == LIES_ABOUT_FAULTS { Nack::transient("") } else { Nack::permanent("poisoned") };
        cx.refuse(culprit, nack);
        if let Err(behind) = input.append(behind) {
            self.kept.push_back(behind);
        }
        *out = Some(input);
        Step::Done
    }
}

impl<const FAULT: u8> TransformUnderTest for Broken<FAULT> {
    type In = u64;
    type Out = u64;
    const NAME: &'static str = "broken";

    fn attach(flow: EdgeFlow<Rows>, to: EdgeSpec) -> EdgeFlow<Rows> {
        flow.transform(Self { kept: VecDeque::new(), seen: 0 }).edge(to)
    }

    fn record(number: u64) -> u64 {
        number
    }

    fn outputs(number: u64) -> Vec<u64> {
        vec![number]
    }

    fn poison() -> Option<u64> {
        Some(POISON)
    }
}

fn found(what: &str, checked: Checked) {
    match checked {
        Err(Unmet::Failed(_)) => {}
        other => panic!("a component that {what} passes: {other:?}"),
    }
}

macro_rules! finds {
    ($($test:ident: $fault:ident, $($check:ident)+;)*) => {
        $(
            #[test]
            fn $test() {
                $(found(stringify!($test), transforms::$check::<Broken<$fault>>());)+
            }
        )*
    };
}

finds! {
    drops_records_without_settling_them: DROPS_WITHOUT_SETTLING, c3_settles_each_record_once;
    settles_before_the_sink_accepts: SETTLES_AS_DELIVERED_TOO_EARLY,
        c30_nothing_is_settled_as_delivered_before_the_sink_accepts c34_a_fork_settles_after_all_required_branches;
    takes_input_without_room: TAKES_ALL_IT_CAN, c1_takes_no_input_without_room_to_emit;
    forgets_what_it_holds_at_the_end: FORGETS_WHAT_IT_HOLDS_AT_THE_END, c12_data_comes_before_the_end_and_the_end_once;
    turns_the_order_around: TURNS_BATCHES_AROUND, c3_settles_each_record_once;
    leaks_batches: LEAKS_ITS_BATCHES, c2_a_stop_at_any_moment_returns_all_memory c32_positions_are_committed_in_order;
    does_not_do_the_same_again: REMEMBERS_THE_LAST_RUN, c8_same_input_same_result;
    lies_about_faults: LIES_ABOUT_FAULTS, c3_a_refusal_carries_its_cause_and_kind;
    refuses_the_neighbours_too: SHARES_ITS_FATE, c3_a_refusal_carries_its_cause_and_kind;
    never_ends: NEVER_ENDS, c4_drains_by_its_deadline c12_data_comes_before_the_end_and_the_end_once;
}

tidegate_tck::stage_suite!(sound, Broken<SOUND>);

/// An expansion that makes everything at once.
struct AllAtOnce;

impl TransformUnderTest for AllAtOnce {
    type In = Vec<u64>;
    type Out = Vec<u64>;
    const NAME: &'static str = "all at once";

    fn attach(flow: EdgeFlow<Items<Vec<u64>>>, to: EdgeSpec) -> EdgeFlow<Items<Vec<u64>>> {
        flow.map(|rows: Vec<u64>| rows.repeat(200_000)).edge(to)
    }

    fn record(number: u64) -> Vec<u64> {
        vec![number]
    }

    fn outputs(number: u64) -> Vec<Vec<u64>> {
        vec![vec![number; 200_000]]
    }

    fn bulk() -> Option<(Vec<u64>, usize)> {
        Some((vec![0], 1))
    }
}

#[test]
fn expands_without_bound() {
    found("expands without bound", transforms::c27_expansion_is_bounded::<AllAtOnce>());
}

/// A source with a fault.
struct BrokenSource<const FAULT: u8> {
    next: u64,
    end: u64,
    ended: bool,
}

const READS_TOO_MUCH: u8 = 1;
const SKIPS_WHAT_IT_PEEKED_AT: u8 = 2;
const COMES_BACK_FROM_ITS_END: u8 = 3;
const GIVES_NOBODY_A_TURN: u8 = 4;

impl<const FAULT: u8> Source for BrokenSource<FAULT> {
    type Payload = Rows;
    type Position = u64;
    type Committer = NoCommit;

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        if FAULT == SKIPS_WHAT_IT_PEEKED_AT && self.next < self.end {
            // Takes a record in, and forgets it when it is dropped here.
            self.next += 1;
            tokio::task::yield_now().await;
            self.next -= 1;
        }
        if FAULT != GIVES_NOBODY_A_TURN {
            tokio::task::coop::consume_budget().await;
        }
        if self.next < self.end {
            return Ok(Readiness::Ready);
        }
        let back = FAULT == COMES_BACK_FROM_ITS_END && std::mem::replace(&mut self.ended, true);
        Ok(if back { Readiness::Ready } else { Readiness::Ended })
    }

    fn read(&mut self, room: Weight, mut into: Rows) -> Result<Pull<Rows, u64>, Cause> {
        let most = if FAULT == READS_TOO_MUCH { u64::MAX } else { room.records.get() };
        while (into.len() as u64) < most.min(1_000)
            && self.next < self.end
            && (into.is_empty() || into.bytes() < room.bytes)
        {
            into.push(self.next);
            self.next += 1;
        }
        Ok(Pull { payload: into, position: Some(self.next) })
    }
}

impl<const FAULT: u8> SourceUnderTest for BrokenSource<FAULT> {
    type Record = u64;
    const NAME: &'static str = "broken source";

    fn make(records: Option<u64>) -> impl Source<Payload = Rows> {
        Self { next: 0, end: records.unwrap_or(u64::MAX), ended: false }
    }

    fn number(record: &u64) -> u64 {
        *record
    }
}

tidegate_tck::source_suite!(sound_source, BrokenSource<SOUND>);

#[test]
fn reads_more_than_the_room() {
    found("reads more than the room", sources::c1_reads_no_more_than_the_room::<BrokenSource<READS_TOO_MUCH>>());
}

#[test]
fn loses_a_record_when_its_wait_is_dropped() {
    type Subject = BrokenSource<SKIPS_WHAT_IT_PEEKED_AT>;
    found("loses what it peeked at", sources::c18_a_cancelled_wait_loses_and_repeats_nothing::<Subject>());
}

#[test]
fn comes_back_from_its_end() {
    found("comes back from its end", sources::c10_the_end_is_the_end::<BrokenSource<COMES_BACK_FROM_ITS_END>>());
}

#[test]
fn gives_nobody_a_turn() {
    found("gives nobody a turn", sources::c42_leaves_its_neighbours_their_turns::<BrokenSource<GIVES_NOBODY_A_TURN>>());
}

/// A sink with a fault.
struct BrokenSink<const FAULT: u8> {
    received: Received,
    buffered: Vec<u64>,
}

const ACCEPTS_WHAT_IT_DID_NOT_DELIVER: u8 = 1;
const BUFFERS_WITHOUT_FLUSHING: u8 = 2;
const REFUSES_WITHOUT_A_CAUSE: u8 = 3;
const DELIVERS_THE_NEIGHBOURS_AGAIN: u8 = 4;
const HANGS: u8 = 5;

impl<const FAULT: u8> Sink<Rows> for BrokenSink<FAULT> {
    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut refused = Vec::new();
        for (row, number) in (0..).zip(payload.as_slice()) {
            match FAULT {
                HANGS if *number == 50 => std::future::pending::<()>().await,
                ACCEPTS_WHAT_IT_DID_NOT_DELIVER if *number == 5 => {}
                BUFFERS_WITHOUT_FLUSHING => self.buffered.push(*number),
                REFUSES_WITHOUT_A_CAUSE if *number == POISON => refused.push((row, Nack::permanent(""))),
                DELIVERS_THE_NEIGHBOURS_AGAIN if *number == POISON => return Err(Nack::permanent("one of them")),
                _ if *number == POISON => refused.push((row, Nack::permanent("poisoned"))),
                _ => self.received.lock().unwrap_or_else(PoisonError::into_inner).push(*number),
            }
        }
        Ok(if refused.is_empty() { Accepted::All } else { Accepted::Except(refused) })
    }
}

impl<const FAULT: u8> SinkUnderTest for BrokenSink<FAULT> {
    type Record = u64;
    const NAME: &'static str = "broken sink";

    fn make(received: Received) -> impl Sink<Rows> {
        Self { received, buffered: Vec::new() }
    }

    fn record(number: u64) -> u64 {
        number
    }

    fn poison() -> Option<u64> {
        Some(POISON)
    }
}

tidegate_tck::sink_suite!(sound_sink, BrokenSink<SOUND>);

#[test]
fn accepts_what_it_did_not_deliver() {
    type Subject = BrokenSink<ACCEPTS_WHAT_IT_DID_NOT_DELIVER>;
    found("accepts too much", sinks::c3_settles_each_record_once::<Subject>());
    found("accepts too much", sinks::c30_accepts_what_the_receiver_has::<Subject>());
}

#[test]
fn keeps_records_in_a_buffer() {
    type Subject = BrokenSink<BUFFERS_WITHOUT_FLUSHING>;
    found("buffers", sinks::c12_what_was_sent_is_there_before_the_end::<Subject>());
    found("buffers", sinks::c2_a_stop_at_any_moment_returns_all_memory::<Subject>());
}

#[test]
fn refuses_without_a_cause() {
    found("does not say why", sinks::c3_a_refusal_carries_its_cause_and_kind::<BrokenSink<REFUSES_WITHOUT_A_CAUSE>>());
}

#[test]
fn delivers_the_neighbours_of_a_fault_again() {
    type Subject = BrokenSink<DELIVERS_THE_NEIGHBOURS_AGAIN>;
    found("delivers twice", sinks::c3_a_refusal_carries_its_cause_and_kind::<Subject>());
}

#[test]
fn never_answers() {
    found("never answers", sinks::c4_drains_by_its_deadline::<BrokenSink<HANGS>>());
    found("never answers", sinks::c3_settles_each_record_once::<BrokenSink<HANGS>>());
}

#[test]
fn an_empty_suite_shows_nothing() {
    let unwound = catch_unwind(AssertUnwindSafe(|| tidegate_tck::check::list_not_applicable("nothing", &[])));
    assert!(unwound.is_err());
}
