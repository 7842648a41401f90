//! [`NamedSteps`]: what each step of a stage did, where several components are fused into one stage.
//!
//! A step counts per batch what it took and gave, and what the stage counted meanwhile: a step is called by one task, one
//! after the other. The ledger then shows a row for each: see [`NamedSteps::divide`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_flow::{Batch, FlowCounter, Flows, Payload, Records, ShedReason};

use crate::context::StageContext;
use crate::transform::{Step, Transform};

/// The steps of one stage that have names, in the order of the records. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct NamedSteps {
    state: Arc<Mutex<State>>,
    /// Odd while a step is at work: then the stage has counted what its step has not.
    turns: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    steps: Vec<NamedStep>,
    /// How the counters were divided when last no step was at work.
    divided: Option<Divided>,
}

/// How often a look in the middle of a step tries again, before it shows what was before the step.
const TRIES: u32 = 200;

/// The row of a stage, and those of its steps.
type Divided = (Flows, Vec<(Arc<str>, Flows)>);

/// A step is at work as long as this lives, also when it panics.
struct Turn<'a>(&'a AtomicU64);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

#[derive(Clone)]
struct NamedStep {
    name: Arc<str>,
    counter: FlowCounter,
}

impl NamedSteps {
    /// The counter of the step of this name.
    fn counter(&self, name: &Arc<str>) -> FlowCounter {
        let steps = &mut self.lock().steps;
        if let Some(step) = steps.iter().find(|step| step.name == *name) {
            return step.counter.clone();
        }
        let counter = FlowCounter::default();
        steps.push(NamedStep { name: Arc::clone(name), counter: counter.clone() });
        counter
    }

    /// What steps hold when their stage ends is abandoned, as the stage says too.
    pub(crate) fn abandon(&self) {
        for step in &self.lock().steps {
            let held = step.counter.snapshot().held;
            step.counter.record(|flows| {
                flows.abandoned += held;
                flows.held -= held;
            });
        }
    }

    /// The counters of a stage divided among its own row, which comes first, and those of its steps. A step that is
    /// named as its stage is the stage. Each row balances. `whole` is asked after the steps were, so that nothing that
    /// a step counts is missing in it.
    ///
    /// A look in the middle of a step sees what was before it: no counter goes back from look to look.
    pub(crate) fn divide(&self, stage: &str, whole: impl Fn() -> Flows) -> Divided {
        let mut state = self.lock();
        let mut tries = 0;
        loop {
            let before = self.turns.load(Ordering::Acquire);
            let divided = divide(&state.steps, stage, &whole);
            let is_settled = before.is_multiple_of(2) && self.turns.load(Ordering::Acquire) == before;
            match &state.divided {
                Some(last) if !is_settled && tries >= TRIES => return last.clone(),
                Some(_) if !is_settled => std::thread::yield_now(),
                _ => {
                    state.divided = Some(divided.clone());
                    return divided;
                }
            }
            tries += 1;
        }
    }

    /// A step goes to work.
    fn turn(&self) -> Turn<'_> {
        self.turns.fetch_add(1, Ordering::Acquire);
        Turn(&self.turns)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn divide(steps: &[NamedStep], stage: &str, whole: impl Fn() -> Flows) -> Divided {
    let counted = steps.iter().map(|step| (Arc::clone(&step.name), step.counter.snapshot()));
    let mut rows: Vec<(Arc<str>, Flows)> = counted.collect();
    let whole = whole();
    let within: Flows = sum(&rows);
    rows.retain(|(name, _)| **name != *stage);
    let Some((_, last)) = rows.last_mut() else { return (whole, Vec::new()) };
    // What it gave and what is not sent on yet is in its hand, or was lost there, as by the choice behind it.
    let mut behind = last.output.saturating_sub(whole.output);
    last.output = last.output.saturating_sub(behind);
    let mut lost = |loss: &mut Records, of: fn(&Flows) -> Records| {
        let records = of(&whole).saturating_sub(of(&within)).min(behind);
        *loss += records;
        behind = behind.saturating_sub(records);
    };
    lost(&mut last.filtered, |flows| flows.filtered);
    lost(&mut last.returned, |flows| flows.returned);
    lost(&mut last.abandoned, |flows| flows.abandoned);
    last.held += behind;
    match own(&whole, &rows) {
        Some(own) => (own, rows),
        None => (whole, Vec::new()),
    }
}

fn sum(rows: &[(Arc<str>, Flows)]) -> Flows {
    let mut all = Flows::default();
    rows.iter().for_each(|(_, flows)| all.add_all(flows));
    all
}

/// What is left of a stage without its steps; `None` where the figures, read at different moments, do not fit.
fn own(whole: &Flows, rows: &[(Arc<str>, Flows)]) -> Option<Flows> {
    let steps = sum(rows);
    let mut own = Flows {
        input: whole.input,
        born: whole.born.saturating_sub(steps.born),
        filtered: whole.filtered.saturating_sub(steps.filtered),
        absorbed: whole.absorbed.saturating_sub(steps.absorbed),
        expired: whole.expired.saturating_sub(steps.expired),
        dead_lettered: whole.dead_lettered.saturating_sub(steps.dead_lettered),
        returned: whole.returned.saturating_sub(steps.returned),
        abandoned: whole.abandoned.saturating_sub(steps.abandoned),
        held: whole.held.saturating_sub(steps.held),
        ..Flows::default()
    };
    for reason in ShedReason::ALL {
        own.shed.add(reason, whole.shed.get(reason).saturating_sub(steps.shed.get(reason)));
    }
    let lost: Records = own.accounted().iter().map(|(_, records)| *records).sum();
    let entered = own.input + own.born;
    if lost > entered {
        return None;
    }
    // What it did not lose and does not hold, it gave to its first step.
    own.output = entered.saturating_sub(lost);
    Some(own)
}

/// Counts for a step of this name.
pub(crate) struct StepCounts {
    name: Arc<str>,
    counter: Option<FlowCounter>,
}

impl StepCounts {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: Arc::from(name), counter: None }
    }

    pub(crate) fn open(&mut self, cx: &StageContext) {
        self.counter = Some(cx.steps.counter(&self.name));
    }

    /// Calls a step and counts what it did with `taken` records and what it holds.
    pub(crate) fn around<P: Payload>(
        &self,
        taken: u32,
        out: &mut Option<Batch<P>>,
        cx: &mut StageContext,
        call: impl FnOnce(&mut Option<Batch<P>>, &mut StageContext) -> Step,
    ) -> Step {
        let Some(counter) = &self.counter else { return call(out, cx) };
        let steps = cx.steps.clone();
        let _turn = steps.turn();
        let before = cx.counter.snapshot();
        let step = call(out, cx);
        let after = cx.counter.snapshot();
        let given = out.as_ref().map_or(0, Batch::records);
        if taken == 0 && given == 0 && before == after {
            return step;
        }
        let (taken, given) = (Records::new(u64::from(taken)), Records::new(u64::from(given)));
        let lost = losses(&before, &after);
        counter.record(|flows| {
            let born = after.born.saturating_sub(before.born);
            flows.input += taken;
            flows.born += born;
            flows.output += given;
            flows.held += taken + born;
            flows.held -= given + lost.total;
            flows.filtered += lost.flows.filtered;
            flows.absorbed += lost.flows.absorbed;
            flows.expired += lost.flows.expired;
            flows.dead_lettered += lost.flows.dead_lettered;
            flows.returned += lost.flows.returned;
            flows.abandoned += lost.flows.abandoned;
            ShedReason::ALL.into_iter().for_each(|reason| flows.shed.add(reason, lost.flows.shed.get(reason)));
        });
        step
    }
}

/// What a stage lost between two moments.
struct Lost {
    flows: Flows,
    total: Records,
}

fn losses(before: &Flows, after: &Flows) -> Lost {
    let since = |of: fn(&Flows) -> Records| of(after).saturating_sub(of(before));
    let mut flows = Flows {
        filtered: since(|flows| flows.filtered),
        absorbed: since(|flows| flows.absorbed),
        expired: since(|flows| flows.expired),
        dead_lettered: since(|flows| flows.dead_lettered),
        returned: since(|flows| flows.returned),
        abandoned: since(|flows| flows.abandoned),
        ..Flows::default()
    };
    for reason in ShedReason::ALL {
        flows.shed.add(reason, after.shed.get(reason).saturating_sub(before.shed.get(reason)));
    }
    let total = flows.accounted().iter().map(|(_, records)| *records).sum();
    Lost { flows, total }
}

/// Stands for the choice behind the steps of a stage: gives what it takes, and counts it under the name of the choice.
pub(crate) struct ChoiceMark {
    counts: StepCounts,
}

impl ChoiceMark {
    pub(crate) fn new(name: &str) -> Self {
        Self { counts: StepCounts::new(name) }
    }
}

impl<P: Payload> Transform<P> for ChoiceMark {
    type Out = P;

    fn open(&mut self, cx: &StageContext) {
        self.counts.open(cx);
    }

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        let Self { counts } = self;
        counts.around(input.records(), out, cx, |out, _| {
            *out = Some(input);
            Step::Done
        })
    }

    fn batches_in_hand(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tidegate_flow::Items;

    use super::*;
    use crate::testkit::lone_context;

    #[test]
    fn a_look_in_the_middle_of_a_step_shows_no_counter_that_goes_back() {
        let mut cx = lone_context("stage").unwrap();
        let mut counts = StepCounts::new("step");
        counts.open(&cx);
        let (steps, counter) = (cx.steps.clone(), cx.counter.clone());
        let look = || {
            let (own, rows) = steps.divide("stage", || counter.snapshot());
            (own.filtered.get(), rows.iter().map(|(_, flows)| flows.filtered.get()).sum::<u64>())
        };
        let mut seen = vec![look()];
        for _ in 0..2 {
            let mut out: Option<Batch<Items<u32>>> = None;
            cx.counter.record(|flows| {
                flows.input += Records::new(3);
                flows.held += Records::new(3);
            });
            counts.around(3, &mut out, &mut cx, |_, cx| {
                cx.counter.record(|flows| {
                    flows.filtered += Records::new(3);
                    flows.held -= Records::new(3);
                });
                seen.push(look());
                Step::Done
            });
            seen.push(look());
        }
        assert!(seen.is_sorted_by_key(|look| look.0) && seen.is_sorted_by_key(|look| look.1), "{seen:?}");
        assert_eq!(seen.last(), Some(&(0, 6)), "all of it is the step's");
    }
}
