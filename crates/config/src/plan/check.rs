//! Lets each component check itself, and finds the places of what it reports.

use tidegate_components::contract::{BuildContext, Check, Class, Depth, Level, Problem as Reported};

use super::component::{Component, Draft};
use super::{PlanNode, keys};
use crate::files::Place;
use crate::problem::{Code, Problem, Problems};
use crate::tree::Node;

/// Checks one component, as far as it could be read.
pub(super) fn check(draft: &Draft<'_>, cx: &BuildContext, depth: Depth, problems: &mut Problems) {
    for report in reports(draft, cx, depth) {
        // What the environment did not give was reported, and is no mistake of its own.
        let is_broken = keys::find(draft.declared.node, &report.key).0.is_some_and(Node::is_broken);
        if !is_broken {
            problems.push(describe(Checked::of(draft), &report));
        }
    }
}

/// Checks what stands under a key of a component.
pub(super) fn within(
    draft: &Draft<'_>,
    key: &'static str,
    cx: &BuildContext,
    check: impl FnOnce(&mut Check<'_>),
    problems: &mut Problems,
) {
    let mut at = Check::new(cx, Depth::Values);
    at.under(key, check);
    at.into_problems().iter().for_each(|report| problems.push(describe(Checked::of(draft), report)));
}

/// What is wrong with the paths and addresses of a node that was checked but for them.
pub(super) fn surroundings(node: &PlanNode, cx: &BuildContext) -> Problems {
    let cx = cx.for_node(&node.name.as_str().into());
    let mut at = Check::new(&cx, Depth::Surroundings);
    match &node.component {
        Component::Source(config) => config.check(&mut at),
        Component::Transform(config) => config.check(&mut at),
        Component::Sink(config) => config.check(&mut at),
    }
    let mut problems = Problems::new();
    let outside = |report: &Reported| matches!(report.class, Class::Path | Class::Address);
    for report in at.into_problems().iter().filter(|report| report.level == Level::Error && outside(report)) {
        let checked = Checked { tree: &node.tree, place: node.place, in_words: node.in_words() };
        problems.push(describe(checked, report));
    }
    problems
}

/// A component, as far as messages show it.
struct Checked<'a> {
    tree: &'a Node,
    /// Where its name stands.
    place: Place,
    in_words: String,
}

impl<'a> Checked<'a> {
    fn of(draft: &Draft<'a>) -> Self {
        let declared = draft.declared;
        Self { tree: declared.node, place: declared.name.place, in_words: declared.in_words() }
    }
}

fn reports(draft: &Draft<'_>, cx: &BuildContext, depth: Depth) -> Vec<Reported> {
    let cx = cx.for_node(&draft.declared.name.name.as_str().into());
    let mut at = Check::new(&cx, depth);
    match &draft.component {
        Some(Component::Source(config)) => config.check(&mut at),
        Some(Component::Transform(config)) => config.check(&mut at),
        Some(Component::Sink(config)) => config.check(&mut at),
        None => {}
    }
    let Some(common) = &draft.common else { return at.into_problems() };
    if let Some(buffer) = &common.buffer {
        at.under("buffer", |at| buffer.check(at));
    }
    if let Some(columns) = &common.columns {
        at.under("columns", |at| columns.check(at));
        let sorts = matches!(&draft.component, Some(Component::Source(source)) if source.can_sort());
        if columns.sorts() && draft.component.is_some() && !sorts {
            let key = if columns.key.is_some() { "columns.key" } else { "columns.priority" };
            at.refuse(key, "the records of one request cannot go different ways yet: they are answered together")
                .about(Class::Later)
                .help("remove it; `deadline` works here too");
        }
    }
    at.into_problems()
}

fn describe(checked: Checked<'_>, report: &Reported) -> Problem {
    let code = code_of(report);
    let (node, whole) = keys::find(checked.tree, &report.key);
    let (title, label) = match report.key.as_str() {
        "" => (format!("{}: {}", checked.in_words, report.text), String::new()),
        _ if report.within.is_some() => (report.text.clone(), String::new()),
        key if whole => (format!("`{key}`: {}", report.text), String::new()),
        // A default, or what the key contradicts, is what is wrong.
        key => (format!("{}: `{key}`: {}", checked.in_words, report.text), format!("`{key}` is not set here")),
    };
    let place = match (node, &report.within) {
        (Some(node), Some(range)) => keys::within(node, range.clone()),
        (Some(node), None) => node.place,
        (None, _) => checked.place,
    };
    let problem = Problem::new(code, title).at(place, label);
    match &report.help {
        Some(help) if report.within.is_some() => compiler_helps(problem, help),
        Some(help) => problem.help(help.clone()),
        None => problem,
    }
}

/// The compiler of VRL has several things to say, joined to one line: each has its own here, and links come last.
fn compiler_helps(problem: Problem, help: &str) -> Problem {
    let help = help.replace(":; ", ": ");
    let (links, advice): (Vec<_>, Vec<_>) = help.split("; ").partition(|part| part.starts_with("see "));
    let problem = advice
        .into_iter()
        .fold(problem, |problem, part| problem.help(part.trim_start_matches("hint: ").trim_start_matches("help: ")));
    links.into_iter().fold(problem, |problem, part| problem.note(part))
}

fn code_of(report: &Reported) -> Code {
    match (report.level, report.class) {
        (Level::Error, Class::Later) => Code::NotYet,
        (Level::Warning, Class::Later) => Code::NoEffectYet,
        (Level::Error, Class::Path) => Code::BadPath,
        (Level::Error, Class::Address) => Code::PortInUse,
        (Level::Error, Class::Program) => Code::Vrl,
        (Level::Warning, Class::Program) => Code::VrlWarning,
        (Level::Error, Class::Setting) if report.key.starts_with("buffer") => Code::BadBuffer,
        (Level::Error, Class::Setting) => Code::BadSetting,
        (Level::Warning, Class::Setting | Class::Path | Class::Address) => Code::DoubtfulSetting,
    }
}
