//! [`Row`]: one record, to read. Nothing is decoded but what is asked for.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::id::RecordId;
use crate::json;
use crate::origin::Origin;
use crate::path::{Path, Segment};
use crate::rows::{Body, Entry};

/// What the bytes of a row are.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The text of `.message`. The record is an object of that and the fields of its [`Origin`].
    #[default]
    Message,
    /// The record itself, a JSON object.
    Object,
}

/// One record of a batch, to read.
#[derive(Copy, Clone)]
pub struct Row<'a> {
    body: &'a Body,
    entry: &'a Entry,
    /// In the table of the body.
    number: usize,
}

impl<'a> Row<'a> {
    #[inline]
    pub(crate) fn new(body: &'a Body, number: usize) -> Self {
        Self { body, entry: &body.rows[number], number }
    }

    /// What the bytes are.
    #[must_use]
    pub fn form(&self) -> Form {
        self.entry.form
    }

    /// The bytes as they were read (or written last as a whole), without the newline, and without the edits made since.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.body.base(self.entry)
    }

    /// Whether there are edits that [`bytes`](Self::bytes) does not show.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        self.entry.has_edits()
    }

    /// The envelope. In the form of an object it is not part of the record any more, but still says where it came from.
    #[must_use]
    pub fn origin(&self) -> Option<&'a Arc<Origin>> {
        self.body.pieces.get(self.entry.piece).map(|piece| &piece.origin)
    }

    /// By what the record is known, where its source or its sender said so.
    #[must_use]
    pub fn id(&self) -> Option<RecordId> {
        let ids = self.body.pieces.get(self.entry.piece)?.ids?;
        Some(ids.of(self.entry.number))
    }

    /// The JSON text of the value at `path`, edits included, or `None` where there is none.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<Cow<'a, [u8]>> {
        if path.is_root() {
            let mut whole = Vec::new();
            self.write_json(&mut whole);
            return Some(Cow::Owned(whole));
        }
        match self.entry.form {
            Form::Message => self.get_enveloped(path.segments()),
            Form::Object => self.get_member(path.segments()),
        }
    }

    /// The text of `.message`: a string decoded, `null` as nothing, anything else as its JSON text. `None` where there
    /// is no such field.
    #[must_use]
    pub fn message(&self) -> Option<Cow<'a, [u8]>> {
        match self.entry.form {
            Form::Message => Some(Cow::Borrowed(self.bytes())),
            Form::Object => self.get(&Path::field("message")).map(plain_text),
        }
    }

    /// Appends the record as one JSON object, with the white space that it came with. A message that is not UTF-8 is made so with U+FFFD; its bytes stay as they
    /// are in [`write_text`](Self::write_text).
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match (self.entry.form, self.origin()) {
            (Form::Object, _) => self.write_edited(out),
            (Form::Message, Some(origin)) => {
                let mut tail = Vec::new();
                origin.write_around_message(out, &mut tail);
                json::quote(self.bytes(), out);
                out.extend_from_slice(&tail);
            }
            // A row without an origin: only where its batch is broken.
            (Form::Message, None) => {
                out.extend_from_slice(b"{\"message\":");
                json::quote(self.bytes(), out);
                out.push(b'}');
            }
        }
    }

    /// Appends the text of `.message`; nothing where there is no such field.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        if let Some(text) = self.message() {
            out.extend_from_slice(&text);
        }
    }

    /// What the row weighs, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.body.weigh(self.entry)
    }

    /// Whether it is an object with newlines among its white space.
    pub(crate) fn has_newlines(&self) -> bool {
        self.entry.has_newlines
    }

    /// Appends the bytes with the edits made.
    pub(crate) fn write_edited(&self, out: &mut Vec<u8>) {
        self.body.for_each_part(self.entry, |part| out.extend_from_slice(part));
    }

    fn get_enveloped(&self, path: &[Segment]) -> Option<Cow<'a, [u8]>> {
        let (Segment::Field(key), rest) = path.split_first()? else { return None };
        let value = if key.name() == "message" {
            let mut quoted = Vec::new();
            json::quote(self.bytes(), &mut quoted);
            quoted
        } else {
            self.origin()?.field(key.name())?.as_bytes().to_vec()
        };
        let range = json::find(&value, rest)?;
        Some(Cow::Owned(value[range].to_vec()))
    }

    fn get_member(&self, path: &[Segment]) -> Option<Cow<'a, [u8]>> {
        let base = self.bytes();
        let found = self.find(path);
        if !self.is_edited() {
            return found.and_then(|range| base.get(range)).map(Cow::Borrowed);
        }
        // An edit may have moved the elements of an array: then they are counted anew.
        if let Some(range) = found
            && !path.iter().any(Segment::is_index)
            && !self.body.edits_of(self.entry).any(|edit| touches(&edit.cut(), &range))
        {
            return base.get(range).map(Cow::Borrowed);
        }
        let mut edited = Vec::with_capacity(base.len() + 64);
        self.write_edited(&mut edited);
        let range = json::find(&edited, path)?;
        Some(Cow::Owned(edited[range].to_vec()))
    }

    /// The range of the value at `path` in the bytes of the row, without its edits.
    fn find(&self, path: &[Segment]) -> Option<Range<usize>> {
        let base = self.bytes();
        let Some((Segment::Field(key), rest)) = path.split_first() else { return json::find(base, path) };
        let member = match self.body.index.of(self.number) {
            Some(index) => index.field(base, key.name()),
            None if self.entry.is_plain => json::first_field(base, key.name()),
            None => json::field(base, key.name()),
        }?;
        if rest.is_empty() {
            return Some(member);
        }
        let inner = json::find(base.get(member.clone())?, rest)?;
        Some(member.start + inner.start..member.start + inner.end)
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_json(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Whether a splice changes what stands at `range`, or what stands around it.
pub(crate) fn touches(cut: &Range<usize>, range: &Range<usize>) -> bool {
    cut.start < range.end && cut.end > range.start
}

/// A JSON value as the text of a message.
fn plain_text(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match (json::kind(&value), value) {
        (json::Kind::Null, _) => Cow::Borrowed(b""),
        (json::Kind::String, Cow::Borrowed(text)) => json::unquote(text),
        (json::Kind::String, Cow::Owned(text)) => Cow::Owned(json::unquote(&text).into_owned()),
        (_, other) => other,
    }
}
