//! `file`: writes records to files, named by time and by fields of the record.
//!
//! * **Accepted** means written to the file: the kernel has it, and it survives the end of this process. With
//!   `fsync: every_batch` it is on the disk and survives a loss of power.
//! * **Blocks** while the disk does, and while it is full: the batch is tried again, and goes on when there is room.
//! * **Sheds** nothing.
//! * **Settles** a batch when all of it was written. What was written of one that failed is cut off again, so that no file
//!   has half a record. A record that lacks a field of the path is refused for good.
//! * **Completes** with its input, when everything is written (and with `fsync: on_flush`, on the disk).
//! * **Fails** never.
//!
//! Each batch is written to its file in one piece: with compression as one member (gzip) or frame (zstd) of its own, which
//! `gzip -d`, `zstd -d` and whoever reads such files take as one stream, and an empty one behind it, by which its end is
//! known. So a file is whole after each batch; small batches compress worse, which `batch` can change.
//!
//! A process that is killed while it writes leaves a file that ends within a record. Nothing of that batch was accepted,
//! and it comes again. Whoever opens the file next puts that end aside, in `<file>.torn`, so that what is appended can be
//! read (`files_mended`, `bytes_put_aside`, and a warning). A whole object that lacks only its delimiter is given one. With
//! `framing: bytes` nobody can tell where records end, and nothing is mended.
//!
//! Holds one encoded batch, with compression that packed too, and with fields or times in `path` what sorts records into
//! files; all are reserved, by `batch`. What needs no change is written from where it was read.

mod ending;
mod open;
mod rotate;
mod sort;
mod write;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Bytes, Meta, Nack, Share as _, mib};
use tidegate_record::Path;
use tidegate_record::codec::Encoder;
use tidegate_record::codec::compress;
use tidegate_runtime::{Accepted, BatchLimits, Sink, SinkContext, SinkPolicy, blocking};

use self::ending::{Ending, Mending};
pub(super) use self::open::OpenFiles;
pub use self::rotate::Rotation;
pub(super) use self::write::fault as file_fault;
use self::write::{Job, Writer, packed_most, sorting_most};
use super::desk::{Desk, Sheet};
use super::encode::{JSON_OPTIONS, METRIC_TAGS, TIMES, with_fields};
use super::place::check_file;
use crate::Rows;
use crate::contract::page::page;
use crate::contract::{BuildContext, Check, Depth, Ignored, SinkConfig, SinkKind, StartError};
use crate::options::{Acknowledgements, Batch, Encoding, SinkFraming};
use crate::template::{RowClock, Template, Zone};
use crate::value::Period;
use crate::wiring::SinkSlot;

/// The entry of the list.
pub const KIND: SinkKind =
    SinkKind::of::<File>("file", "Writes records to files, named by time and by fields of the record.", EXAMPLE)
        .page(page!("file.rs"))
        .ignores(&[
            Ignored { key: "truncate", why: "`rotate` puts files aside" },
            Ignored { key: "internal_metrics", why: "counters are of the sink, not of each file" },
            TIMES,
            METRIC_TAGS,
            JSON_OPTIONS,
        ])
        .counts(MENDED);

/// What is counted of files that did not end with a whole record.
pub(super) const MENDED: &[&str] = &["files_mended", "bytes_put_aside"];

/// How the ends of files of a sink are mended, and counted.
pub(super) fn mending(
    encoder: Encoder,
    compression: compress::Compression,
    node: &Arc<str>,
    cx: &BuildContext,
) -> Mending {
    Mending {
        ending: Ending::of(encoder, compression),
        files: cx.meters.counter(node, "files_mended"),
        aside: cx.meters.counter(node, "bytes_put_aside"),
        seen: Mutex::default(),
    }
}

const EXAMPLE: &str = "\
type: file
path: /var/log/archive/app-%Y-%m-%d-{{ host }}.ndjson.zst
encoding:
  codec: json
compression: zstd
";

/// Writes records to files, named by time and by fields of the record.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The file, with places that each record fills: `%Y-%m-%d` and other specifiers of `strftime` for its time (that of
    /// `.timestamp`, or of its read), `{{ field }}` for a field. Folders are made as they are needed.
    pub path: String,
    /// How a record is written. Default: as JSON.
    #[serde(default)]
    pub encoding: Encoding,
    /// How records are told apart. Default: a newline behind each.
    #[serde(default)]
    pub framing: SinkFraming,
    /// How files are compressed. Default: as the end of `path` says, `.gz` or `.zst`; otherwise not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Whose clocks the times in `path` are told by: `local`, `UTC`, or a name like `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The field with the time of a record, for the times in `path`: text as in RFC 3339. Where it has none, the time of
    /// its read counts. Default: `.timestamp`.
    #[serde(default = "time_field")]
    pub time_field: String,
    /// A file that nothing was written to for so long is closed with the next batch. Default: 30 s.
    #[serde(default = "idle_timeout")]
    pub idle_timeout_secs: Period,
    /// At most so many files are open; of more, the one that was used least recently is closed. Default: 64.
    #[serde(default = "max_open_files")]
    pub max_open_files: u32,
    /// When what was written is made to reach the disk. Default: `never`, which leaves it to the kernel.
    #[serde(default)]
    pub fsync: Fsync,
    /// When a file is put aside and begun anew. Default: never; names by time do the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<Rotation>,
    /// How much is written at once. Default: 1 MiB, or what came in 100 ms (with compression: 1 s).
    #[serde(default)]
    pub batch: Batch,
    /// Whether sources wait for it.
    #[serde(default)]
    pub acknowledgements: Acknowledgements,
}

/// How files are compressed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, level 6.
    Gzip,
    /// Zstandard, level 3.
    Zstd,
}

impl Compression {
    /// The codec of that name.
    const fn codec(self) -> compress::Compression {
        match self {
            Self::None => compress::Compression::None,
            Self::Gzip => compress::Compression::Gzip,
            Self::Zstd => compress::Compression::Zstd,
        }
    }
}

/// When what was written is made to reach the disk.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// When the kernel likes. A loss of power loses what was accepted in the last half minute or so.
    #[default]
    Never,
    /// When the pipeline is flushed and when it ends.
    OnFlush,
    /// Before a batch counts as accepted.
    #[serde(alias = "every batch")]
    EveryBatch,
}

fn time_field() -> String {
    ".timestamp".to_owned()
}

const fn idle_timeout() -> Period {
    Period::secs(30)
}

const fn max_open_files() -> u32 {
    64
}

const MOST_OPEN_FILES: u32 = 4_096;

impl File {
    fn template(&self) -> Result<Template, StartError> {
        if self.path.is_empty() || self.path.ends_with('/') {
            return Err(StartError::new("names no file").help("write a path such as \"out-%Y-%m-%d.ndjson\""));
        }
        Template::parse(&self.path).map_err(|error| StartError::new(error.to_string()))
    }

    fn zone(&self) -> Result<Zone, StartError> {
        let name = self.timezone.as_deref().unwrap_or("UTC");
        Zone::parse(name).ok_or_else(|| {
            StartError::new(format!("no time zone is called \"{name}\""))
                .help("write one like `Europe/Berlin`, `UTC` or `local`")
        })
    }

    /// How files are compressed: as written, or as the end of the path says.
    fn packing(&self) -> Compression {
        self.compression.unwrap_or_else(|| match self.path.rsplit('.').next() {
            Some("zst" | "zstd") => Compression::Zstd,
            Some("gz") => Compression::Gzip,
            _ => Compression::None,
        })
    }

    fn time_path(&self) -> Result<Path, StartError> {
        Path::parse(&self.time_field).map_err(|error| {
            StartError::new(format!("is no path of a field: {error}")).help("write one like `.timestamp`")
        })
    }

    fn limits(&self) -> BatchLimits {
        let linger = if self.packing() == Compression::None { 100 } else { 1_000 };
        let defaults = BatchLimits::records(65_536).bytes(mib(1)).linger(std::time::Duration::from_millis(linger));
        self.batch.limits(defaults)
    }

    fn check_surroundings(&self, template: &Template, at: &mut Check<'_>) {
        match template.fixed() {
            Some(path) => check_file(&path, true, "path", at),
            None => check_file(template.prefix(), false, "path", at),
        }
    }
}

impl SinkConfig for File {
    fn check(&self, at: &mut Check<'_>) {
        at.under("encoding", |at| self.encoding.check(at));
        at.under("framing", |at| self.framing.check(at));
        at.under("batch", |at| self.batch.check(at));
        let faults =
            [("path", self.template().err()), ("timezone", self.zone().err()), ("time_field", self.time_path().err())];
        for (key, error) in faults {
            if let Some(error) = error {
                let problem = at.refuse(key, error.text);
                if let Some(help) = error.help {
                    problem.help(help);
                }
            }
        }
        let by_name = Self { compression: None, ..self.clone() }.packing();
        if by_name != Compression::None && self.packing() != by_name {
            at.warn("compression", "is not what the end of `path` says, and what readers of the file will expect")
                .help("leave it out, or give the path another end");
        }
        if !(1..=MOST_OPEN_FILES).contains(&self.max_open_files) {
            at.refuse("max_open_files", format!("{} is not from 1 to {MOST_OPEN_FILES}", self.max_open_files));
        }
        if let Some(rotation) = &self.rotate {
            at.under("rotate", |at| rotation.check(at));
        }
        if at.depth() == Depth::Surroundings
            && let Ok(template) = self.template()
        {
            self.check_surroundings(&template, at);
        }
    }

    fn accepted(&self) -> &'static str {
        match self.fsync {
            Fsync::Never | Fsync::OnFlush => "written to the file: it survives the process, not a loss of power",
            Fsync::EveryBatch => "written to the file and synced to the disk",
        }
    }

    fn compresses(&self) -> bool {
        self.packing() != Compression::None
    }

    fn required(&self) -> bool {
        self.acknowledgements.enabled
    }

    /// Those without the fields that the path names.
    fn refuses_records(&self) -> bool {
        self.template().is_ok_and(|template| template.has_fields())
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        let clock = RowClock::new(self.zone()?).time_at(self.time_path()?);
        let (template, limits) = (self.template()?, self.limits());
        let encoder = self.encoding.encoder(&self.framing);
        let mending = mending(encoder, self.packing().codec(), slot.name(), slot.context());
        let idle = self.idle_timeout_secs.get();
        let files = OpenFiles::new(self.max_open_files.max(1) as usize, idle, self.rotate.clone(), mending);
        let (packs, sorts) = (self.packing() != Compression::None, template.fixed().is_none());
        let sorting = if sorts { Bytes::from(sorting_most(limits.records as usize)) } else { Bytes::ZERO };
        let usual = if packs { limits.bytes + limits.bytes + sorting } else { limits.bytes + sorting };
        let writer = Writer::new(&self, files, template, clock);
        let slot = with_fields(slot, &self.encoding).batch(limits).encoding(usual);
        let policy = SinkPolicy { retries: u32::MAX, ..SinkPolicy::default() };
        slot.sink(
            policy,
            FileSink { writer: Arc::new(Mutex::new(writer)), desk: Desk::new(usual), encoder, packs, sorts },
        );
        Ok(())
    }
}

/// Hands batches to the writer, which works where it may block. One at a time.
struct FileSink {
    writer: Arc<Mutex<Writer>>,
    desk: Desk,
    encoder: Encoder,
    /// Whether what is written is compressed.
    packs: bool,
    /// Whether records are sorted into files.
    sorts: bool,
}

impl FileSink {
    async fn with_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Result<T, Nack> {
        let writer = Arc::clone(&self.writer);
        blocking(move || work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

impl Sink<Rows> for FileSink {
    fn open(&mut self, cx: SinkContext) {
        self.desk.open(cx);
    }

    fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.desk.poll_memory(task)
    }

    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        let text = payload.encoded_most(self.encoder);
        let packed = if self.packs { packed_most(text) } else { 0 };
        let sorting = if self.sorts { sorting_most(payload.len()) } else { 0 };
        let sheet = self.desk.take(text, packed.saturating_add(sorting), payload.len())?;
        let job = Job { rows: payload.share(), sheet };
        let (written, sheet) = self.with_writer(move |writer| writer.write(job)).await?;
        self.desk.put_back(sheet);
        written
    }

    async fn flush(&mut self) -> Result<(), Nack> {
        self.with_writer(Writer::flush).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::BuildContext;

    fn file(json: &str) -> File {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_end_of_the_path_says_how_it_is_compressed_unless_something_else_is_written() {
        for (json, packing) in [
            (r#"{"path":"a-%Y.ndjson.zst"}"#, Compression::Zstd),
            (r#"{"path":"a.log.gz"}"#, Compression::Gzip),
            (r#"{"path":"a.log"}"#, Compression::None),
            (r#"{"path":"a.log.zst","compression":"none"}"#, Compression::None),
            (r#"{"path":"a","compression":"gzip"}"#, Compression::Gzip),
        ] {
            assert_eq!(file(json).packing(), packing, "{json}");
        }
        let cx = BuildContext::new("data");
        let mut check = Check::new(&cx, Depth::Values);
        file(r#"{"path":"a.log.zst","compression":"none"}"#).check(&mut check);
        let keys: Vec<_> = check.into_problems().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["compression"]);
    }
}
