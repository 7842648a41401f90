//! The fuzzer in the tests: the seeds that once failed, and the first ones of all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use tidegate_sim::{Coverage, run_seed};

/// So many seeds run with every test; the long run is `cargo xtask fuzz --seeds 10000`.
const SEEDS: u64 = 250;

fn assert_sound(seed: u64, again: bool, coverage: &mut Coverage) {
    let (plan, ran) = run_seed(seed, again);
    let broken = ran.broken.join("\n  - ");
    let stuck = ran.stuck.as_deref().unwrap_or_default();
    assert!(ran.broken.is_empty(), "seed {seed}:\n  - {broken}\n{stuck}\nagain with: cargo xtask fuzz --seed {seed}");
    coverage.add(&plan, &ran);
}

#[test]
fn seeds_that_once_failed_run_clean() {
    let listed = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let seeds = listed.map(|line| line.split_whitespace().next().and_then(|seed| seed.parse().ok()).expect("a seed"));
    seeds.for_each(|seed| assert_sound(seed, false, &mut Coverage::default()));
}

#[test]
fn the_first_seeds_run_clean_and_cover_what_they_should() {
    let mut coverage = Coverage::default();
    (0..SEEDS).for_each(|seed| assert_sound(seed, seed % 50 == 0, &mut coverage));
    println!("{coverage}");
    assert!(coverage.missing().is_empty(), "{coverage}");
}
