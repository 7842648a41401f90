//! What must hold: during a run, at any moment; and after it, given how it ended.

use tidegate_flow::{Ledger, OnFull, Outcome, Records};
use tidegate_runtime::{PipelineEnd, Report, View};

use crate::book::{Book, Notes};
use crate::plan::{End, Plan};
use crate::run::{Ran, failure};
use crate::stuck;

/// How a run ended; `None` where the handle was dropped.
pub struct Ending {
    /// The report.
    pub report: Option<Report>,
}

/// Checks what must hold at any moment.
pub fn during(view: &View, book: &Book) {
    if let Err(imbalance) = view.ledger().check() {
        book.broken(format!("at {:?}: {imbalance}", view.now()));
    }
    for edge in view.edges() {
        if !edge.fill.fits(edge.allowed) && edge.batches > 1 {
            book.broken(format!(
                "edge {} holds {} of {} allowed, in {} batches",
                edge.name, edge.fill, edge.allowed, edge.batches
            ));
        }
    }
    let budget = view.budget();
    if budget.used() > budget.total() {
        book.broken(format!("{} of a budget of {} are charged", budget.used(), budget.total()));
    }
    if book.live_bytes() > budget.used().get() {
        let (live, used) = (book.live_bytes(), budget.used());
        book.broken(format!("records of {live} bytes are alive, but only {used} are charged, at {:?}", view.now()));
    }
    times(view, book);
}

/// The times of each stage's states add up to the time that passed.
fn times(view: &View, book: &Book) {
    for (times, id) in view.times().iter().zip(view.graph().stage_ids()) {
        if times.total() != times.window() {
            let name = view.graph().stage_name(id);
            book.broken(format!("stage {name} accounts for {:?} of {:?}", times.total(), times.window()));
        }
    }
}

/// Checks what must hold at the end.
pub fn after(plan: &Plan, book: &Book, view: &View, ending: &Ending, ran: &mut Ran) {
    times(view, book);
    let ledger = view.ledger();
    if let Err(imbalance) = ledger.check() {
        ran.broken.push(imbalance.to_string());
    }
    for (name, _, flows) in &ledger.stages {
        if !flows.held.is_zero() {
            ran.broken.push(format!("{name} holds {} records after the end", flows.held));
        }
    }
    end_was_planned(plan, ending, ran);
    diversions(plan, view, ran);
    let notes = book.notes();
    ran.broken.extend(stuck::judge(plan.stuck_stage().as_deref(), notes.hung, &notes.stalls));
    ran.stalled = notes.hung.is_some();
    sources(plan, &ledger, &notes, ending, ran);
    // A part that was lost on one branch may not show at the source, where only the worst end of a record counts.
    let lost = ledger
        .stages
        .iter()
        .any(|(_, _, flows)| !(flows.shed.total().is_zero() && flows.expired.is_zero() && flows.abandoned.is_zero()));
    let completed = ending.report.as_ref().is_some_and(|report| report.end == PipelineEnd::Completed);
    ran.exact = plan.is_certain() && completed && !lost;
    outcomes(plan, &ledger, &notes, ran);
}

/// An edge that diverts gives nothing up, and no other edge diverts.
fn diversions(plan: &Plan, view: &View, ran: &mut Ran) {
    for (planned, edge) in plan.edges().filter_map(|planned| Some((planned, view.edge(&planned.name)?))) {
        let (diverted, shed) = (edge.flows.diverted, edge.flows.shed.iter().copied().sum::<Records>());
        ran.diverted += diverted.get();
        if planned.when_full == OnFull::Divert && !shed.is_zero() {
            ran.broken.push(format!("edge {} diverts, and shed {shed}", planned.name));
        }
        if planned.when_full != OnFull::Divert && !diverted.is_zero() {
            ran.broken.push(format!("edge {} does not divert, and diverted {diverted}", planned.name));
        }
    }
}

fn end_was_planned(plan: &Plan, ending: &Ending, ran: &mut Ran) {
    let Some(report) = &ending.report else { return };
    let planned = match (&report.end, plan.end) {
        (PipelineEnd::Completed, _) => true,
        (PipelineEnd::Failed { .. }, _) => plan.may_fail(),
        (PipelineEnd::DeadlinePassed, end) => matches!(end, End::Drain(..)),
        (PipelineEnd::Stopped, end) => matches!(end, End::Stop(_) | End::Stalled),
    };
    if !planned {
        ran.broken.push(format!("the pipeline {}, which nothing in the plan explains", report.end));
    }
    if let Some(cause) = failure(report)
        && !cause.contains("planned")
        && !cause.contains("full")
        && !cause.contains("no answer at the record's")
    {
        ran.broken.push(format!("the pipeline failed for a reason of its own: {cause}"));
    }
}

/// What sources read, what the ledger counts, and what they were told.
fn sources(plan: &Plan, ledger: &Ledger, notes: &Notes, ending: &Ending, ran: &mut Ran) {
    let completed = ending.report.as_ref().is_some_and(|report| report.end == PipelineEnd::Completed);
    for (((name, source), seen), planned) in ledger.sources.iter().zip(&notes.sources).zip(&plan.sources) {
        let (accepted, read) = (source.accepted.get(), seen.read);
        if !source.in_flight.is_zero() {
            ran.broken.push(format!("{} records of {name} are in flight after the end", source.in_flight));
        }
        if accepted > read || (completed && accepted != read) {
            ran.broken.push(format!("{name} read {read} records, and {accepted} were accepted"));
        }
        if completed && !plan.end.cancels() && read != planned.records {
            ran.broken.push(format!("{name} has {} records, and {read} were read", planned.records));
        }
        if planned.iterator {
            continue;
        }
        let told = seen.reported.total().get();
        if (completed && seen.reported != source.ended) || told > accepted {
            ran.broken.push(format!("{name} was told {:?}, and the ledger says {:?}", seen.reported, source.ended));
        }
    }
}

/// How records ended, against what operators and sinks saw: to the record where everything was seen; else no record
/// may have ended better than it was seen to.
fn outcomes(plan: &Plan, ledger: &Ledger, notes: &Notes, ran: &mut Ran) {
    for ((name, source), seen) in ledger.sources.iter().zip(&notes.sources) {
        let count =
            |outcome: Outcome| seen.records.iter().filter(|record| record.worst == Some(outcome)).count() as u64;
        if ran.exact {
            for outcome in Outcome::ALL {
                let (seen, counted) = (count(outcome), source.ended.get(outcome).get());
                if seen != counted {
                    ran.broken.push(format!("{name}: {counted} records ended as {outcome}, and {seen} were seen to"));
                }
            }
            let open = seen.records.iter().filter(|record| record.open != 0).count();
            if open > 0 {
                ran.broken.push(format!("{name}: parts of {open} records were not seen to end, or twice"));
            }
        }
        if !plan.is_marked() {
            continue;
        }
        let mut counted_worse = 0;
        let mut seen_worse = 0;
        for outcome in Outcome::ALL.into_iter().rev() {
            counted_worse += source.ended.get(outcome).get();
            seen_worse += count(outcome);
            if counted_worse < seen_worse {
                let text = format!(
                    "{name}: {counted_worse} records ended as {outcome} or worse, but {seen_worse} were seen to"
                );
                ran.broken.push(text);
            }
        }
    }
}
