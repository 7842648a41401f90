//! Conditions: what is true, what is not, and what is refused.

use std::sync::Arc;

use tidegate_record::{Form, Origin, Rows, Timestamp};
use tidegate_remap::{Condition, Options, Runs};

fn rows(text: &str, form: Form) -> Rows {
    let mut rows = Rows::default();
    rows.push_copy(
        text.as_bytes(),
        form,
        &Arc::new(Origin::new("test", Timestamp::from_unix_nanos(1_700_000_000_000_000_000))),
    );
    rows
}

fn condition(source: &str) -> Condition {
    Condition::compile(source, &Options::default()).unwrap_or_else(|errors| panic!("{source}: {errors:?}"))
}

#[test]
fn conditions_on_objects() {
    let object = r#"{"level":"d\u0065bug","status":503,"ratio":1.0,"ok":true,"list":[1],"none":null}"#;
    for (source, expected) in [
        (".level == \"debug\"", true),
        (".level != \"debug\"", false),
        (".missing != \"debug\"", true),
        (".missing == null", true),
        (".ratio == 1", true),
        ("int!(.status) >= 500", true),
        ("(.status > 600) ?? true", false),
        ("(.level > 600) ?? true", true),
        ("int!(.level) >= 500", false),
        ("!(int!(.level) >= 500)", false),
        ("exists(.none) && !exists(.missing)", true),
        ("is_null(.none) && is_null(.missing) && is_array(.list)", true),
        ("bool!(.ok)", true),
        ("contains(string!(.level), \"bug\")", true),
        ("starts_with!(.level, \"de\") && ends_with!(.level, \"ug\")", true),
        ("starts_with!(.status, \"5\")", false),
        ("upcase!(.level) == \"DEBUG\"", true),
        ("match!(.level, r'^d')", true),
    ] {
        let rows = rows(object, Form::Object);
        assert_eq!(condition(source).matches(rows.row(0)), expected, "{source}");
    }
}

#[test]
fn conditions_on_messages_see_the_envelope() {
    for (source, expected) in [
        (".message == \"GET /\"", true),
        ("contains(string!(.message), \"/\")", true),
        (".source_type == \"test\"", true),
        ("is_timestamp(.timestamp)", true),
        (".timestamp == \"2023-11-14T22:13:20Z\"", false),
        ("is_string(.timestamp)", false),
    ] {
        let rows = rows("GET /", Form::Message);
        assert_eq!(condition(source).matches(rows.row(0)), expected, "{source}");
    }
}

#[test]
fn what_fails_is_not_true_and_says_why() {
    let rows = rows(r#"{"a":1}"#, Form::Object);
    assert!(condition("contains(string!(.a), \"x\")").check(rows.row(0)).is_err());
    assert!(!condition("contains(string!(.a), \"x\")").matches(rows.row(0)));
    let failure = condition("upcase!(.a) == \"X\"").check(rows.row(0)).unwrap_err();
    assert!(failure.to_string().contains("expected string"), "{failure}");
}

#[test]
fn conditions_are_refused_that_are_not_true_or_false_or_change_something() {
    for (source, message) in [
        (".a", "must be true or false"),
        ("\"text\"", "must be true or false"),
        (".a = true", "read-only"),
        ("del(.a) == 1", "read-only"),
        (".a >", "syntax error"),
        ("", "must be true or false"),
    ] {
        let errors = Condition::compile(source, &Options::default()).unwrap_err();
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|error| error.contains(message)), "{source}: {told:?}");
    }
}

#[test]
fn the_lowering_says_whether_anything_is_decoded() {
    assert!(condition(".a == 1 && !exists(.b)").lowering().is_complete());
    assert_eq!(condition("upcase!(.a) == \"X\"").lowering().parts[0].runs, Runs::OnFields);
    assert_eq!(condition("length(.) == 1").lowering().parts[0].runs, Runs::OnRecord);
}
