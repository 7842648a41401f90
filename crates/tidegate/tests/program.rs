//! The program as its users run it: real files on the command line, captured input, signals, exit codes.

#![cfg(feature = "program")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program, in the root of the repository, without a server.
fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(root()).args(args).stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs an example on captured input; what it wrote, line by line.
fn run_example(example: &str, input: &str) -> (Vec<serde_json::Value>, String) {
    let input = File::open(root().join("fixtures").join(input)).unwrap();
    let path = format!("examples/{example}");
    let output = output(tidegate(&["run", &path, "--no-admin"]).stdin(input));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{example}: {said}");
    assert!(said.contains("the ledger balances"), "{example}: {said}");
    let lines = text(&output.stdout);
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), said)
}

/// Every example is checked; those that have input of their own are run below.
#[test]
fn every_example_is_sound() {
    let mut examples: Vec<_> = std::fs::read_dir(root().join("examples")).unwrap().flatten().collect();
    examples.retain(|entry| entry.path().extension().is_some_and(|end| end == "yaml"));
    assert!(examples.len() >= 4);
    for example in examples {
        let path = example.path();
        let output = output(&mut tidegate(&["check", "--offline", "--deny-warnings", path.to_str().unwrap()]));
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stderr));
    }
}

#[test]
fn the_pipeline_of_the_front_page_is_sound() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let pipeline = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let file = tempdir("front-page").join("pipeline.yaml");
    std::fs::write(&file, pipeline).unwrap();
    let output = output(&mut tidegate(&["check", "--offline", "--deny-warnings", file.to_str().unwrap()]));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_first_example_shows_failed_requests_of_a_real_log_beside_a_slow_sink() {
    let (lines, said) = run_example("first.yaml", "nginx-access.log");
    let log = std::fs::read_to_string(root().join("fixtures/nginx-access.log")).unwrap();
    let failed = |line: &&str| line.split('"').nth(2).is_some_and(|rest| rest.trim_start().starts_with(['4', '5']));
    assert_eq!(lines.len(), log.lines().filter(failed).count());
    assert!(lines.iter().all(|line| line["status"].as_i64().is_some_and(|status| status >= 400)));
    assert!(lines.iter().all(|line| line.get("message").is_none() && line["source_type"] == "stdin"));
    assert!(said.contains("slow_store"), "{said}");
}

#[test]
fn build_messages_keep_their_nested_objects_and_get_a_field() {
    let (lines, _) = run_example("errors-from-json.yaml", "cargo-build.ndjson");
    let all = std::fs::read_to_string(root().join("fixtures/cargo-build.ndjson")).unwrap();
    let expected: Vec<serde_json::Value> = all
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["reason"] == "compiler-message")
        .map(|mut line| {
            line["pipeline"] = "build".into();
            line
        })
        .collect();
    assert!(expected.len() > 2);
    assert_eq!(lines, expected);
}

#[test]
fn a_journal_is_routed_by_priority() {
    let (lines, _) = run_example("journal-by-priority.yaml", "journal.ndjson");
    let all = std::fs::read_to_string(root().join("fixtures/journal.ndjson")).unwrap();
    let important = all.lines().filter(|line| line.contains("\"PRIORITY\":\"5\"")).count();
    assert!(important > 2);
    assert_eq!(lines.len(), important);
}

#[test]
fn a_slow_branch_sheds_and_the_other_gets_everything() {
    let output = output(&mut tidegate(&["run", "examples/fork-with-a-slow-branch.yaml", "--no-admin"]));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let archived =
        said.lines().find(|line| line.starts_with("sink") && line.contains("archive") && line.contains("200_000"));
    assert!(archived.is_some(), "{said}");
    assert!(said.contains("drop_newest"), "{said}");
}

#[test]
fn unit_tests_of_a_pipeline_file_pass_and_fail() {
    let passed = output(&mut tidegate(&["test", "examples/errors-from-json.yaml"]));
    assert!(passed.status.success(), "{}", text(&passed.stdout));
    assert!(text(&passed.stdout).contains("2 passed, 0 failed"));
    let broken = std::fs::read_to_string(root().join("examples/errors-from-json.yaml"))
        .unwrap()
        .replace("== \"build\"", "== \"other\"");
    let folder = tempdir("unit-tests");
    let file = folder.join("p.yaml");
    std::fs::write(&file, broken).unwrap();
    let failed = output(&mut tidegate(&["test", file.to_str().unwrap()]));
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stdout).contains("FAILED warnings of the compiler"), "{}", text(&failed.stdout));
}

fn tempdir(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_wrong_file_is_refused_with_its_place_and_code_2() {
    let file = tempdir("wrong").join("wrong.yaml");
    std::fs::write(&file, "sources:\n  in: { type: stdim }\nsinks:\n  out: { type: blackhole, inputs: [inn] }\n")
        .unwrap();
    for verb in ["check", "run", "explain", "graph"] {
        let output = output(&mut tidegate(&[verb, file.to_str().unwrap()]));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
        assert!(said.contains("wrong.yaml:2") && said.contains("stdin"), "{verb}: {said}");
        assert!(said.contains("inn"), "all mistakes at once: {said}");
    }
    assert_eq!(output(&mut tidegate(&["run", "/does/not/exist.yaml"])).status.code(), Some(2));
    assert_eq!(output(&mut tidegate(&["rum"])).status.code(), Some(2));
}

#[test]
fn the_plan_is_drawn_and_explained() {
    let drawn = output(&mut tidegate(&["graph", "examples/first.yaml", "--format", "mermaid"]));
    assert!(text(&drawn.stdout).contains("slow_store"), "{}", text(&drawn.stdout));
    let explained = text(&output(&mut tidegate(&["explain", "examples/first.yaml"])).stdout);
    for word in ["16 MiB", "slow_store", "access_log"] {
        assert!(explained.contains(word), "{word}: {explained}");
    }
    let listed = text(&output(&mut tidegate(&["list"])).stdout);
    assert!(listed.contains("http_server") && listed.contains("blackhole"), "{listed}");
    let schema: serde_json::Value = serde_json::from_slice(&output(&mut tidegate(&["schema"])).stdout).unwrap();
    assert!(schema["properties"]["sources"].is_object(), "{schema}");
}

/// Starts a pipeline that has no end, and waits until it runs.
fn start_endless() -> (Child, BufReader<std::process::ChildStderr>) {
    let file = tempdir("endless").join("endless.yaml");
    std::fs::write(
        &file,
        "sources:\n  in: { type: demo_logs, format: json, interval: 0 }\nsinks:\n  out: { type: blackhole, inputs: [in], rate: 1000 }\n",
    )
    .unwrap();
    let mut child =
        tidegate(&["run", file.to_str().unwrap(), "--admin", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("started") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended before it started");
    }
    (child, lines)
}

#[test]
fn a_signal_drains_and_the_ledger_balances() {
    let (mut child, mut lines) = start_endless();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut said = String::new();
    lines.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("completed") && said.contains("the ledger balances"), "{said}");
}

#[test]
fn a_drain_that_takes_too_long_ends_with_code_1_and_says_what_was_abandoned() {
    // What waits for this sink would take minutes to drain.
    let args = ["demo", "--sink-rate", "1", "--for", "1s", "--drain-timeout", "10ms", "--no-admin"];
    let output = output(&mut tidegate(&args));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stopped at its deadline") && said.contains("abandoned"), "{said}");
    assert!(said.contains("the ledger balances"), "{said}");
}

#[test]
fn the_demonstration_runs_without_a_file() {
    let output = output(&mut tidegate(&["demo", "--for", "500ms", "--no-admin"]));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("slow_store") && said.contains("the ledger balances"), "{said}");
    let printed = text(&output_of_print().stdout);
    assert!(printed.contains("type: demo_logs") && printed.contains("rate: 5000"), "{printed}");
}

fn output_of_print() -> Output {
    output(&mut tidegate(&["demo", "--print"]))
}
