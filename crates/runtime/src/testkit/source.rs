//! [`TestSource`]: a source that does what a test says, and keeps what it was told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_flow::{Cause, Items, Payload as _, Records, Settled, Weigh, Weight};
use tokio::sync::watch;

use super::expected;
use crate::ingress::{Committer, Pull, Readiness, Source};

/// The script of a source, in the hands of the test. Clones are the same script.
///
/// ```
/// # use tidegate_runtime as tidegate;
/// use tidegate::testkit::TestSource;
/// use tidegate::{Pipeline, sink};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let script = TestSource::new();
/// let builder = Pipeline::builder("test");
/// builder.source("script", script.source()).sink("drop", sink::null());
/// let running = builder.build().unwrap().start();
/// script.push_all(["one", "two"]);
/// script.push("three");
/// script.end();
/// assert!(script.expect_settled(3).await.iter().all(|settled| settled.nack.is_none()));
/// running.wait().await.ledger.check().unwrap();
/// # });
/// ```
#[derive(Debug)]
pub struct TestSource<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    script: Mutex<Script<T>>,
    /// Counts changes of the script or of what was settled.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Script<T> {
    /// What is pushed together is read together.
    reads: VecDeque<VecDeque<T>>,
    end: Option<Result<(), Cause>>,
    read: u64,
    settled: Vec<Settled<u64>>,
}

impl<T> Default for TestSource<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> TestSource<T> {
    /// An empty script.
    #[must_use]
    pub fn new() -> Self {
        let script = Script { reads: VecDeque::new(), end: None, read: 0, settled: Vec::new() };
        Self { shared: Arc::new(Shared { script: Mutex::new(script), changes: watch::Sender::new(0) }) }
    }

    /// The source that follows the script. Its position is the number of records read.
    #[must_use]
    pub fn source(&self) -> ScriptedSource<T> {
        ScriptedSource { script: self.clone() }
    }

    /// The next read gives this record.
    pub fn push(&self, record: T) {
        self.push_all([record]);
    }

    /// The next read gives these records together, as far as there is room for them.
    pub fn push_all(&self, records: impl IntoIterator<Item = T>) {
        self.change(|script| script.reads.push_back(records.into_iter().collect()));
    }

    /// The source ends after what was pushed.
    pub fn end(&self) {
        self.change(|script| script.end = Some(Ok(())));
    }

    /// The source fails after what was pushed.
    pub fn fail(&self, cause: impl Into<Cause>) {
        let cause = cause.into();
        self.change(|script| script.end = Some(Err(cause)));
    }

    /// How many records the pipeline has read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.lock().read
    }

    /// Every report so far of what was settled, in order.
    #[must_use]
    pub fn settled(&self) -> Vec<Settled<u64>> {
        self.lock().settled.clone()
    }

    /// The position up to which everything is settled; 0 at the start.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lock().settled.last().map_or(0, |settled| settled.position)
    }

    /// Waits until everything up to `position` is settled; gives all reports so far.
    ///
    /// # Panics
    /// Where it does not come within an hour of the runtime's time.
    pub async fn expect_settled(&self, position: u64) -> Vec<Settled<u64>> {
        let mut changes = self.shared.changes.subscribe();
        let reached = changes.wait_for(|_| self.position() >= position);
        drop(expected(&format!("position {position} to be settled"), reached).await);
        self.settled()
    }

    fn change(&self, change: impl FnOnce(&mut Script<T>)) {
        change(&mut self.lock());
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Script<T>> {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for TestSource<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The source that follows a [`TestSource`].
pub struct ScriptedSource<T> {
    script: TestSource<T>,
}

impl<T: Weigh + Send + 'static> Source for ScriptedSource<T> {
    type Payload = Items<T>;
    type Position = u64;
    type Committer = TestSource<T>;

    fn committer(&mut self) -> TestSource<T> {
        self.script.clone()
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        let mut changes = self.script.shared.changes.subscribe();
        let something = |script: &Script<T>| !script.reads.is_empty() || script.end.is_some();
        // The error, a sender that is gone, cannot happen while `script` is held.
        drop(changes.wait_for(|_| something(&self.script.lock())).await);
        let script = self.script.lock();
        match &script.end {
            _ if !script.reads.is_empty() => Ok(Readiness::Ready),
            Some(Err(cause)) => Err(cause.clone()),
            Some(Ok(())) | None => Ok(Readiness::Ended),
        }
    }

    fn read(&mut self, room: Weight, mut into: Items<T>) -> Result<Pull<Items<T>, u64>, Cause> {
        let mut script = self.script.lock();
        if let Some(mut records) = script.reads.pop_front() {
            while Records::from(into.len()) < room.records && (into.is_empty() || into.bytes() < room.bytes) {
                match records.pop_front() {
                    Some(record) => into.push(record),
                    None => break,
                }
            }
            if !records.is_empty() {
                script.reads.push_front(records);
            }
        }
        script.read += into.weight().records.get();
        let position = Some(script.read);
        Ok(Pull { payload: into, position })
    }
}

impl<T: Send + 'static> Committer<u64> for TestSource<T> {
    async fn settled(&mut self, settled: Settled<u64>) {
        self.change(|script| script.settled.push(settled));
    }
}
