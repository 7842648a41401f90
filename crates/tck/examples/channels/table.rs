//! The table of results: check by channel.

use std::collections::BTreeMap;

use tidegate_tck::check::{Check, Checked, Unmet};
use tidegate_tck::edge::{EdgeUnderTest, Tidegate, checks};

use super::adapters::{AsyncChannel, Crossfire, Flume, Tokio, TokioReserve};

/// One column: a channel and its results, in the order of the checks.
struct Column {
    name: &'static str,
    results: Vec<(Check, Checked)>,
}

fn column<E: EdgeUnderTest>() -> Column {
    let results = checks::all::<E>().into_iter().map(|check| (check, (check.run)())).collect();
    Column { name: E::NAME, results }
}

fn cell(checked: &Checked) -> &'static str {
    match checked {
        Ok(()) => "ok",
        Err(Unmet::NotApplicable { .. }) => "n.a.",
        Err(Unmet::Failed(_)) => "**fails**",
    }
}

/// Runs every check on every channel, and writes the table and what stands behind its cells.
pub(crate) fn table() -> String {
    let columns = [
        column::<Tidegate>(),
        column::<Tokio>(),
        column::<TokioReserve>(),
        column::<AsyncChannel>(),
        column::<Flume>(),
        column::<Crossfire>(),
    ];
    let mut text = String::from("| check |");
    columns.iter().for_each(|column| text += &format!(" {} |", column.name));
    text += "\n|---|";
    columns.iter().for_each(|_| text += "---|");
    for row in 0..columns[0].results.len() {
        text += &format!("\n| `{}` |", columns[0].results[row].0.name);
        columns.iter().for_each(|column| text += &format!(" {} |", cell(&column.results[row].1)));
    }
    let (failures, lacking) = (failures(&columns), lacking(&columns));
    text + "\n\nWhat failed, in the words of the check:\n\n"
        + &failures
        + "\nNot applicable, in the words of the adapter:\n\n"
        + &lacking
}

fn failures(columns: &[Column]) -> String {
    let mut text = String::new();
    for column in columns {
        for (check, checked) in &column.results {
            if let Err(Unmet::Failed(what)) = checked {
                text += &format!("- {}, `{}`: {what}\n", column.name, check.number());
            }
        }
    }
    text
}

fn lacking(columns: &[Column]) -> String {
    let mut text = String::new();
    for column in columns {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (check, checked) in &column.results {
            if let Err(Unmet::NotApplicable { why, .. }) = checked {
                reasons.entry(why).or_default().push(check.number());
            }
        }
        for (why, mut numbers) in reasons {
            numbers.dedup();
            text += &format!("- {}, {}: {why}\n", column.name, numbers.join(" "));
        }
    }
    text
}
