//! [`Files`]: where positions are on the disk.
//!
//! They are in two files. `positions.json` is synced before it takes the place of the one before, once a second: it
//! survives a loss of power. `positions.recent.json` is not, and is written far oftener: it survives the end of the
//! process. Each has a number, and the one with the higher number counts; one that a loss of power spoilt is passed over,
//! which costs repetitions and no record.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::positions::Place;
use crate::contract::StartError;
use crate::folder_lock::FolderLock;

/// The files of positions of a source.
pub(super) struct Files {
    safe: PathBuf,
    recent: PathBuf,
    /// Keeps others out while this lives.
    _lock: Option<FolderLock>,
}

/// What is in a file of positions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    version: u32,
    /// Higher than that of what was stored before.
    #[serde(default)]
    pub(super) number: u64,
    pub(super) files: Vec<Place>,
}

/// Its number alone, of whatever version.
#[derive(Debug, Deserialize)]
struct Numbered {
    #[serde(default)]
    number: u64,
}

const VERSION: u32 = 1;

impl Stored {
    pub(super) const fn new(number: u64, files: Vec<Place>) -> Self {
        Self { version: VERSION, number, files }
    }
}

impl Files {
    pub(super) fn new(folder: &Path, lock: Option<FolderLock>) -> Self {
        Self { safe: folder.join("positions.json"), recent: folder.join("positions.recent.json"), _lock: lock }
    }

    /// The positions that were stored last, where there are any.
    ///
    /// # Errors
    /// Those that are safe cannot be read, or are of another version.
    pub(super) fn read(&self) -> Result<Option<Stored>, StartError> {
        let path = &self.safe;
        let text = match fs::read(path) {
            Ok(text) => text,
            // Whoever wants to begin anew removes this one; the other means nothing without it, now and later: numbers go on
            // from the highest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, &error)),
        };
        let safe: Stored = serde_json::from_slice(&text).map_err(|error| unreadable(path, &error))?;
        if safe.version != VERSION {
            return Err(StartError::new(format!(
                "{} is of version {}, and this program knows {VERSION}",
                path.display(),
                safe.version
            ))
            .help("run the version that wrote it, or remove the file to read from the beginning"));
        }
        let recent = fs::read(&self.recent).ok().and_then(|text| serde_json::from_slice::<Stored>(&text).ok());
        let recent = recent.filter(|recent| recent.version == VERSION && recent.number > safe.number);
        Ok(Some(recent.unwrap_or(safe)))
    }

    /// The highest number of what was ever stored here, as far as it can be read.
    pub(super) fn highest_number(&self) -> u64 {
        let number = |path: &PathBuf| {
            let text = fs::read(path).ok()?;
            serde_json::from_slice::<Numbered>(&text).ok().map(|stored| stored.number)
        };
        [&self.safe, &self.recent].into_iter().filter_map(number).max().unwrap_or(0)
    }

    /// Replaces a file of positions as a whole: the safe one, or the recent one.
    pub(super) fn write(&self, stored: &Stored, safe: bool) -> io::Result<()> {
        let path = if safe { &self.safe } else { &self.recent };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = path.with_extension("json.new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(stored)?)?;
        if safe {
            file.sync_all()?;
        }
        fs::rename(&fresh, path)?;
        if let (true, Some(folder)) = (safe, path.parent()) {
            // The name is safe only when the folder is.
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> StartError {
    StartError::new(format!("the positions in {} cannot be read: {error}", path.display()))
        .help("mend or remove the file; without it files are read from their beginning")
}

/// Whether positions could be kept in the folder, and those of `node` be read, if there are any.
pub(super) fn probe(folder: &Path, node: Option<&str>) -> Result<(), StartError> {
    let failed = |error: &io::Error| {
        StartError::new(format!("positions cannot be kept in {}: {error}", folder.display()))
            .help("choose a `data_dir` that can be written to")
    };
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let trial = folder.join(format!(".tidegate-{}", std::process::id()));
    fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial)).map_err(|error| failed(&error))?;
    node.map_or(Ok(()), |node| Files::new(&folder.join(node), None).read().map(drop))
}

#[cfg(test)]
mod tests {
    use super::super::positions::Store;
    use super::*;
    use crate::testkit::folder;

    #[test]
    fn the_positions_stored_last_count_and_what_a_loss_of_power_spoilt_does_not() {
        let folder = folder();
        let files = Files::new(folder.path(), None);
        let number = || files.read().unwrap().map(|stored| stored.number);
        files.write(&Stored::new(1, Vec::new()), false).unwrap();
        assert_eq!(number(), None, "recent ones alone are of somebody who removed the others");
        files.write(&Stored::new(2, Vec::new()), true).unwrap();
        assert_eq!(number(), Some(2));
        files.write(&Stored::new(3, Vec::new()), false).unwrap();
        assert_eq!(number(), Some(3));
        fs::write(folder.path().join("positions.recent.json"), "").unwrap();
        assert_eq!(number(), Some(2));
        fs::write(folder.path().join("positions.json"), r#"{"version":1,"files":[]}"#).unwrap();
        assert_eq!(number(), Some(0), "of a program that numbered nothing");
    }

    #[test]
    fn recent_positions_of_somebody_who_removed_the_safe_ones_never_count_again() {
        let folder = folder();
        let open = || Store::open(Files::new(folder.path(), None), false).unwrap();
        let files = Files::new(folder.path(), None);
        files.write(&Stored::new(1, Vec::new()), true).unwrap();
        files.write(&Stored::new(900, vec![place("stale")]), false).unwrap();
        fs::remove_file(folder.path().join("positions.json")).unwrap();
        let store = open();
        store.follow(place("anew"), true);
        store.save(false).unwrap();
        let stored = files.read().unwrap().unwrap();
        assert_eq!(stored.files.first().map(|place| &*place.path), Some("anew"), "the first that are stored are safe");
        assert!(stored.number > 900, "{}", stored.number);
        fs::write(folder.path().join("positions.json"), "spoilt").unwrap();
        let forgets = Store::open(Files::new(folder.path(), None), true).unwrap();
        forgets.follow(place("forgot"), true);
        forgets.save(true).unwrap();
        assert_eq!(files.read().unwrap().unwrap().files[0].path, "forgot");
    }

    #[test]
    fn a_first_write_that_failed_does_not_make_recent_positions_count() {
        let folder = folder();
        let store = Store::open(Files::new(folder.path(), None), false).unwrap();
        store.follow(place("a"), true);
        // In the way of what is renamed.
        fs::create_dir_all(folder.path().join("positions.json/x")).unwrap();
        assert!(store.save(false).is_err());
        fs::remove_dir_all(folder.path().join("positions.json")).unwrap();
        store.save(false).unwrap();
        assert!(folder.path().join("positions.json").exists(), "safe, because the one before did not come about");
    }

    fn place(path: &str) -> Place {
        let text = format!(
            r#"{{"path":"{path}","device":1,"inode":2,"first":null,"offset":3,"behind":{{"bytes":0,"hash":0}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }
}
