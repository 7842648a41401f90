//! `cargo xtask crash`: builds the program, and has `crates/sim` kill it under load and judge what came out.

use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Fail};
use crate::workspace::Workspace;

/// The option that names a program that is there.
const PROGRAM: &str = "--program";

/// Plays rounds with a release build of the program, or with the one that is named.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let (program, rest) = program_of(args)?;
    // Each as the fuzzer and the benchmarks build it: another choice of packages is another choice of features, and builds
    // everything below once more.
    let build = |packages: &[&str]| {
        let mut build = shell::cargo();
        shell::run_bare(
            build.current_dir(&workspace.root).args(["build", "--quiet", "--release", "--bins"]).args(packages),
        )
    };
    build(&["-p", "tidegate-sim"])?;
    if program.is_none() {
        build(&["-p", "tidegate", "-p", "xtask"])?;
    }
    let built = |name: &str| workspace.target.join("release").join(name);
    let scratch = workspace.target.join("crash");
    std::fs::create_dir_all(&scratch).map_err(|error| Fail::red(format!("{}: {error}", scratch.display())))?;
    let mut play = Command::new(built("tidegate-sim"));
    play.arg("crash").arg(PROGRAM).arg(program.unwrap_or_else(|| built("tidegate")));
    shell::run_bare(play.arg("--scratch").arg(scratch).args(rest))
}

/// The program that is named, and the other arguments.
fn program_of(args: &[String]) -> Result<(Option<PathBuf>, Vec<&String>), Fail> {
    let Some(at) = args.iter().position(|arg| arg == PROGRAM) else { return Ok((None, args.iter().collect())) };
    let path = args.get(at + 1).ok_or_else(|| Fail::usage(format!("`{PROGRAM}` needs a value")))?;
    Ok((Some(PathBuf::from(path)), args[..at].iter().chain(&args[at + 2..]).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_taken_out_of_the_arguments() {
        let args: Vec<String> = "--rounds 3 --program a/b --json".split(' ').map(str::to_owned).collect();
        let (program, rest) = program_of(&args).unwrap();
        assert_eq!((program, rest.len()), (Some(PathBuf::from("a/b")), 3));
        assert!(matches!(program_of(&args[2..3]), Err(Fail::Usage(_))));
        assert_eq!(program_of(&args[..2]).unwrap().0, None);
    }
}
