//! What is wrong with a value, in words that help to mend it.

use tidegate_components::contract::Ignored;

use super::error::ReadError;
use super::node::NodeReader;
use super::{Notes, Subject};
use crate::files::Place;
use crate::nearest::nearest;
use crate::problem::{Code, Problem};
use crate::reference::keys_of;
use crate::tree::{Entry, Node, Value};

/// The path of a key inside of the table at `path`.
pub(super) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// "`a`, `b` or `c`".
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_string(),
        [word] => format!("`{word}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

/// The problem for an error at a value; `None` where it follows from one that was reported before.
pub(super) fn describe(error: &ReadError, reader: &NodeReader<'_, '_>, notes: &Notes<'_>) -> Option<Problem> {
    let Subject { what, name_place, .. } = notes.subject;
    let (node, path) = (reader.node, reader.path.as_str());
    let named = if path.is_empty() { what.to_string() } else { format!("`{path}`") };
    if node.is_broken() {
        return None;
    }
    Some(match error {
        ReadError::WrongType { expected, .. } => wrong_type(&named, expected, node),
        ReadError::UnknownWord { word, expected } => {
            let place = find_text(node, word).unwrap_or(node.place);
            unknown_word(&named, word, expected, place)
        }
        ReadError::UnknownKey { key, expected } => {
            let entry = node.as_table().and_then(|table| table.entry(key));
            match entry {
                Some(entry) => unknown_key(entry, path, expected, &notes.subject),
                None => Problem::new(Code::UnknownKey, format!("{named} has no key `{key}`")).at(node.place, ""),
            }
        }
        ReadError::MissingKey(key) => {
            let table = node.as_table();
            if table.and_then(|table| table.get(key)).is_some_and(|node| notes.is_left_out(node)) {
                return None;
            }
            // A key that is nearly this one was reported, with this one as the likely fix.
            if notes.is_meant(path, key) {
                return None;
            }
            let place = if path.is_empty() { name_place } else { node.place };
            let problem = Problem::new(Code::MissingKey, format!("{named} needs the key `{key}`"));
            let problem = problem.at(place, format!("`{key}` is missing here"));
            match how_to_write(&joined(path, key), notes) {
                Some(help) => problem.help(help),
                None => problem,
            }
        }
        ReadError::Other(text) => match text.strip_prefix("expected ") {
            Some(expected) => wrong_type(&named, expected, node),
            None => other(&named, text, node),
        },
    })
}

/// How a key is written that is missing.
fn how_to_write(path: &str, notes: &Notes<'_>) -> Option<String> {
    let keys = keys_of(notes.subject.schema?);
    let facts = keys.iter().find(|facts| facts.path == path)?;
    Some(facts.how_to_write())
}

fn wrong_type(named: &str, expected: &str, node: &Node) -> Problem {
    // Some values say what they expect, and how to write it, behind a colon.
    let (expected, how) = expected.split_once(": ").map_or((expected, None), |(a, b)| (a, Some(b)));
    let expected = plainly(expected);
    let problem = Problem::new(Code::WrongType, format!("{named} takes {expected}, found {}", node.in_words()));
    let problem = problem.at(node.place, format!("expected {expected}"));
    if let Some(how) = how {
        return problem.help(how);
    }
    match &node.value {
        Value::Text(text) if expected == "true or false" => match text.string.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "1" => problem.help("write true").fix(node.place, "true"),
            "no" | "off" | "n" | "0" => problem.help("write false").fix(node.place, "false"),
            _ => problem,
        },
        Value::Text(text) if expected.contains("number") && !text.secret && text.string.parse::<f64>().is_ok() => {
            problem.help("remove the quotes").fix(node.place, text.string.clone())
        }
        Value::Text(_) if expected == "a list" => problem.help("write a list with one entry: [\"...\"]"),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) if expected == "text" => {
            problem.help("put it in quotes, so that it is text")
        }
        Value::Null => problem.help("write a value, or remove the key to have the default"),
        _ => problem,
    }
}

fn unknown_word(named: &str, word: &str, known: &[&str], place: Place) -> Problem {
    let problem = Problem::new(Code::UnknownValue, format!("{named} cannot be `{word}`"));
    let problem = problem.at(place, format!("expected {}", one_of(known)));
    match nearest(word, known.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")).fix(place, near),
        None => problem,
    }
}

/// The problem for a key that is none of `known`.
pub(super) fn unknown_key(entry: &Entry, path: &str, known: &[&str], subject: &Subject<'_>) -> Problem {
    let name = &entry.key.name;
    let table = if path.is_empty() { subject.what.to_string() } else { format!("`{path}` of {}", subject.what) };
    let problem = Problem::new(Code::UnknownKey, format!("{table} has no key `{name}`"));
    let skipped = if path.is_empty() { subject.skip } else { &[] };
    let all = known.iter().chain(skipped).copied();
    match nearest(name, all.clone()) {
        Some(near) => {
            let problem = problem.at(entry.key.place, format!("did you mean `{near}`?"));
            problem.help(known_keys(all)).fix(entry.key.place, near)
        }
        None if matches!(name.as_str(), "inputs" | "buffer") => {
            let problem = problem.at(entry.key.place, "a source reads from outside, and nothing waits before it");
            problem.help(format!("remove it; `{name}` belongs to transforms and sinks"))
        }
        None => problem.at(entry.key.place, "nobody knows this key").help(known_keys(all)),
    }
}

fn known_keys<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    known.dedup();
    if known.is_empty() {
        return "it takes no keys".to_string();
    }
    format!("its keys are {}", one_of(&known).replace(" or ", " and "))
}

/// The warning for a key that does nothing here.
pub(super) fn without_effect(entry: &Entry, ignored: &Ignored) -> Problem {
    let title = format!("`{}` is a key of Vector that has no effect here", ignored.key);
    Problem::new(Code::WithoutEffect, title).at(entry.key.place, "ignored").note(ignored.why)
}

/// The error for a key of Vector that cannot be left out without a change of meaning.
pub(super) fn not_yet(entry: &Entry, lacking: &Ignored) -> Problem {
    let title = format!("`{}` of Vector is not available here", lacking.key);
    Problem::new(Code::NotYet, title).at(entry.key.place, "").help(lacking.why)
}

fn other(named: &str, text: &str, node: &Node) -> Problem {
    if text.starts_with("invalid socket address") {
        return match port_of(node) {
            Some(port) => {
                wrong_type(named, &format!("an address and a port: write a port from 1 to 65535; {port} is none"), node)
            }
            None => wrong_type(named, "an address and a port: write them as 127.0.0.1:9000 or [::1]:9000", node),
        };
    }
    // Our own values say: `"12 parsecs" is not a length of time: write ...`.
    let (said, how) = text.split_once(": write ").map_or((text, None), |(a, b)| (a, Some(format!("write {b}"))));
    let title = match &node.value {
        Value::Text(text) if text.secret => format!("{named}: what the environment gave cannot be used"),
        _ => format!("{named}: {said}"),
    };
    let problem = Problem::new(Code::InvalidValue, title).at(node.place, "");
    match how {
        Some(how) => problem.help(how),
        None => problem,
    }
}

/// What stands for the port, where it is a number and too large for one. Not of what the environment gave.
fn port_of(node: &Node) -> Option<&str> {
    let Value::Text(text) = &node.value else { return None };
    let (_, port) = text.string.rsplit_once(':')?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (!text.secret && is_number && port.parse::<u16>().is_err()).then_some(port)
}

/// What people call the types that serde names.
fn plainly(expected: &str) -> String {
    let expected = expected.strip_prefix("expected ").unwrap_or(expected);
    match expected {
        "a string" | "a borrowed string" | "string" | "path string" => "text".to_string(),
        "a boolean" => "true or false".to_string(),
        "a sequence" => "a list".to_string(),
        "a map" => "a table of keys".to_string(),
        "a character" => "one character".to_string(),
        "f32" | "f64" => "a number".to_string(),
        "u8" => "a whole number from 0 to 255".to_string(),
        "u16" => "a whole number from 0 to 65535".to_string(),
        "u32" => "a whole number from 0 to 4294967295".to_string(),
        "u64" | "u128" | "usize" => "a whole number from 0 on".to_string(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".to_string(),
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "a whole number from 1 on".to_string()
        }
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged") => {
            "a table of keys".to_string()
        }
        _ => expected.to_string(),
    }
}

/// The text `word` somewhere in a value.
fn find_text(node: &Node, word: &str) -> Option<Place> {
    match &node.value {
        Value::Text(text) => (text.string == word).then_some(node.place),
        Value::List(list) => list.iter().find_map(|node| find_text(node, word)),
        Value::Table(table) => table.entries.iter().find_map(|entry| {
            if entry.key.name == word { Some(entry.key.place) } else { find_text(&entry.node, word) }
        }),
        _ => None,
    }
}
