//! Flows that are put together at run time, of a payload and of steps that are known only then: what a program builds
//! from a file. One indirect call per batch and step; no requirement on the payload beyond [`Payload`].

use std::sync::Arc;

use tidegate_flow::{EdgeSpec, Payload, StageId, Weight};

use super::draft::PipelineBuilder;
use super::flow::{EdgeStart, Flow, MakeInlet};
use super::launch::StageLaunch;
use super::options::SourceOptions;
use super::port::Port;
use crate::dead_letter::DeadLetterPort;
use crate::durable::LogView;
use crate::exchange::{Exchange, Needs, Offer};
use crate::ingress::{Source, SourceInlet};
use crate::inlet::EdgeInlet;
use crate::lettered::{LetterTray, Lettered};
use crate::named::ChoiceMark;
use crate::ops::{BatchLimits, Batcher};
use crate::stage::Inlet;
use crate::transform::{BoxTransform, Pass, Then};

/// A flow whose steps are boxed: its type stays the same however many there are.
pub type BoxFlow<I> = Flow<I, Pass, BoxTransform<<I as Inlet>::Payload>>;

impl PipelineBuilder {
    /// Starts a flow that reads `source`, to be extended by [boxed steps](BoxFlow::step).
    pub fn boxed_source<S: Source>(&self, name: &str, source: impl Into<SourceOptions<S>>) -> BoxFlow<SourceInlet<S>> {
        let (stage, inlet) = self.source_stage(name, source.into());
        self.lock().stage(stage).makes_way = true;
        boxed(self.clone(), stage, inlet)
    }

    /// Lets whoever looks at the pipeline look at an edge on disk, under this name: see
    /// [`View::logs`](crate::View::logs).
    pub fn show_log(&self, name: &str, view: LogView) {
        self.lock().logs.push((Arc::from(name), view));
    }

    /// An edge that any number of flows may send to, as [`port`](Self::port), and a flow of boxed steps that reads it.
    pub fn boxed_port<P: Payload>(&self, spec: impl Into<EdgeSpec>) -> (Port<P>, BoxFlow<EdgeInlet<P>>) {
        let (port, start) = self.port_edge(spec.into());
        let EdgeStart { id, rx } = start;
        let stage = self.edge_stage(id);
        self.lock().stage(stage).makes_way = true;
        let inlet = Box::new(move |launch: &StageLaunch<'_>| launch.relieving_inlet(EdgeStart { id, rx }));
        (port, boxed(self.clone(), stage, inlet))
    }
}

fn boxed<I: Inlet>(builder: PipelineBuilder, stage: StageId, inlet: MakeInlet<I>) -> BoxFlow<I> {
    Flow { builder, stage, inlet, upstream: Pass, tail: Box::new(Pass) }
}

impl<I: Inlet> BoxFlow<I> {
    /// Adds a step, fused with those before it. `holds` is what it may hold back from one batch to the next (records and
    /// bytes; the bytes are reserved), `may_drop` whether it ever ends a record.
    pub fn step(self, step: BoxTransform<I::Payload>, holds: Weight, may_drop: bool) -> Self {
        {
            let mut draft = self.builder.lock();
            draft.stage(self.stage).held += holds.bytes;
            let stage = draft.graph.stage_mut(self.stage);
            stage.holding += holds;
            stage.may_drop |= may_drop;
        }
        let Self { builder, stage, inlet, upstream, tail } = self;
        Flow { builder, stage, inlet, upstream, tail: Box::new(Then::new(tail, step)) }
    }

    /// [`step`](Self::step), in whose place another can be put while the pipeline runs, under this name; see
    /// [`Running::exchange`](crate::Running::replace). Costs one indirect call more per batch. The ledger has
    /// a row for it, under this name.
    pub fn exchangeable(self, name: &str, step: BoxTransform<I::Payload>, holds: Weight, may_drop: bool) -> Self {
        let offer = Offer::new(Needs::of(&step, holds));
        self.builder.lock().offers.push((Arc::from(name), Box::new(offer.clone())));
        self.step(Box::new(Exchange::new(name, step, offer)), holds, may_drop)
    }

    /// [`step`](Self::step) of this name, whose refused records, left in `tray`, go to a dead letter port. It cannot be
    /// exchanged while the pipeline runs.
    pub fn lettered(
        self,
        name: &str,
        step: BoxTransform<I::Payload>,
        tray: &LetterTray<I::Payload>,
        port: &Port<I::Payload>,
        holds: Weight,
    ) -> Self {
        let port = DeadLetterPort::new(self.builder.side_producer(port, self.stage));
        let step: BoxTransform<I::Payload> = Box::new(Lettered::new(name, step, tray.clone(), port));
        let offer = Offer::new(Needs::of(&step, holds));
        self.step(Box::new(Exchange::new(name, step, offer)), holds, true)
    }

    /// Says that the choice at the end of this flow is a component of this name: the ledger has a row for it. The last
    /// step before the end.
    pub fn choosing(self, name: &str) -> Self {
        self.step(Box::new(ChoiceMark::new(name)), Weight::ZERO, false)
    }

    /// Joins small batches to larger ones, as [`Flow::batch`].
    pub fn boxed_batch(self, limits: BatchLimits) -> Self {
        self.note_batch(&limits);
        self.step(Box::new(Batcher::new(limits)), Weight::ZERO, false)
    }
}
