//! JSON as text: validated in one pass, searched without decoding, never turned into a tree.
//!
//! [`scan`] accepts what RFC 8259 does, with three limits: UTF-8 only, at most [`MAX_DEPTH`] containers within each
//! other, and no escape for half a surrogate pair (it names no character). Everything else here takes text that a scan
//! has accepted; on other text the answers mean nothing, but nothing panics.

mod escape;
mod find;
mod invalid;
mod scan;
mod text;
mod word;

pub(crate) use find::{Members, cut_of, field, first_field, key_is, skip_space};
pub use find::{elements, find, members};
pub use invalid::{Invalid, Why};
pub use scan::{MAX_DEPTH, Member, Shape, scan};
pub use text::{quote, unquote};

/// Checks that the whole of `text` is one JSON value.
///
/// # Errors
/// Where and why it is not.
pub fn validate(text: &[u8]) -> Result<Shape, Invalid> {
    scan(text, &mut Vec::new())
}

/// What a value is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// `"..."`
    String,
    /// A number.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// What the value `text` is, by its first byte.
#[must_use]
pub fn kind(text: &[u8]) -> Kind {
    match text.get(find::skip_space(text, 0)) {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}
