//! Compression of what is sent, and bounded decompression of what was received.

use std::fmt;
use std::io::{self, Write};

use flate2::write::{GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder};

/// How bytes are compressed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952), level 6.
    Gzip,
    /// zlib (RFC 1950), level 6.
    Zlib,
    /// Zstandard (RFC 8878), level 3.
    Zstd,
}

impl Compression {
    /// The name in `Content-Encoding`, where there is one.
    #[must_use]
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zlib => Some("deflate"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// By its name in `Content-Encoding`.
    #[must_use]
    pub fn from_content_encoding(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::None),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Zlib),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Compresses a stream into a buffer.
pub struct Compressor(Inner);

enum Inner {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zlib(ZlibEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// A stream that is written to `buffer` (emptied first).
    ///
    /// # Errors
    /// The compressor has no memory.
    pub fn new(compression: Compression, mut buffer: Vec<u8>) -> Result<Self, CompressError> {
        buffer.clear();
        Ok(Self(match compression {
            Compression::None => Inner::Plain(buffer),
            Compression::Gzip => Inner::Gzip(GzEncoder::new(buffer, flate2::Compression::new(6))),
            Compression::Zlib => Inner::Zlib(ZlibEncoder::new(buffer, flate2::Compression::new(6))),
            Compression::Zstd => Inner::Zstd(zstd::stream::write::Encoder::new(buffer, 3).map_err(CompressError::new)?),
        }))
    }

    /// Takes more.
    ///
    /// # Errors
    /// The compressor failed; the stream is lost.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CompressError> {
        match &mut self.0 {
            Inner::Plain(out) => out.write_all(bytes),
            Inner::Gzip(out) => out.write_all(bytes),
            Inner::Zlib(out) => out.write_all(bytes),
            Inner::Zstd(out) => out.write_all(bytes),
        }
        .map_err(CompressError::new)
    }

    /// What was written so far, to be taken out and sent; the stream goes on. More may be held back until
    /// [`flush`](Self::flush).
    pub fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.0 {
            Inner::Plain(out) => out,
            Inner::Gzip(out) => out.get_mut(),
            Inner::Zlib(out) => out.get_mut(),
            Inner::Zstd(out) => out.get_mut(),
        }
    }

    /// Brings out all that was taken so far, so that a reader can read it. Costs some of the ratio.
    ///
    /// # Errors
    /// The compressor failed; the stream is lost.
    pub fn flush(&mut self) -> Result<(), CompressError> {
        match &mut self.0 {
            Inner::Plain(_) => Ok(()),
            Inner::Gzip(out) => out.flush(),
            Inner::Zlib(out) => out.flush(),
            Inner::Zstd(out) => out.flush(),
        }
        .map_err(CompressError::new)
    }

    /// Ends the stream and gives what is left of the output.
    ///
    /// # Errors
    /// The compressor failed; the stream is lost.
    pub fn finish(self) -> Result<Vec<u8>, CompressError> {
        match self.0 {
            Inner::Plain(out) => Ok(out),
            Inner::Gzip(out) => out.finish(),
            Inner::Zlib(out) => out.finish(),
            Inner::Zstd(out) => out.finish(),
        }
        .map_err(CompressError::new)
    }
}

/// Compresses `bytes` in one go.
///
/// # Errors
/// The compressor failed.
pub fn compress(compression: Compression, bytes: &[u8]) -> Result<Vec<u8>, CompressError> {
    compress_into(compression, bytes, Vec::new())
}

/// Compresses `bytes` in one go into `buffer`, which is emptied first. With room for [`compressed_most`] bytes it does not
/// grow.
///
/// # Errors
/// The compressor failed; the buffer is lost.
pub fn compress_into(compression: Compression, bytes: &[u8], buffer: Vec<u8>) -> Result<Vec<u8>, CompressError> {
    let mut stream = Compressor::new(compression, buffer)?;
    stream.write(bytes)?;
    stream.finish()
}

/// The most that so many bytes become when they are compressed, whatever they are: the bounds of deflate and Zstandard,
/// rounded up.
#[must_use]
pub const fn compressed_most(bytes: usize) -> usize {
    bytes.saturating_add(bytes / 128).saturating_add(1024)
}

/// Why nothing could be compressed: an error of this machine, not of the data. To be retried with a new stream.
#[derive(Debug)]
pub struct CompressError(io::Error);

impl CompressError {
    fn new(error: io::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot compress: {}", self.0)
    }
}

impl std::error::Error for CompressError {}

/// How much may come out of compressed input.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of output at most.
    pub bytes: usize,
    /// Bytes of output for a byte of input at most, above the first MiB of output.
    pub ratio: usize,
}

impl Default for Limits {
    /// 16 MiB, 200 times the input. Logs compress by 10 to 50.
    fn default() -> Self {
        Self { bytes: 16 << 20, ratio: 200 }
    }
}

/// Output up to this size is always let through, whatever the ratio, in bytes.
const ALWAYS_FINE: usize = 1 << 20;

/// Why compressed input was refused: an error of who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecompressError {
    /// It is not what it says it is, or it is cut off. What the decoder says.
    Broken(String),
    /// More than so many bytes came out of it.
    TooLarge(usize),
    /// More than so many times its own size came out of it.
    TooDense(usize),
    /// Whoever was given what came out of it did not take it.
    NotTaken,
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => write!(f, "broken compressed data: {why}"),
            Self::TooLarge(limit) => write!(f, "compressed data of more than {limit} bytes; send smaller requests"),
            Self::TooDense(ratio) => write!(f, "compressed data of more than {ratio} times its size"),
            Self::NotTaken => f.write_str("there is no room for what the compressed data holds"),
        }
    }
}

impl std::error::Error for DecompressError {}

/// What `input` was before it was compressed. Never makes more than `limits` say.
///
/// # Errors
/// Broken input, or one of the limits; see [`DecompressError`].
pub fn decompress(compression: Compression, input: &[u8], limits: Limits) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress_to(compression, input, limits, &mut |part| {
        out.extend_from_slice(part);
        true
    })?;
    Ok(out)
}

/// Like [`decompress`], part by part, as it comes out: `take` says whether it has taken the part, or all is to end. So
/// whoever pays for memory can do so before it is filled.
///
/// # Errors
/// As for [`decompress`], and [`DecompressError::NotTaken`] where `take` says no.
pub fn decompress_to(
    compression: Compression,
    input: &[u8],
    limits: Limits,
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), DecompressError> {
    let dense = input.len().saturating_mul(limits.ratio).max(ALWAYS_FINE);
    let mut out = Bounded { take, left: limits.bytes.min(dense), is_over: false, is_refused: false };
    let done = match compression {
        Compression::None => out.write_all(input),
        Compression::Gzip => {
            let mut decoder = MultiGzDecoder::new(&mut out);
            decoder.write_all(input).and_then(|()| decoder.try_finish())
        }
        Compression::Zlib => {
            let mut decoder = ZlibDecoder::new(&mut out);
            decoder.write_all(input).and_then(|()| decoder.try_finish())
        }
        Compression::Zstd => unzstd(input, &mut out),
    };
    if out.is_refused {
        return Err(DecompressError::NotTaken);
    }
    if out.is_over {
        return Err(if limits.bytes <= dense {
            DecompressError::TooLarge(limits.bytes)
        } else {
            DecompressError::TooDense(limits.ratio)
        });
    }
    done.map_err(|error| DecompressError::Broken(error.to_string()))
}

fn unzstd(input: &[u8], out: &mut Bounded<'_>) -> io::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    // The window is memory too: no more of it than 8 MiB, which every encoder stays within by default.
    decoder.window_log_max(23)?;
    io::copy(&mut decoder, out).map(drop)
}

/// Passes on what comes out, up to a limit.
struct Bounded<'a> {
    take: &'a mut dyn FnMut(&[u8]) -> bool,
    left: usize,
    is_over: bool,
    is_refused: bool,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over || self.is_refused {
            return Err(io::Error::other("it was given up"));
        }
        if bytes.len() > self.left {
            self.is_over = true;
            return Err(io::Error::other("more than the limit"));
        }
        if !(self.take)(bytes) {
            self.is_refused = true;
            return Err(io::Error::other("not taken"));
        }
        self.left -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
