//! What the subjects have in common: rows by number, nodes around scripts and probes, folders and ports.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Serialize, Serializer};
use serde_json::Value;
use tidegate_components::contract::{BuildContext, Check, Delivery, Exposure, SinkConfig, SourceConfig, StartError};
use tidegate_components::options::Buffer;
use tidegate_components::wiring::{Input, Node, Part, SinkSlot, SourceSlot, join};
use tidegate_components::{Rows, SINKS, SOURCES, TRANSFORMS};
use tidegate_runtime::{PipelineBuilder, SinkPolicy};
use tidegate_tck::component::{ProbeSink, ScriptSource, Traffic, WINDOW, Wired};

/// Objects with a number, a key that repeats, and a text.
pub(crate) struct Objects;

impl Traffic for Objects {
    type Payload = Rows;

    fn records(numbers: std::ops::Range<u64>) -> Rows {
        let texts = numbers.map(|n| format!("{{\"n\":{n},\"key\":\"k{}\",\"message\":\"record {n}\"}}", n % 7));
        let mut rows = Rows::from_texts(texts);
        (0..rows.len()).for_each(|row| rows.row_mut(row).parse_message().unwrap());
        rows
    }

    fn texts(rows: &Rows) -> Vec<String> {
        rows.iter()
            .map(|row| {
                let mut text = Vec::new();
                match row.message() {
                    Some(message) => text.extend_from_slice(&message),
                    None => row.write_json(&mut text),
                }
                String::from_utf8(text).unwrap()
            })
            .collect()
    }
}

/// Something of the kit as the configuration of a component.
#[derive(Debug)]
pub(crate) struct Plug<S>(pub(crate) S);

impl<S> Serialize for Plug<S> {
    fn serialize<T: Serializer>(&self, to: T) -> Result<T::Ok, T::Error> {
        to.serialize_unit()
    }
}

impl SourceConfig for Plug<ScriptSource<Objects>> {
    fn check(&self, _at: &mut Check<'_>) {}

    fn exposure(&self) -> Exposure {
        Exposure { delivery: Delivery::Generated, acked: "-", blocked: "-" }
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        slot.source(self.0);
        Ok(())
    }
}

impl SinkConfig for Plug<ProbeSink<Objects>> {
    fn check(&self, _at: &mut Check<'_>) {}

    fn accepted(&self) -> &'static str {
        "-"
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        slot.sink(SinkPolicy::default(), self.0);
        Ok(())
    }
}

/// A component of one of the lists, from its configuration with `type`.
macro_rules! part {
    ($name:ident, $list:ident, $part:ident) => {
        pub(crate) fn $name(mut config: Value) -> Part {
            let kind = config.as_object_mut().unwrap().remove("type").unwrap();
            let mut from = <dyn erased_serde::Deserializer<'_>>::erase(config);
            Part::$part(($list.iter().find(|known| known.name == kind).unwrap().parse)(&mut from).unwrap())
        }
    };
}

part!(source_part, SOURCES, Source);
part!(transform_part, TRANSFORMS, Transform);
part!(sink_part, SINKS, Sink);

/// A node behind an edge of the kit's size.
pub(crate) fn node(name: &str, inputs: &[&str], part: Part) -> Node {
    let buffer = Buffer { max_events: Some(WINDOW), ..Buffer::default() };
    let buffer = (!matches!(part, Part::Source(_))).then_some(buffer);
    let inputs = inputs.iter().map(|input| match input.split_once('.') {
        Some((node, output)) => Input::named(node, output),
        None => Input::of(*input),
    });
    Node { name: name.into(), inputs: inputs.collect(), buffer, columns: None, dead_letters: None, part }
}

/// Puts the nodes on the builder; what the component reports is that of this node.
pub(crate) fn wire(builder: &PipelineBuilder, nodes: Vec<Node>, subject: &'static str, folder: Folder) -> World {
    let cx = BuildContext { runs: true, ..BuildContext::new(folder.0.join("data")).host("here") };
    join(builder, nodes, &cx).unwrap();
    World { cx, subject, folder }
}

/// What the subjects have outside of the pipeline.
pub(crate) struct World {
    pub(crate) cx: BuildContext,
    subject: &'static str,
    pub(crate) folder: Folder,
}

impl Wired for World {
    fn metrics(&self) -> Vec<String> {
        let all = self.cx.meters.all();
        all.iter().filter(|meter| &*meter.node == self.subject).map(|meter| meter.name.to_owned()).collect()
    }
}

/// A folder of its own, deleted with this.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-conformance-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
