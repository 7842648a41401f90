//! Diamonds: branches that part in a fork or a route and meet again in a stage that needs all of them.
//!
//! The stage that joins takes a record from every input or from none. While one branch holds back (a filter dropped
//! the record, an edge lost it, the route sent it the other way, or it sits in a larger buffer), the other branch
//! fills up; when every edge of that one blocks, the fork stops, and then nothing comes down the first branch either.

use super::error::{Conflict, GraphError};
use super::paths::{reached, shortest};
use super::{EdgeId, FanIn, FanOut, Graph, OnFull, StageId};
use crate::units::Weight;

/// One error for each fork and join that can deadlock. A graph with undeclared loops is judged by its loops alone.
pub(super) fn check(graph: &Graph, errors: &mut Vec<GraphError>) {
    if errors.iter().any(|error| matches!(error, GraphError::UndeclaredCycle { .. })) {
        return;
    }
    for fork in graph.stage_ids().filter(|stage| graph.stage(*stage).outputs.len() > 1) {
        for join in graph.stage_ids().filter(|stage| needs_all(graph, *stage)) {
            if fork != join && !has_neck(graph, fork, join) {
                errors.extend(between(graph, fork, join));
            }
        }
    }
}

fn needs_all(graph: &Graph, stage: StageId) -> bool {
    let stage = graph.stage(stage);
    stage.fan_in == FanIn::All && stage.inputs.len() > 1
}

/// Whether every way from `fork` to `join` passes one stage between them: the branches then meet there, not in `join`.
fn has_neck(graph: &Graph, fork: StageId, join: StageId) -> bool {
    let between = |stage: &StageId| *stage != fork && *stage != join;
    graph.stage_ids().filter(between).any(|neck| {
        let around = |at: StageId| forward(graph, at).map(|(_, to)| to).filter(|to| *to != neck).collect();
        !reached(graph, fork, around)[join.index()]
    })
}

fn forward(graph: &Graph, stage: StageId) -> impl Iterator<Item = (EdgeId, StageId)> {
    let edges = graph.outputs(stage).filter(|edge| !graph.edge(*edge).feedback);
    edges.filter_map(|edge| Some((edge, graph.edge(edge).to?)))
}

/// A way from the fork to the join: its edges in order, the last one an input of the join.
#[derive(Clone)]
struct Way(Vec<EdgeId>);

impl Way {
    fn stages(&self, graph: &Graph, fork: StageId) -> Vec<String> {
        let reached = self.0.iter().filter_map(|edge| graph.edge(*edge).to);
        [fork].into_iter().chain(reached).map(|stage| graph.stage_name(stage).to_owned()).collect()
    }

    fn window(&self, graph: &Graph) -> Weight {
        self.0.iter().map(|edge| graph.edge(*edge).window).sum()
    }
}

fn between(graph: &Graph, fork: StageId, join: StageId) -> Option<GraphError> {
    let branches: Vec<EdgeId> = graph.outputs(fork).filter(|edge| !graph.edge(*edge).feedback).collect();
    let inputs: Vec<EdgeId> = graph.inputs(join).filter(|edge| !graph.edge(*edge).feedback).collect();
    for full_branch in &branches {
        for full_input in &inputs {
            let blocks = |edge: EdgeId| graph.edge(edge).on_full == OnFull::Block;
            let Some(full) = way(graph, *full_branch, *full_input, blocks) else { continue };
            for held_branch in branches.iter().filter(|branch| *branch != full_branch) {
                for held_input in inputs.iter().filter(|input| *input != full_input) {
                    if let Some((held, conflict)) = conflict(graph, fork, *held_branch, *held_input, &full) {
                        return Some(GraphError::Diamond {
                            fork: graph.stage_name(fork).to_owned(),
                            join: graph.stage_name(join).to_owned(),
                            held: held.stages(graph, fork),
                            full: full.stages(graph, fork),
                            conflict,
                        });
                    }
                }
            }
        }
    }
    None
}

/// How a way from `branch` to `input` can hold back while `full` fills up, if it can.
fn conflict(graph: &Graph, fork: StageId, branch: EdgeId, input: EdgeId, full: &Way) -> Option<(Way, Conflict)> {
    let held = way(graph, branch, input, |_| true)?;
    if graph.stage(fork).fan_out == FanOut::Route {
        return Some((held, Conflict::Routes));
    }
    for edge in graph.edge_ids().filter(|edge| !graph.edge(*edge).feedback) {
        let Some(through) = way_through(graph, branch, edge, input) else { continue };
        if !graph.edge(edge).on_full.blocks() {
            return Some((through, Conflict::Loses(graph.edge_name(edge).to_owned())));
        }
        let dropping = graph.edge(edge).to.filter(|stage| edge != input && graph.stage(*stage).may_drop);
        if let Some(stage) = dropping {
            return Some((through, Conflict::Drops(graph.stage_name(stage).to_owned())));
        }
    }
    let (first, second) = (held.window(graph), full.window(graph));
    (first != second).then_some((held, Conflict::Windows(first, second)))
}

/// The shortest way that begins with edge `from` and ends with edge `to`, over edges that `keep` keeps.
fn way(graph: &Graph, from: EdgeId, to: EdgeId, keep: impl Fn(EdgeId) -> bool) -> Option<Way> {
    if !keep(from) || !keep(to) {
        return None;
    }
    if from == to {
        return Some(Way(vec![from]));
    }
    let start = graph.edge(from).to?;
    let next = |at: StageId| forward(graph, at).filter(|(edge, _)| keep(*edge)).map(|(_, to)| to).collect();
    // The last edge may have several producers: the nearest one counts.
    let ends = graph
        .edge(to)
        .from
        .iter()
        .filter_map(|end| if *end == start { Some(Vec::new()) } else { shortest(graph, start, *end, next) });
    let stages = ends.min_by_key(Vec::len)?;
    let mut edges = vec![from];
    let mut at = start;
    for stage in stages {
        edges.push(forward(graph, at).find(|(edge, to)| keep(*edge) && *to == stage)?.0);
        at = stage;
    }
    edges.push(to);
    Some(Way(edges))
}

/// A way from `from` through `middle` to `to`.
fn way_through(graph: &Graph, from: EdgeId, middle: EdgeId, to: EdgeId) -> Option<Way> {
    let mut first = way(graph, from, middle, |_| true)?;
    let second = way(graph, middle, to, |_| true)?;
    first.0.extend(second.0.into_iter().skip(1));
    Some(first)
}
