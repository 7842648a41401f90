//! What components may shed, as they are configured.

use serde::Serialize;
use tidegate_components::contract::Hits;
use tidegate_components::options::WhenFull;

use crate::plan::{Component, Plan, PlanNode};

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
        let of_component = sheds.into_iter().map(|shed| ShedFacts {
            name: node.name.clone(),
            type_name: node.type_name.to_owned(),
            what: shed.what,
            counted: shed.counted.to_owned(),
            any: shed.hits == Hits::Any,
        });
        of_component.chain(of_log(node)).collect::<Vec<_>>()
    });
    all.collect()
}

/// What the buffer on disk before a component may give up.
fn of_log(node: &PlanNode) -> impl Iterator<Item = ShedFacts> {
    let buffer = node.buffer.as_ref().filter(|buffer| buffer.is_on_disk());
    let full = buffer.filter(|buffer| buffer.when_full == WhenFull::DropOldest);
    let full =
        full.map(|_| ("the oldest records of its buffer when that is full".to_owned(), "buffer_dropped_records"));
    let old = buffer.and_then(|buffer| buffer.max_age);
    let old = old.map(|age| (format!("records of its buffer that are older than {age}"), "buffer_expired_records"));
    full.into_iter().chain(old).map(|(what, counted)| ShedFacts {
        name: node.name.clone(),
        type_name: node.type_name.to_owned(),
        what,
        counted: counted.to_owned(),
        any: true,
    })
}
