//! The program reloads its pipeline under load: senders and receivers are outside of it and count for themselves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use crate::child::{FILE, LONG, Program, folder, free_address};

/// Metrics somewhere.
const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Receives lines on any number of connections: for each record how often it came, and the mark that it had last.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Default)]
struct Seen {
    times: BTreeMap<u64, u32>,
    marks: BTreeMap<u64, u64>,
}

impl Receiver {
    fn start(seen: &Arc<(Mutex<Seen>, Condvar)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), seen: Arc::clone(seen) };
        let accepting = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let receiver = accepting.clone();
                let stream = stream.unwrap();
                thread::spawn(move || receiver.receive(stream));
            }
        });
        receiver
    }

    fn receive(&self, stream: TcpStream) {
        for line in BufReader::new(stream).lines() {
            let record: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let (id, mark) = (record["id"].as_u64().unwrap(), record["mark"].as_u64().unwrap());
            let (seen, changed) = &*self.seen;
            let mut seen = seen.lock().unwrap();
            *seen.times.entry(id).or_default() += 1;
            seen.marks.insert(id, mark);
            changed.notify_all();
        }
    }
}

/// Waits until `count` records came in all.
fn wait_for(seen: &(Mutex<Seen>, Condvar), count: u64) {
    let (lock, changed) = seen;
    let guard = lock.lock().unwrap();
    let (guard, timeout) = changed.wait_timeout_while(guard, LONG, |seen| (seen.times.len() as u64) < count).unwrap();
    assert!(!timeout.timed_out(), "{} of {count} records came", guard.times.len());
}

/// Sends numbered lines over one connection as fast as they are taken, until it is told to stop.
struct Sender {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(u64, TcpStream)>,
}

impl Sender {
    fn start(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, sent) = (Arc::clone(&stop), AtomicU64::new(0));
        let task = thread::spawn(move || {
            let mut out = BufWriter::new(stream);
            while !told.load(Ordering::Relaxed) {
                let id = sent.fetch_add(1, Ordering::Relaxed);
                writeln!(out, "{{\"id\":{id},\"text\":\"some words to make the line longer\"}}").unwrap();
            }
            (sent.into_inner(), out.into_inner().unwrap())
        });
        Self { stop, task }
    }

    /// How many it sent, and its connection, which is open still.
    fn stop(self) -> (u64, TcpStream) {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, mut stream) = self.task.join().unwrap();
        stream.set_nonblocking(true).unwrap();
        let closed = stream.read(&mut [0]);
        assert!(matches!(&closed, Err(error) if error.kind() == ErrorKind::WouldBlock), "closed: {closed:?}");
        (sent, stream)
    }
}

/// The program at work, as a reload finds it.
struct Reloading {
    program: Program,
    folder: PathBuf,
}

impl Reloading {
    fn start(name: &str, pipeline: &str, args: &[&str]) -> Self {
        let folder = folder(name);
        Self { program: Program::start(&folder, pipeline, args), folder }
    }

    /// Writes the file anew and asks for a reload.
    fn ask(&self, text: &str) {
        std::fs::write(self.folder.join(FILE), text).unwrap();
        self.program.signal("-HUP");
    }

    /// Writes the file anew, asks for a reload, and gives what is said of it.
    fn reload(&mut self, text: &str) -> String {
        self.ask(text);
        self.program.hear("reload: ")
    }
}

fn pipeline(from: SocketAddr, mark: u64, to: SocketAddr) -> String {
    format!(
        "sources:\n  in: {{ type: socket, mode: tcp, address: \"{from}\" }}\n\
         transforms:\n  mark:\n    type: remap\n    inputs: [in]\n    source: |\n      . = parse_json!(.message)\n      .mark = {mark}\n\
         sinks:\n  out: {{ type: socket, mode: tcp, inputs: [mark], address: \"{to}\", encoding: {{ codec: json }} }}\n"
    )
}

#[test]
fn sinks_and_transforms_are_replaced_under_load_and_nothing_is_lost_repeated_or_closed() {
    let seen = Arc::default();
    let receivers = [Receiver::start(&seen), Receiver::start(&seen)];
    let from = free_address();
    let mut run = Reloading::start("reload", &pipeline(from, 0, receivers[0].address), &ADMIN);
    let sender = Sender::start(from);
    let mut wanted = 0;
    let mut more = || {
        wanted += 5_000;
        wait_for(&seen, wanted);
        wanted = seen.0.lock().unwrap().times.len() as u64;
    };
    more();
    let heard = run.reload(&pipeline(from, 0, receivers[1].address));
    assert!(heard.contains("1 sink replaced (out); 1 source, 1 transform untouched"), "{heard}");
    more();
    let heard = run.reload(&pipeline(from, 1, receivers[1].address));
    assert!(heard.contains("1 transform replaced (mark); 1 source, 1 sink untouched"), "{heard}");
    more();
    let heard = run.reload("sources: { in: { type: sockets } }");
    assert!(heard.contains("the pipeline goes on as it is"), "{heard}");
    more();
    for mark in 2..8 {
        let to = receivers[usize::try_from(mark % 2).unwrap()].address;
        let heard = run.reload(&pipeline(from, mark, to));
        assert!(heard.contains("1 transform replaced (mark), 1 sink replaced (out)"), "{heard}");
        more();
    }
    let heard = run.reload(&pipeline(from, 7, receivers[1].address));
    assert!(heard.contains("nothing has changed"), "{heard}");
    let (sent, _open) = sender.stop();
    wait_for(&seen, sent);
    let said = run.program.end();
    assert!(said.contains("the ledger balances"), "{said}");
    let seen = seen.0.lock().unwrap();
    let repeated = seen.times.values().filter(|times| **times != 1).count();
    assert_eq!((seen.times.len() as u64, repeated), (sent, 0), "{said}");
    assert!(seen.marks.values().is_sorted(), "a transform that was replaced saw a record after its successor");
    assert_eq!(seen.marks.values().last(), Some(&7));
}

#[test]
fn a_new_graph_starts_the_pipeline_anew() {
    let seen = Arc::default();
    let receiver = Receiver::start(&seen);
    let from = free_address();
    let mut run = Reloading::start("reload-anew", &pipeline(from, 0, receiver.address), &ADMIN);
    let branch = "  more: { type: blackhole, inputs: [mark] }\n";
    let heard = run.reload(&(pipeline(from, 0, receiver.address) + branch));
    assert!(heard.contains("started anew: `more` is new"), "{heard}");
    run.program.hear("started: 4 components");
    let sender = Sender::start(from);
    wait_for(&seen, 1_000);
    let (sent, _open) = sender.stop();
    wait_for(&seen, sent);
    assert!(run.program.end().contains("the ledger balances"));
}

/// A port that is taken, a path that cannot be written, a budget that is too small: found before anything is drained, so
/// the connection of the sender stays and each of its records arrives once.
#[test]
fn what_cannot_be_had_is_refused_before_anything_that_runs_is_touched() {
    let seen = Arc::default();
    let receiver = Receiver::start(&seen);
    let from = free_address();
    let mut run = Reloading::start("reload-refused", &pipeline(from, 0, receiver.address), &ADMIN);
    let sender = Sender::start(from);
    wait_for(&seen, 1_000);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = receiver.address;
    let bad = [
        (pipeline(taken.local_addr().unwrap(), 0, to), "E0402"),
        (pipeline(from, 0, to) + "  more: { type: file, inputs: [mark], path: /dev/null/out.ndjson }\n", "E0401"),
        (format!("memory: 100KiB\n{}", pipeline(from, 0, to)), "E0301"),
    ];
    for (text, code) in bad {
        run.ask(&text);
        run.program.hear(code);
        run.program.hear("reload: what is new cannot be started");
        let came = seen.0.lock().unwrap().times.len() as u64;
        wait_for(&seen, came + 1_000);
    }
    let (sent, _open) = sender.stop();
    wait_for(&seen, sent);
    let said = run.program.end();
    assert!(said.contains("the ledger balances"), "{said}");
    assert!(seen.0.lock().unwrap().times.values().all(|times| *times == 1));
}

/// A figure that the program shows at this address, summed over its rows.
fn shown(at: SocketAddr, row: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(at).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let line = text.lines().find(|line| line.starts_with(row))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_reload_that_abandons_records_says_how_many_and_a_drain_says_how_it_stands() {
    let (from, dead, admin) = (free_address(), free_address(), free_address());
    let args = ["--admin", &admin.to_string(), "--drain-timeout", "1s"];
    let mut run = Reloading::start("reload-abandons", &pipeline(from, 0, dead), &args);
    let mut sender = TcpStream::connect(from).unwrap();
    for id in 0..100 {
        writeln!(sender, "{{\"id\":{id}}}").unwrap();
    }
    let row = "tidegate_source_in_flight_records{source=\"in\"}";
    while shown(admin, row) != Some(100.0) {
        thread::yield_now();
    }
    let text = format!("memory: 128MiB\n{}", pipeline(from, 0, dead));
    let heard = run.reload(&text);
    assert!(heard.contains("drained and started anew: the memory budget"), "{heard}");
    let heard = run.program.hear("draining");
    assert!(heard.contains("draining 100 records, at most "), "{heard}");
    let heard = run.program.hear("which are abandoned");
    assert!(heard.contains("WARN") && heard.contains("100 records in flight"), "{heard}");
    assert!(heard.contains("lost for good") && heard.contains("100 of `in`"), "{heard}");
    run.program.hear("started: 3 components");
    run.program.end();
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let (from, dead, admin) = (free_address(), free_address(), free_address());
    let args = ["--admin", &admin.to_string(), "--drain-timeout", "1h"];
    let mut run = Reloading::start("drain-stopped", &pipeline(from, 0, dead), &args);
    let mut sender = TcpStream::connect(from).unwrap();
    writeln!(sender, "{{\"id\":1}}").unwrap();
    while shown(admin, "tidegate_source_in_flight_records{source=\"in\"}") != Some(1.0) {
        thread::yield_now();
    }
    run.program.signal("-INT");
    let heard = run.program.hear("draining");
    assert!(heard.contains("draining 1 record, at most 3600 s; again"), "{heard}");
    run.program.signal("-INT");
    run.program.hear("stopped");
    assert_eq!(run.program.code(), Some(1));
}
