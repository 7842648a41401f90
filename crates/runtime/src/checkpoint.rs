//! Checkpoints: the state of a step saved beside the data path, so that it survives the process.
//!
//! ```text
//! step --changes--> State <--puts itself down-- keeper (a task) --> blocking thread: write, sync, rename, sync
//!                     ^------ written: settles what the checkpoint holds ------|
//! ```
//!
//! * The **state** is shared by the step and its keeper, behind a lock of its own. It is put down under that lock, in
//!   memory, on the blocking thread: no other stage waits for that. The disk is waited for without the lock.
//! * The **keeper** saves when something has changed and the period is over, sooner when the state is urgent, and when
//!   the step is gone. It is a task beside the stages: the pipeline is not at its end before it is.
//! * A save that fails is tried again after a second, for as long as the pipeline runs. What the state holds back
//!   meanwhile stays unsettled, so that its sources wait: a full disk is pressure, never a loss.
//!
//! The file is that of [`tidegate_store::checkpoint`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate_flow::{Bytes, Cause, Nack, Time};
use tidegate_store::{Checkpoint, Disk, Found};
use tokio::sync::Notify;

use crate::beside::Troubled;
use crate::blocking::blocking;
use crate::clock::Clock;
use crate::context::StageContext;
use crate::durable::{LogTrouble, WallClock};

/// After a failure it is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// How long a disk that fails is waited for when the step is gone.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Between two saves it rests so many times as long as the last one took, however urgent the next is.
const RESTS: u32 = 2;

/// How long it is said that a checkpoint was set aside.
const SAID_FOR: Duration = Duration::from_secs(60);

/// What a checkpoint is of. Called by one keeper at a time; what takes long, on a thread that may block.
pub trait State: Send + Sync + 'static {
    /// Takes over what was saved; called once, before anything else, and only where something was. On a thread that may
    /// block.
    ///
    /// # Errors
    /// It is not what this state puts down. The state is empty then, and the checkpoint is set aside.
    fn restore(&self, saved: Restored<'_>) -> Result<(), String>;

    /// Whether it differs from what was put down last.
    fn is_changed(&self) -> bool;

    /// Whether it is to be saved before its time: what waits for it is much.
    fn is_urgent(&self) -> bool {
        false
    }

    /// Puts itself down at the end of `into`, as it is `now`, by the clock of the pipeline. On a thread that may block.
    fn put_down(&self, now: Time, into: &mut Vec<u8>);

    /// What was put down last is durable, or is not: then it counts as changed.
    fn written(&self, durable: bool);

    /// Whether it may still change when its step is gone: it waits to hear of something.
    fn is_awaiting(&self) -> bool {
        false
    }
}

/// What was saved.
#[derive(Copy, Clone, Debug)]
pub struct Restored<'a> {
    /// What the state put down.
    pub bytes: &'a [u8],
    /// How long ago, by the clock of the day; nothing where that went back.
    pub age: Duration,
    /// The time now, by the clock of the pipeline.
    pub now: Time,
}

/// Something to be counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CheckpointEvent {
    /// The disk failed; it is tried again.
    Failed,
    /// A checkpoint that could not be read was set aside, and the state began empty.
    SetAside,
}

/// A checkpoint, before its step is opened.
pub struct CheckpointSpec<D> {
    disk: Box<dyn FnMut() -> io::Result<D> + Send>,
    form: u32,
    most: Bytes,
    period: Duration,
    wall: WallClock,
    on_event: Box<dyn Fn(CheckpointEvent) + Send>,
}

impl<D: Disk> CheckpointSpec<D> {
    /// A checkpoint of the form `form` on the disk that `disk` finds, asked again while it fails; of at most `most` bytes,
    /// saved every `period`.
    pub fn new(
        disk: impl FnMut() -> io::Result<D> + Send + 'static,
        form: u32,
        most: Bytes,
        period: Duration,
        wall: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { disk: Box::new(disk), form, most, period, wall: Arc::new(wall), on_event: Box::new(|_| ()) }
    }

    /// Calls this of every event. It must not block.
    #[must_use]
    pub fn on_event(mut self, call: impl Fn(CheckpointEvent) + Send + 'static) -> Self {
        self.on_event = Box::new(call);
        self
    }

    /// Starts to keep `state` for the component `name`: reads what is there, and saves from then on. To be called when
    /// the step is opened, within the runtime of the pipeline; outside of one nothing is ever saved or settled.
    pub fn keep(self, name: &str, state: Arc<dyn State>, cx: &StageContext) -> Keeper {
        let shared = Arc::new(Shared::default());
        let clock = cx.beside.clock;
        let task = Keep { shared: Arc::clone(&shared), spec: self, state, clock };
        let weak = Arc::downgrade(&shared);
        let look: Weak<dyn Troubled> = weak;
        if !cx.beside.start(&Arc::from(name), look, task.run()) {
            shared.enter(Life::Open);
        }
        Keeper { shared }
    }
}

/// The step's side of a checkpoint. Dropped, it says that the step is gone: the state is saved a last time when nothing
/// can change it any more.
pub struct Keeper {
    shared: Arc<Shared>,
}

/// Tells the keeper that there is something to save. Clones are the same.
#[derive(Clone)]
pub struct Bell(Arc<Shared>);

impl Bell {
    /// Has the keeper look at the state: it has changed, or has become urgent, or is not awaited any more.
    pub fn ring(&self) {
        self.0.bell.notify_one();
    }
}

impl Keeper {
    /// Whether the state may be used: what was saved has been read. Otherwise `task` is woken when it may be.
    ///
    /// # Errors
    /// It never will be.
    pub fn poll_open(&self, task: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let mut inner = self.shared.lock();
        match &inner.life {
            Life::Open => Poll::Ready(Ok(())),
            Life::Failed(cause) => Poll::Ready(Err(cause.clone())),
            Life::Opening => {
                inner.waker = Some(task.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the state may be used now.
    ///
    /// # Errors
    /// It never will be.
    pub fn is_open(&self) -> Result<bool, Cause> {
        match &self.shared.lock().life {
            Life::Open => Ok(true),
            Life::Opening => Ok(false),
            Life::Failed(cause) => Err(cause.clone()),
        }
    }

    /// What tells the keeper.
    #[must_use]
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.shared))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().step_is_gone = true;
        self.shared.bell.notify_one();
    }
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    bell: Notify,
}

#[derive(Default)]
struct Inner {
    life: Life,
    /// Of the step, while it waits for the state.
    waker: Option<Waker>,
    step_is_gone: bool,
    /// Why nothing is saved.
    trouble: Option<String>,
    /// What was set aside.
    set_aside: Option<String>,
}

#[derive(Default)]
enum Life {
    #[default]
    Opening,
    Open,
    Failed(Cause),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, life: Life) {
        let mut inner = self.lock();
        inner.life = life;
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    fn step_is_gone(&self) -> bool {
        self.lock().step_is_gone
    }

    /// Forgets what was set aside when it is `until`; otherwise says that it has to be done.
    fn say_no_longer(&self, now: Time, until: Time) -> Option<Time> {
        let mut inner = self.lock();
        if now >= until {
            inner.set_aside = None;
        }
        inner.set_aside.as_ref().map(|_| until)
    }

    fn note(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }
}

impl Troubled for Shared {
    fn trouble(&self) -> Option<LogTrouble> {
        let inner = self.lock();
        let failed = match &inner.life {
            Life::Failed(cause) => Some(cause.to_string()),
            Life::Opening | Life::Open => None,
        };
        let words = failed.or_else(|| inner.trouble.clone()).or_else(|| inner.set_aside.clone())?;
        Some(LogTrouble { words, is_fault: true })
    }
}

/// The keeper at work.
struct Keep<D> {
    shared: Arc<Shared>,
    spec: CheckpointSpec<D>,
    state: Arc<dyn State>,
    clock: Clock,
}

/// How a save went.
enum Save<D: Disk> {
    Done(Checkpoint<D>, Vec<u8>),
    Failed(Checkpoint<D>, Vec<u8>, String),
    /// The process ends.
    Over,
}

impl<D: Disk> Keep<D> {
    async fn run(mut self) {
        let Some(file) = self.open().await else { return };
        self.shared.enter(Life::Open);
        self.keep(file).await;
    }

    /// Opens the checkpoint, as often as that takes. `None`: it never will be open, or nobody wants it any more.
    async fn open(&mut self) -> Option<Checkpoint<D>> {
        loop {
            match self.try_open().await {
                Ok(file) => {
                    self.shared.note(None);
                    return file;
                }
                Err(why) => {
                    (self.spec.on_event)(CheckpointEvent::Failed);
                    self.shared.note(Some(format!("it cannot be opened: {why}; tried again")));
                }
            }
            if self.shared.step_is_gone() {
                return None;
            }
            tokio::select! {
                () = self.clock.sleep_until(self.clock.now() + RETRY) => {}
                () = self.shared.bell.notified() => {}
            }
        }
    }

    async fn try_open(&mut self) -> Result<Option<Checkpoint<D>>, String> {
        let disk = (self.spec.disk)().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                "another process, or a pipeline that has not ended yet, works with it".to_owned()
            }
            _ => format!("its folder cannot be opened: {error}"),
        })?;
        let (form, most) = (self.spec.form, self.spec.most.get());
        let opened = blocking(move || Checkpoint::open(disk, form, most)).await.map_err(|nack| nack.to_string())?;
        let (mut file, found) = opened.map_err(|error| error.to_string())?;
        match found {
            Found::Nothing => {}
            Found::SetAside { why } => self.set_aside(&why),
            Found::TooLarge { bytes } => {
                let why = format!(
                    "the checkpoint has {bytes} bytes of state, and {} may be held; allow as much as before, or remove \
                     the checkpoint, with what is in it",
                    self.spec.most
                );
                self.shared.enter(Life::Failed(Cause::from(why)));
                return Ok(None);
            }
            Found::Saved { state, time } => {
                let age = Duration::from_nanos((self.spec.wall)().saturating_sub(time));
                let (to, now) = (Arc::clone(&self.state), self.clock.now());
                let work = move || to.restore(Restored { bytes: &state, age, now });
                let restored = match blocking(work).await {
                    Ok(restored) => restored,
                    Err(nack) => {
                        self.fail(&nack);
                        return Ok(None);
                    }
                };
                if let Err(why) = restored {
                    let moved =
                        blocking(move || file.set_aside().map(|()| file)).await.map_err(|nack| nack.to_string())?;
                    file = moved.map_err(|error| error.to_string())?;
                    self.set_aside(&why);
                }
            }
        }
        Ok(Some(file))
    }

    /// The work on the state was never done, or panicked: nobody knows what it is.
    fn fail(&self, nack: &Nack) {
        self.shared.enter(Life::Failed(Cause::from(format!("the work on its checkpoint failed: {}", nack.cause))));
    }

    fn set_aside(&self, why: &str) {
        (self.spec.on_event)(CheckpointEvent::SetAside);
        let words =
            format!("it could not be read ({why}), was set aside as `state.damaged`, and the state began empty");
        self.shared.lock().set_aside = Some(words);
    }

    /// Saves until the step is gone and nothing is left to be saved.
    async fn keep(mut self, mut file: Checkpoint<D>) {
        let mut bytes = Vec::new();
        let opened = self.clock.now();
        let (mut due, mut not_before, mut give_up_at) = (opened + self.spec.period, opened, None);
        loop {
            let now = self.clock.now();
            let said_until = self.shared.say_no_longer(now, opened + SAID_FOR);
            let (is_gone, is_changed) = (self.shared.step_is_gone(), self.state.is_changed());
            if is_gone && !is_changed && !self.state.is_awaiting() {
                return;
            }
            if is_gone && *give_up_at.get_or_insert(now + LAST_WAIT) <= now && self.shared.lock().trouble.is_some() {
                return;
            }
            let wanted_at = if is_gone || self.state.is_urgent() { not_before } else { due.max(not_before) };
            if !is_changed || wanted_at > now {
                let wanted_at = is_changed.then_some(wanted_at);
                self.wait(wanted_at.into_iter().chain(said_until).min()).await;
                continue;
            }
            match self.save(file, bytes).await {
                Save::Done(same, buffer) => {
                    (file, bytes) = (same, buffer);
                    let done = self.clock.now();
                    not_before = done + RESTS * done.since(now);
                    due = now + self.spec.period;
                }
                Save::Failed(same, buffer, why) => {
                    (file, bytes) = (same, buffer);
                    self.shared.note(Some(format!("it cannot be saved: {why}; tried again")));
                    not_before = self.clock.now() + RETRY;
                }
                Save::Over => return,
            }
        }
    }

    /// Waits for the bell, and no longer than until `at`. Cancel-safe.
    async fn wait(&mut self, at: Option<Time>) {
        let bell = self.shared.bell.notified();
        match at {
            None => bell.await,
            Some(at) => tokio::select! {
                () = bell => {}
                () = self.clock.sleep_until(at) => {}
            },
        }
    }

    async fn save(&mut self, mut file: Checkpoint<D>, mut bytes: Vec<u8>) -> Save<D> {
        bytes.clear();
        let (state, now, time) = (Arc::clone(&self.state), self.clock.now(), (self.spec.wall)());
        let work = move || {
            state.put_down(now, &mut bytes);
            let saved = file.save(&bytes, time);
            (file, bytes, saved)
        };
        match blocking(work).await {
            Ok((file, bytes, Ok(()))) => {
                self.shared.note(None);
                self.state.written(true);
                Save::Done(file, bytes)
            }
            Ok((file, bytes, Err(error))) => {
                (self.spec.on_event)(CheckpointEvent::Failed);
                self.state.written(false);
                Save::Failed(file, bytes, error.to_string())
            }
            Err(nack) => {
                self.state.written(false);
                self.fail(&nack);
                Save::Over
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread::ThreadId;

    use tidegate_store::{Fault, SimulatedDisk};

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
}
