//! The checks of sources.

use std::future::Future;
use std::time::Duration;

use tidegate_flow::{Budget, Bytes, Outcome};
use tidegate_runtime::{PipelineEnd, Report, Running};

use super::bed::{
    AMPLE, LONG, MOMENTS, balanced, builder, drain, outcomes, reserved, rest, run, same, same_metrics, start, until,
    wait,
};
use super::{Probe, READ, SourceComponent, WINDOW, Wired};
use crate::check::{Check, Checked, Unmet, ensure};

/// The list of all checks of sources as components. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __source_component_checks {
    (list $mode:ident $subject:ty) => {
        $crate::__checks! { $mode component sources $subject;
            c1_reads_no_more_than_there_is_room_for
            c2_a_stop_at_any_moment_returns_everything
            c3_settles_each_record_once
            c4_obeys_the_intake
            c4_a_drain_ends_by_its_deadline
            c5_completes_within_what_its_plan_reserves
            c6_has_exactly_the_declared_metrics
            c8_same_input_same_result
        }
    };
}

/// Every check, tied to one subject.
#[must_use]
pub fn all<S: SourceComponent>() -> Vec<Check> {
    __source_component_checks!(list table S)
}

/// The source before a probe.
struct Bed<S: SourceComponent> {
    memory: Budget,
    probe: Probe,
    run: S::Run,
    running: Running,
}

impl<S: SourceComponent> Bed<S> {
    async fn new(limit: Bytes, held: bool) -> Result<Self, Unmet> {
        let (memory, builder) = builder(limit);
        let probe = Probe::new(held);
        let run = S::wire(&builder, probe.sink()).await;
        let running = start(&builder)?;
        S::started(&run, &running.view());
        Ok(Self { memory, probe, run, running })
    }

    /// Takes everything that is offered, and gives what came.
    async fn finish(self) -> Result<(Vec<String>, Report), Unmet> {
        let Self { memory, probe, run, running } = self;
        probe.open();
        let report = if S::ENDS {
            wait(running).await?
        } else {
            let what = format!("{} offered records to come", S::OFFERS);
            until(S::REAL_TIME, &what, || probe.texts().len() as u64 >= S::OFFERS).await?;
            drain(running, LONG / 2).await?
        };
        balanced(&report.ledger, &memory)?;
        ensure!(report.end == PipelineEnd::Completed, "the pipeline {}", report.end);
        drop(run);
        Ok((probe.texts(), report))
    }
}

fn checked<S: SourceComponent>(check: impl Future<Output = Checked>) -> Checked {
    run(S::REAL_TIME, check)
}

/// With a sink that takes nothing, no more is read than the edge, the sink and the source hold; and all of it comes
/// afterwards.
pub fn c1_reads_no_more_than_there_is_room_for<S: SourceComponent>() -> Checked {
    checked::<S>(async {
        let bed = Bed::<S>::new(AMPLE, true).await?;
        let view = bed.running.view();
        let accepted = || view.ledger().total().accepted.get();
        let read = rest(S::REAL_TIME, "a record to be read", accepted).await?;
        let most = WINDOW + READ + S::IN_HAND;
        ensure!(read <= most, "nothing is taken, and {read} records were read; there is room for {most}");
        let (got, _) = bed.finish().await?;
        ensure!(got.len() as u64 >= S::OFFERS, "of {} records {} came", S::OFFERS, got.len());
        Ok(())
    })
}

/// Stopped after any number of turns, both laws hold and every byte comes back.
pub fn c2_a_stop_at_any_moment_returns_everything<S: SourceComponent>() -> Checked {
    for turns in MOMENTS {
        checked::<S>(async {
            let Bed { memory, run, running, .. } = Bed::<S>::new(AMPLE, false).await?;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let report = running.stop().await;
            // What was handed to a thread gives its memory back when that is done.
            until(S::REAL_TIME, "memory to be given back", || memory.used().is_zero()).await?;
            drop(run);
            balanced(&report.ledger, &memory)
                .map_err(|unmet| Unmet::Failed(format!("stopped after {turns} turns: {unmet}")))
        })?;
    }
    Ok(())
}

/// Every record that is offered is read once, delivered and settled.
pub fn c3_settles_each_record_once<S: SourceComponent>() -> Checked {
    checked::<S>(async {
        let bed = Bed::<S>::new(AMPLE, false).await?;
        let (got, report) = bed.finish().await?;
        let total = report.ledger.total();
        let (accepted, delivered) = (total.accepted.get(), total.ended.get(Outcome::Delivered).get());
        ensure!(accepted == delivered, "{accepted} were read, and {delivered} delivered");
        ensure!(got.len() as u64 == delivered, "{delivered} count as delivered, and {} came", got.len());
        match S::expected() {
            Some(expected) => same(expected, got),
            None => Ok(()),
        }
    })
}

/// When the intake is shut nothing more is read, and what was read is settled.
pub fn c4_obeys_the_intake<S: SourceComponent>() -> Checked {
    checked::<S>(async {
        let Bed { memory, probe, run, running } = Bed::<S>::new(AMPLE, true).await?;
        let view = running.view();
        let accepted = || view.ledger().total().accepted.get();
        let before = rest(S::REAL_TIME, "a record to be read", accepted).await?;
        view.shut_intake();
        probe.open();
        let report = drain(running, LONG / 2).await?;
        drop(run);
        ensure!(report.end == PipelineEnd::Completed, "drained, it {}", report.end);
        let after = report.ledger.total().accepted.get();
        // One read may have been under way.
        let most = before + S::IN_HAND;
        ensure!(after <= most, "{before} records were read when the intake was shut, and {after} in the end");
        balanced(&report.ledger, &memory)
    })
}

/// Told to drain with a sink that takes nothing, it ends by the deadline with everything accounted for.
pub fn c4_a_drain_ends_by_its_deadline<S: SourceComponent>() -> Checked {
    checked::<S>(async {
        let Bed { memory, run, running, probe } = Bed::<S>::new(AMPLE, true).await?;
        let view = running.view();
        rest(S::REAL_TIME, "a record to be read", || view.ledger().total().accepted.get()).await?;
        let report = drain(running, Duration::from_millis(50)).await?;
        drop((run, probe));
        until(S::REAL_TIME, "memory to be given back", || memory.used().is_zero()).await?;
        balanced(&report.ledger, &memory)
    })
}

/// With a budget of exactly what its plan reserves it gets everything done, and no more is ever charged.
pub fn c5_completes_within_what_its_plan_reserves<S: SourceComponent>() -> Checked {
    checked::<S>(async {
        let (_memory, draft) = builder(AMPLE);
        let spare = S::wire(&draft, Probe::new(false).sink()).await;
        let limit = reserved(&draft)?;
        drop((spare, draft));
        let bed = Bed::<S>::new(limit, false).await?;
        let (got, report) = bed.finish().await?;
        ensure!(got.len() as u64 >= S::OFFERS, "of {} records {} came", S::OFFERS, got.len());
        ensure!(report.peak <= limit, "{limit} are reserved, and {} were charged at once", report.peak);
        Ok(())
    })
}

/// The metrics that it declares are there from its start, and no others are at its end.
pub fn c6_has_exactly_the_declared_metrics<S: SourceComponent>() -> Checked {
    checked::<S>(async {
        let Bed { probe, run, running, .. } = Bed::<S>::new(AMPLE, false).await?;
        same_metrics(S::declared(), run.metrics())?;
        until(S::REAL_TIME, "the records", || probe.texts().len() as u64 >= S::OFFERS).await?;
        drain(running, LONG / 2).await?;
        same_metrics(S::declared(), run.metrics())
    })
}

/// The same records come and end in the same way when they are offered again.
pub fn c8_same_input_same_result<S: SourceComponent>() -> Checked {
    if S::expected().is_none() {
        let why = "what it reads is different each time".to_owned();
        return Err(Unmet::NotApplicable { feature: "records that are known".to_owned(), why });
    }
    let mut last: Option<(Vec<String>, String)> = None;
    for _ in 0..2 {
        checked::<S>(async {
            let bed = Bed::<S>::new(AMPLE, false).await?;
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
