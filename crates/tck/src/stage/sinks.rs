//! The checks of sinks.

use std::sync::PoisonError;
use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, Meta, NackKind, Outcome};
use tidegate_runtime::testkit::TestSource;
use tidegate_runtime::{Accepted, PipelineEnd, Running, Sink as _};

use super::bed::{LONG, READ, WINDOW, balanced, builder, reads, rest, start, wait};
use super::{Received, SinkUnderTest};
use crate::check::{Check, Checked, Unmet, ensure, in_virtual_time, within};

/// The list of all checks of sinks. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __sink_checks {
    (list $mode:ident $subject:ty) => {
        $crate::__checks! { $mode stage sinks $subject;
            c2_a_stop_at_any_moment_returns_all_memory
            c3_settles_each_record_once
            c3_a_refusal_carries_its_cause_and_kind
            c4_drains_by_its_deadline
            c12_what_was_sent_is_there_before_the_end
            c30_accepts_what_the_receiver_has
        }
    };
}

/// Every check, tied to one subject.
#[must_use]
pub fn all<S: SinkUnderTest>() -> Vec<Check> {
    __sink_checks!(list table S)
}

const SOME: u64 = 100;

/// The sink behind an edge and a scripted source.
struct Bed<S: SinkUnderTest> {
    memory: tidegate_flow::Budget,
    source: TestSource<S::Record>,
    received: Received,
    running: Running,
}

impl<S: SinkUnderTest> Bed<S> {
    fn new() -> Result<Self, Unmet> {
        let (memory, builder) = builder();
        let (source, received) = (TestSource::new(), Received::default());
        let flow = builder.source("source", source.source()).edge(EdgeSpec::new("in").records(WINDOW));
        flow.sink("sink", S::make(Received::clone(&received)));
        Ok(Self { memory, source, received, running: start(&builder)? })
    }

    fn push(&self, numbers: std::ops::Range<u64>) {
        reads(numbers).for_each(|read| self.source.push_all(read.map(S::record)));
    }
}

fn numbers(received: &Received) -> Vec<u64> {
    received.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Stopped after any number of turns, both laws hold, every byte comes back, and what counts as delivered was.
pub fn c2_a_stop_at_any_moment_returns_all_memory<S: SinkUnderTest>() -> Checked {
    for turns in 0..40 {
        in_virtual_time(async {
            let bed = Bed::<S>::new()?;
            bed.push(0..SOME);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let report = bed.running.stop().await;
            balanced(&report.ledger, &bed.memory)?;
            let delivered = report.ledger.total().ended.get(Outcome::Delivered).get();
            let received = numbers(&bed.received).len() as u64;
            ensure!(delivered <= received, "{delivered} count as delivered, and the receiver has {received}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Every record is delivered, once, in order, and its source told.
pub fn c3_settles_each_record_once<S: SinkUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<S>::new()?;
        bed.push(0..SOME);
        bed.source.end();
        let report = wait(bed.running).await?;
        balanced(&report.ledger, &bed.memory)?;
        let received = numbers(&bed.received);
        ensure!(received.iter().copied().eq(0..SOME), "of 0 to {SOME} the receiver has {received:?}");
        let settled: u64 = bed.source.settled().iter().map(|settled| settled.counts.total().get()).sum();
        ensure!(settled == SOME, "of {SOME} records the source was told of {settled}");
        let delivered = report.ledger.total().ended.get(Outcome::Delivered).get();
        ensure!(delivered == SOME, "of {SOME} records {delivered} count as delivered");
        Ok(())
    })
}

/// A record that the receiver refuses, or panics at, goes back for good with the cause; its neighbours arrive, once.
pub fn c3_a_refusal_carries_its_cause_and_kind<S: SinkUnderTest>() -> Checked {
    let Some(poison) = S::poison() else {
        let why = "its receiver takes everything".to_owned();
        return Err(Unmet::NotApplicable { feature: "poison".to_owned(), why });
    };
    in_virtual_time(async {
        let bed = Bed::<S>::new()?;
        bed.push(0..4);
        bed.source.push_all([S::record(4), poison, S::record(5)]);
        bed.push(6..12);
        bed.source.end();
        let report = wait(bed.running).await?;
        balanced(&report.ledger, &bed.memory)?;
        let mut received = numbers(&bed.received);
        received.sort_unstable();
        ensure!(
            received.iter().copied().eq(0..12),
            "one record is at fault; of the others the receiver has {received:?}"
        );
        let ended = report.ledger.total().ended;
        ensure!(ended.get(Outcome::Returned).get() == 1, "one record is at fault, and the records ended {ended:?}");
        let nacks: Vec<_> = bed.source.settled().into_iter().filter_map(|settled| settled.nack).collect();
        ensure!(nacks.len() == 1, "one record is at fault, and the source was told of {}", nacks.len());
        let clear = nacks.iter().all(|nack| nack.kind == NackKind::Permanent && !nack.cause.as_str().is_empty());
        ensure!(clear, "the nack does not say why, or says to try again: {nacks:?}");
        ensure!(report.end == PipelineEnd::Completed, "one record at fault ended the pipeline: {}", report.end);
        Ok(())
    })
}

/// Told to drain with work in flight, it ends by the deadline with everything settled.
pub fn c4_drains_by_its_deadline<S: SinkUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<S>::new()?;
        bed.push(0..SOME);
        rest().await;
        let report = within(LONG, bed.running.drain(Duration::from_secs(60))).await;
        let report = report.map_err(|()| Unmet::Failed("it outlives the deadline of its drain".to_owned()))?;
        ensure!(report.end == PipelineEnd::Completed, "drained, it {}", report.end);
        balanced(&report.ledger, &bed.memory)
    })
}

/// When the pipeline has ended, the receiver has everything.
pub fn c12_what_was_sent_is_there_before_the_end<S: SinkUnderTest>() -> Checked {
    for count in [0, 1, READ, READ + 1, 3 * WINDOW + 1] {
        in_virtual_time(async {
            let bed = Bed::<S>::new()?;
            bed.push(0..count);
            bed.source.end();
            let report = wait(bed.running).await?;
            ensure!(report.end == PipelineEnd::Completed, "after {count} records the pipeline {}", report.end);
            let received = numbers(&bed.received).len() as u64;
            ensure!(received == count, "at the end the receiver has {received} of {count}");
            Ok(())
        })?;
    }
    Ok(())
}

/// What it says it accepted is what the receiver has.
pub fn c30_accepts_what_the_receiver_has<S: SinkUnderTest>() -> Checked {
    in_virtual_time(async {
        let received = Received::default();
        let mut sink = S::make(Received::clone(&received));
        let records: Vec<S::Record> = (0..10).map(S::record).collect();
        let mut payload = Items::from(records);
        let answer = within(LONG, sink.deliver(&mut payload, &Meta::default())).await;
        ensure!(matches!(answer, Ok(Ok(Accepted::All))), "ten records that are not at fault: {answer:?}");
        let flushed = within(LONG, sink.flush()).await;
        ensure!(matches!(flushed, Ok(Ok(()))), "a flush gives {flushed:?}");
        let has = numbers(&received);
        ensure!(has.iter().copied().eq(0..10), "it accepted 0 to 9, and the receiver has {has:?}");
        let answer = within(LONG, sink.deliver(&mut Items::default(), &Meta::default())).await;
        ensure!(matches!(answer, Ok(Ok(Accepted::All))), "a batch of nothing: {answer:?}");
        Ok(())
    })
}
