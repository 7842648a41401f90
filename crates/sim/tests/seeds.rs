//! The fuzzer in the tests: the seeds that once failed, and the first ones of all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::time::Duration;

use tidegate_flow::stall::{Link, Recovery, StallEvent, StallReport};
use tidegate_flow::{Graph, StageKind, StageState, Time};
use tidegate_sim::stuck::{NAMED_WITHIN, judge};
use tidegate_sim::{Coverage, Ran, draw, run, run_seed, run_twice};
use tokio::time::Instant;

/// So many seeds run with every test; the long run is `cargo xtask fuzz --seeds 10000`.
const SEEDS: u64 = 250;

fn assert_unbroken(seed: u64, ran: &Ran) {
    let broken = ran.broken.join("\n  - ");
    let stuck = ran.stuck.as_deref().unwrap_or_default();
    assert!(ran.broken.is_empty(), "seed {seed}:\n  - {broken}\n{stuck}\nagain with: cargo xtask fuzz --seed {seed}");
}

fn assert_sound(seed: u64, again: bool, coverage: &mut Coverage) {
    let (plan, ran) = run_seed(seed, again);
    assert_unbroken(seed, &ran);
    coverage.add(&plan, &ran);
}

#[test]
fn seeds_that_once_failed_run_clean() {
    let listed = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let seeds = listed.map(|line| line.split_whitespace().next().and_then(|seed| seed.parse().ok()).expect("a seed"));
    seeds.for_each(|seed| {
        assert_unbroken(seed, &run(&draw::base(seed)));
        assert_sound(seed, false, &mut Coverage::default());
    });
}

#[test]
fn a_run_that_depends_on_more_than_its_seed_is_noticed() {
    let mut plan = draw::base(3);
    assert_unbroken(3, &run_twice(&plan));
    plan.noisy = true;
    let noticed = run_twice(&plan).broken;
    assert!(noticed.iter().any(|text| text.starts_with("two runs of one seed differ")), "{noticed:?}");
}

#[test]
fn a_stall_that_is_named_late_or_wrongly_or_not_at_all_is_noticed() {
    let hung = Instant::now();
    let stage = Graph::new().add_stage("sink", StageKind::Sink);
    let stalled = |name: &str| {
        let waits_for = "waits for its remote".to_owned();
        let chain = vec![Link { stage, name: name.to_owned(), state: StageState::External, waits_for }];
        let (since, lasted) = (Time::ZERO, NAMED_WITHIN);
        StallReport::Stalled(StallEvent { since, lasted, chain, is_cycle: false, advice: "wait" })
    };
    let broken = |hung, said: &[_]| judge(Some("sink"), hung, said).len();
    assert_eq!(broken(Some(hung), &[(hung + NAMED_WITHIN, stalled("sink"))]), 0);
    assert_eq!(broken(None, &[]), 0);
    let late = hung + NAMED_WITHIN + Duration::from_millis(1);
    assert_eq!(broken(Some(hung), &[(late, stalled("sink"))]), 1, "late");
    assert_eq!(broken(Some(hung), &[(hung, stalled("other"))]), 2, "another, and not the one");
    assert_eq!(broken(None, &[(hung, stalled("sink"))]), 1, "nothing was planted");
    assert_eq!(broken(Some(hung), &[]), 1, "not at all");
    let over = Recovery { since: Time::ZERO, lasted: NAMED_WITHIN, chain: vec!["sink".to_owned()] };
    let said = [(hung, stalled("sink")), (hung, StallReport::Recovered(over))];
    assert_eq!(broken(Some(hung), &said), 1, "taken back");
}

#[test]
fn the_first_seeds_run_clean_and_cover_what_they_should() {
    let mut coverage = Coverage::default();
    (0..SEEDS).for_each(|seed| assert_sound(seed, seed % 50 == 0, &mut coverage));
    println!("{coverage}");
    assert!(coverage.missing().is_empty(), "{coverage}");
}
