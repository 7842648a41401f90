//! What is pending at an edge: the futures of its calls, and the timer of one wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidegate_flow::queue::Load;
use tokio::task::coop;
use tokio::time::{Instant, Sleep};

use super::error::{SendError, Sent};
use super::tx::EdgeTx;

/// Polls as part of the task's cooperative budget: a task that always finds room (or data) still yields to others.
///
/// The `poll_*` functions leave that to their caller: a stage bounds its own work in each poll.
pub(super) fn cooperate<T>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let budget = ready!(coop::poll_proceed(cx));
    let polled = poll(cx);
    if polled.is_ready() {
        budget.made_progress();
    }
    polled
}

/// The future of [`EdgeTx::send`].
#[must_use = "nothing is sent unless this is awaited"]
pub struct SendFuture<'a, B: Load> {
    tx: &'a mut EdgeTx<B>,
    slot: &'a mut Option<B>,
}

impl<'a, B: Load> SendFuture<'a, B> {
    pub(super) const fn new(tx: &'a mut EdgeTx<B>, slot: &'a mut Option<B>) -> Self {
        Self { tx, slot }
    }
}

impl<B: Load> Future for SendFuture<'_, B> {
    type Output = Result<Sent, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { tx, slot } = &mut *self;
        cooperate(cx, |cx| tx.poll_send(cx, slot))
    }
}

impl<B: Load> Drop for SendFuture<'_, B> {
    fn drop(&mut self) {
        self.tx.pause();
    }
}

/// The future of [`EdgeTx::ready`].
#[must_use = "nothing is waited for unless this is awaited"]
pub struct ReadyFuture<'a, B: Load> {
    tx: &'a mut EdgeTx<B>,
}

impl<'a, B: Load> ReadyFuture<'a, B> {
    pub(super) const fn new(tx: &'a mut EdgeTx<B>) -> Self {
        Self { tx }
    }
}

impl<B: Load> Future for ReadyFuture<'_, B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        cooperate(cx, |cx| self.tx.poll_ready(cx))
    }
}

impl<B: Load> Drop for ReadyFuture<'_, B> {
    fn drop(&mut self) {
        self.tx.pause();
    }
}

/// Limits one wait, however often it is broken off and taken up again. The timer is made when it is first needed, and
/// used again.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the wait began.
    since: Option<Instant>,
}

impl Timer {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if sleep.deadline() != end {
            sleep.as_mut().reset(end);
        }
        sleep.as_mut().poll(cx)
    }

    pub(super) const fn disarm(&mut self) {
        self.since = None;
    }
}
