//! `tidegate audit`: what became of every record, now, in this run and in all before, in words.

mod tell;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tidegate_components::buffers;
use tidegate_components::letters::{self, Stock};

use self::tell::{Audit, Kept};
use super::{Done, ledger, term};

/// Say what became of every record: in the run at hand and in all before it.
///
/// Reads the ledger that the program keeps in its data directory, asks the program itself where it runs (at the address
/// of its metrics), and looks into the buffers and dead letters on disk. Nothing is locked or changed.
///
/// Exit code 1 where a law does not balance: in = out and held for each stage and edge, accepted = ended and in flight for
/// each source. That is a bug; please report it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate audit                               where each record is that is not delivered, and what to do
  tidegate audit --data-dir ./data
  tidegate audit --json | jq .not_delivered")]
pub(super) struct AuditArgs {
    /// The `data_dir` of the pipeline.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tidegate")]
    data_dir: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// How long the program may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

impl AuditArgs {
    pub(super) fn run(self) -> Done {
        let path = ledger::path_in(&self.data_dir);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) => {
                eprintln!(
                    "tidegate: there is no ledger to read, {}: {error}; name the `data_dir` of the pipeline with --data-dir \
                     (a run keeps its ledger where that folder exists)",
                    path.display()
                );
                return Done::Wrong;
            }
        };
        let stored: Value = match serde_json::from_slice(&text) {
            Ok(stored) => stored,
            Err(error) => {
                eprintln!("tidegate: {} cannot be read: {error}; the next run begins it anew", path.display());
                return Done::Wrong;
            }
        };
        if stored["version"] != ledger::VERSION {
            eprintln!("tidegate: {} is of another version; use the program that wrote it", path.display());
            return Done::Wrong;
        }
        let live = live(&stored);
        let runs = live.is_some() || is_alive(&stored);
        let audit = Audit::of(live.as_ref().unwrap_or(&stored), runs, live.is_some(), &self.kept());
        if self.json {
            term::print(&format!("{}\n", audit.json()));
        } else {
            term::print(&audit.page());
        }
        if audit.balances() { Done::Well } else { Done::Failed }
    }

    /// What is kept on disk.
    fn kept(&self) -> Vec<Kept> {
        let mut kept = Vec::new();
        for name in buffers::names(&self.data_dir).unwrap_or_default() {
            if let Ok(survey) = buffers::survey(&self.data_dir, &name) {
                let waiting = survey.end().saturating_sub(survey.settled()).saturating_sub(survey.damaged());
                kept.push(Kept::Buffer { name, waiting });
            }
        }
        for name in letters::names(&self.data_dir).unwrap_or_default() {
            let Ok(stock) = Stock::of_letters(&self.data_dir, &name) else { continue };
            let mut letters = tell::Letters::default();
            let looked = stock.look(|letter| {
                letters.add(letter.cause());
                true
            });
            if looked.is_ok() {
                kept.push(Kept::Letters { name, letters });
            }
        }
        kept
    }
}

/// The ledger of the run at hand, as the program has it now.
fn live(stored: &Value) -> Option<Value> {
    if !stored["end"].is_null() {
        return None;
    }
    let address = stored["admin"].as_str()?.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(b"GET /ledger HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let live: Value = serde_json::from_str(body).ok().filter(|_| head.contains(" 200 "))?;
    // Another program may have that address now.
    let is_same = ["run", "process", "started"].iter().all(|key| live[key] == stored[key]);
    is_same.then_some(live)
}

/// Whether the process that wrote it is there.
fn is_alive(stored: &Value) -> bool {
    let process = stored["process"].as_u64().unwrap_or(0);
    stored["end"].is_null() && process > 0 && std::path::Path::new(&format!("/proc/{process}")).exists()
}
