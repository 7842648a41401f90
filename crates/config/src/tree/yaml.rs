//! YAML as a tree, built from the events of the parser. Aliases and merge keys (`<<`) are expanded, within limits.

mod syntax;

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{Entry, Key, MAX_DEPTH, MAX_NODES, Node, Offsets, Parsed, Table, Text, Value, resolve_plain};
use crate::files::{FileId, Place};
use crate::problem::{Code, Problem, Problems};

pub(super) fn parse(text: &str, file: FileId, problems: &mut Problems) -> Parsed {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    options.block_nesting_limit = MAX_DEPTH;
    options.flow_nesting_limit = MAX_DEPTH;
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { text, file, parser, problems, anchors: HashMap::new(), nodes: 0, complete: true };
    match builder.document() {
        Ok(node) => Parsed { node: Some(node), complete: builder.complete },
        Err(Stop(problem)) => {
            problems.push(*problem);
            Parsed { node: None, complete: false }
        }
    }
}

/// The message for a key that stands twice in one table.
pub(super) fn duplicate(second: &Key, first: Place) -> Problem {
    Problem::new(Code::DuplicateKey, format!("`{}` stands twice in the same table", second.name))
        .at(second.place, "the second one")
        .at(first, "the first one")
        .help("remove one, or rename it")
}

/// The end of the reading, with the problem that ended it.
struct Stop(Box<Problem>);

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

type Step<'a> = (Event<'a>, Span);

struct Builder<'a, 'p> {
    text: &'a str,
    file: FileId,
    parser: Parser<'a, StrInput<'a>>,
    problems: &'p mut Problems,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    complete: bool,
}

/// What a name stands for: nothing while it is being read, so that a value cannot contain itself.
enum Anchor {
    Open,
    Known(Node),
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root: Option<Node> = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    let title = "the file holds more than one document";
                    let problem =
                        Problem::new(Code::UnsupportedYaml, title).at(self.place(span), "another begins here");
                    let help = "write them to files of their own; a directory of files is read as one plan";
                    self.problems.push(problem.help(help));
                    self.complete = false;
                    break;
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node((event, span), 0)?),
            }
        }
        let nothing = Node { value: Value::Null, place: Place::new(self.file, 0..0) };
        Ok(root.unwrap_or(nothing))
    }

    fn next(&mut self) -> Result<Step<'a>, Stop> {
        match self.parser.next_event() {
            Some(Ok(step)) => Ok(step),
            Some(Err(error)) => Err(syntax::describe(&error, self.text, self.file).into()),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, (event, span): Step<'a>, depth: usize) -> Result<Node, Stop> {
        let place = self.place(span);
        self.charge(1, place)?;
        if depth > MAX_DEPTH {
            return Err(self.too_much(place));
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag_place = span.tag_span().map(|span| self.place(span));
                (anchor, self.scalar(&text, style, tag.as_deref().map(|tag| (tag, tag_place)), place))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", place);
                self.open(anchor);
                let mut list = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, span) => break span,
                        step => list.push(self.node(step, depth + 1)?),
                    }
                };
                (anchor, Node { value: Value::List(list), place: self.up_to(place, end) })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", place);
                self.open(anchor);
                let (table, end) = self.table(depth)?;
                (anchor, Node { value: Value::Table(table), place: self.up_to(place, end) })
            }
            Event::Alias(id) => (0, self.alias(id, place)?),
            Event::UnresolvedAlias(name) => {
                let title = format!("nothing above is anchored as `&{name}`");
                let problem = Problem::new(Code::YamlSyntax, title).at(place, "");
                let help = "in YAML a value that begins with `*` refers to an anchor; put a wildcard in quotes";
                self.problems.push(problem.help(format!("{help}: \"*{name}\"")));
                (0, Node { value: Value::Text(Text::literal(format!("*{name}"), place.start)), place })
            }
            _ => (0, Node { value: Value::Null, place }),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor::Known(node.clone()));
        }
        Ok(node)
    }

    fn table(&mut self, depth: usize) -> Result<(Table, Span), Stop> {
        let mut table = Table::default();
        let mut merged: Vec<Node> = Vec::new();
        let end = loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd, span) => break span,
                step => step,
            };
            let is_plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = self.key((event, span), depth)?;
            let step = self.next()?;
            let mut node = self.node(step, depth + 1)?;
            let Some(key) = key else { continue };
            if node.value == Value::Null && node.place.start == node.place.end {
                // No text at all: the key is what can be shown.
                node.place = key.place;
            }
            if key.name == "<<" && is_plain {
                merged.push(node);
            } else if let Some(first) = table.entry(&key.name) {
                self.problems.push(duplicate(&key, first.key.place));
            } else {
                table.entries.push(Entry { key, node });
            }
        };
        merged.into_iter().for_each(|node| self.merge(&mut table, node));
        Ok((table, end))
    }

    /// Adds the keys that the table does not set itself.
    fn merge(&mut self, table: &mut Table, node: Node) {
        match node.value {
            Value::Table(other) => {
                let new = |entry: &Entry| table.get(&entry.key.name).is_none();
                let added: Vec<_> = other.entries.into_iter().filter(new).collect();
                table.entries.extend(added);
            }
            Value::List(list) => list.into_iter().for_each(|node| self.merge(table, node)),
            _ => {
                let problem = Problem::new(Code::WrongType, "`<<` merges tables");
                self.problems.push(problem.at(node.place, format!("found {}", node.in_words())));
            }
        }
    }

    /// The key of an entry; `None`, with a problem, where it is no text.
    fn key(&mut self, (event, span): Step<'a>, depth: usize) -> Result<Option<Key>, Stop> {
        let place = self.place(span);
        if let Event::Scalar(name, ..) = &event {
            return Ok(Some(Key { name: name.to_string(), place }));
        }
        self.node((event, span), depth + 1)?;
        let problem = Problem::new(Code::UnsupportedYaml, "a key is a text").at(place, "this is none");
        self.problems.push(problem.help("a value that begins with `{` or `[` and is meant as text stands in quotes"));
        Ok(None)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<(&Tag, Option<Place>)>, place: Place) -> Node {
        let (tag, tag_place) = tag.map_or((None, None), |(tag, place)| (Some(tag), place));
        let raw = self.text.get(place.range()).unwrap_or_default();
        let plain = style == ScalarStyle::Plain;
        let forced_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.refuse(tag, tag_place.unwrap_or(place));
        }
        if plain && raw.is_empty() {
            return Node { value: Value::Null, place };
        }
        if plain
            && !forced_text
            && !text.contains('$')
            && let Some(value) = resolve_plain(text)
        {
            return Node { value, place };
        }
        let quote = usize::from(matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted));
        let escapes = style == ScalarStyle::DoubleQuoted;
        let written = raw.get(quote..).unwrap_or_default();
        let offsets = Offsets::align(text, written, place.start + quote, escapes);
        let place = Place { end: place.start + raw.trim_end().len(), ..place };
        let text = Text { string: text.to_string(), offsets, plain: plain && !forced_text, ..Text::default() };
        Node { value: Value::Text(text), place }
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<Node, Stop> {
        let Some(Anchor::Known(node)) = self.anchors.get(&id) else {
            let problem = Problem::new(Code::UnsupportedYaml, "a value cannot contain itself");
            return Err(problem.at(place, "refers to what it stands in").into());
        };
        let (count, node) = (node.count(), node.clone());
        self.charge(count, place)?;
        Ok(node)
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor::Open);
        }
    }

    fn charge(&mut self, count: usize, place: Place) -> Result<(), Stop> {
        self.nodes += count;
        if self.nodes > MAX_NODES { Err(self.too_much(place)) } else { Ok(()) }
    }

    fn too_much(&self, place: Place) -> Stop {
        let title = format!("values nest more than {MAX_DEPTH} deep, or there are more than {MAX_NODES} of them");
        let problem = Problem::new(Code::TooDeep, title).at(place, "the limit is reached here");
        problem.note("aliases (`*name`) count as what they stand for").into()
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, fitting: &str, place: Place) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema_tag(fitting)) {
            self.refuse(tag, place);
        }
    }

    fn refuse(&mut self, tag: &Tag, place: Place) {
        let title = format!("the tag `{}` has no meaning here", tag.original());
        let problem = Problem::new(Code::UnsupportedYaml, title).at(place, "");
        self.problems.push(problem.help("a text that begins with `!` stands in quotes"));
    }

    fn place(&self, span: Span) -> Place {
        Place::new(self.file, span.byte_range().unwrap_or(0..0))
    }

    fn up_to(&self, start: Place, end: Span) -> Place {
        let end = self.place(end).end.max(start.end);
        let raw = self.text.get(start.start..end).unwrap_or_default();
        Place { end: start.start + raw.trim_end().len(), ..start }
    }
}
