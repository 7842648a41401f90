//! Runs unit tests: the transforms of a plan on the records of a test, without a pipeline.

use std::sync::Arc;

use tidegate_components::Rows;
use tidegate_components::contract::{BuildContext, BuiltTransform};
use tidegate_flow::{Batch, Records};
use tidegate_record::{Form, Origin, Timestamp};
use tidegate_remap::{Condition, Options, Program, Verdict, Verdicts};
use tidegate_runtime::testkit::lone_context;
use tidegate_runtime::{Chooser, Step, Transform};

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

/// How many records a test may make of those that it is given, so that no program fills the memory.
const MOST_RECORDS: usize = 10_000;

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
                let text = format!("nothing may come out of `{name}`, but {} did: {}", counted(records.len()), shown(first));
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
            Some(Failure { place: condition.place, text: format!("holds of no record that came out of {}: {why}", names.join(", ")) })
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

/// A transform that was built for one test.
struct Instance {
    step: Option<tidegate_runtime::BoxTransform<Rows>>,
    choice: Option<Box<dyn Chooser<Rows>>>,
    outputs: Vec<String>,
    name: String,
}

impl Instance {
    fn new(
        transform: Box<dyn tidegate_components::contract::TransformConfig>,
        name: &str,
        cx: &BuildContext,
    ) -> Result<Self, Trouble> {
        let outputs = transform.outputs();
        let built = transform.build(cx).map_err(|error| format!("`{name}`: {error}"))?;
        let (step, choice) = match built {
            BuiltTransform::Step { step, .. } => (Some(step), None),
            BuiltTransform::Choice(choice) => (None, Some(choice)),
        };
        Ok(Self { step, choice, outputs, name: name.to_string() })
    }

    fn run(mut self, rows: Rows) -> Result<Vec<(Option<String>, Vec<u8>)>, Trouble> {
        let mut out = Vec::new();
        let batches = match self.step.take() {
            None => vec![rows],
            Some(step) => drive(step, rows, &self.name)?,
        };
        for rows in batches {
            let mut sets = Vec::new();
            if let Some(choice) = &mut self.choice {
                choice.choose(&rows, &mut sets);
            }
            for (at, row) in rows.iter().enumerate() {
                let mut record = Vec::new();
                row.write_json(&mut record);
                match sets.get(at) {
                    None => out.push((None, record)),
                    Some(set) => out.extend(set.iter().filter_map(|branch| {
                        let name = self.outputs.get(branch)?;
                        Some(((!name.is_empty()).then(|| name.clone()), record.clone()))
                    })),
                }
            }
        }
        Ok(out)
    }
}

/// Puts rows through a step until nothing more comes.
fn drive(
    mut step: tidegate_runtime::BoxTransform<Rows>,
    rows: Rows,
    name: &str,
) -> Result<Vec<Rows>, Trouble> {
    let mut cx = lone_context(name).map_err(|error| error.to_string())?;
    step.open(&cx);
    let batch = Batch::detached(rows);
    let taken = Records::new(u64::from(batch.records()));
    cx.counter().record(|flows| flows.held += taken);
    let mut made = Vec::new();
    let mut slot = None;
    let mut next = step.process(batch, &mut slot, &mut cx);
    let mut flushed = false;
    for _ in 0..MOST_RECORDS {
        made.extend(slot.take().map(|batch: Batch<Rows>| batch.payload));
        next = match next {
            Step::Done if flushed => return Ok(made),
            Step::Done => {
                let asked = step.flush(&mut slot, &mut cx);
                flushed = asked == Step::Done;
                asked
            }
            Step::More | Step::Side | Step::WaitUntil(_) => step.resume(&mut slot, &mut cx),
            Step::Fail(cause) => return Err(format!("`{name}` failed: {cause}")),
        };
    }
    Err(format!("`{name}` makes more than {MOST_RECORDS} batches out of the records of this test"))
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
