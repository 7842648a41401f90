//! [`SourceSlot`] and [`SinkSlot`]: the places in a pipeline that a source and a sink are put into.

use std::sync::Arc;

use tidegate_flow::{Bytes, Weight};
use tidegate_runtime::durable::LogView;
use tidegate_runtime::inlet::EdgeInlet;
use tidegate_runtime::stage::Inlet;
use tidegate_runtime::{
    BatchLimits, Chooser, LetterTray, NewStep, PipelineBuilder, Port, Sink, SinkOptions, SinkPolicy, Source,
    SourceOptions,
};

use crate::Rows;
use crate::columns::Sorter;
use crate::contract::BuildContext;

/// A flow of rows with boxed steps.
pub(super) type RowsFlow<I> = tidegate_runtime::build::BoxFlow<I>;

/// Where the output of a stage goes.
pub(super) enum End<'a> {
    To(&'a Port<Rows>),
    Fork(Vec<(&'a Port<Rows>, bool)>),
    Choice(Box<dyn Chooser<Rows>>, Vec<Option<&'a Port<Rows>>>),
}

/// A step under its name, and where what it refuses goes.
pub(super) struct PlannedStep<'a> {
    pub(super) step: NewStep<Rows>,
    pub(super) letters: Option<(LetterTray<Rows>, &'a Port<Rows>)>,
}

/// The steps of a stage behind its inlet, and where its output goes.
pub(super) struct Stage<'a> {
    pub(super) steps: Vec<PlannedStep<'a>>,
    /// The name of the choice at the end, where that is a component of its own and no step.
    pub(super) choice: Option<Arc<str>>,
    pub(super) end: End<'a>,
}

impl Stage<'_> {
    /// Completes a flow that was just begun.
    pub(super) fn complete<I: Inlet<Payload = Rows>>(self, flow: RowsFlow<I>) {
        let add = |flow: RowsFlow<I>, PlannedStep { step: NewStep { name, step, holds }, letters }| match letters {
            Some((tray, port)) => flow.lettered(&name, step, &tray, port, holds),
            None => flow.exchangeable(&name, step, holds, true),
        };
        let flow = self.steps.into_iter().fold(flow, add);
        let flow = match &self.choice {
            Some(name) => flow.choosing(name),
            None => flow,
        };
        match self.end {
            End::To(port) => flow.to(port),
            End::Fork(branches) => flow.fork_to(&branches),
            End::Choice(chooser, branches) => flow.choose_to(chooser, &branches),
        }
    }
}

/// The place of a source: what is behind it is known already.
#[must_use = "a slot that nothing is put into leaves its node out of the pipeline"]
pub struct SourceSlot<'a> {
    pub(super) name: Arc<str>,
    pub(super) cx: &'a BuildContext,
    pub(super) builder: &'a PipelineBuilder,
    pub(super) stage: Stage<'a>,
    /// Sorts its records, where columns are declared.
    pub(super) sorter: Option<Sorter>,
}

impl SourceSlot<'_> {
    /// The name of the node.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The world around it.
    #[must_use]
    pub fn context(&self) -> &BuildContext {
        self.cx
    }

    /// Puts the source into its place.
    pub fn source<S: Source<Payload = Rows>>(self, source: impl Into<SourceOptions<S>>) {
        let options: SourceOptions<S> = source.into();
        let options = match self.sorter {
            Some(sorter) => options.classify(sorter),
            None => options,
        };
        self.stage.complete(self.builder.boxed_source(&self.name, options));
    }
}

/// The place of a sink: what is before it is known already.
#[must_use = "a slot that nothing is put into leaves its node out of the pipeline"]
pub struct SinkSlot<'a> {
    pub(super) name: Arc<str>,
    pub(super) cx: &'a BuildContext,
    pub(super) builder: &'a PipelineBuilder,
    pub(super) flow: RowsFlow<EdgeInlet<Rows>>,
    pub(super) dead_letters: Option<&'a Port<Rows>>,
    pub(super) encoding: Bytes,
}

impl SinkSlot<'_> {
    /// The name of the node.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The world around it.
    #[must_use]
    pub fn context(&self) -> &BuildContext {
        self.cx
    }

    /// Lets whoever looks at the pipeline look at a log of the sink, under this name.
    pub fn show_log(self, name: &str, view: LogView) -> Self {
        self.builder.show_log(name, view);
        self
    }

    /// Gives the sink larger batches, up to these limits.
    pub fn batch(mut self, limits: BatchLimits) -> Self {
        self.flow = self.flow.boxed_batch(limits);
        self
    }

    /// Reserves what the sink encodes one batch into, so much at a time.
    pub fn encoding(mut self, bytes: Bytes) -> Self {
        self.encoding = bytes;
        self
    }

    /// Changes what the sink is given.
    pub fn step(mut self, step: impl tidegate_runtime::Transform<Rows, Out = Rows>) -> Self {
        self.flow = self.flow.step(Box::new(step), Weight::ZERO, true);
        self
    }

    /// Puts several sinks of one kind into the place, each of which is given the next batch when it is free: the order of
    /// the batches is given up. Otherwise as [`sink`](Self::sink).
    pub fn sinks<S: Sink<Rows>>(self, policy: SinkPolicy, sinks: Vec<S>) {
        let options = options(policy, self.encoding, self.dead_letters);
        self.flow.sink_pool(&self.name, sinks, options);
    }

    /// Puts the sink into its place, to be retried and timed out as `policy` says. What it refuses for good goes to the
    /// dead letters of its node.
    pub fn sink<S: Sink<Rows>>(self, policy: SinkPolicy, sink: S) {
        let options = options(policy, self.encoding, self.dead_letters);
        self.flow.sink_with(&self.name, sink, options);
    }
}

fn options(policy: SinkPolicy, encoding: Bytes, dead_letters: Option<&Port<Rows>>) -> SinkOptions<'_, Rows> {
    let options = SinkOptions::default().policy(policy).encoding(encoding);
    match dead_letters {
        Some(port) => options.dead_letters(port),
        None => options,
    }
}

/// The slot of a source whose records go to `port`.
#[cfg(test)]
pub(crate) fn lone_source<'a>(
    name: &str,
    cx: &'a BuildContext,
    builder: &'a PipelineBuilder,
    port: &'a Port<Rows>,
) -> SourceSlot<'a> {
    SourceSlot {
        name: name.into(),
        cx,
        builder,
        stage: Stage { steps: Vec::new(), choice: None, end: End::To(port) },
        sorter: None,
    }
}
