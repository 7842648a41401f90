//! By what a file is known: checksums of its first line and of what stands before a place in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

use super::Fingerprint;

/// The most that goes into the checksum of the first line.
const FIRST_BYTES: usize = 16 << 10;

/// The most that goes into the checksum of what stands before a place.
pub(super) const BEHIND_BYTES: usize = 256;

/// A checksum of a run of bytes.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) bytes: u32,
    pub(super) hash: u64,
}

impl Sum {
    /// Of these bytes: FNV-1a (Fowler, Noll and Vo).
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self {
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            hash: bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix),
        }
    }

    /// Of the last bytes of a run.
    pub(super) fn of_end(bytes: &[u8]) -> Self {
        Self::of(&bytes[bytes.len().saturating_sub(BEHIND_BYTES)..])
    }

    /// Whether the file has these bytes before `offset`.
    pub(super) fn stands_before(self, file: &File, offset: u64) -> io::Result<bool> {
        let mut bytes = vec![0; (self.bytes as usize).min(BEHIND_BYTES)];
        let Some(from) = offset.checked_sub(u64::from(self.bytes)) else { return Ok(false) };
        match file.read_exact_at(&mut bytes, from) {
            Ok(()) => Ok(Self::of(&bytes) == self),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The checksum of what stands before `offset` in a file.
pub(super) fn behind(file: &File, offset: u64) -> io::Result<Sum> {
    let length = offset.min(BEHIND_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(BEHIND_BYTES)];
    file.read_exact_at(&mut bytes, offset - length)?;
    Ok(Sum::of(&bytes))
}

/// The checksum of the first lines of a file; `None` where they are not complete yet.
pub(super) fn first(file: &File, spec: Fingerprint) -> io::Result<Option<Sum>> {
    let mut bytes = vec![0; FIRST_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], spec.ignored_header_bytes + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    let lines = spec.lines.max(1) as usize;
    let ends = bytes[..filled].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let end = ends.map(|(at, _)| at + 1).nth(lines - 1);
    Ok(match end {
        Some(end) => Some(Sum::of(&bytes[..end])),
        None if filled == FIRST_BYTES => Some(Sum::of(&bytes)),
        None => None,
    })
}
