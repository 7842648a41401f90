//! `tidegate buffer`: what is in the buffers on disk, whether a pipeline uses them or not; and offline, repairs and
//! deliveries of what was left.

mod repair;
mod replay;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate::flow::Bytes;
use tidegate_components::buffers::{self, Stored};
use tidegate_config::nearest::did_you_mean;
use tidegate_config::words::{bytes, grouped};

use super::{Done, term};

/// Look at buffers on disk, also while a pipeline uses them.
///
/// `ls`, `inspect` and `verify` lock, start and change nothing; `repair` and `replay` want that no pipeline has the buffer open.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate buffer ls                            every buffer: records that wait, bytes, damage
  tidegate buffer ls --data-dir ./data --json
  tidegate buffer inspect search --limit 3      the oldest records that wait
  tidegate buffer verify                        read everything; exit code 1 where something is damaged
  tidegate buffer repair search --dry-run       what a repair would do
  tidegate buffer replay search pipeline.yaml --to archive    what was left, to another component")]
pub(super) struct Buffer {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the buffers: how many records wait, what they take, and whether they are whole.
    Ls(Place),
    /// Print records of a buffer, one JSON object a line, those that wait longest first.
    Inspect(Inspect),
    /// Read every frame of the buffers, and say which are damaged.
    Verify(Place),
    /// Mend a buffer that no pipeline has open: set aside what cannot be read, and delete nothing.
    Repair(repair::Repair),
    /// Deliver what was left in the buffer of a component that was renamed or removed.
    Replay(replay::Replay),
}

/// Which buffers.
#[derive(Debug, clap::Args)]
struct Place {
    /// The components whose buffers are meant; all unless given.
    #[arg(value_name = "COMPONENT")]
    names: Vec<String>,
    /// The `data_dir` of the pipeline.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tidegate")]
    data_dir: PathBuf,
    /// One JSON object a buffer.
    #[arg(long)]
    json: bool,
}

/// Which records.
#[derive(Debug, clap::Args)]
struct Inspect {
    /// The component whose buffer is meant.
    #[arg(value_name = "COMPONENT")]
    name: String,
    /// The `data_dir` of the pipeline.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tidegate")]
    data_dir: PathBuf,
    /// From the record with this number on; the first that is not settled unless given.
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: u64,
}

impl Buffer {
    pub(super) fn run(self) -> Done {
        match self.verb {
            Verb::Ls(place) => place.list(),
            Verb::Inspect(inspect) => inspect.run(),
            Verb::Verify(place) => place.verify(),
            Verb::Repair(repair) => repair.run(),
            Verb::Replay(replay) => replay.run(),
        }
    }
}

/// What was found out about a buffer.
struct Found {
    name: String,
    waiting: u64,
    damaged: u64,
    disk_bytes: u64,
    segments: usize,
    /// What else is wrong.
    wrong: Vec<String>,
}

impl Place {
    /// The buffers that are meant, each looked at; `None` where one cannot be.
    fn found(&self) -> Option<Vec<Found>> {
        let known = match buffers::names(&self.data_dir) {
            Ok(known) => known,
            Err(error) => {
                eprintln!("tidegate: {}: {error}", self.data_dir.display());
                return None;
            }
        };
        if let Some(unknown) = self.names.iter().find(|name| !known.contains(name)) {
            no_such_buffer(unknown, &known, &self.data_dir);
            return None;
        }
        let meant = if self.names.is_empty() { &known } else { &self.names };
        meant.iter().map(|name| self.look(name)).collect()
    }

    fn look(&self, name: &str) -> Option<Found> {
        let survey = match buffers::survey(&self.data_dir, name) {
            Ok(survey) => survey,
            Err(error) => {
                eprintln!("tidegate: the buffer of {name}: {error}");
                return None;
            }
        };
        let mut wrong = Vec::new();
        if survey.whole_slots == 0 && !survey.segments.is_empty() {
            wrong.push("no cursor file is whole: everything is delivered again, from the oldest record on".to_owned());
        }
        for segment in &survey.segments {
            if let Some(version) = segment.unknown_version {
                wrong.push(format!(
                    "segment {:x} is of version {version}, which this program does not read",
                    segment.number
                ));
            } else if segment.damaged_header && segment.frames > 0 {
                wrong.push(format!(
                    "the header of segment {:x} is damaged; its records are read all the same",
                    segment.number
                ));
            }
        }
        wrong.extend(survey.strays.iter().map(|name| format!("the file {name} belongs to no log")));
        let (waiting, damaged) = (survey.end().saturating_sub(survey.settled()), survey.damaged());
        let (disk_bytes, segments) = (survey.disk_bytes, survey.segments.len());
        Some(Found {
            name: name.to_owned(),
            waiting: waiting - damaged.min(waiting),
            damaged,
            disk_bytes,
            segments,
            wrong,
        })
    }

    fn list(&self) -> Done {
        let Some(found) = self.found() else { return Done::Wrong };
        let text = if self.json { found.iter().map(Found::json_line).collect() } else { table(&found, &self.data_dir) };
        term::print(&text);
        Done::Well
    }

    fn verify(&self) -> Done {
        let Some(found) = self.found() else { return Done::Wrong };
        let mut text = String::new();
        for buffer in &found {
            if self.json {
                text.push_str(&buffer.json_line());
                continue;
            }
            let state = match buffer.damaged {
                0 => "whole".to_owned(),
                damaged => format!("{} records are damaged; they are passed over and counted", grouped(damaged)),
            };
            let _ = writeln!(text, "{}: {state}; {} records wait", buffer.name, grouped(buffer.waiting));
            buffer.wrong.iter().for_each(|wrong| text.push_str(&format!("  {wrong}\n")));
        }
        term::print(&text);
        if found.iter().all(|buffer| buffer.damaged == 0 && buffer.wrong.is_empty()) {
            Done::Well
        } else {
            Done::Failed
        }
    }
}

impl Found {
    fn json_line(&self) -> String {
        let Self { name, waiting, damaged, disk_bytes, segments, wrong } = self;
        let line = json!({
            "buffer": name, "waiting_records": waiting, "damaged_records": damaged, "disk_bytes": disk_bytes,
            "segments": segments, "wrong": wrong,
        });
        format!("{line}\n")
    }
}

fn table(found: &[Found], data_dir: &std::path::Path) -> String {
    if found.is_empty() {
        return format!("no buffers in {}\n", data_dir.display());
    }
    let width = found.iter().map(|buffer| buffer.name.chars().count()).max().unwrap_or(0).max(6);
    let mut text =
        format!("{:width$}  {:>15}  {:>10}  {:>8}  state\n", "buffer", "waiting records", "on disk", "segments");
    for Found { name, waiting, damaged, disk_bytes, segments, wrong } in found {
        let state = match (damaged, wrong.len()) {
            (0, 0) => "whole".to_owned(),
            (0, _) => "see `tidegate buffer verify`".to_owned(),
            (damaged, _) => format!("{} records are damaged", grouped(*damaged)),
        };
        let (waiting, disk) = (grouped(*waiting), bytes(Bytes::new(*disk_bytes)));
        let _ = writeln!(text, "{name:width$}  {waiting:>15}  {disk:>10}  {segments:>8}  {state}");
    }
    text
}

fn no_such_buffer(name: &str, known: &[String], data_dir: &std::path::Path) {
    let near = did_you_mean(name, known.iter().map(String::as_str)).map(|help| format!("; {help}")).unwrap_or_default();
    eprintln!("tidegate: {} has no buffer of a component `{name}`{near}", data_dir.display());
}

impl Inspect {
    fn run(&self) -> Done {
        let known = buffers::names(&self.data_dir).unwrap_or_default();
        if !known.contains(&self.name) {
            no_such_buffer(&self.name, &known, &self.data_dir);
            return Done::Wrong;
        }
        match self.print() {
            Ok(0) => Done::Well,
            Ok(unknown) => {
                eprintln!("tidegate: {} records are of a version that this program does not read", grouped(unknown));
                Done::Failed
            }
            Err(error) => {
                eprintln!("tidegate: the buffer of {}: {error}", self.name);
                Done::Failed
            }
        }
    }

    /// Says how many records could not be read.
    fn print(&self) -> io::Result<u64> {
        let from = match self.from {
            Some(from) => from,
            None => buffers::oldest(&self.data_dir, &self.name)?,
        };
        let mut left = self.limit;
        let see = |record: &Stored<'_>| {
            if left > 0 {
                term::print(&line(record));
            }
            left = left.saturating_sub(1);
            left > 0
        };
        let (_, unknown) = buffers::records(&self.data_dir, &self.name, from, see)?;
        Ok(unknown)
    }
}

fn line(record: &Stored<'_>) -> String {
    let parsed: Value = serde_json::from_slice(record.json)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(record.json).into_owned()));
    let mut line = json!({ "number": record.number, "at": record.at.to_string(), "record": parsed });
    if let Some(note) = &record.meta.dead_letter {
        line["dead_letter"] =
            json!({ "node": &*note.origin, "cause": note.nack.cause.as_str(), "attempts": note.attempts });
    }
    format!("{line}\n")
}
