//! Streams in which sources number their records: drawn, for what cannot be read again, or counted over the run.

use std::hash::{BuildHasher as _, RandomState};

use tidegate_record::{RecordId, Rows, StreamId};

use crate::clock::wall_time;

/// A stream that there was never one like: 128 bits of hashes with keys that the system drew, of what it is for, the time
/// and the process.
pub(crate) fn fresh_stream(what: &str) -> StreamId {
    let seed = (what, wall_time().unix_nanos(), std::process::id());
    let [high, low] = [RandomState::new(), RandomState::new()].map(|keys| u128::from(keys.hash_one(seed)));
    StreamId::from_bits(high << 64 | low)
}

/// The numbers of a source that counts all its records in one stream.
#[derive(Debug)]
pub(crate) struct Counted {
    next: RecordId,
}

impl Counted {
    /// From zero in this stream.
    pub(crate) fn of(stream: StreamId) -> Self {
        Self { next: RecordId::new(stream, 0) }
    }

    /// From zero in a stream that was never: for records that cannot be read again.
    pub(crate) fn fresh(node: &str) -> Self {
        Self::of(fresh_stream(node))
    }

    /// Numbers the rows of one read, before any of them is removed. Costs nothing for each row.
    pub(crate) fn number(&mut self, rows: &mut Rows) {
        if !rows.is_empty() {
            rows.identify(self.next);
            self.next.number += rows.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_all_different_and_numbers_go_on() {
        assert_ne!(fresh_stream("a"), fresh_stream("a"));
        let mut counted = Counted::fresh("a");
        let mut numbers = Vec::new();
        for texts in [&["a", "b"][..], &[], &["c"]] {
            let mut rows = Rows::from_texts(texts);
            counted.number(&mut rows);
            numbers.extend(rows.iter().map(|row| row.id().map(|id| id.number)));
        }
        assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    }
}
