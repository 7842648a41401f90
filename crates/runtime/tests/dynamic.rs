//! Pipelines put together at run time: boxed steps, junctions with any number of branches, what a source is given.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_flow::{
    Account, Bytes, Cause, EdgeSpec, GroupOutcome, GroupWatch, Items, OnFull, Outcome, Weight, kib, mib,
};
use tidegate_runtime::records::records;
use tidegate_runtime::sink::Collected;
use tidegate_runtime::testkit::{balanced, ended};
use tidegate_runtime::{
    BatchLimits, BoxTransform, BranchSet, Chooser, Companion, Intake, NoCommit, Pipeline, PipelineBuilder, Port, Pull,
    Readiness, Report, Source, SourceContext, SourceOptions, sink, source,
};

type Numbers = Items<u64>;

/// A port with a sink behind it, and what the sink keeps.
fn collecting(builder: &PipelineBuilder, spec: impl Into<EdgeSpec>) -> (Port<Numbers>, Collected<u64>) {
    let spec = spec.into();
    let name = spec.name.to_string();
    let (port, flow) = builder.boxed_port::<Numbers>(spec);
    let (kept, keep) = sink::collect();
    flow.sink(&name, keep);
    (port, kept)
}

async fn run(builder: &PipelineBuilder) -> Report {
    balanced(builder.build().unwrap().start().wait().await)
}

/// Multiples of 2 to branch 0, of 3 to branch 1, of 5 to branch 2, and the rest nowhere.
struct Multiples;

impl Chooser<Numbers> for Multiples {
    fn choose(&mut self, payload: &Numbers, choices: &mut Vec<BranchSet>) {
        choices.extend(payload.as_slice().iter().map(|number| {
            let divides = |by: &u64| number % by == 0;
            let branches = [2, 3, 5].iter().enumerate().filter(|(_, by)| divides(by));
            branches.fold(BranchSet::NONE, |set, (branch, _)| set.with(branch))
        }));
    }
}

#[tokio::test(start_paused = true)]
async fn boxed_steps_run_in_order_in_the_stage_of_their_source() {
    let builder = Pipeline::builder("steps");
    let (port, kept) = collecting(&builder, "keep");
    let steps: [BoxTransform<Numbers>; 2] =
        [Box::new(records().filter(|n: &u64| n.is_multiple_of(2))), Box::new(records().map(|n: u64| n + 1))];
    let flow = builder.boxed_source("count", source::iter(0..1_000_u64));
    let flow = steps.into_iter().fold(flow, |flow, step| flow.step(step, Weight::ZERO, true));
    flow.to(&port);
    let report = run(&builder).await;
    assert_eq!(kept.take(), (0..1_000).filter(|n| n % 2 == 0).map(|n| n + 1).collect::<Vec<u64>>());
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Filtered)), (500, 500));
    assert_eq!(report.stages.len(), 2, "{report}");
}

#[tokio::test(start_paused = true)]
async fn small_batches_are_joined_before_a_sink() {
    let builder = Pipeline::builder("batch").batch(Weight::new(10, kib(4).get()));
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let (port, flow) = builder.boxed_port::<Numbers>("keep");
    let seen = Arc::clone(&sizes);
    let note: BoxTransform<Numbers> = Box::new(Noting(seen));
    flow.boxed_batch(BatchLimits::records(100)).step(note, Weight::ZERO, false).sink("keep", sink::null());
    builder.boxed_source("count", source::iter(0..1_000_u64)).to(&port);
    run(&builder).await;
    let sizes = sizes.lock().unwrap();
    assert_eq!(sizes.iter().sum::<u32>(), 1_000);
    assert!(sizes.iter().all(|size| *size <= 100) && sizes.iter().any(|size| *size > 10), "{sizes:?}");
}

/// Notes the sizes of the batches that pass.
struct Noting(Arc<Mutex<Vec<u32>>>);

impl tidegate_runtime::Transform<Numbers> for Noting {
    type Out = Numbers;

    fn process(
        &mut self,
        input: tidegate_flow::Batch<Numbers>,
        out: &mut Option<tidegate_flow::Batch<Numbers>>,
        _cx: &mut tidegate_runtime::StageContext,
    ) -> tidegate_runtime::Step {
        self.0.lock().unwrap().push(input.records());
        *out = Some(input);
        tidegate_runtime::Step::Done
    }
}

#[tokio::test(start_paused = true)]
async fn a_fork_to_ports_delivers_to_all_and_joins_what_others_send() {
    let builder = Pipeline::builder("fork");
    let (left, left_kept) = collecting(&builder, "left");
    let (right, right_kept) = collecting(&builder, EdgeSpec::new("right").records(10));
    builder.boxed_source("count", source::iter(0..1_000_u64)).fork_to(&[(&left, true), (&right, true)]);
    builder.boxed_source("more", source::iter(5_000..5_010_u64)).to(&right);
    let report = run(&builder).await;
    assert_eq!((left_kept.len(), right_kept.len()), (1_000, 1_010));
    assert_eq!(ended(&report, Outcome::Delivered), 1_010);
}

#[tokio::test(start_paused = true)]
async fn a_slow_best_effort_branch_costs_only_itself() {
    let builder = Pipeline::builder("fork");
    let (fast, kept) = collecting(&builder, "fast");
    let (slow, flow) = builder.boxed_port::<Numbers>(EdgeSpec::new("slow").records(300).on_full(OnFull::DropNewest));
    flow.sink("slow", sink::for_each_async(|_: u64| tokio::time::sleep(Duration::from_secs(1))));
    builder.boxed_source("count", source::iter(0..10_000_u64)).fork_to(&[(&fast, true), (&slow, false)]);
    let report = run(&builder).await;
    assert_eq!(kept.len(), 10_000);
    assert_eq!(ended(&report, Outcome::Delivered), 10_000, "{report}");
    assert!(report.ledger.shed().any(|(edge, _, records)| edge == "slow" && records.get() > 5_000), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_choice_sends_each_record_to_its_branches_and_settles_it_once() {
    let builder = Pipeline::builder("choice");
    let (twos, twos_kept) = collecting(&builder, "twos");
    let (threes, threes_kept) = collecting(&builder, "threes");
    // Nobody takes the multiples of five.
    let branches = [Some(&twos), Some(&threes), None];
    builder.boxed_source("count", source::iter(1..=30_000_u64)).choose_to(Multiples, &branches);
    let report = run(&builder).await;
    assert_eq!(twos_kept.take(), (1..=30_000).filter(|n| n % 2 == 0).collect::<Vec<u64>>());
    assert_eq!(threes_kept.take(), (1..=30_000).filter(|n| n % 3 == 0).collect::<Vec<u64>>());
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Filtered)), (20_000, 10_000), "{report}");
}

#[tokio::test(start_paused = true)]
async fn junctions_without_a_branch_are_refused() {
    let builder = Pipeline::builder("none");
    builder.boxed_source("fork", source::iter(0..1_u64)).fork_to(&[]);
    builder.boxed_source("choice", source::iter(0..1_u64)).choose_to(Multiples, &[None, None]);
    let refused = builder.build().err().unwrap().to_string();
    assert!(refused.contains("junction \"fork\" has 0 branches"), "{refused}");
    assert!(refused.contains("junction \"choice\" has 0 branches"), "{refused}");
}

/// A source of one watched record, which its companion answers.
struct Asking {
    left: u32,
    watches: tokio::sync::mpsc::Sender<GroupWatch>,
    asked: Option<tokio::sync::mpsc::Receiver<GroupWatch>>,
    answers: Arc<Mutex<Vec<GroupOutcome>>>,
    given: Arc<Mutex<Option<Account>>>,
}

impl Source for Asking {
    type Payload = Numbers;
    type Position = ();
    type Committer = NoCommit;

    fn open(&mut self, cx: SourceContext) {
        assert_eq!(&*cx.name, "asking");
        assert_eq!((cx.slabs.slab_size(), cx.slabs.account().minimum()), (1 << 10, kib(4)));
        *self.given.lock().unwrap() = Some(cx.holding);
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    fn companion(&mut self, mut closing: Intake) -> Option<Companion> {
        let (mut asked, answers) = (self.asked.take()?, Arc::clone(&self.answers));
        Some(Box::pin(async move {
            loop {
                tokio::select! {
                    biased;
                    Some(watch) = asked.recv() => {
                        let outcome = watch.await;
                        answers.lock().unwrap().push(outcome);
                    }
                    () = closing.shut() => break,
                }
            }
        }))
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        Ok(if self.left == 0 { Readiness::Ended } else { Readiness::Ready })
    }

    fn read(&mut self, _room: Weight, mut into: Numbers) -> Result<Pull<Numbers, ()>, Cause> {
        self.left -= 1;
        into.push(u64::from(self.left));
        Ok(Pull { payload: into, position: None })
    }

    fn watches(&self) -> bool {
        true
    }

    fn watch(&mut self, watch: GroupWatch) {
        self.watches.try_send(watch).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_companion_answers_what_its_source_read_before_the_pipeline_ends() {
    let (watches, asked) = tokio::sync::mpsc::channel(64);
    let (answers, given) = (Arc::default(), Arc::default());
    let asking =
        Asking { left: 20, watches, asked: Some(asked), answers: Arc::clone(&answers), given: Arc::clone(&given) };
    let builder = Pipeline::builder("companion").budget(mib(16));
    let (port, kept) = collecting(&builder, "keep");
    builder.boxed_source("asking", SourceOptions::new(asking).holding(kib(100)).slabs(1 << 10, 4, 100)).to(&port);
    let pipeline = builder.build().unwrap();
    let line = pipeline.memory().to_string();
    assert!(line.contains("between reads") && line.contains("slabs"), "{line}");
    let report = pipeline.start().wait().await;
    report.ledger.check().unwrap();
    assert_eq!(kept.len(), 20);
    let answers = answers.lock().unwrap();
    assert_eq!(answers.len(), 20);
    assert!(answers.iter().all(|answer| answer.counts.get(Outcome::Delivered).get() == 1 && answer.nack.is_none()));
    let account = given.lock().unwrap().take().unwrap();
    assert_eq!((account.minimum(), account.used()), (kib(100), Bytes::ZERO));
}
