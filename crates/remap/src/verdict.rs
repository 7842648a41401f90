//! What became of each record of a batch. The transform that runs the program acts on it: it keeps, drops or reroutes
//! as its own options say.

/// What a program did with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The row holds the result.
    Kept,
    /// The program made the record a list: these JSON objects take the place of the row, which is unchanged. An empty
    /// list leaves nothing.
    Split(Vec<Vec<u8>>),
    /// The program said `abort`; the row is unchanged. With its message, or `aborted`.
    Aborted(String),
    /// The program failed; the row is unchanged. With the error, which names its place in the source in bytes.
    Failed(String),
}

/// What became of the records of one batch. Kept records cost nothing here.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    rows: usize,
    begun: usize,
    exceptions: Vec<(usize, Verdict)>,
}

impl Verdicts {
    /// Whether every record was kept.
    #[must_use]
    pub fn all_kept(&self) -> bool {
        self.exceptions.is_empty()
    }

    /// How many records there were.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The record that was begun last: where the program was when it panicked.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// The records that were not kept, by their numbers, in order.
    #[must_use]
    pub fn exceptions(&self) -> &[(usize, Verdict)] {
        &self.exceptions
    }

    /// What became of record `row`.
    #[must_use]
    pub fn of(&self, row: usize) -> &Verdict {
        match self.exceptions.binary_search_by_key(&row, |(number, _)| *number) {
            Ok(place) => &self.exceptions[place].1,
            Err(_) => &Verdict::Kept,
        }
    }

    pub(crate) fn reset(&mut self, rows: usize) {
        self.rows = rows;
        self.begun = 0;
        self.exceptions.clear();
    }

    pub(crate) fn begin(&mut self, row: usize) {
        self.begun = row;
    }

    pub(crate) fn push(&mut self, row: usize, verdict: Verdict) {
        if verdict != Verdict::Kept {
            self.exceptions.push((row, verdict));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_exception_was_kept() {
        let mut verdicts = Verdicts::default();
        verdicts.reset(3);
        verdicts.push(0, Verdict::Kept);
        assert!(verdicts.all_kept());
        verdicts.push(1, Verdict::Aborted("aborted".into()));
        assert_eq!((verdicts.of(0), verdicts.of(2)), (&Verdict::Kept, &Verdict::Kept));
        assert_eq!(verdicts.of(1), &Verdict::Aborted("aborted".into()));
        verdicts.reset(1);
        assert!(verdicts.all_kept() && verdicts.rows() == 1);
    }
}
