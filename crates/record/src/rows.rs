//! [`Rows`]: the payload of the program, a table of rows in slabs and a side buffer with what was written since.

mod body;
mod payload;
mod pieces;
mod stored;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tidegate_flow::{Bytes, Slab};

use crate::edit::RowMut;
use crate::id::{Ids, RecordId};
use crate::origin::Origin;
use crate::row::{Form, Row};

pub(crate) use body::{Body, Edit, Entry, Index, NO_EDIT, narrow};

/// Rows of bytes in slabs that stay in wire form. The payload of every batch in the program.
///
/// What a row was read as stays where it was read; what is written (edits, whole new objects, rows that come from no
/// slab) goes into one side buffer, so that a change of a row costs no allocation of its own.
///
/// Who pays: a slab for its own bytes, to the account of the pool that it comes from, until the last rows on it are
/// gone; the lease of the batch for the table and the side buffer, which is what
/// [`retained_bytes`](tidegate_flow::Payload::retained_bytes) says. The weight of a row is its own bytes, those written
/// for it, and its place in the table.
///
/// Limit: 4 GiB of slab, and of side buffer, in one batch.
#[derive(Default)]
pub struct Rows {
    held: Held,
}

/// A fork shares its rows; whoever changes them first takes a copy of the table and the side buffer (never of slabs).
#[allow(clippy::large_enum_variant, reason = "the usual one; a box would be an allocation for each batch")]
enum Held {
    Own(Body),
    Shared(Arc<Body>, Range<usize>),
}

impl Default for Held {
    fn default() -> Self {
        Self::Own(Body::default())
    }
}

impl Rows {
    /// No rows, with room in the table for `capacity` of them.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut rows = Self::default();
        rows.own().rows.reserve(capacity);
        rows
    }

    /// Rows in the form of messages with a plain origin (source type `test`, time zero), copied into the side buffer:
    /// for tests and generators.
    pub fn from_texts<I>(texts: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let origin = Arc::new(Origin::new("test", crate::Timestamp::default()));
        let mut rows = Self::default();
        texts.into_iter().for_each(|text| rows.push_copy(text.as_ref(), Form::Message, &origin));
        rows
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Own(body) => body.rows.len(),
            Held::Shared(_, range) => range.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `n`, counted from 0.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn row(&self, n: usize) -> Row<'_> {
        let (body, first) = self.body();
        assert!(n < self.len(), "row {n} of {}", self.len());
        Row::new(body, first + n)
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        let (body, first) = self.body();
        (first..first + self.len()).map(move |number| Row::new(body, number))
    }

    /// Row `n`, to change it. Rows that are shared with a fork's sibling are first copied out (their table and edits,
    /// not what they were read as).
    ///
    /// # Panics
    /// Where there are fewer.
    #[inline]
    pub fn row_mut(&mut self, n: usize) -> RowMut<'_> {
        let body = self.own();
        assert!(n < body.rows.len(), "row {n} of {}", body.rows.len());
        RowMut::new(body, n)
    }

    /// Appends a row in the form of a message, without copying it. Rows from one buffer should come in the order in which
    /// they stand there: then they share one handle on it.
    pub fn push_message(&mut self, bytes: Slab, origin: &Arc<Origin>) {
        let range = 0..bytes.len();
        self.push_ranges(&bytes, Form::Message, origin, std::iter::once(range));
    }

    /// Appends the given ranges of `slab` as rows, without copying them. Where the bytes between two rows are a newline
    /// and nothing else, they are written out together.
    ///
    /// # Panics
    /// Where a range is not within the slab.
    pub fn push_ranges(
        &mut self,
        slab: &Slab,
        form: Form,
        origin: &Arc<Origin>,
        ranges: impl Iterator<Item = Range<usize>>,
    ) {
        self.push_ranges_from(None, slab, form, origin, ranges);
    }

    /// Like [`push_ranges`](Self::push_ranges), of rows that are known by these ids: the first by `first`, each further one
    /// by the next number (or part).
    ///
    /// # Panics
    /// Where a range is not within the slab.
    pub fn push_ranges_from(
        &mut self,
        first: Option<RecordId>,
        slab: &Slab,
        form: Form,
        origin: &Arc<Origin>,
        ranges: impl Iterator<Item = Range<usize>>,
    ) {
        let body = self.own();
        let (spot, mut number) = body.place(slab, origin, first);
        let base = spot.offset;
        let text: &[u8] = slab;
        let mut bytes = 0;
        body.rows.extend(ranges.map(|range| {
            assert!(range.start <= range.end && range.end <= text.len(), "row outside of its slab");
            bytes += range.len() + size_of::<Entry>();
            let mut entry = Entry::new(base + range.start..base + range.end, spot.piece, form, number);
            number = number.wrapping_add(1);
            entry.has_newlines = form == Form::Object && memchr::memchr(b'\n', &text[range]).is_some();
            entry
        }));
        body.bytes += bytes as u64;
    }

    /// Appends a row whose bytes are copied into the side buffer: for what comes from no slab. As [`Form::Object`],
    /// `bytes` must be one JSON object.
    pub fn push_copy(&mut self, bytes: &[u8], form: Form, origin: &Arc<Origin>) {
        self.push_copy_as(None, bytes, form, origin);
    }

    /// Like [`push_copy`](Self::push_copy), of a row that is known by this id, where it is.
    pub fn push_copy_as(&mut self, id: Option<RecordId>, bytes: &[u8], form: Form, origin: &Arc<Origin>) {
        let body = self.own();
        let (spot, number) = body.place(&Slab::default(), origin, id);
        let from = body.text.len();
        body.text.extend_from_slice(bytes);
        let mut entry = Entry::new(from..body.text.len(), spot.piece, form, number);
        entry.is_written = true;
        entry.has_newlines = form == Form::Object && memchr::memchr(b'\n', bytes).is_some();
        body.rows.push(entry);
        body.bytes += (bytes.len() + size_of::<Entry>()) as u64;
    }

    /// Numbers the rows of one read, which were pushed without ids: the first that was pushed is `first`, and so on, also
    /// where some of them were removed since. To be called before rows of other reads are joined to them. Costs nothing for
    /// each row.
    pub fn identify(&mut self, first: RecordId) {
        let (ids, _) = Ids::from(first);
        self.own().pieces.iter_mut().for_each(|piece| piece.ids = Some(ids));
    }

    /// Moves the rows of slabs that are less than a quarter in use into the side buffer, so that the slabs can be freed.
    /// Says how many bytes were moved: the lease of the batch must then be made to
    /// [cover](tidegate_flow::Payload::retained_bytes) them.
    pub fn compact(&mut self) -> Bytes {
        let sparse = {
            let (body, _) = self.body();
            body.pieces.iter().any(|piece| !piece.slab.is_empty())
        };
        if sparse { self.own().compact() } else { Bytes::ZERO }
    }

    /// The table and what it refers to, and the number of the first row in it.
    pub(crate) fn body(&self) -> (&Body, usize) {
        match &self.held {
            Held::Own(body) => (body, 0),
            Held::Shared(body, range) => (body, range.start),
        }
    }

    /// The places of the rows.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.held {
            Held::Own(body) => &body.rows,
            Held::Shared(body, range) => &body.rows[range.clone()],
        }
    }

    /// The body, copied out first where it is shared.
    pub(crate) fn own(&mut self) -> &mut Body {
        if let Held::Shared(body, range) = &mut self.held {
            let range = range.clone();
            let own = match Arc::get_mut(body) {
                Some(body) if range.len() == body.rows.len() => std::mem::take(body),
                _ => body.extract(range),
            };
            self.held = Held::Own(own);
        }
        match &mut self.held {
            Held::Own(body) => body,
            Held::Shared(..) => unreachable!("shared rows were copied out above"),
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
