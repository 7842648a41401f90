//! What a plan will do, in words and numbers, before it runs: what it holds in memory and where, where it waits, what it
//! may shed, and what each pair of source and sink may rely on.
//!
//! [`explain`] gathers the facts from the plan and from the pipeline that was built of it, so that the figures are those
//! of the run. [`Explanation::to_text`] is for people, [`Explanation::to_json`] for tools.

mod beyond;
mod keeps;
mod kernel;
mod logs;
mod pairs;
mod refused;
mod sheds;
mod text;

use serde::Serialize;
use tidegate_components::columns::Columns;
use tidegate_flow::graph::OnFull;
use tidegate_flow::{Bytes, Graph};

use crate::plan::{Component, Plan};
use crate::wire::Wired;

pub use beyond::Beyond;
pub use kernel::KernelFacts;
pub use logs::LogFacts;
pub use pairs::{Guarantee, Pair};
pub use refused::{QueueFacts, RefusedFacts};
pub use sheds::ShedFacts;

/// The facts about a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The stages: what runs as a task of its own.
    pub stages: Vec<StageFacts>,
    /// The edges: where records wait.
    pub edges: Vec<EdgeFacts>,
    /// The buffers on disk.
    pub logs: Vec<LogFacts>,
    /// What components may shed, beside the edges.
    pub sheds: Vec<ShedFacts>,
    /// The sources: what they do while they are not read.
    pub sources: Vec<SourceFacts>,
    /// What each pair of a source and a sink may rely on.
    pub pairs: Vec<Pair>,
    /// Where records go that sinks refuse for good.
    pub refused: Vec<RefusedFacts>,
    /// What the kernel may hold before sources and behind sinks.
    pub kernel: Vec<KernelFacts>,
    /// The memory budget.
    pub memory: MemoryFacts,
    /// Components that nobody reads, and that are left out.
    pub left_out: Vec<String>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageFacts {
    /// Its name.
    pub name: String,
    /// Source, transform or sink.
    pub kind: String,
    /// The components in it, in order, as `name (type)`: several where transforms are fused.
    pub components: Vec<String>,
    /// The most bytes that it has reserved outside of edges.
    pub holds_bytes: u64,
}

/// One edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeFacts {
    /// Its name: that of the component behind it.
    pub name: String,
    /// The stages that send to it.
    pub from: Vec<String>,
    /// The most records that it holds.
    pub records: u64,
    /// The most bytes that it holds.
    pub bytes: u64,
    /// Whether those bytes are reserved for it, or taken from what floats.
    pub reserved: bool,
    /// What it does when it is full.
    pub when_full: String,
    /// Whether who sends to it waits then.
    pub waits: bool,
    /// Whether records may be shed there.
    pub sheds: bool,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceFacts {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// What it means that it has acknowledged a record.
    pub acked: String,
    /// What its sender notices while it is not read.
    pub blocked: String,
    /// How its records are sorted, where columns are declared.
    pub sorted: Vec<String>,
}

/// The memory budget and what it is divided into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryFacts {
    /// All of it, in bytes.
    pub budget_bytes: u64,
    /// What is reserved, part by part.
    pub parts: Vec<MemoryPart>,
    /// The sum of the parts, in bytes.
    pub reserved_bytes: u64,
    /// What floats: whoever needs it has it for as long, in bytes.
    pub floating_bytes: u64,
    /// What the process takes beside the budget.
    pub beyond: Vec<Beyond>,
    /// The most that the process should ever occupy: the budget and what is beyond it, in bytes.
    pub resident_bytes: u64,
}

/// A part of the budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPart {
    /// The stage or edge.
    pub name: String,
    /// What for.
    pub what: String,
    /// How much.
    pub bytes: u64,
}

/// The facts about a plan and the pipeline that was built of it.
#[must_use]
pub fn explain(plan: &Plan, wired: &Wired) -> Explanation {
    let graph = wired.pipeline.graph();
    let edges = edges(plan, graph);
    let used = plan.used();
    let left_out = plan.nodes.iter().enumerate().filter(|(at, _)| !used[*at]).map(|(_, node)| node.name.clone());
    let sheds = sheds::sheds(plan, &used);
    let logs = logs::logs(plan, &used);
    let mut pairs = pairs::pairs(plan, &edges, &sheds, &logs);
    keeps::add_to(&mut pairs, plan);
    Explanation {
        stages: stages(plan, wired),
        pairs,
        sheds,
        logs,
        edges,
        refused: refused::refused(plan),
        kernel: kernel::kernel(plan, &used),
        sources: sources(plan, &used),
        memory: memory(plan, wired),
        left_out: left_out.collect(),
    }
}

fn stages(plan: &Plan, wired: &Wired) -> Vec<StageFacts> {
    let graph = wired.pipeline.graph();
    let mut stages: Vec<_> = graph
        .stage_ids()
        .map(|id| {
            let stage = graph.stage(id);
            let lines = wired.pipeline.memory().lines().iter();
            let held = lines.filter(|line| *line.name == *stage.name && &*line.what != "edge");
            StageFacts {
                name: stage.name.clone(),
                kind: stage.kind.to_string(),
                components: Vec::new(),
                holds_bytes: held.map(|line| line.minimum).sum::<Bytes>().get(),
            }
        })
        .collect();
    // A fused component belongs to the stage that its only input is in.
    let mut stage_of: Vec<Option<usize>> = vec![None; plan.nodes.len()];
    for at in plan.order() {
        let Some(number) = wired.nodes.iter().position(|wired| *wired == at) else { continue };
        let node = &plan.nodes[at];
        stage_of[at] = match node.inputs.as_slice() {
            [input] if wired.layout.is_fused(number) => stage_of[input.from],
            _ => stages.iter().position(|stage| stage.name == node.name),
        };
        if let Some(stage) = stage_of[at] {
            stages[stage].components.push(format!("{} ({})", node.name, node.type_name));
        }
    }
    for stage in stages.iter_mut().filter(|stage| stage.components.is_empty()) {
        stage.components.push(logs::stage_in_words(&stage.name));
    }
    let place = places(plan);
    stages.sort_by_key(|stage| place(&stage.name));
    stages
}

/// Where something of this name stands on the way of the records: behind what sends to it; an output of a component,
/// which is a fork, right behind that.
fn places(plan: &Plan) -> impl Fn(&str) -> (usize, bool) {
    let order: Vec<String> = plan.order().into_iter().map(|at| plan.nodes[at].name.clone()).collect();
    move |name| {
        let at = |name: &str| order.iter().position(|known| known == name);
        let of_output = || name.split_once('.').and_then(|(node, _)| at(node)).map(|place| (place, true));
        at(name).map(|place| (place, false)).or_else(of_output).unwrap_or((usize::MAX, true))
    }
}

fn edges(plan: &Plan, graph: &Graph) -> Vec<EdgeFacts> {
    let facts = |edge: &tidegate_flow::graph::Edge| {
        let said = plan.node(&edge.name).and_then(|node| node.buffer.as_ref());
        let said = said.filter(|buffer| !buffer.is_on_disk());
        let when_full = match (said, edge.on_full) {
            (Some(buffer), _) => snake(&buffer.when_full),
            (None, OnFull::Block) => "block".to_string(),
            // The edges that are not named after a component shed only before a log.
            (None, OnFull::Shed) => "drop_newest".to_string(),
            (None, OnFull::Fail) => "fail".to_string(),
            (None, OnFull::Divert(_)) => "divert".to_string(),
        };
        let mut from: Vec<_> = edge.from.iter().map(|stage| graph.stage_name(*stage).to_string()).collect();
        from.dedup();
        EdgeFacts {
            name: edge.name.clone(),
            from,
            records: edge.window.records.get(),
            bytes: edge.window.bytes.get(),
            reserved: said.is_some_and(|buffer| buffer.max_size.is_some()),
            when_full,
            waits: edge.on_full == OnFull::Block,
            sheds: edge.on_full == OnFull::Shed,
        }
    };
    let mut edges: Vec<_> = graph.edges().iter().map(facts).collect();
    let place = places(plan);
    edges.sort_by_key(|edge| place(&edge.name));
    edges
}

/// A value as it is written in a file.
fn snake(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
}

fn sources(plan: &Plan, used: &[bool]) -> Vec<SourceFacts> {
    let sources = plan.nodes.iter().enumerate().filter(|(at, _)| used[*at]);
    let facts = |(_, node): (usize, &crate::plan::PlanNode)| match &node.component {
        Component::Source(source) => {
            let exposure = source.exposure();
            Some(SourceFacts {
                name: node.name.clone(),
                type_name: node.type_name.to_string(),
                acked: exposure.acked.to_string(),
                blocked: exposure.blocked.to_string(),
                sorted: node.columns.as_ref().map(Columns::in_words).unwrap_or_default(),
            })
        }
        Component::Transform(_) | Component::Sink(_) => None,
    };
    sources.filter_map(facts).collect()
}

fn memory(plan: &Plan, wired: &Wired) -> MemoryFacts {
    let sum = wired.pipeline.memory();
    let beyond = beyond::beyond(plan);
    let part = |line: &tidegate_flow::budget::PlanLine| MemoryPart {
        name: line.name.to_string(),
        what: line.what.to_string(),
        bytes: line.minimum.get(),
    };
    let extra: u64 = beyond.iter().map(|beyond| beyond.bytes).sum();
    MemoryFacts {
        budget_bytes: sum.total().get(),
        parts: sum.lines().iter().map(part).collect(),
        reserved_bytes: sum.sum().get(),
        floating_bytes: sum.floating().get(),
        resident_bytes: sum.total().get() + extra,
        beyond,
    }
}

impl Explanation {
    /// As a page of text.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::text(self)
    }

    /// As JSON: the fields of the struct.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
