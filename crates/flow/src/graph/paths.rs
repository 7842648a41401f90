//! Ways through a graph: successors, reachability, shortest paths. Graphs are small; plain breadth-first search.

use super::{EdgeId, Graph, OnFull, StageId};
use std::collections::VecDeque;

/// The steps from `stage` over the edges that `keep` keeps.
pub(super) fn steps(
    graph: &Graph,
    stage: StageId,
    keep: impl Fn(EdgeId) -> bool,
) -> impl Iterator<Item = (EdgeId, StageId)> {
    graph.outputs(stage).filter(move |edge| keep(*edge)).filter_map(|edge| Some((edge, graph.edge(edge).to?)))
}

/// The edges that a batch may enter when `stage` gives it to `edge`: `edge` itself, and where it diverts to.
pub(super) fn with_diverts(graph: &Graph, edge: EdgeId) -> impl Iterator<Item = EdgeId> {
    let mut seen = vec![edge];
    let mut at = edge;
    while let OnFull::Divert(next) = graph.edge(at).on_full
        && next.index() < graph.edges().len()
        && !seen.contains(&next)
    {
        seen.push(next);
        at = next;
    }
    seen.into_iter()
}

/// The shortest way of at least one step from `from` to `to`, as the stages after `from`, in order.
pub(super) fn shortest(
    graph: &Graph,
    from: StageId,
    to: StageId,
    next: impl Fn(StageId) -> Vec<StageId>,
) -> Option<Vec<StageId>> {
    let mut came_from: Vec<Option<StageId>> = vec![None; graph.stages().len()];
    let mut queue = VecDeque::from([from]);
    while let Some(stage) = queue.pop_front() {
        for reached in next(stage) {
            if came_from[reached.index()].is_some() {
                continue;
            }
            came_from[reached.index()] = Some(stage);
            if reached == to {
                return Some(retrace(&came_from, from, to));
            }
            queue.push_back(reached);
        }
    }
    None
}

fn retrace(came_from: &[Option<StageId>], from: StageId, to: StageId) -> Vec<StageId> {
    let mut way = vec![to];
    let mut at = to;
    while let Some(before) = came_from[at.index()]
        && before != from
    {
        way.push(before);
        at = before;
    }
    way.reverse();
    way
}

/// Every stage that can be reached from `from` in any number of steps, `from` included.
pub(super) fn reached(graph: &Graph, from: StageId, next: impl Fn(StageId) -> Vec<StageId>) -> Vec<bool> {
    let mut seen = vec![false; graph.stages().len()];
    let mut stack = vec![from];
    while let Some(stage) = stack.pop() {
        if !std::mem::replace(&mut seen[stage.index()], true) {
            stack.extend(next(stage));
        }
    }
    seen
}

/// The stages one step downstream of `stage`, over edges that were not declared to close a loop.
pub(super) fn downstream(graph: &Graph, stage: StageId) -> Vec<StageId> {
    steps(graph, stage, |edge| !graph.edge(edge).feedback).map(|(_, to)| to).collect()
}

/// The same, with the stages that a full edge diverts to.
pub(super) fn downstream_with_diverts(graph: &Graph, stage: StageId) -> Vec<StageId> {
    let edges = graph.outputs(stage).flat_map(|edge| with_diverts(graph, edge));
    edges.filter(|edge| !graph.edge(*edge).feedback).filter_map(|edge| graph.edge(edge).to).collect()
}
