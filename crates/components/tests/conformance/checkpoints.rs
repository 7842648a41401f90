//! `reduce` over restarts: what comes out of all runs together has each record that was read once, whenever it was that the
//! process died. In virtual time; the file is that of the file system.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_components::Rows;
use tidegate_components::checkpoints::folder_of;
use tidegate_components::contract::{Check, Delivery, Exposure, SinkConfig, SourceConfig, StartError};
use tidegate_components::wiring::{Part, SinkSlot, SourceSlot};
use tidegate_flow::{Bytes, Cause, Meta, Nack, Outcome, Settled, Weight, mib};
use tidegate_record::{RecordId, StreamId};
use tidegate_runtime::{
    Accepted, Committer, Pipeline, PipelineBuilder, Pull, Readiness, Running, Sink, SinkPolicy, Source,
};

use crate::world::{Folder, Plug, node, transform_part, wire};

/// A file of numbered records, the place in it up to which it was settled, and what a receiver got.
#[derive(Clone)]
struct Outside(Arc<Mutex<Facts>>);

struct Facts {
    /// Whether records have ids.
    ids: bool,
    next: u64,
    end: u64,
    settled: u64,
    got: Vec<String>,
    /// When.
    times: Vec<tokio::time::Instant>,
    /// So many deliveries are refused for now.
    refuses: u32,
}

impl Outside {
    fn new(ids: bool) -> Self {
        Self(Arc::new(Mutex::new(Facts {
            ids,
            next: 0,
            end: 0,
            settled: 0,
            got: Vec::new(),
            times: Vec::new(),
            refuses: 0,
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// The world as it was when the process died: it goes on at the place that was settled.
    fn after_crash(&self) -> Self {
        let facts = self.with(|facts| Facts {
            next: facts.settled,
            got: facts.got.clone(),
            times: facts.times.clone(),
            ..*facts
        });
        Self(Arc::new(Mutex::new(facts)))
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

struct File(Outside);
struct Places(Outside);
struct Receiver(Outside);

impl Source for File {
    type Payload = Rows;
    type Position = u64;
    type Committer = Places;

    fn committer(&mut self) -> Places {
        Places(self.0.clone())
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        while self.0.with(|facts| facts.next == facts.end) {
            if self.0.with(|facts| facts.end == ALL) {
                return Ok(Readiness::Ended);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Readiness::Ready)
    }

    fn read(&mut self, room: Weight, _spare: Rows) -> Result<Pull<Rows, u64>, Cause> {
        let (from, to, ids) = self.0.with(|facts| {
            let from = facts.next;
            facts.next = facts.end.min(from + room.records.get().min(4));
            (from, facts.next, facts.ids)
        });
        let texts = (from..to).map(|n| format!(r#"{{"key":"k{}","n":{n},"sum":{n}}}"#, n % 3));
        let mut rows = Rows::from_texts(texts);
        (0..rows.len()).for_each(|row| rows.row_mut(row).parse_message().unwrap());
        if ids {
            rows.identify(RecordId::new(StreamId::of(&[b"file"]), from));
        }
        Ok(Pull { payload: rows, position: Some(to) })
    }
}

impl Committer<u64> for Places {
    async fn settled(&mut self, settled: Settled<u64>) {
        // What is not settled for good is read again at the next start.
        if settled.nack.is_none() && settled.counts.get(Outcome::Abandoned).is_zero() {
            self.0.with(|facts| facts.settled = facts.settled.max(settled.position));
        }
    }
}

impl Sink<Rows> for Receiver {
    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        self.0.with(|facts| {
            if facts.refuses > 0 {
                facts.refuses -= 1;
                return Err(Nack::transient("not now"));
            }
            let now = tokio::time::Instant::now();
            facts.times.extend(std::iter::repeat_n(now, payload.len()));
            facts.got.extend(payload.iter().map(|row| {
                let mut text = Vec::new();
                row.write_json(&mut text);
                format!("{} {}", row.id().unwrap(), String::from_utf8(text).unwrap())
            }));
            Ok(Accepted::All)
        })
    }
}

impl SourceConfig for Plug<Outside> {
    fn check(&self, _at: &mut Check<'_>) {}

    fn exposure(&self) -> Exposure {
        Exposure { delivery: Delivery::Replayed, acked: "-", blocked: "-" }
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        slot.source(File(self.0));
        Ok(())
    }
}

impl SinkConfig for Plug<Outside> {
    fn check(&self, _at: &mut Check<'_>) {}

    fn accepted(&self) -> &'static str {
        "-"
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        slot.sink(SinkPolicy { retries: 0, ..SinkPolicy::default() }, Receiver(self.0));
        Ok(())
    }
}

/// So many records there are in all.
const ALL: u64 = 120;

fn reduce() -> Value {
    json!({"type": "reduce", "group_by": ["key"], "expire_after_ms": 70, "max_events": 7, "checkpoint": "20ms",
        "merge_strategies": {"n": "array"}})
}

fn start(outside: &Outside, folder: Folder, config: Value) -> (Running, Folder) {
    let builder: PipelineBuilder = Pipeline::builder("restarts").budget(mib(64)).batch(Weight::new(4, 64 << 10));
    let nodes = vec![
        node("file", &[], Part::Source(Box::new(Plug(outside.clone())))),
        node("subject", &["file"], transform_part(config)),
        node("sink", &["subject"], Part::Sink(Box::new(Plug(outside.clone())))),
    ];
    let world = wire(&builder, nodes, "subject", folder);
    (builder.build().unwrap().start(), world.folder)
}

/// What the outputs have together: of each record how often it is in outputs that differ, and in which the sums are right.
fn counted(got: &[String]) -> BTreeMap<u64, u32> {
    let mut outputs: Vec<&String> = got.iter().collect();
    // The same output that comes twice is known by its id.
    outputs.sort();
    outputs.dedup();
    let ids: std::collections::BTreeSet<&str> = outputs.iter().filter_map(|text| text.split(' ').next()).collect();
    assert_eq!(ids.len(), outputs.len(), "an id stands for one output: {outputs:?}");
    let mut counts = BTreeMap::new();
    for output in outputs {
        let output: Value = serde_json::from_str(output.split_once(' ').unwrap().1).unwrap();
        let members: Vec<u64> = output["n"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!(output["sum"].as_u64(), Some(members.iter().sum()), "{output}");
        members.into_iter().for_each(|n| *counts.entry(n).or_insert(0) += 1);
    }
    counts
}

fn copy(from: &Folder, to: &Folder) {
    let [from, to] = [from, to].map(|folder| folder_of(&folder.0.join("data"), "subject"));
    std::fs::create_dir_all(&to).unwrap();
    let state = |folder: &Path| folder.join("state");
    if state(&from).exists() {
        std::fs::copy(state(&from), state(&to)).unwrap();
    }
}

async fn ends(running: Running) {
    let report = tokio::time::timeout(Duration::from_secs(60), running.wait()).await.expect("it comes to its end");
    report.ledger.check().unwrap();
    assert!(report.ledger.total().in_flight.is_zero());
}

/// A run that dies after so many milliseconds, and others until all is done.
async fn crashes(ids: bool, millis: &[u64]) -> (Vec<String>, u64) {
    let (mut outside, mut folder) = (Outside::new(ids), Folder::new());
    let mut again = 0;
    for (round, life) in millis.iter().enumerate() {
        outside.with(|facts| {
            facts.end = ALL.min((round as u64 + 1) * 40);
            facts.refuses = 2;
        });
        let (running, lived_in) = start(&outside, folder, reduce());
        tokio::time::sleep(Duration::from_millis(*life)).await;
        // It dies here: what it does afterwards, to its own folder and its own world, did not happen.
        let next = outside.after_crash();
        again += outside.with(|facts| facts.next - facts.settled);
        folder = Folder::new();
        copy(&lived_in, &folder);
        outside = next;
        drop(running.stop().await);
        drop(lived_in);
    }
    outside.with(|facts| (facts.end, facts.refuses) = (ALL, 0));
    let (running, _lived_in) = start(&outside, folder, reduce());
    ends(running).await;
    (outside.with(|facts| facts.got.clone()), again)
}

#[tokio::test(start_paused = true)]
async fn whenever_it_dies_each_record_with_an_id_is_in_one_output() {
    let mut died_with_some_unsettled = 0;
    for first in [1, 5, 19, 20, 21, 22, 25, 33, 41, 60, 80, 95, 120, 200] {
        for second in [3, 24, 90, 180] {
            let (got, again) = crashes(true, &[first, second]).await;
            died_with_some_unsettled += u32::from(again > 0);
            let counts = counted(&got);
            let expected: BTreeMap<u64, u32> = (0..ALL).map(|n| (n, 1)).collect();
            assert_eq!(counts, expected, "it died after {first} and {second} ms");
        }
    }
    assert!(died_with_some_unsettled > 10, "{died_with_some_unsettled}");
}

#[tokio::test(start_paused = true)]
async fn without_ids_only_what_was_read_again_can_count_twice_and_nothing_is_lost() {
    for first in [5, 22, 41, 95, 200] {
        let (got, again) = crashes(false, &[first]).await;
        let counts = counted(&got);
        assert_eq!(counts.len() as u64, ALL);
        let twice: u64 = counts.values().map(|count| u64::from(count - 1)).sum();
        assert!(twice <= again, "{twice} count twice, and {again} were read again");
    }
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_goes_on_with_open_groups_at_its_next_start() {
    let (outside, folder) = (Outside::new(true), Folder::new());
    outside.with(|facts| facts.end = 60);
    let config = json!({"type": "reduce", "expire_after_ms": 60_000, "merge_strategies": {"n": "array"}});
    let (running, folder) = start(&outside, folder, config.clone());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let report = running.drain(Duration::from_secs(10)).await;
    report.ledger.check().unwrap();
    assert_eq!(report.ledger.total().ended.get(Outcome::Absorbed).get(), 60, "the last checkpoint has them");
    assert_eq!(outside.with(|facts| (facts.settled, facts.got.len())), (60, 0));
    outside.with(|facts| facts.end = ALL);
    let (running, _folder) = start(&outside, folder, config);
    ends(running).await;
    let got = outside.with(|facts| facts.got.clone());
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(counted(&got).len() as u64, ALL);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_checkpoint_is_set_aside_and_said_to_be() {
    let (outside, folder) = (Outside::new(true), Folder::new());
    outside.with(|facts| facts.end = 8);
    let (running, folder) = start(&outside, folder, reduce());
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(running.drain(Duration::from_secs(10)).await);
    let state = folder_of(&folder.0.join("data"), "subject").join("state");
    let mut bytes = std::fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    outside.with(|facts| facts.end = 16);
    let (running, folder) = start(&outside, folder, reduce());
    tokio::time::sleep(Duration::from_millis(10)).await;
    let troubles = running.checkpoint_troubles();
    assert!(troubles[0].1.words.contains("was set aside as `state.damaged`"), "{troubles:?}");
    assert!(state.with_extension("damaged").exists());
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert!(running.checkpoint_troubles().is_empty(), "it was said for long enough");
    drop(running.drain(Duration::from_secs(10)).await);
    assert!(state.exists());
    drop(folder);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_holds_its_source_back_and_what_waited_is_saved_when_it_works() {
    let (outside, folder) = (Outside::new(true), Folder::new());
    outside.with(|facts| facts.end = 40);
    let data = folder.0.join("data");
    std::fs::write(&data, "a file where a folder should be").unwrap();
    let (running, folder) = start(&outside, folder, reduce());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let troubles = running.checkpoint_troubles();
    assert!(troubles[0].1.words.contains("its folder cannot be opened"), "{troubles:?}");
    assert_eq!(outside.with(|facts| facts.settled), 0);
    std::fs::remove_file(&data).unwrap();
    outside.with(|facts| facts.end = ALL);
    ends(running).await;
    assert_eq!(counted(&outside.with(|facts| facts.got.clone())).len() as u64, ALL);
    drop(folder);
}

#[test]
fn what_is_reserved_is_what_the_page_says() {
    let builder: PipelineBuilder = Pipeline::builder("plan").budget(mib(64));
    let nodes = vec![
        node("file", &[], Part::Source(Box::new(Plug(Outside::new(true))))),
        node("subject", &["file"], transform_part(reduce())),
        node("sink", &["subject"], Part::Sink(Box::new(Plug(Outside::new(true))))),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    drop(wire(&builder, nodes, "subject", Folder::new()));
    let plan = builder.build().unwrap();
    let held: Bytes =
        plan.memory().lines().iter().filter(|line| &*line.what == "held back").map(|line| line.minimum).sum();
    assert!((mib(9)..=mib(10)).contains(&held), "{held}");
}

/// Runs `dedupe` over the same records three times: as it was killed after so many milliseconds, and told to stop. Says which
/// records came again though they had come so long before it was killed that a checkpoint has them.
async fn again_after_a_kill(life: u64) -> (Vec<String>, usize) {
    let config = || json!({"type": "dedupe", "fields": {"match": ["n"]}, "checkpoint": "20ms"});
    let outside = Outside::new(true);
    outside.with(|facts| facts.end = 60);
    let (running, lived_in) = start(&outside, Folder::new(), config());
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(life)).await;
    let (next, folder) = (outside.after_crash(), Folder::new());
    copy(&lived_in, &folder);
    drop(running.stop().await);
    let saved_by = began + Duration::from_millis(life.saturating_sub(25));
    let (all, old) = next.with(|facts| {
        // Everything is read again.
        facts.next = 0;
        let came = facts.got.iter().zip(&facts.times);
        let old: Vec<String> = came.filter(|(_, at)| **at < saved_by).map(|(text, _)| text.clone()).collect();
        (facts.got.len(), old)
    });
    let (running, folder) = start(&next, folder, config());
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(running.drain(Duration::from_secs(10)).await);
    let after: Vec<String> = next.with(|facts| facts.got[all..].to_vec());
    assert!(after.len() + all >= 60, "nothing is lost: {all} came before, {} after", after.len());
    // And once more, as it was told to stop.
    next.with(|facts| facts.next = 0);
    let (running, _folder) = start(&next, folder, config());
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(running.drain(Duration::from_secs(10)).await);
    assert_eq!(next.with(|facts| facts.got.len()), all + after.len(), "told to stop it forgets nothing");
    (old.iter().filter(|text| after.contains(text)).cloned().collect(), old.len())
}

#[tokio::test(start_paused = true)]
async fn dedupe_knows_after_a_kill_what_was_settled_before_the_last_checkpoint() {
    let mut known = 0;
    for life in [1, 10, 22, 30, 41, 50, 77, 200] {
        let (again, old) = again_after_a_kill(life).await;
        assert!(again.is_empty(), "killed after {life} ms: {again:?}");
        known += old;
    }
    assert!(known > 60, "{known}");
}

#[tokio::test(start_paused = true)]
async fn a_key_has_after_a_restart_what_it_had_left() {
    for key in [json!({}), json!({"key_field": "{{ key }}"})] {
        let mut config = json!({"type": "throttle", "threshold": 12, "window_secs": 3600, "checkpoint": "20ms"});
        config.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        let outside = Outside::new(true);
        outside.with(|facts| facts.end = 9);
        let (running, lived_in) = start(&outside, Folder::new(), config.clone());
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Killed: the folder as it is now.
        let folder = Folder::new();
        copy(&lived_in, &folder);
        drop(running.stop().await);
        assert_eq!(outside.with(|facts| facts.got.len()), 9);
        // A run that is given nothing forgets nothing.
        let (running, folder) = start(&outside, folder, config.clone());
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(running.drain(Duration::from_secs(10)).await);
        outside.with(|facts| facts.end = ALL);
        let (running, _folder) = start(&outside, folder, config);
        ends(running).await;
        // Three keys of twelve each, or one.
        let most = if key == json!({}) { 12 } else { 36 };
        assert_eq!(outside.with(|facts| facts.got.len()), most, "{key}");
    }
}
