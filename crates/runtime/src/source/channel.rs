//! [`channel`]: the way in for code inside the application.
//!
//! The channel is an edge like those of the pipeline, only outside it: it has credit in records and bytes, a policy for
//! when it is full, and a pressure level that senders can read and hear. What is in it is bounded by its capacity, is
//! not charged to the pipeline's budget, and is not *accepted* yet: the ledger of the source begins where the source
//! reads.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tidegate_flow::queue::{EdgeSpecError, Level, Load, TooManyProducers};
use tidegate_flow::{Cause, EdgeSpec, GroupOutcome, GroupWatch, Items, Nack, Outcome, Payload, Records, ShedReason};
use tidegate_flow::{Weigh, Weight};
use tokio::sync::oneshot;

use crate::edge::{EdgeHandle, EdgeRx, EdgeTx, Event, PressureWatch, SendError, TooManyWatches, edge};
use crate::ingress::{NoCommit, Pull, Readiness, Source};

/// A channel that holds `capacity` (records and bytes, at least one of each) and blocks when it is full: the end that
/// the application sends to, and the source that a pipeline reads.
///
/// ```
/// # use tidegate_runtime as tidegate;
/// use tidegate::{Pipeline, sink, source};
/// use tidegate_flow::{Outcome, Weight, kib};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (mut sender, records) = source::channel(Weight::new(1024, kib(64).get()));
/// let builder = Pipeline::builder("application");
/// builder.source("events", records).sink("drop", sink::null());
/// let running = builder.build().unwrap().start();
///
/// sender.send("first".to_string()).await?;
/// let receipt = sender.send_acked("second".to_string()).await?;
/// assert_eq!(receipt.await.outcome, Outcome::Delivered);
/// drop(sender);
/// running.wait().await.ledger.check().unwrap();
/// # Ok::<(), source::Unsent<String>>(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn channel<T: Weigh + Send + 'static>(capacity: Weight) -> (Sender<T>, ChannelSource<T>) {
    let spec = EdgeSpec::new("channel").window(capacity.max(Weight::new(1, 1)));
    match channel_with(spec) {
        Ok(channel) => channel,
        Err(error) => unreachable!("a window of at least one record and one byte is valid: {error}"),
    }
}

/// A channel with a name, marks and a policy of its own, as an [`EdgeSpec`] says them. What the policy sheds never
/// enters the pipeline: it is counted in the channel ([`Sender::handle`]), and who waits for a receipt is told.
///
/// # Errors
/// Where the specification is not valid; the message names the channel and says what to change.
pub fn channel_with<T: Weigh + Send + 'static>(
    spec: impl Into<EdgeSpec>,
) -> Result<(Sender<T>, ChannelSource<T>), EdgeSpecError> {
    let (tx, rx) = edge(spec.into())?;
    let source = ChannelSource { rx, next: None, failed: None, awaited: VecDeque::new(), watches: false, read: 0 };
    Ok((Sender { tx }, source))
}

/// What is sent through a channel at once. Opaque.
pub struct Parcel<T> {
    rows: Rows<T>,
    /// Who waits to hear what became of it. Only for single records.
    reply: Option<Reply>,
}

enum Rows<T> {
    One(T),
    Many(Items<T>),
}

/// Tells a [`Receipt`] where to look, or at once how the record ended.
type Reply = oneshot::Sender<Result<GroupWatch, Outcome>>;

impl<T: Weigh + Send + 'static> Load for Parcel<T> {
    fn weight(&self) -> Weight {
        match &self.rows {
            Rows::One(record) => Weight::new(1, record.weigh() as u64),
            Rows::Many(records) => records.weight(),
        }
    }

    fn settle_shed(&mut self, _reason: ShedReason) {
        if let Some(reply) = self.reply.take() {
            // Nobody waits any more: nothing to tell.
            drop(reply.send(Err(Outcome::Shed)));
        }
    }
}

/// The application's end of a [`channel`]. When the last one is dropped the source ends, after what was sent.
pub struct Sender<T: Weigh + Send + 'static> {
    tx: EdgeTx<Parcel<T>>,
}

impl<T: Weigh + Send + 'static> Sender<T> {
    /// Sends a record, waiting for room if the policy is to block. `Ok` means that the channel has it (or that its
    /// policy gave it up, which the channel counts), not that it was delivered; see [`send_acked`](Self::send_acked).
    ///
    /// A future that is dropped before it is done has sent nothing, and the record is dropped with it; use
    /// [`send_slot`](Self::send_slot) to keep it.
    ///
    /// # Errors
    /// The record, and why it was not sent.
    pub async fn send(&mut self, record: T) -> Result<(), Unsent<T>> {
        self.send_parcel(Parcel { rows: Rows::One(record), reply: None }).await.map_err(Unsent::one)
    }

    /// Sends the record in `slot`. Cancel-safe: the record leaves the slot only when it is sent.
    ///
    /// # Errors
    /// Why it was not sent; the record is still in the slot.
    pub async fn send_slot(&mut self, slot: &mut Option<T>) -> Result<(), SendError> {
        SendSlot { sender: self, slot }.await
    }

    /// Sends records as one parcel: cheaper than one by one. They are let in together, so they should not weigh more
    /// than the channel holds; if they do, they wait until it is empty.
    ///
    /// # Errors
    /// The records, and why they were not sent.
    pub async fn send_all(&mut self, records: Vec<T>) -> Result<(), Unsent<Vec<T>>> {
        let parcel = Parcel { rows: Rows::Many(Items::from(records)), reply: None };
        self.send_parcel(parcel).await.map_err(Unsent::many)
    }

    /// Sends a record and gives a receipt: a future of what became of it. The record is settled apart from all others
    /// and takes a slot of the source's settle window; for much traffic use [`send`](Self::send) and a committer.
    ///
    /// # Errors
    /// The record, and why it was not sent.
    pub async fn send_acked(&mut self, record: T) -> Result<Receipt, Unsent<T>> {
        let (reply, told) = oneshot::channel(); // tidy: allow(banned-calls): a oneshot holds one answer
        let parcel = Parcel { rows: Rows::One(record), reply: Some(reply) };
        self.send_parcel(parcel).await.map_err(Unsent::one)?;
        Ok(Receipt { told: Told::Later(told) })
    }

    /// Sends a record if that needs no waiting.
    ///
    /// # Errors
    /// The record, and why it was not sent; [`SendError::Full`] where it would have to wait.
    pub fn try_send(&mut self, record: T) -> Result<(), Unsent<T>> {
        let mut slot = Some(Parcel { rows: Rows::One(record), reply: None });
        let sent = self.tx.try_send(&mut slot);
        unsent(sent.map(drop), slot).map_err(Unsent::one)
    }

    /// [`send`](Self::send) for a thread: parks it until there is room. Not for use inside a task.
    ///
    /// # Errors
    /// The record, and why it was not sent.
    pub fn blocking_send(&mut self, record: T) -> Result<(), Unsent<T>> {
        let mut slot = Some(Parcel { rows: Rows::One(record), reply: None });
        let sent = self.tx.blocking_send(&mut slot);
        unsent(sent.map(drop), slot).map_err(Unsent::one)
    }

    /// Ends the source, and with it the pipeline, with this cause, after what was sent before.
    pub fn fail(&mut self, cause: impl Into<Cause>) {
        self.tx.fail(cause);
    }

    /// How pressured the channel is. A channel is pressured when the pipeline behind it is.
    #[must_use]
    pub fn pressure(&self) -> Level {
        self.tx.pressure()
    }

    /// Hears of every change of pressure.
    ///
    /// # Errors
    /// Where the channel has as many watches as it may have.
    pub fn watch(&self) -> Result<PressureWatch, TooManyWatches> {
        self.tx.watch()
    }

    /// Looks at the channel from outside: what is in it, and what its policy gave up.
    #[must_use]
    pub fn handle(&self) -> EdgeHandle {
        self.tx.handle()
    }

    /// Another sender of the same channel.
    ///
    /// # Errors
    /// Where the channel has as many senders as its specification allows; 64 by default.
    pub fn try_clone(&self) -> Result<Self, TooManyProducers> {
        Ok(Self { tx: self.tx.try_clone()? })
    }

    async fn send_parcel(&mut self, parcel: Parcel<T>) -> Result<(), (Parcel<T>, SendError)> {
        // A record whose future was dropped is gone: this one waits for itself.
        self.tx.cancel();
        let mut slot = Some(parcel);
        let sent = self.tx.send(&mut slot).await;
        unsent(sent.map(drop), slot)
    }

    /// For the adapter to `futures` sinks: sends the record in `slot`.
    pub(crate) fn poll_send(&mut self, task: &mut Context<'_>, slot: &mut Option<T>) -> Poll<Result<(), SendError>> {
        let Some(record) = slot.take() else { return Poll::Ready(Ok(())) };
        let mut parcel = Some(Parcel { rows: Rows::One(record), reply: None });
        let polled = self.tx.poll_send(task, &mut parcel);
        *slot = parcel.and_then(Parcel::into_one);
        polled.map_ok(drop)
    }
}

/// The future of [`Sender::send_slot`].
struct SendSlot<'a, T: Weigh + Send + 'static> {
    sender: &'a mut Sender<T>,
    slot: &'a mut Option<T>,
}

impl<T: Weigh + Send + 'static> Future for SendSlot<'_, T> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let budget = ready!(tokio::task::coop::poll_proceed(task));
        let Self { sender, slot } = &mut *self;
        let polled = sender.poll_send(task, slot);
        if polled.is_ready() {
            budget.made_progress();
        }
        polled
    }
}

impl<T: Weigh + Send + 'static> Drop for SendSlot<'_, T> {
    fn drop(&mut self) {
        self.sender.tx.pause();
    }
}

impl<T: Weigh> Parcel<T> {
    fn into_one(self) -> Option<T> {
        match self.rows {
            Rows::One(record) => Some(record),
            Rows::Many(mut records) => records.take().pop(),
        }
    }

    fn into_many(self) -> Vec<T> {
        match self.rows {
            Rows::One(record) => vec![record],
            Rows::Many(mut records) => records.take(),
        }
    }
}

/// What a send came to, with what it left in its slot.
fn unsent<T>(sent: Result<(), SendError>, slot: Option<Parcel<T>>) -> Result<(), (Parcel<T>, SendError)> {
    match (sent, slot) {
        (Err(error), Some(parcel)) => Err((parcel, error)),
        // A send that fails leaves its parcel in the slot.
        (Ok(()), _) | (Err(_), None) => Ok(()),
    }
}

/// What was not sent, and why.
pub struct Unsent<T> {
    /// The record or records.
    pub records: T,
    /// Why.
    pub error: SendError,
}

impl<T: Weigh> Unsent<T> {
    fn one((parcel, error): (Parcel<T>, SendError)) -> Self {
        match parcel.into_one() {
            Some(records) => Self { records, error },
            None => unreachable!("a parcel of one record holds one record"),
        }
    }
}

impl<T: Weigh> Unsent<Vec<T>> {
    fn many((parcel, error): (Parcel<T>, SendError)) -> Self {
        Self { records: parcel.into_many(), error }
    }
}

impl<T> fmt::Debug for Unsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Unsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> std::error::Error for Unsent<T> {}

/// How a record ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The outcome; the worst one, where the record became several.
    pub outcome: Outcome,
    /// Why, where it was refused or abandoned.
    pub nack: Option<Nack>,
}

impl From<GroupOutcome> for Answer {
    fn from(group: GroupOutcome) -> Self {
        let worst = group.counts.iter().filter(|(_, records)| !records.is_zero()).map(|(outcome, _)| outcome).max();
        Self { outcome: worst.unwrap_or(Outcome::Filtered), nack: group.nack }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        let nack = (outcome == Outcome::Abandoned).then(|| Nack::transient("the pipeline ended before it read this"));
        Self { outcome, nack }
    }
}

/// What became of one record that was sent with [`Sender::send_acked`]: a future of its [`Answer`].
///
/// A record that the pipeline never read was abandoned. Cancel-safe; dropping it loses only the news.
#[must_use = "a receipt says nothing unless it is awaited"]
pub struct Receipt {
    told: Told,
}

enum Told {
    /// It is in the channel.
    Later(oneshot::Receiver<Result<GroupWatch, Outcome>>),
    /// It is in the pipeline.
    Here(GroupWatch),
}

impl Future for Receipt {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Answer> {
        if let Told::Later(told) = &mut self.told {
            match ready!(Pin::new(told).poll(task)) {
                Ok(Ok(watch)) => self.told = Told::Here(watch),
                Ok(Err(outcome)) => return Poll::Ready(Answer::from(outcome)),
                Err(_) => return Poll::Ready(Answer::from(Outcome::Abandoned)),
            }
        }
        match &mut self.told {
            Told::Here(watch) => watch.poll_outcome(task).map(Answer::from),
            Told::Later(_) => Poll::Pending,
        }
    }
}

/// The pipeline's end of a [`channel`]. The position is the number of records read.
pub struct ChannelSource<T: Weigh + Send + 'static> {
    rx: EdgeRx<Parcel<T>>,
    /// What told that the channel is ready, or did not fit into the last read.
    next: Option<Parcel<T>>,
    failed: Option<Cause>,
    /// Who waits for the groups of what was read, in order.
    awaited: VecDeque<Reply>,
    /// Whether the last read was for a receipt.
    watches: bool,
    read: u64,
}

impl<T: Weigh + Send + 'static> ChannelSource<T> {
    /// Looks at the channel from outside.
    #[must_use]
    pub fn handle(&self) -> EdgeHandle {
        self.rx.handle()
    }

    /// The next parcel that can be had at once.
    fn try_next(&mut self) -> Option<Parcel<T>> {
        if let Some(parcel) = self.next.take() {
            return Some(parcel);
        }
        while let Some(event) = self.rx.try_recv() {
            match event {
                Event::Batch(parcel) => return Some(parcel),
                // Control messages are for stages; nobody sends them here.
                Event::Control(_) => {}
                // `ready` asks again and is told the same.
                Event::Completed | Event::Failed(_) => return None,
            }
        }
        None
    }

    /// Moves the records of `parcel` to `into` as far as there is room; keeps the rest.
    fn take_rows(&mut self, parcel: Parcel<T>, room: u64, into: &mut Items<T>) {
        match parcel.rows {
            Rows::One(record) => into.push(record),
            Rows::Many(mut records) => {
                if records.len() as u64 > room {
                    let rest = records.split_off(Records::new(room));
                    self.next = Some(Parcel { rows: Rows::Many(rest), reply: None });
                }
                // Rows of a vector can always be appended.
                drop(into.append(records));
            }
        }
    }
}

impl<T: Weigh + Send + 'static> Source for ChannelSource<T> {
    type Payload = Items<T>;
    type Position = u64;
    type Committer = NoCommit;

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        while self.next.is_none() {
            if let Some(cause) = &self.failed {
                return Err(cause.clone());
            }
            match self.rx.recv().await {
                Event::Batch(parcel) => self.next = Some(parcel),
                Event::Control(_) => {}
                Event::Completed => return Ok(Readiness::Ended),
                Event::Failed(cause) => self.failed = Some(cause),
            }
        }
        Ok(Readiness::Ready)
    }

    fn read(&mut self, room: Weight, mut into: Items<T>) -> Result<Pull<Items<T>, u64>, Cause> {
        self.watches = false;
        while (into.len() as u64) < room.records.get() && (into.is_empty() || into.bytes() < room.bytes) {
            let Some(mut parcel) = self.try_next() else { break };
            if parcel.reply.is_some() && !into.is_empty() {
                // A record with a receipt is read, and settled, by itself.
                self.next = Some(parcel);
                break;
            }
            if let Some(reply) = parcel.reply.take() {
                self.awaited.push_back(reply);
                self.watches = true;
            }
            let left = room.records.get() - into.len() as u64;
            self.take_rows(parcel, left, &mut into);
            if self.watches {
                break;
            }
        }
        self.read += into.len() as u64;
        let position = (!into.is_empty()).then_some(self.read);
        Ok(Pull { payload: into, position })
    }

    fn watches(&self) -> bool {
        self.watches
    }

    fn watch(&mut self, watch: GroupWatch) {
        if let Some(reply) = self.awaited.pop_front() {
            // Nobody waits any more: nothing to tell.
            drop(reply.send(Ok(watch)));
        }
    }
}
