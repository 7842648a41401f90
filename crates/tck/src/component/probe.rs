//! [`Probe`]: a sink of any payload that takes when it is let, and keeps what it was given as text.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_flow::{Meta, Nack};
use tidegate_runtime::{Accepted, Sink};
use tokio::sync::watch;

use super::Traffic;

/// What a sink takes, in the hands of a check. Clones are the same.
#[derive(Clone)]
pub struct Probe(Arc<Shared>);

struct Shared {
    texts: Mutex<Vec<String>>,
    mood: watch::Sender<Mood>,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Mood {
    Takes,
    Waits,
    Gone,
}

impl Probe {
    /// One that waits, or takes at once.
    pub(super) fn new(held: bool) -> Self {
        let mood = if held { Mood::Waits } else { Mood::Takes };
        Self(Arc::new(Shared { texts: Mutex::default(), mood: watch::Sender::new(mood) }))
    }

    pub(super) fn sink<T: Traffic>(&self) -> ProbeSink<T> {
        ProbeSink { probe: self.clone(), mood: self.0.mood.subscribe(), traffic: std::marker::PhantomData }
    }

    pub(super) fn open(&self) {
        self.0.mood.send_replace(Mood::Takes);
    }

    /// Nothing will be taken any more.
    pub(super) fn go_away(&self) {
        self.0.mood.send_replace(Mood::Gone);
    }

    /// What was taken.
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.texts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The sink that follows a [`Probe`].
pub struct ProbeSink<T> {
    probe: Probe,
    mood: watch::Receiver<Mood>,
    traffic: std::marker::PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for ProbeSink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProbeSink")
    }
}

impl<T: Traffic> Sink<T::Payload> for ProbeSink<T> {
    async fn deliver(&mut self, payload: &mut T::Payload, _meta: &Meta) -> Result<Accepted, Nack> {
        // The sender is in `self`.
        drop(self.mood.wait_for(|mood| *mood != Mood::Waits).await);
        if self.is_closed() {
            return Err(Nack::transient("nobody is there any more"));
        }
        self.probe.0.texts.lock().unwrap_or_else(PoisonError::into_inner).extend(T::texts(payload));
        Ok(Accepted::All)
    }

    fn is_closed(&self) -> bool {
        *self.mood.borrow() == Mood::Gone
    }
}
