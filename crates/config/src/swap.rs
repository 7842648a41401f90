//! How a running pipeline becomes that of another plan: in place where that can be, else by starting it anew.
//!
//! In place means that the components that changed are put into the places of those that run, and everything else goes
//! on: edges with what waits in them, connections, counters. That can be done for sinks, and for transforms with one
//! output. A change of the graph, of a source, of a buffer or of the budget needs other edges or other windows, and the
//! pipeline is drained and started anew; [`way`] says why.

use tidegate_components::Rows;
use tidegate_components::contract::BuildContext;
use tidegate_components::wiring::{comes_one_way, new_step, put_sink};
use tidegate_flow::StageKind;
use tidegate_runtime::{NewStep, PipelineBuilder, ReplaceError, Running};

use crate::diff::{Change, diff, is_rewired};
use crate::plan::{Claim, Component, Plan, PlanNode, claim};
use crate::problem::{Code, Problem, Problems};
use crate::wire;

/// How one plan follows another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing that runs has changed.
    Nothing,
    /// Some components are replaced while the others go on.
    InPlace(Swap),
    /// The pipeline is drained and the new one started, for this reason.
    Anew(String),
}

/// The components that are to be replaced, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// Sinks.
    pub sinks: Vec<String>,
    /// Transforms.
    pub transforms: Vec<String>,
}

/// Says how a pipeline of `old` becomes one of `new`.
#[must_use]
pub fn way(old: &Plan, new: &Plan) -> Way {
    let diff = diff(old, new);
    if diff.is_empty() {
        return Way::Nothing;
    }
    if diff.settings {
        return Way::Anew("the memory budget or the data directory is another".to_owned());
    }
    let (old_used, new_used) = (old.used(), new.used());
    let mut swap = Swap::default();
    for (name, change) in &diff.components {
        let at = |plan: &Plan| plan.nodes.iter().position(|node| node.name == *name);
        let (before, after) = (at(old), at(new));
        let was_used = before.is_some_and(|at| old_used[at]);
        let is_used = after.is_some_and(|at| new_used[at]);
        let is_same = *change == Change::Unchanged && was_used == is_used;
        if is_same || (!was_used && !is_used) {
            continue;
        }
        let (Some(before), Some(after)) = (before, after) else {
            let what = if after.is_some() { "new" } else { "gone" };
            return Way::Anew(format!("`{name}` is {what}"));
        };
        let (before, after) = (&old.nodes[before], &new.nodes[after]);
        if is_rewired(old, before, new, after) || was_used != is_used {
            return Way::Anew(format!("{} reads from others, or its buffer is another", after.in_words()));
        }
        match in_place(before, after) {
            Err(why) => return Way::Anew(why),
            Ok(()) if after.kind == StageKind::Sink => swap.sinks.push(name.clone()),
            Ok(()) => swap.transforms.push(name.clone()),
        }
    }
    if swap == Swap::default() { Way::Nothing } else { Way::InPlace(swap) }
}

/// Looks at what `new` needs of this machine and `old` did not: addresses and paths of components that are new or changed,
/// and, unless everything is done in place, whether the plan can be wired at all. Nothing that runs is touched. What
/// `old` listens on is taken to be free, since it is given back before. Must be called within a tokio runtime.
///
/// # Errors
/// What could not be had, as `check` would say it.
pub fn probe(old: &Plan, new: &Plan, cx: &BuildContext) -> Result<(), Problems> {
    let cx = BuildContext { data_dir: new.settings.data_dir.clone(), ..cx.clone() };
    let claims = |plan: &Plan| -> Vec<Claim> {
        let claims = plan.nodes.iter().filter_map(|node| claim(node.kind, node.type_name, &node.tree));
        claims.map(|(claim, _)| claim).collect()
    };
    let held = claims(old);
    let used = new.used();
    let mut problems = Problems::new();
    for (name, change) in diff(old, new).components {
        let Some(at) = new.nodes.iter().position(|node| node.name == name).filter(|at| used[*at]) else { continue };
        let node = &new.nodes[at];
        let is_ours = || {
            let claim = claim(node.kind, node.type_name, &node.tree);
            claim.is_some_and(|(claim, _)| held.iter().any(|held| held.clashes(&claim)))
        };
        let was_unused = old.nodes.iter().zip(old.used()).any(|(before, used)| before.name == name && !used);
        if was_unused || matches!(change, Change::Added | Change::Changed) {
            let found = node.probe(&cx);
            let is_address = |problem: &Problem| problem.code == Code::PortInUse;
            let lasting = found.sorted().into_iter().filter(|problem| !(is_address(problem) && is_ours()));
            lasting.for_each(|problem| problems.push(problem.clone()));
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    if matches!(way(old, new), Way::Anew(_)) { wire::try_wire(new, &cx, |_| ()) } else { Ok(()) }
}

/// Whether a component can be put into the place of another, or why not.
fn in_place(before: &PlanNode, after: &PlanNode) -> Result<(), String> {
    match (&before.component, &after.component) {
        (Component::Sink(before), Component::Sink(now)) if before.letter_box().or(now.letter_box()).is_some() => {
            Err(format!("the log of {} is another", after.in_words()))
        }
        (Component::Sink(before), Component::Sink(now)) if before.required() == now.required() => Ok(()),
        (Component::Sink(_), Component::Sink(_)) => {
            Err(format!("whether sources wait for {} is another", after.in_words()))
        }
        (Component::Transform(_), Component::Transform(_)) if before.dead_letters.or(after.dead_letters).is_some() => {
            Err(format!("{} has dead letters", after.in_words()))
        }
        (Component::Transform(before), Component::Transform(now)) => {
            if before.outputs().is_empty() && now.outputs().is_empty() {
                Ok(())
            } else {
                Err(format!("{} has several outputs", after.in_words()))
            }
        }
        (Component::Source(_), Component::Source(_)) => Err(format!("{} is another", after.in_words())),
        _ => Err(format!("{} was of another kind", after.in_words())),
    }
}

impl Swap {
    /// "1 sink replaced (search); 2 sources, 3 transforms, 1 sink untouched".
    #[must_use]
    pub fn in_words(&self, plan: &Plan) -> String {
        let replaced = [(&self.transforms, "transform"), (&self.sinks, "sink")];
        let replaced = replaced.into_iter().filter(|(names, _)| !names.is_empty());
        let replaced: Vec<_> = replaced
            .map(|(names, kind)| format!("{} replaced ({})", counted(names.len(), kind), names.join(", ")))
            .collect();
        let all = |kind: StageKind| plan.nodes.iter().filter(|node| node.kind == kind).count();
        let untouched = [
            (all(StageKind::Source), "source"),
            (all(StageKind::Transform).saturating_sub(self.transforms.len()), "transform"),
            (all(StageKind::Sink).saturating_sub(self.sinks.len()), "sink"),
        ];
        let untouched = untouched.into_iter().filter(|(count, _)| *count > 0);
        let untouched: Vec<_> = untouched.map(|(count, kind)| counted(count, kind)).collect();
        format!("{}; {} untouched", replaced.join(", "), untouched.join(", "))
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// New components, started and not yet in their places.
pub struct Prepared {
    builder: PipelineBuilder,
    sinks: Vec<String>,
    steps: Vec<NewStep<Rows>>,
}

/// Makes the components of `swap` as `plan` has them. Nothing that runs is touched. Must be called within the tokio
/// runtime of the pipeline.
///
/// # Errors
/// What the components said when they were made.
pub fn prepare(running: &Running, plan: &Plan, swap: &Swap, cx: &BuildContext) -> Result<Prepared, Problems> {
    let mut prepared = Prepared { builder: running.places(), sinks: swap.sinks.clone(), steps: Vec::new() };
    let mut problems = Problems::new();
    for (at, node) in plan.nodes.iter().enumerate() {
        let (is_sink, is_step) = (swap.sinks.contains(&node.name), swap.transforms.contains(&node.name));
        if !is_sink && !is_step {
            continue;
        }
        let Some(part) = wire::part(plan, at, &mut problems) else { continue };
        let made = if is_sink {
            put_sink(&prepared.builder, part, cx)
        } else {
            let inputs: Vec<Vec<usize>> =
                plan.nodes.iter().map(|node| node.inputs.iter().map(|input| input.from).collect()).collect();
            new_step(part, &cx.clone().one_way(comes_one_way(&inputs, at))).map(|step| prepared.steps.push(step))
        };
        if let Err(error) = made {
            problems.push(wire::refused(plan, error));
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(prepared) }
}

impl Prepared {
    /// Puts the components into their places; see [`Running::replace`].
    ///
    /// # Errors
    /// The old ones go on; see [`ReplaceError`].
    pub async fn put(self, running: &mut Running) -> Result<(), ReplaceError> {
        let Self { builder, sinks, steps } = self;
        let sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
        running.replace(&builder, &sinks, steps).await
    }
}
