//! [`Ground`]: where a process runs: as it is, or with its data on a disk so small that it can be filled.
//!
//! The small disk is a tmpfs in a user and mount namespace of its own, which an idle process holds: it stays when the
//! program is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where a process runs.
pub(super) struct Ground {
    holder: Option<Child>,
    folder: PathBuf,
}

impl Ground {
    /// Here.
    pub(super) fn here() -> Self {
        Self { holder: None, folder: PathBuf::new() }
    }

    /// With so many bytes of disk in this folder, which is there and empty.
    pub(super) fn small(folder: &Path, bytes: u64) -> Result<Self, String> {
        let script = format!("mount -t tmpfs -o size={bytes} tmpfs '{}' && echo ready && exec cat", folder.display());
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let said = holder.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        if !matches!(said, Some(Ok(_))) || line.trim() != "ready" {
            drop(holder.kill());
            drop(holder.wait());
            return Err("no tmpfs in a user namespace: this system does not allow it".to_owned());
        }
        Ok(Self { holder: Some(holder), folder: folder.to_owned() })
    }

    /// A command that runs here.
    pub(super) fn command(&self, program: &Path) -> Command {
        match &self.holder {
            None => Command::new(program),
            Some(holder) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &holder.id().to_string(), "-U", "-m", "--preserve-credentials"]).arg(program);
                command
            }
        }
    }

    /// The folder of the small disk, as others see it.
    fn seen(&self) -> Option<PathBuf> {
        let holder = self.holder.as_ref()?;
        let below = self.folder.strip_prefix("/").unwrap_or(&self.folder);
        Some(PathBuf::from(format!("/proc/{}/root", holder.id())).join(below))
    }

    /// Takes so many bytes of the small disk.
    pub(super) fn fill(&self, bytes: usize) -> Result<(), String> {
        let path = self.seen().ok_or("only a small disk can be filled")?.join("filler");
        std::fs::write(&path, vec![1; bytes]).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Gives them back.
    pub(super) fn free(&self) -> Result<(), String> {
        let path = self.seen().ok_or("only a small disk can be filled")?.join("filler");
        std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.kill());
            drop(holder.wait());
        }
    }
}
