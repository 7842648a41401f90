//! Reads one component: its type, its own configuration, and what all of its kind have (`inputs`, `buffer`).

use serde::Deserialize;
use tidegate_components::columns::Columns;
use tidegate_components::contract::{Ignored, SinkConfig, SourceConfig, TransformConfig};
use tidegate_components::options::Buffer;
use tidegate_flow::StageKind;

use super::types::{self, Kind};
use super::{Input, PlanNode};
use crate::document::Declared;
use crate::files::Place;
use crate::nearest::nearest;
use crate::problem::{Code, Problem, Problems};
use crate::read::{Describe, Subject, read};
use crate::tree::{Node, Text, Value};

/// The configuration of a component.
#[derive(Debug)]
pub enum Component {
    /// Of a source.
    Source(Box<dyn SourceConfig>),
    /// Of a transform.
    Transform(Box<dyn TransformConfig>),
    /// Of a sink.
    Sink(Box<dyn SinkConfig>),
}

/// A component as far as it could be read.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) declared: Declared<'a>,
    /// What its `type` names; `None` where that is nothing.
    pub(super) kind: Option<Kind>,
    /// Its configuration; `None` where it could not be read.
    pub(crate) component: Option<Component>,
    /// What is named in `inputs`.
    pub(super) inputs: Vec<Named<'a>>,
    /// What is said under `buffer` or `columns`; `None` where that could not be read.
    pub(super) common: Option<Common>,
}

/// A name in `inputs`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
}

/// What all components of a kind have in common: transforms and sinks a buffer, sources columns.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Common {
    pub(super) buffer: Option<Buffer>,
    pub(super) columns: Option<Columns>,
}

impl Draft<'_> {
    /// What its `type` names; `None` where that is nothing.
    pub(super) fn type_name(&self) -> Option<&'static str> {
        self.kind.map(|kind| kind.name())
    }

    /// The node of the plan; `None` where the component could not be read.
    pub(super) fn into_node(self, inputs: Vec<Input>) -> Option<PlanNode> {
        let type_name = self.type_name()?;
        let common = self.common?;
        Some(PlanNode {
            name: self.declared.name.name.clone(),
            place: self.declared.name.place,
            kind: self.declared.kind,
            type_name,
            component: self.component?,
            inputs,
            buffer: common.buffer,
            columns: common.columns,
            dead_letters: None,
            tree: self.declared.node.clone(),
        })
    }
}

/// Reads a component. A letter box, a sink that takes dead letters, needs no inputs.
pub(super) fn read_one<'a>(declared: Declared<'a>, is_letter_box: bool, problems: &mut Problems) -> Draft<'a> {
    if declared.broken {
        return Draft { declared, kind: None, component: None, inputs: Vec::new(), common: None };
    }
    let kind = type_of(declared, problems);
    let what = declared.in_words();
    let is_source = declared.kind == StageKind::Source;
    if let Some(entry) = declared.node.as_table().and_then(|table| table.entry(GRAPH)) {
        let problem =
            Problem::new(Code::WithoutEffect, format!("`{GRAPH}` is a key of Vector that has no effect here"));
        problems.push(problem.at(entry.key.place, "ignored").note("`tidegate graph` draws all components alike"));
    }
    let subject = |ignored, lacking, schema| Subject {
        node: declared.node,
        name_place: declared.name.place,
        what: &what,
        skip: keys_of(declared.kind),
        ignored,
        lacking,
        schema: Some(schema),
    };
    let component = kind.and_then(|kind| read_config(kind, subject, problems));
    let common = read_common(declared, &what, problems);
    let inputs = if is_source { Vec::new() } else { read_inputs(declared, is_letter_box, problems) };
    Draft { declared, kind, component, inputs, common }
}

/// Reads a configuration that was read before.
pub(super) fn read_again(kind: StageKind, type_name: &str, node: &Node) -> Option<Component> {
    let skip = keys_of(kind);
    let subject = |ignored, lacking, schema| {
        let schema = Some(schema);
        Subject { node, name_place: node.place, what: type_name, skip, ignored, lacking, schema }
    };
    read_config(types::find(kind, type_name)?, subject, &mut Problems::new())
}

/// Reads a configuration that stands under a key of another component.
pub(super) fn read_part(
    kind: StageKind,
    type_name: &str,
    node: &Node,
    what: &str,
    problems: &mut Problems,
) -> Option<Component> {
    let subject = |ignored, lacking, schema| {
        let schema = Some(schema);
        Subject { node, name_place: node.place, what, skip: &[], ignored, lacking, schema }
    };
    read_config(types::find(kind, type_name)?, subject, problems)
}

/// How Vector's own picture of the graph shows a component.
const GRAPH: &str = "graph";

/// The keys that are not the component's own.
const OF_SOURCES: &[&str] = &["type", "columns", GRAPH];
const OF_TRANSFORMS: &[&str] = &["type", "inputs", "buffer", "dead_letter", GRAPH];
const OF_SINKS: &[&str] = &["type", "inputs", "buffer", "dead_letter", GRAPH];

fn keys_of(kind: StageKind) -> &'static [&'static str] {
    match kind {
        StageKind::Source => OF_SOURCES,
        StageKind::Transform => OF_TRANSFORMS,
        StageKind::Sink => OF_SINKS,
    }
}

fn read_config<'a>(
    kind: Kind,
    subject: impl Fn(&'static [Ignored], &'static [Ignored], Describe) -> Subject<'a>,
    problems: &mut Problems,
) -> Option<Component> {
    macro_rules! parsed {
        ($kind:expr, $variant:ident) => {
            read(subject($kind.ignored, $kind.lacking, $kind.schema), problems, |reader| {
                ($kind.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(reader))
            })
            .map(Component::$variant)
        };
    }
    match kind {
        Kind::Source(kind) => parsed!(kind, Source),
        Kind::Transform(kind) => parsed!(kind, Transform),
        Kind::Sink(kind) => parsed!(kind, Sink),
    }
}

fn read_common(declared: Declared<'_>, what: &str, problems: &mut Problems) -> Option<Common> {
    let table = declared.node.as_table()?;
    let own = if declared.kind == StageKind::Source { "columns" } else { "buffer" };
    let names = table.entries.iter().map(|entry| entry.key.name.as_str());
    let others: Vec<&str> = names.filter(|name| *name != own).collect();
    let (node, name_place) = (declared.node, declared.name.place);
    let subject = Subject { node, name_place, what, skip: &others, ignored: &[], lacking: &[], schema: None };
    read(subject, problems, |reader| Common::deserialize(reader))
}

/// The type that the component names.
fn type_of(declared: Declared<'_>, problems: &mut Problems) -> Option<Kind> {
    let what = declared.in_words();
    let Some(node) = declared.node.as_table().and_then(|table| table.get("type")) else {
        let problem = Problem::new(Code::MissingKey, format!("{what} needs the key `type`"));
        let problem = problem.at(declared.name.place, "`type` is missing here");
        problems.push(problem.help(format!("write one of {}", types::names(declared.kind).join(", "))));
        return None;
    };
    let Value::Text(Text { string, broken, .. }) = &node.value else {
        let title = format!("`type` takes the name of a {}, found {}", declared.kind, node.in_words());
        problems.push(Problem::new(Code::WrongType, title).at(node.place, "expected text"));
        return None;
    };
    let found = types::find(declared.kind, string);
    if found.is_none() && !broken {
        problems.push(types::unknown(declared.kind, string, node.place));
    }
    found
}

/// What is named in `inputs`: a list of names, or a single one.
fn read_inputs<'a>(declared: Declared<'a>, is_letter_box: bool, problems: &mut Problems) -> Vec<Named<'a>> {
    let what = declared.in_words();
    let missing = |place, label: &str| {
        let problem = Problem::new(Code::NoInputs, format!("{what} has no inputs")).at(place, label);
        problem.help("name what it reads: inputs: [name]")
    };
    let Some(node) = declared.node.as_table().and_then(|table| table.get("inputs")) else {
        // A key that is nearly this one is reported as unknown, with this one as the likely fix.
        let mut keys = declared.node.as_table().into_iter().flat_map(|table| &table.entries);
        let is_meant =
            keys.any(|entry| nearest(&entry.key.name, keys_of(declared.kind).iter().copied()) == Some("inputs"));
        if is_letter_box || is_meant {
            return Vec::new();
        }
        problems.push(missing(declared.name.place, "`inputs` is missing here"));
        return Vec::new();
    };
    let mut named = Vec::new();
    let list = match &node.value {
        Value::List(list) => list.as_slice(),
        Value::Text(_) => std::slice::from_ref(node),
        _ => {
            let title = format!("`inputs` takes a list of names, found {}", node.in_words());
            problems.push(Problem::new(Code::WrongType, title).at(node.place, "").help("write inputs: [name]"));
            return Vec::new();
        }
    };
    if list.is_empty() {
        problems.push(missing(node.place, "the list is empty"));
    }
    for node in list {
        match &node.value {
            Value::Text(text) if text.broken => {}
            Value::Text(text) => named.push(Named { name: &text.string, place: node.place }),
            _ => problems.push(no_name(node)),
        }
    }
    named
}

fn no_name(node: &Node) -> Problem {
    let title = format!("`inputs` takes names, found {}", node.in_words());
    Problem::new(Code::WrongType, title)
        .at(node.place, "expected text")
        .help("put a name that looks like a number in quotes")
}
