//! What the process takes beside the memory budget: a constant for a plan, whatever load it is under.

use serde::Serialize;

use crate::plan::{Component, Plan};

/// Memory of one kind that is not charged to the budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Beyond {
    /// What takes it.
    pub what: String,
    /// How much it may be, in bytes.
    pub bytes: u64,
}

const MIB: u64 = 1 << 20;

/// The program itself: its code, the tables of the language and of time zones, threads and their stacks. A release build
/// that waits for a connection occupied 14.5 to 18.6 MiB (`cargo xtask pressure --only footprint`, `cargo xtask bench
/// program`).
const PROGRAM: u64 = 22 * MIB;

/// A compiled program in VRL and what it works with: 0.2 MiB measured by `footprint` for a short one.
const LANGUAGE: u64 = MIB;

/// The state of a compressor with its window. Measured were 0.8 MiB (zstd) and 0.5 MiB (gzip) by `footprint`, which sends
/// small batches, and 2.0 MiB with batches of 256 KiB; larger batches and levels were not, so this is three times the most
/// that was seen.
const COMPRESSOR: u64 = 6 * MIB;

/// TLS sessions and connections of a sink or source that talks over the network.
const NETWORK: u64 = 2 * MIB;

/// What a plan takes beside its budget.
pub(super) fn beyond(plan: &Plan) -> Vec<Beyond> {
    let count = |wanted: &dyn Fn(&crate::plan::PlanNode) -> bool| plan.nodes.iter().filter(|node| wanted(node)).count();
    let languages = count(&|node| matches!(node.type_name, "remap" | "filter" | "route" | "sample" | "throttle"));
    let networks = count(&|node| matches!(node.type_name, "http" | "http_server" | "socket"));
    let compressors = count(&|node| matches!(&node.component, Component::Sink(sink) if sink.compresses()));
    let mut beyond = vec![Beyond { what: "the program, its tables and threads".to_string(), bytes: PROGRAM }];
    let logs = plan.nodes.iter().filter_map(|node| node.buffer.as_ref().filter(|buffer| buffer.is_on_disk()));
    let opening: Vec<u64> = logs.map(|buffer| buffer.log().opening_bytes()).collect();
    if !opening.is_empty() {
        let what = format!("buffers on disk while they are opened ({})", opening.len());
        beyond.push(Beyond { what, bytes: opening.iter().sum() });
    }
    for (what, count, each) in [
        ("programs and conditions in VRL", languages, LANGUAGE),
        ("network components: connections, TLS", networks, NETWORK),
        ("compressors", compressors, COMPRESSOR),
    ] {
        if count > 0 {
            beyond.push(Beyond { what: format!("{what} ({count})"), bytes: each * count as u64 });
        }
    }
    beyond
}
