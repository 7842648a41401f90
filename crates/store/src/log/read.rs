//! [`Reader`]: batches in order, from memory while the reader keeps up, from disk when it does not.

use std::io;
use std::sync::Arc;

use super::Entry;
use super::shared::{Segment, Shared};
use crate::Seq;
use crate::disk::{Disk, DiskFile};
use crate::frame::{self, Header};
use crate::segment::{self, Found};

/// Bytes that are read from disk at once.
pub(super) const READ_BYTES: usize = 256 << 10;

/// What a reader got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// The next batch. `skip` of its records were settled before the log was opened.
    Entry {
        /// The batch, whole.
        entry: Entry,
        /// How many of its first records are settled already.
        skip: u32,
    },
    /// This many records had been durable and cannot be read back: the disk damaged them.
    Damaged(u64),
    /// Nothing durable is left to read.
    Empty,
}

/// The next batch has so many bytes, more than the caller has memory for. Nothing was passed over.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TooLong(pub u64);

/// One reader of a log. It sees durable batches only, each once, in order; where what is settled need not be written, also
/// those that wait in memory. Reads from disk block.
pub struct Reader<D: Disk> {
    disk: Arc<D>,
    shared: Arc<Shared>,
    identity: u64,
    name: String,
    at: Seq,
    open: Option<OpenSegment<D::File>>,
}

fn check_length(bytes: u64, most: u64) -> Result<(), TooLong> {
    if bytes <= most { Ok(()) } else { Err(TooLong(bytes)) }
}

/// Says what of a reader's batches is settled. Clones are the same.
#[derive(Clone)]
pub struct Settler {
    shared: Arc<Shared>,
    name: String,
}

impl Settler {
    /// Everything below `until` is settled: it will not be read again after a restart, once that is saved. Numbers
    /// beyond what readers may see count as far as that, and those below what is settled change nothing. Says whether more is [safe](super::Appender::safe) now. Does not block.
    pub fn settle(&self, until: Seq) -> bool {
        let mut state = self.shared.lock();
        let until = until.min(state.readable());
        let Some(cursor) = state.cursors.iter_mut().find(|cursor| cursor.name == self.name) else { return false };
        let moves = until > cursor.next;
        if moves {
            cursor.next = until;
            state.pass_settled();
            let had_to_save = state.must_save();
            state.unsaved = true;
            if (!had_to_save && state.must_save()) || state.health != super::Health::Good {
                self.shared.tell_committer(&mut state);
            }
        }
        moves && state.settled() > state.durable
    }

    /// Every record below this number is settled, or was given up.
    #[must_use]
    pub fn settled(&self) -> Seq {
        self.shared.lock().cursor(&self.name)
    }
}

struct OpenSegment<F> {
    segment: Segment,
    file: F,
    salt: u32,
    /// Where the next frame begins, and the number that its first record must have.
    offset: u64,
    expected: Seq,
    window: Vec<u8>,
    window_at: u64,
    /// The offset for which the window was filled anew, because the frame there was not whole in it.
    looked_again_at: u64,
}

impl<D: Disk> Reader<D> {
    pub(super) fn new(disk: Arc<D>, shared: Arc<Shared>, identity: u64, name: &str, at: Seq) -> Self {
        Self { disk, shared, identity, name: name.to_owned(), at, open: None }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the next record that it reads.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.at
    }

    /// Records that it may see and has not read.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let state = self.shared.lock();
        // Where nothing waits, numbers past what is durable were given to nobody, or are settled.
        let end = if state.pending.is_empty() { state.durable } else { state.readable() };
        end.saturating_sub(self.at)
    }

    /// Who says what of this reader's batches is settled; may be used while the reader reads.
    #[must_use]
    pub fn settler(&self) -> Settler {
        Settler { shared: self.shared.clone(), name: self.name.clone() }
    }

    /// Goes back: the next batch is the one with record `to`, or what is in its place. Numbers that were not read yet
    /// change nothing, and what is settled is not read again.
    pub fn rewind(&mut self, to: Seq) {
        self.at = self.at.min(to).max(self.settler().settled());
        self.open = None;
    }

    /// The next batch, where the reader may see it and it is in memory: a read that does not block. `None` says nothing
    /// about what is on disk.
    ///
    /// # Errors
    /// The batch has more than `most` bytes.
    pub fn read_from_memory(&mut self, most: u64) -> Result<Option<Read>, TooLong> {
        let entry = {
            let mut state = self.shared.lock();
            self.at = self.at.max(state.cursor(&self.name));
            let Some(entry) = state.in_memory(self.at) else { return Ok(None) };
            check_length(entry.payload.len() as u64, most)?;
            state.counts.read_from_memory += 1;
            entry
        };
        Ok(Some(self.hand_out(entry)))
    }

    /// The next batch that the reader may see, or what is in its place.
    ///
    /// # Errors
    /// The disk fails; nothing was passed over, and the call can be made again.
    pub fn read(&mut self) -> io::Result<Read> {
        // No batch is longer than that.
        Ok(self.read_within(u64::MAX)?.unwrap_or(Read::Empty))
    }

    /// As [`read`](Self::read), for a batch of at most so many bytes: for callers that pay for memory before they take it.
    /// A longer one is known to be whole when it is refused.
    ///
    /// # Errors
    /// The disk fails; nothing was passed over, and the call can be made again.
    pub fn read_within(&mut self, most: u64) -> io::Result<Result<Read, TooLong>> {
        loop {
            match self.read_from_memory(most) {
                Ok(Some(read)) => return Ok(Ok(read)),
                Ok(None) => {}
                Err(long) => return Ok(Err(long)),
            }
            let (segment, durable) = {
                let state = self.shared.lock();
                (state.segment_of(self.at), state.durable)
            };
            if self.at >= durable {
                return Ok(Ok(Read::Empty));
            }
            let missing_until = segment.map_or(durable, |segment| segment.first.min(durable));
            let Some(segment) = segment.filter(|segment| segment.first <= self.at) else {
                return Ok(Ok(self.damaged(missing_until)));
            };
            if let Some(read) = self.read_from(segment, most)? {
                return Ok(read);
            }
        }
    }

    /// As [`Settler::settle`]; numbers beyond what was read change nothing.
    pub fn settle(&self, until: Seq) {
        self.settler().settle(until.min(self.at));
    }

    fn hand_out(&mut self, entry: Entry) -> Read {
        let skip = u32::try_from(self.at.saturating_sub(entry.first)).unwrap_or(u32::MAX);
        self.at = entry.end();
        Read::Entry { entry, skip }
    }

    fn damaged(&mut self, until: Seq) -> Read {
        let records = until.saturating_sub(self.at);
        self.at = until;
        self.shared.lock().counts.damaged += records;
        Read::Damaged(records)
    }

    /// Reads on in this segment. `None`: look again at what there is.
    fn read_from(&mut self, segment: Segment, most: u64) -> io::Result<Option<Result<Read, TooLong>>> {
        if self.open.as_ref().is_none_or(|open| open.segment.number != segment.number || open.expected > self.at) {
            self.open = self.open_segment(segment)?;
        }
        let at = self.at;
        let Some(open) = &mut self.open else { return Ok(None) };
        open.segment = segment;
        while open.expected <= at {
            match open.next_frame(most)? {
                Some(Err(long)) => return Ok(Some(Err(long))),
                Some(Ok((header, payload))) if header.end() > at => {
                    let entry = Entry { first: header.first, records: header.records, time: header.time, payload };
                    self.shared.lock().counts.read_from_disk += 1;
                    return Ok(Some(Ok(self.hand_out(entry))));
                }
                Some(Ok(_)) => {}
                None if open.look_again() => {}
                None => return Ok(self.pass_damage(segment)?.map(Ok)),
            }
        }
        Ok(None)
    }

    fn open_segment(&self, segment: Segment) -> io::Result<Option<OpenSegment<D::File>>> {
        let file = match self.disk.open(&segment::name(segment.number)) {
            Ok(file) => file,
            // It was given up since we looked; if not, the folder has lost it.
            Err(err) if err.kind() == io::ErrorKind::NotFound && self.is_gone(segment) => return Ok(None),
            Err(err) => return Err(err),
        };
        Ok(Some(OpenSegment {
            salt: segment::salt(self.identity, segment.number),
            offset: segment::HEADER_BYTES as u64,
            expected: segment.first,
            segment,
            file,
            window: Vec::new(),
            window_at: 0,
            looked_again_at: 0,
        }))
    }

    /// Whether this reader was moved past the segment since it looked.
    fn is_gone(&self, segment: Segment) -> bool {
        !self.shared.lock().segments.iter().any(|known| known.number == segment.number)
    }

    /// The frame that should be here is damaged: goes on at the next one that is whole, or at the segment's end.
    fn pass_damage(&mut self, segment: Segment) -> io::Result<Option<Read>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let bytes = open.rest()?;
        let found = segment::look(&bytes, 0, open.salt, open.expected, segment.end);
        let until = match found {
            Found::Frame(header) => {
                open.expected = header.follows();
                header.follows()
            }
            Found::Damage { resume, header } => {
                open.offset += resume;
                open.expected = header.follows();
                header.follows().min(segment.end)
            }
            Found::End => segment.end,
        };
        let gone = self.is_gone(segment);
        if found == Found::End || gone {
            self.open = None;
        }
        if gone || until <= self.at {
            return Ok(None);
        }
        Ok(Some(self.damaged(until)))
    }
}

impl<F: DiskFile> OpenSegment<F> {
    /// The frame at `offset`, when it is whole and the one that is expected.
    fn next_frame(&mut self, most: u64) -> io::Result<Option<Result<(Header, Arc<[u8]>), TooLong>>> {
        let Some(bytes) = self.bytes(frame::HEADER_BYTES)? else { return Ok(None) };
        let Some(head) = bytes.first_chunk::<{ frame::HEADER_BYTES }>().copied() else { return Ok(None) };
        let Some(header) = Header::decode(&head).filter(|header| header.follows() == self.expected) else {
            return Ok(None);
        };
        if self.offset + header.frame_bytes() > self.segment.size {
            return Ok(None);
        }
        let whole = frame::HEADER_BYTES + header.length as usize;
        let salt = self.salt;
        let payload = if whole > READ_BYTES {
            match self.long_payload(&head, header.length as usize, most)? {
                Some(payload) => payload,
                None => return Ok(None),
            }
        } else {
            let Some(bytes) = self.bytes(whole)? else { return Ok(None) };
            let payload = &bytes[frame::HEADER_BYTES..];
            if !frame::is_valid(salt, &head, payload) {
                return Ok(None);
            }
            check_length(payload.len() as u64, most).map(|()| Arc::from(payload))
        };
        Ok(Some(payload.map(|payload| {
            self.offset += header.frame_bytes();
            self.expected = header.end();
            (header, payload)
        })))
    }

    /// The payload of a frame that is longer than the window, straight into where it stays; `None` when it is damaged. One
    /// that is refused was read too, piece by piece: a damaged length must not ask for memory.
    fn long_payload(
        &mut self,
        head: &[u8; frame::HEADER_BYTES],
        length: usize,
        most: u64,
    ) -> io::Result<Option<Result<Arc<[u8]>, TooLong>>> {
        let from = self.offset + frame::HEADER_BYTES as u64;
        if let Err(long) = check_length(length as u64, most) {
            self.window.resize(READ_BYTES, 0);
            let (mut sum, mut at) = (frame::begin_checksum(self.salt, head), 0);
            while at < length {
                let piece = &mut self.window[..READ_BYTES.min(length - at)];
                let read = self.file.read_at(from + at as u64, piece);
                let whole = read.as_ref().is_ok_and(|read| *read == piece.len());
                sum.update(piece);
                at += piece.len();
                if !whole {
                    self.window.clear();
                    return read.map(|_| None);
                }
            }
            self.window.clear();
            return Ok((sum.finalize() == frame::u32_at(head, 0)).then_some(Err(long)));
        }
        let mut payload: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
        let Some(bytes) = Arc::get_mut(&mut payload) else { return Ok(None) };
        let is_whole = self.file.read_at(from, bytes)? == length && frame::is_valid(self.salt, head, bytes);
        Ok(is_whole.then_some(Ok(payload)))
    }

    /// Throws away what was read ahead, once at each place: it was perhaps not written yet. Says whether that was done.
    fn look_again(&mut self) -> bool {
        self.window.clear();
        std::mem::replace(&mut self.looked_again_at, self.offset) != self.offset
    }

    /// This many bytes at `offset`, at most [`READ_BYTES`]; `None` when the file is shorter.
    fn bytes(&mut self, count: usize) -> io::Result<Option<&[u8]>> {
        let end = self.offset + count as u64;
        if self.offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let left = usize::try_from(self.segment.size.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            self.window.resize(count.max(READ_BYTES.min(left)), 0);
            self.window_at = self.offset;
            let read = self.file.read_at(self.offset, &mut self.window);
            // What was not read must not be taken for bytes of the file.
            self.window.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let from = usize::try_from(self.offset - self.window_at).unwrap_or(usize::MAX);
        Ok(self.window.get(from..from.saturating_add(count)))
    }

    /// Everything from `offset` on.
    fn rest(&self) -> io::Result<Vec<u8>> {
        let left = self.segment.size.saturating_sub(self.offset);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX)];
        let read = self.file.read_at(self.offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}
