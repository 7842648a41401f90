//! What a source and a sink may rely on together: the weakest of the source, the way between them, and the sink.

use serde::Serialize;
use tidegate_components::contract::{Delivery, Ids, SinkConfig, SourceConfig};

use super::{EdgeFacts, LogFacts, ShedFacts};
use crate::plan::{Component, Plan, PlanNode};

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
    /// The edges and components on the way that may shed any record, by name.
    pub may_shed_at: Vec<String>,
    /// The guarantee in a sentence.
    pub words: String,
}

/// What holds for the records of a pair.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Each record is delivered, and a receiver that looks at ids, as the file says that it does, has it once.
    ExactlyOnceEffect,
    /// Each record is delivered, some perhaps twice: whoever has it keeps it until it is. The words say after what.
    AtLeastOnce,
    /// Each record is delivered while the process lives; when it dies, those in flight are lost.
    WhileRunning,
    /// Records may be lost, and are counted.
    BestEffort,
}

/// Every pair of a source and a sink that are joined.
pub(super) fn pairs(plan: &Plan, edges: &[EdgeFacts], sheds: &[ShedFacts], logs: &[LogFacts]) -> Vec<Pair> {
    let (mut pairs, order) = (Vec::new(), plan.order());
    for (from, source) in plan.nodes.iter().enumerate() {
        let Component::Source(config) = &source.component else { continue };
        let reached = reached_by(plan, from, |_| true);
        let beside_logs = reached_by(plan, from, |node| !node.has_log());
        for (to, sink) in plan.nodes.iter().enumerate().filter(|(to, _)| reached[*to]) {
            let Component::Sink(sink_config) = &sink.component else { continue };
            let before = plan.before(to);
            let on_way = |edge: &&EdgeFacts| {
                let node = edge.name.split('.').next().unwrap_or_default();
                let at = plan.nodes.iter().position(|known| known.name == edge.name || known.name == node);
                edge.sheds && at.is_some_and(|at| reached[at] && before[at])
            };
            let way = Way {
                edges: edges.iter().filter(on_way).collect(),
                sheds: sheds.iter().filter(|shed| is_between(plan, &shed.name, &reached, &before)).collect(),
                log: order
                    .iter()
                    .filter(|at| !beside_logs[to] && reached[**at] && before[**at])
                    .find_map(|at| logs.iter().find(|log| log.name == plan.nodes[*at].name)),
                expires: source.columns.as_ref().is_some_and(|columns| columns.deadline.is_some()),
                is_only: ways(plan, from, to) == 1,
                merges: merges(plan, &reached, &before),
            };
            let (guarantee, words) = way.judge(config.as_ref(), sink_config.as_ref());
            let edges = way.edges.iter().map(|edge| edge.name.clone());
            let may_shed_at = edges.chain(way.sheds_any().map(|shed| shed.name.clone())).collect();
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

/// Whether a node stands between a source and a sink, both included.
fn is_between(plan: &Plan, name: &str, reached: &[bool], before: &[bool]) -> bool {
    plan.nodes.iter().position(|node| node.name == name).is_some_and(|at| reached[at] && before[at])
}

/// What stands between a source and a sink.
struct Way<'a> {
    /// The edges that may shed.
    edges: Vec<&'a EdgeFacts>,
    /// What its components may shed.
    sheds: Vec<&'a ShedFacts>,
    /// The first buffer on disk, where no record comes past them all.
    log: Option<&'a LogFacts>,
    /// Whether its records have deadlines.
    expires: bool,
    /// Whether there is no other.
    is_only: bool,
    /// Whether the ids that sources gave do not come as far as the sink.
    merges: bool,
}

impl<'a> Way<'a> {
    fn sheds_any(&self) -> impl Iterator<Item = &'a ShedFacts> {
        self.sheds.iter().copied().filter(|shed| shed.any)
    }

    /// What holds, and a sentence that says so.
    fn judge(&self, source: &dyn SourceConfig, sink: &dyn SinkConfig) -> (Guarantee, String) {
        let delivery = source.exposure().delivery;
        let (mut guarantee, mut words) = self.under_pressure(delivery, sink.required());
        if guarantee == Guarantee::AtLeastOnce {
            if self.keeps_ids() && source.ids() == Ids::Stable && sink.receiver_is_idempotent() {
                guarantee = Guarantee::ExactlyOnceEffect;
                words = words.replacen("at least once", "exactly once in effect", 1)
                    + "; what is sent again the receiver knows by its id and does not take again (idempotent: true), if the \
                       ids of a request fit in its header (4 KiB); otherwise it knows the very same request alone";
            } else {
                words += &self.twice(delivery, source.ids(), sink);
            }
        }
        let unfit: Vec<_> = self.sheds.iter().filter(|shed| !shed.any).map(|shed| shed.what.as_str()).collect();
        if !unfit.is_empty() && guarantee != Guarantee::BestEffort {
            words += &format!("; except {}, which are counted", unfit.join(" and "));
        }
        (guarantee, words)
    }

    /// Whether a record is known to the sink by the id that its source gave it, and is alone there with it.
    fn keeps_ids(&self) -> bool {
        self.is_only && !self.merges
    }

    /// After what a record comes twice, all of it.
    fn twice(&self, delivery: Delivery, ids: Ids, sink: &dyn SinkConfig) -> String {
        let mut after = vec!["tidegate died, lost its power or was stopped before it had drained"];
        after.extend((delivery == Delivery::Answered).then_some("a sender was not answered in time and sent again"));
        after.extend(sink.repeats());
        after.push("a sink behind the same source gave records back");
        let last = after.pop().unwrap_or_default();
        let mut words = format!("; twice only after {}, or {last}", after.join(", "));
        if !self.is_only {
            words += "; a record that takes several ways comes by each of them";
            words += if sink.receiver_is_idempotent() { ", and the receiver takes the first that comes" } else { "" };
        }
        if self.keeps_ids() && ids == Ids::OfSender && sink.receiver_is_idempotent() {
            words += "; the receiver takes those once that come again with the ids that their sender gave them";
        }
        words
    }

    fn under_pressure(&self, delivery: Delivery, required: bool) -> (Guarantee, String) {
        if !required {
            let words = "best effort: the source does not wait for this sink (acknowledgements: false); what is lost on \
                         its way is counted there";
            return (Guarantee::BestEffort, words.to_string());
        }
        let edges: Vec<_> = self.edges.iter().map(|edge| format!("`{}`", edge.name)).collect();
        let edges = (!edges.is_empty()).then(|| format!("when {} is full, records are shed there", edges.join(" or ")));
        let sheds = self.sheds_any().map(|shed| format!("`{}` sheds {}", shed.name, shed.what));
        let lost: Vec<_> = edges.into_iter().chain(sheds).collect();
        if !lost.is_empty() {
            return (Guarantee::BestEffort, format!("best effort: {}; each loss is counted", lost.join("; ")));
        }
        if self.expires {
            let words = "best effort: a record that waits beyond its deadline is given up and counted as expired";
            return (Guarantee::BestEffort, words.to_string());
        }
        self.log.and_then(|log| over_log(delivery, log)).unwrap_or_else(|| of_source(delivery))
    }
}

/// What the source alone gives.
fn of_source(delivery: Delivery) -> (Guarantee, String) {
    let (guarantee, words) = match delivery {
        Delivery::Replayed => {
            (Guarantee::AtLeastOnce, "at least once: what is not settled is read again after a restart")
        }
        Delivery::Answered => (
            Guarantee::AtLeastOnce,
            "at least once: the sender is answered when the sink has accepted, and sends again otherwise",
        ),
        Delivery::InFlight => {
            (Guarantee::WhileRunning, "each record while the process runs; what is in flight when it dies is lost")
        }
        Delivery::Lossy => (
            Guarantee::BestEffort,
            "best effort: what comes while the source is not read is lost, and counted as far as the kernel counts it",
        ),
        Delivery::Generated => (Guarantee::WhileRunning, "each record that is made; none of them exists outside"),
    };
    (guarantee, words.to_string())
}

/// How many ways lead from a source to a sink: two are seen as many.
fn ways(plan: &Plan, from: usize, to: usize) -> usize {
    let mut ways = vec![0_usize; plan.nodes.len()];
    ways[from] = 1;
    for at in plan.order().into_iter().filter(|at| *at != from) {
        ways[at] = plan.nodes[at].inputs.iter().map(|input| ways[input.from]).sum::<usize>().min(2);
    }
    ways[to]
}

/// Whether something on the way makes records of others, which then have ids of their own.
fn merges(plan: &Plan, reached: &[bool], before: &[bool]) -> bool {
    plan.nodes.iter().enumerate().any(|(at, node)| reached[at] && before[at] && node.type_name == "reduce")
}

/// With a log on the way: who sends need not wait for the sink.
fn over_log(delivery: Delivery, log: &LogFacts) -> Option<(Guarantee, String)> {
    let (writes_all, log) = (log.write == "always", &log.name);
    let what = match delivery {
        Delivery::Replayed if !writes_all => {
            "what was neither accepted by the sink nor is on disk there is read again after a restart"
        }
        Delivery::Answered if !writes_all => {
            "the sender is answered when the sink has accepted its records or they are on disk there, and sends again \
             otherwise"
        }
        Delivery::Replayed => "what is not on disk there is read again after a restart",
        Delivery::Answered => "the sender is answered when its records are on disk there, and sends again otherwise",
        Delivery::InFlight => {
            let words = format!(
                "each record that is {} the buffer of `{log}`, also when the process dies; what had not come so far is lost \
                 then",
                if writes_all { "in" } else { "on disk in" }
            );
            return Some((Guarantee::WhileRunning, words));
        }
        Delivery::Lossy | Delivery::Generated => return None,
    };
    Some((Guarantee::AtLeastOnce, format!("at least once, over the buffer of `{log}`: {what}")))
}

/// The nodes that the records of `from` reach through those that `lets` them in.
fn reached_by(plan: &Plan, from: usize, lets: impl Fn(&PlanNode) -> bool) -> Vec<bool> {
    let mut reached = vec![false; plan.nodes.len()];
    reached[from] = true;
    for at in plan.order() {
        let node = &plan.nodes[at];
        reached[at] |= lets(node) && node.inputs.iter().any(|input| reached[input.from]);
    }
    reached
}
