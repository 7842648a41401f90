//! How a pipeline stops: the intake shuts, what is in flight drains, and a deadline ends what does not.
//!
//! ```text
//! running -> intake shut -> draining -> stopped
//! ```
//!
//! Shutting the intake makes every source end at its next wait; the end travels behind the data. What is still in
//! flight at the deadline is abandoned: its tickets say so to their sources, and the ledger still balances.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Ends the sources, or the flow, that watch it. Clones are the same switch.
#[derive(Clone, Debug)]
pub struct KillSwitch {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    thrown: AtomicBool,
    announce: watch::Sender<bool>,
}

impl Default for KillSwitch {
    fn default() -> Self {
        Self::new()
    }
}

impl KillSwitch {
    /// A switch that has not been thrown.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::new(State { thrown: AtomicBool::new(false), announce: watch::Sender::new(false) }) }
    }

    /// Ends everything that watches this switch, as if its input had ended: what was taken in is still delivered.
    /// Throwing it again changes nothing.
    pub fn shut(&self) {
        self.state.thrown.store(true, Ordering::Release);
        self.state.announce.send_replace(true);
    }

    /// Whether it was thrown.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.state.thrown.load(Ordering::Acquire)
    }

    /// The side that is watched.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.intake_with(None)
    }

    /// The side that is watched, shut by this switch or by `other`.
    #[must_use]
    pub fn intake_with(&self, other: Option<&Self>) -> Intake {
        Intake { first: Watched::new(self), second: other.map(Watched::new), third: None }
    }
}

/// Whether a source may go on reading: shut when any of the switches that it watches is thrown.
#[derive(Clone, Debug)]
pub struct Intake {
    first: Watched,
    second: Option<Watched>,
    third: Option<Watched>,
}

/// One switch, and the place to wait for it; the switch keeps the sender alive.
#[derive(Clone, Debug)]
struct Watched {
    switch: KillSwitch,
    announced: watch::Receiver<bool>,
}

impl Watched {
    fn new(switch: &KillSwitch) -> Self {
        Self { switch: switch.clone(), announced: switch.state.announce.subscribe() }
    }

    async fn shut(&mut self) {
        // The error, a sender that is gone, cannot happen while `switch` is held.
        drop(self.announced.wait_for(|shut| *shut).await);
    }
}

impl Intake {
    /// Shut by `other` as well.
    pub(crate) fn or(mut self, other: &KillSwitch) -> Self {
        self.third = Some(Watched::new(other));
        self
    }

    /// Whether it is shut now; cheap enough to ask for every batch.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        let others = self.second.iter().chain(&self.third);
        self.first.switch.is_shut() || others.into_iter().any(|other| other.switch.is_shut())
    }

    /// Completes once it is shut. Cancel-safe.
    pub async fn shut(&mut self) {
        match (&mut self.second, &mut self.third) {
            (None, None) => self.first.shut().await,
            (Some(other), None) | (None, Some(other)) => tokio::select! {
                () = self.first.shut() => {}
                () = other.shut() => {}
            },
            (Some(second), Some(third)) => tokio::select! {
                () = self.first.shut() => {}
                () = second.shut() => {}
                () = third.shut() => {}
            },
        }
    }
}
