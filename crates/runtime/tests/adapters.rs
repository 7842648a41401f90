//! Sources and sinks made from what Rust has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink as FuturesSink;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use tidegate_flow::queue::Level;
use tidegate_flow::{Cause, EdgeSpec, Items, Nack, OnFull, Outcome, Settled, Weight};
use tidegate_runtime::edge::SendError;
use tidegate_runtime::testkit::{TestSink, balanced, ended, peers, settle};
use tidegate_runtime::{Pipeline, PipelineBuilder, PipelineEnd, Report, SinkOptions, SinkPolicy, sink, source};
use tower_service::Service;

async fn run(builder: &PipelineBuilder) -> Report {
    balanced(builder.build().unwrap().start().wait().await)
}

/// A stream that is pending before every item, and counts how often it is polled by nobody who could be woken.
fn hesitant(records: std::ops::Range<u64>) -> impl Stream<Item = u64> + Send {
    stream::unfold(records, |mut records| async move {
        tokio::task::yield_now().await;
        records.next().map(|record| (record, records))
    })
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_pending_under_a_read_goes_on_when_it_is_ready() {
    let builder = Pipeline::builder("stream");
    let (kept, keep) = sink::collect();
    builder.source("hesitant", source::stream(hesitant(0..50))).sink("keep", keep);
    let report = run(&builder).await;
    assert_eq!(kept.take(), (0..50).collect::<Vec<_>>());
    assert_eq!(report.end, PipelineEnd::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_channel_stream_polled_without_a_waker_still_wakes() {
    let (tx, rx) = tokio::sync::mpsc::channel(4);
    let records = stream::unfold(rx, |mut rx| async move { rx.recv().await.map(|record: u64| (record, rx)) });
    let builder = Pipeline::builder("mpsc");
    let (kept, keep) = sink::collect();
    builder.source("mpsc", source::stream(records)).sink("keep", keep);
    let running = builder.build().unwrap().start();
    for n in 0..20 {
        tx.send(n).await.unwrap();
        settle().await;
        assert_eq!(kept.len() as u64, n + 1, "each arrives as soon as it is sent");
    }
    drop(tx);
    balanced(running.wait().await);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_stream_ends_the_pipeline_after_what_came_before() {
    let builder = Pipeline::builder("try");
    let (kept, keep) = sink::collect();
    let records = stream::iter([Ok(1_u64), Ok(2), Err("the disk is gone"), Ok(3)]);
    builder.source("disk", source::try_stream(records)).edge("out").sink("keep", keep);
    let report = run(&builder).await;
    assert_eq!(report.end, PipelineEnd::Failed { stage: "disk".into(), cause: Cause::from("the disk is gone") });
    assert_eq!(kept.take(), [1, 2]);
    assert_eq!(ended(&report, Outcome::Delivered), 2);
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_called_until_it_ends() {
    let builder = Pipeline::builder("from_fn");
    let (kept, keep) = sink::collect();
    let mut next = 0_u64;
    let numbers = source::from_fn(move || {
        next += 1;
        let number = next;
        async move {
            tokio::time::sleep(Duration::from_millis(number)).await;
            Ok::<_, Cause>((number <= 10).then_some(number))
        }
    });
    builder.source("numbers", numbers).sink("keep", keep);
    run(&builder).await;
    assert_eq!(kept.take(), (1..=10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_committer_is_told_in_order_and_of_everything() {
    let builder = Pipeline::builder("commit").batch(Weight::new(16, 1 << 16));
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let numbers = source::with_committer(source::iter(0..1_000_u64), move |settled: Settled<u64>| {
        log.lock().unwrap().push(settled);
    });
    builder.source("numbers", numbers).edge("out").sink("drop", sink::null());
    run(&builder).await;
    let told = told.lock().unwrap();
    assert!(told.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(told.last().unwrap().position, 1_000);
    assert_eq!(told.iter().map(|settled| settled.counts.get(Outcome::Delivered).get()).sum::<u64>(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_committer_that_panics_ends_the_pipeline() {
    let builder = Pipeline::builder("commit");
    let endless = source::with_committer(source::iter(0_u64..), |_: Settled<u64>| panic!("no disk"));
    builder.source("numbers", endless).edge("out").sink("drop", sink::null());
    let report = run(&builder).await;
    let cause = Cause::from("its committer panicked: no disk");
    assert_eq!(report.end, PipelineEnd::Failed { stage: "numbers".into(), cause });
}

fn two_records() -> Weight {
    Weight::new(2, 1 << 20)
}

#[tokio::test(start_paused = true)]
async fn a_channel_has_credit_pressure_and_an_end() {
    let (mut sender, records) = source::channel::<u64>(two_records());
    let mut watch = sender.watch().unwrap();
    sender.send(1).await.unwrap();
    sender.try_send(2).unwrap();
    let refused = sender.try_send(3).unwrap_err();
    assert_eq!((refused.records, matches!(refused.error, SendError::Full { .. })), (3, true));
    assert_ne!(sender.pressure(), Level::Normal);
    assert!(watch.changed().await.is_some());

    let builder = Pipeline::builder("channel");
    let (kept, keep) = sink::collect();
    builder.source("channel", records).sink("keep", keep);
    let running = builder.build().unwrap().start();
    sender.send_all(vec![3, 4, 5, 6, 7]).await.unwrap();
    let mut clone = sender.try_clone().unwrap();
    clone.send(8).await.unwrap();
    drop(clone);
    settle().await;
    assert_eq!(sender.pressure(), Level::Normal);
    sender.send(9).await.unwrap();
    drop(sender);
    let report = balanced(running.wait().await);
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_eq!(kept.take(), (1..=9).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_channel_can_fail_its_pipeline_and_outlive_it() {
    let (mut sender, records) = source::channel::<u64>(two_records());
    let builder = Pipeline::builder("channel");
    let (kept, keep) = sink::collect();
    builder.source("channel", records).sink("keep", keep);
    let running = builder.build().unwrap().start();
    sender.send(1).await.unwrap();
    sender.fail("the application gave up");
    let report = balanced(running.wait().await);
    let cause = Cause::from("the application gave up");
    assert_eq!(report.end, PipelineEnd::Failed { stage: "channel".into(), cause });
    assert_eq!(kept.take(), [1]);
    let refused = sender.send(2).await.unwrap_err();
    assert_eq!((refused.records, matches!(refused.error, SendError::Closed { .. })), (2, true));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_says_what_became_of_its_record_alone() {
    let (mut sender, records) = source::channel::<u64>(Weight::new(100, 1 << 20));
    let builder = Pipeline::builder("acked");
    builder
        .source("channel", records)
        .filter(|n| *n != 3)
        .try_map(|n: u64| if n == 4 { Err(Nack::permanent("four")) } else { Ok(n) })
        .edge("out")
        .sink("drop", sink::null());
    let mut receipts = Vec::new();
    for n in 0..6 {
        sender.send(100 + n).await.unwrap();
        receipts.push(sender.send_acked(n).await.unwrap());
    }
    let running = builder.build().unwrap().start();
    let mut outcomes = Vec::new();
    for receipt in receipts {
        let answer = receipt.await;
        assert_eq!(answer.nack.is_some(), answer.outcome == Outcome::Returned, "{answer:?}");
        outcomes.push(answer.outcome);
    }
    use Outcome::{Delivered, Filtered, Returned};
    assert_eq!(outcomes, [Delivered, Delivered, Delivered, Filtered, Returned, Delivered]);
    // Not read any more when the pipeline is gone: abandoned.
    running.stop().await.ledger.check().unwrap();
    assert!(sender.send_acked(7).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn receipts_of_what_is_never_read_or_shed_are_answered() {
    let spec = EdgeSpec::new("shedding").records(1).on_full(OnFull::DropOldest);
    let (mut sender, records) = source::channel_with::<u64>(spec).unwrap();
    let first = sender.send_acked(1).await.unwrap();
    let second = sender.send_acked(2).await.unwrap();
    assert_eq!(first.await.outcome, Outcome::Shed);
    assert_eq!(sender.handle().snapshot().flows.shed.iter().map(|shed| shed.get()).sum::<u64>(), 1);
    drop(records);
    assert_eq!(second.await.outcome, Outcome::Abandoned);
}

#[tokio::test]
async fn a_thread_can_send() {
    let (mut sender, records) = source::channel::<u64>(two_records());
    let thread = std::thread::spawn(move || {
        for n in 0..100 {
            sender.blocking_send(n).unwrap();
        }
    });
    let builder = Pipeline::builder("thread");
    let (kept, keep) = sink::collect();
    builder.source("channel", records).edge("out").sink("keep", keep);
    run(&builder).await;
    thread.join().unwrap();
    assert_eq!(kept.take(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_sender_is_a_futures_sink() {
    let (sender, records) = source::channel::<u64>(two_records());
    let builder = Pipeline::builder("as_sink");
    let (kept, keep) = sink::collect();
    builder.source("channel", records).sink("keep", keep);
    let running = builder.build().unwrap().start();
    stream::iter(0..100).map(Ok).forward(sink::as_sink(sender)).await.unwrap();
    balanced(running.wait().await);
    assert_eq!(kept.take(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_sink_closure_costs_one_record_and_no_other_counts_as_delivered_unseen() {
    let builder = Pipeline::builder("panic");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    builder.source("count", source::iter(0..100_u64)).edge("out").sink(
        "panics",
        sink::for_each(move |n: u64| {
            assert!(n != 50, "fifty");
            log.lock().unwrap().push(n);
        }),
    );
    let report = run(&builder).await;
    assert_eq!(*seen.lock().unwrap(), (0..100).filter(|n| *n != 50).collect::<Vec<_>>());
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (99, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn an_async_closure_is_called_for_each_and_a_panic_costs_one_record() {
    let builder = Pipeline::builder("async");
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let each = sink::for_each_async(move |n: u64| {
        let count = Arc::clone(&count);
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(n != 7, "seven");
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    builder.source("count", source::iter(0..10_u64)).sink("each", each);
    let report = run(&builder).await;
    assert_eq!(seen.load(Ordering::Relaxed), 9);
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (9, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_took_out_and_did_not_accept_is_never_counted_as_delivered() {
    // Refused, and cut short by the time limit.
    let policy = SinkPolicy { timeout: Some(Duration::from_secs(1)), ..SinkPolicy::default() };
    for cut_short in [false, true] {
        let builder = Pipeline::builder("hollow");
        let flow = builder.source("count", source::iter(0..10_u64)).edge("out");
        if cut_short {
            flow.sink_with(
                "takes",
                sink::for_each_async(|_: u64| std::future::pending()),
                SinkOptions::default().policy(policy.clone()),
            );
        } else {
            flow.sink("takes", peers::TakesAndRefuses);
        }
        let report = run(&builder).await;
        assert_eq!((ended(&report, Outcome::Returned), ended(&report, Outcome::Delivered)), (10, 0), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_closure_refuses_for_now_is_tried_again_together_and_for_good_is_not() {
    let builder = Pipeline::builder("try_for_each");
    let tries = Arc::new(Mutex::new(std::collections::HashMap::<u64, u32>::new()));
    let log = Arc::clone(&tries);
    let each = sink::try_for_each(move |n: &u64| {
        let mut log = log.lock().unwrap();
        let tries = log.entry(*n).or_default();
        *tries += 1;
        match (n % 10, *tries) {
            (3, _) => Err(Nack::permanent("three")),
            (5, 1) => Err(Nack::transient("later")),
            _ => Ok(()),
        }
    });
    builder.source("count", source::iter(0..100_u64)).sink("each", each);
    let report = run(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (90, 10), "{report}");
    assert!(tries.lock().unwrap().iter().all(|(n, tries)| *tries == if n % 10 == 5 { 2 } else { 1 }));
    assert!(report.ran < Duration::from_millis(250), "one pause for all of them: {:?}", report.ran);
}

/// A `futures` sink with room for one record before it must be flushed; fails at a record of its choice.
#[derive(Default)]
struct Peer {
    in_hand: Option<u64>,
    flushed: Arc<Mutex<Vec<u64>>>,
    fail_at: Option<u64>,
    asked_idle: Arc<AtomicBool>,
}

impl FuturesSink<u64> for Peer {
    type Error = String;

    fn poll_ready(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.asked_idle.store(true, Ordering::Relaxed);
        self.poll_flush(task)
    }

    fn start_send(mut self: Pin<&mut Self>, record: u64) -> Result<(), String> {
        self.asked_idle.store(false, Ordering::Relaxed);
        assert!(self.in_hand.is_none(), "not ready");
        if self.fail_at == Some(record) {
            return Err(format!("no {record}"));
        }
        self.in_hand = Some(record);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        if let Some(record) = self.in_hand.take() {
            self.flushed.lock().unwrap().push(record);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.poll_flush(task)
    }
}

#[tokio::test(start_paused = true)]
async fn a_futures_sink_is_asked_with_a_record_in_hand_and_accepts_by_flushing() {
    let builder = Pipeline::builder("from_sink");
    let peer = Peer::default();
    let (flushed, asked_idle) = (Arc::clone(&peer.flushed), Arc::clone(&peer.asked_idle));
    builder.source("count", source::iter(0..10_u64)).sink("peer", sink::from_sink::<_, u64>(peer));
    let report = run(&builder).await;
    assert_eq!(*flushed.lock().unwrap(), (0..10).collect::<Vec<_>>());
    assert!(!asked_idle.load(Ordering::Relaxed), "no readiness is asked for that is not used");
    assert_eq!(ended(&report, Outcome::Delivered), 10);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_futures_sink_is_a_refusal_of_the_kind_that_the_closure_says() {
    for permanent in [false, true] {
        let builder = Pipeline::builder("from_sink").batch(Weight::new(5, 1 << 16));
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let numbers = source::with_committer(source::iter(0..10_u64), move |settled: Settled<u64>| {
            log.lock().unwrap().extend(settled.nack);
        });
        let peer = sink::from_sink::<_, u64>(Peer { fail_at: Some(7), ..Peer::default() });
        let flow = builder.source("count", numbers);
        if permanent {
            flow.sink("peer", peer.refuse(|error: String| Nack::permanent(error)));
        } else {
            flow.sink("peer", peer);
        }
        let report = run(&builder).await;
        let nack = if permanent { Nack::permanent("no 7") } else { Nack::transient("no 7") };
        assert_eq!(*told.lock().unwrap(), [nack]);
        assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (5, 5), "{report}");
    }
}

/// A service that refuses batches with a given record in them, and counts the readiness it gave that was not used.
struct Remote {
    refuse: u64,
    ready: Arc<AtomicU64>,
    got: Arc<Mutex<Vec<u64>>>,
}

impl Service<Vec<u64>> for Remote {
    type Response = ();
    type Error = String;
    type Future = Ready<Result<(), String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.ready.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Vec<u64>) -> Self::Future {
        self.ready.fetch_sub(1, Ordering::Relaxed);
        if request.contains(&self.refuse) {
            return ready(Err("refused".to_string()));
        }
        self.got.lock().unwrap().extend(request);
        ready(Ok(()))
    }
}

impl Service<u64> for Remote {
    type Response = ();
    type Error = String;
    type Future = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let answer = Service::<Vec<u64>>::call(self, vec![request]);
        self.ready.fetch_add(1, Ordering::Relaxed);
        Box::pin(answer)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_batches_and_a_permanent_refusal_is_halved_down_to_its_culprit() {
    let builder = Pipeline::builder("service");
    let (ready, got) = (Arc::default(), Arc::default());
    let remote = Remote { refuse: 37, ready: Arc::clone(&ready), got: Arc::clone(&got) };
    let service = sink::service::<_, u64>(remote).refuse(|error: String| Nack::permanent(error));
    builder.source("count", source::iter(0..100_u64)).sink("remote", service);
    let report = run(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (99, 1), "{report}");
    let mut got = std::mem::take(&mut *got.lock().unwrap());
    got.sort_unstable();
    assert_eq!(got, (0..100).filter(|n| *n != 37).collect::<Vec<_>>());
    assert_eq!(ready.load(Ordering::Relaxed), 0, "every permit that was asked for was used");
}

#[tokio::test(start_paused = true)]
async fn a_service_for_each_record_refuses_by_record() {
    let builder = Pipeline::builder("service_each");
    let (dead, letters) = builder.port::<Items<u64>>("dead");
    let (kept, keep) = sink::collect();
    letters.sink("letters", keep);
    let remote = Remote { refuse: 37, ready: Arc::default(), got: Arc::default() };
    let service = sink::service_each::<_, u64>(remote).refuse(|error: String| Nack::permanent(error));
    builder.source("count", source::iter(0..100_u64)).sink_with(
        "remote",
        service,
        SinkOptions::default().dead_letters(&dead),
    );
    let report = run(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::DeadLettered)), (99, 1), "{report}");
    assert_eq!(kept.take(), [37]);
}

#[tokio::test(start_paused = true)]
async fn pulling_from_a_stream_is_demand() {
    let builder = Pipeline::builder("out").batch(Weight::new(4, 1 << 16));
    let script = tidegate_runtime::testkit::TestSource::new();
    for chunk in (0..40_u64).collect::<Vec<_>>().chunks(4) {
        script.push_all(chunk.to_vec());
    }
    script.end();
    let flow = builder.source("script", script.source()).edge(EdgeSpec::new("last").records(4));
    let mut records = flow.into_stream("out");
    let running = builder.build().unwrap().start();
    settle().await;
    assert!(script.read() <= 16, "{} read before anything was pulled", script.read());
    assert_eq!(script.position(), 0);
    for n in 0..4 {
        assert_eq!(records.next().await, Some(n));
    }
    settle().await;
    assert_eq!(script.position(), 0, "the last record counts when the next one is asked for");
    assert_eq!(records.next().await, Some(4));
    settle().await;
    assert_eq!(script.position(), 4);
    let waiting = tokio::spawn(running.wait());
    assert_eq!(records.by_ref().count().await, 35);
    let report = balanced(waiting.await.unwrap());
    assert_eq!((report.end.clone(), ended(&report, Outcome::Delivered)), (PipelineEnd::Completed, 40));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_cancels_the_flow_and_what_was_not_handed_out_goes_back() {
    let builder = Pipeline::builder("out").batch(Weight::new(4, 1 << 16));
    let mut records = builder.source("count", source::iter(0_u64..)).edge("last").into_stream("out");
    let running = builder.build().unwrap().start();
    assert_eq!(records.next().await, Some(0));
    assert_eq!(records.next().await, Some(1));
    assert_eq!(records.next().await, Some(2));
    assert!(records.refuse(Nack::permanent("not two")));
    assert_eq!(records.next().await, Some(3));
    records.accept();
    assert_eq!(records.next().await, Some(4));
    drop(records);
    let report = balanced(running.wait().await);
    assert_eq!(ended(&report, Outcome::Delivered), 3, "0, 1 and 3; 4 was not confirmed: {report}");
    assert!(report.ledger.total().in_flight.is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_pipeline_that_never_starts_ends() {
    let builder = Pipeline::builder("out");
    let records = builder.source("count", source::iter(0..10_u64)).into_stream("out");
    drop(builder);
    assert_eq!(records.count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_sink_ends_an_endless_flow() {
    let builder = Pipeline::builder("cancel");
    let probe = TestSink::new();
    builder.source("count", source::iter(0_u64..)).edge("out").sink("probe", probe.sink());
    let running = builder.build().unwrap().start();
    probe.request(2);
    probe.expect_next(0).await;
    probe.expect_next(1).await;
    probe.cancel();
    let report = balanced(running.wait().await);
    assert_eq!(ended(&report, Outcome::Delivered), 2, "{report}");
    assert!(report.ledger.total().in_flight.is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_closed_futures_sink_says_so() {
    let (sender, records) = source::channel::<u64>(two_records());
    drop(records);
    let mut sink = sink::as_sink(sender);
    assert!(matches!(sink.send(1).await, Err(SendError::Closed { .. })));
}
