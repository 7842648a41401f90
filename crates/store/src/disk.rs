//! Where the bytes go: a folder of files, behind a trait, so that every promise can be tested on a disk that loses
//! whatever was not synced.

mod real;
mod simulated;

pub use real::RealDisk;
pub use simulated::{Fault, SimulatedDisk};

use std::io;

/// A folder of files. Calls block; only the thread that commits and the threads that read make them.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes a file of `size` bytes of zeros with its space allocated, so that overwriting it later needs none.
    /// Neither the name nor the contents are durable yet.
    ///
    /// # Errors
    /// The name is taken, the disk is full ([`io::ErrorKind::StorageFull`]), or the disk fails.
    fn create(&self, name: &str, size: u64) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// No such file, or the disk fails.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    /// The disk fails.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Gives a file another name, replacing a file of that name. Not durable before [`sync_names`](Self::sync_names).
    ///
    /// # Errors
    /// No such file, or the disk fails.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; who has it open goes on reading it.
    ///
    /// # Errors
    /// No such file, or the disk fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable: creations, renames and removals.
    ///
    /// # Errors
    /// The disk fails; nothing is known then about what reached it.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send {
    /// Overwrites the bytes from `offset` on.
    ///
    /// # Errors
    /// The disk fails; any part of the bytes may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads into `bytes` from `offset` on; returns how many there were before the end of the file.
    ///
    /// # Errors
    /// The disk fails.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The disk fails. What was written since the last success is lost for good, and asking again may lie.
    fn sync(&mut self) -> io::Result<()>;

    /// Bytes of the file.
    ///
    /// # Errors
    /// The disk fails.
    fn size(&self) -> io::Result<u64>;
}
