//! [`Runs`]: which rows of a node a ticket holds, run-length coded.
//!
//! Below a fork or an expansion rows have an identity, because a record is finished only when *its* rows are. A run
//! says "rows `start .. start + len` of the node, each `times` times in a row". An untouched branch of a fork is one
//! run whatever its size.

use super::few::Few;

/// Rows `start .. start + len` of a node, each `times` times in a row.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) times: u32,
}

impl Run {
    /// How many rows of the ticket this covers.
    pub(super) const fn rows(self) -> u32 {
        self.len * self.times
    }

    /// `self` followed by `next` as one run, where that is possible.
    fn joined(self, next: Self) -> Option<Self> {
        if self.times == next.times && self.start + self.len == next.start {
            return Some(Self { len: self.len + next.len, ..self });
        }
        if self.start == next.start && self.len == 1 && next.len == 1 {
            return Some(Self { times: self.times + next.times, ..self });
        }
        None
    }
}

/// An ordered list of runs. Ticket row `i` of it is the `i`-th row when the runs are written out.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    list: Few<Run>,
    rows: u32,
}

impl Runs {
    /// No rows.
    pub(super) const fn new() -> Self {
        Self { list: Few::new(), rows: 0 }
    }

    /// One run.
    pub(super) fn one(run: Run) -> Self {
        let mut runs = Self::new();
        runs.push(run);
        runs
    }

    /// How many ticket rows.
    pub(super) const fn rows(&self) -> u32 {
        self.rows
    }

    /// The runs in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Run> {
        self.list.iter().copied()
    }

    /// Whether there are several runs, in the order of the node's rows and without a row twice.
    pub(super) fn is_sorted(&self) -> bool {
        !self.list.is_single() && self.list.iter().is_sorted_by(|a, b| a.start + a.len <= b.start)
    }

    /// Adds a run at the end, joined with what it continues.
    pub(super) fn push(&mut self, run: Run) {
        if run.rows() == 0 {
            return;
        }
        self.rows += run.rows();
        let mut run = run;
        while let Some(last) = self.list.pop() {
            match last.joined(run) {
                Some(joined) => run = joined,
                None => {
                    self.list.push(last);
                    break;
                }
            }
        }
        self.list.push(run);
    }

    /// Adds all runs of `other` at the end.
    pub(super) fn append(&mut self, other: Self) {
        for run in other.list {
            self.push(run);
        }
    }

    /// Keeps the first `at` ticket rows and returns the rest.
    pub(super) fn split_off(&mut self, at: u32) -> Self {
        let (mut kept, mut rest) = (Self::new(), Self::new());
        let mut base = 0;
        for run in std::mem::take(self).list {
            let cut = at.saturating_sub(base).min(run.rows());
            kept.push_slice(run, 0, cut);
            rest.push_slice(run, cut, run.rows());
            base += run.rows();
        }
        *self = kept;
        rest
    }

    /// Removes the ticket rows whose numbers (ascending, distinct, each with `base` added) are listed and returns
    /// them.
    pub(super) fn take_rows(&mut self, picked: &[u32], base: u32) -> Self {
        let (mut kept, mut taken) = (Self::new(), Self::new());
        let mut picked = picked.iter().map(|row| row - base).peekable();
        let mut run_base = 0;
        for run in std::mem::take(self).list {
            let mut done = 0;
            while let Some(row) = picked.next_if(|row| *row < run_base + run.rows()) {
                let row = row - run_base;
                kept.push_slice(run, done, row);
                taken.push_slice(run, row, row + 1);
                done = row + 1;
            }
            kept.push_slice(run, done, run.rows());
            run_base += run.rows();
        }
        *self = kept;
        taken
    }

    /// Ticket row `i` becomes `counts[i]` rows (none zero). Returns what each node row gained, for its node to await.
    pub(super) fn widen(&mut self, counts: &[u32]) -> Self {
        let (mut wide, mut gained) = (Self::new(), Self::new());
        let mut counts = counts.iter();
        for run in std::mem::take(self).list {
            for start in run.start..run.start + run.len {
                let times = counts.by_ref().take(run.times as usize).sum::<u32>();
                wide.push(Run { start, len: 1, times });
                gained.push(Run { start, len: 1, times: times - run.times });
            }
        }
        *self = wide;
        gained
    }

    /// Adds the ticket rows `from .. to` of `run`.
    fn push_slice(&mut self, run: Run, from: u32, to: u32) {
        if from >= to {
            return;
        }
        let (mut first, skipped) = (from / run.times, from % run.times);
        let (last, tail) = (to / run.times, to % run.times);
        if first == last {
            self.push(Run { start: run.start + first, len: 1, times: tail - skipped });
            return;
        }
        if skipped > 0 {
            self.push(Run { start: run.start + first, len: 1, times: run.times - skipped });
            first += 1;
        }
        self.push(Run { start: run.start + first, len: last - first, times: run.times });
        self.push(Run { start: run.start + last, len: 1, times: tail });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The node row of each ticket row, written out.
    fn written_out(runs: &Runs) -> Vec<u32> {
        let rows: Vec<u32> = runs
            .iter()
            .flat_map(|run| (run.start..run.start + run.len).flat_map(move |row| vec![row; run.times as usize]))
            .collect();
        assert_eq!(rows.len(), runs.rows() as usize, "the cached number of rows");
        rows
    }

    fn sample() -> Runs {
        let mut runs = Runs::one(Run { start: 4, len: 3, times: 3 });
        runs.push(Run { start: 0, len: 2, times: 1 });
        runs.push(Run { start: 9, len: 1, times: 4 });
        runs
    }

    #[test]
    fn a_split_at_any_row_and_a_join_give_the_same_runs_back() {
        let whole = sample();
        for at in 0..=whole.rows() {
            let mut left = whole.clone();
            let right = left.split_off(at);
            assert_eq!(written_out(&left), written_out(&whole)[..at as usize], "left of {at}");
            assert_eq!(written_out(&right), written_out(&whole)[at as usize..], "right of {at}");
            left.append(right);
            assert_eq!(written_out(&left), written_out(&whole));
            assert_eq!(left.list.len(), whole.list.len(), "joined again at {at}");
        }
    }

    #[test]
    fn taking_rows_leaves_exactly_the_others() {
        let whole = sample();
        let all = written_out(&whole);
        for mask in 0u32..1 << all.len() {
            let picked: Vec<u32> = (0..whole.rows()).filter(|row| mask >> row & 1 == 1).collect();
            let (mut kept, shifted) = (whole.clone(), picked.iter().map(|row| row + 7).collect::<Vec<_>>());
            let taken = kept.take_rows(&shifted, 7);
            let expected: Vec<u32> = picked.iter().map(|row| all[*row as usize]).collect();
            assert_eq!(written_out(&taken), expected);
            let others: Vec<u32> =
                (0..whole.rows()).filter(|row| mask >> row & 1 == 0).map(|row| all[row as usize]).collect();
            assert_eq!(written_out(&kept), others);
        }
    }

    #[test]
    fn widening_counts_every_copy_of_a_node_row() {
        let mut runs = Runs::one(Run { start: 2, len: 2, times: 2 });
        let gained = runs.widen(&[1, 1, 3, 2]);
        assert_eq!(written_out(&runs), [2, 2, 3, 3, 3, 3, 3]);
        assert_eq!(written_out(&gained), [3, 3, 3]);
    }
}
