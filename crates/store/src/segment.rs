//! One segment: a file of frames, allocated whole when it is made.
//!
//! ```text
//! name: <number, 16 hex digits>.segment
//! offset size
//!      0    8  "tideseg\0"
//!      8    2  version of the format: 1
//!     10    2  bytes of this header: 64
//!     12    4  salt of its frames
//!     16    8  number of the segment
//!     24    8  number of its first record; of the first one that is missing before it, where that is missing nowhere
//!     32    8  when it was begun, nanoseconds since 1970
//!     40    8  identity of the log
//!     48   12  zero
//!     60    4  checksum: CRC-32 of bytes 0 .. 60
//!     64       frames (see `frame`), then whatever was there before
//! ```
//!
//! The salt follows from the identity of the log and the number in the file's name, so that the frames of a segment
//! whose header was damaged can still be read. A segment ends where its last valid frame ends, or where the next
//! segment begins.

use crc32fast::Hasher;

use crate::frame::{self, u32_at, u64_at};
use crate::{SEQ_LIMIT, Seq};

/// Bytes before the first frame.
pub const HEADER_BYTES: usize = 64;
/// The version of the format that is written, and the only one that is read.
pub const VERSION: u16 = 1;
/// The file that waits to become the next segment.
pub const SPARE: &str = "spare.segment";

const MAGIC: &[u8; 8] = b"tideseg\0";

/// What stands at the beginning of a segment.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its number; segments are numbered upwards, and no number is used twice.
    pub number: u64,
    /// Number of its first record.
    pub first: Seq,
    /// When it was begun, in nanoseconds since 1970.
    pub time: u64,
    /// Identity of the log.
    pub log: u64,
}

/// Why a header was not understood.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BadHeader {
    /// Not a segment, torn, or damaged.
    Damaged,
    /// Whole, but of a version that this program does not know.
    Version(u16),
}

impl Header {
    /// The header as it stands on the disk.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&64_u16.to_le_bytes());
        bytes[12..16].copy_from_slice(&salt(self.log, self.number).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.time.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.log.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// Bytes that are no header, or one of another version.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BadHeader> {
        let is_whole = &bytes[..8] == MAGIC && u32_at(bytes, 60) == crc32fast::hash(&bytes[..60]);
        if !is_whole || u64_at(bytes, 24) >= SEQ_LIMIT {
            return Err(BadHeader::Damaged);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        Ok(Self {
            number: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            time: u64_at(bytes, 32),
            log: u64_at(bytes, 40),
        })
    }
}

/// The salt of the frames of segment `number` in log `log`.
#[must_use]
pub fn salt(log: u64, number: u64) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&log.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.finalize()
}

/// The name of the file of segment `number`.
#[must_use]
pub fn name(number: u64) -> String {
    format!("{number:016x}.segment")
}

/// The number of the segment in a file of this name; `None` when it is not a segment's.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// What a look at the frames from some offset on found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A whole frame.
    Frame(frame::Header),
    /// A damaged place, then, at this offset, a frame that shows that what is missing had been acknowledged.
    Damage {
        /// Where the next valid frame begins.
        resume: u64,
        /// Its header.
        header: frame::Header,
    },
    /// No more frames that count.
    End,
}

/// Looks at the bytes of a segment from offset `at` on, where the record `expected` should begin. Bytes past a
/// damaged place count only when no record is missing, or when the missing one was durable: because it is below
/// `durable`, or because a later frame says so.
///
/// # Cancel safety
/// Pure: reads the slice and nothing else.
#[must_use]
pub fn look(bytes: &[u8], at: u64, salt: u32, expected: Seq, durable: Seq) -> Found {
    // Where the header of the segment is damaged, what is expected may be within the first frame.
    let is_next = |header: &frame::Header| header.follows() <= expected && expected < header.end();
    if let Some(header) = valid_at(bytes, at, salt)
        && is_next(&header)
    {
        return Found::Frame(header);
    }
    let mut first_valid: Option<(u64, frame::Header)> = None;
    let mut offset = at;
    while offset + (frame::HEADER_BYTES as u64) <= bytes.len() as u64 {
        let Some(header) = valid_at(bytes, offset, salt).filter(|header| header.end() > expected) else {
            offset += 8;
            continue;
        };
        let (resume, resumed) = *first_valid.get_or_insert((offset, header));
        if is_next(&header) || header.durable.max(durable) > expected {
            return Found::Damage { resume, header: resumed };
        }
        offset += header.frame_bytes();
    }
    Found::End
}

fn valid_at(bytes: &[u8], at: u64, salt: u32) -> Option<frame::Header> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let head: &[u8; frame::HEADER_BYTES] = rest.get(..frame::HEADER_BYTES)?.try_into().ok()?;
    let header = frame::Header::decode(head)?;
    let payload = rest.get(frame::HEADER_BYTES..)?.get(..header.length as usize)?;
    frame::is_valid(salt, head, payload).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { number: 3, first: 40, time: 5, log: 77 }
    }

    fn put(bytes: &mut Vec<u8>, first: Seq, durable: Seq, payload: &[u8]) -> u64 {
        let at = bytes.len() as u64;
        let length = u32::try_from(payload.len()).unwrap();
        let head = frame::Header { length, first, records: 1, time: 0, durable, after_gap: false };
        bytes.extend(head.encode(9, payload));
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        at
    }

    #[test]
    fn a_header_reads_back_and_each_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Version(2)));
    }

    #[test]
    fn names_go_there_and_back() {
        assert_eq!(number(&name(0xab)), Some(0xab));
        assert_eq!(number("spare.segment"), None);
        assert_eq!(number("00.segment"), None);
    }

    #[test]
    fn a_torn_tail_ends_the_segment_a_damaged_middle_does_not() {
        let mut bytes = Vec::new();
        let torn = put(&mut bytes, 0, 0, b"aaaa");
        let unsynced = put(&mut bytes, 1, 0, b"bbbb");
        bytes[usize::try_from(torn).unwrap() + 41] ^= 1;
        assert_eq!(look(&bytes, torn, 9, 0, 0), Found::End, "frame 1 does not say that frame 0 was durable");
        assert!(matches!(look(&bytes, unsynced, 9, 1, 0), Found::Frame(_)));

        let proof = put(&mut bytes, 2, 2, b"cccc");
        let Found::Damage { resume, header } = look(&bytes, torn, 9, 0, 0) else { panic!("damage expected") };
        assert_eq!((resume, header.first), (unsynced, 1), "nothing valid is passed over");
        assert!(matches!(look(&bytes, proof, 9, 2, 0), Found::Frame(_)));
    }

    #[test]
    fn a_frame_with_the_wrong_number_is_not_taken() {
        let mut bytes = Vec::new();
        put(&mut bytes, 5, 0, b"stale");
        assert_eq!(look(&bytes, 0, 9, 4, 0), Found::End);
    }
}
