//! Builds the pipeline of a [`Plan`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Bytes, EdgeSpec, Items, Weight};
use tidegate_runtime::egress::SinkPolicy;
use tidegate_runtime::ingress::SourceInlet;
use tidegate_runtime::inlet::EdgeInlet;
use tidegate_runtime::records::{Identity, Records};
use tidegate_runtime::source::IterSource;
use tidegate_runtime::transform::Pass;
use tidegate_runtime::{
    Backoff, Branch, BuildError, BuildErrors, EdgeFlow, Flow, KillSwitch, Pipeline, PipelineBuilder, Port, SinkOptions,
    SourceOptions, Supervision, source,
};

use crate::book::Book;
use crate::chain::{Way, chain, chain_stuck};
use crate::parts::{Faulty, RETRIES, Scripted, classes};
use crate::plan::{Care, EdgePlan, Plan, Shape, SinkPlan, Site, Step};
use crate::record::Rec;
use crate::rng::{Rng, mix2};
use crate::steps::{self, Mark, Salt};
use crate::stuck::{self, Stuck};

type Fresh<I> = Flow<I, Pass, Records<Identity<Rec>>>;
type Iterated = IterSource<Box<dyn Iterator<Item = Rec> + Send>>;

/// A flow that nothing was done to yet.
enum Open {
    Scripted(Fresh<SourceInlet<Scripted>>),
    Iterated(Fresh<SourceInlet<Iterated>>),
    Edge(Fresh<EdgeInlet<Items<Rec>>>),
}

/// A pipeline, and how its sources are stopped.
pub struct Assembled {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Ends every source.
    pub kill: KillSwitch,
    /// Ends the first source.
    pub kill_first: KillSwitch,
}

/// Does the same with an open flow whatever it reads, with its mark applied first where it has one.
macro_rules! with_flow {
    ($slot:expr, $flow:ident => $then:expr) => {
        match $slot {
            (Open::Scripted($flow), _) => $then,
            (Open::Iterated($flow), _) => $then,
            (Open::Edge($flow), None) => $then,
            (Open::Edge(flow), Some(mark)) => {
                let $flow = flow.map(mark.apply());
                $then
            }
        }
    };
}

/// Builds the pipeline with the least budget that it is not refused for, times what the plan says.
///
/// # Errors
/// What is wrong with the plan, other than its budget.
pub fn assemble(plan: &Plan, book: &Arc<Book>) -> Result<Assembled, BuildErrors> {
    let mut budget = 16 * 1024;
    loop {
        match Assembly::new(plan, budget, book).build() {
            Err(refused) if budget < 1 << 32 && is_for_budget(&refused) => budget = budget * 5 / 4,
            Ok(_) if plan.budget_times > 1 => return Assembly::new(plan, budget * plan.budget_times, book).build(),
            done => return done,
        }
    }
}

fn is_for_budget(refused: &BuildErrors) -> bool {
    refused.errors().iter().all(|error| matches!(error, BuildError::Budget(_)))
}

struct Assembly<'p> {
    plan: &'p Plan,
    book: &'p Arc<Book>,
    builder: PipelineBuilder,
    kill_first: KillSwitch,
    flows: Vec<Option<(Open, Option<Mark>)>>,
    ports: Vec<Port<Items<Rec>>>,
    spills: Vec<Port<Items<Rec>>>,
    sinks: usize,
    step: u64,
    rng: Rng,
}

impl<'p> Assembly<'p> {
    fn new(plan: &'p Plan, budget: u64, book: &'p Arc<Book>) -> Self {
        let builder = Pipeline::builder(format!("seed-{}", plan.seed))
            .budget(Bytes::new(budget))
            .batch(Weight::new(plan.batch.0, plan.batch.1))
            .stall_after(stuck::STALL_AFTER)
            .watch_every(stuck::WATCH_EVERY)
            .supervision(supervision(plan.supervision));
        Self {
            plan,
            book,
            builder,
            kill_first: KillSwitch::new(),
            flows: Vec::new(),
            ports: Vec::new(),
            spills: Vec::new(),
            sinks: 0,
            step: 0,
            rng: Rng::new(mix2(plan.seed, 99)),
        }
    }

    fn build(mut self) -> Result<Assembled, BuildErrors> {
        self.sources();
        let opened: Vec<_> = self.plan.spills.iter().map(|(edge, _)| self.builder.port(spec(edge))).collect();
        let (spills, flows): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        self.spills = spills;
        for step in &self.plan.steps {
            self.step += 1;
            self.step(step);
        }
        for (flow, (_, sink)) in flows.into_iter().zip(&self.plan.spills) {
            let options = sink_options(sink, None);
            let (name, sink) = self.faulty(sink, false);
            flow.sink_with(&name, sink, options);
        }
        let kill = self.builder.kill_switch();
        let pipeline = self.builder.build()?;
        Ok(Assembled { pipeline, kill, kill_first: self.kill_first })
    }

    fn sources(&mut self) {
        for (plan, number) in self.plan.sources.iter().zip(0_u8..) {
            let name = format!("s{number}");
            let mut script = Scripted::new(plan.clone(), number, self.plan.batch.1, self.rng.split(), self.book);
            let open = if plan.iterator {
                let records: Box<dyn Iterator<Item = Rec> + Send> =
                    Box::new(std::iter::from_fn(move || script.next_record()));
                Open::Iterated(self.builder.source(&name, source::iter(records)))
            } else {
                let mut options = SourceOptions::new(script);
                if plan.lanes > 0 {
                    options = options.classify_by(classes(plan));
                }
                if number == 0 {
                    options = options.kill_switch(&self.kill_first);
                }
                Open::Scripted(self.builder.source(&name, options))
            };
            self.flows.push(Some((open, None)));
        }
    }

    fn take(&mut self, flow: usize) -> (Open, Option<Mark>) {
        match self.flows.get_mut(flow).and_then(Option::take) {
            Some(open) => open,
            None => unreachable!("a plan uses each flow once, after it was opened"),
        }
    }

    fn opened(&mut self, flow: EdgeFlow<Items<Rec>>, mark: Option<Mark>) {
        self.flows.push(Some((Open::Edge(flow), mark)));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Port { edge, side } => {
                let (port, flow) = self.builder.port(spec(edge));
                self.ports.push(port);
                let step = mix2(self.step, 1_000);
                self.opened(flow, side.then_some(Mark { step, side: true, is_more: false }));
            }
            Step::Chain { flow, shape, edge, care } => {
                let (slot, salt) = (self.take(*flow), Salt(self.step));
                let way = Way { salt, ports: &self.ports, edge, spill: edge.diverts_to.map(|to| &self.spills[to]) };
                let stuck = self.plan.stall.map(|stall| Stuck::new(stall, self.book));
                let care = care.map(supervision);
                let flow = with_flow!(slot, flow => {
                    let flow = match care {
                        Some(care) => flow.supervise(care),
                        None => flow,
                    };
                    match (*shape, stuck) {
                        (Shape::Stuck, Some(stuck)) => chain_stuck(flow, stuck, &way),
                        (shape, _) => chain(flow, shape, &way),
                    }
                });
                self.opened(flow, None);
            }
            Step::Fork { flow, arms, marked } => self.fork(*flow, arms, *marked),
            Step::Partition { flow, edges } => self.partition(*flow, edges),
            Step::Send { flow, port } => {
                let slot = self.take(*flow);
                let port = &self.ports[*port];
                with_flow!(slot, flow => flow.to(port));
            }
            Step::Sink { flow, sink, dead_letters } => self.sink(*flow, sink, *dead_letters),
        }
    }

    fn fork(&mut self, flow: usize, arms: &[(EdgePlan, bool)], marked: bool) {
        let slot = self.take(flow);
        let branch = |(edge, required): &(EdgePlan, bool)| match required {
            true => Branch::required(spec(edge)),
            false => Branch::best_effort(spec(edge)),
        };
        let first = arms.iter().position(|(_, required)| *required);
        let branches: Vec<EdgeFlow<Items<Rec>>> = match arms {
            [a, b] => with_flow!(slot, flow => flow.fork([branch(a), branch(b)]).into()),
            [a, b, c] => with_flow!(slot, flow => flow.fork([branch(a), branch(b), branch(c)]).into()),
            _ => unreachable!("forks have two or three branches"),
        };
        for (arm, (flow, (_, required))) in branches.into_iter().zip(arms).enumerate() {
            let is_more = *required && Some(arm) != first;
            let mark = Mark { step: mix2(self.step, arm as u64), is_more, side: !required };
            self.opened(flow, (marked || !required).then_some(mark));
        }
    }

    fn partition(&mut self, flow: usize, edges: &[EdgePlan]) {
        let (slot, salt) = (self.take(flow), Salt(self.step));
        let branches: Vec<EdgeFlow<Items<Rec>>> = match edges {
            [a, b] if self.step.is_multiple_of(2) => {
                with_flow!(slot, flow => flow.route(steps::ByRow(salt, 2), [spec(a), spec(b)]).into())
            }
            [a, b] => with_flow!(slot, flow => flow.partition(steps::branch(salt, 2), [spec(a), spec(b)]).into()),
            [a, b, c] => {
                with_flow!(slot, flow => flow.partition(steps::branch(salt, 3), [spec(a), spec(b), spec(c)]).into())
            }
            _ => unreachable!("partitions have two or three branches"),
        };
        branches.into_iter().for_each(|flow| self.opened(flow, None));
    }

    fn sink(&mut self, flow: usize, plan: &SinkPlan, dead_letters: Option<usize>) {
        let slot = self.take(flow);
        let (name, sink) = self.faulty(plan, dead_letters.is_some());
        let options = sink_options(plan, dead_letters.map(|port| &self.ports[port]));
        with_flow!(slot, flow => flow.sink_with(&name, sink, options));
    }

    /// A sink, and its name.
    fn faulty(&mut self, plan: &SinkPlan, has_dead_letters: bool) -> (String, Faulty) {
        let planted = self.plan.stall.filter(|stall| stall.site == Site::Sink(self.sinks));
        let sink = Faulty {
            plan: plan.clone(),
            number: self.sinks,
            largest: self.plan.batch.1,
            has_dead_letters,
            unique: self.plan.is_marked(),
            ordered: self.plan.is_ordered(),
            rng: self.rng.split(),
            tries: HashMap::new(),
            stuck: planted.map(|stall| Stuck::new(stall, self.book)),
            noisy: self.plan.noisy,
            book: Arc::clone(self.book),
        };
        let name = format!("k{}", self.sinks);
        self.sinks += 1;
        (name, sink)
    }
}

/// What is done around a sink.
fn sink_options<'a>(plan: &SinkPlan, dead_letters: Option<&'a Port<Items<Rec>>>) -> SinkOptions<'a, Items<Rec>> {
    let backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(20), restarts: 10 };
    let timeout = (plan.timeout > 0).then(|| Duration::from_millis(plan.timeout));
    let mut options =
        SinkOptions::default().policy(SinkPolicy { retries: RETRIES, backoff, timeout, ..SinkPolicy::default() });
    if let Some(port) = dead_letters {
        options = options.dead_letters(port);
    }
    options
}

pub(crate) fn spec(plan: &EdgePlan) -> EdgeSpec {
    let spec = EdgeSpec::new(plan.name.as_str())
        .records(plan.records)
        .on_full(plan.when_full)
        .lanes(&plan.lanes)
        .buckets(plan.buckets);
    match plan.bytes {
        Some(bytes) => spec.bytes(Bytes::new(bytes)),
        None => spec,
    }
}

fn supervision(care: Care) -> Supervision {
    match care {
        Care::Stop => Supervision::Stop,
        Care::Resume => Supervision::Resume,
        Care::Restart(restarts) => {
            let (first, longest) = (Duration::from_millis(2), Duration::from_millis(50));
            Supervision::Restart(Backoff { first, longest, restarts })
        }
    }
}
