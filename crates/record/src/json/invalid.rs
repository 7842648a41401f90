//! [`Invalid`]: why a text is not JSON, and where.

use std::fmt;

/// Why a text is not JSON, and where.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invalid {
    /// The byte at which it ceases to be JSON.
    pub at: usize,
    /// What is wrong there.
    pub why: Why,
}

/// What can be wrong with a JSON text.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The text ends too early.
    End,
    /// A value was expected.
    Value,
    /// A key in quotes was expected.
    Key,
    /// A colon was expected.
    Colon,
    /// A comma or the end of the object or array was expected.
    Comma,
    /// A number is not written as JSON wants it.
    Number,
    /// There is no such escape.
    Escape,
    /// An escape stands for half a surrogate pair.
    Surrogate,
    /// A control character must be escaped.
    Control,
    /// The text is not UTF-8.
    Utf8,
    /// Deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    Depth,
    /// Something follows the value.
    Trailing,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "the text ends too early",
            Self::Value => "expected a value",
            Self::Key => "expected a key in double quotes",
            Self::Colon => "expected a colon",
            Self::Comma => "expected a comma or the end of the object or array",
            Self::Number => "malformed number",
            Self::Escape => "no such escape",
            Self::Surrogate => "half of a surrogate pair",
            Self::Control => "control character in a string; escape it",
            Self::Utf8 => "not UTF-8",
            Self::Depth => "nested too deeply",
            Self::Trailing => "expected the end of the text",
        })
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON at byte {}: {}", self.at, self.why)
    }
}

impl std::error::Error for Invalid {}

/// Why a text is invalid at `at`: there is something wrong, or nothing at all.
#[cold]
pub(super) fn invalid(text: &[u8], at: usize, why: Why) -> Invalid {
    Invalid { at, why: if at >= text.len() { Why::End } else { why } }
}
