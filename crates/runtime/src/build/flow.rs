//! [`Flow`]: a pipeline under construction, from its inlet to the last operator so far.

use tidegate_flow::{Batch, EdgeId, EdgeSpec, Items, OnFull, Payload, StageId, Weigh, Weight};

use super::draft::{Launcher, PipelineBuilder, said_of};
use super::error::BuildError;
use super::launch::StageLaunch;
use super::options::SinkOptions;
use super::port::Port;
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
            Ok(end) => self.send_to(end),
            Err(error) => self.abandon(error),
        }
    }

    /// Sends everything to a port in the given priority lane (0 first) of its edge: a prioritised merge. The edge needs
    /// that lane, or the pipeline is refused.
    pub fn to_lane(self, port: &Port<V::Out>, lane: u8) {
        match self.builder.producer_in_lane(port, lane) {
            Ok(end) => self.send_to(end),
            Err(error) => self.abandon(error),
        }
    }

    /// Sends everything back to a port that this flow itself came through: a declared loop. The port's edge needs a
    /// policy other than `block`, or the pipeline is refused, because a loop that blocks fills up and stops. That policy
    /// applies to all who send there, to fresh input as well; see [`feed_back_with`](Self::feed_back_with) for a loop that
    /// sheds while fresh input waits.
    ///
    /// A pipeline with a loop completes when its sources have ended and everything they read is settled.
    pub fn feed_back(self, port: &Port<V::Out>) {
        self.close_loop(port, None);
    }

    /// [`feed_back`](Self::feed_back) with a policy for what comes back alone, other than `block`: the port's edge does
    /// what it is told to with the rest, such as to let fresh input wait.
    ///
    /// Fresh input that waits takes all the room there is, so keep some for what comes back: a lane of its own with a
    /// floor. What comes back goes into the lane that its records have; lane 0 unless they were classified.
    ///
    /// ```
    /// use tidegate_flow::{EdgeSpec, Items, OnFull};
    /// use tidegate_runtime::{Pipeline, sink, source};
    ///
    /// let builder = Pipeline::builder("retries");
    /// let (again, tries) = builder.port::<Items<(u64, u8)>>(EdgeSpec::new("tries").lanes(&[50, 0]));
    /// builder.source("fresh", source::iter((0..100).map(|n| (n, 0)))).to_lane(&again, 1);
    /// let tried = tries.named("try").map(|(n, tries)| (n, tries + 1));
    /// let [back, done] = tried.partition(|(_, tries)| usize::from(*tries == 3), ["back", "done"].map(EdgeSpec::new));
    /// back.feed_back_with(&again, OnFull::DropNewest);
    /// done.sink("store", sink::null());
    /// builder.build()?;
    /// # Ok::<(), tidegate_runtime::BuildErrors>(())
    /// ```
    pub fn feed_back_with(self, port: &Port<V::Out>, when_full: OnFull) {
        if when_full == OnFull::Divert {
            self.refuse("what comes back through a loop cannot be diverted; let it be shed, or fail".to_string());
        }
        self.close_loop(port, Some(when_full));
    }

    fn close_loop(self, port: &Port<V::Out>, when_full: Option<OnFull>) {
        match self.builder.another_producer(port) {
            Ok(EdgeEnd { id, mut tx }) => {
                let mut draft = self.builder.lock();
                let edge = draft.graph.edge_mut(id);
                edge.feedback = true;
                if let Some(when_full) = when_full {
                    edge.feedback_on_full = Some(said_of(when_full));
                    tx = tx.with_policy(when_full);
                }
                drop(draft);
                self.send_to(EdgeEnd { id, tx });
            }
            Err(error) => self.abandon(error),
        }
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
            let delivery = |(number, sink)| {
                let policy = SinkPolicy { jitter: policy.jitter.of_sink(number), ..policy.clone() };
                Delivery::new(sink, policy, launch.delivery_tools(Due::default(), keeps), launch.spares())
            };
            PoolOutlet::new(sinks.into_iter().enumerate().map(delivery).collect(), dead_letters)
        });
    }

    /// Notes that the flow ends in a sink; gives the producer for its dead letters.
    fn end_in_sink(&self, name: &str, options: SinkOptions<'_, V::Out>) -> (Option<Side<V::Out>>, SinkPolicy) {
        let stage = {
            let mut draft = self.builder.lock();
            let stage = draft.end_in_sink(self.stage, name);
            draft.stage(stage).encoding += options.encoding;
            stage
        };
        (options.dead_letters.map(|port| self.builder.side_producer(port, stage)), options.policy)
    }

    pub(super) fn send_to(self, end: EdgeEnd<V::Out>) {
        self.builder.lock().connect(end.id, self.stage);
        self.finish(move |launch| EdgeOutlet::new(launch.producer(end)));
    }

    /// Leaves the stage without an end, for a reason that `build` will report.
    pub(super) fn abandon(self, error: BuildError) {
        let Self { builder, stage, .. } = self;
        let mut draft = builder.lock();
        draft.stage(stage).abandoned = true;
        draft.refuse(error);
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
