//! A stage's context without a pipeline around it.

use std::sync::Arc;

use tidegate_flow::{AccountSpec, Budget, BudgetError, FlowCounter, StageClock, Time, Weight, kib, mib};

use crate::context::{StageContext, Supervision};
use crate::spares::SpareLists;

/// The context of a stage that belongs to no pipeline, to call a [`Transform`](crate::Transform) directly: its clock
/// stands at zero, and it has 1 MiB in hand and as much for emptied batches.
///
/// # Errors
/// None in practice: a budget of its own holds both accounts.
pub fn lone_context(name: &str) -> Result<StageContext, BudgetError> {
    let budget = Budget::new(mib(4));
    let spares = SpareLists::new(budget.account("spares", AccountSpec::holding(mib(1)))?);
    Ok(StageContext {
        name: Arc::from(name),
        clock: StageClock::new(Time::ZERO, &[]),
        counter: FlowCounter::default(),
        steps: Default::default(),
        account: budget.account(name, AccountSpec::holding(mib(1)))?,
        held: budget.account("held", AccountSpec::holding(kib(64)))?,
        outbound: budget.account("outbound", AccountSpec::holding(kib(128)))?,
        due: Default::default(),
        supervision: Supervision::default(),
        chunk: Weight::new(256, kib(64).get()),
        spares,
        consumer_is_idle: false,
        relief: crate::handover::Relief::default(),
        beside: crate::beside::Beside::new(crate::clock::Clock::new(), crate::drain::KillSwitch::new()),
    })
}

/// Sets the clock of a context that belongs to no pipeline. It never goes back.
pub fn set_time(cx: &StageContext, now: Time) {
    cx.clock.poll_started(now);
}
