//! Ports: edges that any number of flows send to, and the ends that flows and steps of a pipeline get of them.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_flow::graph::{Branch, FanOut};
use tidegate_flow::queue::MAX_PRODUCERS;
use tidegate_flow::{Batch, EdgeId, EdgeSpec, OnFull, Payload, StageId};

use super::draft::PipelineBuilder;
use super::error::BuildError;
use super::flow::{EdgeEnd, EdgeFlow, EdgeStart, Head};
use crate::edge::EdgeTx;
use crate::outlet::Side;

/// Where several flows of a pipeline send to; see [`PipelineBuilder::port`].
pub struct Port<P: Payload> {
    id: EdgeId,
    name: Arc<str>,
    /// Whose port it is.
    home: PipelineBuilder,
    /// The producer that others are cloned from; let go when the pipeline is planned, so that a port that is still
    /// around does not keep its edge open.
    prototype: Arc<Mutex<Option<EdgeTx<Batch<P>>>>>,
}

impl PipelineBuilder {
    /// An edge that any number of flows of this pipeline may send to (with [`Flow::to`](super::Flow::to)), and the flow
    /// that reads it: the way to merge flows, and to declare the port that dead letters and diversions go to. Producers
    /// share the edge fairly by bytes.
    pub fn port<P: Head>(&self, spec: impl Into<EdgeSpec>) -> (Port<P>, EdgeFlow<P>) {
        let (port, rx) = self.port_edge(spec.into());
        (port, self.edge_flow(rx))
    }

    /// The edge of a port, and its end.
    pub(super) fn port_edge<P: Payload>(&self, mut spec: EdgeSpec) -> (Port<P>, EdgeStart<P>) {
        let allowed = spec.max_producers;
        let name = Arc::clone(&spec.name);
        // One more for the producer that others are cloned from; it is gone when the pipeline starts.
        if (1..MAX_PRODUCERS).contains(&allowed) {
            spec.max_producers += 1;
        }
        let (end, rx) = self.new_edge(spec);
        if let Some(edge) = self.lock().edges.get_mut(end.id.index()) {
            edge.spec.max_producers = allowed;
        }
        let port = Port { id: end.id, name, home: self.clone(), prototype: Arc::new(Mutex::new(Some(end.tx))) };
        let prototype = Arc::clone(&port.prototype);
        self.lock().ports.push(Box::new(move || drop(prototype.lock().unwrap_or_else(PoisonError::into_inner).take())));
        (port, rx)
    }

    /// The edge of a port of this pipeline.
    pub(super) fn edge_of<P: Payload>(&self, port: &Port<P>) -> Result<EdgeId, BuildError> {
        if self.is(&port.home) {
            return Ok(port.id);
        }
        let port_of = port.home.lock().name.clone();
        let pipeline = self.lock().name.clone();
        Err(BuildError::ForeignPort { port: port.name.to_string(), port_of, pipeline })
    }

    /// One more producer for the edge of a port.
    pub(super) fn another_producer<P: Payload>(&self, port: &Port<P>) -> Result<EdgeEnd<P>, BuildError> {
        let id = self.edge_of(port)?;
        let prototype = port.prototype.lock().unwrap_or_else(PoisonError::into_inner);
        let clone = prototype.as_ref().map(EdgeTx::try_clone);
        drop(prototype);
        match clone {
            Some(Ok(tx)) => Ok(EdgeEnd { id, tx }),
            Some(Err(_)) => {
                let allowed = self.lock().edges.get(id.index()).map_or(0, |edge| edge.spec.max_producers);
                Err(BuildError::TooManyProducers { edge: port.name.to_string(), allowed })
            }
            None => Err(BuildError::AlreadyBuilt),
        }
    }

    /// [`another_producer`](Self::another_producer) whose batches go into `lane`.
    pub(super) fn producer_in_lane<P: Payload>(&self, port: &Port<P>, lane: u8) -> Result<EdgeEnd<P>, BuildError> {
        let EdgeEnd { id, tx } = self.another_producer(port)?;
        let lanes = self.lock().edges.get(id.index()).map_or(1, |edge| edge.spec.lanes.count());
        if lane >= lanes {
            return Err(BuildError::NoSuchLane { edge: port.name.to_string(), lane, lanes });
        }
        Ok(EdgeEnd { id, tx: tx.with_lane(lane) })
    }

    /// A producer for a side output of `stage`.
    pub(super) fn side_producer<P: Payload>(&self, port: &Port<P>, stage: StageId) -> Side<P> {
        self.side(self.another_producer(port), stage, FanOut::Route, Branch::Required)
    }

    /// A producer for a tap of `stage`.
    pub(super) fn tap_producer<P: Payload>(&self, port: &Port<P>, stage: StageId) -> Side<P> {
        let end = self.another_producer(port);
        if let Ok(end) = &end {
            let mut draft = self.lock();
            let edge = &draft.edges[end.id.index()].spec;
            if matches!(edge.when_full, OnFull::Block { .. } | OnFull::Fail | OnFull::Divert) {
                let text = format!(
                    "a tap never waits, but edge \"{}\" does not shed when it is full; give it drop_newest, drop_oldest \
                     or sample",
                    edge.name
                );
                let stage = draft.stage(stage).name.to_string();
                draft.errors.push(BuildError::Setting { stage, text });
            }
        }
        self.side(end, stage, FanOut::Fork, Branch::BestEffort)
    }

    fn side<P: Payload>(
        &self,
        end: Result<EdgeEnd<P>, BuildError>,
        stage: StageId,
        fan_out: FanOut,
        branch: Branch,
    ) -> Side<P> {
        let end = match end {
            Ok(end) => end,
            Err(error) => {
                // This pipeline will not run; the stand-in only has the right type.
                self.lock().refuse(error);
                let (end, _) = self.new_edge(EdgeSpec::new("(refused)"));
                return Side::new(end.id, end.tx);
            }
        };
        let mut draft = self.lock();
        draft.connect_side(end.id, stage);
        let described = draft.graph.stage_mut(stage);
        described.fan_out = fan_out;
        if let Some(output) = described.outputs.last_mut() {
            output.branch = branch;
        }
        Side::new(end.id, end.tx)
    }
}
