//! [`Marker`]: what is done with letters one by one, beside whoever writes their log.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use tidegate_runtime::durable::{
    Disk, Health, Log, LogOptions, MARKS_LOCK, Marks, OpenError, RealDisk, Renewal, Survey,
};

use super::Stock;
use crate::wiring::wall_nanos;

/// Marks letters as done, or as tried again. One at a time for each log, whoever has the log itself.
#[derive(Debug)]
pub struct Marker {
    disk: RealDisk,
    marks: Marks,
    /// Marked since they were last saved.
    unsaved: u64,
    /// Causes that letters share, [`MOST_SHARED`] at most.
    shared: HashSet<Arc<str>>,
}

/// What is to be written: made with the marker in hand, and written without it.
pub(super) struct Sheet {
    disk: RealDisk,
    bytes: Vec<u8>,
    /// How many marks it has that were not saved.
    marks: u64,
}

impl Sheet {
    /// Makes it durable. Blocks on the disk. One at a time, in the order in which they were made.
    pub(super) fn put(&self) -> io::Result<()> {
        Marks::put(&self.disk, &self.bytes)
    }
}

/// So many causes are kept once for all letters that have them. More are there only where each letter has its own.
const MOST_SHARED: usize = 1_000;

impl Marker {
    /// For the letters of this stock.
    ///
    /// # Errors
    /// Another process marks them ([`io::ErrorKind::WouldBlock`]), or the folder cannot be written to.
    pub fn of(stock: &Stock) -> io::Result<Self> {
        let disk = RealDisk::beside(stock.folder(), MARKS_LOCK)?;
        let survey = Survey::of(&disk)?;
        let mut marks = Marks::read(&disk, survey.log.unwrap_or(0))?;
        marks.begin_at(survey.settled());
        Ok(Self { disk, marks, unsaved: 0, shared: HashSet::new() })
    }

    /// The letter was delivered, or is not wanted any more.
    pub fn done(&mut self, number: u64) {
        self.marks.done(number);
        self.unsaved += 1;
    }

    /// The letter was refused again, and stays.
    pub fn refused_again(&mut self, number: u64, cause: &str) {
        let attempts = self.marks.renewal(number).map_or(0, |renewal| renewal.attempts).saturating_add(1);
        let cause = self.shared(cause);
        self.marks.renew(number, Renewal { attempts, at: wall_nanos(), cause });
        self.unsaved += 1;
    }

    fn shared(&mut self, cause: &str) -> Arc<str> {
        if let Some(known) = self.shared.get(cause) {
            return Arc::clone(known);
        }
        let cause: Arc<str> = cause.into();
        if self.shared.len() < MOST_SHARED {
            self.shared.insert(Arc::clone(&cause));
        }
        cause
    }

    /// Makes durable what was marked. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails; what was marked is tried again by the next call.
    pub fn save(&mut self) -> io::Result<()> {
        if let Some(sheet) = self.sheet() {
            sheet.put()?;
            self.saved(&sheet);
        }
        Ok(())
    }

    /// What is to be made durable; `None` where nothing was marked since.
    pub(super) fn sheet(&mut self) -> Option<Sheet> {
        let Self { disk, marks, unsaved, .. } = self;
        (*unsaved > 0).then(|| {
            marks.begin_at(0);
            Sheet { disk: disk.clone(), bytes: marks.encode(), marks: *unsaved }
        })
    }

    /// This is durable.
    pub(super) fn saved(&mut self, sheet: &Sheet) {
        self.unsaved = self.unsaved.saturating_sub(sheet.marks);
    }

    /// Saves, and gives the space of what is done back, where nobody has the log open; whoever has gives it back within
    /// seconds. Only whole files are given back, the oldest first. Says whether it was done here.
    ///
    /// # Errors
    /// The disk fails.
    pub fn give_back(mut self) -> io::Result<bool> {
        self.save()?;
        let settled = self.marks.begin_at(0);
        let disk = match RealDisk::at(self.disk.folder()) {
            Ok(disk) => disk,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        give_up_below(disk, settled)?;
        Ok(true)
    }
}

/// Settles what is below this number in a log that nobody else has open, and gives up the files that this leaves unused.
fn give_up_below(disk: impl Disk, settled: u64) -> io::Result<()> {
    // Segments as large as those that are there, so that one of them can become the spare one.
    let sizes = Survey::of(&disk)?.segments.iter().map(|segment| segment.size).max();
    let segment = sizes.unwrap_or(LogOptions::MIN_SIZE_BYTES / 8);
    let options = LogOptions::new(segment.saturating_mul(8)).segment_bytes(segment).memory_bytes(64 << 10);
    let log = Log::open(disk, options, &[tidegate_runtime::durable::READER], wall_nanos()).map_err(in_io)?;
    let Log { appender, mut committer, readers, .. } = log;
    for reader in &readers {
        reader.settler().settle(settled);
    }
    appender.close();
    committer.round(wall_nanos());
    match appender.health() {
        Health::Good => Ok(()),
        Health::Waiting(trouble) => Err(io::Error::other(trouble.to_string())),
    }
}

fn in_io(error: OpenError) -> io::Error {
    match error {
        OpenError::Disk { source, .. } => source,
        OpenError::Version { .. } | OpenError::Readers(_) => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_runtime::durable::{Fault, READER, SimulatedDisk};

    use super::*;
    use crate::testkit::folder;

    #[test]
    fn letters_with_one_cause_share_its_text() {
        let folder = folder();
        let mut marker = Marker::of(&Stock { folder: folder.path().to_owned() }).unwrap();
        (0..3).for_each(|number| marker.refused_again(number, "no such index"));
        let cause = |number| &marker.marks.renewal(number).unwrap().cause;
        assert!(Arc::ptr_eq(cause(0), cause(2)) && Arc::ptr_eq(cause(0), cause(1)));
        (3..2_000).for_each(|number| marker.refused_again(number, &number.to_string()));
        assert_eq!(marker.shared.len(), MOST_SHARED);
    }

    #[test]
    fn what_is_marked_while_marks_are_written_is_saved_with_the_next() {
        let folder = folder();
        let mut marker = Marker::of(&Stock { folder: folder.path().to_owned() }).unwrap();
        marker.done(5);
        let sheet = marker.sheet().unwrap();
        marker.done(7);
        sheet.put().unwrap();
        marker.saved(&sheet);
        let read = |marker: &Marker| Marks::read(&marker.disk, 0).unwrap();
        assert!(read(&marker).is_done(5) && !read(&marker).is_done(7));
        marker.save().unwrap();
        assert!(read(&marker).is_done(7) && marker.sheet().is_none());
    }

    #[test]
    fn that_space_could_not_be_given_back_is_said() {
        let disk = SimulatedDisk::new(1);
        let options = LogOptions::new(LogOptions::MIN_SIZE_BYTES).memory_bytes(64 << 10);
        let mut log = Log::open(disk.clone(), options, &[READER], 1).unwrap();
        log.appender.append(1, &Arc::from(&b"a letter"[..]), 1).unwrap();
        log.appender.close();
        log.committer.round(1);
        drop(log);
        let well = disk.fork(1);
        give_up_below(well.clone(), 1).unwrap();
        // Also where it is the round that fails, behind an open log.
        let said = (0..well.calls()).filter(|call| {
            let failing = disk.fork(1);
            failing.plan(*call, Fault::Failed);
            give_up_below(failing, 1).is_err_and(|error| error.to_string().contains("the disk failed to"))
        });
        assert!(said.count() > 0);
    }
}
