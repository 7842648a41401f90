//! Files and directories as one tree: read, parsed, references replaced, merged.
//!
//! A directory gives its `*.yaml`, `*.yml`, `*.toml` and `*.json`, in order of their names, without those below it and
//! without hidden ones, whose names begin with a dot: what editors leave there.
//! Several files are merged as tables are: what two of them define is an error that shows both places.
//!
//! Limits: [`MAX_FILES`] files of at most [`MAX_FILE_BYTES`] each; beyond, an error.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::files::{Files, Place};
use crate::interpolate::{Lookup, Secrets, interpolate};
use crate::problem::{Code, Problem, Problems};
use crate::tree::{Entry, Format, Node, Table, Value, parse};

/// How many files one plan may be read from.
pub const MAX_FILES: usize = 1_000;

/// How large one file may be.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// What was read, as one tree, with what was found wrong.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The texts.
    pub files: Files,
    /// Everything that the files define.
    pub root: Table,
    /// What came from the environment.
    pub secrets: Secrets,
    /// What is wrong so far.
    pub problems: Problems,
    /// Whether something could not be read, so that what seems to be missing may stand there.
    pub incomplete: bool,
}

/// A text to read instead of a file.
#[derive(Copy, Clone, Debug)]
pub struct Given<'a> {
    /// The name for messages.
    pub name: &'a str,
    /// What it is written in.
    pub format: Format,
    /// The text.
    pub text: &'a str,
}

/// Reads files and directories.
#[must_use]
pub fn load(paths: &[PathBuf], lookup: Lookup<'_>) -> Loaded {
    let mut loaded = Loaded::default();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = files_of(path, &mut loaded.problems);
            loaded.incomplete |= files.is_empty();
            found.extend(files);
        } else {
            found.push(path.clone());
        }
    }
    if found.len() > MAX_FILES {
        let title = format!("there are {} files; at most {MAX_FILES} are read as one plan", found.len());
        loaded.problems.push(Problem::new(Code::TooLarge, title));
        found.truncate(MAX_FILES);
        loaded.incomplete = true;
    }
    for path in &found {
        match read(path, &mut loaded.problems) {
            Some((format, text)) => {
                loaded.add(Given { name: &path.display().to_string(), format, text: &text }, lookup)
            }
            None => loaded.incomplete = true,
        }
    }
    loaded
}

/// Reads texts that are at hand.
#[must_use]
pub fn load_texts(texts: &[Given<'_>], lookup: Lookup<'_>) -> Loaded {
    let mut loaded = Loaded::default();
    texts.iter().for_each(|text| loaded.add(*text, lookup));
    loaded
}

impl Loaded {
    fn add(&mut self, given: Given<'_>, lookup: Lookup<'_>) {
        let file = self.files.add(given.name, given.text);
        let parsed = parse(&self.files, file, given.format, &mut self.problems);
        self.incomplete |= !parsed.complete;
        let Some(mut node) = parsed.node else { return };
        interpolate(&mut node, lookup, &mut self.secrets, &mut self.problems);
        match node.value {
            Value::Table(table) => merge(&mut self.root, table, 0, &mut self.problems),
            Value::Null => {}
            _ => {
                self.incomplete = true;
                let problem = Problem::new(Code::WrongType, "a pipeline file is a table of keys");
                let problem = problem.at(Place { end: node.place.start, ..node.place }, "");
                let problem = problem.help("begin with `sources:`, `transforms:` and `sinks:`");
                self.problems.push(problem);
            }
        }
    }
}

/// Adds a file to the others. Tables at the top (`sources`, ...) are merged, what stands in them is not.
fn merge(into: &mut Table, table: Table, depth: usize, problems: &mut Problems) {
    for entry in table.entries {
        let Some(known) = into.entries.iter_mut().find(|known| known.key.name == entry.key.name) else {
            into.entries.push(entry);
            continue;
        };
        match (&mut known.node.value, entry.node.value) {
            (Value::Table(known), Value::Table(table)) if depth == 0 => merge(known, table, depth + 1, problems),
            (Value::List(known), Value::List(list)) if depth == 0 => known.extend(list),
            (known, Value::Null) if depth == 0 && !matches!(known, Value::Null) => {}
            (known @ Value::Null, value) if depth == 0 => *known = value,
            (_, value) => {
                let node = Node { value, place: entry.node.place };
                problems.push(twice(known, &Entry { key: entry.key, node }));
            }
        }
    }
}

fn twice(first: &Entry, second: &Entry) -> Problem {
    let name = &second.key.name;
    Problem::new(Code::DefinedTwice, format!("`{name}` is defined in two files"))
        .at(second.key.place, "the second one")
        .at(first.key.place, "the first one")
        .help("remove one, or rename it")
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn files_of(directory: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            let title = format!("the directory {} cannot be read: {error}", directory.display());
            problems.push(Problem::new(Code::Unreadable, title));
            return Vec::new();
        }
    };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| Format::of(path).is_some() && !is_hidden(path) && path.is_file())
        .take(MAX_FILES + 1)
        .collect();
    found.sort();
    if found.is_empty() {
        let title = format!("the directory {} holds no pipeline file", directory.display());
        problems.push(Problem::new(Code::Unreadable, title).help("pipeline files end in .yaml, .yml, .toml or .json"));
    }
    found
}

fn read(path: &Path, problems: &mut Problems) -> Option<(Format, String)> {
    let shown = path.display();
    let Some(format) = Format::of(path) else {
        let title = format!("{shown} is neither YAML, TOML nor JSON by its name");
        problems.push(Problem::new(Code::UnknownFormat, title).help("end its name in .yaml, .yml, .toml or .json"));
        return None;
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = file {
        let problem = Problem::new(Code::Unreadable, format!("{shown} cannot be read: {error}"));
        problems.push(problem.help("check the path and the permissions"));
        return None;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let title = format!("{shown} is larger than {} MiB", MAX_FILE_BYTES >> 20);
        problems.push(Problem::new(Code::TooLarge, title).help("split it; a directory of files is read as one plan"));
        return None;
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        let title = format!("{shown} is not UTF-8: it begins as UTF-16 does");
        let help = format!("save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 {shown}");
        problems.push(Problem::new(Code::NotUtf8, title).help(help));
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some((format, text)),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            let title = format!("{shown} is not UTF-8: line {line} holds a byte that begins no character");
            problems.push(Problem::new(Code::NotUtf8, title).help("save it as UTF-8"));
            None
        }
    }
}
