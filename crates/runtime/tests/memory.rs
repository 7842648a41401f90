//! What a plan reserves, and that a pipeline with exactly that much memory goes on.

#![allow(clippy::unwrap_used, reason = "a test or benchmark fails by panicking, on numbers that it chose itself")]

use std::time::Duration;

use tidegate_flow::{Bytes, EdgeSpec, Items, OnFull, Outcome, Weight, kib, mib};
use tidegate_runtime::testkit::TestSink;
use tidegate_runtime::{BatchLimits, Branch, Order, Pipeline, PipelineBuilder, sink, source};

/// The lines of the plan about one name, as (what for, bytes).
fn lines(builder: &PipelineBuilder, name: &str) -> Vec<(String, Bytes)> {
    let pipeline = builder.build().unwrap();
    let lines = pipeline.memory().lines().iter().filter(|line| &*line.name == name);
    lines.map(|line| (line.what.to_string(), line.minimum)).collect()
}

/// A pipeline with exactly the memory that its plan reserves.
fn least(put_together: impl Fn(&PipelineBuilder)) -> Pipeline {
    let batch = Weight::new(16, 1 << 10);
    let builder = Pipeline::builder("shop").batch(batch).budget(mib(1_000));
    put_together(&builder);
    let sum = builder.build().unwrap().memory().sum();
    let builder = Pipeline::builder("shop").batch(batch).budget(sum);
    put_together(&builder);
    let pipeline = builder.build().unwrap();
    assert_eq!(pipeline.memory().floating(), Bytes::ZERO);
    pipeline
}

#[test]
fn an_edge_that_was_given_a_size_is_reserved_whole_whatever_size() {
    let shop = || {
        let builder = Pipeline::builder("shop");
        builder
            .source("orders", source::iter(0..10_u64))
            .edge(EdgeSpec::new("one").bytes(mib(1)))
            .edge(EdgeSpec::new("two").bytes(mib(2)).on_full(OnFull::DropOldest))
            .edge(EdgeSpec::new("window").window(EdgeSpec::DEFAULT_WINDOW))
            .edge(EdgeSpec::new("tiny").bytes(Bytes::new(10)))
            .edge(EdgeSpec::new("many").records(1_000_000))
            .sink("store", sink::null());
        builder
    };
    let edge = |bytes| ("edge".to_string(), bytes);
    let expected = [("one", mib(1)), ("two", mib(2)), ("window", mib(1)), ("tiny", kib(64)), ("many", kib(64))];
    for (name, bytes) in expected {
        assert!(lines(&shop(), name).contains(&edge(bytes)), "{name}: {:?}", lines(&shop(), name));
    }
}

#[test]
fn what_the_branches_of_a_fork_hold_is_reserved_once() {
    let shop = || {
        let builder = Pipeline::builder("shop");
        let sized = |name| EdgeSpec::new(name).bytes(mib(8));
        let branches = [Branch::required(sized("a")), Branch::best_effort(sized("b")), Branch::required("c")];
        let flows = builder.source("orders", source::iter(0..10_u64)).fork(branches);
        for (number, flow) in flows.into_iter().enumerate() {
            flow.sink(&format!("store_{number}"), sink::null());
        }
        builder
    };
    assert!(lines(&shop(), "orders").contains(&("in its branches".to_string(), mib(16))));
    for branch in ["a", "b", "c"] {
        assert_eq!(lines(&shop(), branch), [], "{branch}");
    }
}

#[test]
fn a_branch_that_others_send_to_is_reserved_at_its_edge() {
    let shop = || {
        let builder = Pipeline::builder("shop");
        let (all, merged) = builder.port::<Items<u64>>(EdgeSpec::new("all").bytes(mib(8)));
        let (own, apart) = builder.port::<Items<u64>>(EdgeSpec::new("own").bytes(mib(4)));
        merged.sink("store", sink::null());
        apart.sink("shelf", sink::null());
        builder.source("orders", source::iter(0..10_u64)).fork_to(&[(&all, true), (&own, true)]);
        builder.source("returns", source::iter(0..10_u64)).to(&all);
        builder
    };
    assert!(lines(&shop(), "all").contains(&("edge".to_string(), mib(8))));
    assert_eq!(lines(&shop(), "own"), []);
    assert!(lines(&shop(), "orders").contains(&("in its branches".to_string(), mib(4))));
}

#[tokio::test(start_paused = true)]
async fn branches_hold_their_windows_where_nothing_floats() {
    let stores = [TestSink::new(), TestSink::new()];
    let pipeline = least(|builder| {
        let sized = |name| EdgeSpec::new(name).bytes(kib(32));
        let records = source::iter((0..).map(|n: u64| n.to_string().repeat(10)));
        let branches = [Branch::required(sized("quick")), Branch::required(sized("slow"))];
        let [quick, slow] = builder.source("orders", records).fork(branches);
        quick.sink("one", stores[0].sink());
        slow.sink("two", stores[1].sink());
    });
    let running = pipeline.start();
    stores[0].request(200);
    tokio::time::sleep(Duration::from_secs(60)).await;
    for (branch, least) in [("quick", kib(20)), ("slow", kib(28))] {
        let fill = running.edge(branch).unwrap().fill;
        assert!(fill.bytes > least, "edge {branch} holds {fill}");
    }
    assert!(running.budget().used() <= running.budget().total());
    running.stop().await.ledger.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn forks_and_joins_complete_with_what_is_reserved() {
    let vector = |n: u64| vec![1_u8; usize::try_from(n % 37).unwrap_or(0)];
    for sized in [false, true] {
        let spec = |name: &str, records| match sized {
            true => EdgeSpec::new(name).records(records).bytes(kib(2)),
            false => EdgeSpec::new(name).records(records),
        };
        let pipeline = least(|builder| {
            let (port, joined) = builder.port::<Items<Vec<u8>>>(spec("join", 40));
            let branches =
                [("x", 20), ("y", 4_096), ("z", 64)].map(|(name, records)| Branch::required(spec(name, records)));
            let [x, y, z] = builder.source("orders", source::iter((0..5_000).map(vector))).fork(branches);
            x.map(|v| v).edge(spec("x2", 17)).to(&port);
            y.map(|mut v: Vec<u8>| {
                v.push(1);
                v
            })
            .to(&port);
            z.batch(BatchLimits::records(50)).to(&port);
            joined
                .map_async(8, Order::Ordered, |v: Vec<u8>| async move {
                    tokio::task::yield_now().await;
                    v
                })
                .edge(spec("out", 30))
                .sink("store", sink::for_each_async(|_| tokio::task::yield_now()));
        });
        let running = pipeline.start();
        let view = running.view();
        let Ok(report) = tokio::time::timeout(Duration::from_secs(3_600), running.wait()).await else {
            panic!("stuck: {}", view.bottleneck())
        };
        report.ledger.check().unwrap();
        let ended = report.ledger.total().ended;
        assert_eq!(ended.get(Outcome::Delivered) + ended.get(Outcome::Returned), report.ledger.total().accepted);
        assert_eq!(view.budget().used(), Bytes::ZERO);
    }
}
