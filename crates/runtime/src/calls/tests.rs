//! The calls alone, with a scripted inlet: nothing is lost when `next` is dropped, and what passes behind what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Context;
use std::time::Duration;

use tidegate_flow::settle::WindowSpec;
use tidegate_flow::{
    Account, AccountSpec, Batch, Budget, Bytes, Deadlines, FlowCounter, Items, Lease, Meta, Nack, NackKind, Outcome,
    Payload, StageClock, Time, Weigh, Weight, Window, kib,
};

use super::{ByKey, CallLimits, CallSet, CallTools, Calls, Fallible, KeyOf, Order, Unkeyed};
use crate::context::{StageContext, Supervision};
use crate::edge::{Control, Event};
use crate::probe::Due;
use crate::spares::SpareLists;
use crate::stage::Inlet;
use crate::testkit::{Cut, drop_at_every_await};

type Answer = Pin<Box<dyn Future<Output = Result<String, Nack>> + Send>>;
type Call = Fallible<Box<dyn FnMut(u64) -> Answer + Send>>;

/// Gives what it was told to, with a pause before each unless told otherwise.
struct Scripted {
    events: VecDeque<Event<Batch<Items<u64>>>>,
    without_pause: bool,
    background: Arc<AtomicUsize>,
}

impl Inlet for Scripted {
    type Payload = Items<u64>;

    async fn next(&mut self, cx: &mut StageContext) -> Event<Batch<Items<u64>>> {
        if !self.without_pause {
            tokio::task::yield_now().await;
        }
        let event = self.events.pop_front().unwrap_or(Event::Completed);
        if let Event::Batch(batch) = &event {
            cx.count_taken(batch.records());
        }
        event
    }

    fn poll_background(&mut self, _task: &mut Context<'_>) {
        self.background.fetch_add(1, Relaxed);
    }
}

/// Everything around the calls of one test.
struct Bench<K: KeyOf<u64>> {
    calls: Calls<Scripted, u64, Call, K>,
    cx: StageContext,
    window: Window<u64>,
    edge: Account,
    budget: Budget,
    background: Arc<AtomicUsize>,
    got: Vec<String>,
    events: Vec<&'static str>,
}

fn call(function: impl FnMut(u64) -> Answer + Send + 'static) -> Call {
    Fallible(Box::new(function))
}

/// A call that takes a time of its own for each record and refuses every tenth.
fn mixed() -> Call {
    call(|n| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis((n * 7) % 5)).await;
            if n % 10 == 9 { Err(Nack::permanent("nine")) } else { Ok(format!("<{n}>")) }
        })
    })
}

impl<K: KeyOf<u64>> Bench<K> {
    fn new(limits: CallLimits, order: Order, key: K, caller: Call) -> Self {
        let budget = Budget::new(kib(64));
        let account = |name| budget.account(name, AccountSpec::holding(kib(4)).overdraft(kib(4))).unwrap();
        let (stage, edge) = (account("stage"), account("edge"));
        let spares = SpareLists::new(account("spares"));
        let (clock, counter) = (StageClock::new(Time::ZERO, &[]), FlowCounter::new());
        let tools = CallTools {
            clock: clock.clone(),
            due: Due::default(),
            counter: counter.clone(),
            account: stage.clone(),
            held: stage.clone(),
            most_in_hand: kib(2),
            supervision: Supervision::Resume,
        };
        let background = Arc::new(AtomicUsize::new(0));
        let inlet = Scripted { events: VecDeque::new(), without_pause: false, background: Arc::clone(&background) };
        let cx = StageContext {
            name: "calls".into(),
            clock,
            due: Due::default(),
            counter,
            steps: Default::default(),
            held: stage.clone(),
            outbound: account("outbound"),
            account: stage,
            supervision: Supervision::Resume,
            chunk: Weight::new(256, 1 << 10),
            spares,
            consumer_is_idle: true,
            relief: crate::handover::Relief::default(),
            beside: crate::beside::Beside::new(crate::clock::Clock::new(), crate::drain::KillSwitch::new()),
        };
        let window = Window::new(WindowSpec { slots: 64, bytes: kib(64), lanes: 4 }).unwrap();
        let calls = Calls::new(inlet, CallSet::new(caller, limits, order, key, tools));
        Self { calls, cx, window, edge, budget, background, got: Vec::new(), events: Vec::new() }
    }

    /// One more batch in the script, paid for and with a ticket.
    fn batch(&mut self, rows: impl IntoIterator<Item = u64>, meta: Meta) {
        let payload: Items<u64> = rows.into_iter().collect();
        let lease = self.edge.try_lease(payload.retained_bytes()).unwrap();
        let weight = Weight::new(payload.len() as u64, 1);
        let ticket = self.window.try_open(meta.lane, weight, Some(0), Time::ZERO).unwrap();
        self.calls.inlet.events.push_back(Event::Batch(Batch { payload, ticket, lease, meta }));
    }

    fn event(&mut self, event: Event<Batch<Items<u64>>>) {
        self.calls.inlet.events.push_back(event);
    }

    /// Takes everything up to the end.
    async fn run(&mut self) {
        loop {
            match self.calls.next(&mut self.cx).await {
                Event::Batch(mut batch) => {
                    assert_eq!(batch.records() as usize, batch.payload.len(), "the ticket counts the rows");
                    assert!(batch.lease.bytes() >= batch.payload.retained_bytes(), "the output is paid for");
                    self.cx.count_sent(batch.records());
                    self.got.extend(batch.payload.take());
                    self.events.push("batch");
                    batch.ticket.settle(Outcome::Delivered);
                }
                Event::Control(_) => self.events.push("control"),
                Event::Completed => return self.events.push("completed"),
                Event::Failed(_) => return self.events.push("failed"),
            }
        }
    }

    fn in_use(&self) -> Bytes {
        self.edge.used() + self.cx.account.used()
    }

    fn check_balance(&self) {
        let flows = self.cx.counter.snapshot();
        flows.check().unwrap();
        assert_eq!(flows.held.get(), 0, "{flows:?}");
        assert!(self.window.counts().in_flight.is_zero());
        assert_eq!(self.in_use(), Bytes::ZERO);
        assert_eq!(self.budget.used(), Bytes::ZERO);
    }

    fn ended(&self, outcome: Outcome) -> u64 {
        self.window.counts().ended.get(outcome).get()
    }
}

fn expected(records: std::ops::Range<u64>) -> Vec<String> {
    records.filter(|n| n % 10 != 9).map(|n| format!("<{n}>")).collect()
}

/// Drops `next` at every await of a run, and finishes the run on the same state.
async fn survives_every_cut<K: KeyOf<u64>>(order: Order, key: impl Fn() -> K, check: impl Fn(&[String])) -> usize {
    let setup = || {
        let mut bench = Bench::new(CallLimits::new(3), order, key(), mixed());
        bench.batch(0..7, Meta::default());
        bench.event(Event::Control(Control::Flush));
        bench.batch(7..12, Meta { lane: 1, ..Meta::default() });
        bench.batch(12..20, Meta::default());
        bench
    };
    drop_at_every_await(
        setup,
        async |bench: &mut Bench<K>| bench.run().await,
        async |mut bench: Bench<K>, cut: Cut<()>| {
            assert!(bench.cx.consumer_is_idle, "what is said of the consumer downstream is said again");
            if !matches!(cut, Cut::Done(())) {
                bench.run().await;
            }
            check(&bench.got);
            assert_eq!(bench.ended(Outcome::Delivered), 18);
            assert_eq!(bench.ended(Outcome::Returned), 2);
            bench.check_balance();
        },
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn next_can_be_dropped_at_every_await_with_order() {
    let runs = survives_every_cut(Order::Ordered, || Unkeyed, |got| assert_eq!(got, expected(0..20))).await;
    assert!(runs > 10, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn next_can_be_dropped_at_every_await_without_order() {
    let all = |got: &[String]| {
        let (mut got, mut expected) = (got.to_vec(), expected(0..20));
        got.sort();
        expected.sort();
        assert_eq!(got, expected);
    };
    assert!(survives_every_cut(Order::Unordered, || Unkeyed, all).await > 10);
}

#[tokio::test(start_paused = true)]
async fn next_can_be_dropped_at_every_await_by_key() {
    let by_key = |got: &[String]| {
        for key in 0..3 {
            let of_key = |text: &&String| text.trim_matches(['<', '>']).parse::<u64>().unwrap() % 3 == key;
            let got: Vec<_> = got.iter().filter(of_key).cloned().collect();
            let expected: Vec<_> = expected(0..20).iter().filter(of_key).cloned().collect();
            assert_eq!(got, expected, "key {key}");
        }
    };
    assert!(survives_every_cut(Order::Unordered, || ByKey(|n: &u64| n % 3), by_key).await > 10);
}

#[tokio::test(start_paused = true)]
async fn a_control_message_passes_behind_everything_taken_before_it() {
    let slow = call(|n| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(10 - n)).await;
            Ok(n.to_string())
        })
    });
    let mut bench = Bench::new(CallLimits::new(8), Order::Unordered, Unkeyed, slow);
    bench.batch(0..2, Meta::default());
    bench.event(Event::Control(Control::Flush));
    bench.batch(2..3, Meta::default());
    bench.event(Event::Failed("gone".into()));
    bench.run().await;
    assert_eq!(bench.got, ["1", "0", "2"]);
    assert_eq!(bench.events, ["batch", "batch", "control", "batch", "failed"]);
    bench.check_balance();
}

#[tokio::test(start_paused = true)]
async fn the_inlet_behind_goes_on_while_no_input_is_taken() {
    let slow = call(|n| {
        Box::pin(async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(n.to_string())
        })
    });
    let mut bench = Bench::new(CallLimits::new(1), Order::Ordered, Unkeyed, slow);
    bench.batch(0..2, Meta::default());
    bench.run().await;
    assert!(bench.background.load(Relaxed) >= 10, "polled whenever the stage was");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_calls_abandons_what_is_in_them_and_returns_the_memory() {
    let never = call(|n| {
        Box::pin(async move {
            if n > 2 {
                std::future::pending::<()>().await;
            }
            Ok(n.to_string())
        })
    });
    let mut bench = Bench::new(CallLimits::new(6), Order::Unordered, Unkeyed, never);
    bench.batch(0..12, Meta::default());
    tokio::time::timeout(Duration::from_secs(1), bench.run()).await.unwrap_err();
    assert_eq!(bench.got, ["0", "1", "2"]);
    assert!(bench.in_use() > Bytes::ZERO, "calls in flight are paid for");
    let Bench { calls, cx, window, edge, budget, .. } = bench;
    drop(calls);
    assert_eq!((edge.used(), cx.account.used(), budget.used()), (Bytes::ZERO, Bytes::ZERO, Bytes::ZERO));
    let counter = cx.counter.clone();
    drop(cx);
    assert_eq!(window.counts().ended.get(Outcome::Abandoned).get(), 9);
    assert_eq!(counter.snapshot().abandoned.get(), 9);
    counter.snapshot().check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_timeout_and_a_panic_are_nacks_of_their_kind() {
    for (record, kind) in [(1, NackKind::Transient), (2, NackKind::Permanent), (3, NackKind::Permanent)] {
        let caller = call(move |n| {
            assert!(n != 3, "no call can be made of {n}");
            Box::pin(async move {
                assert!(n != 2, "two");
                std::future::pending::<()>().await;
                Ok(n.to_string())
            })
        });
        let limits = CallLimits::new(2).timeout(Duration::from_secs(5));
        let mut bench = Bench::new(limits, Order::Ordered, Unkeyed, caller);
        bench.batch([record], Meta::default());
        bench.run().await;
        let nack = bench.window.take_settled().unwrap().nack.unwrap();
        assert_eq!(nack.kind, kind, "{nack}");
        bench.check_balance();
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_larger_than_its_input_is_charged_before_it_is_sent_on() {
    let caller = call(|n| Box::pin(async move { Ok("x".repeat(if n == 0 { 3000 } else { 300 })) }));
    let mut bench = Bench::new(CallLimits::new(4), Order::Ordered, Unkeyed, caller);
    bench.batch(0..8, Meta::default());
    bench.run().await;
    // 3000 bytes close a batch of 1 KiB at once; of the others three or four fit.
    assert!(bench.events.len() >= 4, "{:?}", bench.events);
    assert_eq!(bench.got.iter().map(|text| text.weigh() - size_of::<String>()).sum::<usize>(), 3000 + 7 * 300);
    assert!(bench.edge.peak() + bench.cx.account.peak() >= Bytes::new(3000));
    bench.check_balance();
}

#[tokio::test(start_paused = true)]
async fn while_the_budget_has_no_room_for_a_result_no_call_is_started() {
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let caller = call(move |n| {
        count.fetch_add(1, Relaxed);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(n)).await;
            Ok("x".repeat(600))
        })
    });
    let mut bench = Bench::new(CallLimits::new(4), Order::Unordered, Unkeyed, caller);
    bench.batch(1..3, Meta::default());
    bench.batch(3..6, Meta::default());
    bench.cx.count_taken(5);
    let free = bench.budget.free();
    let rest = bench.edge.try_lease(free + kib(4) - bench.edge.used());
    let rest_of_stage = bench.cx.account.try_lease(kib(4));
    assert!(rest.is_some() && rest_of_stage.is_some(), "everything but the overdraft is taken");
    let task = &mut Context::from_waker(std::task::Waker::noop());
    for _ in 0..2 {
        match bench.calls.inlet.events.pop_front() {
            Some(Event::Batch(batch)) => bench.calls.set.put(batch),
            other => panic!("{other:?}"),
        }
        bench.calls.poll_background(task);
        tokio::time::sleep(Duration::from_secs(10)).await;
        bench.calls.poll_background(task);
    }
    assert_eq!(started.load(Relaxed), 2, "two results wait for memory, so the free slots stay free");
    drop((rest, rest_of_stage));
    bench.run().await;
    assert_eq!(bench.got.len(), 5);
    bench.check_balance();
}

#[tokio::test(start_paused = true)]
async fn leases_of_a_fork_stay_with_the_fork_and_the_results_are_paid_for() {
    let mut bench = Bench::new(CallLimits::new(4), Order::Ordered, Unkeyed, mixed());
    let mut siblings = Vec::new();
    for start in [0, 4] {
        bench.batch(start..start + 4, Meta::default());
        if let Some(Event::Batch(batch)) = bench.calls.inlet.events.back_mut() {
            siblings.push(batch.lease.share());
        }
    }
    bench.run().await;
    assert_eq!(bench.got, expected(0..8));
    siblings.clear();
    bench.check_balance();
}

#[tokio::test(start_paused = true)]
async fn deadlines_travel_with_their_rows() {
    let mut bench = Bench::new(CallLimits::new(8), Order::Ordered, Unkeyed, mixed());
    let at = |seconds| Time::from(Duration::from_secs(seconds));
    let deadlines = Deadlines::from_column(vec![Time::MAX, at(7), Time::MAX, at(9)]);
    bench.batch(0..4, Meta { deadlines, ..Meta::default() });
    let mut seen = Vec::new();
    while let Event::Batch(batch) = bench.calls.next(&mut bench.cx).await {
        seen.extend((0..batch.records()).map(|row| batch.meta.deadlines.of_row(row)));
        bench.cx.count_sent(batch.records());
        batch.settle(Outcome::Delivered);
    }
    assert_eq!(seen, [None, Some(at(7)), None, Some(at(9))]);
    bench.check_balance();
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_a_lease_is_charged_for_what_is_made_of_it() {
    let mut bench = Bench::new(CallLimits::new(4), Order::Ordered, Unkeyed, mixed());
    bench.batch(0..2, Meta::default());
    if let Some(Event::Batch(batch)) = bench.calls.inlet.events.back_mut() {
        batch.lease = Lease::none();
    }
    bench.run().await;
    assert_eq!(bench.got.len(), 2);
    bench.check_balance();
}

#[tokio::test(start_paused = true)]
async fn records_of_two_lanes_never_share_a_batch() {
    let mut bench = Bench::new(CallLimits::new(8), Order::Ordered, Unkeyed, mixed());
    for lane in [0, 0, 1, 1, 0] {
        bench.batch([u64::from(lane)], Meta { lane, ..Meta::default() });
    }
    let mut seen = Vec::new();
    while let Event::Batch(mut batch) = bench.calls.next(&mut bench.cx).await {
        let lane = batch.meta.lane;
        seen.extend(batch.payload.take().into_iter().map(|text| (lane, text)));
        bench.cx.count_sent(batch.records());
        batch.ticket.settle(Outcome::Delivered);
    }
    let expected = [0, 0, 1, 1, 0].map(|lane| (lane, format!("<{lane}>")));
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn every_record_is_paid_for_during_its_call() {
    let mut bench = Bench::new(CallLimits::new(4), Order::Ordered, Unkeyed, call(|_| Box::pin(std::future::pending())));
    bench.batch(0..3, Meta::default());
    let charged = bench.in_use();
    tokio::time::timeout(Duration::from_secs(1), bench.run()).await.unwrap_err();
    assert_eq!(bench.in_use(), charged);
}

#[tokio::test(start_paused = true)]
async fn slots_are_filled_before_results_are_given() {
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let caller = call(move |n| {
        count.fetch_add(1, Relaxed);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(n)).await;
            Ok(n.to_string())
        })
    });
    let mut bench = Bench::new(CallLimits::new(4), Order::Ordered, Unkeyed, caller);
    bench.calls.inlet.without_pause = true;
    for n in 0..8 {
        bench.batch([n], Meta::default());
    }
    assert!(matches!(bench.calls.next(&mut bench.cx).await, Event::Batch(_)));
    assert_eq!(started.load(Relaxed), 4, "a result was there after the first call");
}
