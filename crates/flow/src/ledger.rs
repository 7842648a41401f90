//! The ledger: the counters that show that nothing is lost silently.
//!
//! Two laws must balance at any instant. Each stage and edge ([`Flows`]): `input + born` = `output + filtered +
//! absorbed + shed + expired + dead_lettered + returned + abandoned + held`. Each source ([`SourceLedger`]):
//! `accepted` = its records by final outcome + in flight. [`Ledger::check`] checks both for a whole pipeline and says,
//! where one fails, which, by how much and with which numbers.

mod counter;
mod flows;
mod outcomes;
mod report;
mod shed;

pub use counter::{Change, FlowChange, FlowCounter, ShedChange};
pub use flows::Flows;
pub use outcomes::{OutcomeCounts, SourceLedger};
pub use report::{FlowKind, Ledger};
pub use shed::{ShedCounts, ShedReason};

use std::fmt;

use crate::units::Records;

/// A sum that does not balance: records appeared or vanished. Always a bug in tidegate or in a component, never in
/// the data; the text spells the sum out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// The stage, edge or source; empty where the counters were checked by themselves.
    pub name: String,
    /// What came in, term by term.
    pub entered: Vec<(&'static str, Records)>,
    /// What became of it, term by term.
    pub accounted: Vec<(&'static str, Records)>,
}

impl Imbalance {
    /// Checks that both sides add up to the same number.
    fn check(entered: &[(&'static str, Records)], accounted: &[(&'static str, Records)]) -> Result<(), Self> {
        if total(entered) == total(accounted) {
            return Ok(());
        }
        Err(Self { name: String::new(), entered: entered.to_vec(), accounted: accounted.to_vec() })
    }

    /// The same, for the stage, edge or source called `name`.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Records that entered and are not accounted for; negative where more are accounted for than entered.
    #[must_use]
    pub fn missing(&self) -> i128 {
        total(&self.entered) - total(&self.accounted)
    }
}

fn total(terms: &[(&'static str, Records)]) -> i128 {
    terms.iter().map(|(_, records)| i128::from(records.get())).sum()
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{}: ", self.name)?;
        }
        match self.missing() {
            missing @ 0.. => write!(f, "{missing} records vanished: ")?,
            surplus => write!(f, "{} records appeared from nowhere: ", -surplus)?,
        }
        write_sum(f, &self.entered)?;
        f.write_str(" != ")?;
        write_sum(f, &self.accounted)?;
        f.write_str(". This is a bug: please report it with this line")
    }
}

impl std::error::Error for Imbalance {}

/// Writes `input 5 + born 2 = 7`; terms that are zero are left out unless all are.
fn write_sum(f: &mut fmt::Formatter<'_>, terms: &[(&'static str, Records)]) -> fmt::Result {
    let shown: Vec<String> = terms
        .iter()
        .filter(|(_, records)| !records.is_zero())
        .map(|(name, records)| format!("{name} {}", records.get()))
        .collect();
    match shown.len() {
        0 => f.write_str("0"),
        1 => f.write_str(&shown[0]),
        _ => write!(f, "{} (= {})", shown.join(" + "), total(terms)),
    }
}
