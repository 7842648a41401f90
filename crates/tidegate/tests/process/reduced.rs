//! Records merged by a program that is killed as by `kill -9` again and again: what came out of all runs together, taken
//! once for each that differs, has each record of the input once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::child::{Program, folder, until};

const RECORDS: u64 = 60_000;

/// So many records a group has when it ends.
const GROUP: u64 = 50;

const PIPELINE: &str = "\
memory: 128MiB
data_dir: .
sources:
  in: { type: file, include: [in.log], read_from: beginning }
transforms:
  parsed: { type: remap, inputs: [in], source: '. = parse_json!(.message)' }
  merged:
    type: reduce
    inputs: [parsed]
    group_by: [key]
    merge_strategies: { members: array }
    max_events: 50
    expire_after_ms: 600000
    checkpoint: 50ms
sinks:
  out: { type: file, inputs: [merged], path: out.ndjson, encoding: { codec: json } }
";

/// How often each record is in outputs that differ. Each output is right in itself.
fn counted(folder: &Path) -> BTreeMap<u64, u32> {
    let text = fs::read_to_string(folder.join("out.ndjson")).unwrap_or_default();
    // The last line may be torn.
    let mut lines: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut counts = BTreeMap::new();
    for line in lines {
        let output: Value = serde_json::from_str(line).unwrap();
        let members: Vec<u64> = output["members"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!((output["n"].as_u64(), members.len() as u64), (Some(members.iter().sum()), GROUP), "{line}");
        members.into_iter().for_each(|n| *counts.entry(n).or_insert(0) += 1);
    }
    counts
}

#[test]
fn each_record_is_in_one_output_however_often_it_is_killed() {
    let folder = folder("reduced");
    let line = |n: u64| format!("{{\"key\":{},\"n\":{n},\"members\":{n}}}\n", n % 40);
    fs::write(folder.join("in.log"), (0..RECORDS).map(line).collect::<String>()).unwrap();
    let length = || fs::metadata(folder.join("out.ndjson")).map_or(0, |about| about.len());
    let save = || fs::metadata(folder.join("checkpoints/merged/state")).map_or(0, |about| about.ino());
    let mut program = Program::start(&folder, PIPELINE, &["--no-admin"]);
    let mut kills_at_work = 0;
    for round in 0..12 {
        // Killed as soon as anything is sent, or as soon as something is saved.
        let before = (length(), save());
        let is_all = || counted(&folder).len() as u64 == RECORDS;
        until("something sent or saved", || {
            assert!(program.runs(), "it ended by itself");
            (if round % 2 == 0 { length() != before.0 } else { save() != before.1 }) || is_all()
        });
        drop(program);
        kills_at_work += u32::from(!is_all());
        program = Program::run(&folder, &["--no-admin"]).unwrap_or_else(|said| panic!("{said}"));
    }
    until("all records", || counted(&folder).len() as u64 == RECORDS);
    program.end();
    assert!(kills_at_work >= 4, "killed {kills_at_work} times with work under way");
    let counts = counted(&folder);
    assert_eq!(counts.len() as u64, RECORDS);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{} are in two outputs: {:?}", twice.len(), &twice[..twice.len().min(20)]);
}
