//! What a source relies on, one promise per test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]
#![cfg(not(tidegate_loom))]

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tidegate_flow::settle::{Settled, Tally, Ticket, Window, WindowSpec};
use tidegate_flow::{Bytes, Nack, NackKind, Outcome, Records, Time, Weight};

fn window(slots: u32, bytes: u64) -> Window<u32> {
    Window::new(WindowSpec { slots, bytes: Bytes::new(bytes), lanes: 2 }).expect("a valid spec")
}

fn open(window: &Window<u32>, records: u64, position: u32) -> Ticket {
    window.try_open(0, Weight::new(records, records), Some(position), Time::ZERO).expect("room")
}

fn positions(window: &Window<u32>) -> Vec<(u32, bool)> {
    std::iter::from_fn(|| window.take_settled())
        .map(|Settled { position, nack, .. }| (position, nack.is_some()))
        .collect()
}

#[test]
fn the_position_never_passes_an_unsettled_record() {
    let window = window(8, 100);
    let mut tickets: Vec<Ticket> = (0..4).map(|at| open(&window, 2, at)).collect();
    let (mut first, last) = (tickets.remove(0), tickets.pop().expect("four"));
    last.settle(Outcome::Delivered);
    assert_eq!(positions(&window), []);
    first.settle_rows(&[0], Outcome::Delivered);
    assert_eq!(positions(&window), [], "one record of the first group is still out");
    first.settle(Outcome::Shed);
    assert_eq!(positions(&window), [(0, false)]);
    tickets.into_iter().rev().for_each(|ticket| ticket.settle(Outcome::Delivered));
    assert_eq!(positions(&window), [(3, false)], "coalesced");
}

#[test]
fn a_stuck_group_costs_one_slot_and_one_interval() {
    let window = window(2, 100);
    let stuck = open(&window, 1, 0);
    for position in 1..10_000 {
        open(&window, 1, position).settle(Outcome::Delivered);
        assert_eq!((window.fill().groups, window.fill().intervals), (1, 1));
    }
    assert_eq!(window.take_settled(), None);
    stuck.settle(Outcome::Delivered);
    assert_eq!(positions(&window), [(9_999, false)]);
}

#[test]
fn a_full_window_says_no_in_slots_and_in_bytes() {
    let window = window(2, 10);
    let held = [open(&window, 6, 0), open(&window, 4, 1)];
    assert!(window.try_open(0, Weight::new(1, 0), None, Time::ZERO).is_none(), "no slot left in lane 0");
    assert!(window.try_open(1, Weight::new(1, 1), None, Time::ZERO).is_none(), "no byte left");
    let other_lane = window.try_open(1, Weight::new(1, 0), Some(2), Time::ZERO);
    assert!(other_lane.is_some(), "lane 1 has its own slots");
    drop((held, other_lane));
    let alone = window.try_open(0, Weight::new(1, 1_000), Some(3), Time::ZERO);
    assert!(alone.is_some(), "an empty window admits any weight");
    assert!(!window.has_room(0, Weight::ZERO), "and is full then");
}

#[test]
fn refused_records_are_reported_apart_from_those_before() {
    let window = window(8, 100);
    open(&window, 1, 1).settle(Outcome::Delivered);
    open(&window, 2, 2).nack(Nack::permanent("bad"));
    open(&window, 1, 3).nack(Nack::transient("busy"));
    open(&window, 1, 4).settle(Outcome::Delivered);
    let (clean, refused) = (window.take_settled().expect("clean"), window.take_settled().expect("refused"));
    assert_eq!((clean.position, clean.nack), (1, None));
    assert_eq!((refused.position, refused.nack), (4, Some(Nack::transient("busy"))), "the source must try again");
    assert_eq!(refused.counts.refused(), Records::new(3));
    assert_eq!(refused.counts.total(), Records::new(4));
    open(&window, 1, 5).settle(Outcome::Delivered);
    assert_eq!(positions(&window), [(5, false)], "clean again once the refusal was told");
}

#[test]
fn a_pull_in_several_groups_is_one_report() {
    let window = window(8, 100);
    let part = window.try_open(1, Weight::new(1, 1), None, Time::ZERO).expect("room");
    part.nack(Nack::transient("busy"));
    assert_eq!(window.take_settled(), None, "the position of this pull is still to come");
    open(&window, 1, 7).settle(Outcome::Delivered);
    assert_eq!(positions(&window), [(7, true)], "its refusal is not forgotten");
}

#[test]
fn a_dropped_ticket_is_a_transient_nack_with_a_cause() {
    let window = window(2, 100);
    drop(open(&window, 3, 1));
    let settled = window.take_settled().expect("settled");
    assert_eq!(settled.counts.get(Outcome::Abandoned), Records::new(3));
    let nack = settled.nack.expect("a drop is a nack");
    assert_eq!((nack.kind, nack.cause.as_str()), (NackKind::Transient, "dropped before it was settled"));
}

#[test]
fn a_pull_of_nothing_moves_the_position() {
    let window = window(2, 100);
    assert!(window.try_open(0, Weight::new(0, 50), Some(9), Time::ZERO).expect("room").is_empty());
    assert_eq!(positions(&window), [(9, false)]);
    assert_eq!(window.fill().bytes, Bytes::ZERO);
}

#[test]
fn the_oldest_group_is_named() {
    let window = window(4, 100);
    assert_eq!(window.oldest_unsettled(), None);
    let mut old = window.try_open(1, Weight::new(3, 3), Some(1), Time::from_nanos(5)).expect("room");
    let young = window.try_open(0, Weight::new(1, 1), Some(2), Time::from_nanos(6)).expect("room");
    old.settle_rows(&[1], Outcome::Expired);
    let oldest = window.oldest_unsettled().expect("two are live");
    assert_eq!((oldest.sequence, oldest.lane, oldest.opened, oldest.left), (0, 1, Time::from_nanos(5), 2));
    old.settle(Outcome::Delivered);
    assert_eq!(window.oldest_unsettled().map(|oldest| oldest.sequence), Some(1));
    drop(young);
}

#[test]
fn a_record_ends_with_the_worst_of_its_branches() {
    let window = window(1, 100);
    let mut branches = open(&window, 4, 1).fork(2);
    let (mut one, mut two) = (branches.remove(0), branches.remove(0));
    one.settle_rows(&[0, 1], Outcome::Filtered);
    one.settle(Outcome::Delivered);
    two.settle_rows(&[1, 3], Outcome::Shed);
    two.settle(Outcome::Delivered);
    let counts = window.counts().ended;
    assert_eq!((counts.get(Outcome::Delivered), counts.get(Outcome::Shed)), (Records::new(2), Records::new(2)));
}

#[test]
fn a_best_effort_branch_is_counted_beside_the_source() {
    let (window, lost) = (window(1, 100), Tally::new());
    let (main, tap) = (open(&window, 5, 1), Ticket::observed(5, &lost));
    tap.settle(Outcome::Shed);
    assert_eq!(window.counts().in_flight, Records::new(5));
    main.settle(Outcome::Delivered);
    assert_eq!(lost.counts().ended.get(Outcome::Shed), Records::new(5));
    assert_eq!(window.counts().ended.get(Outcome::Delivered), Records::new(5));
}

#[test]
fn rows_of_several_sources_share_a_ticket() {
    let (one, two) = (window(1, 100), window(1, 100));
    let mut ticket = open(&one, 2, 1);
    ticket.append(open(&two, 3, 1));
    ticket.expand(&[1, 2, 3, 1, 0]);
    assert_eq!(ticket.records(), 7);
    let tail = ticket.split_off(4);
    ticket.settle(Outcome::Delivered);
    assert_eq!(one.counts().in_flight, Records::ZERO);
    assert_eq!(two.counts().in_flight, Records::new(2), "the third row has two outputs in the tail");
    tail.settle(Outcome::DeadLettered);
    assert_eq!(two.counts().ended.get(Outcome::DeadLettered), Records::new(2));
    assert_eq!(two.counts().ended.get(Outcome::Filtered), Records::new(1));
}

#[test]
fn inputs_of_an_aggregate_wait_for_every_output() {
    let window = window(4, 100);
    let inputs = vec![open(&window, 2, 1), open(&window, 3, 2)];
    let mut outputs = Ticket::join(inputs, 2);
    outputs.settle_rows(&[1], Outcome::Delivered);
    assert_eq!(window.counts().in_flight, Records::new(5));
    outputs.nack(Nack::permanent("bad sum"));
    assert_eq!(window.counts().ended.get(Outcome::Returned), Records::new(5));
}

#[test]
#[should_panic(expected = "lane 2 of a settle window with 2 lanes")]
fn a_lane_that_is_not_there_is_named() {
    let _ = window(1, 1).has_room(2, Weight::ZERO);
}

#[test]
#[should_panic(expected = "ascending and distinct")]
fn rows_out_of_order_are_refused() {
    Ticket::detached(3).settle_rows(&[1, 1], Outcome::Delivered);
}

#[test]
#[should_panic(expected = "at most 4294967295 rows")]
fn a_ticket_that_would_overflow_is_refused() {
    Ticket::detached(u32::MAX).append(Ticket::detached(1));
}

/// A waker that uses the window when it is woken or dropped, as a task that owns a ticket does.
struct Meddler(Window<u32>, Mutex<Option<Ticket>>);

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        let _ = self.0.counts();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        let _ = self.0.counts();
    }
}

#[test]
fn wakers_may_use_the_window_when_woken_or_dropped() {
    let window = window(1, 100);
    let (ticket, held) = (open(&window, 2, 1), Mutex::new(None));
    let meddler = || Waker::from(Arc::new(Meddler(window.clone(), Mutex::new(None))));
    for _ in 0..2 {
        // The second round drops the wakers of the first, the settle wakes those of the second.
        let waker = meddler();
        let cx = &mut Context::from_waker(&waker);
        assert_eq!(window.poll_room(0, Weight::new(1, 1), cx), Poll::Pending);
        assert_eq!(window.poll_settled(cx), Poll::Pending);
        assert_eq!(window.poll_idle(cx), Poll::Pending);
    }
    let last = Arc::new(Meddler(window.clone(), held));
    *last.1.lock().expect("not poisoned") = Some(ticket);
    drop(last);
    assert_eq!(window.counts().in_flight, Records::ZERO);
}
