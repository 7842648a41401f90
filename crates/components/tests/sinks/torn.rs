//! The sink `file` behind a process that was killed while it wrote: what was accepted can be read, and nothing is lost.

use std::fs;

use serde_json::{Value, json};
use tidegate_record::codec::compress::{Compression, Limits, compress, decompress};

use crate::rig::{Folder, Rig, until};

/// Has these records written to `out` by a sink of its own.
async fn write<const N: usize>(folder: &Folder, more: Value, texts: [&str; N]) {
    let mut sink = json!({"type": "file", "path": folder.path("out"), "encoding": {"codec": "json"}});
    sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let rig = Rig::new(&sink, None);
    rig.send(texts).await;
    rig.delivered(N as u64).await;
    rig.end().await;
}

#[tokio::test]
async fn a_line_that_was_torn_is_put_aside_and_the_next_is_whole() {
    let folder = Folder::new();
    for (before, after, aside) in [
        ("{\"torn\":", "{\"id\":1}\n", Some("{\"torn\":\n")),
        ("{\"id\":0}\n{\"torn\":", "{\"id\":0}\n{\"id\":1}\n", Some("{\"torn\":\n")),
        ("somebody's\nown words", "somebody's\n{\"id\":1}\n", Some("own words\n")),
        ("{\"id\":0}", "{\"id\":0}\n{\"id\":1}\n", None),
        ("{\"id\":0}\n", "{\"id\":0}\n{\"id\":1}\n", None),
        ("", "{\"id\":1}\n", None),
    ] {
        fs::write(folder.0.join("out"), before).unwrap();
        drop(fs::remove_file(folder.0.join("out.torn")));
        write(&folder, json!({}), [r#"{"id":1}"#]).await;
        let found = fs::read_to_string(folder.0.join("out.torn")).ok();
        assert_eq!((folder.text("out").as_str(), found.as_deref()), (after, aside), "{before}");
    }
}

#[tokio::test]
async fn a_long_torn_line_is_found_from_its_end() {
    let folder = Folder::new();
    let torn = "x".repeat(100_000);
    fs::write(folder.0.join("out"), format!("{{\"id\":0}}\n{torn}")).unwrap();
    write(&folder, json!({}), [r#"{"id":1}"#]).await;
    assert_eq!((folder.text("out"), folder.text("out.torn")), ("{\"id\":0}\n{\"id\":1}\n".into(), torn + "\n"));
}

#[tokio::test]
async fn a_compressed_file_can_be_read_wherever_it_was_torn() {
    for (name, codec) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let folder = Folder::new();
        let (more, out) = (json!({"compression": name}), folder.0.join("out"));
        let text = || {
            let text = decompress(codec, &fs::read(&out).unwrap(), Limits::default()).unwrap();
            String::from_utf8(text).unwrap()
        };
        write(&folder, more.clone(), [r#"{"id":0}"#]).await;
        let first = fs::read(&out).unwrap();
        write(&folder, more.clone(), [r#"{"id":1}"#]).await;
        let both = fs::read(&out).unwrap();
        for cut in first.len()..both.len() {
            fs::write(&out, &both[..cut]).unwrap();
            drop(fs::remove_file(folder.0.join("out.torn")));
            write(&folder, more.clone(), [r#"{"id":2}"#]).await;
            let kept = text();
            let rest = kept.strip_prefix("{\"id\":0}\n").unwrap();
            assert!(["{\"id\":2}\n", "{\"id\":1}\n{\"id\":2}\n"].contains(&rest), "{name} cut at {cut}: {kept}");
        }
        // Of somebody who marks no ends.
        fs::write(&out, compress(codec, b"theirs\n").unwrap()).unwrap();
        write(&folder, more, [r#"{"id":3}"#]).await;
        assert_eq!(text(), "theirs\n{\"id\":3}\n", "{name}");
    }
}

#[tokio::test]
async fn records_with_their_lengths_before_them_are_mended_too() {
    for (method, whole, torn) in [
        ("octet_counting", "8 {\"id\":0}", "12 {\"id\""),
        ("length_delimited", "\0\0\0\x08{\"id\":0}", "\0\0\0\x0c{\"id\""),
    ] {
        let folder = Folder::new();
        for tail in [torn, &torn[..1], ""] {
            fs::write(folder.0.join("out"), format!("{whole}{tail}")).unwrap();
            write(&folder, json!({"framing": {"method": method}}), [r#"{"id":0}"#]).await;
            assert_eq!(folder.text("out"), format!("{whole}{whole}"), "{method} {tail:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_another_process_mends_is_waited_for() {
    let folder = Folder::new();
    fs::write(folder.0.join("out"), "{\"torn\":").unwrap();
    let other = fs::OpenOptions::new().append(true).open(folder.0.join("out")).unwrap();
    other.lock().unwrap();
    let rig = Rig::new(&json!({"type": "file", "path": folder.path("out"), "encoding": {"codec": "json"}}), None);
    rig.send([r#"{"id":1}"#]).await;
    until("a refusal", || rig.is_refused()).await;
    assert_eq!(folder.text("out"), "{\"torn\":", "not written to");
    drop(other);
    rig.end().await;
    assert_eq!(folder.text("out"), "{\"id\":1}\n");
}

#[tokio::test]
async fn beside_a_process_that_has_a_torn_file_open_lines_stay_apart() {
    let folder = Folder::new();
    fs::write(folder.0.join("out"), "{\"torn\":").unwrap();
    // As another sink of a tidegate has it.
    let other = fs::OpenOptions::new().append(true).open(folder.0.join("out")).unwrap();
    other.lock_shared().unwrap();
    write(&folder, json!({}), [r#"{"id":1}"#]).await;
    assert_eq!(folder.text("out"), "{\"torn\":\n{\"id\":1}\n", "nothing that the other may go on with is cut off");

    fs::write(folder.0.join("parts"), &compress(Compression::Gzip, b"theirs\n").unwrap()[..20]).unwrap();
    let other = fs::OpenOptions::new().append(true).open(folder.0.join("parts")).unwrap();
    other.lock_shared().unwrap();
    let sink = json!({"type": "file", "path": folder.path("parts"), "compression": "gzip"});
    let rig = Rig::new(&sink, None);
    rig.send([r#"{"id":1}"#]).await;
    until("a refusal", || rig.is_refused()).await;
    assert_eq!(fs::metadata(folder.0.join("parts")).unwrap().len(), 20, "nothing could be read behind it");
    drop(other);
    rig.end().await;
    assert!(folder.names().contains(&"parts.torn".to_owned()));
}

#[tokio::test]
async fn a_length_that_cannot_be_and_a_file_that_is_none_of_ours() {
    let folder = Folder::new();
    fs::write(folder.0.join("out"), format!("8 {{\"id\":0}}{} x", u64::MAX)).unwrap();
    write(&folder, json!({"framing": {"method": "octet_counting"}}), [r#"{"id":0}"#]).await;
    assert_eq!(folder.text("out"), "8 {\"id\":0}8 {\"id\":0}");
    // Of zeros, which take no room on the disk.
    let large = fs::File::create(folder.0.join("large")).unwrap();
    large.set_len((256 << 20) + 100).unwrap();
    for more in [json!({"framing": {"method": "octet_counting"}}), json!({"compression": "gzip"})] {
        let mut sink = json!({"type": "file", "path": folder.path("large")});
        sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let rig = Rig::new(&sink, None);
        rig.send([r#"{"id":1}"#]).await;
        until("a refusal", || rig.is_refused()).await;
        assert!(rig.refusal().contains("is no file of such records"), "{}", rig.refusal());
        assert_eq!(large.metadata().unwrap().len(), (256 << 20) + 100, "{more}");
    }
}
