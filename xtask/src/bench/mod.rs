//! `cargo xtask bench`: runs the benchmarks and passes the arguments on.
//!
//! The core benchmark measures what metrics cost against itself without them. That second binary is built here, with
//! `--cfg tidegate_unmetered` and in a target directory of its own, and handed over in `TIDEGATE_BENCH_UNMETERED`.

mod program;

use std::path::PathBuf;

use crate::shell::{self, Fail};
use crate::workspace::Workspace;

/// Why there is nothing to run, if there is nothing.
pub(crate) fn missing(workspace: &Workspace) -> Option<&'static str> {
    let there = workspace.has_target("tidegate", "bench", "core");
    (!there).then_some("package `tidegate` has no bench target `core`")
}

/// Runs the named bench.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let Some((name, rest)) = args.split_first() else {
        return Err(Fail::usage("which bench? The benches are: core, program"));
    };
    if name == "program" {
        return program::run(workspace, rest);
    }
    if name != "core" {
        return Err(Fail::usage(format!("there is no bench `{name}`; the benches are: core, program")));
    }
    if let Some(why) = missing(workspace) {
        return Err(Fail::red(format!("cannot bench: {why}")));
    }
    let unmetered = build_unmetered(workspace)?;
    let mut command = shell::cargo();
    command.current_dir(&workspace.root).args([
        "bench",
        "--quiet",
        "-p",
        "tidegate",
        "--no-default-features",
        "--bench",
        "core",
        "--",
    ]);
    command.args(rest).env("TIDEGATE_BENCH_UNMETERED", unmetered);
    // With --json the standard output belongs to the bench alone.
    if rest.iter().any(|arg| arg == "--json") { shell::run_bare(&mut command) } else { shell::run(&mut command) }
}

/// Builds the benchmark without ledger and stage times, and says where it is.
fn build_unmetered(workspace: &Workspace) -> Result<PathBuf, Fail> {
    let mut command = shell::cargo();
    command
        .current_dir(&workspace.root)
        .args([
            "bench",
            "--quiet",
            "-p",
            "tidegate",
            "--no-default-features",
            "--bench",
            "core",
            "--no-run",
            "--message-format",
            "json",
        ])
        .arg("--target-dir")
        .arg(workspace.target.join("unmetered"))
        .env("RUSTFLAGS", "--cfg tidegate_unmetered");
    executable_in(&shell::capture(&mut command)?)
        .ok_or_else(|| Fail::red("cargo built the benchmark without metrics but did not say where it is"))
}

/// The executable that cargo's messages name, one JSON object a line.
fn executable_in(messages: &str) -> Option<PathBuf> {
    let objects = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    objects.filter_map(|object| object["executable"].as_str().map(PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = "{\"executable\":null}\n{\"executable\":\"/t/core-1\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable_in(messages), Some("/t/core-1".into()));
        assert_eq!(executable_in("{\"executable\":null}"), None);
    }

    #[test]
    fn a_missing_bench_is_said_plainly() {
        let bare = Workspace { root: "x".into(), target: "x".into(), members: Vec::new() };
        let args = ["core".to_owned()];
        assert!(matches!(run(&bare, &args), Err(Fail::Red(text)) if text.contains("no bench target")));
        assert!(matches!(run(&bare, &["cora".to_owned()]), Err(Fail::Usage(_))));
        assert!(matches!(run(&bare, &[]), Err(Fail::Usage(_))));
    }
}
