//! The operators of a step, and the edge behind them.

use std::time::Duration;

use tidegate_flow::Items;
use tidegate_runtime::records::{RecordOp, Records};
use tidegate_runtime::stage::Inlet;
use tidegate_runtime::transform::{Pass, Transform};
use tidegate_runtime::{BatchLimits, EdgeFlow, Flow, Port, ThrottleSpec};

use crate::assemble::spec;
use crate::plan::{EdgePlan, Shape};
use crate::record::Rec;
use crate::rng::mix2;
use crate::steps::{self, Salt};
use crate::stuck::{Mute, Stuck};

/// Calls in flight.
const CALLS: u32 = 8;

/// Where the records of a step go, and what chance they have there.
pub struct Way<'a> {
    /// Chance.
    pub salt: Salt,
    /// Ports, by their numbers.
    pub ports: &'a [Port<Items<Rec>>],
    /// The edge behind the operators.
    pub edge: &'a EdgePlan,
    /// Where that edge diverts to.
    pub spill: Option<&'a Port<Items<Rec>>>,
}

impl Way<'_> {
    fn end<I, U, V>(&self, flow: Flow<I, U, V>) -> EdgeFlow<Items<Rec>>
    where
        I: Inlet,
        U: Transform<I::Payload>,
        V: Transform<U::Out, Out = Items<Rec>>,
    {
        match self.spill {
            Some(port) => flow.edge_diverting(spec(self.edge), port),
            None => flow.edge(spec(self.edge)),
        }
    }
}

/// Puts the operators of `shape` and an edge behind a flow.
pub fn chain<I, C>(flow: Flow<I, Pass, Records<C>>, shape: Shape, way: &Way<'_>) -> EdgeFlow<Items<Rec>>
where
    I: Inlet<Payload = Items<Rec>>,
    C: RecordOp<In = Rec, Out = Rec> + Clone,
{
    let (salt, ports) = (way.salt, way.ports);
    let (next, last) = (Salt(mix2(salt.0, 1)), Salt(mix2(salt.0, 2)));
    match shape {
        Shape::Plain | Shape::Stuck => way.end(flow),
        Shape::Map(panics) => way.end(flow.map(steps::change(salt, panics))),
        Shape::Filter => way.end(flow.filter(steps::keep(salt))),
        Shape::FilterMap => way.end(flow.filter_map(steps::keep_some(salt))),
        Shape::TryMap(every) => way.end(flow.try_map(steps::attempt(salt, every))),
        Shape::Three(every) => {
            let flow = flow.map(steps::change(salt, 0)).filter(steps::keep(next));
            way.end(flow.try_map(steps::attempt(last, every)))
        }
        Shape::FlatMap(panics) => way.end(flow.flat_map::<steps::Children, _>(steps::expand(salt, panics))),
        Shape::Expand(panics) => {
            let flow = flow.filter(steps::keep(salt)).flat_map::<steps::Children, _>(steps::expand(next, 0));
            way.end(flow.map(steps::change(last, panics)))
        }
        Shape::Tap(port) => way.end(flow.wire_tap(&ports[port]).map(steps::change(salt, 0))),
        Shape::Divert(port) => way.end(flow.divert_to(&ports[port], steps::chosen(salt)).filter(steps::keep(next))),
        Shape::TryMapOr(port, every) => way.end(flow.try_map_or(&ports[port], steps::attempt_or(salt, every))),
        Shape::Restartable(panics) => way.end(flow.map(steps::change(salt, panics)).restartable()),
        Shape::Calls(order, panics) => way.end(flow.map_async(CALLS, order, steps::call(salt, panics))),
        Shape::Batch(records) => way.end(flow.batch(BatchLimits::records(records).linger(Duration::from_millis(10)))),
        Shape::Throttle(rate) => way.end(flow.throttle(ThrottleSpec::shape(f64::from(rate)))),
        Shape::Group(records) => way
            .end(flow.group(records, Duration::from_millis(10)).flat_map::<std::vec::IntoIter<Rec>, _>(Vec::into_iter)),
    }
}

/// Puts what never answers again, and an edge, behind a flow.
pub fn chain_stuck<I, C>(flow: Flow<I, Pass, Records<C>>, stuck: Stuck, way: &Way<'_>) -> EdgeFlow<Items<Rec>>
where
    I: Inlet<Payload = Items<Rec>>,
    C: RecordOp<In = Rec, Out = Rec>,
{
    let flow = flow.named(stuck.name());
    if stuck.is_call() {
        way.end(flow.map_async(CALLS, tidegate_runtime::Order::Unordered, stuck.into_call()))
    } else {
        way.end(flow.transform(Mute::new(stuck)))
    }
}
