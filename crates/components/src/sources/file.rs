//! `file`: follows files, through rotation and restarts.
//!
//! * **Emits** one record a line. A line is emitted when its newline is there, or its file is gone.
//! * **Blocks** by not reading: what was not read stays in the file.
//! * **Sheds** lines that are too long (`frames_oversize`), and what was not read of a file that was truncated
//!   (`files_truncated`, `bytes_lost_by_truncation`), unless it was copied first to a file that is read too.
//! * **Settles** by storing how far each file was delivered, in the folder `data_dir/<name>`, and never past a record that
//!   is not safe: every 100 ms or MiB, so that a process that is killed repeats little, and once a second in a way that
//!   survives a loss of power. What a sink refuses for now is read again.
//! * **Completes** never by itself.
//! * **Fails** where the positions cannot be read at the start, or another process works with that folder. Files that cannot be read are counted (`files_failed`).
//!
//! A file is known by its content: a checksum of its first line, and of what stands before the place that was reached. So
//! it is followed when it is renamed, when it is copied and truncated (the copy is read on from there), and over restarts.
//! While the source is not read, because what is behind it is full, it does not look for new files either.

mod fingerprint;
mod positions;
mod reader;
mod scan;
mod stored;
mod tail;

use std::path::PathBuf;

use glob::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_runtime::SourceOptions;

use self::positions::Store;
use self::reader::Reader;
use self::stored::Files;
use super::stream::{PARTIAL_BYTES, SLAB_BYTES, SLABS_KEPT};
use crate::contract::page::page;
use crate::contract::{
    BuildContext, Check, Class, Delivery, Depth, Exposure, Ids, Ignored, Shed, SourceConfig, SourceKind, StartError,
};
use crate::folder_lock::FolderLock;
use crate::value::{ByteSize, Period};
use crate::wiring::SourceSlot;

/// The entry of the list.
pub const KIND: SourceKind =
    SourceKind::of::<FileConfig>("file", "Follows files, through rotation and restarts.", EXAMPLE)
        .page(page!("file.rs"))
        .ignores(&[
            Ignored { key: "max_read_bytes", why: "files are read in turns, one slab each" },
            Ignored { key: "oldest_first", why: "files are read in turns" },
            Ignored { key: "host_key", why: "the name of the machine is always in `host`" },
            Ignored { key: "internal_metrics", why: "counters are of the source, not of each file" },
            Ignored { key: "acknowledgements", why: "positions are always stored when their records are safe" },
            Ignored { key: "ignore_not_found", why: "a file that is gone before it is read is nothing to report" },
            Ignored { key: "offset_key", why: "the place of a record in its file is not kept" },
            Ignored { key: "remove_after_secs", why: "files are never removed" },
        ])
        .lacks(&[
            Ignored {
                key: "multiline",
                why: "lines cannot be joined yet; have them written as one, as JSON for example",
            },
            Ignored { key: "message_start_indicator", why: "lines cannot be joined yet" },
            Ignored { key: "line_delimiter", why: "lines end with a newline" },
            Ignored { key: "encoding", why: "files are read as UTF-8; convert others with iconv" },
        ])
        .counts(&[
            "files_begun",
            "files_left",
            "files_failed",
            "files_over_limit",
            "files_truncated",
            "bytes_lost_by_truncation",
            "frames_oversize",
            "bytes_read",
            "records_refused",
            "reads_repeated",
            "positions_not_stored",
        ]);

const EXAMPLE: &str = "\
type: file
include: [\"/var/log/app/*.log\"]
exclude: [\"/var/log/app/debug-*.log\"]
read_from: beginning
";

/// Follows files, through rotation and restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The files, as paths with `*`, `?`, `[a-z]` and `**`.
    pub include: Vec<String>,
    /// Files that are left out, as paths of the same kind.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Where files are begun that are there at the start and were never read. Later ones are always read from their
    /// beginning.
    #[serde(default)]
    pub read_from: ReadFrom,
    /// Forget how far files were read.
    #[serde(default)]
    pub ignore_checkpoints: bool,
    /// Files that were not changed for so long are not begun.
    #[serde(default, alias = "ignore_older", skip_serializing_if = "Option::is_none")]
    pub ignore_older_secs: Option<Period>,
    /// Longer lines are skipped and counted.
    #[serde(default = "max_line_bytes")]
    pub max_line_bytes: ByteSize,
    /// How a file is told from others.
    #[serde(default)]
    pub fingerprint: Fingerprint,
    /// The shortest time from one search for files to the next, in milliseconds.
    #[serde(default = "cooldown_ms")]
    pub glob_minimum_cooldown_ms: u64,
    /// How long a file that is gone is waited on for more.
    #[serde(default = "rotate_wait")]
    pub rotate_wait_secs: Period,
    /// Where the positions are kept. Default: that of the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The field with the path of the file.
    #[serde(default = "file_key")]
    pub file_key: String,
}

/// Where files are begun.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// With the first line.
    #[default]
    Beginning,
    /// With the first line that is added.
    End,
}

/// How a file is told from others.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fingerprint {
    /// By what.
    pub strategy: Strategy,
    /// With `checksum`: how many lines at the begin of the file make up the checksum; at most 16 KiB are taken.
    pub lines: u32,
    /// With `checksum`: how many bytes at the begin of the file are left out of it.
    pub ignored_header_bytes: u64,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self { strategy: Strategy::Checksum, lines: 1, ignored_header_bytes: 0 }
    }
}

/// How a file is told from others.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By checksums of its content. A file is begun when its first line is complete.
    #[default]
    Checksum,
    /// By its number in the file system: for files whose first lines are all alike, and that are never copied.
    DeviceAndInode,
}

const fn max_line_bytes() -> ByteSize {
    ByteSize::new(102_400)
}

const fn cooldown_ms() -> u64 {
    1_000
}

const fn rotate_wait() -> Period {
    Period::secs(5)
}

fn file_key() -> String {
    "file".to_owned()
}

impl SourceConfig for FileConfig {
    fn check(&self, at: &mut Check<'_>) {
        if self.include.is_empty() {
            at.refuse("include", "names no files").help("give at least one path, such as \"/var/log/app/*.log\"");
        }
        for (key, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            for (number, pattern) in patterns.iter().enumerate() {
                if let Err(error) = Pattern::new(pattern) {
                    at.refuse(
                        &format!("{key}[{number}]"),
                        format!("\"{pattern}\" is not a path with wildcards: {error}"),
                    )
                    .help("`*` is any name, `**` any folders, `[a-z]` one of these letters");
                }
            }
        }
        if self.max_line_bytes.get() == 0 {
            at.refuse("max_line_bytes", "no line is that short").help("leave it out, or raise it");
        }
        if self.fingerprint.lines == 0 {
            at.refuse("fingerprint.lines", "nothing would tell files apart").help("set it to at least 1");
        }
        if self.file_key.is_empty() {
            at.refuse("file_key", "a field needs a name").help("leave it out for \"file\"");
        }
        if at.depth() == Depth::Surroundings
            && let Err(error) = stored::probe(&self.data_dir(at.context()), self.kept_as(at.context()))
        {
            let problem = at.refuse("data_dir", error.text).about(Class::Path);
            problem.help = error.help;
        }
    }

    fn ids(&self) -> Ids {
        Ids::Stable
    }

    fn exposure(&self) -> Exposure {
        Exposure {
            delivery: Delivery::Replayed,
            acked: "its position is stored; a restart goes on behind it",
            blocked: "the file waits; only what is deleted or truncated before it is read is lost",
        }
    }

    fn sheds(&self) -> Vec<Shed> {
        vec![
            super::too_long("lines", self.max_line_bytes.as_len()),
            Shed::unfit("what is cut off a file before it was read", "bytes_lost_by_truncation"),
        ]
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        let max_line = self.max_line_bytes.as_len();
        let folder = self.data_dir(slot.context()).join(&**slot.name());
        let lock = if slot.context().runs { Some(FolderLock::take(&folder)?) } else { None };
        let store = Store::open(Files::new(&folder, lock), self.ignore_checkpoints)?;
        let source = Reader::new(*self, store, slot.name(), slot.context())?;
        slot.source(SourceOptions::new(source).holding(PARTIAL_BYTES).slabs(SLAB_BYTES, SLABS_KEPT, max_line));
        Ok(())
    }
}

impl FileConfig {
    /// Under which name there are positions to go on from, if any.
    fn kept_as<'a>(&self, cx: &'a BuildContext) -> Option<&'a str> {
        (!self.ignore_checkpoints && !cx.node.is_empty()).then_some(&*cx.node)
    }

    fn data_dir(&self, cx: &BuildContext) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| cx.data_dir.clone())
    }
}

#[cfg(test)]
mod tests;
