//! `tidegate audit`, beside a pipeline, after it was killed, and over its runs.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::child::{Program, folder, free_address, request, tidegate};

/// A receiver that is down until it is not, and refuses what it does not like.
fn receiver(is_up: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, is_up) = (listener.local_addr().unwrap(), Arc::clone(is_up));
    let serve = move |stream: std::net::TcpStream, is_up: Arc<AtomicBool>| {
        let mut answers = stream.try_clone().unwrap();
        let mut requests = BufReader::new(stream);
        while let Some(body) = request(&mut requests) {
            let status = match (is_up.load(Ordering::Relaxed), String::from_utf8_lossy(&body).contains("bad")) {
                (false, _) => "503 Service Unavailable",
                (true, true) => "400 Bad Request",
                (true, false) => "200 OK",
            };
            // In one piece: in several, each would wait for the one before to be acknowledged.
            if answers.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).is_err() {
                return;
            }
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let is_up = Arc::clone(&is_up);
            thread::spawn(move || serve(stream.unwrap(), is_up));
        }
    });
    address
}

/// What `tidegate audit` says, as a page and as data, and its exit code.
fn audit(data: &Path) -> (String, Value, Option<i32>) {
    let run =
        |more: &[&str]| tidegate("audit").args(["--data-dir", data.to_str().unwrap()]).args(more).output().unwrap();
    let (page, data) = (run(&[]), run(&["--json"]));
    let said = String::from_utf8(page.stdout).unwrap() + &String::from_utf8(page.stderr).unwrap();
    (said, serde_json::from_slice(&data.stdout).unwrap_or_default(), page.status.code())
}

/// Looks until it says this.
fn until(data: &Path, holds: impl Fn(&str, &Value) -> bool) -> (String, Value) {
    for _ in 0..1_000 {
        let (page, data, code) = audit(data);
        if code == Some(0) && holds(&page, &data) {
            return (page, data);
        }
    }
    panic!("never: {}", audit(data).0);
}

#[test]
fn where_each_record_is_is_said_while_it_runs_after_a_kill_and_over_all_runs() {
    let (folder, is_up, admin) = (folder("audit"), Arc::new(AtomicBool::new(false)), free_address());
    let (address, data) = (receiver(&is_up), folder.join("data"));
    let line =
        |number: usize| if number.is_multiple_of(100) { format!("bad {number}\n") } else { format!("{number}\n") };
    std::fs::write(folder.join("in.log"), (0..1_000).map(line).collect::<String>()).unwrap();
    std::fs::create_dir_all(&data).unwrap();
    let pipeline = format!(
        "data_dir: data\nsources:\n  app: {{ type: file, include: [in.log] }}\nsinks:\n  search:\n    type: http\n    inputs: [app]\n    \
         uri: http://{address}/\n    batch: {{ max_events: 50 }}\n    dead_letter: true\n    \
         request: {{ retry: {{ initial_backoff: 50ms, max_backoff: 100ms }} }}\n    buffer: {{ type: disk, max_size: 4MiB }}\n"
    );
    let admin = admin.to_string();
    let args = ["--admin", admin.as_str()];
    assert_eq!(audit(&data).2, Some(2), "there is no ledger yet");
    let program = Program::start(&folder, &pipeline, &args);
    let all =
        "1,000 of 1,000 accepted from `app` are not delivered:\n  1,000 wait in the buffer of `search` on disk\nboth";
    let (page, _) = until(&data, |page, _| page.contains(all));
    assert!(page.contains("is at work; the figures are those of now"), "{page}");

    // Until that is in the file, too.
    let stored = || std::fs::read_to_string(data.join("ledger/ledger.json")).unwrap();
    let counted = || serde_json::from_str::<Value>(&stored()).unwrap()["now"]["sources"]["app"]["delivered"] == 1_000;
    let mut looks = 0_u32;
    while !counted() {
        looks += 1;
        assert!(looks < 1_000_000, "{}", stored());
        thread::yield_now();
    }
    // Killed as by `kill -9`.
    drop(program);
    let (page, _, code) = audit(&data);
    assert_eq!(code, Some(0), "{page}");
    assert!(page.contains("run 1 of pipeline \"tidegate\"") && page.contains("ended without a word"), "{page}");
    assert!(page.contains("1,000 wait in the buffer of `search` on disk"), "{page}");

    is_up.store(true, Ordering::Relaxed);
    let program = Program::run(&folder, &args).unwrap_or_else(|said| panic!("{said}"));
    let (page, found) =
        until(&data, |page, data| page.contains("\n10 of 1,000 accepted") && data["not_delivered"] == 10);
    assert!(page.contains("10 of 1,000 accepted from `app` are not delivered"), "{page}");
    assert!(page.contains("10 are dead letters of `search`: ") && page.contains("400 Bad Request"), "{page}");
    assert!(page.contains("`tidegate dlq show search`") && page.contains("both laws balance"), "{page}");
    assert!(page.contains("run 1 of ") && found["missing"][0]["kind"] == "dead_letters", "{page}");
    program.end();
    let (page, found, code) = audit(&data);
    assert!(code == Some(0) && found["not_delivered"] == 10 && page.contains("run 2 of pipeline"), "{page}");
    assert!(page.contains(": completed") || page.contains(": stopped"), "{page}");

    let spoilt = stored().replace("\"delivered\": 1000", "\"delivered\": 999");
    std::fs::write(data.join("ledger/ledger.json"), spoilt).unwrap();
    let (page, _, code) = audit(&data);
    assert!(code == Some(1) && page.contains("DOES NOT BALANCE: source `app` accepted 1000, of which 999"), "{page}");
}
