//! Where records go that a sink refuses for good: `dead_letter: true` for a file in the data directory, or the name of
//! another sink.
//!
//! Where nothing is written, they go back to their source if that tells its sender, as an HTTP server does. A file, a
//! socket or a generator has nobody to tell, and behind a buffer on disk nobody has: their senders were answered before.
//! Where one of these is before a sink whose receiver may refuse records, such a file is kept unless `dead_letter: false`
//! says that it is not wanted.

use tidegate_flow::StageKind;

use super::component::{self, Component, Draft};
use super::upstream::Upstream;
use super::{PlanNode, Settings, types};
use crate::document::{Declared, Document};
use crate::files::Place;
use crate::nearest::did_you_mean;
use crate::problem::{Code, Problem, Problems};
use crate::tree::{Entry, Key, Node, Table, Text, Value};

const KEY: &str = "dead_letter";

/// The type of the sink that writes the file.
const FILE: &str = "dead_letters";

fn value(node: &Node) -> Option<&Node> {
    node.as_table()?.get(KEY)
}

/// The sinks that are named as letter boxes.
pub(super) fn boxes<'a>(document: &Document<'a>) -> Vec<&'a str> {
    let named = |declared: &Declared<'a>| Some(value(declared.node)?.as_text()?.string.as_str());
    document.components.iter().filter(|declared| declared.kind == StageKind::Sink).filter_map(named).collect()
}

/// Checks the values of `dead_letter`.
pub(super) fn check(drafts: &[Draft<'_>], problems: &mut Problems) {
    for draft in drafts.iter().filter(|draft| draft.declared.kind == StageKind::Sink) {
        let Some(node) = value(draft.declared.node) else { continue };
        match &node.value {
            Value::Bool(true) if types::find(StageKind::Sink, FILE).is_none() => {
                let problem =
                    Problem::new(Code::NotYet, "dead letters need the sink `dead_letters`, which is not available yet");
                problems.push(problem.at(node.place, ""));
            }
            Value::Bool(_) => {}
            Value::Text(text) => problems_of_name(drafts, draft, &text.string, node.place, problems),
            _ => {
                let title = format!("`{KEY}` takes true, or the name of a sink, found {}", node.in_words());
                let problem = Problem::new(Code::WrongType, title).at(node.place, "expected true or text");
                problems.push(problem.help("with true they go to a file in the data directory"));
            }
        }
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
                None => problem.help("name a sink, or write true for a file in the data directory"),
            }
        }
    };
    problems.push(problem.at(place, ""));
}

fn takes(node: &Node) -> bool {
    !matches!(node.value, Value::Bool(false) | Value::Null)
}

/// Connects the sinks of a sound plan to their letter boxes, and adds those that are files.
pub(super) fn connect(nodes: &mut Vec<PlanNode>, settings: &Settings) {
    for at in 0..nodes.len() {
        if nodes[at].kind != StageKind::Sink {
            continue;
        }
        let written = value(&nodes[at].tree).map(|node| (&node.value, node.place));
        let is_unset = written.is_none_or(|(value, _)| *value == Value::Null);
        let by_default = (Value::Bool(true), nodes[at].place);
        let needs_one = is_unset && needs_letters(nodes, at);
        let wanted = if needs_one { Some((&by_default.0, by_default.1)) } else { written };
        let letter_box = match wanted {
            Some((Value::Text(text), _)) => nodes.iter().position(|node| node.name == text.string),
            Some((Value::Bool(true), place)) => {
                let next = nodes.len();
                let made = file(&nodes[at].name, place, settings);
                made.map(|node| {
                    nodes.push(node);
                    next
                })
            }
            _ => None,
        };
        nodes[at].dead_letters = letter_box;
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

/// The sink that writes the dead letters of `sink` to a file of its own.
fn file(sink: &str, place: Place, settings: &Settings) -> Option<PlanNode> {
    let folder = settings.data_dir.join("dead_letters");
    let path = format!("{}/{sink}.ndjson", folder.display());
    let text = |string: &str| Node { value: Value::Text(Text::literal(string, place.start)), place };
    let entry = |name: &str, node| Entry { key: Key { name: name.to_string(), place }, node };
    let table = |entries| Node { value: Value::Table(Table { entries }), place };
    let tree = table(vec![entry("type", text(FILE)), entry("path", text(&path))]);
    let component: Component = component::read_again(StageKind::Sink, FILE, &tree)?;
    Some(PlanNode {
        // A dot is in no name that a user can give.
        name: format!("{sink}.dead_letters"),
        place,
        kind: StageKind::Sink,
        type_name: FILE,
        component,
        inputs: Vec::new(),
        buffer: None,
        columns: None,
        dead_letters: None,
        tree,
    })
}
