//! The metrics: one table, from which the text is written.
//!
//! Cardinality is bounded by the plan: labels are names of its stages and edges, and words of fixed lists.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{self, DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tidegate_flow::queue::{Level, Snapshot};
use tidegate_flow::{Flows, Ledger, StageTimes, Time};
use tidegate_runtime::{SinkRefusals, View};

use crate::shown::{Reloaded, Shown, Tallies};

/// What [`encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether a figure only grows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
}

/// One line of the table.
#[derive(Debug)]
pub struct Metric {
    /// The name, without the unit and without `_total`, which the text has.
    pub name: &'static str,
    /// The unit that ends the name.
    pub unit: Option<Unit>,
    /// What it shows.
    pub help: &'static str,
    /// Whether it only grows.
    pub shape: Shape,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    rows: fn(&Scene<'_>, &mut Rows<'_>),
}

/// Takes the values of the labels, in order, and the figure.
type Rows<'a> = dyn FnMut(&[&str], f64) + 'a;

/// Everything at one scrape.
struct Scene<'a> {
    view: &'a View,
    tallies: &'a Tallies,
    reloads: [(Reloaded, u64); Reloaded::ALL.len()],
    ledger: Ledger,
    edges: Vec<Snapshot>,
    times: Vec<StageTimes>,
    refusals: Vec<SinkRefusals>,
}

impl<'a> Scene<'a> {
    fn new(view: &'a View, tallies: &'a Tallies, shown: &Shown) -> Self {
        let reloads = shown.reloads();
        let (ledger, refusals) = (view.ledger(), view.refusals());
        Self { view, tallies, reloads, ledger, edges: view.edges(), times: view.times(), refusals }
    }

    fn stages(&self) -> impl Iterator<Item = (&str, &StageTimes)> {
        let names = self.view.graph().stage_ids().map(|id| self.view.graph().stage_name(id));
        names.zip(&self.times)
    }

    fn each_edge(&self, rows: &mut Rows<'_>, figure: impl Fn(&Snapshot) -> f64) {
        self.edges.iter().for_each(|edge| rows(&[&*edge.name], figure(edge)));
    }
}

/// Every metric.
pub static METRICS: &[Metric] = &[
    Metric {
        name: "tidegate_records",
        unit: None,
        help: "Records of a component or edge by what became of them; input and born equal the others, shed and held together",
        shape: Shape::Counter,
        labels: &["name", "kind", "flow"],
        rows: |scene, rows| {
            for (name, kind, flows) in &scene.ledger.stages {
                ways(flows).into_iter().for_each(|(way, records)| rows(&[name, kind.name(), way], records));
            }
        },
    },
    Metric {
        name: "tidegate_shed_records",
        unit: None,
        help: "Records lost to overload, by the policy that gave them up",
        shape: Shape::Counter,
        labels: &["name", "kind", "reason"],
        rows: |scene, rows| {
            for (name, kind, flows) in &scene.ledger.stages {
                let shed = flows.shed.iter();
                shed.for_each(|(reason, records)| rows(&[name, kind.name(), reason.name()], float(records.get())));
            }
        },
    },
    Metric {
        name: "tidegate_held_records",
        unit: None,
        help: "Records in a component or edge now",
        shape: Shape::Gauge,
        labels: &["name", "kind"],
        rows: |scene, rows| {
            let held = scene.ledger.stages.iter();
            held.for_each(|(name, kind, flows)| rows(&[name, kind.name()], float(flows.held.get())));
        },
    },
    Metric {
        name: "tidegate_source_records",
        unit: None,
        help: "Records that a source accepted, by how they ended",
        shape: Shape::Counter,
        labels: &["source", "outcome"],
        rows: |scene, rows| {
            for (name, source) in &scene.ledger.sources {
                rows(&[name, "accepted"], float(source.accepted.get()));
                source.ended.iter().for_each(|(end, records)| rows(&[name, end.name()], float(records.get())));
            }
        },
    },
    Metric {
        name: "tidegate_source_in_flight_records",
        unit: None,
        help: "Records that a source accepted and that have not settled, counted from live tickets",
        shape: Shape::Gauge,
        labels: &["source"],
        rows: |scene, rows| {
            scene.ledger.sources.iter().for_each(|(name, source)| rows(&[name], float(source.in_flight.get())));
        },
    },
    Metric {
        name: "tidegate_sink_refusals",
        unit: None,
        help: "Deliveries of a sink that were refused, for now (transient) or for good (permanent)",
        shape: Shape::Counter,
        labels: &["sink", "refusal"],
        rows: |scene, rows| {
            for sink in &scene.refusals {
                rows(&[&sink.sink, "transient"], float(sink.transient));
                rows(&[&sink.sink, "permanent"], float(sink.permanent));
            }
        },
    },
    Metric {
        name: "tidegate_sink_retries",
        unit: None,
        help: "Deliveries of a sink that were tried again after a pause",
        shape: Shape::Counter,
        labels: &["sink"],
        rows: |scene, rows| scene.refusals.iter().for_each(|sink| rows(&[&sink.sink], float(sink.retries))),
    },
    Metric {
        name: "tidegate_sink_refused",
        unit: Some(Unit::Seconds),
        help: "For how long a sink has been refused everything; 0 where its last delivery was accepted",
        shape: Shape::Gauge,
        labels: &["sink"],
        rows: |scene, rows| {
            let now = scene.view.now();
            for sink in &scene.refusals {
                rows(&[&sink.sink], sink.since.map_or(0.0, |since| now.since(since).as_secs_f64()));
            }
        },
    },
    Metric {
        name: "tidegate_edge_fill_records",
        unit: None,
        help: "Records that wait in an edge",
        shape: Shape::Gauge,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| float(edge.fill.records.get())),
    },
    Metric {
        name: "tidegate_edge_fill",
        unit: Some(Unit::Bytes),
        help: "Bytes that wait in an edge",
        shape: Shape::Gauge,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| float(edge.fill.bytes.get())),
    },
    Metric {
        name: "tidegate_edge_window_records",
        unit: None,
        help: "Records that an edge has room for",
        shape: Shape::Gauge,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| float(edge.window.records.get())),
    },
    Metric {
        name: "tidegate_edge_window",
        unit: Some(Unit::Bytes),
        help: "Bytes that an edge has room for",
        shape: Shape::Gauge,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| float(edge.window.bytes.get())),
    },
    Metric {
        name: "tidegate_edge_head_age",
        unit: Some(Unit::Seconds),
        help: "How long the oldest batch of an edge has waited",
        shape: Shape::Gauge,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| edge.head_age.as_secs_f64()),
    },
    Metric {
        name: "tidegate_edge_pressure_level",
        unit: None,
        help: "How pressured an edge is: 0 normal, 1 high, 2 critical",
        shape: Shape::Gauge,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| level(edge.level)),
    },
    Metric {
        name: "tidegate_edge_pressure_transitions",
        unit: None,
        help: "How often the pressure level of an edge has moved",
        shape: Shape::Counter,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| float(edge.transitions)),
    },
    Metric {
        name: "tidegate_edge_waiting_producers",
        unit: None,
        help: "Producers that wait for room in an edge with a batch in hand",
        shape: Shape::Gauge,
        labels: &["edge"],
        rows: |scene, rows| scene.each_edge(rows, |edge| float(edge.waiting_claims as u64)),
    },
    Metric {
        name: "tidegate_stage",
        unit: Some(Unit::Seconds),
        help: "Time that a stage spent in each state; the states of a stage add up to its age",
        shape: Shape::Counter,
        labels: &["stage", "state"],
        rows: |scene, rows| {
            for (name, times) in scene.stages() {
                states(times).into_iter().for_each(|(state, time)| rows(&[name, state], time.as_secs_f64()));
            }
        },
    },
    Metric {
        name: "tidegate_stage_blocked",
        unit: Some(Unit::Seconds),
        help: "Time that a stage waited for room in an edge",
        shape: Shape::Counter,
        labels: &["stage", "edge"],
        rows: |scene, rows| {
            for (name, times) in scene.stages() {
                for (edge, time) in &times.blocked_by {
                    let edges = scene.view.graph().edges();
                    let edge = edges.get(edge.index()).map_or("(other)", |edge| &*edge.name);
                    rows(&[name, edge], time.as_secs_f64());
                }
            }
        },
    },
    Metric {
        name: "tidegate_component_tally",
        unit: None,
        help: "What a component counts beside the records: bytes, connections, requests, lines that were too long",
        shape: Shape::Counter,
        labels: &["name", "what"],
        rows: |scene, rows| scene.tallies.each(&mut |name, what, count| rows(&[name, what], float(count))),
    },
    Metric {
        name: "tidegate_budget",
        unit: Some(Unit::Bytes),
        help: "The memory budget: total, used now, the most that was used",
        shape: Shape::Gauge,
        labels: &["part"],
        rows: |scene, rows| {
            let budget = scene.view.budget();
            let parts = [("total", budget.total()), ("used", budget.used()), ("peak", budget.peak())];
            parts.into_iter().for_each(|(part, bytes)| rows(&[part], float(bytes.get())));
        },
    },
    Metric {
        name: "tidegate_holding",
        unit: Some(Unit::Bytes),
        help: "What a stage holds outside of edges, by purpose: reserved, used now, the most that was used",
        shape: Shape::Gauge,
        labels: &["stage", "purpose", "part"],
        rows: |scene, rows| {
            for holding in scene.view.holdings() {
                let parts = [("reserved", holding.reserved), ("used", holding.used), ("peak", holding.peak)];
                parts.into_iter().for_each(|(part, bytes)| {
                    rows(&[&holding.stage, holding.what, part], float(bytes.get()));
                });
            }
        },
    },
    Metric {
        name: "tidegate_stalls",
        unit: None,
        help: "Stalls that are going on: work that waits, does not move and has no known cause",
        shape: Shape::Gauge,
        labels: &[],
        rows: |scene, rows| rows(&[], float(scene.view.stalls().len() as u64)),
    },
    Metric {
        name: "tidegate_reloads",
        unit: None,
        help: "How often the pipeline files were read again, by what became of it",
        shape: Shape::Counter,
        labels: &["result"],
        rows: |scene, rows| {
            scene.reloads.iter().for_each(|(result, times)| rows(&[result.name()], float(*times)));
        },
    },
    Metric {
        name: "tidegate_uptime",
        unit: Some(Unit::Seconds),
        help: "How long the pipeline has run",
        shape: Shape::Gauge,
        labels: &[],
        rows: |scene, rows| rows(&[], scene.view.now().since(Time::ZERO).as_secs_f64()),
    },
];

/// All metrics of the pipeline that is shown and what its components count, or none, as OpenMetrics text.
///
/// # Errors
/// Never in practice: a `String` takes every write.
pub fn encode(shown: &Shown) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    if let Some((view, tallies)) = shown.scene() {
        registry.register_collector(Box::new(Scrape(view, tallies, shown.clone())));
    }
    let mut text = String::new();
    encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// One scrape of a view.
struct Scrape(Arc<View>, Tallies, Shown);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scrape").field(&self.0.name()).finish()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let scene = Scene::new(&self.0, &self.1, &self.2);
        METRICS.iter().try_for_each(|metric| metric.encode(&scene, &mut encoder))
    }
}

impl Metric {
    fn encode(&self, scene: &Scene<'_>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.shape {
            Shape::Counter => MetricType::Counter,
            Shape::Gauge => MetricType::Gauge,
        };
        let mut encoder = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        let mut written = Ok(());
        (self.rows)(scene, &mut |values, figure| {
            if written.is_ok() {
                written = self.encode_row(&mut encoder, values, figure);
            }
        });
        written
    }

    fn encode_row(&self, encoder: &mut MetricEncoder<'_>, values: &[&str], figure: f64) -> fmt::Result {
        let labels: Vec<(&str, &str)> = self.labels.iter().copied().zip(values.iter().copied()).collect();
        if labels.is_empty() {
            return self.encode_figure(encoder, figure);
        }
        self.encode_figure(&mut encoder.encode_family(&labels)?, figure)
    }

    fn encode_figure(&self, encoder: &mut MetricEncoder<'_>, figure: f64) -> fmt::Result {
        match self.shape {
            Shape::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&figure, None),
            Shape::Gauge => encoder.encode_gauge(&figure),
        }
    }
}

/// What became of the records of a stage or edge, by name.
fn ways(flows: &Flows) -> [(&'static str, f64); 9] {
    [
        ("input", flows.input),
        ("born", flows.born),
        ("output", flows.output),
        ("filtered", flows.filtered),
        ("absorbed", flows.absorbed),
        ("expired", flows.expired),
        ("dead_lettered", flows.dead_lettered),
        ("returned", flows.returned),
        ("abandoned", flows.abandoned),
    ]
    .map(|(way, records)| (way, float(records.get())))
}

/// The time of a stage by state.
fn states(times: &StageTimes) -> [(&'static str, Duration); 8] {
    [
        ("idle", times.idle),
        ("ready", times.ready),
        ("busy", times.busy),
        ("blocked", times.blocked),
        ("budget_wait", times.budget_wait),
        ("settle_wait", times.settle_wait),
        ("external", times.external),
        ("throttled", times.throttled),
    ]
}

fn level(level: Level) -> f64 {
    match level {
        Level::Normal => 0.0,
        Level::High => 1.0,
        Level::Critical => 2.0,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure beyond 2^53 may be rounded")]
fn float(figure: u64) -> f64 {
    figure as f64
}
