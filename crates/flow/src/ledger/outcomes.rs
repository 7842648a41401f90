//! [`OutcomeCounts`] and [`SourceLedger`]: how the records of a source ended.

use std::fmt;

use super::Imbalance;
use crate::outcome::Outcome;
use crate::units::Records;

/// A number of records for each [`Outcome`].
#[derive(Copy, Clone, Default, PartialEq, Eq, Hash)]
pub struct OutcomeCounts([u64; Outcome::ALL.len()]);

impl OutcomeCounts {
    /// `records` of one outcome.
    #[must_use]
    pub fn of(outcome: Outcome, records: Records) -> Self {
        let mut counts = Self::default();
        counts.add(outcome, records);
        counts
    }

    /// How many records ended so.
    #[must_use]
    pub const fn get(&self, outcome: Outcome) -> Records {
        Records::new(self.0[outcome as usize])
    }

    /// Counts `records` more.
    pub fn add(&mut self, outcome: Outcome, records: Records) {
        self.0[outcome as usize] += records.get();
    }

    /// Counts everything that `other` counts.
    pub fn add_all(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// All outcomes together.
    #[must_use]
    pub fn total(&self) -> Records {
        Records::new(self.0.iter().sum())
    }

    /// Records that ended as a nack: returned or abandoned.
    #[must_use]
    pub const fn refused(&self) -> Records {
        Records::new(self.0[Outcome::Returned as usize] + self.0[Outcome::Abandoned as usize])
    }

    /// Each outcome with its number, from harmless to worst.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, Records)> {
        Outcome::ALL.into_iter().map(|outcome| (outcome, self.get(outcome)))
    }
}

impl fmt::Debug for OutcomeCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.iter().filter(|(_, records)| !records.is_zero());
        f.debug_map().entries(counted.map(|(outcome, records)| (outcome.name(), records.get()))).finish()
    }
}

/// A source's side of the ledger: `accepted` = each outcome + `in_flight`.
///
/// A record that was forked counts once, with the worst outcome over the required branches.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLedger {
    /// Records that the source let into the pipeline.
    pub accepted: Records,
    /// Records by final outcome.
    pub ended: OutcomeCounts,
    /// Records that live tickets hold.
    pub in_flight: Records,
}

impl SourceLedger {
    /// Checks the law.
    ///
    /// # Errors
    /// The sum, spelled out, where it does not balance.
    pub fn check(&self) -> Result<(), Imbalance> {
        let mut accounted: Vec<_> = self.ended.iter().map(|(outcome, records)| (outcome.name(), records)).collect();
        accounted.push(("in_flight", self.in_flight));
        Imbalance::check(&[("accepted", self.accepted)], &accounted)
    }

    /// Adds the numbers of another source.
    pub fn add_all(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.ended.add_all(&other.ended);
        self.in_flight += other.in_flight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_record_is_named_with_the_whole_sum() {
        let mut ledger = SourceLedger { accepted: Records::new(10), ..SourceLedger::default() };
        ledger.ended.add(Outcome::Delivered, Records::new(6));
        ledger.ended.add(Outcome::Shed, Records::new(1));
        ledger.in_flight = Records::new(3);
        assert_eq!(ledger.check(), Ok(()));

        ledger.in_flight = Records::new(1);
        let said = ledger.check().map_err(|imbalance| imbalance.of("kafka").to_string());
        assert_eq!(
            said,
            Err("kafka: 2 records vanished: accepted 10 != delivered 6 + shed 1 + in_flight 1 (= 8). \
                 This is a bug: please report it with this line"
                .to_owned())
        );

        ledger.in_flight = Records::new(4);
        let said = ledger.check().map_err(|imbalance| imbalance.to_string());
        assert!(said.is_err_and(|text| text.starts_with("1 records appeared from nowhere")));
    }

    #[test]
    fn refused_counts_both_kinds_of_nack() {
        let mut counts = OutcomeCounts::default();
        for outcome in Outcome::ALL {
            counts.add(outcome, Records::new(1));
        }
        assert_eq!(counts.refused(), Records::new(2));
        assert_eq!(counts.total(), Records::new(8));
    }
}
