//! The smallest pipeline: lines that are made up, and a sink that forgets them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tidegate_components::contract::{BuildContext, SinkKind, SourceKind};
use tidegate_components::options::Buffer;
use tidegate_components::wiring::{Input, Node, Part, join};
use tidegate_components::{SINKS, SOURCES};
use tidegate_flow::{Outcome, Weight, kib};
use tidegate_runtime::{Pipeline, Report};

fn source(name: &str, json: &str) -> Node {
    let config: serde_json::Value = serde_json::from_str(json).unwrap();
    let kind: &SourceKind = SOURCES.iter().find(|kind| kind.name == config["type"]).unwrap();
    let part = Part::Source((kind.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(options(config))).unwrap());
    Node { name: name.into(), inputs: Vec::new(), buffer: None, columns: None, dead_letters: None, part }
}

fn sink(name: &str, inputs: &[&str], buffer: Option<Buffer>, json: &str) -> Node {
    let config: serde_json::Value = serde_json::from_str(json).unwrap();
    let kind: &SinkKind = SINKS.iter().find(|kind| kind.name == config["type"]).unwrap();
    let part = Part::Sink((kind.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(options(config))).unwrap());
    let inputs = inputs.iter().map(|input| Input::of(*input)).collect();
    Node { name: name.into(), inputs, buffer, columns: None, dead_letters: None, part }
}

fn options(mut config: serde_json::Value) -> serde_json::Value {
    config.as_object_mut().unwrap().remove("type");
    config
}

async fn run(nodes: Vec<Node>) -> Report {
    let builder = Pipeline::builder("demo").batch(Weight::new(100, kib(64).get()));
    join(&builder, nodes, &BuildContext::new("unused")).unwrap();
    let report = builder.build().unwrap().start().wait().await;
    report.ledger.check().unwrap();
    report
}

#[tokio::test(start_paused = true)]
async fn a_thousand_records_pass_and_the_ledger_balances() {
    let report = run(vec![
        source("in", r#"{"type":"demo_logs","format":"json","count":1000,"interval":0}"#),
        sink("out", &["in"], None, r#"{"type":"blackhole"}"#),
    ])
    .await;
    let total = report.ledger.total();
    assert_eq!((total.accepted.get(), total.ended.get(Outcome::Delivered).get()), (1_000, 1_000), "{report}");
    let names: Vec<&str> = report.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["out", "in"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_on_either_side_is_kept() {
    let report = run(vec![
        source("in", r#"{"type":"demo_logs","format":"syslog","count":100,"rate":"10/s"}"#),
        sink("out", &["in"], None, r#"{"type":"blackhole"}"#),
    ])
    .await;
    assert!((9_900..10_100).contains(&report.ran.as_millis()), "{report}");
    let report = run(vec![
        source("in", r#"{"type":"demo_logs","format":"syslog","count":5000,"interval":0}"#),
        sink("out", &["in"], None, r#"{"type":"blackhole","rate":"1k/s"}"#),
    ])
    .await;
    assert!((4_990..5_100).contains(&report.ran.as_millis()), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_branch_that_sheds_costs_only_itself() {
    let shedding: Buffer = serde_json::from_str(r#"{"max_events":200,"when_full":"drop_newest"}"#).unwrap();
    let report = run(vec![
        source("in", r#"{"type":"demo_logs","format":"json","count":20000,"interval":0}"#),
        sink("fast", &["in"], None, r#"{"type":"blackhole"}"#),
        sink("slow", &["in"], Some(shedding), r#"{"type":"blackhole","rate":"10/s","acknowledgements":false}"#),
    ])
    .await;
    assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 20_000, "{report}");
    let shed: u64 = report.ledger.shed().filter(|(name, ..)| *name == "slow").map(|(.., records)| records.get()).sum();
    assert!(shed > 19_000, "{report}");
    assert!(report.ran > Duration::from_secs(20), "the slow branch finishes what it took: {report}");
}
