//! [`Known`]: the ids of records that a state has, so that none is counted in twice when it is read again.
//!
//! Kept as runs of numbers for each stream: where records come in order, and none is filtered before, one run is a
//! stream. A gap is never closed without its records: one of them may have been overtaken and still come. Where there are
//! too many runs the oldest are forgotten: such a record, read again, counts twice; never is one taken for known that is
//! not.

use std::collections::HashMap;

use tidegate_record::{RecordId, StreamId};

use super::{Put, Take};

/// The most runs, over all streams, and the most streams.
pub(crate) const MOST_RUNS: usize = 16_384;
const MOST_STREAMS: usize = 2_048;

/// The most that it takes in memory: the vectors double.
pub(crate) const KNOWN_BYTES: usize = 2 * MOST_RUNS * size_of::<Run>() + MOST_STREAMS * 128;

/// The most that it takes in a checkpoint.
pub(crate) const SAVED_BYTES: usize = MOST_RUNS * 16 + MOST_STREAMS * 20 + 4;

/// Numbers `first .. end`.
type Run = (u64, u64);

/// The ids of records.
#[derive(Debug, Default)]
pub(crate) struct Known {
    streams: HashMap<StreamId, Stream>,
    runs: usize,
    touches: u64,
}

#[derive(Debug, Default)]
struct Stream {
    /// Ascending, with gaps between.
    runs: Vec<Run>,
    touched: u64,
}

impl Stream {
    /// The place of the run that has the number, or where it would be.
    fn find(&self, number: u64) -> Result<usize, usize> {
        let after = self.runs.partition_point(|(first, _)| *first <= number);
        match after.checked_sub(1).filter(|at| number < self.runs[*at].1) {
            Some(at) => Ok(at),
            None => Err(after),
        }
    }

    /// Adds a number that it does not have, before the run at `at`. Says how many runs more there are.
    fn add(&mut self, number: u64, at: usize) -> isize {
        let joins_before = at > 0 && self.runs[at - 1].1 == number;
        let joins_after = self.runs.get(at).is_some_and(|(first, _)| number.checked_add(1) == Some(*first));
        match (joins_before, joins_after) {
            (true, true) => {
                self.runs[at - 1].1 = self.runs[at].1;
                self.runs.remove(at);
                -1
            }
            (true, false) => {
                self.runs[at - 1].1 = number + 1;
                0
            }
            (false, true) => {
                self.runs[at].0 = number;
                0
            }
            (false, false) => {
                self.runs.insert(at, (number, number.saturating_add(1)));
                1
            }
        }
    }
}

impl Known {
    /// Whether it has the record.
    pub(crate) fn has(&self, id: RecordId) -> bool {
        let (stream, number) = place(id);
        self.streams.get(&stream).is_some_and(|stream| stream.find(number).is_ok())
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, id: RecordId) {
        let (name, number) = place(id);
        self.touches += 1;
        let stream = self.streams.entry(name).or_default();
        stream.touched = self.touches;
        if let Err(at) = stream.find(number) {
            let more = stream.add(number, at);
            self.runs = self.runs.saturating_add_signed(more);
        }
        if self.runs > MOST_RUNS || self.streams.len() > MOST_STREAMS {
            self.forget(name);
        }
    }

    /// Forgets the streams that were longest without a record, a quarter of them, or of the only one the first quarter.
    fn forget(&mut self, current: StreamId) {
        if let (1, Some(stream)) = (self.streams.len(), self.streams.get_mut(&current)) {
            self.runs -= stream.runs.drain(..MOST_RUNS / 4).len();
            return;
        }
        let mut touched: Vec<u64> = self.streams.values().map(|stream| stream.touched).collect();
        touched.sort_unstable();
        let oldest = touched[(touched.len() - 1) / 4];
        self.streams.retain(|name, stream| *name == current || stream.touched > oldest);
        self.runs = self.streams.values().map(|stream| stream.runs.len()).sum();
    }

    pub(crate) fn put(&self, into: &mut Vec<u8>) {
        let mut streams: Vec<(&StreamId, &Stream)> = self.streams.iter().collect();
        streams.sort_unstable_by_key(|(_, stream)| stream.touched);
        into.put_u32(u32::try_from(streams.len()).unwrap_or(u32::MAX));
        for (name, stream) in streams {
            into.extend_from_slice(&name.bits().to_le_bytes());
            into.put_u32(u32::try_from(stream.runs.len()).unwrap_or(u32::MAX));
            for (first, end) in &stream.runs {
                into.put_u64(*first);
                into.put_u64(*end);
            }
        }
    }

    pub(crate) fn take(from: &mut Take<'_>) -> Option<Self> {
        let mut known = Self::default();
        for _ in 0..from.u32()? {
            let name = StreamId::from_bits(u128::from_le_bytes(from.bytes(16)?.try_into().ok()?));
            known.touches += 1;
            let mut stream = Stream { runs: Vec::new(), touched: known.touches };
            for _ in 0..from.u32()? {
                let run = (from.u64()?, from.u64()?);
                let follows = stream.runs.last().is_none_or(|(_, end)| *end < run.0);
                stream.runs.push(Some(run).filter(|(first, end)| follows && first < end)?);
            }
            known.runs += stream.runs.len();
            known.streams.insert(name, stream);
        }
        (known.runs <= MOST_RUNS && known.streams.len() <= MOST_STREAMS).then_some(known)
    }
}

/// Where a record is counted: the parts of one that became several in a stream of their own.
fn place(id: RecordId) -> (StreamId, u64) {
    match id.part {
        0 => (id.stream, id.number),
        part => {
            let (bits, number) = (id.stream.bits().to_le_bytes(), id.number.to_le_bytes());
            (StreamId::of(&[b"parts of", &bits, &number]), u64::from(part))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn id(stream: u128, number: u64) -> RecordId {
        RecordId::new(StreamId::from_bits(stream), number)
    }

    fn over(known: &Known) -> Known {
        let mut bytes = Vec::new();
        known.put(&mut bytes);
        assert!(bytes.len() <= SAVED_BYTES, "{}", bytes.len());
        let mut take = Take(&bytes);
        let again = Known::take(&mut take).unwrap();
        assert!(take.is_empty());
        again
    }

    #[test]
    fn it_is_a_set_in_whatever_order_records_come_and_over_a_checkpoint() {
        let (mut known, mut set, mut random) = (Known::default(), HashSet::new(), 7_u64);
        for round in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let record = id(u128::from(random >> 60), (random >> 33) % 700);
            assert_eq!(known.has(record), set.contains(&record), "{record}");
            known.add(record);
            set.insert(record);
            if round % 1_000 == 0 {
                known = over(&known);
            }
        }
        let runs: usize = known.streams.values().map(|stream| stream.runs.len()).sum();
        assert_eq!(known.runs, runs);
    }

    #[test]
    fn a_stream_in_order_is_one_run_and_parts_are_records_of_their_own() {
        let mut known = Known::default();
        (0..1_000).for_each(|number| known.add(id(1, number)));
        assert_eq!(known.runs, 1);
        assert!(!known.has(id(1, 5).part(1)));
        known.add(id(1, 5).part(1));
        assert!(known.has(id(1, 5).part(1)) && !known.has(id(1, 5).part(2)));
    }

    #[test]
    fn at_its_bounds_it_forgets_and_never_knows_what_it_was_not_told() {
        let mut known = Known::default();
        for number in 0..100_000 {
            assert!(!known.has(id(1, 2 * number)));
            known.add(id(1, 2 * number));
            assert!(known.runs <= MOST_RUNS && known.has(id(1, 2 * number)) && !known.has(id(1, 2 * number + 1)));
        }
        for stream in 0..5_000 {
            known.add(id(stream, 0));
        }
        assert!(known.streams.len() <= MOST_STREAMS && known.runs <= MOST_RUNS);
        assert!(known.has(id(4_999, 0)) && known.has(id(4_000, 0)) && !known.has(id(2, 0)));
        over(&known);
    }
}
