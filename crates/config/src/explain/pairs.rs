//! What a source and a sink may rely on together: the weakest of the source, the way between them, and the sink.

use serde::Serialize;
use tidegate_components::contract::Delivery;

use super::EdgeFacts;
use crate::plan::{Component, Plan};

/// A source and a sink that its records reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The source.
    pub source: String,
    /// The sink.
    pub sink: String,
    /// What holds for records on this way.
    pub guarantee: Guarantee,
    /// Where a record is when the sink has accepted it.
    pub accepted: String,
    /// The edges on the way that may shed, by name.
    pub may_shed_at: Vec<String>,
    /// The guarantee in a sentence.
    pub words: String,
}

/// What holds for the records of a pair.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Each record is delivered, some perhaps twice: whoever has it keeps it until it is.
    AtLeastOnce,
    /// Each record is delivered while the process lives; when it dies, those in flight are lost.
    WhileRunning,
    /// Records may be lost, and are counted.
    BestEffort,
}

/// Every pair of a source and a sink that are joined.
pub(super) fn pairs(plan: &Plan, edges: &[EdgeFacts]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (from, source) in plan.nodes.iter().enumerate() {
        let Component::Source(config) = &source.component else { continue };
        let reached = reached(plan, from);
        for (to, sink) in plan.nodes.iter().enumerate().filter(|(to, _)| reached[*to]) {
            let Component::Sink(sink_config) = &sink.component else { continue };
            let before = before(plan, to);
            let on_way = |edge: &&EdgeFacts| {
                let node = edge.name.split('.').next().unwrap_or_default();
                let at = plan.nodes.iter().position(|known| known.name == edge.name || known.name == node);
                edge.sheds && at.is_some_and(|at| reached[at] && before[at])
            };
            let may_shed_at: Vec<_> = edges.iter().filter(on_way).map(|edge| edge.name.clone()).collect();
            let exposure = config.exposure();
            let expires = source.columns.as_ref().is_some_and(|columns| columns.deadline.is_some());
            let (guarantee, words) = judge(exposure.delivery, sink_config.required(), &may_shed_at, expires);
            pairs.push(Pair {
                source: source.name.clone(),
                sink: sink.name.clone(),
                guarantee,
                accepted: sink_config.accepted().to_string(),
                may_shed_at,
                words,
            });
        }
    }
    pairs
}

fn judge(delivery: Delivery, required: bool, may_shed_at: &[String], expires: bool) -> (Guarantee, String) {
    if !required {
        let words = "best effort: the source does not wait for this sink (acknowledgements: false); what is lost on its \
                     way is counted there";
        return (Guarantee::BestEffort, words.to_string());
    }
    if !may_shed_at.is_empty() {
        let names: Vec<_> = may_shed_at.iter().map(|name| format!("`{name}`")).collect();
        let words = format!("best effort: when {} is full, records are shed there and counted", names.join(" or "));
        return (Guarantee::BestEffort, words);
    }
    if expires {
        let words = "best effort: a record that waits beyond its deadline is given up and counted as expired";
        return (Guarantee::BestEffort, words.to_string());
    }
    match delivery {
        Delivery::Replayed => {
            (Guarantee::AtLeastOnce, "at least once: what is not settled is read again after a restart".to_string())
        }
        Delivery::Answered => (
            Guarantee::AtLeastOnce,
            "at least once: the sender is answered when the sink has accepted, and sends again otherwise".to_string(),
        ),
        Delivery::InFlight => (
            Guarantee::WhileRunning,
            "each record while the process runs; what is in flight when it dies is lost".to_string(),
        ),
        Delivery::Lossy => (
            Guarantee::BestEffort,
            "best effort: what comes while the source is not read is lost, and counted as far as the kernel counts it"
                .to_string(),
        ),
        Delivery::Generated => {
            (Guarantee::WhileRunning, "each record that is made; none of them exists outside".to_string())
        }
    }
}

/// The nodes that the records of `from` reach.
fn reached(plan: &Plan, from: usize) -> Vec<bool> {
    let mut reached = vec![false; plan.nodes.len()];
    reached[from] = true;
    for at in plan.order() {
        reached[at] |= plan.nodes[at].inputs.iter().any(|input| reached[input.from]);
    }
    reached
}

/// The nodes whose records reach `to`.
fn before(plan: &Plan, to: usize) -> Vec<bool> {
    let mut before = vec![false; plan.nodes.len()];
    before[to] = true;
    for at in plan.order().into_iter().rev() {
        if before[at] {
            plan.nodes[at].inputs.iter().for_each(|input| before[input.from] = true);
        }
    }
    before
}
