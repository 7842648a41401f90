//! The budget under a model checker: every interleaving of a few threads (bounded in preemptions).
//!
//! `RUSTFLAGS="--cfg tidegate_loom" cargo test -p tidegate-flow --test loom_budget --release`

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
use tidegate_flow::{Account, AccountSpec, Budget, Bytes, SlabPool};

const TEN: Bytes = Bytes::new(10);

fn explore(test: impl Fn() + Send + Sync + 'static) {
    explore_with(3, test);
}

fn explore_with(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}

fn floating(budget: &Budget, name: &str) -> Account {
    budget.account(name, AccountSpec::edge(Bytes::ZERO)).unwrap()
}

/// Waits until `bytes` are leased, as a task of the runtime would. A lost wake-up is a deadlock, which loom reports.
fn lease_waiting(account: &Account, bytes: Bytes) {
    block_on(async {
        loop {
            if let Some(lease) = account.try_lease(bytes) {
                return drop(lease);
            }
            poll_fn(|cx| account.poll_room(cx, bytes)).await.unwrap();
        }
    });
}

#[test]
fn one_of_two_gets_the_last_floating_memory() {
    explore(|| {
        let process = Budget::new(TEN);
        let a = floating(&process.child("left", TEN), "a");
        let b = floating(&process.child("right", TEN), "b");
        let other = thread::spawn(move || b.try_lease(TEN));
        let mine = a.try_lease(TEN);
        let theirs = other.join().unwrap();
        assert!(mine.is_some() != theirs.is_some(), "exactly one is granted");
        assert_eq!(process.peak(), TEN);
        drop((mine, theirs));
        assert_eq!((process.used(), process.free()), (Bytes::ZERO, TEN));
    });
}

#[test]
fn a_release_in_the_account_wakes_who_waits_for_its_minimum() {
    explore(|| {
        let process = Budget::new(TEN);
        let account = process.account("a", AccountSpec::edge(TEN)).unwrap();
        let lease = account.try_lease(TEN).unwrap();
        let other = thread::spawn(move || drop(lease));
        lease_waiting(&account, TEN);
        other.join().unwrap();
    });
}

#[test]
fn a_release_elsewhere_wakes_who_waits_for_floating_memory() {
    explore(|| {
        let process = Budget::new(TEN);
        let a = floating(&process.child("left", TEN), "a");
        let b = floating(&process.child("right", TEN), "b");
        let lease = a.try_lease(TEN).unwrap();
        let other = thread::spawn(move || drop(lease));
        lease_waiting(&b, TEN);
        other.join().unwrap();
    });
}

#[test]
fn a_commit_taken_back_wakes_who_saw_it() {
    // `a` commits in the pipeline, finds the process full and takes it back; `b` needs the pipeline only.
    explore_with(2, || {
        let process = Budget::new(TEN);
        let pipeline = process.child("pipeline", Bytes::new(6));
        let (a, b) = (floating(&pipeline, "a"), floating(&pipeline, "b"));
        let elsewhere = floating(&process, "elsewhere");
        let held = elsewhere.try_lease(Bytes::new(5));
        let greedy = thread::spawn(move || {
            let more = elsewhere.try_lease(Bytes::new(1));
            (held, more)
        });
        let other = thread::spawn(move || drop(a.try_lease(Bytes::new(5))));
        lease_waiting(&b, Bytes::new(3));
        drop(greedy.join().unwrap());
        other.join().unwrap();
    });
}

#[test]
fn an_account_that_closes_wakes_who_waits_for_its_minimum() {
    explore(|| {
        let process = Budget::new(TEN);
        let closing = process.account("closing", AccountSpec::edge(Bytes::new(4))).unwrap();
        let a = floating(&process, "a");
        let held = a.try_lease(Bytes::new(1)).unwrap();
        let b = floating(&process, "b");
        let other = thread::spawn(move || drop((held, closing)));
        block_on(async {
            // Never, as long as the other is open; then Busy or granted.
            while b.try_lease(TEN).is_none() {
                if poll_fn(|cx| b.poll_room(cx, TEN)).await.is_err() {
                    thread::yield_now();
                }
            }
        });
        other.join().unwrap();
    });
}

#[test]
fn a_shared_lease_is_released_once() {
    explore(|| {
        let process = Budget::new(TEN);
        let account = floating(&process, "a");
        let mut lease = account.try_lease(TEN).unwrap();
        let handle = lease.share();
        let other = thread::spawn(move || drop(handle));
        drop(lease);
        other.join().unwrap();
        assert_eq!((process.used(), process.free(), account.used()), (Bytes::ZERO, TEN, Bytes::ZERO));
    });
}

#[test]
fn two_moves_in_opposite_directions_do_not_deadlock() {
    explore(|| {
        let process = Budget::new(TEN);
        let a = process.account("a", AccountSpec::edge(Bytes::new(4))).unwrap();
        let b = process.account("b", AccountSpec::edge(Bytes::new(4))).unwrap();
        let (mut of_a, mut of_b) = (a.try_lease(Bytes::new(3)).unwrap(), b.try_lease(Bytes::new(3)).unwrap());
        let to = a.clone();
        let other = thread::spawn(move || {
            let moved = of_b.rebind(&to).is_ok();
            (of_b, moved)
        });
        let moved = of_a.rebind(&b).is_ok();
        let (of_b, moved_back) = other.join().unwrap();
        assert!(moved || moved_back, "one of them is first, and finds a minimum or floating memory");
        assert_eq!(a.used() + b.used(), Bytes::new(6));
        assert!(process.peak() <= Bytes::new(6), "a move within a pool is not charged twice");
        drop((of_a, of_b));
        assert_eq!((process.used(), process.free()), (Bytes::ZERO, Bytes::new(2)));
    });
}

#[test]
fn a_slab_that_comes_back_wakes_who_waits_for_one() {
    explore(|| {
        let process = Budget::new(TEN);
        let account = process.account("source", AccountSpec::holding(TEN)).unwrap();
        let pool = SlabPool::new(account, 10, 1);
        let slab = pool.try_slab(10).unwrap().freeze();
        let other = thread::spawn(move || drop(slab));
        block_on(async {
            while pool.try_slab(10).is_none() {
                poll_fn(|cx| pool.poll_slab(cx, 10)).await.unwrap();
            }
        });
        other.join().unwrap();
        pool.trim();
        assert_eq!(process.used(), Bytes::ZERO);
    });
}

#[test]
fn a_slab_let_go_by_two_threads_gives_its_lease_back_once() {
    explore(|| {
        let process = Budget::new(TEN);
        let account = process.account("source", AccountSpec::holding(TEN)).unwrap();
        let pool = SlabPool::new(account, 10, 1);
        let slab = pool.try_slab(10).unwrap().freeze();
        let slice = slab.slice(..0);
        let other = thread::spawn(move || drop(slice));
        drop(slab);
        other.join().unwrap();
        assert_eq!(process.used().get(), 10 * pool.spare() as u64);
        pool.trim();
        assert_eq!(process.used(), Bytes::ZERO);
    });
}
