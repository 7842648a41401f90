//! `cargo xtask test`: the one command that runs all tests.

use std::process::Command;

use crate::help;
use crate::shell::{self, Fail, dim, green, yellow};
use crate::workspace::{Member, Workspace};

/// Model checks have this word in the path of their module, or in the name of their file under `tests/`.
const LOOM: &str = "loom";

/// Runs the tests, or with `--loom` the model checks.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let (ours, passed_on) = match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    let mut loom = false;
    for arg in ours {
        match arg.as_str() {
            "--loom" => loom = true,
            other => return Err(help::unknown_option("test", other)),
        }
    }
    if loom { run_loom(workspace, passed_on) } else { run_all(workspace, passed_on) }
}

fn run_all(workspace: &Workspace, passed_on: &[String]) -> Result<(), Fail> {
    let scope: &[&str] = if passed_on.is_empty() { &["--workspace"] } else { &[] };
    if shell::has_cargo_tool("nextest") {
        let mut command = cargo_at(workspace);
        shell::run(
            command.args(["nextest", "run", "--cargo-quiet", "--status-level", "slow"]).args(scope).args(passed_on),
        )?;
    } else {
        println!("{}", dim("cargo-nextest is not installed: using cargo test (same tests, more lines)"));
        return shell::run(cargo_at(workspace).args(["test", "--quiet"]).args(scope).args(passed_on));
    }
    if passed_on.is_empty() {
        shell::run(cargo_at(workspace).args(["test", "--quiet", "--doc", "--workspace"]))?;
    }
    Ok(())
}

fn cargo_at(workspace: &Workspace) -> Command {
    let mut command = shell::cargo();
    command.current_dir(&workspace.root);
    command
}

/// Builds the crates that know loom with `--cfg tidegate_loom` and runs their model checks: in the library those whose
/// path contains `loom`, and all of a test file that has the word in its name. Other tests mean nothing under loom.
///
/// The build goes to a target folder of its own, or each run would throw away the other's work. Loom explores many
/// interleavings of little code, so the code is optimised.
fn run_loom(workspace: &Workspace, passed_on: &[String]) -> Result<(), Fail> {
    let members: Vec<&Member> = workspace.members.iter().filter(|member| knows_loom(member)).collect();
    if members.is_empty() {
        return Err(Fail::red("no crate depends on loom under cfg(tidegate_loom): there is nothing to model-check"));
    }
    let mut found = 0;
    for member in &members {
        for (target, filter) in loom_targets(member) {
            found += run_loom_target(workspace, member, &target, filter, passed_on)?;
        }
    }
    match found {
        0 if passed_on.is_empty() => none_found(workspace),
        0 => Err(Fail::red("no model check is selected by these arguments")),
        found => {
            println!("{}: {found} model checks", green("loom"));
            Ok(())
        }
    }
}

/// The target options of a crate that can hold model checks, each with the filter that selects them.
fn loom_targets(member: &Member) -> Vec<(Vec<String>, Option<&'static str>)> {
    let mut targets = vec![(vec!["--lib".to_owned()], Some(LOOM))];
    for (kind, name) in &member.targets {
        if kind == "test" && name.contains(LOOM) {
            targets.push((vec!["--test".to_owned(), name.clone()], None));
        }
    }
    targets
}

/// Runs the model checks of one target and returns how many there were.
fn run_loom_target(
    workspace: &Workspace,
    member: &Member,
    target: &[String],
    filter: Option<&str>,
    passed_on: &[String],
) -> Result<usize, Fail> {
    let command = || {
        let mut command = loom_command(workspace, &member.package);
        // With several filters libtest takes the union, so ours is needed only where there is no other.
        command.args(target).arg("--").args(filter.filter(|_| passed_on.is_empty())).args(passed_on);
        command
    };
    let listed = shell::capture(command().arg("--list"))?;
    let found = listed.lines().filter(|line| line.ends_with(": test")).count();
    if found > 0 {
        shell::run(&mut command())?;
    }
    Ok(found)
}

fn knows_loom(member: &Member) -> bool {
    member.dependencies.iter().any(|dependency| dependency.package == "loom")
}

fn loom_command(workspace: &Workspace, package: &str) -> Command {
    let mut command = cargo_at(workspace);
    command.args(["test", "--quiet", "-p", package]);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg tidegate_loom").trim());
    command.env("CARGO_TARGET_DIR", workspace.target.join("loom"));
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "2").env("CARGO_PROFILE_TEST_OPT_LEVEL", "2");
    if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        command.env("LOOM_MAX_PREEMPTIONS", "2");
    }
    command
}

/// No model check was found: fine only while no source calls `loom::model`.
fn none_found(workspace: &Workspace) -> Result<(), Fail> {
    let tree = crate::tidy::Tree::read(&workspace.root)?;
    let call = ["loom", "::", "model"];
    match tree.sources.iter().find(|source| source.krate != "xtask" && source.finds(&call).next().is_some()) {
        Some(source) => Err(Fail::red(format!(
            "{} calls loom::model, but is not found: put model checks in a module `{LOOM}` of a library that depends on \
             loom, or in a file `tests/{LOOM}_<name>.rs`",
            source.path
        ))),
        None => {
            println!("{}: no model checks are written yet", yellow("nothing to do"));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_but_the_runner_gets_its_own() {
        let bare = Workspace { root: ".".into(), target: "x".into(), members: Vec::new() };
        assert!(matches!(run(&bare, &["--lomo".to_owned()]), Err(Fail::Usage(_))));
        assert!(matches!(run(&bare, &["--loom".to_owned()]), Err(Fail::Red(text)) if text.contains("no crate")));
    }

    #[test]
    fn model_checks_are_looked_for_in_the_library_and_in_files_named_so() {
        let targets = ["lib flow", "test loom_budget", "test laws"].map(|text| {
            let (kind, name) = text.split_once(' ').unwrap();
            (kind.to_owned(), name.to_owned())
        });
        let member = Member { targets: targets.to_vec(), ..Member::default() };
        let found: Vec<String> = loom_targets(&member).iter().map(|(options, _)| options.join(" ")).collect();
        assert_eq!(found, ["--lib", "--test loom_budget"]);
    }

    #[test]
    fn the_model_checks_are_built_apart_and_with_the_flag() {
        let workspace = Workspace { root: ".".into(), target: "out".into(), members: Vec::new() };
        let line = shell::line_of(&loom_command(&workspace, "tidegate-flow"));
        assert!(line.contains("--cfg tidegate_loom") && line.contains("CARGO_TARGET_DIR=out/loom"), "{line}");
    }
}
