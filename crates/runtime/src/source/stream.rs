//! [`stream`], [`try_stream`] and [`from_fn`]: read what is produced asynchronously.

use std::convert;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use tidegate_flow::{Cause, Items, Weigh, Weight};

use crate::ingress::{NoCommit, Pull, Readiness, Source};

/// Reads a stream as far as it is ready. One record is held outside the budget: the one that told that the stream is
/// ready. The position is the number of records read.
#[must_use]
pub fn stream<S>(records: S) -> StreamSource<Infallible<S>, S::Item>
where
    S: Stream + Send + 'static,
    S::Item: Weigh + Send + 'static,
{
    StreamSource::new(Infallible(Box::pin(records)))
}

/// Reads a stream that can fail, like [`stream`]. An error ends the pipeline with its text as the cause, after the
/// records before it were read.
#[must_use]
pub fn try_stream<S, T, E>(records: S) -> StreamSource<S, T>
where
    S: Stream<Item = Result<T, E>> + Send + 'static,
    T: Weigh + Send + 'static,
    E: fmt::Display,
{
    StreamSource::new(records)
}

/// Reads what an async closure gives: a record, `None` for the end, or an error that ends the pipeline. The closure
/// is called again when the future it gave is done; that future is kept across waits, so it need not be cancel-safe.
///
/// ```
/// use tidegate_flow::Cause;
/// use tidegate_runtime::source;
///
/// let mut left = 3_u64;
/// let countdown = source::from_fn(move || {
///     left = left.saturating_sub(1);
///     let record = Some(left).filter(|left| *left > 0);
///     async move { Ok::<_, Cause>(record) }
/// });
/// # drop(countdown);
/// ```
#[must_use]
pub fn from_fn<F, R, T, E>(next: F) -> StreamSource<FnStream<F, R>, T>
where
    F: FnMut() -> R + Send + 'static,
    R: Future<Output = Result<Option<T>, E>> + Send + 'static,
    T: Weigh + Send + 'static,
    E: fmt::Display,
{
    StreamSource::new(FnStream { next: Box::new(next), under_way: Box::pin(None) })
}

/// See [`stream`], [`try_stream`] and [`from_fn`].
pub struct StreamSource<S, T> {
    /// `None` once it has ended: a stream is not polled after its end.
    records: Option<Pin<Box<S>>>,
    /// The record that told that the stream is ready.
    first: Option<T>,
    failed: Option<Cause>,
    read: u64,
}

impl<S, T> StreamSource<S, T> {
    fn new(records: S) -> Self {
        Self { records: Some(Box::pin(records)), first: None, failed: None, read: 0 }
    }

    /// The next record; `None` at the end, and at an error, which is kept.
    fn poll_record<E: fmt::Display>(&mut self, task: &mut Context<'_>) -> Poll<Option<T>>
    where
        S: Stream<Item = Result<T, E>>,
    {
        let Some(records) = &mut self.records else { return Poll::Ready(None) };
        let next = ready!(records.as_mut().poll_next(task));
        Poll::Ready(match next {
            Some(Ok(record)) => Some(record),
            Some(Err(error)) => {
                self.failed = Some(Cause::from(error.to_string()));
                self.records = None;
                None
            }
            None => {
                self.records = None;
                None
            }
        })
    }
}

impl<S, T, E> Source for StreamSource<S, T>
where
    S: Stream<Item = Result<T, E>> + Send + 'static,
    T: Weigh + Send + 'static,
    E: fmt::Display,
{
    type Payload = Items<T>;
    type Position = u64;
    type Committer = NoCommit;

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        if self.first.is_none() {
            // A stream that is always ready must not starve its neighbours.
            tokio::task::coop::consume_budget().await;
            self.first = std::future::poll_fn(|task| self.poll_record(task)).await;
        }
        match (&self.first, &self.failed) {
            (Some(_), _) => Ok(Readiness::Ready),
            (None, Some(cause)) => Err(cause.clone()),
            (None, None) => Ok(Readiness::Ended),
        }
    }

    fn read(&mut self, room: Weight, mut into: Items<T>) -> Result<Pull<Items<T>, u64>, Cause> {
        into.extend(self.first.take());
        // `ready` polls again with the task's own waker before it waits, so nothing is missed by polling with none
        // here.
        let mut task = Context::from_waker(Waker::noop());
        while (into.len() as u64) < room.records.get() && into.bytes() < room.bytes {
            match self.poll_record(&mut task) {
                Poll::Ready(Some(record)) => into.push(record),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        self.read += into.len() as u64;
        let position = (!into.is_empty()).then_some(self.read);
        Ok(Pull { payload: into, position })
    }
}

/// A stream whose every item is a success; what [`stream`] makes of yours.
pub struct Infallible<S>(Pin<Box<S>>);

impl<S: Stream> Stream for Infallible<S> {
    type Item = Result<S::Item, convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(task).map(|item| item.map(Ok))
    }
}

/// The stream of what a closure's futures give; what [`from_fn`] makes of yours.
pub struct FnStream<F, R> {
    next: Box<F>,
    under_way: Pin<Box<Option<R>>>,
}

impl<F, R, T, E> Stream for FnStream<F, R>
where
    F: FnMut() -> R,
    R: Future<Output = Result<Option<T>, E>>,
{
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { next, under_way } = &mut *self;
        if under_way.is_none() {
            under_way.set(Some(next()));
        }
        let Some(future) = under_way.as_mut().as_pin_mut() else { return Poll::Pending };
        let answer = ready!(future.poll(task));
        under_way.set(None);
        Poll::Ready(answer.transpose())
    }
}
