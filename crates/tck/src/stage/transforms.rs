//! The checks of transforms.

mod settlement;

pub use settlement::{
    c30_nothing_is_settled_as_delivered_before_the_sink_accepts, c32_positions_are_committed_in_order,
    c34_a_fork_settles_after_all_required_branches,
};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_flow::{EdgeSpec, FlowKind, NackKind, Outcome, kib, mib};
use tidegate_runtime::testkit::{TestSink, TestSource};
use tidegate_runtime::{PipelineEnd, sink, source};

use super::TransformUnderTest;
use super::bed::{Bed, LONG, READ, WINDOW, balanced, builder, held, rest, same, start, wait};
use crate::check::{Check, Checked, Unmet, ensure, in_virtual_time, within};

/// The list of all checks of transforms. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __transform_checks {
    (list $mode:ident $subject:ty) => {
        $crate::__checks! { $mode stage transforms $subject;
            c1_takes_no_input_without_room_to_emit
            c2_a_stop_at_any_moment_returns_all_memory
            c2_a_lost_consumer_returns_all_memory
            c3_settles_each_record_once
            c3_a_refusal_carries_its_cause_and_kind
            c4_drains_by_its_deadline
            c5_completes_within_a_small_budget
            c8_same_input_same_result
            c12_data_comes_before_the_end_and_the_end_once
            c12_a_failure_upstream_comes_through_behind_the_data
            c27_expansion_is_bounded
            c30_nothing_is_settled_as_delivered_before_the_sink_accepts
            c32_positions_are_committed_in_order
            c34_a_fork_settles_after_all_required_branches
            c42_an_endless_source_leaves_its_neighbours_their_turns
            c43_the_time_of_every_stage_adds_up
        }
    };
}

/// Every check, tied to one subject.
#[must_use]
pub fn all<T: TransformUnderTest>() -> Vec<Check> {
    __transform_checks!(list table T)
}

/// How many records the checks send that need some.
const SOME: u64 = 96;

fn lacks(feature: &str, why: &str) -> Unmet {
    Unmet::NotApplicable { feature: feature.to_owned(), why: why.to_owned() }
}

/// With a consumer that takes nothing, the transform comes to rest: it holds what it may, and no batch that it could
/// not send; everything comes out once the consumer takes it.
pub fn c1_takes_no_input_without_room_to_emit<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        bed.push(0..SOME);
        rest().await;
        let view = bed.running.view();
        let full = view.edge("out").is_some_and(|edge| edge.fill.records.get() >= WINDOW);
        // Room for a record is not room for whatever comes next: with some room left, one batch may be in hand.
        let in_hand = if full { 0 } else { largest_batch::<T>() };
        let (held, most) = (held(&view.ledger()), T::MAY_HOLD + in_hand);
        ensure!(held <= most, "nobody takes its output, and it holds {held} records; it may hold {most}");
        let (got, _) = bed.finish().await?;
        same(Bed::<T>::outputs(0..SOME), got, T::ORDERED)
    })
}

/// Stopped after any number of turns of its tasks: both laws hold, every byte comes back, and nothing that the sink did
/// not accept was settled as delivered.
pub fn c2_a_stop_at_any_moment_returns_all_memory<T: TransformUnderTest>() -> Checked {
    for turns in 0..60 {
        in_virtual_time(async {
            let bed = Bed::<T>::new()?;
            bed.push(0..SOME);
            bed.sink.request(20);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let stopped = within(LONG, bed.running.stop()).await;
            let report = stopped.map_err(|()| Unmet::Failed(format!("turn {turns}: it does not stop")))?;
            balanced(&report.ledger, &bed.memory)
                .map_err(|unmet| Unmet::Failed(format!("stopped after {turns} turns: {unmet}")))?;
            let arrived = bed.sink.arrived().len() as u64;
            let delivered = report.ledger.total().ended.get(Outcome::Delivered).get();
            let emitting = (0..SOME).filter(|number| !T::outputs(*number).is_empty()).count() as u64;
            ensure!(
                delivered <= arrived || emitting == 0,
                "stopped after {turns} turns: {delivered} were settled as delivered, and {arrived} had arrived"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// When the receiver goes away, the pipeline ends by itself and everything is accounted for.
pub fn c2_a_lost_consumer_returns_all_memory<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        bed.push(0..SOME);
        bed.sink.request(10);
        rest().await;
        bed.sink.cancel();
        bed.source.end();
        let report = wait(bed.running).await?;
        balanced(&report.ledger, &bed.memory)
    })
}

/// Every record that was read is settled, once, as what became of it.
pub fn c3_settles_each_record_once<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        let source = bed.source.clone();
        bed.push(0..SOME);
        let (got, report) = bed.finish().await?;
        same(Bed::<T>::outputs(0..SOME), got, T::ORDERED)?;
        let settled: u64 = source.settled().iter().map(|settled| settled.counts.total().get()).sum();
        ensure!(settled == SOME, "{SOME} records were read, and the source was told of {settled}");
        let total = report.ledger.total();
        let silent = (0..SOME).filter(|number| T::outputs(*number).is_empty()).count() as u64;
        let ended = |outcome| total.ended.get(outcome).get();
        let removed = ended(Outcome::Filtered) + ended(Outcome::Absorbed);
        ensure!(
            (ended(Outcome::Delivered), removed) == (SOME - silent, silent),
            "of {SOME} records {silent} make nothing, but {:?} is how they ended",
            total.ended
        );
        Ok(())
    })
}

/// A record at which user code fails goes back to its source, with the cause, for good; its neighbours go through. A
/// panic is such a failure, and stays inside the stage.
pub fn c3_a_refusal_carries_its_cause_and_kind<T: TransformUnderTest>() -> Checked {
    let Some(poison) = T::poison() else { return Err(lacks("poison", "no record makes it fail")) };
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        let source = bed.source.clone();
        bed.push(0..4);
        bed.source.push_all([T::record(4), poison, T::record(5)]);
        bed.push(6..12);
        let (got, report) = bed.finish().await?;
        same(Bed::<T>::outputs(0..12), got, T::ORDERED)?;
        let returned = report.ledger.total().ended.get(Outcome::Returned).get();
        ensure!(returned == 1, "one record is at fault, and {returned} were returned");
        let nacks: Vec<_> = source.settled().into_iter().filter_map(|settled| settled.nack).collect();
        ensure!(nacks.len() == 1, "one record is at fault, and the source was told of {}", nacks.len());
        let permanent = nacks.iter().all(|nack| nack.kind == NackKind::Permanent);
        ensure!(permanent, "the record will fail again, but the nack says to try again: {nacks:?}");
        ensure!(nacks.iter().all(|nack| !nack.cause.as_str().is_empty()), "the nack does not say why: {nacks:?}");
        ensure!(report.end == PipelineEnd::Completed, "one record at fault ended the pipeline: {}", report.end);
        Ok(())
    })
}

/// Told to drain with work in flight, it ends by the deadline with everything settled.
pub fn c4_drains_by_its_deadline<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        let sink = bed.sink.clone();
        bed.push(0..SOME);
        rest().await;
        sink.request(u64::MAX);
        let report = within(LONG, bed.running.drain(Duration::from_secs(60))).await;
        let report = report.map_err(|()| Unmet::Failed("it outlives the deadline of its drain".to_owned()))?;
        ensure!(report.end == PipelineEnd::Completed, "drained with a willing consumer, it {}", report.end);
        balanced(&report.ledger, &bed.memory)
    })
}

/// Under a budget that holds a few batches it gets everything done, and never more was charged.
pub fn c5_completes_within_a_small_budget<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let limit = mib(2);
        let (memory, builder) = builder();
        let builder = builder.budget_within(&memory, limit);
        let (source, sink) = (TestSource::new(), TestSink::new());
        let flow = builder.source("source", source.source()).edge(EdgeSpec::new("in").bytes(kib(64)));
        T::attach(flow, EdgeSpec::new("out").bytes(kib(64))).sink("sink", sink.sink());
        let bed = Bed::<T> { memory, source, sink, running: start(&builder)? };
        bed.push(0..10 * SOME);
        rest().await;
        let (got, report) = bed.finish().await?;
        same(Bed::<T>::outputs(0..10 * SOME), got, T::ORDERED)?;
        ensure!(report.peak <= limit, "with a budget of {limit}, {} were charged at once", report.peak);
        Ok(())
    })
}

/// The same input gives the same output and the same accounts.
pub fn c8_same_input_same_result<T: TransformUnderTest>() -> Checked {
    let run = |last: &mut Option<(Vec<T::Out>, String)>| {
        in_virtual_time(async {
            let bed = Bed::<T>::new()?;
            bed.push(0..SOME);
            let (got, report) = bed.finish().await?;
            let accounts = format!("{:?}", report.ledger);
            if let Some((before, accounts_before)) = last.replace((got.clone(), accounts.clone())) {
                ensure!(before == got, "the second run gave other records");
                ensure!(accounts_before == accounts, "the second run: {accounts}\nthe first: {accounts_before}");
            }
            Ok(())
        })
    };
    let mut last = None;
    run(&mut last)?;
    run(&mut last)
}

/// What is inside when the input ends comes out; then the end comes, once.
pub fn c12_data_comes_before_the_end_and_the_end_once<T: TransformUnderTest>() -> Checked {
    for count in [0, 1, READ, READ + 1, 3 * WINDOW + 1] {
        in_virtual_time(async {
            let bed = Bed::<T>::new()?;
            bed.push(0..count);
            let (got, report) = bed.finish().await?;
            same(Bed::<T>::outputs(0..count), got, T::ORDERED)
                .map_err(|unmet| Unmet::Failed(format!("after {count} records: {unmet}")))?;
            ensure!(report.end == PipelineEnd::Completed, "after {count} records the pipeline {}", report.end);
            Ok(())
        })?;
    }
    Ok(())
}

/// A failure of the source is the failure of the pipeline, with its cause; nothing goes missing in the accounts.
pub fn c12_a_failure_upstream_comes_through_behind_the_data<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        bed.sink.request(u64::MAX);
        bed.push(0..2 * READ);
        rest().await;
        bed.source.fail("the cable is cut");
        let report = wait(bed.running).await?;
        let said = matches!(&report.end, PipelineEnd::Failed { cause, .. } if cause.as_str().contains("cable"));
        ensure!(said, "the source failed, and the pipeline {}", report.end);
        balanced(&report.ledger, &bed.memory)?;
        if T::MAY_HOLD == 0 {
            same(Bed::<T>::outputs(0..2 * READ), bed.sink.arrived(), T::ORDERED)?;
        }
        Ok(())
    })
}

/// A record that becomes very many: they come out in bounded steps, the memory in use stays small, and no input is
/// taken before they are out.
pub fn c27_expansion_is_bounded<T: TransformUnderTest>() -> Checked {
    let Some((bulk, count)) = T::bulk() else { return Err(lacks("bulk", "a record becomes at most one")) };
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        bed.source.push(bulk);
        bed.push(0..SOME);
        rest().await;
        let most = kib(512);
        let used = bed.memory.used();
        ensure!(used <= most, "one record that becomes {count} keeps {used} charged while nobody takes them");
        let ledger = bed.running.view().ledger();
        let first = ledger.stages.iter().find(|(_, kind, _)| *kind == FlowKind::Transform);
        let taken = first.map_or(0, |(_, _, flows)| flows.input.get());
        ensure!(taken == 1, "with the expansion of one record unfinished, it has taken {taken}");
        let (got, _) = bed.finish().await?;
        let expected = count + Bed::<T>::outputs(0..SOME).len();
        ensure!(got.len() == expected, "{expected} were to come out and {} did", got.len());
        Ok(())
    })
}

/// The records of the largest batch that the transform may have in hand, before or after its work.
fn largest_batch<T: TransformUnderTest>() -> u64 {
    let made = |first: u64| (first..first + READ).map(|number| T::outputs(number).len() as u64).sum();
    (0..SOME / READ).map(|read| made(read * READ)).max().unwrap_or(0).max(READ)
}

/// The first of these records that makes an output.
fn first_emitting<T: TransformUnderTest>() -> u64 {
    (0..SOME).find(|number| !T::outputs(*number).is_empty()).unwrap_or(SOME)
}

/// Behind a source that is always ready and before a sink that always takes, it lets other tasks run.
pub fn c42_an_endless_source_leaves_its_neighbours_their_turns<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let (memory, builder) = builder();
        let flow = builder
            .source("source", source::iter((0..SOME).cycle().map(T::record)))
            .edge(EdgeSpec::new("in").records(WINDOW));
        let taken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&taken);
        T::attach(flow, EdgeSpec::new("out").records(WINDOW)).sink(
            "sink",
            sink::for_each(move |_: T::Out| {
                count.fetch_add(1, Ordering::Relaxed);
            }),
        );
        let running = start(&builder)?;
        // That this loop comes to its end is what is checked: a stage that never gives way would hold it for ever.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let taken = taken.load(Ordering::Relaxed);
        let read = running.view().ledger().total().accepted.get();
        ensure!(read < 100_000, "in 20 turns of its neighbour {read} records were read");
        ensure!(taken > 0 || first_emitting::<T>() == SOME, "in 20 turns nothing came out");
        let report = within(LONG, running.drain(Duration::from_secs(60))).await;
        let report = report.map_err(|()| Unmet::Failed("it outlives the deadline of its drain".to_owned()))?;
        balanced(&report.ledger, &memory)
    })
}

/// Of every stage, the times in all states are together the time that has passed.
pub fn c43_the_time_of_every_stage_adds_up<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        bed.push(0..SOME);
        for _ in 0..20 {
            bed.sink.request(2);
            tokio::time::sleep(Duration::from_secs(7)).await;
            for times in bed.running.view().times() {
                ensure!(
                    times.total() == times.window(),
                    "a stage accounts for {:?} of {:?}",
                    times.total(),
                    times.window()
                );
            }
        }
        bed.finish().await.map(drop)
    })
}
