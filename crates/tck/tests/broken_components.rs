//! The checks of whole components can fail: components with one planted fault each, and the check that finds it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use tidegate_flow::{Batch, Cause, EdgeSpec, Items, Lease, Meta, Nack, Outcome, Weight, kib};
use tidegate_runtime::{
    Accepted, NoCommit, PipelineBuilder, Pull, Readiness, Sink, SinkContext, SinkOptions, Source, SourceContext,
    SourceOptions, StageContext, Step, Transform,
};
use tidegate_tck::check::{Checked, Unmet};
use tidegate_tck::component::{
    ProbeSink, Receiving, SOME, ScriptSource, SinkComponent, SourceComponent, Traffic, TransformComponent, WINDOW,
    Wired, sinks, sources, transforms,
};

type Rows = Items<u64>;

struct Numbers;

impl Traffic for Numbers {
    type Payload = Rows;

    fn records(numbers: Range<u64>) -> Rows {
        numbers.collect()
    }

    fn texts(rows: &Rows) -> Vec<String> {
        rows.as_slice().iter().map(u64::to_string).collect()
    }
}

const SOUND: u8 = 0;
const POISON: u64 = 1_000_000;

thread_local! {
    /// Whether the next run is an odd one. A test and all its runs have one thread.
    static IS_ODD: Cell<bool> = const { Cell::new(false) };
}

fn is_odd_run() -> bool {
    IS_ODD.replace(!IS_ODD.get())
}

fn found(what: &str, checked: &Checked) {
    assert!(matches!(checked, Err(Unmet::Failed(_))), "a component that {what} passes: {checked:?}");
}

macro_rules! finds {
    ($checks:ident, $subject:ident: $($test:ident: $fault:ident, $($check:ident)+;)*) => {
        $(
            #[test]
            fn $test() {
                $(found(stringify!($test), &$checks::$check::<$subject<$fault>>());)+
            }
        )*
    };
}

fn metrics(fault: u8) -> Vec<String> {
    let names: &[&str] = match fault {
        HIDES_A_METRIC => &["seen"],
        HAS_A_SECRET_METRIC => &["seen", "kept", "secret"],
        _ => &["seen", "kept"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

const HIDES_A_METRIC: u8 = 101;
const HAS_A_SECRET_METRIC: u8 = 102;

fn declared() -> Vec<String> {
    metrics(SOUND)
}

// Sinks.

/// A sink that writes numbers down, but for its fault.
struct FaultySink<const FAULT: u8> {
    shared: Arc<Shared>,
    account: Option<tidegate_flow::Account>,
    leases: Vec<Lease>,
    open: tokio::sync::watch::Receiver<bool>,
    is_odd: bool,
}

struct Shared {
    numbers: Mutex<Vec<u64>>,
    held: tokio::sync::watch::Sender<bool>,
}

const TAKES_ALL_IT_CAN: u8 = 1;
const LOSES_A_RECORD: u8 = 2;
const REFUSES_WITHOUT_A_CAUSE: u8 = 3;
const REFUSES_FOR_NOW: u8 = 4;
const LEAKS_A_LEASE: u8 = 5;
const HOLDS_MORE_THAN_IT_DECLARES: u8 = 6;
const IS_DIFFERENT_EACH_TIME: u8 = 7;
const NEVER_ENDS: u8 = 8;

impl<const FAULT: u8> Sink<Rows> for FaultySink<FAULT> {
    fn open(&mut self, cx: SinkContext) {
        self.account = Some(cx.holding);
    }

    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        match FAULT {
            LEAKS_A_LEASE => {
                // For ever: nobody can give it back.
                self.account
                    .as_ref()
                    .and_then(|account| account.try_lease(kib(1)))
                    .into_iter()
                    .for_each(std::mem::forget);
            }
            HOLDS_MORE_THAN_IT_DECLARES => match self.account.as_ref().and_then(|account| account.try_lease(kib(64))) {
                Some(lease) => self.leases.push(lease),
                None => return Err(Nack::permanent("no memory")),
            },
            NEVER_ENDS if payload.as_slice().contains(&50) => std::future::pending::<()>().await,
            _ => {}
        }
        // The sender is in `shared`.
        drop(self.open.wait_for(|held| !held).await);
        let mut refused = Vec::new();
        let mut numbers = self.shared.numbers.lock().unwrap();
        for (row, number) in (0..).zip(payload.as_slice()) {
            match FAULT {
                _ if *number == POISON => refused.push((
                    row,
                    match FAULT {
                        REFUSES_WITHOUT_A_CAUSE => Nack::permanent(""),
                        REFUSES_FOR_NOW => Nack::transient("poisoned"),
                        _ => Nack::permanent("poisoned"),
                    },
                )),
                LOSES_A_RECORD if *number == 5 => {}
                IS_DIFFERENT_EACH_TIME if *number == 5 && self.is_odd => numbers.push(500),
                _ => numbers.push(*number),
            }
        }
        Ok(Accepted::all_but(refused))
    }
}

struct SinkRun<const FAULT: u8>(Arc<Shared>);

impl<const FAULT: u8> Wired for SinkRun<FAULT> {
    fn metrics(&self) -> Vec<String> {
        metrics(FAULT)
    }
}

impl<const FAULT: u8> Receiving for SinkRun<FAULT> {
    fn received(&self) -> Vec<String> {
        self.0.numbers.lock().unwrap().iter().map(u64::to_string).collect()
    }

    fn hold(&self, held: bool) {
        self.0.held.send_replace(held);
    }
}

impl<const FAULT: u8> SinkComponent for FaultySink<FAULT> {
    type Traffic = Numbers;
    type Run = SinkRun<FAULT>;
    const NAME: &'static str = "faulty sink";

    fn declared() -> Vec<String> {
        declared()
    }

    async fn wire(builder: &PipelineBuilder, source: ScriptSource<Numbers>) -> SinkRun<FAULT> {
        let (held, open) = tokio::sync::watch::channel(false);
        let shared = Arc::new(Shared { numbers: Mutex::default(), held });
        let (port, flow) = builder.boxed_port::<Rows>(EdgeSpec::new("sink").records(WINDOW));
        let is_odd = is_odd_run();
        let sink = |_| {
            let (shared, open) = (Arc::clone(&shared), open.clone());
            Self { shared, account: None, leases: Vec::new(), open, is_odd }
        };
        let size = if FAULT == TAKES_ALL_IT_CAN { 8 } else { 1 };
        flow.sink_pool("sink", (0..size).map(sink).collect(), SinkOptions::default().encoding(kib(1)));
        builder.boxed_source("source", source).to(&port);
        SinkRun(shared)
    }

    fn poison() -> Option<Rows> {
        Some(std::iter::once(POISON).collect())
    }
}

finds! { sinks, FaultySink:
    sink_takes_all_it_can: TAKES_ALL_IT_CAN, c1_takes_no_more_than_it_has_room_for;
    sink_loses_a_record: LOSES_A_RECORD, c3_settles_each_record_once c2_a_stop_at_any_moment_returns_everything;
    sink_refuses_without_a_cause: REFUSES_WITHOUT_A_CAUSE, c3_a_refusal_carries_its_cause_and_kind;
    sink_refuses_for_now_what_it_will_never_take: REFUSES_FOR_NOW, c3_a_refusal_carries_its_cause_and_kind;
    sink_leaks_a_lease: LEAKS_A_LEASE, c2_a_stop_at_any_moment_returns_everything c4_drains_what_it_has;
    sink_holds_more_than_it_declares: HOLDS_MORE_THAN_IT_DECLARES, c5_completes_within_what_its_plan_reserves;
    sink_is_different_each_time: IS_DIFFERENT_EACH_TIME, c8_same_input_same_result;
    sink_never_ends: NEVER_ENDS, c4_drains_what_it_has;
    sink_hides_a_metric: HIDES_A_METRIC, c6_has_exactly_the_declared_metrics;
    sink_has_a_secret_metric: HAS_A_SECRET_METRIC, c6_has_exactly_the_declared_metrics;
}

tidegate_tck::sink_component_suite!(sound_sink, FaultySink<SOUND>);

// Transforms.

/// A transform that passes everything on, but for its fault.
struct FaultyTransform<const FAULT: u8> {
    kept: VecDeque<Batch<Rows>>,
    seen: u64,
    is_odd: bool,
}

const DROPS_WITHOUT_SETTLING: u8 = 11;
const SETTLES_TOO_EARLY: u8 = 12;
const LEAKS_ITS_BATCHES: u8 = 13;
const KEEPS_MANY: u8 = 14;

impl<const FAULT: u8> Transform<Rows> for FaultyTransform<FAULT> {
    type Out = Rows;

    fn process(&mut self, mut input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.seen += 1;
        match FAULT {
            DROPS_WITHOUT_SETTLING if self.seen == 3 => drop(input),
            LEAKS_ITS_BATCHES if self.seen == 3 => std::mem::forget(input),
            SETTLES_TOO_EARLY => {
                let records = input.payload.take();
                let lease = std::mem::replace(&mut input.lease, Lease::none());
                input.ticket.settle(Outcome::Delivered);
                let mut early = Batch::detached(Items::from(records));
                early.lease = lease;
                *out = Some(early);
            }
            KEEPS_MANY if self.kept.len() < 8 => self.kept.push_back(input),
            KEEPS_MANY => {
                self.kept.push_back(input);
                *out = self.kept.pop_front();
            }
            IS_DIFFERENT_EACH_TIME if self.seen == 1 && self.is_odd => cx.refuse(input, Nack::permanent("odd")),
            _ => *out = Some(input),
        }
        Step::Done
    }

    fn flush(&mut self, out: &mut Option<Batch<Rows>>, _cx: &mut StageContext) -> Step {
        if FAULT == NEVER_ENDS {
            return Step::WaitUntil(tidegate_flow::Time::MAX);
        }
        *out = self.kept.pop_front();
        if self.kept.is_empty() { Step::Done } else { Step::More }
    }
}

struct Run<const FAULT: u8>;

impl<const FAULT: u8> Wired for Run<FAULT> {
    fn metrics(&self) -> Vec<String> {
        metrics(FAULT)
    }
}

impl<const FAULT: u8> TransformComponent for FaultyTransform<FAULT> {
    type Traffic = Numbers;
    type Run = Run<FAULT>;
    const NAME: &'static str = "faulty transform";

    fn declared() -> Vec<String> {
        declared()
    }

    fn wire(builder: &PipelineBuilder, source: ScriptSource<Numbers>, sink: ProbeSink<Numbers>) -> Run<FAULT> {
        let (input, flow) = builder.boxed_port::<Rows>(EdgeSpec::new("subject").records(WINDOW));
        let (output, end) = builder.boxed_port::<Rows>(EdgeSpec::new("sink").records(WINDOW));
        let step = Self { kept: VecDeque::new(), seen: 0, is_odd: is_odd_run() };
        flow.named("subject").step(Box::new(step), Weight::ZERO, true).to(&output);
        end.sink("sink", sink);
        builder.boxed_source("source", source).to(&input);
        Run
    }
}

finds! { transforms, FaultyTransform:
    transform_drops_without_settling: DROPS_WITHOUT_SETTLING, c3_settles_each_record_once;
    transform_settles_too_early: SETTLES_TOO_EARLY, c1_takes_no_more_than_it_has_room_for;
    transform_leaks_its_batches: LEAKS_ITS_BATCHES, c2_a_lost_consumer_returns_everything c4_drains_what_it_has;
    transform_keeps_many: KEEPS_MANY, c1_takes_no_more_than_it_has_room_for;
    transform_is_different_each_time: IS_DIFFERENT_EACH_TIME, c8_same_input_same_result;
    transform_never_ends: NEVER_ENDS, c4_drains_what_it_has c5_completes_within_what_its_plan_reserves;
    transform_hides_a_metric: HIDES_A_METRIC, c6_has_exactly_the_declared_metrics;
    transform_has_a_secret_metric: HAS_A_SECRET_METRIC, c6_has_exactly_the_declared_metrics;
}

tidegate_tck::transform_component_suite!(sound_transform, FaultyTransform<SOUND>);

// Sources.

/// A source of numbers, but for its fault.
struct FaultySource<const FAULT: u8> {
    next: u64,
    holding: Option<tidegate_flow::Account>,
    leases: Vec<Lease>,
    is_odd: bool,
}

const READS_TOO_MUCH: u8 = 21;
const REPEATS_A_RECORD: u8 = 22;
const HAS_A_LARGER_EDGE: u8 = 23;

impl<const FAULT: u8> Source for FaultySource<FAULT> {
    type Payload = Rows;
    type Position = u64;
    type Committer = NoCommit;

    fn open(&mut self, cx: SourceContext) {
        self.holding = Some(cx.holding);
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        tokio::task::coop::consume_budget().await;
        if FAULT == NEVER_ENDS && self.next == SOME {
            std::future::pending::<()>().await;
        }
        Ok(if self.next < SOME { Readiness::Ready } else { Readiness::Ended })
    }

    fn read(&mut self, room: Weight, mut into: Rows) -> Result<Pull<Rows, u64>, Cause> {
        match FAULT {
            LEAKS_A_LEASE => {
                self.holding
                    .as_ref()
                    .and_then(|account| account.try_lease(kib(1)))
                    .into_iter()
                    .for_each(std::mem::forget);
            }
            HOLDS_MORE_THAN_IT_DECLARES => match self.holding.as_ref().and_then(|account| account.try_lease(kib(64))) {
                Some(lease) => self.leases.push(lease),
                None => return Err(Cause::from("no memory")),
            },
            _ => {}
        }
        let most = if FAULT == READS_TOO_MUCH { SOME } else { room.records.get() };
        while (into.len() as u64) < most && self.next < SOME {
            let odd = FAULT == IS_DIFFERENT_EACH_TIME && self.is_odd && self.next == 5;
            into.push(if odd { 500 } else { self.next });
            if FAULT == REPEATS_A_RECORD && self.next == 7 {
                into.push(7);
            }
            self.next += 1;
        }
        Ok(Pull { payload: into, position: Some(self.next) })
    }
}

impl<const FAULT: u8> SourceComponent for FaultySource<FAULT> {
    type Traffic = Numbers;
    type Run = Run<FAULT>;
    const NAME: &'static str = "faulty source";
    const ENDS: bool = true;

    fn declared() -> Vec<String> {
        declared()
    }

    fn expected() -> Option<Vec<String>> {
        Some((0..SOME).map(|number| number.to_string()).collect())
    }

    async fn wire(builder: &PipelineBuilder, sink: ProbeSink<Numbers>) -> Run<FAULT> {
        let window = if FAULT == HAS_A_LARGER_EDGE { SOME } else { WINDOW };
        let (port, flow) = builder.boxed_port::<Rows>(EdgeSpec::new("sink").records(window));
        flow.sink("sink", sink);
        let source = Self { next: 0, holding: None, leases: Vec::new(), is_odd: is_odd_run() };
        builder.boxed_source("source", SourceOptions::new(source).holding(kib(1))).to(&port);
        Run
    }
}

finds! { sources, FaultySource:
    source_reads_too_much: READS_TOO_MUCH, c1_reads_no_more_than_there_is_room_for;
    source_behind_an_edge_that_is_too_large: HAS_A_LARGER_EDGE, c1_reads_no_more_than_there_is_room_for;
    source_repeats_a_record: REPEATS_A_RECORD, c3_settles_each_record_once;
    source_leaks_a_lease: LEAKS_A_LEASE, c2_a_stop_at_any_moment_returns_everything c4_obeys_the_intake;
    source_holds_more_than_it_declares: HOLDS_MORE_THAN_IT_DECLARES, c5_completes_within_what_its_plan_reserves;
    source_is_different_each_time: IS_DIFFERENT_EACH_TIME, c8_same_input_same_result;
    source_never_ends: NEVER_ENDS, c3_settles_each_record_once;
    source_hides_a_metric: HIDES_A_METRIC, c6_has_exactly_the_declared_metrics;
    source_has_a_secret_metric: HAS_A_SECRET_METRIC, c6_has_exactly_the_declared_metrics;
}

tidegate_tck::source_component_suite!(sound_source, FaultySource<SOUND>);
