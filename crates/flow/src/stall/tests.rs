//! Tests of the module above, as tables and goldens.

use super::*;
use crate::graph::sketch::{edge_named, graph, stage_named};
use proptest::prelude::*;

const T: Duration = Duration::from_secs(30);

/// A pipeline whose stages stand as the test says, and the detector that watches it.
struct Scene {
    graph: Graph,
    stages: Vec<StageObservation>,
    edges: Vec<EdgeObservation>,
    detector: StallDetector,
    now: Time,
}

impl Scene {
    /// Every stage idle, every edge empty.
    fn new(text: &str) -> Self {
        let graph = graph(text);
        let stages = graph.stage_ids().map(|id| StageObservation::new(id, 0, StageState::Idle)).collect();
        let edges = graph.edge_ids().map(|id| EdgeObservation { id, fill: 0.0 }).collect();
        Self { graph, stages, edges, detector: StallDetector::new(T), now: Time::from_nanos(7) }
    }

    fn stage(&mut self, name: &str) -> &mut StageObservation {
        let id = stage_named(&self.graph, name);
        &mut self.stages[id.index()]
    }

    /// These stages are in these states.
    fn is(mut self, states: &[(&str, StageState)]) -> Self {
        for (name, state) in states {
            self.stage(name).state = *state;
        }
        self
    }

    /// These stages wait for room in these edges, which are full.
    fn blocked(mut self, on: &[(&str, &str)]) -> Self {
        for (name, edge) in on {
            let edge = edge_named(&self.graph, edge);
            self.edges[edge.index()].fill = 1.0;
            self.stage(name).state = StageState::Blocked(edge);
        }
        self
    }

    /// Time passes, in five steps, while these stages make progress. Returns what was reported.
    fn pass(&mut self, seconds: u64, moving: &[&str]) -> Vec<StallReport> {
        let mut reports = Vec::new();
        for _ in 0..5 {
            self.now = self.now + Duration::from_secs(seconds) / 5;
            for name in moving {
                self.stage(name).progress += 1;
            }
            reports.extend(self.detector.observe(self.now, &self.graph, &self.stages, &self.edges));
        }
        reports
    }

    /// The sentences reported after 100 s in which nothing moves.
    fn said(mut self) -> Vec<String> {
        texts(&self.pass(100, &[]))
    }
}

fn texts(reports: &[StallReport]) -> Vec<String> {
    let text = |report: &StallReport| match report {
        StallReport::Stalled(event) => event.to_string(),
        StallReport::Recovered(recovery) => recovery.to_string(),
    };
    reports.iter().map(text).collect()
}

const NONE: [&str; 0] = [];

const LINE: &str = "source app, transform parse, sink search
    app > parse as to-parse \n parse > search as to-search";

fn line() -> Scene {
    Scene::new(LINE).blocked(&[("app", "to-parse"), ("parse", "to-search")])
}

fn later(seconds: u64) -> Option<Time> {
    Some(Time::from_nanos(seconds * 1_000_000_000))
}

#[test]
fn a_remote_without_a_deadline_is_named_with_the_chain() {
    assert_eq!(
        line().is(&[("search", StageState::External)]).said(),
        ["nothing has moved for 40 s: \"app\" waits for room in \"to-parse\" -> \"parse\" waits for room in \
          \"to-search\" -> \"search\" waits for its remote without a deadline; set a timeout on its calls."]
    );
}

#[test]
fn a_deadline_ahead_is_a_known_cause_and_one_behind_is_none() {
    let mut scene = line().is(&[("search", StageState::External)]);
    scene.stage("search").deadline = later(90);
    assert_eq!(texts(&scene.pass(80, &[])), NONE);
    let said = texts(&scene.pass(100, &[]));
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("\"search\" waits for its remote past the deadline; set a timeout"), "{said:?}");
}

#[test]
fn known_causes_are_no_stall() {
    let held = |state| line().is(&[("search", state)]);
    assert_eq!(held(StageState::Throttled).said(), NONE);
    let mut paused = held(StageState::External);
    paused.stage("search").paused = true;
    assert_eq!(paused.said(), NONE);
    assert_eq!(Scene::new(LINE).said(), NONE, "no work");
    let mut bounded = Scene::new(LINE).blocked(&[("app", "to-parse")]);
    bounded.stage("app").deadline = later(1000);
    bounded.stage("parse").paused = true;
    assert_eq!(bounded.said(), NONE);
}

#[test]
fn a_slow_sink_is_no_stall() {
    let mut scene = line().is(&[("search", StageState::External)]);
    assert_eq!(texts(&scene.pass(1000, &[])).len(), 1);
    let mut scene = line().is(&[("search", StageState::External)]);
    assert_eq!(texts(&scene.pass(140, &["search"])), NONE, "a batch every 28 s");
}

#[test]
fn other_causes_are_named() {
    let last = |state| {
        let said = line().is(&[("search", state)]).said();
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].rsplit(" -> ").next().unwrap_or("").to_owned()
    };
    assert_eq!(
        last(StageState::Busy),
        "\"search\" is in one call that does not end; give long work a thread of its own, or a limit."
    );
    assert_eq!(
        last(StageState::Ready),
        "\"search\" is ready and gets no CPU; give the runtime more threads, or find the stage that keeps them."
    );
    assert_eq!(
        last(StageState::Idle),
        "\"search\" is idle although work waits in \"to-search\"; a wake-up was lost; report this."
    );
    assert_eq!(last(StageState::BudgetWait), "\"app\" (a cycle); raise the memory budget.");
}

#[test]
fn a_lost_wake_up_of_a_producer_is_a_cycle_of_two() {
    let mut scene = Scene::new(LINE).blocked(&[("app", "to-parse")]);
    scene.edges[0].fill = 0.0;
    assert_eq!(
        scene.said(),
        ["nothing has moved for 40 s: \"app\" waits for room in \"to-parse\", which is empty, -> \"parse\" waits \
          for records in \"to-parse\" -> \"app\" (a cycle); a wake-up was lost; report this."]
    );
}

/// A fork, a filter on one branch, and a zip of both.
const DIAMOND: &str = "source in, fork split, filter odd, zip pairs, sink out
    in > split > odd > pairs > out \n split > pairs as short";

#[test]
fn a_diamond_that_stands_is_spelled_out() {
    let scene = Scene::new(DIAMOND).blocked(&[("in", "in>split"), ("split", "short")]);
    let said = scene.said();
    assert_eq!(
        said,
        ["nothing has moved for 40 s: \"split\" waits for room in \"short\" -> \"pairs\" waits for records in \
          \"odd>pairs\" -> \"odd\" waits for records in \"split>odd\" -> \"split\" (a cycle); give one of these edges a \
          larger window, or a policy other than block."]
    );
}

#[test]
fn a_zip_whose_other_source_has_nothing_is_no_stall() {
    let scene = Scene::new("source a, source b, zip pairs, sink out \n a > pairs > out \n b > pairs");
    assert_eq!(scene.blocked(&[("a", "a>pairs")]).said(), NONE);
}

#[test]
fn a_zip_needs_all_of_its_inputs() {
    let text = "source a, source b, source c, zip pairs, sink out \n a > pairs > out \n b > pairs \n c > pairs";
    let mut scene = Scene::new(text).blocked(&[("a", "a>pairs")]).is(&[("c", StageState::External)]);
    assert_eq!(
        texts(&scene.pass(100, &["b"])),
        ["nothing has moved for 40 s: \"a\" waits for room in \"a>pairs\" -> \"pairs\" waits for records in \
          \"c>pairs\" -> \"c\" waits for its remote without a deadline; set a timeout on its calls."]
    );
}

#[test]
fn a_loop_that_stands_is_spelled_out() {
    let scene = Scene::new("source in, transform a, route b, sink out \n in > a > b > a \n b > out");
    let said = scene.blocked(&[("in", "in>a"), ("a", "a>b"), ("b", "b>a")]).said();
    assert_eq!(
        said,
        ["nothing has moved for 40 s: \"a\" waits for room in \"a>b\" -> \"b\" waits for room in \"b>a\" -> \"a\" (a \
          cycle); give one of these edges a larger window, or a policy other than block."]
    );
}

#[test]
fn waiting_for_memory_that_a_live_stage_holds_is_no_stall() {
    let text = "source a, source b, sink x, sink y \n a > x \n b > y";
    let mut scene = Scene::new(text).is(&[("a", StageState::BudgetWait), ("y", StageState::External)]);
    assert_eq!(texts(&scene.pass(100, &["y"])), NONE);
    assert_eq!(
        Scene::new(text).is(&[("a", StageState::BudgetWait)]).said(),
        ["nothing has moved for 40 s: \"a\" waits for memory; raise the memory budget."]
    );
}

#[test]
fn waiting_for_settlement_ends_in_who_does_not_settle() {
    let text = "source a, source b, sink x, sink y \n a > x \n b > y";
    let states = [("a", StageState::SettleWait), ("x", StageState::External), ("y", StageState::External)];
    let mut scene = Scene::new(text).is(&states);
    scene.stage("y").deadline = later(10_000);
    assert_eq!(
        texts(&scene.pass(100, &[])),
        [
            "nothing has moved for 40 s: \"a\" waits for room in the settle window -> \"x\" waits for its remote without a \
          deadline; set a timeout on its calls."
        ],
        "another pipeline's sink helps nobody"
    );
    scene.stage("x").deadline = later(10_000);
    assert_eq!(texts(&scene.pass(100, &[])).len(), 1, "it recovers");
}

#[test]
fn who_waits_for_memory_waits_for_who_holds_up_the_others() {
    let text = "source a, source b, transform parse, sink x \n a > x as short \n b > parse > x";
    let scene = Scene::new(text).blocked(&[("b", "b>parse"), ("parse", "parse>x")]);
    assert_eq!(
        scene.is(&[("a", StageState::BudgetWait), ("x", StageState::External)]).said(),
        ["nothing has moved for 40 s: \"a\" waits for memory -> \"x\" waits for its remote without a deadline; set a \
          timeout on its calls."]
    );
}

#[test]
fn a_claim_behind_one_that_waits_for_memory_is_no_lost_wake_up() {
    let text = "source a, source b, fork m, sink x, sink y \n a > m > x \n b > m as other \n m > y as side";
    let mut scene = Scene::new(text).is(&[("a", StageState::BudgetWait), ("y", StageState::External)]);
    let edge = edge_named(&scene.graph, "other");
    scene.stage("b").state = StageState::Blocked(edge);
    let said = scene.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("\"y\" waits for its remote"), "{said:?}");
}

#[test]
fn calls_without_a_limit_are_named_although_their_stage_waits_for_input() {
    let mut scene = Scene::new(LINE);
    scene.stage("parse").has_work = true;
    scene.stage("parse").calling = true;
    scene.stage("parse").deadline = later(90);
    assert_eq!(texts(&scene.pass(80, &[])), NONE, "they end by themselves");
    scene.stage("parse").deadline = None;
    assert_eq!(
        texts(&scene.pass(20, &[])),
        ["nothing has moved for 68 s: \"parse\" waits for its remote without a deadline; set a timeout on its calls."]
    );
}

#[test]
fn one_event_and_one_recovery_for_each_stall() {
    let mut scene = line().is(&[("search", StageState::External)]);
    let first = scene.pass(100, &[]);
    assert!(matches!(first[..], [StallReport::Stalled(_)]), "{first:?}");
    assert!(scene.detector.is_stalled());
    assert_eq!(scene.pass(500, &[]), []);
    let second = scene.pass(10, &["search"]);
    assert_eq!(texts(&second), ["\"app\" -> \"parse\" -> \"search\" no longer stalled, after 9.7 min."]);
    assert!(!scene.detector.is_stalled());
    assert_eq!(scene.pass(25, &[]), []);
    assert_eq!(texts(&scene.pass(25, &[])).len(), 1, "a new stall");
}

#[test]
fn who_joins_a_stall_later_is_no_new_event() {
    let mut scene = Scene::new(LINE).is(&[("search", StageState::External)]);
    assert_eq!(scene.pass(100, &[]).len(), 1);
    scene = scene.blocked(&[("parse", "to-search")]);
    assert_eq!(scene.pass(100, &[]), []);
    scene = scene.blocked(&[("app", "to-parse")]);
    assert_eq!(scene.pass(100, &[]), []);
}

#[test]
fn two_stalls_are_two_events() {
    let scene = Scene::new("source a, source b, sink x, sink y \n a > x \n b > y");
    let said = scene.is(&[("x", StageState::External), ("y", StageState::Busy)]).said();
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn work_that_has_just_come_is_not_held_against_a_stage() {
    let mut scene = Scene::new(LINE);
    assert_eq!(scene.pass(10_000, &[]), []);
    scene = line_in(scene);
    assert_eq!(scene.pass(25, &[]), []);
    assert_eq!(scene.pass(25, &[]).len(), 1);
}

fn line_in(scene: Scene) -> Scene {
    scene.blocked(&[("app", "to-parse"), ("parse", "to-search")]).is(&[("search", StageState::External)])
}

#[test]
fn a_finished_stage_holds_nobody() {
    let mut scene = Scene::new(LINE);
    scene.edges[1].fill = 0.5;
    for name in ["app", "parse", "search"] {
        scene.stage(name).finished = true;
    }
    assert_eq!(scene.said(), NONE);
}

/// A random standing of the diamond, the loop and two more stages.
fn standing() -> impl Strategy<Value = (Vec<u8>, Vec<bool>, Vec<bool>)> {
    (
        prop::collection::vec(0..9_u8, 9),
        prop::collection::vec(any::<bool>(), 9),
        prop::collection::vec(any::<bool>(), 9),
    )
}

fn state_of(scene: &Scene, stage: StageId, choice: u8) -> StageState {
    match choice {
        0 | 1 => StageState::Idle,
        2 => StageState::Busy,
        3 => StageState::External,
        4 => StageState::BudgetWait,
        5 => StageState::SettleWait,
        6 => StageState::Throttled,
        _ => {
            let edge = scene.graph.outputs(stage).nth(usize::from(choice - 7));
            edge.or(scene.graph.outputs(stage).next()).map_or(StageState::Idle, StageState::Blocked)
        }
    }
}

proptest! {
    /// However the stages stand: while all move nothing is reported; a report names only stages that do not move, and
    /// every stall that was reported is reported over when all move again.
    #[test]
    fn reports_come_in_pairs((states, full, moving) in standing()) {
        let mut scene = Scene::new(
            "source in, transform a, fork b, filter c, zip d, sink x, source e, transform m, sink y
             in > a > b > c > d > x \n b > d as short \n e > m > y \n c > a as back : feedback shed \n m > a as over",
        );
        for stage in scene.graph.stage_ids() {
            scene.stages[stage.index()].state = state_of(&scene, stage, states[stage.index()]);
        }
        for (edge, full) in scene.edges.iter_mut().zip(full) {
            edge.fill = f64::from(u8::from(full));
        }
        let names: Vec<String> = scene.graph.stages().iter().map(|stage| stage.name.clone()).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        prop_assert_eq!(scene.pass(100, &all), []);
        let some: Vec<&str> = all.iter().zip(&moving).filter(|(_, moves)| **moves).map(|(name, _)| *name).collect();
        let stalls = scene.pass(200, &some);
        for report in &stalls {
            let StallReport::Stalled(event) = report else { panic!("{report:?}") };
            prop_assert!(event.chain.iter().all(|link| !some.contains(&link.name.as_str())), "{}", event);
            prop_assert!(event.lasted >= T && !event.chain.is_empty());
            prop_assert!(event.to_string().ends_with('.'));
        }
        let over = scene.pass(100, &all);
        prop_assert_eq!(over.len(), stalls.len());
        prop_assert!(over.iter().all(|report| matches!(report, StallReport::Recovered(_))));
    }
}
