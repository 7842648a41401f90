//! [`Table`]: the outcomes of all turns, their medians, and whether the targets are met.

use std::fmt::Write as _;

use super::rows::{MOST_RSS_MIB, Row, Target};
use super::{Flow, Outcome};
use crate::shell;

/// The outcomes of the rows that are run.
pub(super) struct Table {
    rows: Vec<&'static Row>,
    outcomes: Vec<Vec<Outcome>>,
}

impl Table {
    pub(super) fn new(rows: Vec<&'static Row>) -> Self {
        let outcomes = rows.iter().map(|_| Vec::new()).collect();
        Self { rows, outcomes }
    }

    pub(super) fn rows(&self) -> &[&'static Row] {
        &self.rows
    }

    /// Notes what one run of row `at` gave.
    pub(super) fn add(&mut self, at: usize, outcome: Outcome) {
        self.outcomes[at].push(outcome);
    }

    /// For people. `judged`: whether the figures are worth being held against the targets.
    pub(super) fn text(&self, judged: bool) -> String {
        let mut text = format!(
            "{:<16} {:>9} {:<9} {:>10} {:>9} {:>8} {:>12}   target\n",
            "row", "value", "unit", "records/s", "RSS MiB", "p99 ms", "times floor"
        );
        for (at, row) in self.rows.iter().enumerate() {
            match self.median(at) {
                Outcome::Absent(why) => drop(writeln!(text, "{:<16} {:>9} {why}", row.name, "-")),
                Outcome::Measured { value, flow } => self.line(row, value, flow, judged, &mut text),
            }
        }
        text
    }

    fn line(&self, row: &Row, value: f64, flow: Option<Flow>, judged: bool, text: &mut String) {
        let floor = self.floor_of(row);
        let [rate, rss, late] = flow.map_or_else(Default::default, |flow| {
            let late = flow.p99_millis.map_or(String::new(), |millis| format!("{millis:.1}"));
            [format!("{:.0}", flow.records_per_second), format!("{:.1}", flow.peak_rss_mib), late]
        });
        let times = floor.map_or(String::new(), |floor| format!("{:.2}", value / floor));
        let _ =
            write!(text, "{:<16} {value:>9.3} {:<9} {rate:>10} {rss:>9} {late:>8} {times:>12}   ", row.name, row.unit);
        let Some(target) = row.target else {
            text.push_str("-\n");
            return;
        };
        let (words, met) = verdict(target, value, floor);
        let is_small = flow.is_none_or(|flow| flow.peak_rss_mib <= MOST_RSS_MIB);
        let _ = writeln!(
            text,
            "{words}{}: {}",
            if flow.is_some() { format!(", <= {MOST_RSS_MIB} MiB") } else { String::new() },
            match (judged, met && is_small) {
                (false, _) => shell::dim("not judged"),
                (true, true) => shell::green("met"),
                (true, false) => shell::red("not met"),
            }
        );
    }

    /// One object a line, as from the other benchmarks.
    pub(super) fn json(&self) -> String {
        let mut text = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            let Outcome::Measured { value, flow } = self.median(at) else {
                let _ = writeln!(text, "{{\"name\":\"{}\",\"value\":null,\"unit\":\"{}\"}}", row.name, row.unit);
                continue;
            };
            let floor = self.floor_of(row);
            let baseline = floor.map_or(String::new(), |floor| format!("\"floor\":{floor:.6}"));
            let target =
                row.target.map_or("null".to_owned(), |target| format!("\"{}\"", verdict(target, value, floor).0));
            let _ = write!(
                text,
                "{{\"name\":\"{}\",\"value\":{value:.6},\"unit\":\"{}\",\"baseline\":{{{baseline}}},\"target\":{target}",
                row.name, row.unit
            );
            if let Some(Flow { records_per_second, peak_rss_mib, p99_millis }) = flow {
                let late = p99_millis.map_or("null".to_owned(), |millis| format!("{millis:.1}"));
                let _ = write!(
                    text,
                    ",\"records_per_second\":{records_per_second:.0},\"peak_rss_mib\":{peak_rss_mib:.1},\"p99_ms\":{late}"
                );
            }
            text.push_str("}\n");
        }
        text
    }

    /// The run whose value is in the middle; a row that was absent once is absent.
    fn median(&self, at: usize) -> Outcome {
        let mut measured = Vec::new();
        for outcome in &self.outcomes[at] {
            match outcome {
                Outcome::Absent(_) => return outcome.clone(),
                Outcome::Measured { value, flow } => measured.push((*value, *flow)),
            }
        }
        measured.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        match measured.get(measured.len() / 2) {
            Some((value, flow)) => Outcome::Measured { value: *value, flow: *flow },
            None => Outcome::Absent("not run".to_owned()),
        }
    }

    /// The value of the row that `row` is set against, where that was run.
    fn floor_of(&self, row: &Row) -> Option<f64> {
        let at = self.rows.iter().position(|other| Some(other.name) == row.floor)?;
        match self.median(at) {
            Outcome::Measured { value, .. } => Some(value),
            Outcome::Absent(_) => None,
        }
    }
}

/// The target in words, and whether it is met.
fn verdict(target: Target, value: f64, floor: Option<f64>) -> (String, bool) {
    let (words, most) = match target {
        Target::AtMost(most) => (format!("<= {most}"), Some(most)),
        Target::TimesFloor(times) => (format!("<= {times} x floor"), floor.map(|floor| floor * times)),
        Target::AboveFloor(above) => (format!("<= floor + {above}"), floor.map(|floor| floor + above)),
    };
    (words, most.is_some_and(|most| value <= most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::program::rows::ROWS;

    fn table(outcomes: &[(&str, &[f64])], rss: f64) -> Table {
        let rows = outcomes.iter().map(|(name, _)| ROWS.iter().find(|row| row.name == *name).unwrap()).collect();
        let mut table = Table::new(rows);
        for (at, (_, values)) in outcomes.iter().enumerate() {
            for value in *values {
                let flow = Some(Flow { records_per_second: 1e6, peak_rss_mib: rss, p99_millis: Some(2.0) });
                table.add(at, Outcome::Measured { value: *value, flow });
            }
        }
        table
    }

    #[test]
    fn the_median_is_held_against_the_floor_of_the_same_run() {
        let rows: [(&str, &[f64]); 2] = [("floor_tcp", &[0.3, 0.1, 0.2]), ("passthrough_tcp", &[0.9, 0.25, 0.2])];
        let text = table(&rows, 30.0).text(true);
        assert!(text.contains("1.25   <= 1.3 x floor, <= 60 MiB: met"), "{text}");
        let slower: [(&str, &[f64]); 2] = [("floor_tcp", &[0.2]), ("passthrough_tcp", &[0.27])];
        assert!(table(&slower, 30.0).text(true).contains("not met"));
        assert!(table(&rows, 61.0).text(true).contains("not met"), "too much memory");
        assert!(table(&rows, 30.0).text(false).contains("not judged"));
    }

    #[test]
    fn lines_are_json_also_where_a_row_is_absent() {
        let mut table = table(&[("floor_tcp", &[0.2]), ("remap_tcp", &[0.5]), ("rsyslog_tcp", &[])], 30.0);
        table.add(2, Outcome::Absent("not installed".to_owned()));
        let lines: Vec<serde_json::Value> =
            table.json().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines[1]["baseline"]["floor"].as_f64(), lines[1]["target"].as_str()), (Some(0.2), Some("<= 0.7")));
        assert!(lines[2]["value"].is_null());
        assert!(table.text(true).contains("not installed"));
    }
}
