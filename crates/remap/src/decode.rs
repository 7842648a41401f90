//! Between rows and VRL's values: a row decoded, whole or in part, and the result written back.
//!
//! Timestamps are times only within VRL: JSON has none. The envelope's `.timestamp` is given to VRL as a time as long
//! as the record holds it unchanged; every other time is text from the end of the program that made it on (RFC 3339,
//! as Vector writes it to JSON).

use tidegate_record::{Form, Key, Origin, Path, Row, RowMut, Segment, json};
use vrl::compiler::Program;
use vrl::path::{OwnedSegment, PathPrefix};
use vrl::value::{KeyString, ObjectMap, Value};

use crate::engine::Decoded;
use crate::verdict::Verdict;

/// The largest record that a program may make, in bytes of JSON: 64 MiB. One that makes a larger one fails.
pub const RECORD_MAX_BYTES: usize = 64 << 20;

const TIMESTAMP: &str = "timestamp";
const MESSAGE: &str = "message";

/// Fields of the root that a program reads or writes, when it never takes the root as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(KeyString, Path)>);

impl Fields {
    /// The fields that a program names; `None` where it takes the root as a whole: by `.`, by an index, or by `unnest`,
    /// which looks beyond its path.
    pub(crate) fn named_by(source: &str, program: &Program) -> Option<Self> {
        if source.contains("unnest") {
            return None;
        }
        let info = program.info();
        let mut fields = Self::default();
        for path in info.target_queries.iter().chain(&info.target_assignments) {
            match (path.prefix, path.path.segments.first()) {
                (PathPrefix::Metadata, _) => {}
                (PathPrefix::Event, Some(OwnedSegment::Field(name))) => fields.add(name),
                (PathPrefix::Event, Some(OwnedSegment::Index(_)) | None) => return None,
            }
        }
        Some(fields)
    }

    fn add(&mut self, name: &KeyString) {
        if self.0.iter().all(|(own, _)| own != name) {
            self.0.push((name.clone(), field(name)));
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

fn field(name: &KeyString) -> Path {
    Path::from(vec![Segment::Field(Key::new(name.as_str()))])
}

/// A record that cannot be decoded: a number in it is out of VRL's range.
#[derive(Debug)]
pub(crate) struct Undecodable(serde_json::Error);

impl From<Undecodable> for Verdict {
    fn from(error: Undecodable) -> Self {
        Self::Failed(format!("VRL cannot hold this record: {}", error.0))
    }
}

/// Decodes a row.
pub(crate) fn whole(row: Row<'_>) -> Result<Decoded, Undecodable> {
    if row.form() == Form::Message {
        return enveloped(row);
    }
    let mut text = Vec::new();
    row.write_json(&mut text);
    let mut fields: ObjectMap = serde_json::from_slice(&text).map_err(Undecodable)?;
    if let Some(value) = fields.get_mut(TIMESTAMP) {
        restore_time(value, row);
    }
    Ok(Decoded::new(fields))
}

/// What `.timestamp` is in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// A time where it is the envelope's.
    Restored,
    /// Text: the object was parsed by this very program.
    AreText,
}

/// Decodes some fields of a row.
pub(crate) fn part(row: Row<'_>, wanted: &Fields, times: Times) -> Result<Decoded, Undecodable> {
    if row.form() == Form::Message {
        return enveloped(row);
    }
    let mut fields = ObjectMap::new();
    for (name, path) in &wanted.0 {
        if let Some(text) = row.get(path) {
            let mut value = serde_json::from_slice(&text).map_err(Undecodable)?;
            if times == Times::Restored && name.as_str() == TIMESTAMP {
                restore_time(&mut value, row);
            }
            fields.insert(name.clone(), value);
        }
    }
    Ok(Decoded::new(fields))
}

/// A message and its envelope. The message may be any bytes.
fn enveloped(row: Row<'_>) -> Result<Decoded, Undecodable> {
    let mut fields = ObjectMap::new();
    let mut failure = None;
    if let Some(origin) = row.origin() {
        origin.for_each_field(|name, text| match serde_json::from_slice(text) {
            Ok(value) => {
                fields.insert(name.into(), value);
            }
            Err(error) => failure = Some(error),
        });
        if !overrides_time(origin) {
            fields.insert(TIMESTAMP.into(), time(origin));
        }
    }
    fields.insert(MESSAGE.into(), Value::from(row.bytes()));
    failure.map_or_else(|| Ok(Decoded::new(fields)), |error| Err(Undecodable(error)))
}

fn time(origin: &Origin) -> Value {
    Value::Timestamp(chrono::DateTime::from_timestamp_nanos(origin.received.unix_nanos()))
}

fn overrides_time(origin: &Origin) -> bool {
    origin.fields.iter().any(|(name, _)| **name == *TIMESTAMP)
}

/// Makes a `.timestamp` a time again where it is the text of the envelope's, to the nanosecond.
fn restore_time(value: &mut Value, row: Row<'_>) {
    let Some(origin) = row.origin().filter(|origin| !overrides_time(origin)) else { return };
    if let Value::String(text) = &*value
        && **text == *origin.received.to_string()
    {
        *value = time(origin);
    }
}

/// Whether VRL sees a time at `.timestamp` of the row, not what its text says.
pub(crate) fn has_typed_time(row: Row<'_>) -> bool {
    let Some(origin) = row.origin().filter(|origin| !overrides_time(origin)) else { return false };
    match row.form() {
        Form::Message => true,
        Form::Object => row
            .get(&Path::field(TIMESTAMP))
            .is_some_and(|text| *text == *tidegate_record::JsonText::string(&origin.received.to_string()).as_bytes()),
    }
}

/// Writes what a program made of a record back into its row: the fields that it wrote, or all of it.
pub(crate) fn write_back(record: Decoded, row: &mut RowMut<'_>) -> Result<Verdict, Verdict> {
    match record.value {
        Value::Object(fields) if !record.is_replaced => write_fields(&fields, &record.written, row),
        Value::Array(items) => {
            let texts = items.into_iter().map(|item| text_of(&rooted(item), json::MAX_DEPTH));
            texts.collect::<Result<_, _>>().map(Verdict::Split)
        }
        other => {
            let text = text_of(&rooted(other), json::MAX_DEPTH)?;
            row.replace(text);
            Ok(Verdict::Kept)
        }
    }
}

fn write_fields(fields: &ObjectMap, written: &[KeyString], row: &mut RowMut<'_>) -> Result<Verdict, Verdict> {
    let text = |name: &KeyString| fields.get(name).map(|value| text_of(value, json::MAX_DEPTH - 1)).transpose();
    let texts: Vec<Option<Vec<u8>>> = written.iter().map(text).collect::<Result<_, _>>()?;
    for (name, text) in written.iter().zip(texts) {
        match text {
            Some(text) => row.set(&field(name), &text),
            None => {
                row.remove(&field(name));
            }
        }
    }
    Ok(Verdict::Kept)
}

/// What is no object becomes the `.message` of one, as in Vector.
fn rooted(value: Value) -> Value {
    match value {
        Value::Object(_) => value,
        other => Value::Object(ObjectMap::from([(MESSAGE.into(), other)])),
    }
}

/// The JSON text of a value that may have `levels` levels, no more than a reader of JSON here takes.
fn text_of(value: &Value, levels: usize) -> Result<Vec<u8>, Verdict> {
    if !fits(value, levels) {
        let most = json::MAX_DEPTH;
        return Err(Verdict::Failed(format!("the program nested the record more than {most} levels deep")));
    }
    let text = serde_json::to_vec(value).map_err(|error| Verdict::Failed(format!("no JSON can say this: {error}")))?;
    if text.len() > RECORD_MAX_BYTES {
        let size = text.len();
        return Err(Verdict::Failed(format!(
            "the program made {size} bytes of one record; at most {RECORD_MAX_BYTES} fit"
        )));
    }
    Ok(text)
}

fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(fields) => levels > 0 && fields.values().all(|value| fits(value, levels - 1)),
        Value::Array(items) => levels > 0 && items.iter().all(|value| fits(value, levels - 1)),
        _ => true,
    }
}
