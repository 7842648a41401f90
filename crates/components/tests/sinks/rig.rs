//! A pipeline with given records on one side and the sink under test on the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tidegate_components::contract::{
    BuildContext, Check, Delivery, Depth, Exposure, Problem, SinkConfig, SourceConfig, StartError,
};
use tidegate_components::wiring::{Input, Node, Part, SourceSlot, join};
use tidegate_components::{Rows, SINKS, TRANSFORMS};
use tidegate_flow::{Bytes, Cause, FlowKind, Outcome, Weight, mib};
use tidegate_record::{Form, Origin, RecordId, StreamId, Timestamp};
use tidegate_runtime::{NoCommit, Pipeline, Pull, Readiness, Report, Running, Source};
use tokio::sync::mpsc;

/// A source that gives what it is sent, and ends when nobody can send any more.
#[derive(Debug, Serialize)]
pub(crate) struct Given {
    #[serde(skip)]
    batches: mpsc::Receiver<Vec<String>>,
    #[serde(skip)]
    next: Option<Vec<String>>,
}

/// 2026-11-21T23:30:00Z, when every record was read.
pub(crate) const READ_AT: i64 = 1_795_303_800_000_000_000;

impl SourceConfig for Given {
    fn check(&self, _at: &mut Check<'_>) {}

    fn exposure(&self) -> Exposure {
        Exposure { delivery: Delivery::Generated, acked: "-", blocked: "-" }
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        slot.source(*self);
        Ok(())
    }
}

impl Source for Given {
    type Payload = Rows;
    type Position = ();
    type Committer = NoCommit;

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        if self.next.is_none() {
            self.next = self.batches.recv().await;
        }
        Ok(if self.next.is_some() { Readiness::Ready } else { Readiness::Ended })
    }

    /// Objects are given in the form of objects, anything else, and what is behind `> `, as messages.
    fn read(&mut self, _room: Weight, mut rows: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let origin = Arc::new(Origin::new("given", Timestamp::from_unix_nanos(READ_AT)).with_host("h1"));
        for text in self.next.take().into_iter().flatten() {
            let form = if text.starts_with('{') { Form::Object } else { Form::Message };
            rows.push_copy(text.trim_start_matches("> ").as_bytes(), form, &origin);
        }
        rows.identify(RecordId::new(StreamId::of(&[b"given"]), 100));
        Ok(Pull { payload: rows, position: Some(()) })
    }
}

/// The configuration of a sink, from JSON.
pub(crate) fn config(json: &Value) -> Box<dyn SinkConfig> {
    let mut options = json.clone();
    let kind = options.as_object_mut().unwrap().remove("type").unwrap();
    let kind = SINKS.iter().find(|known| known.name == kind).unwrap();
    (kind.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(options)).unwrap()
}

/// What is wrong with the configuration of a sink.
pub(crate) fn problems(json: &Value, depth: Depth) -> Vec<Problem> {
    let cx = BuildContext::new("unused");
    let mut check = Check::new(&cx, depth);
    config(json).check(&mut check);
    check.into_problems()
}

/// The keys that the problems are about.
pub(crate) fn keys(json: &Value) -> Vec<String> {
    problems(json, Depth::Values).into_iter().map(|problem| problem.key).collect()
}

/// A node of a plan; inputs are written as in a file.
pub(crate) fn node(name: &str, inputs: &[&str], part: Part) -> Node {
    let input = |text: &&str| match text.split_once('.') {
        Some((node, output)) => Input::named(node, output),
        None => Input::of(*text),
    };
    let inputs = inputs.iter().map(input).collect();
    Node { name: name.into(), inputs, buffer: None, columns: None, dead_letters: None, part }
}

/// The configuration of a transform, from JSON.
pub(crate) fn transform(json: &Value) -> Part {
    let mut options = json.clone();
    let kind = options.as_object_mut().unwrap().remove("type").unwrap();
    let kind = TRANSFORMS.iter().find(|known| known.name == kind).unwrap();
    Part::Transform((kind.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(options)).unwrap())
}

/// A pipeline that runs, and the way into it.
pub(crate) struct Rig {
    input: Option<mpsc::Sender<Vec<String>>>,
    running: Running,
}

impl Rig {
    /// A sink, and where there is another one, that for its dead letters.
    pub(crate) fn new(sink: &Value, letters: Option<&Value>) -> Self {
        assert_eq!(problems(sink, Depth::Values), [], "{sink}");
        let mut out = node("out", &["in"], Part::Sink(config(sink)));
        out.dead_letters = letters.map(|_| "letters".into());
        let letters = letters.map(|letters| node("letters", &[], Part::Sink(config(letters))));
        Self::wired(std::iter::once(out).chain(letters))
    }

    /// A sink in a pipeline that may have what its plan reserves, and so many bytes more.
    pub(crate) fn within(sink: &Value, more: u64) -> Self {
        let nodes = || [node("out", &["in"], Part::Sink(config(sink)))];
        let (_, draft) = Self::drafted(nodes(), mib(256));
        let reserved = draft.build().unwrap().memory().sum();
        let (input, builder) = Self::drafted(nodes(), reserved + Bytes::new(more));
        Self { input: Some(input), running: builder.build().unwrap().start() }
    }

    /// Nodes that take what is sent from the node `in`.
    pub(crate) fn wired(nodes: impl IntoIterator<Item = Node>) -> Self {
        let (input, builder) = Self::drafted(nodes, mib(256));
        Self { input: Some(input), running: builder.build().unwrap().start() }
    }

    fn drafted(
        nodes: impl IntoIterator<Item = Node>,
        budget: Bytes,
    ) -> (mpsc::Sender<Vec<String>>, tidegate_runtime::PipelineBuilder) {
        let (input, batches) = mpsc::channel(64);
        let source = node("in", &[], Part::Source(Box::new(Given { batches, next: None })));
        let builder = Pipeline::builder("rig").budget(budget).batch(Weight::new(256, 1 << 16));
        let nodes = std::iter::once(source).chain(nodes).collect();
        join(&builder, nodes, &BuildContext::new("unused")).unwrap();
        (input, builder)
    }

    /// Sends a batch.
    pub(crate) async fn send<T: Into<String>>(&self, texts: impl IntoIterator<Item = T>) {
        self.input.as_ref().unwrap().send(texts.into_iter().map(Into::into).collect()).await.unwrap();
    }

    /// How many records have ended so.
    pub(crate) fn ended(&self, outcome: Outcome) -> u64 {
        self.running.ledger().total().ended.get(outcome).get()
    }

    /// How many records were read.
    pub(crate) fn accepted(&self) -> u64 {
        self.running.ledger().total().accepted.get()
    }

    /// How many records a stage has taken.
    pub(crate) fn taken(&self, stage: &str) -> u64 {
        let ledger = self.running.ledger();
        let found = ledger.stages.iter().find(|(name, kind, _)| name == stage && *kind != FlowKind::Edge);
        found.map_or(0, |(_, _, flows)| flows.input.get())
    }

    /// Whether the sink was refused something.
    pub(crate) fn is_refused(&self) -> bool {
        !self.refusal().is_empty()
    }

    /// Why it was refused last.
    pub(crate) fn refusal(&self) -> String {
        let refusals = self.running.view().refusals();
        refusals
            .iter()
            .filter_map(|refused| refused.last.clone())
            .map(|nack| nack.cause.to_string())
            .next()
            .unwrap_or_default()
    }

    /// Waits until so many records were delivered.
    pub(crate) async fn delivered(&self, records: u64) {
        until("delivery", || self.ended(Outcome::Delivered) >= records).await;
    }

    /// Ends the input and waits for the end; the ledger balances.
    pub(crate) async fn end(mut self) -> Report {
        self.input = None;
        let waited = tokio::time::timeout(Duration::from_secs(60), self.running.wait()).await;
        let report = waited.unwrap();
        report.ledger.check().unwrap_or_else(|imbalance| panic!("{imbalance}\n{report}"));
        report
    }
}

/// How many records of the whole pipeline have ended so.
pub(crate) fn ended(report: &Report, outcome: Outcome) -> u64 {
    report.ledger.total().ended.get(outcome).get()
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let came = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    came.await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// A folder of its own for a test, deleted with this.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-sinks-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The path of a file within.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The text of a file within.
    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.0.join(name)).unwrap_or_default()).unwrap()
    }

    /// The names of the files within, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
