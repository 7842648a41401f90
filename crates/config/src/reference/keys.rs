//! The keys of a component, out of the schema of its configuration.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// One key, or one of a table in it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFacts {
    /// The key, with those that lead to it: `request.concurrency`.
    pub path: String,
    /// What it is for, on one line.
    pub about: String,
    /// Whether it must be there.
    pub needed: bool,
    /// The words that it takes; empty where it takes others than some words.
    pub words: Vec<String>,
    /// What it is where nothing is said, as far as that is a number, a word or a truth value.
    pub default: Option<String>,
}

/// How deep tables are followed: deeper than any is.
const DEEPEST: usize = 6;

/// The keys of a component beside those that all of its kind have. Each table is followed by what is in it.
#[must_use]
pub fn keys_of(schema: fn(&mut SchemaGenerator) -> Schema) -> Vec<KeyFacts> {
    let schema = schema(&mut SchemaSettings::draft2020_12().into_generator()).to_value();
    let mut keys = Vec::new();
    Walk { defs: &schema["$defs"] }.table(&schema, "", 0, &mut keys);
    keys
}

impl KeyFacts {
    /// All of it in a sentence or some.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut said = vec![self.about.clone()];
        if !self.words.is_empty() {
            said.push(format!("{}.", self.one_of()));
        }
        match &self.default {
            _ if self.needed => said.push("Must be there.".to_owned()),
            Some(default) if !self.about.contains("Default") => said.push(format!("Default: {default}.")),
            _ => {}
        }
        said.retain(|part| !part.is_empty());
        said.join(" ")
    }

    /// How it is written where it is missing, for a message.
    pub(crate) fn how_to_write(&self) -> String {
        let about = self.about.split_once(": ").map_or(self.about.as_str(), |(first, _)| first);
        let about = about.split_once(". ").map_or(about, |(first, _)| first).trim_end_matches('.');
        let key = self.path.rsplit('.').next().unwrap_or_default();
        match self.words.as_slice() {
            [] => format!("write `{key}:` and its value: {}", uncapital(about)),
            [first, ..] => format!("write, for one, `{key}: {first}` ({})", uncapital(&self.one_of())),
        }
    }

    fn one_of(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| format!("`{word}`")).collect();
        match words.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("One of {} and {last}", first.join(", ")),
            _ => format!("Always {}", words.join("")),
        }
    }
}

fn uncapital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_lowercase().collect::<String>()).unwrap_or_default();
    first + letters.as_str()
}

struct Walk<'a> {
    defs: &'a Value,
}

impl<'a> Walk<'a> {
    fn table(&self, schema: &'a Value, before: &str, depth: usize, keys: &mut Vec<KeyFacts>) {
        let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let path = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
            let forms = self.forms(value);
            let own = value["description"].as_str();
            let about = own.or_else(|| forms.iter().find_map(|form| form["description"].as_str())).unwrap_or_default();
            keys.push(KeyFacts {
                path: path.clone(),
                about: about.replace('\n', " "),
                needed: needed.contains(&key.as_str()),
                words: words(&forms),
                default: plain(&value["default"]),
            });
            if depth < DEEPEST {
                self.tables(&forms, &path, depth + 1, keys);
            }
        }
    }

    /// The keys of a value that may be one of several tables: each key once, and which form has it.
    fn tables(&self, forms: &[&'a Value], path: &str, depth: usize, keys: &mut Vec<KeyFacts>) {
        let from = keys.len();
        for form in forms {
            let mut own = Vec::new();
            self.table(form, path, depth, &mut own);
            let tag = form["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .find_map(|(key, value)| Some((format!("{path}.{key}"), key, value["const"].as_str()?)));
            for mut key in own {
                let known = keys[from..].iter_mut().find(|known| known.path == key.path);
                match (known, &tag) {
                    (Some(known), _) => {
                        known.words.extend(key.words);
                        continue;
                    }
                    (None, Some((tagged, name, value))) if forms.len() > 1 && *tagged != key.path => {
                        key.about += &format!(" With `{name}: {value}`.");
                    }
                    (None, _) => {}
                }
                keys.push(key);
            }
        }
    }

    /// What a value may be, with references followed; nothing is not among it.
    fn forms(&self, value: &'a Value) -> Vec<&'a Value> {
        let target = value["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/"));
        if let Some(name) = target {
            return self.forms(&self.defs[name]);
        }
        // One of several tables, or one of several forms; words with a description each are a form of their own.
        let tables =
            value["oneOf"].as_array().filter(|several| several.iter().any(|one| one["properties"].is_object()));
        match value["anyOf"].as_array().or(tables) {
            Some(several) => several.iter().flat_map(|one| self.forms(one)).collect(),
            None if value["type"] == "null" => Vec::new(),
            None => vec![value],
        }
    }
}

/// The words that a value takes, where it takes nothing else.
fn words(forms: &[&Value]) -> Vec<String> {
    let [form] = forms else { return Vec::new() };
    if let Some(only) = form["const"].as_str() {
        return vec![only.to_owned()];
    }
    let listed = form["enum"].as_array().into_iter().flatten();
    let described = form["oneOf"].as_array().into_iter().flatten();
    let described: Vec<_> = described.collect();
    if described.iter().any(|one| one["const"].is_null() && one["enum"].is_null()) {
        return Vec::new();
    }
    let consts = described.iter().flat_map(|one| {
        let several = one["enum"].as_array().into_iter().flatten();
        std::iter::once(&one["const"]).chain(several)
    });
    listed.chain(consts).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Bool(_) | Value::Number(_) => Some(format!("`{value}`")),
        Value::String(text) if !text.is_empty() => Some(format!("`{text}`")),
        _ => None,
    }
}
