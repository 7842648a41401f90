//! [`Body`]: the table of rows, the edits, and the text that was written.

use std::ops::Range;
use std::sync::Arc;

use tidegate_flow::{Bytes, Slab};

use super::pieces::{Pieces, Spot};
use crate::edit::Written;
use crate::envelope::Envelope;
use crate::id::{Ids, RecordId};
use crate::json::{self, Invalid, Member, Shape};
use crate::origin::Origin;
use crate::row::Form;

/// The end of a list of edits.
pub(crate) const NO_EDIT: u32 = u32::MAX;

/// Where a row stands.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Entry {
    /// Its range in the piece, or in the side buffer where it was written.
    start: u32,
    end: u32,
    pub(crate) piece: u32,
    /// The first of its edits, in the order of their places.
    pub(crate) edits: u32,
    /// What it adds to the ids of its piece; before there are any, its place in the table when it was put there.
    pub(crate) number: u32,
    pub(crate) form: Form,
    /// Whether its bytes are in the side buffer.
    pub(crate) is_written: bool,
    /// Whether its bytes are an object that was seen to have no key with an escape, and none twice at the top level.
    pub(crate) is_plain: bool,
    /// Whether it is an object with newlines among its white space.
    pub(crate) has_newlines: bool,
}

impl Entry {
    pub(crate) fn new(range: Range<usize>, piece: u32, form: Form, number: u32) -> Self {
        let (start, end) = (narrow(range.start), narrow(range.end));
        let (edits, is_written, is_plain, has_newlines) = (NO_EDIT, false, false, false);
        Self { start, end, piece, edits, number, form, is_written, is_plain, has_newlines }
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn has_edits(&self) -> bool {
        self.edits != NO_EDIT
    }

    pub(crate) fn move_to(&mut self, range: Range<usize>) {
        (self.start, self.end) = (narrow(range.start), narrow(range.end));
    }
}

/// A splice: the bytes `at..until` of the row are replaced by a range of the side buffer.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) at: u32,
    pub(crate) until: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) next: u32,
}

impl Edit {
    pub(crate) fn cut(&self) -> Range<usize> {
        self.at as usize..self.until as usize
    }

    pub(crate) fn text(&self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
}

/// Rows, and all that they refer to.
#[derive(Clone, Default)]
pub(crate) struct Body {
    pub(crate) pieces: Pieces,
    pub(crate) rows: Vec<Entry>,
    pub(crate) edits: Vec<Edit>,
    /// The side buffer.
    pub(crate) text: Vec<u8>,
    /// What the rows weigh.
    pub(crate) bytes: u64,
    /// The members of the row that was scanned last.
    pub(crate) index: Index,
    /// What stands around the messages that became objects last.
    pub(crate) envelope: Option<Box<Envelope>>,
}

/// Where the members of one row stand, as long as its bytes are those that were scanned.
#[derive(Clone, Default)]
pub(crate) struct Index {
    /// The number of the row, plus one; 0 for none.
    row: usize,
    shape: Shape,
    members: Vec<Member>,
}

impl Index {
    /// The index, where it is that of the given row.
    #[inline]
    pub(crate) fn of(&self, row: usize) -> Option<&Self> {
        (self.row == row + 1).then_some(self)
    }

    /// Scans `text` and becomes the index of `row`, unless that is no object, or one whose keys cannot be told apart as
    /// bytes.
    pub(crate) fn build(&mut self, row: usize, text: &[u8]) -> Result<Shape, Invalid> {
        self.row = 0;
        self.shape = json::scan(text, &mut self.members)?;
        let is_object = text.get(self.shape.start) == Some(&b'{');
        if is_object && self.shape.has_plain_keys() {
            self.row = row + 1;
        }
        Ok(self.shape)
    }

    pub(crate) fn forget(&mut self) {
        self.row = 0;
    }

    /// The value of the member `name`.
    #[inline]
    pub(crate) fn field(&self, text: &[u8], name: &str) -> Option<Range<usize>> {
        let mut members = json::Members::new(text, &self.members);
        members.find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// What to cut out so that the member `name` is gone, with one of the commas beside it; `None` where there is none.
    pub(crate) fn cut(&self, text: &[u8], name: &str) -> Option<Range<usize>> {
        let at = json::Members::new(text, &self.members).position(|(key, _)| key == name.as_bytes())?;
        Some(json::cut_of(&self.members, at))
    }

    /// How many members.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The object, without white space around it.
    pub(crate) fn object(&self) -> Range<usize> {
        self.shape.start..self.shape.end
    }

    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        self.members.capacity() * size_of::<Member>()
    }
}

impl Body {
    /// Where rows of `slab` can stand that have ids from `first` on, and the number of the first of them there.
    pub(crate) fn place(&mut self, slab: &Slab, origin: &Arc<Origin>, first: Option<RecordId>) -> (Spot, u32) {
        match first {
            None => (self.pieces.place(slab, origin, None), narrow(self.rows.len())),
            Some(first) => {
                let (ids, number) = Ids::from(first);
                let spot = self.pieces.place(slab, origin, Some(ids));
                (spot, number + spot.shift)
            }
        }
    }

    /// The bytes of a row before its edits.
    #[inline]
    pub(crate) fn base(&self, entry: &Entry) -> &[u8] {
        self.held(entry).get(entry.range()).unwrap_or_default()
    }

    /// What the bytes of a row stand in.
    #[inline]
    pub(crate) fn held(&self, entry: &Entry) -> &[u8] {
        if entry.is_written { &self.text } else { self.pieces.bytes(entry.piece) }
    }

    /// The edits of a row, in the order of their places.
    pub(crate) fn edits_of(&self, entry: &Entry) -> impl Iterator<Item = &Edit> {
        let mut next = entry.edits;
        std::iter::from_fn(move || {
            let edit = self.edits.get(next as usize)?;
            next = edit.next;
            Some(edit)
        })
    }

    /// Calls `each` with the bytes of a row with its edits made, piece by piece.
    pub(crate) fn for_each_part(&self, entry: &Entry, mut each: impl FnMut(&[u8])) {
        let base = self.base(entry);
        let mut at = 0;
        for edit in self.edits_of(entry) {
            each(base.get(at..edit.at as usize).unwrap_or_default());
            each(&self.text[edit.text()]);
            at = edit.until as usize;
        }
        each(base.get(at..).unwrap_or_default());
    }

    /// What a row weighs: its bytes, those written for it, and its place in the table.
    pub(crate) fn weigh(&self, entry: &Entry) -> u64 {
        let written: usize = self.edits_of(entry).map(|edit| edit.text().len()).sum();
        (entry.range().len() + written + size_of::<Entry>()) as u64
    }

    /// Bytes on the heap but for slabs.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.pieces.heap_bytes()
            + self.rows.capacity() * size_of::<Entry>()
            + self.edits.capacity() * size_of::<Edit>()
            + self.text.capacity()
            + self.index.heap_bytes()
            + self.envelope.as_ref().map_or(0, |envelope| envelope.heap_bytes())
    }

    /// A copy of the rows in `range`, with what they refer to and nothing else.
    pub(crate) fn extract(&self, range: Range<usize>) -> Self {
        let rows = &self.rows[range];
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Self::default() };
        let mut own =
            Self { pieces: self.pieces.extract(first.piece as usize, last.piece as usize + 1), ..Self::default() };
        let edits = rows.iter().map(|entry| self.edits_of(entry).count()).sum();
        let text = rows.iter().map(|entry| self.text_bytes(entry)).sum();
        own.rows.reserve_exact(rows.len());
        own.edits.reserve_exact(edits);
        own.text.reserve_exact(text);
        for entry in rows {
            own.adopt(self, entry, Entry { piece: entry.piece - first.piece, ..*entry });
        }
        own
    }

    /// Appends the row `entry` of `other`, with what was written for it. `own` is its place here.
    pub(crate) fn adopt(&mut self, other: &Self, entry: &Entry, mut own: Entry) {
        own.edits = NO_EDIT;
        if entry.is_written {
            own.move_to(self.write(other.base(entry)));
        }
        let mut last = None;
        for edit in other.edits_of(entry) {
            let text = self.write(&other.text[edit.text()]);
            let number = narrow(self.edits.len());
            self.edits.push(Edit { from: narrow(text.start), to: narrow(text.end), next: NO_EDIT, ..*edit });
            match last.replace(number) {
                None => own.edits = number,
                Some(before) => self.edits[before as usize].next = number,
            }
        }
        self.bytes += self.weigh(&own);
        self.rows.push(own);
    }

    /// Appends to the side buffer.
    pub(crate) fn write(&mut self, text: &[u8]) -> Range<usize> {
        let from = self.text.len();
        self.text.extend_from_slice(text);
        from..self.text.len()
    }

    /// Frees what was written for a row, where that is the last of the side buffer: rows are mostly changed one after
    /// another, so a row that is written over and over holds one copy of itself.
    /// What was written before `kept` stays.
    pub(crate) fn unwrite(&mut self, entry: &Entry, kept: Written) {
        let (mut text, mut edits) = (Tail::default(), Tail::default());
        if entry.is_written {
            text.add(entry.range(), kept.text);
        }
        let mut number = entry.edits;
        while let Some(edit) = self.edits.get(number as usize) {
            text.add(edit.text(), kept.text);
            edits.add(number as usize..number as usize + 1, kept.edits);
            number = edit.next;
        }
        if let Some(first) = text.whole(self.text.len()) {
            self.text.truncate(first);
        }
        if let Some(first) = edits.whole(self.edits.len()) {
            self.edits.truncate(first);
        }
    }

    /// Lets go of the slabs that no row stands on any more.
    pub(crate) fn release_unused(&mut self) {
        let mut used = vec![false; self.pieces.len()];
        self.rows.iter().filter(|entry| !entry.is_written).for_each(|entry| used[entry.piece as usize] = true);
        for (piece, _) in self.pieces.iter_mut().zip(used).filter(|(_, used)| !used) {
            piece.slab = Slab::default();
        }
    }

    /// Moves rows of sparse slabs into the side buffer.
    pub(crate) fn compact(&mut self) -> Bytes {
        let mut live = vec![0_u64; self.pieces.len()];
        for entry in self.rows.iter().filter(|entry| !entry.is_written) {
            live[entry.piece as usize] += entry.range().len() as u64;
        }
        let sparse: Vec<bool> = self
            .pieces
            .iter()
            .zip(&live)
            .map(|(piece, live)| !piece.slab.is_empty() && *live < piece.slab.retained_bytes().get().div_ceil(4))
            .collect();
        let before = self.text.len();
        let moved = live.iter().zip(&sparse).filter(|(_, sparse)| **sparse).map(|(live, _)| *live).sum::<u64>();
        self.text.reserve(usize::try_from(moved).unwrap_or(0));
        for number in 0..self.rows.len() {
            let entry = self.rows[number];
            if entry.is_written || !sparse[entry.piece as usize] {
                continue;
            }
            let (pieces, text) = (&self.pieces, &mut self.text);
            let from = text.len();
            text.extend_from_slice(pieces.bytes(entry.piece).get(entry.range()).unwrap_or_default());
            let to = text.len();
            self.rows[number].move_to(from..to);
            self.rows[number].is_written = true;
        }
        for (piece, _) in self.pieces.iter_mut().zip(sparse).filter(|(_, sparse)| *sparse) {
            piece.slab = Slab::default();
        }
        Bytes::from(self.text.len() - before)
    }

    /// Bytes of the side buffer that a row refers to.
    fn text_bytes(&self, entry: &Entry) -> usize {
        let own = if entry.is_written { entry.range().len() } else { 0 };
        own + self.edits_of(entry).map(|edit| edit.text().len()).sum::<usize>()
    }
}

/// An offset in a slab or the side buffer.
///
/// # Panics
/// Beyond 4 GiB. A batch is closed at its size limit, long before.
#[inline]
pub(crate) fn narrow(offset: usize) -> u32 {
    match u32::try_from(offset) {
        Ok(offset) => offset,
        Err(_) => panic!("a batch with more than 4 GiB in one slab or side buffer"),
    }
}

/// Ranges that perhaps are the end of a buffer.
#[derive(Default)]
struct Tail {
    first: Option<usize>,
    length: usize,
}

impl Tail {
    /// Adds a range, unless it stands before `kept`.
    fn add(&mut self, range: Range<usize>, kept: usize) {
        if range.start >= kept {
            self.length += range.len();
            self.first = Some(self.first.map_or(range.start, |first| first.min(range.start)));
        }
    }

    /// Where the ranges begin, if nothing stands behind or between them in a buffer of this length.
    fn whole(&self, length: usize) -> Option<usize> {
        self.first.filter(|first| first + self.length == length)
    }
}
