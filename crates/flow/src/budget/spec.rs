//! How an account is opened, and how it refuses.

use std::fmt;

use super::plan::BudgetError;
use crate::units::Bytes;

/// What an account pays for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// The batches queued on an edge.
    Edge,
    /// Bytes held outside an edge: a batcher, keyed state, in-flight calls, a partial frame, spare buffers.
    Holding,
}

/// How an account is to be opened, see [`Budget::account`](super::Budget::account).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSpec {
    /// What it pays for.
    pub kind: AccountKind,
    /// What it can always have: at least one maximal batch, frame or request.
    pub minimum: Bytes,
    /// `Some`: it is reserved whole, and never exceeded (but for the overdraft). `None`: the account floats.
    pub maximum: Option<Bytes>,
    /// How far a transform that expands may overdraw; reserved as well. Zero: never.
    pub overdraft: Bytes,
}

impl AccountSpec {
    /// An edge that floats above `minimum`, without overdraft.
    #[must_use]
    pub const fn edge(minimum: Bytes) -> Self {
        Self { kind: AccountKind::Edge, minimum, maximum: None, overdraft: Bytes::ZERO }
    }

    /// A holding that floats above `minimum`, without overdraft.
    #[must_use]
    pub const fn holding(minimum: Bytes) -> Self {
        Self { kind: AccountKind::Holding, ..Self::edge(minimum) }
    }

    /// With an explicit maximum, which is reserved whole.
    #[must_use]
    pub const fn maximum(self, maximum: Bytes) -> Self {
        Self { maximum: Some(maximum), ..self }
    }

    /// With an overdraft of `overdraft`.
    #[must_use]
    pub const fn overdraft(self, overdraft: Bytes) -> Self {
        Self { overdraft, ..self }
    }

    /// What an account like this reserves when it is opened; the line of a [`PlanSum`](super::PlanSum).
    #[must_use]
    pub fn reserves(&self) -> Bytes {
        self.maximum.unwrap_or(self.minimum) + self.overdraft
    }

    pub(super) fn check(&self, name: &str) -> Result<(), BudgetError> {
        match self.maximum {
            Some(maximum) if maximum < self.minimum => {
                Err(BudgetError::MaximumBelowMinimum { account: name.into(), minimum: self.minimum, maximum })
            }
            _ => Ok(()),
        }
    }
}

/// Why bytes could not be charged.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum OverBudget {
    /// Not now: others use the memory, or the account is in debt. It fits once they give back; see
    /// [`Account::poll_room`](super::Account::poll_room).
    Busy,
    /// Never, with the accounts that are open now: larger than the account's maximum, or than its minimum and all
    /// memory that can float. Waiting would be for ever: refuse the data, or raise the budget.
    Never,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "no memory left in the budget now; it fits when other batches have been freed",
            Self::Never => "larger than its part of the memory budget can ever be; raise the budget or max_size",
        })
    }
}

impl std::error::Error for OverBudget {}
