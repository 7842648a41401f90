//! The checks of sinks.

use std::future::Future;
use std::time::Duration;

use tidegate_flow::{Budget, Bytes, NackKind, Outcome};
use tidegate_runtime::{PipelineEnd, Report, Running};

use super::bed::{
    AMPLE, LONG, MOMENTS, balanced, builder, drain, held, outcomes, reserved, rest, run, same, same_metrics, start,
    taken, until, wait,
};
use super::{Receiving, SOME, Script, SinkComponent, Traffic, Wired};
use crate::check::{Check, Checked, Unmet, ensure};

/// The list of all checks of sinks as components. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __sink_component_checks {
    (list $mode:ident $subject:ty) => {
        $crate::__checks! { $mode component sinks $subject;
            c1_takes_no_more_than_it_has_room_for
            c2_a_stop_at_any_moment_returns_everything
            c3_settles_each_record_once
            c3_a_refusal_carries_its_cause_and_kind
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
pub fn all<S: SinkComponent>() -> Vec<Check> {
    __sink_component_checks!(list table S)
}

/// The sink behind a script.
struct Bed<S: SinkComponent> {
    memory: Budget,
    script: Script<S::Traffic>,
    run: S::Run,
    running: Running,
}

impl<S: SinkComponent> Bed<S> {
    async fn new(limit: Bytes) -> Result<Self, Unmet> {
        let (memory, builder) = builder(limit);
        let script = Script::new();
        let run = S::wire(&builder, script.source()).await;
        Ok(Self { memory, script, run, running: start(&builder)? })
    }

    /// Lets everything be taken to the end, and gives what arrived.
    async fn finish(self) -> Result<(Vec<String>, Report), Unmet> {
        self.script.end();
        let report = wait(self.running).await?;
        balanced(&report.ledger, &self.memory)?;
        let delivered = report.ledger.total().ended.get(Outcome::Delivered).get();
        arrive::<S>(&self.run, delivered).await?;
        Ok((self.run.received(), report))
    }
}

/// Waits until the receiver has so many: what the kernel has accepted for it is on its way.
async fn arrive<S: SinkComponent>(run: &S::Run, records: u64) -> Checked {
    let what = format!("{records} delivered records to arrive");
    until(S::REAL_TIME, &what, || run.received().len() as u64 >= records).await
}

fn texts<T: Traffic>(records: u64) -> Vec<String> {
    T::texts(&T::records(0..records))
}

fn checked<S: SinkComponent>(check: impl Future<Output = Checked>) -> Checked {
    run(S::REAL_TIME, check)
}

/// Why a check of a receiver that takes nothing says nothing about `S`; `None` where it does.
fn always_takes<S: SinkComponent>() -> Option<Unmet> {
    let why = "its receiver always takes".to_owned();
    (!S::CAN_HOLD).then(|| Unmet::NotApplicable { feature: "receiver that can be held".to_owned(), why })
}

/// With a receiver that takes nothing, it has no more in hand than it declares, and all of it arrives afterwards, once.
pub fn c1_takes_no_more_than_it_has_room_for<S: SinkComponent>() -> Checked {
    if let Some(unmet) = always_takes::<S>() {
        return Err(unmet);
    }
    checked::<S>(async {
        let bed = Bed::<S>::new(AMPLE).await?;
        bed.run.hold(true);
        bed.script.push(0..SOME);
        let view = bed.running.view();
        rest(S::REAL_TIME, "a record to be taken", || taken(&view.ledger(), "sink")).await?;
        let (held, most) = (held(&view.ledger(), "sink"), S::IN_HAND);
        ensure!(held <= most, "nobody takes, and it has {held} records in hand; it declares {most}");
        bed.run.hold(false);
        let (got, _) = bed.finish().await?;
        same(texts::<S::Traffic>(SOME), got)
    })
}

/// Stopped after any number of turns, both laws hold, every byte comes back, and what counts as delivered arrives.
pub fn c2_a_stop_at_any_moment_returns_everything<S: SinkComponent>() -> Checked {
    for turns in MOMENTS {
        checked::<S>(async {
            let Bed { memory, script, run, running } = Bed::<S>::new(AMPLE).await?;
            script.push(0..SOME);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let report = running.stop().await;
            // What was handed to a thread gives its memory back when that is done.
            until(S::REAL_TIME, "memory to be given back", || memory.used().is_zero()).await?;
            balanced(&report.ledger, &memory)
                .map_err(|unmet| Unmet::Failed(format!("stopped after {turns} turns: {unmet}")))?;
            arrive::<S>(&run, report.ledger.total().ended.get(Outcome::Delivered).get()).await
        })?;
    }
    Ok(())
}

/// Every record arrives once, and its source is told.
pub fn c3_settles_each_record_once<S: SinkComponent>() -> Checked {
    checked::<S>(async {
        let bed = Bed::<S>::new(AMPLE).await?;
        let script = Script(std::sync::Arc::clone(&bed.script.0));
        bed.script.push(0..SOME);
        let (got, report) = bed.finish().await?;
        same(texts::<S::Traffic>(SOME), got)?;
        let delivered = report.ledger.total().ended.get(Outcome::Delivered).get();
        ensure!(delivered == SOME, "of {SOME} records {delivered} count as delivered");
        let told: u64 = script.settled().iter().map(|settled| settled.counts.total().get()).sum();
        ensure!(told == SOME, "of {SOME} records the source was told of {told}");
        Ok(())
    })
}

/// A record that is refused for good goes back to its source with the cause; its neighbours arrive, once.
pub fn c3_a_refusal_carries_its_cause_and_kind<S: SinkComponent>() -> Checked {
    if S::poison().is_none() {
        let why = "it takes every record".to_owned();
        return Err(Unmet::NotApplicable { feature: "poison".to_owned(), why });
    }
    checked::<S>(async {
        let bed = Bed::<S>::new(AMPLE).await?;
        let script = Script(std::sync::Arc::clone(&bed.script.0));
        bed.script.push(0..8);
        S::poison().into_iter().for_each(|poison| bed.script.push_batch(poison));
        bed.script.push(8..16);
        let (got, report) = bed.finish().await?;
        same(texts::<S::Traffic>(16), got)?;
        let returned = report.ledger.total().ended.get(Outcome::Returned).get();
        ensure!(returned == 1, "one record is at fault, and {returned} were returned");
        let nacks: Vec<_> = script.settled().into_iter().filter_map(|settled| settled.nack).collect();
        let clear = nacks.iter().all(|nack| nack.kind == NackKind::Permanent && !nack.cause.as_str().is_empty());
        ensure!(nacks.len() == 1 && clear, "one nack is to say why, and that it is for good: {nacks:?}");
        ensure!(report.end == PipelineEnd::Completed, "one record at fault ended the pipeline: {}", report.end);
        Ok(())
    })
}

/// Told to drain with a willing receiver, it delivers what it has and completes.
pub fn c4_drains_what_it_has<S: SinkComponent>() -> Checked {
    checked::<S>(async {
        let bed = Bed::<S>::new(AMPLE).await?;
        bed.script.push(0..SOME);
        let view = bed.running.view();
        rest(S::REAL_TIME, "a record to be taken", || taken(&view.ledger(), "sink")).await?;
        let report = drain(bed.running, LONG / 2).await?;
        ensure!(report.end == PipelineEnd::Completed, "drained with a willing receiver, it {}", report.end);
        balanced(&report.ledger, &bed.memory)?;
        arrive::<S>(&bed.run, report.ledger.total().ended.get(Outcome::Delivered).get()).await
    })
}

/// Told to drain with a receiver that takes nothing, it ends by the deadline; what it had counts as given up or back.
pub fn c4_a_drain_ends_by_its_deadline<S: SinkComponent>() -> Checked {
    if let Some(unmet) = always_takes::<S>() {
        return Err(unmet);
    }
    checked::<S>(async {
        let Bed { memory, script, run, running } = Bed::<S>::new(AMPLE).await?;
        run.hold(true);
        script.push(0..SOME);
        let view = running.view();
        rest(S::REAL_TIME, "a record to be taken", || taken(&view.ledger(), "sink")).await?;
        let report = drain(running, Duration::from_millis(50)).await?;
        run.hold(false);
        until(S::REAL_TIME, "memory to be given back", || memory.used().is_zero()).await?;
        balanced(&report.ledger, &memory)
    })
}

/// With a budget of exactly what its plan reserves it gets everything done, and no more is ever charged.
pub fn c5_completes_within_what_its_plan_reserves<S: SinkComponent>() -> Checked {
    checked::<S>(async {
        let (_memory, draft) = builder(AMPLE);
        let spare = S::wire(&draft, Script::new().source()).await;
        let limit = reserved(&draft)?;
        drop((spare, draft));
        let bed = Bed::<S>::new(limit).await?;
        bed.script.push(0..SOME);
        let (got, report) = bed.finish().await?;
        same(texts::<S::Traffic>(SOME), got)?;
        ensure!(report.peak <= limit, "{limit} are reserved, and {} were charged at once", report.peak);
        Ok(())
    })
}

/// The metrics that it declares are there from its start, and no others are at its end.
pub fn c6_has_exactly_the_declared_metrics<S: SinkComponent>() -> Checked {
    checked::<S>(async {
        let bed = Bed::<S>::new(AMPLE).await?;
        same_metrics(S::declared(), bed.run.metrics())?;
        bed.script.push(0..SOME);
        bed.script.end();
        wait(bed.running).await?;
        same_metrics(S::declared(), bed.run.metrics())
    })
}

/// The same records arrive and end in the same way when they are sent again.
pub fn c8_same_input_same_result<S: SinkComponent>() -> Checked {
    let mut last: Option<(Vec<String>, String)> = None;
    for _ in 0..2 {
        checked::<S>(async {
            let bed = Bed::<S>::new(AMPLE).await?;
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
