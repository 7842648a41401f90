//! How bytes become records ([`Framing`], [`Decoding`]) and records become bytes ([`Encoding`], [`SinkFraming`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_record::frame;

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
    /// More about `character_delimited`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub character_delimited: Option<CharacterDelimited>,
    /// More about `octet_counting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octet_counting: Option<NewlineDelimited>,
    /// More about `length_delimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_delimited: Option<LengthDelimited>,
}

/// How a stream of bytes is cut into records.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FramingMethod {
    /// At each newline. A carriage return before it is removed, and empty lines are skipped.
    #[default]
    NewlineDelimited,
    /// At each character that is named in `character_delimited.delimiter`. Empty records are skipped.
    CharacterDelimited,
    /// Each record has its length before it, as a decimal number and a blank (RFC 6587); what has none is a line.
    OctetCounting,
    /// Each record has its length before it, as four bytes, big-endian.
    LengthDelimited,
    /// Not at all: a packet, a request body or what a stream brings until its end is one record.
    Bytes,
}

/// More about framing by a character.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CharacterDelimited {
    /// The character: one of ASCII.
    pub delimiter: char,
    /// Longer records are skipped and counted. The default is the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<ByteSize>,
}

/// More about framing by lengths.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LengthDelimited {
    /// Longer records are skipped and counted. The default is the source's.
    #[serde(alias = "max_length")]
    pub max_frame_length: Option<ByteSize>,
}

/// More about framing by newlines, or by decimal numbers.
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
        Self {
            method,
            newline_delimited: None,
            character_delimited: None,
            octet_counting: None,
            length_delimited: None,
        }
    }

    /// The longest line, where it was said here.
    #[must_use]
    pub fn max_length(&self) -> Option<ByteSize> {
        match self.method {
            FramingMethod::NewlineDelimited => self.newline_delimited.and_then(|more| more.max_length),
            FramingMethod::CharacterDelimited => self.character_delimited.and_then(|more| more.max_length),
            FramingMethod::OctetCounting => self.octet_counting.and_then(|more| more.max_length),
            FramingMethod::LengthDelimited => self.length_delimited.and_then(|more| more.max_frame_length),
            FramingMethod::Bytes => None,
        }
    }

    /// How a stream is cut.
    #[must_use]
    pub fn cut(&self) -> frame::Framing {
        match self.method {
            FramingMethod::NewlineDelimited => frame::Framing::NewlineDelimited,
            FramingMethod::CharacterDelimited => {
                let delimiter = self.character_delimited.and_then(|more| u8::try_from(more.delimiter).ok());
                frame::Framing::CharacterDelimited(delimiter.unwrap_or(b'\n'))
            }
            FramingMethod::OctetCounting => frame::Framing::OctetCounting,
            FramingMethod::LengthDelimited => frame::Framing::LengthDelimited,
            FramingMethod::Bytes => frame::Framing::Bytes,
        }
    }

    /// Reports what cannot work. Keys are those within `framing`.
    pub fn check(&self, at: &mut Check<'_>) {
        let more = [
            ("newline_delimited", FramingMethod::NewlineDelimited, self.newline_delimited.is_some()),
            ("character_delimited", FramingMethod::CharacterDelimited, self.character_delimited.is_some()),
            ("octet_counting", FramingMethod::OctetCounting, self.octet_counting.is_some()),
            ("length_delimited", FramingMethod::LengthDelimited, self.length_delimited.is_some()),
        ];
        for (key, method, _) in more.into_iter().filter(|(_, _, is_there)| *is_there) {
            if method != self.method {
                at.warn(key, "has no effect with this method").help(format!("remove it, or write `method: {key}`"));
            } else if self.max_length().is_some_and(|length| length.get() == 0) {
                let last = if key == "length_delimited" { "max_frame_length" } else { "max_length" };
                at.refuse(&format!("{key}.{last}"), "no record is that short").help("leave it out, or raise it");
            }
        }
        check_delimiter(
            self.method == FramingMethod::CharacterDelimited,
            self.character_delimited.map(|it| it.delimiter),
            at,
        );
    }
}

/// Reports a delimiter that is missing, or is none.
fn check_delimiter(is_needed: bool, delimiter: Option<char>, at: &mut Check<'_>) {
    match delimiter {
        None if is_needed => {
            at.refuse("character_delimited", "does not say which character")
                .help("write `character_delimited: { delimiter: \",\" }`");
        }
        Some(delimiter) if !delimiter.is_ascii() => {
            at.refuse("character_delimited.delimiter", format!("\"{delimiter}\" is more than one byte"))
                .help("choose a character of ASCII");
        }
        _ => {}
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
    /// More about `character_delimited`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub character_delimited: Option<SinkDelimiter>,
}

/// The character behind each record.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkDelimiter {
    /// The character: one of ASCII.
    pub delimiter: char,
}

impl SinkFraming {
    /// Reports what cannot work. Keys are those within `framing`.
    pub fn check(&self, at: &mut Check<'_>) {
        let is_needed = self.method == SinkFramingMethod::CharacterDelimited;
        check_delimiter(is_needed, self.character_delimited.map(|more| more.delimiter), at);
        if !is_needed && self.character_delimited.is_some() {
            at.warn("character_delimited", "has no effect with this method")
                .help("remove it, or write `method: character_delimited`");
        }
    }
}

/// How records that were written are told apart.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkFramingMethod {
    /// A newline follows each.
    #[default]
    NewlineDelimited,
    /// The character that is named in `character_delimited.delimiter` follows each.
    CharacterDelimited,
    /// Its length stands before each, as a decimal number and a blank (RFC 6587).
    OctetCounting,
    /// Its length stands before each, as four bytes, big-endian.
    LengthDelimited,
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
