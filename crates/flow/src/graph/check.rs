//! [`check`]: everything that can be said against a graph before it runs.

use super::error::{GraphError, NameOf};
use super::{EdgeId, FanOut, Graph, Stage, StageKind, cycle, diamond};
use std::collections::{BTreeMap, BTreeSet};

/// Checks a graph: names, ports, windows, loops, diverts, diamonds.
///
/// # Errors
/// Everything that is wrong, in this order, each with its place and its remedy. A graph with an error must not be
/// started: the errors about loops and diamonds are deadlocks that wait to happen.
pub fn check(graph: &Graph) -> Result<(), Vec<GraphError>> {
    let mut errors = Vec::new();
    names("stage", graph.stages().iter().map(|stage| stage.name.as_str()), &mut errors);
    names("edge", graph.edges().iter().map(|edge| edge.name.as_str()), &mut errors);
    for stage in graph.stages() {
        ports(graph, stage, &mut errors);
    }
    for edge in graph.edges() {
        if edge.from.is_empty() {
            errors.push(GraphError::NoProducer(edge.name.clone()));
        }
        if edge.to.is_none() {
            errors.push(GraphError::NoConsumer(edge.name.clone()));
        }
        if edge.window.records.is_zero() || edge.window.bytes.is_zero() {
            errors.push(GraphError::EmptyWindow { edge: edge.name.clone(), window: edge.window });
        }
    }
    cycle::undeclared(graph, &mut errors);
    cycle::declared(graph, &mut errors);
    cycle::diverts(graph, &mut errors);
    diamond::check(graph, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn names<'g>(what: &'static str, names: impl Iterator<Item = &'g str>, errors: &mut Vec<GraphError>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let taken: BTreeSet<&str> = counts.keys().copied().collect();
    for (name, count) in counts {
        if count > 1 {
            let suggestion = free_name(name, &taken);
            errors.push(GraphError::DuplicateName { what, name: name.to_owned(), count, suggestion });
        }
    }
}

/// `name_2`, or the next number that is free.
fn free_name(name: &str, taken: &BTreeSet<&str>) -> String {
    let mut number = 2_usize;
    loop {
        let candidate = format!("{name}_{number}");
        if !taken.contains(candidate.as_str()) {
            return candidate;
        }
        number += 1;
    }
}

fn ports(graph: &Graph, stage: &Stage, errors: &mut Vec<GraphError>) {
    let who = || NameOf { kind: stage.kind, name: stage.name.clone() };
    for port in stage.inputs.iter().filter(|port| port.edge.is_none()) {
        errors.push(GraphError::UnconnectedInput { stage: who(), port: port.name.clone() });
    }
    for port in stage.outputs.iter().filter(|port| port.edge.is_none()) {
        errors.push(GraphError::UnusedOutput { stage: who(), port: port.name.clone() });
    }
    if stage.inputs.is_empty() && stage.kind != StageKind::Source {
        errors.push(GraphError::NoInput(who()));
    }
    if stage.outputs.is_empty() && stage.kind != StageKind::Sink {
        errors.push(GraphError::NoOutput(who()));
    }
    if stage.outputs.len() > 1 && stage.fan_out == FanOut::Single {
        let edges: Vec<EdgeId> = stage.outputs.iter().filter_map(|port| port.edge).collect();
        let edges = edges.into_iter().map(|edge| graph.edge_name(edge).to_owned()).collect();
        errors.push(GraphError::UndecidedFanOut { stage: who(), edges });
    }
}

#[cfg(test)]
mod tests;
