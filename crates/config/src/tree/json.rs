//! JSON as a tree: a small reader that knows what people write by mistake (comments, trailing commas, single quotes).

use super::{Entry, Key, MAX_DEPTH, MAX_NODES, Node, Offsets, Parsed, Table, Text, Value};
use crate::files::{FileId, Place};
use crate::problem::{Code, Problem, Problems};

pub(super) fn parse(text: &str, file: FileId, problems: &mut Problems) -> Parsed {
    let mut reader = Reader { text, file, at: 0, nodes: 0, problems };
    match reader.document() {
        Ok(node) => Parsed { node: Some(node), complete: true },
        Err(problem) => {
            problems.push(*problem);
            Parsed { node: None, complete: false }
        }
    }
}

type Read<T> = Result<T, Box<Problem>>;

struct Reader<'a> {
    text: &'a str,
    file: FileId,
    at: usize,
    nodes: usize,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn document(&mut self) -> Read<Node> {
        if self.text.starts_with('\u{feff}') {
            self.at = '\u{feff}'.len_utf8();
        }
        let node = self.node(0)?;
        self.skip_space()?;
        match self.peek() {
            None => Ok(node),
            Some(_) => Err(self.wrong("something stands behind the end of the document", "remove it")),
        }
    }

    fn node(&mut self, depth: usize) -> Read<Node> {
        self.skip_space()?;
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            let title = format!("values nest more than {MAX_DEPTH} deep, or there are more than {MAX_NODES}");
            return Err(Box::new(Problem::new(Code::TooDeep, title).at(self.here(), "here")));
        }
        let start = self.at;
        let value = match self.peek() {
            Some('{') => self.table(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('a'..='z' | 'A'..='Z' | '_') => self.word()?,
            Some('\'') => return Err(self.wrong("JSON has no single quotes", "write text in double quotes")),
            Some('}' | ']' | ',' | ':') => return Err(self.wrong("a value is missing here", "write a value")),
            Some(_) => return Err(self.wrong("this begins no value of JSON", "text stands in double quotes")),
            None => return Err(self.wrong("the file ends in the middle of a value", "close what is open")),
        };
        Ok(Node { value, place: Place::new(self.file, start..self.at) })
    }

    fn table(&mut self, depth: usize) -> Read<Value> {
        let open = self.at;
        self.at += 1;
        let mut table = Table::default();
        while self.another(open, '}', table.entries.is_empty())? {
            let start = self.at;
            if self.peek() != Some('"') {
                return Err(self.wrong("a key is expected here, in double quotes", "write \"key\": value"));
            }
            let name = self.string()?.string;
            let key = Key { name, place: Place::new(self.file, start..self.at) };
            self.skip_space()?;
            if self.peek() != Some(':') {
                return Err(self.wrong("a colon is missing behind the key", "write \"key\": value"));
            }
            self.at += 1;
            let node = self.node(depth + 1)?;
            if let Some(first) = table.entry(&key.name) {
                self.problems.push(super::yaml::duplicate(&key, first.key.place));
            } else {
                table.entries.push(Entry { key, node });
            }
        }
        Ok(Value::Table(table))
    }

    fn list(&mut self, depth: usize) -> Read<Value> {
        let open = self.at;
        self.at += 1;
        let mut list = Vec::new();
        while self.another(open, ']', list.is_empty())? {
            list.push(self.node(depth + 1)?);
        }
        Ok(Value::List(list))
    }

    /// Whether another entry of a table or list follows; takes the comma before it, or the end.
    fn another(&mut self, open: usize, end: char, is_first: bool) -> Read<bool> {
        self.skip_space()?;
        let found = self.peek();
        if found == Some(end) {
            self.at += 1;
            return Ok(false);
        }
        if found.is_none() {
            let title = format!("the file ends before `{end}`");
            let opened = Place::new(self.file, open..open + 1);
            let problem = Problem::new(Code::JsonSyntax, title).at(self.here(), "the end of the file");
            return Err(Box::new(problem.at(opened, "opened here").help(format!("add `{end}`"))));
        }
        if is_first {
            return Ok(true);
        }
        if found != Some(',') {
            return Err(self.wrong(&format!("a comma or `{end}` is missing before this"), "add it"));
        }
        let comma = self.at;
        self.at += 1;
        self.skip_space()?;
        if self.peek() == Some(end) {
            let place = Place::new(self.file, comma..comma + 1);
            let title = format!("JSON has no comma before `{end}`");
            self.problems.push(Problem::new(Code::JsonSyntax, title).at(place, "one too many").help("remove it"));
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    fn string(&mut self) -> Read<Text> {
        let start = self.at;
        let mut escaped = false;
        let rest = &self.text[start + 1..];
        let end = rest.char_indices().find_map(|(at, c)| match c {
            '\n' => Some((at, false)),
            '"' if !escaped => Some((at, true)),
            _ => {
                escaped = c == '\\' && !escaped;
                None
            }
        });
        let Some((end, true)) = end else {
            let end = end.map_or(self.text.len(), |(at, _)| start + 1 + at);
            let problem = Problem::new(Code::JsonSyntax, "the text has no end on its line");
            let problem = problem.at(Place::new(self.file, start..end), "it begins here");
            return Err(Box::new(problem.help("close it with a double quote; write line breaks as \\n")));
        };
        self.at = start + end + 2;
        let raw = &self.text[start..self.at];
        let string: String = serde_json::from_str(raw).map_err(|error| {
            let error = error.to_string();
            let why = error.split(" at line").next().unwrap_or_default().to_string();
            let problem = Problem::new(Code::JsonSyntax, format!("this is no text of JSON: {why}"));
            let problem = problem.at(Place::new(self.file, start..self.at), "");
            Box::new(problem.help("a backslash is written \\\\; control characters as \\u and four digits"))
        })?;
        let offsets = Offsets::align(&string, &raw[1..], start + 1, true);
        Ok(Text { string, offsets, ..Text::default() })
    }

    fn number(&mut self) -> Read<Value> {
        let start = self.at;
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_');
        let raw: &str = &self.text[start..];
        let raw = &raw[..raw.find(|c| !part(c)).unwrap_or(raw.len())];
        self.at += raw.len();
        let number = serde_json::from_str::<serde_json::Number>(raw).ok();
        let whole = number.as_ref().and_then(serde_json::Number::as_i128).map(Value::Int);
        let value = whole.or_else(|| number.and_then(|number| number.as_f64()).map(Value::Float));
        value.ok_or_else(|| {
            let problem = Problem::new(Code::JsonSyntax, format!("`{raw}` is no number of JSON"));
            let problem = problem.at(Place::new(self.file, start..self.at), "");
            Box::new(problem.help(format!("a value with a unit stands in quotes: \"{raw}\"")))
        })
    }

    fn word(&mut self) -> Read<Value> {
        let start = self.at;
        let raw = &self.text[start..];
        let raw = &raw[..raw.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(raw.len())];
        self.at += raw.len();
        match raw {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => {
                let problem = Problem::new(Code::JsonSyntax, format!("`{raw}` is no value of JSON"));
                let problem = problem.at(Place::new(self.file, start..self.at), "");
                Err(Box::new(problem.help(format!("text stands in double quotes: \"{raw}\""))))
            }
        }
    }

    fn skip_space(&mut self) -> Read<()> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        if self.text[self.at..].starts_with(['/', '#']) {
            return Err(self.wrong("JSON has no comments", "remove it, or write the file in YAML or TOML"));
        }
        Ok(())
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn here(&self) -> Place {
        let len = self.peek().map_or(0, char::len_utf8);
        Place::new(self.file, self.at..self.at + len)
    }

    fn wrong(&self, title: &str, help: &str) -> Box<Problem> {
        Box::new(Problem::new(Code::JsonSyntax, title).at(self.here(), "here").help(help))
    }
}
