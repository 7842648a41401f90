//! What the kernel may hold: queues before sources and behind sinks that no budget is charged for.

use serde::Serialize;

use crate::plan::{Component, Plan};

/// The kernel's buffer of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFacts {
    /// The name of the component.
    pub name: String,
    /// Source or sink.
    pub kind: String,
    /// The size that the kernel is asked for, in bytes.
    pub bytes: u64,
    /// The most payload that it holds, in bytes. Behind a sink it is what a peer's death costs, beside what the peer's own
    /// kernel held.
    pub holds_bytes: u64,
    /// What has one each.
    pub each: String,
}

/// The buffers of the components that are used.
pub(super) fn kernel(plan: &Plan, used: &[bool]) -> Vec<KernelFacts> {
    let nodes = plan.nodes.iter().zip(used).filter(|(_, used)| **used);
    let facts = nodes.filter_map(|(node, _)| {
        let (kind, buffer) = match &node.component {
            Component::Source(source) => ("source", source.kernel()?),
            Component::Sink(sink) => ("sink", sink.kernel()?),
            Component::Transform(_) => return None,
        };
        Some(KernelFacts {
            name: node.name.clone(),
            kind: kind.to_owned(),
            bytes: buffer.bytes,
            holds_bytes: buffer.holds_bytes(),
            each: buffer.each.to_owned(),
        })
    });
    facts.collect()
}
