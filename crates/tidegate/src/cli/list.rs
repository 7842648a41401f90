//! `tidegate list`: the components that are built in.

use std::fmt::Write as _;

use tidegate_components::{SINKS, SOURCES, TRANSFORMS};
use tidegate_config::schema::keys_of;

use super::{Done, term};

/// List the components, or show one with its keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate list
  tidegate list http_server     an example, ready to be pasted, and its keys
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
    keys: Vec<(String, String)>,
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
            let Entry { kind, name, summary, example, .. } = entry;
            let text = format!("# {kind} {name}: {summary}\n{}\n\n{}", example.trim_end(), keys(entry, term::width()));
            term::print(&if self.json { json(std::slice::from_ref(entry)) } else { text });
        }
        Done::Well
    }
}

fn entries() -> Vec<Entry> {
    macro_rules! listed {
        ($kinds:ident, $what:literal) => {
            $kinds.iter().map(|kind| {
                let keys = keys_of(kind.schema);
                Entry { kind: $what, name: kind.name, summary: kind.summary, example: kind.example, keys }
            })
        };
    }
    listed!(SOURCES, "source").chain(listed!(TRANSFORMS, "transform")).chain(listed!(SINKS, "sink")).collect()
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

/// What it takes beside the keys that all of its kind have, a line for each.
fn keys(entry: &Entry, width: usize) -> String {
    let mut text = String::from("# keys\n");
    let longest = entry.keys.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, about) in &entry.keys {
        let mut room = width.saturating_sub(longest + 4);
        let _ = write!(text, "#   {key:longest$}");
        for word in about.split(' ') {
            if word.len() + 1 > room {
                let _ = write!(text, "\n#   {:longest$}", "");
                room = width.saturating_sub(longest + 4);
            }
            let _ = write!(text, " {word}");
            room = room.saturating_sub(word.len() + 1);
        }
        text.push('\n');
    }
    let common = match entry.kind {
        "source" => "`columns`",
        "transform" => "`inputs` and `buffer`",
        _ => "`inputs`, `buffer` and `dead_letter`",
    };
    let _ = writeln!(text, "# and, as every {}, {common}", entry.kind);
    text
}

fn json(entries: &[Entry]) -> String {
    let object = |entry: &Entry| {
        let Entry { kind, name, summary, example, keys } = entry;
        let keys: serde_json::Map<_, _> =
            keys.iter().map(|(key, about)| (key.clone(), about.as_str().into())).collect();
        format!(
            "{}\n",
            serde_json::json!({ "kind": kind, "name": name, "summary": summary, "example": example, "keys": keys })
        )
    };
    entries.iter().map(object).collect()
}
