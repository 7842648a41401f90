//! Graphs for tests, drawn as text.
//!
//! ```text
//! source app, fork split, filter odd, zip pairs, sink out     stages: what each is, and its name
//! app > split > odd > pairs                                   edges, named "app>split" and so on
//! split > pairs as short : shed window=5                      with a name of its own and with properties
//! ```

use super::{Branch, EdgeId, FanIn, FanOut, Graph, OnFull, StageId, StageKind};
use crate::units::Weight;

/// The graph that `text` draws; each window is 100 records / 100 KiB unless given as a number of records and KiB.
pub(crate) fn graph(text: &str) -> Graph {
    let mut graph = Graph::new();
    let mut diverts = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.contains('>') {
            edges(&mut graph, line, &mut diverts);
        } else {
            line.split(',').for_each(|part| stage(&mut graph, part.trim()));
        }
    }
    for (edge, to) in diverts {
        graph.edge_mut(edge).on_full = OnFull::Divert(edge_named(&graph, &to));
    }
    graph
}

/// The stage of this name.
pub(crate) fn stage_named(graph: &Graph, name: &str) -> StageId {
    graph.stage_ids().find(|id| graph.stage_name(*id) == name).unwrap_or_else(|| panic!("no stage {name}"))
}

/// The edge of this name.
pub(crate) fn edge_named(graph: &Graph, name: &str) -> EdgeId {
    graph.edge_ids().find(|id| graph.edge_name(*id) == name).unwrap_or_else(|| panic!("no edge {name}"))
}

fn stage(graph: &mut Graph, part: &str) {
    let (what, name) = part.split_once(' ').unwrap();
    let kind = match what {
        "source" => StageKind::Source,
        "sink" => StageKind::Sink,
        _ => StageKind::Transform,
    };
    let id = graph.add_stage(name, kind);
    let stage = graph.stage_mut(id);
    match what {
        "source" | "sink" | "transform" => {}
        "filter" => stage.may_drop = true,
        "zip" => stage.fan_in = FanIn::All,
        "fork" => stage.fan_out = FanOut::Fork,
        "route" => stage.fan_out = FanOut::Route,
        other => panic!("no such stage: {other}"),
    }
}

fn edges(graph: &mut Graph, line: &str, diverts: &mut Vec<(EdgeId, String)>) {
    let (way, properties) = line.split_once(" :").unwrap_or((line, ""));
    let (way, name) = way.split_once(" as ").map_or((way, None), |(way, name)| (way, Some(name.trim())));
    let stages: Vec<&str> = way.split('>').map(str::trim).collect();
    for pair in stages.windows(2) {
        let name = name.map_or_else(|| pair.join(">"), str::to_owned);
        let (from, to) = (stage_named(graph, pair[0]), stage_named(graph, pair[1]));
        let id = graph.connect(name, from, to, Weight::new(100, 100 << 10));
        for property in properties.split_whitespace() {
            if property == "best_effort" {
                let ports = graph.stage_mut(from).outputs.iter_mut().filter(|port| port.edge == Some(id));
                ports.for_each(|port| port.branch = Branch::BestEffort);
                continue;
            }
            let edge = graph.edge_mut(id);
            match property.split_once('=').unwrap_or((property, "")) {
                ("shed", _) => edge.on_full = OnFull::Shed,
                ("fail", _) => edge.on_full = OnFull::Fail,
                ("divert", to) => diverts.push((id, to.to_owned())),
                ("feedback", _) => edge.feedback = true,
                ("hops", _) => edge.hop_credit = true,
                ("window", size) => {
                    let size: u64 = size.parse().unwrap();
                    edge.window = Weight::new(size, size << 10);
                }
                other => panic!("no such property: {other:?}"),
            }
        }
    }
}
