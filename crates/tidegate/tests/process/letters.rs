//! Dead letters, as their users have them: refused records are kept byte for byte, shown, and delivered when the receiver
//! is mended; also beside a pipeline at work, and where the program is killed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::child::{FILE, LONG, Program, folder, request, tidegate};

/// Takes lines over HTTP. Until it is mended, it answers 400 to whatever has a poisoned line in it.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    lines: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    requests: Arc<AtomicU64>,
    is_mended: Arc<AtomicBool>,
}

const POISON: &[u8] = b"poison";

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            lines: Arc::default(),
            requests: Arc::default(),
            is_mended: Arc::default(),
        };
        let accepting = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let receiver = accepting.clone();
                std::thread::spawn(move || receiver.receive(stream));
            }
        });
        receiver
    }

    fn receive(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut answers = stream.try_clone().unwrap();
        let mut requests = BufReader::new(stream);
        while let Some(body) = request(&mut requests) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let lines = || body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let is_poisoned = lines().any(|line| line.windows(POISON.len()).any(|part| part == POISON));
            let answer: &[u8] = if is_poisoned && !self.is_mended.load(Ordering::Relaxed) {
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 8\r\n\r\nbad line"
            } else {
                self.lines.lock().unwrap().extend(lines().map(<[u8]>::to_vec));
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            };
            if answers.write_all(answer).is_err() {
                return;
            }
        }
    }

    fn seen(&self) -> usize {
        self.lines.lock().unwrap().len()
    }
}

/// A line of the input: one in a thousand is poisoned, and no text.
fn line(number: usize) -> Vec<u8> {
    if number % 1_000 == 500 {
        [format!("{number} ").as_bytes(), POISON, b" \xff\x00\xfe end"].concat()
    } else {
        format!("{number} is well").into_bytes()
    }
}

fn input(folder: &Path, lines: std::ops::Range<usize>) -> PathBuf {
    let file = folder.join("in.log");
    let text: Vec<u8> = lines.flat_map(|number| [line(number), b"\n".to_vec()].concat()).collect();
    std::fs::OpenOptions::new().create(true).append(true).open(&file).unwrap().write_all(&text).unwrap();
    file
}

fn pipeline(folder: &Path, input: &Path, to: SocketAddr, letters: &str) -> String {
    format!(
        "memory: 32MiB\ndata_dir: {}\nsources: {{ in: {{ type: file, include: [{}], read_from: beginning }} }}\nsinks:\n  \
         out:\n    type: http\n    inputs: [in]\n    uri: http://{to}/\n    encoding: {{ codec: text }}\n    \
         framing: {{ method: newline_delimited }}\n    batch: {{ max_events: 100 }}\n    request: {{ concurrency: 4 }}\n    \
         dead_letter: {letters}\n",
        folder.join("data").display(),
        input.display()
    )
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let pause = Duration::from_millis(20);
    for _ in 0..LONG.as_millis() / pause.as_millis() {
        if done() {
            return;
        }
        std::thread::park_timeout(pause);
    }
    panic!("waited for: {what}");
}

/// `tidegate dlq` in this folder.
fn dlq(folder: &Path, args: &[&str]) -> (Output, String) {
    let mut command = tidegate("dlq");
    command.args(args).current_dir(folder);
    if args[0] != "replay" {
        command.args(["--data-dir", folder.join("data").to_str().unwrap()]);
    }
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

/// The letters that are there, as JSON.
fn letters(folder: &Path) -> Vec<Value> {
    let (output, said) = dlq(folder, &["show", "out", "--json", "--limit", "1000000"]);
    if !output.status.success() {
        assert!(said.contains("has no dead letters of `out`"), "{said}");
        return Vec::new();
    }
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(letter: &Value) -> Vec<u8> {
    match (letter["text"].as_str(), letter["base64"].as_str()) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(text)) => decoded(text),
        both => panic!("{both:?}"),
    }
}

/// What a text in base 64 stands for.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(value).collect();
    let three = |four: &[u8]| {
        let bits = four.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(three).collect()
}

#[test]
fn what_is_poisoned_is_kept_byte_for_byte_and_delivered_when_the_receiver_is_mended() {
    let folder = folder("poison");
    let receiver = Receiver::start();
    let file = input(&folder, 0..20_000);
    let text = pipeline(&folder, &file, receiver.address, "true");
    let program = Program::start(&folder, &text, &["--no-admin"]);
    wait_until("all but the poisoned to arrive", || receiver.seen() == 19_980);
    wait_until("20 letters", || letters(&folder).len() == 20);

    // Beside the pipeline at work: refused again, they stay.
    let (output, said) = dlq(&folder, &["replay", FILE, "out"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("20 letters of `out` were meant") && said.contains("20  refused again for good"), "{said}");
    let kept = letters(&folder);
    let poisoned: BTreeSet<_> = (0..20_000).map(line).filter(|line| line.contains(&0xff)).collect();
    assert_eq!(kept.iter().map(bytes).collect::<BTreeSet<_>>(), poisoned);
    for letter in &kept {
        assert_eq!(
            (&letter["origin"], &letter["attempts"], &letter["kind"]),
            (&"out".into(), &2.into(), &"permanent".into())
        );
        assert!(letter["cause"].as_str().is_some_and(|cause| cause.contains("400") && cause.contains("bad line")));
        assert!(letter["first"].as_str() < letter["last"].as_str(), "{letter}");
    }
    let (_, said) = dlq(&folder, &["ls"]);
    assert!(said.contains("out: 20 letters") && said.contains("20  http://"), "{said}");

    receiver.is_mended.store(true, Ordering::Relaxed);
    let wish = "starts_with(string!(.message), \"3\") && .dead_letter.attempts == 2";
    let (output, said) = dlq(&folder, &["replay", FILE, "out", "--where", wish]);
    assert!(output.status.success() && said.contains("1  delivered"), "{said}");
    assert_eq!(letters(&folder).len(), 19, "those that were not meant stay");
    // What comes meanwhile is kept too.
    receiver.is_mended.store(false, Ordering::Relaxed);
    input(&folder, 20_000..21_000);
    wait_until("one more letter", || letters(&folder).len() == 20);
    receiver.is_mended.store(true, Ordering::Relaxed);
    let (output, said) = dlq(&folder, &["replay", FILE, "out"]);
    assert!(output.status.success() && said.contains("20  delivered"), "{said}");
    assert_eq!((letters(&folder).len(), receiver.seen()), (0, 21_000));
    let all: BTreeSet<_> = (0..21_000).map(line).collect();
    assert_eq!(*receiver.lines.lock().unwrap(), all, "byte for byte");
    let said = program.end();
    assert!(said.contains("dead_lettered"), "{said}");
}

#[test]
fn purged_letters_are_gone_and_only_those() {
    let folder = folder("purge");
    let receiver = Receiver::start();
    let file = input(&folder, 0..5_000);
    let text = pipeline(&folder, &file, receiver.address, "{ max_size: 1MiB }");
    let program = Program::start(&folder, &text, &["--no-admin"]);
    wait_until("5 letters", || letters(&folder).len() == 5);
    let (output, said) = dlq(&folder, &["purge", "out"]);
    assert_eq!((output.status.code(), letters(&folder).len()), (Some(2), 5), "nobody was asked: {said}");
    let (output, said) = dlq(&folder, &["purge", "out", "--older-than", "1h", "--yes"]);
    assert!(output.status.success() && said.contains("no such letters; 5 stay"), "{said}");
    let (output, said) = dlq(&folder, &["purge", "out", "--where", "contains(string!(.message), \"2500\")", "--yes"]);
    assert!(output.status.success() && said.contains("1 letters of out purged, 4 stay"), "{said}");
    program.end();
    let (output, said) = dlq(&folder, &["purge", "out", "--yes"]);
    assert!(output.status.success() && said.contains("4 letters of out purged, 0 stay"), "{said}");
    assert!(letters(&folder).is_empty());
    let (output, said) = dlq(&folder, &["show", "outt"]);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean `out`?"), "{said}");
}

/// Everything is refused, and the program is killed again and again: what its source does not read again is a letter.
#[test]
fn no_letter_is_lost_though_the_program_is_killed() {
    let folder = folder("killed-letters");
    let receiver = Receiver::start();
    let file = input(&folder, 0..200_000);
    let text = pipeline(&folder, &file, receiver.address, "{ max_size: 64MiB, fsync: every 50ms }")
        .replace("max_events: 100", "max_events: 10");
    for _ in 0..4 {
        let before = receiver.requests.load(Ordering::Relaxed);
        let program = Program::start(&folder, &text, &["--no-admin"]);
        wait_until("some requests", || receiver.requests.load(Ordering::Relaxed) > before + 1_500);
        drop(program);
    }
    let program = Program::start(&folder, &text, &["--no-admin"]);
    wait_until("all but the poisoned to arrive", || receiver.seen() == 199_800);
    wait_until("every poisoned line in a letter", || {
        let kept: BTreeSet<_> = letters(&folder).iter().map(bytes).collect();
        kept.len() == 200
    });
    program.end();
}

/// What a program fails on is a letter, with the words of VRL; replayed to a program that does not.
#[test]
fn a_transform_has_dead_letters_too() {
    let folder = folder("transform-letters");
    let mut text = String::new();
    (0..1_000).for_each(|number| match number % 100 {
        7 => writeln!(text, "no json {number}").unwrap(),
        _ => writeln!(text, "{{\"number\":{number}}}").unwrap(),
    });
    std::fs::write(folder.join("in.log"), text).unwrap();
    let pipeline = |program: &str| {
        format!(
            "memory: 32MiB\ndata_dir: {0}/data\nsources: {{ in: {{ type: file, include: [{0}/in.log], read_from: beginning }} }}\n\
             transforms:\n  note: {{ type: remap, inputs: [in], source: '.note = \"seen\"' }}\n  \
             parse: {{ type: remap, inputs: [note], source: '{program}', dead_letter: true }}\nsinks:\n  \
             out: {{ type: file, inputs: [parse], path: {0}/out.txt, encoding: {{ codec: json }} }}\n",
            folder.display()
        )
    };
    let lines = || std::fs::read_to_string(folder.join("out.txt")).unwrap_or_default().lines().count();
    let program = Program::start(&folder, &pipeline(". = parse_json!(.message)"), &["--no-admin"]);
    wait_until("what is JSON to arrive", || lines() == 990);
    let show = || dlq(&folder, &["show", "parse", "--json", "--limit", "100"]).0;
    wait_until("10 letters", || String::from_utf8(show().stdout).unwrap().lines().count() == 10);
    let said = program.end();
    assert!(said.contains("dead_lettered"), "{said}");
    let shown = String::from_utf8(show().stdout).unwrap();
    let letter: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!((&letter["origin"], &letter["record"]["message"]), (&"parse".into(), &"no json 7".into()), "{letter}");
    assert_eq!(letter["record"]["note"], "seen", "as it reached the transform: {letter}");
    assert!(letter["cause"].as_str().is_some_and(|cause| cause.contains("unable to parse json")), "{letter}");
    std::fs::write(folder.join(FILE), pipeline(".well = true")).unwrap();
    let (output, said) = dlq(&folder, &["replay", FILE, "parse"]);
    assert!(output.status.success() && said.contains("10  delivered"), "{said}");
    let text = std::fs::read_to_string(folder.join("out.txt")).unwrap();
    assert!(
        lines() == 1_000 && text.contains("\"message\":\"no json 907\"") && text.contains("\"well\":true"),
        "{text}"
    );
}

/// A queue that gives up its oldest letters stays within its bound, and says how many those were.
#[test]
fn a_queue_that_drops_the_oldest_holds_its_bound() {
    let folder = folder("bound");
    let pipeline = format!(
        "memory: 32MiB\ndata_dir: {}\nsources: {{ in: {{ type: stdin }} }}\ntransforms:\n  fail: {{ type: remap, inputs: [in], \
         source: '. = parse_json!(.message)', dead_letter: {{ max_size: 1MiB, when_full: drop_oldest }} }}\nsinks:\n  \
         out: {{ type: blackhole, inputs: [fail] }}\n",
        folder.join("data").display()
    );
    std::fs::write(folder.join(FILE), pipeline).unwrap();
    let mut command = tidegate("run");
    command.args([folder.join(FILE).to_str().unwrap(), "--no-admin"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        for number in 0..20_000 {
            if writeln!(stdin, "number {number} {}", "x".repeat(200)).is_err() {
                return;
            }
        }
    });
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("buffer_dropped_records"), "{said}");
    let (output, said) = dlq(&folder, &["ls", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert!(found["disk_bytes"].as_u64().is_some_and(|bytes| bytes <= 1 << 20), "{found}");
    assert!(found["letters"].as_u64().is_some_and(|letters| letters > 500 && letters < 5_000), "{found}");
    let (output, _) = dlq(&folder, &["show", "fail", "--json", "--limit", "1"]);
    let oldest: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(oldest["number"].as_u64().is_some_and(|number| number > 15_000), "the newest are kept: {oldest}");
}

/// A queue that is full and blocks makes whoever refuses records wait, is named, and goes on when letters are purged; none
/// is lost.
#[test]
fn a_full_queue_is_waited_for_and_named_until_letters_are_purged() {
    let folder = folder("full-queue");
    let text: String = (0..20_000).fold(String::new(), |mut all, number| {
        writeln!(all, "number {number} {}", "x".repeat(200)).unwrap();
        all
    });
    std::fs::write(folder.join("in.log"), text).unwrap();
    let pipeline = format!(
        "memory: 32MiB\ndata_dir: {0}/data\nsources: {{ in: {{ type: file, include: [{0}/in.log], read_from: beginning }} }}\n\
         transforms:\n  fail: {{ type: remap, inputs: [in], source: '. = parse_json!(.message)', dead_letter: {{ max_size: 1MiB }} }}\n\
         sinks:\n  out: {{ type: blackhole, inputs: [fail] }}\n",
        folder.display()
    );
    let mut program = Program::start(&folder, &pipeline, &["--no-admin"]);
    program.hear("the dead letters of fail have reached their max_size");
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let (output, said) = dlq(&folder, &["show", "fail", "--json", "--limit", "100000"]);
        assert!(output.status.success(), "{said}");
        let text = String::from_utf8(output.stdout).unwrap();
        let shown = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        seen.extend(shown.map(|letter| letter["text"].as_str().unwrap().to_owned()));
        if seen.len() == 20_000 {
            break;
        }
        // Only what was seen, so that nothing is purged that came meanwhile.
        let last = seen.len();
        let wish = format!("int!(.dead_letter.number) < {last}");
        let (output, said) = dlq(&folder, &["purge", "fail", "--yes", "--where", &wish]);
        assert!(output.status.success(), "{said}");
        std::thread::park_timeout(Duration::from_millis(300));
    }
    assert_eq!(seen.len(), 20_000);
    program.end();
}

/// What was left in the buffer of a component that is not there any more goes to another one.
#[test]
fn what_was_left_in_a_buffer_is_repaired_and_replayed_to_another_component() {
    let folder = folder("left");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text: String = (0..3_000).fold(String::new(), |mut all, number| {
        writeln!(all, "line {number}").unwrap();
        all
    });
    std::fs::write(folder.join("in.log"), text).unwrap();
    let head = format!("memory: 32MiB\ndata_dir: {}/data\n", folder.display());
    let before = format!(
        "{head}sources: {{ in: {{ type: file, include: [{}/in.log], read_from: beginning }} }}\nsinks:\n  \
         old: {{ type: http, inputs: [in], uri: http://{nobody}/, buffer: {{ type: disk, max_size: 4MiB }} }}\n",
        folder.display()
    );
    let buffer = |args: &[&str]| {
        let output = tidegate("buffer").args(args).current_dir(&folder).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    let data = folder.join("data").display().to_string();
    let mut program = Program::start(&folder, &before, &["--no-admin"]);
    wait_until("3000 records on disk", || {
        buffer(&["ls", "--json", "--data-dir", &data]).1.contains("\"waiting_records\":3000")
    });
    let (code, said) = buffer(&["repair", "old", "--data-dir", &data]);
    assert!(code == Some(1) && said.contains("stop it first") && program.runs(), "{said}");
    drop(program);

    let after = format!(
        "{head}sources: {{ in: {{ type: stdin }} }}\nsinks:\n  new: {{ type: file, inputs: [in], path: {}/out.txt, encoding: \
         {{ codec: text }} }}\n",
        folder.display()
    );
    std::fs::write(folder.join(FILE), after).unwrap();
    for name in ["cursors.a", "cursors.b"] {
        let file = folder.join("data/buffers/old").join(name);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let (code, said) = buffer(&["repair", "old", "--data-dir", &data, "--dry-run"]);
    assert!(code == Some(0) && said.contains("nothing was changed") && said.contains("3,000 wait"), "{said}");
    let (code, said) = buffer(&["repair", "old", "--data-dir", &data]);
    assert!(
        code == Some(0) && said.contains("reading begins at record 0") && said.contains("0 records are gone"),
        "{said}"
    );
    assert!(folder.join("data/buffers/old/cursors.a.damaged").is_file(), "nothing is deleted");
    let (code, said) = buffer(&["replay", "old", FILE]);
    assert!(code == Some(2) && said.contains("say --to NODE"), "{said}");
    let (code, said) = buffer(&["replay", "old", FILE, "--to", "new"]);
    assert!(code == Some(0) && said.contains("delivered, and marked as done"), "{said}");
    let out = std::fs::read_to_string(folder.join("out.txt")).unwrap();
    let lines: BTreeSet<_> = out.lines().collect();
    assert_eq!((out.lines().count(), lines.len()), (3_000, 3_000));
    let (_, said) = buffer(&["ls", "--json", "--data-dir", &data]);
    assert!(said.contains("\"waiting_records\":0"), "{said}");
}

/// What a transform refuses is not let through by a replay when nothing was mended.
#[test]
fn what_transforms_refused_stays_where_nothing_was_mended() {
    let folder = folder("unmended");
    std::fs::write(folder.join("in.log"), "garbage\n{\"id\":\"x\"}\n{\"id\":7}\n").unwrap();
    let text = format!(
        "memory: 32MiB\ndata_dir: {0}/data\nsources: {{ in: {{ type: file, include: [{0}/in.log], read_from: beginning }} }}\n\
         transforms:\n  parse: {{ type: remap, inputs: [in], source: '. = parse_json!(.message)', dead_letter: true }}\n  \
         big: {{ type: filter, inputs: [parse], condition: 'int!(.id) > 0', dead_letter: true }}\nsinks:\n  \
         out: {{ type: file, inputs: [big], path: {0}/out.txt, encoding: {{ codec: json }} }}\n",
        folder.display()
    );
    let mut program = Program::start(&folder, &text, &["--no-admin", "--for", "1s"]);
    wait_until("its end", || !program.runs());
    let data = folder.join("data").display().to_string();
    for queue in ["parse", "big"] {
        let dlq = |args: &[&str]| {
            let output = tidegate("dlq").args(args).current_dir(&folder).output().unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            (output.status.code(), said)
        };
        let (code, said) = dlq(&["replay", FILE, queue]);
        assert!(code == Some(1) && said.contains("refused again"), "{queue}: {said}");
        let (_, said) = dlq(&["ls", "--data-dir", &data]);
        assert!(said.contains(&format!("{queue}: 1 letter")), "{said}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("out.txt")).unwrap().lines().count(), 1);
}
