//! Applying the steps of a lowered program to a row.

use tidegate_record::RowMut;

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
                let text = row.as_row().get(from).map_or_else(|| b"null".to_vec(), |text| text.into_owned());
                row.set(to, &text);
            }
            Step::Move { to, from } => {
                let text = row.as_row().get(from).map_or_else(|| b"null".to_vec(), |text| text.into_owned());
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

/// Makes the message the record, if it is an object that everyone reads alike. Everything else is for VRL: it has its
/// own words for what is no JSON, reads what is not UTF-8, and decides which of two members of one name counts.
fn parse(row: &mut RowMut<'_>) -> Result<(), Halt> {
    match row.parse_message_shape() {
        Ok(shape) if shape.is_plain() => Ok(()),
        Ok(_) | Err(_) => Err(Halt::Defer),
    }
}
