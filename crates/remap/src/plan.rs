//! What a lowered program is: steps and tests on the raw text of a record, in place of decoded values.
//!
//! A step or test that meets what it has no answer for says so ([`Halt::Defer`]), and the record goes through VRL.

use tidegate_record::Path;
use vrl::value::Value;

/// One change of a record.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// `. = parse_json!(.message)`: the bytes of the message are the record from here on.
    Parse,
    /// `.a = "text"`: a value known when the program was compiled, as JSON text.
    Set { path: Path, json: Box<[u8]> },
    /// `.a = .b`: null where `.b` is missing.
    Copy { to: Path, from: Path },
    /// `.a = del(.b)`: null where `.b` is missing.
    Move { to: Path, from: Path },
    /// `del(.a)`.
    Remove { path: Path },
    /// `if test { .. } else { .. }`.
    If { test: Test, then: Vec<Step>, otherwise: Vec<Step> },
    /// `abort`.
    Abort,
}

/// A question about a record whose answer is yes or no, or a failure.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// `true`, `false`.
    Known(bool),
    /// `!a`.
    Not(Box<Test>),
    /// `a && b`.
    And(Box<Test>, Box<Test>),
    /// `a || b`.
    Or(Box<Test>, Box<Test>),
    /// `a ?? b`: the second when the first fails.
    Else(Box<Test>, Box<Test>),
    /// `.a == 1`, `string!(.a) < "x"`.
    Compare { what: Operand, how: Comparison, with: Value },
    /// `contains(string!(.a), "x")`, `starts_with!(.a, "x")`.
    Text { what: Operand, how: Match, needle: Box<str> },
    /// `bool!(.a)`.
    Flag(Operand),
    /// `exists(.a)`.
    Exists(Path),
    /// `is_null(.a)`, `is_string(.a)`; a missing field is null.
    Is(Path, Kind),
}

/// A field of a record, and the kind that it must have, if any; another kind is a failure.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) path: Path,
    pub(crate) must: Option<Kind>,
}

/// What a JSON value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Integer,
    Float,
    String,
    Array,
    Object,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How a text is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Starts,
    Ends,
    Contains,
}

/// Why a step or a test has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It fails: VRL would report an error here.
    Fails,
    /// Only VRL can tell.
    Defer,
}
