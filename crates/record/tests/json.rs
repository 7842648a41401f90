//! The scanner against `serde_json`: both accept the same texts, and agree on what stands where.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::Value;
use tidegate_record::json::{self, MAX_DEPTH, Shape, Why, scan, validate};
use tidegate_record::{Path, Segment};

/// What `serde_json` says, where it can be compared: it refuses numbers beyond the range of `f64`, which are valid JSON.
fn model(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(text) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().contains("out of range") => None,
        Err(_) => Some(false),
    }
}

fn agree(text: &[u8]) {
    let own = validate(text);
    if let Some(valid) = model(text) {
        assert_eq!(own.is_ok(), valid, "{own:?} of {:?}", String::from_utf8_lossy(text));
    } else if let Ok(shape) = own {
        assert!(shape.has_wide_numbers, "{:?}", String::from_utf8_lossy(text));
    }
}

/// JSON text written by hand, so that it has white space, escapes and numbers of every form.
fn text() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", "", " ", "\t", "  ", "\r\n"]);
    let number = prop::sample::select(vec![
        "0",
        "-0",
        "7",
        "-1",
        "3.25",
        "1e5",
        "2E-3",
        "1.5e+10",
        "123456789012345678",
        "12345678901234567890",
        "1e400",
        "0.1",
    ]);
    let string = prop::collection::vec(
        prop::sample::select(vec![
            "a",
            "bc",
            "level",
            " ",
            "/",
            "é",
            "日本",
            "𝄞",
            "\\\"",
            "\\\\",
            "\\/",
            "\\n",
            "\\u0041",
            "\\ud834\\udd1e",
            "longer text",
        ]),
        0..6,
    )
    .prop_map(|parts| format!("\"{}\"", parts.concat()));
    let leaf = prop_oneof![
        number.prop_map(String::from),
        string.clone(),
        prop::sample::select(vec!["true", "false", "null", "{}", "[]", "{ }", "[ ]"]).prop_map(String::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let item = (space.clone(), inner, space.clone()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member = (space.clone(), string.clone(), space.clone(), item.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A change of one byte or a cut, the way garbage arrives.
#[derive(Clone, Debug)]
enum Damage {
    Put(usize, u8),
    Insert(usize, u8),
    Cut(usize, usize),
    Append(u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte =
        prop_oneof![prop::sample::select(b"{}[]\",:\\u0129-+.eE tfn\n\x00\x1f\x7f\x80\xc3\xff".to_vec()), any::<u8>()];
    prop_oneof![
        (any::<usize>(), byte.clone()).prop_map(|(at, byte)| Damage::Put(at, byte)),
        (any::<usize>(), byte.clone()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        (any::<usize>(), 1_usize..9).prop_map(|(at, count)| Damage::Cut(at, count)),
        byte.prop_map(Damage::Append),
    ]
}

fn apply(text: &mut Vec<u8>, damage: &Damage) {
    let length = text.len();
    match *damage {
        Damage::Append(byte) => text.push(byte),
        _ if length == 0 => {}
        Damage::Put(at, byte) => text[at % length] = byte,
        Damage::Insert(at, byte) => text.insert(at % length, byte),
        Damage::Cut(at, count) => {
            let at = at % length;
            text.drain(at..(at + count).min(length));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn valid_text_is_accepted(text in text()) {
        prop_assert!(validate(text.as_bytes()).is_ok(), "{}", text);
        agree(text.as_bytes());
    }

    #[test]
    fn damaged_text_is_judged_as_by_the_model(text in text(), damages in prop::collection::vec(damage(), 1..4)) {
        let mut bytes = text.into_bytes();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        agree(&bytes);
    }

    #[test]
    fn bytes_of_every_kind_are_judged_as_by_the_model(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&bytes);
    }

    #[test]
    fn members_stand_where_the_scan_says(text in text()) {
        let Ok(Value::Object(model)) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
        let (mut members, bytes) = (Vec::new(), text.as_bytes());
        let shape = scan(bytes, &mut members).map_err(|error| TestCaseError::fail(error.to_string()))?;
        if shape.has_plain_keys() {
            prop_assert_eq!(members.len(), model.len());
        }
        for (key, value) in json::members(bytes) {
            let quoted = &text[key.as_ptr() as usize - bytes.as_ptr() as usize - 1..][..key.len() + 2];
            let name: String = serde_json::from_str(quoted).unwrap();
            let path = Path::field(&name);
            let found = json::find(bytes, path.segments()).unwrap();
            let parsed: Value = serde_json::from_str(&text[found]).unwrap();
            prop_assert_eq!(&parsed, &model[&name]);
            prop_assert!(serde_json::from_str::<Value>(&text[value]).is_ok());
        }
    }

    #[test]
    fn search_in_anything_never_panics(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ a1".to_vec()), 0..40)) {
        let path = [Segment::Index(0)];
        let key = Path::field("a");
        let found = [json::find(&bytes, &path), json::find(&bytes, key.segments()), json::find(&bytes, &[])];
        prop_assert!(found.into_iter().flatten().all(|range| range.end <= bytes.len()));
        json::members(&bytes).for_each(drop);
        json::elements(&bytes).for_each(drop);
        let _ = (json::unquote(&bytes), json::kind(&bytes));
    }
}

#[test]
fn the_deepest_text_is_that_of_serde_json() {
    for depth in [1, 64, 65, MAX_DEPTH, MAX_DEPTH + 1, 300] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"b\":", "}]")] {
            let times = depth / open.matches(['[', '{']).count();
            let text = format!("{}1{}", open.repeat(times), close.repeat(times));
            agree(text.as_bytes());
        }
    }
    let deep = "[".repeat(MAX_DEPTH + 1);
    assert_eq!(validate(deep.as_bytes()).unwrap_err().why, Why::Depth);
    assert_eq!(validate(&deep.as_bytes()[1..]).unwrap_err().why, Why::End);
}

#[test]
fn an_error_names_what_is_wrong_and_where() {
    for (text, at, why) in [
        ("", 0, Why::End),
        ("   ", 3, Why::End),
        ("{", 1, Why::End),
        ("{\"a\"", 4, Why::End),
        ("{\"a\" 1}", 5, Why::Colon),
        ("{a:1}", 1, Why::Key),
        ("{\"a\":1,}", 7, Why::Key),
        ("[1,]", 3, Why::Value),
        ("[1 2]", 3, Why::Comma),
        ("[1}", 2, Why::Comma),
        ("01", 1, Why::Number),
        ("-", 1, Why::End),
        ("-x", 1, Why::Number),
        ("1.", 2, Why::End),
        ("[1.]", 3, Why::Number),
        ("1e", 2, Why::End),
        ("tru", 3, Why::End),
        ("trux", 3, Why::Value),
        ("\"\u{1}\"", 1, Why::Control),
        ("\"a\\x\"", 3, Why::Escape),
        ("\"\\u12g4\"", 5, Why::Escape),
        ("\"\\ud800\"", 7, Why::Surrogate),
        ("\"\\udc00\"", 7, Why::Surrogate),
        ("\"\\ud800\\u0041\"", 13, Why::Surrogate),
        ("{} x", 3, Why::Trailing),
        ("nul", 3, Why::End),
        ("+1", 0, Why::Value),
        ("NaN", 0, Why::Value),
        ("\u{feff}{}", 0, Why::Value),
    ] {
        agree(text.as_bytes());
        let error = validate(text.as_bytes()).unwrap_err();
        assert_eq!((error.at, error.why), (at, why), "{text:?}: {error}");
    }
    assert_eq!(validate(b"\"ab\xFF\"").unwrap_err(), json::Invalid { at: 3, why: Why::Utf8 });
    assert_eq!(validate(b"\"ab\xC3\"").unwrap_err(), json::Invalid { at: 3, why: Why::Utf8 });
}

#[test]
fn what_is_not_plain_is_reported() {
    let shape = |text: &str| validate(text.as_bytes()).unwrap();
    assert!(shape(r#"{"a":1,"b":{"a":2},"c":123456789012345678}"#).is_plain());
    assert!(shape(r#"{"a":1,"b":2,"a":3}"#).has_duplicate_keys);
    assert!(shape(r#"{"a":{"\u0062":1}}"#).has_escaped_keys);
    assert!(shape(r#"{"a":[1234567890123456789]}"#).has_wide_numbers);
    assert!(shape(r#"{"a":1e100}"#).has_wide_numbers);
    assert!(!shape(r#"{"a":"12345678901234567890"}"#).has_wide_numbers);
    let many: Vec<String> = (0..300).map(|n| format!("\"k{n}\":{n}")).collect();
    let many = format!("{{{}}}", many.join(","));
    assert!(shape(&many).has_duplicate_keys, "too many to tell");
    assert_eq!(shape(" {\"a\":1} "), Shape { start: 1, end: 8, ..Shape::default() });
}

#[test]
fn names_that_meet_in_the_filter_are_told_apart() {
    // Pairs of equal length, first and last byte share a bit of the scan's filter.
    for count in 1..60 {
        let keys: Vec<String> = (0..count).map(|n| format!("\"a{n:02}z\":{n}")).collect();
        let text = format!("{{{}}}", keys.join(","));
        assert!(!validate(text.as_bytes()).unwrap().has_duplicate_keys);
        let twice = format!("{{{},\"a00z\":1}}", keys.join(","));
        assert!(validate(twice.as_bytes()).unwrap().has_duplicate_keys);
    }
}
