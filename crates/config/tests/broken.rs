//! Every file under `tests/broken` beside the messages that it is to give. `UPDATE=1` writes them anew: read the
//! difference as someone who has to mend the file with nothing but the message.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_config::problem::{Look, render};
use tidegate_config::{load, plan, wire};

/// Ports that somebody else has, for as long as this lives.
struct Taken {
    stream: TcpListener,
    packets: UdpSocket,
}

impl Taken {
    fn new() -> Self {
        let stream = TcpListener::bind("127.0.0.1:0").expect("a port");
        let packets = UdpSocket::bind("127.0.0.1:0").expect("a port");
        Self { stream, packets }
    }
}

/// The variables that the files may refer to.
fn environment(name: &str, taken: &Taken) -> Option<String> {
    match name {
        "TAKEN_STREAM" => taken.stream.local_addr().ok().map(|address| address.to_string()),
        "TAKEN_PACKETS" => taken.packets.local_addr().ok().map(|address| address.to_string()),
        "PORT" => Some("not-a-port".to_string()),
        "PASSWORD" => Some("hunter2-and-more".to_string()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// The messages for a file or a directory, with paths as they stand in this crate.
fn messages(path: &Path, taken: &Taken) -> String {
    let loaded = load::load(&[path.to_path_buf()], &|name| environment(name, taken));
    let cx = BuildContext::new("/var/lib/tidegate");
    let mut planned = plan(loaded, &cx, Depth::Surroundings);
    if let Some(plan) = &planned.plan {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        if let Err(problems) = wire::wire(plan, "broken", &cx) {
            planned.problems.extend(problems);
        }
    }
    render(&planned.files, &planned.problems, Look::default())
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> = std::fs::read_dir("tests/broken")
        .expect("the directory is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "txt"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn each_broken_file_gives_the_messages_beside_it() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let taken = Taken::new();
    for path in cases() {
        let found = messages(&path, &taken);
        let beside = PathBuf::from(format!("{}.txt", path.display()));
        if update {
            std::fs::write(&beside, &found).expect("the message can be written");
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
        assert!(!found.is_empty(), "{} gives no message", path.display());
    }
    assert!(wrong.is_empty(), "messages changed; see that they are good, then set UPDATE=1:\n{}", wrong.join("\n"));
}

#[test]
fn there_are_enough_of_them_in_every_format() {
    let cases = cases();
    let count = |end: &str| cases.iter().filter(|path| path.extension().is_some_and(|found| found == end)).count();
    assert!(cases.len() >= 40, "{} broken files", cases.len());
    assert!(count("toml") >= 3 && count("json") >= 3);
}
