//! What holds for every component, whatever it does (C7 of the conformance list): its example is sound and runs, its
//! configuration reads back what it writes, and a key that is nearly one of its own is named.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tidegate_components::contract::{BuildContext, Depth};
use tidegate_components::{SINKS, SOURCES, TRANSFORMS};
use tidegate_config::load::{Given, load_texts};
use tidegate_config::plan::Component;
use tidegate_config::problem::{Look, render};
use tidegate_config::reference::keys_of;
use tidegate_config::tree::Format;
use tidegate_config::{Code, Planned, plan, wire};
use tidegate_runtime::PipelineEnd;

/// A component: its kind, its type, its example, and the keys that it takes.
struct Subject {
    kind: &'static str,
    name: &'static str,
    example: &'static str,
    keys: Vec<String>,
}

fn subjects() -> Vec<Subject> {
    macro_rules! listed {
        ($kinds:ident, $what:literal) => {
            $kinds.iter().map(|kind| {
                let keys =
                    keys_of(kind.schema).into_iter().map(|key| key.path).filter(|path| !path.contains('.')).collect();
                Subject { kind: $what, name: kind.name, example: kind.example, keys }
            })
        };
    }
    listed!(SOURCES, "source").chain(listed!(TRANSFORMS, "transform")).chain(listed!(SINKS, "sink")).collect()
}

impl Subject {
    /// A file in which `it` is the component, with these lines more.
    fn file(&self, more: &str) -> String {
        // Ports that somebody may have, and folders that may not be written to, are none of its business here.
        let example = match self.kind {
            "source" => self.example.replace(":9000", ":0").replace(":8080", ":0"),
            _ => self.example.to_owned(),
        };
        let mut lines: Vec<String> = example.lines().chain(more.lines()).map(|line| format!("    {line}\n")).collect();
        if self.kind != "source" {
            lines.push("    inputs: [made]\n".to_string());
        }
        let it = format!("  it:\n{}", lines.concat());
        let made = "  made: { type: demo_logs, format: json, interval: 0, count: 20 }\n";
        // The outputs of a route have names.
        let (source, transform, sink) = match self.kind {
            "source" => (it.as_str(), "", "  end: { type: blackhole, inputs: ['it*'] }\n"),
            "transform" => (made, it.as_str(), "  end: { type: blackhole, inputs: ['it*'] }\n"),
            _ => (made, "", it.as_str()),
        };
        format!("sources:\n{source}transforms:\n{transform}sinks:\n{sink}")
    }

    fn planned(&self, more: &str) -> Planned {
        let text = self.file(more);
        let loaded = load_texts(&[Given { name: "a.yaml", format: Format::Yaml, text: &text }], &|_| None);
        plan(loaded, &BuildContext::new(self.folder()), Depth::Values)
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("components").join(self.kind).join(self.name)
    }
}

fn messages(planned: &Planned) -> String {
    render(&planned.files, &planned.problems, Look::default())
}

#[test]
fn every_example_is_sound_without_a_warning() {
    for subject in subjects() {
        let planned = subject.planned("");
        assert!(planned.problems.is_empty(), "{} {}:\n{}", subject.kind, subject.name, messages(&planned));
    }
}

/// Those that write somewhere do so into a folder of the test; what would go over the network is not sent.
#[tokio::test]
async fn every_example_starts_and_drains() {
    for subject in subjects() {
        let elsewhere = subject.kind == "sink" && matches!(subject.name, "http" | "socket");
        if subject.name == "stdin" || elsewhere {
            continue;
        }
        let folder = subject.folder();
        std::fs::create_dir_all(&folder).unwrap();
        let place = folder.display().to_string();
        let text = subject.file("").replace("/var/lib/tidegate", &place).replace("/var/log/archive", &place);
        let text = format!("data_dir: {place}\n{text}").replace("target: stdout", "target: stderr");
        let loaded = load_texts(&[Given { name: "a.yaml", format: Format::Yaml, text: &text }], &|_| None);
        let planned = plan(loaded, &BuildContext::new(&folder), Depth::Surroundings);
        let messages = messages(&planned);
        let plan = planned.plan.unwrap_or_else(|| panic!("{}:\n{messages}", subject.name));
        let cx = BuildContext::new(&folder).host("here");
        let wired = wire::wire(&plan, "example", &cx).unwrap_or_else(|found| panic!("{:?}", found.sorted()));
        let running = wired.pipeline.start();
        cx.observed.set(&running.view());
        let report = match subject.kind {
            "source" => running.drain(Duration::from_secs(60)).await,
            _ => running.wait().await,
        };
        assert_eq!(report.end, PipelineEnd::Completed, "{}: {report}", subject.name);
        if subject.kind != "source" {
            assert_eq!(report.ledger.total().accepted.get(), 20, "{}: {report}", subject.name);
        }
    }
}

/// The configuration as JSON.
fn written(component: &Component) -> Value {
    let json = serde_json::value::Serializer;
    match component {
        Component::Source(config) => erased_serde::serialize(config.as_ref(), json),
        Component::Transform(config) => erased_serde::serialize(config.as_ref(), json),
        Component::Sink(config) => erased_serde::serialize(config.as_ref(), json),
    }
    .expect("it can be written")
}

fn read(subject: &Subject, json: &Value) -> Component {
    let mut from = <dyn erased_serde::Deserializer<'_>>::erase(json.clone());
    match subject.kind {
        "source" => SOURCES
            .iter()
            .find(|kind| kind.name == subject.name)
            .map(|kind| (kind.parse)(&mut from).map(Component::Source)),
        "transform" => TRANSFORMS
            .iter()
            .find(|kind| kind.name == subject.name)
            .map(|kind| (kind.parse)(&mut from).map(Component::Transform)),
        _ => {
            SINKS.iter().find(|kind| kind.name == subject.name).map(|kind| (kind.parse)(&mut from).map(Component::Sink))
        }
    }
    .expect("it is listed")
    .unwrap_or_else(|error| panic!("{}: {error} in {json}", subject.name))
}

#[test]
fn every_configuration_reads_back_what_it_writes() {
    for subject in subjects() {
        let planned = subject.planned("");
        let plan = planned.plan.expect("the example is sound");
        let once = written(&plan.node("it").expect("it is there").component);
        let again = written(&read(&subject, &once));
        assert_eq!(once, again, "{} {}", subject.kind, subject.name);
        // What it writes has the keys that it reads, and no other.
        let odd: Vec<_> = once.as_object().unwrap().keys().filter(|key| !subject.keys.contains(key)).collect();
        assert!(odd.is_empty(), "{} {}: {odd:?}", subject.kind, subject.name);
    }
}

#[test]
fn a_key_that_is_nearly_right_is_named_by_every_component() {
    for subject in subjects() {
        let common: &[&str] = if subject.kind == "source" { &["columns"] } else { &["buffer"] };
        for key in subject.keys.iter().map(String::as_str).chain(common.iter().copied()) {
            let planned = subject.planned(&format!("{key}x: 1\n"));
            let found = planned.problems.sorted();
            let unknown: Vec<_> = found.iter().filter(|problem| problem.code == Code::UnknownKey).collect();
            let fixes: Vec<_> =
                unknown.iter().map(|problem| problem.fix.as_ref().map(|fix| fix.replacement.as_str())).collect();
            assert_eq!(fixes, [Some(key)], "{} {}:\n{}", subject.kind, subject.name, messages(&planned));
        }
        let planned = subject.planned("qqqqqqqqqq: 1\n");
        let codes: Vec<_> = planned.problems.sorted().iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::UnknownKey], "{} {}", subject.kind, subject.name);
    }
}
