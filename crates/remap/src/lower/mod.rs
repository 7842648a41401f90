//! Lowering: which parts of a program need no decoded values.
//!
//! It works on the syntax tree, after the compiler has accepted the program, from the first statement on. What it does
//! not know it leaves to VRL, with the reason in words. It must never be wrong: where a statement has a corner that
//! the raw text cannot show, either the statement is not lowered or the step defers at run time.

mod expression;
mod statement;
mod test;

use std::fmt;
use std::ops::Range;

use vrl::parser::ast::{Expr, Node, RootExpr};

use crate::plan::{Step, Test};

/// What happens to each statement of a source, in words, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lowering {
    /// The statements in their order. The last one may stand for several that are run together.
    pub parts: Vec<Part>,
}

/// What happens to one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The bytes of the source.
    pub range: Range<usize>,
    /// Where it runs.
    pub runs: Runs,
    /// What is done there, or why it could not be lowered.
    pub words: String,
}

/// Where a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runs {
    /// On the raw text of the record: nothing is decoded.
    OnText,
    /// In VRL, on the fields that it reads or writes: only they are decoded.
    OnFields,
    /// In VRL, on the whole record, decoded.
    OnRecord,
}

impl Lowering {
    /// Whether nothing of a plain record is decoded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.parts.iter().all(|part| part.runs == Runs::OnText)
    }
}

impl fmt::Display for Lowering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.parts.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            let runs = match part.runs {
                Runs::OnText => "on raw text",
                Runs::OnFields => "in VRL, decoding some fields",
                Runs::OnRecord => "in VRL, decoding the record",
            };
            write!(f, "{separator}bytes {}..{}: {runs}: {}", part.range.start, part.range.end, part.words)?;
        }
        Ok(())
    }
}

/// Why an expression is left to VRL.
pub(crate) type Why = String;

/// Where a statement stands in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing has changed the record before it.
    First,
    /// After the message was made the record: all that is there is JSON.
    Parsed,
    /// After other changes: the envelope may be there still, with its time.
    Later,
}

impl Place {
    fn after(steps: &[Step]) -> Self {
        match steps.first() {
            None => Self::First,
            Some(Step::Parse) => Self::Parsed,
            Some(_) => Self::Later,
        }
    }

    /// Within a block.
    pub(crate) fn inner(self) -> Self {
        if self == Self::First { Self::Later } else { self }
    }
}

/// The statements at the start of a program that could be lowered, and the first that could not.
pub(crate) struct Lowered {
    pub(crate) steps: Vec<Step>,
    pub(crate) parts: Vec<Part>,
    /// Where the first statement starts that VRL must run, and why it must.
    pub(crate) stop: Option<(usize, Why)>,
    /// Where the last lowered statement ends.
    pub(crate) end: usize,
}

/// Lowers the statements of `source`, which has compiled, up to the first that cannot be.
pub(crate) fn program(source: &str) -> Lowered {
    let mut lowered = Lowered { steps: Vec::new(), parts: Vec::new(), stop: None, end: 0 };
    let Ok(tree) = vrl::parser::parse(source) else {
        lowered.stop = Some((0, "it could not be read again".to_string()));
        return lowered;
    };
    for root in &tree.0 {
        let place = Place::after(&lowered.steps);
        match root_statement(root, place) {
            Ok((step, words)) => {
                lowered.steps.extend(step);
                lowered.end = root.end();
                lowered.parts.push(Part { range: root.start()..root.end(), runs: Runs::OnText, words });
            }
            Err(why) => {
                lowered.stop = Some((root.start(), why));
                break;
            }
        }
    }
    lowered
}

/// Lowers a condition of `source`, which has compiled: one expression.
pub(crate) fn condition(source: &str) -> Result<Test, Why> {
    let tree = vrl::parser::parse(source).map_err(|error| error.to_string())?;
    match tree.0.as_slice() {
        [one] => match one.inner() {
            RootExpr::Expr(expression) => test::lower(expression.inner()),
            RootExpr::Error(error) => Err(error.to_string()),
        },
        _ => Err("it is more than one expression".to_string()),
    }
}

fn root_statement(root: &Node<RootExpr>, place: Place) -> Result<(Option<Step>, String), Why> {
    match root.inner() {
        RootExpr::Expr(expression) => one_statement(expression.inner(), place),
        RootExpr::Error(error) => Err(error.to_string()),
    }
}

fn one_statement(expression: &Expr, place: Place) -> Result<(Option<Step>, String), Why> {
    let step = statement::lower(expression, place)?;
    let words = step.as_ref().map_or_else(|| "changes nothing".to_string(), statement::describe);
    Ok((step, words))
}
