//! Splices: random edits of a random object come to the JSON value that editing a tree comes to, and what no edit
//! touched keeps its bytes and its place.

use std::sync::Arc;

use serde_json::Value;
use tidegate_flow::Payload as _;
use tidegate_record::{Form, Key, Origin, Path, RowMut, Rows, Segment, Timestamp, json};

use crate::dice::Dice;
use crate::tree;

const KEYS: [&str; 7] = ["a", "b", "level", "d e", "é\"", "", "\\"];
/// The same as they may stand in a text.
const WRITTEN: [&str; 9] = ["a", "b", "level", "d e", "é\\\"", "", "\\\\", "\\u0061", "\\u006cevel"];
const LEAVES: [&str; 12] = [
    "0",
    "-1.50",
    "1e3",
    "true",
    "null",
    "\"\"",
    "\"x\\ny\"",
    "\"\\ud83d\\ude00\"",
    "[]",
    "{}",
    "\"}\"",
    "18446744073709551615",
];
const SPACES: [&str; 5] = ["", "", " ", "\n", "\t \r"];
/// How deep the random objects are, and the edits reach.
const DEPTH: usize = 3;

/// The bytes choose the object first, then the edits.
pub(crate) fn check(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let members: Vec<(usize, String)> = (0..dice.below(6)).map(|_| member(&mut dice, DEPTH)).collect();
    let before = dice.pick(&SPACES);
    let text = joined(before, members.iter().map(|(_, text)| text.as_str()), '{', '}');
    let mut model: Value = serde_json::from_str(&text).expect("the generator writes JSON");
    let mut rows = Rows::default();
    let origin = Arc::new(Origin::new("fuzz", Timestamp::default()));
    rows.push_copy(text.as_bytes(), Form::Message, &origin);
    rows.row_mut(0).parse_message().expect("it is an object");
    first_edit(&text, &mut rows, &mut dice, &mut model);

    let mut touched = vec![false; KEYS.len()];
    while !dice.is_empty() {
        edit(&mut rows.row_mut(0), &mut dice, &mut model, &mut touched);
        assert_eq!(rows.weight().bytes.get(), rows.row(0).weight(), "a batch weighs what its rows do");
        let asked = path(&mut dice);
        let own = rows.row(0).get(&asked).map(|text| serde_json::from_slice::<Value>(&text).expect("a value"));
        assert_eq!(own.as_ref(), tree::get(&model, asked.segments()), "{asked} in {}", written(&rows));
    }
    let own = written(&rows);
    assert_eq!(serde_json::from_str::<Value>(&own).expect("it is JSON"), model, "{text}\n{own}");
    assert!(json::validate(own.as_bytes()).is_ok(), "our own scanner takes it too");
    in_order(&own, members.iter().filter(|(key, _)| !touched[*key]).map(|(_, text)| text.as_str()));
}

/// A first edit of a value that is there changes the bytes of the value alone; it is undone.
fn first_edit(text: &str, rows: &mut Rows, dice: &mut Dice<'_>, model: &mut Value) {
    let (path, new) = (path(dice), dice.pick(&LEAVES));
    let Some(at) = json::find(text.as_bytes(), path.segments()) else { return };
    assert!(tree::get(model, path.segments()).is_some(), "{path} is in {text}");
    let mut row = rows.row_mut(0);
    let mark = row.mark();
    row.set(&path, new.as_bytes());
    assert_eq!(written(rows), format!("{}{new}{}", &text[..at.start], &text[at.end..]), "{path}");
    rows.row_mut(0).restore(mark);
    assert_eq!(written(rows), text, "it is what it was");
}

/// One random edit on both sides.
fn edit(row: &mut RowMut<'_>, dice: &mut Dice<'_>, model: &mut Value, touched: &mut [bool]) {
    let path = path(dice);
    let mut touch = |path: &Path| {
        let key = path.top().and_then(|key| KEYS.iter().position(|name| *name == key.name()));
        key.into_iter().for_each(|key| touched[key] = true);
    };
    match dice.below(8) {
        0..4 => {
            let new = value(dice, 1);
            row.set(&path, new.as_bytes());
            tree::set(model, path.segments(), serde_json::from_str(&new).expect("a value"));
            touch(&path);
        }
        4 => {
            assert_eq!(row.remove(&path), tree::remove(model, path.segments()), "{path}");
            touch(&path);
        }
        5 => row.index(),
        6 => {
            let mark = row.mark();
            row.set(&path, b"[0]");
            row.remove(&self::path(dice));
            row.restore(mark);
        }
        _ => {
            let members: Vec<String> = (0..dice.below(3)).map(|_| member(dice, 1).1).collect();
            let text = joined("", members.iter().map(String::as_str), '{', '}');
            row.replace(&text);
            *model = serde_json::from_str(&text).expect("an object");
            touched.fill(true);
        }
    }
}

/// The number of a key, and a member of that name as text.
fn member(dice: &mut Dice<'_>, depth: usize) -> (usize, String) {
    let spaces = [dice.pick(&SPACES), dice.pick(&SPACES)];
    let name = dice.below(WRITTEN.len());
    let key = match name {
        7 => 0,
        8 => 2,
        plain => plain,
    };
    (key, format!("\"{}\"{}:{}{}", WRITTEN[name], spaces[0], spaces[1], value(dice, depth - 1)))
}

fn value(dice: &mut Dice<'_>, depth: usize) -> String {
    match if depth == 0 { 0 } else { dice.below(4) } {
        0 | 1 => dice.pick(&LEAVES).to_owned(),
        2 => {
            let items: Vec<String> = (0..dice.below(4)).map(|_| value(dice, depth - 1)).collect();
            joined(dice.pick(&SPACES), items.iter().map(String::as_str), '[', ']')
        }
        _ => {
            let members: Vec<String> = (0..dice.below(4)).map(|_| member(dice, depth).1).collect();
            joined(dice.pick(&SPACES), members.iter().map(String::as_str), '{', '}')
        }
    }
}

fn joined<'a>(space: &str, items: impl Iterator<Item = &'a str>, open: char, close: char) -> String {
    let items: Vec<String> = items.map(|item| format!("{space}{item}{space}")).collect();
    format!("{open}{}{close}", items.join(","))
}

/// A path that begins with a member: the record itself is an object.
fn path(dice: &mut Dice<'_>) -> Path {
    let mut segments = vec![Segment::Field(Key::new(dice.pick(&KEYS)))];
    for _ in 0..dice.below(DEPTH) {
        segments.push(match dice.below(3) {
            0 => Segment::Index(dice.pick(&[0, 1, 2, -1, -2, -3])),
            _ => Segment::Field(Key::new(dice.pick(&KEYS))),
        });
    }
    Path::from(segments)
}

fn written(rows: &Rows) -> String {
    let mut out = Vec::new();
    rows.row(0).write_json(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

/// Each of `texts` stands in `whole`, behind the one before.
fn in_order<'a>(whole: &str, texts: impl Iterator<Item = &'a str>) {
    let mut rest = whole;
    for text in texts {
        let at = rest.find(text);
        assert!(at.is_some(), "`{text}` was not touched, and is not where it was: {whole}");
        rest = &rest[at.unwrap_or(0) + text.len()..];
    }
}
