//! How a batch enters an edge: admission, claims, and what the policy does with a batch that does not fit.

use super::Load;
use super::claims::{Claim, ProducerId, Watch};
use super::core::Queue;
use super::lanes::Entry;
use super::policy::{OnFull, SampleRate};
use crate::ledger::ShedReason;
use crate::time::Time;
use crate::units::{Records, Weight};

/// What became of a batch that was offered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is in the edge; the slot is empty.
    Admitted,
    /// It was shed and settled; the slot is empty.
    Shed(ShedReason),
    /// There was nothing to send: the slot was empty, or its batch had no rows (and is dropped).
    Nothing,
    /// It is still in the slot, and its producer has a claim.
    Waiting(Want),
    /// It is still in the slot: there is no room, and the policy is not to wait here.
    Full,
    /// It is still in the slot: the edge takes no more in.
    Closed,
    /// It is still in the slot. Victims were taken out, whose memory it needs: drop them ([`Queue::gone`]) and offer it
    /// again, at once.
    Again,
}

/// What a claim waits for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Room in the edge.
    Credit,
    /// Memory: there is room, but the budget refused.
    Budget,
}

/// Asks the budget for the memory of a batch that has room in the edge: charges it to the edge's account and says
/// whether that worked. A refusal counts as full.
pub(super) type Charge<'a, B> = &'a mut dyn FnMut(&mut B) -> bool;

/// A batch at the door.
#[derive(Copy, Clone)]
struct Ask {
    now: Time,
    id: ProducerId,
    lane: usize,
    weight: Weight,
}

impl<B: Load> Queue<B> {
    /// Offers the batch in `slot`. It leaves the slot only if it is admitted or shed.
    ///
    /// `lane` overrides the lane of the batch. On an edge that blocks, a batch that does not fit leaves a claim; offer
    /// the same batch again when woken, or [`cancel`](Queue::cancel).
    #[inline]
    pub fn offer(
        &mut self,
        now: Time,
        id: ProducerId,
        lane: Option<u8>,
        slot: &mut Option<B>,
        charge: &mut dyn FnMut(&mut B) -> bool,
    ) -> Offer {
        let ask = match self.ask(now, id, lane, slot) {
            Ok(ask) => ask,
            Err(answer) => return answer,
        };
        match self.settle_claim(id, ask.lane, ask.weight) {
            Claim::None => self.offer_fresh(ask, slot, charge),
            Claim::Granted { .. } => self.redeem(ask, slot, charge),
            Claim::Waiting { refused: false, .. } => Offer::Waiting(Want::Credit),
            // The producer was woken by the budget, or by nobody: ask again.
            Claim::Waiting { refused: true, .. } => self.retry_refused(ask, slot, charge),
        }
    }

    /// Like [`offer`](Queue::offer), but leaves no claim: where `offer` would wait, this says [`Offer::Full`].
    /// It looks at the true fill, and does not overtake claims.
    pub fn try_offer(
        &mut self,
        now: Time,
        id: ProducerId,
        lane: Option<u8>,
        slot: &mut Option<B>,
        charge: &mut dyn FnMut(&mut B) -> bool,
    ) -> Offer {
        let ask = match self.ask(now, id, lane, slot) {
            Ok(ask) => ask,
            Err(answer) => return answer,
        };
        match self.settle_claim(id, ask.lane, ask.weight) {
            Claim::Granted { .. } => self.redeem(ask, slot, charge),
            Claim::Waiting { .. } => {
                self.withdraw(id);
                self.offer_or_full(ask, slot, charge)
            }
            Claim::None if matches!(self.when_full, OnFull::Block { .. }) => self.offer_or_full(ask, slot, charge),
            Claim::None => self.offer_fresh(ask, slot, charge),
        }
    }

    /// Counts a batch that its producer gave to another edge because this one was full.
    pub fn count_diverted(&mut self, records: Records) {
        self.flows.input += records;
        self.flows.diverted += records;
    }

    /// Counts records that could not even be offered, because their producer had no memory for them.
    pub fn count_unpaid(&mut self, records: Records) {
        self.flows.input += records;
        self.flows.count_shed(ShedReason::Memory, records);
    }

    #[inline]
    fn ask(&mut self, now: Time, id: ProducerId, lane: Option<u8>, slot: &mut Option<B>) -> Result<Ask, Offer> {
        if self.claims.watching() > 0 {
            self.claims.set_watch(id, Watch::Nothing);
        }
        let Some(load) = slot.as_ref() else {
            self.cancel(now, id);
            return Err(Offer::Nothing);
        };
        if self.is_ended() {
            return Err(Offer::Closed);
        }
        if load.is_empty() {
            self.gone.extend(slot.take());
            self.cancel(now, id);
            return Err(Offer::Nothing);
        }
        let lane = self.lanes.index(lane.unwrap_or_else(|| load.lane()));
        Ok(Ask { now, id, lane, weight: load.weight() })
    }

    #[inline]
    fn offer_fresh(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        match self.when_full {
            OnFull::Block { .. } => self.offer_or_claim(ask, slot, charge),
            OnFull::DropNewest => match self.offer_or_full(ask, slot, charge) {
                Offer::Full => self.shed(ask, slot, ShedReason::DropNewest),
                done => done,
            },
            OnFull::DropOldest => self.offer_or_evict(ask, slot, charge),
            OnFull::Sample(rate) => self.offer_sampled(rate, ask, slot, charge),
            OnFull::Fail | OnFull::Divert => self.offer_or_full(ask, slot, charge),
        }
    }

    /// `block`: in, or a claim.
    #[inline]
    fn offer_or_claim(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        if self.claims.waits_in(ask.lane) || !self.admits(ask.lane, ask.weight) {
            self.claims.claim(ask.id, ask.lane, ask.weight);
            self.look_refused(ask.now);
            return Offer::Waiting(Want::Credit);
        }
        let answer = self.enter_or_claim(ask, slot, charge);
        if answer == Offer::Admitted {
            self.claims.note_served(ask.lane, ask.weight);
        }
        answer
    }

    /// The credit for the batch is reserved: in, if the budget agrees.
    fn redeem(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        self.claims.redeem(ask.id);
        self.enter_or_claim(ask, slot, charge)
    }

    /// The budget refused the batch before: in, if there is still room and the budget agrees now. It had its turn, so
    /// who has come to wait since then, in whatever lane, does not go before it.
    fn retry_refused(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        let has_room = self.fits(ask.lane, ask.weight);
        self.claims.cancel(ask.id);
        if !has_room {
            self.claims.claim_first(ask.id, ask.lane, ask.weight, false);
            // It waits for room now and bars nobody any more.
            self.starved = false;
            self.spread();
            return Offer::Waiting(Want::Credit);
        }
        if !self.enter(ask, slot, charge) {
            self.claims.claim_first(ask.id, ask.lane, ask.weight, true);
            return Offer::Waiting(Want::Budget);
        }
        self.claims.note_served(ask.lane, ask.weight);
        self.starved = false;
        self.spread();
        Offer::Admitted
    }

    /// There is credit for the batch: in, if the budget agrees.
    #[inline]
    fn enter_or_claim(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        if self.enter(ask, slot, charge) {
            return Offer::Admitted;
        }
        self.claims.claim_first(ask.id, ask.lane, ask.weight, true);
        self.starved = true;
        self.look_refused(ask.now);
        Offer::Waiting(Want::Budget)
    }

    /// In, or [`Offer::Full`] by the true fill.
    fn offer_or_full(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        if !self.claims.waits_in(ask.lane) && self.admits_by_true_fill(ask) && self.enter(ask, slot, charge) {
            self.claims.note_served(ask.lane, ask.weight);
            return Offer::Admitted;
        }
        self.look_refused(ask.now);
        Offer::Full
    }

    /// `drop_oldest`: in, after as many victims as it takes; or itself the victim. Room is there as soon as a victim is
    /// out, memory only when it is dropped, and that is not done here.
    fn offer_or_evict(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        if !self.admits_by_true_fill(ask) && !self.would_fit_after_evicting(ask) {
            self.look_refused(ask.now);
            return self.shed(ask, slot, ShedReason::DropOldest);
        }
        loop {
            if self.admits_by_true_fill(ask) {
                if self.enter(ask, slot, charge) {
                    return Offer::Admitted;
                }
                if !self.gone.is_empty() {
                    return Offer::Again;
                }
            }
            let Some(mut victim) = self.lanes.evict(ask.lane, self.credit.window()) else { break };
            self.credit.consume(victim.weight);
            self.flows.count_shed(ShedReason::DropOldest, victim.weight.records);
            victim.load.settle_shed(ShedReason::DropOldest);
            self.gone.push(victim.load);
            self.look_refused(ask.now);
        }
        self.look_refused(ask.now);
        self.shed(ask, slot, ShedReason::DropOldest)
    }

    /// `sample`: shed by the sampler, or in if there is room.
    fn offer_sampled(&mut self, rate: SampleRate, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> Offer {
        let fill = (self.credit.fill(), self.credit.window());
        let keep = self.sampler.keeps(rate, self.gauge.marks(), fill, ask.weight.records);
        if keep && self.offer_or_full(ask, slot, charge) == Offer::Admitted {
            return Offer::Admitted;
        }
        self.shed(ask, slot, ShedReason::Sample)
    }

    /// Like [`Queue::admits`], but with everything granted that could be: what is consumed and not yet granted is room
    /// too. Half-granting is there to save wake-ups, not to shed.
    fn admits_by_true_fill(&mut self, ask: Ask) -> bool {
        if self.admits(ask.lane, ask.weight) {
            return true;
        }
        self.credit.grant() && self.admits(ask.lane, ask.weight)
    }

    /// Whether taking out every possible victim would make room, so that none is taken out in vain.
    fn would_fit_after_evicting(&self, ask: Ask) -> bool {
        let window = self.credit.window();
        let victims = self.lanes.evictable(ask.lane, window);
        let fill = self.credit.fill();
        if victims == fill {
            return true;
        }
        let kept = self.lanes.kept_free(ask.lane, window, self.claims.reserved_by_lane());
        let limit = self.credit.limit().saturating_sub(self.credit.consumed()).max(window);
        (fill.saturating_sub(victims) + kept + ask.weight).fits(limit)
    }

    /// Puts the batch in, if the budget agrees. The caller has made sure that there is room.
    #[inline]
    fn enter(&mut self, ask: Ask, slot: &mut Option<B>, charge: Charge<'_, B>) -> bool {
        if !slot.as_mut().is_some_and(charge) {
            return false;
        }
        let Some(load) = slot.take() else { return false };
        if self.is_vacant() {
            // Only a batch that is larger than the window may ever exceed the limit.
            self.credit.grant();
        }
        let fits = self.credit.fits(self.claims.reserved() + ask.weight) || self.is_vacant();
        assert!(fits, "edge {:?}: {} entered without credit", self.name, ask.weight);
        self.credit.send(ask.weight);
        if !cfg!(tidegate_unmetered) {
            self.flows.input += ask.weight.records;
        }
        self.lanes.push(ask.lane, Entry { load, weight: ask.weight, at: ask.now });
        self.wake_consumer();
        self.look(ask.now);
        true
    }

    fn shed(&mut self, ask: Ask, slot: &mut Option<B>, reason: ShedReason) -> Offer {
        if let Some(mut load) = slot.take() {
            self.flows.input += ask.weight.records;
            self.flows.count_shed(reason, ask.weight.records);
            load.settle_shed(reason);
            self.gone.push(load);
        }
        Offer::Shed(reason)
    }
}
