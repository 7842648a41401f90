//! A row that is put back to its mark is what it was, whatever was done to it.

use tidegate_flow::Payload;
use tidegate_record::{Form, Origin, Path, Rows, Timestamp};

fn text(rows: &Rows, number: usize) -> String {
    let mut text = Vec::new();
    rows.row(number).write_json(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn path(text: &str) -> Path {
    Path::field(text)
}

/// Three rows: an object with edits, one that was written anew, and a message.
fn rows() -> Rows {
    let origin = std::sync::Arc::new(Origin::new("test", Timestamp::default()));
    let mut rows = Rows::default();
    rows.push_copy(br#"{"a":1,"b":2,"c":3}"#, Form::Object, &origin);
    rows.push_copy(br#"{"x":0}"#, Form::Object, &origin);
    rows.push_copy(br#"{"m":{"n":"\u00e9"}}"#, Form::Message, &origin);
    let mut first = rows.row_mut(0);
    first.set(&path("a"), b"10");
    first.set(&path("c"), b"30");
    rows.row_mut(1).replace(br#"{"y":1}"#);
    rows
}

#[test]
fn whatever_is_done_after_a_mark_is_undone_by_going_back() {
    for number in 0..3 {
        for change in 0..6 {
            let mut rows = rows();
            let before: Vec<_> = (0..3).map(|number| text(&rows, number)).collect();
            let weight = rows.weight();
            let mut row = rows.row_mut(number);
            let mark = row.mark();
            match change {
                0 => row.set(&path("b"), b"[20]"),
                1 => {
                    row.set(&path("new"), b"null");
                    row.set(&path("b"), b"\"strung between\"");
                    row.set(&path("newer"), b"null");
                }
                2 => {
                    row.remove(&path("a"));
                }
                3 => row.replace(br#"{"a much longer object than the one that was there before":true}"#),
                4 => drop(row.parse_message()),
                _ => {
                    row.set(&path("b"), b"0");
                    row.remove(&path("c"));
                    row.replace(b"{}");
                    row.set(&path("z"), b"1");
                }
            }
            row.restore(mark);
            let after: Vec<_> = (0..3).map(|number| text(&rows, number)).collect();
            assert_eq!(after, before, "row {number}, change {change}");
            assert_eq!(rows.weight(), weight, "row {number}, change {change}");
            rows.row_mut(number).set(&path("later"), b"true");
            assert!(text(&rows, number).contains("\"later\":true"), "row {number}, change {change}");
        }
    }
}

#[test]
fn the_form_comes_back_with_the_rest() {
    let mut rows = rows();
    let mut row = rows.row_mut(2);
    let mark = row.mark();
    assert!(row.parse_message().is_ok());
    assert_eq!(row.as_row().form(), Form::Object);
    row.restore(mark);
    assert_eq!(row.as_row().form(), Form::Message);
    assert!(row.parse_message().is_ok());
    assert_eq!(text(&rows, 2), r#"{"m":{"n":"\u00e9"}}"#);
}
