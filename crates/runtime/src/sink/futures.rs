//! [`from_sink`]: delivers to a `futures` sink; [`as_sink`]: makes one of a channel's sender.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink as FuturesSink;
use tidegate_flow::{Items, Meta, Nack, Weigh};

use crate::edge::SendError;
use crate::egress::{Accepted, Sink};
use crate::source::Sender;

/// Delivers to a `futures` sink: a batch is accepted when all its records were given to it and it was flushed. The
/// sink is asked whether it is ready only with a record in hand, and is never closed, only flushed and dropped.
///
/// An error refuses the whole batch, for now. The records are the sink's by then, so the batch goes back to its source
/// and is neither tried again here nor dead-lettered. Which errors are for good: see [`FromSink::refuse`].
#[must_use]
pub fn from_sink<S, T>(sink: S) -> FromSink<S, fn(S::Error) -> Nack>
where
    S: FuturesSink<T, Error: fmt::Display> + Send + 'static,
    T: Weigh + Send + 'static,
{
    FromSink { sink: Box::pin(sink), refuse: |error| Nack::transient(error.to_string()) }
}

/// See [`from_sink`].
pub struct FromSink<S, F> {
    sink: Pin<Box<S>>,
    refuse: F,
}

impl<S, F> FromSink<S, F> {
    /// Says with a closure what an error means: whether trying again can help, and why not.
    #[must_use]
    pub fn refuse<E, G: FnMut(E) -> Nack>(self, refuse: G) -> FromSink<S, G> {
        FromSink { sink: self.sink, refuse }
    }
}

impl<S, F, T> Sink<Items<T>> for FromSink<S, F>
where
    S: FuturesSink<T> + Send + 'static,
    S::Error: Send,
    F: FnMut(S::Error) -> Nack + Send + 'static,
    T: Weigh + Send + 'static,
{
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let Self { sink, refuse } = self;
        for record in payload.take() {
            poll_fn(|task| sink.as_mut().poll_ready(task)).await.map_err(&mut *refuse)?;
            sink.as_mut().start_send(record).map_err(&mut *refuse)?;
        }
        poll_fn(|task| sink.as_mut().poll_flush(task)).await.map_err(refuse)?;
        Ok(Accepted::All)
    }

    async fn flush(&mut self) -> Result<(), Nack> {
        let Self { sink, refuse } = self;
        poll_fn(|task| sink.as_mut().poll_flush(task)).await.map_err(refuse)
    }
}

/// A `futures` sink that sends to a [`channel`](crate::source::channel). Holds one record in hand; flushing sends it.
#[must_use]
pub fn as_sink<T: Weigh + Send + 'static>(sender: Sender<T>) -> SenderSink<T> {
    SenderSink { sender: Some(sender), in_hand: None }
}

/// See [`as_sink`].
pub struct SenderSink<T: Weigh + Send + 'static> {
    /// `None` once it was closed.
    sender: Option<Sender<T>>,
    in_hand: Option<T>,
}

impl<T: Weigh + Send + 'static> Unpin for SenderSink<T> {}

impl<T: Weigh + Send + 'static> FuturesSink<T> for SenderSink<T> {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_flush(task)
    }

    /// # Errors
    /// Where it was not ready, or is closed: the record is dropped.
    fn start_send(mut self: Pin<&mut Self>, record: T) -> Result<(), SendError> {
        match &self.sender {
            Some(sender) if self.in_hand.is_some() => Err(SendError::Full { edge: sender.handle().name() }),
            None => Err(SendError::Closed { edge: "channel".into() }),
            Some(_) => {
                self.in_hand = Some(record);
                Ok(())
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Self { sender, in_hand } = &mut *self;
        match sender {
            Some(sender) => sender.poll_send(task, in_hand),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.as_mut().poll_flush(task))?;
        self.sender = None;
        Poll::Ready(Ok(()))
    }
}
