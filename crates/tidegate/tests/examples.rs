//! Every example runs, ends well and prints what its reader is to see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

/// Runs an example through cargo, which builds it first if it is not fresh: `cargo test` with a filter builds none.
fn command(example: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--offline", "--package", "tidegate", "--example", example]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo
}

/// Runs an example in a hurry; gives what it printed.
#[track_caller]
fn run(example: &str) -> String {
    let mut command = command(example);
    command.env("TIDEGATE_EXAMPLE_SPEED", "3");
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{example} cannot be started: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{example}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

#[track_caller]
fn assert_says(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.contains(line), "{line:?} is missing in:\n{said}");
    }
}

#[test]
fn slow_sink() {
    let said = run("slow_sink");
    assert_says(
        &said,
        &[
            "sink \"warehouse\" limits source \"orders\": it waited for its remote ",
            "\"parse\", \"check\", \"price\", \"tag\" and \"format\" wait for it",
            "checked: and it is the warehouse",
            "checked: the source has read no more than the windows hold",
            "checked: the whole pipeline is as fast as its sink now",
            "checked: what was allocated stayed within the budget and what is beside it",
            "the ledger balances",
        ],
    );
    assert!(!said.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn fan_out() {
    let said = run("fan_out");
    assert_says(&said, &["archived 50000 of 50000", "each one counted", "the ledger balances"]);
    assert_says(&said, &["Edge \"to-live\" (best effort) shed ", "of its records and holds nobody up."]);
    assert!(!said.contains("\"live view\" limits"), "who may lose records limits nobody:\n{said}");
}

#[test]
fn pressure() {
    let said = run("pressure");
    assert_says(&said, &["pressure high: one reading in 20", "pressure normal: every reading"]);
    assert_says(&said, &["the sensor was never made to wait", "the ledger balances"]);
}

#[test]
fn an_example_ends_quietly_when_nobody_reads_on() {
    let mut command = command("slow_sink");
    command.env("TIDEGATE_EXAMPLE_SPEED", "3").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut example = command.spawn().unwrap();
    let mut lines = BufReader::new(example.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    drop(lines);
    let Output { status, stderr, .. } = example.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
}

#[test]
fn stream_in_sink_out() {
    assert_says(&run("stream_in_sink_out"), &[" 6 GATE", "lengths: [3, 4, 5, 2, 3, 3, 4, 5, 2, 6]"]);
}

#[test]
fn tenants() {
    assert_says(&run("tenants"), &["tenant  answers", "questions were over the quota", "the ledger balances"]);
}

#[test]
fn testing() {
    assert_says(&run("testing"), &["refused: [\"permanent: invalid digit", "both tests passed"]);
}
