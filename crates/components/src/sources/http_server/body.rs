//! What is in a body: where its records are, and whether they are what they should be.

use std::fmt;
use std::ops::Range;

use tidegate_record::Form;
use tidegate_record::json::{self, Kind};

/// The most records in one body.
pub(super) const MOST_RECORDS: usize = 100_000;

/// How a body is cut into records.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It is one record.
    Whole,
    /// One record a line.
    Lines,
    /// An object, an array of objects, or an object a line.
    Json,
    /// An object a line.
    JsonLines,
}

/// Why a body is refused, for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not what it should be.
    Malformed(String),
    /// It holds too many records.
    TooMany,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(text) => f.write_str(text),
            Self::TooMany => write!(f, "more than {MOST_RECORDS} records; send smaller requests"),
        }
    }
}

/// The most records that a body can have, and that are taken of one: what stands between its newlines, or its commas.
pub(super) fn most_records(body: &[u8], cut: Cut) -> usize {
    let count = |sign: u8| body.iter().filter(|byte| **byte == sign).count();
    let found = match cut {
        Cut::Whole => 0,
        Cut::Lines | Cut::JsonLines => count(b'\n'),
        Cut::Json => count(b'\n').max(count(b',')),
    };
    (found + 1).min(MOST_RECORDS)
}

/// The records of a body, in a list that does not grow beyond `most`, which [`most_records`] gave. All of it is checked:
/// a body is taken whole or not at all.
pub(super) fn records(body: &[u8], cut: Cut, most: usize) -> Result<(Form, Vec<Range<usize>>), Fault> {
    let list = Vec::with_capacity(most);
    match cut {
        Cut::Whole if body.is_empty() => Ok((Form::Message, Vec::new())),
        Cut::Whole => Ok((Form::Message, one(0..body.len()))),
        Cut::Lines => Ok((Form::Message, lines(body, list)?)),
        Cut::JsonLines => Ok((Form::Object, object_lines(body, list)?)),
        Cut::Json => Ok((Form::Object, objects(body, list)?)),
    }
}

fn one(range: Range<usize>) -> Vec<Range<usize>> {
    std::iter::once(range).collect()
}

fn lines(body: &[u8], mut found: Vec<Range<usize>>) -> Result<Vec<Range<usize>>, Fault> {
    let mut from = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() {
            if found.len() == MOST_RECORDS {
                return Err(Fault::TooMany);
            }
            found.push(from..from + text.len());
        }
        from += line.len();
    }
    Ok(found)
}

fn object_lines(body: &[u8], list: Vec<Range<usize>>) -> Result<Vec<Range<usize>>, Fault> {
    let mut found = lines(body, list)?;
    found.retain(|line| !body[line.clone()].iter().all(u8::is_ascii_whitespace));
    for (number, line) in found.iter().enumerate() {
        check_object(&body[line.clone()]).map_err(|why| Fault::Malformed(format!("record {}: {why}", number + 1)))?;
    }
    Ok(found)
}

fn objects(body: &[u8], mut list: Vec<Range<usize>>) -> Result<Vec<Range<usize>>, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    match json::validate(body) {
        Ok(shape) if json::kind(body) == Kind::Object => Ok(one(shape.start..shape.end)),
        Ok(_) if json::kind(body) == Kind::Array => {
            for element in json::elements(body) {
                if list.len() == MOST_RECORDS {
                    return Err(Fault::TooMany);
                }
                list.push(element);
            }
            match list.iter().position(|element| json::kind(&body[element.clone()]) != Kind::Object) {
                Some(at) => Err(Fault::Malformed(format!("element {} of the array is no object", at + 1))),
                None => Ok(list),
            }
        }
        Ok(_) => Err(Fault::Malformed("expected a JSON object, an array of objects, or an object a line".to_owned())),
        Err(_) => object_lines(body, list),
    }
}

fn check_object(text: &[u8]) -> Result<(), String> {
    match json::validate(text) {
        Ok(_) if json::kind(text) == Kind::Object => Ok(()),
        Ok(_) => Err("is no JSON object".to_owned()),
        Err(invalid) => Err(invalid.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str, cut: Cut) -> Result<Vec<&str>, Fault> {
        records(body.as_bytes(), cut, most_records(body.as_bytes(), cut))
            .map(|(_, found)| found.into_iter().map(|range| &body[range]).collect())
    }

    #[test]
    fn bodies_are_cut_as_they_are_meant() {
        assert_eq!(texts("a\nb\n", Cut::Whole), Ok(vec!["a\nb\n"]));
        assert_eq!(texts("", Cut::Whole), Ok(vec![]));
        assert_eq!(texts("a\r\n\nb", Cut::Lines), Ok(vec!["a", "b"]));
        assert_eq!(texts(" {\"a\":\n1} ", Cut::Json), Ok(vec!["{\"a\":\n1}"]));
        assert_eq!(texts("[{\"a\":1}, {} ]", Cut::Json), Ok(vec!["{\"a\":1}", "{}"]));
        assert_eq!(texts("{\"a\":1}\n \n{}\n", Cut::Json), Ok(vec!["{\"a\":1}", "{}"]));
        assert_eq!(texts("{}\r\n{}", Cut::JsonLines), Ok(vec!["{}", "{}"]));
        assert_eq!(texts("[]", Cut::Json), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let said = |body: &str, cut| records(body.as_bytes(), cut, 1).unwrap_err().to_string();
        assert!(said("{}\nnonsense\n", Cut::Json).starts_with("record 2: "));
        assert!(said("{}\n[]\n", Cut::JsonLines).starts_with("record 2: is no JSON object"));
        assert_eq!(said("[{},1]", Cut::Json), "element 2 of the array is no object");
        assert!(said("17", Cut::Json).starts_with("expected a JSON object"));
        assert!(said(&"a\n".repeat(MOST_RECORDS + 1), Cut::Lines).starts_with("more than 100000 records"));
        assert!(said(&format!("[{}{{}}]", "{},".repeat(MOST_RECORDS)), Cut::Json).starts_with("more than"));
    }
}
