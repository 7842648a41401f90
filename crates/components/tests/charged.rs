//! What sinks encode into is charged: by the count of the allocator, and not by ours.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_components::contract::BuildContext;
use tidegate_components::wiring::{Input, Node, Part, join};
use tidegate_components::{SINKS, SOURCES};
use tidegate_flow::{Weight, mib};
use tidegate_runtime::Pipeline;
use tokio::net::TcpListener;

#[global_allocator]
static HEAP: tidegate_heap::Counting = tidegate_heap::Counting::new();

/// What the client, its connections and the pipeline itself take beside what they hold.
const BESIDE: u64 = 4 << 20;

fn node(name: &str, inputs: &[&str], mut config: Value) -> Node {
    let kind = config.as_object_mut().unwrap().remove("type").unwrap();
    let mut from = <dyn erased_serde::Deserializer<'_>>::erase(config);
    let part = match SOURCES.iter().find(|known| known.name == kind) {
        Some(found) => Part::Source((found.parse)(&mut from).unwrap()),
        None => Part::Sink((SINKS.iter().find(|known| known.name == kind).unwrap().parse)(&mut from).unwrap()),
    };
    let inputs = inputs.iter().map(|input| Input::of(*input)).collect();
    Node { name: name.into(), inputs, buffer: None, columns: None, dead_letters: None, part }
}

/// Three requests of 12 MiB each to a receiver that accepts connections and reads nothing: more than the kernel takes.
#[tokio::test]
async fn bodies_that_are_under_way_are_paid_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let line = "a line of a log, neither short nor long, ".repeat(250);
    let source = json!({"type": "demo_logs", "format": "shuffle", "lines": [line], "interval": 0});
    let sink = json!({
        "type": "http", "uri": uri, "encoding": {"codec": "json"},
        "batch": {"max_bytes": "12MiB", "max_events": 100_000, "timeout_secs": 1000}, "request": {"concurrency": 3},
    });
    let before = HEAP.counts().live_bytes;
    let builder = Pipeline::builder("charged").budget(mib(160)).batch(Weight::new(1_000, 1 << 20));
    let nodes = vec![node("in", &[], source), node("out", &["in"], sink)];
    join(&builder, nodes, &BuildContext::new("unused")).unwrap();
    let running = builder.build().unwrap().start();
    let mut connections = Vec::new();
    let three = tokio::time::timeout(Duration::from_secs(120), async {
        while connections.len() < 3 {
            connections.push(listener.accept().await.unwrap());
        }
    });
    three.await.unwrap();
    // Until nothing moves any more.
    let (mut last, mut same) = (0, 0);
    while same < 2_000 {
        tokio::task::yield_now().await;
        let read = running.ledger().total().accepted.get();
        same = if read == last { same + 1 } else { 0 };
        last = read;
    }
    let (live, used) = (HEAP.counts().live_bytes - before, running.budget().used().get());
    let encoding: u64 =
        running.holdings().iter().filter(|held| held.what == "encoding").map(|held| held.used.get()).sum();
    assert!(encoding >= 3 * (12 << 20), "three bodies are under way, and {encoding} bytes are charged for them");
    assert!(live <= used + BESIDE, "{live} bytes are allocated, and {used} of them charged");
    running.stop().await.ledger.check().unwrap();
}
