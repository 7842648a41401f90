//! All controllers on all scenarios and seeds, on the processors that there are; and the score.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::measure::{Figures, quantile};
use super::scenario::Scenario;
use super::world;

/// Which runs.
#[derive(Clone, Debug)]
pub struct Contest {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// The controllers, by name.
    pub controllers: Vec<String>,
    /// How many seeds, from 0 on.
    pub seeds: u64,
}

/// One figure over all seeds.
#[derive(Copy, Clone, Debug)]
pub struct Cell {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

/// The figures by scenario, controller and name.
#[derive(Clone, Debug, Default)]
pub struct Table {
    cells: BTreeMap<(String, String, &'static str), Cell>,
}

impl Table {
    /// One figure.
    #[must_use]
    pub fn cell(&self, scenario: &str, controller: &str, name: &'static str) -> Option<Cell> {
        self.cells.get(&(scenario.to_owned(), controller.to_owned(), name)).copied()
    }

    /// One median; 0 where there is none.
    #[must_use]
    pub fn median(&self, scenario: &str, controller: &str, name: &'static str) -> f64 {
        self.cell(scenario, controller, name).map_or(0.0, |cell| cell.median)
    }

    /// All figures in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, &'static str, Cell)> {
        self.cells
            .iter()
            .map(|((scenario, controller, name), cell)| (scenario.as_str(), controller.as_str(), *name, *cell))
    }
}

impl Contest {
    /// Runs everything.
    #[must_use]
    pub fn run(&self) -> Table {
        let mut runs = Vec::new();
        for scenario in &self.scenarios {
            for controller in &self.controllers {
                runs.extend((0..self.seeds).map(|seed| (scenario, controller.as_str(), seed)));
            }
        }
        let best: BTreeMap<&str, f64> = self
            .scenarios
            .iter()
            .map(|scenario| (scenario.name.as_str(), scenario.best(scenario.warm_up, scenario.seconds)))
            .collect();
        let next = AtomicUsize::new(0);
        let seen: Mutex<Vec<(usize, Figures)>> = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some((scenario, controller, seed)) = runs.get(at) else { return };
                        let book = world::run(scenario, controller, *seed);
                        let figures = book.figures(scenario, best[scenario.name.as_str()]);
                        if let Ok(mut seen) = seen.lock() {
                            seen.push((at, figures));
                        }
                    }
                });
            }
        });
        let mut seen = seen.into_inner().unwrap_or_default();
        seen.sort_by_key(|(at, _)| *at);
        let mut values: BTreeMap<(String, String, &'static str), Vec<f64>> = BTreeMap::new();
        for (at, figures) in seen {
            let (scenario, controller, _) = runs[at];
            for (name, value) in figures {
                values.entry((scenario.name.clone(), controller.to_owned(), name)).or_default().push(value);
            }
        }
        Table { cells: values.into_iter().map(|(key, values)| (key, cell(values))).collect() }
    }
}

fn cell(mut values: Vec<f64>) -> Cell {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Cell { median: quantile(&mut values, 0.5), least, most }
}

/// What a controller has of a scenario: goodput, times the oracle's median latency by its own (1 at most); where the
/// remote refuses, times the share of sends that were not refused.
#[must_use]
pub fn share(table: &Table, scenario: &Scenario, controller: &str) -> f64 {
    let goodput = table.median(&scenario.name, controller, "goodput").min(1.0);
    let other = if scenario.by_refusals {
        1.0 - table.median(&scenario.name, controller, "bad_sends")
    } else {
        let own = table.median(&scenario.name, controller, "p50_ms");
        if own > 0.0 { (table.median(&scenario.name, "oracle", "p50_ms") / own).min(1.0) } else { 0.0 }
    };
    goodput * other
}

/// The geometric mean of [`share`] over scenarios; what has nothing counts as a thousandth.
#[must_use]
pub fn score(table: &Table, scenarios: &[Scenario], controller: &str) -> f64 {
    let sum: f64 = scenarios.iter().map(|scenario| share(table, scenario, controller).max(1e-3).ln()).sum();
    (sum / scenarios.len().max(1) as f64).exp()
}
