//! What sources do to what they read before it goes on: decoding, the limit on rows, and the envelope.

use std::sync::Arc;

use tidegate_flow::{Payload as _, Weight};
use tidegate_record::{Origin, Path, RowMut, Rows};

use crate::contract::{Counter, Meters};
use crate::options::{Decoding, DecodingCodec};

/// About what a row takes beside its bytes.
pub(super) const ROW_BYTES: u64 = 32;

/// The most rows that a read may give, so that their table fits into the room as well.
pub(super) fn most_rows(room: Weight) -> usize {
    usize::try_from(room.records.get().min(room.bytes.get() / ROW_BYTES)).unwrap_or(usize::MAX).max(1)
}

/// Decodes rows as `decoding` says.
pub(super) struct Decoder {
    codec: DecodingCodec,
    malformed: Counter,
    refused: Vec<u32>,
    envelope: Envelope,
}

impl Decoder {
    /// Rows that cannot be decoded are counted for `node` as `records_malformed`.
    pub(super) fn new(decoding: &Decoding, node: &Arc<str>, meters: &Meters) -> Self {
        Self {
            codec: decoding.codec,
            malformed: meters.counter(node, "records_malformed"),
            refused: Vec::new(),
            envelope: Envelope::default(),
        }
    }

    /// Decodes the rows, and removes those that cannot be. The envelope becomes fields of decoded objects, where they do
    /// not have such fields of their own.
    pub(super) fn decode(&mut self, rows: &mut Rows) {
        match self.codec {
            DecodingCodec::Bytes => {}
            DecodingCodec::Json => self.decode_json(rows),
        }
    }

    fn decode_json(&mut self, rows: &mut Rows) {
        self.refused.clear();
        for (number, at) in (0..rows.len()).zip(0_u32..) {
            let mut row = rows.row_mut(number);
            match row.parse_message() {
                Ok(()) => self.envelope.add_to(&mut row),
                Err(_) => self.refused.push(at),
            }
        }
        self.malformed.add(self.refused.len() as u64);
        rows.remove_rows(&self.refused);
    }
}

/// Makes fields of objects out of the envelope of their read, as sources of Vector do.
#[derive(Default)]
pub(super) struct Envelope {
    origin: Option<Arc<Origin>>,
    fields: Vec<(Path, Vec<u8>)>,
}

impl Envelope {
    /// Adds the fields to every row, where it does not have such fields of its own.
    pub(super) fn add(&mut self, rows: &mut Rows) {
        for number in 0..rows.len() {
            self.add_to(&mut rows.row_mut(number));
        }
    }

    fn add_to(&mut self, row: &mut RowMut<'_>) {
        if let Some(origin) = row.as_row().origin()
            && !self.origin.as_ref().is_some_and(|last| Arc::ptr_eq(last, origin))
        {
            self.fields.clear();
            origin.for_each_field(|name, text| self.fields.push((Path::field(name), text.to_vec())));
            self.origin = Some(Arc::clone(origin));
        }
        for (path, text) in &self.fields {
            if row.as_row().get(path).is_none() {
                row.set(path, text);
            }
        }
    }
}
