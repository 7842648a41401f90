//! [`Tally`]: counts how rows end that belong to no source, such as the copies on a best-effort branch.

use std::fmt;
use std::sync::Arc;

use crate::ledger::SourceLedger;
use crate::outcome::{Nack, Outcome};
use crate::sync::{Mutex, lock};
use crate::units::Records;

use super::part::Owner;
use super::verdict::keep_nack;

/// Counts rows that no source waits for: how many were opened with [`Ticket::observed`](super::Ticket::observed), how each ended, and how many
/// live tickets still hold. Clones share the counts.
#[derive(Clone)]
pub struct Tally {
    shared: Arc<Shared>,
    owner: Arc<dyn Owner>,
}

struct Shared(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    ledger: SourceLedger,
    nack: Option<Nack>,
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let shared = Arc::new(Shared(Mutex::new(Counts::default())));
        Self { owner: Arc::clone(&shared) as Arc<dyn Owner>, shared }
    }

    /// What was opened, how it ended, and what is still in flight; balanced at any instant.
    #[must_use]
    pub fn counts(&self) -> SourceLedger {
        lock(&self.shared.0).ledger
    }

    /// The first nack for now, or else the first for good.
    #[must_use]
    pub fn nack(&self) -> Option<Nack> {
        lock(&self.shared.0).nack.clone()
    }

    pub(super) fn open(&self, records: u32) -> Arc<dyn Owner> {
        let mut counts = lock(&self.shared.0);
        counts.ledger.accepted += Records::new(u64::from(records));
        counts.ledger.in_flight += Records::new(u64::from(records));
        drop(counts);
        Arc::clone(&self.owner)
    }
}

impl Owner for Shared {
    fn settle(&self, _slot: u32, outcome: Outcome, count: u32, nack: Option<&Nack>) {
        let mut counts = lock(&self.0);
        let count = Records::new(u64::from(count));
        counts.ledger.in_flight -= count;
        counts.ledger.ended.add(outcome, count);
        keep_nack(&mut counts.nack, nack);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tally").field(&self.counts()).finish()
    }
}
