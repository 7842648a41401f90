//! Where records go that sinks refuse for good.

use serde::Serialize;

use crate::plan::{Component, Plan, PlanNode};

/// A sink that may refuse records for good, and where they go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedFacts {
    /// The sink.
    pub sink: String,
    /// The sink that takes them; `None`: they go back to their source.
    pub to: Option<String>,
    /// The file that they are written to, where it is known.
    pub path: Option<String>,
}

/// What is known of each sink that may refuse records, or that has dead letters.
pub(super) fn refused(plan: &Plan) -> Vec<RefusedFacts> {
    let may_refuse = |node: &&PlanNode| match &node.component {
        Component::Sink(sink) => sink.refuses_records() || node.dead_letters.is_some(),
        Component::Source(_) | Component::Transform(_) => false,
    };
    let facts = |node: &PlanNode| {
        let to = node.dead_letters.map(|to| &plan.nodes[to]);
        let path = to.and_then(|to| Some(to.tree.as_table()?.get("path")?.as_text()?.string.clone()));
        RefusedFacts { sink: node.name.clone(), to: to.map(|to| to.name.clone()), path }
    };
    plan.nodes.iter().filter(may_refuse).map(facts).collect()
}
