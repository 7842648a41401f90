//! [`Space`]: segments are begun, left, given up; one spare waits.
//!
//! A segment becomes the spare one, or its file is removed, only after cursors that have passed it are durable; that
//! is why [`Space::free`] wants the number that the cursors were saved with.

use std::io;
use std::sync::Arc;

use super::Trouble;
use super::commit::Active;
use super::shared::{Segment, Shared};
use crate::Seq;
use crate::cursor::SLOT_BYTES;
use crate::disk::{Disk, DiskFile};
use crate::segment::{self, HEADER_BYTES, SPARE};

/// After the spare segment could not be made, it is tried again this much later, in nanoseconds.
const SPARE_RETRY: u64 = 1_000_000_000;

pub(super) struct Space<D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) identity: u64,
    /// The number of the next segment.
    pub(super) next_number: u64,
    /// Whether the spare segment is there.
    pub(super) spare: bool,
    pub(super) spare_bytes: u64,
    pub(super) spare_retry_at: u64,
    /// Files that could not be removed, with their bytes. They count, so they are bounded like segments.
    pub(super) litter: Vec<(String, u64)>,
    /// Segments were begun since the names were last synced.
    pub(super) names_changed: bool,
}

impl<D: Disk> Space<D> {
    /// Begins a segment that has room for a frame of `needed` bytes.
    pub(super) fn begin(
        &mut self,
        shared: &Shared,
        usual: u64,
        needed: u64,
        first: Seq,
        now: u64,
    ) -> Result<Active<D::File>, Trouble> {
        let needed = needed + HEADER_BYTES as u64;
        let size = if needed <= usual { usual } else { needed.next_multiple_of(4096) };
        let number = self.next_number;
        let mut file = self.file(shared, number, size)?;
        // From here on the number is used up, whatever happens.
        self.next_number += 1;
        self.names_changed = true;
        shared.lock().segments.push_back(Segment { number, first, end: first, size, newest: now });
        self.count(shared);
        let header = segment::Header { number, first, time: now, log: self.identity };
        if let Err(err) = file.write_at(0, &header.encode()) {
            self.leave(shared, number);
            shared.lock().counts.failures += 1;
            return Err(Trouble::of("begin a segment", &err));
        }
        let salt = segment::salt(self.identity, number);
        Ok(Active { number, salt, file, offset: HEADER_BYTES as u64, size })
    }

    fn file(&mut self, shared: &Shared, number: u64, size: u64) -> Result<D::File, Trouble> {
        let name = segment::name(number);
        let failed = |err: &io::Error| {
            shared.lock().counts.failures += 1;
            Trouble::of("begin a segment", err)
        };
        if self.spare && size == self.spare_bytes {
            self.disk.rename(SPARE, &name).map_err(|err| failed(&err))?;
            self.spare = false;
            return self.disk.open(&name).map_err(|err| {
                self.litter.push((name, size));
                self.next_number += 1;
                failed(&err)
            });
        }
        if self.disk_bytes(shared) + size > shared.max_size {
            return Err(Trouble::AtMaxSize);
        }
        self.disk.create(&name, size).map_err(|err| failed(&err))
    }

    /// Makes the names of new segments durable.
    pub(super) fn sync_names(&mut self) -> io::Result<()> {
        if self.names_changed {
            self.disk.sync_names()?;
            self.names_changed = false;
        }
        Ok(())
    }

    /// A segment is not written any more because the disk failed. Without a durable record it is rubbish.
    pub(super) fn leave(&mut self, shared: &Shared, number: u64) {
        let mut state = shared.lock();
        if let Some(empty) = state.segments.pop_back_if(|last| last.number == number && last.end == last.first) {
            self.litter.push((segment::name(empty.number), empty.size));
        }
    }

    /// Gives up the segments below `settled`, which the saved cursors have passed; `active` is kept.
    pub(super) fn free(&mut self, shared: &Shared, usual: u64, settled: Seq, active: Option<u64>) {
        self.sweep();
        loop {
            let mut state = shared.lock();
            let passed = |segment: &mut Segment| segment.end <= settled && Some(segment.number) != active;
            let Some(gone) = state.segments.pop_front_if(passed) else { break };
            drop(state);
            self.give_up(segment::name(gone.number), gone.size, usual);
        }
        self.count(shared);
    }

    fn give_up(&mut self, name: String, size: u64, usual: u64) {
        if !self.spare && size == usual && self.disk.rename(&name, SPARE).is_ok() {
            self.spare = true;
            self.spare_bytes = size;
        } else if self.disk.remove(&name).is_err() {
            self.litter.push((name, size));
        }
    }

    /// Tries again to remove what could not be removed.
    fn sweep(&mut self) {
        let disk = &self.disk;
        self.litter.retain(|(name, _)| match disk.remove(name) {
            Ok(()) => false,
            Err(err) => err.kind() != io::ErrorKind::NotFound,
        });
    }

    /// Makes the spare segment when there is none and the log may grow by one.
    pub(super) fn refill(&mut self, shared: &Shared, usual: u64, now: u64) {
        let soon = self.spare_retry_at > now && self.spare_retry_at - now <= SPARE_RETRY;
        if self.spare || soon || self.disk_bytes(shared) + usual > shared.max_size {
            return;
        }
        self.sweep();
        match self.disk.create(SPARE, usual) {
            Ok(_) => {
                self.spare = true;
                self.spare_bytes = usual;
            }
            Err(_) => {
                shared.lock().counts.failures += 1;
                self.spare_retry_at = now.saturating_add(SPARE_RETRY);
            }
        }
        self.count(shared);
    }

    /// Whether a segment of the usual size can be begun within `max_size`.
    pub(super) fn has_room(&self, shared: &Shared, usual: u64) -> bool {
        self.spare || self.disk_bytes(shared) + usual <= shared.max_size
    }

    fn disk_bytes(&self, shared: &Shared) -> u64 {
        let segments: u64 = shared.lock().segments.iter().map(|segment| segment.size).sum();
        let litter: u64 = self.litter.iter().map(|(_, size)| size).sum();
        segments + litter + if self.spare { self.spare_bytes } else { 0 } + 2 * SLOT_BYTES as u64
    }

    pub(super) fn count(&self, shared: &Shared) {
        let bytes = self.disk_bytes(shared);
        shared.lock().counts.disk_bytes = bytes;
    }
}
