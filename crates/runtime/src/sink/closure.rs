//! Sinks that are closures: [`for_each`], [`try_for_each`], [`for_each_async`]; and [`null`].

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use tidegate_flow::{Items, Meta, Nack, Payload, Weigh};

use crate::context::panic_nack;
use crate::egress::{Accepted, Sink};

/// Calls a closure for each record, which counts as delivered when the closure returns. The closure must not block.
/// A panic refuses the record it was given, for good, and nothing else; the record itself is gone, so it goes back to
/// its source and not to a dead letter port. To keep it, see [`try_for_each`].
#[must_use]
pub fn for_each<T, F>(function: F) -> ForEach<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(T) + Send + 'static,
{
    ForEach { function }
}

/// See [`for_each`].
#[derive(Debug)]
pub struct ForEach<F> {
    function: F,
}

impl<T, F> Sink<Items<T>> for ForEach<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(T) + Send + 'static,
{
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut refused = Vec::new();
        let mut rows = (0..).zip(payload.drain());
        let mut current = 0;
        loop {
            let run = catch_unwind(AssertUnwindSafe(|| {
                for (row, record) in rows.by_ref() {
                    current = row;
                    (self.function)(record);
                }
            }));
            match run {
                Ok(()) => return Ok(Accepted::all_but(refused)),
                Err(panic) => refused.push((current, panic_nack(&*panic))),
            }
        }
    }
}

/// Calls a closure with each record, which is delivered where the closure returns `Ok`. The closure must not block.
/// What it refuses is tried again, dead-lettered or returned, as the options of the sink say.
#[must_use]
pub fn try_for_each<T, F>(function: F) -> TryForEach<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(&T) -> Result<(), Nack> + Send + 'static,
{
    TryForEach { function }
}

/// See [`try_for_each`].
#[derive(Debug)]
pub struct TryForEach<F> {
    function: F,
}

impl<T, F> Sink<Items<T>> for TryForEach<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(&T) -> Result<(), Nack> + Send + 'static,
{
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut refused = Vec::new();
        for (row, record) in (0..).zip(payload.as_slice()) {
            let answer = catch_unwind(AssertUnwindSafe(|| (self.function)(record)));
            if let Err(nack) = answer.unwrap_or_else(|panic| Err(panic_nack(&*panic))) {
                refused.push((row, nack));
            }
        }
        Ok(Accepted::all_but(refused))
    }
}

/// Calls an async closure for each record, one at a time; a record is delivered when its future is done. A panic
/// refuses the record it was given, as in [`for_each`].
///
/// The records of a batch are taken out before the first call. A delivery that is cut short (by the time limit of the
/// sink) therefore gives the whole batch back to its source, where some of it was worked on already.
#[must_use]
pub fn for_each_async<T, F, R>(function: F) -> ForEachAsync<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(T) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    ForEachAsync { function }
}

/// See [`for_each_async`].
#[derive(Debug)]
pub struct ForEachAsync<F> {
    function: F,
}

impl<T, F, R> Sink<Items<T>> for ForEachAsync<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(T) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut refused = Vec::new();
        for (row, record) in (0..).zip(payload.take()) {
            let call = async { (self.function)(record).await };
            if let Err(panic) = AssertUnwindSafe(call).catch_unwind().await {
                refused.push((row, panic_nack(&*panic)));
            }
        }
        Ok(Accepted::all_but(refused))
    }
}

/// Accepts everything and keeps nothing.
#[must_use]
pub fn null() -> Null {
    Null
}

/// See [`null`].
#[derive(Copy, Clone, Debug, Default)]
pub struct Null;

impl<P: Payload> Sink<P> for Null {
    async fn deliver(&mut self, _payload: &mut P, _meta: &Meta) -> Result<Accepted, Nack> {
        Ok(Accepted::All)
    }
}
