//! [`HoldingFacts`]: what a stage holds outside of edges, at this moment.

use std::sync::Arc;

use tidegate_flow::{Account, Bytes};

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
    pub(crate) fn facts(&self) -> HoldingFacts {
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
