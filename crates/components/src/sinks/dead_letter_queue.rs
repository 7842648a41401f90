//! `dead_letter_queue`: keeps records that were refused for good in a log on disk, each with the reason, to be looked at
//! and replayed.
//!
//! * **Accepted** means on disk, after the sync that covers it. Such records settle as dead-lettered, and their sources
//!   do not send them again.
//! * **Blocks** while the disk is slow, full or failing, and at its `max_size` where `when_full` says so; who refused the
//!   records waits then, and `/health/progress` says for what.
//! * **Sheds** at its `max_size` what `when_full` says, and what is older than `max_age`; both are counted.
//! * **Settles** a batch after its sync.
//! * **Completes** when those that send to it have.
//! * **Fails** where the log is of another version.
//!
//! `dead_letter: true` on a component makes one, and `dead_letter: { max_size: 1GiB, ... }` one with these keys. A letter is
//! the record as it reached the component that gave it up, byte for byte and with its envelope; which component that was,
//! why, how often it tried, and when first and last. Nothing in the pipeline reads the log, `tidegate dlq` does: `ls`,
//! `show`, `replay` and `purge`, also while the pipeline runs. What is delivered by a replay, or purged, gives its space
//! back, the oldest letters first.
//!
//! The log is made when the first letter comes, in the folder `dead_letters/NAME` of `data_dir`. Holds what waits for its
//! sync, reserved: 0.75 MiB.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Bytes, kib, mib};
use tidegate_runtime::durable::{LogInlet, LogOptions, LogSpec, Marks, RealDisk};
use tidegate_runtime::{BatchLimits, SinkPolicy};

use crate::contract::page::page;
use crate::contract::{Check, SinkConfig, SinkKind, StartError};
use crate::options::Fsync;
use crate::value::{ByteSize, Period};
use crate::wiring::{LETTER_BOX, LOG_COUNTS, SinkSlot, letters_folder, log_counters, wall_nanos};

/// The entry of the list.
pub const KIND: SinkKind = SinkKind::of::<DeadLetterQueue>(
    "dead_letter_queue",
    "Keeps records that were refused for good on disk, to be looked at and replayed.",
    EXAMPLE,
)
.page(page!("dead_letter_queue.rs"))
.counts(&LOG_COUNTS);

const EXAMPLE: &str = "\
type: dead_letter_queue
max_size: 1GiB
when_full: drop_oldest
";

/// Keeps records that were refused for good on disk, to be looked at and replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterQueue {
    /// The most that the log takes of the disk, its own files counted: 1 MiB at least. Default: 256 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<ByteSize>,
    /// What happens when it is full. Default: `block`.
    pub when_full: LettersFull,
    /// What is older is given up, some at a time, and counted. Default: nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
    /// When what was taken is made durable. Default: `every 5ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync: Option<Fsync>,
}

/// What a full dead letter queue does.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LettersFull {
    /// Who refuses records waits, until letters are replayed or purged.
    #[default]
    Block,
    /// The oldest letters are given up and counted, some at a time.
    DropOldest,
    /// What comes is shed and counted.
    DropNewest,
}

/// What a queue takes of the disk unless it is told.
const USUAL_SIZE: Bytes = mib(256);

/// Letters are few: little memory, and segments so small that little is given up at a time.
const MEMORY: Bytes = kib(256);
const SEGMENT: Bytes = mib(1);

/// Letters come one by one; they are joined where they have the same reason.
const BATCH: BatchLimits = BatchLimits::records(64).bytes(kib(64));

impl DeadLetterQueue {
    /// The most that the log takes of the disk.
    #[must_use]
    pub fn size(&self) -> Bytes {
        self.max_size.map_or(USUAL_SIZE, ByteSize::bytes)
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> LogOptions {
        let size = self.size().get();
        LogOptions::new(size)
            .segment_bytes(SEGMENT.get().min(size / 8))
            .memory_bytes(MEMORY.get())
            .max_age(self.max_age.map(Period::get))
            .sync(self.fsync.unwrap_or_default().policy())
    }
}

impl SinkConfig for DeadLetterQueue {
    fn check(&self, at: &mut Check<'_>) {
        if self.max_size.is_some_and(|size| size.get() < LogOptions::MIN_SIZE_BYTES) {
            at.refuse("max_size", "a dead letter queue has 1 MiB at least").help("set it to \"1MiB\" or more");
        }
        if self.max_age.is_some_and(|age| age.get().is_zero()) {
            at.refuse("max_age", "everything is older than that").help("remove it, or set it to at least \"1s\"");
        }
    }

    fn letter_box(&self) -> Option<&DeadLetterQueue> {
        Some(self)
    }

    fn accepted(&self) -> &'static str {
        "on disk, with the reason, after the sync that covers it: it survives the process and a loss of power"
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        let folder = letters_folder(&slot.context().data_dir, slot.name());
        let beside = RealDisk::to_look_at(&folder);
        let spec = LogSpec::new(move || RealDisk::at(&folder), self.log(), wall_nanos)
            .drop_oldest(self.when_full == LettersFull::DropOldest)
            .open_late()
            // What cannot be read now is read the next time.
            .settled_elsewhere(move || Marks::settled_in(&beside).ok().flatten())
            .on_counts(log_counters(slot.name(), &slot.context().meters));
        let LogInlet { sinks, encoding, view } = spec.inlet();
        let name = slot.name().strip_suffix(LETTER_BOX).unwrap_or(slot.name()).to_owned();
        let policy = SinkPolicy { retries: u32::MAX, ..SinkPolicy::default() };
        let slot = slot.show_log(&format!("{name}{LETTER_BOX}"), view);
        slot.batch(BATCH).encoding(encoding).sinks(policy, sinks);
        Ok(())
    }
}
