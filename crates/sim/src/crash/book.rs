//! [`Book`]: what was issued, what was acknowledged, what came out, when, and in which order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// What is known of one record.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) is_acked: bool,
    /// It was sent more than once, because nobody had answered.
    pub(super) is_sent_again: bool,
    /// When it was offered first, since the book was begun.
    pub(super) issued: Duration,
    /// How often it came out.
    pub(super) came: u16,
    /// When it came out first, since the book was begun.
    pub(super) first: Duration,
    /// When it came out once more.
    pub(super) second: Duration,
}

/// What sources and sinks note.
#[derive(Debug)]
pub(super) struct Book {
    begun: Instant,
    pub(super) known: Vec<Known>,
    pub(super) acked: u64,
    /// Different records that came out, and lines that are none of ours.
    pub(super) seen: u64,
    pub(super) foreign: Vec<String>,
    /// The newest record of each key that came out.
    newest: BTreeMap<u16, u64>,
    /// Records that came out for the first time behind a newer one of their key: those two.
    pub(super) disorder: Vec<(u64, u64)>,
    /// When something was done to the process or its sink: from, to.
    pub(super) disturbed: Vec<(Duration, Duration)>,
}

impl Book {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            begun,
            known: Vec::new(),
            acked: 0,
            seen: 0,
            foreign: Vec::new(),
            newest: BTreeMap::new(),
            disorder: Vec::new(),
            disturbed: Vec::new(),
        }
    }

    /// Time since it was begun.
    pub(super) fn time(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Numbers for so many records.
    pub(super) fn issue(&mut self, count: u64) -> Range<u64> {
        let first = self.issued();
        let issued = self.time();
        self.known.extend((0..count).map(|_| Known { issued, ..Known::default() }));
        first..first + count
    }

    pub(super) fn issued(&self) -> u64 {
        self.known.len() as u64
    }

    /// Issued and not seen.
    pub(super) fn unsettled(&self) -> u64 {
        self.issued() - self.seen
    }

    fn of(&mut self, ids: &Range<u64>) -> &mut [Known] {
        let at = |id: u64| usize::try_from(id).unwrap_or(usize::MAX).min(self.known.len());
        let range = at(ids.start)..at(ids.end);
        &mut self.known[range]
    }

    /// These are promised to arrive.
    pub(super) fn ack(&mut self, ids: &Range<u64>) {
        let mut more = 0;
        for known in self.of(ids) {
            more += u64::from(!std::mem::replace(&mut known.is_acked, true));
        }
        self.acked += more;
    }

    /// These are sent once more.
    pub(super) fn sent_again(&mut self, ids: &Range<u64>) {
        self.of(ids).iter_mut().for_each(|known| known.is_sent_again = true);
    }

    /// A line came out.
    pub(super) fn see(&mut self, line: &[u8]) {
        let time = self.time();
        let found = super::record::read(line)
            .and_then(|(id, key)| Some((id, key, self.known.get_mut(usize::try_from(id).ok()?)?)));
        let Some((id, key, known)) = found else {
            if self.foreign.len() < 10 {
                self.foreign.push(String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned());
            }
            return;
        };
        known.came = known.came.saturating_add(1);
        if known.came == 2 {
            known.second = time;
        }
        if known.came > 1 {
            return;
        }
        known.first = time;
        self.seen += 1;
        let newest = self.newest.entry(key).or_insert(id);
        if *newest > id {
            self.disorder.push((*newest, id));
        }
        *newest = id.max(*newest);
    }

    /// Something was done from this time on until now.
    pub(super) fn disturb(&mut self, from: Duration) {
        let to = self.time();
        self.disturbed.push((from, to));
    }

    /// Acknowledged and not seen.
    pub(super) fn missing(&self) -> impl Iterator<Item = u64> {
        (0_u64..).zip(&self.known).filter(|(_, known)| known.is_acked && known.came == 0).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::{record, wait};

    #[test]
    fn what_is_missing_what_is_twice_and_what_is_late_is_told_apart() {
        let mut book = Book::new(wait::now());
        let ids = book.issue(4);
        book.ack(&(0..3));
        let mut see = |id: u64| {
            let mut line = Vec::new();
            record::write(id, 1, &mut line);
            line.pop();
            book.see(&line);
        };
        [2, 2, 1].into_iter().for_each(&mut see);
        assert_eq!((ids, book.acked, book.seen, book.unsettled()), (0..4, 3, 2, 2));
        assert_eq!(book.missing().collect::<Vec<_>>(), [0]);
        assert_eq!((book.known[2].came, book.disorder.as_slice()), (2, &[(2, 1)][..]));
        book.see(b"nonsense");
        assert_eq!(book.foreign, ["nonsense"]);
    }
}
