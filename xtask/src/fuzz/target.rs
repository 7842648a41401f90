//! `cargo xtask fuzz --target NAME`: builds one of the targets in `fuzz/` and lets libFuzzer search.
//!
//! That folder is a workspace of its own, so that nobody builds libFuzzer who does not ask for it. It is built into the
//! target folder of this one: what both depend on is built once.

use std::path::Path;

use crate::help;
use crate::shell::{self, Fail};
use crate::workspace::Workspace;

/// The option that asks for it.
pub(super) const OPTION: &str = "--target";

/// Targets that need no more than the records or the log; the others build the whole program.
const SMALL: [&str; 4] = ["framing", "splice", "segment", "cursor"];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    target: String,
    seconds: u64,
}

/// Builds the target and runs it for so many seconds. Fails where it found something.
pub(super) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let Asked { target, seconds } = read(args)?;
    let home = workspace.root.join("fuzz");
    if !home.join("targets").join(format!("{target}.rs")).is_file() {
        return Err(Fail::usage(format!("there is no fuzz target `{target}`; there are {}", names(&home).join(", "))));
    }
    let mut build = shell::cargo();
    // For `profile-rustflags`, which keeps the counters of the fuzzer out of what it has no use for.
    build.current_dir(&home).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &workspace.target);
    build.args(["build", "--quiet", "--bin", &target]);
    if !SMALL.contains(&target.as_str()) {
        build.args(["--features", "program"]);
    }
    shell::run(&mut build)?;

    let found = workspace.target.join("fuzz").join(&target);
    std::fs::create_dir_all(&found)
        .map_err(|error| Fail::red(format!("cannot create {}: {error}", found.display())))?;
    let kept = home.join("corpus").join(&target);
    let mut search = std::process::Command::new(workspace.target.join("debug").join(&target));
    search.arg(format!("-max_total_time={seconds}"));
    search.arg(format!("-artifact_prefix={}-", found.display()));
    search.args(["-max_len=8192", "-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]).arg(&found).arg(&kept);
    shell::run(&mut search).map_err(|fail| {
        let text = "the input is in the file that is named above; copy it, under a name that says what it is, to";
        Fail::red(format!("{}\n{text} {}: the tests run what is there", fail.text(), kept.display()))
    })
}

fn read(args: &[String]) -> Result<Asked, Fail> {
    let (mut target, mut seconds) = (None, 60);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| Fail::usage(format!("`{arg}` needs a value")));
        match arg.as_str() {
            OPTION => target = Some(value()?.clone()),
            "--seconds" => {
                let text = value()?;
                seconds = text.parse().map_err(|_| Fail::usage(format!("`{text}` is no number of seconds")))?;
            }
            other => return Err(help::unknown_option("fuzz --target", other)),
        }
    }
    let target = target.ok_or_else(|| Fail::usage(format!("`{OPTION}` is missing")))?;
    Ok(Asked { target, seconds })
}

/// The targets that there are.
fn names(home: &Path) -> Vec<String> {
    let files = std::fs::read_dir(home.join("targets")).into_iter().flatten().flatten();
    let stem = |path: std::path::PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = files.filter_map(|file| stem(file.path())).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str) -> Result<Asked, Fail> {
        read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_target_is_asked_for_with_its_time() {
        let asked = |target: &str, seconds| Asked { target: target.to_owned(), seconds };
        assert_eq!(read_line("--target splice").unwrap(), asked("splice", 60));
        assert_eq!(read_line("--seconds 5 --target config").unwrap(), asked("config", 5));
        for wrong in ["--target", "--seconds 5", "--target a --seconds x", "--target a --seeds 3"] {
            assert!(matches!(read_line(wrong), Err(Fail::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn every_target_has_a_body_and_a_corpus_that_tests_run() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let names = names(&home);
        assert!(names.len() >= 5 && SMALL.iter().all(|small| names.iter().any(|name| name == small)), "{names:?}");
        for name in names {
            assert!(home.join("bodies").join(format!("{name}.rs")).is_file(), "{name} has no body");
            assert!(std::fs::read_dir(home.join("corpus").join(&name)).unwrap().next().is_some(), "{name}: no corpus");
        }
    }
}
