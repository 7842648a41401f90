//! A part of a plan, from one component on, for records that come from elsewhere: dead letters, what was left in a buffer.
//!
//! It runs beside the pipeline of the whole plan, so it has nothing that only one can have: no sources, no buffers on disk,
//! no letter boxes, and a data directory of its own. What it cannot deliver stays where it came from, so no buffer in it
//! sheds.

use std::path::Path;
use std::sync::Arc;

use tidegate_components::contract::{BuildContext, SourceConfig};
use tidegate_components::options::{Buffer, WhenFull};
use tidegate_components::wiring::{Input, Node, Part};
use tidegate_flow::StageKind;

use crate::nearest::did_you_mean;
use crate::plan::Plan;
use crate::problem::{Code, Problem, Problems};
use crate::wire::{Wired, built, part};

/// The name of the source. A dot is in no name that a user can give.
pub const SOURCE: &str = "replay.from_disk";

/// Wires the components of a plan from `to` on, with `source` before it. What they keep goes to `data_dir`. Must be called
/// within the tokio runtime that the pipeline is to run on.
///
/// # Errors
/// There is no such component, or it is a source; and as for [`wire`](crate::wire::wire).
pub fn wire_from(
    plan: &Plan,
    to: &str,
    source: Box<dyn SourceConfig>,
    data_dir: &Path,
    cx: &BuildContext,
) -> Result<Wired, Problems> {
    let nodes = behind(plan, to)?;
    // What they keep as dead letters otherwise stays where it came from.
    let keepers = nodes.iter().map(|at| &plan.nodes[*at]).filter(|node| node.dead_letters.is_some());
    let give_back = keepers.map(|node| Arc::from(node.name.as_str())).collect();
    let cx = BuildContext { data_dir: data_dir.to_path_buf(), give_back, ..cx.clone() };
    let mut problems = Problems::new();
    let mut parts: Vec<Node> = nodes.iter().filter_map(|at| part(plan, *at, &mut problems)).collect();
    for node in &mut parts {
        let is_first = &*node.name == to;
        node.dead_letters = None;
        node.buffer = node.buffer.take().filter(|buffer| !buffer.is_on_disk());
        if let Some(buffer) = &mut node.buffer {
            *buffer = Buffer { when_full: WhenFull::Block, ..buffer.clone() };
        }
        let within = |input: &Input| nodes.iter().any(|at| plan.nodes[*at].name == *input.node);
        node.inputs.retain(|input| !is_first && within(input));
        if is_first {
            node.inputs.push(Input::of(SOURCE));
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    parts.insert(
        0,
        Node {
            name: Arc::from(SOURCE),
            inputs: Vec::new(),
            buffer: None,
            columns: None,
            dead_letters: None,
            part: Part::Source(source),
        },
    );
    built(plan, "replay", nodes, parts, &cx)
}

/// The component and all that its records can come to, without what takes dead letters alone.
fn behind(plan: &Plan, to: &str) -> Result<Vec<usize>, Problems> {
    let wrong = |problem: Problem| {
        let mut problems = Problems::new();
        problems.push(problem);
        problems
    };
    let takers = || plan.nodes.iter().filter(|node| node.kind != StageKind::Source).map(|node| node.name.as_str());
    let Some(first) = plan.nodes.iter().position(|node| node.name == to) else {
        let problem = Problem::new(Code::UnknownInput, format!("the file has no component `{to}` to replay to"));
        let known: Vec<_> = takers().map(|name| format!("`{name}`")).collect();
        let near = did_you_mean(to, takers()).unwrap_or_else(|| format!("it has {}", known.join(", ")));
        return Err(wrong(problem.help(near)));
    };
    if plan.nodes[first].kind == StageKind::Source {
        let problem = Problem::new(Code::BadInput, format!("`{to}` is a source, and takes no records"));
        return Err(wrong(problem.at(plan.nodes[first].place, "").help("name a transform or a sink behind it")));
    }
    let used = plan.used();
    let mut reached = vec![false; plan.nodes.len()];
    reached[first] = true;
    for at in plan.order() {
        reached[at] |= used[at] && plan.nodes[at].inputs.iter().any(|input| reached[input.from]);
    }
    Ok((0..plan.nodes.len()).filter(|at| reached[*at]).collect())
}
