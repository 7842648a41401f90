//! `divert_to`, `try_map_or`, `wire_tap`, dead letters and edges that divert.

use std::time::Duration;

use tidegate_flow::{EdgeSpec, Nack, OnFull, Outcome, ShedReason, Weight, kib};
use tidegate_runtime::{Accepted, Class, DeadLetter, Pipeline, SinkOptions, SourceOptions, sink, source};

use crate::{NO_PAUSE, accepting, answering, complete, ended, flows, millis};

#[tokio::test(start_paused = true)]
async fn a_full_port_makes_the_stage_wait_whatever_comes_behind_it() {
    let builder = Pipeline::builder("divert").batch(Weight::new(16, kib(64).get()));
    let (odd_seen, odd_sink) = accepting(millis(5));
    let (even_seen, even_sink) = accepting(millis(1));
    let (odd, odd_flow) = builder.port(EdgeSpec::new("odd").records(16));
    odd_flow.sink("odd-sink", odd_sink);
    builder
        .source("count", source::iter(0..2_000_u64))
        .divert_to(&odd, |n| n % 2 == 1)
        // The steps behind have more to do while the port is full.
        .flat_map(|n| vec![n; 3])
        .divert_to(&odd, |n| n % 10 == 0)
        .edge(EdgeSpec::new("even").records(32))
        .sink("even-sink", even_sink);
    let report = complete(&builder).await;
    let odds = odd_seen.rows();
    assert_eq!(odds.iter().filter(|n| *n % 2 == 1).count(), 1_000, "{report}");
    assert_eq!(odds.iter().filter(|n| *n % 10 == 0).count(), 600);
    assert_eq!(even_seen.rows().len(), 2_400);
    assert_eq!(ended(&report, Outcome::Delivered), 2_000);
}

#[tokio::test(start_paused = true)]
async fn diverted_rows_keep_their_deadlines_and_their_order() {
    let builder = Pipeline::builder("deadlines");
    let (seen, sink) = accepting(NO_PAUSE);
    let (slow_seen, slow_sink) = accepting(Duration::from_secs(1));
    let (port, flow) = builder.port("slow");
    flow.sink("slow-sink", slow_sink);
    let source = SourceOptions::new(source::iter(0..1_000_u64)).classify_by(|n, now| Class {
        deadline: if n % 4 == 1 { now + millis(500) } else { tidegate_flow::Time::MAX },
        ..Class::default()
    });
    builder.source("count", source).divert_to(&port, |n| n % 2 == 1).edge("out").sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows(), (0..1_000).step_by(2).collect::<Vec<_>>());
    assert!(slow_seen.rows().iter().filter(|n| *n % 4 == 3).count() == 250, "those without a deadline all arrive");
    assert!(slow_seen.rows().is_sorted());
    assert!(ended(&report, Outcome::Expired) > 100, "{report}");
}

#[tokio::test(start_paused = true)]
async fn refused_records_arrive_as_dead_letters_with_their_cause() {
    let builder = Pipeline::builder("letters");
    let (seen, sink) = accepting::<DeadLetter<u64>>(millis(1));
    let (kept, keep) = accepting(NO_PAUSE);
    let (port, letters) = builder.dead_letters::<u64>(EdgeSpec::new("dlq").records(4));
    letters.sink("dlq-sink", sink);
    builder
        .source("count", source::iter(0..1_000_u64))
        .try_map_or(&port, |n| if n % 7 == 0 { Err((n, Nack::permanent(format!("{n} is bad")))) } else { Ok(n + 1) })
        .flat_map(|n| vec![n, n])
        .edge("out")
        .sink("keep", keep);
    let report = complete(&builder).await;
    let letters = seen.rows();
    assert_eq!(
        letters.iter().map(|letter| letter.record).collect::<Vec<_>>(),
        (0..1_000).step_by(7).collect::<Vec<_>>()
    );
    assert_eq!((letters[1].cause.as_str(), &*letters[1].origin, letters[1].attempts), ("7 is bad", "count", 1));
    assert_eq!(kept.rows().len(), 2 * (1_000 - 143));
    assert_eq!(ended(&report, Outcome::DeadLettered), 143, "{report}");
    assert_eq!(ended(&report, Outcome::Delivered), 857);
    assert_eq!(flows(&report, "count").dead_lettered.get(), 143);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_its_queue_does_not_take_in_time_counts_as_returned() {
    let builder = Pipeline::builder("stuck");
    let (_, sink) = accepting::<DeadLetter<u64>>(Duration::from_secs(60));
    let spec = EdgeSpec::new("dlq").records(1).on_full(OnFull::Block { max: Some(millis(10)) });
    let (port, letters) = builder.dead_letters::<u64>(spec);
    letters.sink("dlq-sink", sink);
    builder
        .source("count", source::iter(0..20_u64))
        .try_map_or(&port, |n| Err::<u64, _>((n, Nack::permanent("all of them"))))
        .sink("keep", sink::for_each(drop::<u64>));
    let report = complete(&builder).await;
    let counted = flows(&report, "count");
    assert_eq!(counted.dead_lettered.get() + counted.returned.get(), 20);
    assert!(counted.returned.get() >= 17, "{report}");
    assert_eq!(ended(&report, Outcome::Returned), counted.returned.get(), "the stage and the source agree\n{report}");
    assert_eq!(ended(&report, Outcome::DeadLettered), counted.dead_lettered.get());
}

#[tokio::test(start_paused = true)]
async fn a_sinks_culprits_become_dead_letters_at_a_bounded_price() {
    let builder = Pipeline::builder("culprits").batch(Weight::new(256, kib(64).get()));
    let culprits = [3_u64, 77, 78, 200];
    let (letters_seen, letters_sink) = accepting::<DeadLetter<u64>>(NO_PAUSE);
    let (port, letters) = builder.dead_letters::<u64>("dlq");
    letters.sink("dlq-sink", letters_sink);
    let (seen, sink) = answering(NO_PAUSE, move |rows: &[u64]| {
        if rows.iter().any(|n| culprits.contains(n)) { Err(Nack::permanent("poison")) } else { Ok(Accepted::All) }
    });
    builder.source("count", source::iter(0..256_u64)).edge("out").sink_with(
        "keep",
        sink,
        SinkOptions::default().dead_letters(&port),
    );
    let report = complete(&builder).await;
    let records: Vec<u64> = letters_seen.rows().iter().map(|letter| letter.record).collect();
    assert_eq!(records, culprits);
    assert!(letters_seen.rows().iter().all(|letter| letter.cause.as_str() == "poison" && &*letter.origin == "keep"));
    let deliveries = seen.sizes().len();
    assert!(deliveries <= 2 * 4 * 8 + 1, "{deliveries}");
    assert_eq!(ended(&report, Outcome::Delivered), 252, "{report}");
    assert_eq!(ended(&report, Outcome::DeadLettered), 4);
    assert_eq!(flows(&report, "keep").dead_lettered.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_tap_sees_what_it_can_and_never_holds_the_flow_up() {
    let builder = Pipeline::builder("tap").batch(Weight::new(10, kib(64).get()));
    let (tapped, tap_sink) = accepting(Duration::from_secs(1));
    let (seen, sink) = accepting(NO_PAUSE);
    let (port, flow) = builder.port(EdgeSpec::new("tap").records(20).on_full(OnFull::DropNewest));
    flow.sink("tap-sink", tap_sink);
    builder.source("count", source::iter(0..1_000_u64)).wire_tap(&port).edge("out").sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows(), (0..1_000).collect::<Vec<_>>());
    assert!(seen.millis().iter().all(|at| *at == 0));
    assert!(tapped.rows().len() < 100, "{}", tapped.rows().len());
    assert_eq!(ended(&report, Outcome::Delivered), 1_000, "{report}");
    assert_eq!(flows(&report, "tap").shed.get(ShedReason::DropNewest).get() as usize + tapped.rows().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_a_diverting_edge_takes_the_other_way() {
    let builder = Pipeline::builder("overflow").batch(Weight::new(10, kib(64).get()));
    let (fast_seen, fast) = accepting(millis(1));
    let (seen, sink) = accepting(millis(100));
    let (spill, flow) = builder.port(EdgeSpec::new("spill").records(20));
    flow.sink("spill-sink", fast);
    builder
        .source("count", source::iter(0..1_000_u64))
        .edge_diverting(EdgeSpec::new("main").records(20), &spill)
        .sink("main-sink", sink);
    let report = complete(&builder).await;
    let mut all = [seen.rows(), fast_seen.rows()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..1_000).collect::<Vec<_>>());
    assert!(fast_seen.rows().len() > seen.rows().len());
    assert_eq!(ended(&report, Outcome::Delivered), 1_000, "{report}");
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_diverts_nowhere_is_refused_by_name() {
    let builder = Pipeline::builder("nowhere");
    builder
        .source("count", source::iter(0..3_u64))
        .edge(EdgeSpec::new("main").on_full(OnFull::Divert))
        .sink("drop", sink::for_each(drop::<u64>));
    let errors = builder.build().err().expect("refused").to_string();
    assert!(errors.contains("edge \"main\" diverts") && errors.contains("edge_diverting"), "{errors}");
}
