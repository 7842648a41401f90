//! The steps that shape a flow: batching, grouping, throttling, and the conditions on its input.

use std::hash::Hash;
use std::time::Duration;

use tidegate_flow::graph::{FanOut, OnFull as GraphOnFull};
use tidegate_flow::{Bytes, EdgeSpec, Items, OnFull, Records as RecordCount, Weigh, Weight};

use super::draft::PipelineBuilder;
use super::error::BuildError;
use super::flow::{EdgeFlow, Flow, Head, Port, RecordFlow};
use super::ops::Extended;
use crate::dead_letter::{Annotate, DeadLetter};
use crate::drain::KillSwitch;
use crate::inlet::{EdgeInlet, Gated, IdleTimeout};
use crate::ops::{BatchLimits, Batcher, Cost, Group, OverRate, PerRecord, Throttle, ThrottleBy, ThrottleSpec};
use crate::outlet::EdgeOutlet;
use crate::records::{Identity, RecordOp, Records};
use crate::stage::Inlet;
use crate::transform::{Pass, Transform};

/// The flow behind a dead letter queue.
pub type DeadLetters<T> = Extended<EdgeInlet<Items<T>>, Pass, Records<Identity<T>>, Annotate, Items<T>, Items<T>>;

impl<I, U, V> Flow<I, U, V>
where
    I: Inlet,
    U: Transform<I::Payload>,
    V: Transform<U::Out>,
    V::Out: Head,
{
    /// Joins small batches to larger ones, up to the given limits. A partial batch goes on as soon as what is behind it
    /// waits for input, so that nothing waits while there is little to do.
    pub fn batch(self, limits: BatchLimits) -> Extended<I, U, V, Batcher<V::Out>, U::Out, V::Out> {
        let bytes = if limits.bytes == Bytes::new(u64::MAX) { Bytes::ZERO } else { limits.bytes };
        self.holds(Weight { records: RecordCount::new(u64::from(limits.records)), bytes });
        if limits.records == 0 {
            self.refuse("a batch of no records is never full; set its limit to at least 1".to_string());
        }
        self.transform(Batcher::new(limits))
    }

    /// Lets records pass at a rate; see [`ThrottleSpec`].
    pub fn throttle(self, spec: ThrottleSpec) -> Extended<I, U, V, Throttle<V::Out, PerRecord>, U::Out, V::Out> {
        self.throttle_cost(spec, PerRecord)
    }

    /// Lets records pass at a rate in units of `cost`.
    pub fn throttle_cost<C: Cost<V::Out>>(
        self,
        spec: ThrottleSpec,
        cost: C,
    ) -> Extended<I, U, V, Throttle<V::Out, C>, U::Out, V::Out> {
        self.note_throttle(&spec);
        self.transform(Throttle::new(spec, cost))
    }

    /// Puts an edge here whose full batches go to `port` instead: the policy of the port's edge applies to them. The
    /// policy of `spec` itself becomes `divert`.
    pub fn edge_diverting(self, spec: impl Into<EdgeSpec>, port: &Port<V::Out>) -> EdgeFlow<V::Out> {
        let builder = self.builder.clone();
        let spec = spec.into().on_full(OnFull::Divert);
        let (end, rx) = builder.new_edge_to(spec, Some(GraphOnFull::Divert(port.id)));
        match builder.another_producer(port) {
            None => self.abandon(),
            Some(target) => {
                let mut draft = builder.lock();
                draft.graph.add_producer(end.id, self.stage);
                draft.graph.add_producer(target.id, self.stage);
                draft.graph.stage_mut(self.stage).fan_out = FanOut::Route;
                drop(draft);
                self.finish(move |launch| {
                    let target = launch.producer(target);
                    let mut tx = launch.producer(end);
                    // The edge was made to divert, and a new edge cannot be where an older port leads to.
                    let bound = tx.bind_divert(target);
                    debug_assert!(bound.is_ok(), "{bound:?}");
                    EdgeOutlet::new(tx)
                });
            }
        }
        builder.edge_flow(rx)
    }

    /// Ends this stage's input when the switch is thrown, as if the input had ended: what the stage had taken is still
    /// sent on. What waits in the edge before it goes back to its source.
    pub fn kill_switch(self, switch: &KillSwitch) -> Flow<Gated<I>, U, V> {
        let intake = switch.intake();
        self.map_inlet(move |inlet| Gated::new(inlet, intake))
    }

    /// Fails the pipeline when this stage asks for input and receives nothing for `limit`.
    pub fn idle_timeout(self, limit: Duration) -> Flow<IdleTimeout<I>, U, V> {
        if limit.is_zero() {
            self.refuse("an idle timeout of zero fails at once; set it above zero".to_string());
        }
        self.map_inlet(move |inlet| IdleTimeout::new(inlet, limit))
    }

    fn map_inlet<J>(self, change: impl FnOnce(I) -> J + Send + 'static) -> Flow<J, U, V>
    where
        J: Inlet<Payload = I::Payload>,
    {
        let Self { builder, stage, inlet, upstream, tail } = self;
        Flow { builder, stage, inlet: Box::new(move |launch| change(inlet(launch))), upstream, tail }
    }
}

impl<I, U, V> Flow<I, U, V> {
    /// Notes what a step of this stage may hold, so that the settle window of its source is made large enough.
    pub(super) fn holds(&self, weight: Weight) {
        let mut draft = self.builder.lock();
        draft.graph.stage_mut(self.stage).holding += weight;
    }

    /// Notes a mistake about this stage for `build`.
    pub(super) fn refuse(&self, text: String) {
        let mut draft = self.builder.lock();
        let stage = draft.stage(self.stage).name.to_string();
        draft.errors.push(BuildError::Setting { stage, text });
    }

    fn note_throttle(&self, spec: &ThrottleSpec) {
        if let Some(text) = spec.fault() {
            self.refuse(text);
        }
        if spec.over == OverRate::Enforce {
            self.builder.lock().graph.stage_mut(self.stage).may_drop = true;
        }
    }
}

impl<I, U, C> RecordFlow<I, U, C>
where
    I: Inlet,
    C: RecordOp,
    U: Transform<I::Payload, Out = Items<C::In>>,
{
    /// Makes one record, a `Vec`, of every `records` records. A group that is not complete goes on when its first
    /// records have waited for `linger`, on a flush and at the end, and where memory is short. The records settle when
    /// their group does.
    pub fn group(
        self,
        records: u32,
        linger: Duration,
    ) -> Extended<I, U, Records<C>, Group<C::Out>, Items<C::In>, Items<C::Out>> {
        if records == 0 {
            self.refuse("a group of no records is never complete; set its size to at least 1".to_string());
        }
        let batch = {
            let mut draft = self.builder.lock();
            draft.graph.stage_mut(self.stage).may_drop = true;
            let batch = draft.batch.bytes;
            draft.stage(self.stage).held += batch;
            batch
        };
        self.holds(Weight { records: RecordCount::new(u64::from(records)), bytes: batch });
        self.transform(Group::new(records, linger))
    }

    /// Lets the records of each key pass at a rate of their own and sheds what is over it; see [`ThrottleSpec::keys`].
    pub fn throttle_by<K, F>(
        self,
        spec: ThrottleSpec,
        key: F,
    ) -> Extended<I, U, Records<C>, ThrottleBy<PerRecord, F>, Items<C::In>, Items<C::Out>>
    where
        K: Hash,
        F: FnMut(&C::Out) -> K + Send + 'static,
    {
        self.throttle_by_cost(spec, PerRecord, key)
    }

    /// Like [`Flow::throttle_by`], in units of `cost`.
    pub fn throttle_by_cost<K, F, D>(
        self,
        spec: ThrottleSpec,
        cost: D,
        key: F,
    ) -> Extended<I, U, Records<C>, ThrottleBy<D, F>, Items<C::In>, Items<C::Out>>
    where
        K: Hash,
        F: FnMut(&C::Out) -> K + Send + 'static,
        D: Cost<Items<C::Out>>,
    {
        self.note_throttle(&spec);
        if spec.over == OverRate::Shape {
            let text = "a rate per key cannot delay records, or one key would hold up all others; use \
                        `ThrottleSpec::enforce`, or partition the flow and shape each branch";
            self.refuse(text.to_string());
        }
        self.builder.lock().stage(self.stage).held += ThrottleBy::<D, F>::holding(&spec);
        self.transform(ThrottleBy::new(spec, cost, key))
    }
}

impl PipelineBuilder {
    /// A port for records that were given up, and the flow that reads them, each with its cause. What that flow's sink
    /// accepts settles as dead-lettered.
    pub fn dead_letters<T>(&self, spec: impl Into<EdgeSpec>) -> (Port<Items<T>>, DeadLetters<T>)
    where
        T: Weigh + Send + 'static,
        DeadLetter<T>: Weigh,
    {
        let (port, flow) = self.port::<Items<T>>(spec);
        (port, flow.transform(Annotate))
    }
}
