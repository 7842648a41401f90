//! Who may go on: whether a batch has room, which claim gets free credit, and who is woken.

use super::Load;
use super::claims::{Claim, Gate, ProducerId, Watch};
use super::core::Queue;
use crate::units::Weight;

impl<B: Load> Queue<B> {
    /// Whether nothing is in the edge and nobody holds credit: such an edge admits a batch of any size.
    pub(super) fn is_vacant(&self) -> bool {
        self.lanes.is_empty() && self.claims.granted() == 0
    }

    /// Whether a batch may go in now, leaving aside claims of its own lane.
    pub(super) fn admits(&self, lane: usize, weight: Weight) -> bool {
        let window = self.credit.window();
        let reserved = self.claims.reserved_by_lane();
        let gate = self.claims.gate(lane, window);
        if gate == Gate::Shut {
            return false;
        }
        if gate == Gate::FloorOnly {
            let used = self.lanes.weight_of(lane) + reserved[lane];
            if !(used + weight).fits(self.lanes.floor(lane, window)) {
                return false;
            }
        }
        self.fits(lane, weight)
    }

    /// Whether there is credit for a batch, whoever else waits.
    pub(super) fn fits(&self, lane: usize, weight: Weight) -> bool {
        let kept = self.lanes.kept_free(lane, self.credit.window(), self.claims.reserved_by_lane());
        self.is_vacant() || self.credit.fits(self.claims.reserved() + kept + weight)
    }

    pub(super) fn has_room(&self, lane: Option<usize>, weight: Weight) -> bool {
        let open = |lane| !self.claims.waits_in(lane) && self.admits(lane, weight);
        match lane {
            Some(lane) => open(lane),
            None => (0..self.lanes.count()).any(open),
        }
    }

    /// Gives free credit to the claims that are next, and wakes those who watch for what has come.
    pub(super) fn spread(&mut self) {
        while self.claims.waiting() > 0 && !self.starved && self.grant_one() {}
        if self.claims.watching() > 0 {
            self.wake_watching();
        }
    }

    /// Grants the first claim that fits: the lane that is due, then the lanes by priority.
    fn grant_one(&mut self) -> bool {
        let due = self.claims.due(self.credit.window());
        let order = due.into_iter().chain(0..self.lanes.count());
        for lane in order {
            let Some((_, weight)) = self.claims.head(lane) else { continue };
            if !self.admits(lane, weight) {
                continue;
            }
            if self.is_vacant() {
                self.credit.grant();
            }
            if let Some(id) = self.claims.grant_head(lane) {
                self.claims.note_served(lane, weight);
                self.wakes.producers.push(id);
                return true;
            }
        }
        false
    }

    fn wake_watching(&mut self) {
        for id in self.claims.places() {
            let done = match self.claims.watch_of(id) {
                Watch::Nothing => false,
                Watch::Room { lane, weight } => self.has_room(lane, weight),
                Watch::Starving => self.is_starving(),
            };
            if done {
                self.claims.set_watch(id, Watch::Nothing);
                self.wakes.producers.push(id);
            }
        }
    }

    pub(super) fn wake_consumer(&mut self) {
        if self.parked {
            self.parked = false;
            self.wakes.consumer = true;
        }
    }

    /// Takes the claim of `id` back, and gives what it held or barred to others. The caller looks at the level when it
    /// is done: one step moves it once.
    pub(super) fn withdraw(&mut self, id: ProducerId) {
        if matches!(self.claims.claim_of(id), Claim::Waiting { refused: true, .. }) {
            // What the budget refused bars the others no longer.
            self.starved = false;
        }
        if self.claims.cancel(id) {
            self.spread();
        }
    }

    /// Whether `id` holds credit for a batch of this lane and weight. A claim for anything else is taken back.
    pub(super) fn settle_claim(&mut self, id: ProducerId, lane: usize, weight: Weight) -> Claim {
        let claim = self.claims.claim_of(id);
        match claim {
            Claim::Granted { lane: had, weight: was } | Claim::Waiting { lane: had, weight: was, .. }
                if (had, was) != (lane, weight) =>
            {
                self.withdraw(id);
                Claim::None
            }
            Claim::None | Claim::Granted { .. } | Claim::Waiting { .. } => claim,
        }
    }
}
