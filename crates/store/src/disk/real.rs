//! [`RealDisk`]: a folder of the file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};

use super::{Disk, DiskFile};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A folder of the file system, for one log. Nobody else can have the folder while this, or a clone of it, is there.
#[derive(Clone, Debug)]
pub struct RealDisk {
    folder: PathBuf,
    /// The open folder, locked; the system gives the lock up with the last handle, also when the process is killed. `None`:
    /// it is only looked at.
    lock: Option<Arc<File>>,
}

impl RealDisk {
    /// The log's folder; it is made when there is none, and its own name is made durable.
    ///
    /// # Errors
    /// The folder can be neither found nor made, or somebody else has it ([`io::ErrorKind::WouldBlock`]).
    pub fn at(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        let lock = File::open(&folder)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { folder, lock: Some(Arc::new(lock)) })
    }

    /// The folder of a log that somebody else may have, for files of one's own beside those of the log: whoever makes one
    /// keeps others from making one with this `lock`, a file in the folder. What is in the files of the log must not be
    /// changed.
    ///
    /// # Errors
    /// There is no such folder, it cannot be written to, or somebody else has the lock ([`io::ErrorKind::WouldBlock`]).
    pub fn beside(folder: impl Into<PathBuf>, lock: &str) -> io::Result<Self> {
        let folder = folder.into();
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(lock))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, lock: Some(Arc::new(lock)) })
    }

    /// The folder of a log, to look at while somebody else may have it: nothing in it can be changed by this.
    #[must_use]
    pub fn to_look_at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), lock: None }
    }

    /// Refuses to change what is only looked at.
    fn may_change(&self) -> io::Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Disk for RealDisk {
    type File = File;

    fn create(&self, name: &str, size: u64) -> io::Result<File> {
        self.may_change()?;
        let path = self.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        if let Err(err) = allocate(&file, size) {
            drop(file);
            // The refusal is what the caller must hear of; a file left behind is found at the next start.
            let _ = fs::remove_file(&path);
            return Err(err);
        }
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(self.lock.is_some()).open(self.folder.join(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_change()?;
        fs::remove_file(self.folder.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match FileExt::read_at(self, &mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(some) => read += some,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(read)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Space for `size` bytes: by the file system's own call, or by writing zeros where it has none.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(err) => return Err(err.into()),
    }
    let mut at = 0;
    while at < size {
        let some = usize::try_from(size - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all_at(&ZEROS[..some], at)?;
        at += some as u64;
    }
    Ok(())
}
