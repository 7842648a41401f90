//! Tests of the transform `remap`.

use tidegate_runtime::Chooser as _;

use super::*;
use crate::Rows;
use crate::transforms::bench::{Bench, built, jsons, problems};

/// The configuration with this program and these further options.
fn config(source: &str, more: &str) -> String {
    format!("{{\"source\": {}{more}}}", serde_json::to_string(source).unwrap())
}

const PARSE: &str = ". = parse_json!(.message)\n.env = \"prod\"";

#[test]
fn records_are_what_the_program_makes_of_them() {
    let mut bench = Bench::new(built(&config(PARSE, ""), KIND));
    assert_eq!(bench.jsons([r#"{"a":1}"#, r#"{"b":[]}"#]), [r#"{"a":1,"env":"prod"}"#, r#"{"b":[],"env":"prod"}"#]);
}

#[test]
fn a_record_that_the_program_fails_on_goes_on_as_it_was() {
    let mut bench = Bench::new(built(&config(PARSE, ""), KIND));
    assert_eq!(bench.texts(["no json", "{}"]).len(), 2);
    assert_eq!(bench.flows().returned.get(), 0);
}

#[test]
fn with_drop_on_error_it_is_refused_for_good() {
    let mut bench = Bench::new(built(&config(PARSE, ", \"drop_on_error\": true"), KIND));
    assert_eq!(bench.jsons(["no json", r#"{"a":1}"#, "{"]), [r#"{"a":1,"env":"prod"}"#]);
    assert_eq!((bench.flows().returned.get(), bench.flows().held.get()), (2, 1));
}

#[test]
fn what_the_program_aborts_on_is_filtered_unless_it_shall_stay() {
    let source = "if .message == \"b\" { abort }\n.message = upcase!(.message)";
    let mut bench = Bench::new(built(&config(source, ""), KIND));
    assert_eq!(bench.texts(["a", "b", "c"]), ["A", "C"]);
    assert_eq!(bench.flows().filtered.get(), 1);
    let mut bench = Bench::new(built(&config(source, ", \"drop_on_abort\": false"), KIND));
    assert_eq!(bench.texts(["a", "b", "c"]), ["A", "b", "C"]);
}

#[test]
fn a_root_that_became_a_list_is_as_many_records() {
    let source = "x = string!(.message)\nif x == \"none\" { . = [] } else if x == \"two\" { . = [{\"n\": 1}, {\"n\": 2}] } \
                  else if x == \"bad\" { assert!(false) } else { . = {\"x\": x} }";
    let mut bench = Bench::new(built(&config(source, ", \"drop_on_error\": true"), KIND));
    let out = bench.jsons(["a", "two", "none", "bad", "two", "b"]);
    assert_eq!(out, [r#"{"x":"a"}"#, r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":1}"#, r#"{"n":2}"#, r#"{"x":"b"}"#]);
    let flows = bench.flows();
    assert_eq!((flows.born.get(), flows.filtered.get(), flows.returned.get(), flows.held.get()), (2, 1, 1, 6));
}

#[test]
fn what_is_dropped_can_go_elsewhere_with_the_reason() {
    let source = "if .message == \"b\" { abort }\n. = parse_json!(.message)";
    let remap: Remap =
        serde_json::from_str(&config(source, ", \"drop_on_error\": true, \"reroute_dropped\": true")).unwrap();
    assert_eq!(remap.outputs(), ["", "dropped"]);
    let built = Box::new(remap).build(&BuildContext::new("data").for_node(&"bench".into())).unwrap();
    let BuiltTransform::StepThenChoice { step, holds, mut chooser } = built else { panic!("it has one output") };
    let mut bench = Bench::new(BuiltTransform::Step { step, holds });
    let (out, _) = bench.process(Rows::from_texts(["{}", "b", "{\"a\":1}", "c"]));
    let mut chosen = Vec::new();
    chooser.choose(&out.as_ref().unwrap().payload, &mut chosen);
    let branches: Vec<usize> = chosen.iter().flat_map(|set| set.iter()).collect();
    assert_eq!(branches, [0, 1, 0, 1]);
    let jsons = jsons(out);
    assert_eq!((&*jsons[0], &*jsons[2]), ("{}", "{\"a\":1}"));
    assert!(
        jsons[1].contains("\"component_id\":\"bench\"") && jsons[1].contains("\"reason\":\"abort\""),
        "{}",
        jsons[1]
    );
    assert!(jsons[3].contains("\"message\":\"c\"") && jsons[3].contains("\"reason\":\"error\""), "{}", jsons[3]);
    // The next batch knows nothing of it.
    let (out, _) = bench.process(Rows::from_texts(["{}"]));
    chosen.clear();
    chooser.choose(&out.unwrap().payload, &mut chosen);
    assert_eq!(chosen.len(), 1);
    assert!(chosen[0].contains(0) && !chosen[0].contains(1));
}

#[test]
fn a_program_can_be_in_a_file() {
    let file = std::env::temp_dir().join(format!("tidegate-remap-{}.vrl", std::process::id()));
    std::fs::write(&file, ".message = \"from a file\"").unwrap();
    let json = format!("{{\"file\": {}}}", serde_json::to_string(&file).unwrap());
    assert_eq!(Bench::new(built(&json, KIND)).texts(["x"]), ["from a file"]);
    std::fs::remove_file(&file).unwrap();
    let found = problems(&json, KIND);
    assert_eq!(found[0].key, "file");
    assert!(found[0].text.contains("cannot read the program in"), "{}", found[0].text);
}

#[test]
fn errors_are_at_their_place_in_the_program() {
    let source = ".a = 1\n.b = parse_json(.message)\n";
    let found = problems(&config(source, ""), KIND);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].key, "source");
    let within = found[0].within.clone().unwrap();
    assert!(source[within.clone()].contains("parse_json(.message)"), "{within:?}");
    assert!(found[0].help.as_ref().is_some_and(|help| help.contains("parse_json!")), "{:?}", found[0].help);
}

#[test]
fn options_that_make_no_sense_are_reported_by_key() {
    for (json, key) in [
        ("{}".to_owned(), "source"),
        (config(".", ", \"timezone\": \"Mars/Phobos\""), "timezone"),
        (config(".", ", \"reroute_dropped\": true, \"drop_on_abort\": false"), "reroute_dropped"),
        (config(".", ", \"file\": \"x.vrl\""), "file"),
    ] {
        let keys: Vec<String> = problems(&json, KIND).into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, [key], "{json}");
    }
}
