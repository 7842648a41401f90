//! How bytes become records ([`Framing`], [`Decoding`]) and records become bytes ([`Encoding`], [`SinkFraming`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::Check;
use crate::value::ByteSize;

/// How a stream of bytes is cut into records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Framing {
    /// How.
    pub method: FramingMethod,
    /// More about `newline_delimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newline_delimited: Option<NewlineDelimited>,
}

/// How a stream of bytes is cut into records.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FramingMethod {
    /// At each newline. A carriage return before it is removed, and empty lines are skipped.
    #[default]
    NewlineDelimited,
    /// Not at all: a packet, a request body or what a stream brings until its end is one record.
    Bytes,
}

/// More about framing by newlines.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewlineDelimited {
    /// Longer lines are skipped and counted. The default is the source's.
    pub max_length: Option<ByteSize>,
}

impl Framing {
    /// This method.
    #[must_use]
    pub const fn of(method: FramingMethod) -> Self {
        Self { method, newline_delimited: None }
    }

    /// The longest line, where it was said here.
    #[must_use]
    pub fn max_length(&self) -> Option<ByteSize> {
        self.newline_delimited.and_then(|more| more.max_length)
    }

    /// Reports what cannot work. Keys are those within `framing`.
    pub fn check(&self, at: &mut Check<'_>) {
        if self.max_length().is_some_and(|length| length.get() == 0) {
            at.refuse("newline_delimited.max_length", "no line is that short").help("leave it out, or raise it");
        }
        if self.newline_delimited.is_some() && self.method != FramingMethod::NewlineDelimited {
            at.warn("newline_delimited", "has no effect with this method");
        }
    }
}

/// What the bytes of a record are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// The form of a record.
    pub codec: DecodingCodec,
}

/// The form of a record.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecodingCodec {
    /// Any bytes; they become the field `message`.
    #[default]
    Bytes,
    /// A JSON object, which becomes the record. What is none is refused and counted.
    Json,
}

/// How a record is written. Default: as JSON, with every field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Encoding {
    /// The form of a record. Default: `json`.
    pub codec: EncodingCodec,
    /// Only these fields are written, as paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_fields: Option<Vec<String>>,
    /// These fields are left out, as paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub except_fields: Option<Vec<String>>,
}

/// The form in which a record is written.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodingCodec {
    /// The record as a JSON object on one line.
    #[default]
    Json,
    /// The field `message` as text.
    Text,
    /// The field `message` byte by byte.
    RawMessage,
}

impl Encoding {
    /// This codec, and every field.
    #[must_use]
    pub const fn of(codec: EncodingCodec) -> Self {
        Self { codec, only_fields: None, except_fields: None }
    }
}

/// How records that were written are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkFraming {
    /// How.
    pub method: SinkFramingMethod,
}

/// How records that were written are told apart.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkFramingMethod {
    /// A newline follows each.
    #[default]
    NewlineDelimited,
    /// Nothing is added.
    Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_as_in_vector() {
        let framing: Framing =
            serde_json::from_str(r#"{"method":"newline_delimited","newline_delimited":{"max_length":102400}}"#)
                .unwrap();
        assert_eq!(framing.max_length(), Some(ByteSize::kib(100)));
        let decoding: Decoding = serde_json::from_str(r#"{"codec":"json"}"#).unwrap();
        assert_eq!(decoding.codec, DecodingCodec::Json);
        let encoding: Encoding = serde_json::from_str(r#"{"codec":"text"}"#).unwrap();
        assert_eq!(encoding, Encoding::of(EncodingCodec::Text));
        assert!(serde_json::from_str::<Encoding>(r#"{"codec":"text","only_field":[]}"#).is_err());
    }
}
