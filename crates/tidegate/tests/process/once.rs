//! Exactly once, over two programs: the first reads a file and is killed again and again, the second takes what it sends and
//! filters what came before by its id.

use std::fs;

use crate::child::{Program, folder, free_address, until};

const ARGS: [&str; 1] = ["--no-admin"];

#[test]
fn what_is_sent_again_by_a_program_that_was_killed_is_known_by_its_ids() {
    const LINES: usize = 40_000;
    let (first, second, address) = (folder("once-first"), folder("once-second"), free_address());
    // Half of the lines are equal: only their ids tell them apart.
    let line = |number: usize| if number.is_multiple_of(2) { "the same\n".to_owned() } else { format!("{number}\n") };
    let lines: String = (0..LINES).map(line).collect();
    fs::write(first.join("in.log"), &lines).unwrap();
    let receiver = Program::start(
        &second,
        &format!(
            "data_dir: data\nsources:\n  in: {{ type: http_server, address: '{address}', decoding: {{ codec: json }} }}\n\
             transforms:\n  once: {{ type: dedupe, inputs: [in], by: id, cache: {{ num_events: 100000 }} }}\n\
             sinks:\n  out: {{ type: file, inputs: [once], path: out.log, encoding: {{ codec: text }} }}\n"
        ),
        &ARGS,
    );
    let pipeline = format!(
        "data_dir: data\nsources:\n  in: {{ type: file, include: [in.log] }}\nsinks:\n  out:\n    type: http\n    inputs: [in]\n    \
         uri: http://{address}/\n    batch: {{ max_events: 97, timeout_secs: 0.01 }}\n    request: {{ concurrency: 4 }}\n"
    );
    let length = || fs::metadata(second.join("out.log")).map_or(0, |about| about.len());
    let whole = lines.len() as u64;
    let mut sender = Program::start(&first, &pipeline, &ARGS);
    let mut kills = 0;
    while length() < whole {
        let goal = (length() + whole / 25).min(whole);
        until("more lines", || length() >= goal);
        if goal < whole {
            kills += u32::from(length() < whole);
            // Killed as by `kill -9`.
            drop(sender);
            sender = Program::run(&first, &ARGS).unwrap_or_else(|said| panic!("{said}"));
        }
    }
    // What is still under way may be a repetition, and is filtered.
    sender.end();
    let said = receiver.end();
    let found = fs::read_to_string(second.join("out.log")).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let count = found.lines().count();
    assert!(sorted(&found) == sorted(&lines), "{count} of {LINES} lines after {kills} kills\n{said}");
    let filtered = said.lines().find(|line| line.contains("once")).unwrap_or_default();
    println!("{LINES} lines, each once, after {kills} kills: {filtered}");
    assert!(kills >= 15, "{kills}");
}
