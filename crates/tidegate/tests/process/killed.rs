//! The program killed as by `kill -9`, and what was answered before: it is there, whole, and once it is gone nobody was told
//! that it is safe.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::child::{FILE, Program, folder, free_address, tidegate};

/// Nobody looks at these runs.
const ARGS: [&str; 1] = ["--no-admin"];

/// Sends a request; the status of the answer.
fn post(to: SocketAddr, body: &str) -> u16 {
    let mut stream = TcpStream::connect(to).unwrap();
    write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[9..]).parse().unwrap()
}

#[test]
fn what_is_answered_behind_a_torn_line_can_be_read() {
    let (folder, http) = (folder("torn"), free_address());
    fs::write(folder.join("out.log"), "{\"torn\":").unwrap();
    let program = Program::start(
        &folder,
        &format!(
            "sources:\n  in: {{ type: http_server, address: '{http}', decoding: {{ codec: json }} }}\n\
             sinks:\n  out: {{ type: file, inputs: [in], path: out.log, encoding: {{ codec: json, only_fields: [id] }} }}\n"
        ),
        &ARGS,
    );
    assert_eq!(post(http, "{\"id\":1}"), 200);
    assert_eq!(fs::read_to_string(folder.join("out.log")).unwrap(), "{\"id\":1}\n");
    assert_eq!(fs::read_to_string(folder.join("out.log.torn")).unwrap(), "{\"torn\":\n");
    let said = program.end();
    assert!(said.contains("out.log.torn") && said.contains("WARN"), "{said}");
    let counted = |what: &str| {
        said.lines().any(|line| {
            line.split_whitespace().eq(["out", what.split(' ').next().unwrap(), what.split(' ').nth(1).unwrap()])
        })
    };
    assert!(counted("files_mended 1") && counted("bytes_put_aside 8"), "{said}");
}

#[test]
fn a_copy_of_a_file_that_is_killed_again_and_again_has_each_line_whole() {
    const LINES: usize = 60_000;
    let folder = folder("again");
    let line = |number: usize| format!("{number} {}\n", "x".repeat(200));
    fs::write(folder.join("in.log"), (0..LINES).map(line).collect::<String>()).unwrap();
    let pipeline = "memory: 128MiB\ndata_dir: .\nsources:\n  in: { type: file, include: [in.log], read_from: beginning }\nsinks:\n  \
         out: { type: file, inputs: [in], path: out.log, encoding: { codec: text }, batch: { max_bytes: 16MiB } }\n";
    let length = || fs::metadata(folder.join("out.log")).map_or(0, |about| about.len());
    let mut program = Program::start(&folder, pipeline, &ARGS);
    for _ in 0..8 {
        // Killed as soon as anything is written, which mostly is in the middle of it.
        let before = length();
        while length() == before && program.runs() && before < 12 << 20 {
            std::hint::spin_loop();
        }
        drop(program);
        program = Program::run(&folder, &ARGS).unwrap_or_else(|said| panic!("{said}"));
    }
    let whole: HashSet<String> = (0..LINES).map(line).collect();
    let found = || -> HashSet<String> {
        let text = fs::read_to_string(folder.join("out.log")).unwrap_or_default();
        text.split_inclusive('\n').map(str::to_owned).collect()
    };
    let mut looks = 0;
    while !found().is_superset(&whole) {
        looks += 1;
        assert!(looks < 1_000, "{} of {LINES} lines", found().intersection(&whole).count());
    }
    program.end();
    let garbled: Vec<String> = found().difference(&whole).cloned().collect();
    assert_eq!(garbled, Vec::<String>::new());
}

#[test]
fn a_repetition_of_what_is_on_its_way_is_not_called_safe() {
    let (folder, http, dead) = (folder("repeated"), free_address(), free_address());
    let program = Program::start(
        &folder,
        &format!(
            "sources:\n  in: {{ type: http_server, address: '{http}', decoding: {{ codec: json }}, ack_timeout: 300ms }}\n\
             transforms:\n  once: {{ type: dedupe, inputs: [in], fields: {{ match: [id] }} }}\n\
             sinks:\n  out: {{ type: http, inputs: [once], uri: 'http://{dead}/', encoding: {{ codec: json }} }}\n"
        ),
        &ARGS,
    );
    let answers: Vec<u16> = (0..3).map(|_| post(http, "{\"id\":1}")).collect();
    assert_eq!(answers, [503, 429, 429], "the first is not safe, and the others stand behind it");
    drop(program);
}

#[test]
fn positions_are_of_one_process_at_a_time() {
    let folder = folder("two");
    fs::write(folder.join("in.log"), "a\n").unwrap();
    let pipeline = "data_dir: data\nsources:\n  in: { type: file, include: [in.log] }\nsinks:\n  out: { type: blackhole, inputs: [in] }\n";
    let first = Program::start(&folder, pipeline, &ARGS);
    let Err(said) = Program::run(&folder, &ARGS) else { panic!("a second one runs") };
    assert!(said.contains(&format!("process {} works with data/in already", first.id())), "{said}");
    let explained = tidegate("explain").arg(FILE).current_dir(&folder).output();
    assert!(explained.unwrap().status.success(), "a plan may be looked at while it runs");
    drop(first);
    drop(Program::run(&folder, &ARGS).unwrap_or_else(|said| panic!("the lock died with its process: {said}")));
}
