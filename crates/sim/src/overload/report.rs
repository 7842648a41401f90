//! Tables for people, lines of JSON and CSV for programs.

use std::fmt::Write as _;

use super::contest::{Table, score, share};
use super::scenario::Scenario;

/// The table of a suite: goodput in percent of the best / median latency in ms / sends that came to nothing in percent.
pub(crate) fn table(table: &Table, scenarios: &[Scenario], controllers: &[String]) -> String {
    let mut text = String::from("| scenario |");
    for controller in controllers {
        let _ = write!(text, " {controller} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(controllers.len()));
    for scenario in scenarios {
        let _ = write!(text, "\n| {} {} |", scenario.name, scenario.title);
        for controller in controllers {
            let median = |name| table.median(&scenario.name, controller, name);
            let (good, p50, bad) = (median("goodput") * 100.0, median("p50_ms"), median("bad_sends") * 100.0);
            let _ = write!(text, " {good:.0}/{p50:.0}/{bad:.0} |");
        }
    }
    text.push('\n');
    text
}

/// The score of each controller, as a row under the table.
pub(crate) fn scores(table: &Table, scenarios: &[Scenario], controllers: &[String]) -> String {
    let mut text = String::from("| **score** |");
    for controller in controllers {
        let _ = write!(text, " **{:.3}** |", score(table, scenarios, controller));
    }
    text.push('\n');
    text
}

/// One object a line; the score last.
pub(crate) fn json(table: &Table, scenarios: &[Scenario], controllers: &[String], scored: bool) -> String {
    let mut text = String::new();
    let mut line = |scenario: &str, controller: &str, name: &str, value: f64| {
        let value = if value.is_finite() { value } else { 0.0 };
        let _ = writeln!(
            text,
            "{{\"scenario\":\"{scenario}\",\"controller\":\"{controller}\",\"name\":\"{name}\",\"value\":{value:.6}}}"
        );
    };
    for (scenario, controller, name, cell) in table.all() {
        line(scenario, controller, name, cell.median);
        let worst = if name == "goodput" || name == "jain" { cell.least } else { cell.most };
        line(scenario, controller, &format!("{name}_worst"), worst);
    }
    if scored {
        for controller in controllers {
            for scenario in scenarios {
                line(&scenario.name, controller, "share", share(table, scenario, controller));
            }
            line("A-Q", controller, "score", score(table, scenarios, controller));
        }
    }
    text
}

/// All figures: scenario, controller, name, median, least, most.
pub(crate) fn csv(table: &Table) -> String {
    let mut text = String::from("scenario,controller,name,median,least,most\n");
    for (scenario, controller, name, cell) in table.all() {
        let _ = writeln!(text, "{scenario},{controller},{name},{:.5},{:.5},{:.5}", cell.median, cell.least, cell.most);
    }
    text
}
