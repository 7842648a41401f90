//! What holds for the whole process: the memory budget and the data directory.

use std::path::PathBuf;

use serde::Deserialize;
use tidegate_components::value::ByteSize;

use crate::document::Document;
use crate::files::Place;
use crate::problem::{Code, Problem, Problems};
use crate::read::{Subject, read};
use crate::tree::{Entry, Node, Table, Value};

/// What holds for the whole process.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The budget that everything in flight is charged to. Default: 256 MiB.
    pub memory: ByteSize,
    /// Where `memory` stands.
    pub memory_place: Option<Place>,
    /// Where components keep what must survive a restart. Default: `/var/lib/tidegate`.
    pub data_dir: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memory: ByteSize::mib(256), memory_place: None, data_dir: PathBuf::from("/var/lib/tidegate") }
    }
}

/// The two keys, as they are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Read {
    memory: Option<ByteSize>,
    data_dir: Option<PathBuf>,
}

impl Settings {
    pub(super) fn read(document: &Document<'_>, problems: &mut Problems) -> Self {
        let entries: Vec<Entry> = [document.memory, document.data_dir].into_iter().flatten().cloned().collect();
        let Some(place) = entries.first().map(|entry| entry.key.place) else { return Self::default() };
        let node = Node { value: Value::Table(Table { entries }), place };
        let subject = Subject {
            node: &node,
            name_place: place,
            what: "the pipeline file",
            skip: &[],
            ignored: &[],
            lacking: &[],
            schema: None,
        };
        let read = read(subject, problems, |reader| Read::deserialize(reader)).unwrap_or_default();
        let mut settings = Self::default();
        if let Some(memory) = read.memory {
            settings.memory = memory;
        }
        settings.memory_place = document.memory.map(|entry| entry.node.place);
        if let Some(data_dir) = read.data_dir {
            settings.data_dir = data_dir;
        }
        if settings.data_dir.as_os_str().is_empty() {
            let problem = Problem::new(Code::InvalidValue, "`data_dir` names no directory");
            let place = document.data_dir.map_or(place, |entry| entry.node.place);
            problems.push(problem.at(place, "").help("remove the key to have the default, /var/lib/tidegate"));
        }
        settings
    }
}
