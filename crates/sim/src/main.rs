//! The program: `tidegate-sim fuzz [--seeds N] [--seed S] [--json]`, `tidegate-sim overload` and `tidegate-sim crash`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tidegate_sim::overload::command;
use tidegate_sim::plan::Plan;
use tidegate_sim::{Coverage, Ran, draw, run_seed};

const USAGE: &str = "usage: tidegate-sim fuzz [--seeds N] [--seed S] [--json] [--keep-going]
  --seeds N      how many seeds to run, from S on (200; 1 where --seed is given)
  --seed S       the first seed (0); one seed alone is shown with its plan and its ledger
  --json         the coverage as JSON
  --keep-going   run all seeds, whatever fails";

/// A seed that takes longer than this in real time never ends: a task that is always ready, or a loop.
const ENDLESS: Duration = Duration::from_secs(20);

/// One in so many seeds is run twice.
const AGAIN_EVERY: u64 = 50;

struct Options {
    first: u64,
    seeds: u64,
    json: bool,
    keep_going: bool,
    single: bool,
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("overload") => return overload(),
        Some("crash") => return crash(),
        _ => {}
    }
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (sent, ran) = sync_channel(64);
    let (first, seeds) = (options.first, options.seeds);
    let single = options.single;
    thread::spawn(move || {
        for seed in first..first + seeds {
            if sent.send(run_seed(seed, single || seed.is_multiple_of(AGAIN_EVERY))).is_err() {
                break;
            }
        }
    });
    if collect(&options, &ran) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares controllers of concurrency.
fn overload() -> ExitCode {
    let Some(options) = command::parse(std::env::args().skip(2)) else {
        eprintln!("{}", command::USAGE);
        return ExitCode::from(2);
    };
    print!("{}", command::run(&options));
    ExitCode::SUCCESS
}

/// Plays with the program.
fn crash() -> ExitCode {
    let Some(options) = tidegate_sim::crash::command::parse(std::env::args().skip(2)) else {
        eprintln!("{}", tidegate_sim::crash::command::USAGE);
        return ExitCode::from(2);
    };
    if options.list {
        print!("{}", tidegate_sim::crash::command::list());
        return ExitCode::SUCCESS;
    }
    let is_well = tidegate_sim::crash::command::run(&options, |text| print!("{text}"));
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    if args.next().as_deref() != Some("fuzz") {
        return None;
    }
    let mut options = Options { first: 0, seeds: 200, json: false, keep_going: false, single: false };
    let (mut seed, mut seeds) = (None, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => seeds = Some(args.next()?.parse().ok()?),
            "--seed" => seed = Some(args.next()?.parse().ok()?),
            "--json" => options.json = true,
            "--keep-going" => options.keep_going = true,
            _ => return None,
        }
    }
    options.first = seed.unwrap_or(0);
    options.seeds = seeds.unwrap_or(if seed.is_some() { 1 } else { 200 });
    options.single = options.seeds == 1;
    Some(options)
}

/// Takes the runs as they come; whether all was well.
fn collect(options: &Options, ran: &Receiver<(Plan, Ran)>) -> bool {
    let mut coverage = Coverage::default();
    let mut bad = Vec::new();
    for seed in options.first..options.first + options.seeds {
        match ran.recv_timeout(ENDLESS) {
            Ok((plan, ran)) => {
                coverage.add(&plan, &ran);
                if options.single {
                    show(&plan, &ran);
                }
                if !ran.broken.is_empty() {
                    report(seed, &ran);
                    bad.push(seed);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                eprintln!("seed {seed}: the run itself panicked");
                return false;
            }
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("seed {seed} does not end: virtual time stands still while something is always ready");
                eprintln!("{:#?}", draw::plan(seed));
                return false;
            }
        }
        if !bad.is_empty() && !options.keep_going {
            break;
        }
    }
    let missing = coverage.missing();
    if options.json {
        println!("{{\"bad_seeds\":{bad:?},\"coverage\":{}}}", coverage.json());
    } else if !options.single {
        println!("{coverage}");
    }
    if !bad.is_empty() {
        eprintln!("{} seeds broke a rule: {bad:?}", bad.len());
    }
    bad.is_empty() && missing.is_empty()
}

fn show(plan: &Plan, ran: &Ran) {
    println!("{plan:#?}");
    println!("ended: {}; {:?}", ran.end, ran.totals);
}

fn report(seed: u64, ran: &Ran) {
    eprintln!("seed {seed}: {} rules broken; again with: cargo xtask fuzz --seed {seed}", ran.broken.len());
    for what in &ran.broken {
        eprintln!("  - {what}");
    }
    if let Some(stuck) = &ran.stuck {
        eprintln!("{stuck}");
    }
}
