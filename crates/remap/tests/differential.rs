//! Lowered programs and conditions against VRL itself: thousands of random ones on random records must come to the
//! same end, and to the same JSON value.

mod common;
#[path = "../../../fuzz/bodies/same.rs"]
mod same;

use std::sync::Arc;

use common::Dice;
use same::{is_same_text, is_same_verdict};
use tidegate_record::{Form, JsonText, Origin, Path, Rows, Timestamp, json};
use tidegate_remap::{Condition, Options, Program, Verdict, Verdicts};

/// How many programs and how many conditions: 1,500, or `TIDEGATE_SEEDS`.
fn seeds() -> u64 {
    std::env::var("TIDEGATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1_500)
}

/// A batch, the same for the same dice: messages, and objects as another transform leaves them.
fn rows(dice: &mut Dice, count: usize) -> Rows {
    let origin = Origin::new("test", Timestamp::from_unix_nanos(1_700_000_000_123_456_789))
        .with_host("a-host")
        .with_field("n", JsonText::number(5));
    let origin = Arc::new(origin);
    let mut rows = Rows::default();
    for _ in 0..count {
        let text = common::message(dice);
        let is_object = json::kind(&text) == json::Kind::Object
            && json::validate(&text)
                .is_ok_and(|shape| !shape.has_wide_numbers && shape.start == 0 && shape.end == text.len());
        let form = if is_object && dice.one_in(2) { Form::Object } else { Form::Message };
        rows.push_copy(&text, form, &origin);
        if dice.one_in(4) {
            // As another program leaves it: an object that still has its envelope.
            rows.row_mut(rows.len() - 1).set(&Path::field("b"), b"[true]");
        }
    }
    rows
}

fn written(rows: &Rows, number: usize) -> Vec<u8> {
    let mut text = Vec::new();
    rows.row(number).write_json(&mut text);
    text
}

fn compare(seed: u64, source: &str, program: &mut Program) {
    const ROWS: usize = 12;
    let mut short = rows(&mut Dice::new(seed ^ 0xABCD), ROWS);
    let mut long = rows(&mut Dice::new(seed ^ 0xABCD), ROWS);
    let before = rows(&mut Dice::new(seed ^ 0xABCD), ROWS);
    let (mut short_verdicts, mut long_verdicts) = (Verdicts::default(), Verdicts::default());
    program.run(&mut short, &mut short_verdicts);
    program.run_in_vrl(&mut long, &mut long_verdicts);
    for number in 0..ROWS {
        let (left, right) = (short_verdicts.of(number), long_verdicts.of(number));
        let (left_text, right_text) = (written(&short, number), written(&long, number));
        let told = || {
            format!(
                "seed {seed}\n{source}\n--- record ({:?})\n{}\n--- lowered: {left:?}\n{}\n--- in VRL: {right:?}\n{}\n--- how\n{}",
                before.row(number).form(),
                String::from_utf8_lossy(before.row(number).bytes()),
                String::from_utf8_lossy(&left_text),
                String::from_utf8_lossy(&right_text),
                program.lowering(),
            )
        };
        assert!(is_same_verdict(left, right), "the verdicts differ: {}", told());
        assert!(is_same_text(&left_text, &right_text), "the results differ: {}", told());
        if *left != Verdict::Kept {
            assert_eq!(left_text, written(&before, number), "not as it was: {}", told());
        }
    }
}

#[test]
fn lowered_programs_do_what_vrl_does() {
    let (mut compiled, mut complete, mut in_part) = (0, 0, 0);
    for seed in 0..seeds() {
        let source = common::program(&mut Dice::new(seed));
        let Ok(done) = Program::compile(&source, &Options::default()) else { continue };
        let mut program = done.program;
        compiled += 1;
        complete += usize::from(program.lowering().is_complete());
        in_part += usize::from(program.lowering().parts.len() > 1 && !program.lowering().is_complete());
        compare(seed, &source, &mut program);
    }
    // The random programs must be worth comparing: most compile, and both ways are gone.
    let share = |count: usize| count * 100 / usize::try_from(seeds()).unwrap();
    let enough = share(compiled) > 60 && share(complete) > 30 && share(in_part) > 5;
    assert!(enough, "{compiled} compiled, {complete} lowered, {in_part} in part");
}

#[test]
fn lowered_conditions_answer_as_vrl_does() {
    let (mut compiled, mut complete, mut yes, mut failed) = (0, 0, 0, 0);
    for seed in 0..seeds() {
        let source = common::condition(&mut Dice::new(seed), 3);
        let Ok(mut condition) = Condition::compile(&source, &Options::default()) else { continue };
        compiled += 1;
        complete += usize::from(condition.lowering().is_complete());
        for row in rows(&mut Dice::new(seed ^ 0x1234), 12).iter() {
            let (left, right) = (condition.check(row), condition.check_in_vrl(row));
            yes += usize::from(left == Ok(true));
            failed += usize::from(left.is_err());
            let agree = left.as_ref().ok() == right.as_ref().ok();
            assert!(
                agree,
                "seed {seed}: {source}\non {:?} {}\nlowered {left:?}, in VRL {right:?}",
                row.form(),
                String::from_utf8_lossy(row.bytes())
            );
        }
    }
    let share = |count: usize| count * 100 / usize::try_from(seeds()).unwrap();
    let enough = share(compiled) > 50 && complete == compiled && share(yes) > 100 && share(failed) > 25;
    assert!(enough, "{compiled} compiled, {complete} lowered, {yes} true, {failed} failed");
}
