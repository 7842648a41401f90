//! Tests of `reduce`: what comes out of which records; with checkpoints, over restarts.

use tidegate_flow::{Batch, Nack};
use tidegate_runtime::checkpoint::State as _;
use tidegate_runtime::testkit::{lone_context, set_time};
use tidegate_runtime::{LetterTray, Step, Transform as _};

use super::*;
use crate::transforms::bench::{Bench, built, jsons, problems};

fn rows<const N: usize>(texts: [&str; N]) -> crate::Rows {
    let mut rows = crate::Rows::from_texts(texts);
    (0..N).for_each(|row| rows.row_mut(row).parse_message().unwrap());
    rows
}

/// A step without checkpoints.
fn bench(config: &str) -> Bench {
    let config = format!(r#"{{"ack": "on_absorb", {config}"#);
    Bench::new(built(&config, KIND))
}

/// All that comes out now.
fn given(bench: &mut Bench) -> Vec<String> {
    let (out, _) = bench.resume();
    jsons(out)
}

#[test]
fn records_of_a_key_become_one_when_none_has_come_for_a_while() {
    let mut bench = bench(r#""group_by": ["k"], "expire_after_ms": 1000}"#);
    let (out, _) =
        bench.process(rows([r#"{"k":"a","n":1}"#, r#"{"k":"b","n":5,"x":true}"#, r#"{"k":"a","n":2,"y":"z"}"#]));
    assert!(out.is_none());
    bench.pass(Duration::from_millis(600));
    bench.process(rows([r#"{"k":"b","n":1,"x":false}"#]));
    bench.pass(Duration::from_millis(600));
    assert_eq!(given(&mut bench), [r#"{"k":"a","n":3,"y":"z"}"#]);
    bench.pass(Duration::from_millis(600));
    assert_eq!(given(&mut bench), [r#"{"k":"b","n":6,"x":true}"#]);
    let flows = bench.flows();
    assert_eq!(
        (flows.absorbed.get(), flows.born.get(), flows.held.get()),
        (4, 2, 2),
        "held is what the bench was sent"
    );
}

#[test]
fn the_time_of_the_records_becomes_a_span_and_keys_are_not_added_up() {
    let mut bench = bench(r#""group_by": ["port"], "max_events": 2}"#);
    let texts =
        [r#"{"port":80,"timestamp":"2026-01-01T00:00:00Z"}"#, r#"{"port":80,"timestamp":"2026-01-01T00:00:09Z"}"#];
    let (out, _) = bench.process(rows(texts));
    let expected = r#"{"port":80,"timestamp":"2026-01-01T00:00:00Z","timestamp_end":"2026-01-01T00:00:09Z"}"#;
    assert_eq!(jsons(out), [expected]);
}

#[test]
fn a_window_ends_whatever_comes() {
    let mut bench = bench(r#""end_every_period_ms": 1000, "merge_strategies": {"records": "count", "n": "mean"}}"#);
    let mut got = Vec::new();
    for n in 0..8 {
        let (out, _) = bench.process(rows([format!(r#"{{"n":{n}}}"#).as_str()]));
        got.extend(jsons(out));
        bench.pass(Duration::from_millis(300));
        got.extend(given(&mut bench));
    }
    assert_eq!(got, [r#"{"records":4,"n":1.5}"#, r#"{"records":4,"n":5.5}"#]);
}

#[test]
fn a_condition_begins_or_ends_a_group() {
    let mut ends = bench(r#""ends_when": ".end == true", "merge_strategies": {"m": "concat"}}"#);
    let lines = [r#"{"m":"a"}"#, r#"{"m":"b","end":true}"#, r#"{"m":"c"}"#];
    assert_eq!(jsons(ends.process(rows(lines)).0), [r#"{"m":"a b","end":true}"#]);
    let mut starts = bench(r#""starts_when": ".start == true", "merge_strategies": {"m": "concat_newline"}}"#);
    let lines = [r#"{"m":"a","start":true}"#, r#"{"m":"b"}"#, r#"{"m":"c","start":true}"#];
    assert_eq!(jsons(starts.process(rows(lines)).0), [r#"{"m":"a\nb","start":true}"#]);
    assert_eq!(jsons(starts.flush().0), [r#"{"m":"c","start":true}"#]);
}

#[test]
fn a_field_further_down_has_a_strategy_of_its_own() {
    let mut bench = bench(r#""max_events": 2, "merge_strategies": {"a.n": "max", "a.tags": "flat_unique"}}"#);
    let lines = [r#"{"a":{"n":3,"tags":["x"],"o":1}}"#, r#"{"a":{"n":2,"tags":["y","x"],"o":2}}"#];
    assert_eq!(jsons(bench.process(rows(lines)).0), [r#"{"a":{"n":3,"tags":["x","y"],"o":1}}"#]);
}

#[test]
fn at_its_bounds_the_oldest_group_ends_early() {
    let mut bench = bench(r#""group_by": ["k"], "max_keys": 2}"#);
    let (out, _) = bench.process(rows([r#"{"k":1,"n":1}"#, r#"{"k":2}"#, r#"{"k":1,"n":1}"#, r#"{"k":3}"#]));
    assert_eq!(jsons(out), [r#"{"k":1,"n":2}"#]);
}

#[test]
fn what_it_holds_never_passes_its_bound_and_nothing_is_lost() {
    let mut bench = bench(r#""group_by": ["k"], "max_size": "1MiB", "merge_strategies": {"t": "array"}}"#);
    let text = "x".repeat(1_000);
    let (mut sum, mut records) = (0, 0);
    let mut count = |texts: Vec<String>| {
        for text in texts {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            sum += value["n"].as_u64().unwrap();
            records += value["t"].as_array().unwrap().len();
        }
    };
    for n in 0..5_000 {
        let line = format!(r#"{{"k":{},"n":{n},"t":"{text}"}}"#, n % 700);
        let (out, mut step) = bench.process(rows([line.as_str()]));
        count(jsons(out));
        while step != Step::Done {
            let (out, next) = bench.resume();
            count(jsons(out));
            step = next;
        }
    }
    loop {
        let (out, step) = bench.flush();
        count(jsons(out));
        if step == Step::Done {
            break;
        }
    }
    assert_eq!((sum, records), ((0..5_000).sum::<u64>(), 5_000));
}

#[test]
fn what_cannot_work_is_reported_by_key() {
    for (json, key) in [
        (r#"{"group_by": ["a", "b["]}"#, "group_by[1]"),
        (r#"{"merge_strategies": {"b[": "sum"}}"#, "merge_strategies.b["),
        (r#"{"merge_strategies": {".": "sum"}}"#, "merge_strategies"),
        (r#"{"starts_when": "true", "ends_when": "true"}"#, "starts_when"),
        (r#"{"ends_when": ")"}"#, "ends_when"),
        (r#"{"expire_after_ms": 0}"#, "expire_after_ms"),
        (r#"{"max_events": 0}"#, "max_events"),
        (r#"{"max_keys": 0}"#, "max_keys"),
        (r#"{"max_size": 1000}"#, "max_size"),
        (r#"{"checkpoint": "1ms"}"#, "checkpoint"),
    ] {
        let keys: Vec<String> = problems(json, KIND).into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, [key], "{json}");
    }
}

#[test]
fn a_record_that_is_too_large_goes_back_alone_or_to_the_dead_letters() {
    let large = format!(r#"{{"t":"{}"}}"#, "x".repeat(600_000));
    for letters in [None, Some(LetterTray::default())] {
        let has_letters = letters.is_some();
        let reduce = Reduce { ack: AckWhen::OnAbsorb, max_size: LEAST_SIZE, ..Reduce::default() };
        assert!(reduce.refuses_records());
        let cx = BuildContext { letters, ..BuildContext::new("data") };
        let mut bench = Bench::new(Box::new(reduce).build(&cx).unwrap());
        let (_, step) = bench.process(rows([r#"{"n":1}"#, large.as_str(), r#"{"n":2}"#]));
        let flows = bench.flows();
        // What is in the tray is held still.
        let (returned, held) = if has_letters { (0, 1) } else { (1, 0) };
        assert_eq!((step, flows.returned.get(), flows.held.get()), (Step::Done, returned, held));
        assert_eq!((flows.absorbed.get(), jsons(bench.flush().0)), (2, vec![r#"{"n":3}"#.to_owned()]));
    }
}

#[test]
fn what_waits_while_an_output_was_given_back_goes_on_when_there_is_room() {
    let mut cx = lone_context("reduce").unwrap();
    let mut step = Reduce { max_events: Some(2), ..Reduce::default() }.step(&BuildContext::new("data")).unwrap();
    step.book.lock().bounds.checkpoints = true;
    step.open(&cx);
    let send = |step: &mut ReduceStep, texts: Vec<&str>, cx: &mut _| {
        let mut rows = crate::Rows::default();
        texts.iter().for_each(|text| rows.push_copy(text.as_bytes(), tidegate_record::Form::Object, &origin()));
        let mut out = None;
        (step.process(Batch::detached(rows), &mut out, cx), out)
    };
    let save = |step: &ReduceStep, now| {
        step.book.put_down(now, &mut Vec::new());
        step.book.written(true);
    };
    assert_eq!(send(&mut step, vec![r#"{"n":1}"#; 2], &mut cx).0, Step::Done);
    save(&step, cx.now());
    let mut out = None;
    step.resume(&mut out, &mut cx);
    out.unwrap().nack(Nack::transient("not now"));
    // As many as may wait for a checkpoint, and one more.
    let many = vec![r#"{"n":1}"#; usize::try_from(MOST_WAITING).unwrap()];
    assert_eq!(send(&mut step, many, &mut cx).0, Step::Done);
    let (asked, _) = send(&mut step, vec![r#"{"n":1}"#], &mut cx);
    let Step::WaitUntil(at) = asked else { panic!("{asked:?}") };
    assert!(at <= cx.now() + Duration::from_millis(20), "it hears of nothing until {at:?}");
    save(&step, cx.now());
    set_time(&cx, at);
    let mut last = Step::More;
    while last == Step::More {
        let mut out = None;
        last = step.resume(&mut out, &mut cx);
    }
    assert_eq!(last, Step::Done);
}
