//! [`Log`]: segments, cursors and what is still in memory, as one queue on disk.
//!
//! Read in this order: `shared` (what all sides agree on), `append` (in), `commit` (the thread that makes it safe),
//! `space` (segments begun and given up), `save` (cursors), `read` (out), `recover` (after a restart).

mod append;
mod commit;
mod read;
mod recover;
mod save;
mod shared;
mod space;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use append::Appender;
pub use commit::{Committer, Next};
pub use read::{Read, Reader, Settler, TooLong};
pub use recover::{OpenError, Recovered};
pub use shared::Counts;

use crate::Seq;
use crate::disk::Disk;

/// When the log asks the disk to make appends durable. Acknowledgement waits for it in either case.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SyncPolicy {
    /// At once; what arrives while a sync runs shares the next one.
    Always,
    /// At the latest this long after the oldest append that waits; sooner when half of the memory is waiting.
    Every(Duration),
}

/// Whether everything is written, or only what has to be.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum WritePolicy {
    /// Everything is, before anybody reads it.
    Always,
    /// What every reader settles before it was written is never written. Writing begins when half of the memory waits, or
    /// as many batches as `batches`, or one for longer than `wait`; it ends when the readers have settled all that was
    /// written and a quarter of the memory waits at most.
    UnderPressure {
        /// So many batches may wait in memory.
        batches: usize,
        /// So long may one of them.
        wait: Duration,
    },
}

/// What a log may take. [`LogOptions::new`] has a default for all but the size.
#[derive(Clone)]
pub struct LogOptions {
    pub(crate) max_size: u64,
    pub(crate) segment: u64,
    pub(crate) memory: u64,
    pub(crate) max_age: Option<Duration>,
    pub(crate) sync: SyncPolicy,
    pub(crate) write: WritePolicy,
    pub(crate) save_every: Duration,
    pub(crate) identity: u64,
    pub(crate) on_change: Arc<dyn Fn() + Send + Sync>,
}

impl LogOptions {
    /// The smallest size of a log: 1 MiB.
    pub const MIN_SIZE_BYTES: u64 = 1 << 20;

    /// A log of at most `max_size` bytes on disk (1 MiB at least), in segments of an eighth of it, at most 8 MiB,
    /// with 4 MiB of memory, synced every 5 ms.
    #[must_use]
    pub fn new(max_size: u64) -> Self {
        let max_size = max_size.max(Self::MIN_SIZE_BYTES);
        Self {
            max_size,
            segment: (max_size / 8).min(8 << 20).next_multiple_of(4096),
            memory: 4 << 20,
            max_age: None,
            sync: SyncPolicy::Every(Duration::from_millis(5)),
            write: WritePolicy::Always,
            save_every: Duration::from_millis(50),
            identity: 0,
            on_change: Arc::new(|| ()),
        }
    }

    /// Bytes of one segment: at least 4 KiB, at most a quarter of the log. A batch that is larger gets a segment of
    /// its own.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment = bytes.clamp(4096, self.max_size / 4);
        self
    }

    /// Bytes of batches kept in memory: those not yet durable, and the newest durable ones for readers that keep up.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory = bytes.max(4096);
        self
    }

    /// The most that the log holds in memory beside one batch that is larger than all of it, in bytes: batches, what is
    /// being written, and what its readers have read ahead from disk.
    #[must_use]
    pub fn held_bytes(&self, readers: usize) -> u64 {
        self.memory + commit::WRITE_BYTES as u64 + (readers * read::READ_BYTES) as u64
    }

    /// What opening the log takes for a moment, in bytes: its newest segment, and zeros to put behind what is in it.
    #[must_use]
    pub fn opening_bytes(&self) -> u64 {
        2 * self.segment
    }

    /// Records older than this are given up, a segment at a time, and counted as expired.
    #[must_use]
    pub fn max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = age;
        self
    }

    /// When appends are made durable.
    #[must_use]
    pub fn sync(mut self, policy: SyncPolicy) -> Self {
        self.sync = policy;
        self
    }

    /// What is written.
    #[must_use]
    pub fn write(mut self, policy: WritePolicy) -> Self {
        self.write = policy;
        self
    }

    /// Whether only what has to be is written.
    #[must_use]
    pub fn writes_under_pressure(&self) -> bool {
        self.write != WritePolicy::Always
    }

    /// At the latest this long after a reader settled, its cursor is made durable. What it settled since is read
    /// again after a crash.
    #[must_use]
    pub fn save_every(mut self, period: Duration) -> Self {
        self.save_every = period;
        self
    }

    /// A number that no other log has, drawn by the caller; used when the log is new.
    #[must_use]
    pub fn identity(mut self, identity: u64) -> Self {
        self.identity = identity;
        self
    }

    /// Called after every round that changed what is durable, what has room, or how the disk does. It must neither
    /// block nor call the log.
    #[must_use]
    pub fn on_change(mut self, call: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_change = Arc::new(call);
        self
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("max_size", &self.max_size)
            .field("segment", &self.segment)
            .field("memory", &self.memory)
            .field("max_age", &self.max_age)
            .field("sync", &self.sync)
            .field("write", &self.write)
            .finish_non_exhaustive()
    }
}

/// A batch in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Number of its first record.
    pub first: Seq,
    /// How many records it has.
    pub records: u32,
    /// When it was appended, in nanoseconds since 1970.
    pub time: u64,
    /// Its bytes, as they were given.
    pub payload: Arc<[u8]>,
}

impl Entry {
    /// The number after its last record.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.first + u64::from(self.records)
    }
}

/// Why a batch was not taken.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No room now: the disk is slow, full or failing, or the log has reached its size. It may pass later.
    Full,
    /// It can never fit: longer than a quarter of the log, or than 256 MiB.
    TooLarge,
    /// Without a record or without a byte.
    Empty,
    /// The log was closed.
    Closed,
}

/// What keeps a log from making appends durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The log has reached its `max_size`; it goes on when readers settle.
    AtMaxSize,
    /// The disk has no space; it goes on when there is some.
    DiskFull,
    /// The disk fails; it is tried again.
    DiskFails {
        /// What was tried: "write", "sync", "begin segment", "save cursors", ...
        operation: &'static str,
        /// What the system said.
        kind: io::ErrorKind,
    },
}

impl Trouble {
    pub(crate) fn of(operation: &'static str, err: &io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            kind => Self::DiskFails { operation, kind },
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMaxSize => f.write_str("the buffer has reached its max_size; it goes on when its readers settle"),
            Self::DiskFull => f.write_str("no space left on the disk; it goes on when there is some"),
            Self::DiskFails { operation, kind } => write!(f, "the disk failed to {operation}: {kind}; tried again"),
        }
    }
}

/// How a log does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Health {
    /// Appends become durable.
    #[default]
    Good,
    /// They wait for this.
    Waiting(Trouble),
}

/// A log and its three sides.
pub struct Log<D: Disk> {
    /// Where batches enter; clone it for every thread that appends.
    pub appender: Appender,
    /// For the one thread that commits.
    pub committer: Committer<D>,
    /// One for each name, in the order of the names.
    pub readers: Vec<Reader<D>>,
    /// What was found on the disk.
    pub recovered: Recovered,
}

impl<D: Disk> Log<D> {
    /// Opens the log on this disk, or makes one, with these readers. `now`: nanoseconds since 1970.
    ///
    /// Readers that the log does not know begin at its oldest record; readers that it knows and that are not named
    /// keep their place and pin their segments ([`Recovered::orphans`], [`Committer::forget`]).
    ///
    /// # Errors
    /// The disk fails, or the log is of a version that this program does not know. Nothing was lost then.
    pub fn open(disk: D, options: LogOptions, readers: &[&str], now: u64) -> Result<Self, OpenError> {
        recover::open(Arc::new(disk), options, readers, now)
    }
}
