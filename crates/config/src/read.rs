//! Reads config structs out of the [tree](crate::tree), and finds every mistake on the way.
//!
//! [`read`] gives a [`serde::Deserializer`] over a table to a function. A deserializer ends at its first error; so
//! `read` notes the place, leaves the value that was wrong out and tries again, until nothing else is wrong. A key that
//! the struct does not know is reported with the nearest one that it knows, and skipped.
//!
//! It works through type-erased deserializers too, which keep no more of an error than its text: places are noted on the
//! side.

mod access;
mod error;
mod node;
mod words;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;

use schemars::{Schema, SchemaGenerator};
use tidegate_components::contract::Ignored;

use crate::files::Place;
use crate::problem::{Code, Problem, Problems};
use crate::tree::{Entry, Node, Table};

pub use error::ReadError;
pub use node::NodeReader;

/// What is read, and what to say of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The table.
    pub node: &'a Node,
    /// Where to point for what is missing, such as the name of the component.
    pub name_place: Place,
    /// What the table is, for messages: "sink `out`".
    pub what: &'a str,
    /// Keys of the table that somebody else reads.
    pub skip: &'a [&'a str],
    /// Keys that are allowed and have no effect; those of tables inside with dots: `request.adaptive_concurrency`.
    pub ignored: &'a [Ignored],
    /// Keys that Vector has, and that a file would mean something else without.
    pub lacking: &'a [Ignored],
    /// Describes its keys, for what is missing.
    pub schema: Option<Describe>,
}

/// Gives the schema of a configuration.
pub type Describe = fn(&mut SchemaGenerator) -> Schema;

/// How many mistakes are looked for in one table.
const MOST_TRIES: usize = 64;

/// Reads a value with `make`, and adds what is wrong to `problems`. `None` where anything is.
pub fn read<'a, T, E: Display>(
    subject: Subject<'a>,
    problems: &mut Problems,
    mut make: impl FnMut(NodeReader<'a, '_>) -> Result<T, E>,
) -> Option<T> {
    let notes = Notes {
        subject,
        known: RefCell::default(),
        fault: RefCell::default(),
        left_out: RefCell::default(),
        meant: RefCell::default(),
    };
    let mut made = None;
    for _ in 0..MOST_TRIES {
        notes.fault.take();
        match make(NodeReader::root(subject.node, &notes)) {
            Ok(value) => {
                made = Some(value);
                break;
            }
            Err(error) => {
                let fault = notes.fault.take().unwrap_or_else(|| Fault {
                    node: std::ptr::from_ref(subject.node),
                    problem: Some(
                        Problem::new(Code::InvalidValue, format!("{}: {error}", subject.what))
                            .at(subject.name_place, ""),
                    ),
                });
                fault.problem.into_iter().for_each(|problem| notes.add(problem));
                let is_root = std::ptr::eq(fault.node, subject.node);
                if is_root || !notes.left_out.borrow_mut().insert(fault.node) {
                    break;
                }
            }
        }
    }
    let found = notes.known.into_inner();
    let sound = !found.has_errors();
    problems.extend(found);
    made.filter(|_| sound)
}

/// What is noted on the side while reading.
pub(crate) struct Notes<'a> {
    subject: Subject<'a>,
    known: RefCell<Problems>,
    /// The innermost value that could not be read.
    fault: RefCell<Option<Fault>>,
    /// Values that were wrong before; they are read as if they were not there.
    left_out: RefCell<HashSet<*const Node>>,
    /// The full paths of keys that unknown ones are likely meant to be.
    meant: RefCell<HashSet<String>>,
}

/// A value that could not be read. Without a problem where the cause was reported before.
struct Fault {
    node: *const Node,
    problem: Option<Problem>,
}

impl Notes<'_> {
    fn add(&self, problem: Problem) {
        self.known.borrow_mut().push(problem);
    }

    fn is_meant(&self, path: &str, key: &str) -> bool {
        self.meant.borrow().contains(&words::joined(path, key))
    }

    fn is_left_out(&self, node: &Node) -> bool {
        self.left_out.borrow().contains(&std::ptr::from_ref(node))
    }

    /// Notes why a value could not be read, unless one inside of it was noted.
    fn note<T>(&self, reader: &NodeReader<'_, '_>, result: Result<T, ReadError>) -> Result<T, ReadError> {
        match &result {
            Ok(_) => drop(self.fault.take()),
            Err(error) => {
                if self.fault.borrow().is_none() {
                    let problem = words::describe(error, reader, self);
                    *self.fault.borrow_mut() = Some(Fault { node: reader.node, problem });
                }
            }
        }
        result
    }

    /// The entries of a table that are to be read. With `known`, only those are; the others are reported.
    fn entries<'t>(&self, table: &'t Table, path: &str, known: Option<&'static [&'static str]>) -> Vec<&'t Entry> {
        let wanted = |entry: &&Entry| {
            let name = entry.key.name.as_str();
            if (path.is_empty() && self.subject.skip.contains(&name)) || self.is_left_out(&entry.node) {
                return false;
            }
            let full = words::joined(path, name);
            if known.is_some_and(|known| known.contains(&name)) {
                return true;
            }
            if let Some(ignored) = self.subject.ignored.iter().find(|ignored| ignored.key == full) {
                self.add(words::without_effect(entry, ignored));
                return false;
            }
            if let Some(lacking) = self.subject.lacking.iter().find(|lacking| lacking.key == full) {
                self.add(words::not_yet(entry, lacking));
                return false;
            }
            match known {
                None => true,
                Some(known) => {
                    let problem = words::unknown_key(entry, path, known, &self.subject);
                    if let Some(fix) = &problem.fix {
                        self.meant.borrow_mut().insert(words::joined(path, &fix.replacement));
                    }
                    self.add(problem);
                    false
                }
            }
        };
        table.entries.iter().filter(wanted).collect()
    }
}

#[cfg(test)]
mod tests;
