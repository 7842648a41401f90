//! [`Sender`]: the application's end of a channel.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tidegate_flow::queue::{Level, TooManyProducers};
use tidegate_flow::{Cause, Items, Weigh};

use super::receipt::Receipt;
use super::{Parcel, Rows};
use crate::edge::{EdgeHandle, EdgeTx, PressureWatch, SendError, TooManyWatches};

/// The application's end of a [`channel`](super::channel()). When the last one is dropped the source ends, after what was sent.
pub struct Sender<T: Weigh + Send + 'static> {
    tx: EdgeTx<Parcel<T>>,
}

impl<T: Weigh + Send + 'static> Sender<T> {
    pub(super) const fn new(tx: EdgeTx<Parcel<T>>) -> Self {
        Self { tx }
    }

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
        let (reply, receipt) = Receipt::new();
        let parcel = Parcel { rows: Rows::One(record), reply: Some(reply) };
        self.send_parcel(parcel).await.map_err(Unsent::one)?;
        Ok(receipt)
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
