//! A checkpoint: the state of something in one file that is replaced whole, so that after a crash there is the old one or
//! the new one and never a part of either.
//!
//! ```text
//! names: state (what counts), state.new (being written), state.damaged (set aside)
//! offset size
//!      0    8  "tideckp\0"
//!      8    2  version of the format: 1
//!     10    2  zero
//!     12    4  what the state is: a number that its owner chose
//!     16    8  number of the checkpoint: each has one more than the last
//!     24    8  when it was written, in nanoseconds since 1970
//!     32    8  bytes of the state: n
//!     40    4  zero
//!     44    4  checksum: CRC-32 of bytes 0 .. 44
//!     48    n  the state
//! 48 + n    4  checksum: CRC-32 of the state
//! ```
//!
//! Written so: a new file, its bytes, a sync of it, its name in place of the old one, a sync of the names. A file whose sync
//! failed is never synced again: the next attempt makes another.

use std::io;

use crate::disk::{Disk, DiskFile};
use crate::frame::{u32_at, u64_at};

/// The checkpoint that counts.
const STATE: &str = "state";
/// One that is being written.
const NEW: &str = "state.new";
/// One that could not be read; the last such one is kept.
const DAMAGED: &str = "state.damaged";

const MAGIC: &[u8; 8] = b"tideckp\0";
const VERSION: u16 = 1;
/// Bytes before the state.
const HEAD_BYTES: usize = 48;
/// Bytes of a checksum.
const SUM_BYTES: usize = 4;

/// What a folder is for: the checkpoint of one owner, replaced by each save.
#[derive(Debug)]
pub struct Checkpoint<D: Disk> {
    disk: D,
    form: u32,
    number: u64,
}

/// What was there when a checkpoint was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No checkpoint.
    Nothing,
    /// A whole one.
    Saved {
        /// The state.
        state: Vec<u8>,
        /// When it was written, in nanoseconds since 1970.
        time: u64,
    },
    /// One that is damaged, of another version, or of something else. It was renamed to `state.damaged`.
    SetAside {
        /// What is wrong with it.
        why: String,
    },
    /// A whole one, as far as can be said, that is larger than may be read. It stays as it is.
    TooLarge {
        /// Bytes of its state.
        bytes: u64,
    },
}

impl<D: Disk> Checkpoint<D> {
    /// Looks for a checkpoint of the form `form`, and reads it if its state has at most `most` bytes.
    ///
    /// # Errors
    /// The disk fails. Nothing was changed, but that a damaged checkpoint may have been set aside.
    pub fn open(disk: D, form: u32, most: u64) -> io::Result<(Self, Found)> {
        let mut checkpoint = Self { disk, form, number: 0 };
        if !checkpoint.disk.names()?.iter().any(|name| name == STATE) {
            return Ok((checkpoint, Found::Nothing));
        }
        let found = match checkpoint.read(most)? {
            Ok(found) => found,
            Err(why) => {
                checkpoint.disk.rename(STATE, DAMAGED)?;
                checkpoint.disk.sync_names()?;
                Found::SetAside { why }
            }
        };
        Ok((checkpoint, found))
    }

    /// Sets the checkpoint aside that was found: its owner cannot read it.
    ///
    /// # Errors
    /// The disk fails, or there is none.
    pub fn set_aside(&mut self) -> io::Result<()> {
        self.disk.rename(STATE, DAMAGED)?;
        self.disk.sync_names()
    }

    /// Replaces the checkpoint. When this is done, the new one survives whatever happens to the process and the machine;
    /// `time` is the time of day.
    ///
    /// # Errors
    /// The disk fails. The old one or the new one is there; it is to be tried again, whole.
    pub fn save(&mut self, state: &[u8], time: u64) -> io::Result<()> {
        match self.disk.remove(NEW) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let bytes = state.len() as u64;
        let mut file = self.disk.create(NEW, bytes + (HEAD_BYTES + SUM_BYTES) as u64)?;
        let number = self.number + 1;
        file.write_at(0, &self.head(number, time, bytes))?;
        file.write_at(HEAD_BYTES as u64, state)?;
        file.write_at(HEAD_BYTES as u64 + bytes, &crc32fast::hash(state).to_le_bytes())?;
        file.sync()?;
        drop(file);
        self.disk.rename(NEW, STATE)?;
        self.number = number;
        self.disk.sync_names()
    }

    fn head(&self, number: u64, time: u64, bytes: u64) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[8..10].copy_from_slice(&VERSION.to_le_bytes());
        head[12..16].copy_from_slice(&self.form.to_le_bytes());
        head[16..24].copy_from_slice(&number.to_le_bytes());
        head[24..32].copy_from_slice(&time.to_le_bytes());
        head[32..40].copy_from_slice(&bytes.to_le_bytes());
        let sum = crc32fast::hash(&head[..44]);
        head[44..].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// Reads what is there. The inner error says what is wrong with it.
    fn read(&mut self, most: u64) -> io::Result<Result<Found, String>> {
        let file = self.disk.open(STATE)?;
        let size = file.size()?;
        let mut head = [0; HEAD_BYTES];
        if file.read_at(0, &mut head)? < HEAD_BYTES {
            return Ok(Err(format!("it has {size} bytes, fewer than its head")));
        }
        if &head[..8] != MAGIC {
            return Ok(Err("it is no checkpoint".to_owned()));
        }
        if u32_at(&head, 44) != crc32fast::hash(&head[..44]) {
            return Ok(Err("the checksum of its head is wrong".to_owned()));
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version != VERSION {
            return Ok(Err(format!("it is of version {version}, and this program reads version {VERSION}")));
        }
        if u32_at(&head, 12) != self.form {
            return Ok(Err("it is the state of another kind of component".to_owned()));
        }
        self.number = u64_at(&head, 16);
        let bytes = u64_at(&head, 32);
        if bytes.checked_add((HEAD_BYTES + SUM_BYTES) as u64) != Some(size) {
            return Ok(Err(format!("it has {size} bytes, and says that its state has {bytes}")));
        }
        if bytes > most {
            return Ok(Ok(Found::TooLarge { bytes }));
        }
        let mut state = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let mut sum = [0; SUM_BYTES];
        let whole = file.read_at(HEAD_BYTES as u64, &mut state)? == state.len()
            && file.read_at(HEAD_BYTES as u64 + bytes, &mut sum)? == SUM_BYTES
            && u32_at(&sum, 0) == crc32fast::hash(&state);
        let found = Found::Saved { state, time: u64_at(&head, 24) };
        Ok(if whole { Ok(found) } else { Err("the checksum of its state is wrong".to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimulatedDisk};

    const FORM: u32 = 7;

    fn open(disk: &SimulatedDisk) -> (Checkpoint<SimulatedDisk>, Found) {
        Checkpoint::open(disk.clone(), FORM, 1 << 20).unwrap()
    }

    fn found(disk: &SimulatedDisk) -> Option<Vec<u8>> {
        match open(disk).1 {
            Found::Nothing => None,
            Found::Saved { state, .. } => Some(state),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_saved_last_is_found() {
        let disk = SimulatedDisk::new(1);
        let (mut checkpoint, nothing) = open(&disk);
        assert_eq!(nothing, Found::Nothing);
        checkpoint.save(b"one", 10).unwrap();
        checkpoint.save(b"", 20).unwrap();
        assert_eq!(open(&disk).1, Found::Saved { state: Vec::new(), time: 20 });
        checkpoint.save(b"three", 30).unwrap();
        disk.crash();
        assert_eq!(open(&disk).1, Found::Saved { state: b"three".to_vec(), time: 30 });
        assert_eq!(Checkpoint::open(disk.clone(), FORM, 4).unwrap().1, Found::TooLarge { bytes: 5 });
        assert!(matches!(Checkpoint::open(disk.clone(), FORM + 1, 100).unwrap().1, Found::SetAside { .. }));
        assert_eq!(open(&disk).1, Found::Nothing);
    }

    /// How many calls one save makes.
    fn calls_of_a_save() -> u64 {
        let disk = SimulatedDisk::new(0);
        let (mut checkpoint, _) = open(&disk);
        checkpoint.save(b"old", 1).unwrap();
        let before = disk.calls();
        checkpoint.save(b"new", 2).unwrap();
        disk.calls() - before
    }

    #[test]
    fn whenever_the_power_goes_the_old_or_the_new_one_is_there_and_once_saved_the_new_one() {
        let calls = calls_of_a_save();
        assert!(calls >= 6, "{calls}");
        for seed in 0..200 {
            for call in 0..=calls {
                let disk = SimulatedDisk::new(seed);
                let (mut checkpoint, _) = open(&disk);
                checkpoint.save(b"old", 1).unwrap();
                disk.plan(disk.calls() + call, Fault::Power);
                let saved = checkpoint.save(b"new and longer", 2).is_ok();
                disk.mend();
                disk.crash();
                let got = found(&disk);
                let is_new = got.as_deref() == Some(b"new and longer");
                assert!(is_new || got.as_deref() == Some(b"old"), "seed {seed} call {call}: {got:?}");
                assert!(is_new || !saved, "seed {seed} call {call}: it was said to be saved");
            }
        }
    }

    #[test]
    fn a_call_that_fails_leaves_the_old_or_the_new_one_and_the_next_save_works() {
        for fault in [Fault::Failed, Fault::Full] {
            for call in 0..calls_of_a_save() {
                let disk = SimulatedDisk::new(call);
                let (mut checkpoint, _) = open(&disk);
                checkpoint.save(b"old", 1).unwrap();
                disk.plan(disk.calls() + call, fault);
                let failed = checkpoint.save(b"new", 2).is_err();
                let there = found(&disk);
                assert!(matches!(there.as_deref(), Some(b"old" | b"new")), "call {call}: {there:?}");
                assert!(failed || there.as_deref() == Some(b"new"), "call {call}");
                checkpoint.save(b"newer", 3).unwrap();
                disk.crash();
                assert_eq!(found(&disk).as_deref(), Some(b"newer".as_slice()), "{fault:?} at call {call}");
            }
        }
    }

    #[test]
    fn every_bit_that_flips_is_seen() {
        let disk = SimulatedDisk::new(3);
        open(&disk).0.save(b"some state", 5).unwrap();
        let mut file = disk.open(STATE).unwrap();
        for at in 0..file.size().unwrap() {
            let mut byte = [0];
            file.read_at(at, &mut byte).unwrap();
            file.write_at(at, &[byte[0] ^ 0x10]).unwrap();
            let found = open(&disk).1;
            assert!(matches!(found, Found::SetAside { .. }), "byte {at}: {found:?}");
            disk.rename(DAMAGED, STATE).unwrap();
            file.write_at(at, &byte).unwrap();
        }
        assert!(matches!(open(&disk).1, Found::Saved { .. }));
        assert!(matches!(open(&disk).1, Found::Saved { .. }), "looking changes nothing");
    }
}
