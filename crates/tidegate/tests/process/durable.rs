//! A buffer on disk, as its users have it: the program is killed in the middle, and what it had acknowledged arrives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use crate::child::{FILE, LONG, Program, folder, free_address, tidegate};

/// One HTTP message: its first line, and its body.
fn message(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}

/// Receives lines over HTTP: how often each number came. While it is down, it answers that it cannot.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    seen: Arc<(Mutex<BTreeMap<u64, u32>>, Condvar)>,
    is_down: Arc<AtomicBool>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self { address, seen: Arc::default(), is_down: Arc::new(AtomicBool::new(true)) };
        let accepting = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let receiver = accepting.clone();
                thread::spawn(move || receiver.receive(stream.unwrap()));
            }
        });
        receiver
    }

    fn receive(&self, stream: TcpStream) {
        let mut answers = stream.try_clone().unwrap();
        let mut requests = BufReader::new(stream);
        while let Some((_, body)) = message(&mut requests) {
            let is_down = self.is_down.load(Ordering::Relaxed);
            if !is_down {
                let (seen, changed) = &*self.seen;
                let mut seen = seen.lock().unwrap();
                for line in String::from_utf8(body).unwrap().lines() {
                    *seen.entry(line.trim().parse().unwrap()).or_default() += 1;
                }
                changed.notify_all();
            }
            let status = if is_down { "503 Service Unavailable" } else { "200 OK" };
            if write!(answers, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }

    /// Waits until every number of `wanted` came.
    fn wait_for(&self, wanted: &[u64]) -> BTreeMap<u64, u32> {
        let (seen, changed) = &*self.seen;
        let missing = |seen: &mut BTreeMap<u64, u32>| wanted.iter().any(|number| !seen.contains_key(number));
        let (seen, timeout) = changed.wait_timeout_while(seen.lock().unwrap(), LONG, missing).unwrap();
        let lost: Vec<_> = wanted.iter().filter(|number| !seen.contains_key(number)).collect();
        assert!(!timeout.timed_out(), "{} of {} are lost: {lost:?}", lost.len(), wanted.len());
        seen.clone()
    }
}

/// Posts numbers, four a request, until it is told to stop or nobody answers; keeps those that were acknowledged.
struct Sender(JoinHandle<Vec<u64>>);

impl Sender {
    fn start(to: SocketAddr, numbers: &Arc<AtomicU64>, acked: &Arc<(Mutex<u64>, Condvar)>) -> Self {
        let (numbers, acked) = (Arc::clone(numbers), Arc::clone(acked));
        Self(thread::spawn(move || {
            let mut safe = Vec::new();
            let Ok(stream) = TcpStream::connect(to) else { return safe };
            let mut requests = stream.try_clone().unwrap();
            let mut answers = BufReader::new(stream);
            loop {
                let first = numbers.fetch_add(4, Ordering::Relaxed);
                let mut body = String::new();
                (first..first + 4).for_each(|number| writeln!(body, "{number}").unwrap());
                let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
                if requests.write_all(format!("{head}{body}").as_bytes()).is_err() {
                    return safe;
                }
                match message(&mut answers) {
                    Some((status, _)) if status.contains(" 2") => safe.extend(first..first + 4),
                    Some(_) => {}
                    None => return safe,
                }
                *acked.0.lock().unwrap() += 1;
                acked.1.notify_all();
            }
        }))
    }
}

/// From HTTP to HTTP. The program is killed with the receiver down, with it back while the backlog is sent, and once more
/// while it is empty.
#[test]
fn what_was_acknowledged_arrives_though_the_program_is_killed() {
    kill_and_count("killed", "always");
}

/// The same where records pass in memory as long as the receiver takes them.
#[test]
fn what_was_acknowledged_arrives_though_not_all_of_it_is_written() {
    kill_and_count("killed-under-pressure", "under_pressure");
}

fn kill_and_count(folder_name: &str, write: &str) {
    let folder = folder(folder_name);
    let receiver = Receiver::start();
    let address = free_address();
    // A long time between two syncs: whoever acknowledges before them is caught.
    let text = format!(
        "memory: 32MiB\ndata_dir: {}\nsources:\n  in: {{ type: http_server, address: \"{address}\", framing: {{ method: newline_delimited }} }}\n\
         sinks:\n  out:\n    type: http\n    inputs: [in]\n    uri: http://{}/\n    encoding: {{ codec: text }}\n    \
         framing: {{ method: newline_delimited }}\n    batch: {{ max_events: 50 }}\n    \
         buffer: {{ type: disk, max_size: 16MiB, fsync: every 100ms, write: {write} }}\n",
        folder.join("data").display(),
        receiver.address
    );
    let (numbers, answers) = (Arc::new(AtomicU64::new(0)), Arc::new((Mutex::new(0), Condvar::new())));
    let mut safe = Vec::new();
    for (is_down, requests) in [(true, 120), (true, 60), (false, 120), (true, 60), (false, 60)] {
        receiver.is_down.store(is_down, Ordering::Relaxed);
        let program = Program::start(&folder, &text, &["--no-admin"]);
        let senders: Vec<_> = (0..4).map(|_| Sender::start(address, &numbers, &answers)).collect();
        let until = *answers.0.lock().unwrap() + requests;
        let guard = answers.0.lock().unwrap();
        let waited = answers.1.wait_timeout_while(guard, LONG, |count| *count < until).unwrap();
        assert!(!waited.1.timed_out(), "with the receiver {}", if is_down { "down" } else { "up" });
        drop(waited);
        drop(program);
        senders.into_iter().for_each(|sender| safe.extend(sender.0.join().unwrap()));
    }
    assert!(safe.len() > 1_000, "{}", safe.len());
    receiver.is_down.store(false, Ordering::Relaxed);
    let program = Program::start(&folder, &text, &["--no-admin"]);
    let seen = receiver.wait_for(&safe);
    program.end();
    let twice = seen.values().filter(|times| **times > 1).count();
    assert!(twice < seen.len() / 2, "{twice} of {} came more than once", seen.len());
}

/// `tidegate buffer` with these arguments: whether it was well, and the lines that it printed.
fn buffer(data_dir: &Path, args: &[&str]) -> (bool, Vec<serde_json::Value>) {
    let output = tidegate("buffer").args(args).args(["--data-dir", data_dir.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What waits is seen from outside: beside the program at work, after it was killed, and where a disk has damaged it.
#[test]
fn a_buffer_can_be_looked_at_while_it_is_used_and_afterwards() {
    let folder = folder("looked-at");
    let data = folder.join("data");
    let receiver = Receiver::start();
    let input = folder.join("in.txt");
    std::fs::write(&input, (0..5_000).fold(String::new(), |all, number| format!("{all}line {number}\n"))).unwrap();
    let text = format!(
        "memory: 32MiB\ndata_dir: {}\nsources: {{ in: {{ type: file, include: [{}] }} }}\nsinks:\n  out/1:\n    \
         type: http\n    inputs: [in]\n    uri: http://{}/\n    encoding: {{ codec: text }}\n    \
         buffer: {{ type: disk, max_size: 4MiB }}\n",
        data.display(),
        input.display(),
        receiver.address
    );
    let program = Program::start(&folder, &text, &["--no-admin"]);
    // Until all of it is on disk, looked at while that is written.
    let mut looks = 0..2_000;
    let waiting = loop {
        assert!(looks.next().is_some(), "it never comes to wait");
        let (is_well, found) = buffer(&data, &["ls", "--json"]);
        let waiting = found.first().map_or(0, |found| found["waiting_records"].as_u64().unwrap());
        assert!(is_well && found.iter().all(|found| found["damaged_records"] == 0), "{found:?}");
        if waiting == 5_000 {
            break found;
        }
    };
    assert_eq!((waiting.len(), &waiting[0]["buffer"]), (1, &"out/1".into()));
    drop(program);
    let (is_well, found) = buffer(&data, &["verify", "out/1", "--json"]);
    assert!(is_well && found == waiting, "{found:?}");
    let (is_well, records) = buffer(&data, &["inspect", "out/1", "--from", "4321", "--limit", "2"]);
    assert!(is_well && records.len() == 2);
    assert_eq!((&records[0]["number"], &records[1]["record"]["message"]), (&4_321.into(), &"line 4322".into()));
    assert!(!buffer(&data, &["inspect", "out", "--limit", "2"]).0, "there is no such buffer");

    let segment = data.join("buffers/out%2F1/0000000000000000.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (is_well, found) = buffer(&data, &["verify", "--json"]);
    let damaged = found[0]["damaged_records"].as_u64().unwrap();
    assert!(!is_well && damaged > 0 && found[0]["waiting_records"] == 5_000 - damaged, "{found:?}");
}

/// A log that rolls over many times comes out as it went in, and the program ends when all of it did.
#[test]
fn a_stream_through_a_small_buffer_comes_out_as_it_went_in() {
    let folder = folder("stream");
    let (file, out) = (folder.join(FILE), folder.join("out.txt"));
    let text = format!(
        "memory: 32MiB\ndata_dir: {}\nsources: {{ in: {{ type: stdin }} }}\nsinks:\n  out:\n    type: file\n    \
         inputs: [in]\n    path: {}\n    encoding: {{ codec: text }}\n    buffer: {{ type: disk, max_size: 1MiB }}\n",
        folder.join("data").display(),
        out.display()
    );
    std::fs::write(&file, text).unwrap();
    let lines: String = (0..60_000).fold(String::new(), |mut all, number| {
        writeln!(all, "{number} {}", "x".repeat(number % 90)).unwrap();
        all
    });
    let mut child = tidegate("run")
        .args([file.to_str().unwrap(), "--no-admin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let sent = lines.clone();
    let sending = thread::spawn(move || input.write_all(sent.as_bytes()).unwrap());
    let ended = child.wait_with_output().unwrap();
    sending.join().unwrap();
    let report = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && report.contains("the ledger balances"), "{report}");
    assert!(std::fs::read_to_string(&out).unwrap() == lines, "what came out is not what went in\n{report}");
    let taken: u64 = std::fs::read_dir(folder.join("data/buffers/out"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(taken <= 1 << 20, "{taken} bytes on disk");
}
