//! Where records go that a component refuses for good: `dead_letter: true`, or a table with its limits, for a queue in the
//! data directory, or the name of a sink.
//!
//! Where nothing is written, they go back to their source if that tells its sender, as an HTTP server does. A file, a
//! socket or a generator has nobody to tell, and behind a buffer on disk nobody has: their senders were answered before.
//! Where one of these is before a sink whose receiver may refuse records, such a queue is kept unless `dead_letter: false`
//! says that it is not wanted. A transform has one only where the file says so.

use tidegate_components::contract::{BuildContext, TransformConfig};
use tidegate_components::options::{Buffer, WhenFull};
use tidegate_components::sinks::dead_letter_queue::LettersFull;
use tidegate_components::wiring::LETTER_BOX;
use tidegate_flow::StageKind;

use super::PlanNode;
use super::component::{self, Component, Draft};
use super::upstream::Upstream;
use crate::document::{Declared, Document};
use crate::files::Place;
use crate::nearest::did_you_mean;
use crate::problem::{Code, Problem, Problems};
use crate::tree::{Entry, Key, Node, Table, Text, Value};

const KEY: &str = "dead_letter";

/// The type of the sink that keeps them.
const QUEUE: &str = "dead_letter_queue";

fn value(node: &Node) -> Option<&Node> {
    node.as_table()?.get(KEY)
}

/// The sinks that are named as letter boxes.
pub(super) fn boxes<'a>(document: &Document<'a>) -> Vec<&'a str> {
    let named = |declared: &Declared<'a>| Some(value(declared.node)?.as_text()?.string.as_str());
    document.components.iter().filter(|declared| has_key(declared.kind)).filter_map(named).collect()
}

/// Whether components of this kind have the key.
fn has_key(kind: StageKind) -> bool {
    kind != StageKind::Source
}

/// Checks the values of `dead_letter`.
pub(super) fn check(drafts: &[Draft<'_>], cx: &BuildContext, problems: &mut Problems) {
    for draft in drafts.iter().filter(|draft| has_key(draft.declared.kind)) {
        let Some(node) = value(draft.declared.node) else { continue };
        if let Some(Component::Transform(transform)) = &draft.component
            && takes(node)
        {
            problems_of_transform(draft, &**transform, node.place, problems);
        }
        match &node.value {
            Value::Bool(_) | Value::Null => {}
            Value::Text(text) => problems_of_name(drafts, draft, &text.string, node.place, problems),
            Value::Table(_) => problems_of_queue(draft, node, cx, problems),
            _ => {
                let title = format!("`{KEY}` takes true, a table, or the name of a sink, found {}", node.in_words());
                let problem = Problem::new(Code::WrongType, title).at(node.place, "expected true, a table or text");
                problems.push(problem.help("with true they go to a queue in the data directory: see `tidegate dlq`"));
            }
        }
    }
}

fn problems_of_transform(draft: &Draft<'_>, transform: &dyn TransformConfig, place: Place, problems: &mut Problems) {
    let what = draft.declared.in_words();
    if !transform.refuses_records() {
        let problem = Problem::new(Code::BadSetting, format!("{what} refuses no records, and has no dead letters"));
        problems.push(problem.at(place, "").help("remove it"));
    } else if transform.outputs().len() > 1 {
        let title = format!("{what} says twice where the records go that it fails on");
        let problem = Problem::new(Code::BadSetting, title).at(place, "");
        problems.push(problem.help("remove `dead_letter`, or `reroute_dropped`"));
    }
}

fn problems_of_queue(draft: &Draft<'_>, node: &Node, cx: &BuildContext, problems: &mut Problems) {
    let what = format!("`{KEY}` of {}", draft.declared.in_words());
    let found = component::read_part(StageKind::Sink, QUEUE, node, &what, problems);
    if let Some(Component::Sink(config)) = found {
        super::check::within(draft, KEY, cx, |at| config.check(at), problems);
    }
}

fn problems_of_name(drafts: &[Draft<'_>], of: &Draft<'_>, name: &str, place: Place, problems: &mut Problems) {
    let found = drafts.iter().find(|draft| draft.declared.name.name == name);
    let sinks = drafts.iter().filter(|draft| draft.declared.kind == StageKind::Sink);
    let problem = match found {
        Some(draft) if draft.declared.name == of.declared.name => {
            Problem::new(Code::Cycle, format!("{} refuses its own dead letters", of.declared.in_words()))
        }
        Some(draft) if draft.declared.kind == StageKind::Sink && value(draft.declared.node).is_some_and(takes) => {
            Problem::new(Code::Cycle, format!("`{name}` takes dead letters, and has dead letters itself"))
                .help("one letter box is the end of the way; remove its own `dead_letter`")
        }
        Some(draft) if draft.declared.kind == StageKind::Sink => return,
        Some(draft) => {
            Problem::new(Code::BadInput, format!("`{name}` is a {}; dead letters go to a sink", draft.declared.kind))
        }
        None => {
            let problem = Problem::new(Code::UnknownInput, format!("there is no sink `{name}` for dead letters"));
            match did_you_mean(name, sinks.map(|draft| draft.declared.name.name.as_str())) {
                Some(help) => problem.help(help),
                None => problem.help("name a sink, or write true for a queue in the data directory"),
            }
        }
    };
    problems.push(problem.at(place, ""));
}

fn takes(node: &Node) -> bool {
    !matches!(node.value, Value::Bool(false) | Value::Null)
}

/// Connects the components of a sound plan to their letter boxes, and adds those that have no name.
pub(super) fn connect(nodes: &mut Vec<PlanNode>) {
    for at in 0..nodes.len() {
        if !has_key(nodes[at].kind) {
            continue;
        }
        let written = value(&nodes[at].tree).filter(|node| node.value != Value::Null);
        let letter_box = match written.map(|node| (&node.value, node)) {
            Some((Value::Text(text), _)) => nodes.iter().position(|node| node.name == text.string),
            Some((Value::Bool(true), node)) => add(nodes, at, node.place, None),
            Some((Value::Table(keys), node)) => add(nodes, at, node.place, Some(keys.clone())),
            None if needs_letters(nodes, at) => add(nodes, at, nodes[at].place, None),
            _ => None,
        };
        nodes[at].dead_letters = letter_box;
    }
    nodes.iter_mut().for_each(shed_before);
}

fn add(nodes: &mut Vec<PlanNode>, of: usize, place: Place, keys: Option<Table>) -> Option<usize> {
    let made = queue(&nodes[of].name, place, keys.unwrap_or_default())?;
    nodes.push(made);
    Some(nodes.len() - 1)
}

/// What a full queue sheds of what comes is shed by the edge before it.
fn shed_before(node: &mut PlanNode) {
    if let Component::Sink(sink) = &node.component
        && sink.letter_box().is_some_and(|queue| queue.when_full == LettersFull::DropNewest)
        && node.buffer.is_none()
    {
        node.buffer = Some(Buffer { when_full: WhenFull::DropNewest, ..Buffer::default() });
    }
}

/// Whether the sink may refuse records for good, and somebody who hears of that tells nobody.
fn needs_letters(nodes: &[PlanNode], sink: usize) -> bool {
    let Component::Sink(config) = &nodes[sink].component else { return false };
    let is_letter_box = nodes.iter().any(|node| {
        matches!(value(&node.tree).map(|node| &node.value), Some(Value::Text(text)) if text.string == nodes[sink].name)
    });
    if is_letter_box || !config.refuses_records() {
        return false;
    }
    Upstream::of(nodes, sink, false).gives_up_what_is_refused()
}

/// The sink that keeps the dead letters of a component, with these keys.
fn queue(of: &str, place: Place, keys: Table) -> Option<PlanNode> {
    let kind = Node { value: Value::Text(Text::literal(QUEUE, place.start)), place };
    let mut entries = keys.entries;
    entries.push(Entry { key: Key { name: "type".to_owned(), place }, node: kind });
    let tree = Node { value: Value::Table(Table { entries }), place };
    let component: Component = component::read_again(StageKind::Sink, QUEUE, &tree)?;
    Some(PlanNode {
        // A dot is in no name that a user can give.
        name: format!("{of}{LETTER_BOX}"),
        place,
        kind: StageKind::Sink,
        type_name: QUEUE,
        component,
        inputs: Vec::new(),
        buffer: None,
        columns: None,
        dead_letters: None,
        tree,
    })
}
