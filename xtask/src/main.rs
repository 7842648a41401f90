//! The project's own tool: `cargo xtask <verb>`.
//!
//! One verb per file. `check` is the gate that a change must pass; the other verbs are its parts and the longer runs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod bench;
mod check;
mod crash;
mod deny;
mod fuzz;
mod help;
mod mutants;
mod pressure;
mod process;
mod rig;
mod shell;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use shell::Fail;
use workspace::Workspace;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fail::Usage(text)) => {
            eprintln!("xtask: {text}");
            ExitCode::from(2)
        }
        Err(Fail::Red(text)) => {
            eprintln!("xtask: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the verb that the first argument names with the rest of the arguments.
fn dispatch(args: &[String]) -> Result<(), Fail> {
    if let Some((verb, rest)) = args.split_first()
        && verb == "rig"
    {
        // A peer of a benchmark: it runs anywhere, and its time counts.
        return rig::run(rest);
    }
    let workspace = Workspace::load()?;
    let Some((verb, rest)) = args.split_first() else {
        print!("{}", help::overview(&workspace));
        return Ok(());
    };
    if matches!(verb.as_str(), "help" | "--help" | "-h") {
        print!("{}", rest.first().map_or_else(|| Ok(help::overview(&workspace)), |name| help::page(&workspace, name))?);
        return Ok(());
    }
    if rest.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", help::page(&workspace, verb)?);
        return Ok(());
    }
    match verb.as_str() {
        "check" => check::run(&workspace, rest),
        "tidy" => tidy::run(&workspace, rest),
        "test" => test::run(&workspace, rest),
        "bench" => bench::run(&workspace, rest),
        "crash" => crash::run(&workspace, rest),
        "pressure" => pressure::run(&workspace, rest),
        "fuzz" => fuzz::run(&workspace, rest),
        "overload" => fuzz::run_overload(&workspace, rest),
        "mutants" => mutants::run(&workspace, rest),
        "deny" => deny::run(&workspace, rest),
        other => Err(help::unknown(other)),
    }
}
