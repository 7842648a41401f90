//! Misbehaving peers: what a pipeline must survive.

use std::future::pending;
use std::time::Duration;

use futures_core::Stream;
use tidegate_flow::{Items, Meta, Nack, Payload, Weigh};

use crate::egress::{Accepted, Sink};

/// A closure for `map` that panics on its `nth` record (0 is the first), once.
pub fn panicker<T>(nth: u64) -> impl FnMut(T) -> T + Clone + Send + 'static {
    let mut seen = 0;
    move |record| {
        seen += 1;
        assert!(seen != nth + 1, "record {nth} makes this panic");
        record
    }
}

/// A stream that gives one record every so often, and nothing in between.
pub fn slow_drip<T>(records: impl IntoIterator<Item = T>, every: Duration) -> impl Stream<Item = T> {
    futures_util::stream::unfold(records.into_iter(), move |mut records| async move {
        tokio::time::sleep(every).await;
        records.next().map(|record| (record, records))
    })
}

/// A sink that accepts this many batches and then never answers again.
#[must_use]
pub fn grants_then_vanishes(batches: u32) -> Vanishing {
    Vanishing { left: batches }
}

/// See [`grants_then_vanishes`].
#[derive(Debug)]
pub struct Vanishing {
    left: u32,
}

impl<P: Payload> Sink<P> for Vanishing {
    async fn deliver(&mut self, _payload: &mut P, _meta: &Meta) -> Result<Accepted, Nack> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => pending().await,
        }
        Ok(Accepted::All)
    }
}

/// A sink that takes the rows out of every batch and then refuses it.
#[derive(Copy, Clone, Debug, Default)]
pub struct TakesAndRefuses;

impl<T: Weigh + Send + 'static> Sink<Items<T>> for TakesAndRefuses {
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        drop(payload.take());
        Err(Nack::transient("took the rows and failed"))
    }
}

/// A record that says what it weighs, and weighs nothing in truth.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Ballast {
    /// Tells records apart.
    pub number: u64,
    /// What it says it weighs.
    pub bytes: usize,
}

impl Ballast {
    /// A record of 64 MiB.
    #[must_use]
    pub const fn huge(number: u64) -> Self {
        Self { number, bytes: 64 << 20 }
    }

    /// A record of no bytes.
    #[must_use]
    pub const fn nothing(number: u64) -> Self {
        Self { number, bytes: 0 }
    }
}

impl Weigh for Ballast {
    fn weigh(&self) -> usize {
        self.bytes
    }
}
