//! [`Origin`]: the envelope that the rows of one read have in common, and [`JsonText`], a value in wire form.

use std::fmt;
use std::sync::Arc;

use crate::json;
use crate::time::Timestamp;

/// The envelope common to the rows of one read. A row in the form of a message is the object of these fields and
/// `message`, with Vector's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The type of the source, `.source_type`.
    pub source_type: Arc<str>,
    /// Where the record came from, `.host`.
    pub host: Option<Arc<str>>,
    /// When it was read, `.timestamp`.
    pub received: Timestamp,
    /// Further fields (`file`, `port`, `path`), at the top level. One with a name from above takes its place.
    pub fields: Vec<(Arc<str>, JsonText)>,
}

impl Origin {
    /// An origin with a source type and a time alone.
    #[must_use]
    pub fn new(source_type: impl Into<Arc<str>>, received: Timestamp) -> Self {
        Self { source_type: source_type.into(), host: None, received, fields: Vec::new() }
    }

    /// Adds a further field.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<Arc<str>>, value: JsonText) -> Self {
        self.fields.push((name.into(), value));
        self
    }

    /// Sets the host.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<Arc<str>>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Calls `each` with the name and the JSON text of every field but `message`, in the order of their names.
    pub fn for_each_field(&self, mut each: impl FnMut(&str, &[u8])) {
        let mut own: Vec<(&str, &[u8])> = Vec::with_capacity(self.fields.len() + 3);
        own.extend(self.fields.iter().map(|(name, value)| (&**name, value.as_bytes())));
        let host = self.host.as_deref().map(JsonText::string);
        let source_type = JsonText::string(&self.source_type);
        let received = JsonText::string(&self.received.to_string());
        let common = [("host", host.as_ref()), ("source_type", Some(&source_type)), ("timestamp", Some(&received))];
        for (name, value) in common {
            if let Some(value) = value.filter(|_| own.iter().all(|(taken, _)| *taken != name)) {
                own.push((name, value.as_bytes()));
            }
        }
        own.sort_by_key(|(name, _)| *name);
        own.dedup_by_key(|(name, _)| *name);
        own.into_iter().for_each(|(name, value)| each(name, value));
    }

    /// The JSON text of one field (not of `message`).
    #[must_use]
    pub fn field(&self, name: &str) -> Option<JsonText> {
        if let Some((_, value)) = self.fields.iter().find(|(own, _)| **own == *name) {
            return Some(value.clone());
        }
        match name {
            "host" => self.host.as_deref().map(JsonText::string),
            "source_type" => Some(JsonText::string(&self.source_type)),
            "timestamp" => Some(JsonText::string(&self.received.to_string())),
            _ => None,
        }
    }

    /// Appends `{` and the fields whose names come before `message`, and that name, to `head`; those that come after,
    /// and `}`, to `tail`. What belongs between the two is the message as a JSON string.
    pub(crate) fn write_around_message(&self, head: &mut Vec<u8>, tail: &mut Vec<u8>) {
        head.push(b'{');
        self.for_each_field(|name, value| {
            let (part, before) = if name < "message" { (&mut *head, true) } else { (&mut *tail, false) };
            if name == "message" {
                return;
            }
            if !before {
                part.push(b',');
            }
            json::quote(name.as_bytes(), part);
            part.push(b':');
            part.extend_from_slice(value);
            if before {
                part.push(b',');
            }
        });
        head.extend_from_slice(b"\"message\":");
        tail.push(b'}');
    }
}

/// A JSON value as text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Arc<[u8]>);

impl JsonText {
    /// A string.
    #[must_use]
    pub fn string(text: &str) -> Self {
        let mut quoted = Vec::with_capacity(text.len() + 2);
        json::quote(text.as_bytes(), &mut quoted);
        Self(quoted.into())
    }

    /// A whole number.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(number.to_string().into_bytes().into())
    }

    /// Text that is JSON already.
    ///
    /// # Errors
    /// Where and why it is not.
    pub fn parse(text: &str) -> Result<Self, json::Invalid> {
        json::validate(text.as_bytes())?;
        Ok(Self(text.as_bytes().into()))
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_takes_the_place_of_the_common_one_of_its_name() {
        let origin = Origin::new("file", Timestamp::default())
            .with_host("a")
            .with_field("host", JsonText::string("b"))
            .with_field("file", JsonText::string("/x"));
        let mut seen = Vec::new();
        origin.for_each_field(|name, value| seen.push(format!("{name}={}", String::from_utf8_lossy(value))));
        assert_eq!(seen, ["file=\"/x\"", "host=\"b\"", "source_type=\"file\"", "timestamp=\"1970-01-01T00:00:00Z\""]);
        assert_eq!(origin.field("host"), Some(JsonText::string("b")));
        assert_eq!(origin.field("message"), None);
    }

    #[test]
    fn text_that_is_no_json_is_refused() {
        assert!(JsonText::parse("{").is_err());
        assert_eq!(JsonText::parse("[1]").map(|text| text.as_bytes().to_vec()), Ok(b"[1]".to_vec()));
    }
}
