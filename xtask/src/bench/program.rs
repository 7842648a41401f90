//! `cargo xtask bench program`: what the program costs end to end, in CPU time of the whole process by the operating
//! system's accounting, beside the floor: a bare program that only reads and writes, in the same run. And beside what
//! else does the job, where it is installed; what it costs when it does nothing; and how large it is.
//!
//! Sender, program and receiver are processes of their own. The receiver counts each record by its number, so a row
//! with a lost or repeated record is red.

mod footprint;
mod parts;
mod peers;
mod report;
mod rows;

use std::path::PathBuf;

use crate::shell::{self, Fail};
use crate::workspace::Workspace;
use report::Table;
use rows::ROWS;

/// What a row's run gave.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Measured {
        /// In the row's unit.
        value: f64,
        /// What else was seen, where records flowed.
        flow: Option<Flow>,
    },
    /// It cannot be run here, and why.
    Absent(String),
}

/// How records flowed through a row.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
struct Flow {
    records_per_second: f64,
    /// The most memory that was resident.
    peak_rss_mib: f64,
    /// From the sender's clock to the receiver's, 99 of 100; absent for files.
    p99_millis: Option<f64>,
}

/// What the rows run with.
struct Bench {
    program: PathBuf,
    xtask: PathBuf,
    /// Pipelines, inputs and outputs; kept from run to run, as the input is the same.
    scratch: PathBuf,
    records: u64,
}

/// What the command line asks for.
struct Options {
    smoke: bool,
    json: bool,
    records: u64,
    turns: u64,
    only: Option<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, Fail> {
        let smoke = args.iter().any(|arg| arg == "--smoke");
        let (records, turns) = if smoke { (20_000, 1) } else { (4_000_000, 5) };
        let mut options = Self { smoke, json: false, records, turns, only: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| Fail::usage(format!("`{arg}` needs a value")));
            let number = |text: &String| {
                let number = text.parse().ok().filter(|number| *number > 0);
                number.ok_or_else(|| Fail::usage(format!("`{arg} {text}` is no count")))
            };
            match arg.as_str() {
                "--smoke" => {}
                "--json" => options.json = true,
                "--records" => options.records = number(value()?)?,
                "--turns" => options.turns = number(value()?)?,
                "--only" => options.only = Some(value()?.clone()),
                _ => {
                    return Err(Fail::usage(format!(
                        "bench program does not know `{arg}`; see `cargo xtask help bench`"
                    )));
                }
            }
        }
        Ok(options)
    }
}

/// Builds, runs all rows in turns, prints the table or one JSON object a line.
pub(super) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let options = Options::parse(args)?;
    let bench = Bench::prepare(workspace, &options)?;
    let rows: Vec<_> = ROWS
        .iter()
        .filter(|row| options.only.as_ref().is_none_or(|only| row.name.starts_with(only.as_str())))
        .collect();
    let mut table = Table::new(rows);
    for turn in 0..options.turns {
        for at in 0..table.rows().len() {
            let row = table.rows()[at];
            if !options.json {
                println!("{}", shell::dim(format!("turn {} of {}: {}", turn + 1, options.turns, row.name)));
            }
            table.add(at, (row.run)(&bench)?);
        }
    }
    print!("{}", if options.json { table.json() } else { table.text(!options.smoke) });
    Ok(())
}

impl Bench {
    /// Builds the program and the parts around it. A smoke run takes the debug build, which is there in most working
    /// copies; its figures mean nothing.
    fn prepare(workspace: &Workspace, options: &Options) -> Result<Self, Fail> {
        let mut build = shell::cargo();
        build.current_dir(&workspace.root).args(["build", "--quiet", "-p", "tidegate", "-p", "xtask", "--bins"]);
        if !options.smoke {
            build.arg("--release");
        }
        shell::run_bare(&mut build)?;
        let scratch = workspace.target.join("bench-program");
        std::fs::create_dir_all(&scratch).map_err(|error| Fail::red(format!("{}: {error}", scratch.display())))?;
        let built = workspace.target.join(if options.smoke { "debug" } else { "release" });
        Ok(Self { program: built.join("tidegate"), xtask: built.join("xtask"), scratch, records: options.records })
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of records and bytes are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_what_is_none_is_named() {
        let parse = |args: &[&str]| Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        let options = parse(&["--json", "--records", "7", "--only", "remap"]).ok().unwrap();
        assert!(options.json && !options.smoke);
        assert_eq!((options.records, options.turns, options.only.as_deref()), (7, 5, Some("remap")));
        assert!(matches!(parse(&["--records", "0"]), Err(Fail::Usage(text)) if text.contains("--records 0")));
        assert!(matches!(parse(&["--fast"]), Err(Fail::Usage(text)) if text.contains("--fast")));
        assert!(matches!(parse(&["--turns"]), Err(Fail::Usage(_))));
    }
}
