//! `cargo xtask mutants`: plants each bug of the table in a scratch copy and expects the named test to fail.
//!
//! A test that cannot fail proves nothing. For each mutant three things must hold, in this order: the test passes on
//! the sound code and really ran; the planted bug compiles; the same test then fails (or hangs past its time).

mod judge;
mod scratch;
pub(crate) mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use judge::Run;
use scratch::Scratch;
use table::Mutant;

use crate::help;
use crate::shell::{self, Fail, bold, dim, green, human, red, yellow};
use crate::workspace::Workspace;

/// Building from nothing may take this long; a test has its own, shorter time.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What came out for one mutant.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The test failed, as it should.
    Caught,
    /// The test hung and was stopped: caught, by the clock.
    CaughtByTime,
    /// The test passed although the bug was there.
    Survived,
    /// The entry itself is wrong, with the reason.
    Faulty(String),
}

/// Runs the mutants of the table.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let (mut only, mut without, mut limit, mut list) = (None, None, None, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => list = true,
            "--only" => only = Some(args.next().ok_or_else(|| Fail::usage("`--only` needs the name of a mutant"))?),
            "--without" => {
                without = Some(args.next().ok_or_else(|| Fail::usage("`--without` needs names of packages"))?)
            }
            "--minutes" => {
                let minutes = args.next().and_then(|text| text.parse::<u64>().ok());
                limit = Some(minutes.ok_or_else(|| Fail::usage("`--minutes` needs a whole number"))?);
            }
            other => return Err(help::unknown_option("mutants", other)),
        }
    }
    let path = workspace.root.join(table::PATH);
    let text =
        std::fs::read_to_string(&path).map_err(|error| Fail::red(format!("cannot read {}: {error}", table::PATH)))?;
    let mut mutants = table::parse(&text).map_err(|error| Fail::red(format!("{}: {error}", table::PATH)))?;
    if let Some(name) = only {
        mutants.retain(|mutant| mutant.name == *name);
        if mutants.is_empty() {
            return Err(Fail::usage(format!("there is no mutant `{name}`; see `cargo xtask mutants --list`")));
        }
    }
    if let Some(packages) = without {
        let all = mutants.len();
        mutants.retain(|mutant| !packages.split(',').any(|package| package == mutant.package));
        println!("{} of {all} mutants are left out: those of {packages}", all - mutants.len());
    }
    if list {
        for mutant in &mutants {
            println!("{:<40} {:<8} {} by {}", mutant.name, mutant.breaks, mutant.file, mutant.test);
        }
        return Ok(());
    }
    let mut until = None;
    if let Some(minutes) = limit {
        until = Some(Instant::now() + Duration::from_secs(minutes * 60));
        // Each change begins elsewhere, so that in the end all have their turn.
        let turn = commits(&workspace.root) * 7 % mutants.len().max(1);
        mutants.rotate_left(turn);
    }
    let verdicts = Bench::new(&workspace.root, &workspace.target.join("mutants"))?.judge_all(&mutants, until)?;
    conclude(&mutants, &verdicts)
}

/// How many commits the sources have behind them; 0 where there is no history.
fn commits(root: &Path) -> usize {
    let mut count = Command::new("git");
    count.current_dir(root).args(["rev-list", "--count", "HEAD"]);
    shell::capture(&mut count).ok().and_then(|said| said.trim().parse().ok()).unwrap_or(0)
}

fn conclude(mutants: &[Mutant], verdicts: &[Verdict]) -> Result<(), Fail> {
    let bad: Vec<&str> = mutants
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| !matches!(verdict, Verdict::Caught | Verdict::CaughtByTime))
        .map(|(mutant, _)| mutant.name.as_str())
        .collect();
    if let Some(left) = mutants.get(verdicts.len()..).filter(|left| !left.is_empty()) {
        let names: Vec<&str> = left.iter().map(|mutant| mutant.name.as_str()).collect();
        println!("{}: {} mutants NOT RUN, for want of time: {}", yellow("mutants"), left.len(), names.join(", "));
    }
    if bad.is_empty() {
        println!("{}: {} mutants, all caught", green("mutants"), verdicts.len());
        return Ok(());
    }
    Err(Fail::red(format!("{} of {} mutants were not caught: {}", bad.len(), verdicts.len(), bad.join(", "))))
}

/// The scratch copy and its build folder.
struct Bench {
    scratch: Scratch,
    target: PathBuf,
    /// Test commands that are known to pass on the sound code, or why they do not.
    sound: Vec<(String, Result<(), String>)>,
}

impl Bench {
    fn new(root: &Path, folder: &Path) -> Result<Self, Fail> {
        let scratch = Scratch::sync(root, &folder.join("src"))?;
        Ok(Self { scratch, target: folder.join("target"), sound: Vec::new() })
    }

    /// The verdicts on the mutants, of as many as could begin before `until`.
    fn judge_all(&mut self, mutants: &[Mutant], until: Option<Instant>) -> Result<Vec<Verdict>, Fail> {
        let mut verdicts = Vec::new();
        for mutant in mutants {
            let start = Instant::now();
            if until.is_some_and(|until| start >= until) {
                break;
            }
            let verdict = self.judge(mutant)?;
            let shown = match &verdict {
                Verdict::Caught => green("caught"),
                Verdict::CaughtByTime => yellow("caught by its time limit"),
                Verdict::Survived => red(format!("SURVIVED: `{}` passed", mutant.test)),
                Verdict::Faulty(why) => red(format!("FAULTY ENTRY: {why}")),
            };
            let time = dim(human(start.elapsed()));
            println!("{} breaks {}: {shown} by {} {time}", bold(&mutant.name), mutant.breaks, mutant.test);
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    fn judge(&mut self, mutant: &Mutant) -> Result<Verdict, Fail> {
        if let Err(why) = self.check_sound(mutant)? {
            return Ok(Verdict::Faulty(why));
        }
        let text = self.scratch.read(&mutant.file)?;
        let planted = match mutant.apply(&text) {
            Ok(planted) => planted,
            Err(why) => return Ok(Verdict::Faulty(why)),
        };
        self.scratch.write(&mutant.file, planted.as_bytes())?;
        let verdict = self.judge_planted(mutant);
        self.scratch.write(&mutant.file, text.as_bytes())?;
        verdict
    }

    /// The test must pass without the bug, and it must be there: a filter that selects nothing passes too.
    fn check_sound(&mut self, mutant: &Mutant) -> Result<Result<(), String>, Fail> {
        let key = shell::line_of(&self.test_command(mutant));
        if let Some((_, known)) = self.sound.iter().find(|(known, _)| *known == key) {
            return Ok(known.clone());
        }
        let result = match judge::run(self.test_command(mutant), BUILD_LIMIT)? {
            Run::Green(said) if mutant.command.is_none() && judge::tests_run(&said) == 0 => {
                Err(format!("no test is selected by `{}` in {}", mutant.test, mutant.package))
            }
            Run::Green(_) => Ok(()),
            Run::Red(said) => Err(format!("the test fails without the bug:\n{}", tail(&said))),
            Run::TimedOut => Err("the test does not end without the bug".to_owned()),
        };
        self.sound.push((key, result.clone()));
        Ok(result)
    }

    fn judge_planted(&self, mutant: &Mutant) -> Result<Verdict, Fail> {
        match judge::run(self.build_command(mutant), BUILD_LIMIT)? {
            Run::Green(_) => {}
            Run::Red(said) => {
                return Ok(Verdict::Faulty(format!("the planted bug does not compile:\n{}", tail(&said))));
            }
            Run::TimedOut => return Ok(Verdict::Faulty("the build does not end".to_owned())),
        }
        Ok(match judge::run(self.test_command(mutant), Duration::from_secs(mutant.timeout_secs))? {
            Run::Green(_) => Verdict::Survived,
            Run::Red(_) => Verdict::Caught,
            Run::TimedOut => Verdict::CaughtByTime,
        })
    }

    fn test_command(&self, mutant: &Mutant) -> Command {
        if let Some([program, args @ ..]) = mutant.command.as_deref() {
            let mut command = if program == "cargo" { self.cargo(mutant) } else { Command::new(program) };
            command.current_dir(&self.scratch.root).args(args);
            return command;
        }
        let mut command = self.cargo(mutant);
        command.args(["test", "-p", &mutant.package, "--tests", "--", &mutant.test]);
        command
    }

    /// Builds the binary of the test and no other, where the entry says which one that is.
    fn build_command(&self, mutant: &Mutant) -> Command {
        let mut build = self.cargo(mutant);
        match mutant.command.as_deref() {
            Some([program, verb, args @ ..]) if program == "cargo" && verb == "test" => {
                let own = args.iter().take_while(|arg| *arg != "--");
                build.args(["test", "--quiet", "--no-run"]).args(own);
            }
            _ => drop(build.args(["test", "--quiet", "--no-run", "-p", &mutant.package, "--tests"])),
        }
        build
    }

    fn cargo(&self, mutant: &Mutant) -> Command {
        let mut command = shell::cargo();
        command.current_dir(&self.scratch.root);
        // A folder per set of flags, or each loom mutant would rebuild everything twice.
        let target = if mutant.loom { self.target.join("loom") } else { self.target.clone() };
        command.env("CARGO_TARGET_DIR", target);
        if mutant.loom {
            command.env("RUSTFLAGS", "--cfg tidegate_loom").env("CARGO_PROFILE_TEST_OPT_LEVEL", "2");
            if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
                command.env("LOOM_MAX_PREEMPTIONS", "2");
            }
        }
        command
    }
}

/// The last lines of what a command said.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests;
