//! [`Writer`]: sorts the records of a batch into files, and writes them. Works where it may block.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use tidegate_flow::Nack;
use tidegate_record::codec::Encoder;
use tidegate_record::codec::compress::{self, compress_into, compressed_most};
use tidegate_record::codec::whole::end_mark;
use tidegate_runtime::Accepted;
use tokio::time::Instant;

use super::open::OpenFiles;
use super::sort::{self, Sorter};
use super::{File, Fsync, Sheet};
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
    sorter: Sorter,
}

/// The rows of one file.
#[derive(Copy, Clone)]
enum Picked<'a> {
    All,
    These(&'a [u32]),
}

/// What the end mark of a compressed batch takes at most.
const MARK_BYTES: usize = 32;

/// What a batch of so many encoded bytes becomes at most when it is compressed.
pub(super) const fn packed_most(bytes: usize) -> usize {
    compressed_most(bytes).saturating_add(MARK_BYTES)
}

/// What sorting so many records into files takes at most.
pub(super) const fn sorting_most(records: usize) -> usize {
    sort::NAMES_BYTES.saturating_add(records.saturating_mul(sort::ROW_BYTES))
}

impl Writer {
    pub(super) fn new(config: &File, files: OpenFiles, template: Template, clock: RowClock) -> Self {
        Self {
            files,
            fixed: template.fixed().map(PathBuf::from),
            template,
            clock,
            encoder: config.encoding.encoder(&config.framing),
            compression: config.packing().codec(),
            fsync: config.fsync,
            sorter: Sorter::default(),
        }
    }

    /// Writes a batch, and gives back what it was encoded into.
    pub(super) fn write(&mut self, job: Job) -> (Result<Accepted, Nack>, Sheet) {
        let Job { rows, mut sheet } = job;
        (self.write_rows(&rows, &mut sheet.buffer), sheet)
    }

    fn write_rows(&mut self, rows: &Rows, buffer: &mut Vec<u8>) -> Result<Accepted, Nack> {
        let now = Instant::now();
        self.files.close_idle(now);
        if let Some(path) = self.fixed.clone() {
            return self.append(&path, rows, Picked::All, buffer, now).map(|()| Accepted::All);
        }
        let mut sorter = std::mem::take(&mut self.sorter);
        let written = self.write_sorted(rows, &mut sorter, buffer, now);
        sorter.clear();
        self.sorter = sorter;
        written
    }

    /// Where one of several files fails, the records of the others are written.
    fn write_sorted(
        &mut self,
        rows: &Rows,
        sorter: &mut Sorter,
        buffer: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Accepted, Nack> {
        let (mut refused, mut from) = (Vec::new(), 0);
        while from < rows.len() {
            let until = sorter.sort(rows, from, (&self.template, &mut self.clock), &mut refused);
            let files = sorter.files(from);
            for (name, at) in &files {
                let these = &sorter.order()[at.clone()];
                let is_all = these.len() == rows.len();
                let picked = if is_all { Picked::All } else { Picked::These(these) };
                if let Err(nack) = self.append(sort::path(name), rows, picked, buffer, now) {
                    if is_all {
                        return Err(nack);
                    }
                    refused.extend(these.iter().map(|row| (*row, nack.clone())));
                }
            }
            from = until;
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

    /// Appends rows to one file, in one piece.
    fn append(
        &mut self,
        path: &Path,
        rows: &Rows,
        picked: Picked<'_>,
        buffer: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), Nack> {
        let sync = self.fsync == Fsync::EveryBatch;
        buffer.clear();
        let written = match (self.compression, picked) {
            // What nobody changed goes from the read buffer to the file.
            (compress::Compression::None, Picked::All) => {
                let encoded = rows.encode_slices(self.encoder, std::mem::take(buffer));
                let written = self.files.append(path, &mut encoded.io_slices(), sync, now);
                *buffer = encoded.take_buffer();
                written
            }
            (compression, picked) => {
                match picked {
                    Picked::All => rows.encode(self.encoder, buffer),
                    Picked::These(these) => {
                        rows.encode_picked(self.encoder, these.iter().map(|row| *row as usize), buffer);
                    }
                }
                match compression {
                    compress::Compression::None => self.files.append(path, &mut [IoSlice::new(buffer)], sync, now),
                    _ => match compress_into(compression, buffer, Vec::with_capacity(compressed_most(buffer.len()))) {
                        Ok(packed) => {
                            let parts = &mut [IoSlice::new(&packed), IoSlice::new(end_mark(compression))];
                            self.files.append(path, parts, sync, now)
                        }
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
