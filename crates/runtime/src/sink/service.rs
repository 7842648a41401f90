//! [`service`] and [`service_each`]: deliver by calling a tower service.

use std::fmt;
use std::future::poll_fn;

use tidegate_flow::{Items, Meta, Nack, Weigh};
use tower_service::Service;

use crate::egress::{Accepted, Sink};

/// Calls a tower service with each batch, which is accepted when the call succeeds. One call at a time; readiness is
/// asked for only with a batch in hand, so an idle sink holds no permit of the service.
///
/// The batch is copied for the call, so that one that is refused can be tried again, halved or dead-lettered. An error
/// refuses it for now; which errors are for good: see [`ServiceSink::refuse`].
#[must_use]
pub fn service<S, T>(service: S) -> ServiceSink<S, fn(S::Error) -> Nack>
where
    S: Service<Vec<T>, Error: fmt::Display> + Send + 'static,
    T: Weigh + Clone + Send + Sync + 'static,
{
    ServiceSink { service, refuse: |error| Nack::transient(error.to_string()) }
}

/// Like [`service`], with one call for each record, one after the other. A record is refused by itself.
#[must_use]
pub fn service_each<S, T>(service: S) -> PerRecord<S, fn(S::Error) -> Nack>
where
    S: Service<T, Error: fmt::Display> + Send + 'static,
    T: Weigh + Clone + Send + Sync + 'static,
{
    PerRecord(ServiceSink { service, refuse: |error| Nack::transient(error.to_string()) })
}

/// See [`service`].
pub struct ServiceSink<S, F> {
    service: S,
    refuse: F,
}

/// See [`service_each`].
pub struct PerRecord<S, F>(ServiceSink<S, F>);

impl<S, F> ServiceSink<S, F> {
    /// Says with a closure what an error means: whether trying again can help, and why not.
    #[must_use]
    pub fn refuse<E, G: FnMut(E) -> Nack>(self, refuse: G) -> ServiceSink<S, G> {
        ServiceSink { service: self.service, refuse }
    }

    async fn call<R>(&mut self, request: R) -> Result<(), Nack>
    where
        S: Service<R>,
        F: FnMut(S::Error) -> Nack,
    {
        let Self { service, refuse } = self;
        poll_fn(|task| service.poll_ready(task)).await.map_err(&mut *refuse)?;
        service.call(request).await.map(drop).map_err(refuse)
    }
}

impl<S, F> PerRecord<S, F> {
    /// As [`ServiceSink::refuse`].
    #[must_use]
    pub fn refuse<E, G: FnMut(E) -> Nack>(self, refuse: G) -> PerRecord<S, G> {
        PerRecord(self.0.refuse(refuse))
    }
}

impl<S, F, T> Sink<Items<T>> for ServiceSink<S, F>
where
    S: Service<Vec<T>> + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    F: FnMut(S::Error) -> Nack + Send + 'static,
    T: Weigh + Clone + Send + Sync + 'static,
{
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let request = payload.as_slice().to_vec();
        self.call(request).await?;
        Ok(Accepted::All)
    }
}

impl<S, F, T> Sink<Items<T>> for PerRecord<S, F>
where
    S: Service<T> + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    F: FnMut(S::Error) -> Nack + Send + 'static,
    T: Weigh + Clone + Send + Sync + 'static,
{
    async fn deliver(&mut self, payload: &mut Items<T>, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut refused = Vec::new();
        for row in 0..payload.len() {
            let Some(record) = payload.as_slice().get(row).cloned() else { break };
            if let Err(nack) = self.0.call(record).await {
                refused.push((u32::try_from(row).unwrap_or(u32::MAX), nack));
            }
        }
        Ok(Accepted::all_but(refused))
    }
}
