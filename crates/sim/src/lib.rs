//! Two simulators in virtual time. The first is a fuzzer of whole pipelines: a seed is a random graph with random faults, run in virtual time, and everything that
//! the architecture promises is checked while it runs and after it has ended.
//!
//! ```text
//! seed -> draw (a plan, as data) -> assemble (a pipeline) -> run (virtual time, one thread) -> oracle
//! ```
//!
//! The oracle does not trust the ledger: sources, operators and sinks note what they see in a book of their own, and
//! the two are held against each other.
//!
//! The second, [`overload`], compares controllers of concurrency. Beside them, [`crash`] plays with the program itself, in
//! real time.

pub mod assemble;
pub mod book;
pub mod chain;
pub mod coverage;
pub mod crash;
pub mod draw;
pub mod oracle;
pub mod overload;
pub mod parts;
pub mod plan;
pub mod record;
pub mod rng;
pub mod run;
pub mod steps;
pub mod stuck;
pub mod vary;

pub use coverage::Coverage;
pub use run::{Ran, run};

/// Runs one seed. Every so many seeds are run twice, to see that a seed is a run.
#[must_use]
pub fn run_seed(seed: u64, again: bool) -> (plan::Plan, Ran) {
    let plan = draw::plan(seed);
    let ran = if again { run_twice(&plan) } else { run(&plan) };
    (plan, ran)
}

/// Runs a plan twice: the runs must be the same to the last detail.
#[must_use]
pub fn run_twice(plan: &plan::Plan) -> Ran {
    let mut ran = run(plan);
    if ran.broken.is_empty() {
        let second = run(plan);
        if second.digest != ran.digest {
            ran.broken.push(format!("two runs of one seed differ: {} and {}", ran.end, second.end));
        }
    }
    ran
}
