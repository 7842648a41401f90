//! The wall clock, read once for each batch that is read: the time in the envelope of its records.

use std::time::SystemTime;

use tidegate_record::Timestamp;

use crate::rehearsal;

/// The time of day. Never used to wait or to measure.
#[must_use]
pub fn wall_time() -> Timestamp {
    // tidy: allow(banned-calls): the envelope of a record says when it was read, in the time of day
    Timestamp::from(rehearsal::time_of_day(SystemTime::now()))
}
