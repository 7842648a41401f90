//! One call: who makes it ([`Caller`]), and the future that runs it with its time limit and its panics caught.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::{Lease, Meta, Nack, Ticket, Time, Weigh};
use tokio::time::Sleep;

use super::CallLimits;
use crate::context::panic_nack;

/// Makes a call of a record.
pub trait Caller<T>: Send + 'static {
    /// What a call makes of a record.
    type Out: Weigh + Send + 'static;
    /// The call.
    type Future: Future + Send + 'static;

    /// Starts a call. A panic refuses the record for good.
    fn call(&mut self, record: T) -> Self::Future;

    /// Reads the answer of a call.
    ///
    /// # Errors
    /// The record was refused.
    fn answer(answer: <Self::Future as Future>::Output) -> Result<Self::Out, Nack>;
}

/// Calls a function that makes something of every record.
pub struct Infallible<F>(pub(crate) F);

impl<T, F, Fut> Caller<T> for Infallible<F>
where
    F: FnMut(T) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Weigh + Send + 'static,
{
    type Out = Fut::Output;
    type Future = Fut;

    fn call(&mut self, record: T) -> Fut {
        (self.0)(record)
    }

    fn answer(answer: Fut::Output) -> Result<Fut::Output, Nack> {
        Ok(answer)
    }
}

/// Calls a function that may refuse a record.
pub struct Fallible<F>(pub(crate) F);

impl<T, U, F, Fut> Caller<T> for Fallible<F>
where
    U: Weigh + Send + 'static,
    F: FnMut(T) -> Fut + Send + 'static,
    Fut: Future<Output = Result<U, Nack>> + Send + 'static,
{
    type Out = U;
    type Future = Fut;

    fn call(&mut self, record: T) -> Fut {
        (self.0)(record)
    }

    fn answer(answer: Result<U, Nack>) -> Result<U, Nack> {
        answer
    }
}

/// What a record needs besides itself: its row of the ticket, its share of the lease, and what scheduling knows of it.
pub(super) struct Shell {
    pub(super) ticket: Ticket,
    pub(super) lease: Lease,
    /// The deadlines are those of this one record.
    pub(super) meta: Meta,
}

impl Shell {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.meta.deadlines.earliest().filter(|at| *at != Time::MAX)
    }

    pub(super) fn is_expired(&self, now: Time) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

/// Why a call made nothing.
pub(super) struct Failure {
    pub(super) nack: Nack,
    pub(super) panicked: bool,
}

/// A call that is over.
pub(super) struct Ended<U, K> {
    pub(super) number: u64,
    pub(super) key: Option<K>,
    pub(super) shell: Shell,
    pub(super) answer: Result<U, Failure>,
}

/// A call in flight. Dropped with the call unfinished, its record is abandoned.
pub(super) struct Running<T, C: Caller<T>, K> {
    call: Pin<Box<C::Future>>,
    limit: Option<Limit>,
    /// There until the call is over, with the number of the call.
    rest: Option<(u64, Option<K>, Shell)>,
}

struct Limit {
    sleep: Pin<Box<Sleep>>,
    after: Duration,
    by_deadline: bool,
}

impl Limit {
    /// The timeout of the stage or what is left until the deadline of the record, whichever is less.
    fn new(limits: &CallLimits, deadline: Option<Time>, now: Time) -> Option<Self> {
        let left = deadline.map(|deadline| deadline.since(now));
        let by_deadline = left.is_some_and(|left| limits.timeout.is_none_or(|timeout| left < timeout));
        let after = if by_deadline { left } else { limits.timeout }?;
        Some(Self { sleep: Box::pin(tokio::time::sleep(after)), after, by_deadline })
    }

    fn failure(&self) -> Failure {
        let after = self.after;
        let text = if self.by_deadline {
            format!("the call had no answer at the record's deadline, {after:?} after it began")
        } else {
            format!("the call had no answer within {after:?}")
        };
        Failure { nack: Nack::transient(text), panicked: false }
    }
}

/// Nothing in it is pinned in place: the call and the timer are in boxes of their own.
impl<T, C: Caller<T>, K> Unpin for Running<T, C, K> {}

impl<T, C: Caller<T>, K> Running<T, C, K> {
    pub(super) fn new(
        call: C::Future,
        number: u64,
        key: Option<K>,
        shell: Shell,
        limits: &CallLimits,
        now: Time,
    ) -> Self {
        let limit = Limit::new(limits, shell.deadline(), now);
        Self { call: Box::pin(call), limit, rest: Some((number, key, shell)) }
    }

    /// The answer, or why there is none. A call that has ended counts, even where its time is up in the same moment.
    fn poll_answer(&mut self, task: &mut Context<'_>) -> Poll<Result<C::Out, Failure>> {
        let call = self.call.as_mut();
        let polled = catch_unwind(AssertUnwindSafe(|| call.poll(task).map(C::answer)));
        match polled {
            Err(panic) => Poll::Ready(Err(Failure { nack: panic_nack(&*panic), panicked: true })),
            Ok(Poll::Ready(answer)) => Poll::Ready(answer.map_err(|nack| Failure { nack, panicked: false })),
            Ok(Poll::Pending) => {
                let Some(limit) = &mut self.limit else { return Poll::Pending };
                limit.sleep.as_mut().poll(task).map(|()| Err(limit.failure()))
            }
        }
    }
}

impl<T, C: Caller<T>, K> Future for Running<T, C, K> {
    type Output = Ended<C::Out, K>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.poll_answer(task));
        match self.rest.take() {
            Some((number, key, shell)) => Poll::Ready(Ended { number, key, shell, answer }),
            None => unreachable!("a call that is over is not polled again"),
        }
    }
}
