//! How pipelines stop, and that nothing is lost or left behind when they do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{Budget, Cause, EdgeSpec, Nack, Outcome, Settled, Weight, mib};
use tidegate_runtime::edge::{EdgeRx, EdgeTx, PressureWatch, edge};
use tidegate_runtime::testkit::peers::{grants_then_vanishes, panicker};
use tidegate_runtime::testkit::{Cut, TestSink, TestSource, balanced, drop_at_every_await, ended, settle};
use tidegate_runtime::{
    Branch, KillSwitch, Pipeline, PipelineBuilder, PipelineEnd, Running, SinkOptions, SinkPolicy, SourceOptions,
    Supervision, sink, source,
};

fn builder(shared: &Budget) -> PipelineBuilder {
    Pipeline::builder("shutdown").batch(Weight::new(10, 1 << 16)).budget_within(shared, mib(16))
}

fn budget() -> Budget {
    Budget::new(mib(64))
}

/// A source with 100 records pushed ten by ten and no end, an edge, and a sink with demand of its own.
struct Scene {
    shared: Budget,
    script: TestSource<u64>,
    probe: TestSink<u64>,
    running: Option<Running>,
}

impl Scene {
    fn new() -> Self {
        let (shared, script, probe) = (budget(), TestSource::new(), TestSink::new());
        let builder = builder(&shared);
        builder
            .source("script", script.source())
            .edge("first")
            .map(|n: u64| n)
            .edge("second")
            .sink("probe", probe.sink());
        for first in (0..100_u64).step_by(10) {
            script.push_all(first..first + 10);
        }
        let running = Some(builder.build().unwrap().start());
        Self { shared, script, probe, running }
    }

    fn running(&mut self) -> Running {
        self.running.take().unwrap()
    }

    fn assert_budget_is_back(&self) {
        assert!(self.shared.used().is_zero(), "{} still charged", self.shared.used());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_delivers_what_was_read_and_reads_no_more() {
    let mut scene = Scene::new();
    settle().await;
    scene.script.push_all(100..110);
    let read = scene.script.read();
    scene.probe.request(u64::MAX);
    let report = balanced(scene.running().drain(Duration::from_secs(60)).await);
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_eq!((ended(&report, Outcome::Delivered), scene.script.position()), (read, read), "{report}");
    assert_eq!(scene.probe.arrived().len() as u64, read);
    scene.assert_budget_is_back();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_abandons_what_is_left_and_tells_the_source() {
    let mut scene = Scene::new();
    settle().await;
    scene.probe.request(25);
    settle().await;
    let report = balanced(scene.running().drain(Duration::from_secs(5)).await);
    assert_eq!(report.end, PipelineEnd::DeadlinePassed);
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Abandoned)), (20, 80), "{report}");
    assert!(report.ledger.total().in_flight.is_zero());
    let settled = scene.script.settled();
    let refused = settled.iter().position(|settled| settled.nack.is_some()).unwrap();
    assert_eq!(settled[..refused].last().unwrap().position, 20, "no ack beyond what was delivered");
    scene.assert_budget_is_back();
}

#[tokio::test(start_paused = true)]
async fn a_stop_abandons_and_tells() {
    let mut scene = Scene::new();
    settle().await;
    let report = balanced(scene.running().stop().await);
    assert_eq!(report.end, PipelineEnd::Stopped);
    assert_eq!(ended(&report, Outcome::Abandoned), 100);
    assert!(scene.script.settled().iter().all(|settled| settled.nack.is_some()));
    scene.assert_budget_is_back();
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_dropped_abandons_and_tells() {
    let mut scene = Scene::new();
    settle().await;
    scene.probe.request(10);
    settle().await;
    let running = scene.running();
    let view = running.view();
    drop(running);
    settle().await;
    view.ledger().check().unwrap();
    assert!(view.ledger().total().in_flight.is_zero(), "{}", view.ledger());
    assert_eq!(view.ledger().total().ended.get(Outcome::Abandoned).get(), 90);
    assert_eq!(scene.script.position(), 100, "it was told of all of it");
    assert!(scene.script.settled().last().unwrap().nack.is_some());
    drop(view);
    scene.assert_budget_is_back();
}

#[tokio::test(start_paused = true)]
async fn a_kill_switch_ends_one_source_and_no_other() {
    let shared = budget();
    let builder = builder(&shared);
    let switch = KillSwitch::new();
    let (one, two) = (TestSource::new(), TestSource::new());
    let (port, merged) = builder.port("merged");
    builder.source("one", SourceOptions::new(one.source()).kill_switch(&switch)).to(&port);
    builder.source("two", two.source()).to(&port);
    let (kept, keep) = sink::collect();
    merged.sink("keep", keep);
    let running = builder.build().unwrap().start();
    one.push(1_u64);
    two.push(2);
    settle().await;
    switch.shut();
    settle().await;
    one.push(3);
    two.push(4);
    settle().await;
    assert_eq!((one.read(), two.read()), (1, 2));
    two.end();
    let report = balanced(running.wait().await);
    assert_eq!((report.end, kept.take().len()), (PipelineEnd::Completed, 3));
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_one_branch_of_a_fork_stops_the_pipeline_and_acks_nothing_that_branch_lost() {
    let shared = budget();
    let builder = builder(&shared).supervision(Supervision::Stop);
    let script = TestSource::new();
    let [good, bad] =
        builder.source("script", script.source()).fork([Branch::required("good"), Branch::required("bad")]);
    let (kept, keep) = sink::collect();
    good.sink("good", keep);
    bad.map(panicker(25)).sink("bad", sink::null());
    let running = builder.build().unwrap().start();
    for first in (0..100_u64).step_by(10) {
        script.push_all(first..first + 10);
        settle().await;
    }
    let report = balanced(running.wait().await);
    let PipelineEnd::Failed { stage, cause } = &report.end else { panic!("{report}") };
    assert_eq!((&**stage, cause), ("bad", &Cause::from("panicked: record 25 makes this panic")));
    assert!(kept.len() >= 30);
    assert!(report.ledger.total().in_flight.is_zero(), "{report}");
    let acked: u64 =
        script.settled().iter().take_while(|settled| settled.nack.is_none()).map(|s| s.position).max().unwrap_or(0);
    assert_eq!(acked, 20, "25 and what came with it was never acked");
}

#[tokio::test(start_paused = true)]
async fn a_failure_stops_sources_that_have_nothing_to_do_with_it() {
    let shared = budget();
    let builder = builder(&shared);
    let (failing, endless) = (TestSource::<u64>::new(), TestSource::<u64>::new());
    builder.source("failing", failing.source()).edge("a").sink("a", sink::null());
    builder.source("endless", endless.source()).edge("b").sink("b", sink::null());
    let running = builder.build().unwrap().start();
    endless.push(1);
    settle().await;
    failing.fail("cable");
    let report =
        tokio::time::timeout(Duration::from_secs(60), running.wait()).await.expect("the rest goes on for ever");
    assert_eq!(balanced(report).end, PipelineEnd::Failed { stage: "failing".into(), cause: "cable".into() });
}

#[tokio::test(start_paused = true)]
async fn a_failure_on_a_best_effort_branch_stops_nothing_else() {
    let shared = budget();
    let builder = builder(&shared);
    let script = TestSource::new();
    let [good, tap] =
        builder.source("script", script.source()).fork([Branch::required("good"), Branch::best_effort("tap")]);
    let (kept, keep) = sink::collect();
    good.sink("good", keep);
    tap.supervise(Supervision::Stop).map(panicker(5)).sink("tap", sink::null());
    let running = builder.build().unwrap().start();
    for first in (0..100_u64).step_by(10) {
        script.push_all(first..first + 10);
        settle().await;
    }
    script.end();
    let report = balanced(running.wait().await);
    assert_eq!((kept.len(), script.position()), (100, 100), "{report}");
    assert!(script.settled().iter().all(|settled| settled.nack.is_none()));
}

#[tokio::test(start_paused = true)]
async fn the_stage_that_failed_first_is_named_wherever_it_stands() {
    let shared = budget();
    let builder = builder(&shared);
    // The consumer of a port is declared before its producers.
    let (port, merged) = builder.port("merged");
    merged.sink("merged", sink::null());
    let script = TestSource::<u64>::new();
    builder.source("script", script.source()).to(&port);
    script.fail("cable");
    let report = balanced(builder.build().unwrap().start().wait().await);
    assert_eq!(report.end, PipelineEnd::Failed { stage: "script".into(), cause: "cable".into() });
}

#[tokio::test(start_paused = true)]
async fn a_committer_that_never_answers_does_not_hold_a_drain_beyond_its_deadline() {
    struct Silent;
    impl tidegate_runtime::Committer<u64> for Silent {
        async fn settled(&mut self, _settled: Settled<u64>) {
            std::future::pending().await
        }
    }
    let shared = budget();
    let builder = builder(&shared);
    let numbers = source::with_committer(source::iter(0..10_u64), Silent);
    builder.source("numbers", numbers).edge("out").sink("drop", sink::null());
    let running = builder.build().unwrap().start();
    settle().await;
    let before = tokio::time::Instant::now();
    let report = balanced(running.drain(Duration::from_secs(5)).await);
    assert!(before.elapsed() <= Duration::from_secs(7), "{:?}", before.elapsed());
    assert_eq!(report.end, PipelineEnd::DeadlinePassed);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_gives_back_what_a_vanished_receiver_holds_and_the_drain_completes() {
    let shared = budget();
    let builder = builder(&shared);
    let script = TestSource::new();
    let policy = SinkPolicy { retries: 1, timeout: Some(Duration::from_secs(1)), ..SinkPolicy::default() };
    builder.source("script", script.source()).edge("out").sink_with(
        "vanishes",
        grants_then_vanishes(1),
        SinkOptions::default().policy(policy),
    );
    let running = builder.build().unwrap().start();
    script.push_all(0..10_u64);
    script.push_all(10..20);
    settle().await;
    let report = balanced(running.drain(Duration::from_secs(60)).await);
    assert_eq!(report.end, PipelineEnd::Completed);
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (10, 10), "{report}");
    let nack = script.settled().into_iter().find_map(|settled| settled.nack).unwrap();
    assert_eq!(nack, Nack::transient("no answer within 1s"));
}

#[test]
fn a_runtime_that_shuts_down_mid_flight_acks_nothing_undelivered_and_frees_everything() {
    let (shared, script, delivered) = (budget(), TestSource::new(), Arc::new(Mutex::new(0_u64)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let view = {
        let _within = runtime.enter();
        let builder = builder(&shared);
        let count = Arc::clone(&delivered);
        builder.source("script", script.source()).edge("out").sink(
            "slow",
            sink::try_for_each(move |_: &u64| {
                *count.lock().unwrap() += 1;
                // Far from done when the runtime goes, on any machine.
                std::thread::yield_now();
                Ok(())
            }),
        );
        for first in (0..1_000_000_u64).step_by(10) {
            script.push_all(first..first + 10);
        }
        let running = builder.build().unwrap().start();
        while *delivered.lock().unwrap() < 100 {
            std::thread::yield_now();
        }
        let view = running.view();
        // Not dropped: the tasks must be ended by the runtime alone.
        std::mem::forget(running);
        view
    };
    runtime.shutdown_timeout(Duration::from_secs(10));
    view.ledger().check().unwrap();
    assert!(view.ledger().total().in_flight.is_zero(), "{}", view.ledger());
    let acked = script.settled().iter().take_while(|settled| settled.nack.is_none()).map(|s| s.position).max();
    assert!(acked.unwrap_or(0) <= *delivered.lock().unwrap());
    assert!(view.ledger().total().ended.get(Outcome::Delivered).get() <= *delivered.lock().unwrap());
    assert!(shared.used().is_zero(), "{} still charged", shared.used());
}

/// After a cut: the pipeline has ended, nothing is in flight, the budget is back.
async fn assert_gone(scene: Scene, view: Arc<tidegate_runtime::View>) {
    settle().await;
    view.ledger().check().unwrap();
    assert!(view.ledger().total().in_flight.is_zero(), "{}", view.ledger());
    let total = view.ledger().total();
    assert_eq!(scene.script.position(), total.accepted.get(), "the source was told of everything it read");
    drop(view);
    scene.assert_budget_is_back();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_wait_or_a_drain_at_any_await_ends_the_pipeline_and_leaves_nothing() {
    for drains in [false, true] {
        let runs = drop_at_every_await(
            || {
                let mut scene = Scene::new();
                let running = scene.running();
                let view = running.view();
                scene.probe.request(55);
                scene.script.end();
                let probe = scene.probe.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    probe.request(u64::MAX);
                });
                (scene, view, Some(running))
            },
            async |(_, _, running): &mut (Scene, Arc<tidegate_runtime::View>, Option<Running>)| {
                let running = running.take()?;
                Some(if drains { running.drain(Duration::from_secs(60)).await } else { running.wait().await })
            },
            async |(scene, view, running), cut| {
                drop(running);
                if let Cut::Done(report) = cut {
                    let report = balanced(report.unwrap());
                    assert_eq!(report.end, PipelineEnd::Completed);
                }
                assert_gone(scene, view).await;
            },
        )
        .await;
        assert!(runs >= 4, "{runs} runs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_into_a_channel_leaves_its_record_in_the_slot() {
    let setup = || {
        let (mut sender, records) = source::channel::<u64>(Weight::new(1, 1 << 10));
        sender.try_send(1).unwrap();
        let builder = builder(&budget());
        let (kept, keep) = sink::collect();
        builder.source("channel", records).sink("keep", keep);
        // Starts late, so that the send has to wait.
        let running = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            balanced(builder.build().unwrap().start().wait().await)
        });
        (sender, Some(2_u64), kept, running)
    };
    let runs = drop_at_every_await(
        setup,
        async |(sender, slot, ..): &mut (_, _, _, _)| {
            let sender: &mut source::Sender<u64> = sender;
            sender.send_slot(slot).await
        },
        async |(sender, slot, kept, running), cut| {
            // The sender that gave up stays, and must not stand in the way of another.
            let mut other = sender.try_clone().unwrap();
            let sent_other = tokio::time::timeout(Duration::from_secs(60), other.send(3)).await;
            sent_other.expect("the claim that was given up still holds the room").unwrap();
            drop((sender, other));
            running.await.unwrap();
            match cut {
                Cut::Done(sent) => assert_eq!((sent, slot, kept.take()), (Ok(()), None, vec![1, 2, 3])),
                Cut::Pending(_) | Cut::Woken(_) => assert_eq!((slot, kept.take()), (Some(2), vec![1, 3])),
            }
        },
    )
    .await;
    assert!(runs >= 4, "{runs} runs");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_or_receipt_sends_nothing_or_loses_only_the_news() {
    let setup = || {
        let (mut sender, records) = source::channel::<u64>(Weight::new(1, 1 << 10));
        sender.try_send(1).unwrap();
        let builder = builder(&budget());
        let (kept, keep) = sink::collect();
        builder.source("channel", records).edge("out").sink("keep", keep);
        let running = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            balanced(builder.build().unwrap().start().wait().await)
        });
        (sender, kept, running)
    };
    let runs = drop_at_every_await(
        setup,
        async |(sender, ..): &mut (source::Sender<u64>, _, _)| sender.send_acked(2).await.unwrap().await,
        async |(sender, kept, running), cut| {
            drop(sender);
            running.await.unwrap();
            let kept: Vec<u64> = kept.take();
            match cut {
                Cut::Done(answer) => assert_eq!((answer.outcome, kept), (Outcome::Delivered, vec![1, 2])),
                // In one piece or not at all.
                Cut::Pending(_) | Cut::Woken(_) => assert!(kept == [1] || kept == [1, 2], "{kept:?}"),
            }
        },
    )
    .await;
    assert!(runs >= 6, "{runs} runs: it waited for room and for the outcome");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_intake_to_shut_can_be_given_up() {
    let runs = drop_at_every_await(
        || {
            let (first, second) = (KillSwitch::new(), KillSwitch::new());
            let late = second.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                late.shut();
            });
            (first.intake_with(Some(&second)), first)
        },
        async |(intake, _): &mut (tidegate_runtime::Intake, KillSwitch)| intake.shut().await,
        async |(mut intake, _first), cut| {
            assert_eq!(intake.is_shut(), matches!(cut, Cut::Done(())) || matches!(cut, Cut::Woken(_)));
            intake.shut().await;
            assert!(intake.is_shut());
        },
    )
    .await;
    assert!(runs >= 3, "{runs} runs");
}

/// A batch of an edge on its own.
struct Item(u64);

impl tidegate_flow::queue::Load for Item {
    fn weight(&self) -> Weight {
        Weight::new(1, 8)
    }

    fn settle_shed(&mut self, _: tidegate_flow::ShedReason) {}
}

#[tokio::test(start_paused = true)]
async fn every_wait_at_an_edge_can_be_given_up() {
    type Ends = (EdgeTx<Item>, Option<EdgeRx<Item>>, PressureWatch, u64);
    let setup = || {
        let (mut tx, rx) = edge::<Item>(EdgeSpec::new("edge").records(1)).unwrap();
        let watch = tx.watch().unwrap();
        tx.try_send(&mut Some(Item(1))).unwrap();
        (tx, Some(rx), watch, 0)
    };
    // One after the other: room, a send, a change of pressure; each is given up at each of its awaits.
    let calls = async |(tx, rx, watch, sent): &mut Ends| {
        let mut rx_now = rx.take().unwrap();
        let consumer = tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                match rx_now.recv().await {
                    tidegate_runtime::edge::Event::Batch(Item(n)) => got.push(n),
                    _ => return got,
                }
            }
        });
        watch.changed().await;
        tx.ready().await;
        let mut slot = Some(Item(2));
        tx.send(&mut slot).await.unwrap();
        *sent = 1;
        watch.changed().await;
        Some(consumer)
    };
    let runs = drop_at_every_await(setup, calls, async |(tx, _, _, sent), cut| {
        let handle = tx.handle();
        drop(tx);
        if let Cut::Done(Some(consumer)) = cut {
            assert_eq!(consumer.await.unwrap(), [1, 2]);
        } else {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let snapshot = handle.snapshot();
        assert_eq!(
            snapshot.flows.output.get() + snapshot.flows.abandoned.get() + snapshot.fill.records.get(),
            snapshot.flows.input.get()
        );
        assert!(snapshot.flows.input.get() > sent && snapshot.waiting_claims == 0 && snapshot.reserved.is_zero());
    })
    .await;
    assert!(runs >= 4, "{runs} runs");
}
