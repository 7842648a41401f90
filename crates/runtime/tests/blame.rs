//! Who is to blame: whole pipelines in virtual time, with the verdict, the sentence and the stalls that they must give.
//!
//! In virtual time work takes no time, so no stage is ever busy here: what is slow waits for a remote, for a rate or
//! for memory. That a busy stage is named is shown by the tests of the rules, which are given its times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_flow::blame::{Evidence, Kind, Verdict};
use tidegate_flow::stall::StallReport;
use tidegate_flow::{Batch, EdgeSpec, Items, OnFull, StageState, Weigh, Weight, kib, mib};
use tidegate_runtime::testkit::TestSink;
use tidegate_runtime::testkit::peers::slow_drip;
use tidegate_runtime::{
    Branch, CallLimits, Order, Pipeline, PipelineBuilder, PipelineEnd, Running, SinkOptions, SinkPolicy, SourceOptions,
    StageContext, StallWatch, Step, ThrottleSpec, Transform, View, sink, source,
};
use tokio::time::sleep;

const WINDOW: u64 = 128;
const BATCH: u64 = 16;

fn builder() -> PipelineBuilder {
    Pipeline::builder("test").budget(mib(16)).batch(Weight::new(BATCH, kib(16).get()))
}

fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn edge(name: &str) -> EdgeSpec {
    EdgeSpec::new(name).records(WINDOW)
}

/// Numbers without an end, and how many were read.
fn counted() -> (Arc<AtomicU64>, impl Iterator<Item = u64>) {
    let read = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&read);
    (read, (0..).inspect(move |_| add_one(&count)))
}

async fn after(running: &Running, seconds: u64) -> Verdict {
    sleep(Duration::from_secs(seconds)).await;
    let verdict = running.bottleneck();
    assert_blames_no_waiter(running, &verdict);
    verdict
}

/// Whoever is named was occupied itself for longer than it was blocked by others.
fn assert_blames_no_waiter(view: &View, verdict: &Verdict) {
    if let Some(culprit) = &verdict.culprit {
        let times = view.times();
        let times = &times[culprit.id.index()];
        assert!(verdict.kind == Kind::StarvedSource || times.own() > times.blocked, "{verdict}\n{times:?}");
    }
}

fn culprit(verdict: &Verdict) -> &str {
    verdict.culprit.as_ref().map_or("nobody", |who| &who.name)
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_behind_five_stages_and_a_fork_stops_the_source_and_is_named() {
    let builder = builder();
    let (read, numbers) = counted();
    let taken = Arc::new(AtomicU64::new(0));
    let delivered = Arc::clone(&taken);
    let [slow, fast] = builder
        .source("numbers", source::iter(numbers))
        .edge(edge("one"))
        .map(|n| n + 1)
        .edge(edge("two"))
        .map(|n| n + 1)
        .edge(edge("three"))
        .map(|n| n + 1)
        .edge(edge("four"))
        .map(|n| n + 1)
        .edge(edge("five"))
        .map(|n| n + 1)
        .fork([Branch::required(edge("slow")), Branch::best_effort(edge("fast").on_full(OnFull::DropOldest))]);
    slow.sink(
        "warehouse",
        sink::for_each_async(move |_| {
            let taken = Arc::clone(&taken);
            async move {
                sleep(Duration::from_millis(10)).await;
                add_one(&taken);
            }
        }),
    );
    fast.sink("dashboard", sink::null());
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 25).await;

    // Six edges full, and a batch of input and one of output in the hands of the source and of each stage.
    let most = 6 * WINDOW + 7 * 2 * BATCH;
    let (read, delivered) = (read.load(Ordering::Relaxed), delivered.load(Ordering::Relaxed));
    assert!((2_400..=2_500).contains(&delivered), "{delivered}");
    assert!(read <= delivered + most, "read {read}, delivered {delivered}, more than {most} ahead");

    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::External, "warehouse"));
    assert_eq!(verdict.state, Some(StageState::External));
    assert!(verdict.share > 0.99, "{verdict}");
    assert_eq!(verdict.chain, ["numbers", "one", "two", "three", "four", "five", "warehouse"]);
    assert_eq!(verdict.limits.iter().map(|who| &*who.name).collect::<Vec<_>>(), ["numbers"]);
    assert!((9..=11).contains(&verdict.window.as_secs()), "{:?}", verdict.window);
    let Some(Evidence::Edge { name, fill, blocked, .. }) = &verdict.evidence else { panic!("{verdict:?}") };
    assert_eq!(name, "slow");
    assert!(*fill > 0.5 && *blocked > 0.99, "{verdict}");
    let sentence = verdict.to_string();
    assert!(
        sentence.starts_with(
            "sink \"warehouse\" limits source \"numbers\": it waited for its remote 100 % of the last 10 s; \"one\", \
             \"two\", \"three\", \"four\" and \"five\" wait for it (edge \"slow\" "
        ),
        "{sentence}"
    );
    assert!(running.is_progressing());
    let report = running.stop().await;
    report.ledger.check().unwrap();
    assert_eq!(culprit(&report.bottleneck), "warehouse");
}

#[tokio::test(start_paused = true)]
async fn a_transform_that_waits_for_its_calls_is_named_and_not_the_stages_around_it() {
    let builder = builder();
    builder
        .source("numbers", source::iter(0_u64..))
        .edge(edge("to-enrich"))
        .named("enrich")
        .map_async(2, Order::Ordered, |n| async move {
            sleep(Duration::from_millis(5)).await;
            n
        })
        .edge(edge("to-sink"))
        .sink("sink", sink::null());
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 20).await;
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::External, "enrich"), "{verdict}");
    assert_eq!(verdict.chain, ["numbers", "enrich"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_named_as_what_it_is() {
    let builder = builder();
    builder
        .source("numbers", source::iter(0_u64..))
        .edge(edge("to-limit"))
        .named("limit")
        .throttle(ThrottleSpec::shape(100.0))
        .edge(edge("to-sink"))
        .sink("sink", sink::null());
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 60).await;
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::Throttled, "limit"), "{verdict}");
    assert!(running.is_progressing(), "{:?}", running.stalls());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_brings_little_is_named_and_nobody_behind_it() {
    let builder = builder();
    builder
        .source("drip", source::stream(slow_drip(0_u64.., Duration::from_millis(100))))
        .edge(edge("to-sink"))
        .sink("sink", sink::null());
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 20).await;
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::StarvedSource, "drip"), "{verdict}");
    assert_eq!(
        verdict.to_string(),
        "source \"drip\" limits the pipeline: it had no input 100 % of the last 10 s, and nothing behind it holds it up."
    );
    assert!(running.is_progressing());
}

#[tokio::test(start_paused = true)]
async fn a_best_effort_branch_that_sheds_limits_nobody_and_is_remarked_upon() {
    let builder = builder();
    let live = edge("to-live").records(16).on_full(OnFull::DropOldest);
    let [archive, live] = builder
        .source("drip", source::stream(slow_drip(0_u64.., Duration::from_millis(10))))
        .fork([Branch::required(edge("to-archive")), Branch::best_effort(live)]);
    archive.sink("archive", sink::null());
    live.sink("live view", sink::for_each_async(|_| sleep(Duration::from_millis(100))));
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 30).await;
    assert_eq!(
        verdict.to_string(),
        "source \"drip\" limits the pipeline: it had no input 100 % of the last 10 s, and nothing behind it holds it up. \
         Edge \"to-live\" (best effort) shed 90 % of its records and holds nobody up."
    );
    running.stop().await.ledger.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_holds_all_the_memory_is_named_with_the_memory_as_evidence() {
    let builder = Pipeline::builder("test").budget(kib(512)).batch(Weight::new(BATCH, kib(16).get()));
    builder
        .source("pages", source::iter((0_u64..).map(|_| "x".repeat(1_000))))
        .edge(EdgeSpec::new("one").records(100_000))
        .map(|page| page)
        .edge(EdgeSpec::new("two").records(100_000))
        .sink("sink", sink::for_each_async(|_| sleep(Duration::from_millis(10))));
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 30).await;
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::External, "sink"));
    let Some(Evidence::Budget(share)) = verdict.evidence else { panic!("{verdict}\n{verdict:?}") };
    assert!(share > 0.9, "{verdict}");
    assert!(running.budget().peak() <= kib(512));
}

/// Keeps every batch until the end, as keyed state does.
struct Keep<T>(Vec<Batch<Items<T>>>);

impl<T: Weigh + Send + 'static> Transform<Items<T>> for Keep<T> {
    type Out = Items<T>;

    fn process(&mut self, input: Batch<Items<T>>, _: &mut Option<Batch<Items<T>>>, _: &mut StageContext) -> Step {
        self.0.push(input);
        Step::Done
    }

    fn flush(&mut self, out: &mut Option<Batch<Items<T>>>, _: &mut StageContext) -> Step {
        *out = self.0.pop();
        if self.0.is_empty() { Step::Done } else { Step::More }
    }
}

#[tokio::test(start_paused = true)]
async fn a_settle_window_that_is_full_is_named_when_no_stage_is_at_its_limit() {
    let builder = builder();
    let numbers = SourceOptions::new(source::iter(0_u64..)).settle_slots(1_000);
    builder.source("numbers", numbers).edge(edge("to-state")).transform(Keep(Vec::new())).sink("sink", sink::null());
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 20).await;
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::SettleWindow, "numbers"), "{verdict}");
    assert!(verdict.hint.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_verdict_speaks_of_the_last_ten_looks_and_the_report_of_the_whole_run() {
    let builder = builder().watch_every(Duration::from_millis(100));
    let pause = Arc::new(AtomicU64::new(50));
    let millis = Arc::clone(&pause);
    builder
        .source("drip", source::stream(slow_drip(0_u64.., Duration::from_millis(1))))
        .edge(edge("to-sink"))
        .sink("sink", sink::for_each_async(move |_| sleep(Duration::from_millis(millis.load(Ordering::Relaxed)))));
    let running = builder.build().unwrap().start();
    assert_eq!(culprit(&after(&running, 60).await), "sink");
    pause.store(0, Ordering::Relaxed);
    sleep(Duration::from_secs(5)).await;
    let verdict = running.bottleneck();
    assert_eq!(culprit(&verdict), "drip", "{verdict}");
    assert!((900..=1_200).contains(&verdict.window.as_millis()), "{:?}", verdict.window);
    let report = running.stop().await;
    assert_eq!(culprit(&report.bottleneck), "sink", "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_works_off_what_a_source_left_behind_is_named() {
    let builder = builder();
    builder
        .source("numbers", source::iter(0..100_u64))
        .edge(edge("to-sink"))
        .sink("sink", sink::for_each_async(|_| sleep(Duration::from_millis(200))));
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 15).await;
    assert_eq!(culprit(&verdict), "sink", "{verdict}");
    let report = running.wait().await;
    assert_eq!(
        report.bottleneck.to_string(),
        "sink \"sink\" limits the pipeline: it waited for its remote 100 % of the last 20 s; nothing behind it is at its limit."
    );
}

#[tokio::test(start_paused = true)]
async fn an_edge_shows_its_average_fill_rate_and_residence() {
    let builder = builder();
    builder
        .source("numbers", source::iter(0_u64..))
        .edge(edge("to-limit"))
        .throttle(ThrottleSpec::shape(100.0))
        .sink("sink", sink::null());
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 30).await;
    let Some(Evidence::Edge { fill, .. }) = &verdict.evidence else { panic!("{verdict:?}") };
    assert!((0.5..=1.0).contains(fill), "{fill}");
}

/// The next report of a pipeline that is over.
async fn next(news: &mut StallWatch) -> Option<StallReport> {
    let next = tokio::time::timeout(Duration::from_secs(3_600), news.next()).await;
    next.unwrap_or_else(|_| panic!("the watch does not end with its pipeline"))
}

/// A pipeline whose sink takes only what it is asked to.
#[allow(clippy::unwrap_used, reason = "a test that cannot be built fails")]
fn on_demand(options: SinkOptions<'_, Items<u64>>) -> (TestSink<u64>, Running) {
    let builder = builder();
    let demand = TestSink::new();
    builder
        .source("numbers", source::iter(0_u64..))
        .edge(edge("to-work"))
        .named("work")
        .edge(edge("to-sink"))
        .sink_with("sink", demand.sink(), options);
    (demand, builder.build().unwrap().start())
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_never_answers_is_a_stall_named_once_and_taken_back_when_it_answers() {
    let (demand, running) = on_demand(SinkOptions::default());
    let mut news = running.watch_stalls();
    sleep(Duration::from_secs(29)).await;
    assert!(running.is_progressing(), "not before the threshold: {:?}", running.stalls());
    sleep(Duration::from_secs(60)).await;
    assert!(!running.is_progressing());
    let [stall] = &running.stalls()[..] else { panic!("one stall: {:?}", running.stalls()) };
    assert_eq!(stall.chain.last().map(|link| &*link.name), Some("sink"));
    assert_eq!(
        stall.to_string(),
        "nothing has moved for 30 s: \"numbers\" waits for room in \"to-work\" -> \"work\" waits for room in \
         \"to-sink\" -> \"sink\" waits for its remote without a deadline; set a timeout on its calls."
    );

    // While the sink answers, if slowly, nothing is stalled.
    for _ in 0..10 {
        demand.request(BATCH);
        sleep(Duration::from_secs(10)).await;
    }
    assert!(running.is_progressing());
    assert_eq!(running.stalls(), []);
    running.stop().await.ledger.check().unwrap();

    let mut heard = Vec::new();
    while let Some(report) = next(&mut news).await {
        heard.push(match report {
            StallReport::Stalled(_) => "stalled",
            StallReport::Recovered(_) => "recovered",
        });
    }
    assert_eq!(heard, ["stalled", "recovered"]);
    assert_eq!(news.missed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_will_end_by_itself_is_no_stall() {
    let policy = SinkPolicy { timeout: Some(Duration::from_secs(3_600)), ..SinkPolicy::default() };
    let (_demand, running) = on_demand(SinkOptions::default().policy(policy));
    sleep(Duration::from_secs(600)).await;
    assert!(running.is_progressing(), "{:?}", running.stalls());
    assert_eq!(culprit(&running.bottleneck()), "sink");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_is_a_stall_and_one_with_a_timeout_is_not() {
    for (limits, stalls) in [(CallLimits::new(4), 1), (CallLimits::new(4).timeout(Duration::from_secs(3_600)), 0)] {
        let builder = builder();
        builder
            .source("numbers", source::iter(0_u64..))
            .edge(edge("to-enrich"))
            .named("enrich")
            .map_async(limits, Order::Ordered, |_| pending::<u64>())
            .edge(edge("to-sink"))
            .sink("sink", sink::null());
        let running = builder.build().unwrap().start();
        sleep(Duration::from_secs(120)).await;
        let seen = running.stalls();
        assert_eq!(seen.len(), stalls, "{seen:?}");
        let last = seen.first().and_then(|stall| stall.chain.last());
        assert!(last.is_none_or(|link| link.name == "enrich"), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_pipeline_is_neither_stalled_nor_anybodys_fault() {
    let builder = builder();
    let quiet = source::stream(futures_util::stream::pending::<u64>());
    builder.source("quiet", quiet).edge(edge("to-sink")).sink("sink", sink::null());
    let running = builder.build().unwrap().start();
    let verdict = after(&running, 300).await;
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::None, "nobody"), "{verdict}");
    assert!(running.is_progressing());
}

#[tokio::test(start_paused = true)]
async fn the_monitor_ends_with_its_pipeline_and_a_view_outlives_both() {
    let builder = builder();
    builder.source("numbers", source::iter(0..10_u64)).edge(edge("to-sink")).sink("sink", sink::null());
    let running = builder.build().unwrap().start();
    let view = running.view();
    let mut news = view.watch_stalls();
    let report = running.wait().await;
    assert_eq!(report.end, PipelineEnd::Completed);
    assert!(next(&mut news).await.is_none(), "the pipeline is over");
    assert!(next(&mut view.watch_stalls()).await.is_none());
    assert_eq!(view.stalls(), []);
    tokio::task::yield_now().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
