//! What programs do with records: results, errors, aborts, roots that are no object, times and limits.

use std::sync::Arc;

use tidegate_record::{Form, JsonText, Origin, Rows, Timestamp};
use tidegate_remap::{Options, Program, Runs, Verdict, Verdicts};

/// 2023-11-14T22:13:20.123456789Z.
const RECEIVED: i64 = 1_700_000_000_123_456_789;

fn program(source: &str) -> Program {
    Program::compile(source, &Options::default()).unwrap_or_else(|errors| panic!("{source}: {errors:?}")).program
}

fn row(text: &[u8], form: Form) -> Rows {
    let origin = Origin::new("file", Timestamp::from_unix_nanos(RECEIVED))
        .with_host("h1")
        .with_field("file", JsonText::string("/var/log/x"));
    let mut rows = Rows::default();
    rows.push_copy(text, form, &Arc::new(origin));
    rows
}

fn text(rows: &Rows) -> String {
    let mut text = Vec::new();
    rows.row(0).write_json(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn run(source: &str, rows: &mut Rows) -> Verdict {
    let mut verdicts = Verdicts::default();
    program(source).run(rows, &mut verdicts);
    verdicts.of(0).clone()
}

/// Runs a program on a message; gives the verdict and the record.
fn on(source: &str, message: &str) -> (Verdict, String) {
    let mut rows = row(message.as_bytes(), Form::Message);
    (run(source, &mut rows), text(&rows))
}

fn kept(source: &str, message: &str) -> String {
    let (verdict, text) = on(source, message);
    assert_eq!(verdict, Verdict::Kept, "{source} on {message}");
    text
}

const UNCHANGED: &str = r#"{"file":"/var/log/x","host":"h1","message":"no json","source_type":"file","timestamp":"2023-11-14T22:13:20.123456789Z"}"#;

#[test]
fn parsing_the_message_keeps_the_order_of_keys_and_the_text_of_values() {
    let message = r#"{"z": 1.10, "a" :[1,  2], "big":123456789012345678}"#;
    assert_eq!(kept(". = parse_json!(.message)", message), message);
    assert_eq!(
        kept(". = parse_json!(string!(.message))\n.pipeline = \"edge\"", message),
        r#"{"z": 1.10, "a" :[1,  2], "big":123456789012345678,"pipeline":"edge"}"#
    );
}

#[test]
fn the_envelope_is_that_of_vector_and_its_timestamp_is_a_time() {
    let source = r#".n = [.host, .source_type, .file, is_timestamp(.timestamp), format_timestamp!(.timestamp, "%F")]"#;
    let text = kept(source, "x");
    assert!(text.contains(r#""n":["h1","file","/var/log/x",true,"2023-11-14"]"#), "{text}");
}

#[test]
fn the_envelopes_timestamp_stays_a_time_in_the_next_program_while_nobody_changes_it() {
    let mut rows = row(b"x", Form::Message);
    assert_eq!(run(".a = 1", &mut rows), Verdict::Kept);
    assert_eq!(run(". = merge!(., {\"b\": 2})", &mut rows), Verdict::Kept);
    assert_eq!(rows.row(0).form(), Form::Object);
    assert_eq!(run(".unix = to_unix_timestamp!(.timestamp)", &mut rows), Verdict::Kept);
    assert!(text(&rows).contains(r#""unix":1700000000"#), "{}", text(&rows));
    assert_eq!(run(".timestamp = t'2024-01-01T00:00:00.5Z'", &mut rows), Verdict::Kept);
    assert!(text(&rows).contains(r#""timestamp":"2024-01-01T00:00:00.500Z""#), "{}", text(&rows));
    let verdict = run(".unix = to_unix_timestamp!(.timestamp)", &mut rows);
    assert!(matches!(&verdict, Verdict::Failed(error) if error.contains("expected timestamp")), "{verdict:?}");
}

#[test]
fn a_failure_leaves_the_record_and_names_its_place() {
    for source in [". = parse_json!(.message)", ". = parse_json!(.message)\n.a = upcase!(.b)"] {
        let (verdict, text) = on(source, "no json");
        assert!(
            matches!(&verdict, Verdict::Failed(error) if error.starts_with(r#"function call error for "parse_json" at (4:25): unable to parse json"#)),
            "{verdict:?}"
        );
        assert_eq!(text, UNCHANGED);
    }
    let source = ". = parse_json!(.message)\n.a = upcase!(.b)";
    let (verdict, text) = on(source, r#"{"b":1}"#);
    let place = source.find("upcase").unwrap();
    assert!(
        matches!(&verdict, Verdict::Failed(error) if error.contains(&format!("at ({place}:{})", place + 11))),
        "the place is that in the whole program: {verdict:?}"
    );
    assert!(text.contains(r#""message":"{\"b\":1}""#), "as before it was parsed: {text}");
}

#[test]
fn abort_leaves_the_record_and_says_why() {
    let quiet = ". = parse_json!(.message)\nif .level == \"debug\" { abort }";
    let (verdict, text) = on(quiet, r#"{"level":"debug"}"#);
    assert_eq!(verdict, Verdict::Aborted("aborted".into()));
    assert!(text.contains(r#""message":"{\"level\""#), "{text}");
    assert_eq!(kept(quiet, r#"{"level":"info"}"#), r#"{"level":"info"}"#);
    let (verdict, _) = on("abort \"too loud\"", "x");
    assert_eq!(verdict, Verdict::Aborted("too loud".into()));
}

#[test]
fn a_root_that_is_no_object_becomes_a_message_or_several_records() {
    assert_eq!(kept(". = parse_json!(.message)", "42"), r#"{"message":42}"#);
    assert_eq!(kept(". = \"just text\"", "x"), r#"{"message":"just text"}"#);
    let (verdict, text) = on(". = parse_json!(.message)", r#"[{"a":1}, 2]"#);
    assert_eq!(verdict, Verdict::Split(vec![br#"{"a":1}"#.to_vec(), br#"{"message":2}"#.to_vec()]));
    assert!(text.contains(r#""message":"[{\"a\""#), "the row is as it was: {text}");
    assert_eq!(on(". = []", "x").0, Verdict::Split(Vec::new()));
    let (verdict, _) = on(". = parse_json!(.message)\n. = unnest!(.a)", r#"{"a":[1,2],"b":3}"#);
    assert_eq!(verdict, Verdict::Split(vec![br#"{"a":1,"b":3}"#.to_vec(), br#"{"a":2,"b":3}"#.to_vec()]));
}

#[test]
fn what_everyone_does_not_read_alike_goes_through_vrl() {
    let set = ". = parse_json!(.message)\n.a = \"new\"";
    assert_eq!(kept(set, r#"{"a":1,"b":2,"a":3}"#), r#"{"a":"new","b":2}"#, "twice the same key");
    assert_eq!(kept(set, r#"{"\u0061":1}"#), r#"{"a":"new"}"#, "a key with an escape");
    assert_eq!(kept(set, "\u{feff}{\"b\":1}"), r#"{"a":"new","b":1}"#, "a byte order mark");
    let mut rows = row(b"{\"b\":\"\xff\"}", Form::Message);
    assert_eq!(run(set, &mut rows), Verdict::Kept);
    assert_eq!(text(&rows), "{\"a\":\"new\",\"b\":\"\u{fffd}\"}", "not UTF-8");
    assert!(matches!(on(set, r#"{"b":1e400}"#).0, Verdict::Failed(error) if error.contains("number out of range")));
    assert!(matches!(on(set, r#"{"b":"\ud800"}"#).0, Verdict::Failed(error) if error.contains("hex escape")));
}

#[test]
fn only_what_is_written_is_changed_even_by_vrl() {
    let source = ". = parse_json!(.message)\n.level = upcase!(.level)\ndel(.gone)";
    let message = r#"{"z" : 1.10,"level":"warn",  "gone":1,"deep":{"x": [ ]} }"#;
    let text = kept(source, message);
    assert!(text.starts_with(r#"{"z" : 1.10,"level":"WARN""#) && text.contains(r#""deep":{"x": [ ]}"#), "{text}");
    let lowering = program(source).lowering().to_string();
    assert!(lowering.contains("on raw text: the bytes of the message become the record"), "{lowering}");
    assert!(lowering.contains("`upcase` runs in VRL; only `.level`, `.gone` decoded"), "{lowering}");
}

#[test]
fn the_lowering_is_told_in_words() {
    let all = program(". = parse_json!(.message)\n.a = .b\n.c = del(.d)\nif exists(.e) { .f = 1 }\ndel(.g)\n.");
    assert!(all.lowering().is_complete(), "{}", all.lowering());
    for (source, words) in [
        (". = parse_json!(.message, max_depth: 3)", "the whole record is replaced"),
        (".a = .timestamp", "`.timestamp` may be a time"),
        ("x = .a\n.b = x", "`x` is a variable"),
        (".a = 1\n. = parse_json!(.message)", "the message is parsed after the record was changed"),
        (".a[0] = 1", "the path has an index"),
        (".a = t'2024-01-01T00:00:00Z'", "a time is no value that raw text has"),
        (".a = now()", "`now` runs in VRL"),
        ("%a = 1", "`%` metadata lives in VRL alone"),
    ] {
        let told = program(source).lowering().to_string();
        assert!(told.contains(words), "{source}: {told}");
    }
    let whole = program(". = merge!(., {\"a\": 1})");
    assert_eq!(whole.lowering().parts[0].runs, Runs::OnRecord);
}

#[test]
fn reads_and_writes_are_named() {
    let program = program(".a.b = .c\ndel(.d)\n%m = 1");
    assert_eq!(program.reads(), [".c", ".d"]);
    assert_eq!(program.writes(), ["%m", ".a.b"]);
}

#[test]
fn metadata_lasts_as_long_as_the_program() {
    let mut rows = row(b"{}", Form::Object);
    assert_eq!(run("%m = 1\n.seen = exists(%m)", &mut rows), Verdict::Kept);
    assert_eq!(run(".seen_later = exists(%m)", &mut rows), Verdict::Kept);
    assert_eq!(text(&rows), r#"{"seen":true,"seen_later":false}"#);
}

#[test]
fn the_envelopes_time_and_broken_text_are_what_vrl_has_even_after_lowered_steps() {
    let source = ".b = 1\nif is_string(.timestamp) || .message == \"a\u{fffd}\" { .wrong = true }";
    assert!(program(source).lowering().is_complete());
    let mut rows = row(b"a\xff", Form::Message);
    assert_eq!(run(source, &mut rows), Verdict::Kept);
    assert!(text(&rows).contains(r#""b":1"#) && !text(&rows).contains("wrong"), "{}", text(&rows));
    let mut rows = row(b"x", Form::Message);
    let copied = ".t = .timestamp\nif is_string(.t) { .wrong = true }";
    assert_eq!(run(".first = true", &mut rows), Verdict::Kept);
    assert_eq!(run(copied, &mut rows), Verdict::Kept);
    assert!(text(&rows).contains(r#""t":"2023"#) && !text(&rows).contains("wrong"), "{}", text(&rows));
}

#[test]
fn a_panic_within_vrl_fails_one_record_and_no_more() {
    let mut rows = Rows::default();
    let origin = Arc::new(Origin::new("test", Timestamp::from_unix_nanos(RECEIVED)));
    for text in [&b"\xe9\xe9"[..], b"\xc3\x89t\xc3\xa9"] {
        rows.push_copy(text, Form::Message, &origin);
    }
    let mut verdicts = Verdicts::default();
    program(".yes = starts_with!(.message, \"é\", case_sensitive: false)").run(&mut rows, &mut verdicts);
    assert!(matches!(verdicts.of(0), Verdict::Failed(error) if error.contains("panicked")), "{verdicts:?}");
    assert_eq!(verdicts.of(1), &Verdict::Kept);
    assert_eq!(verdicts.rows(), 2);
}

#[test]
fn zones_of_times_without_one() {
    let source = ".t = parse_timestamp!(\"2024-07-01 12:00:00\", \"%F %T\")";
    assert!(kept(source, "x").contains(r#""t":"2024-07-01T12:00:00Z""#));
    let options = Options { timezone: "Europe/Berlin".parse().unwrap() };
    let mut program = Program::compile(source, &options).unwrap().program;
    let mut rows = row(b"x", Form::Message);
    program.run(&mut rows, &mut Verdicts::default());
    assert!(text(&rows).contains(r#""t":"2024-07-01T10:00:00Z""#), "{}", text(&rows));
    assert!("Mars/Base".parse::<tidegate_remap::Timezone>().is_err());
    assert!("".parse::<tidegate_remap::Timezone>().is_err());
}

#[test]
fn a_program_that_takes_too_long_fails_on_its_record() {
    let source = "n = 0\nl = split(\"aaaaaaaaaa\", \"\")\nfor_each(l) -> |_i, _a| { for_each(l) -> |_j, _b| { for_each(l) -> |_k, _c| { \
         for_each(l) -> |_l, _d| { for_each(l) -> |_m, _e| { for_each(l) -> |_o, _f| { n = n + 1 } } } } } }\n.n = n";
    let (verdict, text) = on(source, "no json");
    assert!(matches!(&verdict, Verdict::Failed(error) if error.contains("expressions")), "{verdict:?}");
    assert_eq!(text, UNCHANGED);
}

#[test]
fn a_record_nested_too_deeply_fails() {
    let deep = format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120));
    let source = ". = parse_json!(.message)\n.a.b.c.d.e = .a\n.a.b.c.d.e.a.a.b.c = .a";
    let (verdict, text) = on(source, &deep);
    assert!(matches!(&verdict, Verdict::Failed(error) if error.contains("levels deep")), "{verdict:?}");
    assert!(text.contains("message"), "{text}");
}
