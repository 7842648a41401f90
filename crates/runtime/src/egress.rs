//! Where records leave: a [`Sink`], and the outlets that deliver to it: retries, bisection, dead letters, settlement.
//! One outlet delivers a batch at a time and keeps their order; the other keeps several sinks of one kind busy.
//!
//! A sink says per record what it accepted. When it refuses a whole batch for good, or panics, the batch is halved
//! until the culprits are alone; they go to the dead letter port, or back to the source as permanent nacks, and the
//! rest is delivered. A batch of `n` records with `k` culprits costs at most `2 * k * log2(n) + 1` deliveries, which wait
//! for one another where there are many: for each stage two hundred at once, and beyond that a hundred a second and one
//! for each four records that were accepted. Where a receiver refuses everything (32 records in a row that were tried
//! alone), the first and the last record of each batch are tried alone, and what is between them goes their way.

mod delivery;
mod halving;
mod jitter;
mod outlet;
mod part;
mod pool;
mod refusals;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::{Account, Meta, Nack, Payload};

use crate::clock::Clock;
use crate::context::Backoff;
use crate::probe::Due;

pub(crate) use self::delivery::{Delivery, DeliveryTools};
pub use self::jitter::Jitter;
pub(crate) use self::outlet::SinkOutlet;
pub(crate) use self::pool::PoolOutlet;
pub(crate) use self::refusals::Refusals;
pub use self::refusals::SinkRefusals;

/// What a sink accepted of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    /// Every record.
    #[default]
    All,
    /// Every record but these (ascending row numbers), each with the reason.
    Except(Vec<(u32, Nack)>),
}

impl Accepted {
    /// Every record but those refused, which may be none.
    #[must_use]
    pub fn all_but(refused: Vec<(u32, Nack)>) -> Self {
        if refused.is_empty() { Self::All } else { Self::Except(refused) }
    }
}

/// What a sink is given when its pipeline starts.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// The name of its stage.
    pub name: Arc<str>,
    /// Pays for what deliveries hold beside their batches, such as encode buffers: what
    /// [`SinkOptions::encoding`](crate::SinkOptions::encoding) reserved, and beyond that what floats. The sinks of a pool
    /// share it.
    pub holding: Account,
    /// The time since the pipeline started.
    pub clock: Clock,
    /// When what the delivery waits for ends at the latest, where it is known.
    pub(crate) due: Due,
}

impl SinkContext {
    /// What a sink of this name is given, for those that have no pipeline around them.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, holding: Account, clock: Clock) -> Self {
        Self { name: name.into(), holding, clock, due: Due::default() }
    }
}

/// Where records leave the pipeline.
///
/// `Ok` means **accepted**: the record is the receiver's now, and the source may acknowledge it. A sink never retries,
/// batches or times out by itself; that is the runtime's part, configured the same way everywhere.
pub trait Sink<P: Payload>: Send + 'static {
    /// Called once, before everything else: what the pipeline gives the sink to work with.
    fn open(&mut self, _cx: SinkContext) {}

    /// Completes when the sink has the memory that a delivery takes, which it then keeps for the next one: its lease is
    /// taken together with the permit to deliver, before any input is, so that no more is under way than there is memory
    /// for. What the plan reserved must be enough for one sink of a pool, or nothing would ever be delivered.
    fn poll_memory(&mut self, _task: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Called on a sink of a pool when what it was given is settled: it gives back the memory that
    /// [`poll_memory`](Self::poll_memory) took, so that none of them keeps it from another.
    fn release(&mut self) {}

    /// Called when the sink is given a batch, before it delivers it or any part of it. The sinks of a pool are called in
    /// the order of the batches, whichever of them then delivers first.
    fn begin(&mut self) {}

    /// Delivers a batch. Rows that were not accepted are tried again, bisected, or dead-lettered, so a sink leaves them
    /// in `payload`. One that takes the rows out gives this up: whatever it then refuses goes back to its source at
    /// once (all rows, where it answers with an error, panics or is cut short by its time limit). `meta` says how old
    /// the batch is, when it expires, and why its records were given up if they are dead letters.
    ///
    /// # Errors
    /// The whole batch was refused.
    fn deliver(&mut self, payload: &mut P, meta: &Meta) -> impl Future<Output = Result<Accepted, Nack>> + Send;

    /// Pushes out what the receiver buffers; called on a flush message and before the end.
    ///
    /// # Errors
    /// The pipeline stops with the cause. A panic is one, and so is a flush that takes longer than the time limit.
    fn flush(&mut self) -> impl Future<Output = Result<(), Nack>> + Send {
        async { Ok(()) }
    }

    /// How long the receiver asked to be left alone, in its last refusal. Asked once after each refusal for now; the
    /// pause before the next try is at least this. The sink itself bounds it.
    fn retry_after(&mut self) -> Option<Duration> {
        None
    }

    /// Whether the receiver is gone and nothing will be accepted any more. Asked before each delivery and after each
    /// refusal; the stage then ends as if everyone downstream had gone, and what it had in hand is given back.
    fn is_closed(&self) -> bool {
        false
    }
}

/// What the runtime does around a sink.
#[derive(Clone, Debug)]
pub struct SinkPolicy {
    /// How often a batch that was refused for now is tried again before it is returned to its source. The pauses are
    /// those of `backoff`. Default: 3.
    pub retries: u32,
    /// The pauses between tries.
    pub backoff: Backoff,
    /// How those pauses are scattered. Default: not at all.
    pub jitter: Jitter,
    /// A delivery that takes longer counts as refused for now; a flush that does fails the pipeline. Default: none.
    pub timeout: Option<Duration>,
}

impl Default for SinkPolicy {
    fn default() -> Self {
        Self { retries: 3, backoff: Backoff::default(), jitter: Jitter::None, timeout: None }
    }
}
