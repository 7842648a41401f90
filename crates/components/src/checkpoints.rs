//! Checkpoints of transforms: where the state of a node is saved, what is counted of it, and how states are written.
//!
//! The state of a node is in `data_dir/checkpoints/<node>`, a folder of its own that one process works with at a time.

mod bytes;
mod gate;
mod known;

use std::path::{Path, PathBuf};

use tidegate_flow::Bytes;
use tidegate_runtime::checkpoint::{CheckpointEvent, CheckpointSpec};
use tidegate_runtime::durable::RealDisk;

pub(crate) use self::bytes::{Put, Take};
pub(crate) use self::gate::Gate;
pub(crate) use self::known::{KNOWN_BYTES, Known, SAVED_BYTES};
use crate::clock::wall_time;
use crate::contract::{BuildContext, Check, Counter};
use crate::value::Period;
use crate::wiring::escaped;

/// The folder of `data_dir` with a folder for each node that has a checkpoint.
pub const CHECKPOINTS: &str = "checkpoints";

/// The counters of a node with a checkpoint.
const COUNTED: [&str; 2] = ["checkpoint_failures", "checkpoints_set_aside"];

/// The shortest and the longest time between two checkpoints.
const SHORTEST: Period = Period::millis(10);
const LONGEST: Period = Period::secs(3_600);

/// The folder of the checkpoint of a node.
#[must_use]
pub fn folder_of(data_dir: &Path, node: &str) -> PathBuf {
    data_dir.join(CHECKPOINTS).join(escaped(node))
}

/// Reports a period that cannot be.
pub(crate) fn check_period(period: Period, at: &mut Check<'_>) {
    if !(SHORTEST..=LONGEST).contains(&period) {
        at.refuse("checkpoint", format!("{period} is not from {SHORTEST} to {LONGEST}"));
    }
}

/// Where the state of one node is saved, and what is counted of it.
pub(crate) struct Place {
    folder: PathBuf,
    failures: Counter,
    set_aside: Counter,
}

impl Place {
    /// Of the node that is being built. Its counters are there from now on.
    pub(crate) fn of(cx: &BuildContext) -> Self {
        let [failures, set_aside] = COUNTED.map(|name| cx.meters.counter(&cx.node, name));
        Self { folder: folder_of(&cx.data_dir, &cx.node), failures, set_aside }
    }

    /// A checkpoint in this place, of the form `form`, saved every `period`, of at most `most` bytes.
    pub(crate) fn spec(self, form: u32, most: Bytes, period: Period) -> CheckpointSpec<RealDisk> {
        let Self { folder, failures, set_aside } = self;
        let wall = || u64::try_from(wall_time().unix_nanos()).unwrap_or(0);
        CheckpointSpec::new(move || RealDisk::at(&folder), form, most, period.get(), wall).on_event(move |event| {
            match event {
                CheckpointEvent::Failed => failures.add(1),
                CheckpointEvent::SetAside => set_aside.add(1),
            }
        })
    }
}
