//! `cargo xtask check`: the gate. A list of steps, the time of each, a table at the end.

use std::time::{Duration, Instant};

use crate::shell::{self, Fail, bold, dim, green, human, red};
use crate::workspace::Workspace;
use crate::{help, test, tidy};

/// One step of the gate.
struct Step {
    name: &'static str,
    /// Left out by `--fast`.
    slow: bool,
    run: fn(&Workspace) -> Result<(), Fail>,
}

/// Cheapest first, so that a red gate is red soon.
const STEPS: &[Step] = &[
    Step { name: "fmt", slow: false, run: fmt },
    Step { name: "tidy", slow: false, run: |workspace| tidy::run(workspace, &[]) },
    Step { name: "clippy", slow: false, run: clippy },
    Step { name: "docs", slow: true, run: docs },
    Step { name: "test", slow: true, run: |workspace| test::run(workspace, &[]) },
];

/// How a step ended.
enum End {
    Passed(Duration),
    Failed(Duration, String),
    LeftOut(&'static str),
}

/// What the command line asked for.
#[derive(Default, Debug)]
struct Options {
    fast: bool,
    keep_going: bool,
    skip: Vec<String>,
}

/// Runs the steps and prints the table.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let options = parse(args)?;
    let ends = run_steps(workspace, STEPS, &options);
    print!("{}", table(STEPS, &ends));
    verdict(STEPS, &ends)
}

fn parse(args: &[String]) -> Result<Options, Fail> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--fast" => options.fast = true,
            "--keep-going" => options.keep_going = true,
            "--skip" => {
                let names = args.next().ok_or_else(|| Fail::usage("`--skip` needs the names of steps"))?;
                options.skip.extend(names.split(',').map(str::to_owned));
            }
            other => return Err(help::unknown_option("check", other)),
        }
    }
    if let Some(name) = options.skip.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(Fail::usage(format!("there is no step `{name}`; the steps are {}", names.join(", "))));
    }
    Ok(options)
}

fn run_steps(workspace: &Workspace, steps: &[Step], options: &Options) -> Vec<End> {
    let mut ends = Vec::new();
    let mut red_before = false;
    for step in steps {
        let end = if options.skip.iter().any(|name| name == step.name) {
            End::LeftOut("--skip")
        } else if options.fast && step.slow {
            End::LeftOut("--fast")
        } else if red_before && !options.keep_going {
            End::LeftOut("an earlier step is red")
        } else {
            run_step(workspace, step)
        };
        red_before |= matches!(end, End::Failed(..));
        ends.push(end);
    }
    ends
}

fn run_step(workspace: &Workspace, step: &Step) -> End {
    println!("{}", bold(format!("== {}", step.name)));
    let start = Instant::now();
    let result = (step.run)(workspace);
    let time = start.elapsed();
    match result {
        Ok(()) => {
            println!("{} {}\n", green(format!("ok {}", step.name)), dim(human(time)));
            End::Passed(time)
        }
        Err(fail) => {
            println!("{} {}\n", red(format!("FAILED {}", step.name)), dim(human(time)));
            End::Failed(time, fail.text().to_owned())
        }
    }
}

fn table(steps: &[Step], ends: &[End]) -> String {
    let mut text = format!("{}\n", bold("step      result    time"));
    for (step, end) in steps.iter().zip(ends) {
        let (result, rest) = match end {
            End::Passed(time) => (green(format!("{:<10}", "ok")), human(*time)),
            End::Failed(time, why) => {
                (red(format!("{:<10}", "FAILED")), format!("{}  {}", human(*time), first_line(why)))
            }
            End::LeftOut(why) => (dim(format!("{:<10}", "not run")), format!("({why})")),
        };
        text.push_str(&format!("{:<10}{result}{rest}\n", step.name));
    }
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn verdict(steps: &[Step], ends: &[End]) -> Result<(), Fail> {
    let red: Vec<&str> =
        steps.iter().zip(ends).filter_map(|(step, end)| matches!(end, End::Failed(..)).then_some(step.name)).collect();
    if red.is_empty() { Ok(()) } else { Err(Fail::red(format!("check is red: {}", red.join(", ")))) }
}

fn fmt(workspace: &Workspace) -> Result<(), Fail> {
    shell::run(shell::cargo().current_dir(&workspace.root).args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<(), Fail> {
    let args = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    shell::run(shell::cargo().current_dir(&workspace.root).args(args))
}

fn docs(workspace: &Workspace) -> Result<(), Fail> {
    let args = ["doc", "--quiet", "--workspace", "--no-deps"];
    shell::run(shell::cargo().current_dir(&workspace.root).env("RUSTDOCFLAGS", "-D warnings").args(args))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Workspace {
        Workspace { root: "x".into(), target: "x".into(), members: Vec::new() }
    }

    const GOOD: Step = Step { name: "good", slow: false, run: |_| Ok(()) };
    const BAD: Step = Step { name: "bad", slow: false, run: |_| Err(Fail::Red("broken\nin two lines".into())) };
    const LONG: Step = Step { name: "long", slow: true, run: |_| Ok(()) };

    #[test]
    fn a_red_step_stops_the_gate_and_turns_it_red() {
        let steps = [GOOD, BAD, LONG];
        let ends = run_steps(&nowhere(), &steps, &Options::default());
        assert!(matches!(ends[..], [End::Passed(_), End::Failed(..), End::LeftOut("an earlier step is red")]));
        assert!(matches!(verdict(&steps, &ends), Err(Fail::Red(text)) if text == "check is red: bad"));
        assert!(table(&steps, &ends).contains("broken"));
    }

    #[test]
    fn keep_going_runs_the_rest_and_stays_red() {
        let steps = [BAD, GOOD];
        let ends = run_steps(&nowhere(), &steps, &Options { keep_going: true, ..Options::default() });
        assert!(matches!(ends[..], [End::Failed(..), End::Passed(_)]));
        assert!(verdict(&steps, &ends).is_err());
    }

    #[test]
    fn fast_leaves_out_the_slow_steps_and_says_so() {
        let steps = [GOOD, LONG];
        let ends = run_steps(&nowhere(), &steps, &Options { fast: true, ..Options::default() });
        assert!(matches!(ends[..], [End::Passed(_), End::LeftOut("--fast")]));
        assert!(verdict(&steps, &ends).is_ok());
    }

    #[test]
    fn a_step_that_does_not_exist_cannot_be_skipped() {
        let args = ["--skip".to_owned(), "tset".to_owned()];
        assert!(matches!(parse(&args), Err(Fail::Usage(text)) if text.contains("fmt, tidy, clippy, docs, test")));
    }
}
