//! Looking at the parts of a running pipeline without knowing what they carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tidegate_flow::{FlowCounter, SourceLedger, StageClock, StageId, StageKind, Time};

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
}

/// When the wait that a stage is in ends at the latest, if it has set itself a limit: a wait that will end by itself
/// is no stall. Clones are the same cell.
#[derive(Clone, Debug)]
pub(crate) struct Due(Arc<AtomicU64>);

impl Default for Due {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(Time::MAX.as_nanos())))
    }
}

impl Due {
    pub(crate) fn set(&self, at: Time) {
        self.0.store(at.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.set(Time::MAX);
    }

    pub(crate) fn get(&self) -> Option<Time> {
        let at = Time::from_nanos(self.0.load(Ordering::Relaxed));
        (at != Time::MAX).then_some(at)
    }
}
