//! [`Cells`]: per row of a node, how many ticket rows are still awaited and the worst outcome so far.
//!
//! Run-length coded: neighbours in the same state share a cell, so settling a whole branch of a fork touches one cell
//! whatever its size, and the cells never outnumber the rows.

use crate::outcome::{Nack, Outcome};

use super::part::rows_u32;
use super::runs::{Run, Runs};
use super::verdict::{Verdict, outranks};

/// The state of all rows of a node.
pub(super) struct Cells {
    /// Covers every row, in order, without gaps.
    list: Vec<Cell>,
    /// Cleared; takes the updated list in the next pass.
    spare: Vec<Cell>,
    /// The nacks that cells refer to; a cell keeps the first of the worst kind that its rows met.
    nacks: Vec<Nack>,
}

/// Rows in the same state.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Cell {
    start: u32,
    len: u32,
    awaited: u64,
    worst: Outcome,
    /// Index of a nack, or [`NO_NACK`].
    nack: u32,
}

const NO_NACK: u32 = u32::MAX;

/// Rows that the last awaited ticket row has just settled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) verdict: Verdict,
}

impl Cell {
    const fn end(&self) -> u32 {
        self.start + self.len
    }

    fn same_state(&self, other: &Self) -> bool {
        self.awaited == other.awaited && self.worst == other.worst && self.nack == other.nack
    }
}

impl Cells {
    /// Rows `0 ..` awaited as `awaited` says: runs in row order, without gaps.
    pub(super) fn new(awaited: &Runs) -> Self {
        let list = awaited
            .iter()
            .map(|run| Cell {
                start: run.start,
                len: run.len,
                awaited: u64::from(run.times),
                worst: Outcome::Filtered,
                nack: NO_NACK,
            })
            .collect();
        Self { list, spare: Vec::new(), nacks: Vec::new() }
    }

    /// Whether no row is awaited any more.
    pub(super) fn all_finished(&self) -> bool {
        self.list.iter().all(|cell| cell.awaited == 0)
    }

    /// More ticket rows stand for these rows.
    ///
    /// # Panics
    /// Where a row is finished already.
    pub(super) fn await_more(&mut self, gained: &Runs) {
        self.update(gained, |cell, times| {
            assert!(cell.awaited > 0, "a row that is finished cannot be forked or expanded: {cell:?}");
            cell.awaited += times;
        });
    }

    /// These ticket rows ended as `verdict` says. Returns the rows that are finished now.
    ///
    /// # Panics
    /// Where more ticket rows settle than were awaited.
    pub(super) fn settle(&mut self, runs: &Runs, verdict: &Verdict) -> Vec<Finished> {
        let mut finished = Vec::new();
        let mut nacks = std::mem::take(&mut self.nacks);
        let kept = nacks.len();
        self.update(runs, |cell, times| {
            assert!(cell.awaited >= times, "rows settled twice: {times} more of {cell:?}");
            cell.awaited -= times;
            cell.worst = cell.worst.max(verdict.outcome());
            if let Some(nack) = verdict.nack() {
                cell.nack = worst_nack(&mut nacks, kept, cell.nack, nack);
            }
            if cell.awaited == 0 {
                push_finished(&mut finished, cell, nacks.get(cell.nack as usize));
                // Finished rows look alike, so that their cells join.
                (cell.worst, cell.nack) = (Outcome::Filtered, NO_NACK);
            }
        });
        self.nacks = nacks;
        finished
    }

    /// Applies `change` to exactly the rows of `runs`, cell by cell.
    ///
    /// One run touches its own cells only. Several runs in row order, as a filter leaves them, take one pass over all
    /// cells: cutting the list for each of them would cost the square.
    fn update(&mut self, runs: &Runs, mut change: impl FnMut(&mut Cell, u64)) {
        if runs.is_sorted() {
            self.update_in_one_pass(runs, change);
        } else {
            runs.iter().for_each(|run| self.update_run(run, |cell| change(cell, u64::from(run.times))));
        }
    }

    fn update_in_one_pass(&mut self, runs: &Runs, mut change: impl FnMut(&mut Cell, u64)) {
        let cells = std::mem::take(&mut self.list);
        let mut updated: Vec<Cell> = std::mem::take(&mut self.spare);
        let mut runs = runs.iter();
        let mut run = runs.next();
        for cell in &cells {
            let mut start = cell.start;
            while start < cell.end() {
                // Up to the next border of a run, all rows of the cell share their fate.
                let (border, times) = match run {
                    Some(run) if start >= run.start => (run.start + run.len, run.times),
                    Some(run) => (run.start, 0),
                    None => (u32::MAX, 0),
                };
                let len = border.min(cell.end()) - start;
                // Changed in place: copying what was just written in parts would cost more than the change.
                updated.push(Cell { start, len, awaited: cell.awaited, worst: cell.worst, nack: cell.nack });
                if let Some(piece) = updated.last_mut().filter(|_| times > 0) {
                    change(piece, u64::from(times));
                }
                if let [.., before, piece] = &mut updated[..]
                    && before.same_state(piece)
                {
                    before.len += piece.len;
                    updated.pop();
                }
                start += len;
                if run.is_some_and(|run| run.start + run.len <= start) {
                    run = runs.next();
                }
            }
        }
        (self.list, self.spare) = (updated, cells);
        self.spare.clear();
    }

    fn update_run(&mut self, run: Run, mut change: impl FnMut(&mut Cell)) {
        let end = run.start + run.len;
        let first = self.cut(run.start);
        let after = self.cut(end);
        for cell in &mut self.list[first..after] {
            change(cell);
        }
        self.join(first, after);
    }

    /// Makes a cell begin at `row` and returns its index (the number of cells where `row` is the end).
    fn cut(&mut self, row: u32) -> usize {
        let at = self.list.partition_point(|cell| cell.end() <= row);
        let Some(cell) = self.list.get_mut(at).filter(|cell| cell.start < row) else {
            return at;
        };
        let rest = Cell { start: row, len: cell.end() - row, ..*cell };
        cell.len = row - cell.start;
        self.list.insert(at + 1, rest);
        at + 1
    }

    /// Joins neighbours in the same state among the cells `first .. after` and the two beside them.
    fn join(&mut self, first: usize, after: usize) {
        let (from, to) = (first.saturating_sub(1), (after + 1).min(self.list.len()));
        let mut kept = from;
        for at in from + 1..to {
            if self.list[kept].same_state(&self.list[at]) {
                self.list[kept].len += self.list[at].len;
            } else {
                kept += 1;
                self.list[kept] = self.list[at];
            }
        }
        self.list.drain((kept + 1).min(to)..to);
    }
}

/// Adds the rows of `cell` to the finished ones, joined with the rows before where both ended alike.
fn push_finished(finished: &mut Vec<Finished>, cell: &Cell, nack: Option<&Nack>) {
    if let Some(last) = finished.last_mut()
        && last.start + last.len == cell.start
        && last.verdict.outcome() == cell.worst
        && last.verdict.nack() == nack
    {
        last.len += cell.len;
        return;
    }
    let verdict = Verdict::new(cell.worst, nack.cloned());
    finished.push(Finished { start: cell.start, len: cell.len, verdict });
}

/// The nack a row keeps when it meets `next`. `next` is stored at index `fresh` the first time a row needs it.
fn worst_nack(nacks: &mut Vec<Nack>, fresh: usize, kept: u32, next: &Nack) -> u32 {
    if !outranks(next.kind, nacks.get(kept as usize).map(|nack| nack.kind)) {
        return kept;
    }
    if nacks.last() == Some(next) {
        return rows_u32(nacks.len() - 1);
    }
    debug_assert_eq!(nacks.len(), fresh, "one nack is stored at most once per call");
    nacks.push(next.clone());
    rows_u32(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u32, len: u32, times: u32) -> Runs {
        Runs::one(Run { start, len, times })
    }

    fn ends(finished: &[Finished]) -> Vec<(u32, u32, Outcome)> {
        finished.iter().map(|row| (row.start, row.len, row.verdict.outcome())).collect()
    }

    #[test]
    fn a_whole_branch_touches_one_cell() {
        let mut cells = Cells::new(&run(0, 1_000_000, 2));
        assert_eq!(cells.settle(&run(0, 1_000_000, 1), &Outcome::Delivered.into()), []);
        assert_eq!(cells.list.len(), 1);
        let finished = cells.settle(&run(0, 1_000_000, 1), &Outcome::Filtered.into());
        assert_eq!(ends(&finished), [(0, 1_000_000, Outcome::Delivered)], "worst of the two");
        assert!(cells.all_finished());
    }

    #[test]
    fn rows_finish_one_by_one_and_their_cells_join_again() {
        let mut cells = Cells::new(&run(0, 6, 2));
        for row in [4, 0, 2, 1, 5, 3] {
            assert_eq!(cells.settle(&run(row, 1, 1), &Outcome::Shed.into()), []);
        }
        assert_eq!(cells.list.len(), 1, "all rows are in the same state");
        for row in [3, 2, 5, 0, 1, 4] {
            let finished = cells.settle(&run(row, 1, 1), &Outcome::Delivered.into());
            assert_eq!(ends(&finished), [(row, 1, Outcome::Shed)]);
        }
        assert_eq!(cells.list.len(), 1);
    }

    #[test]
    fn each_row_keeps_its_own_nack() {
        let mut cells = Cells::new(&run(0, 3, 2));
        cells.settle(&run(0, 2, 1), &Nack::transient("slow").into());
        cells.settle(&run(1, 1, 1), &Nack::permanent("bad").into());
        let finished = cells.settle(&run(0, 1, 1), &Outcome::Delivered.into());
        assert_eq!(finished[0].verdict, Nack::transient("slow").into());
        let finished = cells.settle(&run(2, 1, 2), &Outcome::Delivered.into());
        assert_eq!(finished[0].verdict, Outcome::Delivered.into());
    }

    #[test]
    #[should_panic(expected = "rows settled twice")]
    fn settling_more_than_was_awaited_panics() {
        let mut cells = Cells::new(&run(0, 3, 1));
        cells.settle(&run(1, 1, 2), &Outcome::Delivered.into());
    }

    #[test]
    #[should_panic(expected = "finished cannot be forked")]
    fn a_finished_row_cannot_be_awaited_again() {
        let mut cells = Cells::new(&run(0, 3, 1));
        cells.settle(&run(1, 1, 1), &Outcome::Delivered.into());
        cells.await_more(&run(1, 1, 1));
    }
}
