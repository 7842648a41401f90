//! [`Marks`]: what was done with records of a log from outside, one by one, beside the process that writes the log.
//!
//! Who looks through a log that another process has open (dead letters, a buffer whose component is gone) must not touch
//! its cursors. It keeps a file of its own in the folder, under a lock of its own; the writer of the log reads the number
//! in it below which everything is done, and gives space up accordingly.
//!
//! ```text
//! names: marks, marks.new (until it is whole), marks.lock (empty; locked by who writes the others)
//! offset size
//!      0    8  "tidemark"
//!      8    2  version of the format: 1
//!     10    6  zero
//!     16    8  identity of the log
//!     24    8  settled: every record below this number is done
//!     32    8  number of ranges
//!     40    8  number of causes
//!     48    8  number of renewals
//!     56    4  checksum: CRC-32 of all bytes from offset 64 on
//!     60    4  checksum: CRC-32 of bytes 0 .. 60
//!     64 16*n  ranges that are done: first number (8), number after the last (8), in order, apart from one another
//!              causes: length (4), UTF-8
//!       24*n  renewals, in order of their numbers: number (8), attempts (4), cause (4), time (8)
//! ```
//!
//! All numbers are little endian. The file is written whole, synced, and put into its place, so a reader sees the old one
//! or the new one. One that is damaged, or of another log, counts as none: what was done is then done again.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use crate::Seq;
use crate::cursor::{Cursors, NAMES, SLOT_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::frame::{u32_at, u64_at};

/// The file.
pub const MARKS: &str = "marks";
/// What is locked by who writes it.
pub const MARKS_LOCK: &str = "marks.lock";
/// The next file, until it is whole.
const FRESH: &str = "marks.new";

const MAGIC: &[u8; 8] = b"tidemark";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 64;

/// Whether a file of this name belongs to the marks beside a log.
#[must_use]
pub fn is_of_marks(name: &str) -> bool {
    [MARKS, MARKS_LOCK, FRESH].contains(&name)
}

/// What was done with records of a log from outside. In memory some 64 bytes a range and a renewal, and the text of each
/// cause: once for all renewals that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    log: u64,
    settled: Seq,
    /// The number after the last, by the first.
    done: BTreeMap<Seq, Seq>,
    renewed: BTreeMap<Seq, Renewal>,
}

/// What came of a record that was tried again and stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// How often it was tried since it came into the log.
    pub attempts: u32,
    /// When that was last, in nanoseconds since 1970.
    pub at: u64,
    /// What was wrong the last time. Of those that are read from disk equal ones are one; who renews sees to the others.
    pub cause: Arc<str>,
}

impl Marks {
    /// None yet, of the log with this identity.
    #[must_use]
    pub const fn new(log: u64) -> Self {
        Self { log, settled: 0, done: BTreeMap::new(), renewed: BTreeMap::new() }
    }

    /// Those beside the log with this identity; none where there is no file, or one that is damaged or of another log.
    ///
    /// # Errors
    /// The disk fails.
    pub fn read(disk: &impl Disk, log: u64) -> io::Result<Self> {
        let read = match disk.open(MARKS) {
            Ok(file) => Self::decode(&bytes_of(&file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(read.filter(|marks| marks.log == log).unwrap_or(Self::new(log)))
    }

    /// Makes them durable, in the place of those before.
    ///
    /// # Errors
    /// The disk fails; then those before are there.
    pub fn save(&self, disk: &impl Disk) -> io::Result<()> {
        Self::put(disk, &self.encode())
    }

    /// Makes what [`encode`](Self::encode) gave durable, in the place of those before. One at a time for each folder.
    ///
    /// # Errors
    /// The disk fails; then those before are there.
    pub fn put(disk: &impl Disk, bytes: &[u8]) -> io::Result<()> {
        match disk.remove(FRESH) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = disk.create(FRESH, bytes.len() as u64)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        disk.rename(FRESH, MARKS)?;
        disk.sync_names()
    }

    /// The number below which everything is done, as the newest marks of the log in this folder say. `None`: there are
    /// none, or none of this log. Reads three small pieces.
    ///
    /// # Errors
    /// The disk fails.
    pub fn settled_in(disk: &impl Disk) -> io::Result<Option<Seq>> {
        let head = match disk.open(MARKS) {
            Ok(file) => {
                let mut head = [0; HEADER_BYTES];
                let read = file.read_at(0, &mut head)?;
                Header::decode(&head[..read])
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(head) = head else { return Ok(None) };
        let mut slots = Vec::new();
        for name in NAMES {
            match disk.open(name) {
                Ok(file) => {
                    let mut slot = [0; SLOT_BYTES];
                    let read = file.read_at(0, &mut slot)?;
                    slots.push(Cursors::decode(&slot[..read]));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Cursors::newest(slots).filter(|cursors| cursors.log == head.log).map(|_| head.settled))
    }

    /// The number after the last record of the log with this identity that the marks know of; zero where there are none. A
    /// log gives out none below it when it is opened: the record may have been marked before it was durable.
    ///
    /// # Errors
    /// The disk fails.
    pub fn end_in(disk: &impl Disk, log: u64) -> io::Result<Seq> {
        let marks = Self::read(disk, log)?;
        let done = marks.done.last_key_value().map_or(0, |(_, end)| *end);
        let renewed = marks.renewed.last_key_value().map_or(0, |(number, _)| number.saturating_add(1));
        // The head alone counts too, as for who gives space up.
        let settled = Self::settled_in(disk)?.unwrap_or(0).max(marks.settled);
        Ok(settled.max(done).max(renewed))
    }

    /// Whether a record is done.
    #[must_use]
    pub fn is_done(&self, number: Seq) -> bool {
        number < self.settled || self.done.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// What came of a record that was tried again.
    #[must_use]
    pub fn renewal(&self, number: Seq) -> Option<&Renewal> {
        self.renewed.get(&number)
    }

    /// A record is done.
    pub fn done(&mut self, number: Seq) {
        if self.is_done(number) {
            return;
        }
        self.renewed.remove(&number);
        let (mut first, mut end) = (number, number + 1);
        if let Some((before, until)) = self.done.range(..=number).next_back()
            && *until == number
        {
            first = *before;
        }
        if let Some(behind) = self.done.remove(&end) {
            end = behind;
        }
        self.done.insert(first, end);
    }

    /// A record was tried again, and stays.
    pub fn renew(&mut self, number: Seq, renewal: Renewal) {
        if !self.is_done(number) {
            self.renewed.insert(number, renewal);
        }
    }

    /// The log begins with this record now: what was before is done. Then everything below what is returned is.
    pub fn begin_at(&mut self, oldest: Seq) -> Seq {
        self.settled = self.settled.max(oldest);
        while let Some(range) = self.done.first_entry().filter(|range| *range.key() <= self.settled) {
            self.settled = self.settled.max(range.remove());
        }
        self.renewed = self.renewed.split_off(&self.settled);
        self.settled
    }

    /// The file, as it stands on the disk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut causes: Vec<&Arc<str>> = Vec::new();
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        for renewal in self.renewed.values() {
            numbers.entry(&renewal.cause).or_insert_with(|| {
                causes.push(&renewal.cause);
                u32::try_from(causes.len() - 1).unwrap_or(0)
            });
        }
        let mut bytes = vec![0; HEADER_BYTES];
        for (first, end) in &self.done {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        for cause in &causes {
            bytes.extend_from_slice(&u32::try_from(cause.len()).unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(cause.as_bytes());
        }
        for (number, renewal) in &self.renewed {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&renewal.attempts.to_le_bytes());
            bytes.extend_from_slice(&numbers.get(&*renewal.cause).copied().unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(&renewal.at.to_le_bytes());
        }
        let head = Header {
            log: self.log,
            settled: self.settled,
            ranges: self.done.len() as u64,
            causes: causes.len() as u64,
            renewals: self.renewed.len() as u64,
            sum: crc32fast::hash(&bytes[HEADER_BYTES..]),
        };
        bytes[..HEADER_BYTES].copy_from_slice(&head.encode());
        bytes
    }

    /// Reads the file; `None` where it is torn, damaged, or of another version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let head = Header::decode(bytes)?;
        let mut rest = bytes.get(HEADER_BYTES..).filter(|rest| crc32fast::hash(rest) == head.sum)?;
        let mut marks = Self { settled: head.settled, ..Self::new(head.log) };
        for _ in 0..head.ranges {
            let range = take(&mut rest, 16)?;
            marks.done.insert(u64_at(range, 0), u64_at(range, 8));
        }
        let mut causes: Vec<Arc<str>> = Vec::new();
        for _ in 0..head.causes {
            let length = u32_at(take(&mut rest, 4)?, 0) as usize;
            causes.push(std::str::from_utf8(take(&mut rest, length)?).ok()?.into());
        }
        for _ in 0..head.renewals {
            let renewal = take(&mut rest, 24)?;
            let cause = Arc::clone(causes.get(u32_at(renewal, 12) as usize)?);
            let known = Renewal { attempts: u32_at(renewal, 8), at: u64_at(renewal, 16), cause };
            marks.renewed.insert(u64_at(renewal, 0), known);
        }
        rest.is_empty().then_some(marks)
    }
}

/// What stands at the beginning of the file.
struct Header {
    log: u64,
    settled: Seq,
    ranges: u64,
    causes: u64,
    renewals: u64,
    sum: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        for (at, number) in [self.log, self.settled, self.ranges, self.causes, self.renewals].into_iter().enumerate() {
            bytes[16 + 8 * at..24 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        bytes[56..60].copy_from_slice(&self.sum.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let is_whole = &bytes[..8] == MAGIC
            && u16::from_le_bytes([bytes[8], bytes[9]]) == VERSION
            && u32_at(bytes, 60) == crc32fast::hash(&bytes[..60]);
        is_whole.then(|| Self {
            log: u64_at(bytes, 16),
            settled: u64_at(bytes, 24),
            ranges: u64_at(bytes, 32),
            causes: u64_at(bytes, 40),
            renewals: u64_at(bytes, 48),
            sum: u32_at(bytes, 56),
        })
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn bytes_of(file: &impl DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX)];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    fn renewal(attempts: u32, cause: &str) -> Renewal {
        Renewal { attempts, at: 77, cause: cause.into() }
    }

    #[test]
    fn numbers_become_ranges_and_the_first_of_them_what_is_settled() {
        let mut marks = Marks::new(9);
        for number in [5, 7, 6, 1, 5, 10] {
            marks.done(number);
        }
        assert_eq!(marks.done, BTreeMap::from([(1, 2), (5, 8), (10, 11)]));
        assert!([1, 5, 6, 7, 10].iter().all(|number| marks.is_done(*number)));
        assert!([0, 2, 4, 8, 9, 11].iter().all(|number| !marks.is_done(*number)));
        assert_eq!(marks.begin_at(0), 0, "record 0 is not done");
        assert_eq!(marks.begin_at(4), 4, "the log gave up those before");
        marks.done(4);
        assert_eq!(marks.begin_at(0), 8);
        assert!(marks.is_done(0) && marks.is_done(7) && !marks.is_done(8));
        assert_eq!(marks.done, BTreeMap::from([(10, 11)]));
    }

    #[test]
    fn what_stays_keeps_how_often_it_was_tried_until_it_is_done() {
        let mut marks = Marks::new(9);
        marks.renew(3, renewal(1, "no"));
        marks.renew(3, renewal(2, "still no"));
        marks.renew(4, renewal(1, "no"));
        assert_eq!(marks.renewal(3), Some(&renewal(2, "still no")));
        marks.done(3);
        marks.renew(3, renewal(3, "late"));
        assert_eq!((marks.renewal(3), marks.renewal(4)), (None, Some(&renewal(1, "no"))));
        marks.begin_at(5);
        assert_eq!(marks.renewal(4), None);
    }

    #[test]
    fn they_read_back_and_each_flipped_bit_and_each_cut_is_noticed() {
        let mut marks = Marks::new(9);
        [2, 3, 9].into_iter().for_each(|number| marks.done(number));
        marks.renew(4, renewal(2, "no"));
        marks.renew(6, renewal(1, "never"));
        marks.renew(8, renewal(7, "no"));
        let bytes = marks.encode();
        assert_eq!(Marks::decode(&bytes), Some(marks));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Marks::decode(&flipped), None, "bit {bit}");
        }
        assert!((0..bytes.len()).all(|end| Marks::decode(&bytes[..end]).is_none()));
    }

    #[test]
    fn a_power_cut_leaves_the_marks_before_or_the_new_ones() {
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            let mut marks = Marks::new(9);
            marks.done(1);
            marks.save(&disk).unwrap();
            let before = marks.clone();
            marks.done(2);
            disk.plan(disk.calls() + seed % 8, crate::disk::Fault::Power);
            let saved = marks.save(&disk);
            disk.crash();
            let read = Marks::read(&disk, 9).unwrap();
            assert!(read == marks || (saved.is_err() && read == before), "seed {seed}: {read:?}");
            assert_eq!(Marks::read(&disk, 8).unwrap(), Marks::new(8), "of another log");
        }
    }
}
