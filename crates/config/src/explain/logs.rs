//! What may wait on disk: the logs of a plan.

use std::path::Path;

use serde::Serialize;
use tidegate_components::wiring::{FROM_DISK, TO_DISK, folder_of};

use super::snake;
use crate::plan::{Plan, PlanNode};

/// A buffer on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogFacts {
    /// The component before which it stands.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// The most bytes that it takes of the disk, its own files counted.
    pub max_size_bytes: u64,
    /// What it does when it is full.
    pub when_full: String,
    /// What is older than this is given up.
    pub max_age: Option<String>,
    /// When what it took is made durable.
    pub fsync: String,
    /// What is written: all of it, or what the sink does not take in time.
    pub write: String,
}

/// The logs of the components that are used.
pub(super) fn logs(plan: &Plan, used: &[bool]) -> Vec<LogFacts> {
    let nodes = plan.nodes.iter().zip(used).filter(|(_, used)| **used);
    nodes.filter_map(|(node, _)| log(node, &plan.settings.data_dir)).collect()
}

fn log(node: &PlanNode, data_dir: &Path) -> Option<LogFacts> {
    let buffer = node.buffer.as_ref().filter(|buffer| buffer.is_on_disk())?;
    Some(LogFacts {
        name: node.name.clone(),
        folder: folder_of(data_dir, &node.name).display().to_string(),
        max_size_bytes: buffer.max_size.map_or(0, |size| size.get()),
        when_full: snake(&buffer.when_full),
        max_age: buffer.max_age.map(|age| age.to_string()),
        fsync: buffer.fsync.unwrap_or_default().to_string(),
        write: snake(&buffer.write.unwrap_or_default()),
    })
}

/// What a stage is that belongs to no component.
pub(super) fn stage_in_words(stage: &str) -> String {
    let of = |end| stage.strip_suffix(end);
    match (of(TO_DISK), of(FROM_DISK)) {
        (Some(node), _) => format!("writes the buffer of {node} to disk"),
        (_, Some(node)) => format!("reads the buffer of {node} from disk"),
        (None, None) => "one copy for each reader".to_owned(),
    }
}
