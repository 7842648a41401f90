//! What users read about components: their behaviour, their keys, an example. `tidegate list` and the reference in the
//! documents are made of the same data: the heads of the files, and the doc comments of the configurations.

mod document;
mod keys;

use std::fmt::Write as _;

use tidegate_components::contract::Page;
use tidegate_components::{SINKS, SOURCES, TRANSFORMS};

pub use document::reference_page;
pub use keys::{KeyFacts, keys_of};

/// What there is to know of a component.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `source`, `transform` or `sink`.
    pub kind: &'static str,
    /// Its `type`.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// A configuration.
    pub example: &'static str,
    /// How it behaves: when a sink has accepted, where it waits, what it may shed.
    pub page: Page,
    /// Its own keys, and those of the tables in them.
    pub keys: Vec<KeyFacts>,
    /// The keys that it has as all of its kind.
    pub common: &'static [&'static str],
    /// What it counts beside the ledger.
    pub counts: &'static [&'static str],
}

/// Every component: sources, transforms, sinks, each in order of their names.
#[must_use]
pub fn entries() -> Vec<Entry> {
    macro_rules! listed {
        ($kinds:ident, $kind:literal, $common:expr) => {
            $kinds.iter().map(|kind| Entry {
                kind: $kind,
                name: kind.name,
                summary: kind.summary,
                example: kind.example,
                page: Page::parse(kind.page),
                keys: keys_of(kind.schema),
                common: $common(kind.name),
                counts: kind.metrics,
            })
        };
    }
    let sources = listed!(SOURCES, "source", |_| &["columns"]);
    let transforms = listed!(TRANSFORMS, "transform", |_| &["inputs", "buffer", "dead_letter"]);
    listed_all(sources.chain(transforms), listed!(SINKS, "sink", common_of_sink))
}

fn listed_all(first: impl Iterator<Item = Entry>, then: impl Iterator<Item = Entry>) -> Vec<Entry> {
    first.chain(then).collect()
}

/// What takes dead letters is the end of their way, and has none itself.
fn common_of_sink(name: &str) -> &'static [&'static str] {
    if name.starts_with("dead_letter") { &["inputs", "buffer"] } else { &["inputs", "buffer", "dead_letter"] }
}

impl Entry {
    /// For a terminal of so many columns: the example first, ready to be pasted, and the rest as comments below it.
    #[must_use]
    pub fn to_text(&self, width: usize) -> String {
        let Self { kind, name, summary, example, .. } = self;
        let mut text = format!("# {kind} {name}: {summary}\n{}\n\n# behaviour\n", example.trim_end());
        let rows: Vec<_> = self.page.lines.iter().map(|(word, about)| (word.to_lowercase(), about.clone())).collect();
        write_rows(&mut text, &rows, width);
        for paragraph in &self.page.more {
            write_rows(&mut text, &[(String::new(), paragraph.clone())], width);
        }
        text.push_str("# keys\n");
        let rows: Vec<_> = self.keys.iter().map(|key| (key.path.clone(), key.in_words())).collect();
        write_rows(&mut text, &rows, width);
        let common: Vec<_> = self.common.iter().map(|key| format!("`{key}`")).collect();
        let _ = writeln!(text, "# and, as every {kind}, {}", and(&common));
        if !self.counts.is_empty() {
            let counts: Vec<_> = self.counts.iter().map(|name| format!("`{name}`")).collect();
            text.push_str("# counts, beside the records\n");
            write_rows(&mut text, &[(String::new(), counts.join(", "))], width);
        }
        text
    }

    /// For tools.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let key = |key: &KeyFacts| {
            serde_json::json!({
                "about": key.about, "needed": key.needed, "words": key.words, "default": key.default,
            })
        };
        let keys: serde_json::Map<_, _> = self.keys.iter().map(|facts| (facts.path.clone(), key(facts))).collect();
        let behaviour: serde_json::Map<_, _> =
            self.page.lines.iter().map(|(word, about)| (word.to_lowercase(), about.as_str().into())).collect();
        serde_json::json!({
            "kind": self.kind, "name": self.name, "summary": self.summary, "example": self.example,
            "behaviour": behaviour, "notes": self.page.more, "keys": keys, "common_keys": self.common,
            "counts": self.counts,
        })
    }
}

fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [word] => word.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Lines of comments: a name, and what is to be said of it, wrapped beside it; or below each other where it has no name.
fn write_rows(text: &mut String, rows: &[(String, String)], width: usize) {
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(width / 3);
    let indent = if longest == 0 { 3 } else { longest + 5 };
    for (name, about) in rows {
        let head = if longest == 0 { "#  ".to_owned() } else { format!("#   {name:longest$}") };
        text.push_str(&head);
        let mut column = head.chars().count();
        for word in about.split_whitespace() {
            let length = 1 + word.chars().count();
            if column + length > width && column > indent {
                let _ = write!(text, "\n#{:1$}", "", indent - 2);
                column = indent - 1;
            }
            let _ = write!(text, " {word}");
            column += length;
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_keys_and_what_accepted_means_are_listed() {
        let entries = entries();
        let http = entries.iter().find(|entry| entry.name == "http").expect("it is there");
        let text = http.to_text(100);
        for part in ["accepted", "request.concurrency", "batch.max_events", "blocks", "sheds"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100 || !line.starts_with('#')), "{text}");
        let letters = entries.iter().find(|entry| entry.name == "dead_letters").expect("it is there");
        assert!(!letters.to_text(100).contains("`dead_letter`"), "a letter box has none itself");
    }

    #[test]
    fn keys_say_what_they_take() {
        let entries = entries();
        let demo = entries.iter().find(|entry| entry.name == "demo_logs").expect("it is there");
        let format = demo.keys.iter().find(|key| key.path == "format").expect("it is there");
        assert!(format.needed && format.words.contains(&"apache_common".to_owned()), "{format:?}");
    }
}
