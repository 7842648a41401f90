//! [`FolderLock`]: a folder of data that one process works with, and no other.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use crate::contract::StartError;

/// The name of the file in the folder that is locked.
const NAME: &str = "lock";

/// A folder of data that is this process's alone, for as long as a clone of this lives. The system takes the lock back
/// when the process ends, however it does; the file `lock` stays, with the number of the process that had it last.
#[derive(Clone, Debug)]
pub struct FolderLock(#[allow(dead_code, reason = "held, not looked at")] Arc<File>);

impl FolderLock {
    /// Takes the folder, which is made where it is not there.
    ///
    /// # Errors
    /// Another process has it: which one. Or the folder cannot be written to.
    pub fn take(folder: &Path) -> Result<Self, StartError> {
        let shown = folder.display();
        let failed = |error: std::io::Error| {
            StartError::new(format!("{shown} cannot be locked: {error}"))
                .help("choose a `data_dir` that can be written to")
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut options = File::options();
        let mut file =
            options.create(true).truncate(false).read(true).write(true).open(folder.join(NAME)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let process = match file.read_to_string(&mut text) {
                    Ok(_) if text.trim().parse::<u32>().is_ok() => format!("process {}", text.trim()),
                    _ => "another process".to_owned(),
                };
                return Err(StartError::new(format!("{process} works with {shown} already"))
                    .help("stop that process, or give this pipeline another `data_dir`"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        noted.map_err(failed)?;
        Ok(Self(Arc::new(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::folder;

    #[test]
    fn a_folder_is_of_one_who_is_named_to_others_and_free_when_that_is_gone() {
        let folder = folder();
        let at = folder.path().join("new/in");
        let lock = FolderLock::take(&at).unwrap();
        let second = lock.clone();
        drop(lock);
        let refused = FolderLock::take(&at).unwrap_err();
        assert!(refused.text.contains(&format!("process {} works with", std::process::id())), "{}", refused.text);
        drop(second);
        FolderLock::take(&at).unwrap();
    }
}
