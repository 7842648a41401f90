//! Reads the unit tests of a file, and finds the transforms that they name.

use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_flow::StageKind;
use tidegate_remap::{Condition, Diagnostic, Options, Program, Severity};

use super::{Case, Expect, Given, Insert, Output, Source};
use crate::files::Place;
use crate::nearest::did_you_mean;
use crate::plan::{Component, Draft};
use crate::problem::{Code, Problem, Problems};
use crate::read::{Subject, read};
use crate::tree::{Entry, Node, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    input: Option<RawInput>,
    #[serde(default)]
    inputs: Vec<RawInput>,
    #[serde(default)]
    outputs: Vec<RawOutput>,
    #[serde(default)]
    no_outputs_from: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    insert_at: OneOrMore,
    #[serde(default, rename = "type")]
    kind: RawKind,
    value: Option<String>,
    log_fields: Option<serde_json::Map<String, Json>>,
    source: Option<String>,
}

#[derive(Copy, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    #[default]
    Raw,
    Log,
    Vrl,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    extract_from: OneOrMore,
    #[serde(default)]
    conditions: Vec<RawCondition>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a name, or a list of names")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::More(names) => names,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a condition in VRL: text, or a table with `type: vrl` and `source`")]
enum RawCondition {
    Bare(String),
    Table {
        #[serde(rename = "type")]
        kind: ConditionKind,
        source: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ConditionKind {
    Vrl,
}

/// The unit tests under `tests`.
pub(crate) fn read_cases(entry: &Entry, drafts: &[Draft<'_>], problems: &mut Problems) -> Vec<Case> {
    let list = match &entry.node.value {
        Value::List(list) => list.as_slice(),
        Value::Null => &[],
        _ => {
            let title = format!("`tests` takes a list of unit tests, found {}", entry.node.in_words());
            problems.push(Problem::new(Code::WrongType, title).at(entry.node.place, "expected a list"));
            &[]
        }
    };
    list.iter().filter_map(|node| Reader { node, drafts, problems }.case()).collect()
}

struct Reader<'a, 'd, 'p> {
    node: &'d Node,
    drafts: &'d [Draft<'a>],
    problems: &'p mut Problems,
}

impl Reader<'_, '_, '_> {
    fn case(mut self) -> Option<Case> {
        let place = Place { end: self.node.place.start + 1, ..self.node.place };
        let what = "the unit test";
        let subject =
            Subject { node: self.node, name_place: place, what, skip: &[], ignored: &[], lacking: &[], schema: None };
        let raw = read(subject, self.problems, |reader| RawCase::deserialize(reader))?;
        let mut inputs: Vec<_> = raw.input.iter().filter_map(|input| self.insert(input, "input")).collect();
        for (index, input) in raw.inputs.iter().enumerate() {
            inputs.extend(self.insert(input, &format!("inputs[{index}]")));
        }
        let output = |(index, output)| self.expected(output, index);
        let outputs = raw.outputs.iter().enumerate().filter_map(output).collect();
        let silent = raw.no_outputs_from.iter().enumerate();
        let silent =
            silent.filter_map(|(index, name)| self.output(name, &format!("no_outputs_from[{index}]"))).collect();
        Some(Case { name: raw.name, place, inputs, outputs, silent })
    }

    fn insert(&mut self, input: &RawInput, path: &str) -> Option<Insert> {
        let at: Option<Vec<_>> =
            input.insert_at.names().iter().map(|name| self.transform(name, &format!("{path}.insert_at"))).collect();
        let record = match (input.kind, &input.value, &input.log_fields, &input.source) {
            (RawKind::Raw, Some(value), None, None) => Given::Raw(value.clone()),
            (RawKind::Log, None, Some(fields), None) => Given::Log(Json::Object(fields.clone())),
            (RawKind::Vrl, None, None, Some(text)) => {
                Given::Vrl(self.source(text, &format!("{path}.source"), |text| {
                    Program::compile(text, &Options::default()).map(|compiled| compiled.warnings)
                }))
            }
            (kind, ..) => {
                let key = match kind {
                    RawKind::Raw => "value",
                    RawKind::Log => "log_fields",
                    RawKind::Vrl => "source",
                };
                let title = format!("an input of this type has the key `{key}`, and no other value");
                let problem = Problem::new(Code::BadTest, title).at(self.place(path), "");
                let help = "write type: raw with `value`, type: log with `log_fields`, or type: vrl with `source`";
                self.problems.push(problem.help(help));
                return None;
            }
        };
        Some(Insert { at: at?, record })
    }

    fn expected(&mut self, output: &RawOutput, index: usize) -> Option<Expect> {
        let path = format!("outputs[{index}]");
        let names = output.extract_from.names();
        let from: Option<Vec<_>> =
            names.iter().map(|name| self.output(name, &format!("{path}.extract_from"))).collect();
        let mut conditions = Vec::new();
        for (at, condition) in output.conditions.iter().enumerate() {
            let path = format!("{path}.conditions[{at}]");
            let (text, path) = match condition {
                RawCondition::Bare(text) => (text, path),
                RawCondition::Table { kind: ConditionKind::Vrl, source } => (source, format!("{path}.source")),
            };
            let compile = |text: &str| Condition::compile(text, &Options::default()).map(|_| Vec::new());
            conditions.push(self.source(text, &path, compile));
        }
        Some(Expect { from: from?, conditions, place: self.place(&path) })
    }

    fn source(
        &mut self,
        text: &str,
        path: &str,
        compile: impl Fn(&str) -> Result<Vec<Diagnostic>, Vec<Diagnostic>>,
    ) -> Source {
        let found = compile(text).unwrap_or_else(|errors| errors);
        let node = crate::plan::find_key(self.node, path).0.unwrap_or(self.node);
        let place = |range| crate::plan::place_within(node, range);
        for diagnostic in found {
            let code = if diagnostic.severity == Severity::Error { Code::Vrl } else { Code::VrlWarning };
            let problem = Problem::new(code, diagnostic.message.clone()).at(place(diagnostic.range.clone()), "");
            self.problems.push(diagnostic.notes.iter().fold(problem, |problem, note| problem.note(note.clone())));
        }
        Source { text: text.to_string(), place: node.place }
    }

    /// A transform to insert at.
    fn transform(&mut self, name: &str, path: &str) -> Option<usize> {
        let found = self.drafts.iter().position(|draft| draft.declared.name.name == name);
        match found.map(|at| (at, self.drafts[at].declared.kind)) {
            Some((at, StageKind::Transform)) => Some(at),
            Some((_, kind)) => {
                self.wrong(path, format!("`{name}` is a {kind}; unit tests are for transforms"), None);
                None
            }
            None => {
                let known = self.transforms();
                let help = did_you_mean(name, known.iter().map(String::as_str));
                self.wrong(path, format!("there is no transform `{name}`"), help);
                None
            }
        }
    }

    fn output(&mut self, name: &str, path: &str) -> Option<Output> {
        let (component, output) = name.split_once('.').map_or((name, None), |(name, output)| (name, Some(output)));
        let node = self.transform(component, path)?;
        let outputs = match &self.drafts[node].component {
            Some(Component::Transform(config)) => config.outputs(),
            _ => return None,
        };
        let fits = match output {
            Some(output) => outputs.iter().any(|known| known == output),
            None => outputs.is_empty() || outputs.iter().any(String::is_empty),
        };
        if !fits {
            let all: Vec<_> = outputs.iter().map(|output| format!("`{component}.{output}`")).collect();
            let help = (!all.is_empty()).then(|| format!("its outputs are {}", all.join(", ")));
            self.wrong(path, format!("transform `{component}` has no output `{name}`"), help);
            return None;
        }
        Some(Output { node, name: output.map(str::to_string), place: self.place(path) })
    }

    fn transforms(&self) -> Vec<String> {
        let transforms = self.drafts.iter().filter(|draft| draft.declared.kind == StageKind::Transform);
        transforms.map(|draft| draft.declared.name.name.clone()).collect()
    }

    fn wrong(&mut self, path: &str, title: String, help: Option<String>) {
        let problem = Problem::new(Code::BadTest, title).at(self.place(path), "");
        self.problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    fn place(&self, path: &str) -> Place {
        crate::plan::find_key(self.node, path).0.unwrap_or(self.node).place
    }
}
