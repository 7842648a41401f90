//! One tree for the three formats: values with the places that they were read from.
//!
//! [`parse`] reads a text as YAML, TOML or JSON. What comes out is the same tree for all, so that everything behind it
//! knows one format only: tables with the places of their keys, lists, and scalars. Mistakes are collected; where a
//! format lets a reader go on behind a mistake, it does.
//!
//! Limits: values nest at most [`MAX_DEPTH`] deep; a file has at most [`MAX_NODES`] values after its aliases are
//! expanded. Beyond, the file is refused.

mod json;
mod offsets;
mod plain;
mod toml;
mod yaml;

use std::path::Path;

use crate::files::{FileId, Files, Place};
use crate::problem::Problems;

pub use offsets::Offsets;
pub(crate) use plain::resolve_plain;

/// How deep values may nest.
pub const MAX_DEPTH: usize = 64;

/// How many values a file may have, aliases expanded.
pub const MAX_NODES: usize = 100_000;

/// The formats that pipeline files are written in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// TOML 1.1.
    Toml,
    /// JSON (RFC 8259).
    Json,
}

impl Format {
    /// The format that the name of a file says: `.yaml` and `.yml`, `.toml`, `.json`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A value and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

/// What a [`Node`] can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: `null`, `~`, or no text at all.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Text),
    /// Values in order.
    List(Vec<Node>),
    /// Keys with values.
    Table(Table),
}

/// A text, with a way back from each byte of it to the file.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Text {
    /// What it says.
    pub string: String,
    /// Where its bytes stand in the file.
    pub offsets: Offsets,
    /// Whether it was written without quotes, so that what a reference in it gave may be a number or a word like `true`.
    pub plain: bool,
    /// Whether a part of it came from a reference, so that it is a number where a number is wanted.
    pub referred: bool,
    /// Whether a part of it came from the environment: it is never shown.
    pub secret: bool,
    /// Whether a part of it is missing, for a reason that was reported: nothing more is said of it.
    pub broken: bool,
}

impl Text {
    /// Text that stands in the file as it is.
    #[must_use]
    pub fn literal(string: impl Into<String>, at: usize) -> Self {
        let string = string.into();
        let offsets = Offsets::verbatim(at, string.len());
        Self { string, offsets, ..Self::default() }
    }
}

/// Keys with values, in the order of the file. No key stands twice.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Table {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub node: Node,
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

impl Table {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|entry| &entry.node)
    }

    /// The entry of a key.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.name == name)
    }
}

impl Node {
    /// The table, if it is one.
    #[must_use]
    pub fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&Text> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether a part of it is missing, for a reason that was reported.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        match &self.value {
            Value::Text(text) => text.broken,
            Value::List(list) => list.iter().any(Self::is_broken),
            _ => false,
        }
    }

    /// What it is, in words for a message: "a list", "the number 5".
    #[must_use]
    pub fn in_words(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_string(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Int(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(text) if text.secret => "text from the environment".to_string(),
            Value::Text(text) if text.string.len() <= 40 && !text.string.contains('\n') => {
                format!("the text {:?}", text.string)
            }
            Value::Text(_) => "a text".to_string(),
            Value::List(_) => "a list".to_string(),
            Value::Table(_) => "a table of keys".to_string(),
        }
    }

    /// This value and all below it.
    pub(crate) fn count(&self) -> usize {
        match &self.value {
            Value::List(list) => 1 + list.iter().map(Self::count).sum::<usize>(),
            Value::Table(table) => 1 + table.entries.iter().map(|entry| entry.node.count()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// What was understood of a file.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The values; `None` where nothing could be made of it.
    pub node: Option<Node>,
    /// Whether that is all of it. Where it is not, something that seems to be missing may be there.
    pub complete: bool,
}

/// Reads a file. What is wrong with it is added to `problems`.
pub fn parse(files: &Files, file: FileId, format: Format, problems: &mut Problems) -> Parsed {
    let text = &files.get(file).text;
    match format {
        Format::Yaml => yaml::parse(text, file, problems),
        Format::Toml => toml::parse(text, file, problems),
        Format::Json => json::parse(text, file, problems),
    }
}
