//! What `build` refuses, with the exact text that the user reads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::time::Duration;

use tidegate_flow::{Bytes, EdgeSpec, Items, OnFull, SampleRate, Weight, kib, mib};
use tidegate_runtime::{
    BatchLimits, Branch, Order, Pipeline, PipelineBuilder, SourceOptions, ThrottleSpec, sink, source,
};

fn numbers() -> impl Iterator<Item = u64> {
    0..10
}

/// What `build` says about a pipeline called "shop".
#[track_caller]
fn refused(put_together: impl FnOnce(&PipelineBuilder)) -> String {
    refused_with(|builder| builder, put_together)
}

#[track_caller]
fn refused_with(
    set: impl FnOnce(PipelineBuilder) -> PipelineBuilder,
    put_together: impl FnOnce(&PipelineBuilder),
) -> String {
    let builder = set(Pipeline::builder("shop"));
    put_together(&builder);
    let Err(errors) = builder.build() else { panic!("it was not refused") };
    assert!(!errors.errors().is_empty());
    errors.to_string()
}

/// A source, an edge and a sink.
fn line(builder: &PipelineBuilder, spec: EdgeSpec) {
    builder.source("orders", source::iter(numbers())).edge(spec).sink("store", sink::null());
}

#[test]
fn an_edge_that_holds_nothing() {
    assert_eq!(
        refused(|builder| line(builder, EdgeSpec::new("to-store").records(0))),
        "pipeline \"shop\" cannot run:\n  \
         - edge \"to-store\": the window holds no records; set records to at least 1"
    );
    assert_eq!(
        refused(|builder| line(builder, EdgeSpec::new("to-store").bytes(Bytes::ZERO))),
        "pipeline \"shop\" cannot run:\n  \
         - edge \"to-store\": the window holds no bytes; set bytes to at least the size of a usual batch"
    );
}

#[test]
fn an_edge_with_settings_that_make_no_sense() {
    let texts = [
        (EdgeSpec::new(""), "edge \"\": the name is empty; give the edge a name that is unique in its pipeline"),
        (
            EdgeSpec::new("to-store").low_water(0.9).high_water(0.5),
            "edge \"to-store\": low water 0.9 and high water 0.5 do not work; choose 0 < low < high <= 1",
        ),
        (EdgeSpec::new("to-store").buckets(65), "edge \"to-store\": 65 buckets; choose 1 to 64"),
        (
            EdgeSpec::new("to-store").on_full(OnFull::Sample(SampleRate::Ratio(2.0))),
            "edge \"to-store\": the sample ratio 2 is not a share; choose 0 to 1",
        ),
        (
            EdgeSpec::new("to-store").on_full(OnFull::Block { max: Some(Duration::ZERO) }),
            "edge \"to-store\": block with a longest wait of zero never waits; use fail, or set a longer wait",
        ),
    ];
    for (spec, text) in texts {
        assert_eq!(refused(|builder| line(builder, spec)), format!("pipeline \"shop\" cannot run:\n  - {text}"));
    }
}

#[test]
fn minima_above_the_budget_with_the_sum_spelled_out() {
    assert_eq!(
        refused_with(
            |builder| builder.budget(kib(256)),
            |builder| {
                let orders = builder.source("orders", source::iter(numbers())).map(|order| order);
                orders.edge(EdgeSpec::new("to-store")).sink("store", sink::null());
            }
        ),
        "pipeline \"shop\" cannot run:
  - the memory budget is too small by 576 KiB:
      to-store      64 KiB  edge
      orders       192 KiB  in hand
      orders       128 KiB  on its way
      orders       192 KiB  intake
      spares       256 KiB  emptied batches
      sum          832 KiB
      budget       256 KiB
    raise the budget to at least 832 KiB, or lower the largest part: spares (emptied batches); most parts are multiples \
         of the largest batch, so a smaller `.batch(..)` lowers them all"
    );
}

#[test]
fn a_batch_of_nothing() {
    assert_eq!(
        refused_with(|b| b.batch(Weight::new(0, 1)), |builder| line(builder, EdgeSpec::new("to-store"))),
        "pipeline \"shop\" cannot run:\n  \
         - the largest batch is zero records or zero bytes; set both with `.batch(..)`"
    );
}

#[test]
fn a_pipeline_of_nothing() {
    assert_eq!(
        refused(|_| {}),
        "pipeline \"shop\" cannot run:\n  - the pipeline has no stages; start a flow with `.source(..)`"
    );
}

#[test]
fn a_flow_that_ends_nowhere() {
    assert_eq!(
        refused(|builder| drop(builder.source("orders", source::iter(numbers())).map(|n| n))),
        "pipeline \"shop\" cannot run:\n  \
         - stage \"orders\": its output is connected to nothing; end the flow in a sink, an edge, a junction or a port"
    );
}

#[test]
fn a_port_that_nobody_reads_or_nobody_fills() {
    assert_eq!(
        refused(|builder| {
            let (refunds, _unread) = builder.port::<Items<u64>>("refunds");
            builder
                .source("orders", source::iter(numbers()))
                .divert_to(&refunds, |n| *n > 5)
                .sink("store", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - stage \"refunds\": its output is connected to nothing; end the flow in a sink, an edge, a junction or a port"
    );
    assert_eq!(
        refused(|builder| {
            let (_unfilled, refunds) = builder.port::<Items<u64>>("refunds");
            refunds.sink("refund", sink::null());
            line(builder, EdgeSpec::new("to-store"));
        }),
        "pipeline \"shop\" cannot run:\n  - edge \"refunds\": no stage fills it; connect one, or remove the edge"
    );
}

#[test]
fn a_loop_that_was_not_declared() {
    assert_eq!(
        refused(|builder| {
            let (again, retried) = builder.port::<Items<u64>>("again");
            builder.source("orders", source::iter(numbers())).to(&again);
            retried.named("work").divert_to(&again, |n| *n > 5).edge("to-store").sink("store", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - the stages form a loop: work -> work; a loop fills up and stops unless it is planned: remove edge \"again\", or \
         declare it as feedback with a policy other than block"
    );
}

#[test]
fn an_edge_that_diverts_to_where_its_records_come_from() {
    assert_eq!(
        refused(|builder| {
            let (overflow, spilled) = builder.port::<Items<u64>>("overflow");
            let work = spilled.named("work");
            builder.source("orders", source::iter(numbers())).to(&overflow);
            work.edge_diverting("to-store", &overflow).sink("store", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - the stages form a loop: work -> work; a loop fills up and stops unless it is planned: remove edge \
         \"overflow\", or declare it as feedback with a policy other than block\n  \
         - edge \"to-store\" diverts to \"overflow\", whose records come back to it: work -> work; divert to an edge that \
         leads out, or declare \"overflow\" as feedback with a policy other than block"
    );
}

#[test]
fn an_edge_that_diverts_and_was_not_told_where_to() {
    assert_eq!(
        refused(|builder| line(builder, EdgeSpec::new("to-store").on_full(OnFull::Divert))),
        "pipeline \"shop\" cannot run:\n  \
         - edge \"to-store\" diverts when it is full, but was not told where to; use `.edge_diverting(spec, &port)`, or \
         give it another policy"
    );
}

#[test]
fn a_fork_that_nothing_would_settle() {
    assert_eq!(
        refused(|builder| {
            let branches = [Branch::best_effort("left"), Branch::best_effort("right")];
            let [left, right] = builder.source("orders", source::iter(numbers())).fork(branches);
            left.sink("one", sink::null());
            right.sink("two", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - fork \"orders\": every branch is best effort, so nothing would settle a record; make one required"
    );
}

#[test]
fn a_fork_or_a_route_without_branches() {
    let text = "pipeline \"shop\" cannot run:\n  \
                - junction \"orders\" has 0 branches; it needs at least one\n  \
                - source \"orders\" has no output; connect a transform or a sink to it";
    assert_eq!(refused(|builder| drop(builder.source("orders", source::iter(numbers())).fork([]))), text);
    assert_eq!(refused(|builder| drop(builder.source("orders", source::iter(numbers())).partition(|_| 0, []))), text);
}

#[test]
fn as_many_producers_as_a_port_allows() {
    let builder = Pipeline::builder("shop");
    let (all, merged) = builder.port::<Items<u64>>(EdgeSpec::new("all").max_producers(2));
    merged.sink("store", sink::null());
    builder.source("one", source::iter(numbers())).to(&all);
    builder.source("two", source::iter(numbers())).to(&all);
    assert!(builder.build().is_ok());
}

#[test]
fn a_settle_window_smaller_than_the_buffers() {
    let spec = EdgeSpec::new("to-store").records(1_000).bytes(mib(1));
    assert_eq!(
        refused(|builder| {
            let orders = SourceOptions::new(source::iter(numbers())).settle_bytes(kib(64));
            builder.source("orders", orders).edge(spec.clone()).sink("store", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - source \"orders\": its settle window holds 64 KiB, but the buffers on one path can hold 1 MiB (\"to-store\" \
         1 MiB), so a slow branch would stop its siblings; raise the settle window to at least 1 MiB, or make these \
         buffers smaller"
    );
    assert_eq!(
        refused(|builder| {
            let orders = SourceOptions::new(source::iter(numbers())).settle_slots(10);
            builder.source("orders", orders).edge(spec.clone()).sink("store", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - source \"orders\": its settle window holds 10 records, but the buffers on one path can hold 1000 records \
         (\"to-store\" 1000 records), so a slow branch would stop its siblings; raise the settle window to at least 1000 \
         records, or make these buffers smaller (a batch takes a slot, and a batch may be a single record)"
    );
}

#[test]
fn two_stages_or_two_edges_of_one_name() {
    assert_eq!(
        refused(|builder| {
            builder.source("orders", source::iter(numbers())).edge("a").sink("store", sink::null());
            builder.source("orders", source::iter(numbers())).edge("b").sink("shelf", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - 2 stages are called \"orders\"; every stage needs a name of its own: rename one, for example to \"orders_2\""
    );
    assert_eq!(
        refused(|builder| {
            builder
                .source("orders", source::iter(numbers()))
                .edge("a")
                .map(|n| n)
                .edge("a")
                .sink("store", sink::null());
        }),
        "pipeline \"shop\" cannot run:\n  \
         - 2 edges are called \"a\"; every edge needs a name of its own: rename one, for example to \"a_2\""
    );
}

#[test]
fn too_many_producers_for_a_port() {
    assert_eq!(
        refused(|builder| {
            let (all, merged) = builder.port::<Items<u64>>(EdgeSpec::new("all").max_producers(1));
            merged.sink("store", sink::null());
            builder.source("one", source::iter(numbers())).to(&all);
            builder.source("two", source::iter(numbers())).to(&all);
            builder.source("three", source::iter(numbers())).to(&all);
        }),
        "pipeline \"shop\" cannot run:\n  \
         - edge \"all\" was given more producers than it allows (1); raise its `max_producers`"
    );
}

#[test]
fn steps_that_let_nothing_pass() {
    assert_eq!(
        refused(|builder| {
            builder
                .source("orders", source::iter(numbers()))
                .throttle(ThrottleSpec::shape(0.0))
                .batch(BatchLimits { records: 0, ..BatchLimits::records(1) })
                .map_async(0, Order::Ordered, |n| async move { n })
                .group(0, Duration::from_secs(1))
                .idle_timeout(Duration::ZERO)
                .sink("store", sink::null());
        }),
        "pipeline \"shop\" cannot run:
  - stage \"orders\": a throttle of 0 a second with a burst of 1 lets nothing pass; give both a value above zero
  - stage \"orders\": a batch of no records is never full; set its limit to at least 1
  - stage \"orders\": no call could ever be made with a limit of 0 in flight; allow at least 1
  - stage \"orders\": a group of no records is never complete; set its size to at least 1
  - stage \"orders\": an idle timeout of zero fails at once; set it above zero"
    );
}

#[test]
fn every_mistake_is_reported_together() {
    let text = refused_with(
        |builder| builder.batch(Weight::new(0, 0)),
        |builder| {
            line(builder, EdgeSpec::new("to-store").records(0));
            drop(builder.source("returns", source::iter(numbers())));
        },
    );
    assert_eq!(text.matches("\n  - ").count(), 3, "{text}");
}
