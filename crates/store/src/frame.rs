//! One frame: a batch of records as it lies in a segment.
//!
//! ```text
//! offset size
//!      0    4  checksum: CRC-32 (IEEE 802.3) of bytes 4 .. 40 + length, begun from the segment's salt
//!      4    4  length of the payload in bytes, 1 or more
//!      8    8  number of the first record
//!     16    4  number of records, 1 or more
//!     20    4  flags: 1 = the records from `durable` to the first one were settled before they were written, or never
//!              acknowledged: they are missing nowhere
//!     24    8  when it was appended, nanoseconds since 1970
//!     32    8  durable: every record below this number was durable when this frame was written
//!     40       payload, padded with zeros to a multiple of 8
//! ```
//!
//! All numbers are little endian; frames begin at multiples of 8. The salt makes frames of a file's earlier life
//! invalid. `durable` tells a torn tail from a damaged middle: a valid frame after a damaged one says whether the
//! damaged one had been acknowledged.

use crc32fast::Hasher;

use crate::{SEQ_LIMIT, Seq};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 40;
/// The longest payload, in bytes: 256 MiB. A longer one is refused.
pub const MAX_PAYLOAD_BYTES: usize = 256 << 20;

/// The flag of a frame behind records that are not on disk and need not be.
const AFTER_GAP: u32 = 1;

/// What stands before the payload.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of payload.
    pub length: u32,
    /// Number of the first record.
    pub first: Seq,
    /// How many records.
    pub records: u32,
    /// When it was appended, in nanoseconds since 1970.
    pub time: u64,
    /// Every record below this number was durable when the frame was written.
    pub durable: Seq,
    /// Whether the records from `durable` to `first` are missing nowhere: nobody had to have them on disk any more.
    pub after_gap: bool,
}

impl Header {
    /// The number after its last record.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.first.saturating_add(u64::from(self.records))
    }

    /// The number that a segment must have come to before this frame: nothing is missing between then.
    #[must_use]
    pub fn follows(&self) -> Seq {
        if self.after_gap { self.durable } else { self.first }
    }

    /// Bytes that the whole frame takes in the segment.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(self.length as usize)
    }

    /// The header as it stands on the disk, with the checksum over itself and `payload`.
    #[must_use]
    pub fn encode(&self, salt: u32, payload: &[u8]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        bytes[20..24].copy_from_slice(&u32::from(self.after_gap).to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.to_le_bytes());
        let sum = checksum(salt, &bytes, payload);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header. `None` when no frame can begin like this; the checksum is not looked at ([`is_valid`]).
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let header = Self {
            length: u32_at(bytes, 4),
            first: u64_at(bytes, 8),
            records: u32_at(bytes, 16),
            time: u64_at(bytes, 24),
            durable: u64_at(bytes, 32),
            after_gap: u32_at(bytes, 20) == AFTER_GAP,
        };
        let plausible = header.length > 0
            && header.length as usize <= MAX_PAYLOAD_BYTES
            && header.records > 0
            && u32_at(bytes, 20) <= AFTER_GAP
            && header.durable <= header.first
            && header.first < SEQ_LIMIT;
        plausible.then_some(header)
    }
}

/// Bytes that a payload of this length takes in a segment, with header and padding.
#[must_use]
pub fn frame_bytes(payload: usize) -> u64 {
    ((HEADER_BYTES + payload) as u64).next_multiple_of(8)
}

/// Whether the checksum in `header` is that of header and payload.
#[must_use]
pub fn is_valid(salt: u32, header: &[u8; HEADER_BYTES], payload: &[u8]) -> bool {
    u32_at(header, 0) == checksum(salt, header, payload)
}

fn checksum(salt: u32, header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let mut hasher = begin_checksum(salt, header);
    hasher.update(payload);
    hasher.finalize()
}

/// The checksum of a frame whose payload comes in pieces.
pub(crate) fn begin_checksum(salt: u32, header: &[u8; HEADER_BYTES]) -> Hasher {
    let mut hasher = Hasher::new_with_initial(salt);
    hasher.update(&header[4..]);
    hasher
}

/// The little-endian number at `at`; zero when the bytes end before it.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The little-endian number at `at`; zero when the bytes end before it.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { length: 5, first: 70, records: 3, time: 9, durable: 68, after_gap: false }
    }

    #[test]
    fn a_header_reads_back() {
        let bytes = header().encode(7, b"hello");
        assert_eq!(Header::decode(&bytes), Some(header()));
        assert!(is_valid(7, &bytes, b"hello"));
        assert_eq!((header().end(), header().frame_bytes()), (73, 48));
    }

    #[test]
    fn every_flipped_bit_and_another_salt_are_noticed() {
        let bytes = header().encode(7, b"hello");
        assert!(!is_valid(8, &bytes, b"hello"), "another salt");
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let noticed = Header::decode(&flipped).is_none() || !is_valid(7, &flipped, b"hello");
            assert!(noticed, "bit {bit}");
        }
        assert!(!is_valid(7, &bytes, b"hellp"));
    }

    #[test]
    fn what_is_behind_a_gap_follows_what_was_durable() {
        let behind = Header { after_gap: true, ..header() };
        assert_eq!(Header::decode(&behind.encode(7, b"hello")), Some(behind));
        assert_eq!((header().follows(), behind.follows()), (70, 68));
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), None);
    }
}
