//! [`Path`]: where a value stands in a record, in the notation of VRL: `.a.b[0]."c d"`.

use std::fmt;
use std::str::FromStr;

use crate::json;

/// The largest index of a path that is [parsed](Path::parse), from either end: 10,000. To set a value fills up the array to
/// its index, so that a larger one would make a record of any size.
pub const INDEX_MAX: usize = 10_000;

/// Where a value stands in a record. `.` is the record itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Segment>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// The member of an object.
    Field(Key),
    /// The element of an array, counted from 0, or from the end with -1 for the last.
    Index(isize),
}

impl Segment {
    /// Whether this is the element of an array.
    #[must_use]
    pub const fn is_index(&self) -> bool {
        matches!(self, Self::Index(_))
    }
}

/// The name of a member, and its JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    name: Box<str>,
    quoted: Box<[u8]>,
}

impl Key {
    /// A member of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut quoted = Vec::with_capacity(name.len() + 2);
        json::quote(name.as_bytes(), &mut quoted);
        Self { name: name.into(), quoted: quoted.into() }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as a JSON string, with its quotes.
    #[must_use]
    pub fn quoted(&self) -> &[u8] {
        &self.quoted
    }
}

impl Path {
    /// The path of a member of the record itself.
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self(vec![Segment::Field(Key::new(name))])
    }

    /// Reads a path: `.` and a name (letters, digits, `_`, `@`, or anything in double quotes with `\"` and `\\`), or an
    /// index in brackets, of at most [`INDEX_MAX`]. The first dot may be missing.
    ///
    /// # Errors
    /// What stands there instead, and at which byte.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut reader = Reader { text, at: 0 };
        let mut segments = Vec::new();
        if text == "." {
            return Ok(Self(segments));
        }
        while let Some(next) = reader.peek() {
            let segment = match next {
                '[' => reader.index()?,
                '.' => {
                    reader.at += 1;
                    reader.name()?
                }
                _ if segments.is_empty() => reader.name()?,
                _ => return Err(reader.error("expected `.` or `[`")),
            };
            segments.push(segment);
        }
        if segments.is_empty() {
            return Err(reader.error("an empty path; write `.` for the whole record"));
        }
        Ok(Self(segments))
    }

    /// The steps, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the record itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the member at the top level, where the path begins with one.
    #[must_use]
    pub fn top(&self) -> Option<&Key> {
        match self.0.first() {
            Some(Segment::Field(key)) => Some(key),
            _ => None,
        }
    }
}

impl From<Vec<Segment>> for Path {
    fn from(segments: Vec<Segment>) -> Self {
        Self(segments)
    }
}

impl FromStr for Path {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for segment in &self.0 {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Field(key) if is_plain(&key.name) => write!(f, ".{}", key.name)?,
                Segment::Field(key) => {
                    write!(f, ".\"{}\"", key.name.replace('\\', "\\\\").replace('"', "\\\""))?;
                }
            }
        }
        Ok(())
    }
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// The byte at which it ceases to be one.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of the path", self.what, self.at)
    }
}

impl std::error::Error for PathError {}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '@'
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, what: &'static str) -> PathError {
        PathError { at: self.at, what }
    }

    fn name(&mut self) -> Result<Segment, PathError> {
        if self.peek() == Some('"') {
            return self.quoted_name();
        }
        let length: usize = self.rest().chars().take_while(|c| is_name_char(*c)).map(char::len_utf8).sum();
        if length == 0 {
            return Err(self.error("expected a name (quote names with other characters: .\"a b\")"));
        }
        let key = Key::new(&self.rest()[..length]);
        self.at += length;
        Ok(Segment::Field(key))
    }

    fn quoted_name(&mut self) -> Result<Segment, PathError> {
        let mut name = String::new();
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped => {
                    name.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.at += offset + 1;
                    return Ok(Segment::Field(Key::new(&name)));
                }
                _ => name.push(c),
            }
        }
        Err(self.error("a quoted name without its closing quote"))
    }

    fn index(&mut self) -> Result<Segment, PathError> {
        let end = self.rest().find(']').ok_or_else(|| self.error("an index without its closing bracket"))?;
        let index: isize =
            self.rest()[1..end].parse().map_err(|_| self.error("expected a whole number in brackets"))?;
        if index.unsigned_abs() > INDEX_MAX {
            return Err(self.error("an index over 10000"));
        }
        self.at += end + 1;
        Ok(Segment::Index(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_they_are_written() {
        for text in [".", ".a", ".a.b[0].\"c d\"", ".\"x\\\"y\\\\z\"", "[0][-1].x", ".@timestamp"] {
            assert_eq!(Path::parse(text).map(|path| path.to_string()), Ok(text.to_string()));
        }
        assert_eq!(Path::parse("a.b"), Path::parse(".a.b"));
        assert_eq!(Path::parse(".é").map_err(|error| error.at), Err(1));
    }

    #[test]
    fn an_error_names_its_place() {
        for (text, at) in [
            ("", 0),
            (".a.", 3),
            (".a[x]", 2),
            (".a[0", 2),
            (".\"a", 1),
            (".a-b", 2),
            (".a[0]b", 5),
            (".a[10001]", 2),
            (".a[-10001]", 2),
        ] {
            assert_eq!(Path::parse(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }
}
