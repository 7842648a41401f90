//! Ids of records: the streams in which sources count (drawn, for what cannot be read again, or counted over the run), and
//! how they go from one program to the next over HTTP.

use std::hash::{BuildHasher as _, RandomState};

use tidegate_record::{RecordId, Rows, StreamId, write_ids};

use crate::clock::wall_time;

/// The header with the ids of the records of a request, as `write_ids` writes them.
pub(crate) const IDS_HEADER: &str = "tidegate-ids";

/// The longest value of it, in bytes: half of what common servers take for all headers together.
pub(crate) const IDS_MOST_BYTES: usize = 4 << 10;

/// The value of the header for these records; `None` where they have no ids. Where the ids of all of them are too long, it
/// is one for the whole: then only the very same request can be known again.
pub(crate) fn ids_header(rows: &Rows) -> Option<String> {
    let ids = || rows.iter().map(|row| row.id());
    write_ids(ids(), IDS_MOST_BYTES).or_else(|| {
        let whole = ids().try_fold(StreamId::of(&[b"request"]), |whole, id| {
            let RecordId { stream, number, part } = id?;
            let [whole, stream] = [whole, stream].map(|stream| stream.bits().to_le_bytes());
            Some(StreamId::of(&[&whole, &stream, &number.to_le_bytes(), &part.to_le_bytes()]))
        });
        let records = u32::try_from(rows.len()).ok().filter(|records| *records > 0)?;
        write_ids(
            (0..records)
                .zip(std::iter::repeat(whole?))
                .map(|(number, whole)| Some(RecordId::new(whole, number.into()))),
            IDS_MOST_BYTES,
        )
    })
}

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
    fn a_request_of_many_lone_records_has_an_id_as_a_whole() {
        let all: Vec<u32> = (0..10_000).collect();
        let rows = |step: u32, texts: u32| {
            let mut rows = Rows::from_texts((0..texts).map(|number| number.to_string()));
            rows.identify(RecordId::new(StreamId::from_bits(7), 500));
            let gone: Vec<u32> = all[..texts as usize].iter().copied().filter(|row| row % step != 0).collect();
            tidegate_flow::Payload::remove_rows(&mut rows, &gone);
            rows
        };
        let header = |rows: &Rows| ids_header(rows).unwrap();
        assert!(header(&rows(10, 10_000)).len() < 4_096, "a thousand records that are not neighbours");
        let (whole, again, other) = (header(&rows(2, 10_000)), header(&rows(2, 10_000)), header(&rows(3, 10_000)));
        assert!(whole == again && whole.ends_with(":0*5000") && other.ends_with(":0*3334"), "{whole} {other}");
        assert_ne!(whole.split(':').next(), other.split(':').next());
        assert_eq!(ids_header(&Rows::from_texts(["a"])), None);
        assert_eq!(ids_header(&Rows::default()), None);
    }

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
