//! How large rows can become when they are encoded, so that the memory can be had before they are.

use std::sync::Arc;

use super::encode::{Codec, Encoder};
use crate::origin::Origin;
use crate::row::{Form, Row};
use crate::rows::Rows;

impl Rows {
    /// The most bytes that [`encode`](Self::encode) appends. Near what it will be, but for rows that need no change,
    /// where the table of rows is counted too, and for text that is not UTF-8.
    #[must_use]
    pub fn encoded_most(&self, encoder: Encoder) -> usize {
        // A row weighs more than its bytes and a delimiter; two more stand around an array.
        let plain = self.iter().map(|row| row.weight()).sum::<u64>();
        let plain = usize::try_from(plain).unwrap_or(usize::MAX).saturating_add(2);
        match encoder.codec {
            Codec::Text => plain,
            Codec::Json => plain.saturating_add(self.added()),
        }
    }

    /// What is added to messages that are written as objects.
    fn added(&self) -> usize {
        let mut known: Option<(&Arc<Origin>, usize)> = None;
        let mut added = 0_usize;
        for row in self.iter().filter(|row| row.form() == Form::Message) {
            let envelope = match (known, row.origin()) {
                (Some((last, length)), Some(origin)) if Arc::ptr_eq(last, origin) => length,
                (_, origin) => {
                    let length = around(&row);
                    known = origin.map(|origin| (origin, length));
                    length
                }
            };
            added = added.saturating_add(envelope + 2 + escapes(&row));
        }
        added
    }
}

impl Row<'_> {
    /// The most bytes that the record becomes, without a delimiter.
    #[must_use]
    pub fn encoded_most(&self, codec: Codec) -> usize {
        let plain = usize::try_from(self.weight()).unwrap_or(usize::MAX);
        match (codec, self.form()) {
            (Codec::Text, _) | (Codec::Json, Form::Object) => plain,
            (Codec::Json, Form::Message) => plain.saturating_add(around(self) + 2 + escapes(self)),
        }
    }
}

/// The bytes of an envelope.
fn around(row: &Row<'_>) -> usize {
    let Some(origin) = row.origin() else { return "{\"message\":}".len() };
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    origin.write_around_message(&mut head, &mut tail);
    head.len() + tail.len()
}

/// The bytes that quoting adds to a message: for each control character five, or one where it has a short
/// form, for each quote and backslash one, and for each byte that is no UTF-8 two.
fn escapes(row: &Row<'_>) -> usize {
    let text = row.bytes();
    let special = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 1,
        0..=0x1F => 5,
        _ => 0,
    };
    let escaped: usize = text.iter().map(|byte| special(*byte)).sum();
    if std::str::from_utf8(text).is_ok() {
        escaped
    } else {
        escaped + 2 * text.iter().filter(|byte| !byte.is_ascii()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::EncodeFraming;

    #[test]
    fn no_row_becomes_larger_and_most_are_not_much_smaller() {
        let hard = ["\u{1}\u{2}\n\"\\".repeat(50), "\u{fffd}é€".repeat(50), "plain text of a record".repeat(20)];
        let mut rows = Rows::from_texts(hard);
        let codecs = [Codec::Json, Codec::Text];
        let framings = [
            EncodeFraming::NewlineDelimited,
            EncodeFraming::CharacterDelimited(0),
            EncodeFraming::Bytes,
            EncodeFraming::JsonArray,
            EncodeFraming::OctetCounting,
            EncodeFraming::LengthDelimited,
        ];
        let check = |rows: &Rows| {
            for (codec, framing) in codecs.into_iter().flat_map(|codec| framings.map(|framing| (codec, framing))) {
                let mut out = Vec::new();
                rows.encode(Encoder { codec, framing }, &mut out);
                let most = rows.encoded_most(Encoder { codec, framing });
                assert!(out.len() <= most, "{codec:?} {framing:?}: {} of at most {most}", out.len());
                assert!(most <= out.len() + 64 * rows.len() + 64, "{codec:?} {framing:?}: {} of {most}", out.len());
            }
        };
        check(&rows);
        let mut objects = Rows::from_texts([r#"{"a":1}"#, r#"{"message":"x\ty"}"#]);
        for row in 0..objects.len() {
            objects.row_mut(row).parse_message().unwrap();
            objects.row_mut(row).set(&crate::Path::field("b"), b"\"a longer value than there was\"");
        }
        let mut json = Vec::new();
        objects.encode(Encoder::default(), &mut json);
        assert!(json.len() <= objects.encoded_most(Encoder::default()));
        rows = Rows::from_texts([""; 10]);
        check(&rows);
    }
}
