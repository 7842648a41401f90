//! TOML as a tree. The reader goes on behind mistakes, so that all of them are found.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Entry, Key, MAX_DEPTH, Node, Offsets, Parsed, Table, Text, Value};
use crate::files::{FileId, Place};
use crate::problem::{Code, Problem, Problems};

pub(super) fn parse(text: &str, file: FileId, problems: &mut Problems) -> Parsed {
    if let Some(at) = yaml_in(text) {
        let problem = Problem::new(Code::TomlSyntax, "this is YAML, but the name of the file says TOML");
        let problem = problem.at(Place::new(file, at), "TOML would write this as `[sources.name]`");
        problems.push(problem.help("end the name of the file in .yaml"));
        return Parsed { node: None, complete: false };
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut wrong_lines = Vec::new();
    let mut complete = true;
    for error in &errors {
        let problem = describe(error, text, file);
        complete &= problem.code == Code::DuplicateKey;
        let line = line_number(text, error.span().unwrap_or(0..0).start);
        // What is found further on a line follows from the first mistake.
        if !wrong_lines.contains(&line) {
            wrong_lines.push(line);
            problems.push(problem);
        }
    }
    let headless = headless(text, &wrong_lines);
    let reader = Reader { text, file, wrong_lines, headless };
    let place = Place::new(file, table.span());
    let value = reader.table(table.get_ref(), 0, problems);
    Parsed { complete: complete && value.is_some(), node: value.map(|value| Node { value, place }) }
}

/// Where the file begins a section as YAML does.
fn yaml_in(text: &str) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let key = line.trim_end();
        if matches!(key, "sources:" | "transforms:" | "sinks:") {
            return Some(at..at + key.len());
        }
        at += line.len();
    }
    None
}

/// The lines below headers of tables that are wrong themselves, up to the next header.
fn headless(text: &str, wrong_lines: &[usize]) -> Vec<std::ops::Range<usize>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_header = |at: usize| lines.get(at).is_some_and(|line| line.trim_start().starts_with('['));
    let below = |at: usize| (at + 1..lines.len()).find(|next| is_header(*next)).unwrap_or(lines.len());
    wrong_lines.iter().filter(|at| is_header(**at)).map(|at| at + 1..below(*at)).collect()
}

fn line_number(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

struct Reader<'a> {
    text: &'a str,
    file: FileId,
    /// Lines with a mistake, counted from 0: what was understood of them is not what was meant.
    wrong_lines: Vec<usize>,
    /// Lines, counted from 0, below a header with a mistake: nobody knows which table their keys are of.
    headless: Vec<std::ops::Range<usize>>,
}

impl Reader<'_> {
    fn table(&self, table: &DeTable<'_>, depth: usize, problems: &mut Problems) -> Option<Value> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let place = Place::new(self.file, key.span());
            let line = line_number(self.text, place.start);
            if self.headless.iter().any(|lines| lines.contains(&line)) {
                continue;
            }
            let key = Key { name: key.get_ref().to_string(), place };
            entries.push(Entry { key, node: self.node(value, depth + 1, problems)? });
        }
        // The reader sorts by name; people read by place.
        entries.sort_by_key(|entry: &Entry| entry.key.place);
        Some(Value::Table(Table { entries }))
    }

    fn node(&self, value: &Spanned<DeValue<'_>>, depth: usize, problems: &mut Problems) -> Option<Node> {
        let place = Place::new(self.file, value.span());
        if depth > MAX_DEPTH {
            let title = format!("values nest more than {MAX_DEPTH} deep");
            problems.push(Problem::new(Code::TooDeep, title).at(place, "here"));
            return None;
        }
        let value = match value.get_ref() {
            DeValue::String(string) => Value::Text(self.string(string, place)),
            DeValue::Integer(integer) => {
                let digits = integer.as_str();
                i128::from_str_radix(digits, integer.radix()).map_or(Value::Null, Value::Int)
            }
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(time) => Value::Text(Text::literal(time.to_string(), place.start)),
            DeValue::Array(list) => {
                Value::List(list.iter().map(|value| self.node(value, depth + 1, problems)).collect::<Option<_>>()?)
            }
            DeValue::Table(table) => self.table(table, depth, problems)?,
        };
        Some(Node { value, place })
    }

    fn string(&self, string: &str, place: Place) -> Text {
        let raw = self.text.get(place.range()).unwrap_or_default();
        let quotes = raw.len() - raw.trim_start_matches(['"', '\'']).len();
        let quotes = if quotes >= 3 { 3 } else { quotes.min(1) };
        let offsets = Offsets::align(string, &raw[quotes..], place.start + quotes, raw.starts_with('"'));
        let broken = self.wrong_lines.contains(&line_number(self.text, place.start));
        Text { string: string.to_string(), offsets, broken, ..Text::default() }
    }
}

fn describe(error: &toml::de::Error, text: &str, file: FileId) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let place = Place::new(file, span.clone());
    let message = error.message().lines().next().unwrap_or_default().to_string();
    if message.contains("duplicate key") {
        let name = text.get(span).unwrap_or_default();
        let title = format!("`{name}` stands twice in the same table");
        return Problem::new(Code::DuplicateKey, title).at(place, "the second one").help("remove one, or rename it");
    }
    let problem = Problem::new(Code::TomlSyntax, format!("this is not TOML: {message}")).at(place, "");
    let line = line_of(text, place.start);
    if line.trim_start().starts_with('[') && message.contains("unclosed table") {
        problem.help(format!("close it: {}]; the keys below it belong to it", line.trim()))
    } else if line.contains("${") {
        problem.help("in TOML a reference to the environment stands in quotes: key = \"${NAME}\"")
    } else if !line.contains('=') && line.contains(": ") {
        problem.help("TOML writes `key = value`")
    } else if line.contains('=') && message.contains("string") {
        problem.help("text stands in quotes: key = \"text\"")
    } else {
        problem
    }
}

fn line_of(text: &str, at: usize) -> &str {
    let at = text.floor_char_boundary(at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |found| found + 1);
    text[start..].lines().next().unwrap_or_default()
}
