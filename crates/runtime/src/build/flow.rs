//! [`Flow`]: a pipeline under construction, from its inlet to the last operator so far.

use std::sync::{Arc, Mutex};

use tidegate_flow::{Batch, EdgeId, EdgeSpec, Items, Payload, StageId, Weigh, Weight};

use super::draft::{Launcher, PipelineBuilder};
use super::launch::StageLaunch;
use super::options::SinkOptions;
use crate::context::Supervision;
use crate::edge::{EdgeRx, EdgeTx};
use crate::egress::{Delivery, PoolOutlet, Sink, SinkOutlet, SinkPolicy};
use crate::fused::Fused;
use crate::inlet::EdgeInlet;
use crate::outlet::{EdgeOutlet, Side};
use crate::probe::Due;
use crate::records::{Identity, Records};
use crate::stage::{Inlet, Outlet, Stage};
use crate::transform::{Pass, Then, Transform};

/// A payload that flows can be built of: it says which operators a fresh flow of it starts with.
pub trait Head: Payload + Default {
    /// The empty chain that further operators extend.
    type Tail: Transform<Self, Out = Self>;

    /// The chain at the start of a stage.
    fn tail() -> Self::Tail;
}

impl<T: Weigh + Send + 'static> Head for Items<T> {
    type Tail = Records<Identity<T>>;

    fn tail() -> Self::Tail {
        Records::new(Identity::default())
    }
}

/// A flow right behind an edge.
pub type EdgeFlow<P> = Flow<EdgeInlet<P>, Pass, <P as Head>::Tail>;

/// A flow of typed records: `I` is where it comes from, `U` what it has been through, `C` the fused record operators.
pub type RecordFlow<I, U, C> = Flow<I, U, Records<C>>;

/// Where several flows of a pipeline send to; see [`PipelineBuilder::port`].
pub struct Port<P: Payload> {
    pub(super) id: EdgeId,
    /// The producer that others are cloned from; let go when the pipeline is planned, so that a port that is still
    /// around does not keep its edge open.
    pub(super) prototype: Arc<Mutex<Option<EdgeTx<Batch<P>>>>>,
}

/// A producer's end of an edge, until the stage that holds it is started.
pub(super) struct EdgeEnd<P: Payload> {
    pub(super) id: EdgeId,
    pub(super) tx: EdgeTx<Batch<P>>,
}

/// A pipeline under construction, from its inlet to the last operator so far. Consumed by each step; a flow that is
/// let go without a consumer is an error when the pipeline is built.
///
/// Operators between two edges are fused: they run in one task with no queue between them. The number of queues of
/// a pipeline is the number of its edges.
#[must_use = "a flow must end in a sink, an edge, a junction or a port"]
pub struct Flow<I, U, V> {
    pub(super) builder: PipelineBuilder,
    pub(super) stage: StageId,
    pub(super) inlet: MakeInlet<I>,
    pub(super) upstream: U,
    pub(super) tail: V,
}

/// The consumer's end of an edge, until the stage that holds it is started.
pub(super) struct EdgeStart<P: Payload> {
    pub(super) id: EdgeId,
    pub(super) rx: EdgeRx<Batch<P>>,
}

/// Makes the inlet of a stage when the stage is started.
pub(super) type MakeInlet<I> = Box<dyn FnOnce(&StageLaunch<'_>) -> I + Send>;

impl<I: Inlet> Flow<I, Pass, <I::Payload as Head>::Tail>
where
    I::Payload: Head,
{
    pub(super) fn start(builder: PipelineBuilder, stage: StageId, inlet: MakeInlet<I>) -> Self {
        Self { builder, stage, inlet, upstream: Pass, tail: <I::Payload as Head>::tail() }
    }
}

impl<I, U, V> Flow<I, U, V>
where
    I: Inlet,
    U: Transform<I::Payload>,
    V: Transform<U::Out>,
{
    /// Names the stage that this flow runs in. Default: the name of its source, or of the edge before it.
    pub fn named(self, name: &str) -> Self {
        self.builder.lock().rename(self.stage, name);
        self
    }

    /// What this stage does after a fault. Default: that of the pipeline.
    ///
    /// A restart of the record operators needs [`Flow::restartable`]; without it they keep their state.
    pub fn supervise(self, supervision: Supervision) -> Self {
        self.builder.lock().stage(self.stage).supervision = Some(supervision);
        self
    }

    /// Adds a step that works on whole batches.
    pub fn transform<T>(self, step: T) -> Flow<I, Then<Then<U, V, U::Out>, T, V::Out>, <T::Out as Head>::Tail>
    where
        T: Transform<V::Out>,
        T::Out: Head,
    {
        let Self { builder, stage, inlet, upstream, tail } = self;
        Flow {
            builder,
            stage,
            inlet,
            upstream: Then::new(Then::new(upstream, tail), step),
            tail: <T::Out as Head>::tail(),
        }
    }

    /// Puts an edge here: what follows runs in a stage of its own, and a queue with a window and a policy lies
    /// between the two.
    pub fn edge(self, spec: impl Into<EdgeSpec>) -> EdgeFlow<V::Out>
    where
        V::Out: Head,
    {
        let builder = self.builder.clone();
        let (end, rx) = builder.new_edge(spec.into());
        self.send_to(end);
        builder.edge_flow(rx)
    }

    /// Sends everything to a port, where it is merged with what others send.
    pub fn to(self, port: &Port<V::Out>) {
        match self.builder.another_producer(port) {
            Some(end) => self.send_to(end),
            None => self.abandon(),
        }
    }

    /// Sends everything to a port in the given priority lane (0 first) of its edge: a prioritised merge. The edge needs
    /// that many lanes.
    pub fn to_lane(self, port: &Port<V::Out>, lane: u8) {
        let prioritised = self.builder.another_producer(port).and_then(|end| {
            let tx = end.tx.for_lane(lane).ok()?;
            Some(EdgeEnd { id: end.id, tx })
        });
        match prioritised {
            Some(end) => self.send_to(end),
            None => self.abandon(),
        }
    }

    /// Sends everything back to a port that this flow itself came through: a declared loop. The port's edge needs a
    /// policy other than `block`, or the pipeline is refused, because a loop that blocks fills up and stops.
    ///
    /// A pipeline with a loop completes when its sources have ended and everything they read is settled.
    pub fn feed_back(self, port: &Port<V::Out>) {
        self.builder.declare_feedback(port);
        self.to(port);
    }

    /// Ends in a sink.
    pub fn sink<S: Sink<V::Out>>(self, name: &str, sink: S) {
        self.sink_with(name, sink, SinkOptions::default());
    }

    /// Ends in a sink, with options: retries, a timeout, a dead letter port.
    pub fn sink_with<S: Sink<V::Out>>(self, name: &str, sink: S, options: SinkOptions<'_, V::Out>) {
        let (dead_letters, policy) = self.end_in_sink(name, options);
        self.finish(move |launch| {
            let dead_letters = dead_letters.map(|side| launch.dead_letters(side));
            let tools = launch.delivery_tools(launch.due.clone(), dead_letters.is_some());
            SinkOutlet::new(Delivery::new(sink, policy, tools, launch.spares()), dead_letters)
        });
    }

    /// Ends in several sinks of one kind, each of which is given the next batch when it is free: as many deliveries are
    /// under way at once as there are sinks. The order of the batches is given up, that of the records in one is kept;
    /// retries, time limits and dead letters are those of the options, for each delivery on its own.
    pub fn sink_pool<S: Sink<V::Out>>(self, name: &str, sinks: Vec<S>, options: SinkOptions<'_, V::Out>) {
        if sinks.is_empty() {
            self.refuse(format!("\"{name}\" is a pool of no sinks; give it at least one"));
        }
        let (dead_letters, policy) = self.end_in_sink(name, options);
        let largest = self.builder.lock().batch;
        // Each batch under way takes a settle slot, and is charged, until it was answered.
        let others = sinks.len().saturating_sub(1) as u64;
        let held = |each: u64| each.saturating_mul(others);
        self.holds(Weight::new(held(largest.records.get()), held(largest.bytes.get())));
        self.finish(move |launch| {
            let dead_letters = dead_letters.map(|side| launch.dead_letters(side));
            let keeps = dead_letters.is_some();
            let delivery = |sink| {
                Delivery::new(sink, policy.clone(), launch.delivery_tools(Due::default(), keeps), launch.spares())
            };
            PoolOutlet::new(sinks.into_iter().map(delivery).collect(), dead_letters)
        });
    }

    /// Notes that the flow ends in a sink; gives the producer for its dead letters.
    fn end_in_sink(&self, name: &str, options: SinkOptions<'_, V::Out>) -> (Option<Side<V::Out>>, SinkPolicy) {
        let stage = self.builder.lock().end_in_sink(self.stage, name);
        (options.dead_letters.map(|port| self.builder.side_producer(port, stage)), options.policy)
    }

    pub(super) fn send_to(self, end: EdgeEnd<V::Out>) {
        self.builder.lock().graph.add_producer(end.id, self.stage);
        self.finish(move |launch| EdgeOutlet::new(launch.producer(end)));
    }

    /// Leaves the stage without an end, where `build` has an error to report about it already.
    pub(super) fn abandon(self) {
        let Self { builder, stage, .. } = self;
        builder.lock().stage(stage).abandoned = true;
    }

    /// Makes the flow a stage that sends to the given outlet.
    pub(super) fn finish<O: Outlet<V::Out>>(self, outlet: impl FnOnce(&StageLaunch<'_>) -> O + Send + 'static) {
        let Self { builder, stage, inlet, upstream, tail } = self;
        let mut transform = Then::new(upstream, tail);
        builder.lock().stage(stage).batches_in_hand += transform.batches_in_hand();
        let launcher: Launcher = Box::new(move |launch| {
            let context = launch.context();
            transform.open(&context);
            let inlet = Fused::new(inlet(launch), transform, launch.clock());
            let outlet = outlet(launch);
            Box::pin(Stage { inlet, outlet, context }.run())
        });
        builder.lock().stage(stage).launch = Some(launcher);
    }
}
