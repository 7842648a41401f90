//! Applying the steps of a lowered program to a row.

use tidegate_record::{Path, RowMut, json};

use crate::judge;
use crate::plan::{Halt, Step};

/// How the steps ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All were made.
    Done,
    /// The program said `abort`.
    Aborted,
}

/// Makes the steps in order. Where this ends early, the row is half changed and must be put back.
pub(crate) fn apply(steps: &[Step], row: &mut RowMut<'_>) -> Result<End, Halt> {
    for step in steps {
        match step {
            Step::Parse => parse(row)?,
            Step::Set { path, json } => row.set(path, json),
            Step::Copy { to, from } => {
                let text = taken(row, from, to)?;
                row.set(to, &text);
            }
            Step::Move { to, from } => {
                let text = taken(row, from, to)?;
                row.remove(from);
                row.set(to, &text);
            }
            Step::Remove { path } => {
                row.remove(path);
            }
            Step::If { test, then, otherwise } => {
                let taken = if judge::holds(test, row.as_row())? { then } else { otherwise };
                if apply(taken, row)? == End::Aborted {
                    return Ok(End::Aborted);
                }
            }
            Step::Abort => return Ok(End::Aborted),
        }
    }
    Ok(End::Done)
}

/// The text at `from`, to be set at `to`. A list or an object that would come to stand deeper than it does may come to
/// stand too deep: whether it does is for VRL.
fn taken(row: &RowMut<'_>, from: &Path, to: &Path) -> Result<Vec<u8>, Halt> {
    let Some(text) = row.as_row().get(from) else { return Ok(b"null".to_vec()) };
    let is_deep = matches!(json::kind(&text), json::Kind::Object | json::Kind::Array);
    if is_deep && to.segments().len() > from.segments().len() {
        return Err(Halt::Defer);
    }
    Ok(text.into_owned())
}

/// Makes the message the record, if it is an object that everyone reads alike. Everything else is for VRL: it has its
/// own words for what is no JSON, reads what is not UTF-8, and decides which of two members of one name counts.
fn parse(row: &mut RowMut<'_>) -> Result<(), Halt> {
    match row.parse_message_shape() {
        Ok(shape) if shape.is_plain() => Ok(()),
        Ok(_) | Err(_) => Err(Halt::Defer),
    }
}
