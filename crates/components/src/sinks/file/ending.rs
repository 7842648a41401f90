//! [`Ending`]: how the end of a file is known to be whole, and what is done about one that is not.
//!
//! A process that is killed while it writes leaves part of what it wrote. None of that was accepted, as a batch is accepted
//! when all of it is written; but whoever appends to it makes one line of two. So when a file is opened, its end is looked
//! at first:
//!
//! * A line that lacks only its delimiter (a whole object, where objects are written) is given one.
//! * Anything else behind the last whole record is put aside: appended to the file of the same name with `.torn` behind
//!   it, and cut off. It is the part of a record that comes again, or somebody else's; in either case nothing is lost.
//! * So much that no batch of ours can have been that large is somebody else's. Where records have delimiters it is given
//!   one; else the file is none of ours, and is not written to.
//!
//! Where another process has the file open, nothing is cut off, as it may be about to write the rest. Its torn end is looked
//! at again with the next try; if that is still the same, nobody is writing there: it is given a delimiter, and where there
//! are none the file is not written to before the other process has closed it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::IgnoredAny;
use tidegate_record::codec::compress::Compression;
use tidegate_record::codec::whole::{end_mark, whole_end};
use tidegate_record::codec::{Codec, EncodeFraming, Encoder};

use crate::contract::Counter;

/// A line without an end that is longer is no part of a batch.
const MOST_TORN: u64 = 256 << 20;

/// How much is read at once on the way back to the last delimiter.
const BLOCK: usize = 16 << 10;

/// How the end of a file is known to be whole.
#[derive(Copy, Clone, Debug)]
pub(in crate::sinks) enum Ending {
    /// A delimiter stands behind each record, which is an object or a text.
    Delimiter { byte: u8, codec: Codec },
    /// Its length stands before each record, as these say; to know the end, all of the file is passed over.
    Lengths(EncodeFraming),
    /// The file is one of compressed parts.
    Parts(Compression),
    /// By nothing.
    Unknown,
}

impl Ending {
    pub(in crate::sinks) fn of(encoder: Encoder, compression: Compression) -> Self {
        match (compression, encoder.delimiter(), encoder.framing) {
            (Compression::Gzip | Compression::Zstd | Compression::Zlib, ..) => Self::Parts(compression),
            (Compression::None, Some(byte), _) => Self::Delimiter { byte, codec: encoder.codec },
            (Compression::None, None, framing @ (EncodeFraming::OctetCounting | EncodeFraming::LengthDelimited)) => {
                Self::Lengths(framing)
            }
            (Compression::None, None, _) => Self::Unknown,
        }
    }
}

/// What was done about ends of files.
pub(in crate::sinks) struct Mending {
    pub(in crate::sinks) ending: Ending,
    /// Files whose end was not whole.
    pub(in crate::sinks) files: Counter,
    /// Bytes that were put aside.
    pub(in crate::sinks) aside: Counter,
    pub(in crate::sinks) seen: Mutex<Seen>,
}

/// What was seen of files before.
#[derive(Default)]
pub(in crate::sinks) struct Seen {
    /// The file that another process had open with a torn end, and its length then.
    torn: Option<(Number, u64)>,
    /// Up to where files were passed over, record by record.
    passed: HashMap<Number, u64>,
}

/// The number of a file in the file system.
type Number = (u64, u64);

/// Of so many files it is remembered up to where they were passed over.
const MOST_PASSED: usize = 256;

impl Mending {
    /// Makes sure that a file that was just opened to append to ends with a whole record, and gives its length. The file
    /// stays locked against others who would mend it, for as long as it is open.
    ///
    /// # Errors
    /// Its end is being mended by another process, or cannot be. It must not be written to.
    pub(in crate::sinks) fn begin(&self, path: &Path, file: &mut File) -> io::Result<u64> {
        let about = file.metadata()?;
        if !about.is_file() {
            return Ok(about.len());
        }
        share(file)?;
        let length = file.metadata()?.len();
        // Who may write and not read cannot look.
        let Some(read) = readable(path, &about).filter(|_| length > 0) else { return Ok(length) };
        let number = (about.dev(), about.ino());
        let end = self.whole(&read, number, length)?;
        if end == length {
            return Ok(length);
        }
        if length - end > MOST_TORN && !matches!(self.ending, Ending::Delimiter { .. }) {
            return Err(not_ours(path, length - end));
        }
        let is_alone = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            // A file system without locks.
            Err(TryLockError::Error(_)) => true,
        };
        let mended = match is_alone {
            true => self.mend(path, file, read, end, length),
            false => self.mend_beside_others(path, file, number, length),
        };
        share(file)?;
        mended?;
        Ok(file.metadata()?.len())
    }

    /// Where the last whole record ends.
    fn whole(&self, read: &File, number: Number, length: u64) -> io::Result<u64> {
        match self.ending {
            Ending::Unknown => Ok(length),
            Ending::Delimiter { byte, .. } => behind_last(byte, read, length),
            Ending::Lengths(framing) => {
                // What was passed over before is whole, unless the file is another one now.
                let passed = self.seen().passed.get(&number).copied().filter(|passed| *passed <= length).unwrap_or(0);
                let end = pass_records(framing, read, passed, length)?;
                let mut seen = self.seen();
                if seen.passed.len() >= MOST_PASSED {
                    seen.passed.clear();
                }
                seen.passed.insert(number, end);
                Ok(end)
            }
            Ending::Parts(compression) => {
                let mark = end_mark(compression);
                let mut last = vec![0; mark.len()];
                let at = length.checked_sub(mark.len() as u64);
                if at.is_some_and(|at| read.read_exact_at(&mut last, at).is_ok() && last == mark) {
                    return Ok(length);
                }
                whole_end(compression, BufReader::with_capacity(64 << 10, read)).map(|end| end.min(length))
            }
        }
    }

    /// Where another process has the file open: waits for it to write the rest, and where it does not, ends the line.
    fn mend_beside_others(&self, path: &Path, file: &mut File, number: Number, length: u64) -> io::Result<()> {
        let before = self.seen().torn.replace((number, length));
        let shown = path.display();
        match self.ending {
            Ending::Delimiter { byte, .. } if before == Some((number, length)) => {
                self.files.add(1);
                tracing::warn!(
                    "{shown} does not end with a delimiter, and another process has it open; it was given one"
                );
                file.write_all(&[byte])
            }
            Ending::Delimiter { .. } => {
                let text = "another process has it open, and it ends in the middle of a record; looking again";
                Err(io::Error::new(io::ErrorKind::WouldBlock, text))
            }
            _ => {
                let text = "another process has it open, and it ends in the middle of a record; it is mended and written \
                            to when that process has closed it";
                Err(io::Error::new(io::ErrorKind::WouldBlock, text))
            }
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mend(&self, path: &Path, file: &mut File, read: File, end: u64, length: u64) -> io::Result<()> {
        self.files.add(1);
        let shown = path.display();
        if let Ending::Delimiter { byte, codec } = self.ending
            && (length - end > MOST_TORN || (codec == Codec::Json && is_object(&read, end)))
        {
            tracing::warn!("{shown} did not end with a delimiter; its last {} bytes were given one", length - end);
            return file.write_all(&[byte]);
        }
        let (from, to) = (end, put_aside_as(path));
        put_aside(read, from, length, &to)?;
        file.set_len(end)?;
        self.aside.add(length - end);
        tracing::warn!(
            "{shown} ended in the middle of a record, as after a kill; its last {} bytes were put aside in {}, for whom \
             they may belong to: nothing of them was accepted here",
            length - end,
            to.display()
        );
        Ok(())
    }
}

/// So much behind the last whole record is none of ours.
fn not_ours(path: &Path, bytes: u64) -> io::Error {
    let shown = path.display();
    let text = format!(
        "{shown} is no file of such records: its last {bytes} bytes are none, and are more than a batch of ours; move it \
         away, or choose another `path`, `framing` or `compression`"
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Where what is torn off the file at `path` is kept.
fn put_aside_as(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".torn");
    name.into()
}

/// Says to others that the file is written to.
fn share(file: &File) -> io::Result<()> {
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::WouldBlock, "another process is mending the end of it"))
        }
        // A file system without locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// The same file to read, where that is allowed.
fn readable(path: &Path, about: &std::fs::Metadata) -> Option<File> {
    let file = File::open(path).ok()?;
    let is_same = file.metadata().is_ok_and(|found| (found.dev(), found.ino()) == (about.dev(), about.ino()));
    is_same.then_some(file)
}

/// Where the last delimiter ends.
fn behind_last(delimiter: u8, read: &File, length: u64) -> io::Result<u64> {
    let mut block = [0; BLOCK];
    let mut to = length;
    // The last byte first: mostly it is the one.
    let mut size = 1;
    while to > 0 {
        let from = to.saturating_sub(size);
        let block = &mut block[..usize::try_from(to - from).unwrap_or(0)];
        read.read_exact_at(block, from)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == delimiter) {
            return Ok(from + at as u64 + 1);
        }
        (to, size) = (from, BLOCK as u64);
    }
    Ok(0)
}

/// Where the last record ends, from `begin` on, that is there with all the bytes that stand before it as its length.
fn pass_records(framing: EncodeFraming, mut read: &File, begin: u64, length: u64) -> io::Result<u64> {
    read.seek(SeekFrom::Start(begin))?;
    let (mut from, mut end) = (BufReader::new(read), begin);
    loop {
        let head = match framing {
            EncodeFraming::LengthDelimited => {
                let mut head = [0; size_of::<u32>()];
                from.read_exact(&mut head).map(|()| Some((head.len() as u64, u64::from(u32::from_be_bytes(head)))))
            }
            _ => {
                let mut head = Vec::new();
                from.by_ref().take(21).read_until(b' ', &mut head).map(|_| {
                    let digits = head.strip_suffix(b" ").and_then(|digits| str::from_utf8(digits).ok());
                    Some((head.len() as u64, digits?.parse::<u64>().ok()?))
                })
            }
        };
        let next = match head {
            // The length is what somebody wrote, perhaps not we.
            Ok(Some((head, bytes))) => bytes.saturating_add(end + head),
            Ok(None) => return Ok(end),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(end),
            Err(error) => return Err(error),
        };
        if next > length {
            return Ok(end);
        }
        let at = from.stream_position()?;
        from.seek_relative(i64::try_from(next - at).unwrap_or(i64::MAX))?;
        end = next;
    }
}

/// Whether what stands behind `from` is one whole value of JSON.
fn is_object(mut read: &File, from: u64) -> bool {
    read.seek(SeekFrom::Start(from)).is_ok() && serde_json::from_reader::<_, IgnoredAny>(BufReader::new(read)).is_ok()
}

/// Appends what stands from `from` to `to` to the file at `aside`, as a line.
fn put_aside(mut read: File, from: u64, to: u64, aside: &Path) -> io::Result<()> {
    let mut aside = OpenOptions::new().create(true).append(true).open(aside)?;
    read.seek(SeekFrom::Start(from))?;
    let copied = io::copy(&mut read.take(to - from), &mut aside)?;
    if copied != to - from {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    aside.write_all(b"\n")
}
