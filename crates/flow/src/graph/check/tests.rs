//! Tests of the module above, as tables and goldens.

use super::check;
use crate::graph::sketch::{edge_named, graph, stage_named};
use crate::graph::{EdgeId, Graph, GraphError, OnFull, StageKind};
use crate::units::Weight;

/// What `check` says, one text per error.
fn said(graph: &Graph) -> Vec<String> {
    check(graph).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(said(&graph(text)), [expected], "{text}");
}

#[track_caller]
fn accepted(text: &str) {
    assert_eq!(said(&graph(text)), [""; 0], "{text}");
}

#[test]
fn plain_graphs_pass() {
    accepted("source app, transform parse, sink out \n app > parse > out");
    accepted("source a, source b, transform merge, sink out \n a > merge > out \n b > merge");
    accepted("source a, fork f, sink x, sink y \n a > f > x \n f > y : shed");
    accepted("source a, route r, sink x, sink y \n a > r > x \n r > y");
}

#[test]
fn open_ports_are_refused() {
    let mut graph = graph("source app, transform parse, sink out \n app > parse > out");
    let parse = stage_named(&graph, "parse");
    graph.open_input(parse, "lookup");
    graph.open_output(parse, "errors");
    graph.stage_mut(parse).fan_out = crate::graph::FanOut::Route;
    assert_eq!(
        said(&graph),
        [
            "transform \"parse\": input \"lookup\" is connected to nothing; connect an edge to it, or remove it",
            "transform \"parse\": output \"errors\" is connected to nothing; connect an edge to it, or say that its \
             records are to be discarded",
        ]
    );
}

#[test]
fn stages_and_edges_without_a_side_are_refused() {
    let mut graph = Graph::new();
    graph.add_stage("app", StageKind::Source);
    graph.add_stage("out", StageKind::Sink);
    graph.add_edge("lost", Weight::new(0, 10));
    assert_eq!(
        said(&graph),
        [
            "source \"app\" has no output; connect a transform or a sink to it",
            "sink \"out\" has no input; connect a source or a transform to it",
            "edge \"lost\": no stage fills it; connect one, or remove the edge",
            "edge \"lost\": no stage empties it; connect one, or remove the edge",
            "edge \"lost\": a window of 0 records / 10 B holds nothing; give it at least 1 record and 1 B",
        ]
    );
}

#[test]
fn several_outputs_must_say_what_goes_where() {
    refused(
        "source a, transform t, sink x, sink y \n a > t > x \n t > y",
        "transform \"t\" has 2 outputs (\"t>x\", \"t>y\") and does not say what goes where; make it a fork (each gets \
         every record) or a route (each record goes to one)",
    );
}

#[test]
fn names_are_unique_and_a_free_one_is_suggested() {
    let mut graph = graph("source app, transform parse, transform parse_2, sink out \n app > parse > parse_2 > out");
    let parse = stage_named(&graph, "parse_2");
    graph.stage_mut(parse).name = "parse".to_owned();
    graph.stage_mut(stage_named(&graph, "app")).name = "parse".to_owned();
    let edge = edge_named(&graph, "parse_2>out");
    graph.edge_mut(edge).name = "app>parse".to_owned();
    graph.stage_mut(stage_named(&graph, "out")).name = "parse_2".to_owned();
    assert_eq!(
        said(&graph),
        [
            "3 stages are called \"parse\"; every stage needs a name of its own: rename one, for example to \"parse_3\"",
            "2 edges are called \"app>parse\"; every edge needs a name of its own: rename one, for example to \
             \"app>parse_2\"",
        ]
    );
}

#[test]
fn undeclared_loops_are_spelled_out() {
    refused(
        "source in, transform a, transform b, route c, sink out \n in > a > b > c > a \n c > out",
        "the stages form a loop: a -> b -> c -> a; a loop fills up and stops unless it is planned: remove edge \"c>a\", \
         or declare it as feedback with a policy other than block",
    );
    refused(
        "source in, route a, sink out \n in > a > out \n a > a as again",
        "the stages form a loop: a -> a; a loop fills up and stops unless it is planned: remove edge \"again\", or \
         declare it as feedback with a policy other than block",
    );
}

#[test]
fn each_group_of_loops_is_reported_once() {
    let two = graph(
        "source in, route a, route b, route c, sink out, route x, route y
         in > a > b > c > out \n b > a \n c > b \n c > x > y > x \n y > out",
    );
    let found: Vec<GraphError> = check(&two).unwrap_err();
    let cycles: Vec<_> = found
        .iter()
        .filter_map(|error| match error {
            GraphError::UndeclaredCycle { cycle, .. } => Some(cycle.join(" ")),
            _ => None,
        })
        .collect();
    assert_eq!(cycles, ["a b a", "x y x"]);
}

#[test]
fn a_declared_loop_must_not_block() {
    let with = |properties: &str| {
        format!(
            "source in, transform a, transform b, route c, sink out
             in > a > b > c > out \n c > a as retry : feedback {properties}"
        )
    };
    refused(
        &with(""),
        "feedback edge \"retry\" blocks when it is full, so the loop c -> a -> b -> c can wait for itself forever; let \
         it shed, fail or divert, or give it separate credit per hop",
    );
    accepted(&with("shed"));
    accepted(&with("fail"));
    accepted(&with("hops"));
}

#[test]
fn a_divert_that_comes_back_is_refused() {
    refused(
        "source in, route a, transform b, sink out, sink spare
         in > a > b > out \n a > spare as spill : divert=in>a",
        "edge \"spill\" diverts to \"in>a\", whose records come back to it: a -> a; divert to an edge that leads out, \
         or declare \"in>a\" as feedback with a policy other than block",
    );
    refused(
        "source in, transform a, route b, transform c, sink out, sink spare
         in > a > b > c > out \n b > spare as spill : divert=in>a",
        "edge \"spill\" diverts to \"in>a\", whose records come back to it: b -> a -> b; divert to an edge that leads \
         out, or declare \"in>a\" as feedback with a policy other than block",
    );
    accepted(
        "source in, route a, sink out, sink spare
         in > a \n a > out as main : divert=spill \n a > spare as spill : shed",
    );
    accepted(
        "source in, transform a, route b, sink out
         in > a > b \n b > out as main : divert=again \n b > a as again : feedback shed",
    );
}

#[test]
fn a_divert_over_another_divert_is_followed() {
    refused(
        "source in, source other, transform a, sink x, sink y
         in > a as work \n a > x as main : divert=spare \n other > y as spare : divert=work",
        "edge \"main\" diverts to \"work\", whose records come back to it: a -> a; divert to an edge that leads out, or \
         declare \"work\" as feedback with a policy other than block",
    );
}

#[test]
fn rings_of_diverts_are_refused_once() {
    refused(
        "source in, route a, sink x, sink y, sink z
         in > a \n a > x as one : divert=two \n a > y as two : divert=three \n a > z as three : divert=one",
        "edges divert to each other in a ring: one -> two -> three -> one; when all are full a batch has nowhere to go: \
         give one of them another policy",
    );
    refused(
        "source in, transform a, sink x \n in > a \n a > x as one : divert=one",
        "edges divert to each other in a ring: one -> one; when all are full a batch has nowhere to go: give one of \
         them another policy",
    );
}

#[test]
fn a_divert_into_a_ring_is_not_a_ring_itself() {
    let into = graph(
        "source in, route a, sink x, sink y, sink z
         in > a \n a > x as one : divert=two \n a > y as two : divert=three \n a > z as three : divert=two",
    );
    assert_eq!(said(&into).len(), 1, "{:?}", said(&into));
}

#[test]
fn a_divert_to_nowhere_is_refused() {
    let mut graph = graph("source in, sink out \n in > out");
    graph.edge_mut(EdgeId::new(0)).on_full = OnFull::Divert(EdgeId::new(9));
    assert_eq!(
        said(&graph),
        ["edge \"in>out\" diverts to an edge that is not in the plan; name one that is, or use another policy"]
    );
}

/// A fork with two branches to a zip; `a` and `b` are the properties of the edges into the zip.
fn diamond(stage: &str, fork: &str, a: &str, b: &str) -> String {
    format!(
        "source in, {fork} split, {stage} work, zip pairs, sink out
         in > split > work \n work > pairs : {a} \n split > pairs as short : {b} \n pairs > out"
    )
}

#[test]
fn a_diamond_with_a_filter_is_refused() {
    refused(
        &diamond("filter", "fork", "window=100", "window=200"),
        "the branches split -> work -> pairs and split -> pairs meet in \"pairs\", which needs both, and can deadlock: \
         \"work\" may drop records, and while \"pairs\" waits for them the second fills up and blocks \"split\"; let \
         the first pass every record on, or let an edge of each branch shed or fail when full",
    );
    accepted(&diamond("filter", "fork", "shed", "shed"));
}

#[test]
fn a_diamond_with_a_branch_that_loses_is_refused() {
    refused(
        &diamond("transform", "fork", "shed window=100", "window=200"),
        "the branches split -> work -> pairs and split -> pairs meet in \"pairs\", which needs both, and can deadlock: \
         edge \"work>pairs\" may lose records when it is full, and while \"pairs\" waits for them the second fills up \
         and blocks \"split\"; let the first pass every record on, or let an edge of each branch shed or fail when full",
    );
}

#[test]
fn a_diamond_behind_a_route_is_refused() {
    refused(
        &diamond("transform", "route", "", "window=200"),
        "the branches split -> pairs and split -> work -> pairs meet in \"pairs\", which needs both, and can deadlock: \
         \"split\" divides the records between them, and while \"pairs\" waits for one of the first branch the second \
         fills up and blocks \"split\"; let the first pass every record on, or let an edge of each branch shed or fail when full",
    );
}

#[test]
fn a_diamond_with_unequal_windows_is_refused() {
    refused(
        &diamond("transform", "fork", "", ""),
        "the branches split -> pairs and split -> work -> pairs meet in \"pairs\", which needs both, and can deadlock: \
         the first can hold 100 records / 100 KiB, the second 200 records / 200 KiB, and while the first holds records \
         back the second fills up and blocks \"split\"; give both branches the same window in all, or let an edge of each branch shed or fail when full",
    );
    accepted(&diamond("transform", "fork", "", "window=200"));
}

#[test]
fn a_filter_far_down_a_branch_counts() {
    let text = "source in, fork split, transform a, filter b, transform c, zip pairs, sink out
         in > split > a > b > c > pairs > out \n split > pairs as short : window=400";
    let found = check(&graph(text)).unwrap_err();
    let GraphError::Diamond { held, .. } = &found[0] else { panic!("{found:?}") };
    assert_eq!(held.join(" "), "split a b c pairs");
}

#[test]
fn branches_that_meet_before_the_zip_are_no_diamond_of_it() {
    accepted(
        "source in, fork f, filter a, transform b, fork g, zip pairs, sink out
         in > f > a > g \n f > b > g \n g > pairs as left \n g > pairs as right \n pairs > out",
    );
}

#[test]
fn a_merge_or_separate_sources_are_no_diamond() {
    accepted("source in, fork f, filter a, transform m, sink out \n in > f > a > m > out \n f > m");
    accepted("source one, source two, filter a, zip z, sink out \n one > a > z > out \n two > z");
}
