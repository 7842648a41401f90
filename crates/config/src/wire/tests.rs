//! Messages for what only the runtime refuses. No pipeline file of today leads to some of them, since windows are made to
//! fit and graphs of components cannot wait in a circle; they are read here all the same.

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_flow::graph::{Conflict, GraphError, Holder, SettleNeed, SettleWindowTooSmall};
use tidegate_flow::{Bytes, Graph, Records, StageKind, Weight};
use tidegate_runtime::BuildError;

use super::*;
use crate::load::{Given, load_texts};
use crate::problem::{Look, render};
use crate::tree::Format;
use crate::{Planned, plan};

const TEXT: &str = "\
memory: 64MiB
sources:
  in: { type: demo_logs, format: json }
transforms:
  split: { type: filter, inputs: [in], condition: \"true\" }
sinks:
  out: { type: blackhole, inputs: [in, split] }
";

fn planned() -> Planned {
    let loaded = load_texts(&[Given { name: "a.yaml", format: Format::Yaml, text: TEXT }], &|_| None);
    plan(loaded, &BuildContext::new("data"), Depth::Values)
}

/// The message for an error, on lines without what stands left of the text.
fn message(error: &BuildError) -> String {
    let Planned { plan: Some(plan), files, .. } = planned() else { panic!("the file is sound") };
    let mut problems = Problems::new();
    problems.push(describe(&plan, error));
    render(&files, &problems, Look::default())
}

fn window(need: Weight, window: Weight) -> BuildError {
    let source = Graph::default().add_stage("in", StageKind::Source);
    let holder = |name: &str, weight| Holder { name: name.to_owned(), weight };
    let need = SettleNeed {
        source,
        name: "in".to_owned(),
        need,
        records: vec![holder("split", need), holder("out", need)],
        bytes: vec![holder("out", need)],
    };
    BuildError::SettleWindow(SettleWindowTooSmall { need, window })
}

#[test]
fn windows_that_are_too_small_are_shown_at_their_source_with_the_sum() {
    let large = Weight { records: Records::new(5_000), bytes: Bytes::new(1 << 20) };
    let few = Weight { records: Records::new(10), bytes: Bytes::new(1 << 20) };
    let small = Weight { records: Records::new(5_000), bytes: Bytes::new(1 << 10) };
    let none = Weight { records: Records::new(1), bytes: Bytes::new(1) };
    for (window, words) in [
        (window(large, few), ["holds 10 records", "raise the settle window to at least 5000 records"]),
        (window(large, small), ["holds 1 KiB", "raise the settle window to at least 1 MiB"]),
        (window(large, none), ["\"split\"", "make these buffers smaller"]),
    ] {
        let said = message(&window);
        assert!(said.starts_with("error[E0302]: source \"in\": its settle window"), "{said}");
        assert!(said.contains("--> a.yaml:3:3") && words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn graphs_that_can_stop_for_good_are_shown_with_their_way_round() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let cycle = GraphError::UndeclaredCycle { cycle: names(&["split", "out", "split"]), closing: "split".to_owned() };
    let looped = GraphError::BlockingLoop { edge: "split".to_owned(), cycle: names(&["split", "out", "split"]) };
    let diamond = GraphError::Diamond {
        fork: "in".to_owned(),
        join: "out".to_owned(),
        held: names(&["in", "split", "out"]),
        full: names(&["in", "out"]),
        conflict: Conflict::Drops("split".to_owned()),
    };
    for (error, words) in
        [(cycle, "remove edge \"split\""), (looped, "\"split\""), (diamond, "meet in \"out\", which needs both")]
    {
        let said = message(&BuildError::Graph(error));
        assert!(said.starts_with("error[E0304]: ") && said.contains(words), "{said}");
        assert!(said.contains("--> a.yaml:"), "it has a place: {said}");
    }
}

#[test]
fn what_cannot_be_wired_is_shown_at_its_component() {
    for (error, place, words) in [
        (BuildError::TooManyProducers { edge: "out".to_owned(), allowed: 4 }, "7:3", "4"),
        (BuildError::NoRequiredBranch { stage: "in".to_owned() }, "3:3", "acknowledgements"),
        (
            BuildError::Setting { stage: "split".to_owned(), text: "holds nothing; raise it".to_owned() },
            "5:3",
            "raise it",
        ),
    ] {
        let said = message(&error);
        assert!(said.starts_with("error[E0305]: ") && said.contains(words), "{said}");
        assert!(said.contains(&format!("--> a.yaml:{place}")), "{said}");
    }
}

#[test]
fn the_parts_of_a_budget_add_up_in_the_figures_that_are_shown() {
    let mut sum = PlanSum::new(Bytes::new(16 << 20));
    sum.add("in", "intake", Bytes::new(64 << 20));
    sum.add("out", "spares", Bytes::new(320 << 10));
    let said = table(&sum);
    assert!(said.contains("64 MiB") && said.contains("320 KiB"), "{said}");
    let need = words::bytes(sum.sum());
    assert!(said.lines().any(|line| line.contains("sum") && line.contains(&need)), "{need}: {said}");
    assert_eq!(need, "64.4 MiB", "rounded up, as in the title");
}

#[test]
fn a_trial_takes_no_port_and_leaves_no_file() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let long = "n".repeat(120);
    let text = format!(
        "sources:\n  in: {{ type: socket, mode: tcp, address: \"{}\" }}\n  {long}: {{ type: socket, mode: unix_stream, path: \
         /run/x.sock }}\nsinks:\n  out: {{ type: blackhole, inputs: [in, {long}] }}\n",
        taken.local_addr().expect("it has one")
    );
    let loaded = load_texts(&[Given { name: "a.yaml", format: Format::Yaml, text: &text }], &|_| None);
    let planned = plan(loaded, &BuildContext::new("data"), Depth::Values).plan.expect("it is sound");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _within = runtime.enter();
    assert!(try_wire(&planned, &BuildContext::new("data"), |_| ()).is_ok());
    assert!(wire(&planned, "real", &BuildContext::new("data")).is_err());
    let mine = format!("tidegate-trial-{}-", std::process::id());
    let left = std::fs::read_dir(std::env::temp_dir()).expect("there").flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&mine)).count(), 0);
    assert_eq!(planned.nodes[0].kind, StageKind::Source);
}
