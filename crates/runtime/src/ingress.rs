//! Where records enter: a [`Source`], and the inlet that reads it under the settle window and the budget.
//!
//! The order is the rule: wait for a settle slot, wait until the source has something, take a lease for the largest
//! batch, *then* read. Nothing is decoded before it is paid for, and a source that waits holds no memory.

mod classes;

pub use classes::{Class, Classifier};

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use tidegate_flow::{
    Account, Batch, Cause, GroupWatch, Lease, Meta, Payload, Settled, SlabPool, Spares, Time, Wait, Weight, Window,
};

use crate::clock::{Clock, waiting};
use crate::context::StageContext;
use crate::drain::Intake;
use crate::edge::Event;
use crate::stage::Inlet;
use classes::{Part, fault_of, split_by_class};

/// What a source answers when it has been waited for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// At least one record can be read without waiting.
    Ready,
    /// Nothing will come any more.
    Ended,
}

/// What one read gave.
#[derive(Debug)]
pub struct Pull<P, Pos> {
    /// The records; may be none.
    pub payload: P,
    /// The place in the source behind the last of them, committed once they and all before them are settled.
    pub position: Option<Pos>,
}

/// What a source is given when its pipeline starts.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// The name of its stage.
    pub name: Arc<str>,
    /// Pays for what the source holds from one read to the next, such as partial frames; what
    /// [`SourceOptions::holding`](crate::SourceOptions::holding) reserved, and beyond that what floats.
    pub holding: Account,
    /// Where slabs to read into come from; see [`SourceOptions::slabs`](crate::SourceOptions::slabs). A slab pays for
    /// itself until the last row on it is gone.
    pub slabs: SlabPool,
    /// The largest batch: the most room that a read is given.
    pub batch: Weight,
    /// The time since the pipeline started.
    pub clock: Clock,
}

/// See [`Source::companion`].
pub type Companion = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where records come from.
///
/// * **Waits** in [`ready`](Source::ready), holding no records; must be cancel-safe.
/// * **Reads** in [`read`](Source::read) without waiting, at most the room it is given.
/// * **Is told** through its [`Committer`] what was settled, in order.
pub trait Source: Send + 'static {
    /// What it reads.
    type Payload: Payload + Default;
    /// A place in it.
    type Position: Send + 'static;
    /// What is told about settled records; runs in its own task, so that acks never wait for reads.
    type Committer: Committer<Self::Position>;

    /// Called once, before everything else: what the pipeline gives the source to work with.
    fn open(&mut self, _cx: SourceContext) {}

    /// The part that commits; asked for once, before the first read.
    fn committer(&mut self) -> Self::Committer;

    /// Work that must go on while nothing is read, such as answering requests; asked for once, after
    /// [`committer`](Source::committer). It runs in a task of its own. When `closing` shuts, everything the source read
    /// is settled and nothing more will be read: it should finish what is left and end. It is aborted with the pipeline.
    fn companion(&mut self, _closing: Intake) -> Option<Companion> {
        None
    }

    /// The same for work that is worth several tasks, so that it can use several cores. Default: the one
    /// [`companion`](Source::companion), or none.
    fn companions(&mut self, closing: &Intake) -> Vec<Companion> {
        self.companion(closing.clone()).into_iter().collect()
    }

    /// Waits until something can be read, or nothing more will come.
    ///
    /// # Errors
    /// The cause; the pipeline stops with it.
    fn ready(&mut self) -> impl Future<Output = Result<Readiness, Cause>> + Send;

    /// Reads at most `room` into `spare` (empty, perhaps with an allocation to reuse) without waiting. At least one
    /// record may always be read, whatever it weighs.
    ///
    /// # Errors
    /// The cause; the pipeline stops with it. What was read before must be returned first.
    fn read(&mut self, room: Weight, spare: Self::Payload) -> Result<Pull<Self::Payload, Self::Position>, Cause>;

    /// What scheduling should know of what was read last, for a source that has it from elsewhere. Asked after each
    /// read; a classifier may change it. Default: born `now`.
    fn meta(&mut self, now: Time) -> Meta {
        Meta { born: now, ..Meta::default() }
    }

    /// Whether what was read last is to be watched by itself, for a source that answers each request when it has
    /// settled. Asked after each read. Costs an allocation a read.
    fn watches(&self) -> bool {
        false
    }

    /// Given for each group that was opened for a watched read, in the order of the reads: one, or one for each lane
    /// and bucket where records are classified.
    fn watch(&mut self, _watch: GroupWatch) {}
}

/// Is told what became of a source's records.
pub trait Committer<Pos>: Send + 'static {
    /// Every record up to `settled.position` has settled, and `settled` counts how. Called in order, one at a time.
    fn settled(&mut self, settled: Settled<Pos>) -> impl Future<Output = ()> + Send;
}

/// A closure that is told. It must not block.
impl<Pos, F> Committer<Pos> for F
where
    Pos: Send + 'static,
    F: FnMut(Settled<Pos>) + Send + 'static,
{
    async fn settled(&mut self, settled: Settled<Pos>) {
        self(settled);
    }
}

/// For sources that have nowhere to commit to.
#[derive(Copy, Clone, Debug, Default)]
pub struct NoCommit;

impl<Pos: Send + 'static> Committer<Pos> for NoCommit {
    async fn settled(&mut self, _settled: Settled<Pos>) {}
}

/// How a source is read.
pub(crate) struct IngressSettings<P> {
    /// A batch is closed at this weight.
    pub(crate) batch: Weight,
    pub(crate) classifier: Option<Box<dyn Classifier<P>>>,
    /// Whether records settle; without, nobody hears what became of them.
    pub(crate) acks: bool,
}

/// Reads a [`Source`] for a stage.
pub struct SourceInlet<S: Source> {
    source: S,
    window: Window<S::Position>,
    account: Account,
    intake: Intake,
    settings: IngressSettings<S::Payload>,
    spares: Spares<S::Payload>,
    /// Read, paid for, and waiting for a settle slot of their lane.
    parts: VecDeque<Part<S::Payload, S::Position>>,
    classes: Vec<Class>,
}

impl<S: Source> SourceInlet<S> {
    pub(crate) fn new(
        source: S,
        window: Window<S::Position>,
        account: Account,
        intake: Intake,
        settings: IngressSettings<S::Payload>,
        spares: Spares<S::Payload>,
    ) -> Self {
        Self { source, window, account, intake, settings, spares, parts: VecDeque::new(), classes: Vec::new() }
    }

    /// Opens a ticket for the part at the head, once its lane has a slot.
    async fn open(&mut self, cx: &mut StageContext) -> Option<Batch<S::Payload>> {
        loop {
            if !self.settings.acks {
                let Part { payload, lease, meta, .. } = self.parts.pop_front()?;
                let batch = Batch { lease, meta, ..Batch::detached(payload) };
                match batch.records() {
                    0 => self.spares.put(batch.payload, batch.lease),
                    _ => return Some(batch),
                }
                continue;
            }
            let part = self.parts.front_mut()?;
            let (lane, weight) = (part.meta.lane, part.payload.weight());
            if !self.window.has_room(lane, weight) {
                let window = self.window.clone();
                waiting(&cx.clock, Wait::SettleWindow, poll_fn(move |task| window.poll_room(lane, weight, task))).await;
                continue;
            }
            let Part { payload, lease, meta, position, watched } = self.parts.pop_front()?;
            let ticket = if watched {
                let (ticket, watch) = self.window.try_open_watched(lane, weight, position, meta.born)?;
                self.source.watch(watch);
                ticket
            } else {
                self.window.try_open(lane, weight, position, meta.born)?
            };
            if ticket.is_empty() {
                // A read that held no records but moved the position: settled as it was opened.
                self.spares.put(payload, lease);
                continue;
            }
            return Some(Batch { payload, ticket, lease, meta });
        }
    }

    /// Waits until the source has something; `false` when the intake was shut or the source ended.
    async fn wait(&mut self, cx: &mut StageContext) -> Result<bool, Cause> {
        if self.intake.is_shut() {
            return Ok(false);
        }
        let readiness = waiting(&cx.clock, Wait::Idle, async {
            tokio::select! {
                biased;
                readiness = self.source.ready() => readiness,
                () = self.intake.shut() => Ok(Readiness::Ended),
            }
        });
        // A source that became ready just as the intake was shut is not read any more.
        Ok(readiness.await? == Readiness::Ready && !self.intake.is_shut())
    }

    /// Takes the lease for the largest batch, or waits for it holding nothing.
    async fn lease(&mut self, cx: &mut StageContext) -> Result<Lease, Cause> {
        let bytes = self.settings.batch.bytes;
        loop {
            if let Some(lease) = self.account.try_lease(bytes) {
                return Ok(lease);
            }
            let account = self.account.clone();
            let room = poll_fn(move |task| account.poll_room(task, bytes));
            if let Err(refused) = waiting(&cx.clock, Wait::Budget, room).await {
                return Err(Cause::from(format!(
                    "source \"{}\": no batch of {bytes} can be had: {refused}",
                    cx.name()
                )));
            }
        }
    }

    fn read(&mut self, mut lease: Lease, cx: &mut StageContext) -> Result<(), Cause> {
        // The lease in hand pays for the largest batch, so the charge of the spare is given back. A spare with more room
        // than a batch would cost more than that.
        let largest = self.settings.batch.bytes;
        let spare =
            self.spares.take().map(|(payload, _charge)| payload).filter(|spare| spare.retained_bytes() <= largest);
        let spare = spare.unwrap_or_default();
        let Pull { payload, position } = self.source.read(self.settings.batch, spare)?;
        let retained = payload.retained_bytes();
        // One oversize record: the minimum of the source covers a batch, the overdraft what it is over.
        if let Err(refused) = lease.resize_overdrawing(retained) {
            return Err(Cause::from(format!(
                "source \"{}\" read {retained} at once, more than its share of the budget ({refused}); \
                 raise the pipeline's budget or its batch size",
                cx.name()
            )));
        }
        if payload.weight().records.is_zero() && position.is_none() {
            self.spares.put(payload, lease);
            return Ok(());
        }
        let mut meta = self.source.meta(cx.now());
        meta.lane = meta.lane.min(self.window.spec().lanes.saturating_sub(1));
        let part = Part { payload, lease, meta, position, watched: self.settings.acks && self.source.watches() };
        self.sort(part, cx)
    }

    /// Puts what was read in line, one part for each class that occurs in it.
    fn sort(&mut self, part: Part<S::Payload, S::Position>, cx: &StageContext) -> Result<(), Cause> {
        let rows = part.payload.weight().records;
        let Some(classifier) = self.settings.classifier.as_mut().filter(|_| !rows.is_zero()) else {
            self.parts.push_back(part);
            return Ok(());
        };
        self.classes.clear();
        classifier.classify(&part.payload, cx.now(), &mut self.classes);
        let lanes = self.window.spec().lanes;
        if let Some(fault) = fault_of(&self.classes, rows, lanes) {
            return Err(Cause::from(format!("the classifier of source \"{}\" gave {fault}", cx.name())));
        }
        split_by_class(part, &self.classes, &mut self.parts);
        Ok(())
    }
}

impl<S: Source> Inlet for SourceInlet<S> {
    type Payload = S::Payload;

    async fn next(&mut self, cx: &mut StageContext) -> Event<Batch<S::Payload>> {
        loop {
            if let Some(batch) = self.open(cx).await {
                cx.count_taken(batch.records());
                return Event::Batch(batch);
            }
            match self.wait(cx).await {
                Ok(true) => {}
                Ok(false) => return Event::Completed,
                Err(cause) => return Event::Failed(cause),
            }
            let read = match self.lease(cx).await {
                Ok(lease) => self.read(lease, cx),
                Err(cause) => Err(cause),
            };
            if let Err(cause) = read {
                return Event::Failed(cause);
            }
        }
    }

    fn has_read_ahead(&self) -> bool {
        !self.parts.is_empty()
    }
}
