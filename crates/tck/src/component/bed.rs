//! The pipelines that components are put into: how they are run, and what must hold of them afterwards.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tidegate_flow::{Budget, Bytes, FlowKind, Ledger, Weight, kib, mib};
use tidegate_runtime::{Pipeline, PipelineBuilder, Report, Running};

use super::READ;
use crate::check::{Checked, Unmet, ensure, in_virtual_time, panic_text, within};

/// What is waited for does not come, where it takes longer: of whatever time the check runs in.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// After how many turns of the scheduler a run is stopped, to see whether everything comes back.
pub(super) const MOMENTS: [u32; 14] = [0, 1, 2, 3, 4, 5, 7, 10, 15, 25, 40, 70, 150, 400];

/// Runs a check in virtual time, or, for subjects with a world outside, in that of the machine; on one thread.
pub(super) fn run(real_time: bool, check: impl Future<Output = Checked>) -> Checked {
    if !real_time {
        return in_virtual_time(check);
    }
    if crate::check::only_asks() {
        return Ok(());
    }
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Unmet::Failed(format!("no runtime: {error}")))?;
        let checked = runtime.block_on(async {
            let hung = || Err(Unmet::Failed("it hangs: nobody is woken any more".to_owned()));
            tokio::time::timeout(2 * LONG, check).await.unwrap_or_else(|_| hung())
        });
        // A thread that waits for a receiver that is held may never end.
        runtime.shutdown_background();
        checked
    };
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic: Box<dyn Any + Send>| Err(Unmet::Failed(panic_text(&*panic))))
}

/// A memory pool, and a pipeline under construction that may have so much of it.
pub(super) fn builder(limit: Bytes) -> (Budget, PipelineBuilder) {
    let memory = Budget::new(mib(256));
    let builder = Pipeline::builder("under-test").budget_within(&memory, limit).batch(Weight::new(READ, kib(64).get()));
    (memory, builder)
}

/// More than any subject needs.
pub(super) const AMPLE: Bytes = mib(128);

pub(super) fn start(builder: &PipelineBuilder) -> Result<Running, Unmet> {
    builder.build().map(Pipeline::start).map_err(|errors| Unmet::Failed(format!("it cannot be built: {errors}")))
}

/// What the plan of a pipeline reserves.
pub(super) fn reserved(builder: &PipelineBuilder) -> Result<Bytes, Unmet> {
    let plan = builder.build().map_err(|errors| Unmet::Failed(format!("it cannot be built: {errors}")))?;
    Ok(plan.memory().sum())
}

/// Waits until the condition holds.
pub(super) async fn until(real_time: bool, what: &str, mut holds: impl FnMut() -> bool) -> Checked {
    let came = tokio::time::timeout(LONG, async {
        while !holds() {
            turn(real_time).await;
        }
    });
    came.await.map_err(|_| Unmet::Failed(format!("waited in vain for {what}")))
}

/// Lets others go on.
async fn turn(real_time: bool) {
    if real_time {
        tokio::task::yield_now().await;
    } else {
        // Virtual time passes when nothing else is to be done.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until a number has been above zero and the same for many turns: as far as anybody can tell, it is at rest.
pub(super) async fn rest(real_time: bool, what: &str, mut number: impl FnMut() -> u64) -> Result<u64, Unmet> {
    let (mut last, mut same) = (0, 0);
    let settled = until(real_time, what, || {
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        now > 0 && same > 500
    });
    settled.await?;
    Ok(last)
}

pub(super) async fn wait(running: Running) -> Result<Report, Unmet> {
    within(LONG, running.wait()).await.map_err(|()| Unmet::Failed("the pipeline does not come to its end".to_owned()))
}

/// Drains with a deadline that a subject with a willing receiver meets, or with one that nobody meets.
pub(super) async fn drain(running: Running, deadline: Duration) -> Result<Report, Unmet> {
    let drained = within(LONG, running.drain(deadline)).await;
    drained.map_err(|()| Unmet::Failed("it outlives the deadline of its drain".to_owned()))
}

/// Both laws hold, nothing is in flight, and every byte was given back.
pub(super) fn balanced(ledger: &Ledger, memory: &Budget) -> Checked {
    ledger.check().map_err(|imbalance| Unmet::Failed(format!("{imbalance}\n{ledger}")))?;
    let in_flight = ledger.total().in_flight;
    ensure!(in_flight.is_zero(), "{in_flight} were read and never settled:\n{ledger}");
    ensure!(memory.used().is_zero(), "{} are still charged after the end", memory.used());
    Ok(())
}

/// Records that the stage has taken and neither sent on nor given up.
pub(super) fn held(ledger: &Ledger, stage: &str) -> u64 {
    let found = ledger.stages.iter().find(|(name, kind, _)| name == stage && *kind != FlowKind::Edge);
    found.map_or(0, |(_, _, flows)| flows.held.get())
}

/// Records that the stage has taken.
pub(super) fn taken(ledger: &Ledger, stage: &str) -> u64 {
    let found = ledger.stages.iter().find(|(name, kind, _)| name == stage && *kind != FlowKind::Edge);
    found.map_or(0, |(_, _, flows)| flows.input.get())
}

/// The metrics are those that were declared.
pub(super) fn same_metrics(mut declared: Vec<String>, mut found: Vec<String>) -> Checked {
    declared.sort_unstable();
    found.sort_unstable();
    found.dedup();
    let missing: Vec<_> = declared.iter().filter(|name| !found.contains(name)).collect();
    ensure!(missing.is_empty(), "it declares {missing:?} and has no such metrics");
    let secret: Vec<_> = found.iter().filter(|name| !declared.contains(name)).collect();
    ensure!(secret.is_empty(), "it has the metrics {secret:?} and does not declare them");
    Ok(())
}

/// The two lists hold the same records, each as often, in any order.
pub(super) fn same(mut expected: Vec<String>, mut got: Vec<String>) -> Checked {
    expected.sort_unstable();
    got.sort_unstable();
    let at = expected.iter().zip(&got).position(|(expected, got)| expected != got);
    let at = at.unwrap_or(expected.len().min(got.len()));
    ensure!(
        expected == got,
        "{} were to arrive and {} did; the first difference: {:?} and {:?}",
        expected.len(),
        got.len(),
        expected.get(at),
        got.get(at)
    );
    Ok(())
}

/// How the records of a run ended: what must be the same in a second run.
pub(super) fn outcomes(ledger: &Ledger) -> String {
    let total = ledger.total();
    format!("{} accepted, {:?}", total.accepted, total.ended)
}
