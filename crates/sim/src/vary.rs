//! Varies a plan: operators that the base does not draw, edges that divert, runs in which nothing is lost, and stalls.

use std::time::Duration;

use tidegate_flow::OnFull;
use tidegate_runtime::Order;

use crate::plan::{Care, EdgePlan, End, Plan, Shape, SinkPlan, Site, StallPlan, Step};
use crate::rng::Rng;

/// In percent: runs in which nothing is lost, so that the end of each record is known.
const CALM: u64 = 45;
/// In percent: runs with something that never answers again.
const STALLS: u64 = 8;
/// In percent: edges behind a chain of operators that divert, of those that block.
const DIVERTS: u64 = 45;
/// No more edges divert to one.
const MOST_DIVERTING: usize = 8;
/// Room for all records that there are.
const ROOMY: u64 = 1 << 20;

/// Changes `plan` by chance.
pub fn vary(plan: &mut Plan, rng: &mut Rng) {
    let stalls = rng.percent(STALLS);
    let calm = stalls || rng.percent(CALM);
    operators(plan, rng, calm);
    diverts(plan, rng);
    if calm {
        calm_down(plan, rng);
    } else {
        each_edge(plan, |edge| less_patient(edge, rng));
    }
    if stalls {
        stall(plan, rng);
    }
}

/// Puts other operators where there were none.
fn operators(plan: &mut Plan, rng: &mut Rng, calm: bool) {
    let faults = plan.shapes().any(|shape| shape.panics());
    for step in &mut plan.steps {
        let Step::Chain { shape, care, .. } = step else { continue };
        if *shape != Shape::Plain || rng.percent(30) {
            continue;
        }
        let every = if faults { rng.weighted(&[(1, 0), (1, 20)]) } else { 0 };
        let size = u32::try_from(rng.from_to(1, 40)).unwrap_or(1);
        let rate = u32::try_from(rng.from_to(2_000, 50_000)).unwrap_or(2_000);
        *shape = rng.weighted(&[
            (3, Shape::Calls(Order::Ordered, every)),
            (3, Shape::Calls(Order::Unordered, every)),
            (3, Shape::Batch(size)),
            (2, Shape::Throttle(rate)),
            (u64::from(!calm) * 2, Shape::Group(size)),
            (2, Shape::Restartable(every)),
        ]);
        if matches!(shape, Shape::Restartable(_)) {
            *care = Some(Care::Restart(if calm { u32::MAX } else { 8 }));
        }
    }
}

/// Lets edges that block divert instead.
fn diverts(plan: &mut Plan, rng: &mut Rng) {
    let mut count = 0;
    for step in &mut plan.steps {
        let Step::Chain { edge, .. } = step else { continue };
        if edge.when_full == (OnFull::Block { max: None }) && count < MOST_DIVERTING && rng.percent(DIVERTS) {
            edge.when_full = OnFull::Divert;
            edge.diverts_to = Some(0);
            count += 1;
        }
    }
    if count > 0 {
        let when_full = rng.weighted(&[
            (6, OnFull::Block { max: None }),
            (1, OnFull::Block { max: Some(Duration::from_millis(20)) }),
            (2, OnFull::DropOldest),
        ]);
        let records = rng.weighted(&[(1, 1), (2, 16), (2, 400)]);
        let (name, lanes) = ("spill".to_owned(), vec![0]);
        let edge = EdgePlan { name, records, bytes: None, when_full, lanes, buckets: 1, diverts_to: None };
        let sink = SinkPlan { takes: rng.weighted(&[(2, 0), (2, 5)]), ..SinkPlan::default() };
        plan.spills.push((edge, sink));
    }
}

/// Takes out what makes the end of a record depend on anything but the record. What sheds when it is full has room for
/// everything.
fn calm_down(plan: &mut Plan, rng: &mut Rng) {
    plan.end = End::Complete;
    plan.supervision = Care::Resume;
    plan.budget_times = plan.budget_times.max(rng.weighted(&[(1, 1), (2, 4), (1, 64)]));
    for source in &mut plan.sources {
        (source.fails_at, source.deadline) = (None, 0);
    }
    each_edge(plan, calm_edge);
    plan.spills.iter_mut().for_each(|(_, sink)| calm_sink(sink));
    for step in &mut plan.steps {
        match step {
            Step::Chain { shape, care, .. } if !matches!(shape, Shape::Restartable(_)) => *care = None,
            Step::Fork { marked, .. } => *marked = true,
            Step::Sink { sink, .. } => calm_sink(sink),
            Step::Port { .. } | Step::Chain { .. } | Step::Partition { .. } | Step::Send { .. } => {}
        }
    }
}

fn each_edge(plan: &mut Plan, mut change: impl FnMut(&mut EdgePlan)) {
    plan.spills.iter_mut().for_each(|(edge, _)| change(edge));
    for step in &mut plan.steps {
        match step {
            Step::Port { edge, .. } | Step::Chain { edge, .. } => change(edge),
            Step::Fork { arms, .. } => arms.iter_mut().for_each(|(edge, _)| change(edge)),
            Step::Partition { edges, .. } => edges.iter_mut().for_each(&mut change),
            Step::Send { .. } | Step::Sink { .. } => {}
        }
    }
}

/// Lets some of the edges that block do so for a time only.
fn less_patient(edge: &mut EdgePlan, rng: &mut Rng) {
    if edge.when_full == (OnFull::Block { max: None }) && rng.percent(15) {
        edge.when_full = OnFull::Block { max: Some(Duration::from_millis(rng.from_to(1, 60))) };
    }
}

fn calm_edge(edge: &mut EdgePlan) {
    match edge.when_full {
        OnFull::Block { .. } => edge.when_full = OnFull::Block { max: None },
        OnFull::Divert => {}
        _ => (edge.records, edge.bytes) = (ROOMY, None),
    }
}

fn calm_sink(sink: &mut SinkPlan) {
    if sink.is_uncertain() {
        *sink = SinkPlan { takes: sink.takes.min(15), ..SinkPlan::default() };
    }
}

/// Plants something that never answers again.
fn stall(plan: &mut Plan, rng: &mut Rng) {
    let own = |step: &Step| matches!(step, Step::Chain { shape, .. } if !shape.uses_port());
    let chains: Vec<usize> = (0..plan.steps.len()).filter(|at| own(&plan.steps[*at])).collect();
    let chain = (!chains.is_empty()).then(|| chains[rng.below(chains.len())]);
    let sinks = plan.sinks().count();
    let site = match (rng.below(3), chain) {
        (0, Some(step)) => Site::Call(step),
        (1, Some(step)) => Site::Wait(step),
        _ => Site::Sink(rng.below(sinks)),
    };
    if let Site::Call(step) | Site::Wait(step) = site
        && let Some(Step::Chain { shape, .. }) = plan.steps.get_mut(step)
    {
        *shape = Shape::Stuck;
    }
    plan.stall = Some(StallPlan { site, after: rng.weighted(&[(2, 0), (2, 1), (1, 5)]) });
    plan.end = End::Stalled;
}
