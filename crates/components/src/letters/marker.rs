//! [`Marker`]: what is done with letters one by one, beside whoever writes their log.

use std::io;

use tidegate_runtime::durable::{Log, LogOptions, MARKS_LOCK, Marks, OpenError, RealDisk, Renewal, Survey};

use super::Stock;
use crate::wiring::wall_nanos;

/// Marks letters as done, or as tried again. One at a time for each log, whoever has the log itself.
#[derive(Debug)]
pub struct Marker {
    disk: RealDisk,
    marks: Marks,
    /// Marked since they were last saved.
    unsaved: u64,
}

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
        Ok(Self { disk, marks, unsaved: 0 })
    }

    /// The letter was delivered, or is not wanted any more.
    pub fn done(&mut self, number: u64) {
        self.marks.done(number);
        self.unsaved += 1;
    }

    /// The letter was refused again, and stays.
    pub fn refused_again(&mut self, number: u64, cause: &str) {
        let attempts = self.marks.renewal(number).map_or(0, |renewal| renewal.attempts).saturating_add(1);
        self.marks.renew(number, Renewal { attempts, at: wall_nanos(), cause: cause.into() });
        self.unsaved += 1;
    }

    /// Makes durable what was marked. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails; what was marked is tried again by the next call.
    pub fn save(&mut self) -> io::Result<()> {
        if self.unsaved > 0 {
            self.marks.begin_at(0);
            self.marks.save(&self.disk)?;
            self.unsaved = 0;
        }
        Ok(())
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
        Ok(true)
    }
}

fn in_io(error: OpenError) -> io::Error {
    match error {
        OpenError::Disk { source, .. } => source,
        OpenError::Version { .. } | OpenError::Readers(_) => io::Error::other(error.to_string()),
    }
}
