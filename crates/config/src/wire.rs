//! From a plan to a pipeline that can be started, and from what the runtime refuses to places in the files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_components::contract::BuildContext;
use tidegate_components::wiring::{Input as WireInput, Layout, Node, Part, WireError, join};
use tidegate_flow::budget::PlanSum;
use tidegate_flow::{BudgetError, Bytes};
use tidegate_runtime::{BuildError, Pipeline};

use crate::plan::{Component, Plan, PlanNode, find_key};
use crate::problem::{Code, Problem, Problems};
use crate::words;

/// A pipeline that can be started, and how its nodes became stages.
pub struct Wired {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Which node runs where.
    pub layout: Layout,
    /// The nodes that were wired, in the order of the layout: indexes into the nodes of the plan. Nodes that lead to no
    /// sink are left out.
    pub nodes: Vec<usize>,
}

/// Makes the stages and edges of a plan. The plan can be wired again. Must be called within the tokio runtime that the
/// pipeline is to run on.
///
/// # Errors
/// What the components said when they were started, and what the runtime refuses: a budget that cannot hold the plan, a
/// settle window that is too small, a graph that could deadlock.
pub fn wire(plan: &Plan, name: &str, cx: &BuildContext) -> Result<Wired, Problems> {
    let cx = BuildContext { data_dir: plan.settings.data_dir.clone(), ..cx.clone() };
    let used = plan.used();
    let nodes: Vec<usize> = (0..plan.nodes.len()).filter(|at| used[*at]).collect();
    let mut problems = Problems::new();
    let parts = nodes.iter().filter_map(|at| part(plan, *at, &mut problems)).collect();
    if problems.has_errors() {
        return Err(problems);
    }
    built(plan, name, nodes, parts, &cx)
}

/// Joins the parts that were made of these nodes of a plan, and builds the pipeline.
pub(crate) fn built(
    plan: &Plan,
    name: &str,
    nodes: Vec<usize>,
    parts: Vec<Node>,
    cx: &BuildContext,
) -> Result<Wired, Problems> {
    let mut problems = Problems::new();
    let builder = Pipeline::builder(name).budget(plan.settings.memory.bytes());
    let layout = match join(&builder, parts, cx) {
        Ok(layout) => layout,
        Err(errors) => {
            errors.into_iter().for_each(|error| problems.push(refused(plan, error)));
            return Err(problems);
        }
    };
    match builder.build() {
        Ok(pipeline) => Ok(Wired { pipeline, layout, nodes }),
        Err(errors) => {
            errors.errors().iter().for_each(|error| problems.push(describe(plan, error)));
            Err(problems)
        }
    }
}

/// Wires a plan to look at it, and lets go of it. Nothing that another pipeline may have at the same time
/// is taken: sources listen on ports of the system's choice, and what is kept in the data directory goes to an empty one
/// that is removed again. Must be called within a tokio runtime.
///
/// # Errors
/// As for [`wire`]; addresses and paths are not looked at, which [`PlanNode::probe`] does.
pub fn try_wire<T>(plan: &Plan, cx: &BuildContext, look: impl FnOnce(&Wired) -> T) -> Result<T, Problems> {
    let scratch = Scratch::new();
    let trial = plan.on_trial(&scratch.folder);
    wire(&trial, "plan", cx).map(|wired| look(&wired))
}

/// A folder for a trial, removed with all that is in it.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidegate-trial-{}-{number}", std::process::id()));
        // A component that cannot write there says so itself.
        drop(std::fs::create_dir_all(&folder));
        Self { folder }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The problem for a component that could not be started.
pub(crate) fn refused(plan: &Plan, error: WireError) -> Problem {
    let what = plan.node(&error.node).map_or_else(|| error.node.to_string(), PlanNode::in_words);
    let problem = Problem::new(Code::CannotBuild, format!("{what}: {}", error.error.text));
    let problem = at_node(plan, &error.node, problem);
    match error.error.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// The node of a plan, to be wired.
pub(crate) fn part(plan: &Plan, at: usize, problems: &mut Problems) -> Option<Node> {
    let node = &plan.nodes[at];
    let Some(component) = node.again() else {
        let title = format!("{} cannot be read a second time", node.in_words());
        problems.push(Problem::new(Code::CannotBuild, title).at(node.place, ""));
        return None;
    };
    let part = match component {
        Component::Source(source) => Part::Source(source),
        Component::Transform(transform) => Part::Transform(transform),
        Component::Sink(sink) => Part::Sink(sink),
    };
    let input = |input: &crate::plan::Input| {
        let from = plan.nodes[input.from].name.as_str();
        match &input.output {
            Some(output) => WireInput::named(from, output.as_str()),
            None => WireInput::of(from),
        }
    };
    let dead_letters = node.dead_letters.map(|to| Arc::from(plan.nodes[to].name.as_str()));
    Some(Node {
        name: Arc::from(node.name.as_str()),
        inputs: node.inputs.iter().map(input).collect(),
        buffer: node.buffer.clone(),
        columns: node.columns.clone(),
        dead_letters,
        part,
    })
}

/// The problem for something that the runtime refuses.
pub(crate) fn describe(plan: &Plan, error: &BuildError) -> Problem {
    let text = error.to_string();
    let (title, rest) = text.split_once('\n').map_or((text.as_str(), None), |(title, rest)| (title, Some(rest)));
    let new = |code| {
        let problem = Problem::new(code, title.trim_end_matches(':'));
        match rest {
            Some(rest) => problem.note(rest),
            None => problem,
        }
    };
    match error {
        BuildError::Budget(BudgetError::Minima(sum)) => too_small(plan, sum),
        BuildError::Budget(_) => at_memory(plan, new(Code::BudgetTooSmall)),
        BuildError::Window { source, .. } => at_node(plan, source, new(Code::WindowTooSmall)),
        BuildError::SettleWindow(too_small) => at_node(plan, &too_small.need.name, new(Code::WindowTooSmall)),
        BuildError::Edge(_) => at_named(plan, &text, new(Code::BadBuffer)),
        BuildError::Graph(_) => at_named(plan, &text, new(Code::Deadlock)),
        BuildError::NoRequiredBranch { stage } => at_node(plan, stage, new(Code::CannotBuild))
            .help("remove `acknowledgements: false` from one of the sinks that read it"),
        BuildError::TooFewBranches { stage, .. }
        | BuildError::Dangling { stage }
        | BuildError::Setting { stage, .. } => at_node(plan, stage, new(Code::CannotBuild)),
        BuildError::NoDivertTarget { edge }
        | BuildError::TooManyProducers { edge, .. }
        | BuildError::ForeignPort { port: edge, .. }
        | BuildError::NoSuchLane { edge, .. } => at_node(plan, edge, new(Code::CannotBuild)),
        BuildError::EmptyBatch | BuildError::NoStallThreshold | BuildError::Empty | BuildError::AlreadyBuilt => {
            new(Code::CannotBuild)
        }
    }
}

/// The budget cannot hold what the parts of the plan must have.
fn too_small(plan: &Plan, sum: &PlanSum) -> Problem {
    let (total, need) = (words::bytes(sum.total()), words::bytes(sum.sum()));
    let which = if plan.settings.memory_place.is_some() { "" } else { " (the default)" };
    let title = format!("the budget of {total}{which} cannot hold this plan: its parts need {need}");
    let mut problem = Problem::new(Code::BudgetTooSmall, title);
    if let Some(place) = plan.settings.memory_place {
        problem = problem.at(place, format!("{} are missing", words::bytes(sum.short())));
    }
    // What a user can lower: buffers that were given a size. Where a fork fills them, they are reserved with the fork.
    let in_memory = |node: &PlanNode| node.buffer.as_ref().filter(|buffer| !buffer.is_on_disk())?.max_size;
    let sized = plan.nodes.iter().filter_map(|node| Some((node, in_memory(node)?)));
    let largest = sized.max_by_key(|(_, size)| *size).filter(|(_, size)| size.get() > sum.sum().get() / 8);
    if let Some((node, size)) = largest {
        let place = find_key(&node.tree, "buffer.max_size").0.map_or(node.place, |value| value.place);
        problem = problem.at(place, format!("the largest buffer: {}", words::bytes(size.bytes())));
    }
    problem = problem
        .note(format!("each part reserves what it must have; a fork holds what its buffers share\n{}", table(sum)))
        .help(format!("write at least `memory: {}` at the top", need.replace(' ', "")));
    match largest {
        Some((node, _)) => problem.help(format!("or lower `buffer.max_size` of {}", node.in_words())),
        None => problem,
    }
}

/// The parts and their sum, in the figures of the other lines: rounded up, so that what they add up to is enough.
fn table(sum: &PlanSum) -> String {
    let ends = [("sum", sum.sum(), ""), ("budget", sum.total(), "")];
    let lines = sum.lines().iter().map(|line| (&*line.name, line.minimum, &*line.what)).chain(ends);
    let width = lines.clone().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let row = |(name, bytes, what): (&str, Bytes, &str)| {
        format!("  {name:width$}  {:>10}  {what}", words::bytes(bytes)).trim_end().to_owned()
    };
    lines.map(row).collect::<Vec<_>>().join("\n")
}

fn at_memory(plan: &Plan, problem: Problem) -> Problem {
    match plan.settings.memory_place {
        Some(place) => problem.at(place, ""),
        None => problem,
    }
}

/// At the node of this name, or at the one whose output it is.
fn at_node(plan: &Plan, name: &str, problem: Problem) -> Problem {
    let known = plan.node(name).or_else(|| plan.node(name.split_once('.')?.0));
    match known {
        Some(node) => problem.at(node.place, ""),
        None => problem,
    }
}

/// At the first node that the text names in quotes.
fn at_named(plan: &Plan, text: &str, problem: Problem) -> Problem {
    let named = text.split('"').skip(1).step_by(2).find(|name| plan.node(name).is_some());
    match named {
        Some(name) => at_node(plan, name, problem),
        None => problem,
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::panic)]
mod tests;
