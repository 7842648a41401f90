//! A junction that sends each record to the branches chosen for it: none, one or several.

use tidegate_flow::{Batch, Outcome, Share};

use super::{Arms, put_in_line};
use crate::clock::Clock;
use crate::context::StageContext;
use crate::edge::{Control, EdgeTx};
use crate::faults::{Faults, ask_rows};
use crate::handover::Handover;
use crate::stage::{Ended, Outlet, StageEnd};

/// The branches that a record takes, by number, below [`MAX`](Self::MAX).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchSet(u64);

impl BranchSet {
    /// The most branches that a junction can have.
    pub const MAX: usize = 64;

    /// No branch: the record settles as filtered.
    pub const NONE: Self = Self(0);

    /// One branch; none where there can be no such branch.
    #[must_use]
    pub const fn only(branch: usize) -> Self {
        if branch < Self::MAX { Self(1 << branch) } else { Self::NONE }
    }

    /// This set and one branch more.
    #[must_use]
    pub const fn with(self, branch: usize) -> Self {
        Self(self.0 | Self::only(branch).0)
    }

    /// Whether the branch is in the set.
    #[must_use]
    pub const fn contains(self, branch: usize) -> bool {
        self.0 & Self::only(branch).0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many branches.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The branches in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::MAX).filter(move |branch| self.contains(*branch))
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Says for each row of a payload which branches it takes.
pub trait Chooser<P>: Send + 'static {
    /// Pushes one set a row, in row order. A row without a set, and a branch that there is not, count as none. A panic
    /// costs the row whose set would have come next, and no other.
    fn choose(&mut self, payload: &P, choices: &mut Vec<BranchSet>);
}

impl<P: 'static> Chooser<P> for Box<dyn Chooser<P>> {
    fn choose(&mut self, payload: &P, choices: &mut Vec<BranchSet>) {
        (**self).choose(payload, choices);
    }
}

/// Sends every record to the branches chosen for it.
pub(crate) struct ChoiceOutlet<P: Share, C> {
    arms: Arms<P>,
    /// For each branch number the arm that it is; `None` where nobody takes it.
    arm_of: Vec<Option<usize>>,
    /// The branches that somebody takes.
    taken: BranchSet,
    chooser: C,
    choices: Vec<BranchSet>,
    faults: Faults,
    clock: Clock,
}

impl<P: Share, C: Chooser<P>> ChoiceOutlet<P, C> {
    /// `branches` in the order of their numbers; `None` where nobody takes one.
    pub(crate) fn new(branches: Vec<Option<EdgeTx<Batch<P>>>>, chooser: C, clock: Clock) -> Self {
        let (mut ends, mut arm_of, mut taken) = (Vec::new(), Vec::new(), BranchSet::NONE);
        for (number, branch) in branches.into_iter().enumerate() {
            arm_of.push(branch.is_some().then_some(ends.len()));
            if let Some(end) = branch {
                taken = taken.with(number);
                ends.push((end, true));
            }
        }
        let (choices, faults) = (Vec::new(), Faults::default());
        Self { arms: Arms::new(ends), arm_of, taken, chooser, choices, faults, clock }
    }

    fn choose(&mut self, batch: &mut Batch<P>, cx: &StageContext) {
        let Self { chooser, choices, faults, .. } = self;
        ask_rows(batch, choices, faults, cx, |payload, choices| chooser.choose(payload, choices));
        self.choices.resize(batch.records() as usize, BranchSet::NONE);
        let taken = self.taken;
        self.choices.iter_mut().for_each(|choice| *choice = choice.and(taken));
    }

    /// Puts each run of rows with the same branches in line for them; says how many rows took none.
    fn part(&mut self, batch: Batch<P>) -> u32 {
        let Self { arms: Arms(arms), arm_of, choices, .. } = self;
        let mut filtered = 0;
        let mut rest = Some(batch);
        let mut rows = choices.as_slice();
        while let (Some(mut piece), Some(first)) = (rest.take(), rows.first().copied()) {
            let run = rows.iter().take_while(|choice| **choice == first).count();
            rows = &rows[run..];
            if !rows.is_empty() {
                rest = Some(piece.split_off(u32::try_from(run).unwrap_or(u32::MAX)));
            }
            let mut lines = first.iter().filter_map(|branch| arm_of[branch]);
            match (first.len(), lines.next()) {
                (1, Some(arm)) => put_in_line(&mut arms[arm].waiting, piece),
                (0, _) | (_, None) => {
                    filtered += piece.records();
                    piece.settle(Outcome::Filtered);
                }
                (several, Some(arm)) => {
                    let lines = std::iter::once(arm).chain(lines);
                    piece.fork(several).into_iter().zip(lines).for_each(|(share, arm)| {
                        put_in_line(&mut arms[arm].waiting, share);
                    });
                }
            }
        }
        filtered
    }
}

impl<P: Share, C: Chooser<P>> Outlet<P> for ChoiceOutlet<P, C> {
    async fn ready(&mut self, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.ready().await
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        if let Some(batch) = slot {
            self.choose(batch, cx);
            if self.choices.iter().any(|choice| choice.len() > 1) {
                cx.take_charge(batch).await;
            }
        }
        if let Some(batch) = slot.take() {
            let records = batch.records();
            let filtered = self.part(batch);
            cx.count_lost(filtered as usize, 0);
            cx.count_sent(records - filtered);
        }
        self.arms.sent().await?;
        self.faults.heed(self.clock, cx).await
    }

    async fn control(&mut self, control: Control, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.control(control);
        Ok(())
    }

    async fn finish(&mut self, end: &StageEnd, _cx: &mut StageContext) -> Result<(), Ended> {
        self.arms.finish(end);
        Ok(())
    }

    fn hand_over(self, to: &mut Handover) {
        self.arms.hand_over(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_branches_is_a_set() {
        let set = BranchSet::only(0).with(63).with(63);
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (2, vec![0, 63]));
        assert!(set.contains(63) && !set.contains(1));
        assert!(BranchSet::only(64).is_empty() && !BranchSet::NONE.contains(64));
    }
}
