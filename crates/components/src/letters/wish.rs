//! [`Wish`]: which letters are meant, as a condition on the record and on what is known of it.

use tidegate_record::Path;
use tidegate_remap::{Condition, Options};

use super::Letter;
use crate::Rows;

/// A condition in VRL. The record stands at the root, as the transforms of a pipeline see it, and what is known of the
/// letter under `.dead_letter`: `cause`, `kind`, `origin`, `attempts`, `first`, `last`, `number`. A field of the record
/// that has this name is hidden behind it.
pub struct Wish {
    condition: Condition,
    /// The record with the facts in it, reused.
    scratch: Rows,
    facts: Path,
}

impl std::fmt::Debug for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wish")
    }
}

impl Wish {
    /// Compiles it.
    ///
    /// # Errors
    /// What the compiler found, one finding a line.
    pub fn compile(source: &str) -> Result<Self, String> {
        let found = |found: Vec<tidegate_remap::Diagnostic>| {
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let condition = Condition::compile(source, &Options::default()).map_err(found)?;
        let facts = Path::parse(".dead_letter").map_err(|error| error.to_string())?;
        Ok(Self { condition, scratch: Rows::default(), facts })
    }

    /// Whether the letter is meant. A condition that fails on it is not true of it.
    pub fn matches(&mut self, letter: &Letter<'_>) -> bool {
        let origin = letter.row.origin().cloned().unwrap_or_default();
        self.scratch = Rows::default();
        self.scratch.push_copy(letter.row.bytes(), letter.row.form(), &origin);
        self.scratch.row_mut(0).set(&self.facts, letter.facts().as_bytes());
        self.condition.check(self.scratch.row(0)).unwrap_or(false)
    }
}
