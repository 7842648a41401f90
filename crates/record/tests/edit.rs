//! Edits against a model that edits trees, and what edits leave as it was.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/bodies/tree.rs"]
mod tree;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value};
use tidegate_flow::Payload;
use tidegate_record::{Form, Key, NotAnObject, Origin, Path, RowMut, Rows, Segment, Timestamp};

fn origin() -> Arc<Origin> {
    Arc::new(Origin::new("test", Timestamp::default()))
}

fn object(text: &str) -> Rows {
    let mut rows = Rows::default();
    rows.push_copy(text.as_bytes(), Form::Object, &origin());
    rows
}

fn edited(text: &str, edit: impl FnOnce(&mut RowMut<'_>)) -> String {
    let mut rows = object(text);
    edit(&mut rows.row_mut(0));
    whole(&rows)
}

fn whole(rows: &Rows) -> String {
    let mut out = Vec::new();
    rows.row(0).write_json(&mut out);
    String::from_utf8(out).unwrap()
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// One edit of a record.
#[derive(Clone, Debug)]
enum Edit {
    Set(Path, Value),
    Remove(Path),
    Replace(Map<String, Value>),
    Index,
    /// Edits that are taken back.
    Undone(Vec<Edit>),
}

fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c", "d e", "é\"", ""]).prop_map(|name| Segment::Field(Key::new(name))),
        1 => (-3_isize..4).prop_map(Segment::Index),
    ]
}

/// A path that begins with a member: the record itself is an object.
fn member_path() -> impl Strategy<Value = Path> {
    let first = prop::sample::select(vec!["a", "b", "c", "d e", "é\""]).prop_map(|name| Segment::Field(Key::new(name)));
    (first, prop::collection::vec(segment(), 0..3)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        Path::from(rest)
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec!["", "x", "q\"uote", "new\nline"]).prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = prop::sample::select(vec!["a", "b", "c", "d e", "é\"", ""]);
    prop::collection::vec((name, value), 0..5)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => one_edit(),
        1 => prop::collection::vec(one_edit(), 1..4).prop_map(Edit::Undone),
    ]
}

fn one_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (member_path(), value()).prop_map(|(path, value)| Edit::Set(path, value)),
        2 => member_path().prop_map(Edit::Remove),
        1 => members(value()).prop_map(Edit::Replace),
        1 => Just(Edit::Index),
    ]
}

/// Makes an edit on both sides. The model is not told of edits that are taken back, so it cannot tell what they find.
fn make(edit: &Edit, row: &mut RowMut<'_>, model: &mut Value, is_final: bool) {
    match edit {
        Edit::Set(path, value) => {
            row.set(path, value.to_string().as_bytes());
            tree::set(model, path.segments(), value.clone());
        }
        Edit::Remove(path) => {
            let (own, other) = (row.remove(path), tree::remove(model, path.segments()));
            assert!(own == other || !is_final);
        }
        Edit::Replace(map) => {
            *model = Value::Object(map.clone());
            row.replace(model.to_string());
        }
        Edit::Index => row.index(),
        Edit::Undone(_) => unreachable!("not within each other"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn edits_do_what_they_do_to_a_tree(
        first in members(value()),
        pretty in any::<bool>(),
        edits in prop::collection::vec(edit(), 0..8),
        asked in prop::collection::vec(member_path(), 1..4),
    ) {
        let mut model = Value::Object(first);
        let text = if pretty { serde_json::to_string_pretty(&model) } else { serde_json::to_string(&model) }.unwrap();
        let mut rows = object(&text);
        for edit in &edits {
            let mut row = rows.row_mut(0);
            if let Edit::Undone(edits) = edit {
                let mark = row.mark();
                edits.iter().for_each(|edit| make(edit, &mut row, &mut model.clone(), false));
                row.restore(mark);
            } else {
                make(edit, &mut row, &mut model, true);
            }
            prop_assert_eq!(rows.weight().bytes.get(), rows.row(0).weight());
            for path in &asked {
                let own = rows.row(0).get(path).map(|text| serde_json::from_slice::<Value>(&text).unwrap());
                prop_assert_eq!(own.as_ref(), tree::get(&model, path.segments()), "{} in {}", path, whole(&rows));
            }
        }
        let own: Value = serde_json::from_str(&whole(&rows)).unwrap();
        prop_assert_eq!(own, model);
    }
}

#[test]
fn what_is_not_edited_stays_as_it_was() {
    let text = r#"{ "z" : 1.50 , "a":{"k":[1, 2 ,3]},"b":"\u0041" }"#;
    assert_eq!(edited(text, |row| row.set(&path(".a.k[1]"), b"true")), text.replace(" 2 ,", " true ,"));
    assert_eq!(edited(text, |row| row.set(&path(".new"), b"7")), text.replace(" }", r#" ,"new":7}"#));
    let both = edited(text, |row| {
        row.set(&path(".new"), b"7");
        row.set(&path(".z"), b"0");
        row.set(&path(".newer"), b"8");
    });
    assert_eq!(both, r#"{ "z" : 0 , "a":{"k":[1, 2 ,3]},"b":"\u0041" ,"new":7,"newer":8}"#);
    assert_eq!(edited("{}", |row| row.set(&path(".a.b[1]"), b"1")), r#"{"a":{"b":[null,1]}}"#);
    assert_eq!(edited(" {\"a\":1} ", |row| row.set(&path(".b"), b"2")), " {\"a\":1,\"b\":2} ");
}

#[test]
fn the_elements_of_a_changed_array_are_counted_anew() {
    let both = edited(r#"{"a":[0]}"#, |row| {
        row.set(&path(".a[1]"), b"1");
        assert_eq!(row.as_row().get(&path(".a[-1]")).as_deref(), Some(&b"1"[..]));
        row.set(&path(".a[-1]"), b"2");
        row.set(&path(".a[-4]"), b"3");
    });
    assert_eq!(both, r#"{"a":[3,null,0,2]}"#);
}

#[test]
fn removing_takes_every_member_of_the_name() {
    let text = r#"{"a":1,"b":2,"\u0061":3,"c":4}"#;
    assert_eq!(edited(text, |row| assert!(row.remove(&path(".a")))), r#"{"b":2,"c":4}"#);
    assert_eq!(edited(text, |row| assert!(!row.remove(&path(".x")))), text);
    assert_eq!(edited(text, |row| assert!(row.remove(&path(".")))), "{}");
    assert_eq!(edited(r#"{"a":[1, [2]]}"#, |row| assert!(row.remove(&path(".a[-1]")))), r#"{"a":[1]}"#);
}

#[test]
fn what_stands_around_a_removed_member_stays_as_it_was() {
    let text = r#"{ "a" : 1 , "b":{"x":2} , "c":3 }"#;
    let without = |names: &[&str]| {
        edited(text, |row| {
            for name in names {
                assert!(row.remove(&path(name)));
                assert!(!row.remove(&path(name)), "it is gone");
            }
        })
    };
    assert_eq!(without(&[".a"]), r#"{ "b":{"x":2} , "c":3 }"#);
    assert_eq!(without(&[".b"]), r#"{ "a" : 1 , "c":3 }"#);
    assert_eq!(without(&[".c"]), r#"{ "a" : 1 , "b":{"x":2} }"#);
    for (names, left) in [
        ([".a", ".b"], r#"{"c":3}"#),
        ([".b", ".a"], r#"{"c":3}"#),
        ([".b", ".c"], r#"{"a":1}"#),
        ([".c", ".a"], r#"{"b":{"x":2}}"#),
    ] {
        assert_eq!(without(&names).replace(' ', ""), left, "{names:?}");
    }
    assert_eq!(without(&[".a", ".b", ".c"]).replace(' ', ""), "{}");
    let moved = edited(text, |row| {
        row.set(&path(".new"), b"4");
        row.remove(&path(".c"));
        row.set(&path(".c"), b"5");
        row.remove(&path(".a"));
    });
    assert_eq!(moved.replace(' ', ""), r#"{"b":{"x":2},"new":4,"c":5}"#);
}

#[test]
fn removing_a_member_writes_nothing() {
    let mut rows = object(r#"{"a":1,"b":2,"c":3}"#);
    let before = rows.row(0).weight();
    rows.row_mut(0).remove(&path(".b"));
    assert_eq!(rows.row(0).weight(), before, "a splice that only cuts");
    assert!(rows.row(0).is_edited());
}

#[test]
fn of_a_repeated_name_the_last_is_read_and_set() {
    let text = r#"{"a":1,"b":2,"\u0061":3}"#;
    assert_eq!(object(text).row(0).get(&path(".a")).as_deref(), Some(&b"3"[..]));
    assert_eq!(edited(text, |row| row.set(&path(".a"), b"9")), r#"{"a":1,"b":2,"\u0061":9}"#);
    let mut rows = Rows::from_texts([text]);
    rows.row_mut(0).parse_message().unwrap();
    assert_eq!(rows.row(0).get(&path(".a")).as_deref(), Some(&b"3"[..]));
}

#[test]
fn a_message_becomes_the_record() {
    let mut rows =
        Rows::from_texts(["{\"a\":1}", " [1] ", "{\"a\":", "\u{1}", "{\"message\":\"{\\\"x\\\":\\\"é\\\"}\"}"]);
    let why = |rows: &mut Rows, n: usize| rows.row_mut(n).parse_message().unwrap_err();
    rows.row_mut(0).parse_message().unwrap();
    assert_eq!(rows.row(0).form(), Form::Object);
    assert_eq!(rows.row(0).get(&path(".a")).as_deref(), Some(&b"1"[..]));
    assert_eq!(rows.row(0).get(&path(".message")), None);
    assert_eq!(why(&mut rows, 0), NotAnObject::NoMessage);
    assert_eq!(why(&mut rows, 1), NotAnObject::Other(tidegate_record::json::Kind::Array));
    for n in [2, 3] {
        assert!(matches!(why(&mut rows, n), NotAnObject::Invalid(_)));
        assert_eq!(rows.row(n).form(), Form::Message, "a failure changes nothing");
    }
    rows.row_mut(4).parse_message().unwrap();
    rows.row_mut(4).parse_message().unwrap();
    assert_eq!(rows.row(4).get(&path(".x")).as_deref(), Some("\"é\"".as_bytes()));
}

#[test]
fn the_envelope_is_read_and_changed_like_any_field() {
    let mut rows = Rows::from_texts(["say \"hi\""]);
    let get =
        |rows: &Rows, at: &str| rows.row(0).get(&path(at)).map(|text| String::from_utf8(text.into_owned()).unwrap());
    assert_eq!(get(&rows, ".message").as_deref(), Some(r#""say \"hi\"""#));
    assert_eq!(get(&rows, ".source_type").as_deref(), Some("\"test\""));
    assert_eq!(get(&rows, ".host"), None);
    rows.row_mut(0).set(&path(".env"), b"\"prod\"");
    assert_eq!(
        whole(&rows),
        r#"{"message":"say \"hi\"","source_type":"test","timestamp":"1970-01-01T00:00:00Z","env":"prod"}"#
    );
    assert_eq!(rows.row(0).message().as_deref(), Some(&b"say \"hi\""[..]));
    assert!(rows.row_mut(0).remove(&path(".timestamp")));
    rows.row_mut(0).set(&path(".message"), b"{\"n\":[1]}");
    assert_eq!(whole(&rows), r#"{"message":{"n":[1]},"source_type":"test","env":"prod"}"#);
    assert_eq!(rows.row(0).message().as_deref(), Some(&b"{\"n\":[1]}"[..]));
    rows.row_mut(0).set(&path("."), b"{\"message\":null}");
    assert_eq!(rows.row(0).message().as_deref(), Some(&b""[..]));
}

#[test]
fn rewriting_a_row_over_and_over_holds_one_copy_of_it() {
    let mut rows = object(r#"{"a":1,"b":2}"#);
    for n in 0..1_000 {
        let mut row = rows.row_mut(0);
        row.set(&path(".c"), n.to_string().as_bytes());
        row.remove(&path(".c"));
        let mark = row.mark();
        row.set(&path(".c"), b"[1,2,3]");
        row.remove(&path(".b"));
        row.restore(mark);
    }
    assert!(rows.retained_bytes().get() < 2_000, "{}", rows.retained_bytes());
    assert_eq!(whole(&rows), r#"{"a":1,"b":2}"#);
}

#[test]
fn rewriting_a_row_leaves_what_was_written_for_others_alone() {
    let mut rows = Rows::from_texts(["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
    for round in ["1", "22", "333"] {
        for n in [0, 2, 1] {
            let mut row = rows.row_mut(n);
            row.replace(format!("{{\"n\":{n}}}"));
            row.set(&path(".round"), round.as_bytes());
        }
        for n in 0..3 {
            let text = rows.row(n).get(&path(".")).unwrap().into_owned();
            assert_eq!(String::from_utf8(text).unwrap(), format!("{{\"n\":{n},\"round\":{round}}}"));
        }
    }
}
