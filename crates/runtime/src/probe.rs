//! Looking at the parts of a running pipeline without knowing what they carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tidegate_flow::{FlowCounter, SourceLedger, StageClock, StageId, StageKind, Time};

use crate::egress::Refusals;
use crate::named::NamedSteps;

/// A look at the settlement of one source.
pub(crate) trait SourceProbe: Send + Sync {
    /// What became of its records so far; balances at any instant.
    fn counts(&self) -> SourceLedger;
    /// Completes when everything that was opened is settled.
    fn poll_idle(&self, task: &mut Context<'_>) -> Poll<()>;
    /// Nothing more will be opened.
    fn close(&self);
}

/// A look at one stage.
#[derive(Clone)]
pub(crate) struct StageProbe {
    pub(crate) id: StageId,
    pub(crate) name: Arc<str>,
    pub(crate) kind: StageKind,
    pub(crate) clock: StageClock,
    pub(crate) counter: FlowCounter,
    pub(crate) due: Due,
    /// Of a sink: what was refused.
    pub(crate) refusals: Refusals,
    /// The steps with names of their own.
    pub(crate) steps: NamedSteps,
}

/// When the wait that a stage is in ends at the latest, if it has set itself a limit: a wait that will end by itself
/// is no stall. Clones are the same cell.
#[derive(Clone, Debug)]
pub(crate) struct Due(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    at: AtomicU64,
    calling: AtomicBool,
}

impl Default for Due {
    fn default() -> Self {
        Self(Arc::new(Limits { at: AtomicU64::new(Time::MAX.as_nanos()), calling: AtomicBool::new(false) }))
    }
}

impl Due {
    pub(crate) fn set(&self, at: Time) {
        self.0.at.store(at.as_nanos(), Ordering::Relaxed);
    }

    /// Notes whether calls are in flight, and when the last of them ends if they have a limit.
    pub(crate) fn set_calls(&self, calling: bool, end: Option<Time>) {
        if self.0.calling.swap(calling, Ordering::Relaxed) || calling {
            self.set(end.filter(|_| calling).unwrap_or(Time::MAX));
        }
    }

    /// Whether calls are in flight.
    pub(crate) fn is_calling(&self) -> bool {
        self.0.calling.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.set(Time::MAX);
    }

    pub(crate) fn get(&self) -> Option<Time> {
        let at = Time::from_nanos(self.0.at.load(Ordering::Relaxed));
        (at != Time::MAX).then_some(at)
    }
}
