//! `dead_letters`: writes records that another sink refused for good to a file, each with the reason.
//!
//! * **Accepted** means written to the file: the kernel has it. Such records settle as dead-lettered, and their sources
//!   do not send them again.
//! * **Blocks** while the disk does, and while it is full; the sink that refused the records waits then.
//! * **Sheds** nothing.
//! * **Settles** a batch when all of it was written.
//! * **Completes** when the sinks that send to it have.
//! * **Fails** never.
//!
//! A line is an object: `time` (when it was written), `node` (that gave the record up), `attempts`, `cause`, and `record`.
//! A file that a killed process left with part of a line is mended as by the sink `file`.
//! Holds one encoded batch, 64 KiB, reserved. The file grows as long as something is wrong, unless `rotate` says otherwise.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Bytes, Meta, Nack, Share as _, kib};
use tidegate_record::JsonText;
use tidegate_record::codec::Encoder;
use tidegate_record::codec::compress::Compression;
use tidegate_runtime::{Accepted, Sink, SinkContext, SinkPolicy, blocking};
use tokio::time::Instant;

use super::desk::Desk;
use super::file::{MENDED, OpenFiles, Rotation, file_fault, mending};
use super::place::check_file;
use crate::Rows;
use crate::clock::wall_time;
use crate::contract::page::page;
use crate::contract::{BuildContext, Check, Depth, SinkConfig, SinkKind, StartError};
use crate::wiring::SinkSlot;

/// The entry of the list.
pub const KIND: SinkKind =
    SinkKind::of::<DeadLetters>("dead_letters", "Writes records that a sink refused for good to a file.", EXAMPLE)
        .page(page!("dead_letters.rs"))
        .counts(MENDED);

const EXAMPLE: &str = "\
type: dead_letters
path: /var/lib/tidegate/refused.ndjson
";

/// Writes records that a sink refused for good to a file, each with the reason.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetters {
    /// The file. Default: one named after the node, in the folder `dead_letters` of `data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// When the file is put aside and begun anew. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate: Option<Rotation>,
}

impl DeadLetters {
    /// Where they are written by a node of this name.
    #[must_use]
    pub fn path_of(&self, node: &str, cx: &BuildContext) -> PathBuf {
        let default = || cx.data_dir.join("dead_letters").join(format!("{node}.ndjson"));
        self.path.clone().unwrap_or_else(default)
    }
}

impl SinkConfig for DeadLetters {
    fn check(&self, at: &mut Check<'_>) {
        if self.path.as_ref().is_some_and(|path| path.file_name().is_none()) {
            at.refuse("path", "names no file").help("write a path such as \"refused.ndjson\"");
        }
        if let Some(rotation) = &self.rotate {
            at.under("rotate", |at| rotation.check(at));
        }
        if at.depth() == Depth::Surroundings
            && let Some(path) = self.path.as_ref().and_then(|path| path.to_str())
        {
            check_file(path, true, "path", at);
        }
    }

    fn accepted(&self) -> &'static str {
        "written to the file, with the reason: it survives the process, not a loss of power"
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        let path = self.path_of(slot.name(), slot.context());
        let mending = mending(Encoder::default(), Compression::None, slot.name(), slot.context());
        let files = OpenFiles::new(1, Duration::from_secs(30), self.rotate.clone(), mending);
        let policy = SinkPolicy { retries: u32::MAX, ..SinkPolicy::default() };
        let sink = LetterSink { path, files: Arc::new(Mutex::new(files)), desk: Desk::new(LETTERS) };
        slot.encoding(LETTERS).sink(policy, sink);
        Ok(())
    }
}

struct LetterSink {
    path: PathBuf,
    files: Arc<Mutex<OpenFiles>>,
    desk: Desk,
}

/// What a usual letter is written into.
const LETTERS: Bytes = kib(64);

/// What a letter has beside its record, its node and its cause.
const AROUND: usize = 160;

/// The most that the letters of a batch become.
fn letters_most(rows: &Rows, meta: &Meta) -> usize {
    let said = meta.dead_letter.as_ref().map_or(0, |note| note.origin.len() + note.nack.cause.as_str().len());
    // A control character becomes six.
    rows.encoded_most(Encoder::default()).saturating_add(rows.len().saturating_mul(AROUND + 6 * said))
}

/// Appends a line for each row.
fn write_letters(rows: &Rows, meta: &Meta, out: &mut Vec<u8>) {
    let time = JsonText::string(&wall_time().to_string());
    let (node, attempts, cause) = match &meta.dead_letter {
        Some(note) => (&*note.origin, note.attempts, note.nack.cause.as_str()),
        None => ("", 0, "sent here by the plan"),
    };
    let (node, cause) = (JsonText::string(node), JsonText::string(cause));
    for row in rows.iter() {
        out.extend_from_slice(b"{\"time\":");
        out.extend_from_slice(time.as_bytes());
        out.extend_from_slice(b",\"node\":");
        out.extend_from_slice(node.as_bytes());
        out.extend_from_slice(format!(",\"attempts\":{attempts},\"cause\":").as_bytes());
        out.extend_from_slice(cause.as_bytes());
        out.extend_from_slice(b",\"record\":");
        row.write_json(out);
        out.extend_from_slice(b"}\n");
    }
}

impl Sink<Rows> for LetterSink {
    fn open(&mut self, cx: SinkContext) {
        self.desk.open(cx);
    }

    fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.desk.poll_memory(task)
    }

    async fn deliver(&mut self, payload: &mut Rows, meta: &Meta) -> Result<Accepted, Nack> {
        let mut sheet = self.desk.take(letters_most(payload, meta), 0, payload.len())?;
        let (rows, meta, path, files) = (payload.share(), meta.clone(), self.path.clone(), Arc::clone(&self.files));
        let written = blocking(move || {
            write_letters(&rows, &meta, &mut sheet.buffer);
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let slices = &mut [IoSlice::new(&sheet.buffer)];
            let written = files.append(&path, slices, false, now).map_err(|error| file_fault(&path, &error));
            (written, sheet)
        });
        let (written, sheet) = written.await?;
        self.desk.put_back(sheet);
        written.map(|()| Accepted::All)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_flow::{Note, Time};

    use super::*;

    #[test]
    fn a_letter_says_what_and_why() {
        let nack = Nack::permanent("the \"receiver\"\nsaid no");
        let note = Note { nack, origin: "search".into(), attempts: 3, first: Time::ZERO, at: Time::ZERO };
        let meta = Meta { dead_letter: Some(Arc::new(note)), ..Meta::default() };
        let mut rows = Rows::from_texts([r#"{"a":1}"#, "plain"]);
        rows.row_mut(0).parse_message().unwrap();
        let mut text = Vec::new();
        write_letters(&rows, &meta, &mut text);
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["node"], &lines[0]["attempts"]), (&"search".into(), &3.into()));
        assert_eq!(
            (&lines[0]["cause"], &lines[1]["record"]["message"]),
            (&"the \"receiver\"\nsaid no".into(), &"plain".into())
        );
        assert_eq!(lines[0]["record"], serde_json::json!({"a": 1}));
    }
}
