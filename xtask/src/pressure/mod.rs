//! `cargo xtask pressure`: the program under pressure, against what it promises.
//!
//! Each scenario is one file's idea: peers that are slow, that die or that offer too much, as processes of their own
//! (`xtask rig`), which count every record by its number. A scenario states laws; one that is broken is red.

mod dying;
mod footprint;
mod forks;
mod ground;
mod killed;
mod outcome;
mod poison;
mod slow;
mod spill;

use ground::Ground;
use outcome::Outcome;

use crate::help;
use crate::shell::Fail;
use crate::workspace::Workspace;

/// One scenario.
struct Scenario {
    name: &'static str,
    line: &'static str,
    run: fn(&Ground) -> Result<Outcome, Fail>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "slow_sink",
        line: "a TCP receiver that takes 5,000 records a second behind an unthrottled sender, then a fast one",
        run: slow::slow_sink,
    },
    Scenario {
        name: "slow_sink_big_buffers",
        line: "the same between peers whose own kernel buffers are as large as the kernel likes",
        run: slow::slow_sink_big_buffers,
    },
    Scenario { name: "offered_10x", line: "1, 2 and 10 times what the receiver takes", run: slow::offered },
    Scenario {
        name: "dying_sink_http",
        line: "an HTTP receiver that is killed and started again, under load",
        run: dying::http,
    },
    Scenario { name: "dying_sink_tcp", line: "a TCP receiver that is killed and started again", run: dying::tcp },
    Scenario {
        name: "fork_drop_newest",
        line: "a fork with a fast sink and one that takes 5,000 a second and sheds",
        run: forks::drop_newest,
    },
    Scenario {
        name: "fork_own_buffer",
        line: "a fork whose slow branch has a buffer of its own and blocks",
        run: forks::own_buffer,
    },
    Scenario { name: "kill_file_tcp", line: "kill -9 in the middle of file -> remap -> TCP", run: killed::file_to_tcp },
    Scenario { name: "kill_file_file", line: "kill -9 in the middle of file -> file", run: killed::file_to_file },
    Scenario { name: "kill_http_http", line: "kill -9 in the middle of HTTP -> HTTP", run: killed::http_to_http },
    Scenario {
        name: "poison",
        line: "an HTTP receiver that answers 400 to one record in 1,000, and to whatever comes with it",
        run: poison::run,
    },
    Scenario {
        name: "spill",
        line: "a sink that is down while its buffer on disk takes 2 GiB, a kill, a start, and a sink that catches up",
        run: spill::run,
    },
    Scenario { name: "footprint", line: "what the process takes beside its budget, part by part", run: footprint::run },
];

/// Seconds of the long phase of a scenario.
const SECONDS: u64 = 30;
const SECONDS_OF_SMOKE: u64 = 2;

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    only: Vec<String>,
    json: bool,
    smoke: bool,
    list: bool,
    seconds: Option<u64>,
    program: Option<String>,
}

/// Runs the scenarios one after the other and prints a table, or one JSON object a line.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let asked = parse(args)?;
    if asked.list {
        SCENARIOS.iter().for_each(|scenario| println!("{:<22} {}", scenario.name, scenario.line));
        return Ok(());
    }
    let seconds = asked.seconds.unwrap_or(if asked.smoke { SECONDS_OF_SMOKE } else { SECONDS });
    let ground = Ground::prepare(workspace, seconds.max(1), asked.smoke, asked.program.as_deref())?;
    if !asked.json {
        println!("{}", outcome::HEAD);
    }
    let mut broken = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| asked.wants(scenario.name)) {
        // A scenario that could not be played to its end is a broken law, and the others are still worth their figures.
        let outcome = (scenario.run)(&ground).unwrap_or_else(|fail| Outcome::not_played(fail.text()));
        print!("{}", if asked.json { outcome.json(scenario.name) } else { outcome.row(scenario.name) });
        if !outcome.holds() {
            broken.push(scenario.name);
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(Fail::red(format!("laws broken in {}", broken.join(", ")))) }
}

impl Asked {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn parse(args: &[String]) -> Result<Asked, Fail> {
    let mut asked = Asked::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| Fail::usage(format!("`{arg}` needs a value")));
        match arg.as_str() {
            "--json" => asked.json = true,
            "--smoke" => asked.smoke = true,
            "--list" => asked.list = true,
            "--only" => asked.only.extend(value()?.split(',').map(str::to_owned)),
            "--program" => asked.program = Some(value()?.clone()),
            "--seconds" => {
                let text = value()?;
                let seconds = text.parse().map_err(|_| Fail::usage(format!("--seconds `{text}` is no number")))?;
                asked.seconds = Some(seconds);
            }
            other => return Err(help::unknown_option("pressure", other)),
        }
    }
    if let Some(name) = asked.only.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name != **name)) {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(Fail::usage(format!("there is no scenario `{name}`; the scenarios are {}", names.join(", "))));
    }
    Ok(asked)
}

/// A count as a float, for rates.
#[allow(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, Fail> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_read() {
        let asked = parsed("--only slow_sink,offered_10x --json --seconds 7").unwrap();
        assert!(asked.json && asked.wants("slow_sink") && !asked.wants("fork_own_buffer"));
        assert_eq!(asked.seconds, Some(7));
        assert!(parsed("").unwrap().wants("slow_sink"));
    }

    #[test]
    fn what_there_is_not_is_a_usage_error_that_names_what_there_is() {
        assert!(matches!(parsed("--only slow"), Err(Fail::Usage(text)) if text.contains("slow_sink")));
        for wrong in ["--only", "--seconds", "--seconds x", "--fast"] {
            assert!(matches!(parsed(wrong), Err(Fail::Usage(_))), "{wrong}");
        }
    }
}
