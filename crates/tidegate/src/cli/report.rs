//! The end of a run: what is printed of it, for people or for tools, and the exit code that follows.

use serde_json::{Map, Value, json};
use tidegate::flow::ledger::SourceLedger;
use tidegate::{Outcome, PipelineEnd, Records, Report, SinkRefusals};
use tidegate_components::contract::Meters;
use tidegate_components::sinks::console::STREAMS_CLOSED;
use tidegate_config::Plan;

use super::Done;

/// How the end of a run is told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// As a page.
    Page,
    /// As one JSON object on one line.
    Json,
    /// Only what went wrong.
    Quiet,
}

/// Prints the report to standard error, and says how it ended.
pub(super) fn conclude(report: &Report, meters: &Meters, plan: &Plan, telling: Telling) -> Done {
    match telling {
        Telling::Page => eprintln!("{report}{}", tallies(meters)),
        Telling::Json => eprintln!("{}", to_json(report, meters)),
        Telling::Quiet => {}
    }
    let given_up = report.refusals.iter().filter_map(|sink| given_up(sink, plan));
    let lost: Vec<_> = given_up.chain(closed(report, meters)).collect();
    lost.iter().for_each(|text| eprintln!("tidegate: {text}"));
    match (&report.end, report.ledger.check()) {
        (_, Err(imbalance)) => {
            eprintln!("tidegate: {imbalance}; this is a bug, please report it with the pipeline file");
            Done::Failed
        }
        (PipelineEnd::Completed, Ok(())) if lost.is_empty() => Done::Well,
        (PipelineEnd::Completed, Ok(())) => Done::Failed,
        (end, Ok(())) => {
            if telling == Telling::Quiet {
                eprintln!("tidegate: the pipeline {end}");
            }
            Done::Failed
        }
    }
}

/// A sink ends when nobody reads its stream any more, and then the pipeline may: by itself, but not with all of its work
/// done.
fn closed(report: &Report, meters: &Meters) -> Option<String> {
    let meters = meters.all();
    let sink = meters.iter().find(|meter| meter.name == STREAMS_CLOSED && meter.counter.get() > 0)?;
    let total = report.ledger.total();
    let undelivered = total.ended.get(Outcome::Returned).get() + total.ended.get(Outcome::Abandoned).get();
    Some(format!(
        "whoever read the output of sink `{}` closed it: {undelivered} of the {} records that were read were not delivered",
        sink.node,
        total.accepted.get()
    ))
}

/// What to say where a sink gave records back to those that do not read them again and tell nobody.
fn given_up(sink: &SinkRefusals, plan: &Plan) -> Option<String> {
    let upstream = plan.upstream(&sink.sink)?;
    let mut records = Records::ZERO;
    if upstream.gives_up_what_is_given_back() {
        records += sink.returned_transient;
    }
    if upstream.gives_up_what_is_refused() {
        records += sink.returned_permanent;
    }
    let cause = sink.last.as_ref().map(|last| last.cause.to_string()).unwrap_or_default();
    (records > Records::ZERO).then(|| {
        format!(
            "sink \"{}\" gave up {} and nobody keeps them: {cause}; `dead_letter: true` on the sink keeps what is \
             refused for good in a file",
            sink.sink, records
        )
    })
}

/// What components counted beside the records, as far as there was any of it.
fn tallies(meters: &Meters) -> String {
    let counted = meters.all().into_iter().filter(|meter| meter.counter.get() > 0);
    let lines: Vec<String> =
        counted.map(|meter| format!("  {:<20} {:<28} {}", meter.node, meter.name, meter.counter.get())).collect();
    if lines.is_empty() { String::new() } else { format!("\nbeside the records:\n{}", lines.join("\n")) }
}

fn to_json(report: &Report, meters: &Meters) -> Value {
    let stages = report.ledger.stages.iter().map(|(name, kind, flows)| {
        let mut object = Map::from_iter([("name".to_owned(), json!(name)), ("kind".to_owned(), json!(kind.name()))]);
        let terms = [("input", flows.input), ("born", flows.born)].into_iter().chain(flows.accounted());
        object.extend(terms.map(|(term, records)| (term.to_owned(), json!(records.get()))));
        Value::Object(object)
    });
    let sources = report.ledger.sources.iter().map(|(name, counts)| {
        let mut object = outcomes(counts);
        object.insert("name".to_owned(), json!(name));
        Value::Object(object)
    });
    let counters = meters.all().into_iter();
    let counters =
        counters.map(|meter| json!({ "node": &*meter.node, "name": meter.name, "count": meter.counter.get() }));
    json!({
        "pipeline": report.name,
        "end": end_word(&report.end),
        "end_in_words": report.end.to_string(),
        "ran_seconds": report.ran.as_secs_f64(),
        "bottleneck": report.bottleneck.to_string(),
        "memory": { "budget_bytes": report.budget.get(), "peak_bytes": report.peak.get() },
        "records": Value::Object(outcomes(&report.ledger.total())),
        "sources": sources.collect::<Vec<_>>(),
        "stages": stages.collect::<Vec<_>>(),
        "counters": counters.collect::<Vec<_>>(),
        "balances": report.ledger.check().is_ok(),
    })
}

pub(super) const fn end_word(end: &PipelineEnd) -> &'static str {
    match end {
        PipelineEnd::Completed => "completed",
        PipelineEnd::DeadlinePassed => "deadline_passed",
        PipelineEnd::Failed { .. } => "failed",
        PipelineEnd::Stopped => "stopped",
    }
}

fn outcomes(counts: &SourceLedger) -> Map<String, Value> {
    let begun = [("accepted", counts.accepted), ("in_flight", counts.in_flight)];
    let ended = counts.ended.iter().map(|(outcome, records)| (outcome.name(), records));
    begun.into_iter().chain(ended).map(|(name, records)| (name.to_owned(), json!(records.get()))).collect()
}
