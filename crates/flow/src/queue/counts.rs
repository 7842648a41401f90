//! What an edge counts: [`EdgeFlows`].

use crate::ledger::{Flows, ShedCounts, ShedReason};
use crate::units::Records;

/// The records that an edge has seen, by where they went.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeFlows {
    /// Taken from producers: whatever left a slot, also what was shed or diverted at once.
    pub input: Records,
    /// Given to the consumer.
    pub output: Records,
    /// Shed, by [`ShedReason`] (index: the reason as a number).
    pub shed: [Records; ShedReason::ALL.len()],
    /// Past their deadline when they were taken out.
    pub expired: Records,
    /// Given to the edge that this one diverts to.
    pub diverted: Records,
    /// Given back to the source.
    pub returned: Records,
    /// Dropped because the consumer went away.
    pub abandoned: Records,
    /// In the edge, counted from the queue.
    pub held: Records,
}

impl EdgeFlows {
    /// Shed for any reason.
    #[must_use]
    pub fn shed_total(&self) -> Records {
        self.shed.iter().copied().sum()
    }

    /// Shed for `reason`.
    #[must_use]
    pub const fn shed_for(&self, reason: ShedReason) -> Records {
        self.shed[reason as usize]
    }

    /// Whether everything that came in is accounted for.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.input
            == self.output
                + self.shed_total()
                + self.expired
                + self.diverted
                + self.returned
                + self.abandoned
                + self.held
    }

    pub(super) fn count_shed(&mut self, reason: ShedReason, records: Records) {
        self.shed[reason as usize] += records;
    }
}

impl From<EdgeFlows> for Flows {
    /// What was diverted has been sent on, so it counts as output.
    fn from(edge: EdgeFlows) -> Self {
        let mut shed = ShedCounts::default();
        for reason in ShedReason::ALL {
            shed.add(reason, edge.shed_for(reason));
        }
        Self {
            input: edge.input,
            output: edge.output + edge.diverted,
            shed,
            expired: edge.expired,
            returned: edge.returned,
            abandoned: edge.abandoned,
            held: edge.held,
            ..Self::default()
        }
    }
}
