//! `cargo xtask overload`: which controllers, scenarios and seeds; what is printed.

use super::contest::{Contest, Table};
use super::contestants::{NAMES, OURS};
use super::scenario::Scenario;
use super::{report, suite};

/// What to run and how to tell it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lines of JSON instead of tables.
    pub json: bool,
    /// Lines of CSV instead of tables.
    pub csv: bool,
    /// How many seeds.
    pub seeds: u64,
    /// Only this controller (and the oracle, which the score needs).
    pub controller: Option<String>,
    /// Only scenarios of this name, or whose name begins with it and a dash.
    pub scenario: Option<String>,
    /// Print the shares of the score too.
    pub shares: bool,
}

/// How it is used.
pub const USAGE: &str = "usage: tidegate-sim overload [--json|--csv] [--seeds N] [--controller X] [--scenario Y]
  --json           one object a line: scenario, controller, name, value
  --csv            one figure a line: scenario, controller, name, median, least, most
  --seeds N        how many seeds each (20)
  --controller X   this one alone, and the oracle
  --scenario Y     this one alone, or all whose name begins with Y and a dash";

/// Reads the options; nothing where they make no sense.
pub fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { json: false, csv: false, seeds: 20, controller: None, scenario: None, shares: false };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = true,
            "--csv" => options.csv = true,
            "--shares" => options.shares = true,
            "--seeds" => options.seeds = args.next()?.parse().ok().filter(|seeds| *seeds > 0)?,
            "--controller" => options.controller = Some(args.next().filter(|name| NAMES.contains(&name.as_str()))?),
            "--scenario" => options.scenario = Some(args.next()?),
            _ => return None,
        }
    }
    Some(options)
}

/// The names of the controllers that run.
fn controllers(options: &Options) -> Vec<String> {
    let wanted = |name: &str| options.controller.as_deref().is_none_or(|only| only == name || name == "oracle");
    NAMES.iter().filter(|name| wanted(name)).map(|name| (*name).to_owned()).collect()
}

fn selected(options: &Options, scenarios: Vec<Scenario>) -> Vec<Scenario> {
    let wanted = |scenario: &Scenario| {
        options.scenario.as_ref().is_none_or(|only| {
            scenario.name == *only
                || scenario.name.strip_prefix(only.as_str()).is_some_and(|rest| rest.starts_with('-'))
        })
    };
    scenarios.into_iter().filter(wanted).collect()
}

/// Runs it; the text to print.
#[must_use]
pub fn run(options: &Options) -> String {
    let scenarios = selected(options, suite::suite());
    let controllers = controllers(options);
    let table = Contest { scenarios: scenarios.clone(), controllers: controllers.clone(), seeds: options.seeds }.run();
    if options.csv {
        return report::csv(&table);
    }
    if options.json {
        return report::json(&table, &scenarios, &controllers, true);
    }
    let mut text = report::table(&table, &scenarios, &controllers);
    text.push_str(&report::scores(&table, &scenarios, &controllers));
    if options.shares {
        text.push_str(&shares(&table, &scenarios));
    }
    text
}

fn shares(table: &Table, scenarios: &[Scenario]) -> String {
    let line = |scenario: &Scenario| {
        let cell = |name| table.cell(&scenario.name, OURS, name);
        let worst = cell("goodput").map_or(0.0, |cell| cell.least * 100.0);
        let wasted = cell("wasted_work").map_or(0.0, |cell| cell.median * 100.0);
        let jain = cell("jain").map_or(0.0, |cell| cell.median);
        let recovery = cell("recovery_rtt").map_or(0.0, |cell| cell.median);
        let p99 = cell("p99_ms").map_or(0.0, |cell| cell.median);
        let share = super::contest::share(table, scenario, OURS);
        format!(
            "{} share {share:.3} worst {worst:.1} wasted {wasted:.1} jain {jain:.3} recovery {recovery:.0} p99 {p99:.0}\n",
            scenario.name
        )
    };
    scenarios.iter().map(line).collect()
}
