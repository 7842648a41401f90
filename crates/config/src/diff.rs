//! What changes from one plan to another: the basis of a reload that restarts only what it must.

use crate::plan::{Plan, PlanNode};
use crate::tree::{Node, Value};

/// What became of a component.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its own configuration is another.
    Changed,
    /// Its configuration is the same, but it reads from others, or its buffer is another.
    Rewired,
    /// It is as it was.
    Unchanged,
}

/// The components of two plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// What became of each component, by name: those of the new plan in its order, then those that are gone.
    pub components: Vec<(String, Change)>,
    /// Whether the memory budget or the data directory is another.
    pub settings: bool,
}

impl Diff {
    /// Whether nothing changed that a running pipeline would notice.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.settings && self.components.iter().all(|(_, change)| *change == Change::Unchanged)
    }

    /// The names of the components with this change.
    pub fn with(&self, change: Change) -> impl Iterator<Item = &str> {
        self.components.iter().filter(move |(_, found)| *found == change).map(|(name, _)| name.as_str())
    }
}

/// Compares two plans by the values in them; places, comments and the order of keys do not count.
#[must_use]
pub fn diff(old: &Plan, new: &Plan) -> Diff {
    let changed = |node: &PlanNode| match old.node(&node.name) {
        None => Change::Added,
        Some(before) => compare(old, before, new, node),
    };
    let mut components: Vec<_> = new.nodes.iter().map(|node| (node.name.clone(), changed(node))).collect();
    let gone = old.nodes.iter().filter(|node| new.node(&node.name).is_none());
    components.extend(gone.map(|node| (node.name.clone(), Change::Removed)));
    let settings = (old.settings.memory, &old.settings.data_dir) != (new.settings.memory, &new.settings.data_dir);
    Diff { components, settings }
}

fn compare(old: &Plan, before: &PlanNode, new: &Plan, after: &PlanNode) -> Change {
    const WIRING: &[&str] = &["inputs", "buffer", "dead_letter"];
    if (before.kind, before.type_name) != (after.kind, after.type_name) || !same_but(&before.tree, &after.tree, WIRING)
    {
        return Change::Changed;
    }
    if is_rewired(old, before, new, after) { Change::Rewired } else { Change::Unchanged }
}

/// Whether a component reads from others than before, its buffer is another, or its dead letters go elsewhere.
pub(crate) fn is_rewired(old: &Plan, before: &PlanNode, new: &Plan, after: &PlanNode) -> bool {
    let letters = |plan: &Plan, node: &PlanNode| node.dead_letters.map(|to| plan.nodes[to].name.clone());
    inputs(old, before) != inputs(new, after)
        || before.buffer != after.buffer
        || letters(old, before) != letters(new, after)
}

fn inputs(plan: &Plan, node: &PlanNode) -> Vec<(String, Option<String>)> {
    let mut inputs: Vec<_> =
        node.inputs.iter().map(|input| (plan.nodes[input.from].name.clone(), input.output.clone())).collect();
    inputs.sort();
    inputs
}

fn same_but(a: &Node, b: &Node, but: &[&str]) -> bool {
    match (&a.value, &b.value) {
        (Value::Table(a), Value::Table(b)) => {
            let counted = |table: &crate::tree::Table| {
                table.entries.iter().filter(|entry| !but.contains(&entry.key.name.as_str())).count()
            };
            counted(a) == counted(b)
                && a.entries
                    .iter()
                    .filter(|entry| !but.contains(&entry.key.name.as_str()))
                    .all(|entry| b.get(&entry.key.name).is_some_and(|other| same_but(&entry.node, other, &[])))
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_but(a, b, &[])),
        (Value::Text(a), Value::Text(b)) => a.string == b.string,
        (a, b) => a == b,
    }
}
