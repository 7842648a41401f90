//! [`HoldingFacts`]: what a stage holds outside of edges, at this moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_flow::{Account, Bytes};

/// What the stages of a pipeline hold outside of edges, in their order; other accounts where a stage was replaced.
#[derive(Default)]
pub(crate) struct Holdings(Mutex<Vec<Holding>>);

impl Holdings {
    pub(crate) fn new(holdings: Vec<Holding>) -> Self {
        Self(Mutex::new(holdings))
    }

    /// Puts the accounts of its new life in the place of those that the stage had.
    pub(crate) fn renew(&self, stage: &str, holdings: Vec<Holding>) {
        let mut known = self.lock();
        let at = known.iter().position(|held| *held.stage == *stage).unwrap_or(known.len());
        known.retain(|held| *held.stage != *stage);
        known.splice(at..at, holdings);
    }

    pub(crate) fn facts(&self) -> Vec<HoldingFacts> {
        self.lock().iter().map(Holding::facts).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One account of a stage, and what the plan calls it.
pub(crate) struct Holding {
    pub(crate) stage: Arc<str>,
    pub(crate) what: &'static str,
    pub(crate) account: Account,
}

/// What a stage holds outside of edges for one purpose. The figures are those of one instant, but not all of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingFacts {
    /// The stage.
    pub stage: Arc<str>,
    /// What for, in the words of the plan: `in hand`, `encoding`, `slabs` and so on.
    pub what: &'static str,
    /// What is reserved for it.
    pub reserved: Bytes,
    /// What is charged now; what is beyond the reserve floats.
    pub used: Bytes,
    /// The most that was charged at once.
    pub peak: Bytes,
}

impl Holding {
    fn facts(&self) -> HoldingFacts {
        let Self { stage, what, account } = self;
        HoldingFacts {
            stage: Arc::clone(stage),
            what,
            reserved: account.minimum(),
            used: account.used(),
            peak: account.peak(),
        }
    }
}
