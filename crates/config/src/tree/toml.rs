//! TOML as a tree. The reader goes on behind mistakes, so that all of them are found.

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::{Entry, Key, MAX_DEPTH, Node, Offsets, Table, Text, Value};
use crate::files::{FileId, Place};
use crate::problem::{Code, Problem, Problems};

pub(super) fn parse(text: &str, file: FileId, problems: &mut Problems) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.push(describe(error, text, file));
    }
    let reader = Reader { text, file };
    let span = table.span();
    let value = reader.table(table.get_ref(), 0, problems)?;
    Some(Node { value, place: Place::new(file, span) })
}

struct Reader<'a> {
    text: &'a str,
    file: FileId,
}

impl Reader<'_> {
    fn table(&self, table: &DeTable<'_>, depth: usize, problems: &mut Problems) -> Option<Value> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let place = Place::new(self.file, key.span());
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
        Text { string: string.to_string(), offsets, ..Text::default() }
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
    if line.contains("${") {
        problem.help("in TOML a reference to the environment stands in quotes: key = \"${NAME}\"")
    } else if !line.contains('=') && line.contains(": ") {
        problem.help("TOML writes `key = value`; a file with `key: value` is YAML and needs the ending .yaml")
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
