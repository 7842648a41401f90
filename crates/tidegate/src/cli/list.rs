//! `tidegate list`: the components that are built in.

use std::fmt::Write as _;

use tidegate_config::reference::{Entry, entries};

use super::{Done, term};

/// List the components, or show one: what it does, when it has accepted a record, where it waits, what it may shed, and its
/// keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate list
  tidegate list http_server     an example, ready to be pasted, how it behaves, and its keys
  tidegate list --json")]
pub(super) struct List {
    /// The component to show.
    component: Option<String>,
    /// One JSON object for each component.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self) -> Done {
        let entries = entries();
        let Some(name) = &self.component else {
            term::print(&if self.json { json(&entries) } else { table(&entries) });
            return Done::Well;
        };
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let found: Vec<Entry> = entries.into_iter().filter(|entry| entry.name == name).collect();
        if found.is_empty() {
            let near = tidegate_config::nearest::nearest(name, names);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            eprintln!("tidegate: there is no component `{name}`{near}");
            return Done::Wrong;
        }
        for entry in &found {
            let text = entry.to_text(term::width());
            term::print(&if self.json { json(std::slice::from_ref(entry)) } else { text });
        }
        Done::Well
    }
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
    entries.iter().map(|entry| format!("{}\n", entry.to_json())).collect()
}
