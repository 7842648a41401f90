//! Settlement under every interleaving that matters. Run with
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test -p tidegate-flow --test loom_settle --release`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]
#![cfg(tidegate_loom)]

use std::future::poll_fn;

use loom::future::block_on;
use loom::thread;
use tidegate_flow::settle::{Ticket, Window, WindowSpec};
use tidegate_flow::{Bytes, Nack, Outcome, Records, Time, Weight};

fn window(slots: u32) -> Window<u32> {
    Window::new(WindowSpec { slots, bytes: Bytes::new(1000), lanes: 1 }).expect("a valid spec")
}

fn open(window: &Window<u32>, records: u64, position: u32) -> Ticket {
    window.try_open(0, Weight::new(records, records), Some(position), Time::ZERO).expect("room")
}

#[track_caller]
fn assert_ended(window: &Window<u32>, expected: &[(Outcome, u64)]) {
    let counts = window.counts();
    assert_eq!(counts.check(), Ok(()));
    assert_eq!(counts.in_flight, Records::ZERO);
    let ended: Vec<_> = counts.ended.iter().filter(|(_, records)| !records.is_zero()).collect();
    assert_eq!(ended, expected.iter().map(|(outcome, n)| (*outcome, Records::new(*n))).collect::<Vec<_>>());
}

#[test]
fn two_parts_of_a_group_settle_at_once() {
    loom::model(|| {
        let window = window(1);
        let mut left = open(&window, 3, 7);
        let right = left.split_off(1);
        let other = thread::spawn(move || right.settle(Outcome::Filtered));
        left.settle(Outcome::Delivered);
        let counts = window.counts();
        assert_eq!(counts.check(), Ok(()), "balanced while the other thread may be settling");
        other.join().expect("no panic");
        assert_ended(&window, &[(Outcome::Filtered, 2), (Outcome::Delivered, 1)]);
        assert_eq!(window.take_settled().map(|settled| settled.position), Some(7));
        assert_eq!(window.take_settled(), None, "reported once");
    });
}

#[test]
fn two_branches_of_a_fork_settle_at_once() {
    loom::model(|| {
        let window = window(1);
        let mut branches = open(&window, 2, 7).fork(2);
        let (mut one, two) = (branches.remove(0), branches.remove(0));
        let other = thread::spawn(move || two.nack(Nack::permanent("bad")));
        one.settle_rows(&[1], Outcome::Filtered);
        one.settle(Outcome::Delivered);
        other.join().expect("no panic");
        assert_ended(&window, &[(Outcome::Returned, 2)]);
        let nack = window.take_settled().and_then(|settled| settled.nack);
        assert_eq!(nack, Some(Nack::permanent("bad")));
    });
}

#[test]
fn a_drop_races_a_settle() {
    loom::model(|| {
        let window = window(1);
        let mut left = open(&window, 2, 7);
        let right = left.split_off(1);
        let other = thread::spawn(move || drop(right));
        left.settle(Outcome::Delivered);
        other.join().expect("no panic");
        assert_ended(&window, &[(Outcome::Delivered, 1), (Outcome::Abandoned, 1)]);
        assert!(window.take_settled().is_some_and(|settled| settled.nack.is_some()));
    });
}

#[test]
fn a_branch_is_forked_again_while_its_sibling_settles() {
    loom::model(|| {
        let window = window(1);
        let mut branches = open(&window, 1, 7).fork(2);
        let (one, two) = (branches.remove(0), branches.remove(0));
        let other = thread::spawn(move || two.settle(Outcome::Delivered));
        let below = one.fork(2);
        assert_eq!(window.counts().in_flight, Records::new(1), "three branches, and at most one has ended");
        below.into_iter().for_each(|branch| branch.settle(Outcome::Shed));
        other.join().expect("no panic");
        assert_ended(&window, &[(Outcome::Shed, 1)]);
    });
}

#[test]
fn news_is_never_lost() {
    loom::model(|| {
        let window = window(2);
        let (first, second) = (open(&window, 1, 1), open(&window, 1, 2));
        let other = thread::spawn(move || {
            second.settle(Outcome::Delivered);
            first.settle(Outcome::Delivered);
        });
        let mut last = 0;
        while last < 2 {
            let settled = block_on(poll_fn(|cx| window.poll_settled(cx)));
            assert!(settled.position > last, "positions move forward");
            last = settled.position;
        }
        other.join().expect("no panic");
    });
}

#[test]
fn a_freed_slot_is_never_lost() {
    loom::model(|| {
        let window = window(1);
        let first = open(&window, 1, 1);
        let other = thread::spawn(move || first.settle(Outcome::Delivered));
        block_on(poll_fn(|cx| window.poll_room(0, Weight::new(1, 1), cx)));
        open(&window, 1, 2).settle(Outcome::Delivered);
        other.join().expect("no panic");
        assert_ended(&window, &[(Outcome::Delivered, 2)]);
    });
}

#[test]
fn a_group_is_opened_while_another_settles() {
    loom::model(|| {
        let window = window(2);
        let first = open(&window, 1, 1);
        let other = thread::spawn(move || first.settle(Outcome::Delivered));
        let second = open(&window, 1, 2);
        let oldest = window.oldest_unsettled().expect("the second is not settled");
        assert!(oldest.sequence <= 1);
        second.settle(Outcome::Filtered);
        other.join().expect("no panic");
        let mut positions = Vec::new();
        while let Some(settled) = window.take_settled() {
            positions.push(settled.position);
        }
        assert_eq!(positions.last(), Some(&2));
    });
}

#[test]
fn a_drain_hears_of_the_last_settle() {
    loom::model(|| {
        let window = window(2);
        let (first, second) = (open(&window, 1, 1), open(&window, 1, 2));
        let one = thread::spawn(move || first.settle(Outcome::Delivered));
        let two = thread::spawn(move || drop(second));
        block_on(poll_fn(|cx| window.poll_idle(cx)));
        assert_eq!(window.counts().in_flight, Records::ZERO);
        one.join().expect("no panic");
        two.join().expect("no panic");
    });
}

#[test]
fn a_watch_hears_of_its_group() {
    loom::model(|| {
        let window = window(2);
        let (mut ticket, watch) = window.try_open_watched(0, Weight::new(2, 2), Some(1), Time::ZERO).expect("room");
        let rest = ticket.split_off(1);
        let other = thread::spawn(move || ticket.settle(Outcome::Delivered));
        rest.settle(Outcome::Expired);
        let outcome = block_on(watch);
        assert_eq!(outcome.counts.total(), Records::new(2));
        assert_eq!(outcome.nack, None);
        other.join().expect("no panic");
    });
}
