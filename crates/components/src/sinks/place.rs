//! Whether a file could be written, asked before anything is: for [`Depth::Surroundings`](crate::contract::Depth).

use std::path::Path;

use rustix::fs::{Access, access};

use crate::contract::{Check, Class};

/// Reports, at `key`, that a file could not be written by this user.
///
/// `start` is the path as far as it is known before there are records; `fixed` says that it is the whole of it. Folders
/// are made as they are needed, so the nearest one that is there counts. Nothing is made and nothing is opened.
pub(super) fn check_file(start: &str, fixed: bool, key: &str, at: &mut Check<'_>) {
    let path = Path::new(start);
    let shown = path.display();
    if fixed && path.is_dir() {
        at.refuse(key, format!("{shown} is a folder, not a file"))
            .about(Class::Path)
            .help(format!("name a file in it, such as {}/out.ndjson", start.trim_end_matches('/')));
        return;
    }
    if fixed && path.exists() {
        if let Err(error) = access(path, Access::WRITE_OK) {
            at.refuse(key, format!("this user cannot write to {shown}: {error}"))
                .about(Class::Path)
                .help("choose another file, or change its permissions");
        }
        return;
    }
    let folder = if start.ends_with('/') { Some(path) } else { path.parent() };
    let folder = folder.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let Some(nearest) = folder.and_then(|folder| folder.ancestors().find(|path| path.exists())) else { return };
    if !nearest.is_dir() {
        at.refuse(key, format!("{} is no folder", nearest.display()))
            .about(Class::Path)
            .help("choose a path within a folder");
    } else if let Some(why) = not_writable(nearest) {
        at.refuse(key, format!("this user cannot make files in the folder {}: {why}", nearest.display()))
            .about(Class::Path)
            .help("choose another folder, or change its permissions");
    }
}

/// Why nothing can be made in a folder. A right that nobody has, as in `/proc`, is refused to root by nothing but the
/// attempt, so it is looked at as well.
fn not_writable(folder: &Path) -> Option<String> {
    let is_read_only = || std::fs::metadata(folder).is_ok_and(|about| about.permissions().readonly());
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Err(error) => Some(error.to_string()),
        Ok(()) => is_read_only().then(|| "nobody may write to it".to_owned()),
    }
}
