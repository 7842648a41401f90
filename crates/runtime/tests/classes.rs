//! How a source sorts its records: into lanes and buckets that there are, and by key.

#![allow(clippy::unwrap_used, reason = "a test or benchmark fails by panicking, on numbers that it chose itself")]

use std::time::Duration;

use tidegate_flow::{EdgeSpec, OnFull, Outcome, Weight};
use tidegate_runtime::{Class, Order, Pipeline, PipelineEnd, Report, SourceOptions, ThrottleSpec, sink, source};

/// Ten records, each with this class but the last.
async fn run_with(class: Class) -> Report {
    let builder = Pipeline::builder("shop").batch(Weight::new(9, 1 << 16));
    let classify = move |n: &u64, _| if *n == 9 { class } else { Class::default() };
    let orders = SourceOptions::new(source::iter(0..10_u64)).classify_by(classify);
    builder.source("orders", orders).edge(EdgeSpec::new("to-store").lanes(&[0, 0])).sink("store", sink::null());
    builder.build().unwrap().start().wait().await
}

#[tokio::test(start_paused = true)]
async fn a_class_that_there_is_not_stops_the_source_with_the_cause() {
    let cases = [
        (Class { bucket: 64, ..Class::default() }, "bucket 64; give a bucket of 0 to 63, such as a hash modulo 64"),
        (Class { bucket: 200, ..Class::default() }, "bucket 200; give a bucket of 0 to 63, such as a hash modulo 64"),
        (Class { lane: 4, ..Class::default() }, "lane 4; give a lane of 0 to 3"),
    ];
    for (class, text) in cases {
        let report = run_with(class).await;
        report.ledger.check().unwrap();
        let PipelineEnd::Failed { cause, .. } = &report.end else { panic!("{class:?}: {:?}", report.end) };
        let said = format!("the classifier of source \"orders\" gave {text}");
        assert!(cause.to_string().contains(&said), "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_lane_and_bucket_are_good_on_an_edge_with_fewer() {
    let report = run_with(Class { lane: 3, bucket: 63, ..Class::default() }).await;
    report.ledger.check().unwrap();
    assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 10);
}

/// 10 000 records of "loud" and 100 of "quiet", twice as fast as they are taken, on an edge that sheds: how many of each
/// arrived. With this seed the two have buckets of their own.
async fn arrived(buckets: u8) -> (usize, usize) {
    let tenants = (0..10_100_u64).map(|n| if n % 101 == 0 { "quiet" } else { "loud" });
    let requests = SourceOptions::new(source::iter(tenants)).classify_by_seeded_key(8, |tenant| *tenant);
    let builder = Pipeline::builder("shop").batch(Weight::new(101, 1 << 16));
    let (kept, keep) = sink::collect();
    builder
        .source("requests", requests)
        .throttle(ThrottleSpec::shape(2_000.0))
        .edge(EdgeSpec::new("to-store").records(200).buckets(buckets).on_full(OnFull::DropOldest))
        .map_async(1, Order::Ordered, |tenant| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tenant
        })
        .sink("store", keep);
    builder.build().unwrap().start().wait().await.ledger.check().unwrap();
    let kept = kept.take();
    let quiet = kept.iter().filter(|tenant| **tenant == "quiet").count();
    (quiet, kept.len() - quiet)
}

#[tokio::test(start_paused = true)]
async fn a_loud_key_pays_for_its_own_load() {
    let (quiet, loud) = arrived(64).await;
    assert_eq!(quiet, 100, "the quiet key loses nothing");
    assert!((3_000..9_000).contains(&loud), "the loud one is shed: {loud} of 10 000 arrived");
    let (quiet, _) = arrived(1).await;
    assert!(quiet < 95, "without buckets it pays for its neighbour: {quiet}");
}

#[tokio::test(start_paused = true)]
async fn the_seed_is_drawn_anew_unless_it_is_given() {
    let order = |options: SourceOptions<_>| async {
        let builder = Pipeline::builder("shop");
        let (kept, keep) = sink::collect();
        builder.source("keys", options).edge(EdgeSpec::new("e").buckets(64)).sink("store", keep);
        builder.build().unwrap().start().wait().await;
        kept.take()
    };
    let keys = || SourceOptions::new(source::iter(0..200_u64));
    let mut drawn = Vec::new();
    for _ in 0..4 {
        drawn.push(order(keys().classify_by_key(|key| *key)).await);
    }
    assert!(drawn.iter().all(|keys| keys.len() == 200));
    assert!(drawn.iter().any(|other| *other != drawn[0]), "four draws with one order among 200 keys");
    let first = order(keys().classify_by_seeded_key(1, |key| *key)).await;
    assert_eq!(first, order(keys().classify_by_seeded_key(1, |key| *key)).await);
    assert_ne!(first, order(keys().classify_by_seeded_key(2, |key| *key)).await);
}
