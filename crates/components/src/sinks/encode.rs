//! What the options of a sink say about how records are written.

use tidegate_flow::Batch;
use tidegate_record::codec::{Codec, EncodeFraming, Encoder};
use tidegate_record::{Path, RowMut};
use tidegate_runtime::{StageContext, Step, Transform};

use crate::Rows;
use crate::contract::{Check, Ignored};
use crate::options::{Encoding, EncodingCodec, SinkFraming, SinkFramingMethod};
use crate::wiring::SinkSlot;

/// Options of encodings in Vector that have no effect here.
pub(super) const TIMES: Ignored =
    Ignored { key: "encoding.timestamp_format", why: "a time is written as it came, in RFC 3339 mostly" };
pub(super) const METRIC_TAGS: Ignored =
    Ignored { key: "encoding.metric_tag_values", why: "metrics are records like all others" };
pub(super) const JSON_OPTIONS: Ignored = Ignored { key: "encoding.json", why: "a record is written on one line" };

impl Encoding {
    /// How rows are written, with this between them.
    #[must_use]
    pub fn encoder(&self, framing: &SinkFraming) -> Encoder {
        let codec = match self.codec {
            EncodingCodec::Json => Codec::Json,
            EncodingCodec::Text | EncodingCodec::RawMessage => Codec::Text,
        };
        let framing = match framing.method {
            SinkFramingMethod::NewlineDelimited => EncodeFraming::NewlineDelimited,
            SinkFramingMethod::CharacterDelimited => {
                let delimiter = framing.character_delimited.and_then(|more| u8::try_from(more.delimiter).ok());
                EncodeFraming::CharacterDelimited(delimiter.unwrap_or(b'\n'))
            }
            SinkFramingMethod::OctetCounting => EncodeFraming::OctetCounting,
            SinkFramingMethod::LengthDelimited => EncodeFraming::LengthDelimited,
            SinkFramingMethod::Bytes => EncodeFraming::Bytes,
        };
        Encoder { codec, framing }
    }

    /// Reports what cannot work. Keys are those within `encoding`.
    pub fn check(&self, at: &mut Check<'_>) {
        if self.only_fields.is_some() && self.except_fields.is_some() {
            at.refuse("except_fields", "`only_fields` says it already").help("leave out one of the two");
        }
        for (key, texts) in [("only_fields", &self.only_fields), ("except_fields", &self.except_fields)] {
            for (number, text) in texts.iter().flatten().enumerate() {
                if let Err(error) = Path::parse(text) {
                    at.refuse(&format!("{key}[{number}]"), format!("is no path of a field: {error}"));
                }
            }
        }
        if self.codec != EncodingCodec::Json && (self.only_fields.is_some() || self.except_fields.is_some()) {
            at.warn("codec", "only the message is written, whatever the fields are");
        }
    }
}

/// Makes the slot give its sink only the fields that are to be written.
pub(super) fn with_fields<'a>(slot: SinkSlot<'a>, encoding: &Encoding) -> SinkSlot<'a> {
    let paths = |texts: &Vec<String>| texts.iter().filter_map(|text| Path::parse(text).ok()).collect::<Vec<_>>();
    match (&encoding.only_fields, &encoding.except_fields) {
        (Some(only), _) => slot.step(Fields::Only(paths(only))),
        (None, Some(except)) => slot.step(Fields::Except(paths(except))),
        (None, None) => slot,
    }
}

/// Takes fields out of records.
enum Fields {
    Only(Vec<Path>),
    Except(Vec<Path>),
}

impl Fields {
    fn cut(&self, mut row: RowMut<'_>) {
        match self {
            Self::Except(paths) => paths.iter().for_each(|path| {
                row.remove(path);
            }),
            Self::Only(paths) => {
                let kept: Vec<_> =
                    paths.iter().filter_map(|path| Some((path, row.as_row().get(path)?.into_owned()))).collect();
                row.replace(b"{}");
                kept.iter().for_each(|(path, value)| row.set(path, value));
            }
        }
    }
}

impl Transform<Rows> for Fields {
    type Out = Rows;

    fn process(&mut self, mut input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        (0..input.payload.len()).for_each(|row| self.cut(input.payload.row_mut(row)));
        match cx.cover(&mut input) {
            Ok(()) => *out = Some(input),
            Err(nack) => cx.refuse(input, nack),
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(fields: &Fields, text: &str) -> String {
        let mut rows = Rows::from_texts([text]);
        rows.row_mut(0).parse_message().unwrap();
        fields.cut(rows.row_mut(0));
        let mut json = Vec::new();
        rows.row(0).write_json(&mut json);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn fields_are_kept_or_left_out() {
        let text = r#"{"a":1,"b":{"c":2,"d":3},"e":4}"#;
        let paths = [".b.c", "e", "x"].map(|path| Path::parse(path).unwrap()).to_vec();
        assert_eq!(cut(&Fields::Only(paths.clone()), text), r#"{"b":{"c":2},"e":4}"#);
        assert_eq!(cut(&Fields::Except(paths), text), r#"{"a":1,"b":{"d":3}}"#);
    }
}
