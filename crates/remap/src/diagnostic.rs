//! What the compiler has to say, as data: a code, a message, and byte ranges in the source. Whoever holds the file in
//! which the source stands shows it there; nothing here prints.

use std::fmt;
use std::ops::Range;

use vrl::diagnostic::{self as theirs, DiagnosticList, Note};

use crate::functions;

/// One finding of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is. A source with an error does not run; a warning is shown.
    pub severity: Severity,
    /// The code of the VRL compiler, shown as `E103`. 0 where the finding is ours.
    pub code: usize,
    /// What is wrong, in one line.
    pub message: String,
    /// The bytes of the source that are to blame. On character boundaries and within the source.
    pub range: Range<usize>,
    /// What is to be said about parts of the source.
    pub labels: Vec<Label>,
    /// Hints, examples and where to read more.
    pub notes: Vec<String>,
}

/// A remark about a part of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The bytes of the source. On character boundaries and within the source.
    pub range: Range<usize>,
    /// The remark.
    pub message: String,
    /// Whether this is the place of the mistake, not only context.
    pub primary: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The source does not compile.
    Error,
    /// It compiles, and probably does not mean what it says.
    Warning,
}

impl Diagnostic {
    /// An error of ours about the whole source.
    pub(crate) fn whole(source: &str, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        let range = trimmed(source);
        Self { severity, code: 0, message: message.into(), range, labels: Vec::new(), notes: Vec::new() }
    }

    /// An error of ours at a part of the source.
    pub(crate) fn at(range: Range<usize>, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { severity, code: 0, message: message.into(), range, labels: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// What the VRL compiler found in `source`.
    pub(crate) fn list(source: &str, found: DiagnosticList) -> Vec<Self> {
        found.into_iter().map(|one| Self::from_theirs(source, one)).collect()
    }

    fn from_theirs(source: &str, found: theirs::Diagnostic) -> Self {
        let severity = if found.is_problem() { Severity::Error } else { Severity::Warning };
        let labels: Vec<Label> = found
            .labels
            .iter()
            .map(|label| Label {
                range: within(source, label.span.range()),
                message: label.message.clone(),
                primary: label.primary,
            })
            .collect();
        let place = labels.iter().find(|label| label.primary).or(labels.first());
        let range = place.map_or_else(|| trimmed(source), |label| label.range.clone());
        let mut notes = notes(&found.notes);
        notes.extend(functions::absence(source.get(range.clone()).unwrap_or_default()));
        Self { severity, code: found.code, message: one_line(&found.message), range, labels, notes }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.severity == Severity::Error { "error" } else { "warning" };
        match self.code {
            0 => write!(f, "{kind}: {}", self.message)?,
            code => write!(f, "{kind}[E{code:03}]: {}", self.message)?,
        }
        write!(f, " (bytes {}..{})", self.range.start, self.range.end)?;
        self.labels
            .iter()
            .try_for_each(|label| write!(f, "\n  {}..{}: {}", label.range.start, label.range.end, label.message))?;
        self.notes.iter().try_for_each(|note| write!(f, "\n  = {note}"))
    }
}

impl std::error::Error for Diagnostic {}

/// The notes as lines: what follows a "try:" stays with it, and what points to tools that are not here goes.
fn notes(found: &[Note]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for note in found.iter().filter(|note| !matches!(note, Note::SeeRepl)) {
        let text = note.to_string();
        match lines.last_mut().filter(|_| text.starts_with("    ")) {
            Some(above) => *above = format!("{above} {}", text.trim()),
            None if text.trim().is_empty() => {}
            None => lines.push(text),
        }
    }
    lines
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The source without the blanks around it.
fn trimmed(source: &str) -> Range<usize> {
    let start = source.len() - source.trim_start().len();
    start..source.trim_end().len().max(start)
}

/// A range that is sure to lie within the source, on character boundaries.
fn within(source: &str, range: Range<usize>) -> Range<usize> {
    let start = source.floor_char_boundary(range.start);
    start..source.ceil_char_boundary(range.end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_source() {
        assert_eq!(within("añb", 2..9), 1..4);
        assert_eq!(within("ab", 7..9), 2..2);
        assert_eq!(trimmed("  a b \n"), 2..5);
        assert_eq!(trimmed("  "), 2..2);
    }

    #[test]
    fn a_solution_is_one_note() {
        let mut found = Note::solution("ensuring the type", vec!["string!(.a)"]);
        found.push(Note::SeeRepl);
        assert_eq!(
            notes(&found),
            ["try: ensuring the type", "string!(.a)"].map(str::to_string)[..1]
                .to_vec()
                .into_iter()
                .map(|note| note + " string!(.a)")
                .collect::<Vec<_>>()
        );
    }
}
