//! The program before sinks that refuse: nothing is given up without a trace, and it says why.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::child::{FILE, folder, tidegate};

/// Runs a pipeline of this text; what it said.
fn run(folder: &Path, text: &str, args: &[&str]) -> (Output, String) {
    let file = folder.join(FILE);
    std::fs::write(&file, format!("data_dir: {}\n{text}", folder.join("data").display())).unwrap();
    let output = tidegate("run").args([file.to_str().unwrap(), "--no-admin"]).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

/// Answers every request with a status, which may depend on the body.
fn server(status: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (status, counted) = (Arc::new(status), Arc::clone(&requests));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (status, counted) = (Arc::clone(&status), Arc::clone(&counted));
            std::thread::spawn(move || answer(stream, &*status, &counted));
        }
    });
    (address, requests)
}

fn answer(stream: TcpStream, status: &dyn Fn(&str) -> &'static str, requests: &AtomicUsize) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut line) = (0, String::new());
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        if line.is_empty() {
            return;
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).unwrap();
        requests.fetch_add(1, Ordering::Relaxed);
        let status = status(&String::from_utf8_lossy(&body));
        if write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\nsorry\n").is_err() {
            return;
        }
    }
}

/// A file with so many lines, read from its beginning, and where it goes.
fn pipeline(folder: &Path, lines: usize, sink: &str) -> String {
    let file = folder.join("in.log");
    let text: String = (0..lines).map(|number| format!("line {number}\n")).collect();
    std::fs::write(&file, text).unwrap();
    format!(
        "sources:\n  in: {{ type: file, include: [\"{}\"], read_from: beginning }}\nsinks:\n  out:\n    inputs: [in]\n{sink}",
        file.display()
    )
}

#[test]
fn a_wrong_address_method_or_login_holds_the_input_and_says_so() {
    for status in ["401 Unauthorized", "404 Not Found", "302 Found"] {
        let folder = folder("address");
        let (address, _) = server(move |_| status);
        let text = pipeline(&folder, 20, &format!("    type: http\n    uri: http://{address}/in\n"));
        let (output, said) = run(&folder, &text, &["--for", "700ms", "--drain-timeout", "100ms"]);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("answered {status}")) && said.contains("WARN"), "{said}");
        assert!(said.contains("check `uri`") && said.contains("refused: sink \"out\""), "{said}");
        // Nothing was given up, though these are few enough to be halved at once: whoever mends the address gets all of it.
        let (address, requests) = server(|_| "200 OK");
        let text = pipeline(&folder, 20, &format!("    type: http\n    uri: http://{address}/in\n"));
        let (_, said) = run(&folder, &text, &["--for", "1500ms"]);
        let all = ["source", "in", "20", "20", "0"];
        assert!(said.lines().any(|line| line.split_whitespace().eq(all)), "{said}");
        assert!(requests.load(Ordering::Relaxed) > 0, "{said}");
    }
}

#[test]
fn records_that_are_refused_for_good_are_kept_unless_that_is_not_wanted() {
    let folder = folder("letters");
    let bad = |body: &str| if body.contains("\"line 3\"") { "422 Unprocessable" } else { "200 OK" };
    let (address, _) = server(bad);
    let sink = format!("    type: http\n    uri: http://{address}/in\n");
    let (output, said) = run(&folder, &pipeline(&folder, 10, &sink), &["--for", "1500ms"]);
    assert!(output.status.success(), "{said}");
    let warns = |line: &str| line.contains("gives up records that are refused for good") && line.contains("422");
    assert!(said.lines().any(warns) && said.contains("dead_lettered"), "{said}");
    let data = folder.join("data");
    let shown = tidegate("dlq").args(["show", "out", "--json", "--data-dir", data.to_str().unwrap()]).output().unwrap();
    let letters = String::from_utf8(shown.stdout).unwrap();
    let letter: serde_json::Value = serde_json::from_str(&letters).unwrap();
    assert_eq!((&letter["origin"], &letter["record"]["message"]), (&"out".into(), &"line 3".into()), "{letters}");
    assert!(letter["cause"].as_str().is_some_and(|cause| cause.contains("422")), "{letters}");

    let folder = crate::child::folder("no-letters");
    let (output, said) =
        run(&folder, &pipeline(&folder, 10, &format!("{sink}    dead_letter: false\n")), &["--for", "1500ms"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("sink \"out\" gave up 1 record and nobody keeps them"), "{said}");
}

#[test]
fn a_sink_that_cannot_write_says_why() {
    let folder = folder("causes");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (sink, cause) in [
        ("    type: file\n    path: /dev/full\n    encoding: { codec: text }\n".to_owned(), "No space left"),
        (format!("    type: http\n    uri: http://{nobody}/\n"), "Connection refused"),
        (
            format!("    type: socket\n    mode: tcp\n    address: {nobody}\n    encoding: {{ codec: text }}\n"),
            "refused",
        ),
    ] {
        let (_, said) = run(&folder, &pipeline(&folder, 10, &sink), &["--for", "600ms", "--drain-timeout", "100ms"]);
        let warned = said.lines().any(|line| line.contains("WARN") && line.contains("\"out\"") && line.contains(cause));
        assert!(warned, "{sink}: {said}");
        let told = said.lines().any(|line| line.starts_with("refused: sink \"out\"") && line.contains(cause));
        assert!(told, "{sink}: {said}");
    }
}

#[test]
fn records_that_a_program_fails_on_are_counted_and_every_component_has_a_row() {
    let folder = folder("failing");
    let mut text = pipeline(&folder, 100, "    type: blackhole\n").replace("[in]", "[few]");
    text += "transforms:\n  parse: { type: remap, inputs: [in], source: '. = parse_json!(.message)' }\n  \
             few: { type: throttle, inputs: [parse], threshold: 10, window_secs: 3600 }\n";
    let (output, said) = run(&folder, &text, &["--for", "700ms"]);
    assert!(output.status.success(), "{said}");
    let row = |words: &[&str]| said.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().starts_with(words));
    assert!(row(&["parse", "records_failed", "100"]), "{said}");
    assert!(row(&["source", "in", "100", "100"]), "{said}");
    assert!(row(&["transform", "parse", "100", "100"]), "{said}");
    assert!(row(&["transform", "few", "100", "10"]), "{said}");
    assert!(said.contains("shed by few: 90 (throttle)"), "{said}");
    assert!(said.contains("\"parse\": the program failed") && said.contains("\"line 0\""), "{said}");

    let folder = crate::child::folder("failing-condition");
    let text = pipeline(&folder, 100, "    type: blackhole\n").replace("[in]", "[some]");
    let some = "transforms:\n  some: { type: filter, inputs: [in], condition: 'int!(.message) > 1' }\n";
    let (_, said) = run(&folder, &format!("{text}{some}"), &["--for", "700ms", "--quiet"]);
    assert!(said.contains("\"some\": a condition failed, so it is not true"), "{said}");
}
