//! [`LogView`]: an edge on disk, looked at while it runs.

use std::fmt;
use std::sync::Arc;

use tidegate_store::{Counts, Disk};

use super::shared::Shared;

/// A look at an edge on disk. Clones look at the same.
#[derive(Clone)]
pub struct LogView(Arc<dyn Look>);

impl fmt::Debug for LogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogView").field("counts", &self.counts()).field("trouble", &self.trouble()).finish()
    }
}

/// Why an edge on disk does not take records, or does not hand them on. It goes on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTrouble {
    /// What it waits for, in words.
    pub words: String,
    /// Whether something is wrong with the disk or what is on it. Otherwise it is full of what downstream has to settle.
    pub is_fault: bool,
}

/// Behind the name under which a log is shown that keeps the dead letters of a component: nothing in the pipeline reads it.
pub const LETTERS: &str = ".dead_letters";

impl LogTrouble {
    /// Which log waits, of those that are shown, and for what.
    #[must_use]
    pub fn about(&self, name: &str) -> String {
        match name.strip_suffix(LETTERS) {
            Some(node) if !self.is_fault => format!(
                "the dead letters of {node} have reached their max_size, and what it refuses waits; `tidegate dlq replay` or \
                 `purge` makes room"
            ),
            Some(node) => format!("the dead letters of {node}: {}", self.words),
            None => format!("the buffer of {name} on disk: {}", self.words),
        }
    }

    /// Whether somebody has to do something: something is wrong, or dead letters are full.
    #[must_use]
    pub fn needs_somebody(&self, name: &str) -> bool {
        self.is_fault || name.ends_with(LETTERS)
    }
}

impl LogView {
    pub(super) fn new<D: Disk>(shared: Arc<Shared<D>>) -> Self {
        Self(shared)
    }

    /// What keeps it from taking records or from handing them on. `None`: nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<LogTrouble> {
        self.0.trouble()
    }

    /// What it has done since the pipeline started, and what it holds. After the end, what that was then.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts().0
    }

    /// Durable records that downstream has not settled.
    #[must_use]
    pub fn waiting_records(&self) -> u64 {
        self.0.counts().1
    }
}

/// What is asked of a log, whatever its disk.
trait Look: Send + Sync {
    fn trouble(&self) -> Option<LogTrouble>;
    /// With the records that are durable and not settled.
    fn counts(&self) -> (Counts, u64);
}

impl<D: Disk> Look for Shared<D> {
    fn trouble(&self) -> Option<LogTrouble> {
        Self::trouble(self)
    }

    fn counts(&self) -> (Counts, u64) {
        Self::counts(self)
    }
}
