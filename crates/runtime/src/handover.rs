//! How a stage is replaced while its edges live on: what one life of a stage leaves to the next.
//!
//! A stage's task runs one *life* after another. A life that is asked to make way ends as if its input had ended, but
//! gives its ends of edges back instead of closing them, together with the batches that it had taken and not delivered.
//! The next life is launched in the same task with those ends: its neighbours notice nothing but a pause, no ticket is
//! dropped, and what was in hand is the first that the next life is given. Counters and clock go on.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_flow::{Batch, EdgeId, Payload};
use tokio::sync::oneshot;

use crate::build::StageFuture;
use crate::drain::{Intake, KillSwitch};
use crate::edge::{EdgeRx, EdgeTx};
use crate::stage::StageEnd;

/// How long a delivery that is under way when its sink is replaced may go on. One that takes longer is cut short and
/// goes to the next sink whole, so that its receiver may see records twice.
pub const GRACE: Duration = Duration::from_secs(5);

/// What a life leaves to the next: ends of edges, and batches that it had taken.
#[derive(Default)]
pub struct Handover {
    ends: Vec<(Arc<str>, Box<dyn Any + Send>)>,
    in_hand: VecDeque<Box<dyn Any + Send>>,
    records: u64,
}

impl Handover {
    /// Leaves the consumer's end of an edge.
    pub(crate) fn leave_rx<P: Payload>(&mut self, rx: EdgeRx<Batch<P>>) {
        self.ends.push((rx.name(), Box::new(rx)));
    }

    /// Leaves a producer's end.
    pub(crate) fn leave_tx<P: Payload>(&mut self, tx: EdgeTx<Batch<P>>) {
        self.ends.push((tx.name(), Box::new(tx)));
    }

    /// Leaves a batch, behind those that were left before.
    pub(crate) fn leave_batch<P: Payload>(&mut self, batch: Batch<P>) {
        self.records += u64::from(batch.records());
        self.in_hand.push_back(Box::new(batch));
    }

    /// Records in the batches that were left.
    pub(crate) const fn records(&self) -> u64 {
        self.records
    }

    fn take_end<T: Any>(&mut self, edge: &str) -> Option<T> {
        let at = self.ends.iter().position(|(name, end)| **name == *edge && end.is::<T>())?;
        let (_, end) = self.ends.swap_remove(at);
        end.downcast().ok().map(|end| *end)
    }
}

/// What a life that starts finds, with the numbers that the edges have in the running pipeline.
pub(crate) struct Handed {
    left: Mutex<Handover>,
    edges: HashMap<String, EdgeId>,
}

impl Handed {
    pub(crate) fn new(left: Handover, edges: HashMap<String, EdgeId>) -> Self {
        Self { left: Mutex::new(left), edges }
    }

    pub(crate) fn take_rx<P: Payload>(&self, edge: &str) -> Option<(EdgeId, EdgeRx<Batch<P>>)> {
        Some((*self.edges.get(edge)?, lock(&self.left).take_end(edge)?))
    }

    pub(crate) fn take_tx<P: Payload>(&self, edge: &str) -> Option<(EdgeId, EdgeTx<Batch<P>>)> {
        Some((*self.edges.get(edge)?, lock(&self.left).take_end(edge)?))
    }

    /// The batches, in the order in which they were left.
    pub(crate) fn take_batches<P: Payload>(&self) -> VecDeque<Batch<P>> {
        let left = std::mem::take(&mut lock(&self.left).in_hand);
        left.into_iter().filter_map(|batch| batch.downcast().ok().map(|batch| *batch)).collect()
    }
}

/// Asks one life of a stage to make way, and takes what it leaves. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Relief {
    switch: KillSwitch,
    left: Arc<Mutex<Option<Handover>>>,
}

impl Relief {
    /// Asks. What was asked is not taken back.
    pub(crate) fn ask(&self) {
        self.switch.shut();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.switch.is_shut()
    }

    /// The side that is watched while something is waited for.
    pub(crate) fn intake(&self) -> Intake {
        self.switch.intake()
    }

    pub(crate) const fn switch(&self) -> &KillSwitch {
        &self.switch
    }

    pub(crate) fn leave(&self, left: Handover) {
        *lock(&self.left) = Some(left);
    }

    /// Whether the life has left.
    pub(crate) fn has_left(&self) -> bool {
        self.is_asked() && lock(&self.left).is_some()
    }

    fn take_left(&self) -> Option<Handover> {
        lock(&self.left).take()
    }
}

/// Starts the next life with what the last one left, and the relief of the new one.
pub(crate) type NextLife = Box<dyn FnOnce(Handover, Relief) -> StageFuture + Send>;

/// The place of a stage, whatever life is in it.
pub(crate) struct Seat {
    state: Mutex<SeatState>,
}

enum SeatState {
    /// A life is in it, which can be asked to make way.
    Taken(Relief),
    /// It was asked to; who comes next, and who waits to hear of it.
    Awaited(Relief, NextLife, oneshot::Sender<()>),
    /// The last life has ended.
    Over,
}

impl Seat {
    pub(crate) fn new(relief: Relief) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(SeatState::Taken(relief)) })
    }

    /// Asks the life in it to make way for the next. Completes when that has begun; with an error when the stage ended
    /// instead. `None` where it has ended already, or another is awaited.
    pub(crate) fn replace(&self, next: NextLife) -> Option<oneshot::Receiver<()>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, SeatState::Over) {
            SeatState::Taken(relief) => {
                // tidy: allow(banned-calls): it carries one message
                let (begun, heard) = oneshot::channel();
                relief.ask();
                *state = SeatState::Awaited(relief, next, begun);
                Some(heard)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// The next life, when the last one has ended because it was asked to.
    fn succeed(&self) -> Option<StageFuture> {
        let mut state = lock(&self.state);
        let SeatState::Awaited(relief, next, begun) = std::mem::replace(&mut *state, SeatState::Over) else {
            return None;
        };
        let left = relief.take_left()?;
        let relief = Relief::default();
        let life = next(left, relief.clone());
        *state = SeatState::Taken(relief);
        // Nobody may be waiting for it any more.
        let _is_heard: Result<(), ()> = begun.send(());
        Some(life)
    }
}

/// Runs one life after another; ends with the last.
pub(crate) async fn relay(mut life: StageFuture, seat: Arc<Seat>) -> StageEnd {
    loop {
        let end = life.await;
        match seat.succeed() {
            Some(next) => life = next,
            None => return end,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
