//! `tidegate dlq ls`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;
use tidegate::flow::Bytes;
use tidegate_components::letters::{self, Letter};
use tidegate_config::words::{bytes, grouped};

use crate::cli::{Done, term};

/// Which queues.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {
    /// The components whose letters are meant; all unless given.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The `data_dir` of the pipeline.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tidegate")]
    data_dir: PathBuf,
    /// One JSON object a queue.
    #[arg(long)]
    json: bool,
}

/// The most causes that are told apart, and that are printed.
const MOST_CAUSES: usize = 1_000;
const SHOWN_CAUSES: usize = 8;

/// What was found out about a queue.
#[derive(Default)]
struct Found {
    name: String,
    letters: u64,
    bytes: u64,
    disk_bytes: u64,
    damaged: u64,
    unknown: u64,
    times: Option<(String, String)>,
    causes: BTreeMap<String, u64>,
    /// Letters with causes beyond those.
    other_causes: u64,
    origins: BTreeMap<String, u64>,
}

impl Found {
    fn add(&mut self, letter: &Letter<'_>) {
        self.letters += 1;
        self.bytes += letter.row.bytes().len() as u64;
        let (first, last) = (letter.first().to_string(), letter.last().to_string());
        self.times = Some(match self.times.take() {
            None => (first, last),
            Some((oldest, newest)) => (oldest.min(first), newest.max(last)),
        });
        *self.origins.entry(letter.origin().unwrap_or("-").to_owned()).or_default() += 1;
        let is_room = self.causes.len() < MOST_CAUSES;
        match self.causes.get_mut(letter.cause()) {
            Some(count) => *count += 1,
            None if is_room => drop(self.causes.insert(letter.cause().to_owned(), 1)),
            None => self.other_causes += 1,
        }
    }

    fn by_count(&self) -> Vec<(&str, u64)> {
        let mut causes: Vec<_> = self.causes.iter().map(|(cause, count)| (cause.as_str(), *count)).collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        causes
    }

    fn json_line(&self) -> String {
        let causes: Vec<_> =
            self.by_count().into_iter().map(|(cause, count)| json!({ "cause": cause, "letters": count })).collect();
        let line = json!({
            "queue": self.name, "letters": self.letters, "record_bytes": self.bytes, "disk_bytes": self.disk_bytes,
            "oldest": self.times.as_ref().map(|(oldest, _)| oldest), "newest": self.times.as_ref().map(|(_, newest)| newest),
            "origins": self.origins, "causes": causes, "other_causes": self.other_causes,
            "damaged_records": self.damaged, "unknown_records": self.unknown,
        });
        format!("{line}\n")
    }

    fn page(&self) -> String {
        let mut text = format!(
            "{}: {} letters, {} of records, {} on disk\n",
            self.name,
            grouped(self.letters),
            bytes(Bytes::new(self.bytes)),
            bytes(Bytes::new(self.disk_bytes))
        );
        if let Some((oldest, newest)) = &self.times {
            let _ = writeln!(text, "  first refused {oldest}, last {newest}");
        }
        let causes = self.by_count();
        for (cause, count) in causes.iter().take(SHOWN_CAUSES) {
            let _ = writeln!(text, "  {:>9}  {cause}", grouped(*count));
        }
        let rest: u64 = causes.iter().skip(SHOWN_CAUSES).map(|(_, count)| count).sum::<u64>() + self.other_causes;
        if rest > 0 {
            let _ = writeln!(text, "  {:>9}  for other reasons; --json lists them", grouped(rest));
        }
        if self.damaged > 0 {
            let _ = writeln!(text, "  {:>9}  damaged on disk, and lost", grouped(self.damaged));
        }
        if self.unknown > 0 {
            let _ = writeln!(text, "  {:>9}  of a version that this program does not read", grouped(self.unknown));
        }
        text
    }
}

impl Ls {
    pub(super) fn run(&self) -> Done {
        let known = match letters::names(&self.data_dir) {
            Ok(known) => known,
            Err(error) => {
                eprintln!("tidegate: {}: {error}", self.data_dir.display());
                return Done::Wrong;
            }
        };
        let meant = if self.names.is_empty() { &known } else { &self.names };
        if meant.is_empty() && !self.json {
            term::print(&format!("no dead letters in {}\n", self.data_dir.display()));
        }
        let mut done = Done::Well;
        for name in meant {
            let Some(stock) = super::stock_of(&self.data_dir, name) else { return Done::Wrong };
            let mut found = Found { name: name.clone(), ..Found::default() };
            let looked = stock.look(|letter| {
                found.add(letter);
                true
            });
            match looked {
                Ok(looked) => {
                    (found.disk_bytes, found.damaged) = (looked.survey.disk_bytes, looked.survey.damaged());
                    found.unknown = looked.unknown;
                    term::print(&if self.json { found.json_line() } else { found.page() });
                }
                Err(error) => {
                    eprintln!("tidegate: the dead letters of {name}: {error}");
                    done = Done::Failed;
                }
            }
        }
        done
    }
}
