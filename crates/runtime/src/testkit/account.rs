//! What a test asks of the report of a pipeline that has ended.

use tidegate_flow::Outcome;

use crate::report::Report;

/// The report of a pipeline that has ended, if both laws hold and every record has settled.
///
/// # Panics
/// With the imbalance, and the report, where one of them does not hold.
#[track_caller]
pub fn balanced(report: Report) -> Report {
    assert_balanced(&report);
    report
}

/// Like [`balanced`], for a report that is only looked at.
///
/// # Panics
/// As `balanced`.
#[track_caller]
pub fn assert_balanced(report: &Report) {
    if let Err(imbalance) = report.ledger.check() {
        panic!("{imbalance}\n{report}");
    }
    let in_flight = report.ledger.total().in_flight;
    assert!(in_flight.is_zero(), "{in_flight} were read and have not settled\n{report}");
}

/// How many records of all sources ended with `outcome`.
#[must_use]
pub fn ended(report: &Report, outcome: Outcome) -> u64 {
    report.ledger.total().ended.get(outcome).get()
}
