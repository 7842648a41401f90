//! Loops: undeclared ones, declared ones whose feedback edge blocks, and edges that divert back to themselves.

use super::error::GraphError;
use super::paths::{downstream, downstream_with_diverts, reached, shortest, steps, with_diverts};
use super::{EdgeId, Graph, OnFull, StageId};

/// One error for each group of stages that reach each other without a declared feedback edge.
pub(super) fn undeclared(graph: &Graph, errors: &mut Vec<GraphError>) {
    let mut reported = vec![false; graph.stages().len()];
    for stage in graph.stage_ids() {
        if reported[stage.index()] {
            continue;
        }
        let Some(way) = shortest(graph, stage, stage, |at| downstream(graph, at)) else { continue };
        let last = way.len().checked_sub(2).map_or(stage, |place| way[place]);
        let closing = steps(graph, last, |edge| !graph.edge(edge).feedback).find(|(_, to)| *to == stage);
        let closing = closing.map_or("", |(edge, _)| graph.edge_name(edge)).to_owned();
        errors.push(GraphError::UndeclaredCycle { cycle: names_of(graph, stage, &way), closing });
        let ahead = reached(graph, stage, |at| downstream(graph, at));
        for other in graph.stage_ids().filter(|other| ahead[other.index()]) {
            let back = reached(graph, other, |at| downstream(graph, at));
            reported[other.index()] |= back[stage.index()];
        }
    }
}

/// A feedback edge must not make its producer wait for a stage that waits for the producer.
pub(super) fn declared(graph: &Graph, errors: &mut Vec<GraphError>) {
    for edge in graph.edges().iter().filter(|edge| edge.loop_waits()) {
        let Some(to) = edge.to else { continue };
        let any = |at: StageId| steps(graph, at, |_| true).map(|(_, to)| to).collect();
        let loops = edge.from.iter().find_map(|from| Some((*from, way_back(graph, to, *from, any)?)));
        if let Some((from, way)) = loops {
            let cycle = names_of(graph, from, &way);
            errors.push(GraphError::BlockingLoop { edge: edge.name.clone(), cycle });
        }
    }
}

/// What an edge diverts must not come back to a stage that fills it, nor run in a ring of full edges.
pub(super) fn diverts(graph: &Graph, errors: &mut Vec<GraphError>) {
    for id in graph.edge_ids() {
        let edge = graph.edge(id);
        let OnFull::Divert(to) = edge.on_full else { continue };
        if to.index() >= graph.edges().len() {
            errors.push(GraphError::DivertNowhere(edge.name.clone()));
        } else if let Some(ring) = ring(graph, id) {
            if ring.iter().all(|other| *other >= id) {
                let names = ring.iter().map(|edge| graph.edge_name(*edge).to_owned()).collect();
                errors.push(GraphError::DivertRing(names));
            }
        } else if !graph.edge(to).feedback {
            diverted_back(graph, id, to, errors);
        }
    }
}

/// The edges from `edge` along its diverts back to `edge`.
fn ring(graph: &Graph, edge: EdgeId) -> Option<Vec<EdgeId>> {
    let mut chain: Vec<EdgeId> = with_diverts(graph, edge).collect();
    let last = *chain.last()?;
    (graph.edge(last).on_full == OnFull::Divert(edge)).then(|| {
        chain.push(edge);
        chain
    })
}

fn diverted_back(graph: &Graph, edge: EdgeId, to: EdgeId, errors: &mut Vec<GraphError>) {
    let next = |at: StageId| downstream_with_diverts(graph, at);
    for to in with_diverts(graph, to).filter(|to| !graph.edge(*to).feedback) {
        let Some(consumer) = graph.edge(to).to else { continue };
        for from in &graph.edge(edge).from {
            if let Some(way) = way_back(graph, consumer, *from, next) {
                errors.push(GraphError::DivertLoop {
                    edge: graph.edge_name(edge).to_owned(),
                    to: graph.edge_name(to).to_owned(),
                    cycle: names_of(graph, *from, &way),
                });
                return;
            }
        }
    }
}

/// The way from `from` over a step to `to` and on back to `from`, as the stages after `from`.
fn way_back(graph: &Graph, to: StageId, from: StageId, next: impl Fn(StageId) -> Vec<StageId>) -> Option<Vec<StageId>> {
    let mut way = vec![to];
    if to != from {
        way.extend(shortest(graph, to, from, next)?);
    }
    Some(way)
}

fn names_of(graph: &Graph, first: StageId, rest: &[StageId]) -> Vec<String> {
    [first].iter().chain(rest).map(|stage| graph.stage_name(*stage).to_owned()).collect()
}
