//! [`Rerouting`]: which rows of the batch in hand go to the output `dropped`, from the step that knows it to the junction
//! behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_record::{JsonText, Path, RowMut, json};
use tidegate_runtime::{BranchSet, Chooser};

use crate::Rows;

/// The branch of what goes on.
const MAIN: BranchSet = BranchSet::only(0);
/// The branch of what is dropped.
const DROPPED: BranchSet = BranchSet::only(1);

/// The rows to reroute. Clones are the same: the step and the junction run in one task, one batch after the other, so
/// this holds at most the marks of one batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Rerouting(Arc<Mutex<Vec<u32>>>);

impl Rerouting {
    /// The batch that comes next has these rows to reroute, in ascending order.
    pub(super) fn mark(&self, rows: Vec<u32>) {
        *self.rows() = rows;
    }

    fn rows(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chooser<Rows> for Rerouting {
    fn choose(&mut self, payload: &Rows, choices: &mut Vec<BranchSet>) {
        choices.resize(payload.len(), MAIN);
        for row in self.rows().drain(..) {
            if let Some(choice) = choices.get_mut(row as usize) {
                *choice = DROPPED;
            }
        }
    }
}

/// Writes down in a record why it was dropped, where Vector does: `.metadata.dropped`.
pub(super) fn annotate(mut row: RowMut<'_>, node: &str, reason: &str, message: &str) {
    let mut note = Vec::with_capacity(160);
    for (name, value) in [
        ("{\"component_id\":", node),
        (",\"component_kind\":", "transform"),
        (",\"component_type\":", "remap"),
        (",\"message\":", message),
        (",\"reason\":", reason),
    ] {
        note.extend_from_slice(name.as_bytes());
        note.extend_from_slice(JsonText::string(value).as_bytes());
    }
    note.push(b'}');
    debug_assert!(json::validate(&note).is_ok());
    if let Ok(path) = Path::parse(".metadata.dropped") {
        row.set(&path, &note);
    }
}
