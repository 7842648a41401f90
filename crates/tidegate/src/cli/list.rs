//! `tidegate list`: the components that are built in.

use std::fmt::Write as _;

use tidegate_components::{SINKS, SOURCES, TRANSFORMS};

use super::{Done, term};

/// List the built-in components, or show the example of one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate list
  tidegate list http_server     its example, ready to be pasted
  tidegate list --json")]
pub(super) struct List {
    /// The component to show.
    component: Option<String>,
    /// One JSON object for each component.
    #[arg(long)]
    json: bool,
}

/// What is shown of a component.
struct Entry {
    kind: &'static str,
    name: &'static str,
    summary: &'static str,
    example: &'static str,
}

impl List {
    pub(super) fn run(self) -> Done {
        let entries = entries();
        let Some(name) = &self.component else {
            term::print(&if self.json { json(&entries) } else { table(&entries) });
            return Done::Well;
        };
        let found: Vec<&Entry> = entries.iter().filter(|entry| entry.name == name).collect();
        if found.is_empty() {
            let near = tidegate_config::nearest::nearest(name, entries.iter().map(|entry| entry.name));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            eprintln!("tidegate: there is no component `{name}`{near}");
            return Done::Wrong;
        }
        for entry in found {
            term::print(&format!("# {} {}: {}\n{}\n", entry.kind, entry.name, entry.summary, entry.example.trim_end()));
        }
        Done::Well
    }
}

fn entries() -> Vec<Entry> {
    let sources = SOURCES.iter().map(|kind| ("source", kind.name, kind.summary, kind.example));
    let transforms = TRANSFORMS.iter().map(|kind| ("transform", kind.name, kind.summary, kind.example));
    let sinks = SINKS.iter().map(|kind| ("sink", kind.name, kind.summary, kind.example));
    let all = sources.chain(transforms).chain(sinks);
    all.map(|(kind, name, summary, example)| Entry { kind, name, summary, example }).collect()
}

fn table(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut last = "";
    for entry in entries {
        if entry.kind != last {
            let _ = writeln!(text, "{}{}s", if last.is_empty() { "" } else { "\n" }, entry.kind);
            last = entry.kind;
        }
        let _ = writeln!(text, "  {:width$}  {}", entry.name, entry.summary);
    }
    text
}

fn json(entries: &[Entry]) -> String {
    let object = |entry: &Entry| {
        let Entry { kind, name, summary, example } = entry;
        format!("{}\n", serde_json::json!({ "kind": kind, "name": name, "summary": summary, "example": example }))
    };
    entries.iter().map(object).collect()
}
