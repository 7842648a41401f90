//! [`StageContext`]: what a stage hands to the operators it runs: the time, its counters, its account, and what to do
//! after a fault.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{
    Account, Batch, Bytes, EdgeId, FlowCounter, Nack, Outcome, Payload, Records, ShedReason, Spares, StageClock, Time,
    Weight,
};

use crate::beside::Beside;
use crate::clock::edge_clock;
use crate::edge::EdgeClock;
use crate::handover::{Handover, Relief};
use crate::named::NamedSteps;
use crate::probe::Due;
use crate::spares::SpareLists;

/// What a stage does after an operator refused a record or panicked.
///
/// The record at fault is always refused for good; this says what happens to the stage. A record that goes to a dead
/// letter port is dealt with, so that it is no fault, and only a panic is answered with a restart: a record that was
/// refused has left the state of the operators as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Supervision {
    /// Stop the pipeline with the cause. Records in flight are abandoned, so a source that can replay them will.
    Stop,
    /// Go on with the next record; the operators keep their state. The default.
    #[default]
    Resume,
    /// Start the operators afresh, with their state lost, after a pause that grows with the number of faults.
    Restart(Backoff),
}

impl Supervision {
    /// What to do after the given number of faults, the last of them `now`.
    pub(crate) fn after(&self, faults: u32, now: Time) -> AfterFault {
        match self {
            Self::Stop => AfterFault::Stop,
            Self::Resume => AfterFault::Resume,
            Self::Restart(backoff) => {
                backoff.pause(faults).map_or(AfterFault::Stop, |pause| AfterFault::Restart(now + pause))
            }
        }
    }
}

/// A pause that doubles with each fault, up to a bound.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How many faults are answered with a restart before the stage stops for good.
    pub restarts: u32,
}

impl Default for Backoff {
    /// 100 ms, doubling to 30 s, ten restarts.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(30), restarts: 10 }
    }
}

impl Backoff {
    /// The pause after the given fault (1 is the first), or `None` when there were too many.
    #[must_use]
    pub fn pause(&self, fault: u32) -> Option<Duration> {
        if fault > self.restarts {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << fault.saturating_sub(1).min(30));
        Some(doubled.min(self.longest))
    }
}

/// What to do now, after a fault.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AfterFault {
    /// Go on with the next record.
    Resume,
    /// Start afresh at this moment.
    Restart(Time),
    /// Stop the stage.
    Stop,
}

/// What operators are given at each call.
pub struct StageContext {
    pub(crate) name: Arc<str>,
    pub(crate) clock: StageClock,
    /// When the wait for a remote ends at the latest, for stall detection.
    pub(crate) due: Due,
    pub(crate) counter: FlowCounter,
    /// Counts for each step that has a name.
    pub(crate) steps: NamedSteps,
    /// Pays for what the stage has in hand beyond what its input already pays for.
    pub(crate) account: Account,
    /// Pays for what its steps hold back from one batch to the next.
    pub(crate) held: Account,
    /// Pays for what has left the stage and that no edge pays for: what branches of a fork share, and batches larger
    /// than an edge may hold.
    pub(crate) outbound: Account,
    pub(crate) supervision: Supervision,
    /// The largest batch that the stage makes.
    pub(crate) chunk: Weight,
    pub(crate) spares: SpareLists,
    /// Whether what is downstream waits for input: the moment to send partial batches.
    pub(crate) consumer_is_idle: bool,
    /// Asks the stage to make way for its next life.
    pub(crate) relief: Relief,
    /// Work beside the stages.
    pub(crate) beside: Beside,
}

impl Drop for StageContext {
    /// What a stage still held when it ended is abandoned; its tickets say the same. But for what it handed over.
    fn drop(&mut self) {
        if self.relief.has_left() {
            return;
        }
        self.steps.abandon();
        let held = self.counter.snapshot().held;
        self.counter.record(|flows| {
            flows.abandoned += held;
            flows.held -= held;
        });
    }
}

impl StageContext {
    /// Leaves everything to the next life. What the stage took and does not hand over is abandoned; what it hands over
    /// stays in its hand.
    pub(crate) fn leave(self, left: Handover) {
        self.steps.abandon();
        let kept = Records::new(left.records());
        let lost = self.counter.snapshot().held - kept;
        self.counter.record(|flows| {
            flows.abandoned += lost;
            flows.held -= lost;
        });
        self.relief.leave(left);
    }

    /// Whether the input of the stage ends because the pipeline was told to stop, or because another component takes the
    /// stage's place: what is in a checkpoint need not be emitted then, because somebody goes on with it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.beside.is_stopping() || self.relief.is_asked()
    }

    /// The time, read once when the stage's task was polled.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The name of the stage.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The counters of the stage.
    #[must_use]
    pub fn counter(&self) -> &FlowCounter {
        &self.counter
    }

    /// The account that pays for what the stage holds in hand.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The account that pays for what steps hold back from one batch to the next (a partial batch, state for each key).
    /// Not the one above, or a step that holds much would leave its neighbours nothing to work with.
    #[must_use]
    pub fn held(&self) -> &Account {
        &self.held
    }

    /// The emptied payloads of one type that the stages of the pipeline share.
    #[must_use]
    pub fn spares<P: Payload>(&self) -> Spares<P> {
        self.spares.of()
    }

    /// A clock for an edge that an operator of this stage sends to.
    pub(crate) fn edge_clock(&self, edge: EdgeId) -> Arc<dyn EdgeClock> {
        edge_clock(&self.clock, edge)
    }

    /// An output batch is closed when it weighs this much, in records or in bytes: the pipeline's largest batch, or the
    /// window of the edge that the stage sends to where that is smaller.
    #[must_use]
    pub fn chunk(&self) -> Weight {
        self.chunk
    }

    /// An output batch is closed when it has this many bytes; see [`chunk`](Self::chunk).
    #[must_use]
    pub fn chunk_bytes(&self) -> Bytes {
        self.chunk.bytes
    }

    /// Whether an output batch is to be closed.
    #[inline]
    pub(crate) fn is_full<P: Payload>(&self, made: &P) -> bool {
        let weight = made.weight();
        weight.bytes >= self.chunk.bytes || weight.records >= self.chunk.records
    }

    /// Puts what a step made into `out`, paid for; refuses it where it cannot be. Does nothing with no records.
    pub fn emit<P: Payload>(&self, mut batch: Batch<P>, out: &mut Option<Batch<P>>) {
        if batch.records() == 0 {
            return;
        }
        match self.cover(&mut batch) {
            Ok(()) => *out = Some(batch),
            Err(nack) => self.refuse(batch, nack),
        }
    }

    /// Refuses every record of `batch`, and counts them.
    pub fn refuse<P: Payload>(&self, batch: Batch<P>, nack: Nack) {
        self.count_lost(0, batch.records() as usize);
        batch.nack(nack);
    }

    /// Removes the listed rows (ascending, distinct) from `batch` because they are not wanted, settles and counts them.
    pub fn filter_rows<P: Payload>(&self, batch: &mut Batch<P>, rows: &[u32]) {
        if !rows.is_empty() {
            batch.settle_rows(rows, Outcome::Filtered);
            self.count_lost(rows.len(), 0);
        }
    }

    /// Removes the listed rows (ascending, distinct) from `batch` because of overload, settles and counts them.
    pub fn shed_rows<P: Payload>(&self, batch: &mut Batch<P>, rows: &[u32], reason: ShedReason) {
        if !rows.is_empty() {
            batch.settle_rows(rows, Outcome::Shed);
            let records = Records::from(rows.len());
            self.counter.record(|flows| {
                flows.shed.add(reason, records);
                flows.held -= records;
            });
        }
    }

    /// Removes the listed rows (ascending, distinct) from `batch` and gives each back to its source with the reason.
    pub fn refuse_rows<P: Payload>(&self, batch: &mut Batch<P>, rows: Vec<(u32, Nack)>) {
        let numbers: Vec<u32> = rows.iter().map(|(row, _)| *row).collect();
        batch.payload.remove_rows(&numbers);
        batch.meta.deadlines.remove_rows(&numbers);
        self.count_lost(0, rows.len());
        // From the last row to the first, so that the numbers of the rows before stay true.
        for (row, nack) in rows.into_iter().rev() {
            batch.ticket.settle_rows(&[row], nack);
        }
    }

    /// Counts the rows that records became beyond the first of each, and records that became none.
    pub fn count_expanded(&self, born: usize, none: usize) {
        self.counter.record(|flows| {
            flows.born += Records::from(born);
            flows.held += Records::from(born);
        });
        self.count_lost(none, 0);
    }

    /// Counts records that left the stage without being sent on.
    pub(crate) fn count_lost(&self, filtered: usize, refused: usize) {
        count_lost(&self.counter, filtered, refused);
    }

    /// Whether one refused record stops the stage.
    pub(crate) fn stops_on_refusal(&self) -> bool {
        self.supervision == Supervision::Stop
    }

    /// What the supervision says after the given number of faults.
    pub(crate) fn after_fault(&self, faults: u32) -> AfterFault {
        self.supervision.after(faults, self.now())
    }
}

/// Counts records that were sent on.
pub(crate) fn count_sent(counter: &FlowCounter, records: u32) {
    let records = Records::new(u64::from(records));
    counter.record(|flows| {
        flows.output += records;
        flows.held -= records;
    });
}

/// Counts records that left a stage without being sent on.
pub(crate) fn count_lost(counter: &FlowCounter, filtered: usize, refused: usize) {
    let (filtered, refused) = (Records::from(filtered), Records::from(refused));
    counter.record(|flows| {
        flows.filtered += filtered;
        flows.returned += refused;
        flows.held -= filtered + refused;
    });
}

/// A panic in user code, as `catch_unwind` gives it, as a refusal for good.
#[must_use]
pub fn panic_nack(panic: &(dyn Any + Send)) -> Nack {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(a panic without a message)".to_string());
    Nack::permanent(format!("panicked: {text}"))
}
