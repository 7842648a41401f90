//! [`Ledger`]: both laws for a whole pipeline, and a table of them that a person can read.

use std::fmt;

use super::flows::Flows;
use super::outcomes::SourceLedger;
use super::shed::ShedReason;
use super::{Imbalance, OutcomeCounts};
use crate::units::Records;

/// What a row of the ledger stands for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// A stage that lets records in.
    Source,
    /// A stage between two edges.
    Transform,
    /// A stage that hands records out.
    Sink,
    /// The queue between two stages.
    Edge,
}

impl FlowKind {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
            Self::Edge => "edge",
        }
    }
}

/// The ledger of a pipeline: one snapshot of each stage, edge and source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Each stage and edge: its name, kind and counters.
    pub stages: Vec<(String, FlowKind, Flows)>,
    /// Each source: its name and how its records ended.
    pub sources: Vec<(String, SourceLedger)>,
}

impl Ledger {
    /// Checks both laws for every row.
    ///
    /// # Errors
    /// The first row that does not balance, by name, with the sum spelled out.
    pub fn check(&self) -> Result<(), Imbalance> {
        for (name, _, flows) in &self.stages {
            flows.check().map_err(|imbalance| imbalance.of(name))?;
        }
        for (name, source) in &self.sources {
            source.check().map_err(|imbalance| imbalance.of(name))?;
        }
        Ok(())
    }

    /// All sources together.
    #[must_use]
    pub fn total(&self) -> SourceLedger {
        let mut total = SourceLedger::default();
        self.sources.iter().for_each(|(_, source)| total.add_all(source));
        total
    }

    /// Shed records over all stages and edges, by reason, where there are any.
    pub fn shed(&self) -> impl Iterator<Item = (&str, ShedReason, Records)> {
        self.stages.iter().flat_map(|(name, _, flows)| {
            flows
                .shed
                .iter()
                .filter(|(_, records)| !records.is_zero())
                .map(|(why, records)| (name.as_str(), why, records))
        })
    }
}

impl fmt::Display for Ledger {
    /// Two tables, sources first. Columns that are zero in every row are left out; the last lines say why records
    /// were shed and whether the ledger balances.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.sources.is_empty() {
            self.source_table().write(f)?;
        }
        if !self.stages.is_empty() {
            if !self.sources.is_empty() {
                writeln!(f)?;
            }
            self.stage_table().write(f)?;
        }
        for (name, why, records) in self.shed() {
            writeln!(f, "shed by {name}: {} ({why})", grouped(records))?;
        }
        match self.check() {
            Ok(()) => f.write_str("the ledger balances"),
            Err(imbalance) => write!(f, "THE LEDGER DOES NOT BALANCE: {imbalance}"),
        }
    }
}

impl Ledger {
    fn source_table(&self) -> Table {
        let names = OutcomeCounts::default().iter().map(|(outcome, _)| outcome.name()).collect::<Vec<_>>();
        let mut table = Table::new(&["accepted"], &names, &["in_flight"]);
        for (name, source) in &self.sources {
            table.row(["source", name], source_cells(source));
        }
        if self.sources.len() > 1 {
            table.row(["", "all sources"], source_cells(&self.total()));
        }
        table
    }

    fn stage_table(&self) -> Table {
        let blank = Flows::default();
        let names = blank.accounted().map(|(name, _)| name);
        // Born stands beside the input, output beside both; the losses in the middle show only where there are any.
        let mut table = Table::new(&["input", "output"], &[&["born"], &names[1..names.len() - 1]].concat(), &["held"]);
        let mut total = Flows::default();
        // As records pass, however the pipeline was put together.
        let mut rows: Vec<_> = self.stages.iter().collect();
        rows.sort_by_key(|(_, kind, _)| *kind as u8);
        for (name, kind, flows) in rows {
            table.row([kind.name(), name], flow_cells(flows));
            total.add_all(flows);
        }
        if self.stages.len() > 1 {
            // Input and output would count a record once for each stage that it passed: no total.
            let mut cells = flow_cells(&total);
            (cells[0], cells[1]) = (None, None);
            table.row(["", "all stages"], cells);
        }
        table
    }
}

fn source_cells(source: &SourceLedger) -> Vec<Option<Records>> {
    let ended = source.ended.iter().map(|(_, records)| Some(records));
    [Some(source.accepted)].into_iter().chain(ended).chain([Some(source.in_flight)]).collect()
}

fn flow_cells(flows: &Flows) -> Vec<Option<Records>> {
    let accounted = flows.accounted();
    let rest = accounted[1..].iter().map(|(_, records)| Some(*records));
    [Some(flows.input), Some(flows.output), Some(flows.born)].into_iter().chain(rest).collect()
}

/// Rows of numbers under names; columns that may be left out are so where every row is zero.
struct Table {
    names: Vec<&'static str>,
    always: Vec<bool>,
    rows: Vec<([String; 2], Vec<Option<Records>>)>,
}

impl Table {
    fn new(first: &[&'static str], optional: &[&'static str], last: &[&'static str]) -> Self {
        let names = [first, optional, last].concat();
        let always = (0..names.len()).map(|at| at < first.len() || at >= first.len() + optional.len()).collect();
        Self { names, always, rows: Vec::new() }
    }

    fn row(&mut self, labels: [&str; 2], cells: Vec<Option<Records>>) {
        self.rows.push((labels.map(str::to_owned), cells));
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<usize> = (0..self.names.len()).filter(|at| self.always[*at] || self.any(*at)).collect();
        let labels = [0, 1].map(|at| self.rows.iter().map(|(labels, _)| labels[at].chars().count()).max().unwrap_or(0));
        let widths: Vec<usize> = shown.iter().map(|at| self.width(*at)).collect();
        write!(f, "{:labels$}", "", labels = labels[0] + 2 + labels[1])?;
        for (at, width) in shown.iter().zip(&widths) {
            write!(f, "  {:>width$}", self.names[*at])?;
        }
        writeln!(f)?;
        for ([kind, name], cells) in &self.rows {
            write!(f, "{kind:kind_width$}  {name:name_width$}", kind_width = labels[0], name_width = labels[1])?;
            for (at, width) in shown.iter().zip(&widths) {
                write!(f, "  {:>width$}", cell(cells[*at]))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn any(&self, column: usize) -> bool {
        self.rows.iter().any(|(_, cells)| cells[column].is_some_and(|records| !records.is_zero()))
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|(_, cells)| cell(cells[column]).len());
        cells.chain([self.names[column].len()]).max().unwrap_or(0)
    }
}

fn cell(records: Option<Records>) -> String {
    records.map_or_else(String::new, grouped)
}

/// `1234567` as `1_234_567`.
fn grouped(records: Records) -> String {
    let digits = records.get().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    fn records(count: u64) -> Records {
        Records::new(count)
    }

    fn sample() -> Ledger {
        let edge = Flows { input: records(1_250_000), output: records(1_249_000), ..Flows::default() };
        let mut edge = Flows { held: records(936), ..edge };
        edge.shed.add(ShedReason::DropOldest, records(64));
        let parse = Flows {
            input: records(1_249_000),
            born: records(1_000),
            output: records(1_200_000),
            filtered: records(50_000),
            ..Flows::default()
        };
        let mut source = SourceLedger { accepted: records(1_250_000), ..SourceLedger::default() };
        source.ended.add(Outcome::Delivered, records(1_199_000));
        source.ended.add(Outcome::Filtered, records(50_000));
        source.ended.add(Outcome::Shed, records(64));
        source.in_flight = records(936);
        Ledger {
            stages: vec![
                ("app->parse".to_owned(), FlowKind::Edge, edge),
                ("parse".to_owned(), FlowKind::Transform, parse),
            ],
            sources: vec![("app".to_owned(), source), ("idle".to_owned(), SourceLedger::default())],
        }
    }

    #[test]
    fn the_table_lines_up_and_leaves_out_empty_columns() {
        let shown = format!("\n{}", sample());
        let expected = "
                      accepted  filtered  delivered  shed  in_flight
source  app          1_250_000    50_000  1_199_000    64        936
source  idle                 0         0          0     0          0
        all sources  1_250_000    50_000  1_199_000    64        936

                           input     output   born  filtered  shed  held
transform  parse       1_249_000  1_200_000  1_000    50_000     0     0
edge       app->parse  1_250_000  1_249_000      0         0    64   936
           all stages                        1_000    50_000    64   936
shed by app->parse: 64 (drop_oldest)
the ledger balances";
        assert_eq!(shown, expected, "{shown}");
    }

    #[test]
    fn a_row_that_does_not_balance_is_named() {
        let mut ledger = sample();
        ledger.stages[1].2.filtered += records(2);
        let said = ledger.check().map_err(|imbalance| imbalance.to_string());
        assert!(
            said.is_err_and(|text| text.starts_with("parse: 2 records appeared from nowhere: input 1249000 + born"))
        );
        assert!(ledger.to_string().contains("THE LEDGER DOES NOT BALANCE: parse: "));

        let mut ledger = sample();
        ledger.sources[0].1.in_flight = Records::ZERO;
        let said = ledger.check().map_err(|imbalance| imbalance.to_string());
        assert!(said.is_err_and(|text| text.starts_with("app: 936 records vanished")));
    }
}
