//! The cursors of a log's readers: two files, written in turn, the newer valid one counts.
//!
//! ```text
//! names: cursors.a, cursors.b
//! offset size
//!      0    8  "tidecur\0"
//!      8    2  version of the format: 1
//!     10    2  number of entries, at most 64
//!     12    4  zero
//!     16    8  generation: the larger one is the newer
//!     24    8  identity of the log
//!     32    8  durable: every record below this number was durable when this was written
//!     40 56*n  entries: length of the name (1), name (47, zeros behind it), number of the first unsettled record (8)
//!   4092    4  checksum: CRC-32 of bytes 0 .. 4092
//! ```
//!
//! Both are allocated when the log is made, so that a full disk can be drained.

use std::collections::BTreeMap;

use crate::frame::{u32_at, u64_at};
use crate::{SEQ_LIMIT, Seq};

/// Bytes of a cursor file.
pub const SLOT_BYTES: usize = 4096;
/// The most readers that a log can have.
pub const MAX_READERS: usize = 64;
/// The longest name of a reader, in bytes.
pub const MAX_NAME_BYTES: usize = 47;
/// The two files.
pub const NAMES: [&str; 2] = ["cursors.a", "cursors.b"];

const MAGIC: &[u8; 8] = b"tidecur\0";
const VERSION: u16 = 1;
const ENTRIES_AT: usize = 40;
const ENTRY_BYTES: usize = 56;

/// Where every reader stands, as one slot says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursors {
    /// The larger one is the newer.
    pub generation: u64,
    /// Identity of the log.
    pub log: u64,
    /// Every record below this number was durable when this was written.
    pub durable: Seq,
    /// Per reader, the number of the first record that is not settled.
    pub readers: BTreeMap<String, Seq>,
}

impl Cursors {
    /// The slot as it stands on the disk. Names and numbers beyond the limits are left out; [`name_fits`] says so
    /// beforehand.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let entries: Vec<_> = self.readers.iter().filter(|(name, _)| name_fits(name)).take(MAX_READERS).collect();
        let count = u16::try_from(entries.len()).unwrap_or(0);
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.log.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.to_le_bytes());
        for ((name, next), entry) in entries.into_iter().zip(bytes[ENTRIES_AT..].chunks_exact_mut(ENTRY_BYTES)) {
            entry[0] = u8::try_from(name.len()).unwrap_or(0);
            entry[1..=name.len()].copy_from_slice(name.as_bytes());
            entry[48..].copy_from_slice(&next.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..SLOT_BYTES - 4]);
        bytes[SLOT_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a slot; `None` when it is torn, damaged, or was never written.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SLOT_BYTES)?;
        let whole = &bytes[..8] == MAGIC
            && u16::from_le_bytes([bytes[8], bytes[9]]) == VERSION
            && u32_at(bytes, SLOT_BYTES - 4) == crc32fast::hash(&bytes[..SLOT_BYTES - 4]);
        let count = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        if !whole || count > MAX_READERS {
            return None;
        }
        let mut readers = BTreeMap::new();
        for entry in bytes[ENTRIES_AT..].chunks_exact(ENTRY_BYTES).take(count) {
            let name = entry.get(1..=usize::from(entry[0]).min(MAX_NAME_BYTES))?;
            readers.insert(String::from_utf8(name.to_vec()).ok()?, u64_at(entry, 48));
        }
        let cursors =
            Self { generation: u64_at(bytes, 16), log: u64_at(bytes, 24), durable: u64_at(bytes, 32), readers };
        let is_sane = |number: &Seq| *number < SEQ_LIMIT;
        let numbers = cursors.readers.values().chain([&cursors.durable, &cursors.generation]).all(is_sane);
        numbers.then_some(cursors)
    }

    /// The newer of the slots that are whole.
    #[must_use]
    pub fn newest(slots: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        slots.into_iter().flatten().max_by_key(|cursors| cursors.generation)
    }

    /// The slot that the next generation overwrites: never the newest.
    #[must_use]
    pub fn next_slot(&self) -> usize {
        usize::from((self.generation + 1) % 2 == 1)
    }
}

/// Whether a reader can have this name: 1 to 47 bytes.
#[must_use]
pub fn name_fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(generation: u64) -> Cursors {
        let readers = [("search".to_owned(), 17), ("archive".to_owned(), 4)].into();
        Cursors { generation, log: 5, durable: 20, readers }
    }

    #[test]
    fn a_slot_reads_back() {
        assert_eq!(Cursors::decode(&cursors(3).encode()), Some(cursors(3)));
    }

    #[test]
    fn the_most_readers_with_the_longest_names_fit() {
        let readers = (0..MAX_READERS as u64).map(|n| (format!("{n:047}"), n)).collect();
        let full = Cursors { readers, ..cursors(1) };
        assert_eq!(Cursors::decode(&full.encode()), Some(full));
    }

    #[test]
    fn a_slot_torn_at_any_byte_is_not_taken() {
        let (old, new) = (cursors(3).encode(), Cursors { durable: 99, ..cursors(5) }.encode());
        for torn in 1..SLOT_BYTES {
            let mut bytes = old;
            bytes[..torn].copy_from_slice(&new[..torn]);
            let read = Cursors::decode(&bytes);
            assert!(read.is_none() || bytes == new || bytes == old, "torn at {torn}");
        }
    }

    #[test]
    fn the_newer_slot_counts_and_is_never_the_one_overwritten() {
        let newest = Cursors::newest([Some(cursors(4)), None, Some(cursors(5))]).unwrap();
        assert_eq!(newest.generation, 5);
        for generation in 0..6 {
            assert_ne!(cursors(generation).next_slot(), cursors(generation + 1).next_slot());
        }
    }
}
