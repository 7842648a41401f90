//! [`Flows`]: what went into a stage or edge and what became of it.

use super::Imbalance;
use super::shed::ShedCounts;
use crate::units::Records;

/// The counters of one stage or edge.
///
/// The law: `input + born` = all the others. An expansion counts the rows beyond the first of each record as born; an
/// aggregate counts its inputs as absorbed and its outputs as born; a record that was expanded to nothing is filtered.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// Records that came in.
    pub input: Records,
    /// Records that began here.
    pub born: Records,
    /// Records passed on.
    pub output: Records,
    /// Records removed by intent.
    pub filtered: Records,
    /// Records taken into state, or into an aggregate.
    pub absorbed: Records,
    /// Records lost to overload, by reason.
    pub shed: ShedCounts,
    /// Records past their deadline.
    pub expired: Records,
    /// Records that a dead letter queue accepted.
    pub dead_lettered: Records,
    /// Records given back to their source.
    pub returned: Records,
    /// Records dropped without a decision.
    pub abandoned: Records,
    /// Records here now.
    pub held: Records,
}

impl Flows {
    /// Checks the law.
    ///
    /// # Errors
    /// The sum, spelled out, where it does not balance.
    pub fn check(&self) -> Result<(), Imbalance> {
        Imbalance::check(&self.entered(), &self.accounted())
    }

    /// What came in.
    pub(super) const fn entered(&self) -> [(&'static str, Records); 2] {
        [("input", self.input), ("born", self.born)]
    }

    /// What became of what entered, by name; the sum is that of input and born.
    #[must_use]
    pub fn accounted(&self) -> [(&'static str, Records); 9] {
        [
            ("output", self.output),
            ("filtered", self.filtered),
            ("absorbed", self.absorbed),
            ("shed", self.shed.total()),
            ("expired", self.expired),
            ("dead_lettered", self.dead_lettered),
            ("returned", self.returned),
            ("abandoned", self.abandoned),
            ("held", self.held),
        ]
    }

    /// Adds the numbers of another stage or edge.
    pub fn add_all(&mut self, other: &Self) {
        self.input += other.input;
        self.born += other.born;
        self.output += other.output;
        self.filtered += other.filtered;
        self.absorbed += other.absorbed;
        self.shed.add_all(&other.shed);
        self.expired += other.expired;
        self.dead_lettered += other.dead_lettered;
        self.returned += other.returned;
        self.abandoned += other.abandoned;
        self.held += other.held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ShedReason;
    use crate::ledger::{FlowChange, FlowCounter};

    #[test]
    fn every_counter_is_part_of_the_law() {
        let one = Records::new(1);
        let changes: [fn(&mut FlowChange, Records); 9] = [
            |flows, n| flows.output += n,
            |flows, n| flows.filtered += n,
            |flows, n| flows.absorbed += n,
            |flows, n| flows.shed.add(ShedReason::Sample, n),
            |flows, n| flows.expired += n,
            |flows, n| flows.dead_lettered += n,
            |flows, n| flows.returned += n,
            |flows, n| flows.abandoned += n,
            |flows, n| flows.held += n,
        ];
        for (at, change) in changes.iter().enumerate() {
            let counter = FlowCounter::new();
            counter.record(|flows| if at % 2 == 0 { flows.input += one } else { flows.born += one });
            assert_eq!(counter.snapshot().check().map_err(|imbalance| imbalance.missing()), Err(1));
            counter.record(|flows| change(flows, one));
            assert_eq!(counter.snapshot().check(), Ok(()), "counter {at}");
            counter.record(|flows| change(flows, one));
            assert_eq!(counter.snapshot().check().map_err(|imbalance| imbalance.missing()), Err(-1));
        }
    }

    #[test]
    fn adding_up_adds_every_counter() {
        let one = Records::new(1);
        let mut flows = Flows { input: Records::new(9), output: one, filtered: one, absorbed: one, ..Flows::default() };
        (flows.expired, flows.dead_lettered, flows.returned) = (one, one, one);
        (flows.abandoned, flows.held) = (one, one);
        flows.shed.add(ShedReason::DropOldest, one);
        let mut total = flows;
        total.add_all(&flows);
        assert_eq!(total.check(), Ok(()));
        assert!(total.accounted().iter().all(|(_, records)| *records == Records::new(2)), "{total:?}");
        assert_eq!(total.entered(), [("input", Records::new(18)), ("born", Records::ZERO)]);
    }

    #[test]
    fn clones_share_the_counters() {
        let counter = FlowCounter::new();
        counter.clone().record(|flows| flows.input += Records::new(3));
        assert_eq!(counter.snapshot().input, Records::new(3));
    }
}
