//! `throttle`: shaping and enforcing.

use tidegate_flow::{Outcome, ShedReason, Weight, kib};
use tidegate_runtime::{ByBytes, ByRecord, Pipeline, ThrottleSpec, sink, source};

use crate::{NO_PAUSE, accepting, complete, ended, flows, timed};

#[tokio::test(start_paused = true)]
async fn shaping_delays_and_loses_nothing() {
    let builder = Pipeline::builder("shape");
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("count", source::iter(0..100_u64))
        .throttle(ThrottleSpec::shape(10.0).burst(5.0))
        .edge("out")
        .sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows(), (0..100).collect::<Vec<_>>());
    assert_eq!(seen.batches()[0], [0, 1, 2, 3, 4], "what is allowed goes on at once");
    assert!(seen.millis()[0] == 0 && (99..=102).contains(&seen.millis()[1]), "{:?}", seen.millis());
    let ran = report.ran.as_millis();
    assert!((9_500..9_700).contains(&ran), "{ran}");
}

#[tokio::test(start_paused = true)]
async fn a_fast_shaper_keeps_its_rate() {
    let builder = Pipeline::builder("fast");
    builder
        .source("count", source::iter(0..50_000_u64))
        .throttle(ThrottleSpec::shape(20_000.0))
        .sink("drop", sink::for_each(drop::<u64>));
    let report = complete(&builder).await;
    // 2 000 of them pass at once.
    let ran = report.ran.as_millis();
    assert!((2_390..2_420).contains(&ran), "{ran}");
}

#[tokio::test(start_paused = true)]
async fn enforcing_sheds_what_is_over_and_counts_it() {
    let builder = Pipeline::builder("enforce");
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("steady", timed((0..1_000).map(|n| (n * 10, n))))
        .throttle(ThrottleSpec::enforce(10.0).burst(1.0))
        .edge("out")
        .sink("keep", sink);
    let report = complete(&builder).await;
    assert_eq!(seen.rows().len(), 100, "{report}");
    assert_eq!(ended(&report, Outcome::Shed), 900);
    assert_eq!(flows(&report, "steady").shed.get(ShedReason::Throttle).get(), 900);
}

#[tokio::test(start_paused = true)]
async fn cost_can_be_bytes_or_anything_else() {
    let builder = Pipeline::builder("bytes");
    builder
        .source("count", source::iter((0..100).map(|_| "x".repeat(76))))
        .throttle_cost(ThrottleSpec::shape(1_000.0).burst(100.0), ByBytes)
        .throttle_cost(ThrottleSpec::shape(1.0).burst(100_000.0), ByRecord(|text: &String| text.len() as f64))
        .sink("drop", sink::for_each(drop::<String>));
    let ran = complete(&builder).await.ran.as_millis();
    assert!((9_900..10_020).contains(&ran), "{ran}");
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_rate_of_its_own() {
    let builder = Pipeline::builder("keys");
    let (seen, sink) = accepting(NO_PAUSE);
    // In each of 10 seconds, 99 records of one tenant and one of another.
    let records = (0..1_000_u64).map(|n| (n * 10, if n % 100 == 50 { "quiet" } else { "loud" }));
    builder
        .source("tenants", timed(records))
        .throttle_by(ThrottleSpec::enforce(5.0).burst(1.0), |tenant| *tenant)
        .edge("out")
        .sink("keep", sink);
    let report = complete(&builder).await;
    let of = |tenant| seen.rows().iter().filter(|row| **row == tenant).count();
    assert_eq!(of("quiet"), 10, "{report}");
    assert!((49..=51).contains(&of("loud")), "{}", of("loud"));
}

#[tokio::test(start_paused = true)]
async fn a_shaper_behind_an_expansion_in_debt_goes_on() {
    let builder = Pipeline::builder("debt").batch(Weight::new(16, kib(4).get())).budget(kib(72));
    builder
        .source("count", source::iter(0..20_u64))
        .flat_map::<Vec<String>, _>(|n| (0..60).map(|k| format!("{n}-{k:0>300}")).collect::<Vec<_>>().into_iter())
        .throttle(ThrottleSpec::shape(100.0).burst(1.0))
        .edge("out")
        .sink("drop", sink::for_each(drop::<String>));
    let report = complete(&builder).await;
    assert_eq!(ended(&report, Outcome::Delivered), 20);
    assert!((11_900..12_200).contains(&report.ran.as_millis()), "{report}");
}

#[tokio::test(start_paused = true)]
async fn rates_that_make_no_sense_are_refused_by_name() {
    let builder = Pipeline::builder("wrong");
    builder
        .source("count", source::iter(0..3_u64))
        .throttle(ThrottleSpec::shape(0.0))
        .throttle(ThrottleSpec::shape(f64::NAN))
        .throttle(ThrottleSpec::enforce(1.0).burst(f64::INFINITY))
        .throttle_by(ThrottleSpec::enforce(1.0).keys(10_001), |n| *n)
        .throttle_by(ThrottleSpec::shape(1.0), |n| *n)
        .sink("drop", sink::for_each(drop::<u64>));
    let errors = builder.build().err().expect("refused");
    assert_eq!(errors.errors().len(), 5, "{errors}");
    assert!(errors.to_string().contains("stage \"count\": a throttle of 0 a second"), "{errors}");
}
