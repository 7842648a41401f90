//! [`Saver`]: the cursors, made durable in two files that are written in turn.
//!
//! A file whose write or sync failed is not used again: a new one takes its place, while the other one holds the
//! newest cursors that are durable.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Trouble;
use super::commit::nanos;
use super::shared::Shared;
use crate::Seq;
use crate::cursor::{Cursors, NAMES, SLOT_BYTES};
use crate::disk::{Disk, DiskFile};

/// A new cursor file, until it is whole.
pub(super) const FRESH: &str = "cursors.new";
const RETRY: u64 = 1_000_000_000;

pub(super) struct Saver<D: Disk> {
    /// `None`: failed, must be made anew.
    pub(super) files: [Option<D::File>; 2],
    /// The newest cursors that are durable.
    pub(super) saved: Cursors,
    pub(super) saved_at: u64,
    pub(super) retry_at: Option<u64>,
    /// Why they could not be saved the last time.
    pub(super) trouble: Option<Trouble>,
}

impl<D: Disk> Saver<D> {
    pub(super) fn is_due(&self, now: u64, every: Duration) -> bool {
        now < self.saved_at || now - self.saved_at >= nanos(every)
    }

    pub(super) fn may_try(&self, now: u64) -> bool {
        self.retry_at.is_none_or(|at| at <= now || at - now > RETRY)
    }

    pub(super) fn next(&self, now: u64, every: Duration) -> u64 {
        self.retry_at.unwrap_or_else(|| self.saved_at.min(now).saturating_add(nanos(every)))
    }

    /// Makes the cursors durable; returns the number below which every reader has settled, as it is on disk now.
    pub(super) fn save(&mut self, disk: &Arc<D>, shared: &Shared, now: u64) -> Result<Seq, Trouble> {
        let cursors = self.gather(shared);
        let settled = cursors.readers.values().copied().min().unwrap_or(0);
        let slot = self.saved.next_slot();
        match self.write(disk, slot, &cursors) {
            Ok(()) => {
                self.saved = cursors;
                self.saved_at = now;
                self.retry_at = None;
                Ok(settled)
            }
            Err(err) => {
                self.retry_at = Some(now.saturating_add(RETRY));
                Err(Trouble::of("save cursors", &err))
            }
        }
    }

    fn gather(&self, shared: &Shared) -> Cursors {
        let mut state = shared.lock();
        state.unsaved = false;
        Cursors {
            generation: self.saved.generation + 1,
            log: self.saved.log,
            durable: state.durable,
            readers: state.cursors.iter().map(|cursor| (cursor.name.clone(), cursor.next)).collect(),
        }
    }

    fn write(&mut self, disk: &Arc<D>, slot: usize, cursors: &Cursors) -> io::Result<()> {
        // The file is put back only when it did as asked.
        let file = match self.files[slot].take() {
            Some(mut file) => {
                file.write_at(0, &cursors.encode())?;
                file.sync()?;
                file
            }
            None => make(disk, NAMES[slot], cursors)?,
        };
        self.files[slot] = Some(file);
        Ok(())
    }
}

/// Makes a cursor file, whole before it has its name.
pub(super) fn make<D: Disk>(disk: &Arc<D>, name: &str, cursors: &Cursors) -> io::Result<D::File> {
    match disk.remove(FRESH) {
        Ok(()) => {}
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => return Err(err),
    }
    let mut file = disk.create(FRESH, SLOT_BYTES as u64)?;
    file.write_at(0, &cursors.encode())?;
    file.sync()?;
    disk.rename(FRESH, name)?;
    disk.sync_names()?;
    Ok(file)
}
