//! [`join`]: makes the stages and edges of a plan.

use std::sync::Arc;

use tidegate_flow::{Bytes, EdgeSpec, Weight};
use tidegate_runtime::inlet::EdgeInlet;
use tidegate_runtime::{BoxTransform, Chooser, LetterTray, NewStep, PipelineBuilder, Port};

use super::layout::{Layout, Output};
use super::slot::{End, PlannedStep, RowsFlow, SinkSlot, SourceSlot, Stage};
use super::{Node, Part, WireError, durable};
use crate::Rows;
use crate::columns::{Columns, Sorting};
use crate::contract::{BuildContext, BuiltTransform, SourceConfig, StartError};
use crate::options::Buffer;

/// Puts the nodes on `builder`, which then has to be built and started as any other. Must be called within the tokio
/// runtime that the pipeline will run on.
///
/// # Errors
/// What is wrong with which node: with its inputs, or what it said when it was started. Some nodes may be on the builder
/// then; it is of no use any more.
pub fn join(builder: &PipelineBuilder, nodes: Vec<Node>, cx: &BuildContext) -> Result<Layout, Vec<WireError>> {
    let layout = Layout::of(&nodes)?;
    let (edges, flows) = Edges::of(builder, &nodes, &layout, cx);
    let columns: Vec<Option<Columns>> = nodes.iter().map(|node| node.columns.clone()).collect();
    let names: Vec<Arc<str>> = nodes.iter().map(|node| Arc::clone(&node.name)).collect();
    let mut parts = Parts { parts: Vec::new(), errors: Vec::new() };
    let heads = parts.start_sinks(builder, nodes, flows, &edges, cx);
    for (at, flow) in heads {
        let flow = flow.named(&names[at]);
        if let Some(stage) = parts.stage_from(at, &edges) {
            stage.complete(flow);
        }
    }
    for (at, name) in names.iter().enumerate() {
        if let Some(source) = parts.take_source(at)
            && let Some(stage) = parts.stage_behind(at, Vec::new(), &edges)
        {
            let started = columns[at]
                .as_ref()
                .map(Columns::build)
                .transpose()
                .and_then(|sorter| source.start(SourceSlot { name: Arc::clone(name), cx, builder, stage, sorter }));
            parts.note(name, started);
        }
    }
    if parts.errors.is_empty() { Ok(layout) } else { Err(parts.errors) }
}

type EdgeFlow = RowsFlow<EdgeInlet<Rows>>;

/// The edges of the plan, by what sends to them.
struct Edges<'a> {
    layout: &'a Layout,
    names: Vec<Arc<str>>,
    /// Before each node that is not a source and not fused.
    before: Vec<Option<Port<Rows>>>,
    /// Behind each named output that several nodes take.
    behind: Vec<Vec<Option<Port<Rows>>>>,
    /// How each sorts what is in it.
    sorting: Sorting,
    /// For each node the sink of its dead letters, and where a transform puts them.
    letters: Vec<Option<Arc<str>>>,
    trays: Vec<LetterTray<Rows>>,
}

impl<'a> Edges<'a> {
    /// Makes the edges, and gives the flow behind each of those before a node.
    fn of(
        builder: &PipelineBuilder,
        nodes: &[Node],
        layout: &'a Layout,
        cx: &BuildContext,
    ) -> (Self, Vec<Option<EdgeFlow>>) {
        let sorting = nodes.iter().filter_map(|node| node.columns.as_ref()).fold(Sorting::default(), Sorting::with);
        let mut before = Vec::with_capacity(nodes.len());
        let mut flows = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            let stands_alone = layout.producers(at) > 0 && !layout.is_fused(at);
            let made = stands_alone.then(|| edge_before(builder, node, layout.producers(at), sorting, cx));
            let (port, flow) = made.unzip();
            before.push(port);
            flows.push(flow);
        }
        let names = nodes.iter().map(|node| Arc::clone(&node.name)).collect();
        let letters = nodes.iter().map(|node| node.dead_letters.clone()).collect();
        let trays = nodes.iter().map(|_| LetterTray::default()).collect();
        let mut edges = Self { layout, names, before, behind: Vec::new(), sorting, letters, trays };
        edges.behind = (0..nodes.len()).map(|at| edges.junctions(builder, at)).collect();
        (edges, flows)
    }

    /// For each output of a node with named ones an edge where several nodes take it, and the fork behind that.
    fn junctions(&self, builder: &PipelineBuilder, at: usize) -> Vec<Option<Port<Rows>>> {
        let outputs = self.layout.outputs(at);
        let junction = |output: &Output| {
            let is_one_of_several = output.name.is_some() || outputs.len() > 1;
            if !is_one_of_several || output.to.len() < 2 {
                return None;
            }
            let name = format!("{}.{}", self.names[at], output.name.as_deref().unwrap_or("main"));
            let (port, flow) = builder.boxed_port(self.sorting.of_edge(EdgeSpec::new(name).max_producers(1)));
            flow.fork_to(&self.branches(output));
            Some(port)
        };
        outputs.iter().map(junction).collect()
    }

    fn branches(&self, output: &Output) -> Vec<(&Port<Rows>, bool)> {
        let branch = |to: &usize| Some((self.before[*to].as_ref()?, self.layout.is_required(*to)));
        output.to.iter().filter_map(branch).collect()
    }

    /// Where the only output of a node leads.
    fn end(&self, at: usize) -> Option<End<'_>> {
        let branches = self.branches(self.layout.outputs(at).first()?);
        match *branches.as_slice() {
            [] => None,
            [(port, _)] => Some(End::To(port)),
            _ => Some(End::Fork(branches)),
        }
    }

    /// Where the named outputs of a node lead.
    fn choice(&self, at: usize, chooser: Box<dyn Chooser<Rows>>) -> End<'_> {
        let outputs = self.layout.outputs(at).iter().zip(&self.behind[at]);
        let ports = outputs.map(|(output, junction)| {
            junction.as_ref().or_else(|| output.to.first().and_then(|to| self.before[*to].as_ref()))
        });
        End::Choice(chooser, ports.collect())
    }

    /// The step of a node, under its name.
    fn step(&self, at: usize, step: BoxTransform<Rows>, holds: Weight) -> PlannedStep<'_> {
        let port = self.letters[at].as_ref().and_then(|letters| self.named(letters));
        let letters = port.map(|port| (self.trays[at].clone(), port));
        PlannedStep { step: NewStep { name: self.names[at].to_string(), step, holds }, letters }
    }

    fn named(&self, name: &Arc<str>) -> Option<&Port<Rows>> {
        let at = self.names.iter().position(|known| known == name)?;
        self.before[at].as_ref()
    }
}

/// The edge before a node, or what stands there where its buffer is on disk: where others send to, and the flow of the
/// node.
fn edge_before(
    builder: &PipelineBuilder,
    node: &Node,
    producers: u16,
    sorting: Sorting,
    cx: &BuildContext,
) -> (Port<Rows>, EdgeFlow) {
    let buffer = node.buffer.clone().unwrap_or_default();
    if !buffer.is_on_disk() {
        return builder.boxed_port(sorting.of_edge(buffer.spec(&node.name, producers)));
    }
    let (port, before) = builder.boxed_port(sorting.of_edge(durable::edge_before(node, &buffer, producers)));
    let (behind, flow) = builder.boxed_port(sorting.of_edge(Buffer::default().spec(&node.name, 1)));
    durable::put_log(builder, node, &buffer, before, &behind, cx);
    (port, flow)
}

/// The nodes, as far as their stages are not made.
struct Parts {
    parts: Vec<Waiting>,
    errors: Vec<WireError>,
}

/// A node that waits for its stage.
enum Waiting {
    Source(Box<dyn SourceConfig>),
    Transform(BuiltTransform),
    Done,
}

impl Parts {
    /// Starts the sinks and builds the transforms; gives the flows of the stages that begin with a transform.
    fn start_sinks(
        &mut self,
        builder: &PipelineBuilder,
        nodes: Vec<Node>,
        flows: Vec<Option<EdgeFlow>>,
        edges: &Edges<'_>,
        cx: &BuildContext,
    ) -> Vec<(usize, EdgeFlow)> {
        let mut heads = Vec::new();
        for (at, (node, flow)) in nodes.into_iter().zip(flows).enumerate() {
            let name = node.name;
            let waiting = match (node.part, flow) {
                (Part::Source(source), _) => Ok(Waiting::Source(source)),
                (Part::Transform(transform), flow) => {
                    heads.extend(flow.map(|flow| (at, flow)));
                    let tray = edges.letters[at].as_ref().map(|_| edges.trays[at].clone());
                    let one_way = edges.layout.comes_one_way(at);
                    let cx = BuildContext { letters: tray, one_way, ..cx.for_node(&name) };
                    transform.build(&cx).map(Waiting::Transform)
                }
                (Part::Sink(_), None) => Err(StartError::new("it has no inputs")),
                (Part::Sink(sink), Some(flow)) => {
                    let dead_letters = node.dead_letters.as_ref().and_then(|letters| edges.named(letters));
                    let slot =
                        SinkSlot { name: Arc::clone(&name), cx, builder, flow, dead_letters, encoding: Bytes::ZERO };
                    sink.start(slot).map(|()| Waiting::Done)
                }
            };
            let waiting = waiting.unwrap_or_else(|error| {
                self.errors.push(WireError { node: name, error });
                Waiting::Done
            });
            self.parts.push(waiting);
        }
        if self.errors.is_empty() { heads } else { Vec::new() }
    }

    /// A source that is to be started, unless something is wrong already.
    fn take_source(&mut self, at: usize) -> Option<Box<dyn SourceConfig>> {
        if !self.errors.is_empty() || !matches!(self.parts[at], Waiting::Source(_)) {
            return None;
        }
        match std::mem::replace(&mut self.parts[at], Waiting::Done) {
            Waiting::Source(source) => Some(source),
            Waiting::Transform(_) | Waiting::Done => None,
        }
    }

    fn note(&mut self, name: &Arc<str>, started: Result<(), StartError>) {
        if let Err(error) = started {
            self.errors.push(WireError { node: Arc::clone(name), error });
        }
    }

    /// The stage that begins with the transform `at`.
    fn stage_from<'a>(&mut self, at: usize, edges: &'a Edges<'_>) -> Option<Stage<'a>> {
        match std::mem::replace(&mut self.parts[at], Waiting::Done) {
            Waiting::Transform(BuiltTransform::Step { step, holds }) => {
                self.stage_behind(at, vec![edges.step(at, step, holds)], edges)
            }
            Waiting::Transform(BuiltTransform::Choice(chooser)) => {
                Some(Stage { steps: Vec::new(), choice: None, end: edges.choice(at, chooser) })
            }
            Waiting::Transform(BuiltTransform::StepThenChoice { step, holds, chooser }) => {
                Some(Stage { steps: vec![edges.step(at, step, holds)], choice: None, end: edges.choice(at, chooser) })
            }
            Waiting::Source(_) | Waiting::Done => None,
        }
    }

    /// The steps, then those of the nodes behind `at` that are fused, and where they lead.
    fn stage_behind<'a>(
        &mut self,
        mut at: usize,
        mut steps: Vec<PlannedStep<'a>>,
        edges: &'a Edges<'_>,
    ) -> Option<Stage<'a>> {
        while let Some([next]) = edges.layout.outputs(at).first().map(|output| output.to.as_slice())
            && edges.layout.is_fused(*next)
        {
            at = *next;
            match std::mem::replace(&mut self.parts[at], Waiting::Done) {
                Waiting::Transform(BuiltTransform::Step { step, holds }) => steps.push(edges.step(at, step, holds)),
                Waiting::Transform(BuiltTransform::Choice(chooser)) => {
                    let choice = Some(Arc::clone(&edges.names[at]));
                    return Some(Stage { steps, choice, end: edges.choice(at, chooser) });
                }
                Waiting::Transform(BuiltTransform::StepThenChoice { step, holds, chooser }) => {
                    steps.push(edges.step(at, step, holds));
                    return Some(Stage { steps, choice: None, end: edges.choice(at, chooser) });
                }
                Waiting::Source(_) | Waiting::Done => return None,
            }
        }
        Some(Stage { steps, choice: None, end: edges.end(at)? })
    }
}
