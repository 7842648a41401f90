//! [`Problem`]: one mistake in the files, with its code, the places to underline and the likely fix. [`Problems`]
//! collects all of them; nothing stops at the first.

mod code;
mod json;
mod render;

use crate::files::Place;

pub use code::{Code, errors_page};
pub use json::problems_to_json;
pub use render::{Look, render};

/// Whether a problem keeps the plan from running.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// The plan runs, perhaps not as the user expects.
    Warning,
}

/// A place to underline, and what to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What to say there; may be empty.
    pub text: String,
}

/// A replacement of text that would likely mend the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What to replace.
    pub place: Place,
    /// By what.
    pub replacement: String,
}

/// One mistake in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its class, which does not change from version to version.
    pub code: Code,
    /// What is wrong, in one line.
    pub title: String,
    /// The places: the first is where the mistake is, the others explain it.
    pub labels: Vec<Label>,
    /// What helps to understand it.
    pub notes: Vec<String>,
    /// What to do.
    pub helps: Vec<String>,
    /// The likely fix, where it is a replacement.
    pub fix: Option<Fix>,
}

impl Problem {
    /// A problem without a place yet.
    #[must_use]
    pub fn new(code: Code, title: impl Into<String>) -> Self {
        Self { code, title: title.into(), labels: Vec::new(), notes: Vec::new(), helps: Vec::new(), fix: None }
    }

    /// Underlines a place. The first one is where the mistake is.
    #[must_use]
    pub fn at(mut self, place: Place, text: impl Into<String>) -> Self {
        self.labels.push(Label { place, text: text.into() });
        self
    }

    /// Adds what helps to understand it.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.helps.push(text.into());
        self
    }

    /// Says which text to write instead.
    #[must_use]
    pub fn fix(mut self, place: Place, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { place, replacement: replacement.into() });
        self
    }

    /// Whether it keeps the plan from running.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Where the mistake is.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.labels.first().map(|label| label.place)
    }
}

/// All problems found so far. At most [`Problems::LIMIT`] are kept; the rest is counted.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    beyond: usize,
}

impl Problems {
    /// How many problems are kept.
    pub const LIMIT: usize = 200;

    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, unless the same was found before.
    pub fn push(&mut self, problem: Problem) {
        if self.found.contains(&problem) {
            return;
        }
        if self.found.len() < Self::LIMIT {
            self.found.push(problem);
        } else {
            self.beyond += 1;
        }
    }

    /// Adds all of others.
    pub fn extend(&mut self, others: Self) {
        self.beyond += others.beyond;
        others.found.into_iter().for_each(|problem| self.push(problem));
    }

    /// Those that are kept: by file and place, those without a place last.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut all: Vec<_> = self.found.iter().collect();
        all.sort_by_key(|problem| (problem.place().is_none(), problem.place(), problem.severity()));
        all
    }

    /// How many were found beyond those that are kept.
    #[must_use]
    pub fn beyond(&self) -> usize {
        self.beyond
    }

    /// Whether anything keeps the plan from running.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.beyond > 0 || self.count(Severity::Error) > 0
    }

    /// How many of this severity are kept.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|problem| problem.severity() == severity).count()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Problem> {
        self.found.iter_mut()
    }
}
