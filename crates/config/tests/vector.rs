//! Files as they are written for Vector, over every component and in each format: they are understood without an error,
//! and run. What is said of keys that have no effect is kept beside each; `UPDATE=1` writes it anew.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_config::problem::{Look, render};
use tidegate_config::{Plan, cases, load, plan, wire};
use tidegate_runtime::PipelineEnd;

/// A folder of its own for each file in each test: they run side by side.
fn folder(test: &str, path: &Path) -> PathBuf {
    let name = path.file_name().expect("a name");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vector").join(test).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("the folder of an earlier run can be removed");
    }
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/vector").expect("the directory is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "txt"));
    files.sort();
    files
}

/// The plan, and the messages about it.
fn planned(path: &Path, folder: &Path) -> (Option<Plan>, String) {
    let environment = |name: &str| match name {
        "DIR" => Some(folder.display().to_string()),
        "PASSWORD" => Some("hunter2-and-more".to_string()),
        _ => None,
    };
    let loaded = load::load(&[path.to_path_buf()], &environment);
    let planned = plan(loaded, &BuildContext::new(folder), Depth::Surroundings);
    let messages = render(&planned.files, &planned.problems, Look::default());
    (planned.plan, messages)
}

#[test]
fn each_file_has_no_errors_and_the_warnings_beside_it() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for path in files() {
        let (plan, messages) = planned(&path, &folder("checked", &path));
        assert!(plan.is_some(), "{messages}");
        let beside = PathBuf::from(format!("{}.txt", path.display()));
        if update {
            std::fs::write(&beside, &messages).expect("the messages can be written");
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != messages {
            wrong.push(messages);
        }
    }
    assert!(wrong.is_empty(), "messages changed; see that they are good, then set UPDATE=1:\n{}", wrong.join("\n"));
}

#[test]
fn every_component_and_every_format_is_among_them() {
    let mut types = BTreeSet::new();
    let mut formats = BTreeSet::new();
    for path in files() {
        formats.insert(path.extension().expect("an extension").to_os_string());
        let plan = planned(&path, &folder("listed", &path)).0.expect("it is sound");
        types.extend(plan.nodes.iter().map(|node| (node.kind.to_string(), node.type_name)));
    }
    let sources = tidegate_components::SOURCES.iter().map(|kind| ("source", kind.name));
    let transforms = tidegate_components::TRANSFORMS.iter().map(|kind| ("transform", kind.name));
    let sinks = tidegate_components::SINKS.iter().map(|kind| ("sink", kind.name));
    // The sinks of our own that Vector has nothing like.
    let all = sources.chain(transforms).chain(sinks).filter(|(_, name)| !name.starts_with("dead_letter"));
    let missing: Vec<_> = all.filter(|(kind, name)| !types.contains(&(kind.to_string(), *name))).collect();
    assert_eq!((missing, formats.len()), (Vec::new(), 3));
    assert!(files().len() >= 10);
}

/// Those whose sources end run to their end, and the others until they are drained.
#[tokio::test]
async fn each_file_runs() {
    for path in files() {
        let folder = folder("run", &path);
        let plan = planned(&path, &folder).0.expect("it is sound");
        let types: Vec<_> = plan.nodes.iter().map(|node| node.type_name).collect();
        // The standard input of a test is that of whoever runs it.
        if types.contains(&"stdin") {
            continue;
        }
        let cx = BuildContext::new(&folder);
        let wired =
            wire::wire(&plan, "vector", &cx).unwrap_or_else(|problems| panic!("{path:?}: {:?}", problems.sorted()));
        let running = wired.pipeline.start();
        cx.observed.set(&running.view());
        let ends = !types.iter().any(|name| ["file", "socket", "http_server", "internal_metrics"].contains(name));
        let deadline = Duration::from_secs(60);
        let report = if ends { running.wait().await } else { running.drain(deadline).await };
        assert!(report.end == PipelineEnd::Completed, "{}: {report}", path.display());
        if ends {
            assert!(report.ledger.total().accepted.get() >= 50, "{}: {report}", path.display());
        }
    }
}

#[test]
fn unit_tests_of_such_a_file_pass() {
    let path = Path::new("tests/vector/tested.yaml");
    let folder = folder("tested", path);
    let plan = planned(path, &folder).0.expect("it is sound");
    let results = cases::run_cases(&plan, &BuildContext::new(&folder));
    assert!(results.len() == 1 && results.iter().all(|result| result.failures.is_empty()), "{results:?}");
}
