//! What components may shed, as they are configured.

use serde::Serialize;
use tidegate_components::contract::Hits;

use crate::plan::{Component, Plan};

/// Something that a component may shed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShedFacts {
    /// The component.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// What it may shed.
    pub what: String,
    /// The name that it is counted under.
    pub counted: String,
    /// Whether it may be any record, when there are too many; otherwise only such as are as it says.
    pub any: bool,
}

/// What the components that are used may shed, in the order of the plan.
pub(super) fn sheds(plan: &Plan, used: &[bool]) -> Vec<ShedFacts> {
    let nodes = plan.nodes.iter().zip(used).filter(|(_, used)| **used);
    let all = nodes.flat_map(|(node, _)| {
        let sheds = match &node.component {
            Component::Source(source) => source.sheds(),
            Component::Transform(transform) => transform.sheds(),
            Component::Sink(_) => Vec::new(),
        };
        sheds.into_iter().map(|shed| ShedFacts {
            name: node.name.clone(),
            type_name: node.type_name.to_owned(),
            what: shed.what,
            counted: shed.counted.to_owned(),
            any: shed.hits == Hits::Any,
        })
    });
    all.collect()
}
