//! The checks of sources.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, Outcome, Payload as _, Weight};
use tidegate_runtime::testkit::drop_at_every_await;
use tidegate_runtime::{Flow, PipelineBuilder, PipelineEnd, Readiness, Source, sink};

use super::SourceUnderTest;
use super::bed::{LONG, READ, WINDOW, balanced, builder, rest, start, wait};
use crate::check::{Check, Checked, Dice, Unmet, ensure, in_virtual_time, within};

/// The list of all checks of sources. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __source_checks {
    (list $mode:ident $subject:ty) => {
        $crate::__checks! { $mode stage sources $subject;
            c1_reads_no_more_than_the_room
            c1_reads_no_further_than_the_windows_when_nothing_is_taken
            c2_a_stop_at_any_moment_returns_all_memory
            c3_every_record_is_settled_once
            c4_obeys_the_intake
            c8_same_source_same_records
            c10_the_end_is_the_end
            c18_a_cancelled_wait_loses_and_repeats_nothing
            c42_leaves_its_neighbours_their_turns
        }
    };
}

/// Every check, tied to one subject.
#[must_use]
pub fn all<S: SourceUnderTest>() -> Vec<Check> {
    __source_checks!(list table S)
}

const SOME: u64 = 200;

/// Reads to the end, with random room.
async fn read_all<S: SourceUnderTest>(
    source: &mut impl Source<Payload = Items<S::Record>>,
    seed: u64,
) -> Result<Vec<u64>, Unmet> {
    let (mut dice, mut numbers) = (Dice::new(seed), Vec::new());
    loop {
        let ready = within(LONG, source.ready()).await;
        match ready.map_err(|()| Unmet::Failed(format!("after {} records it hangs", numbers.len())))? {
            Ok(Readiness::Ready) => {}
            Ok(Readiness::Ended) => return Ok(numbers),
            Err(cause) => return Err(Unmet::Failed(format!("it failed: {cause}"))),
        }
        let room = Weight::new(1 + dice.below(20), 1 + dice.below(400));
        let pull = source.read(room, Items::default()).map_err(|cause| Unmet::Failed(format!("it failed: {cause}")))?;
        let weight = pull.payload.weight();
        ensure!(weight.records <= room.records, "with room for {} it read {}", room.records, weight.records);
        let last = pull.payload.as_slice().last().map_or(0, |record| tidegate_flow::Weigh::weigh(record) as u64);
        ensure!(
            weight.bytes.get() < room.bytes.get() + last.max(1) || pull.payload.len() == 1,
            "with room for {} it read {}, and went on when it was full",
            room.bytes,
            weight.bytes
        );
        numbers.extend(pull.payload.as_slice().iter().map(S::number));
    }
}

/// A read gives at most the records there is room for, and no further record once the bytes are used up; all records
/// come, in order.
pub fn c1_reads_no_more_than_the_room<S: SourceUnderTest>() -> Checked {
    for seed in 0..10 {
        in_virtual_time(async {
            let mut source = S::make(Some(SOME));
            let numbers = read_all::<S>(&mut source, seed).await?;
            ensure!(numbers.iter().copied().eq(0..SOME), "seed {seed}: of 0 to {SOME} it read {numbers:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// The source, an edge, and a sink that writes down numbers once `open` says so.
fn flow_of<S: SourceUnderTest>(builder: &PipelineBuilder, records: Option<u64>, open: bool) -> Arc<Mutex<Vec<u64>>> {
    let received = Arc::new(Mutex::new(Vec::new()));
    let writing = Arc::clone(&received);
    let flow = builder.source("source", S::make(records)).edge(EdgeSpec::new("out").records(WINDOW));
    if open {
        let write = move |record: S::Record| {
            writing.lock().unwrap_or_else(PoisonError::into_inner).push(S::number(&record));
        };
        Flow::sink(flow, "sink", sink::for_each(write));
    } else {
        Flow::sink(flow, "sink", tidegate_runtime::testkit::peers::grants_then_vanishes(0));
    }
    received
}

/// With a sink that takes nothing, no more is read than the edge, the sink and the source hold.
pub fn c1_reads_no_further_than_the_windows_when_nothing_is_taken<S: SourceUnderTest>() -> Checked {
    in_virtual_time(async {
        let (_, builder) = builder();
        flow_of::<S>(&builder, None, false);
        let running = start(&builder)?;
        rest().await;
        let read = running.view().ledger().total().accepted.get();
        let most = WINDOW + 2 * READ;
        ensure!(read <= most, "nothing is taken, and {read} records were read; there is room for {most}");
        Ok(())
    })
}

/// Stopped after any number of turns, both laws hold and every byte comes back.
pub fn c2_a_stop_at_any_moment_returns_all_memory<S: SourceUnderTest>() -> Checked {
    for turns in 0..40 {
        in_virtual_time(async {
            let (memory, builder) = builder();
            flow_of::<S>(&builder, Some(SOME), true);
            let running = start(&builder)?;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            balanced(&running.stop().await.ledger, &memory)
        })?;
    }
    Ok(())
}

/// Read to its end, every record is delivered and settled, once and in order.
pub fn c3_every_record_is_settled_once<S: SourceUnderTest>() -> Checked {
    in_virtual_time(async {
        let (memory, builder) = builder();
        let received = flow_of::<S>(&builder, Some(SOME), true);
        let report = wait(start(&builder)?).await?;
        balanced(&report.ledger, &memory)?;
        let numbers = received.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(numbers.iter().copied().eq(0..SOME), "of 0 to {SOME} there came {numbers:?}");
        let total = report.ledger.total();
        let delivered = total.ended.get(Outcome::Delivered).get();
        ensure!(delivered == SOME && total.accepted.get() == SOME, "of {SOME} records {:?}", total);
        Ok(())
    })
}

/// A source without an end stops when the intake is shut, by the deadline, and all that it read is settled.
pub fn c4_obeys_the_intake<S: SourceUnderTest>() -> Checked {
    in_virtual_time(async {
        let (memory, builder) = builder();
        flow_of::<S>(&builder, None, true);
        let running = start(&builder)?;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let report = within(LONG, running.drain(Duration::from_secs(5))).await;
        let report = report.map_err(|()| Unmet::Failed("it outlives the deadline of its drain".to_owned()))?;
        ensure!(report.end == PipelineEnd::Completed, "drained, it {}", report.end);
        balanced(&report.ledger, &memory)
    })
}

/// Two sources made alike give the same records.
pub fn c8_same_source_same_records<S: SourceUnderTest>() -> Checked {
    in_virtual_time(async {
        let first = read_all::<S>(&mut S::make(Some(SOME)), 1).await?;
        let second = read_all::<S>(&mut S::make(Some(SOME)), 1).await?;
        ensure!(first == second, "{first:?} the first time, {second:?} the second");
        Ok(())
    })
}

/// Once it has ended it says so again.
pub fn c10_the_end_is_the_end<S: SourceUnderTest>() -> Checked {
    in_virtual_time(async {
        let mut source = S::make(Some(3));
        read_all::<S>(&mut source, 1).await?;
        for _ in 0..3 {
            let again = within(LONG, source.ready()).await;
            ensure!(matches!(again, Ok(Ok(Readiness::Ended))), "after its end it says {again:?}");
        }
        Ok(())
    })
}

/// A wait for records dropped at any await has taken none.
pub fn c18_a_cancelled_wait_loses_and_repeats_nothing<S: SourceUnderTest>() -> Checked {
    in_virtual_time(async {
        let mut checked = Ok(());
        drop_at_every_await(
            || S::make(Some(10)),
            async |source| drop(source.ready().await),
            async |mut source, cut| {
                let read = read_all::<S>(&mut source, 1).await;
                if checked.is_ok() {
                    checked = read.and_then(|numbers| {
                        ensure!(numbers.iter().copied().eq(0..10), "{cut:?}: of 0 to 9 it gave {numbers:?}");
                        Ok(())
                    });
                }
            },
        )
        .await;
        checked
    })
}

/// A source that always has something lets other tasks run.
pub fn c42_leaves_its_neighbours_their_turns<S: SourceUnderTest>() -> Checked {
    in_virtual_time(async {
        let mut source = S::make(None);
        let reading = tokio::spawn(async move {
            for _ in 0..10_000 {
                drop(source.ready().await);
                drop(source.read(Weight::new(1, 1), Items::default()));
            }
        });
        let mut turns = 0;
        while !reading.is_finished() && turns < 1_000 {
            tokio::task::yield_now().await;
            turns += 1;
        }
        reading.abort();
        ensure!(turns > 10, "while 10000 records were read, a neighbour got {turns} turns");
        Ok(())
    })
}
