//! [`Outcome`]: what a scenario gave, and whether its laws hold.

use std::fmt::Write as _;

use serde_json::json;

use super::float;
use crate::shell::{dim, green, red};

/// The head of the table.
pub(super) const HEAD: &str = "scenario               offered  delivered     lost  repeated  slowed     held  \
                               peak RSS MiB    p50 ms    p99 ms  verdict";

/// What a scenario gave. Records are counted outside of the program, each by its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Records that the sender gave away, or that a file held.
    pub(super) offered: u64,
    /// Different records that arrived.
    pub(super) delivered: u64,
    /// Arrivals of what had arrived before.
    pub(super) repeated: u64,
    /// Whether the sender had to wait; `None` where that says nothing.
    pub(super) slowed: Option<bool>,
    /// Records between sender and receiver at the height of the pressure, kernel buffers included.
    pub(super) held: Option<u64>,
    /// The most memory that was resident.
    pub(super) peak_rss_mib: f64,
    /// Milliseconds from sending to receiving, while the pressure was on.
    pub(super) p50_millis: Option<f64>,
    pub(super) p99_millis: Option<f64>,
    pub(super) laws: Vec<Law>,
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Law {
    text: String,
    holds: bool,
}

impl Outcome {
    /// A scenario that broke off.
    pub(super) fn not_played(why: &str) -> Self {
        let mut outcome = Self::default();
        outcome.law(false, format!("it could not be played to its end: {why}"));
        outcome
    }

    /// States a law with the figures that it was judged by.
    pub(super) fn law(&mut self, holds: bool, text: impl Into<String>) {
        self.laws.push(Law { text: text.into(), holds });
    }

    /// States that what was resident stayed within what `tidegate explain` prints.
    pub(super) fn law_of_memory(&mut self, resident_mib: f64) {
        let peak = self.peak_rss_mib;
        self.law(peak <= resident_mib, format!("RSS {peak:.1} MiB <= {resident_mib:.1} MiB, budget and constant"));
    }

    /// Says something that no law is about.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(super) const fn lost(&self) -> u64 {
        self.offered.saturating_sub(self.delivered)
    }

    pub(super) fn holds(&self) -> bool {
        self.laws.iter().all(|law| law.holds)
    }

    /// A line of the table, and a line for each law and note.
    pub(super) fn row(&self, name: &str) -> String {
        let figure = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
        let mut text = format!(
            "{name:<20} {:>9} {:>10} {:>8} {:>9}  {:>6} {:>8} {:>13.1} {:>9} {:>9}  {}\n",
            self.offered,
            self.delivered,
            self.lost(),
            self.repeated,
            figure(self.slowed.map(|slowed| if slowed { "yes" } else { "no" }.to_owned())),
            figure(self.held.map(|held| held.to_string())),
            self.peak_rss_mib,
            figure(self.p50_millis.map(|millis| format!("{millis:.0}"))),
            figure(self.p99_millis.map(|millis| format!("{millis:.0}"))),
            if self.holds() { green("holds") } else { red("BROKEN") },
        );
        for law in &self.laws {
            let _ = writeln!(text, "    {} {}", if law.holds { green("holds ") } else { red("BROKEN") }, law.text);
        }
        for note in &self.notes {
            let _ = writeln!(text, "    {}", dim(format!("note   {note}")));
        }
        text
    }

    /// One line.
    pub(super) fn json(&self, name: &str) -> String {
        let laws: Vec<_> = self.laws.iter().map(|law| json!({ "law": law.text, "holds": law.holds })).collect();
        let object = json!({
            "scenario": name, "offered": self.offered, "delivered": self.delivered, "lost": self.lost(),
            "repeated": self.repeated, "slowed": self.slowed, "held": self.held, "peak_rss_mib": self.peak_rss_mib,
            "p50_ms": self.p50_millis, "p99_ms": self.p99_millis, "laws": laws, "notes": self.notes,
            "holds": self.holds(),
        });
        format!("{object}\n")
    }
}

/// What a receiver answers.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) records: u64,
    pub(super) unique: u64,
    pub(super) repeated: u64,
    pub(super) foreign: u64,
    pub(super) p50_millis: f64,
    pub(super) p99_millis: f64,
}

impl Seen {
    pub(super) fn of(answer: &str) -> Self {
        let object: serde_json::Value = serde_json::from_str(answer.trim()).unwrap_or_default();
        let number = |key: &str| object[key].as_u64().unwrap_or(0);
        Self {
            records: number("records"),
            unique: number("unique"),
            repeated: number("repeated"),
            foreign: number("foreign"),
            p50_millis: float(number("p50_us")) / 1e3,
            p99_millis: float(number("p99_us")) / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_law_breaks_the_scenario_and_is_shown() {
        let mut outcome = Outcome { offered: 10, delivered: 9, ..Outcome::default() };
        outcome.law(true, "bounded");
        assert!(outcome.holds());
        outcome.law(outcome.lost() == 0, "none lost");
        assert!(!outcome.holds());
        let row = outcome.row("x");
        assert!(row.contains("BROKEN none lost") && row.contains("holds  bounded"), "{row}");
        let object: serde_json::Value = serde_json::from_str(&outcome.json("x")).unwrap();
        assert_eq!((object["lost"].as_u64(), object["holds"].as_bool()), (Some(1), Some(false)));
        assert!(!Outcome::not_played("no port").holds());
    }

    #[test]
    fn a_receivers_answer_is_read() {
        let seen =
            Seen::of("{\"records\":3,\"unique\":2,\"repeated\":1,\"foreign\":0,\"p50_us\":1500,\"p99_us\":2000}");
        assert_eq!((seen.records, seen.unique, seen.repeated), (3, 2, 1));
        assert!((seen.p50_millis - 1.5).abs() < 1e-9);
        assert_eq!(Seen::of("garbage"), Seen::default());
    }
}
