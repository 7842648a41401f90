//! A durable log: batches go in at one end, are acknowledged when they are safe, and are read by any number of
//! readers, each with a cursor of its own.
//!
//! What holds, whatever happens to the process, the machine or the disk (A24 to A26 of ARCHITECTURE.md):
//!
//! - **Durable means synced.** A batch counts as durable only when a sync that began after its write has succeeded,
//!   and the name of its file is synced too.
//! - **A failed sync is never asked again** of the same file: the kernel may have dropped the pages and would answer
//!   "fine". What was not yet durable is written once more, to a new segment.
//! - **A cursor never passes what is durable**, and a segment is given up only after the cursors that passed it are
//!   synced.
//! - **A full or failing disk is pressure, not an end**: appends are refused, the state has a name, and the log goes
//!   on by itself when the disk does.
//!
//! A [`Log`] has three sides: [`Appender`] (any thread), [`Committer`] (the one thread that writes and syncs) and
//! [`Reader`]s. Nothing here spawns a thread, and nothing reads a clock: the caller of [`Committer::round`] says what
//! time it is. All I/O goes through a [`Disk`]: [`RealDisk`], or [`SimulatedDisk`], which drops, reorders and tears
//! whatever was not synced.
//!
//! The bytes on the disk are described in [`frame`], [`segment`] and [`cursor`].
//!
//! Beside the log there is the [`checkpoint`]: state in one file that is replaced whole.

pub mod checkpoint;
pub mod cursor;
pub mod disk;
pub mod frame;
mod log;
pub mod marks;
pub mod repair;
pub mod segment;
mod survey;

pub use checkpoint::{Checkpoint, Found};
pub use disk::{Disk, DiskFile, Fault, RealDisk, SimulatedDisk};
pub use log::{
    Appender, Committer, Counts, Entry, Health, Log, LogOptions, Next, OpenError, Read, Reader, Recovered, Refused,
    Settler, SyncPolicy, TooLong, Trouble, WritePolicy,
};

pub use marks::{Marks, Renewal};
pub use survey::{SegmentSurvey, Survey};

/// The number of a record in its log, counted from zero; never used twice, not even after a crash.
pub type Seq = u64;

/// No log comes to this number of a record; what says that it did is damaged.
pub(crate) const SEQ_LIMIT: Seq = 1 << 62;
