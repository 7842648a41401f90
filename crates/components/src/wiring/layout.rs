//! [`Layout`]: which node runs in which stage, and where its output goes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Node, Part, WireError};

/// What was decided about a plan, before anything is made. Nodes are numbers, in the order of the plan.
#[derive(Clone, Debug)]
pub struct Layout {
    /// For each node its outputs: one without a name, or one for each name.
    outputs: Vec<Vec<Output>>,
    /// For each node whether it is fused into the stage before it.
    fused: Vec<bool>,
    /// For each node whether settlement waits for what it does.
    required: Vec<bool>,
    /// For each node how many send to its edge.
    producers: Vec<u16>,
}

/// One output of a node.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) name: Option<Arc<str>>,
    /// The nodes that take it.
    pub(super) to: Vec<usize>,
}

impl Layout {
    /// Resolves the inputs, and decides what is fused.
    ///
    /// # Errors
    /// Inputs that there are not, and outputs that go nowhere.
    pub fn of(nodes: &[Node]) -> Result<Self, Vec<WireError>> {
        let mut outputs: Vec<Vec<Output>> = nodes.iter().map(outputs_of).collect();
        let numbers: HashMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (&*node.name, at)).collect();
        let mut producers = vec![0_u16; nodes.len()];
        let mut errors = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            for input in &node.inputs {
                let from = numbers
                    .get(&*input.node)
                    .and_then(|from| outputs[*from].iter_mut().find(|output| output.name == input.output));
                match from {
                    Some(output) => {
                        output.to.push(at);
                        producers[at] = producers[at].saturating_add(1);
                    }
                    None => errors.push(WireError::new(&node.name, format!("there is no input \"{input}\""))),
                }
            }
            if let Some(letters) = &node.dead_letters {
                match numbers.get(&**letters).filter(|to| **to != at && matches!(nodes[**to].part, Part::Sink(_))) {
                    Some(to) => producers[*to] = producers[*to].saturating_add(1),
                    None => {
                        errors.push(WireError::new(
                            &node.name,
                            format!("there is no other sink \"{letters}\" for dead letters"),
                        ));
                    }
                }
            }
        }
        for (node, outputs) in nodes.iter().zip(&outputs) {
            if !outputs.is_empty() && outputs.iter().all(|output| output.to.is_empty()) {
                errors
                    .push(WireError::new(&node.name, "its output goes nowhere; name it in the inputs of another node"));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let fused = (0..nodes.len()).map(|at| is_fused(nodes, &outputs, at)).collect();
        let required = required_nodes(nodes, &outputs);
        Ok(Self { outputs, fused, required, producers })
    }

    /// Whether the node runs in the stage of the one before it.
    #[must_use]
    pub fn is_fused(&self, node: usize) -> bool {
        self.fused[node]
    }

    /// Whether settlement waits for what the node does.
    #[must_use]
    pub fn is_required(&self, node: usize) -> bool {
        self.required[node]
    }

    /// How many send to the edge before the node; 0 for sources.
    #[must_use]
    pub fn producers(&self, node: usize) -> u16 {
        self.producers[node]
    }

    /// Whether the records of a source come to the node one way alone; see [`comes_one_way`].
    pub(super) fn comes_one_way(&self, node: usize) -> bool {
        let mut inputs = vec![Vec::new(); self.outputs.len()];
        for (from, outputs) in self.outputs.iter().enumerate() {
            outputs.iter().flat_map(|output| &output.to).for_each(|to| inputs[*to].push(from));
        }
        comes_one_way(&inputs, node)
    }

    pub(super) fn outputs(&self, node: usize) -> &[Output] {
        &self.outputs[node]
    }
}

/// Whether the records of each source come to the node `at` one way alone, so that one that comes twice is the same again.
/// `inputs` says for each node, by its number, which others it takes from; there must be no circles.
#[must_use]
pub fn comes_one_way(inputs: &[Vec<usize>], at: usize) -> bool {
    fn sources(inputs: &[Vec<usize>], at: usize) -> Option<Vec<usize>> {
        if inputs[at].is_empty() {
            return Some(vec![at]);
        }
        let mut all: Vec<usize> = Vec::new();
        for from in &inputs[at] {
            let more = sources(inputs, *from)?;
            if more.iter().any(|source| all.contains(source)) {
                return None;
            }
            all.extend(more);
        }
        Some(all)
    }
    sources(inputs, at).is_some()
}

fn outputs_of(node: &Node) -> Vec<Output> {
    let one = || vec![Output { name: None, to: Vec::new() }];
    match &node.part {
        Part::Source(_) => one(),
        Part::Sink(_) => Vec::new(),
        Part::Transform(transform) => {
            let names = transform.outputs();
            if names.is_empty() {
                return one();
            }
            names
                .into_iter()
                .map(|name| Output { name: (!name.is_empty()).then(|| name.into()), to: Vec::new() })
                .collect()
        }
    }
}

/// A transform without a buffer of its own, and nothing else on either side of the joint.
fn is_fused(nodes: &[Node], outputs: &[Vec<Output>], at: usize) -> bool {
    let node = &nodes[at];
    if !matches!(node.part, Part::Transform(_)) || node.buffer.is_some() || node.inputs.len() != 1 {
        return false;
    }
    outputs.iter().any(|outputs| matches!(outputs.as_slice(), [only] if only.name.is_none() && only.to == [at]))
}

/// Sinks as they say; other nodes where any node behind them is required. Where no sink is, all are: somebody must
/// settle the records.
fn required_nodes(nodes: &[Node], outputs: &[Vec<Output>]) -> Vec<bool> {
    let mut required: Vec<bool> =
        nodes.iter().map(|node| matches!(&node.part, Part::Sink(sink) if sink.required())).collect();
    loop {
        let more: Vec<usize> = (0..nodes.len())
            .filter(|at| !required[*at] && outputs[*at].iter().flat_map(|output| &output.to).any(|to| required[*to]))
            .collect();
        if more.is_empty() {
            break;
        }
        more.into_iter().for_each(|at| required[at] = true);
    }
    let unsettled = |at: usize| matches!(nodes[at].part, Part::Source(_)) && !required[at];
    if (0..nodes.len()).any(unsettled) { vec![true; nodes.len()] } else { required }
}
