//! Tests of the module above, as tables and goldens.

use super::*;
use crate::graph::sketch::{edge_named, graph, stage_named};
use proptest::prelude::*;

const START: Time = Time::from_nanos(5_000_000_000);
const TEN: Duration = Duration::from_secs(10);

/// A picture of ten seconds, built from percentages.
struct Scene {
    graph: Graph,
    stages: Vec<StageTimes>,
    edges: Vec<EdgePicture>,
}

impl Scene {
    /// Every stage idle, every edge empty.
    fn new(text: &str) -> Self {
        let graph = graph(text);
        let stages = vec![StageTimes::new(START, START + TEN); graph.stages().len()];
        let picture = |window| EdgePicture {
            fill: 0.0,
            window,
            residence: None,
            records_per_second: None,
            lost: 0.0,
            next: None,
        };
        let edges = graph.edges().iter().map(|edge| picture(edge.window)).collect();
        Self { graph, stages, edges }
    }

    /// `stage` did this for so many percent of the window; what is left over is idle. A state is a name, or that of
    /// the edge that it was blocked on.
    fn did(mut self, stage: &str, shares: &[(&str, u64)]) -> Self {
        let times = &mut self.stages[stage_named(&self.graph, stage).index()];
        for (state, percent) in shares {
            let state = match *state {
                "busy" => StageState::Busy,
                "ready" => StageState::Ready,
                "external" => StageState::External,
                "budget" => StageState::BudgetWait,
                "settle" => StageState::SettleWait,
                "throttled" => StageState::Throttled,
                edge => StageState::Blocked(edge_named(&self.graph, edge)),
            };
            *times = times.clone().with(state, TEN / 100 * u32::try_from(*percent).unwrap());
        }
        self
    }

    fn full(mut self, edges: &[&str]) -> Self {
        for edge in edges {
            self.edges[edge_named(&self.graph, edge).index()].fill = 1.0;
        }
        self
    }

    fn flows(mut self, edge: &str, records_per_second: f64, residence_ms: u64) -> Self {
        let edge = &mut self.edges[edge_named(&self.graph, edge).index()];
        edge.records_per_second = Some(records_per_second);
        edge.residence = Some(Duration::from_millis(residence_ms));
        self
    }

    /// `edge` lost this share of what it was given.
    fn lost(mut self, edge: &str, share: f64) -> Self {
        self.edges[edge_named(&self.graph, edge).index()].lost = share;
        self
    }

    fn verdict(mut self) -> Verdict {
        for times in &mut self.stages {
            let rest = times.window() - times.total();
            *times = times.clone().with(StageState::Idle, rest);
        }
        bottleneck(&FlowPicture { graph: &self.graph, stages: &self.stages, edges: &self.edges })
    }
}

fn culprit(verdict: &Verdict) -> &str {
    verdict.culprit.as_ref().map_or("", |culprit| culprit.name.as_str())
}

/// app -> parse -> enrich -> search, each edge named for where it leads.
const LINE: &str = "source app, transform parse, transform enrich, sink search
    app > parse as to-parse \n parse > enrich as to-enrich \n enrich > search as to-search";

#[track_caller]
fn says(scene: Scene, kind: Kind, sentence: &str) -> Verdict {
    let verdict = scene.verdict();
    assert_eq!(verdict.to_string(), sentence);
    assert_eq!(verdict.kind, kind);
    verdict
}

#[test]
fn a_slow_sink_behind_two_transforms() {
    let scene = Scene::new(LINE)
        .did("app", &[("to-parse", 94), ("busy", 6)])
        .did("parse", &[("to-enrich", 90), ("busy", 10)])
        .did("enrich", &[("to-search", 94), ("busy", 6)])
        .did("search", &[("busy", 97)])
        .full(&["to-parse", "to-enrich", "to-search"]);
    let verdict = says(
        scene,
        Kind::SlowSink,
        "sink \"search\" limits source \"app\": it was busy 97 % of the last 10 s; \"parse\" and \"enrich\" wait for it \
         (edge \"to-search\" full, producers blocked 94 %).",
    );
    assert_eq!(verdict.chain, ["app", "parse", "enrich", "search"]);
    assert_eq!(verdict.state, Some(StageState::Busy));
    assert!((verdict.share - 0.97).abs() < 1e-9);
    assert!(verdict.others.is_empty());
}

#[test]
fn a_slow_sink_behind_five_stages_and_a_fork() {
    let scene = Scene::new(
        "source app, transform a, transform b, fork split, transform c, transform d, sink slow, sink quick
         app > a > b > split > c > d > slow \n split > quick",
    )
    .did("app", &[("app>a", 93), ("busy", 7)])
    .did("a", &[("a>b", 93), ("busy", 7)])
    .did("b", &[("b>split", 93), ("busy", 7)])
    .did("split", &[("split>c", 88), ("split>quick", 2), ("busy", 5)])
    .did("c", &[("c>d", 90), ("busy", 10)])
    .did("d", &[("d>slow", 90), ("busy", 10)])
    .did("slow", &[("external", 4), ("busy", 96)])
    .did("quick", &[("busy", 5)])
    .full(&["app>a", "a>b", "b>split", "split>c", "c>d", "d>slow"]);
    let verdict = scene.verdict();
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::SlowSink, "slow"));
    assert_eq!(verdict.chain.join(" "), "app a b split c d slow");
}

#[test]
fn the_most_blocking_branch_is_followed() {
    for (left, right, expected) in [(70, 20, "x"), (20, 70, "y")] {
        let scene = Scene::new("source app, fork f, sink x, sink y \n app > f > x \n f > y")
            .did("app", &[("app>f", 80), ("busy", 20)])
            .did("f", &[("f>x", left), ("f>y", right), ("busy", 10)])
            .did("x", &[("busy", 85)])
            .did("y", &[("busy", 85)]);
        assert_eq!(culprit(&scene.verdict()), expected);
    }
}

#[test]
fn a_busy_branch_is_preferred_to_one_that_only_has_a_small_window() {
    let scene = Scene::new("source app, fork f, sink x, sink y \n app > f > x \n f > y")
        .did("app", &[("app>f", 80), ("busy", 20)])
        .did("f", &[("f>x", 50), ("f>y", 40), ("busy", 10)])
        .did("x", &[("busy", 3)])
        .did("y", &[("busy", 90)]);
    assert_eq!(culprit(&scene.verdict()), "y");
}

#[test]
fn a_slow_transform() {
    let scene = Scene::new(LINE)
        .did("app", &[("to-parse", 60), ("busy", 38)])
        .did("parse", &[("busy", 80), ("ready", 19)])
        .did("enrich", &[("busy", 20)])
        .did("search", &[("external", 30)])
        .full(&["to-parse"]);
    says(
        scene,
        Kind::SlowTransform,
        "transform \"parse\" limits source \"app\": it was busy 80 % of the last 10 s; \"app\" waits for it (edge \
         \"to-parse\" full, producers blocked 60 %).",
    );
}

#[test]
fn a_stage_without_a_cpu() {
    let scene = Scene::new(LINE).did("app", &[("to-parse", 60)]).did("parse", &[("busy", 9), ("ready", 90)]);
    says(
        scene,
        Kind::SlowTransform,
        "transform \"parse\" limits source \"app\": it was ready but had no CPU 90 % of the last 10 s; \"app\" waits for \
         it (edge \"to-parse\" 0 % full, since it gives room back by halves, producers blocked 60 %).",
    );
}

#[test]
fn a_remote() {
    let scene = Scene::new(LINE)
        .did("app", &[("to-parse", 80), ("busy", 6)])
        .did("parse", &[("to-enrich", 90), ("busy", 10)])
        .did("enrich", &[("to-search", 94), ("busy", 6)])
        .did("search", &[("external", 95), ("busy", 5)])
        .full(&["to-parse", "to-enrich", "to-search"]);
    says(
        scene,
        Kind::External,
        "sink \"search\" limits source \"app\": it waited for its remote 95 % of the last 10 s; \"parse\" and \"enrich\" \
         wait for it (edge \"to-search\" full, producers blocked 94 %).",
    );
}

#[test]
fn a_rate_limit() {
    let scene = Scene::new(LINE)
        .did("app", &[("to-parse", 80)])
        .did("parse", &[("throttled", 90), ("busy", 5)])
        .full(&["to-parse"]);
    says(
        scene,
        Kind::Throttled,
        "transform \"parse\" limits source \"app\": it was held by its rate limit 90 % of the last 10 s; \"app\" waits \
         for it (edge \"to-parse\" full, producers blocked 80 %).",
    );
    says(
        Scene::new(LINE).did("app", &[("throttled", 99)]),
        Kind::Throttled,
        "source \"app\" limits the pipeline: it was held by its rate limit 99 % of the last 10 s, and nothing behind it \
         holds it up.",
    );
}

#[test]
fn the_budget_itself() {
    let scene = Scene::new(LINE).did("app", &[("budget", 85), ("busy", 5)]).did("search", &[("busy", 20)]);
    let verdict = says(
        scene,
        Kind::Budget,
        "the memory budget limits source \"app\": it waited for memory 85 % of the last 10 s, and no stage behind it is \
         at its limit.",
    );
    assert!(verdict.hint.is_some_and(|hint| hint.starts_with("raise the memory budget")));
}

#[test]
fn the_budget_filled_by_a_transform_further_down() {
    let scene = Scene::new(LINE)
        .did("app", &[("to-parse", 80)])
        .did("parse", &[("budget", 90), ("busy", 9)])
        .full(&["to-parse"]);
    says(
        scene,
        Kind::Budget,
        "the memory budget limits source \"app\": transform \"parse\" waited for memory 90 % of the last 10 s, and no \
         stage behind it is at its limit.",
    );
}

#[test]
fn a_budget_that_a_slow_sink_fills_is_the_sinks_fault() {
    let scene = Scene::new(LINE).did("app", &[("budget", 85), ("busy", 5)]).did("search", &[("external", 96)]);
    let verdict = says(
        scene,
        Kind::External,
        "sink \"search\" limits source \"app\": it waited for its remote 96 % of the last 10 s; what it holds fills the \
         memory budget (waited for 85 %).",
    );
    assert_eq!(verdict.chain, ["app", "parse", "enrich", "search"]);
}

#[test]
fn the_settle_window() {
    says(
        Scene::new(LINE).did("app", &[("settle", 85), ("busy", 5)]).did("search", &[("external", 40)]),
        Kind::SettleWindow,
        "the settle window limits source \"app\": it waited for records in flight to be settled 85 % of the last 10 s, \
         and no stage behind it is at its limit.",
    );
    says(
        Scene::new(LINE).did("app", &[("settle", 85), ("busy", 5)]).did("search", &[("busy", 99)]),
        Kind::SlowSink,
        "sink \"search\" limits source \"app\": it was busy 99 % of the last 10 s; what it has not settled fills the \
         settle window (waited for 85 %).",
    );
}

#[test]
fn a_window_that_is_too_small() {
    let scene = Scene::new("source app, sink search \n app > search as to-search : window=10")
        .did("app", &[("to-search", 80), ("busy", 20)])
        .did("search", &[("busy", 10)])
        .full(&["to-search"])
        .flows("to-search", 1000.0, 10);
    let verdict = says(
        scene,
        Kind::WindowTooSmall,
        "the window of edge \"to-search\" is too small and limits source \"app\": its producer was blocked 80 % of the \
         last 10 s while \"search\" was idle 90 %.",
    );
    assert_eq!(
        verdict.hint.as_deref(),
        Some(
            "a window of 100 records would keep \"search\" busy: it could take 10000 records/s, and a record stays 10 ms \
             in the edge (Little's law)"
        )
    );
    assert_eq!(verdict.culprit, None);
}

#[test]
fn no_window_is_proposed_without_data() {
    let scene = |rate, residence, busy| {
        Scene::new("source app, sink search \n app > search : window=10")
            .did("app", &[("app>search", 80), ("busy", 20)])
            .did("search", &[("busy", busy)])
            .flows("app>search", rate, residence)
            .verdict()
    };
    assert!(scene(1000.0, 10, 10).hint.is_some());
    assert_eq!(scene(1000.0, 0, 10).hint, None, "residence not measured");
    assert_eq!(scene(1000.0, 10, 0).hint, None, "how fast the sink could be is unknown");
    assert_eq!(scene(10.0, 10, 10).hint, None, "the window holds that already");
}

#[test]
fn a_slow_source() {
    says(
        Scene::new(LINE).did("app", &[("external", 90), ("busy", 5)]).did("search", &[("busy", 12)]),
        Kind::StarvedSource,
        "source \"app\" limits the pipeline: it waited for its remote 90 % of the last 10 s, and nothing behind it \
         holds it up.",
    );
    says(
        Scene::new(LINE).did("app", &[("busy", 88), ("to-parse", 12)]).did("parse", &[("busy", 60)]),
        Kind::StarvedSource,
        "source \"app\" limits the pipeline: it was busy 88 % of the last 10 s and was held up only 12 %.",
    );
    says(
        Scene::new(LINE).did("app", &[("busy", 2)]).did("search", &[("busy", 5)]).flows("to-parse", 10.0, 1),
        Kind::StarvedSource,
        "source \"app\" limits the pipeline: it had no input 98 % of the last 10 s, and nothing behind it holds it up.",
    );
}

#[test]
fn nothing_at_all() {
    let verdict =
        says(Scene::new(LINE), Kind::None, "nothing limits the pipeline: there was no input for the last 10 s.");
    assert_eq!((verdict.culprit, verdict.chain.len()), (None, 0));
}

#[test]
fn stages_that_take_turns_are_told_apart_by_their_shares() {
    let swing = |parse, search| {
        Scene::new(LINE)
            .did("app", &[("to-parse", 50)])
            .did("parse", &[("busy", parse), ("to-enrich", 40)])
            .did("enrich", &[("to-search", 45)])
            .did("search", &[("busy", search)])
            .verdict()
    };
    assert_eq!(culprit(&swing(60, 50)), "parse");
    assert_eq!(culprit(&swing(50, 60)), "search");
}

#[test]
fn an_edge_that_sheds_limits_nobody_and_is_a_remark() {
    let scene =
        Scene::new("source app, transform parse, sink search \n app > parse \n parse > search as to-search : shed")
            .did("app", &[("busy", 30)])
            .did("parse", &[("busy", 30)])
            .did("search", &[("busy", 100)])
            .full(&["to-search"])
            .lost("to-search", 0.4);
    let verdict = says(
        scene,
        Kind::StarvedSource,
        "source \"app\" limits the pipeline: it had no input 70 % of the last 10 s, and nothing behind it holds it up. \
         Edge \"to-search\" shed 40 % of its records and holds nobody up.",
    );
    assert!(!verdict.remarks[0].best_effort && !verdict.remarks[0].diverts);
}

/// A fork with a branch that may miss what it is too slow for.
const LIVE: &str = "source app, fork f, sink archive, sink live \n app > f > archive \n f > live : shed best_effort";

#[test]
fn a_best_effort_branch_limits_neither_an_idle_source_nor_the_end() {
    let scene = || Scene::new(LIVE).did("live", &[("external", 100)]).full(&["f>live"]).lost("f>live", 0.9);
    says(
        scene().did("archive", &[("busy", 3)]).flows("app>f", 10.0, 1),
        Kind::StarvedSource,
        "source \"app\" limits the pipeline: it had no input 100 % of the last 10 s, and nothing behind it holds it \
         up. Edge \"f>live\" (best effort) shed 90 % of its records and holds nobody up.",
    );
    let over = |mut scene: Scene| {
        let app = &mut scene.stages[0];
        *app = StageTimes::new(START, START + TEN / 10);
        app.finished = true;
        scene.verdict()
    };
    assert_eq!(culprit(&over(scene().did("archive", &[("busy", 60)]))), "archive");
    assert_eq!(over(scene()).culprit, None, "the live view works off what is left, and nobody waits for it");
}

#[test]
fn a_best_effort_branch_is_not_what_fills_the_settle_window() {
    let scene = Scene::new(LIVE).did("app", &[("settle", 90)]).did("live", &[("external", 100)]);
    assert_eq!(scene.verdict().kind, Kind::SettleWindow);
    let scene = Scene::new(LIVE).did("app", &[("settle", 90)]).did("archive", &[("external", 95)]);
    assert_eq!(culprit(&scene.verdict()), "archive");
}

#[test]
fn an_edge_that_does_not_look_full_says_why_it_makes_its_producer_wait() {
    let scene = |next| {
        let mut scene = Scene::new("source app, sink search \n app > search")
            .did("app", &[("app>search", 99)])
            .did("search", &[("busy", 99)]);
        (scene.edges[0].fill, scene.edges[0].next) = (0.58, next);
        scene.verdict().to_string()
    };
    let tail = |why: &str| format!("\"app\" waits for it (edge \"app>search\" {why}, producers blocked 99 %).");
    let no_room = tail("58 % full and without room for the next batch of 64 records");
    assert!(scene(Some(Weight::new(64, 10))).ends_with(&no_room), "{}", scene(Some(Weight::new(64, 10))));
    let halves = tail("58 % full, since it gives room back by halves");
    assert!(scene(Some(Weight::new(30, 10))).ends_with(&halves), "{}", scene(Some(Weight::new(30, 10))));
    assert!(scene(None).ends_with(&halves));
}

/// A zip of two sources.
const ZIP: &str = "source a, source b, transform t, zip pairs, sink out \n a > pairs > out \n b > t > pairs";

#[test]
fn a_zip_that_waits_for_its_other_input() {
    let scene = Scene::new(ZIP)
        .did("a", &[("a>pairs", 90)])
        .did("t", &[("external", 92)])
        .did("b", &[("b>t", 50)])
        .full(&["a>pairs", "b>t"])
        .flows("a>pairs", 5.0, 10);
    let verdict = scene.verdict();
    assert_eq!((verdict.kind, culprit(&verdict)), (Kind::External, "t"));
    assert_eq!(verdict.chain.join(" "), "a pairs t");
    let names: Vec<&str> = verdict.limits.iter().map(|who| who.name.as_str()).collect();
    assert_eq!(names, ["a", "b"], "one verdict for both");
    says(
        Scene::new(ZIP).did("a", &[("a>pairs", 90)]).full(&["a>pairs"]).flows("a>pairs", 5.0, 10),
        Kind::StarvedSource,
        "source \"b\" limits source \"a\": it had no input 100 % of the last 10 s; \"pairs\" and \"t\" wait for it (edge \
         \"a>pairs\" full, producers blocked 90 %).",
    );
}

#[test]
fn a_ring_is_named() {
    let scene = Scene::new("source in, transform a, route b, sink out \n in > a > b > a \n b > out")
        .did("in", &[("in>a", 100)])
        .did("a", &[("a>b", 100)])
        .did("b", &[("b>a", 100)])
        .full(&["in>a", "a>b", "b>a"]);
    let verdict = says(
        scene,
        Kind::Stalled,
        "nothing moves: \"a\" -> \"b\" -> \"a\" wait for each other, and source \"in\" for them.",
    );
    assert_eq!(verdict.culprit, None);
}

#[test]
fn a_consumer_that_takes_nothing_is_a_stall() {
    let scene = Scene::new("source app, sink search \n app > search as to-search")
        .did("app", &[("to-search", 100)])
        .full(&["to-search"])
        .flows("to-search", 0.0, 0);
    says(
        scene,
        Kind::Stalled,
        "nothing moves from source \"app\" on: edge \"to-search\" is full and \"search\" takes nothing from it.",
    );
}

#[test]
fn the_source_that_is_held_up_most_comes_first() {
    let scene = Scene::new("source one, source two, sink x, sink y \n one > x \n two > y")
        .did("one", &[("one>x", 40), ("busy", 20)])
        .did("two", &[("two>y", 90), ("busy", 10)])
        .did("x", &[("busy", 95)])
        .did("y", &[("external", 95)]);
    let verdict = scene.verdict();
    assert_eq!((culprit(&verdict), culprit(&verdict.others[0])), ("y", "x"));
    assert_eq!(verdict.others.len(), 1);
}

#[test]
fn sources_that_wait_for_one_culprit_share_a_verdict() {
    let scene = Scene::new("source one, source two, transform m, sink x \n one > m > x \n two > m")
        .did("one", &[("one>m", 80)])
        .did("two", &[("two>m", 90)])
        .did("m", &[("m>x", 95)])
        .did("x", &[("busy", 99)])
        .full(&["m>x"]);
    says(
        scene,
        Kind::SlowSink,
        "sink \"x\" limits source \"two\" and source \"one\": it was busy 99 % of the last 10 s; \"m\" waits for it (edge \
         \"m>x\" full, producers blocked 95 %).",
    );
}

#[test]
fn since_when_and_the_longest_stall_are_told() {
    let mut scene = Scene::new(LINE).did("app", &[("to-parse", 90)]).did("parse", &[("external", 100)]);
    let stall = Stall { duration: Duration::from_secs(4), state: StageState::External, at: START };
    let times = &mut scene.stages[1];
    (times.state, times.state_since, times.longest_stall) = (StageState::External, START, Some(stall));
    let verdict = scene.verdict();
    assert_eq!((verdict.since, verdict.longest_stall), (Some(START), Some(stall)));
}

#[test]
fn spans_and_lists_read_well() {
    let shown: Vec<String> =
        [120_000_000, 10_000_000, 1_500_000, 250_000, 80].map(Duration::from_micros).map(span).into();
    assert_eq!(shown, ["2 min", "10 s", "1.5 s", "250 ms", "80 us"]);
}

fn shares() -> impl Strategy<Value = [u64; 9]> {
    // Weights of idle, ready, busy, external, throttled, budget, settle, and blocked on either output.
    prop::array::uniform9(prop_oneof![3 => Just(0), 1 => 1..10_u64, 1 => 50..100_u64])
}

proptest! {
    /// Whatever the figures: a stage that was only blocked or idle is never blamed as slow, and a sentence comes out.
    #[test]
    fn what_only_waits_is_never_blamed(
        table in prop::collection::vec(shares(), 7),
        fills in prop::collection::vec(0.0..=1.0_f64, 8),
        rates in prop::collection::vec(prop::option::of(prop_oneof![Just(0.0), 1.0..1e6_f64]), 8),
    ) {
        let mut scene = Scene::new(
            "source a, source b, transform m, fork f, transform t, zip z, sink x
             a > m > f > t > z > x \n b > m \n f > z as short \n t > m as back : feedback shed",
        );
        for (stage, weights) in scene.graph.stage_ids().zip(&table) {
            let outputs: Vec<EdgeId> = scene.graph.outputs(stage).collect();
            let blocked = |place: usize| outputs.get(place).or(outputs.first()).map(|edge| StageState::Blocked(*edge));
            let states = [StageState::Idle, StageState::Ready, StageState::Busy, StageState::External,
                StageState::Throttled, StageState::BudgetWait, StageState::SettleWait,
                blocked(0).unwrap_or(StageState::Idle), blocked(1).unwrap_or(StageState::Idle)];
            let sum = weights.iter().sum::<u64>().max(1);
            let mut times = StageTimes::new(START, START + TEN);
            for (state, weight) in states.into_iter().zip(weights) {
                let part = 10_000_000_000 / sum * weight;
                times = times.with(state, Duration::from_nanos(part));
            }
            scene.stages[stage.index()] = times;
        }
        for (edge, (fill, rate)) in scene.edges.iter_mut().zip(fills.iter().zip(&rates)) {
            (edge.fill, edge.records_per_second) = (*fill, *rate);
        }
        let stages = scene.stages.clone();
        let first = scene.verdict();
        for verdict in [&first].into_iter().chain(&first.others) {
            prop_assert!(verdict.to_string().ends_with('.'), "{verdict}");
            if let Some(culprit) = &verdict.culprit {
                let times = &stages[culprit.id.index()];
                let starves = verdict.kind == Kind::StarvedSource;
                prop_assert!(starves || times.own() >= TEN / 11, "{verdict}: {times:?}");
                prop_assert!(!matches!(verdict.state, Some(StageState::Blocked(_))));
                prop_assert!(verdict.share > 0.0, "{verdict}");
            }
        }
    }
}
