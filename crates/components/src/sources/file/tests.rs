//! Real files in a folder of their own, under a clock that is paused.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_flow::{Nack, Outcome as Ended};
use tidegate_runtime::{Report, Running};

use super::FileConfig;
use crate::contract::{BuildContext, Check, Depth, SourceConfig as _};
use crate::testkit::{self, Folder, Kept};

/// A folder with files, and what a sink keeps of them.
struct Bed {
    folder: Folder,
    cx: BuildContext,
    kept: Kept,
    more: String,
}

impl Bed {
    /// A source of `*.log*` in the folder, with `more` keys.
    fn new(more: &str) -> Self {
        let folder = testkit::folder();
        let cx = BuildContext::new(folder.path().join("data")).host("here");
        Self { folder, cx, kept: Kept::default(), more: more.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn start(&self) -> Running {
        let include = self.path("*.log*");
        let json = format!(r#"{{"include":[{:?}]{}}}"#, include.to_str().unwrap(), self.more);
        let config: FileConfig = serde_json::from_str(&json).unwrap();
        testkit::start(&self.cx, &self.kept, |slot| Box::new(config).start(slot).unwrap())
    }

    async fn arrive(&self, count: usize) -> Vec<String> {
        let arrived = tokio::time::timeout(Duration::from_secs(300), self.kept.arrive(count)).await;
        arrived.unwrap_or_else(|_| panic!("{count} records did not arrive, only {}", self.kept.texts().len()))
    }

    fn counted(&self, name: &str) -> u64 {
        self.cx.meters.get("source", name)
    }
}

async fn drain(running: Running) -> Report {
    let report = running.drain(Duration::from_secs(20)).await;
    report.ledger.check().unwrap();
    report
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("line {number}\n")).collect()
}

fn expected(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_there_and_lines_that_are_added() {
    let bed = Bed::new("");
    bed.append("a.log", "one\r\n\ntwo\nthr");
    let running = bed.start();
    assert_eq!(bed.arrive(2).await, ["one", "two"]);
    bed.append("a.log", "ee\n");
    bed.append("b.log", "other\n");
    let mut texts = bed.arrive(4).await;
    texts.sort();
    assert_eq!(texts, ["one", "other", "three", "two"]);
    assert_eq!(bed.counted("files_begun"), 2);
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn the_envelope_names_the_file() {
    let bed = Bed::new(r#","file_key":"path""#);
    bed.append("a.log", "x\n");
    let running = bed.start();
    bed.arrive(1).await;
    let json: serde_json::Value = serde_json::from_str(&bed.kept.whole()[0]).unwrap();
    assert_eq!((&json["message"], &json["host"], &json["source_type"]), (&"x".into(), &"here".into(), &"file".into()));
    assert_eq!(json["path"], bed.path("a.log").to_str().unwrap());
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..100));
    let mut writer = OpenOptions::new().append(true).open(bed.path("a.log")).unwrap();
    let running = bed.start();
    bed.arrive(100).await;
    fs::rename(bed.path("a.log"), bed.path("a.log.1")).unwrap();
    // Who writes has not noticed yet.
    writer.write_all(lines(100..200).as_bytes()).unwrap();
    bed.append("a.log", &lines(200..300));
    let mut texts = bed.arrive(300).await;
    texts.sort_by_key(|text| text[5..].parse::<u32>().unwrap());
    assert_eq!(texts, expected(0..300));
    drain(running).await;
    assert_eq!(bed.kept.texts().len(), 300, "each once");
}

#[tokio::test(start_paused = true)]
async fn a_truncated_file_is_counted_and_read_anew() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..100));
    let running = bed.start();
    bed.arrive(100).await;
    File::create(bed.path("a.log")).unwrap().write_all(b"anew\n").unwrap();
    assert_eq!(bed.arrive(101).await[100], "anew");
    assert_eq!(bed.counted("files_truncated"), 1);
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_copied_before_it_was_truncated_is_read_from_the_copy() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..400_000));
    bed.kept.shut(true);
    let running = bed.start();
    // Everything between the file and the sink fills up.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!((1..1 << 20).contains(&bed.counted("bytes_read")));
    fs::copy(bed.path("a.log"), bed.path("a.log.1")).unwrap();
    File::create(bed.path("a.log")).unwrap();
    bed.kept.shut(false);
    bed.append("a.log", &lines(400_000..400_010));
    let texts = bed.arrive(400_010).await;
    let all: std::collections::HashSet<&String> = texts.iter().collect();
    assert_eq!(all.len(), 400_010, "nothing is lost");
    drain(running).await;
    let twice = bed.kept.texts().len() - 400_010;
    assert_eq!((twice, bed.counted("files_truncated")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_what_was_read_is_not_read_again() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..100));
    let running = bed.start();
    bed.arrive(100).await;
    fs::copy(bed.path("a.log"), bed.path("a.log.1")).unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    bed.append("a.log", &lines(100..101));
    bed.arrive(101).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    drain(running).await;
    assert_eq!(bed.kept.texts(), expected(0..101));
}

#[tokio::test(start_paused = true)]
async fn files_with_the_same_first_line_are_told_apart_by_the_rest() {
    let bed = Bed::new("");
    bed.append("a.log", "time,level\na 1\na 2\n");
    bed.append("b.log", "time,level\nb 1\n");
    let running = bed.start();
    let mut texts = bed.arrive(5).await;
    texts.sort();
    assert_eq!(texts, ["a 1", "a 2", "b 1", "time,level", "time,level"]);
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_it_was_also_after_a_rename() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..100));
    let running = bed.start();
    bed.arrive(100).await;
    drain(running).await;
    fs::rename(bed.path("a.log"), bed.path("a.log.1")).unwrap();
    bed.append("a.log.1", &lines(100..150));
    bed.append("a.log", &lines(150..200));
    let running = bed.start();
    bed.arrive(200).await;
    drain(running).await;
    let mut texts = bed.kept.texts();
    texts.sort_by_key(|text| text[5..].parse::<u32>().unwrap());
    assert_eq!(texts, expected(0..200));
}

#[tokio::test(start_paused = true)]
async fn positions_can_be_forgotten() {
    let bed = Bed::new(r#","ignore_checkpoints":true"#);
    bed.append("a.log", &lines(0..10));
    for round in 1..=2 {
        let running = bed.start();
        bed.arrive(10 * round).await;
        drain(running).await;
    }
    assert_eq!(bed.kept.texts().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_delivered_is_read_again_after_a_stop() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..20_000));
    let running = bed.start();
    bed.arrive(1).await;
    bed.kept.shut(true);
    bed.append("a.log", &lines(20_000..40_000));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let report = running.stop().await;
    let delivered = report.ledger.total().ended.get(Ended::Delivered).get();
    assert!(delivered < 40_000, "{report}");
    bed.kept.shut(false);
    let running = bed.start();
    bed.arrive(40_000).await;
    drain(running).await;
    let mut texts = bed.kept.texts();
    texts.sort_by_key(|text| text[5..].parse::<u32>().unwrap());
    texts.dedup();
    assert_eq!(texts, expected(0..40_000));
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_refuses_for_now_is_read_again() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..100));
    for _ in 0..6 {
        bed.kept.refuse(Nack::transient("not now"));
    }
    let running = bed.start();
    let texts = bed.arrive(100).await;
    assert_eq!(texts, expected(0..100));
    assert!(bed.counted("reads_repeated") >= 1);
    let report = drain(running).await;
    assert!(report.ledger.total().ended.get(Ended::Returned).get() >= 100, "{report}");
    // And what was read again is not read once more.
    let running = bed.start();
    bed.append("a.log", "last\n");
    assert_eq!(bed.arrive(101).await[100], "last");
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_refuses_for_good_is_counted_and_passed_over() {
    let bed = Bed::new("");
    bed.append("a.log", "bad\n");
    bed.kept.refuse(Nack::permanent("bad"));
    let running = bed.start();
    while bed.counted("records_refused") == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bed.append("a.log", "good\n");
    assert_eq!(bed.arrive(1).await, ["good"]);
    drain(running).await;
}

/// What each line is known by; the same every time that it came.
fn known(bed: &Bed) -> std::collections::HashMap<String, tidegate_record::RecordId> {
    let mut known = std::collections::HashMap::new();
    for (text, id) in bed.kept.texts().into_iter().zip(bed.kept.ids()) {
        let id = id.unwrap();
        assert_eq!(*known.entry(text.clone()).or_insert(id), id, "{text}");
    }
    known
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_read_again_has_the_same_id_after_a_stop_and_after_a_refusal() {
    let bed = Bed::new("");
    bed.append("a.log", &lines(0..20_000));
    bed.append("b.log", "of b 1\nof b 2\n");
    let running = bed.start();
    bed.arrive(1).await;
    bed.kept.shut(true);
    bed.append("a.log", &lines(20_000..30_000));
    tokio::time::sleep(Duration::from_secs(5)).await;
    running.stop().await;
    for _ in 0..6 {
        bed.kept.refuse(Nack::transient("not now"));
    }
    bed.kept.shut(false);
    // Also where the lines go on under another name.
    fs::rename(bed.path("b.log"), bed.path("c.log")).unwrap();
    bed.append("c.log", "of b 3\n");
    let running = bed.start();
    let mut known_of = known(&bed);
    while known_of.len() < 30_003 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        known_of = known(&bed);
    }
    drain(running).await;
    let numbers = expected(0..30_000).into_iter().map(|text| known_of[&text].number);
    assert!(numbers.eq(0..30_000), "counted from where the file was begun");
    let of_b: Vec<_> = (1..=3).map(|number| known_of[&format!("of b {number}")]).collect();
    assert!(of_b.windows(2).all(|pair| pair[0].stream == pair[1].stream && pair[0] < pair[1]), "{of_b:?}");
    assert_ne!(of_b[0].stream, known_of["line 0"].stream);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_anew_to_the_same_file_has_other_ids() {
    let bed = Bed::new("");
    bed.append("a.log", "time,level\na 1\n");
    let running = bed.start();
    bed.arrive(2).await;
    File::create(bed.path("a.log")).unwrap().write_all(b"time,level\n").unwrap();
    bed.arrive(3).await;
    bed.append("a.log", "b 1\n");
    bed.arrive(4).await;
    drain(running).await;
    let ids = bed.kept.ids();
    assert_eq!(bed.kept.texts(), ["time,level", "a 1", "time,level", "b 1"]);
    assert!(ids[0] != ids[2] && ids[1] != ids[3], "{ids:?}");
    // Cut otherwise, the same lines could have the numbers of others.
    let bed = Bed { more: r#","max_line_bytes":1000"#.to_owned(), ..bed };
    let running = bed.start();
    bed.append("a.log", "b 2\n");
    bed.arrive(5).await;
    drain(running).await;
    let ids = bed.kept.ids();
    assert_ne!(ids[4].unwrap().stream, ids[3].unwrap().stream);
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_file_is_stored_before_its_first_record_goes_on() {
    let bed = Bed::new("");
    bed.append("a.log", "one\n");
    let running = bed.start();
    bed.arrive(1).await;
    let stored = fs::read_to_string(bed.path("data/source/positions.json")).unwrap();
    assert!(stored.contains(&bed.kept.ids()[0].unwrap().stream.to_string()), "{stored}");
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn read_from_the_end_is_for_files_that_are_there_at_the_start() {
    let bed = Bed::new(r#","read_from":"end""#);
    bed.append("old.log", "old\n");
    let running = bed.start();
    while bed.counted("files_begun") == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bed.append("old.log", "added\n");
    bed.append("new.log", "new\n");
    let mut texts = bed.arrive(2).await;
    texts.sort();
    assert_eq!(texts, ["added", "new"]);
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn long_lines_are_skipped_wherever_reads_end_and_others_need_a_larger_slab() {
    let bed = Bed::new(r#","max_line_bytes":200000"#);
    for length in [70_000, 200_000, 200_001, 1_000_000] {
        bed.append("a.log", &format!("{}\n", "x".repeat(length)));
    }
    bed.append("a.log", "short\n");
    let running = bed.start();
    let lengths: Vec<usize> = bed.arrive(3).await.iter().map(String::len).collect();
    assert_eq!(lengths, [70_000, 200_000, 5]);
    assert_eq!(bed.counted("frames_oversize"), 2);
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_line_of_a_file_that_is_gone_needs_no_newline() {
    let bed = Bed::new("");
    bed.append("a.log", "one\nunfinished");
    let running = bed.start();
    bed.arrive(1).await;
    fs::remove_file(bed.path("a.log")).unwrap();
    assert_eq!(bed.arrive(2).await[1], "unfinished");
    while bed.counted("files_left") == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drain(running).await;
}

#[tokio::test(start_paused = true)]
async fn files_that_are_left_out() {
    let bed = Bed::new("");
    let exclude = bed.path("debug*");
    let bed = Bed { more: format!(r#","exclude":[{:?}],"ignore_older_secs":3600"#, exclude.to_str().unwrap()), ..bed };
    bed.append("debug.log", "debug\n");
    bed.append("old.log", "old\n");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().append(true).open(bed.path("old.log")).unwrap().set_modified(long_ago).unwrap();
    bed.append("a.log", "a\n");
    let running = bed.start();
    bed.arrive(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    drain(running).await;
    assert_eq!(bed.kept.texts(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn positions_that_cannot_be_read_stop_the_start() {
    let bed = Bed::new("");
    fs::create_dir_all(bed.path("data/source")).unwrap();
    fs::write(bed.path("data/source/positions.json"), "{").unwrap();
    let config: FileConfig = serde_json::from_str(r#"{"include":["x"]}"#).unwrap();
    let mut refused = None;
    let builder = tidegate_runtime::Pipeline::builder("test");
    let (port, _flow) = builder.boxed_port::<crate::Rows>("kept");
    let slot = crate::wiring::lone_source("source", &bed.cx, &builder, &port);
    if let Err(error) = Box::new(config).start(slot) {
        refused = Some(error.to_string());
    }
    assert!(refused.unwrap().contains("mend or remove the file"));
    // Whoever checks the file hears of it before.
    let cx = bed.cx.for_node(&"source".into());
    let problems = |json: &str| {
        let config: FileConfig = serde_json::from_str(json).unwrap();
        let mut check = Check::new(&cx, Depth::Surroundings);
        config.check(&mut check);
        check.into_problems()
    };
    let found = problems(r#"{"include":["x"]}"#);
    assert!(found.len() == 1 && found[0].text.contains("cannot be read"), "{found:?}");
    assert_eq!(problems(r#"{"include":["x"],"ignore_checkpoints":true}"#), []);
}

#[test]
fn what_cannot_work_is_reported_by_key() {
    let folder = testkit::folder();
    fs::write(folder.path().join("file"), "").unwrap();
    let cx = BuildContext::new(folder.path().join("file/data"));
    let config: FileConfig =
        serde_json::from_str(r#"{"include":["/var/[log"],"max_line_bytes":0,"fingerprint":{"lines":0},"file_key":""}"#)
            .unwrap();
    let mut check = Check::new(&cx, Depth::Surroundings);
    config.check(&mut check);
    let keys: Vec<String> = check.into_problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["include[0]", "max_line_bytes", "fingerprint.lines", "file_key", "data_dir"]);
}
