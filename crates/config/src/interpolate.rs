//! References to the environment in values: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, and `$$` for a dollar.
//!
//! They are replaced after the file was parsed, in values only: what a variable holds can never add keys or lists.
//! A value that was written without quotes may become a number or `true`; text in quotes stays text, unless a number
//! is wanted in its place. What came from the environment is taken for a secret: [`Secrets`] keeps it out of messages.

use crate::files::Place;
use crate::problem::{Code, Problem, Problems};
use crate::tree::{Node, Text, Value};

/// Looks up a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process.
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What came from the environment and is never shown.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The value, and the name of its variable.
    values: Vec<(String, String)>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values.iter().map(|(_, name)| name)).finish()
    }
}

impl Secrets {
    /// Shorter values are too common in other words to be replaced everywhere.
    const SHORTEST: usize = 4;

    fn add(&mut self, value: &str, name: &str) {
        if value.len() >= Self::SHORTEST && !self.values.iter().any(|(known, _)| known == value) {
            self.values.push((value.to_string(), name.to_string()));
            // The longest first: one value may be a part of another.
            self.values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        }
    }

    /// `text` with each secret replaced by the reference to it.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (value, name) in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), &format!("${{{name}}}"));
            }
        }
        text
    }

    /// Redacts every message.
    pub fn redact_all(&self, problems: &mut Problems) {
        for problem in problems.iter_mut() {
            problem.title = self.redact(&problem.title);
            problem.labels.iter_mut().for_each(|label| label.text = self.redact(&label.text));
            problem.notes.iter_mut().for_each(|note| *note = self.redact(note));
            problem.helps.iter_mut().for_each(|help| *help = self.redact(help));
            if let Some(fix) = &mut problem.fix {
                fix.replacement = self.redact(&fix.replacement);
            }
        }
    }
}

/// Replaces the references in all values of a tree.
pub fn interpolate(node: &mut Node, lookup: Lookup<'_>, secrets: &mut Secrets, problems: &mut Problems) {
    let place = node.place;
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|node| interpolate(node, lookup, secrets, problems)),
        Value::Table(table) => {
            table.entries.iter_mut().for_each(|entry| interpolate(&mut entry.node, lookup, secrets, problems));
        }
        Value::Text(text) if text.string.contains('$') => {
            *text = Replacement { from: text, place, lookup, secrets, problems, out: Text::default(), done: 0 }.run();
        }
        _ => {}
    }
}

struct Replacement<'a> {
    from: &'a Text,
    place: Place,
    lookup: Lookup<'a>,
    secrets: &'a mut Secrets,
    problems: &'a mut Problems,
    out: Text,
    done: usize,
}

impl Replacement<'_> {
    fn run(mut self) -> Text {
        while let Some(found) = self.from.string[self.done..].find('$') {
            let at = self.done + found;
            self.copy_up_to(at);
            let rest = &self.from.string[at..];
            if rest.starts_with("$$") {
                self.copy_up_to(at + 1);
                self.done = at + 2;
            } else if rest.starts_with("${") {
                self.reference(at);
            } else {
                self.bare(at);
                self.copy_up_to(at + 1);
            }
        }
        self.copy_up_to(self.from.string.len());
        self.out.plain = self.from.plain;
        self.out
    }

    fn copy_up_to(&mut self, end: usize) {
        let at = self.out.string.len();
        self.out.offsets.push_part(at, &self.from.offsets, self.done..end);
        self.out.string.push_str(&self.from.string[self.done..end]);
        self.done = end;
    }

    /// Replaces the reference that begins at `at`.
    fn reference(&mut self, at: usize) {
        let inside = &self.from.string[at + 2..];
        let Some(len) = inside.find('}') else {
            let problem = Problem::new(Code::BadReference, "a reference to the environment has no end");
            let problem = problem.at(self.place_of(at, self.from.string.len()), "no `}` follows");
            self.refuse(problem.help("close it: ${NAME}; for a dollar and a brace write $${"));
            return self.copy_up_to(self.from.string.len());
        };
        let (inside, end) = (&inside[..len], at + 2 + len + 1);
        let name_len = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        let (name, rest) = inside.split_at(name_len);
        let place = self.place_of(at, end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let problem = Problem::new(Code::BadReference, "a reference to the environment names no variable");
            let problem = problem.at(place, "a name is letters, digits and `_`, and begins with no digit");
            self.refuse(problem.help("write ${NAME} or ${NAME:-default}; for a dollar and a brace write $${"));
            return self.copy_up_to(end);
        }
        let set = (self.lookup)(name);
        let (operator, word) = split_operator(rest);
        let set = set.filter(|value| !(operator.starts_with(':') && value.is_empty()));
        self.done = end;
        match (set, operator) {
            (Some(value), "" | ":-" | "-" | ":?" | "?") => {
                self.secrets.add(&value, name);
                self.out.secret = true;
                self.put(&value, at);
            }
            (None, ":-" | "-") => self.put(word, at),
            (None, ":?" | "?") => {
                let title = format!("the environment has no variable `{name}`: {word}");
                let problem = Problem::new(Code::UnsetVariable, title).at(place, "needed here");
                self.refuse(problem.help(format!("set it: {name}=... tidegate run ...")));
            }
            (None, "") => {
                let title = format!("the environment has no variable `{name}`");
                let problem = Problem::new(Code::UnsetVariable, title).at(place, "needed here");
                let help = format!("set it, or give a default: ${{{name}:-default}}");
                self.refuse(problem.help(help));
            }
            (_, _) => {
                let title = format!("`{rest}` means nothing behind the name of a variable");
                let problem = Problem::new(Code::BadReference, title).at(place, "");
                self.refuse(problem.help(format!("write ${{{name}}} or ${{{name}:-default}}")));
            }
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.problems.push(problem);
        self.out.broken = true;
    }

    fn put(&mut self, value: &str, at: usize) {
        let file = self.from.offsets.to_file(at).unwrap_or(self.place.start);
        self.out.offsets.push(self.out.string.len(), file, 0);
        self.out.string.push_str(value);
        self.out.referred = true;
    }

    /// Warns of `$NAME` where the variable exists: in Vector it is a reference, here it is text.
    fn bare(&mut self, at: usize) {
        let rest = &self.from.string[at + 1..];
        let name = &rest[..rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len())];
        if name.len() > 1 && (self.lookup)(name).is_some() {
            let title = format!("`${name}` stays as it is: a reference has braces");
            let problem = Problem::new(Code::BareVariable, title).at(self.place_of(at, at + 1 + name.len()), "");
            self.problems.push(problem.help(format!("write ${{{name}}} for the variable, or $${name} for this text")));
        }
    }

    fn place_of(&self, start: usize, end: usize) -> Place {
        text_place(self.from, self.place, start..end)
    }
}

/// Where the bytes `range` of a text stand, if its node stands at `node`. What is said of the end of the text is shown
/// behind its last word.
pub(crate) fn text_place(text: &Text, node: Place, range: std::ops::Range<usize>) -> Place {
    let offsets = &text.offsets;
    let last_word = text.string.trim_end().len();
    if range.start >= last_word && last_word > 0 {
        let end = offsets.to_file(last_word - 1).map_or(node.end, |last| last + 1);
        return Place { file: node.file, start: end, end };
    }
    let start = offsets.to_file(range.start).unwrap_or(node.start);
    let last = offsets.to_file(range.end.saturating_sub(1).max(range.start)).unwrap_or(node.end);
    let end = if range.end > range.start { last + 1 } else { start };
    Place { file: node.file, start, end: end.max(start) }
}

fn split_operator(rest: &str) -> (&str, &str) {
    for operator in [":-", ":?", "-", "?"] {
        if let Some(word) = rest.strip_prefix(operator) {
            return (operator, word);
        }
    }
    (rest, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::tree::{Format, parse};

    fn read(text: &str) -> (Files, Node, Secrets, Problems) {
        let mut files = Files::new();
        let file = files.add("a.yaml", text);
        let (mut problems, mut secrets) = (Problems::new(), Secrets::default());
        let mut node = parse(&files, file, Format::Yaml, &mut problems).node.expect("YAML");
        let lookup = |name: &str| match name {
            "HOST" => Some("secret-host".to_string()),
            "PORT" => Some("8080".to_string()),
            "EMPTY" => Some(String::new()),
            "EVIL" => Some("x\nsinks: {}".to_string()),
            _ => None,
        };
        interpolate(&mut node, &lookup, &mut secrets, &mut problems);
        (files, node, secrets, problems)
    }

    fn value(text: &str) -> String {
        let (_, node, _, problems) = read(&format!("key: {text}"));
        assert!(problems.is_empty(), "{problems:?}");
        let node = node.as_table().and_then(|table| table.get("key")).expect("the key").clone();
        node.as_text().expect("text").string.clone()
    }

    #[test]
    fn references_defaults_and_dollars() {
        assert_eq!(value("http://${HOST}:${PORT}/"), "http://secret-host:8080/");
        assert_eq!(value("'${NONE:-a b}|${EMPTY:-c}|${EMPTY-d}|'"), "a b|c||");
        assert_eq!(value("$$5 r'^x$' $${HOST}"), "$5 r'^x$' ${HOST}");
        assert_eq!(value("${EVIL}"), "x\nsinks: {}");
    }

    #[test]
    fn mistakes_have_their_place_and_all_are_found() {
        let (files, _, _, problems) = read("a: ${NONE}\nb: x ${\nc: \"é ${0} ${HOST%x}\"\n");
        let found: Vec<_> = problems
            .sorted()
            .iter()
            .map(|problem| (problem.code, files.text(problem.place().expect("a place")).to_string()))
            .collect();
        let expected = [
            (Code::UnsetVariable, "${NONE}"),
            (Code::BadReference, "${"),
            (Code::BadReference, "${0}"),
            (Code::BadReference, "${HOST%x}"),
        ];
        assert_eq!(found, expected.map(|(code, text)| (code, text.to_string())));
    }

    #[test]
    fn places_behind_a_reference_are_right_and_secrets_are_redacted() {
        let (files, node, secrets, _) = read("source: |\n  a = \"${HOST}\"\n  b = 2\n");
        let node = node.as_table().and_then(|table| table.get("source")).expect("source").clone();
        let text = node.as_text().expect("text");
        let at = text.string.find("b = 2").expect("it stands there");
        assert_eq!(files.text(text_place(text, node.place, at..at + 5)), "b = 2");
        assert_eq!(secrets.redact("no secret-host here"), "no ${HOST} here");
        assert_eq!(format!("{secrets:?}"), "[\"HOST\"]");
    }
}
