//! [`TestSink`]: a sink that takes what a test asks for, and nothing else.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tidegate_flow::{Items, Meta, Nack, Weigh};
use tokio::sync::watch;

use super::expected;
use crate::egress::{Accepted, Sink};

/// The demand of a sink, in the hands of the test. Clones are the same sink.
///
/// ```
/// # use tidegate_runtime as tidegate;
/// use std::time::Duration;
/// use tidegate::testkit::TestSink;
/// use tidegate::{Pipeline, source};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let probe = TestSink::new();
/// let builder = Pipeline::builder("test");
/// builder.source("count", source::iter(1..=2_u64)).sink("probe", probe.sink());
/// let running = builder.build().unwrap().start();
/// probe.expect_none_for(Duration::from_secs(1)).await;
/// probe.request(2);
/// probe.expect_next(1).await;
/// probe.expect_next(2).await;
/// probe.expect_end().await;
/// running.wait().await.ledger.check().unwrap();
/// # });
/// ```
#[derive(Debug)]
pub struct TestSink<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Counts what arrived, and the end.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State<T> {
    demand: u64,
    /// How the next records are refused, before any is accepted.
    refusals: VecDeque<Nack>,
    arrived: VecDeque<T>,
    delivering: Option<Waker>,
    cancelled: bool,
    ended: bool,
}

impl<T> Default for TestSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> TestSink<T> {
    /// A sink that nothing was requested of.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            demand: 0,
            refusals: VecDeque::new(),
            arrived: VecDeque::new(),
            delivering: None,
            cancelled: false,
            ended: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changes: watch::Sender::new(0) }) }
    }

    /// The sink itself.
    #[must_use]
    pub fn sink(&self) -> ProbeSink<T> {
        ProbeSink { probe: self.clone() }
    }

    /// Takes `count` more records. A batch is accepted when there was demand for all of it.
    pub fn request(&self, count: u64) {
        self.command(|state| state.demand = state.demand.saturating_add(count));
    }

    /// Refuses the next record that there is demand for. What is refused is not counted against the demand.
    pub fn refuse(&self, nack: Nack) {
        self.command(|state| state.refusals.push_back(nack));
    }

    /// The receiver is gone: nothing will be accepted any more.
    pub fn cancel(&self) {
        self.command(|state| state.cancelled = true);
    }

    /// Waits for the next record that arrives on demand.
    ///
    /// # Panics
    /// Where another record arrives, the end comes first, or nothing does.
    pub async fn expect_next(&self, record: T)
    where
        T: PartialEq + Debug,
    {
        match self.next(&format!("{record:?}")).await {
            Some(arrived) => assert_eq!(arrived, record, "the sink was given another record"),
            None => panic!("the sink ended; expected {record:?}"),
        }
    }

    /// Waits `duration` of the runtime's time, in which nothing may arrive.
    ///
    /// # Panics
    /// Where something does.
    pub async fn expect_none_for(&self, duration: Duration)
    where
        T: Debug,
    {
        if let Ok(Some(record)) = tokio::time::timeout(duration, self.next("nothing")).await {
            panic!("the sink was given {record:?}; expected nothing for {duration:?}");
        }
    }

    /// Waits for the end of the input.
    ///
    /// # Panics
    /// Where a record arrives first, or nothing does.
    pub async fn expect_end(&self)
    where
        T: Debug,
    {
        if let Some(record) = self.next("the end").await {
            panic!("the sink was given {record:?}; expected the end");
        }
    }

    /// What arrived and was not taken note of yet.
    #[must_use]
    pub fn arrived(&self) -> Vec<T> {
        self.lock().arrived.drain(..).collect()
    }

    async fn next(&self, what: &str) -> Option<T> {
        let mut changes = self.shared.changes.subscribe();
        let something = changes.wait_for(|_| {
            let state = self.lock();
            !state.arrived.is_empty() || state.ended
        });
        drop(expected(what, something).await);
        self.lock().arrived.pop_front()
    }

    fn command(&self, command: impl FnOnce(&mut State<T>)) {
        let mut state = self.lock();
        command(&mut state);
        let delivering = state.delivering.take();
        drop(state);
        if let Some(delivering) = delivering {
            delivering.wake();
        }
    }

    fn announce(&self) {
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for TestSink<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The sink of a [`TestSink`].
pub struct ProbeSink<T> {
    probe: TestSink<T>,
}

impl<T: Weigh + Clone + Send + Sync + 'static> ProbeSink<T> {
    /// Goes on with the batch as far as there is demand; says whether all of it was answered.
    fn take(&self, rows: &[T], next: &mut usize, refused: &mut Vec<(u32, Nack)>) -> bool {
        let mut state = self.probe.lock();
        while *next < rows.len() && state.demand > 0 {
            if let Some(nack) = state.refusals.pop_front() {
                refused.push((u32::try_from(*next).unwrap_or(u32::MAX), nack));
            } else {
                state.demand -= 1;
                let record = rows[*next].clone();
                state.arrived.push_back(record);
            }
            *next += 1;
        }
        *next == rows.len() || state.cancelled
    }
}

impl<T: Weigh + Clone + Send + Sync + 'static> Sink<Items<T>> for ProbeSink<T> {
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let (mut next, mut refused) = (0, Vec::new());
        let rows = payload.as_slice();
        poll_fn(|task| {
            // Parked first: demand that comes meanwhile wakes this task again.
            self.probe.lock().delivering = Some(task.waker().clone());
            let done = self.take(rows, &mut next, &mut refused);
            self.probe.announce();
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let gone =
            |row: usize| (u32::try_from(row).unwrap_or(u32::MAX), Nack::transient("the test sink was cancelled"));
        refused.extend((next..rows.len()).map(gone));
        Ok(Accepted::all_but(refused))
    }

    fn is_closed(&self) -> bool {
        self.probe.lock().cancelled
    }
}

impl<T> Drop for ProbeSink<T> {
    fn drop(&mut self) {
        self.probe.lock().ended = true;
        self.probe.announce();
    }
}
