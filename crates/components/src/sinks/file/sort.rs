//! [`Sorter`]: which records of a batch go to which file, in memory of a known size.
//!
//! The records of a batch are sorted stretch by stretch: a stretch ends where the names in it have filled
//! [`NAMES_BYTES`]. Beside the names, a record costs [`ROW_BYTES`]: the number of its name, and its place among those of
//! its file.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use tidegate_flow::Nack;

use crate::Rows;
use crate::template::{RowClock, Template};

/// The most that the names in one stretch take, with what a table adds to each.
pub(super) const NAMES_BYTES: usize = 128 << 10;

/// What sorting takes for each record.
pub(super) const ROW_BYTES: usize = 2 * size_of::<u32>();

/// What a table takes for a name beside its text.
const NAME_BYTES: usize = 128;

/// The longest path that a system takes.
const LONGEST_PATH: usize = 4_096;

/// A record that goes to no file.
const NOWHERE: u32 = u32::MAX;

/// The records of one stretch, by files.
#[derive(Default)]
pub(super) struct Sorter {
    names: HashMap<Box<str>, u32>,
    names_bytes: usize,
    /// The number of the name of each record.
    of: Vec<u32>,
    /// The records, file by file.
    order: Vec<u32>,
    /// The file and the reason of the record refused last, which is mostly that of the next as well.
    refusal: Option<(String, Nack)>,
}

impl Sorter {
    /// Sorts the rows from `from` on, as far as there is memory for names: up to which row. Rows whose file has no name
    /// are refused.
    pub(super) fn sort(
        &mut self,
        rows: &Rows,
        from: usize,
        (template, clock): (&Template, &mut RowClock),
        refused: &mut Vec<(u32, Nack)>,
    ) -> usize {
        self.names.clear();
        self.names_bytes = 0;
        self.of.clear();
        let (mut name, mut last) = (String::new(), String::new());
        for number in from..rows.len() {
            name.clear();
            let cause = match template.render_path(rows.row(number), clock, &mut name) {
                Ok(()) if name.len() <= LONGEST_PATH => None,
                Ok(()) => Some(format!("the path \"{}\" becomes longer than a path may be", template.as_str())),
                Err(missing) => Some(format!("{missing}, which the path \"{}\" needs", template.as_str())),
            };
            if let Some(cause) = cause {
                refused.push((u32::try_from(number).unwrap_or(u32::MAX), self.refuse(cause)));
                self.of.push(NOWHERE);
                continue;
            }
            let known = match self.of.last() {
                Some(of) if *of != NOWHERE && name == last => Some(*of),
                _ => self.names.get(name.as_str()).copied(),
            };
            let Some(of) = known.or_else(|| self.add(&name)) else { return number };
            self.of.push(of);
            std::mem::swap(&mut name, &mut last);
        }
        rows.len()
    }

    /// The files of the stretch that was sorted last and began with row `from`, in the order of their first rows, each
    /// with where its rows are in what [`order`](Self::order) gives.
    pub(super) fn files(&mut self, from: usize) -> Vec<(Box<str>, Range<usize>)> {
        let mut files: Vec<(Box<str>, Range<usize>)> = vec![(Box::default(), 0..0); self.names.len()];
        for (name, of) in self.names.drain() {
            files[of as usize].0 = name;
        }
        let counted = self.of.iter().filter(|of| **of != NOWHERE);
        counted.clone().for_each(|of| files[*of as usize].1.end += 1);
        let mut at = 0;
        for (_, range) in &mut files {
            // Filled below, up to its end.
            let count = range.end;
            *range = at..at;
            at += count;
        }
        self.order.clear();
        self.order.resize(at, 0);
        for (of, number) in self.of.iter().zip(from..).filter(|(of, _)| **of != NOWHERE) {
            let range = &mut files[*of as usize].1;
            self.order[range.end] = u32::try_from(number).unwrap_or(u32::MAX);
            range.end += 1;
        }
        files
    }

    /// The rows of the stretch, file by file.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Gives back what it holds.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The number of a new name, where there is memory for it. There always is for the first.
    fn add(&mut self, name: &str) -> Option<u32> {
        let bytes = name.len() + NAME_BYTES;
        if !self.names.is_empty() && self.names_bytes + bytes > NAMES_BYTES {
            return None;
        }
        self.names_bytes += bytes;
        let number = u32::try_from(self.names.len()).unwrap_or(NOWHERE);
        self.names.insert(name.into(), number);
        Some(number)
    }

    fn refuse(&mut self, cause: String) -> Nack {
        match &self.refusal {
            Some((last, nack)) if *last == cause => nack.clone(),
            _ => {
                let nack = Nack::permanent(cause.clone());
                self.refusal = Some((cause, nack.clone()));
                nack
            }
        }
    }
}

/// The name of a file as a path.
pub(super) fn path(name: &str) -> &Path {
    Path::new(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Zone;

    /// The files of each stretch with the numbers of their rows, and the numbers that were refused.
    fn sorted(texts: &[String]) -> (Vec<Vec<(String, Vec<u32>)>>, Vec<u32>) {
        let mut rows = Rows::from_texts(texts);
        (0..rows.len()).for_each(|row| rows.row_mut(row).parse_message().unwrap());
        let (template, mut clock) = (Template::parse("d/{{ k }}").unwrap(), RowClock::new(Zone::Utc));
        let (mut sorter, mut refused, mut from, mut stretches) = (Sorter::default(), Vec::new(), 0, Vec::new());
        while from < rows.len() {
            let until = sorter.sort(&rows, from, (&template, &mut clock), &mut refused);
            let files = sorter.files(from);
            stretches
                .push(files.into_iter().map(|(name, at)| (name.into_string(), sorter.order()[at].to_vec())).collect());
            from = until;
        }
        (stretches, refused.into_iter().map(|(row, _)| row).collect())
    }

    #[test]
    fn rows_are_sorted_by_their_names_in_order() {
        let texts = ["a", "b", "", "a", "b", "b"];
        let json = |k: &&str| if k.is_empty() { "{}".to_owned() } else { format!("{{\"k\":\"{k}\"}}") };
        let (stretches, refused) = sorted(&texts.iter().map(json).collect::<Vec<_>>());
        let expected = vec![("d/a".to_owned(), vec![0, 3]), ("d/b".to_owned(), vec![1, 4, 5])];
        assert_eq!((stretches, refused), (vec![expected], vec![2]));
    }

    #[test]
    fn names_that_fill_their_memory_end_a_stretch_and_no_row_is_missed() {
        let text = |k: usize| format!("{{\"k\":\"{}{}\"}}", k % 500, "x".repeat(1_000));
        let (stretches, refused) = sorted(&(0..1_000).map(text).collect::<Vec<_>>());
        assert!(refused.is_empty() && stretches.len() > 2, "{} stretches", stretches.len());
        let bytes = |stretch: &Vec<(String, Vec<u32>)>| stretch.iter().map(|(name, _)| name.len()).sum::<usize>();
        assert!(stretches.iter().all(|stretch| bytes(stretch) <= NAMES_BYTES));
        let mut all: Vec<u32> = stretches.into_iter().flatten().flat_map(|(_, rows)| rows).collect();
        all.sort_unstable();
        assert_eq!(all, (0..1_000).collect::<Vec<_>>());
        assert_eq!(sorted(&[format!("{{\"k\":\"{}\"}}", "x".repeat(5_000))]).1, [0], "no path is that long");
    }
}
