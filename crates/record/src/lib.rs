//! The records of the program: rows of bytes that stay in wire form from the read buffer to the write buffer.
//!
//! * [`Rows`] is the payload: a table of ranges into slabs, and a side buffer with the edits. [`Row`] reads one row,
//!   [`RowMut`] changes it: an edit is a splice that is made only when the row is written out, so key order and
//!   untouched bytes stay as they came.
//! * [`RecordId`] says by what a record is known, here and at the next program.
//! * [`json`] validates and searches JSON text without decoding it; [`Path`] says where.
//! * [`frame`] cuts a stream of bytes into rows; [`codec`] writes rows and compresses what is written.
//!
//! No I/O, no async, no clock: the time of a read is a field of its [`Origin`].

pub mod codec;
pub mod frame;
pub mod json;

mod edit;
mod envelope;
mod id;
mod origin;
mod path;
mod row;
mod rows;
mod time;

pub use edit::{Mark, NotAnObject, RowMut};
pub use id::{IdList, IdRun, InvalidIds, RecordId, StreamId, write_ids};
pub use origin::{JsonText, Origin};
pub use path::{INDEX_MAX, Key, Path, PathError, Segment};
pub use row::{Form, Row};
pub use rows::Rows;
pub use time::Timestamp;
