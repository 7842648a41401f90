//! [`Keeper`]: the ledger of a running pipeline, kept in `data_dir/ledger/ledger.json` across runs.
//!
//! It is written when the pipeline starts, every second when something has changed, and when it ends: to another file that
//! then takes the place of the first, synced before at the start, every ten seconds and at the end. Nothing of it is on the
//! way of the records. A run whose file says
//! nothing of its end ended without a word; what it had in flight when it was last heard of is told apart.
//!
//! Where the folder cannot be had (no `data_dir`, another process, a read-only disk), no ledger is kept, and it is said once.
//!
//! ```text
//! { "version": 1, "run": 3, "process": 77, "admin": "127.0.0.1:8686", "started": T, "at": T, "end": "completed" | null,
//!   "now":    { "sources": { NAME: { "accepted": N, "in_flight": N, OUTCOME: N, ... } },
//!               "stages": [ { "name", "kind", "input", ..., "held" } ], "shed": { "STAGE (REASON)": N },
//!               "buffers": { NAME: { "waiting": N, "dropped": N, "expired": N, "damaged": N } }, "balances": true | WHY },
//!   "before": { "runs": N, "sources": { NAME: { ..., "unheard": N } }, "shed": { ... }, "buffers": { ... },
//!               "killed": [ { "run", "started", "at", "in_flight" } ], "unbalanced": [ WHY ] } }
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tidegate::flow::Ledger;
use tidegate::{Report, View};
use tidegate_components::folder_lock::FolderLock;
use tidegate_components::wall_time;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::report::end_word;

/// How often it is written, where something has changed, and which of these times so that it survives a loss of power.
const WRITE_EVERY: Duration = Duration::from_secs(1);
const SYNC_EVERY: u32 = 10;

/// Of so many runs that ended without a word it is known when.
const MOST_KILLED: usize = 32;

/// The form of the file.
pub(super) const VERSION: u64 = 1;

/// Where the ledger of the pipelines of a data directory is.
pub(super) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("ledger/ledger.json")
}

/// Keeps the ledger of one run.
pub(super) struct Keeper {
    view: Arc<View>,
    run: Arc<Run>,
    ticks: Interval,
    ticked: u32,
}

/// What does not change while a pipeline runs.
struct Run {
    path: PathBuf,
    /// All but `at`, `end` and `now`.
    head: Map<String, Value>,
    /// What was written last.
    written: Mutex<Value>,
    _lock: FolderLock,
}

impl Keeper {
    /// Begins a run. `None` where no ledger can be kept; why was said.
    pub(super) fn begin(data_dir: &Path, view: Arc<View>, admin: Option<std::net::SocketAddr>) -> Option<Self> {
        if !data_dir.is_dir() {
            tracing::debug!("no ledger is kept: there is no folder {}", data_dir.display());
            return None;
        }
        let path = path_in(data_dir);
        let begun = path
            .parent()
            .map_or(Err("no folder".to_owned()), |folder| FolderLock::take(folder).map_err(|error| error.to_string()));
        let (run, before) = match begun.and_then(|lock| Ok((lock, before(&path)?))) {
            Ok((lock, (number, before))) => {
                let head = json!({
                    "version": VERSION, "pipeline": view.name(), "run": number, "process": std::process::id(),
                    "admin": admin.map(|admin| admin.to_string()), "started": wall_time().to_string(),
                });
                let head = head.as_object().cloned().unwrap_or_default();
                (Run { path, head, written: Mutex::default(), _lock: lock }, before)
            }
            Err(why) => {
                tracing::info!("the ledger of this run is not kept for `tidegate audit`: {why}");
                return None;
            }
        };
        let mut run = run;
        run.head.insert("before".to_owned(), before);
        let mut ticks = interval(WRITE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self { view, run: Arc::new(run), ticks, ticked: 0 })
    }

    /// Writes it once more, where something has changed. Cancel-safe.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
        let (run, now) = (Arc::clone(&self.run), snapshot(&self.view.ledger(), &self.view));
        let sync = self.ticked.is_multiple_of(SYNC_EVERY);
        self.ticked = self.ticked.wrapping_add(1);
        // What goes wrong may pass: the next one is a second away.
        drop(tokio::task::spawn_blocking(move || run.write(now, Value::Null, sync)).await);
    }

    /// The ledger now, as text.
    pub(super) fn teller(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let (run, view) = (Arc::clone(&self.run), Arc::clone(&self.view));
        move || run.whole(snapshot(&view.ledger(), &view), Value::Null).to_string()
    }

    /// The run has ended.
    pub(super) fn end(self, report: &Report) {
        let now = snapshot(&report.ledger, &self.view);
        if let Err(error) = self.run.write(now, json!(end_word(&report.end)), true) {
            tracing::warn!("the end of this run is not in {}: {error}", self.run.path.display());
        }
    }
}

impl Run {
    fn whole(&self, now: Value, end: Value) -> Value {
        let mut whole = self.head.clone();
        whole.extend([("at".to_owned(), json!(wall_time().to_string())), ("end".to_owned(), end)]);
        whole.insert("now".to_owned(), now);
        Value::Object(whole)
    }

    fn write(&self, now: Value, end: Value, sync: bool) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written == now && end.is_null() {
            return Ok(());
        }
        replace(&self.path, &self.whole(now.clone(), end), sync)?;
        *written = now;
        Ok(())
    }
}

/// Replaces a file as a whole; with `sync` so that it survives a loss of power.
fn replace(path: &Path, value: &Value, sync: bool) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)
}

/// The number of the next run, and what was before it.
fn before(path: &Path) -> Result<(u64, Value), String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((1, json!({ "runs": 0 }))),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let old: Value = match serde_json::from_slice(&text) {
        Ok(old) => old,
        Err(error) => {
            let aside = path.with_extension("json.spoilt");
            fs::rename(path, &aside).map_err(|error| format!("{}: {error}", path.display()))?;
            tracing::warn!(
                "the ledger of earlier runs cannot be read ({error}); it is begun anew, that is {}",
                aside.display()
            );
            return Ok((1, json!({ "runs": 0 })));
        }
    };
    if old["version"] != VERSION {
        return Err(format!("{} is of version {}, which this program does not know", path.display(), old["version"]));
    }
    let run = old["run"].as_u64().unwrap_or(0);
    Ok((run + 1, fold(&old)))
}

/// What the runs so far came to: those before the last, and the last.
pub(super) fn fold(last: &Value) -> Value {
    let (before, now) = (&last["before"], &last["now"]);
    let was_killed = last["end"].is_null();
    let mut sources = before["sources"].as_object().cloned().unwrap_or_default();
    let mut in_flight = 0;
    for (name, counts) in now["sources"].as_object().into_iter().flatten() {
        let mut counts = counts.clone();
        let flying = counts["in_flight"].as_u64().unwrap_or(0);
        in_flight += flying;
        if let Some(counts) = counts.as_object_mut() {
            counts.remove("in_flight");
            // A run that was heard to the end had abandoned what was in flight.
            counts.insert("unheard".to_owned(), json!(flying));
        }
        add(sources.entry(name.clone()).or_insert_with(|| json!({})), &counts);
    }
    let mut shed = before["shed"].clone();
    add(&mut shed, &now["shed"]);
    let mut buffers = before["buffers"].clone();
    let mut lost = now["buffers"].clone();
    for counts in lost.as_object_mut().into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        // That is on the disk, and counted there.
        counts.remove("waiting");
    }
    add(&mut buffers, &lost);
    let mut killed = before["killed"].as_array().cloned().unwrap_or_default();
    if was_killed {
        killed.push(json!({
            "run": last["run"], "started": last["started"], "at": last["at"], "in_flight": in_flight,
        }));
        let surplus = killed.len().saturating_sub(MOST_KILLED);
        killed.drain(..surplus);
    }
    let mut unbalanced = before["unbalanced"].as_array().cloned().unwrap_or_default();
    if let Some(why) = now["balances"].as_str() {
        unbalanced.push(json!(why));
    }
    let runs = before["runs"].as_u64().unwrap_or(0) + 1;
    json!({
        "runs": runs, "sources": sources, "shed": shed, "buffers": buffers, "killed": killed, "unbalanced": unbalanced,
    })
}

/// Adds numbers to those of the same name, however deep.
pub(super) fn add(to: &mut Value, more: &Value) {
    match more {
        Value::Object(more) => {
            if !to.is_object() {
                *to = json!({});
            }
            if let Some(to) = to.as_object_mut() {
                more.iter().for_each(|(name, more)| add(to.entry(name.clone()).or_insert(Value::Null), more));
            }
        }
        Value::Number(more) => *to = json!(to.as_u64().unwrap_or(0).saturating_add(more.as_u64().unwrap_or(0))),
        _ => {}
    }
}

/// A ledger, and what is in buffers on disk, as data.
fn snapshot(ledger: &Ledger, view: &View) -> Value {
    let number = |(name, records): (&str, tidegate::Records)| (name.to_owned(), json!(records.get()));
    let sources: Map<String, Value> = ledger
        .sources
        .iter()
        .map(|(name, counts)| {
            let own = [("accepted", counts.accepted), ("in_flight", counts.in_flight)].into_iter();
            let ended = counts.ended.iter().map(|(outcome, records)| (outcome.name(), records));
            (name.clone(), Value::Object(own.chain(ended).map(number).collect()))
        })
        .collect();
    let stages: Vec<Value> = ledger
        .stages
        .iter()
        .map(|(name, kind, flows)| {
            let mut stage = Map::from_iter([("name".to_owned(), json!(name)), ("kind".to_owned(), json!(kind.name()))]);
            stage.extend(
                [("input", flows.input), ("born", flows.born)].into_iter().chain(flows.accounted()).map(number),
            );
            Value::Object(stage)
        })
        .collect();
    let shed: Map<String, Value> =
        ledger.shed().map(|(stage, why, records)| (format!("{stage} ({why})"), json!(records.get()))).collect();
    let buffers: Map<String, Value> = view
        .logs()
        .iter()
        .map(|(name, log)| {
            let counts = log.counts();
            let counts = json!({
                "waiting": log.waiting_records(), "dropped": counts.dropped, "expired": counts.expired,
                "damaged": counts.damaged,
            });
            (name.to_string(), counts)
        })
        .collect();
    let balances = ledger.check().map_or_else(|imbalance| json!(imbalance.to_string()), |()| json!(true));
    json!({ "sources": sources, "stages": stages, "shed": shed, "buffers": buffers, "balances": balances })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up_and_one_that_was_killed_is_told_apart() {
        let run = |run: u64, end: Value, before: Value| {
            json!({
                "version": 1, "run": run, "started": "then", "at": "later", "end": end, "before": before,
                "now": {
                    "sources": { "app": { "accepted": 10, "in_flight": 3, "delivered": 7 } },
                    "shed": { "out (full)": 1 },
                    "buffers": { "out": { "waiting": 5, "dropped": 2 } },
                    "balances": if run == 2 { json!("3 records vanished") } else { json!(true) },
                },
            })
        };
        let first = fold(&run(1, Value::Null, json!({ "runs": 0 })));
        let second = fold(&run(2, json!("completed"), first));
        let app = json!({ "accepted": 20, "delivered": 14, "unheard": 6 });
        assert_eq!(
            (&second["sources"]["app"], &second["runs"], &second["shed"]["out (full)"]),
            (&app, &json!(2), &json!(2))
        );
        assert_eq!(second["buffers"], json!({ "out": { "dropped": 4 } }), "what waits is counted where it is");
        assert_eq!(second["killed"], json!([{ "run": 1, "started": "then", "at": "later", "in_flight": 3 }]));
        assert_eq!(second["unbalanced"], json!(["3 records vanished"]));
    }
}
