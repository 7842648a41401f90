//! Slabs: charged by capacity until the last slice is gone, recycled within the minimum, never more than the budget.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]
#![cfg(not(tidegate_loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tidegate_flow::{Account, AccountSpec, Budget, Bytes, OverBudget, Slab, SlabBuf, SlabPool};

const fn b(bytes: u64) -> Bytes {
    Bytes::new(bytes)
}

/// A process of 1000 bytes, a source with a minimum of `minimum`, and its pool of slabs of 100 bytes.
fn pool(minimum: u64, keep: usize) -> (Budget, Account, SlabPool) {
    let process = Budget::new(b(1000));
    let account = process.account("source", AccountSpec::holding(b(minimum))).unwrap();
    (process.clone(), account.clone(), SlabPool::new(account, 100, keep))
}

fn slab(pool: &SlabPool, text: &[u8]) -> Slab {
    let mut buffer = pool.try_slab(0).unwrap();
    assert_eq!(buffer.put(text), text.len());
    buffer.freeze()
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_charge_is_the_capacity_and_lives_as_long_as_the_last_slice() {
    let (process, account, pool) = pool(100, 0);
    let whole = slab(&pool, b"hello world");
    let word = whole.slice(6..);
    let letter = word.slice(1..=1);
    assert_eq!((&*whole, &*word, &*letter), (&b"hello world"[..], &b"world"[..], &b"o"[..]));
    assert_eq!((letter.retained_bytes(), account.used()), (b(100), b(100)));
    drop((whole, word));
    assert_eq!(account.used(), b(100), "one letter keeps the slab");
    drop(letter);
    assert_eq!((account.used(), process.used(), pool.spare()), (b(0), b(0), 0));
    assert!(Slab::default().is_empty() && Slab::default().retained_bytes().is_zero());
}

#[test]
fn writing_stops_at_the_capacity() {
    let (_, _, pool) = pool(100, 0);
    let mut buffer = pool.try_slab(1).unwrap();
    buffer.unfilled()[..3].copy_from_slice(b"abc");
    buffer.advance(3);
    assert_eq!(buffer.put(&[b'x'; 200]), 97);
    assert_eq!((buffer.len(), buffer.capacity(), buffer.unfilled().len()), (100, 100, 0));
    buffer.truncate(3);
    assert_eq!(&*buffer, b"abc");
}

#[test]
fn a_dead_slab_is_recycled_and_stays_charged_within_the_minimum() {
    let (process, account, pool) = pool(200, 8);
    let slabs: Vec<Slab> = (0..4).map(|_| slab(&pool, b"x")).collect();
    assert_eq!(account.used(), b(400));
    drop(slabs);
    assert_eq!((pool.spare(), account.used()), (2, b(200)), "floating memory is not kept");
    let buffer = pool.try_slab(100).unwrap();
    assert_eq!((pool.spare(), account.used(), buffer.len()), (1, b(200), 0));
    drop(buffer);
    pool.trim();
    assert_eq!((pool.spare(), process.used()), (0, b(0)));
}

#[test]
fn no_more_than_asked_for_is_kept_and_a_pool_that_goes_takes_its_spares_along() {
    let (process, account, pool) = pool(300, 1);
    drop((slab(&pool, b"x"), slab(&pool, b"y")));
    assert_eq!((pool.spare(), account.used()), (1, b(100)));
    let outlives = slab(&pool, b"z");
    drop(pool);
    assert_eq!(process.used(), b(100));
    drop(outlives);
    assert_eq!(process.used(), b(0));
}

#[test]
fn a_slab_that_moved_to_an_edge_comes_home() {
    let (process, account, pool) = pool(100, 1);
    let edge = process.account("edge", AccountSpec::edge(b(100))).unwrap();
    let mut only = slab(&pool, b"x");
    only.rebind(&edge).unwrap();
    assert_eq!((account.used(), edge.used(), only.account().unwrap().name()), (b(0), b(100), "edge"));
    let mut other = only.clone();
    other.rebind(&account).expect("shared: it stays where it is");
    assert_eq!(edge.used(), b(100));
    drop((only, other));
    assert_eq!((account.used(), edge.used(), pool.spare()), (b(100), b(0), 1));
}

#[test]
fn a_frame_larger_than_a_slab_completes_from_the_minimum_of_its_source() {
    let minimum = SlabPool::minimum(100, 500);
    let (process, account, pool) = pool(minimum.get(), 8);
    let hog = process.account("hog", AccountSpec::holding(b(0))).unwrap();
    let _all = hog.try_lease(process.free()).unwrap();
    // Spares fill the minimum; they give way.
    let slabs: Vec<Slab> = (0..6).map(|_| slab(&pool, b"x")).collect();
    drop(slabs);
    assert_eq!((pool.spare(), account.used()), (6, b(600)));
    let mut frame = pool.try_slab(0).unwrap();
    frame.put(&[7; 100]);
    frame.grow(500).expect("the minimum holds a slab and a maximal frame");
    assert_eq!((frame.capacity(), frame.len(), account.used()), (500, 100, b(600)), "the old buffer is spare again");
    assert_eq!(frame.put(&[8; 400]), 400);
    let frame = frame.freeze();
    assert_eq!((frame[99], frame[100], frame.len()), (7, 8, 500));
    drop(frame);
    assert_eq!((pool.spare(), account.used()), (1, b(100)), "a buffer of an odd size is freed");
    assert_eq!(pool.slab(601).unwrap_err(), OverBudget::Busy, "400 could float");
    assert_eq!(pool.slab(1001).unwrap_err(), OverBudget::Never);
}

#[test]
fn a_refused_growth_changes_nothing() {
    let (_, account, pool) = pool(100, 1);
    let mut frame = pool.try_slab(0).unwrap();
    frame.put(b"abc");
    assert_eq!(frame.grow(2000), Err(OverBudget::Never));
    assert_eq!((&*frame, account.used()), (&b"abc"[..], b(100)));
}

#[test]
fn a_sparse_slab_is_copied_out_only_if_a_lease_can_be_had() {
    let (process, account, pool) = pool(100, 1);
    let mut kept = slab(&pool, &[b'x'; 90]).slice(10..20);
    assert!(!kept.compact_if_sparse(b(25)), "a quarter is live");
    let hog = process.account("hog", AccountSpec::holding(b(0))).unwrap();
    let all = hog.try_lease(process.free()).unwrap();
    assert!(!kept.compact_if_sparse(b(24)), "nothing floats");
    drop(all);
    assert!(kept.compact_if_sparse(b(24)));
    assert_eq!((&*kept, kept.retained_bytes()), (&[b'x'; 10][..], b(10)));
    assert_eq!((pool.spare(), account.used()), (0, b(10)), "100 + 10 would exceed the minimum: the large one is freed");
    drop(kept);
    assert_eq!(process.used(), b(0));
}

#[test]
fn whoever_waits_for_a_slab_is_woken_by_one_that_comes_back() {
    let (process, _, pool) = pool(100, 4);
    let hog = process.account("hog", AccountSpec::holding(b(0))).unwrap();
    let _all = hog.try_lease(process.free()).unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    assert_eq!(pool.poll_slab(&mut cx, 0), Poll::Ready(Ok(())));
    let busy = slab(&pool, b"x");
    assert!(pool.try_slab(0).is_none());
    assert_eq!(pool.poll_slab(&mut cx, 0), Poll::Pending);
    assert_eq!(pool.poll_slab(&mut cx, 9999), Poll::Ready(Err(OverBudget::Never)));
    drop(busy);
    assert!(count.0.load(Ordering::SeqCst) >= 1);
    assert_eq!((pool.spare(), pool.poll_slab(&mut cx, 0)), (1, Poll::Ready(Ok(()))));
}

#[test]
#[should_panic(expected = "slice 2..12 of a slab range of 11 bytes")]
fn a_slice_stays_within_its_range() {
    let (_, _, pool) = pool(100, 0);
    let whole = slab(&pool, b"hello world");
    let _ = whole.slice(2..12);
}

#[test]
fn an_unmetered_buffer_is_filled_again_by_its_only_holder() {
    let mut buffer = SlabBuf::unmetered(8);
    assert_eq!((buffer.capacity(), buffer.put(b"123456789")), (8, 8));
    let slab = buffer.freeze();
    assert!(slab.account().is_none());
    assert_eq!(slab.retained_bytes().get(), 8);
    let part = slab.slice(2..4);
    let slab = slab.try_into_buf().map(drop).expect_err("two handles share the buffer");
    drop(slab);
    let again = part.try_into_buf().expect("the last handle");
    assert_eq!((again.len(), again.capacity()), (0, 8));
    assert!(Slab::default().try_into_buf().is_err());
}

#[test]
fn ranges_of_one_buffer_can_become_one_range() {
    let (_budget, _account, pool) = pool(200, 2);
    let whole = slab(&pool, b"0123456789");
    let mut range = whole.slice(2..4);
    assert_eq!(range.extend_over(&whole.slice(6..8)), Some(4));
    assert_eq!(&*range, b"234567");
    assert_eq!(range.extend_over(&whole.slice(3..5)), Some(1));
    assert_eq!(&*range, b"234567", "what is covered changes nothing");
    assert_eq!(range.extend_over(&whole.slice(1..3)), None, "it begins before");
    let other = slab(&pool, b"0123456789");
    assert_eq!(range.extend_over(&other.slice(4..)), None, "another buffer");
    assert_eq!(range.extend_over(&Slab::default()), None);
    assert_eq!(&*range, b"234567");
    assert_eq!(Slab::default().extend_over(&Slab::default()), Some(0));
}
