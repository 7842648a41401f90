//! What a sink is refused is told: how often, of which kind, why, since when; and what refuses everything is not flooded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidegate_flow::ledger::{FlowKind, Flows};
use tidegate_flow::{Items, Meta, Nack, Outcome, Weight, kib};
use tidegate_runtime::records::records;
use tidegate_runtime::testkit::{balanced, ended};
use tidegate_runtime::{
    Accepted, Backoff, BranchSet, Chooser, Pipeline, PipelineBuilder, Running, Sink, SinkOptions, SinkPolicy,
    ThrottleSpec, sink, source,
};
use tokio::time::{Instant, sleep};

type Numbers = Items<u64>;

/// Refuses so many deliveries, then accepts; counts them all.
struct Refuses {
    times: u32,
    with: Nack,
    asked: Arc<AtomicU32>,
}

impl Sink<Numbers> for Refuses {
    async fn deliver(&mut self, _: &mut Numbers, _: &Meta) -> Result<Accepted, Nack> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.times == 0 {
            return Ok(Accepted::All);
        }
        self.times -= 1;
        Err(self.with.clone())
    }
}

fn start(builder: &PipelineBuilder, count: u64, times: u32, with: Nack) -> (Running, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(1), restarts: u32::MAX };
    let policy = SinkPolicy { retries: u32::MAX, backoff, ..SinkPolicy::default() };
    let sink = Refuses { times, with, asked: Arc::clone(&asked) };
    let flow = builder.source("count", source::iter(0..count)).edge("to-out");
    flow.sink_with("out", sink, SinkOptions::default().policy(policy));
    (builder.build().unwrap().start(), asked)
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_refused_says_why_and_for_how_long_until_it_accepts() {
    let (running, _) = start(&Pipeline::builder("refused"), 1, 20, Nack::transient("nobody listens on port 9"));
    let view = running.view();
    view.refusals_changed().await;
    sleep(Duration::from_millis(10_500)).await;
    let facts = view.refusals().remove(0);
    assert_eq!((facts.sink.as_str(), facts.transient, facts.permanent, facts.retries), ("out", 11, 0, 11));
    assert_eq!(facts.last.as_ref().map(|last| last.cause.as_str()), Some("nobody listens on port 9"));
    assert!(facts.since.is_some());
    let sentence = view.bottleneck().to_string();
    assert!(sentence.contains("\"out\" has been refused for 10.5 s: nobody listens on port 9."), "{sentence}");
    view.refusals_changed().await;
    assert!(view.refusals()[0].since.is_none(), "it accepts again");
    let report = balanced(running.wait().await).to_string();
    let line = "refused: sink \"out\" was refused 20 times for now; last: nobody listens on port 9\n";
    assert!(report.contains(line), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_everything_for_good_is_not_flooded_and_does_not_take_hours() {
    let builder = Pipeline::builder("halves").batch(Weight::new(256, kib(64).get()));
    let began = Instant::now();
    let (running, asked) = start(&builder, 65_536, u32::MAX, Nack::permanent("no"));
    sleep(Duration::from_secs(1)).await;
    let early = asked.load(Ordering::Relaxed);
    assert!((100..=600).contains(&early), "{early} deliveries in a second: 300 parts, and a batch for each of them");
    let report = balanced(running.wait().await);
    assert_eq!(ended(&report, Outcome::Returned), 65_536, "{report}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let all = asked.load(Ordering::Relaxed);
    assert!(all < 256 * 3 + 100, "{all}: each batch, two records of each, and the first culprits");
    let facts = &report.refusals[0];
    assert_eq!((facts.permanent, facts.returned_permanent.get()), (u64::from(all), 65_536));
    let last = facts.last.as_ref().unwrap().cause.as_str().to_owned();
    assert_eq!(last, "no");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_mended_is_given_everything_from_then_on() {
    let builder = Pipeline::builder("mended").batch(Weight::new(256, kib(64).get()));
    let (running, _) = start(&builder, 65_536, 300, Nack::permanent("no"));
    let report = balanced(running.wait().await);
    // Some 70 deliveries for the first batch, then three for each.
    let (returned, delivered) = (ended(&report, Outcome::Returned), ended(&report, Outcome::Delivered));
    assert_eq!(returned + delivered, 65_536);
    assert!((256 * 73..=256 * 79).contains(&returned), "{returned} were refused while it was not mended");
}

/// Refuses deliveries with a record of this range.
struct Burst(std::ops::Range<u64>);

impl Sink<Numbers> for Burst {
    async fn deliver(&mut self, payload: &mut Numbers, _: &Meta) -> Result<Accepted, Nack> {
        let is_bad = payload.as_slice().iter().any(|number| self.0.contains(number));
        if is_bad { Err(Nack::permanent("a bad record")) } else { Ok(Accepted::All) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_bad_records_over_two_batches_takes_no_good_ones_with_it() {
    // The last 40 of the second batch, and the first 10 of the third, or one more batch between them.
    for end in [522, 778] {
        let builder = Pipeline::builder("burst").batch(Weight::new(256, kib(64).get()));
        let flow = builder.source("count", source::iter(0..1_024_u64)).edge("to-out");
        flow.sink_with("out", Burst(472..end), SinkOptions::default());
        let report = balanced(builder.build().unwrap().start().wait().await);
        let (returned, delivered) = (ended(&report, Outcome::Returned), ended(&report, Outcome::Delivered));
        assert_eq!((returned, delivered), (end - 472, 1_024 - (end - 472)), "exactly the culprits");
    }
}

/// Takes 5 ms for each delivery, and refuses those with a record that is 7 of 1000.
struct Poisoned {
    poison: bool,
    asked: Arc<AtomicU32>,
}

impl Sink<Numbers> for Poisoned {
    async fn deliver(&mut self, payload: &mut Numbers, _: &Meta) -> Result<Accepted, Nack> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(5)).await;
        let is_bad = self.poison && payload.as_slice().iter().any(|number| number % 1_000 == 7);
        if is_bad { Err(Nack::permanent("a bad record")) } else { Ok(Accepted::All) }
    }
}

/// How long it takes to deliver 100,000 records that come at 20,000 a second, and in how many deliveries.
async fn poisoned(poison: bool) -> (Duration, u32, u64) {
    let builder = Pipeline::builder("poisoned").batch(Weight::new(256, kib(64).get()));
    let asked = Arc::new(AtomicU32::new(0));
    let sinks = (0..8).map(|_| Poisoned { poison, asked: Arc::clone(&asked) }).collect();
    let flow =
        builder.source("count", source::iter(0..100_000_u64)).throttle(ThrottleSpec::shape(20_000.0)).edge("to-out");
    flow.sink_pool("out", sinks, SinkOptions::default());
    let began = Instant::now();
    let report = balanced(builder.build().unwrap().start().wait().await);
    assert_eq!(ended(&report, Outcome::Returned) + ended(&report, Outcome::Delivered), 100_000);
    (began.elapsed(), asked.load(Ordering::Relaxed), ended(&report, Outcome::Returned))
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_one_in_a_thousand_is_hardly_slower() {
    let (clean, usual, none) = poisoned(false).await;
    let (dirty, deliveries, refused) = poisoned(true).await;
    assert_eq!((none, refused), (0, 100), "exactly the culprits");
    assert!(dirty.mul_f64(0.9) <= clean, "{clean:?} without, {dirty:?} with them");
    // Eight halvings each; a half that is known to hold the culprit is not tried.
    assert!(deliveries - usual <= 100 * 13, "{deliveries} deliveries, {usual} without culprits");
}

#[tokio::test(start_paused = true)]
async fn what_a_stage_did_is_a_share_of_the_run_and_the_rest_is_after_its_end() {
    let (running, _) = start(&Pipeline::builder("short"), 1, 10, Nack::transient("wait"));
    let report = running.wait().await.to_string();
    let row = |name: &str| report.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(row("share of the run").ends_with("ended"), "{report}");
    assert!(row("source  count").ends_with("100 %"), "the source ended at once: {report}");
    assert!(row("sink    out").contains("100 %") && row("sink    out").ends_with('-'), "{report}");
}

/// Even numbers go on, the others nowhere.
struct Even;

impl Chooser<Numbers> for Even {
    fn choose(&mut self, payload: &Numbers, choices: &mut Vec<BranchSet>) {
        let choice = |number: &u64| if number.is_multiple_of(2) { BranchSet::only(0) } else { BranchSet::NONE };
        choices.extend(payload.as_slice().iter().map(choice));
    }
}

#[tokio::test(start_paused = true)]
async fn each_fused_component_has_a_row_of_its_own() {
    let builder = Pipeline::builder("rows");
    let (port, flow) = builder.boxed_port::<Numbers>("keep");
    flow.sink("keep", sink::null());
    builder
        .boxed_source("count", source::iter(0..1_000_u64))
        .exchangeable("thirds", Box::new(records().filter(|n: &u64| n.is_multiple_of(3))), Weight::ZERO, true)
        .exchangeable("next", Box::new(records().map(|n: u64| n + 1)), Weight::ZERO, true)
        .choosing("even")
        .choose_to(Even, &[Some(&port)]);
    let report = balanced(builder.build().unwrap().start().wait().await);
    let row = |name: &str| {
        let mut rows = report.ledger.stages.iter().filter(|(_, kind, _)| *kind != FlowKind::Edge);
        let Flows { input, output, filtered, held, .. } = rows.find(|row| row.0 == name).unwrap().2;
        [input, output, filtered, held].map(tidegate_flow::Records::get)
    };
    assert_eq!(row("count"), [1_000, 1_000, 0, 0], "{report}");
    assert_eq!(row("thirds"), [1_000, 334, 666, 0], "{report}");
    assert_eq!(row("next"), [334, 334, 0, 0], "{report}");
    assert_eq!(row("even"), [334, 167, 167, 0], "{report}");
    assert_eq!(row("keep"), [167, 167, 0, 0], "{report}");
}
