//! The texts that a plan was read from, and places in them: every message points into one of these files.

use std::fmt;
use std::ops::Range;

/// One of the [`Files`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A range of bytes of one file.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub file: FileId,
    /// The first byte, counted from 0.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

impl Place {
    /// The bytes `range` of `file`.
    #[must_use]
    pub const fn new(file: FileId, range: Range<usize>) -> Self {
        Self { file, start: range.start, end: range.end }
    }

    /// The range of bytes.
    #[must_use]
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A position as people count: both numbers from 1, columns in characters.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One file: the name to show, and its text.
#[derive(Clone, Debug)]
pub struct File {
    /// As the user named it.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// Every file of one plan. At most `u32::MAX` of them; [`load`](crate::load()) stops far earlier.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: Vec<File>,
}

impl Files {
    /// No files yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(File { name: name.into(), text: text.into() });
        id
    }

    /// The file of this id.
    ///
    /// # Panics
    /// If the id is of other [`Files`].
    #[must_use]
    pub fn get(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }

    /// The files, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The text at a place; the nearest valid range where the place does not fit the text.
    #[must_use]
    pub fn text(&self, place: Place) -> &str {
        let text = &self.get(place.file).text;
        text.get(clamp(text, place.range())).unwrap_or_default()
    }

    /// Where a place begins.
    #[must_use]
    pub fn position(&self, place: Place) -> Position {
        let text = &self.get(place.file).text;
        let before = &text[..clamp(text, place.start..place.start).start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}

/// A range moved to boundaries of characters inside of the text.
#[must_use]
pub(crate) fn clamp(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let mut files = Files::new();
        let id = files.add("a.yaml", "one\nzwölf: x\n");
        let place = Place::new(id, 12..13);
        assert_eq!(files.text(place), "x");
        assert_eq!(files.position(place).to_string(), "2:8");
        let beyond = Place::new(id, 90..95);
        assert_eq!((files.text(beyond), files.position(beyond).to_string()), ("", "3:1".to_string()));
    }
}
