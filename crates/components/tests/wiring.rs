//! How plans become stages and edges: what is fused, what forks, and what settlement waits for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tidegate_components::contract::BuildContext;
use tidegate_components::options::Buffer;
use tidegate_components::wiring::{Input, Layout, Node, Part, WireError, join};
use tidegate_components::{SINKS, SOURCES, TRANSFORMS};
use tidegate_flow::{FlowKind, Outcome, Weight, kib};
use tidegate_runtime::testkit::ended;
use tidegate_runtime::{Pipeline, Report};

/// A node of this name, inputs (`node` or `node.output`) and configuration.
fn node(name: &str, inputs: &[&str], json: &str) -> Node {
    let mut options: serde_json::Value = serde_json::from_str(json).unwrap();
    let kind = options.as_object_mut().unwrap().remove("type").unwrap();
    let mut from = <dyn erased_serde::Deserializer<'_>>::erase(options);
    let part = if let Some(found) = SOURCES.iter().find(|known| known.name == kind) {
        Part::Source((found.parse)(&mut from).unwrap())
    } else if let Some(found) = TRANSFORMS.iter().find(|known| known.name == kind) {
        Part::Transform((found.parse)(&mut from).unwrap())
    } else {
        let found = SINKS.iter().find(|known| known.name == kind).unwrap();
        Part::Sink((found.parse)(&mut from).unwrap())
    };
    let inputs = inputs.iter().map(|input| match input.split_once('.') {
        Some((node, output)) => Input::named(node, output),
        None => Input::of(*input),
    });
    Node { name: name.into(), inputs: inputs.collect(), buffer: None, columns: None, dead_letters: None, part }
}

fn lines(count: u64) -> String {
    let lines = r#"["{\"n\":2}","{\"n\":3}","{\"n\":6}","{\"n\":7}"]"#;
    format!(r#"{{"type":"demo_logs","format":"shuffle","lines":{lines},"count":{count},"interval":0}}"#)
}

const PARSE: &str = r#"{"type":"remap","source":". = parse_json!(.message)"}"#;
const KEEP: &str = r#"{"type":"filter","condition":".n != 7"}"#;
const ROUTE: &str =
    r#"{"type":"route","route":{"even":"mod(.n, 2) == 0 ?? false","three":"mod(.n, 3) == 0 ?? false"}}"#;
const HOLE: &str = r#"{"type":"blackhole"}"#;

async fn run(nodes: Vec<Node>) -> Report {
    let builder = Pipeline::builder("wiring").batch(Weight::new(100, kib(64).get()));
    join(&builder, nodes, &BuildContext::new("unused")).unwrap();
    let report = builder.build().unwrap().start().wait().await;
    report.ledger.check().unwrap();
    report
}

fn stages(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = report.stages.iter().map(|stage| stage.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn edges(report: &Report) -> Vec<&str> {
    let edges = report.ledger.stages.iter().filter(|(_, kind, _)| *kind == FlowKind::Edge);
    edges.map(|(name, ..)| name.as_str()).collect()
}

/// How many records a stage took in.
fn taken(report: &Report, stage: &str) -> u64 {
    let found = report.ledger.stages.iter().find(|(name, kind, _)| name == stage && *kind != FlowKind::Edge);
    found.map_or(0, |(_, _, flows)| flows.input.get())
}

#[tokio::test(start_paused = true)]
async fn a_chain_is_one_stage_until_somebody_asks_for_a_buffer() {
    let nodes = || {
        vec![
            node("in", &[], &lines(1_000)),
            node("parse", &["in"], PARSE),
            node("keep", &["parse"], KEEP),
            node("out", &["keep"], HOLE),
        ]
    };
    let report = run(nodes()).await;
    assert_eq!((stages(&report), edges(&report)), (vec!["in", "out"], vec!["out"]));
    assert_eq!(ended(&report, Outcome::Delivered) + ended(&report, Outcome::Filtered), 1_000);
    assert!((200..300).contains(&ended(&report, Outcome::Filtered)), "{report}");

    let mut buffered = nodes();
    buffered[2].buffer = Some(Buffer::default());
    let report = run(buffered).await;
    assert_eq!((stages(&report), edges(&report)), (vec!["in", "keep", "out"], vec!["keep", "out"]));
    assert_eq!(taken(&report, "keep"), 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_several_nodes_take_is_forked_and_several_inputs_are_merged() {
    let report = run(vec![
        node("one", &[], &lines(500)),
        node("two", &[], &lines(300)),
        node("parse", &["one", "two"], PARSE),
        node("raw", &["one"], HOLE),
        node("a", &["parse"], HOLE),
        node("b", &["parse"], HOLE),
    ])
    .await;
    assert_eq!(stages(&report), ["a", "b", "one", "parse", "raw", "two"]);
    assert_eq!((taken(&report, "a"), taken(&report, "b"), taken(&report, "raw")), (800, 800, 500));
    assert_eq!(ended(&report, Outcome::Delivered), 800);
}

#[tokio::test(start_paused = true)]
async fn named_outputs_lead_to_one_node_to_several_or_nowhere() {
    let report = run(vec![
        node("in", &[], &lines(4_000)),
        node("parse", &["in"], PARSE),
        node("split", &["parse"], ROUTE),
        node("even", &["split.even"], HOLE),
        node("threes", &["split.three"], HOLE),
        node("also", &["split.three"], KEEP),
        node("behind", &["also"], HOLE),
    ])
    .await;
    assert_eq!(stages(&report), ["also", "behind", "even", "in", "split.three", "threes"]);
    assert_eq!(taken(&report, "threes"), taken(&report, "behind"));
    // Each sixth number goes both ways and settles once; sevens go nowhere.
    assert_eq!(ended(&report, Outcome::Delivered) + ended(&report, Outcome::Filtered), 4_000);
    let sum = taken(&report, "even") + taken(&report, "threes");
    assert!(sum > ended(&report, Outcome::Delivered), "{report}");
}

#[test]
fn settlement_waits_for_sinks_that_say_so_and_for_all_where_none_does() {
    let careless = r#"{"type":"blackhole","acknowledgements":false}"#;
    let nodes = [
        node("in", &[], &lines(1)),
        node("loose", &["in"], KEEP),
        node("loose out", &["loose"], careless),
        node("out", &["in"], HOLE),
    ];
    let layout = Layout::of(&nodes).unwrap();
    assert_eq!([0, 1, 2, 3].map(|at| layout.is_required(at)), [true, false, false, true]);
    let nodes = [node("in", &[], &lines(1)), node("out", &["in"], careless)];
    let layout = Layout::of(&nodes).unwrap();
    assert_eq!([0, 1].map(|at| layout.is_required(at)), [true, true]);
}

#[test]
fn inputs_that_there_are_not_and_outputs_that_go_nowhere_are_refused_together() {
    let mut nodes =
        vec![node("in", &[], &lines(1)), node("split", &["in"], ROUTE), node("out", &["split.odd", "nobody"], HOLE)];
    nodes[2].dead_letters = Some("in".into());
    let said: Vec<String> = Layout::of(&nodes).unwrap_err().iter().map(WireError::to_string).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].contains("\"out\": there is no input \"split.odd\""), "{said:?}");
    assert!(
        said[1].contains("\"nobody\"") && said[2].contains("dead letters") && said[3].contains("goes nowhere"),
        "{said:?}"
    );
}
