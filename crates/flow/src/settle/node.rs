//! [`Node`]: where rows that became several (fork, expansion) or one (join) come together again.
//!
//! A node knows for each of its rows how many live ticket rows still stand for it, and the worst outcome so far. When
//! the last of them settles, the row settles at its origin. Forking or expanding rows that already belong to a node
//! raises those numbers in place (worst-of is associative), so only a join, or somebody who wants to hear of the rows
//! ([`Witness`]), ever stands above another node.

use crate::sync::{self, Mutex, lock};

use super::cells::{Cells, Finished};
use super::few::Few;
use super::part::{Part, Plain};
use super::runs::{Run, Runs};
use super::verdict::Verdict;

/// Rows that are waited for, and where they go when they are finished.
pub(super) struct Node {
    origin: Origin,
    cells: Mutex<Cells>,
    witness: Option<Watched>,
}

/// Hears how the rows of a ticket ended.
pub trait Witness: Send + Sync {
    /// The rows `first .. first + rows` of the ticket ended so, on all branches and with all that became of them. Called
    /// without any lock held, once for each row, and before their source hears of it.
    fn ended(&self, first: u32, rows: u32, verdict: &Verdict);
}

/// Who hears of the rows of a node, and which row of theirs the first is.
pub(super) struct Watched {
    pub(super) witness: std::sync::Arc<dyn Witness>,
    pub(super) base: u32,
}

/// What a finished row of the node means to those above.
enum Origin {
    /// Row `i` of the node is row `i` of these parts, written out.
    Rows(Few<Plain>),
    /// The node has one row; it stands for all rows of all these parts.
    Joint(Few<Part>),
    /// Row `i` of the node is row `i` of these rows of another, written out.
    Below(sync::Arc<Node>, Runs),
}

impl Node {
    /// A node over the rows of `origin`, each awaited as often as `awaited` says (in row order, without gaps).
    pub(super) fn over_rows(origin: Few<Plain>, awaited: &Runs) -> Self {
        Self { origin: Origin::Rows(origin), cells: Mutex::new(Cells::new(awaited)), witness: None }
    }

    /// A node over rows of another, each awaited once, of which somebody hears.
    pub(super) fn below(node: sync::Arc<Self>, runs: Runs, witness: Watched) -> Self {
        let awaited = Runs::one(Run { start: 0, len: runs.rows(), times: 1 });
        let cells = Mutex::new(Cells::new(&awaited));
        Self { origin: Origin::Below(node, runs), cells, witness: Some(witness) }
    }

    /// The same, and somebody hears of its rows.
    pub(super) fn watched(mut self, witness: Watched) -> Self {
        self.witness = Some(witness);
        self
    }

    /// A node of one row that stands for all of `origin` and is awaited `outputs` times.
    pub(super) fn joint(origin: Few<Part>, outputs: u32) -> Self {
        let awaited = Runs::one(Run { start: 0, len: 1, times: outputs });
        Self { origin: Origin::Joint(origin), cells: Mutex::new(Cells::new(&awaited)), witness: None }
    }

    /// More ticket rows now stand for these node rows. The caller holds a ticket for each of them, so none can
    /// finish meanwhile.
    pub(super) fn await_more(&self, gained: &Runs) {
        lock(&self.cells).await_more(gained);
    }

    /// These ticket rows ended. What is thereby finished settles at its origin, after the lock is released: until
    /// then it counts as in flight there.
    pub(super) fn settle(&self, runs: &Runs, verdict: &Verdict) {
        if runs.rows() == 0 {
            return;
        }
        let finished = lock(&self.cells).settle(runs, verdict);
        if let Some(Watched { witness, base }) = &self.witness {
            finished.iter().for_each(|rows| witness.ended(base + rows.start, rows.len, &rows.verdict));
        }
        match &self.origin {
            Origin::Below(node, above) => {
                for rows in finished {
                    let mut its = above.clone().split_off(rows.start);
                    drop(its.split_off(rows.len));
                    node.settle(&its, &rows.verdict);
                }
            }
            Origin::Rows(parts) => finish_rows(parts, finished),
            Origin::Joint(parts) => {
                for row in finished {
                    parts.iter().for_each(|part| part.settle(&row.verdict));
                }
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Whoever holds an awaited row holds this node too, so nothing can be awaited any more.
        debug_assert!(
            std::thread::panicking() || lock(&self.cells).all_finished(),
            "a node died with rows that nobody settled"
        );
    }
}

/// Settles finished rows at the parts they came from.
fn finish_rows(parts: &Few<Plain>, mut finished: Vec<Finished>) {
    finished.sort_unstable_by_key(|stretch| stretch.start);
    let mut finished = finished.into_iter().peekable();
    let mut base = 0;
    for part in parts.iter() {
        let end = base + part.count;
        while let Some(stretch) = finished.peek_mut().filter(|stretch| stretch.start < end) {
            let count = stretch.len.min(end - stretch.start);
            part.settle(count, &stretch.verdict);
            stretch.start += count;
            stretch.len -= count;
            if stretch.len == 0 {
                finished.next();
            }
        }
        base = end;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Witness;
    use crate::outcome::{Nack, Outcome};
    use crate::settle::{Ticket, Verdict, Window, WindowSpec};
    use crate::{Time, Weight};

    /// How each row ended, in order of that.
    #[derive(Default)]
    struct Heard(Mutex<Vec<(u32, Outcome)>>);

    impl Witness for Heard {
        fn ended(&self, first: u32, rows: u32, verdict: &Verdict) {
            self.0.lock().unwrap().extend((first..first + rows).map(|row| (row, verdict.outcome())));
        }
    }

    #[test]
    fn a_witness_hears_of_each_row_once_whatever_is_above_it_and_below() {
        let window = Window::new(WindowSpec::default()).unwrap();
        let open = |rows| window.try_open(0, Weight::new(rows, rows), Some(()), Time::ZERO).unwrap();
        let heard = Arc::new(Heard::default());
        let witness: Arc<dyn Witness> = heard.clone();
        // Rows 0 and 1 of a window, 2 and 3 of a branch of a fork, 4 of nobody.
        let mut branches = open(2).fork(2);
        let mut ticket = open(2);
        ticket.append(branches.pop().unwrap());
        ticket.append(Ticket::detached(1));
        let mut ticket = ticket.witnessed(&witness);
        assert_eq!(ticket.records(), 5);
        let taken = ticket.take_rows(&[1, 3]);
        assert_eq!((taken.records(), ticket.records()), (2, 3));
        ticket.settle_rows(&[1], Outcome::Filtered);
        let mut halves = ticket.fork(2);
        halves.pop().unwrap().settle(Outcome::Delivered);
        assert_eq!(*heard.0.lock().unwrap(), [(2, Outcome::Filtered)], "not before all branches have ended");
        halves.pop().unwrap().settle(Outcome::Shed);
        taken.nack(Nack::transient("later"));
        let mut rows = heard.0.lock().unwrap().clone();
        rows.sort_unstable();
        let (shed, returned) = (Outcome::Shed, Outcome::Returned);
        assert_eq!(rows, [(0, shed), (1, returned), (2, Outcome::Filtered), (3, returned), (4, shed)]);
        assert!(window.take_settled().is_none(), "the other branch of the fork has not ended");
        branches.pop().unwrap().settle(Outcome::Delivered);
        let counts = std::iter::from_fn(|| window.take_settled()).fold([0, 0, 0], |[shed, back, done], settled| {
            let of = |outcome| settled.counts.get(outcome).get();
            [shed + of(Outcome::Shed), back + of(Outcome::Returned), done + of(Outcome::Delivered)]
        });
        assert_eq!(counts, [1, 2, 1]);
    }
}
