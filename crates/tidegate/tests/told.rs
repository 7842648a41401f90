//! What the program says of what it does not do, and the codes that it ends with.

#![cfg(feature = "program")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).stdin(Stdio::null());
    command
}

fn ran(args: &[&str]) -> Output {
    tidegate(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file of this text in a folder of this name, and its path.
fn file(folder: &str, name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("told").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const ENDLESS: &str = "sources:\n  in: { type: demo_logs, format: json, interval: 0 }\n\
                       sinks:\n  out: { type: console, inputs: [in], encoding: { codec: json } }\n";

#[test]
fn a_full_disk_behind_standard_output_is_an_error_and_a_closed_pipe_is_none() {
    for verb in ["schema", "list"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = tidegate(&[verb]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert!(text(&output.stderr).contains("cannot write to standard output"), "{verb}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = tidegate(&[verb]).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{verb}");
    }
}

#[test]
fn a_pipeline_whose_reader_leaves_says_so_and_fails() {
    let path = file("closed", "p.yaml", ENDLESS);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = tidegate(&["run", path.to_str().unwrap(), "--no-admin", "--quiet"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    // The command keeps an end of the pipe too.
    drop(command);
    let mut first = [0; 1];
    reader.read_exact(&mut first).unwrap();
    drop(reader);
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("whoever read the output of sink `out` closed it") && said.contains("not delivered"),
        "{said}"
    );
}

#[test]
fn the_report_can_be_read_by_tools() {
    let text_of = "sources:\n  in: { type: demo_logs, format: json, count: 10, interval: 0 }\n\
                   transforms:\n  slow: { type: throttle, inputs: [in], threshold: 1, window_secs: 3600 }\n\
                   sinks:\n  out: { type: blackhole, inputs: [slow] }\n";
    let path = file("json", "p.yaml", text_of);
    let output = ran(&["run", path.to_str().unwrap(), "--no-admin", "--json"]);
    let said = text(&output.stderr);
    let report: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&report["end"], &report["balances"]), (&"completed".into(), &true.into()), "{report}");
    assert_eq!((&report["records"]["delivered"], &report["records"]["shed"]), (&1.into(), &9.into()), "{report}");
    let explained = text(&ran(&["explain", path.to_str().unwrap()]).stdout);
    assert!(explained.contains("at `slow` (throttle): what is over 1 record in"), "{explained}");
    assert!(explained.contains("in -> out: best effort: `slow` sheds"), "{explained}");
}

#[test]
fn packets_and_long_lines_are_among_what_may_be_shed() {
    let text_of = "sources:\n  udp: { type: socket, mode: udp, address: 127.0.0.1:0 }\n  lines: { type: stdin }\n\
                   sinks:\n  out: { type: blackhole, inputs: [udp, lines] }\n";
    let path = file("packets", "p.yaml", text_of);
    let explained = text(&ran(&["explain", path.to_str().unwrap()]).stdout);
    for words in [
        "at `udp` (socket): packets that come while it is not read, counted as `packets_dropped_by_kernel`",
        "at `lines` (stdin): lines longer than",
        "udp -> out: best effort",
        "lines -> out: each record while the process runs",
    ] {
        assert!(explained.contains(words), "{words}: {explained}");
    }
}

#[test]
fn small_things_are_refused_or_shown_as_they_are_asked_for() {
    let unknown = ran(&["explain", "E9999"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("no message has the code E9999"), "{}", text(&unknown.stderr));
    let path = file("small", "p.yaml", ENDLESS);
    file("small", ".p.yaml.swp.yaml", "this is: [no pipeline");
    let folder = path.parent().unwrap().to_str().unwrap();
    assert!(ran(&["check", "--offline", folder]).status.success(), "hidden files are not read");
    let drawn: serde_json::Value = serde_json::from_slice(&ran(&["graph", folder, "--json"]).stdout).unwrap();
    assert_eq!(drawn["nodes"].as_array().map(Vec::len), Some(2));
    assert_eq!(ran(&["run", folder, "--threads", "0"]).status.code(), Some(2));
}

#[test]
fn dead_letters_of_a_sink_have_their_cause_and_origin() {
    let folder = file("letters", "p.yaml", "").parent().unwrap().to_owned();
    let out = folder.join("out-{{ none }}.ndjson");
    let text_of = format!(
        "data_dir: {}\nsources:\n  in: {{ type: demo_logs, format: json, count: 3, interval: 0 }}\n\
         sinks:\n  out: {{ type: file, inputs: [in], path: \"{}\", dead_letter: true }}\n",
        folder.display(),
        out.display()
    );
    let path = file("letters", "p.yaml", &text_of);
    drop(std::fs::remove_dir_all(folder.join("dead_letters")));
    let output = ran(&["run", path.to_str().unwrap(), "--no-admin"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = ran(&["dlq", "show", "out", "--json", "--data-dir", folder.to_str().unwrap()]);
    let written = text(&shown.stdout);
    assert_eq!(written.lines().count(), 3, "{written}");
    for line in written.lines() {
        let letter: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(letter["origin"], "out", "{letter}");
        assert!(letter["cause"].as_str().is_some_and(|cause| cause.contains("none")), "{letter}");
        assert!(letter["record"]["message"].is_string(), "{letter}");
    }
}

/// Root may write everywhere, so somebody else asks.
#[test]
fn a_folder_that_this_user_may_not_write_to_is_an_error() {
    let text_of = "sources:\n  in: { type: demo_logs, format: json }\n\
                   sinks:\n  out: { type: file, inputs: [in], path: /tidegate-not-there/out.ndjson }\n";
    let path = file("rights", "p.yaml", text_of);
    let is_root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    let check = |program: &Path, path: &Path| {
        let mut command = Command::new(program);
        command.args(["check", "--json", path.to_str().unwrap()]).stdin(Stdio::null());
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        command.output()
    };
    let said_by = |output: &Output| text(&output.stdout) + &text(&output.stderr);
    let output = match check(Path::new(env!("CARGO_BIN_EXE_tidegate")), &path) {
        Ok(output) if !said_by(&output).contains("E0001") => output,
        // A build folder that is root's alone: from where everybody may read.
        _ => {
            let folder = std::env::temp_dir().join(format!("tidegate-told-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let (program, copy) = (folder.join("tidegate"), folder.join("p.yaml"));
            std::fs::copy(env!("CARGO_BIN_EXE_tidegate"), &program).unwrap();
            std::fs::copy(&path, &copy).unwrap();
            let output = check(&program, &copy);
            std::fs::remove_dir_all(&folder).unwrap();
            output.unwrap()
        }
    };
    let said = said_by(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("E0401") && said.contains("cannot make files in the folder /"), "{said}");
}
