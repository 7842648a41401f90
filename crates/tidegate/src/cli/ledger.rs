//! [`Keeper`]: the ledger of a running pipeline, kept in `data_dir/ledger/ledger.json` across runs.
//!
//! It is written when the pipeline starts, every five seconds in which something has changed, and when it ends: to another
//! file, which is synced, then takes the place of the first, and then the folder is synced. So after a loss of power there is
//! the one before or the new one, whole. Nothing of it is on the way of the records. A run whose file says nothing of its end
//! ended without a word; what it had in flight when it was last heard of is told apart.
//!
//! A file that cannot be read is set aside as `ledger.json.spoilt`, which is said, and the ledger begun anew.
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

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tidegate::flow::Ledger;
use tidegate::{Report, View};
use tidegate_components::folder_lock::FolderLock;
use tidegate_components::wall_time;
use tidegate_runtime::durable::{Disk, DiskFile as _, RealDisk};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::report::end_word;

/// How often it is written, where something has changed. Each time costs two syncs.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Of so many runs that ended without a word it is known when: the last ones.
const MOST_KILLED: usize = 32;

/// Of so many runs that did not balance it is known why: the last ones.
const MOST_UNBALANCED: usize = 32;

/// The file that counts, the next one while it is written, and one that could not be read.
const NAME: &str = "ledger.json";
const NEW: &str = "ledger.json.new";
const SPOILT: &str = "ledger.json.spoilt";

/// The form of the file.
pub(super) const VERSION: u64 = 1;

/// Where the ledger of the pipelines of a data directory is.
pub(super) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("ledger").join(NAME)
}

/// Keeps the ledger of one run.
pub(super) struct Keeper {
    view: Arc<View>,
    run: Arc<Run>,
    ticks: Interval,
    ticked: u64,
}

/// What does not change while a pipeline runs.
struct Run {
    path: PathBuf,
    /// All but `at`, `end` and `now`.
    head: Map<String, Value>,
    book: Book<RealDisk>,
    _lock: FolderLock,
}

/// The file, of which only what is newer than what was written last replaces it.
struct Book<D> {
    disk: D,
    written: Mutex<Written>,
}

/// What was written last.
#[derive(Default)]
struct Written {
    now: Value,
    /// The number of the write. Writes are done beside the one who asks for them, and may come to their turn in any order.
    number: u64,
}

/// The number of the last write of a run: nothing comes after its end.
const END: u64 = u64::MAX;

impl Keeper {
    /// Begins a run. `None` where no ledger can be kept; why was said.
    pub(super) fn begin(data_dir: &Path, view: Arc<View>, admin: Option<std::net::SocketAddr>) -> Option<Self> {
        if !data_dir.is_dir() {
            tracing::debug!("no ledger is kept: there is no folder {}", data_dir.display());
            return None;
        }
        let path = path_in(data_dir);
        let begun = path.parent().map_or(Err("no folder".to_owned()), |folder| {
            let lock = FolderLock::take(folder).map_err(|error| error.to_string())?;
            Ok((lock, RealDisk::at(folder).map_err(|error| format!("{}: {error}", folder.display()))?))
        });
        let begun = begun.and_then(|(lock, disk)| {
            let before = before(&disk).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok((lock, disk, before))
        });
        let (run, before) = match begun {
            Ok((lock, disk, (number, before))) => {
                let head = json!({
                    "version": VERSION, "pipeline": view.name(), "run": number, "process": std::process::id(),
                    "admin": admin.map(|admin| admin.to_string()), "started": wall_time().to_string(),
                });
                let head = head.as_object().cloned().unwrap_or_default();
                (Run { path, head, book: Book::on(disk), _lock: lock }, before)
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
        self.ticked += 1;
        let number = self.ticked;
        // What goes wrong may pass: the next one is seconds away. Whoever cancels this does not cancel the write.
        drop(tokio::task::spawn_blocking(move || run.write(number, now, Value::Null)).await);
    }

    /// The ledger now, as text.
    pub(super) fn teller(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let (run, view) = (Arc::clone(&self.run), Arc::clone(&self.view));
        move || run.whole(snapshot(&view.ledger(), &view), Value::Null).to_string()
    }

    /// The run has ended.
    pub(super) fn end(self, report: &Report) {
        let now = snapshot(&report.ledger, &self.view);
        if let Err(error) = self.run.write(END, now, json!(end_word(&report.end))) {
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

    fn write(&self, number: u64, now: Value, end: Value) -> io::Result<()> {
        self.book.write(number, now, |now| self.whole(now, end))
    }
}

impl<D: Disk> Book<D> {
    fn on(disk: D) -> Self {
        Self { disk, written: Mutex::default() }
    }

    /// Writes what `whole` makes of it, unless nothing has changed or something newer was written. When it is done, it
    /// survives a loss of power.
    fn write(&self, number: u64, now: Value, whole: impl FnOnce(Value) -> Value) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if number <= written.number {
            return Ok(());
        }
        written.number = number;
        if written.now == now && number != END {
            return Ok(());
        }
        replace(&self.disk, &serde_json::to_vec_pretty(&whole(now.clone()))?)?;
        written.now = now;
        Ok(())
    }
}

/// Replaces the file as a whole. A file whose sync failed is never synced again: another is made.
fn replace(disk: &impl Disk, text: &[u8]) -> io::Result<()> {
    match disk.remove(NEW) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = disk.create(NEW, text.len() as u64)?;
    file.write_at(0, text)?;
    file.sync()?;
    drop(file);
    disk.rename(NEW, NAME)?;
    disk.sync_names()
}

/// The number of the next run, and what was before it.
fn before(disk: &impl Disk) -> io::Result<(u64, Value)> {
    let nothing = || Ok((1, json!({ "runs": 0 })));
    if !disk.names()?.iter().any(|name| name == NAME) {
        return nothing();
    }
    let file = disk.open(NAME)?;
    let mut text = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX)];
    let read = file.read_at(0, &mut text)?;
    let old = serde_json::from_slice(&text[..read]).map_err(|error| error.to_string());
    let old = old.and_then(|old: Value| match old["version"].as_u64() {
        Some(_) => Ok(old),
        None => Err("it says no version".to_owned()),
    });
    match old {
        Ok(old) if old["version"] == VERSION => Ok((old["run"].as_u64().unwrap_or(0) + 1, fold(&old))),
        Ok(old) => {
            let why = format!("it is of version {}, which this program does not know", old["version"]);
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
        Err(why) => {
            disk.rename(NAME, SPOILT)?;
            disk.sync_names()?;
            tracing::warn!(
                "the ledger of earlier runs cannot be read ({why}); it is begun anew, that is beside it as `{SPOILT}`"
            );
            nothing()
        }
    }
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
        let surplus = unbalanced.len().saturating_sub(MOST_UNBALANCED);
        unbalanced.drain(..surplus);
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
    use tidegate_runtime::durable::{Fault, SimulatedDisk};

    use super::*;

    /// A ledger that says so much.
    fn said(accepted: u64, end: Value) -> impl FnOnce(Value) -> Value {
        move |now| json!({ "version": VERSION, "run": accepted, "end": end, "now": now })
    }

    fn stored(disk: &SimulatedDisk) -> Option<Value> {
        let file = disk.open(NAME).ok()?;
        let mut text = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        file.read_at(0, &mut text).unwrap();
        Some(serde_json::from_slice(&text).unwrap())
    }

    #[test]
    fn a_write_that_comes_to_its_turn_after_a_newer_one_or_after_the_end_does_nothing() {
        let disk = SimulatedDisk::new(1);
        let book = Book::on(disk.clone());
        book.write(2, json!(2), said(2, Value::Null)).unwrap();
        book.write(1, json!(1), said(1, Value::Null)).unwrap();
        assert_eq!(stored(&disk).unwrap()["now"], 2, "an older tick");
        book.write(END, json!(4), said(4, json!("completed"))).unwrap();
        book.write(3, json!(3), said(3, Value::Null)).unwrap();
        let stored = stored(&disk).unwrap();
        assert_eq!((&stored["now"], &stored["end"]), (&json!(4), &json!("completed")), "a tick after the end");
    }

    #[test]
    fn where_nothing_has_changed_the_disk_is_not_touched_but_an_end_is_written() {
        let disk = SimulatedDisk::new(1);
        let book = Book::on(disk.clone());
        book.write(1, json!({ "app": 7 }), said(7, Value::Null)).unwrap();
        let calls = disk.calls();
        for number in 2..100 {
            book.write(number, json!({ "app": 7 }), said(7, Value::Null)).unwrap();
        }
        assert_eq!(disk.calls(), calls, "an idle program");
        book.write(END, json!({ "app": 7 }), said(7, json!("completed"))).unwrap();
        assert_eq!(stored(&disk).unwrap()["end"], "completed");
    }

    #[test]
    fn whenever_the_power_goes_the_old_or_the_new_ledger_is_there_and_once_written_the_new_one() {
        let calls = {
            let disk = SimulatedDisk::new(0);
            let book = Book::on(disk.clone());
            book.write(1, json!(1), said(1, Value::Null)).unwrap();
            let before = disk.calls();
            book.write(2, json!(2), said(2, Value::Null)).unwrap();
            disk.calls() - before
        };
        assert!(calls >= 6, "{calls}");
        for seed in 0..100 {
            for call in 0..=calls {
                let disk = SimulatedDisk::new(seed);
                let book = Book::on(disk.clone());
                book.write(1, json!(1), said(1, Value::Null)).unwrap();
                disk.plan(disk.calls() + call, Fault::Power);
                let is_written = book.write(2, json!("two, which is longer"), said(2, Value::Null)).is_ok();
                disk.mend();
                disk.crash();
                let is_new = stored(&disk).unwrap()["run"] == 2;
                assert!(is_new || stored(&disk).unwrap()["run"] == 1, "seed {seed} call {call}");
                assert!(is_new || !is_written, "seed {seed} call {call}: it was said to be written");
                // And the next run goes on with it.
                let (run, before) = before(&disk).unwrap();
                assert_eq!((run, &before["runs"]), (if is_new { 3 } else { 2 }, &json!(1)));
            }
        }
    }

    #[test]
    fn a_ledger_that_cannot_be_read_is_set_aside_and_one_of_another_version_stays() {
        for (text, is_spoilt) in [
            ("", true),
            ("{ \"version\": 1, \"run\"", true),
            ("\0\0\0\0", true),
            ("null", true),
            ("{ \"version\": 2 }", false),
        ] {
            let disk = SimulatedDisk::new(1);
            let mut file = disk.create(NAME, text.len() as u64).unwrap();
            file.write_at(0, text.as_bytes()).unwrap();
            let found = before(&disk);
            let names = disk.names().unwrap();
            if is_spoilt {
                assert_eq!((found.unwrap(), names), ((1, json!({ "runs": 0 })), vec![SPOILT.to_owned()]), "{text:?}");
            } else {
                assert!(found.unwrap_err().to_string().contains("version 2"));
                assert_eq!(names, [NAME]);
            }
        }
    }

    #[test]
    fn of_runs_that_did_not_balance_the_last_are_kept() {
        let mut before = json!({ "runs": 0 });
        for run in 0..100 {
            let now = json!({ "balances": format!("{run} records vanished") });
            before = fold(&json!({ "run": run, "end": "completed", "before": before, "now": now }));
        }
        let kept = before["unbalanced"].as_array().unwrap();
        assert_eq!((kept.len(), kept.last().unwrap()), (MOST_UNBALANCED, &json!("99 records vanished")));
    }

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
