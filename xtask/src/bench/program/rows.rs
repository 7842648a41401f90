//! The rows of the table, each with what it is set against.

use super::{Bench, Outcome, peers};
use crate::shell::Fail;

/// One row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// The row that it is set against.
    pub(super) floor: Option<&'static str>,
    pub(super) target: Option<Target>,
    pub(super) run: fn(&Bench) -> Result<Outcome, Fail>,
}

/// What a row must reach.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// At most so much.
    AtMost(f64),
    /// At most so many times its floor.
    TimesFloor(f64),
    /// At most so much more than its floor.
    AboveFloor(f64),
}

/// The most memory that any row of the program may have resident, in MiB.
pub(super) const MOST_RSS_MIB: f64 = 60.0;

const PER_RECORD: &str = "us/record";

pub(super) const ROWS: &[Row] = &[
    Row { name: "floor_tcp", unit: PER_RECORD, floor: None, target: None, run: Bench::floor_tcp },
    Row {
        name: "passthrough_tcp",
        unit: PER_RECORD,
        floor: Some("floor_tcp"),
        target: Some(Target::TimesFloor(1.3)),
        run: Bench::passthrough_tcp,
    },
    Row {
        name: "remap_tcp",
        unit: PER_RECORD,
        floor: Some("floor_tcp"),
        target: Some(Target::AtMost(0.7)),
        run: Bench::remap_tcp,
    },
    Row {
        name: "rsyslog_tcp",
        unit: PER_RECORD,
        floor: Some("floor_tcp"),
        target: None,
        run: |bench| bench.peer(&peers::RSYSLOG),
    },
    Row {
        name: "syslog_ng_tcp",
        unit: PER_RECORD,
        floor: Some("floor_tcp"),
        target: None,
        run: |bench| bench.peer(&peers::SYSLOG_NG),
    },
    Row { name: "floor_file", unit: PER_RECORD, floor: None, target: None, run: Bench::floor_file },
    Row {
        name: "remap_file",
        unit: PER_RECORD,
        floor: Some("floor_file"),
        target: Some(Target::AboveFloor(0.7)),
        run: Bench::remap_file,
    },
    Row { name: "start_millis", unit: "ms", floor: None, target: Some(Target::AtMost(100.0)), run: Bench::start },
    Row { name: "idle_rss_mib", unit: "MiB", floor: None, target: Some(Target::AtMost(20.0)), run: Bench::idle },
    Row { name: "binary_mb", unit: "MB", floor: None, target: Some(Target::AtMost(40.0)), run: Bench::binary },
];
