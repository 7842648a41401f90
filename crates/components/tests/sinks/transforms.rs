//! Transforms in a pipeline: what comes out of their outputs, and how records end.

use serde_json::{Value, json};
use tidegate_components::wiring::{Node, Part};
use tidegate_flow::Outcome;
use tidegate_runtime::Report;

use crate::rig::{Folder, Rig, config, ended, node, transform};

fn step(name: &str, inputs: &[&str], json: Value) -> Node {
    node(name, inputs, transform(&json))
}

fn file(folder: &Folder, name: &str, inputs: &[&str]) -> Node {
    let json = json!({"type": "file", "path": folder.path(name), "encoding": {"codec": "json"}});
    node(name, inputs, Part::Sink(config(&json)))
}

async fn run(nodes: Vec<Node>, texts: &[&str]) -> Report {
    let rig = Rig::wired(nodes);
    rig.send(texts.iter().copied()).await;
    rig.end().await
}

#[tokio::test]
async fn a_route_sends_each_record_to_all_who_want_it() {
    let folder = Folder::new();
    let route = json!({"type": "route", "route": {"small": ".n < 3 ?? false", "even": "mod(int!(.n), 2) == 0"}});
    let nodes = vec![
        step("route", &["in"], route),
        file(&folder, "small", &["route.small"]),
        file(&folder, "even", &["route.even"]),
        file(&folder, "rest", &["route._unmatched"]),
    ];
    let report = run(nodes, &[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":4}"#, r#"{"x":0}"#]).await;
    assert_eq!(ended(&report, Outcome::Delivered), 5, "{report}");
    assert_eq!(folder.text("small"), "{\"n\":1}\n{\"n\":2}\n");
    assert_eq!(folder.text("even"), "{\"n\":2}\n{\"n\":4}\n");
    assert_eq!(folder.text("rest"), "{\"n\":3}\n{\"x\":0}\n");
}

#[tokio::test]
async fn what_no_output_takes_is_filtered() {
    let folder = Folder::new();
    let route = json!({"type": "route", "route": {"a": "exists(.a)", "b": "exists(.b)"}});
    let nodes = vec![step("route", &["in"], route), file(&folder, "a", &["route.a"])];
    let report = run(nodes, &["{\"a\":1}", "{\"b\":1}", "{}"]).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Filtered)), (1, 2), "{report}");
}

#[tokio::test]
async fn what_a_remap_drops_comes_out_of_its_other_output() {
    let folder = Folder::new();
    let remap = json!({
        "type": "remap", "source": ". = parse_json!(.message)\n.env = \"prod\"",
        "drop_on_error": true, "reroute_dropped": true,
    });
    let nodes = vec![
        step("parse", &["in"], remap),
        step("keep", &["parse"], json!({"type": "filter", "condition": ".a != 2"})),
        file(&folder, "good", &["keep"]),
        file(&folder, "also", &["parse"]),
        file(&folder, "bad", &["parse.dropped"]),
    ];
    let report = run(nodes, &["[\"no object\"", "not {json}", "> {\"a\":1}", "> {\"a\":2}"]).await;
    assert_eq!(ended(&report, Outcome::Delivered), 4, "{report}");
    assert_eq!(folder.text("good"), "{\"a\":1,\"env\":\"prod\"}\n");
    assert_eq!(folder.text("also").lines().count(), 2);
    let bad: Vec<Value> = folder.text("bad").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(bad.len(), 2);
    assert_eq!((&bad[0]["message"], &bad[1]["message"]), (&json!("[\"no object\""), &json!("not {json}")));
    let dropped = &bad[0]["metadata"]["dropped"];
    assert_eq!((&dropped["component_id"], &dropped["reason"]), (&json!("parse"), &json!("error")));
}

#[tokio::test]
async fn a_chain_of_steps_is_fused_and_the_ledger_balances() {
    let folder = Folder::new();
    let nodes = vec![
        step("parse", &["in"], json!({"type": "remap", "source": ". = parse_json!(.message)", "drop_on_error": true})),
        step("once", &["parse"], json!({"type": "dedupe", "fields": {"match": ["id"]}})),
        step("some", &["once"], json!({"type": "sample", "rate": 2, "sample_rate_key": ""})),
        step("slow", &["some"], json!({"type": "throttle", "threshold": 2, "window_secs": 3600})),
        file(&folder, "out", &["slow"]),
    ];
    let texts: Vec<String> = (0..20).map(|n| format!("> {{\"id\":{}}}", n % 10)).chain(["?".to_owned()]).collect();
    let report = run(nodes, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(folder.text("out"), "{\"id\":0}\n{\"id\":2}\n");
    let counts =
        [Outcome::Delivered, Outcome::Filtered, Outcome::Shed, Outcome::Returned].map(|end| ended(&report, end));
    let why = "10 repeated, of which 3 repeat what is over the rate; 5 not chosen, 3 over the rate, 1 no JSON";
    assert_eq!(counts, [2, 12, 6, 1], "{why}: {report}");
    assert_eq!(report.stages.len(), 2, "one stage for the source and its steps, one for the sink");
}
