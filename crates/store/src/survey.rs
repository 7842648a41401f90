//! [`Survey`]: what the folder of a log holds, looked at without changing or locking anything, beside a log at work if need
//! be.
//!
//! A log that is written while it is looked at may give segments up in between: what is gone is left out, and missing
//! counts only what readers have not settled in the end. Its newest segment ends where the last whole frame ends.

use std::io;
use std::ops::Range;

use crate::Seq;
use crate::cursor::{Cursors, NAMES, SLOT_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::frame;
use crate::marks::is_of_marks;
use crate::repair::is_set_aside;
use crate::segment::{self, BadHeader, Found, HEADER_BYTES, Header, SPARE};

/// What the folder of a log holds.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The newest cursors that are whole.
    pub cursors: Option<Cursors>,
    /// The identity of the log, as its cursors or its segments say.
    pub log: Option<u64>,
    /// How many of the two cursor files are whole.
    pub whole_slots: usize,
    /// The segments, in order.
    pub segments: Vec<SegmentSurvey>,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Files that belong to no log.
    pub strays: Vec<String>,
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentSurvey {
    /// Its number.
    pub number: u64,
    /// Bytes of its file.
    pub size: u64,
    /// The version that it has, where that is none that this program reads; all that is known of it then is how many
    /// records are missing in its place.
    pub unknown_version: Option<u16>,
    /// Whether its header is damaged; its frames are read all the same.
    pub damaged_header: bool,
    /// Number of the first record.
    pub first: Seq,
    /// The number after the last record that is whole.
    pub end: Seq,
    /// Whole frames.
    pub frames: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// When the first and the last of them were appended, in nanoseconds since 1970.
    pub times: Option<(u64, u64)>,
    /// Records that had been durable and cannot be read back.
    pub damaged: u64,
}

/// Records of a segment, by its place in the list, that cannot be read back.
struct Missing {
    segment: usize,
    records: Range<Seq>,
}

impl Survey {
    /// Looks at every file, frame by frame, in the memory of one segment.
    ///
    /// # Errors
    /// The disk fails.
    pub fn of(disk: &impl Disk) -> io::Result<Self> {
        Self::visit(disk, |_, _| true)
    }

    /// As [`of`](Self::of), and shows every whole frame with its payload to `see`, in order, until that wants no more: then
    /// nothing further is looked at, and the survey is of the segments up to there. Frames of segments that were left
    /// because the disk had failed, and were written anew, are shown once.
    ///
    /// # Errors
    /// The disk fails.
    pub fn visit(disk: &impl Disk, mut see: impl FnMut(&frame::Header, &[u8]) -> bool) -> io::Result<Self> {
        let mut survey = Self::default();
        let mut numbers = Vec::new();
        let mut slots = 0;
        for name in disk.names()? {
            if is_of_marks(&name) || is_set_aside(&name) {
                continue;
            }
            let Some(bytes) = size_of(disk, &name)? else { continue };
            survey.disk_bytes += bytes;
            if NAMES.contains(&name.as_str()) {
                slots += 1;
            } else if let Some(number) = segment::number(&name) {
                numbers.push(number);
            } else if name != SPARE {
                survey.strays.push(name);
            }
        }
        if slots > 0 {
            survey.look_at_cursors(disk)?;
        }
        numbers.sort_unstable();
        survey.look_for_identity(disk, &numbers)?;
        let (mut wants, mut seen, mut missing) = (true, 0, Vec::new());
        for number in numbers {
            let mut see = |header: &frame::Header, payload: &[u8]| {
                if wants && header.first >= seen {
                    seen = header.end();
                    wants = see(header, payload);
                }
            };
            if let Some(segment) = survey.segment(disk, number, &mut see, &mut missing)? {
                survey.segments.push(segment);
            }
            if !wants {
                return Ok(survey);
            }
        }
        if slots > 0 {
            survey.look_at_cursors(disk)?;
        }
        survey.find_gaps(&missing);
        Ok(survey)
    }

    /// The number of the first record that is not settled, as [`settled`](Self::settled) of a survey, without a look at the
    /// records.
    ///
    /// # Errors
    /// The disk fails.
    pub fn settled_on(disk: &impl Disk) -> io::Result<Seq> {
        let mut survey = Self::default();
        survey.look_at_cursors(disk)?;
        let mut numbers: Vec<u64> = disk.names()?.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        for number in numbers {
            let bytes = whole(disk, &segment::name(number), HEADER_BYTES as u64)?;
            let header = bytes.as_deref().and_then(|bytes| bytes.first_chunk()).map(Header::decode);
            if let Some(Ok(header)) = header {
                survey.segments.push(SegmentSurvey { number, first: header.first, ..SegmentSurvey::default() });
                break;
            }
        }
        Ok(survey.settled())
    }

    fn look_at_cursors(&mut self, disk: &impl Disk) -> io::Result<()> {
        let mut slots = Vec::new();
        for name in NAMES {
            slots.push(whole(disk, name, SLOT_BYTES as u64)?.and_then(|bytes| Cursors::decode(&bytes)));
        }
        self.whole_slots = slots.iter().flatten().count();
        self.cursors = Cursors::newest(slots);
        self.log = self.cursors.as_ref().map(|cursors| cursors.log).or(self.log);
        Ok(())
    }

    /// Without cursors any whole header says which log it is; without that no frame can be read.
    fn look_for_identity(&mut self, disk: &impl Disk, numbers: &[u64]) -> io::Result<()> {
        for number in numbers {
            if self.log.is_some() {
                break;
            }
            let bytes = whole(disk, &segment::name(*number), HEADER_BYTES as u64)?;
            let header = bytes.as_deref().and_then(|bytes| bytes.first_chunk()).map(Header::decode);
            self.log = header.and_then(Result::ok).filter(|header| header.number == *number).map(|header| header.log);
        }
        Ok(())
    }

    /// Records that had been durable and cannot be read back, and that some reader has yet to read.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.segments.iter().map(|segment| segment.damaged).sum()
    }

    /// The number after the last record.
    #[must_use]
    pub fn end(&self) -> Seq {
        let segments = self.segments.iter().map(|segment| segment.end).max().unwrap_or(0);
        segments.max(self.cursors.as_ref().map_or(0, |cursors| cursors.durable))
    }

    /// The number of the first record that is not settled, by the reader that is farthest behind.
    #[must_use]
    pub fn settled(&self) -> Seq {
        let oldest = self.segments.first().map_or(0, |segment| segment.first);
        self.read_by_all().map_or(oldest, |settled| settled.max(oldest))
    }

    /// The cursor of the reader that is farthest behind.
    fn read_by_all(&self) -> Option<Seq> {
        self.cursors.as_ref().and_then(|cursors| cursors.readers.values().copied().min())
    }

    /// `None`: it is gone, or has become another one while it was looked at.
    fn segment(
        &mut self,
        disk: &impl Disk,
        number: u64,
        see: &mut dyn FnMut(&frame::Header, &[u8]),
        missing: &mut Vec<Missing>,
    ) -> io::Result<Option<SegmentSurvey>> {
        let name = segment::name(number);
        let Some(bytes) = whole(disk, &name, u64::MAX)? else { return Ok(None) };
        let mut found = SegmentSurvey { number, size: bytes.len() as u64, ..SegmentSurvey::default() };
        let header = match bytes.first_chunk::<HEADER_BYTES>().map(Header::decode) {
            Some(Ok(header)) => Some(header),
            Some(Err(BadHeader::Version(version))) => {
                found.unknown_version = Some(version);
                return Ok(Some(found));
            }
            Some(Err(BadHeader::Damaged)) | None => None,
        };
        if header.is_some_and(|header| header.number != number) {
            return Ok(None);
        }
        let log = header.map(|header| header.log).or(self.log);
        self.log = self.log.or(log);
        let salt = segment::salt(log.unwrap_or(0), number);
        found.damaged_header = header.is_none();
        found.first = match (header, self.segments.last()) {
            (Some(header), _) => header.first,
            (None, Some(before)) => before.end,
            // The oldest one begins where its first whole frame does.
            (None, None) => match segment::look(&bytes, HEADER_BYTES as u64, salt, 0, Seq::MAX) {
                Found::Frame(header) | Found::Damage { header, .. } => header.follows(),
                Found::End => 0,
            },
        };
        found.end = found.first;
        let durable = self.cursors.as_ref().map_or(0, |cursors| cursors.durable);
        found.look_at_frames(&bytes, salt, durable, see, |records| {
            missing.push(Missing { segment: self.segments.len(), records });
        });
        Ok(Some(found))
    }

    /// A segment ends where the next one begins; what is missing before that had been durable.
    fn find_gaps(&mut self, missing: &[Missing]) {
        let durable = self.cursors.as_ref().map_or(0, |cursors| cursors.durable);
        let settled = self.settled();
        // What is damaged below that nobody will read.
        for Missing { segment, records } in missing {
            if let Some(segment) = self.segments.get_mut(*segment) {
                segment.damaged += records.end.saturating_sub(records.start.max(settled));
            }
        }
        // A later segment may hold the same records anew, where this one was left because the disk had failed.
        let mut next = durable;
        for at in (0..self.segments.len()).rev() {
            let is_unknown = self.segments[at].unknown_version.is_some();
            let mut known = self.segments[..at].iter().rev().filter(|before| before.unknown_version.is_none());
            let before = known.next().map_or(0, |before| before.end);
            let segment = &mut self.segments[at];
            if is_unknown {
                // All that is known of it is what is missing between its neighbours.
                (segment.first, segment.end) = (before.min(next), before.min(next));
            }
            segment.damaged += next.saturating_sub(segment.end.max(settled));
            next = segment.first;
        }
    }
}

impl SegmentSurvey {
    /// Tells `miss` of records that had been durable and are damaged.
    fn look_at_frames(
        &mut self,
        bytes: &[u8],
        salt: u32,
        durable: Seq,
        see: &mut dyn FnMut(&frame::Header, &[u8]),
        mut miss: impl FnMut(Range<Seq>),
    ) {
        let mut at = HEADER_BYTES as u64;
        loop {
            let header = match segment::look(bytes, at, salt, self.end, durable) {
                Found::Frame(header) => header,
                Found::Damage { resume, header } => {
                    miss(self.end..header.follows());
                    at = resume;
                    header
                }
                Found::End => return,
            };
            let from = usize::try_from(at).unwrap_or(usize::MAX).saturating_add(frame::HEADER_BYTES);
            let payload = bytes.get(from..from.saturating_add(header.length as usize)).unwrap_or_default();
            see(&header, payload);
            self.frames += 1;
            self.payload_bytes += payload.len() as u64;
            self.times = Some((self.times.map_or(header.time, |(first, _)| first), header.time));
            self.end = header.end();
            at += header.frame_bytes();
        }
    }
}

fn size_of(disk: &impl Disk, name: &str) -> io::Result<Option<u64>> {
    match disk.open(name) {
        Ok(file) => file.size().map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first `most` bytes of a file; `None` where it is gone.
fn whole(disk: &impl Disk, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; usize::try_from(file.size()?.min(most)).unwrap_or(usize::MAX)];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}
