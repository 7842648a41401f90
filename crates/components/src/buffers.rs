//! Buffers on disk, looked at from outside: nothing is locked or changed, so that a pipeline may use them meanwhile.

use std::io;
use std::path::Path;

use tidegate_flow::Meta;
use tidegate_record::Timestamp;
use tidegate_runtime::durable::{READER, RealDisk, Repaired, Survey, batch_of};

use crate::Rows;
use crate::wiring::{BUFFERS, folder_of, node_of, wall_nanos};

/// A record in a buffer.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Its number in the buffer.
    pub number: u64,
    /// When its batch was put in.
    pub at: Timestamp,
    /// What is known of its batch.
    pub meta: &'a Meta,
    /// The record as a JSON object.
    pub json: &'a [u8],
}

/// The names of the components that have, or had, a buffer in this data directory, in alphabetical order.
///
/// # Errors
/// The directory cannot be read, or is not there. That there is no buffer in it is no error.
pub fn names(data_dir: &Path) -> io::Result<Vec<String>> {
    names_in(&data_dir.join(BUFFERS))
}

/// The names of the nodes that have a folder in this one.
pub(crate) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // None was ever made; but a data directory that is not there is another one than was meant.
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.parent().is_some_and(Path::is_dir) => {
            return Ok(Vec::new());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such folder; `--data-dir` says where"));
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Some(folder) = entry.file_name().to_str()
        {
            names.push(node_of(folder));
        }
    }
    names.sort();
    Ok(names)
}

/// Looks at every file of the buffer of a component, in the memory of one segment (8 MiB, or one record that is larger).
///
/// # Errors
/// The files cannot be read, or there is no such buffer.
pub fn survey(data_dir: &Path, node: &str) -> io::Result<Survey> {
    Survey::of(&disk(data_dir, node)?)
}

/// The number of the record that waits longest in the buffer of a component. Takes no look at the records.
///
/// # Errors
/// As [`survey`].
pub fn oldest(data_dir: &Path, node: &str) -> io::Result<u64> {
    Survey::settled_on(&disk(data_dir, node)?)
}

/// Shows the records that are whole, from number `from` on, until `see` wants no more. Says how many records there were
/// up to there that this version cannot read.
///
/// # Errors
/// As [`survey`].
pub fn records(
    data_dir: &Path,
    node: &str,
    from: u64,
    mut see: impl FnMut(&Stored<'_>) -> bool,
) -> io::Result<(Survey, u64)> {
    let mut unknown = 0;
    let mut json = Vec::new();
    let survey = Survey::visit(&disk(data_dir, node)?, |header, payload| {
        if header.end() <= from {
            return true;
        }
        let Some((meta, rows)) = batch_of::<Rows>(payload) else {
            unknown += u64::from(header.records);
            return true;
        };
        let at = Timestamp::from_unix_nanos(i64::try_from(header.time).unwrap_or(i64::MAX));
        let numbered = (header.first..).zip(rows.iter()).skip_while(|(number, _)| *number < from);
        numbered.into_iter().all(|(number, row)| {
            json.clear();
            row.write_json(&mut json);
            see(&Stored { number, at, meta: &meta, json: &json })
        })
    })?;
    Ok((survey, unknown))
}

/// Mends the buffer of a component, which no pipeline may have open. With `dry_run` nothing is changed.
///
/// # Errors
/// A pipeline has it open ([`io::ErrorKind::WouldBlock`]), or the disk fails.
pub fn repair(data_dir: &Path, node: &str, dry_run: bool) -> io::Result<Repaired> {
    tidegate_runtime::durable::repair(RealDisk::at(folder_of(data_dir, node))?, READER, dry_run, wall_nanos())
}

fn disk(data_dir: &Path, node: &str) -> io::Result<RealDisk> {
    let folder = folder_of(data_dir, node);
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no folder {}", folder.display())));
    }
    Ok(RealDisk::to_look_at(folder))
}
