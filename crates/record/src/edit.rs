//! [`RowMut`]: one record, to change. An edit is noted as a splice and made when the row is written out.

mod place;

use std::fmt;
use std::ops::Range;

use crate::json::{self, Invalid, Shape};
use crate::path::Path;
use crate::row::{Form, Row};
use crate::rows::{Body, Edit, Entry, NO_EDIT};
use place::{Place, place, without};

/// One record of a batch, to change.
pub struct RowMut<'a> {
    body: &'a mut Body,
    number: usize,
    /// Whether a mark was set: then nothing that the row was may be written over.
    is_marked: bool,
}

/// What a record was, to go back to it.
#[derive(Debug)]
pub struct Mark {
    entry: Entry,
    /// How many edits there were in the batch.
    edits: usize,
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
        Self { body, number, is_marked: false }
    }

    /// The row, to read.
    #[must_use]
    pub fn as_row(&self) -> Row<'_> {
        Row::new(self.body, &self.body.rows[self.number])
    }

    /// Notes what the record is now. Costs nothing; what is written until [`restore`](Self::restore) stays in the side
    /// buffer.
    pub fn mark(&mut self) -> Mark {
        self.is_marked = true;
        Mark { entry: self.body.rows[self.number], edits: self.body.edits.len() }
    }

    /// Makes the record what it was at the mark, which must be of this very row.
    pub fn restore(&mut self, mark: Mark) {
        let now = self.body.rows[self.number];
        self.body.bytes -= self.body.weigh(&now);
        self.body.rows[self.number] = mark.entry;
        // Newer edits may have been strung between the older ones.
        let old = |edit: u32| (edit as usize) < mark.edits;
        let mut next = mark.entry.edits;
        while next != NO_EDIT {
            let mut behind = self.body.edits[next as usize].next;
            while behind != NO_EDIT && !old(behind) {
                behind = self.body.edits[behind as usize].next;
            }
            self.body.edits[next as usize].next = behind;
            next = behind;
        }
        self.body.bytes += self.body.weigh(&mark.entry);
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
        let mut index = std::mem::take(&mut self.body.index);
        index.row = 0;
        let text = self.as_row().bytes();
        let scanned = json::scan(text, &mut index.members).map_err(NotAnObject::Invalid);
        let kind = json::kind(text);
        if scanned.is_ok() && kind == json::Kind::Object {
            index.row = self.number + 1;
        }
        self.body.index = index;
        let shape = scanned?;
        if kind != json::Kind::Object {
            return Err(NotAnObject::Other(kind));
        }
        self.body.rows[self.number].form = Form::Object;
        Ok(shape)
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
        let spot = place(self.as_row().bytes(), path.segments());
        if !self.fits(&spot) {
            self.settle_edits();
            return self.set(path, json);
        }
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
        if self.as_row().is_edited() {
            self.settle_edits();
        }
        let Some(less) = without(self.as_row().bytes(), path.segments()) else { return false };
        self.replace(less);
        true
    }

    /// Replaces the whole record by `json`, which must be one JSON object.
    pub fn replace(&mut self, json: impl AsRef<[u8]>) {
        let json = json.as_ref();
        debug_assert!(json::validate(json).is_ok(), "not JSON: {}", String::from_utf8_lossy(json));
        let entry = self.body.rows[self.number];
        self.body.bytes -= self.body.weigh(&entry);
        if entry.is_written && !self.is_marked && entry.range().end == self.body.text.len() {
            // The last of the side buffer is this row itself: it is written over.
            self.body.text.truncate(entry.range().start);
        }
        let range = self.body.write(json);
        let own = &mut self.body.rows[self.number];
        own.move_to(range);
        own.is_written = true;
        own.edits = NO_EDIT;
        own.form = Form::Object;
        let own = *own;
        self.body.bytes += self.body.weigh(&own);
        self.forget_index();
    }

    fn forget_index(&mut self) {
        if self.body.index.row == self.number + 1 {
            self.body.index.row = 0;
        }
    }

    /// Makes a row in the form of a message one in the form of an object.
    fn enter_object(&mut self) {
        if self.as_row().form() == Form::Message {
            self.settle_edits();
        }
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

    /// Whether a new splice can stand beside those that are there.
    fn fits(&self, spot: &Place<'_>) -> bool {
        let row = self.as_row();
        if !row.is_edited() {
            return true;
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
        let number = crate::rows::narrow(self.body.edits.len());
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
            at: crate::rows::narrow(cut.start),
            until: crate::rows::narrow(cut.end),
            from: crate::rows::narrow(text.start),
            to: crate::rows::narrow(text.end),
            next,
        });
        match before {
            Some(before) => self.body.edits[before as usize].next = number,
            None => self.body.rows[self.number].edits = number,
        }
    }
}
