//! `cargo xtask fuzz` and `cargo xtask overload`: run the simulators of `crates/sim` and pass the arguments on; or one of
//! the targets in `fuzz/`, which are made of bytes and not of graphs.

mod target;

use crate::shell::{self, Fail};
use crate::workspace::Workspace;

/// Why there is nothing to run, if there is nothing.
pub(crate) fn missing(workspace: &Workspace) -> Option<&'static str> {
    let there = workspace.has_target("tidegate-sim", "bin", "tidegate-sim");
    (!there).then_some("there is no package `tidegate-sim` with a binary (crates/sim)")
}

/// Runs the fuzzer in a release build: it is a search, and time is what it spends.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    if args.iter().any(|arg| arg == target::OPTION) {
        return target::run(workspace, args);
    }
    simulate(workspace, "fuzz", args)
}

/// Compares controllers of concurrency, in a release build too.
pub(crate) fn run_overload(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    simulate(workspace, "overload", args)
}

fn simulate(workspace: &Workspace, verb: &str, args: &[String]) -> Result<(), Fail> {
    if let Some(why) = missing(workspace) {
        return Err(Fail::red(format!("cannot {verb}: {why}")));
    }
    let mut command = shell::cargo();
    command.current_dir(&workspace.root).args(["run", "--quiet", "--release", "-p", "tidegate-sim", "--", verb]);
    shell::run(command.args(args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_fuzzer_is_said_plainly() {
        let bare = Workspace { root: "x".into(), target: "x".into(), members: Vec::new() };
        assert!(matches!(run(&bare, &[]), Err(Fail::Red(text)) if text.contains("crates/sim")));
    }
}
