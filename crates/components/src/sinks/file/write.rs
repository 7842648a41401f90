//! [`Writer`]: sorts the records of a batch into files, and writes them. Works where it may block.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use tidegate_flow::{Nack, Payload as _, Records};
use tidegate_record::codec::Encoder;
use tidegate_record::codec::compress::{self, compress_into, compressed_most};
use tidegate_runtime::Accepted;
use tokio::time::Instant;

use super::open::OpenFiles;
use super::{Compression, File, Fsync, Sheet};
use crate::Rows;
use crate::template::{RowClock, Template};

/// A batch to write.
pub(super) struct Job {
    pub(super) rows: Rows,
    /// What they are encoded into: with room for all of them, and where they are compressed for that too.
    pub(super) sheet: Sheet,
}

/// Writes batches to files.
pub(super) struct Writer {
    files: OpenFiles,
    template: Template,
    /// The path, where every record has the same.
    fixed: Option<PathBuf>,
    clock: RowClock,
    encoder: Encoder,
    compression: compress::Compression,
    fsync: Fsync,
}

/// The rows of one file: runs of neighbours, each with the number of its first row.
type Runs = Vec<(u32, Rows)>;

impl Writer {
    pub(super) fn new(config: &File, template: Template, clock: RowClock) -> Self {
        let compression = match config.packing() {
            Compression::None => compress::Compression::None,
            Compression::Gzip => compress::Compression::Gzip,
            Compression::Zstd => compress::Compression::Zstd,
        };
        Self {
            files: OpenFiles::new(
                config.max_open_files.max(1) as usize,
                config.idle_timeout_secs.get(),
                config.rotate.clone(),
            ),
            fixed: template.fixed().map(PathBuf::from),
            template,
            clock,
            encoder: config.encoding.encoder(&config.framing),
            compression,
            fsync: config.fsync,
        }
    }

    /// Writes a batch, and gives back what it was encoded into.
    pub(super) fn write(&mut self, job: Job) -> (Result<Accepted, Nack>, Sheet) {
        let Job { rows, mut sheet } = job;
        (self.write_rows(rows, &mut sheet.buffer), sheet)
    }

    /// Where one of several files fails, the records of the others are written.
    fn write_rows(&mut self, rows: Rows, buffer: &mut Vec<u8>) -> Result<Accepted, Nack> {
        let now = Instant::now();
        self.files.close_idle(now);
        let (sorted, mut refused) = self.sort(rows);
        let is_one_file = sorted.len() == 1 && refused.is_empty();
        for (path, runs) in sorted {
            if let Err(nack) = self.append(&path, &runs, buffer, now) {
                if is_one_file {
                    return Err(nack);
                }
                let rows = runs.iter().flat_map(|(first, rows)| (*first..).take(rows.len()));
                refused.extend(rows.map(|row| (row, nack.clone())));
            }
        }
        refused.sort_by_key(|(row, _)| *row);
        Ok(Accepted::all_but(refused))
    }

    /// Brings what was written to the disk, where that is asked for.
    pub(super) fn flush(&mut self) -> Result<(), Nack> {
        match self.fsync {
            Fsync::Never => Ok(()),
            Fsync::OnFlush | Fsync::EveryBatch => {
                self.files.sync().map_err(|error| Nack::transient(format!("cannot sync a file to the disk: {error}")))
            }
        }
    }

    /// Sorts rows by their files. Those whose file has no name are refused.
    fn sort(&mut self, mut rows: Rows) -> (BTreeMap<PathBuf, Runs>, Vec<(u32, Nack)>) {
        let mut sorted: BTreeMap<PathBuf, Runs> = BTreeMap::new();
        let mut refused = Vec::new();
        if let Some(path) = &self.fixed {
            sorted.insert(path.clone(), vec![(0, rows)]);
            return (sorted, refused);
        }
        let mut names: Vec<Option<String>> = Vec::with_capacity(rows.len());
        for (row, number) in rows.iter().zip(0..) {
            let mut name = String::new();
            match self.template.render_path(row, &mut self.clock, &mut name) {
                Ok(()) => names.push(Some(name)),
                Err(missing) => {
                    let cause = format!("{missing}, which the path \"{}\" needs", self.template.as_str());
                    refused.push((number, Nack::permanent(cause)));
                    names.push(None);
                }
            }
        }
        let mut first = 0_u32;
        for run in names.chunk_by(|one, other| one == other) {
            let rest = rows.split_off(Records::from(run.len()));
            let part = std::mem::replace(&mut rows, rest);
            if let Some(Some(name)) = run.first() {
                sorted.entry(PathBuf::from(name)).or_default().push((first, part));
            }
            first += u32::try_from(run.len()).unwrap_or(u32::MAX);
        }
        (sorted, refused)
    }

    /// Appends the rows to one file, in one piece.
    fn append(&mut self, path: &Path, runs: &Runs, buffer: &mut Vec<u8>, now: Instant) -> Result<(), Nack> {
        let sync = self.fsync == Fsync::EveryBatch;
        buffer.clear();
        let written = match (self.compression, runs.as_slice()) {
            // What nobody changed goes from the read buffer to the file.
            (compress::Compression::None, [(_, rows)]) => {
                let encoded = rows.encode_slices(self.encoder, std::mem::take(buffer));
                let written = self.files.append(path, &mut encoded.io_slices(), sync, now);
                *buffer = encoded.take_buffer();
                written
            }
            (compression, runs) => {
                runs.iter().for_each(|(_, rows)| rows.encode(self.encoder, buffer));
                match compression {
                    compress::Compression::None => self.files.append(path, &mut [IoSlice::new(buffer)], sync, now),
                    _ => match compress_into(compression, buffer, Vec::with_capacity(compressed_most(buffer.len()))) {
                        Ok(packed) => self.files.append(path, &mut [IoSlice::new(&packed)], sync, now),
                        Err(error) => Err(io::Error::other(error.to_string())),
                    },
                }
            }
        };
        written.map_err(|error| fault(path, &error))
    }
}

/// What an error of the file system means for the records that were to be written.
pub(in crate::sinks) fn fault(path: &Path, error: &io::Error) -> Nack {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Nack::transient(format!(
            "the disk is full: {path} cannot grow ({error}); writing goes on by itself when there is room"
        )),
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => {
            Nack::permanent(format!("{path} cannot be the name of a file: {error}"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Nack::transient(format!(
            "{path} cannot be written to: {error}; writing goes on by itself when its permissions allow it"
        )),
        _ => Nack::transient(format!("cannot write to {path}: {error}")),
    }
}
