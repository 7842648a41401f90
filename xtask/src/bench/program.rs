//! `cargo xtask bench program`: what the program costs end to end, in CPU time of the whole process by the operating
//! system's accounting, beside the floor: a bare program that only reads and writes, in the same run.
//!
//! Sender, program and receiver are processes of their own. The receiver counts each record by its number, so a row
//! with a lost or repeated record is red.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Child, Cost, poll};
use crate::rig::RECORD_BYTES;
use crate::shell::{self, Fail};
use crate::workspace::Workspace;

const REMAP: &str = "\
transforms:
  parse:
    type: remap
    inputs: [in]
    source: |
      . = parse_json!(.message)
      .pipeline = \"edge\"
  keep:
    type: filter
    inputs: [parse]
    condition: '.level != \"debug\"'
";

/// One row of the table.
struct Row {
    name: &'static str,
    /// The row that it is set against.
    floor: Option<&'static str>,
    /// The most CPU microseconds a record may cost; the most times the floor.
    target: Option<Target>,
    run: fn(&Bench) -> Result<Outcome, Fail>,
}

enum Target {
    Micros(f64),
    TimesFloor(f64),
    MicrosAndFloor(f64),
}

/// What one run gave.
#[derive(Copy, Clone, Default)]
struct Outcome {
    /// CPU microseconds a record.
    micros: f64,
    records_per_second: f64,
    rss_mib: f64,
    p99_millis: f64,
}

const ROWS: &[Row] = &[
    Row { name: "floor_tcp", floor: None, target: None, run: |bench| bench.tcp(Middle::Floor) },
    Row {
        name: "passthrough_tcp",
        floor: Some("floor_tcp"),
        target: Some(Target::TimesFloor(1.3)),
        run: |bench| bench.tcp(Middle::Program { transforms: "", last: "in", codec: "text" }),
    },
    Row {
        name: "remap_tcp",
        floor: Some("floor_tcp"),
        target: Some(Target::Micros(0.7)),
        run: |bench| bench.tcp(Middle::Program { transforms: REMAP, last: "keep", codec: "json" }),
    },
    Row { name: "floor_file", floor: None, target: None, run: Bench::file_floor },
    Row { name: "remap_file", floor: Some("floor_file"), target: Some(Target::MicrosAndFloor(0.7)), run: Bench::file },
];

/// What stands between sender and receiver.
enum Middle {
    Floor,
    Program { transforms: &'static str, last: &'static str, codec: &'static str },
}

struct Bench {
    program: PathBuf,
    xtask: PathBuf,
    scratch: PathBuf,
    records: u64,
}

/// Builds, runs all rows in turns, prints the table or one JSON object a line.
pub(super) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let smoke = args.iter().any(|arg| arg == "--smoke");
    let json = args.iter().any(|arg| arg == "--json");
    let bench = Bench::prepare(workspace, if smoke { 100_000 } else { 4_000_000 })?;
    let turns = if smoke { 1 } else { 5 };
    let mut outcomes: Vec<Vec<Outcome>> = ROWS.iter().map(|_| Vec::new()).collect();
    for turn in 0..turns {
        for (row, outcomes) in ROWS.iter().zip(&mut outcomes) {
            if !json {
                println!("{}", shell::dim(format!("turn {} of {turns}: {}", turn + 1, row.name)));
            }
            outcomes.push((row.run)(&bench)?);
        }
    }
    let medians: Vec<Outcome> = outcomes.iter_mut().map(|outcomes| median(outcomes)).collect();
    print!("{}", report(&medians, json));
    Ok(())
}

fn median(outcomes: &mut [Outcome]) -> Outcome {
    outcomes.sort_by(|a, b| a.micros.total_cmp(&b.micros));
    outcomes.get(outcomes.len() / 2).copied().unwrap_or_default()
}

fn report(medians: &[Outcome], json: bool) -> String {
    let mut text = String::new();
    if !json {
        text.push_str("row                CPU us/record    records/s   RSS MiB   p99 ms   times floor   target\n");
    }
    for (row, outcome) in ROWS.iter().zip(medians) {
        let floor =
            row.floor.and_then(|name| ROWS.iter().position(|row| row.name == name)).map(|at| medians[at].micros);
        let verdict = match (&row.target, floor) {
            (Some(Target::Micros(most)), _) => judged(outcome.micros <= *most, format!("<= {most} us")),
            (Some(Target::TimesFloor(most)), Some(floor)) => {
                judged(outcome.micros <= floor * most, format!("<= {most} x floor"))
            }
            (Some(Target::MicrosAndFloor(most)), Some(floor)) => {
                judged(outcome.micros <= floor + most, format!("<= {most} us + floor"))
            }
            _ => "-".to_owned(),
        };
        let Outcome { micros, records_per_second, rss_mib, p99_millis } = outcome;
        if json {
            let floor = floor.map_or("null".to_owned(), |floor| format!("{floor:.4}"));
            let _ = writeln!(
                text,
                "{{\"name\":\"{}\",\"value\":{micros:.4},\"unit\":\"us/record\",\"baseline\":{{\"floor\":{floor}}},\
                 \"records_per_second\":{records_per_second:.0},\"rss_mib\":{rss_mib:.1},\"p99_ms\":{p99_millis:.1}}}",
                row.name
            );
            continue;
        }
        let times = floor.map_or("-".to_owned(), |floor| format!("{:.2}", micros / floor));
        let _ = writeln!(
            text,
            "{:<18} {micros:>13.3} {records_per_second:>12.0} {rss_mib:>9.1} {p99_millis:>8.1} {times:>13}   {verdict}",
            row.name
        );
    }
    text
}

fn judged(met: bool, target: String) -> String {
    format!("{target}: {}", if met { shell::green("met") } else { shell::red("not met") })
}

impl Bench {
    fn prepare(workspace: &Workspace, records: u64) -> Result<Self, Fail> {
        let mut build = shell::cargo();
        build.current_dir(&workspace.root).args([
            "build",
            "--quiet",
            "--release",
            "-p",
            "tidegate",
            "-p",
            "xtask",
            "--bins",
        ]);
        shell::run_bare(&mut build)?;
        let scratch = workspace.target.join("bench-program");
        std::fs::create_dir_all(&scratch).map_err(|error| Fail::red(format!("{}: {error}", scratch.display())))?;
        let binary = |name: &str| workspace.target.join("release").join(name);
        Ok(Self { program: binary("tidegate"), xtask: binary("xtask"), scratch, records })
    }

    fn rig(&self, part: &str, options: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(["rig", part]);
        for (key, value) in options {
            command.arg(format!("--{key}")).arg(value);
        }
        command
    }

    /// The program with a pipeline file of this text.
    fn program(&self, text: &str) -> Result<Command, Fail> {
        let file = self.write("pipeline.yaml", text)?;
        let mut command = Command::new(&self.program);
        command.arg("run").arg(file).arg("--quiet");
        Ok(command)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Fail> {
        let path = self.scratch.join(name);
        std::fs::write(&path, text).map_err(|error| Fail::red(format!("{}: {error}", path.display())))?;
        Ok(path)
    }

    fn tcp(&self, middle: Middle) -> Result<Outcome, Fail> {
        let mut receiver = Child::start(&mut self.rig("receive", &[("listen", "127.0.0.1:0")]))?;
        let to = receiver.line()?;
        let (mut measured, at, kept) = match middle {
            Middle::Floor => {
                let mut floor = Child::start(&mut self.rig("pass", &[("listen", "127.0.0.1:0"), ("to", &to)]))?;
                let at = floor.line()?;
                (floor, at, self.records)
            }
            Middle::Program { transforms, last, codec } => {
                let at = free_address()?;
                let text = format!(
                    "memory: 32MiB\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{at}\" }}\n{transforms}sinks:\n  \
                     out: {{ type: socket, mode: tcp, inputs: [{last}], address: \"{to}\", encoding: {{ codec: {codec} }} }}\n"
                );
                let kept = if transforms.is_empty() { self.records } else { self.records - self.records.div_ceil(10) };
                let program = Child::start(&mut self.program(&text)?)?;
                wait_for_listener(&at)?;
                (program, at, kept)
            }
        };
        let records = self.records.to_string();
        shell::capture(&mut self.rig("send", &[("to", &at), ("records", &records)]))?;
        let seen = receiver.until_received(kept)?;
        let cost = measured.cost()?;
        measured.stop();
        self.outcome(cost, &seen, kept)
    }

    fn file_floor(&self) -> Result<Outcome, Fail> {
        let (from, into) = self.files()?;
        let mut copy = self.rig("copy", &[("from", &text(&from)), ("into", &text(&into))]);
        let cost = Child::start(&mut copy)?.cost_at_end()?;
        let seen = shell::capture(&mut self.rig("count", &[("file", &text(&into))]))?;
        self.outcome(cost, &seen, self.records)
    }

    fn file(&self) -> Result<Outcome, Fail> {
        let (from, into) = self.files()?;
        let kept = self.records - self.records.div_ceil(10);
        let pipeline = format!(
            "memory: 32MiB\ndata_dir: {data}\nsources:\n  in: {{ type: file, include: [\"{from}\"], read_from: beginning, \
             ignore_checkpoints: true }}\n{REMAP}sinks:\n  out: {{ type: file, inputs: [keep], path: \"{into}\", encoding: \
             {{ codec: json }} }}\n",
            data = text(&self.scratch),
            from = text(&from),
            into = text(&into),
        );
        let mut program = Child::start(&mut self.program(&pipeline)?)?;
        // `{"pipeline":"edge"}` makes each record longer by this much.
        let bytes = kept * (RECORD_BYTES + ",\"pipeline\":\"edge\"".len()) as u64;
        program.until(Duration::from_secs(300), || std::fs::metadata(&into).is_ok_and(|data| data.len() >= bytes))?;
        let cost = program.cost()?;
        program.stop();
        let seen = shell::capture(&mut self.rig("count", &[("file", &text(&into))]))?;
        self.outcome(cost, &seen, kept)
    }

    /// The input, written once, and a fresh path for the output.
    fn files(&self) -> Result<(PathBuf, PathBuf), Fail> {
        let (from, into) = (self.scratch.join(format!("in-{}.ndjson", self.records)), self.scratch.join("out.ndjson"));
        if !from.exists() {
            let records = self.records.to_string();
            shell::capture(&mut self.rig("generate", &[("file", &text(&from)), ("records", &records)]))?;
        }
        let _ = std::fs::remove_file(&into);
        Ok((from, into))
    }

    fn outcome(&self, cost: Cost, seen: &str, kept: u64) -> Result<Outcome, Fail> {
        let seen: serde_json::Value =
            serde_json::from_str(seen.trim()).map_err(|error| Fail::red(format!("{seen}: {error}")))?;
        let number = |key: &str| seen[key].as_f64().unwrap_or_default();
        if number("unique") != float(kept) || number("repeated") + number("foreign") > 0.0 {
            return Err(Fail::red(format!("{kept} records were to arrive once each; the receiver saw {seen}")));
        }
        Ok(Outcome {
            micros: cost.cpu.as_secs_f64() * 1e6 / float(self.records),
            records_per_second: float(kept) / (number("micros").max(cost.wall.as_secs_f64()) / 1e6).max(1e-9),
            rss_mib: cost.peak_rss_mib,
            p99_millis: number("p99_us") / 1e3,
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn free_address() -> Result<String, Fail> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map(|address| address.to_string()).map_err(|error| Fail::red(format!("no free port: {error}")))
}

fn wait_for_listener(address: &str) -> Result<(), Fail> {
    let found = poll(Duration::from_secs(10), || std::net::TcpStream::connect(address).is_ok());
    if found { Ok(()) } else { Err(Fail::red(format!("nobody listens on {address} after 10 s"))) }
}
