//! What a keeper does with disks that fail, states that grow, and steps that go.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;

use tidegate_store::{Checkpoint, Fault, SimulatedDisk};

use super::keep::LAST_WAIT;
use super::*;
use crate::testkit::lone_context;

/// A number that nothing is made of.
const PANICS: u64 = 77;

/// A number, and what is known of it.
#[derive(Default)]
struct Number {
    now: AtomicU64,
    put_down: AtomicU64,
    durable: AtomicU64,
    restored: AtomicU64,
    urgent: AtomicU64,
    unreadable: bool,
    /// Where it was restored and put down.
    threads: Mutex<Vec<ThreadId>>,
}

impl State for Number {
    fn restore(&self, saved: Restored<'_>) -> Result<(), String> {
        self.threads.lock().unwrap().push(std::thread::current().id());
        if self.unreadable {
            return Err("it says nothing".to_owned());
        }
        let number = u64::from_le_bytes(saved.bytes.try_into().map_err(|_| "no number")?);
        assert_ne!(number, PANICS, "no such number");
        [&self.now, &self.put_down, &self.durable].iter().for_each(|to| to.store(number, Ordering::Relaxed));
        self.restored.store(number + saved.age.as_secs(), Ordering::Relaxed);
        Ok(())
    }

    fn is_changed(&self) -> bool {
        self.now.load(Ordering::Relaxed) != self.put_down.load(Ordering::Relaxed)
    }

    fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed) > 0
    }

    fn put_down(&self, _now: Time, into: &mut Vec<u8>) {
        self.threads.lock().unwrap().push(std::thread::current().id());
        let number = self.now.load(Ordering::Relaxed);
        self.put_down.store(number, Ordering::Relaxed);
        into.extend_from_slice(&number.to_le_bytes());
    }

    fn written(&self, durable: bool) {
        let number = self.put_down.load(Ordering::Relaxed);
        if durable {
            self.durable.store(number, Ordering::Relaxed);
        } else {
            self.put_down.store(u64::MAX, Ordering::Relaxed);
        }
    }
}

impl Number {
    fn set(&self, number: u64, bell: &Bell) {
        self.now.store(number, Ordering::Relaxed);
        bell.ring();
    }

    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Relaxed)
    }
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// A keeper of a number on a disk, at this second of the day; and what happened.
fn keep(disk: &SimulatedDisk, number: &Arc<Number>, most: u64, second: u64) -> (Keeper, StageContext, Events) {
    let (cx, events) = (lone_context("keeper").unwrap(), Events::default());
    let (disk, count) = (disk.clone(), Arc::clone(&events));
    let wall = move || second * 1_000_000_000;
    let spec = CheckpointSpec::new(move || Ok(disk.clone()), 7, Bytes::new(most), Duration::from_secs(1), wall)
        .on_event(move |event| count.lock().unwrap().push(event));
    let keeper = spec.keep("number", Arc::clone(number) as Arc<dyn State>, &cx);
    (keeper, cx, events)
}

type Events = Arc<Mutex<Vec<CheckpointEvent>>>;

#[tokio::test(start_paused = true)]
async fn it_saves_once_in_a_period_sooner_when_it_is_urgent_and_when_the_step_is_gone() {
    let (disk, number) = (SimulatedDisk::new(1), Arc::new(Number::default()));
    let (keeper, cx, _) = keep(&disk, &number, 100, 50);
    std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap();
    let bell = keeper.bell();
    number.set(1, &bell);
    pass(900).await;
    number.set(2, &bell);
    assert_eq!(number.durable(), 0);
    pass(200).await;
    assert_eq!(number.durable(), 2);
    number.set(3, &bell);
    number.urgent.store(1, Ordering::Relaxed);
    bell.ring();
    pass(100).await;
    assert_eq!(number.durable(), 3);
    number.urgent.store(0, Ordering::Relaxed);
    number.set(4, &bell);
    drop(keeper);
    cx.beside.done().await;
    assert_eq!(number.durable(), 4);
    disk.crash();
    let again = Arc::new(Number::default());
    let (keeper, _cx, events) = keep(&disk, &again, 100, 60);
    std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap();
    assert_eq!((again.durable(), again.restored.load(Ordering::Relaxed)), (4, 14), "ten seconds ago");
    assert!(events.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_work_on_a_state_is_done_where_it_may_block_and_a_panic_of_it_is_said() {
    let (disk, own) = (SimulatedDisk::new(4), std::thread::current().id());
    for restored in [false, true] {
        let number = Arc::new(Number::default());
        let (keeper, cx, _) = keep(&disk, &number, 100, 50);
        std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap();
        number.set(1 + u64::from(restored), &keeper.bell());
        drop(keeper);
        cx.beside.done().await;
        let threads = number.threads.lock().unwrap();
        assert_eq!(threads.len(), 1 + usize::from(restored));
        assert!(!threads.contains(&own), "it was done on the thread of the stages");
    }
    Checkpoint::open(disk.clone(), 7, 100).unwrap().0.save(&PANICS.to_le_bytes(), 0).unwrap();
    let (keeper, cx, _) = keep(&disk, &Arc::new(Number::default()), 100, 50);
    let failed = std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap_err();
    let words = failed.as_str();
    assert!(words.starts_with("the work on its checkpoint failed") && words.contains("no such number"), "{words}");
    assert!(cx.beside.troubles()[0].1.words.contains("no such number"));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_has_changed_the_disk_is_not_touched_though_the_bell_rings_and_troubles_are_asked_for() {
    let (disk, number) = (SimulatedDisk::new(4), Arc::new(Number::default()));
    let (keeper, cx, _) = keep(&disk, &number, 100, 50);
    std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap();
    number.set(1, &keeper.bell());
    pass(1_100).await;
    assert_eq!(number.durable(), 1);
    let calls = disk.calls();
    for _ in 0..100 {
        assert!(cx.beside.troubles().is_empty());
        keeper.bell().ring();
        pass(1_000).await;
    }
    assert_eq!(disk.calls(), calls, "an idle program");
    number.set(2, &keeper.bell());
    pass(1_100).await;
    assert!(disk.calls() > calls);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_called_durable_that_a_failing_disk_has_not_and_it_goes_on_by_itself() {
    let (disk, number) = (SimulatedDisk::new(2), Arc::new(Number::default()));
    let (keeper, cx, events) = keep(&disk, &number, 100, 50);
    std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap();
    (0..200).for_each(|call| disk.plan(disk.calls() + call, Fault::Full));
    number.set(9, &keeper.bell());
    pass(5_000).await;
    let failures = events.lock().unwrap().len();
    assert!((3..=5).contains(&failures), "tried again each second: {failures}");
    assert_eq!(number.durable(), 0);
    assert!(cx.beside.troubles()[0].1.words.contains("it cannot be saved"), "{:?}", cx.beside.troubles());
    disk.mend();
    pass(1_100).await;
    assert_eq!((number.durable(), cx.beside.troubles().len()), (9, 0));
    // A disk that never works is not waited for when the step is gone.
    (0..200).for_each(|call| disk.plan(disk.calls() + call, Fault::Failed));
    number.set(10, &keeper.bell());
    drop(keeper);
    tokio::time::timeout(2 * LAST_WAIT, cx.beside.done()).await.unwrap();
    assert_eq!(number.durable(), 9);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_set_aside_and_what_is_too_large_is_left_and_refused() {
    let disk = SimulatedDisk::new(3);
    Checkpoint::open(disk.clone(), 7, 100).unwrap().0.save(&[1; 8], 0).unwrap();
    let (keeper, cx, events) = keep(&disk, &Arc::new(Number::default()), 7, 50);
    let refused = std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap_err();
    assert!(refused.as_str().contains("8 bytes of state, and 7 B may be held"), "{refused}");
    assert!(keeper.is_open().is_err() && events.lock().unwrap().is_empty());
    drop(keeper);
    cx.beside.done().await;
    let number = Arc::new(Number { unreadable: true, ..Number::default() });
    let (keeper, cx, events) = keep(&disk, &number, 100, 50);
    std::future::poll_fn(|task| keeper.poll_open(task)).await.unwrap();
    assert_eq!(*events.lock().unwrap(), [CheckpointEvent::SetAside]);
    assert!(cx.beside.troubles()[0].1.words.contains("it says nothing"));
    pass(61_000).await;
    assert!(cx.beside.troubles().is_empty());
    assert!(tidegate_store::Disk::names(&disk).unwrap().contains(&"state.damaged".to_owned()));
}
