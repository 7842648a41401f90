//! What is done to a log, at random.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_store::{Fault, LogOptions, SyncPolicy};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append {
        records: u32,
        bytes: usize,
    },
    /// So many milliseconds later the committer has its turn.
    Round {
        millis: u64,
    },
    Read {
        most: usize,
    },
    /// All but so many of the records that were read.
    Settle {
        but: u64,
    },
    /// So many records back.
    Rewind {
        by: u64,
    },
    /// The process ends and another begins: what was not synced is still there.
    Reopen,
    /// The power goes and comes back.
    Crash,
    /// So many calls of the disk from now, once.
    Fail {
        after: u64,
        fault: Fault,
    },
    /// The disk has so many bytes.
    Capacity {
        bytes: u64,
    },
    /// The disk has room again.
    Free,
    DropOldest,
    Hurry,
    /// So many large batches, each with a round, as long as there is room.
    Fill {
        batches: u32,
    },
    /// So many seconds pass without a round.
    Wait {
        seconds: u64,
    },
    /// The clock is set back.
    SetBack {
        seconds: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) segment: u64,
    pub(crate) memory: u64,
    pub(crate) max_age: Option<Duration>,
    pub(crate) sync: SyncPolicy,
}

impl Shape {
    pub(crate) fn options(&self) -> LogOptions {
        LogOptions::new(LogOptions::MIN_SIZE_BYTES)
            .segment_bytes(self.segment)
            .memory_bytes(self.memory)
            .max_age(self.max_age)
            .sync(self.sync)
            .identity(self.seed ^ 0x5eed)
    }
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let sync = prop_oneof![Just(SyncPolicy::Always), Just(SyncPolicy::Every(Duration::from_millis(5)))];
    let age = prop_oneof![3 => Just(None), 1 => Just(Some(Duration::from_secs(60)))];
    let segment = prop_oneof![3 => Just(4_096_u64), 1 => Just(64 << 10), 1 => Just(256 << 10)];
    (any::<u64>(), segment, prop_oneof![Just(4_096_u64), Just(16 << 10)], age, sync)
        .prop_map(|(seed, segment, memory, max_age, sync)| Shape { seed, segment, memory, max_age, sync })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let bytes =
        prop_oneof![12 => 8..600_usize, 4 => 600..3_000_usize, 1 => 5_000..30_000_usize, 1 => 100_000..262_000_usize];
    let millis = prop_oneof![3 => 0..20_u64, 2 => 50..200_u64, 1 => 1_000..7_000_u64];
    let fault = prop_oneof![3 => Just(Fault::Failed), 2 => Just(Fault::Full), 2 => Just(Fault::Power)];
    prop_oneof![
        24 => (1..5_u32, bytes).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        16 => millis.prop_map(|millis| Step::Round { millis }),
        10 => (1..12_usize).prop_map(|most| Step::Read { most }),
        8 => (0..6_u64).prop_map(|but| Step::Settle { but }),
        3 => (1..20_u64).prop_map(|by| Step::Rewind { by }),
        2 => Just(Step::Reopen),
        2 => Just(Step::Crash),
        5 => (0..8_u64, fault).prop_map(|(after, fault)| Step::Fail { after, fault }),
        2 => (0..600_000_u64).prop_map(|bytes| Step::Capacity { bytes }),
        2 => Just(Step::Free),
        2 => Just(Step::DropOldest),
        1 => Just(Step::Hurry),
        1 => (10..50_u32).prop_map(|batches| Step::Fill { batches }),
        1 => (30..90_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => (1..4_000_u64).prop_map(|seconds| Step::SetBack { seconds }),
    ]
}
