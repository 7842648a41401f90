//! Where records go that sinks and transforms refuse for good.

use std::path::Path;

use serde::Serialize;
use tidegate_components::wiring::letters_folder;

use super::snake;
use crate::plan::{Component, Plan, PlanNode};

/// A sink that may refuse records for good, or a transform that keeps those, and where they go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedFacts {
    /// The sink, or the transform.
    pub sink: String,
    /// The sink that takes them; `None`: they go back to their source.
    pub to: Option<String>,
    /// The file or the folder that they are written to, where it is known.
    pub path: Option<String>,
    /// The bounds of a dead letter queue.
    pub queue: Option<QueueFacts>,
}

/// The bounds of a dead letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueFacts {
    /// The most bytes that it takes of the disk, its own files counted.
    pub max_size_bytes: u64,
    /// What it does when it is full.
    pub when_full: String,
    /// What is older than this is given up.
    pub max_age: Option<String>,
}

/// What is known of each component that may refuse records, or that has dead letters.
pub(super) fn refused(plan: &Plan) -> Vec<RefusedFacts> {
    let may_refuse = |node: &&PlanNode| match &node.component {
        Component::Sink(sink) => sink.refuses_records() || node.dead_letters.is_some(),
        Component::Transform(_) => node.dead_letters.is_some(),
        Component::Source(_) => false,
    };
    let facts = |node: &PlanNode| {
        let to = node.dead_letters.map(|to| &plan.nodes[to]);
        let queue = to.and_then(|to| bounds(to, &plan.settings.data_dir));
        let path = to.and_then(|to| Some(to.tree.as_table()?.get("path")?.as_text()?.string.clone()));
        let (folder, queue) = queue.unzip();
        RefusedFacts { sink: node.name.clone(), to: to.map(|to| to.name.clone()), path: folder.or(path), queue }
    };
    plan.nodes.iter().filter(may_refuse).map(facts).collect()
}

/// The folder and the bounds of a node that is a queue.
fn bounds(node: &PlanNode, data_dir: &Path) -> Option<(String, QueueFacts)> {
    let Component::Sink(sink) = &node.component else { return None };
    let queue = sink.letter_box()?;
    let facts = QueueFacts {
        max_size_bytes: queue.size().get(),
        when_full: snake(&queue.when_full),
        max_age: queue.max_age.map(|age| age.to_string()),
    };
    Some((letters_folder(data_dir, &node.name).display().to_string(), facts))
}
