//! [`SimulatedDisk`]: a disk in memory that keeps only what was synced.
//!
//! A crash keeps, of the writes that were not synced, any subset, each whole or torn at any byte (its beginning or its
//! end is kept), and of the changes of names any beginning. A sync that fails throws away what it should have made durable and says "fine" when asked
//! again, as Linux does. Reads see everything that was written, as from the page cache.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// What goes wrong at a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The device fails.
    Failed,
    /// No space.
    Full,
    /// The power goes: this call and all that follow fail, until [`SimulatedDisk::crash`].
    Power,
}

/// A disk in memory that loses what was not synced. Clones share the disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    /// Names as programs see them, and as they are on the disk.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    capacity: u64,
    calls: u64,
    faults: BTreeMap<u64, Fault>,
    off: bool,
    /// What a failed sync of names should have made durable is gone, as with files.
    forgets_names: bool,
    /// Counted, so that a handle from before a crash is dead.
    life: u64,
    random: u64,
}

#[derive(Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Rename(String, String),
    Remove(String),
}

/// An open file of a [`SimulatedDisk`].
#[derive(Debug)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
    life: u64,
}

impl SimulatedDisk {
    /// An empty disk. What a crash keeps follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            capacity: u64::MAX,
            calls: 0,
            faults: BTreeMap::new(),
            off: false,
            forgets_names: true,
            life: 0,
            random: seed,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Names as journaling file systems keep them: what a sync that failed should have made durable is not known to be so,
    /// and the next one that succeeds makes it so. Without this it may be gone for good, as the contents of files are.
    #[must_use]
    pub fn journaling(self) -> Self {
        self.lock().forgets_names = false;
        self
    }

    /// Bytes that all files together may have from now on.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// How many calls were made so far: each call of [`Disk`] and [`DiskFile`] that changes something is one.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Plans a fault at the call with this number (the first call is 0).
    pub fn plan(&self, call: u64, fault: Fault) {
        self.lock().faults.insert(call, fault);
    }

    /// Forgets the faults that are planned.
    pub fn mend(&self) {
        self.lock().faults.clear();
    }

    /// The power goes and comes back: every open file is dead, and only what is on the disk is left.
    pub fn crash(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for inode in &mut state.inodes {
            for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
                // Of each write: nothing, all, or a part of it, at its beginning or at its end.
                let part = usize::try_from(draw(&mut state.random) % (bytes.len() as u64 + 1)).unwrap_or(0);
                let kept = match draw(&mut state.random) % 4 {
                    0 => 0..0,
                    1 => 0..bytes.len(),
                    2 => 0..part,
                    _ => part..bytes.len(),
                };
                inode.durable[offset + kept.start..offset + kept.end].copy_from_slice(&bytes[kept]);
            }
            inode.cached.clone_from(&inode.durable);
        }
        let changes = std::mem::take(&mut state.name_changes);
        let kept = usize::try_from(draw(&mut state.random) % (changes.len() as u64 + 1)).unwrap_or(0);
        for change in changes.into_iter().take(kept) {
            change.apply(&mut state.durable_names);
        }
        state.names.clone_from(&state.durable_names);
        state.off = false;
        state.faults.clear();
        state.life += 1;
    }

    /// Flips a bit of a file, on the disk and in the cache. Nothing happens past the end.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut state = self.lock();
        let Some(inode) = state.names.get(name).copied() else { return };
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let inode = &mut state.inodes[inode];
        for bytes in [&mut inode.cached, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Overwrites the end of a file from `offset` on, on the disk and in the cache: a tail that was torn there.
    pub fn tear(&self, name: &str, offset: u64, with: u8) {
        let mut state = self.lock();
        let Some(inode) = state.names.get(name).copied() else { return };
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let inode = &mut state.inodes[inode];
        for bytes in [&mut inode.cached, &mut inode.durable] {
            let from = at.min(bytes.len());
            bytes[from..].fill(with);
        }
    }

    /// A copy of the disk as it is: the same files, synced and not, with dice of its own.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let fork = Self::new(seed);
        {
            let (from, mut to) = (self.lock(), fork.lock());
            to.inodes = from.inodes.iter().map(Inode::copy).collect();
            to.names.clone_from(&from.names);
            to.durable_names.clone_from(&from.durable_names);
            to.name_changes.clone_from(&from.name_changes);
            to.capacity = from.capacity;
            to.forgets_names = from.forgets_names;
        }
        fork
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: usize, life: u64) -> SimulatedFile {
        SimulatedFile { disk: self.clone(), inode, life }
    }
}

impl Inode {
    fn copy(&self) -> Self {
        Self { cached: self.cached.clone(), durable: self.durable.clone(), unsynced: self.unsynced.clone() }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, inode) => drop(names.insert(name, inode)),
            Self::Remove(name) => drop(names.remove(&name)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}

impl State {
    /// Counts a call, and fails it when that was planned.
    fn call(&mut self) -> io::Result<()> {
        let number = self.calls;
        self.calls += 1;
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        match self.faults.remove(&number) {
            None => Ok(()),
            Some(Fault::Failed) => Err(io::Error::other("simulated device error")),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Power) => {
                self.off = true;
                Err(io::Error::other("the power went"))
            }
        }
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].cached.len() as u64).sum()
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn create(&self, name: &str, size: u64) -> io::Result<SimulatedFile> {
        let mut state = self.lock();
        state.call()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.used() + size > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let inode = state.inodes.len();
        state.inodes.push(Inode { cached: zeros.clone(), durable: zeros, unsynced: Vec::new() });
        state.change(NameChange::Set(name.to_owned(), inode));
        let life = state.life;
        drop(state);
        Ok(self.file(inode, life))
    }

    fn open(&self, name: &str) -> io::Result<SimulatedFile> {
        let state = self.lock();
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let life = state.life;
        drop(state);
        Ok(self.file(inode, life))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let Err(err) = state.call() {
            // As with files: what was to be made durable may be gone, or not.
            if state.forgets_names {
                let lost = usize::try_from(draw(&mut state.random) % 2).unwrap_or(0);
                let keep = state.name_changes.len() * lost;
                state.name_changes.truncate(keep);
            }
            return Err(err);
        }
        for change in std::mem::take(&mut state.name_changes) {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

impl SimulatedFile {
    fn alive(&self, state: &State) -> io::Result<()> {
        if self.life == state.life { Ok(()) } else { Err(io::Error::other("opened before the crash")) }
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        self.alive(&state)?;
        let outcome = state.call();
        let power = state.off;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let inode = &mut state.inodes[self.inode];
        if at.checked_add(bytes.len()).is_none_or(|end| end > inode.cached.len()) {
            return Err(io::Error::other("a write past the end of an allocated file"));
        }
        if outcome.is_err() && !power {
            return outcome;
        }
        // When the power goes, the write may have reached the disk or not: the crash decides.
        inode.cached[at..at + bytes.len()].copy_from_slice(bytes);
        inode.unsynced.push((at, bytes.to_vec()));
        outcome
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.lock();
        self.alive(&state)?;
        if state.off {
            return Err(io::Error::other("the power is off"));
        }
        let cached = &state.inodes[self.inode].cached;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(cached.len());
        let some = bytes.len().min(cached.len() - from);
        bytes[..some].copy_from_slice(&cached[from..from + some]);
        Ok(some)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        self.alive(&state)?;
        if let Err(err) = state.call() {
            if !state.off {
                // The pages are marked clean though they never reached the disk.
                state.inodes[self.inode].unsynced.clear();
            }
            return Err(err);
        }
        let inode = &mut state.inodes[self.inode];
        for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
            inode.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        self.alive(&state)?;
        Ok(state.inodes[self.inode].cached.len() as u64)
    }
}

/// The next number of a splitmix64 sequence (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(disk: &SimulatedDisk) -> u8 {
        let mut byte = [9];
        disk.open("a").unwrap().read_at(0, &mut byte).unwrap();
        byte[0]
    }

    fn with_file(seed: u64) -> (SimulatedDisk, SimulatedFile) {
        let disk = SimulatedDisk::new(seed);
        let file = disk.create("a", 8).unwrap();
        disk.sync_names().unwrap();
        (disk, file)
    }

    #[test]
    fn what_was_synced_stays_what_was_not_may_go() {
        let mut seen = [false; 2];
        for seed in 0..20 {
            let (disk, mut file) = with_file(seed);
            file.write_at(0, &[1]).unwrap();
            file.sync().unwrap();
            file.write_at(0, &[2]).unwrap();
            assert_eq!(byte(&disk), 2, "reads see the cache");
            disk.crash();
            seen[usize::from(byte(&disk)) - 1] = true;
            assert!(file.sync().is_err(), "a handle from before the crash is dead");
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn a_failed_sync_loses_the_writes_and_then_says_fine() {
        let (disk, mut file) = with_file(1);
        file.write_at(0, &[7]).unwrap();
        disk.plan(disk.calls(), Fault::Failed);
        assert!(file.sync().is_err());
        assert!(file.sync().is_ok(), "as the kernel does");
        assert_eq!(byte(&disk), 7, "still in the cache");
        disk.crash();
        assert_eq!(byte(&disk), 0);
    }

    #[test]
    fn names_are_durable_only_after_their_sync() {
        let mut kept = 0;
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            disk.create("a", 8).unwrap().sync().unwrap();
            disk.crash();
            kept += disk.names().unwrap().len();
        }
        assert!(kept > 0 && kept < 20, "{kept}");
    }

    #[test]
    fn a_full_disk_refuses_new_files_and_takes_overwrites() {
        let (disk, mut file) = with_file(1);
        disk.set_capacity(10);
        assert_eq!(disk.create("b", 8).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_at(0, &[1; 8]).unwrap();
        file.sync().unwrap();
    }
}
