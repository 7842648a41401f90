//! [`ReadError`]: why a value is not what its key takes, before it is put into words.

use std::fmt;

use serde::de::{Expected, Unexpected};

/// Why a value is not what its key takes.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadError {
    /// It is of another type.
    WrongType {
        /// What the key takes.
        expected: String,
        /// What it is, as serde says it.
        found: String,
    },
    /// It is a word that is none of those that the key takes.
    UnknownWord {
        /// The word.
        word: String,
        /// The others.
        expected: &'static [&'static str],
    },
    /// It has a key that it cannot have.
    UnknownKey {
        /// The key.
        key: String,
        /// Those that it can have.
        expected: &'static [&'static str],
    },
    /// It lacks a key.
    MissingKey(&'static str),
    /// The value says so itself.
    Other(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::UnknownWord { word, expected } => write!(f, "`{word}` is none of {}", expected.join(", ")),
            Self::UnknownKey { key, .. } => write!(f, "nobody knows the key `{key}`"),
            Self::MissingKey(key) => write!(f, "the key `{key}` is missing"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Other(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::WrongType { expected: expected.to_string(), found: found.to_string() }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(word: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownWord { word: word.to_string(), expected }
    }

    fn unknown_field(key: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownKey { key: key.to_string(), expected }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::MissingKey(key)
    }
}
