//! Every file under `tests/broken` beside the messages that it is to give. `UPDATE=1` writes them anew: read the
//! difference as someone who has to mend the file with nothing but the message.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_config::problem::{Look, render};
use tidegate_config::{Code, Severity, load, plan, wire};

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
        if let Err(problems) = wire::try_wire(plan, &cx, |_| ()) {
            planned.problems.extend(problems);
        }
    }
    render(&planned.files, &planned.problems, Look::default())
}

/// Files that are not there, or cannot be.
const MISSING: [&str; 2] = ["tests/broken/missing.yaml", "tests/broken/port_twice.yaml/pipeline.yaml"];

/// Files that are too large to be kept: where they are made, and what of.
fn generated() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("broken");
    let many = folder.join("generated_many");
    std::fs::create_dir_all(&many).expect("a folder");
    for number in 0..=load::MAX_FILES {
        std::fs::write(many.join(format!("{number}.yaml")), "").expect("a file");
    }
    let long = "x".repeat(usize::try_from(load::MAX_FILE_BYTES).expect("it fits"));
    let texts = [
        ("generated_large.yaml", format!("# {long}\nsources: {{}}\n")),
        ("generated_large.json", format!("{{ \"sources\": {{ \"{long}\": {{}} }} }}\n")),
    ];
    let files = texts.map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    });
    files.into_iter().chain([many]).collect()
}

/// Where the messages for a file are kept.
fn beside(path: &Path) -> PathBuf {
    let missing = path.components().filter(|part| part.as_os_str().to_string_lossy().ends_with(".yaml")).count() > 1;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = if missing { format!("below_a_file+{name}") } else { name.into_owned() };
    PathBuf::from(format!("tests/broken/{name}.txt"))
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
    let missing = MISSING.iter().map(PathBuf::from);
    for path in cases().into_iter().chain(missing).chain(generated()) {
        let folder = path.parent().unwrap_or(Path::new("")).display().to_string();
        let found = messages(&path, &taken).replace(&folder, "tests/broken");
        let beside = beside(&path);
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

/// At least three for each class that a file on this machine can have; what only the runtime refuses has its messages
/// tested where they are made.
#[test]
fn each_class_of_error_has_three_messages() {
    let entries = std::fs::read_dir("tests/broken").expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let texts = paths.filter(|path| path.extension().is_some_and(|end| end == "txt"));
    let all: String = texts.map(|path| std::fs::read_to_string(path).expect("a text")).collect();
    let few = |code: &&Code| {
        let head = match code.severity() {
            Severity::Error => format!("error[{code}]"),
            Severity::Warning => format!("warning[{code}]"),
        };
        all.matches(&head).count() < 3
    };
    let of_runtime = [Code::WindowTooSmall, Code::Deadlock, Code::CannotBuild];
    let few: Vec<_> = Code::ALL.iter().filter(|code| !of_runtime.contains(code)).filter(few).collect();
    assert!(few.is_empty(), "fewer than three messages of {few:?}");
}
