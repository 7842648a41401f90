//! [`collect`]: keeps what it is given, for tests and examples.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_flow::{Items, Meta, Nack, Weigh};

use crate::egress::{Accepted, Sink};

/// A sink that keeps every record, and the handle to look at them. It keeps as much as it is given and is not charged
/// for it: for tests and examples only.
///
/// ```
/// # use tidegate_runtime as tidegate;
/// use tidegate::{Pipeline, sink, source};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let builder = Pipeline::builder("squares");
/// let (kept, keep) = sink::collect();
/// builder.source("count", source::iter(1..=3_u64)).map(|n| n * n).sink("keep", keep);
/// builder.build().unwrap().start().wait().await;
/// assert_eq!(kept.take(), [1, 4, 9]);
/// # });
/// ```
#[must_use]
pub fn collect<T: Weigh + Send + 'static>() -> (Collected<T>, Collect<T>) {
    let kept = Collected { records: Arc::default() };
    (kept.clone(), Collect { kept })
}

/// What a [`collect`] sink has kept so far. Clones look at the same records.
#[derive(Debug)]
pub struct Collected<T> {
    records: Arc<Mutex<Vec<T>>>,
}

impl<T> Collected<T> {
    /// Takes out what was kept so far, in the order of delivery.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.lock())
    }

    /// How many records are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Self { records: Arc::clone(&self.records) }
    }
}

/// See [`collect`].
#[derive(Debug)]
pub struct Collect<T> {
    kept: Collected<T>,
}

impl<T: Weigh + Send + 'static> Sink<Items<T>> for Collect<T> {
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        self.kept.lock().extend(payload.drain());
        Ok(Accepted::All)
    }
}
