//! The log against a plain reference model, under random steps: appends, rounds of the committer, reads, settlements,
//! rewinds, restarts, power cuts, a disk that fails, that is full and that is freed, records given up for room and for
//! age, a clock that is set.
//!
//! The model keeps what any reader would write down: which batch has which numbers, up to where durability was promised,
//! how far the reader settled, what was given up on purpose. A failure shrinks to the fewest steps that show it.

//!
//! Names are kept as journaling file systems keep them: a sync of a folder that fails once and then says "fine" though the
//! names are gone is tested in `faults`, and there without a restart of the process in between, which nothing could survive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

mod model {
    pub(crate) mod reference;
    pub(crate) mod steps;
}

use model::reference::System;
use model::steps::{Shape, Step, shape, step};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidegate_store::{Fault, SyncPolicy};

fn play(shape: Shape, steps: &[Step]) {
    let mut system = System::new(shape);
    for step in steps {
        system.take(step);
    }
    system.come_to_rest();
}

/// The same 300 each time; with `PROPTEST_CASES` so many others.
fn cases() -> ProptestConfig {
    let asked: Option<u32> = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let rng_seed = if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(7) };
    let (cases, failure_persistence) = (asked.unwrap_or(300), None);
    ProptestConfig { cases, failure_persistence, rng_seed, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_log_does_what_a_list_would(shape in shape(), steps in prop::collection::vec(step(), 1..120)) {
        play(shape, &steps);
    }
}

/// The steps that matter happen in what is drawn: a model that is never tried shows nothing.
#[test]
fn what_is_drawn_meets_every_state() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut met = model::reference::Met::default();
    for _ in 0..150 {
        let shape = shape().new_tree(&mut runner).unwrap().current();
        let steps = prop::collection::vec(step(), 1..120).new_tree(&mut runner).unwrap().current();
        let mut system = System::new(shape);
        steps.iter().for_each(|step| system.take(step));
        system.come_to_rest();
        met.add(&system.met);
    }
    assert!(met.all(), "{met:?}");
}

/// A segment that was removed, and whose removal the disk had not been asked to keep, must not come back with the next loss
/// of power after another process has opened the log.
#[test]
fn what_was_removed_before_a_restart_does_not_come_back_with_the_power() {
    let seed = 13_595_730_738_627_585_781;
    let shape = Shape { seed, segment: 4096, memory: 4096, max_age: None, sync: SyncPolicy::Always };
    let steps = [
        Step::Crash,
        Step::Crash,
        Step::Fail { after: 6, fault: Fault::Failed },
        Step::Append { records: 1, bytes: 8 },
        Step::Round { millis: 0 },
        Step::Fail { after: 2, fault: Fault::Power },
        Step::Reopen,
        Step::Reopen,
        Step::Append { records: 1, bytes: 8 },
    ];
    play(shape, &steps);
}
