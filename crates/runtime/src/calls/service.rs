//! Calls to a `tower` service.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::Pin;

use tidegate_flow::{Nack, Weigh};
use tower_service::Service;

use super::call::Caller;

/// Calls a clone of a service for each record.
///
/// A service may reserve something when it says that it is ready (a permit, a place in a buffer). So it is asked only
/// with a record in hand, inside a slot and within the call's time limit, and each call asks the clone that it then
/// calls: a call that is given up drops the clone, and with it what was reserved.
pub struct ByService<S>(pub(crate) S);

impl<T, S> Caller<T> for ByService<S>
where
    T: Send + 'static,
    S: Service<T> + Clone + Send + 'static,
    S::Response: Weigh + Send + 'static,
    S::Error: Display + Send,
    S::Future: Send,
{
    type Out = S::Response;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Nack>> + Send>>;

    fn call(&mut self, record: T) -> Self::Future {
        let mut service = self.0.clone();
        Box::pin(async move {
            let ready = poll_fn(|task| service.poll_ready(task)).await;
            ready.map_err(|error| Nack::transient(format!("the service is not ready: {error}")))?;
            let answer = service.call(record).await;
            answer.map_err(|error| Nack::transient(format!("the service failed: {error}")))
        })
    }

    fn answer(answer: Result<S::Response, Nack>) -> Result<S::Response, Nack> {
        answer
    }
}
