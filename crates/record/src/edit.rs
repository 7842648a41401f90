//! [`RowMut`]: one record, to change. An edit is noted as a splice and made when the row is written out.

mod place;

use std::fmt;
use std::ops::Range;

use crate::json::{self, Invalid, Shape};
use crate::path::{Path, Segment};
use crate::row::{Form, Row};
use crate::rows::{Body, Edit, Entry, NO_EDIT, narrow};
use place::{Place, place, without};

/// One record of a batch, to change.
pub struct RowMut<'a> {
    body: &'a mut Body,
    number: usize,
    /// What was written before this stays, because the record may go back to it.
    kept: Written,
}

/// How much was written in a batch: edits, and bytes of the side buffer.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) edits: usize,
    pub(crate) text: usize,
}

/// What a record was, to go back to it.
#[derive(Debug)]
pub struct Mark {
    entry: Entry,
    written: Written,
}

/// Why the message of a record could not take the place of the record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NotAnObject {
    /// The message is not JSON.
    Invalid(Invalid),
    /// The message is JSON, but no object.
    Other(json::Kind),
    /// There is no `.message`, or it is no string.
    NoMessage,
}

impl fmt::Display for NotAnObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => write!(f, "{invalid}"),
            Self::Other(kind) => write!(f, "the message is JSON of kind {kind:?}, no object"),
            Self::NoMessage => f.write_str("the record has no `.message` that is a string"),
        }
    }
}

impl std::error::Error for NotAnObject {}

impl<'a> RowMut<'a> {
    pub(crate) fn new(body: &'a mut Body, number: usize) -> Self {
        Self { body, number, kept: Written::default() }
    }

    /// The row, to read.
    #[must_use]
    pub fn as_row(&self) -> Row<'_> {
        Row::new(self.body, self.number)
    }

    /// Notes what the record is now, to [`restore`](Self::restore) it. Costs nothing.
    #[must_use]
    pub fn mark(&mut self) -> Mark {
        self.kept = Written { edits: self.body.edits.len(), text: self.body.text.len() };
        Mark { entry: self.body.rows[self.number], written: self.kept }
    }

    /// Makes the record what it was at the mark, which must be of this very row, with no other changed since.
    pub fn restore(&mut self, mark: Mark) {
        let Mark { entry, written } = mark;
        self.body.bytes -= self.body.weigh(&self.body.rows[self.number]);
        self.body.edits.truncate(written.edits);
        self.body.text.truncate(written.text);
        self.body.rows[self.number] = entry;
        self.body.bytes += self.body.weigh(&entry);
        self.forget_index();
    }

    /// `. = parse_json!(.message)`: checks the whole message (syntax, UTF-8, depth) and makes it the record. The bytes
    /// stay where they are unless they are a string within an object.
    ///
    /// # Errors
    /// The message is no JSON object; the row is unchanged.
    pub fn parse_message(&mut self) -> Result<(), NotAnObject> {
        self.parse_message_shape().map(drop)
    }

    /// Like [`parse_message`](Self::parse_message), and says what was seen on the way.
    ///
    /// # Errors
    /// The same.
    pub fn parse_message_shape(&mut self) -> Result<Shape, NotAnObject> {
        if self.body.rows[self.number].form == Form::Object {
            return self.parse_inner_message();
        }
        let shape = self.scan().map_err(NotAnObject::Invalid)?;
        let text = self.as_row().bytes();
        if text.get(shape.start) != Some(&b'{') {
            return Err(NotAnObject::Other(json::kind(text)));
        }
        let own = &mut self.body.rows[self.number];
        own.form = Form::Object;
        own.is_plain = shape.has_plain_keys();
        own.has_newlines = shape.has_newlines;
        Ok(shape)
    }

    /// Notes where the members of the record stand, so that the next accesses to this row need not search: worth it
    /// from the second access on. Does nothing for a row in the form of a message, or where it is known already.
    pub fn index(&mut self) {
        if self.as_row().form() == Form::Object && self.body.index.of(self.number).is_none() {
            // What is no JSON (only where a caller broke its promise) is searched the slow way.
            let _ = self.scan();
        }
    }

    fn scan(&mut self) -> Result<Shape, Invalid> {
        let Body { index, pieces, text, rows, .. } = &mut *self.body;
        let entry = &rows[self.number];
        let held = if entry.is_written { &text[..] } else { pieces.bytes(entry.piece) };
        index.build(self.number, held.get(entry.range()).unwrap_or_default())
    }

    /// Sets the value at `path` to `json`, which must be one JSON value. Objects and arrays on the way are made where
    /// they are missing, a value of another kind on the way gives way, new members come last, and an array is filled up
    /// with `null`, as in VRL. For the path `.`, `json` must be an object.
    pub fn set(&mut self, path: &Path, json: &[u8]) {
        debug_assert!(json::validate(json).is_ok(), "not JSON: {}", String::from_utf8_lossy(json));
        if path.is_root() {
            return self.replace(json);
        }
        self.enter_object();
        self.index();
        let index = self.body.index.of(self.number);
        let spot = place(self.as_row().bytes(), path.segments(), index);
        if !self.fits(path, &spot) {
            self.settle_edits();
            return self.set(path, json);
        }
        self.body.rows[self.number].has_newlines |= memchr::memchr(b'\n', json).is_some();
        let from = self.body.text.len();
        spot.write(json, &mut self.body.text);
        let to = self.body.text.len();
        self.splice(spot.cut(), from..to);
    }

    /// Removes the value at `path`; says whether there was one. The path `.` empties the record.
    pub fn remove(&mut self, path: &Path) -> bool {
        if path.is_root() {
            self.replace(b"{}");
            return true;
        }
        self.enter_object();
        if let Some(cut) = self.cut(path) {
            let end = self.body.text.len();
            self.splice(cut, end..end);
            return true;
        }
        if self.as_row().is_edited() {
            self.settle_edits();
        }
        let Some(less) = without(self.as_row().bytes(), path.segments()) else { return false };
        self.replace(less);
        true
    }

    /// The splice that removes the value at `path`: for a member at the top level that stands as it was read, and not
    /// alone. `None` where it takes more than that.
    fn cut(&mut self, path: &Path) -> Option<Range<usize>> {
        let [Segment::Field(key)] = path.segments() else { return None };
        self.index();
        let index = self.body.index.of(self.number)?;
        let row = self.as_row();
        let cut = index.cut(row.bytes(), key.name())?;
        let entry = &self.body.rows[self.number];
        let (mut others, mut is_apart) = (0, true);
        for edit in self.body.edits_of(entry) {
            let other = edit.cut();
            others += 1;
            is_apart &= other.end <= cut.start || cut.end <= other.start;
        }
        // However many of the edits are removals, a member that was read stays: what is added behind it begins with a
        // comma.
        (is_apart && others + 1 < index.len()).then_some(cut)
    }

    /// Replaces the whole record by `json`, which must be one JSON object.
    pub fn replace(&mut self, json: impl AsRef<[u8]>) {
        let json = json.as_ref();
        debug_assert!(json::validate(json).is_ok(), "not JSON: {}", String::from_utf8_lossy(json));
        let entry = self.body.rows[self.number];
        self.body.bytes -= self.body.weigh(&entry);
        self.body.unwrite(&entry, self.kept);
        let range = self.body.write(json);
        self.stand_at(range, memchr::memchr(b'\n', json).is_some());
        self.body.bytes += self.body.weigh(&self.body.rows[self.number]);
    }

    /// The record is now the object at `range` of the side buffer.
    fn stand_at(&mut self, range: Range<usize>, has_newlines: bool) {
        let own = &mut self.body.rows[self.number];
        own.move_to(range);
        own.is_written = true;
        own.edits = NO_EDIT;
        own.form = Form::Object;
        own.is_plain = false;
        own.has_newlines = has_newlines;
        self.forget_index();
    }

    fn forget_index(&mut self) {
        if self.body.index.of(self.number).is_some() {
            self.body.index.forget();
        }
    }

    /// Makes a row in the form of a message one in the form of an object.
    fn enter_object(&mut self) {
        let entry = self.body.rows[self.number];
        if entry.form == Form::Object {
            return;
        }
        let Body { pieces, text, envelope, .. } = &mut *self.body;
        let Some(piece) = pieces.get(entry.piece).filter(|_| !entry.is_written) else { return self.settle_edits() };
        let from = text.len();
        envelope.get_or_insert_default().enclose(&piece.slab[entry.range()], &piece.origin, text);
        let range = from..text.len();
        self.body.bytes += (range.len() - entry.range().len()) as u64;
        let has_newlines = memchr::memchr(b'\n', &self.body.text[range.clone()]).is_some();
        self.stand_at(range, has_newlines);
    }

    /// Writes the row out as an object, edits made, and goes on with that.
    fn settle_edits(&mut self) {
        let mut text = Vec::new();
        self.as_row().write_json(&mut text);
        self.replace(text);
    }

    fn parse_inner_message(&mut self) -> Result<Shape, NotAnObject> {
        let row = self.as_row();
        let value = row.get(&Path::field("message")).ok_or(NotAnObject::NoMessage)?;
        if json::kind(&value) != json::Kind::String {
            return Err(NotAnObject::NoMessage);
        }
        let text = json::unquote(&value).into_owned();
        let shape = json::validate(&text).map_err(NotAnObject::Invalid)?;
        match json::kind(&text) {
            json::Kind::Object => self.replace(text),
            kind => return Err(NotAnObject::Other(kind)),
        }
        Ok(shape)
    }

    /// Whether a new splice can stand beside those that are there. One within an array may have moved its elements.
    fn fits(&self, path: &Path, spot: &Place<'_>) -> bool {
        let row = self.as_row();
        if !row.is_edited() {
            return true;
        }
        if path.segments().iter().any(Segment::is_index) {
            return false;
        }
        let cut = spot.cut();
        let entry = &self.body.rows[self.number];
        self.body.edits_of(entry).all(|edit| {
            let other = edit.cut();
            let apart = other.end <= cut.start || cut.end <= other.start;
            apart && !(other.start == cut.start && spot.collides_with(&self.body.text[edit.text()]))
        })
    }

    /// Notes a splice behind those at the same place.
    fn splice(&mut self, cut: Range<usize>, text: Range<usize>) {
        self.own_edits();
        let number = narrow(self.body.edits.len());
        self.body.bytes += text.len() as u64;
        let mut before = None;
        let mut next = self.body.rows[self.number].edits;
        while let Some(edit) = self.body.edits.get(next as usize)
            && edit.at as usize <= cut.start
        {
            before = Some(next);
            next = edit.next;
        }
        self.body.edits.push(Edit {
            at: narrow(cut.start),
            until: narrow(cut.end),
            from: narrow(text.start),
            to: narrow(text.end),
            next,
        });
        match before {
            Some(before) => self.body.edits[before as usize].next = number,
            None => self.body.rows[self.number].edits = number,
        }
    }

    /// Copies the edits made before the mark, so that those stay strung as they are.
    fn own_edits(&mut self) {
        let mut number = self.body.rows[self.number].edits;
        if number == NO_EDIT || number as usize >= self.kept.edits {
            return;
        }
        self.body.rows[self.number].edits = narrow(self.body.edits.len());
        while let Some(edit) = self.body.edits.get(number as usize).copied() {
            number = edit.next;
            let next = if number == NO_EDIT { NO_EDIT } else { narrow(self.body.edits.len() + 1) };
            self.body.edits.push(Edit { next, ..edit });
        }
    }
}
