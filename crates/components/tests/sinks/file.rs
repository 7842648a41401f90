//! The sink `file` in real folders.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tidegate_components::contract::Depth;
use tidegate_flow::Outcome;
use tidegate_record::codec::compress::{Compression, Limits, decompress};
use tidegate_runtime::PipelineEnd;

use crate::rig::{Folder, Rig, ended, keys, problems, until};

fn sink(folder: &Folder, name: &str, more: Value) -> Value {
    let mut sink = json!({"type": "file", "path": folder.path(name), "encoding": {"codec": "text"}});
    sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sink
}

#[tokio::test]
async fn records_are_appended_to_what_is_there() {
    let folder = Folder::new();
    fs::write(folder.0.join("out.log"), "old\n").unwrap();
    let rig = Rig::new(&sink(&folder, "out.log", json!({"fsync": "every_batch"})), None);
    rig.send(["a", "b"]).await;
    rig.delivered(2).await;
    assert_eq!(folder.text("out.log"), "old\na\nb\n", "accepted is written");
    rig.send(["c"]).await;
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 3);
    assert_eq!(folder.text("out.log"), "old\na\nb\nc\n");
}

#[tokio::test]
async fn the_path_follows_the_time_and_the_fields_of_each_record() {
    let folder = Folder::new();
    let mut sink = sink(&folder, "{{ host }}/%Y-%m-%d.ndjson", json!({"timezone": "Asia/Tokyo"}));
    sink["encoding"] = json!({"codec": "json"});
    let rig = Rig::new(&sink, None);
    rig.send([
        r#"{"host":"a","timestamp":"2024-02-29T14:59:59Z","n":1}"#,
        r#"{"host":"b","timestamp":"2024-02-29T15:00:00Z","n":2}"#,
        r#"{"host":"a","timestamp":"2024-02-29T00:00:00Z","n":3}"#,
        r#"{"host":"../a","n":4}"#,
        r#"{"n":5}"#,
    ])
    .await;
    let report = rig.end().await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (4, 1), "{report}");
    assert_eq!(folder.names(), [".._a", "a", "b"]);
    let numbers = |name: &str| -> Vec<u64> {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap();
        folder.text(name).lines().map(line).collect()
    };
    assert_eq!((numbers("a/2024-02-29.ndjson"), numbers("b/2024-03-01.ndjson")), (vec![1, 3], vec![2]));
    assert_eq!(numbers(".._a/2026-11-22.ndjson"), [4], "without a time of its own, that of the read, in Tokyo");
}

#[tokio::test]
async fn a_compressed_file_is_whole_after_each_batch() {
    for (compression, codec) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let folder = Folder::new();
        let rig = Rig::new(&sink(&folder, "out", json!({"compression": compression})), None);
        let text = || {
            let packed = fs::read(folder.0.join("out")).unwrap();
            String::from_utf8(decompress(codec, &packed, Limits::default()).unwrap()).unwrap()
        };
        rig.send(["a", "b"]).await;
        rig.delivered(2).await;
        assert_eq!(text(), "a\nb\n", "{compression}");
        rig.send(["c"]).await;
        rig.end().await;
        assert_eq!(text(), "a\nb\nc\n", "{compression}");
    }
}

#[tokio::test]
async fn files_are_put_aside_by_size_and_the_oldest_goes() {
    let folder = Folder::new();
    let rig = Rig::new(&sink(&folder, "out.log", json!({"rotate": {"max_size": 4, "keep": 2}})), None);
    for (text, number) in ["aa", "bb", "cc", "dd", "ee", "ff", "gg"].into_iter().zip(1..) {
        rig.send([text]).await;
        rig.delivered(number).await;
    }
    rig.end().await;
    assert_eq!(folder.names(), ["out.log", "out.log.1", "out.log.2"]);
    let texts = ["out.log", "out.log.1", "out.log.2"].map(|name| folder.text(name));
    assert_eq!(texts, ["gg\n", "ee\nff\n", "cc\ndd\n"], "aa and bb were the oldest");
}

#[tokio::test]
async fn more_files_than_may_be_open_are_written_in_turn() {
    let folder = Folder::new();
    let rig =
        Rig::new(&sink(&folder, "{{ k }}.log", json!({"max_open_files": 2, "encoding": {"codec": "json"}})), None);
    for round in 0..3 {
        rig.send((0..10).map(|k| format!("{{\"k\":{k},\"round\":{round}}}"))).await;
    }
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 30);
    assert_eq!(folder.names().len(), 10);
    assert!(folder.names().iter().all(|name| folder.text(name).lines().count() == 3));
}

/// `/dev/null` takes everything and cannot be synced: so it tells when that is asked for.
#[tokio::test]
async fn files_are_synced_before_a_batch_is_accepted_at_the_end_or_never() {
    let null =
        |fsync: &str| json!({"type": "file", "path": "/dev/null", "encoding": {"codec": "text"}, "fsync": fsync});
    let run = async |fsync: &str| {
        let rig = Rig::new(&null(fsync), None);
        rig.send(["a"]).await;
        rig.end().await
    };
    let never = run("never").await;
    assert_eq!((ended(&never, Outcome::Delivered), never.end), (1, PipelineEnd::Completed));
    let on_flush = run("on_flush").await;
    assert_eq!(ended(&on_flush, Outcome::Delivered), 1, "{on_flush}");
    assert!(on_flush.end.to_string().contains("cannot sync a file"), "{}", on_flush.end);
    let every_batch = run("every_batch").await;
    assert_eq!(ended(&every_batch, Outcome::Delivered), 0, "not accepted before it is synced: {every_batch}");
}

/// While a pipe is not read, what comes gathers; then it is written at once.
#[tokio::test]
async fn what_gathers_while_the_disk_is_busy_is_written_in_one_block() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let rig = Rig::new(&sink(&folder, "pipe", json!({"batch": {"timeout_secs": 1000}})), None);
    rig.send(["first"]).await;
    // The sink has it, and waits for a reader.
    until("the first to be taken", || rig.taken("out") >= 1).await;
    for number in 0..100 {
        rig.send([format!("line {number}")]).await;
    }
    until("the others to gather", || rig.accepted() == 101).await;
    let reader = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let (mut pipe, mut block, mut blocks) = (fs::File::open(pipe).unwrap(), vec![0; 1 << 16], Vec::new());
        loop {
            let count = pipe.read(&mut block).unwrap();
            if count == 0 {
                return blocks;
            }
            blocks.push(String::from_utf8(block[..count].to_vec()).unwrap());
        }
    });
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 101);
    let blocks = reader.await.unwrap();
    assert!(blocks.len() <= 2, "two writes: {blocks:?}");
    assert_eq!(blocks.concat().lines().count(), 101);
}

#[tokio::test]
async fn files_are_put_aside_by_age() {
    let folder = Folder::new();
    let rig = Rig::new(&sink(&folder, "out.log", json!({"rotate": {"max_age": "1ms"}})), None);
    for (text, number) in ["a", "b"].into_iter().zip(1..) {
        rig.send([text]).await;
        rig.delivered(number).await;
        // Real time, as the files are real.
        let began = tokio::time::Instant::now();
        until("the file to be old", || began.elapsed().as_millis() > 5).await;
    }
    rig.end().await;
    assert_eq!((folder.text("out.log.1"), folder.text("out.log")), ("a\n".to_owned(), "b\n".to_owned()));
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew() {
    let folder = Folder::new();
    let rig = Rig::new(&sink(&folder, "out.log", json!({"idle_timeout_secs": 0.001})), None);
    rig.send(["a"]).await;
    rig.delivered(1).await;
    fs::rename(folder.0.join("out.log"), folder.0.join("moved.log")).unwrap();
    // Real time, as the files are real: idle for longer than the limit of a millisecond.
    let began = tokio::time::Instant::now();
    until("the file to be idle", || began.elapsed().as_millis() > 5).await;
    rig.send(["b"]).await;
    rig.end().await;
    assert_eq!((folder.text("moved.log"), folder.text("out.log")), ("a\n".to_owned(), "b\n".to_owned()));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_waited_for() {
    let folder = Folder::new();
    // A file where the folder should be: this also stops a superuser, whom permissions do not.
    fs::write(folder.0.join("sub"), "in the way").unwrap();
    let rig = Rig::new(&sink(&folder, "sub/out.log", json!({})), None);
    rig.send(["a", "b"]).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.ended(Outcome::Delivered), 0);
    fs::remove_file(folder.0.join("sub")).unwrap();
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 2);
    assert_eq!(folder.text("sub/out.log"), "a\nb\n");
}

#[tokio::test]
async fn a_full_disk_holds_the_pipeline_and_gives_nothing_up() {
    let rig = Rig::new(&json!({"type": "file", "path": "/dev/full", "encoding": {"codec": "text"}}), None);
    rig.send(["a"]).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!((rig.ended(Outcome::Delivered), rig.ended(Outcome::Returned)), (0, 0), "it is tried again");
    drop(rig);
}

#[test]
fn what_cannot_work_is_reported_by_key() {
    let with = |more: Value| {
        let mut sink = json!({"type": "file", "path": "out.log", "encoding": {"codec": "json"}});
        sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        keys(&sink)
    };
    assert_eq!(with(json!({})), Vec::<String>::new());
    assert_eq!(with(json!({"path": ""})), ["path"]);
    assert_eq!(with(json!({"path": "logs/"})), ["path"]);
    assert_eq!(with(json!({"path": "a-%!"})), ["path"]);
    assert_eq!(with(json!({"path": "a-{{ b"})), ["path"]);
    assert_eq!(with(json!({"timezone": "Mars/Phobos"})), ["timezone"]);
    assert_eq!(with(json!({"max_open_files": 0})), ["max_open_files"]);
    assert_eq!(with(json!({"rotate": {}})), ["rotate"]);
    assert_eq!(with(json!({"rotate": {"max_size": 0}})), ["rotate.max_size"]);
    assert_eq!(with(json!({"rotate": {"max_age": "1d", "keep": 0}})), ["rotate.keep"]);
}

#[test]
fn a_path_that_cannot_be_written_to_is_found_beforehand() {
    let folder = Folder::new();
    fs::write(folder.0.join("file"), "").unwrap();
    let found = |name: &str| problems(&sink(&folder, name, json!({})), Depth::Surroundings);
    assert_eq!(found("new/folders/out-%Y.log"), []);
    let inside_a_file = found("file/out.log");
    assert!(inside_a_file[0].text.contains("is no folder"), "{inside_a_file:?}");
    let closed = folder.0.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let closed = found("closed/{{ x }}.log");
    assert!(closed[0].text.contains("cannot make files in the folder"), "{closed:?}");
    let folder_itself = found("new/../");
    assert!(folder_itself.iter().any(|problem| problem.text.contains("names no file")), "{folder_itself:?}");
    fs::create_dir(folder.0.join("folder")).unwrap();
    let taken = found("folder");
    assert!(taken[0].text.contains("is a folder, not a file"), "{taken:?}");
    assert_eq!(found("file"), [], "a file that is there is appended to");
}
