//! What each part of the budget promises, one by one. The whole against a model: `tests/budget_model.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says where it fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{Account, AccountSpec, Budget, BudgetError, Lease, MAX_PARKED, OverBudget, PlanSum, Spares, check_minima};
use crate::payload::Payload;
use crate::units::{Bytes, Records, Weight, mib};

const fn b(bytes: u64) -> Bytes {
    Bytes::new(bytes)
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(account: &Account, waker: &Waker, bytes: u64) -> Poll<Result<(), OverBudget>> {
    account.poll_room(&mut Context::from_waker(waker), b(bytes))
}

#[test]
fn a_minimum_is_there_when_others_have_taken_all_that_floats() {
    let process = Budget::new(b(100));
    let edge = process.account("edge", AccountSpec::edge(b(30))).unwrap();
    let greedy = process.account("greedy", AccountSpec::edge(b(0))).unwrap();
    let all = greedy.try_lease(b(70)).unwrap();
    assert_eq!(process.free(), b(0));
    assert!(greedy.try_lease(b(1)).is_none());
    let batch = edge.try_lease(b(30)).expect("its minimum");
    assert!(edge.try_lease(b(1)).is_none());
    drop((all, batch));
    assert_eq!((process.used(), process.free(), process.peak()), (b(0), b(70), b(100)));
}

#[test]
fn busy_and_never_are_told_apart() {
    let process = Budget::new(b(100));
    let pipeline = process.child("p", b(80));
    let floats = pipeline.account("floats", AccountSpec::edge(b(10))).unwrap();
    let fixed = pipeline.account("fixed", AccountSpec::edge(b(10)).maximum(b(20)).overdraft(b(5))).unwrap();
    // The pipeline has 80, 20 + 5 of it are reserved for the fixed account.
    assert_eq!((floats.largest(), fixed.largest()), (b(55), b(20)));
    assert_eq!(floats.lease(b(56)).unwrap_err(), OverBudget::Never);
    assert_eq!(fixed.lease(b(21)).unwrap_err(), OverBudget::Never);
    assert_eq!(fixed.overdraw(b(26)).unwrap_err(), OverBudget::Never);
    let held = floats.lease(b(55)).unwrap();
    assert_eq!(floats.lease(b(55)).unwrap_err(), OverBudget::Busy);
    drop(held);
    assert!(floats.lease(b(55)).is_ok());
    assert_eq!((floats.refused(), fixed.refused()), (2, 2));
}

#[test]
fn an_overdraft_is_bounded_and_repaid_before_anything_else() {
    let process = Budget::new(b(100));
    let account = process.account("expands", AccountSpec::edge(b(20)).overdraft(b(50))).unwrap();
    let _rest = process.account("rest", AccountSpec::holding(b(30))).unwrap();
    let first = account.try_lease(b(20)).unwrap();
    let second = account.overdraw(b(40)).unwrap();
    assert!(account.in_debt(), "nothing floats, so all of it is overdrawn");
    assert_eq!(account.lease(b(1)).unwrap_err(), OverBudget::Busy);
    assert_eq!(account.overdraw(b(11)).unwrap_err(), OverBudget::Busy);
    drop(first);
    assert!(account.in_debt(), "20 of 40 repaid");
    assert!(account.try_lease(b(1)).is_none());
    drop(second);
    assert!(!account.in_debt());
    assert!(account.try_lease(b(20)).is_some());
}

#[test]
fn a_debt_bars_leases_also_when_memory_floats_again() {
    let process = Budget::new(b(100));
    let account = process.account("expands", AccountSpec::edge(b(20)).overdraft(b(30))).unwrap();
    let other = process.account("other", AccountSpec::edge(b(0))).unwrap();
    let all = other.try_lease(b(50)).unwrap();
    let expanded = account.overdraw(b(40)).unwrap();
    drop(all);
    assert_eq!(account.lease(b(1)).unwrap_err(), OverBudget::Busy, "in debt, whatever floats");
    drop(expanded);
    assert!(account.lease(b(1)).is_ok());
}

#[test]
fn floating_memory_moves_on_with_the_batch_in_a_full_budget() {
    let process = Budget::new(b(100));
    let a = process.account("a", AccountSpec::edge(b(0))).unwrap();
    let c = process.account("c", AccountSpec::edge(b(0))).unwrap();
    let mut batch = a.try_lease(b(100)).unwrap();
    assert_eq!(process.free(), b(0));
    batch.rebind(&c).expect("the same memory, in another account");
    assert_eq!((a.used(), c.used(), process.used(), process.peak()), (b(0), b(100), b(100), b(100)));
}

#[test]
fn a_refused_move_changes_nothing() {
    let process = Budget::new(b(100));
    let a = process.account("a", AccountSpec::edge(b(50))).unwrap();
    let small = process.account("small", AccountSpec::edge(b(10)).maximum(b(10))).unwrap();
    let mut batch = a.try_lease(b(50)).unwrap();
    assert_eq!(batch.rebind(&small), Err(OverBudget::Never));
    assert_eq!((batch.bytes(), batch.account().unwrap().name()), (b(50), "a"));
    assert_eq!((a.used(), small.used(), small.refused()), (b(50), b(0), 1));
}

#[test]
fn a_shared_lease_stays_and_dies_with_its_last_handle() {
    let process = Budget::new(b(100));
    let a = process.account("a", AccountSpec::edge(b(50))).unwrap();
    let c = process.account("c", AccountSpec::edge(b(50))).unwrap();
    let mut left = a.try_lease(b(40)).unwrap();
    let mut right = left.share();
    let mut third = right.split(b(10));
    assert!(left.is_shared() && right.is_shared() && third.is_shared());
    right.rebind(&c).expect("it stays where it is");
    assert_eq!((right.resize(b(41)), right.resize(b(1))), (Err(OverBudget::Busy), Ok(())));
    assert_eq!((a.used(), c.used()), (b(40), b(0)));
    drop(left);
    third.merge(right).expect("handles of one charge");
    assert_eq!(a.used(), b(40));
    drop(third);
    assert_eq!(a.used(), b(0));
}

#[test]
fn leases_split_merge_and_shrink_within_their_account() {
    let process = Budget::new(b(100));
    let a = process.account("a", AccountSpec::edge(b(50))).unwrap();
    let c = process.account("c", AccountSpec::edge(b(50))).unwrap();
    let mut lease = a.try_lease(b(40)).unwrap();
    let part = lease.split(b(15));
    assert_eq!((lease.bytes(), part.bytes(), a.used()), (b(25), b(15), b(40)));
    lease.merge(part).expect("one account");
    let other = c.try_lease(b(5)).unwrap();
    let other = lease.merge(other).expect_err("two accounts");
    assert_eq!((lease.bytes(), other.bytes()), (b(40), b(5)));
    lease.resize(b(10)).unwrap();
    assert_eq!((a.used(), c.used()), (b(10), b(5)));
    assert_eq!(lease.split(b(99)).bytes(), b(10));
    drop(other);
    let mut nothing = Lease::none();
    assert_eq!(nothing.resize(b(1)), Err(OverBudget::Never));
    nothing.rebind(&c).unwrap();
    nothing.resize(b(1)).unwrap();
    assert_eq!(c.used(), b(1));
}

#[test]
fn a_waiter_is_woken_by_its_account_and_by_floating_memory_elsewhere() {
    let process = Budget::new(b(100));
    let fixed = process.account("fixed", AccountSpec::edge(b(10)).maximum(b(10))).unwrap();
    let floats = process.account("floats", AccountSpec::edge(b(10))).unwrap();
    let other = process.account("other", AccountSpec::edge(b(10))).unwrap();
    let (count, waker) = Count::new();
    assert_eq!(poll(&floats, &waker, 91), Poll::Ready(Err(OverBudget::Never)));
    assert_eq!(poll(&floats, &waker, 80), Poll::Ready(Ok(())));

    let (full, all) = (fixed.try_lease(b(10)).unwrap(), other.try_lease(b(80)).unwrap());
    assert_eq!(poll(&fixed, &waker, 1), Poll::Pending);
    let parts = floats.try_lease(b(10)).unwrap();
    assert_eq!(count.get(), 0);
    drop(full);
    assert_eq!(count.get(), 1, "woken by a release in its account");

    assert_eq!(poll(&floats, &waker, 1), Poll::Pending);
    drop(all);
    assert_eq!(count.get(), 2, "woken by floating memory");
    assert_eq!(poll(&floats, &waker, 1), Poll::Ready(Ok(())));
    drop(parts);
}

#[test]
fn a_waiter_that_can_never_be_served_any_more_is_told() {
    let process = Budget::new(b(100));
    let floats = process.account("floats", AccountSpec::edge(b(10))).unwrap();
    let held = floats.try_lease(b(40)).unwrap();
    let (count, waker) = Count::new();
    assert_eq!(poll(&floats, &waker, 90), Poll::Pending);
    let late = process.account("late", AccountSpec::edge(b(20))).unwrap();
    assert_eq!(count.get(), 1);
    assert_eq!(poll(&floats, &waker, 90), Poll::Ready(Err(OverBudget::Never)));
    drop((held, late));
}

#[test]
fn parked_tasks_are_bounded_and_the_oldest_is_woken_to_ask_again() {
    let process = Budget::new(b(10));
    let account = process.account("a", AccountSpec::edge(b(10)).maximum(b(10))).unwrap();
    let lease = account.try_lease(b(10)).unwrap();
    let tasks: Vec<_> = (0..=MAX_PARKED).map(|_| Count::new()).collect();
    for (_, waker) in &tasks {
        assert_eq!(poll(&account, waker, 1), Poll::Pending);
        assert_eq!(poll(&account, waker, 1), Poll::Pending, "parking twice takes one place");
    }
    let woken: Vec<usize> = tasks.iter().map(|(count, _)| count.get()).collect();
    assert_eq!((woken[0], woken.iter().sum::<usize>()), (1, 1));
    drop(lease);
    assert!(tasks.iter().all(|(count, _)| count.get() == 1), "everybody was woken once");
}

#[test]
fn parked_tasks_that_wait_for_floating_memory_are_bounded_too() {
    let process = Budget::new(b(10));
    let account = process.account("a", AccountSpec::edge(b(0))).unwrap();
    let other = process.account("other", AccountSpec::edge(b(0))).unwrap();
    let lease = other.try_lease(b(10)).unwrap();
    let tasks: Vec<_> = (0..10 * MAX_PARKED).map(|_| Count::new()).collect();
    for (_, waker) in &tasks {
        assert_eq!(poll(&account, waker, 1), Poll::Pending);
    }
    let woken = |tasks: &[(Arc<Count>, Waker)]| tasks.iter().map(|(count, _)| count.get()).collect::<Vec<_>>();
    let (left, parked) = tasks.split_at(9 * MAX_PARKED);
    assert!(woken(left).iter().all(|&count| count == 2), "left both lists, woken by each");
    assert!(woken(parked).iter().all(|&count| count == 0));
    drop(lease);
    assert!(woken(left).iter().all(|&count| count == 2), "no longer in a list");
    assert!(woken(parked).iter().all(|&count| count == 1));
}

#[test]
fn shrinking_an_account_gives_back_at_once_and_as_its_leases_go() {
    let process = Budget::new(b(100));
    let edge = process.account("edge", AccountSpec::edge(b(10)).maximum(b(80))).unwrap();
    let lease = edge.try_lease(b(50)).unwrap();
    let first = process.account("more", AccountSpec::edge(b(50)));
    assert!(matches!(first, Err(BudgetError::NoRoom { .. })));
    edge.resize(b(10), Some(b(20))).unwrap();
    assert_eq!((process.free(), process.reserved()), (b(50), b(20)));
    assert!(edge.try_lease(b(1)).is_none(), "above its new maximum");
    drop(lease);
    assert_eq!(process.free(), b(80));
    assert!(edge.try_lease(b(20)).is_some());
    assert!(edge.resize(b(10), Some(b(101))).is_err());
    assert_eq!(edge.maximum(), Some(b(20)));
}

#[test]
fn an_account_stays_open_until_its_last_lease_is_gone() {
    let process = Budget::new(b(100));
    let edge = process.account("edge", AccountSpec::edge(b(60)).overdraft(b(10))).unwrap();
    let lease = edge.try_lease(b(5)).unwrap();
    drop(edge);
    assert_eq!((process.free(), process.used()), (b(30), b(5)));
    drop(lease);
    assert_eq!((process.free(), process.used(), process.reserved()), (b(100), b(0), b(0)));
}

#[test]
fn a_plan_that_does_not_fit_is_refused_with_the_sum_spelled_out() {
    let minima = [
        ("source app", "one maximal frame", mib(1)),
        ("edge app -> parse", "one maximal batch", mib(4)),
        ("edge parse -> archive", "explicit max_size", mib(16)),
    ];
    assert_eq!(check_minima(mib(21), &minima), Ok(()));
    let refused = check_minima(mib(16), &minima).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the memory budget is too small by 5 MiB:
  source app                  1 MiB  one maximal frame
  edge app -> parse           4 MiB  one maximal batch
  edge parse -> archive      16 MiB  explicit max_size
  sum                        21 MiB
  budget                     16 MiB
raise the budget to at least 21 MiB, or lower the largest part: edge parse -> archive (explicit max_size)"
    );
    let mut plan = PlanSum::new(mib(16));
    plan.add("edge", "overdraft", mib(10));
    assert_eq!((plan.short(), plan.floating()), (b(0), mib(6)));
}

#[test]
fn an_account_that_does_not_fit_says_where_and_what_to_do() {
    let process = Budget::new(b(100));
    let pipeline = process.child("orders", b(50));
    let open = pipeline.account("edge a", AccountSpec::edge(b(30))).unwrap();
    let refused = pipeline.account("edge b", AccountSpec::edge(b(21))).unwrap_err().to_string();
    assert!(refused.contains("edge b has to reserve 21 B, but pool orders has 20 B left"), "{refused}");
    assert!(refused.contains("raise the budget"), "{refused}");
    let held = open.try_lease(b(45)).unwrap();
    let refused = pipeline.account("edge b", AccountSpec::edge(b(20))).unwrap_err().to_string();
    assert!(refused.contains("try again when less is in flight"), "{refused}");
    drop(held);
    let refused = pipeline.account("edge b", AccountSpec::edge(b(20)).maximum(b(10))).unwrap_err().to_string();
    assert!(refused.contains("raise its maximum to at least 20 B"), "{refused}");
    assert_eq!(process.child("wide", b(500)).total(), b(100));
}

/// Rows of one byte; retains its capacity.
#[derive(Debug)]
struct Rows(Vec<u8>);

impl Payload for Rows {
    fn weight(&self) -> Weight {
        Weight { records: Records::from(self.0.len()), bytes: Bytes::from(self.0.len()) }
    }
    fn retained_bytes(&self) -> Bytes {
        Bytes::from(self.0.capacity())
    }
    fn split_off(&mut self, at: Records) -> Self {
        Self(self.0.split_off(usize::try_from(at.get()).unwrap()))
    }
    fn append(&mut self, mut other: Self) -> Result<(), Self> {
        self.0.append(&mut other.0);
        Ok(())
    }
    fn remove_rows(&mut self, rows: &[u32]) {
        for &row in rows.iter().rev() {
            self.0.remove(row as usize);
        }
    }
    fn clear(&mut self) {
        self.0.clear();
    }
}

#[test]
fn spares_keep_the_allocation_charged_and_within_their_minimum() {
    let process = Budget::new(b(1000));
    let edge = process.account("edge", AccountSpec::edge(b(100))).unwrap();
    let home = process.account("spares", AccountSpec::holding(b(0)).maximum(b(150))).unwrap();
    let spares = Spares::new(home.clone(), 2);
    let batch = |capacity: usize| (Rows(Vec::with_capacity(capacity)), edge.try_lease(Bytes::from(capacity)).unwrap());

    let (mut payload, lease) = batch(100);
    payload.0.push(1);
    let at = payload.0.as_ptr();
    spares.put(payload, lease);
    assert_eq!((edge.used(), home.used(), spares.len()), (b(0), b(100), 1));
    let (payload, mut lease) = spares.take().expect("one is kept");
    assert_eq!((payload.0.as_ptr(), payload.0.len(), lease.bytes()), (at, 0, b(100)));
    lease.rebind(&edge).unwrap();
    spares.put(payload, lease);

    let (payload, lease) = batch(60);
    spares.put(payload, lease);
    assert_eq!((edge.used(), home.used(), spares.len()), (b(0), b(100), 1), "60 more exceed its maximum: freed");
    for _ in 0..2 {
        let (payload, lease) = batch(20);
        spares.put(payload, lease);
    }
    assert_eq!((home.used(), spares.len()), (b(120), 2), "two at most");
    let (payload, mut lease) = batch(10);
    let handle = lease.share();
    drop((spares.take(), spares.take()));
    spares.put(payload, lease);
    assert!(spares.is_empty(), "a shared charge is not kept");
    drop(handle);
    drop(spares);
    assert_eq!((process.used(), home.used()), (b(0), b(0)));
}

#[test]
fn many_threads_never_exceed_the_total_and_leave_nothing_behind() {
    let process = Budget::new(b(1000));
    let pipelines = [process.child("p", b(700)), process.child("q", b(600))];
    let accounts: Vec<Account> =
        (0..4).map(|i| pipelines[i % 2].account("a", AccountSpec::edge(b(50)).overdraft(b(20))).unwrap()).collect();
    std::thread::scope(|scope| {
        for seed in 1..=4_u64 {
            let (accounts, process) = (&accounts, &process);
            scope.spawn(move || churn(seed, accounts, process));
        }
    });
    assert_eq!((process.used(), process.free()), (b(0), b(1000 - 4 * 70)));
    assert!(process.peak() <= process.total());
    assert!(accounts.iter().all(|account| account.used().is_zero() && !account.in_debt()));
}

fn churn(seed: u64, accounts: &[Account], process: &Budget) {
    let mut state = seed;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut held: Vec<Lease> = Vec::new();
    for _ in 0..20_000 {
        let account = &accounts[random(accounts.len())];
        match random(6) {
            0 | 1 => held.extend(account.try_lease(Bytes::from(random(120)))),
            2 => held.extend(account.overdraw(Bytes::from(random(60))).ok()),
            3 if !held.is_empty() => {
                let index = random(held.len());
                let _ = held[index].rebind(account);
            }
            4 if !held.is_empty() => {
                let index = random(held.len());
                let handle = held[index].share();
                held.push(handle);
            }
            _ if !held.is_empty() => drop(held.swap_remove(random(held.len()))),
            _ => {}
        }
        assert!(process.used() <= process.total());
        held.truncate(40);
    }
}
