//! A buffer on disk before a node: an edge, the stage that appends to the log, the stage that reads it, and the node's own
//! edge.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_flow::EdgeSpec;
use tidegate_record::Timestamp;
use tidegate_runtime::durable::{Counts, LogEnds, LogSource, LogSpec, RealDisk};
use tidegate_runtime::{BatchLimits, PipelineBuilder, Port, SinkOptions, SinkPolicy, SourceOptions};

use super::Node;
use super::slot::RowsFlow;
use crate::Rows;
use crate::clock::wall_time;
use crate::contract::{BuildContext, Meters};
use crate::options::{Buffer, WhenFull};
use crate::rehearsal::{self, RehearsedDisk};

/// Behind the name of a node: the edge before its log, and the stage that appends to it.
pub const TO_DISK: &str = ".to_disk";
/// Behind the name of a node: the stage that reads its log.
pub const FROM_DISK: &str = ".from_disk";

/// What the stage that appends joins small batches to: as large as the batches of a pipeline are.
const BATCH_RECORDS: u32 = 256;

/// The folder of `data_dir` with a folder for each log.
pub const BUFFERS: &str = "buffers";

/// The folder of `data_dir` with a folder for each dead letter queue.
pub const LETTERS: &str = "dead_letters";
/// Behind the name of a node: the queue of its dead letters, where that has no name of its own.
pub const LETTER_BOX: &str = tidegate_runtime::durable::LETTERS;

/// The folder of the log of a node.
#[must_use]
pub fn folder_of(data_dir: &Path, node: &str) -> PathBuf {
    data_dir.join(BUFFERS).join(escaped(node))
}

/// The folder of a dead letter queue: that of the component whose letters are in it, or of the sink of its own name.
#[must_use]
pub fn letters_folder(data_dir: &Path, node: &str) -> PathBuf {
    data_dir.join(LETTERS).join(escaped(node.strip_suffix(LETTER_BOX).unwrap_or(node)))
}

/// A name may have what is no name of a folder, or is that of another one.
pub(crate) fn escaped(node: &str) -> String {
    let is_special = matches!(node, "." | "..");
    let mut escaped = String::with_capacity(node.len());
    for letter in node.chars() {
        match letter {
            '/' => escaped.push_str("%2F"),
            '%' => escaped.push_str("%25"),
            '\0' => escaped.push_str("%00"),
            '.' if is_special => escaped.push_str("%2E"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// The node whose log has a folder of this name.
#[must_use]
pub fn node_of(folder: &str) -> String {
    // In this order: what was a percent sign in the name is the last to become one again.
    folder.replace("%2F", "/").replace("%2E", ".").replace("%00", "\0").replace("%25", "%")
}

/// Makes the log of a node between `before`, the flow behind the first edge, and `behind`, the node's own.
pub(super) fn put_log(
    builder: &PipelineBuilder,
    node: &Node,
    buffer: &Buffer,
    before: RowsFlow<tidegate_runtime::inlet::EdgeInlet<Rows>>,
    behind: &Port<Rows>,
    cx: &BuildContext,
) {
    let folder = folder_of(&cx.data_dir, &node.name);
    let spec = LogSpec::new(move || RealDisk::at(&folder).map(RehearsedDisk), buffer.log(), wall_nanos)
        .drop_oldest(buffer.when_full == WhenFull::DropOldest)
        .write_under_pressure(buffer.unwritten_wait())
        .on_counts(log_counters(&node.name, &cx.meters));
    let LogEnds { sinks, source, encoding, view } = spec.ends::<Rows>();
    builder.show_log(&node.name, view);
    let options =
        SinkOptions::default().policy(SinkPolicy { retries: u32::MAX, ..SinkPolicy::default() }).encoding(encoding);
    before.boxed_batch(BatchLimits::records(BATCH_RECORDS).bytes(tidegate_flow::kib(64))).sink_pool(
        &format!("{}{TO_DISK}", node.name),
        sinks,
        options,
    );
    let options = SourceOptions::new(source).holding(LogSource::<Rows, RehearsedDisk<RealDisk>>::HOLDING);
    builder.boxed_source(&format!("{}{FROM_DISK}", node.name), options).to(behind);
}

/// The edge before the log of a node.
pub(super) fn edge_before(node: &Node, buffer: &Buffer, producers: u16) -> EdgeSpec {
    buffer.before_disk().spec(&format!("{}{TO_DISK}", node.name), producers)
}

/// The time of day, in nanoseconds since 1970.
pub(crate) fn wall_nanos() -> u64 {
    let now: Timestamp = wall_time();
    u64::try_from(now.unix_nanos()).unwrap_or(0)
}

/// What is counted of a log.
pub(crate) const LOG_COUNTS: [&str; 6] = [
    "buffer_expired_records",
    "buffer_dropped_records",
    "buffer_damaged_records",
    "buffer_disk_failures",
    "buffer_written_records",
    "buffer_passed_records",
];

/// Counts what the log has done, beside the ledger.
pub(crate) fn log_counters(node: &Arc<str>, meters: &Meters) -> impl FnMut(&Counts) + Send + 'static {
    let counters = LOG_COUNTS.map(|name| meters.counter(node, name));
    let mut seen = [0; LOG_COUNTS.len()];
    let mut durable = None;
    move |counts| {
        // What was durable when the log was opened nobody waited for.
        if durable.replace(counts.durable).is_some_and(|before| before < counts.durable) {
            rehearsal::acked();
        }
        let now = [counts.expired, counts.dropped, counts.damaged, counts.failures, counts.written, counts.passed];
        for ((counter, now), seen) in counters.iter().zip(now).zip(&mut seen) {
            counter.add(now.saturating_sub(*seen));
            *seen = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_folder_of_its_own() {
        let folder = |name| folder_of(Path::new("d"), name);
        assert_eq!(folder("search"), Path::new("d/buffers/search"));
        assert_eq!(folder("a/b"), Path::new("d/buffers/a%2Fb"));
        for name in ["search", "a/b", "a%2Fb", "%", "%25", "größe", "größe/2", "注文", ".", "..", "a.b"] {
            let folder = folder(name);
            assert_eq!(folder.file_name().and_then(|folder| folder.to_str()).map(node_of).as_deref(), Some(name));
        }
        assert_eq!(folder("a%2Fb"), Path::new("d/buffers/a%252Fb"));
        assert_eq!(letters_folder(Path::new("d"), "a/b.dead_letters"), Path::new("d/dead_letters/a%2Fb"));
        assert_eq!(letters_folder(Path::new("d"), "box"), Path::new("d/dead_letters/box"));
        assert_eq!(folder("größe"), Path::new("d/buffers/größe"));
        assert_eq!(folder(".."), Path::new("d/buffers/%2E%2E"));
    }
}
