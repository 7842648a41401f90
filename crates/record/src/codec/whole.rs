//! How far files of compressed parts are whole: members of gzip, frames of Zstandard, one behind the other.
//!
//! A part does not say how long it is, so that to know whether the last one is whole, all must be read. Who appends parts
//! therefore puts [`end_mark`] behind each: a part with nothing in it, which readers pass over, and by which the end of a
//! file is known by its last few bytes.

use std::io::{self, BufRead, Seek};

use flate2::bufread::GzDecoder;

use super::compress::Compression;

/// A gzip member (RFC 1952) with nothing in it.
const GZIP: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A Zstandard frame (RFC 8878) with nothing in it but a checksum.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x24, 0, 1, 0, 0, 0x99, 0xe9, 0xd8, 0x51];

/// A part with nothing in it, to be put behind what is appended; nothing where parts cannot stand one behind the other.
#[must_use]
pub const fn end_mark(compression: Compression) -> &'static [u8] {
    match compression {
        Compression::Gzip => GZIP,
        Compression::Zstd => ZSTD,
        Compression::None | Compression::Zlib => &[],
    }
}

/// Where the last part that is whole ends, in bytes from the beginning of `from`. Reads and unpacks up to there, and keeps
/// nothing of it; the window of the decompressor is all that it holds.
///
/// # Errors
/// What is behind `from` cannot be read. That a part is broken or cut off is no error, but the answer.
pub fn whole_end(compression: Compression, mut from: impl BufRead + Seek) -> io::Result<u64> {
    loop {
        let at = from.stream_position()?;
        if from.fill_buf()?.is_empty() {
            return Ok(at);
        }
        match pass_over(compression, &mut from) {
            Ok(()) => {}
            // What the system says is about the file, anything else about what is in it.
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(_) => return Ok(at),
        }
    }
}

/// Reads one part.
fn pass_over(compression: Compression, from: &mut impl BufRead) -> io::Result<()> {
    let mut nowhere = io::sink();
    match compression {
        Compression::Gzip => io::copy(&mut GzDecoder::new(from), &mut nowhere).map(drop),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(from)?.single_frame();
            decoder.window_log_max(23)?;
            io::copy(&mut decoder, &mut nowhere).map(drop)
        }
        Compression::None | Compression::Zlib => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;
    use crate::codec::compress::{Limits, compress, decompress};

    #[test]
    fn a_file_is_whole_up_to_the_last_part_that_is_wherever_it_is_cut() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let parts = ["one\n", "two\n", &"three ".repeat(100)].map(|text| compress(compression, text.as_bytes()));
            let mut file = Vec::new();
            let mut ends = vec![0];
            for part in parts {
                file.extend_from_slice(&part.unwrap());
                ends.push(file.len());
                file.extend_from_slice(end_mark(compression));
                ends.push(file.len());
            }
            for cut in 0..=file.len() {
                let found = whole_end(compression, BufReader::with_capacity(7, Cursor::new(&file[..cut]))).unwrap();
                let expected = ends.iter().rev().find(|end| **end <= cut).unwrap();
                assert_eq!(found, *expected as u64, "{compression:?} cut at {cut}");
            }
            let text = decompress(compression, &file, Limits::default()).unwrap();
            assert!(text.starts_with(b"one\ntwo\nthree three"), "marks are passed over");
            assert_eq!(whole_end(compression, Cursor::new(b"no part at all")).unwrap(), 0);
        }
    }
}
