//! Starting stages: what all of them share, and what each is given.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Waker};

use tidegate_flow::settle::WindowSpec;
use tidegate_flow::{
    Account, Batch, Bytes, FlowCounter, Payload, SlabPool, Spares, StageClock, StageId, Weight, Window,
};

use super::draft::Launcher;
use super::flow::{EdgeEnd, EdgeStart};
use super::options::ReadingDraft;
use super::plan::{StageAccounts, StageSpecs};
use crate::beside::Beside;
use crate::clock::{Clock, edge_clock};
use crate::context::{StageContext, Supervision};
use crate::dead_letter::DeadLetterPort;
use crate::drain::{Intake, KillSwitch};
use crate::edge::{EdgeBudget, EdgeRx, EdgeTx};
use crate::egress::{DeliveryTools, Refusals, SinkContext};
use crate::handover::{Handed, Relief};
use crate::ingress::{Classifier, IngressSettings, Source, SourceContext, SourceInlet};
use crate::inlet::EdgeInlet;
use crate::named::NamedSteps;
use crate::outlet::Side;
use crate::probe::Due;
use crate::running::SourceTask;
use crate::settle::{SettleProbe, settle_loop};
use crate::spares::{SpareLists, SpareListsHandle};
use crate::stage::StageEnd;

/// A stage's work, not yet spawned.
pub(crate) type StageFuture = Pin<Box<dyn Future<Output = StageEnd> + Send>>;

/// A task that reports settled records to a source.
pub(crate) type SettleFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What all stages of a pipeline share when they start.
pub(crate) struct Launch {
    pub(super) clock: Clock,
    pub(super) batch: Weight,
    pub(super) spares: SpareLists,
    pub(super) beside: Beside,
    /// What the sources brought up while they were started.
    pub(super) sources: Mutex<Vec<SourceTask>>,
}

impl Launch {
    /// What the sources brought up since this was last asked.
    pub(super) fn started(&self) -> Vec<SourceTask> {
        std::mem::take(&mut *self.sources.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What every life of every stage is started with.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(super) clock: Clock,
    pub(super) batch: Weight,
    pub(super) spares: SpareListsHandle,
    pub(super) beside: Beside,
}

impl Kit {
    pub(super) fn launch(&self) -> Launch {
        let Self { clock, batch, spares, beside } = self.clone();
        Launch { clock, batch, spares: spares.find(), beside, sources: Mutex::new(Vec::new()) }
    }
}

/// What every life of one stage is started with.
#[derive(Clone)]
pub(crate) struct Outfit {
    pub(super) id: StageId,
    pub(super) name: Arc<str>,
    pub(super) times: StageClock,
    pub(super) due: Due,
    pub(super) counter: FlowCounter,
    pub(super) refusals: Refusals,
    pub(super) steps: NamedSteps,
    pub(super) accounts: StageAccounts,
    pub(super) specs: StageSpecs,
    pub(super) reading: ReadingDraft,
    pub(super) batch: Weight,
    pub(super) supervision: Supervision,
    pub(super) window: WindowSpec,
}

impl Outfit {
    /// Starts a life.
    pub(super) fn launch(
        &self,
        launcher: Launcher,
        launch: &Launch,
        relief: Relief,
        handed: Option<Handed>,
    ) -> StageFuture {
        let Self { accounts, reading, .. } = self.clone();
        launcher(&StageLaunch {
            pipeline: launch,
            id: self.id,
            name: Arc::clone(&self.name),
            times: self.times.clone(),
            due: self.due.clone(),
            counter: self.counter.clone(),
            refusals: self.refusals.clone(),
            steps: self.steps.clone(),
            account: accounts.hand,
            held_account: accounts.held,
            outbound_account: accounts.outbound,
            intake_account: accounts.intake,
            reading: Reading {
                account: accounts.reading,
                slabs: accounts.slabs,
                slab_size: reading.slab_size,
                keep: reading.slabs,
            },
            encoding_account: accounts.encoding,
            batch: self.batch,
            supervision: self.supervision.clone(),
            window: self.window,
            relief,
            handed,
        })
    }
}

/// What a source has between two reads.
pub(super) struct Reading {
    pub(super) account: Account,
    pub(super) slabs: Account,
    pub(super) slab_size: usize,
    pub(super) keep: usize,
}

impl Reading {
    fn pool(&self, batch: Bytes) -> SlabPool {
        let size = match self.slab_size {
            0 => usize::try_from(batch.get()).unwrap_or(usize::MAX),
            size => size,
        };
        SlabPool::new(self.slabs.clone(), size, self.keep)
    }
}

/// What one stage is given when it starts.
pub(crate) struct StageLaunch<'a> {
    pub(super) pipeline: &'a Launch,
    pub(super) id: StageId,
    pub(super) name: Arc<str>,
    pub(super) times: StageClock,
    pub(super) due: Due,
    pub(super) counter: FlowCounter,
    /// Where a sink notes what was refused.
    pub(super) refusals: Refusals,
    /// Counts for each step that has a name.
    pub(super) steps: NamedSteps,
    /// Pays for what the stage has in hand.
    pub(super) account: Account,
    /// Pays for what its steps hold back.
    pub(super) held_account: Account,
    /// Pays for what has left the stage and is in no edge's account.
    pub(super) outbound_account: Account,
    /// Pays for what a source reads.
    pub(super) intake_account: Account,
    /// Pays for what a source holds from one read to the next.
    pub(super) reading: Reading,
    /// Pays for what the deliveries of a sink hold beside their batches.
    pub(super) encoding_account: Account,
    /// The largest batch that it reads or makes.
    pub(super) batch: Weight,
    pub(super) supervision: Supervision,
    /// The settle window of a source.
    pub(super) window: WindowSpec,
    /// Asks this life of the stage to make way.
    pub(super) relief: Relief,
    /// What the last life of the stage left, unless this is the first.
    pub(super) handed: Option<Handed>,
}

impl StageLaunch<'_> {
    pub(super) fn context(&self) -> StageContext {
        StageContext {
            name: Arc::clone(&self.name),
            clock: self.times.clone(),
            due: self.due.clone(),
            counter: self.counter.clone(),
            steps: self.steps.clone(),
            account: self.account.clone(),
            held: self.held_account.clone(),
            outbound: self.outbound_account.clone(),
            supervision: self.supervision.clone(),
            chunk: self.batch,
            spares: self.pipeline.spares.clone(),
            consumer_is_idle: false,
            relief: self.relief.clone(),
            beside: self.pipeline.beside.clone(),
        }
    }

    /// The most that a step makes at once: see the plan.
    pub(super) fn largest_output(&self) -> Bytes {
        self.pipeline.batch.bytes + self.pipeline.batch.bytes
    }

    pub(super) fn clock(&self) -> Clock {
        self.pipeline.clock
    }

    pub(super) fn spares<P: Payload>(&self) -> Spares<P> {
        self.pipeline.spares.of()
    }

    /// A producer's end with the stage's clock in it.
    pub(super) fn producer<P: Payload>(&self, end: EdgeEnd<P>) -> EdgeTx<Batch<P>> {
        let EdgeEnd { id, tx } = end;
        let handed = self.handed.as_ref().and_then(|handed| handed.take_tx(&tx.name()));
        let (id, mut tx) = handed.unwrap_or((id, tx));
        tx.set_clock(edge_clock(&self.times, id));
        tx
    }

    /// The consumer's end with the stage's clock in it.
    pub(super) fn consumer<P: Payload>(&self, start: EdgeStart<P>) -> EdgeRx<Batch<P>> {
        let EdgeStart { id, rx } = start;
        let handed = self.handed.as_ref().and_then(|handed| handed.take_rx(&rx.name()));
        let (id, mut rx) = handed.unwrap_or((id, rx));
        rx.set_clock(edge_clock(&self.times, id));
        rx
    }

    /// An inlet that ends when the stage is to make way, and begins with what the last life had in hand.
    pub(super) fn relieving_inlet<P: Payload>(&self, start: EdgeStart<P>) -> EdgeInlet<P> {
        let given = self.handed.as_ref().map(Handed::take_batches).unwrap_or_default();
        EdgeInlet::relieving(self.consumer(start), given, self.relief.intake())
    }

    /// What a delivery of this stage needs; `due` is where it says how long it may wait.
    pub(super) fn delivery_tools(&self, due: Due, keeps_letters: bool) -> DeliveryTools {
        let (times, counter) = (self.times.clone(), self.counter.clone());
        let given = SinkContext {
            name: Arc::clone(&self.name),
            holding: self.encoding_account.clone(),
            clock: self.clock(),
            due: due.clone(),
        };
        DeliveryTools {
            clock: self.clock(),
            times,
            due,
            counter,
            outbound: self.outbound_account.clone(),
            keeps_letters,
            relief: self.relief.clone(),
            refusals: self.refusals.clone(),
            given,
        }
    }

    /// A port for dead letters, with the stage's clock in it.
    pub(super) fn dead_letters<P: Payload>(&self, side: Side<P>) -> DeadLetterPort<P> {
        let mut port = DeadLetterPort::new(match &self.handed {
            Some(handed) => side.taking_over(handed),
            None => side,
        });
        port.open(&self.context());
        port
    }

    pub(super) fn source_inlet<S: Source>(
        &self,
        mut source: S,
        intake: Intake,
        classifier: Option<Box<dyn Classifier<S::Payload>>>,
        acks: bool,
    ) -> SourceInlet<S> {
        let intake = intake.or(self.relief.switch());
        let window = match Window::new(self.window) {
            Ok(window) => window,
            Err(error) => unreachable!("the plan checked the settle window: {error}"),
        };
        source.open(SourceContext {
            name: Arc::clone(&self.name),
            holding: self.reading.account.clone(),
            slabs: self.reading.pool(self.batch.bytes),
            batch: self.batch,
            clock: self.pipeline.clock,
        });
        let committer = source.committer();
        let (closing, told) = (KillSwitch::new(), KillSwitch::new());
        let companions = source.companions(&told.intake());
        let settle = settle_loop(window.clone(), committer, closing.intake());
        let started = SourceTask {
            stage: self.id,
            settle: Box::pin(async move {
                settle.await;
                told.shut();
            }),
            companions,
            probe: Arc::new(SettleProbe { window: window.clone(), closing }),
        };
        self.pipeline.sources.lock().unwrap_or_else(PoisonError::into_inner).push(started);
        let settings = IngressSettings { batch: self.batch, classifier, acks };
        SourceInlet::new(source, window, self.intake_account.clone(), intake, settings, self.spares())
    }
}

/// The account of an edge, once the pipeline is planned; until then nothing is charged, because nothing is sent. The
/// branch of a fork has none: its batches stay charged to the stage that forks.
#[derive(Default)]
pub(super) struct EdgeAccount(OnceLock<Account>);

impl EdgeAccount {
    pub(super) fn bind(&self, account: Account) {
        // A second plan of the same edge cannot happen: planning consumes the draft.
        drop(self.0.set(account));
    }
}

impl<P: Payload> EdgeBudget<Batch<P>> for EdgeAccount {
    fn charge(&self, batch: &mut Batch<P>) -> bool {
        // A batch that is larger than the edge may ever hold goes in alone, and its charge stays where it is: with the
        // stage that made it, which lets go of no other such batch until this one has moved on.
        self.0.get().is_none_or(|account| batch.rebind(account).is_ok() || account.used().is_zero())
    }

    fn wake_when_free(&self, batch: &Batch<P>, waker: &Waker) {
        let Some(account) = self.0.get() else { return };
        let mut task = Context::from_waker(waker);
        // What can never be had is let in when the account is empty: wait for that, not for ever. The whole lease moves,
        // and it may be larger than what the payload retains.
        let needed = batch.payload.retained_bytes().max(batch.lease.bytes()).max(Bytes::new(1)).min(account.largest());
        if account.poll_room(&mut task, needed).is_ready() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tidegate_flow::{AccountSpec, Budget, Items};

    use super::*;

    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_producer_is_woken_for_its_whole_lease_and_not_for_what_its_batch_retains() {
        let budget = Budget::new(Bytes::new(200));
        let account = |name, bytes| budget.account(name, AccountSpec::edge(Bytes::new(bytes))).unwrap();
        let (full, stage) = (account("edge", 100), account("stage", 100));
        let edge = EdgeAccount::default();
        edge.bind(full.clone());
        let queued = full.try_lease(Bytes::new(50)).unwrap();
        let mut batch = Batch::detached((0..5_u64).collect::<Items<u64>>());
        batch.lease = stage.try_lease(Bytes::new(80)).unwrap();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        assert!(!edge.charge(&mut batch));
        edge.wake_when_free(&batch, &Waker::from(Arc::clone(&woken)));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "40 bytes would fit, but the lease of 80 has to move");
        drop(queued);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(edge.charge(&mut batch));
    }
}
