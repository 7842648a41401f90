//! [`Tail`]: one file that is followed: where it is read, and what became of it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_flow::{Slab, SlabBuf, Time};
use tidegate_record::frame::{Framer, Framing, Rest};
use tidegate_record::{JsonText, Origin, RecordId, Rows, Timestamp};

use super::fingerprint::Sum;
use super::positions::{FileId, Lines};
use super::scan::Number;

/// One file that is followed.
pub(super) struct Tail {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    file: File,
    device: u64,
    inode: u64,
    framer: Framer,
    /// Where the next read begins.
    at: u64,
    /// Where the line begins that is read next: what is stored.
    line_at: u64,
    /// By what the record is known that begins at `line_at`.
    next: RecordId,
    /// Whole lines that there was no room for, which end at `at`.
    uncut: Slab,
    /// The end of a part of a line that was seen, and is read again when more follows.
    partial_to: u64,
    /// How long the file was when it was last looked at.
    length: u64,
    /// The checksum of its first lines, where it is known by that.
    pub(super) first: Option<Sum>,
    pub(super) phase: Phase,
    /// How often it was sent back.
    pub(super) epoch: u32,
    /// Since when no path leads to it.
    pub(super) gone_since: Option<Time>,
    /// It is not read before; after it was sent back.
    pub(super) not_before: Time,
    origin: Origin,
    reported: u64,
}

/// Where a file is in its life.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is read.
    Followed,
    /// It was truncated: nothing is read any more, and it is left when what was read has settled.
    CutShort,
    /// It is gone, and the line that it ends with is to be read.
    LastLine,
    /// It is gone and read: it is left when what was read has settled.
    Done,
}

/// What came of a read.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Lines.
    Lines(Lines),
    /// Nothing that is a line yet; there is more to read.
    More,
    /// Nothing more to read now.
    End,
    /// The line needs a slab of this size.
    Starved(usize),
}

/// What a look at the file showed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// There is more to read.
    Grown,
    /// There is not.
    Still,
    /// It is shorter than what was read; so many bytes were there and are lost.
    Truncated(u64),
}

/// Where a file was found.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

impl Tail {
    pub(super) fn new(
        id: FileId,
        found: Found,
        first: Option<Sum>,
        (offset, next): (u64, RecordId),
        max_line: usize,
        origin: Origin,
    ) -> Self {
        let Found { path, file, metadata } = found;
        Self {
            id,
            path,
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
            framer: Framer::new(Framing::NewlineDelimited, max_line),
            at: offset,
            line_at: offset,
            next,
            uncut: Slab::default(),
            partial_to: 0,
            length: metadata.len(),
            first,
            phase: Phase::Followed,
            epoch: 0,
            gone_since: None,
            not_before: Time::ZERO,
            origin,
            reported: 0,
        }
    }

    /// Whether there is something to read, as far as is known.
    pub(super) fn has_more(&self) -> bool {
        self.has_uncut() || self.length > self.seen_to()
    }

    fn seen_to(&self) -> u64 {
        self.at.max(self.partial_to)
    }

    /// Whether lines were read that were not taken.
    pub(super) fn has_uncut(&self) -> bool {
        !self.uncut.is_empty()
    }

    /// Where the line begins that is read next.
    pub(super) fn line_at(&self) -> u64 {
        self.line_at
    }

    /// The number of the file in the file system.
    pub(super) fn number(&self) -> Number {
        (self.device, self.inode)
    }

    /// Where the next read begins.
    pub(super) fn read_to(&self) -> u64 {
        self.at
    }

    /// The file, to compare it with others.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether it ends with a part of a line.
    pub(super) fn has_partial(&self) -> bool {
        self.partial_to > self.at
    }

    /// Asks how long it is now.
    pub(super) fn look(&mut self) -> io::Result<Look> {
        let before = std::mem::replace(&mut self.length, self.file.metadata()?.len());
        if self.length < self.seen_to() {
            return Ok(Look::Truncated(before.saturating_sub(self.at)));
        }
        Ok(if self.has_more() { Look::Grown } else { Look::Still })
    }

    /// Goes to another place, before record `number`, as another epoch.
    pub(super) fn go_to(&mut self, offset: u64, number: u64, epoch: u32) {
        self.next.number = number;
        (self.at, self.line_at, self.partial_to, self.epoch) = (offset, offset, 0, epoch);
        self.phase = Phase::Followed;
        self.uncut = Slab::default();
        self.framer = Framer::new(Framing::NewlineDelimited, self.framer.max_length());
        self.reported = 0;
    }

    /// It has another path now.
    pub(super) fn rename(&mut self, path: &Path, file_key: &str) {
        self.path = path.to_owned();
        self.origin = origin(self.origin.host.clone(), path, file_key);
    }

    /// Lines that were skipped since the last call, because they were too long.
    pub(super) fn take_oversize(&mut self) -> u64 {
        let all = self.framer.oversize();
        all - std::mem::replace(&mut self.reported, all)
    }

    pub(super) fn origin(&self, received: Timestamp) -> Arc<Origin> {
        Arc::new(Origin { received, ..self.origin.clone() })
    }

    /// Cuts at most `most` lines of what was read before.
    pub(super) fn cut_more(&mut self, most: usize, origin: &Arc<Origin>, rows: &mut Rows) -> Outcome {
        let slab = std::mem::take(&mut self.uncut);
        let from = self.at - slab.len() as u64;
        self.cut(&slab, from, most, origin, rows)
    }

    /// Reads into `slab` (empty) and cuts at most `most` lines. Gives the slab back where nothing refers to it.
    pub(super) fn read(
        &mut self,
        mut slab: SlabBuf,
        most: usize,
        origin: &Arc<Origin>,
        rows: &mut Rows,
    ) -> io::Result<(Outcome, Option<SlabBuf>)> {
        let count = self.file.read_at(slab.unfilled(), self.at)?;
        if count == 0 {
            self.length = self.seen_to();
            return Ok((Outcome::End, Some(slab)));
        }
        slab.advance(count);
        if self.framer.is_due(&slab) {
            let from = self.at;
            self.at += count as u64;
            self.length = self.length.max(self.at);
            return Ok((self.cut(&slab.freeze(), from, most, origin, rows), None));
        }
        if self.framer.skip_oversize(&mut slab) {
            self.at += count as u64;
            return Ok((Outcome::More, Some(slab)));
        }
        let is_full = slab.unfilled().is_empty();
        let capacity = slab.capacity();
        slab.truncate(0);
        if is_full {
            let wanted = (2 * capacity).min(self.framer.max_length() + 2).max(capacity + 1);
            return Ok((Outcome::Starved(wanted), Some(slab)));
        }
        // A part of a line at the end of the file.
        self.partial_to = self.at + count as u64;
        self.length = self.partial_to;
        Ok((Outcome::End, Some(slab)))
    }

    /// The file is gone: its last line ends without a newline.
    pub(super) fn finish(&mut self, mut slab: SlabBuf, origin: &Arc<Origin>, rows: &mut Rows) -> io::Result<Outcome> {
        let count = self.file.read_at(slab.unfilled(), self.at)?;
        slab.advance(count);
        let from = self.line_at;
        let slab = slab.freeze();
        self.framer.finish(&slab, origin, rows);
        self.at += count as u64;
        self.line_at = self.at;
        let first = self.identify(rows);
        let (to, next) = (self.at, self.next.number);
        Ok(Outcome::Lines(Lines { from, to, first, next, behind: Sum::of_end(&slab) }))
    }

    /// Numbers the records of a read, and gives the number of the first.
    fn identify(&mut self, rows: &mut Rows) -> u64 {
        let first = self.next;
        rows.identify(first);
        self.next.number += rows.len() as u64;
        first.number
    }

    /// Cuts a buffer that was read from `from` on, and ends at `at`, into `rows`, which are empty.
    fn cut(&mut self, slab: &Slab, from: u64, most: usize, origin: &Arc<Origin>, rows: &mut Rows) -> Outcome {
        let cut = match self.framer.cut_some(slab, origin, rows, most.max(1)) {
            Rest::Uncut(rest) => {
                self.uncut = rest;
                slab.len() - self.uncut.len()
            }
            Rest::Partial(rest) => {
                // Read again with what follows it. Of a line that is too long nothing is left over, yet it is not over.
                self.at -= rest.len() as u64;
                slab.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
            }
        };
        let begin = std::mem::replace(&mut self.line_at, from + cut as u64);
        let first = self.identify(rows);
        let (to, next) = (self.line_at, self.next.number);
        Outcome::Lines(Lines { from: begin, to, first, next, behind: Sum::of_end(&slab[..cut]) })
    }
}

/// The envelope of the lines of a file.
pub(super) fn origin(host: Option<Arc<str>>, path: &Path, file_key: &str) -> Origin {
    let origin = Origin::new("file", Timestamp::default());
    Origin { host, ..origin }.with_field(file_key, JsonText::string(&path.to_string_lossy()))
}
