//! The checks of transforms that watch what is settled and committed, and when.

use std::time::Duration;

use tidegate_flow::{EdgeSpec, OnFull, Outcome};
use tidegate_runtime::Branch;
use tidegate_runtime::testkit::{TestSink, TestSource};

use super::super::TransformUnderTest;
use super::super::bed::{Bed, READ, WINDOW, builder, rest, start};
use super::{SOME, first_emitting};
use crate::check::{Checked, ensure, in_virtual_time};

/// While the sink has accepted nothing, no position is committed past a record that made an output.
pub fn c30_nothing_is_settled_as_delivered_before_the_sink_accepts<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        bed.push(0..SOME);
        rest().await;
        let (position, first) = (bed.source.position(), first_emitting::<T>());
        ensure!(position <= first, "the sink accepted nothing, and position {position} was committed");
        let delivered = bed.running.view().ledger().total().ended.get(Outcome::Delivered);
        ensure!(delivered.is_zero(), "the sink accepted nothing, and {delivered} count as delivered");
        bed.finish().await.map(drop)
    })
}

/// Positions only go up, and the last one is that of the last record.
pub fn c32_positions_are_committed_in_order<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let bed = Bed::<T>::new()?;
        let source = bed.source.clone();
        bed.push(0..SOME);
        for _ in 0..SOME {
            bed.sink.request(3);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bed.finish().await?;
        let positions: Vec<u64> = source.settled().iter().map(|settled| settled.position).collect();
        ensure!(positions.is_sorted_by(|a, b| a < b), "positions were committed in this order: {positions:?}");
        ensure!(positions.last() == Some(&SOME), "the last position is {:?}, not {SOME}", positions.last());
        Ok(())
    })
}

/// In one branch of a fork: what the other branch has delivered is not settled before this one has, and a best-effort
/// branch holds nothing up.
pub fn c34_a_fork_settles_after_all_required_branches<T: TransformUnderTest>() -> Checked {
    in_virtual_time(async {
        let (memory, builder) = builder();
        let (source, sink) = (TestSource::<T::In>::new(), TestSink::<T::Out>::new());
        let (other, spare) = (TestSink::<T::In>::new(), TestSink::<T::In>::new());
        let lossy = EdgeSpec::new("spare").records(READ).on_full(OnFull::DropNewest);
        let [branch, rest_branch, spare_branch] = builder.source("source", source.source()).fork([
            Branch::required(EdgeSpec::new("in").records(WINDOW)),
            Branch::required("other"),
            Branch::best_effort(lossy),
        ]);
        T::attach(branch, EdgeSpec::new("out").records(WINDOW)).sink("sink", sink.sink());
        rest_branch.sink("other-sink", other.sink());
        spare_branch.sink("spare-sink", spare.sink());
        other.request(u64::MAX);
        let bed = Bed::<T> { memory, source, sink, running: start(&builder)? };
        bed.push(0..SOME);
        rest().await;
        let (position, first) = (bed.source.position(), first_emitting::<T>());
        ensure!(position <= first, "one required branch delivered nothing, and position {position} was committed");
        bed.sink.request(u64::MAX);
        rest().await;
        let position = bed.source.position();
        ensure!(position == SOME || T::MAY_HOLD > 0, "a best-effort branch that takes nothing stops it at {position}");
        spare.request(u64::MAX);
        let source = bed.source.clone();
        bed.finish().await?;
        ensure!(source.position() == SOME, "at the end, position {} of {SOME} was committed", source.position());
        Ok(())
    })
}
