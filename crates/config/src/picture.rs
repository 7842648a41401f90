//! The graph of a plan as a picture: text for a terminal, Mermaid for a document, JSON for tools.

use std::fmt::Write;

use serde_json::{Value, json};
use tidegate_components::options::Buffer;
use tidegate_flow::StageKind;

use crate::plan::{Input, Plan, PlanNode};

/// The graph as text: one block for each component, in the order of the flow, with what it reads and what reads it.
///
/// ```text
/// [source app: file]
///   |
///   +-> parse
/// ```
#[must_use]
pub fn graph_text(plan: &Plan) -> String {
    let mut out = String::new();
    for at in plan.order() {
        let node = &plan.nodes[at];
        let _ = writeln!(out, "{}", boxed(&format!("{} {} ({})", node.kind, node.name, node.type_name)));
        let readers: Vec<_> = readers(plan, at).collect();
        for (index, (reader, input)) in readers.iter().enumerate() {
            let arm = if index + 1 == readers.len() { '`' } else { '|' };
            let output = input.output.as_ref().map(|output| format!(" [{output}]")).unwrap_or_default();
            let buffer = reader.buffer.as_ref().and_then(|buffer| serde_json::to_value(buffer.when_full).ok());
            let full = buffer.as_ref().and_then(Value::as_str).filter(|full| *full != "block");
            let full = full.map(|full| format!("  ({full} when full)")).unwrap_or_default();
            let disk = if is_on_disk(reader) { "  (buffer on disk)" } else { "" };
            let _ = writeln!(out, "   {arm}-->{output} {}{disk}{full}", reader.name);
        }
        if let Some(to) = node.dead_letters {
            let _ = writeln!(out, "   `..> {}  (dead letters)", plan.nodes[to].name);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn boxed(text: &str) -> String {
    let line = "-".repeat(text.chars().count() + 2);
    format!("+{line}+\n| {text} |\n+{line}+")
}

/// The graph as a Mermaid flowchart.
#[must_use]
pub fn graph_mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    for (at, node) in plan.nodes.iter().enumerate() {
        let text = format!("{}<br/>{}", escaped(&node.name), node.type_name);
        let shape = match node.kind {
            StageKind::Source => format!("([\"{text}\"])"),
            StageKind::Transform => format!("[\"{text}\"]"),
            StageKind::Sink => format!("[(\"{text}\")]"),
        };
        let _ = writeln!(out, "  n{at}{shape}");
    }
    for (at, node) in plan.nodes.iter().enumerate() {
        for input in &node.inputs {
            let label = input.output.as_ref().map(|output| format!("|\"{}\"|", escaped(output))).unwrap_or_default();
            // A thick arrow goes over a log.
            let arrow = if is_on_disk(node) { "==>" } else { "-->" };
            let _ = writeln!(out, "  n{} {arrow}{label} n{at}", input.from);
        }
        if let Some(to) = node.dead_letters {
            let _ = writeln!(out, "  n{at} -.->|\"dead letters\"| n{to}");
        }
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// The graph as JSON: `nodes` with `name`, `kind` and `type`, and `edges` with `from`, `output`, `to`,
/// `dead_letters` and `on_disk`.
#[must_use]
pub fn graph_json(plan: &Plan) -> Value {
    let nodes = plan
        .nodes
        .iter()
        .map(|node| json!({ "name": node.name, "kind": node.kind.to_string(), "type": node.type_name }));
    let mut edges = Vec::new();
    for node in &plan.nodes {
        for input in &node.inputs {
            let from = &plan.nodes[input.from].name;
            let on_disk = is_on_disk(node);
            edges.push(json!({
                "from": from, "output": input.output, "to": node.name, "dead_letters": false, "on_disk": on_disk
            }));
        }
        if let Some(to) = node.dead_letters {
            let (to, on_disk) = (&plan.nodes[to].name, is_on_disk(&plan.nodes[to]));
            edges.push(json!({
                "from": node.name, "output": null, "to": to, "dead_letters": true, "on_disk": on_disk
            }));
        }
    }
    json!({ "nodes": nodes.collect::<Vec<_>>(), "edges": edges })
}

/// Whether a log stands before the node.
fn is_on_disk(node: &PlanNode) -> bool {
    node.buffer.as_ref().is_some_and(Buffer::is_on_disk)
}

fn readers(plan: &Plan, at: usize) -> impl Iterator<Item = (&PlanNode, &Input)> {
    let reads = move |node| {
        let node: &PlanNode = node;
        node.inputs.iter().filter(move |input| input.from == at).map(move |input| (node, input))
    };
    plan.nodes.iter().flat_map(reads)
}
