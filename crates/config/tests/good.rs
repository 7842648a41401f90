//! Files that must work: each gives a plan without errors, which wires and explains itself. What `explain` and `graph`
//! say of them is kept beside them; `UPDATE=1` writes it anew.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_config::problem::{Look, render};
use tidegate_config::{Plan, cases, diff, explain, load, picture, plan, wire};

fn planned(path: &Path) -> Plan {
    let loaded = load::load(&[path.to_path_buf()], &|_| None);
    let planned = plan(loaded, &BuildContext::new("/var/lib/tidegate"), Depth::Values);
    let messages = render(&planned.files, &planned.problems, Look::default());
    planned.plan.unwrap_or_else(|| panic!("{}:\n{messages}", path.display()))
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/good").expect("the directory is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "txt"));
    files.sort();
    files
}

#[tokio::test(start_paused = true)]
async fn each_good_file_is_planned_wired_and_explained() {
    let update = std::env::var_os("UPDATE").is_some();
    for path in files() {
        let plan = planned(&path);
        let wired = match wire::wire(&plan, "good", &BuildContext::new("/var/lib/tidegate")) {
            Ok(wired) => wired,
            Err(problems) => panic!("{}: {:?}", path.display(), problems.sorted()),
        };
        let facts = explain::explain(&plan, &wired);
        assert_eq!(facts.memory.reserved_bytes + facts.memory.floating_bytes, facts.memory.budget_bytes);
        assert_eq!(facts.to_json()["pairs"].as_array().map(Vec::len), Some(facts.pairs.len()));
        let said = format!("{}\n{}\n{}", facts.to_text(), picture::graph_text(&plan), picture::graph_mermaid(&plan));
        let beside = PathBuf::from(format!("{}.txt", path.display()));
        if update {
            std::fs::write(&beside, &said).expect("the text can be written");
        }
        assert_eq!(std::fs::read_to_string(&beside).unwrap_or_default(), said, "{}", path.display());
        assert!(diff::diff(&plan, &planned(&path)).is_empty());
    }
}

#[test]
fn unit_tests_of_a_file_pass_or_say_why_not() {
    let plan = planned(Path::new("tests/good/tests.yaml"));
    let results = cases::run_cases(&plan, &BuildContext::new("/var/lib/tidegate"));
    assert_eq!((results[0].name.as_str(), &results[0].failures), ("errors pass", &Vec::new()));
    assert_eq!((results[2].name.as_str(), &results[2].failures), ("time passes for what waits", &Vec::new()));
    let said: Vec<_> = results[1].failures.iter().map(|failure| failure.text.as_str()).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(
        said[0].starts_with("holds of no record that came out of `split`, `split`: it is false for {"),
        "{}",
        said[0]
    );
    assert_eq!(said[1], "nothing came out of `split`");
    assert!(said[2].starts_with("nothing may come out of `errors`, but 2 records did: {"), "{}", said[2]);
}
