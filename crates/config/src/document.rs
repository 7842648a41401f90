//! The outline of a pipeline file: which keys stand at the top, and which components are declared under them.

use tidegate_components::contract::Ignored;
use tidegate_flow::StageKind;

use crate::nearest::nearest;
use crate::problem::{Code, Problem, Problems};
use crate::tree::{Entry, Key, Node, Table, Value};

/// The keys at the top of a pipeline file.
pub const KEYS: &[&str] = &["memory", "data_dir", "sources", "transforms", "sinks", "tests"];

/// Keys that Vector has at the top and that have no effect here.
pub const IGNORED: &[Ignored] = &[
    Ignored { key: "acknowledgements", why: "acknowledgements are on; a sink can set its own to false" },
    Ignored { key: "api", why: "what it shows is on the address of `tidegate run --admin`" },
    Ignored { key: "buffer_utilization_ewma_half_life_seconds", why: "fill is reported as it is" },
    Ignored { key: "expire_metrics", why: "metrics live as long as their component" },
    Ignored { key: "expire_metrics_per_metric_set", why: "metrics live as long as their component" },
    Ignored { key: "expire_metrics_secs", why: "metrics live as long as their component" },
    Ignored { key: "healthchecks", why: "each sink has its own `healthcheck`" },
    Ignored { key: "latency_ewma_alpha", why: "latencies are reported as histograms" },
    Ignored { key: "log_schema", why: "the names of the fields are the usual ones" },
    Ignored { key: "proxy", why: "connections are direct" },
    Ignored { key: "schema", why: "records have no schema" },
    Ignored { key: "telemetry", why: "metrics have no tags by service" },
    Ignored { key: "timezone", why: "times without a zone are taken as UTC" },
    Ignored { key: "wildcard_matching", why: "a wildcard that matches nothing is an error" },
];

/// Keys that Vector has at the top, and without which a file would mean something else.
const NOT_YET: &[(&str, &str)] = &[
    ("enrichment_tables", "enrichment tables are not available yet"),
    ("http_tools", "tools over HTTP are not available yet"),
    ("provider", "configuration over the network is not available yet"),
    ("secret", "secret stores are not available; take secrets from the environment: ${NAME}"),
];

/// One declared component.
#[derive(Copy, Clone, Debug)]
pub struct Declared<'a> {
    /// Under which key.
    pub kind: StageKind,
    /// Its name.
    pub name: &'a Key,
    /// Its configuration.
    pub node: &'a Node,
    /// Whether that is no table, which was reported.
    pub broken: bool,
}

impl Declared<'_> {
    /// "sink `out`".
    #[must_use]
    pub fn in_words(&self) -> String {
        format!("{} `{}`", self.kind, self.name.name)
    }
}

/// What stands in the files, before any of it is understood.
#[derive(Debug, Default)]
pub struct Document<'a> {
    /// The components, in order: sources, transforms, sinks, each in the order of the files.
    pub components: Vec<Declared<'a>>,
    /// The value of `memory`.
    pub memory: Option<&'a Entry>,
    /// The value of `data_dir`.
    pub data_dir: Option<&'a Entry>,
    /// The value of `tests`.
    pub tests: Option<&'a Entry>,
    /// Whether components may stand where they were not found.
    pub incomplete: bool,
}

/// The outline of everything that the files define.
#[must_use]
pub fn outline<'a>(root: &'a Table, problems: &mut Problems) -> Document<'a> {
    let mut document = Document {
        memory: root.entry("memory"),
        data_dir: root.entry("data_dir"),
        tests: root.entry("tests"),
        components: Vec::new(),
        incomplete: false,
    };
    for entry in &root.entries {
        let name = entry.key.name.as_str();
        if !KEYS.contains(&name) {
            problems.push(unknown(entry));
            document.incomplete |= looks_like_component(entry) || nearest(name, KEYS.iter().copied()).is_some();
        }
    }
    for (key, kind) in
        [("sources", StageKind::Source), ("transforms", StageKind::Transform), ("sinks", StageKind::Sink)]
    {
        let Some(entry) = root.entry(key) else { continue };
        document.incomplete |= !matches!(entry.node.value, Value::Table(_) | Value::Null);
        document.components.extend(declared(entry, kind, problems));
    }
    document
}

fn declared<'a>(entry: &'a Entry, kind: StageKind, problems: &mut Problems) -> Vec<Declared<'a>> {
    let mut found = Vec::new();
    match &entry.node.value {
        Value::Table(table) => {
            for component in &table.entries {
                let broken = component.node.as_table().is_none();
                let declared = Declared { kind, name: &component.key, node: &component.node, broken };
                found.push(declared);
                if !broken {
                    continue;
                }
                let title = format!("{} is a table of keys, found {}", declared.in_words(), component.node.in_words());
                let problem = Problem::new(Code::WrongType, title).at(component.key.place, "its keys are missing");
                problems.push(
                    problem.help(format!("indent its keys below `{}:`, the first of them `type:`", component.key.name)),
                );
            }
        }
        Value::Null => {}
        _ => {
            let title =
                format!("`{}` is a table of components by name, found {}", entry.key.name, entry.node.in_words());
            let problem = Problem::new(Code::WrongType, title).at(entry.key.place, "");
            let help = format!("write `{}:`, below it a name, and below that `type: ...`", entry.key.name);
            problems.push(problem.help(help));
        }
    }
    found
}

fn looks_like_component(entry: &Entry) -> bool {
    entry.node.as_table().is_some_and(|table| table.get("type").is_some())
}

fn unknown(entry: &Entry) -> Problem {
    let name = entry.key.name.as_str();
    if let Some(ignored) = IGNORED.iter().find(|ignored| ignored.key == name) {
        let title = format!("`{name}` is a key of Vector that has no effect here");
        return Problem::new(Code::WithoutEffect, title).at(entry.key.place, "ignored").note(ignored.why);
    }
    if let Some((_, text)) = NOT_YET.iter().find(|(known, _)| *known == name) {
        return Problem::new(Code::NotYet, *text).at(entry.key.place, "");
    }
    let problem = Problem::new(Code::UnknownKey, format!("a pipeline file has no key `{name}` at its top"));
    if looks_like_component(entry) {
        let help = "a component stands below `sources:`, `transforms:` or `sinks:`, indented";
        return problem.at(entry.key.place, "this looks like a component").help(help);
    }
    let problem = match nearest(name, KEYS.iter().copied()) {
        Some(near) => problem.at(entry.key.place, format!("did you mean `{near}`?")).fix(entry.key.place, near),
        None => problem.at(entry.key.place, "nobody knows this key"),
    };
    problem.help("its keys are `memory`, `data_dir`, `sources`, `transforms`, `sinks` and `tests`")
}
