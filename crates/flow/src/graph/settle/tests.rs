//! Tests of the module above, as tables and goldens.

use super::*;
use crate::graph::sketch::{graph, stage_named};

fn need_of(text: &str) -> SettleNeed {
    settle_window_needs(&graph(text)).remove(0)
}

#[test]
fn the_fullest_path_counts() {
    let need = need_of(
        "source app, fork f, transform t, sink x, sink y
         app > f > t > x \n f > y : window=150",
    );
    assert_eq!(need.need, Weight::new(300, 300 << 10));
    let names: Vec<&str> = need.bytes.iter().map(|holder| holder.name.as_str()).collect();
    assert_eq!(names, ["app>f", "f>t", "t>x"]);
}

#[test]
fn each_unit_has_its_own_fullest_path() {
    let mut graph = graph("source app, fork f, sink x, sink y \n app > f > x \n f > y");
    graph.edge_mut(EdgeId::new(1)).window = Weight::new(5, 900);
    graph.edge_mut(EdgeId::new(2)).window = Weight::new(7, 800);
    graph.edge_mut(EdgeId::new(0)).window = Weight::new(1, 100);
    let need = settle_window_needs(&graph).remove(0);
    assert_eq!(need.need, Weight::new(8, 1000));
    assert_eq!((need.records[1].name.as_str(), need.bytes[1].name.as_str()), ("f>y", "f>x"));
}

#[test]
fn holdings_diverts_and_loops_count() {
    let mut graph = graph(
        "source app, route r, sink out, sink spare
         app > r > out : window=10 \n r > spare as spill : window=40 \n r > r as again : feedback shed window=3",
    );
    let (r, edge) = (stage_named(&graph, "r"), EdgeId::new(1));
    graph.stage_mut(r).holding = Weight::new(5, 5 << 10);
    graph.edge_mut(edge).on_full = super::super::OnFull::Divert(EdgeId::new(2));
    let need = settle_window_needs(&graph).remove(0);
    assert_eq!(need.need, Weight::new(58, 58 << 10));
    let names: Vec<&str> = need.records.iter().map(|holder| holder.name.as_str()).collect();
    assert_eq!(names, ["app>r", "r", "spill", "again"]);
}

#[test]
fn every_source_has_its_own_need() {
    let graph = graph("source a, source b, transform t, sink x \n a > t : window=1 \n b > t : window=9 \n t > x");
    let needs: Vec<_> = settle_window_needs(&graph).iter().map(|need| need.need.records.get()).collect();
    assert_eq!(needs, [101, 109]);
}

#[test]
fn a_window_that_is_too_small_is_refused_with_the_sum() {
    let need = need_of("source app, transform parse, sink search \n app > parse > search");
    assert_eq!(need.check(Weight::new(200, 200 << 10)), Ok(()));
    let said = |window| need.check(window).unwrap_err().to_string();
    assert_eq!(
        said(Weight::new(150, 100 << 10)),
        "source \"app\": its settle window holds 150 records / 100 KiB, but the buffers on one path can hold 200 records \
         (\"app>parse\" 100 records + \"parse>search\" 100 records) and 200 KiB (\"app>parse\" 100 KiB + \
         \"parse>search\" 100 KiB), so a slow branch would stop its siblings; raise the settle window to at least 200 \
         records / 200 KiB, or make these buffers smaller"
    );
    assert_eq!(
        said(Weight::new(1000, 199 << 10)),
        "source \"app\": its settle window holds 199 KiB, but the buffers on one path can hold 200 KiB \
         (\"app>parse\" 100 KiB + \"parse>search\" 100 KiB), so a slow branch would stop its siblings; raise the settle \
         window to at least 200 KiB, or make these buffers smaller"
    );
}

#[test]
fn an_undeclared_loop_does_not_hang_the_sum() {
    let need = need_of("source app, transform a, transform b \n app > a > b > a");
    assert!(need.need.records.get() >= 200);
}

#[test]
fn an_edge_that_another_stage_fills_counts_where_it_is_diverted_to() {
    let text = "source app, source other, sink out, transform slow, sink spare
        app > out as main : divert=spill window=10 \n other > slow as spill : window=40 \n slow > spare : window=30";
    let need = need_of(text);
    assert_eq!(need.need, Weight::new(70, 70 << 10));
}
