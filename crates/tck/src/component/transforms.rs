//! The checks of transforms.

use std::time::Duration;

use tidegate_flow::{Budget, Bytes, Outcome};
use tidegate_runtime::{PipelineEnd, Report, Running};

use super::bed::{
    AMPLE, LONG, MOMENTS, balanced, builder, drain, held, outcomes, reserved, rest, run, same, same_metrics, start,
    taken, wait,
};
use super::{Probe, READ, SOME, Script, TransformComponent, Wired};
use crate::check::{Check, Checked, Unmet, ensure};

/// The list of all checks of transforms as components. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __transform_component_checks {
    (list $mode:ident $subject:ty) => {
        $crate::__checks! { $mode component transforms $subject;
            c1_takes_no_more_than_it_has_room_for
            c2_a_stop_at_any_moment_returns_everything
            c2_a_lost_consumer_returns_everything
            c3_settles_each_record_once
            c4_drains_what_it_has
            c4_a_drain_ends_by_its_deadline
            c5_completes_within_what_its_plan_reserves
            c6_has_exactly_the_declared_metrics
            c8_same_input_same_result
        }
    };
}

/// Every check, tied to one subject.
#[must_use]
pub fn all<T: TransformComponent>() -> Vec<Check> {
    __transform_component_checks!(list table T)
}

/// The transform between a script and a probe.
struct Bed<T: TransformComponent> {
    memory: Budget,
    script: Script<T::Traffic>,
    probe: Probe,
    run: T::Run,
    running: Running,
}

impl<T: TransformComponent> Bed<T> {
    fn new(limit: Bytes, held: bool) -> Result<Self, Unmet> {
        let (memory, builder) = builder(limit);
        let (script, probe) = (Script::new(), Probe::new(held));
        let run = T::wire(&builder, script.source(), probe.sink());
        Ok(Self { memory, script, probe, run, running: start(&builder)? })
    }

    /// Takes everything to the end, and gives what came out.
    async fn finish(self) -> Result<(Vec<String>, Report), Unmet> {
        self.script.end();
        self.probe.open();
        let report = wait(self.running).await?;
        balanced(&report.ledger, &self.memory)?;
        Ok((self.probe.texts(), report))
    }
}

/// With a consumer that takes nothing it comes to rest, holds what it declares and the batch at hand, and has its source
/// wait; everything is settled once the consumer takes.
pub fn c1_takes_no_more_than_it_has_room_for<T: TransformComponent>() -> Checked {
    run(false, async {
        let bed = Bed::<T>::new(AMPLE, true)?;
        bed.script.push(0..4 * SOME);
        let view = bed.running.view();
        rest(false, "a record to be taken", || taken(&view.ledger(), "subject")).await?;
        let (held, most) = (held(&view.ledger(), "subject"), T::MAY_HOLD + READ);
        ensure!(held <= most, "nobody takes its output, and it holds {held} records; it declares {most}");
        let delivered = view.ledger().total().ended.get(Outcome::Delivered).get();
        ensure!(delivered == 0, "nobody takes its output, and {delivered} records count as delivered");
        let (_, report) = bed.finish().await?;
        let accepted = report.ledger.total().accepted.get();
        ensure!(accepted == 4 * SOME, "of {} records {accepted} were read in the end", 4 * SOME);
        Ok(())
    })
}

/// Stopped after any number of turns: both laws hold, every byte comes back, and what counts as delivered arrived.
pub fn c2_a_stop_at_any_moment_returns_everything<T: TransformComponent>() -> Checked {
    for turns in MOMENTS {
        run(false, async {
            let bed = Bed::<T>::new(AMPLE, false)?;
            bed.script.push(0..SOME);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let report = bed.running.stop().await;
            balanced(&report.ledger, &bed.memory)
                .map_err(|unmet| Unmet::Failed(format!("stopped after {turns} turns: {unmet}")))?;
            let (delivered, arrived) =
                (report.ledger.total().ended.get(Outcome::Delivered).get(), bed.probe.texts().len() as u64);
            ensure!(delivered <= arrived, "{delivered} count as delivered, and {arrived} arrived");
            Ok(())
        })?;
    }
    Ok(())
}

/// When its consumer goes away, the pipeline ends by itself and everything is accounted for.
pub fn c2_a_lost_consumer_returns_everything<T: TransformComponent>() -> Checked {
    run(false, async {
        let bed = Bed::<T>::new(AMPLE, true)?;
        bed.script.push(0..SOME);
        let view = bed.running.view();
        rest(false, "a record to be taken", || taken(&view.ledger(), "subject")).await?;
        bed.probe.go_away();
        bed.script.end();
        let report = wait(bed.running).await?;
        balanced(&report.ledger, &bed.memory)
    })
}

/// Every record that was read is settled once, its source is told, and as many are delivered as arrived, or fewer where
/// one goes several ways.
pub fn c3_settles_each_record_once<T: TransformComponent>() -> Checked {
    run(false, async {
        let bed = Bed::<T>::new(AMPLE, false)?;
        let script = Script(std::sync::Arc::clone(&bed.script.0));
        bed.script.push(0..SOME);
        let (got, report) = bed.finish().await?;
        let settled = script.settled();
        let told: u64 = settled.iter().map(|settled| settled.counts.total().get()).sum();
        ensure!(told == SOME, "of {SOME} records the source was told of {told}");
        let position = settled.last().map_or(0, |settled| settled.position);
        ensure!(position == SOME, "the last position is {position}, not {SOME}");
        let total = report.ledger.total();
        let delivered = total.ended.get(Outcome::Delivered).get();
        ensure!(delivered <= got.len() as u64, "{delivered} count as delivered, and {} arrived", got.len());
        let lost = SOME - delivered;
        let explained: u64 = [Outcome::Filtered, Outcome::Absorbed, Outcome::Shed]
            .iter()
            .map(|outcome| total.ended.get(*outcome).get())
            .sum();
        ensure!(lost == explained, "{lost} were not delivered, and of {explained} it is said why: {:?}", total.ended);
        Ok(())
    })
}

/// Told to drain with a willing consumer, it sends on what it has and completes.
pub fn c4_drains_what_it_has<T: TransformComponent>() -> Checked {
    run(false, async {
        let bed = Bed::<T>::new(AMPLE, false)?;
        bed.script.push(0..SOME);
        let view = bed.running.view();
        rest(false, "a record to be taken", || taken(&view.ledger(), "subject")).await?;
        let report = drain(bed.running, LONG / 2).await?;
        ensure!(report.end == PipelineEnd::Completed, "drained with a willing consumer, it {}", report.end);
        balanced(&report.ledger, &bed.memory)
    })
}

/// Told to drain with a consumer that takes nothing, it ends by the deadline with everything accounted for.
pub fn c4_a_drain_ends_by_its_deadline<T: TransformComponent>() -> Checked {
    run(false, async {
        let bed = Bed::<T>::new(AMPLE, true)?;
        bed.script.push(0..SOME);
        let view = bed.running.view();
        rest(false, "a record to be taken", || taken(&view.ledger(), "subject")).await?;
        let report = drain(bed.running, Duration::from_secs(5)).await?;
        balanced(&report.ledger, &bed.memory)
    })
}

/// With a budget of exactly what its plan reserves it gets everything done, and no more is ever charged.
pub fn c5_completes_within_what_its_plan_reserves<T: TransformComponent>() -> Checked {
    run(false, async {
        let (_memory, draft) = builder(AMPLE);
        drop(T::wire(&draft, Script::new().source(), Probe::new(false).sink()));
        let limit = reserved(&draft)?;
        drop(draft);
        let bed = Bed::<T>::new(limit, false)?;
        bed.script.push(0..SOME);
        let (_, report) = bed.finish().await?;
        let accepted = report.ledger.total().accepted.get();
        ensure!(accepted == SOME, "of {SOME} records {accepted} were read in the end");
        ensure!(report.peak <= limit, "{limit} are reserved, and {} were charged at once", report.peak);
        Ok(())
    })
}

/// The metrics that it declares are there from its start, and no others are at its end.
pub fn c6_has_exactly_the_declared_metrics<T: TransformComponent>() -> Checked {
    run(false, async {
        let bed = Bed::<T>::new(AMPLE, false)?;
        same_metrics(T::declared(), bed.run.metrics())?;
        bed.script.push(0..SOME);
        bed.script.end();
        wait(bed.running).await?;
        same_metrics(T::declared(), bed.run.metrics())
    })
}

/// The same records come out and end in the same way when they are sent again.
pub fn c8_same_input_same_result<T: TransformComponent>() -> Checked {
    let mut last: Option<(Vec<String>, String)> = None;
    for _ in 0..2 {
        run(false, async {
            let bed = Bed::<T>::new(AMPLE, false)?;
            bed.script.push(0..SOME);
            let (got, report) = bed.finish().await?;
            let ended = outcomes(&report.ledger);
            if let Some((before, ended_before)) = last.replace((got.clone(), ended.clone())) {
                same(before, got)?;
                ensure!(ended_before == ended, "the first time {ended_before}; the second {ended}");
            }
            Ok(())
        })?;
    }
    Ok(())
}
