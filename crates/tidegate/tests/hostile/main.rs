//! Hostile peers against the program as it is run: it lives, its ledger balances, what happened has a counter in the
//! metrics and in the report, and the memory of the process stays within the budget and a constant.

#![cfg(all(feature = "program", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "of the bits of a test input")]

mod peers;
mod program;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use peers::{bomb, noise, post, silent, write_long_line};
use program::{Program, folder, free_address, reports};

#[test]
fn a_line_of_100_mib_is_skipped_up_to_its_end_by_every_source_and_counted() {
    let (tcp, unix) = (free_address(), folder("long-line-socket").join("s"));
    let file = folder("long-line-file").join("long.log");
    write_long_line(File::create(&file).unwrap());
    let sources = format!(
        "  tcp: {{ type: socket, mode: tcp, address: '{tcp}' }}
  unix: {{ type: socket, mode: unix_stream, path: {} }}
  file: {{ type: file, include: ['{}'], read_from: beginning }}
  stdin: {{ type: stdin }}",
        unix.display(),
        file.display()
    );
    let mut program = Program::start("long-line", &sources);
    write_long_line(TcpStream::connect(tcp).unwrap());
    write_long_line(std::os::unix::net::UnixStream::connect(unix).unwrap());
    write_long_line(program.stdin());
    for source in ["tcp", "unix", "file", "stdin"] {
        program.until(source, |program| program.accepted(source) == 2);
        assert_eq!(program.tally(source, "frames_oversize"), 1, "{source}");
    }
    let report = program.end();
    for source in ["tcp", "unix", "file", "stdin"] {
        assert!(reports(&report, source, "frames_oversize", 1), "{source}: {report}");
    }
}

#[test]
fn bytes_that_mean_nothing_are_records_or_are_counted() {
    let (raw, json, http) = (free_address(), free_address(), free_address());
    let sources = format!(
        "  raw: {{ type: socket, mode: tcp, address: '{raw}', max_length: 2MiB }}
  json: {{ type: socket, mode: tcp, address: '{json}', max_length: 2MiB, decoding: {{ codec: json }} }}
  http: {{ type: http_server, address: '{http}', decoding: {{ codec: json }} }}"
    );
    let program = Program::start("garbage", &sources);
    let deep = [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat();
    let lines: [&[u8]; 6] = [b"\xff\xfe\xc3(", b"\0\0\0", b"{\"a\":", b"\"\\ud800\"", b"17", &deep];
    let mut all: Vec<u8> = lines.iter().flat_map(|line| [*line, b"\n"].concat()).collect();
    for to in [raw, json] {
        TcpStream::connect(to).unwrap().write_all(&all).unwrap();
    }
    program.until("each line of text is a record", |program| program.accepted("raw") == 6);
    program.until("no line is an object", |program| program.tally("json", "records_malformed") == 6);
    assert_eq!(program.accepted("json"), 0);
    for line in lines {
        assert_eq!(post(http, "", line), 400, "{}", String::from_utf8_lossy(&line[..line.len().min(20)]));
    }
    assert_eq!(program.tally("http", "requests_malformed"), 6);

    all = noise(4 << 20);
    TcpStream::connect(raw).unwrap().write_all(&all).unwrap();
    let found = all.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line != b"\r").count() as u64;
    program.until("noise is lines too", |program| program.accepted("raw") == 6 + found);
    let mut stream = TcpStream::connect(http).unwrap();
    drop(stream.write_all(&all[..1 << 16]));
    drop(stream.read_to_end(&mut Vec::new()));
    program.until("noise is no request", |program| program.tally("http", "requests_broken") == 1);
    assert_eq!(post(http, "", b"{\"a\":1}"), 200);
    let report = program.end();
    assert!(reports(&report, "json", "records_malformed", 6), "{report}");
    assert!(reports(&report, "http", "requests_broken", 1), "{report}");
}

#[test]
fn compressed_bodies_that_are_broken_or_swell_are_refused() {
    let http = free_address();
    let program =
        Program::start("gzip", &format!("  http: {{ type: http_server, address: '{http}', max_body_bytes: 2MiB }}"));
    let gzip = "Content-Encoding: gzip\r\n";
    // 1 MiB that would be 158.
    assert_eq!(post(http, gzip, &bomb(1 << 20)), 413);
    assert_eq!(program.tally("http", "requests_too_large"), 1);
    for broken in [&bomb(1_000)[..], &bomb(1_000)[..12], b"\x1f\x8b", b"not gzip", &noise(5_000)[..]] {
        assert_eq!(post(http, gzip, broken), 400);
    }
    assert_eq!(program.tally("http", "requests_malformed"), 5);
    assert_eq!(post(http, "Content-Encoding: zstd\r\n", &noise(5_000)), 400);
    assert_eq!(post(http, "Content-Encoding: br\r\n", &noise(5_000)), 415);
    assert_eq!(post(http, "", &vec![b'x'; 3 << 20]), 413);
    assert_eq!(post(http, "", b"sound"), 200);
    let report = program.end();
    assert!(reports(&report, "http", "requests_too_large", 2), "{report}");
}

#[test]
fn idle_connections_cost_little_and_those_over_the_limit_are_told() {
    const LIMIT: usize = 400;
    let tcp = free_address();
    let sources = format!("  tcp: {{ type: socket, mode: tcp, address: '{tcp}', connection_limit: {LIMIT} }}");
    let program = Program::start("idle", &sources);
    let mut active = TcpStream::connect(tcp).unwrap();
    let idle = silent(tcp, LIMIT - 1, b"part of a line");
    program.until("all are let in", |program| program.tally("tcp", "connections_opened") == LIMIT as u64);
    for _ in 0..50 {
        // Nothing was sent, so that what ends it is an end, and no reset.
        assert_eq!(TcpStream::connect(tcp).unwrap().read(&mut [0; 1]).unwrap(), 0);
    }
    assert_eq!(program.tally("tcp", "connections_over_limit"), 50);
    active.write_all(b"one\ntwo\n").unwrap();
    program.until("who speaks is heard", |program| program.accepted("tcp") == 2);
    assert!(program.figure("tidegate_budget_bytes{part=\"used\"}") < program::BUDGET_BYTES / 2);
    drop(idle);
    // The end of a connection is the end of its last line.
    program.until("each leaves its line", |program| program.accepted("tcp") == 2 + LIMIT as u64 - 1);
    let report = program.end();
    assert!(reports(&report, "tcp", "connections_over_limit", 50), "{report}");
}

#[test]
fn requests_that_begin_and_do_not_go_on_hold_little_and_end() {
    const MANY: usize = 200;
    let http = free_address();
    let sources = format!("  http: {{ type: http_server, address: '{http}', read_timeout: 2s }}");
    let program = Program::start("half-open", &sources);
    let heads = silent(http, MANY, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le");
    // Together they say that 1.6 GiB will come: a hundred budgets.
    let bodies = silent(http, MANY, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\nx");
    assert_eq!(post(http, "", b"whole"), 200, "nobody is kept from sending");
    program.until("each is given up", |program| program.tally("http", "requests_late") == 2 * MANY as u64);
    drop((heads, bodies));
    let vanishing = silent(http, 10, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    drop(vanishing);
    program.until("who vanishes is counted", |program| program.tally("http", "requests_broken") == 10);
    assert_eq!(program.accepted("http"), 1);
    let report = program.end();
    assert!(reports(&report, "http", "requests_late", 2 * MANY as u64), "{report}");
}

#[test]
fn a_program_that_would_exhaust_the_stack_is_a_message() {
    let file = folder("deep-program").join("pipeline.yaml");
    let source = format!(".x = 1{}", " + 1".repeat(50_000));
    let text = format!(
        "sources:\n  in: {{ type: stdin }}\ntransforms:\n  deep: {{ type: remap, inputs: [in], source: '{source}' }}\n\
         sinks:\n  out: {{ type: blackhole, inputs: [deep] }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["check", "--offline", file.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{:.500}", said);
    assert!(said.contains("operators in one expression"), "{:.500}", said);
}
