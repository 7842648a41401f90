//! Opening a log: what the disk holds becomes segments, cursors and numbers again.
//!
//! Only headers are read, and the frames of the newest segment, so that this takes as long for a small log as for a
//! large one, in the memory of one segment. Damage in older segments is found, and counted, when it is read.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::commit::{Active, Committer, Retry};
use super::save::{FRESH, Saver, make};
use super::shared::{Counts, Cursor, Segment, Shared, State};
use super::space::Space;
use super::{Appender, Health, Log, LogOptions, Reader, WritePolicy};
use crate::Seq;
use crate::cursor::{self, Cursors, MAX_READERS, NAMES, SLOT_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::frame::Header as FrameHeader;
use crate::marks::{Marks, is_of_marks};
use crate::repair::is_set_aside;
use crate::segment::{self, BadHeader, Found, HEADER_BYTES, Header, SPARE};

/// What was found when a log was opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Whether there was no log.
    pub new: bool,
    /// The number of the next record.
    pub next: Seq,
    /// The number of the oldest record on disk.
    pub oldest: Seq,
    /// Segments that hold records.
    pub segments: usize,
    /// Segments whose header was damaged; their frames are read all the same.
    pub damaged_headers: usize,
    /// Records at the end of the log that had been durable, that some reader has not settled, and that are damaged.
    pub damaged_tail: u64,
    /// No cursor could be read though there were segments: every reader begins at the oldest record, and records may
    /// be delivered twice.
    pub cursors_lost: bool,
    /// Readers that the log knows and that were not named; they pin their segments.
    pub orphans: Vec<String>,
}

/// Why a log could not be opened. Nothing on the disk was lost.
#[derive(Debug)]
pub enum OpenError {
    /// The disk fails.
    Disk {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A segment is of a version that this program does not know.
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u16,
    },
    /// More than 64 readers, or a name that is empty, longer than 47 bytes, or given twice.
    Readers(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { operation, source } => write!(f, "the disk failed to {operation}: {source}"),
            Self::Version { file, version } => {
                write!(f, "{file} has version {version} of the format, this program reads {}", segment::VERSION)
            }
            Self::Readers(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk { source, .. } => Some(source),
            Self::Version { .. } | Self::Readers(_) => None,
        }
    }
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Disk { operation, source }
}

/// What the files say, before it is put in order.
struct Files {
    saved: Option<Cursors>,
    /// By number: the header, if it is whole, and the size.
    segments: Vec<(u64, Option<Header>, u64)>,
    spare: Option<u64>,
    strays: Vec<(String, u64)>,
}

pub(super) fn open<D: Disk>(
    disk: Arc<D>,
    options: LogOptions,
    readers: &[&str],
    now: u64,
) -> Result<Log<D>, OpenError> {
    let files = Files::read(&disk)?;
    let is_new = files.saved.is_none() && files.segments.is_empty();
    let identity = files.identity().unwrap_or(options.identity);
    let next_number = files.segments.last().map_or(0, |(number, ..)| number + 1);
    let mut recovered = Recovered {
        new: is_new,
        damaged_headers: files.segments.iter().filter(|(_, header, _)| header.is_none()).count(),
        cursors_lost: files.saved.is_none() && !files.segments.is_empty(),
        ..Recovered::default()
    };
    let mut space = Space {
        disk: disk.clone(),
        identity,
        next_number,
        spare: files.spare == Some(options.segment),
        spare_bytes: options.segment,
        spare_retry_at: 0,
        litter: files.strays.clone(),
        names_changed: false,
    };
    if let Some(size) = files.spare.filter(|size| *size != options.segment) {
        space.litter.push((SPARE.to_owned(), size));
    }
    let has_saved = files.saved.is_some();
    if space.spare {
        forget_spare(&disk, identity, next_number)?;
    }
    let saved = files.saved.unwrap_or_default();
    let (mut segments, empty) = place(&disk, identity, &files.segments, &saved)?;
    space.litter.extend(empty);
    let active = resume(&disk, identity, &mut segments, saved.durable)?;
    let end = segments.back().map_or(0, |last| last.end);
    let durable = end.max(saved.durable);
    let next = next_record(&disk, identity, durable, &saved)?;
    let settled = saved.readers.values().copied().min().unwrap_or(0);
    recovered.next = next;
    // What every reader has settled, or was given up for its age, nobody misses.
    recovered.damaged_tail = durable.saturating_sub(end.max(settled));
    recovered.oldest = segments.front().map_or(next, |oldest| oldest.first);
    recovered.segments = segments.len();

    let mut cursors = place_readers(readers, &saved, recovered.oldest)?;
    // There is nothing between.
    cursors.iter_mut().filter(|cursor| cursor.next >= durable).for_each(|cursor| cursor.next = next);
    recovered.orphans =
        cursors.iter().map(|cursor| cursor.name.clone()).filter(|name| !readers.contains(&name.as_str())).collect();
    let saver = saver(&disk, Cursors { log: identity, ..saved }, has_saved, &cursors, durable)?;
    let state = State { write: options.write, saved: settled, ..state(next, durable, segments, cursors) };
    let shared = Arc::new(Shared::new(state, options.memory, options.max_size));
    space.count(&shared);
    let readers = readers
        .iter()
        .map(|name| {
            let at =
                shared.lock().cursors.iter().find(|cursor| cursor.name == *name).map_or(next, |cursor| cursor.next);
            Reader::new(disk.clone(), shared.clone(), identity, name, at)
        })
        .collect();
    let appender = Appender { shared: shared.clone() };
    let mut committer =
        Committer { shared, options, space, saver, active, buffer: Vec::new(), follows: 0, retry: Retry::default() };
    committer.tidy(now);
    Ok(Log { appender, committer, readers, recovered })
}

impl<D: Disk> Committer<D> {
    /// Gives up what was settled before the restart, and makes the spare segment.
    fn tidy(&mut self, now: u64) {
        let settled = self.saver.saved.readers.values().copied().min().unwrap_or(0);
        let active = self.active.as_ref().map(|active| active.number);
        self.space.free(&self.shared, self.options.segment, settled, active);
        self.space.refill(&self.shared, self.options.segment, now);
    }
}

impl Files {
    fn read<D: Disk>(disk: &Arc<D>) -> Result<Self, OpenError> {
        // A process that was killed may have left names that are in the page cache alone: a segment that it removed would
        // come back with the next loss of power, and what was never acknowledged with it.
        disk.sync_names().map_err(failed("sync the names of the files"))?;
        let mut files = Self { saved: None, segments: Vec::new(), spare: None, strays: Vec::new() };
        let mut slots = Vec::new();
        let names = disk.names().map_err(failed("list the log's files"))?;
        // Others write theirs meanwhile; and what was set aside is nobody's.
        for name in names.into_iter().filter(|name| !is_of_marks(name) && !is_set_aside(name)) {
            let file = disk.open(&name).map_err(failed("open a file of the log"))?;
            let size = file.size().map_err(failed("read the size of a file"))?;
            if NAMES.contains(&name.as_str()) {
                let mut bytes = [0; SLOT_BYTES];
                file.read_at(0, &mut bytes).map_err(failed("read the cursors"))?;
                slots.push(Cursors::decode(&bytes));
            } else if name == SPARE {
                files.spare = Some(size);
            } else if name == FRESH {
                files.strays.push((name, size));
            } else if let Some(number) = segment::number(&name) {
                files.segments.push((number, read_header(&file, &name, number)?, size));
            }
        }
        files.saved = Cursors::newest(slots);
        files.segments.sort_unstable_by_key(|(number, ..)| *number);
        Ok(files)
    }

    /// Of the log, as its cursors or the headers of its segments say.
    fn identity(&self) -> Option<u64> {
        let headers = self.segments.iter().filter_map(|(_, header, _)| header.as_ref());
        self.saved.as_ref().map(|saved| saved.log).or_else(|| headers.map(|header| header.log).next())
    }
}

fn read_header<F: DiskFile>(file: &F, name: &str, number: u64) -> Result<Option<Header>, OpenError> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(0, &mut bytes).map_err(failed("read the header of a segment"))?;
    match Header::decode(&bytes) {
        Ok(header) => Ok(Some(header).filter(|header| header.number == number)),
        Err(BadHeader::Damaged) => Ok(None),
        Err(BadHeader::Version(version)) => Err(OpenError::Version { file: name.to_owned(), version }),
    }
}

/// Segments in order, each ending where the next begins; and the files without a record.
#[expect(clippy::type_complexity, reason = "two lists, used once")]
fn place<D: Disk>(
    disk: &Arc<D>,
    identity: u64,
    files: &[(u64, Option<Header>, u64)],
    saved: &Cursors,
) -> Result<(VecDeque<Segment>, Vec<(String, u64)>), OpenError> {
    let (mut segments, mut empty) = (VecDeque::<Segment>::new(), Vec::new());
    for (number, header, size) in files.iter().copied() {
        let frames = match header {
            // Where it ends follows from the next one, or is found out below.
            Some(header) => Some((header.first, header.first, header.time)),
            None => {
                // Records that are missing before the first whole frame count only when they had been durable: a
                // segment that was begun and never synced may have lost any part of itself.
                let begin = match segments.back() {
                    Some(before) => scan(disk, identity, before.number, before.first, 0)?.map_or(before.first, |s| s.1),
                    None => saved.readers.values().copied().min().unwrap_or(0),
                };
                scan(disk, identity, number, begin, saved.durable)?
            }
        };
        let Some((first, end, newest)) = frames else {
            empty.push((segment::name(number), size));
            continue;
        };
        // Those that were left because the disk failed hold nothing that the next one has not.
        while let Some(left) = segments.pop_back_if(|before| before.first >= first) {
            empty.push((segment::name(left.number), left.size));
        }
        if let Some(before) = segments.back_mut() {
            before.end = first;
            before.newest = before.newest.max(newest);
        }
        segments.push_back(Segment { number, first, end, size, newest });
    }
    if let Some(last) = segments.pop_back() {
        match scan(disk, identity, last.number, last.first, saved.durable)? {
            Some((first, end, newest)) => segments.push_back(Segment { first, end, newest, ..last }),
            None => {
                empty.push((segment::name(last.number), last.size));
                // The one before it was synced before this one was begun, so it ends where this one begins, or at
                // its own last frame when it was left because the disk failed.
                if let Some(before) = segments.back_mut()
                    && let Some((_, end, newest)) = scan(disk, identity, before.number, before.first, 0)?
                {
                    before.end = end;
                    before.newest = newest;
                }
            }
        }
    }
    Ok((segments, empty))
}

/// Reads all frames of a segment: the number of its first record, the one after its last, and when that was
/// appended. `None`: it has no frame. Records below `durable` are known to have been there.
fn scan<D: Disk>(
    disk: &Arc<D>,
    identity: u64,
    number: u64,
    first: Seq,
    durable: Seq,
) -> Result<Option<(Seq, Seq, u64)>, OpenError> {
    let bytes = whole(disk, &segment::name(number))?;
    let salt = segment::salt(identity, number);
    let mut frames = Frames { bytes: &bytes, at: HEADER_BYTES as u64, salt, expected: first, durable };
    let Some(oldest) = frames.next() else { return Ok(None) };
    let newest = frames.last().unwrap_or(oldest);
    Ok(Some((first.min(oldest.follows()), newest.end(), newest.time)))
}

/// The spare segment may have been the next one already, before the power went, and its name with it: then what was written
/// to it, and never acknowledged, must not be there when it becomes that segment again.
fn forget_spare<D: Disk>(disk: &Arc<D>, identity: u64, number: u64) -> Result<(), OpenError> {
    let bytes = whole(disk, SPARE)?;
    if segment::look(&bytes, HEADER_BYTES as u64, segment::salt(identity, number), 0, Seq::MAX) == Found::End {
        return Ok(());
    }
    let mut file = disk.open(SPARE).map_err(failed("open the spare segment"))?;
    file.write_at(0, &vec![0; bytes.len()]).and_then(|()| file.sync()).map_err(failed("clear the spare segment"))
}

fn whole<D: Disk>(disk: &Arc<D>, name: &str) -> Result<Vec<u8>, OpenError> {
    let file = disk.open(name).map_err(failed("open a segment"))?;
    let size = file.size().map_err(failed("read the size of a segment"))?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    let read = file.read_at(0, &mut bytes).map_err(failed("read a segment"))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The frames of a segment that count, in order, over damaged places.
struct Frames<'a> {
    bytes: &'a [u8],
    at: u64,
    salt: u32,
    expected: Seq,
    durable: Seq,
}

impl Iterator for Frames<'_> {
    type Item = FrameHeader;

    fn next(&mut self) -> Option<FrameHeader> {
        let header = match segment::look(self.bytes, self.at, self.salt, self.expected, self.durable) {
            Found::Frame(header) => header,
            Found::Damage { resume, header } => {
                self.at = resume;
                header
            }
            Found::End => return None,
        };
        self.at += header.frame_bytes();
        self.expected = header.end();
        Some(header)
    }
}

/// Makes the newest segment durable, clears what is behind its last frame, and goes on writing to it. Where that fails the
/// segment is left as it is.
///
/// A process that was killed may have left its last frames in the page cache alone, and also because their sync had failed:
/// then another sync would say "fine" and the disk would not have them. So what is not known to be durable is written once
/// more before it is synced.
fn resume<D: Disk>(
    disk: &Arc<D>,
    identity: u64,
    segments: &mut VecDeque<Segment>,
    durable: Seq,
) -> Result<Option<Active<D::File>>, OpenError> {
    let Some(last) = segments.back().copied() else { return Ok(None) };
    let bytes = whole(disk, &segment::name(last.number))?;
    let salt = segment::salt(identity, last.number);
    let frames = || Frames { bytes: &bytes, at: HEADER_BYTES as u64, salt, expected: last.first, durable };
    let known = frames().fold(durable, |known, header| known.max(header.durable));
    let (mut passed, mut doubtful) = (frames(), None);
    loop {
        let before = passed.at;
        let Some(header) = passed.next() else { break };
        if header.end() > known {
            doubtful.get_or_insert(before);
        }
    }
    let offset = passed.at;
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let mut file = disk.open(&segment::name(last.number)).map_err(failed("open a segment"))?;
    let begin = doubtful.unwrap_or(offset);
    // Its header too, which may be torn: records will be acknowledged that stand behind it.
    let header = Header { number: last.number, first: last.first, time: last.newest, log: identity };
    let is_whole = bytes.first_chunk().is_some_and(|bytes| Header::decode(bytes).is_ok());
    let header = if is_whole { Ok(()) } else { file.write_at(0, &header.encode()) };
    header
        .and_then(|()| file.write_at(begin, &bytes[place(begin)..place(offset)]))
        .and_then(|()| file.sync())
        .map_err(failed("sync the newest segment"))?;
    disk.sync_names().map_err(failed("sync the names of segments"))?;
    let rest = bytes.len() - place(offset);
    let cleared = file.write_at(offset, &vec![0; rest]).and_then(|()| file.sync());
    Ok(cleared.is_ok().then_some(Active { number: last.number, salt, file, offset, size: last.size }))
}

/// The number of the next record. Cursors may be past what was ever written, and so may marks: of records that were seen
/// before they were durable, and went with the power. What got their numbers then would count as done.
fn next_record<D: Disk>(disk: &Arc<D>, identity: u64, durable: Seq, saved: &Cursors) -> Result<Seq, OpenError> {
    let marked = Marks::end_in(disk.as_ref(), identity).map_err(failed("read the marks"))?;
    let settled = saved.readers.values().copied().max().unwrap_or(0);
    Ok(durable.max(settled).max(marked))
}

/// Where each reader begins: those that were named, and those that the log knows.
fn place_readers(readers: &[&str], saved: &Cursors, oldest: Seq) -> Result<Vec<Cursor>, OpenError> {
    let mut cursors = Vec::new();
    for (at, name) in readers.iter().enumerate() {
        if !cursor::name_fits(name) {
            return Err(OpenError::Readers(format!("a reader's name has 1 to 47 bytes, not {}", name.len())));
        }
        if readers[..at].contains(name) {
            return Err(OpenError::Readers(format!("two readers are named {name}")));
        }
        let next = saved.readers.get(*name).copied().unwrap_or(oldest);
        cursors.push(Cursor { name: (*name).to_owned(), next });
    }
    for (name, next) in &saved.readers {
        if !readers.contains(&name.as_str()) {
            cursors.push(Cursor { name: name.clone(), next: *next });
        }
    }
    if cursors.len() > MAX_READERS {
        return Err(OpenError::Readers(format!("a log has at most {MAX_READERS} readers, not {}", cursors.len())));
    }
    Ok(cursors)
}

/// Both cursor files, whole: those that are there, or new ones. The newest is durable then.
fn saver<D: Disk>(
    disk: &Arc<D>,
    saved: Cursors,
    has_saved: bool,
    cursors: &[Cursor],
    durable: Seq,
) -> Result<Saver<D>, OpenError> {
    let names = disk.names().map_err(failed("list the log's files"))?;
    let mut saver: Saver<D> = Saver { files: [None, None], saved, saved_at: 0, retry_at: None, trouble: None };
    for (slot, name) in NAMES.iter().enumerate() {
        if names.iter().any(|known| known == name) {
            saver.files[slot] = Some(disk.open(name).map_err(failed("open the cursors"))?);
        }
    }
    // A process that was killed may have left its last cursors in the page cache alone, also because their sync failed.
    // They are written once more, since segments are given up on their word; the other file holds the ones before.
    let newest = 1 - saver.saved.next_slot();
    if has_saved && let Some(file) = &mut saver.files[newest] {
        let written = file.write_at(0, &saver.saved.encode()).and_then(|()| file.sync());
        written.map_err(failed("save the cursors again"))?;
    }
    // The one that the next save overwrites is made first; the other is then the older of the two.
    while let Some(slot) = saver.files.iter().position(Option::is_none) {
        let next = Cursors {
            generation: saver.saved.generation + if slot == saver.saved.next_slot() { 1 } else { 2 },
            log: saver.saved.log,
            durable: durable.max(saver.saved.durable),
            readers: cursors.iter().map(|cursor| (cursor.name.clone(), cursor.next)).collect(),
        };
        saver.files[slot] = Some(make(disk, NAMES[slot], &next).map_err(failed("make the cursors"))?);
        saver.saved = next;
    }
    Ok(saver)
}

fn state(next: Seq, durable: Seq, segments: VecDeque<Segment>, cursors: Vec<Cursor>) -> State {
    State {
        next,
        durable,
        write: WritePolicy::Always,
        spilling: false,
        writing: 0,
        watched: false,
        saved: 0,
        pending: VecDeque::new(),
        pending_bytes: 0,
        recent: VecDeque::new(),
        recent_bytes: 0,
        segments,
        cursors,
        health: Health::Good,
        counts: Counts::default(),
        closed: false,
        hurry: false,
        unsaved: true,
        told: false,
    }
}
