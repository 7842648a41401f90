//! Programs: whatever the source, it compiles or is refused with words at a place in it; and what was lowered to work on
//! raw text comes to the end, and to the value, that VRL comes to on the decoded record.

use std::sync::Arc;

use tidegate_record::{Form, Origin, Rows, Timestamp, json};
use tidegate_remap::{Options, Program, Verdicts};

use crate::same::{is_same_text, is_same_verdict};

/// Two runs of these may differ, or the memory that they take is not what is looked for here.
const LEFT_OUT: [&str; 8] = ["now", "random", "uuid", "log", "*", "set", "time", "get_env_var"];

/// The source and a record, a NUL between them.
pub(crate) fn check(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (source, record) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let Ok(source) = std::str::from_utf8(source) else { return };
    match Program::compile(source, &Options::default()) {
        Err(found) => {
            assert!(!found.is_empty(), "refused without a word");
            for one in found {
                assert!(!one.message.is_empty());
                assert!(
                    one.range.end <= source.len() && one.range.start <= one.range.end,
                    "{:?} in {source}",
                    one.range
                );
            }
        }
        Ok(done) if !LEFT_OUT.iter().any(|word| source.contains(word)) => compare(source, record, done.program),
        Ok(_) => {}
    }
}

fn compare(source: &str, record: &[u8], mut program: Program) {
    let shape = json::validate(record).ok().filter(|_| json::kind(record) == json::Kind::Object);
    let is_plain = shape.is_some_and(|shape| !shape.has_wide_numbers && shape.start == 0 && shape.end == record.len());
    for form in [Form::Message, Form::Object] {
        if form == Form::Object && !is_plain {
            continue;
        }
        let (mut short, mut long) = (rows(record, form), rows(record, form));
        let (mut short_ends, mut long_ends) = (Verdicts::default(), Verdicts::default());
        program.run(&mut short, &mut short_ends);
        program.run_in_vrl(&mut long, &mut long_ends);
        if short.is_empty() {
            continue;
        }
        let told = || format!("{source}\n{form:?} {}\n{}", String::from_utf8_lossy(record), program.lowering());
        assert!(is_same_verdict(short_ends.of(0), long_ends.of(0)), "the verdicts differ: {}", told());
        assert!(is_same_text(&written(&short), &written(&long)), "the results differ: {}", told());
    }
}

fn rows(record: &[u8], form: Form) -> Rows {
    let origin = Arc::new(Origin::new("fuzz", Timestamp::from_unix_nanos(1_700_000_000_123_456_789)));
    let mut rows = Rows::default();
    rows.push_copy(record, form, &origin);
    rows
}

fn written(rows: &Rows) -> Vec<u8> {
    let mut text = Vec::new();
    rows.row(0).write_json(&mut text);
    text
}
