//! `cargo xtask crash`: which rounds are played, and what is printed.

use std::path::PathBuf;

use super::draw::{self, Fault, Round};
use super::judge::Verdict;
use super::{cases, report, round};

/// What to play and how to tell it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The program that is played with.
    pub program: PathBuf,
    /// A folder for files; that of a round stays where something is wrong.
    pub scratch: PathBuf,
    /// How many rounds.
    pub rounds: u64,
    /// This round alone, as it was drawn when it was printed.
    pub seed: Option<u64>,
    /// From which number the rounds are drawn.
    pub base: u64,
    /// Pipelines and faults, all unless any is named.
    pub only: Vec<String>,
    /// Lines of JSON instead of tables.
    pub json: bool,
    /// Print what there is to play.
    pub list: bool,
}

/// How it is used.
pub const USAGE: &str = "usage: tidegate-sim crash --program PATH --scratch FOLDER [--rounds N] [--seed N] [--base N]
                          [--only NAME[,NAME]] [--json] [--list]
  --rounds N     how many rounds (20)
  --seed N       this round alone: what a line of a round ends with
  --base N       which rounds are drawn (1)
  --only NAMES   these pipelines and faults alone
  --json         one object a line
  --list         the pipelines and the faults";

/// Reads the options; nothing where they make no sense.
pub fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        program: PathBuf::new(),
        scratch: PathBuf::new(),
        rounds: 20,
        seed: None,
        base: 1,
        only: Vec::new(),
        json: false,
        list: false,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--program" => options.program = args.next()?.into(),
            "--scratch" => options.scratch = args.next()?.into(),
            "--rounds" => options.rounds = args.next()?.parse().ok()?,
            "--seed" => options.seed = Some(args.next()?.parse().ok()?),
            "--base" => options.base = args.next()?.parse().ok()?,
            "--only" => options.only.extend(args.next()?.split(',').map(str::to_owned)),
            "--json" => options.json = true,
            "--list" => options.list = true,
            _ => return None,
        }
    }
    let names: Vec<&str> = draw::pairs().iter().flat_map(|(case, fault)| [case.name, fault.name()]).collect();
    let is_known = |name: &String| names.contains(&name.as_str());
    let is_told = options.list || !options.program.as_os_str().is_empty() && !options.scratch.as_os_str().is_empty();
    (options.only.iter().all(is_known) && is_told).then_some(options)
}

/// What there is to play.
#[must_use]
pub fn list() -> String {
    let mut text = String::from("pipelines, with the faults that can befall each:\n");
    for case in cases::CASES {
        let pairs = draw::pairs();
        let faults: Vec<&str> =
            pairs.iter().filter(|(other, _)| *other == case).map(|(_, fault)| fault.name()).collect();
        text.push_str(&format!("  {:<17} {}\n", case.name, faults.join(" ")));
    }
    text
}

/// Plays the rounds, and says each as soon as it is over; whether every law held.
pub fn run(options: &Options, mut say: impl FnMut(&str)) -> bool {
    let wanted = |case: cases::Case, fault: Fault| {
        let has = |name: &str| options.only.iter().any(|only| only == name);
        let any = |names: &mut dyn Iterator<Item = &'static str>| {
            let named: Vec<&str> = names.filter(|name| has(name)).collect();
            named
        };
        let cases = any(&mut cases::CASES.iter().map(|case| case.name));
        let faults = any(&mut draw::pairs().into_iter().map(|(_, fault)| fault.name()));
        (cases.is_empty() || cases.contains(&case.name)) && (faults.is_empty() || faults.contains(&fault.name()))
    };
    let seeds = match options.seed {
        Some(seed) => vec![seed],
        None => draw::seeds(options.base, options.rounds, wanted),
    };
    if !options.json {
        say(&format!("{}\n", report::HEAD));
    }
    // A process in a namespace of its own begins in another folder.
    let whole = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let (program, scratch) = (whole(&options.program), whole(&options.scratch));
    let (mut verdicts, mut left_out) = (Vec::<Verdict>::new(), Vec::new());
    let mut is_well = true;
    for seed in seeds {
        let round = Round::draw(seed);
        match round::play(&round, &program, &scratch) {
            Ok(verdict) => {
                say(&if options.json { report::object(&verdict) } else { report::line(&verdict) });
                is_well &= verdict.broken.is_empty();
                verdicts.push(verdict);
            }
            Err(why) if round.fault == Fault::Full && why.contains("namespace") => left_out.push(why),
            Err(why) => {
                is_well = false;
                say(&format!("{} {}: seed {seed} could not be played: {why}\n", round.case.name, round.fault.name()));
            }
        }
    }
    let never = report::never_reached(&verdicts);
    is_well &= never.is_empty();
    if !options.json {
        say(&report::table(&verdicts));
        for (point, rounds) in &never {
            say(&format!("BROKEN {point} was reached in none of its rounds ({rounds}): nothing was killed there\n"));
        }
        if let Some(why) = left_out.first() {
            say(&format!("NOT PLAYED: {} rounds with a full disk: {why}\n", left_out.len()));
        }
    }
    is_well
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Options> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_read() {
        let options = parsed("--program p --scratch s --rounds 3 --only sync,http_http_disk --json").unwrap();
        assert_eq!((options.rounds, options.json, options.only.len()), (3, true, 2));
        assert_eq!(parsed("--program p --scratch s --seed 7").unwrap().seed, Some(7));
        for wrong in ["--rounds 3", "--program p --scratch s --only fsync", "--program p --scratch s --rounds x", "-x"]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert!(list().contains("tcp_tcp_disk") && list().contains("unlink"));
    }
}
