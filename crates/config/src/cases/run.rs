//! Runs unit tests: the transforms of a plan on the records of a test, without a pipeline.

use std::sync::Arc;
use std::time::Duration;

use tidegate_components::Rows;
use tidegate_components::contract::{BuildContext, BuiltTransform, TransformConfig};
use tidegate_flow::{Batch, Records, Time};
use tidegate_record::{Form, Origin, Timestamp};
use tidegate_remap::{Condition, Options, Program, Verdict, Verdicts};
use tidegate_runtime::testkit::{lone_context, set_time};
use tidegate_runtime::{BoxTransform, Chooser, LetterTray, Step, Transform};

use super::{Case, Expect, Given, Output, Source};
use crate::files::Place;
use crate::plan::{Component, Plan};

/// How a unit test went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// What it is called.
    pub name: String,
    /// What did not hold; empty where it passed.
    pub failures: Vec<Failure>,
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The condition, or the name of the transform.
    pub place: Place,
    /// What was found instead.
    pub text: String,
}

/// Why a test cannot even run.
type Trouble = String;

/// How many batches a transform may make of the records of a test, so that none goes on for ever.
const MOST_BATCHES: usize = 10_000;

/// How much time may pass for a transform that waits. None passes for anybody else: it is virtual.
const MOST_TIME: Duration = Duration::from_secs(24 * 3_600);

/// Runs every unit test of a plan, in order. Transforms are built anew for each test: none sees what another left
/// behind.
pub fn run_cases(plan: &Plan, cx: &BuildContext) -> Vec<CaseResult> {
    plan.cases.iter().map(|case| run_case(plan, case, cx)).collect()
}

fn run_case(plan: &Plan, case: &Case, cx: &BuildContext) -> CaseResult {
    let failures = match Bench::run(plan, case, cx) {
        Ok(bench) => bench.failures(plan, case),
        Err(text) => vec![Failure { place: case.place, text }],
    };
    CaseResult { name: case.name.clone(), failures }
}

/// What came out of each transform, as JSON, by output.
struct Bench {
    came_out: Vec<Vec<(Option<String>, Vec<u8>)>>,
}

impl Bench {
    fn run(plan: &Plan, case: &Case, cx: &BuildContext) -> Result<Self, Trouble> {
        let mut bench = Self { came_out: vec![Vec::new(); plan.nodes.len()] };
        let mut waiting: Vec<Vec<(Form, Vec<u8>)>> = vec![Vec::new(); plan.nodes.len()];
        for insert in &case.inputs {
            let record = record_of(&insert.record)?;
            insert.at.iter().for_each(|at| waiting[*at].push(record.clone()));
        }
        for at in plan.order() {
            if waiting[at].is_empty() {
                continue;
            }
            let Some(Component::Transform(transform)) = plan.nodes[at].again() else { continue };
            let rows = rows_of(std::mem::take(&mut waiting[at]));
            // What it refuses goes to its dead letters, and comes out nowhere here.
            let letters = plan.nodes[at].dead_letters.map(|_| LetterTray::default());
            let cx = &BuildContext { letters, ..cx.clone() };
            let out = Instance::new(transform, &plan.nodes[at].name, cx)?.run(rows)?;
            for (output, record) in out {
                for (to, node) in plan.nodes.iter().enumerate() {
                    if node.inputs.iter().any(|input| input.from == at && input.output == output) {
                        waiting[to].push((Form::Object, record.clone()));
                    }
                }
                bench.came_out[at].push((output, record));
            }
        }
        Ok(bench)
    }

    fn failures(&self, plan: &Plan, case: &Case) -> Vec<Failure> {
        let mut failures: Vec<_> = case.outputs.iter().flat_map(|expect| self.unmet(plan, expect)).collect();
        for output in &case.silent {
            let records = self.records(output);
            if let Some(first) = records.first() {
                let name = &plan.nodes[output.node].name;
                let text =
                    format!("nothing may come out of `{name}`, but {} did: {}", counted(records.len()), shown(first));
                failures.push(Failure { place: output.place, text });
            }
        }
        failures
    }

    fn unmet(&self, plan: &Plan, expect: &Expect) -> Vec<Failure> {
        let records: Vec<_> = expect.from.iter().flat_map(|output| self.records(output)).collect();
        let names: Vec<_> = expect.from.iter().map(|output| format!("`{}`", plan.nodes[output.node].name)).collect();
        if records.is_empty() {
            return vec![Failure { place: expect.place, text: format!("nothing came out of {}", names.join(", ")) }];
        }
        let unmet = |condition: &Source| {
            let why = holds_of_none(condition, &records)?;
            Some(Failure {
                place: condition.place,
                text: format!("holds of no record that came out of {}: {why}", names.join(", ")),
            })
        };
        expect.conditions.iter().filter_map(unmet).collect()
    }

    fn records(&self, output: &Output) -> Vec<&Vec<u8>> {
        let of = self.came_out[output.node].iter().filter(|(name, _)| *name == output.name);
        of.map(|(_, record)| record).collect()
    }
}

/// Why the condition holds of no record; `None` where it holds of one.
fn holds_of_none(condition: &Source, records: &[&Vec<u8>]) -> Option<String> {
    let mut compiled = match Condition::compile(&condition.text, &Options::default()) {
        Ok(compiled) => compiled,
        Err(found) => return Some(found.first().map(|error| error.message.clone()).unwrap_or_default()),
    };
    let mut why = None;
    for record in records {
        let rows = rows_of(vec![(Form::Object, (*record).clone())]);
        match compiled.check(rows.row(0)) {
            Ok(true) => return None,
            Ok(false) => why.get_or_insert_with(|| format!("it is false for {}", shown(record))),
            Err(failure) => why.get_or_insert_with(|| format!("{failure}, for {}", shown(record))),
        };
    }
    why
}

/// A record that came out, and by which output.
type CameOut = (Option<String>, Vec<u8>);

/// A transform that was built for one test.
struct Instance {
    step: Option<BoxTransform<Rows>>,
    chooser: Option<Box<dyn Chooser<Rows>>>,
    outputs: Vec<String>,
    name: String,
}

impl Instance {
    fn new(transform: Box<dyn TransformConfig>, name: &str, cx: &BuildContext) -> Result<Self, Trouble> {
        let outputs = transform.outputs();
        let (step, chooser) = match transform.build(cx).map_err(|error| format!("`{name}`: {error}"))? {
            BuiltTransform::Step { step, .. } => (Some(step), None),
            BuiltTransform::Choice(chooser) => (None, Some(chooser)),
            BuiltTransform::StepThenChoice { step, chooser, .. } => (Some(step), Some(chooser)),
        };
        Ok(Self { step, chooser, outputs, name: name.to_string() })
    }

    /// What comes out for rows, until nothing more comes.
    fn run(mut self, rows: Rows) -> Result<Vec<CameOut>, Trouble> {
        let mut out = Vec::new();
        let Some(mut step) = self.step.take() else {
            self.choose(&rows, &mut out);
            return Ok(out);
        };
        let mut cx = lone_context(&self.name).map_err(|error| error.to_string())?;
        step.open(&cx);
        let batch = Batch::detached(rows);
        let taken = Records::new(u64::from(batch.records()));
        cx.counter().record(|flows| flows.held += taken);
        let mut slot = None;
        let mut next = step.process(batch, &mut slot, &mut cx);
        let mut flushed = false;
        for _ in 0..MOST_BATCHES {
            if let Some(batch) = slot.take() {
                // Right away: a chooser may go by what the step did last.
                self.choose(&batch.payload, &mut out);
            }
            next = match next {
                Step::Done if flushed => return Ok(out),
                Step::Done => {
                    let asked = step.flush(&mut slot, &mut cx);
                    flushed = asked == Step::Done;
                    asked
                }
                // Time passes at once.
                Step::WaitUntil(at) if at.since(Time::ZERO) <= MOST_TIME => {
                    set_time(&cx, at.max(cx.now()));
                    step.resume(&mut slot, &mut cx)
                }
                Step::WaitUntil(_) => {
                    let name = &self.name;
                    return Err(format!("`{name}` still waits when {} hours have passed", MOST_TIME.as_secs() / 3_600));
                }
                Step::More | Step::Side => step.resume(&mut slot, &mut cx),
                Step::Fail(cause) => return Err(format!("`{}` failed: {cause}", self.name)),
            };
        }
        let name = &self.name;
        Err(format!("`{name}` makes more than {MOST_BATCHES} batches out of the records of this test"))
    }

    fn choose(&mut self, rows: &Rows, out: &mut Vec<CameOut>) {
        let mut sets = Vec::new();
        if let Some(chooser) = &mut self.chooser {
            chooser.choose(rows, &mut sets);
        }
        for (at, row) in rows.iter().enumerate() {
            let mut record = Vec::new();
            row.write_json(&mut record);
            if self.chooser.is_none() {
                out.push((None, record));
                continue;
            }
            let branches = sets.get(at).copied().unwrap_or_default();
            for name in branches.iter().filter_map(|branch| self.outputs.get(branch)) {
                out.push(((!name.is_empty()).then(|| name.clone()), record.clone()));
            }
        }
    }
}

fn record_of(given: &Given) -> Result<(Form, Vec<u8>), Trouble> {
    match given {
        Given::Raw(line) => Ok((Form::Message, line.clone().into_bytes())),
        Given::Log(fields) => Ok((Form::Object, fields.to_string().into_bytes())),
        Given::Vrl(source) => {
            let compiled = Program::compile(&source.text, &Options::default());
            let mut program = compiled.map_err(|_| "a program of its inputs does not compile".to_string())?.program;
            let mut rows = rows_of(vec![(Form::Object, b"{}".to_vec())]);
            let mut verdicts = Verdicts::default();
            program.run(&mut rows, &mut verdicts);
            match verdicts.of(0) {
                Verdict::Kept => {
                    let mut record = Vec::new();
                    rows.row(0).write_json(&mut record);
                    Ok((Form::Object, record))
                }
                Verdict::Split(_) => Err("a program of its inputs makes several records".to_string()),
                Verdict::Aborted(why) | Verdict::Failed(why) => Err(format!("a program of its inputs failed: {why}")),
            }
        }
    }
}

fn rows_of(records: Vec<(Form, Vec<u8>)>) -> Rows {
    let origin = Arc::new(Origin::new("test", Timestamp::default()));
    let mut rows = Rows::default();
    records.iter().for_each(|(form, bytes)| rows.push_copy(bytes, *form, &origin));
    rows
}

fn counted(records: usize) -> String {
    if records == 1 { "1 record".to_string() } else { format!("{records} records") }
}

fn shown(record: &[u8]) -> String {
    let text = String::from_utf8_lossy(record);
    let end = text.floor_char_boundary(400.min(text.len()));
    if end < text.len() { format!("{}...", &text[..end]) } else { text.into_owned() }
}
