//! [`Drr`]: deficit round-robin by bytes.
//!
//! M. Shreedhar and G. Varghese, "Efficient Fair Queueing Using Deficit Round-Robin" (1996). Between two flows that
//! are both waiting all the time, the bytes served differ by at most one quantum and two of the largest batches.
//! Rounds in which nobody could be served are skipped by arithmetic, so one pick costs at most two passes over the
//! waiting flows, however small the quantum.

use std::collections::VecDeque;

/// Who is next among numbered flows, each of which waits with one known cost at its head.
#[derive(Debug)]
pub(super) struct Drr {
    /// Flows that wait, in the order of their turns; the front has the turn if `turn` says so.
    ring: VecDeque<u16>,
    /// Bytes that a flow may still take; kept only while it waits or has the turn.
    deficit: Box<[u64]>,
    /// The flow whose turn it is. It may have left the ring for a moment ([`Drr::pause`]).
    turn: Option<u16>,
    quantum: u64,
}

impl Drr {
    pub(super) fn new(flows: usize, quantum: u64) -> Self {
        Self {
            ring: VecDeque::with_capacity(flows),
            deficit: vec![0; flows].into_boxed_slice(),
            turn: None,
            quantum: quantum.max(1),
        }
    }

    /// `id` starts to wait. If it still has the turn it goes on with it, otherwise it queues at the back with nothing.
    pub(super) fn join(&mut self, id: u16) {
        if self.turn == Some(id) {
            self.ring.push_front(id);
        } else {
            self.deficit[usize::from(id)] = 0;
            self.ring.push_back(id);
        }
    }

    /// `id` waits no more and gives up what is left of its turn.
    pub(super) fn leave(&mut self, id: u16) {
        self.pause(id);
        if self.turn == Some(id) {
            self.turn = None;
        }
        self.deficit[usize::from(id)] = 0;
    }

    /// `id`, just picked, waits no more, but keeps the turn if it is back before the next pick.
    pub(super) fn pause(&mut self, id: u16) {
        if self.ring.front() == Some(&id) {
            self.ring.pop_front();
        } else {
            self.ring.retain(|&waiting| waiting != id);
        }
    }

    /// `id` waits (again) for something that costs `cost`, and is next: it had its turn and was not served.
    pub(super) fn put_first(&mut self, id: u16, cost: u64) {
        self.pause(id);
        self.ring.push_front(id);
        self.turn = Some(id);
        self.deficit[usize::from(id)] = cost;
    }

    /// Whom [`pick`](Self::pick) would pick, without changing anything: who has the turn may still come back to it.
    pub(super) fn peek(&self, cost: impl Fn(u16) -> u64) -> Option<u16> {
        let has_turn = |id| self.turn == Some(id);
        let short = |&id: &u16| {
            let quantum = if has_turn(id) { 0 } else { self.quantum };
            cost(id).saturating_sub(self.deficit[usize::from(id)].saturating_add(quantum))
        };
        // The fewest further rounds until one can pay; among equals the first in the ring (`min_by_key` keeps it).
        self.ring.iter().min_by_key(|id| short(id).div_ceil(self.quantum)).copied()
    }

    /// Picks the flow that is served next and charges it; it stays at the front until it leaves or pauses.
    pub(super) fn pick(&mut self, cost: impl Fn(u16) -> u64) -> Option<u16> {
        let mut front = *self.ring.front()?;
        if self.turn != Some(front) {
            if let Some(gone) = self.turn.take() {
                self.deficit[usize::from(gone)] = 0;
            }
            self.begin_turn(front);
        }
        let mut passed = 0;
        loop {
            let price = cost(front);
            let deficit = &mut self.deficit[usize::from(front)];
            if *deficit >= price {
                *deficit -= price;
                return Some(front);
            }
            self.ring.rotate_left(1);
            passed += 1;
            if passed == self.ring.len() {
                self.skip_rounds(&cost);
            }
            front = *self.ring.front()?;
            self.begin_turn(front);
        }
    }

    fn give(&mut self, id: u16, bytes: u64) {
        let deficit = &mut self.deficit[usize::from(id)];
        *deficit = deficit.saturating_add(bytes);
    }

    fn begin_turn(&mut self, id: u16) {
        self.turn = Some(id);
        self.give(id, self.quantum);
    }

    /// Gives every flow the quanta of all the rounds in which nobody could be served.
    fn skip_rounds(&mut self, cost: &impl Fn(u16) -> u64) {
        let rounds = self
            .ring
            .iter()
            .map(|&id| cost(id).saturating_sub(self.deficit[usize::from(id)]).div_ceil(self.quantum))
            .min()
            .unwrap_or(0);
        let quanta = rounds.saturating_sub(1).saturating_mul(self.quantum);
        for index in 0..self.ring.len() {
            self.give(self.ring[index], quanta);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `rounds` picks among flows that always wait with a batch of the given cost.
    fn serve(costs: &[u64], quantum: u64, picks: usize) -> Vec<u64> {
        let mut drr = Drr::new(costs.len(), quantum);
        for id in 0..costs.len() {
            drr.join(u16::try_from(id).unwrap());
        }
        let mut served = vec![0; costs.len()];
        for _ in 0..picks {
            let id = drr.pick(|id| costs[usize::from(id)]).unwrap();
            served[usize::from(id)] += costs[usize::from(id)];
        }
        served
    }

    #[test]
    fn bytes_are_shared_whatever_the_sizes() {
        let costs = [10, 1000, 333];
        let served = serve(&costs, 500, 5000);
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        assert!(most - least <= 500 + 2 * 1000, "{served:?}");
    }

    #[test]
    fn a_quantum_far_below_the_cost_is_still_fair_and_cheap() {
        let served = serve(&[64 << 20, 32 << 20], 1, 9);
        assert_eq!(served, [3 * (64 << 20), 6 * (32 << 20)]);
    }

    #[test]
    fn a_flow_that_comes_back_in_time_goes_on_with_its_turn() {
        let mut drr = Drr::new(2, 100);
        drr.join(0);
        drr.join(1);
        let cost = |id| if id == 0 { 10 } else { 100 };
        let mut order = Vec::new();
        for _ in 0..22 {
            let id = drr.pick(cost).unwrap();
            order.push(id);
            drr.pause(id);
            drr.join(id);
        }
        assert_eq!(order[..11], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(order[11..], order[..11]);
    }

    #[test]
    fn a_flow_that_does_not_come_back_keeps_nothing() {
        let mut drr = Drr::new(2, 100);
        drr.join(0);
        drr.join(1);
        assert_eq!(drr.pick(|_| 10), Some(0));
        drr.pause(0);
        assert_eq!(drr.pick(|_| 10), Some(1));
        drr.join(0);
        assert_eq!(drr.deficit[0], 0);
    }

    #[test]
    fn peeking_tells_whom_picking_picks() {
        let costs: [u64; 4] = [10, 5000, 333, 70];
        let mut drr = Drr::new(costs.len(), 50);
        for id in 0..4 {
            drr.join(id);
        }
        for step in 0..2000_u16 {
            let cost = |id: u16| costs[usize::from(id)] + u64::from(step % 13);
            let wanted = drr.peek(cost);
            let id = drr.pick(cost).unwrap();
            assert_eq!(wanted, Some(id), "step {step}");
            match step % 5 {
                0 => drr.leave(id),
                _ => drr.pause(id),
            }
            drr.join(id);
        }
    }

    #[test]
    fn who_is_put_first_is_next() {
        let mut drr = Drr::new(2, 10);
        drr.join(0);
        drr.join(1);
        drr.put_first(1, 1000);
        assert_eq!(drr.peek(|_| 1000), Some(1));
        assert_eq!(drr.pick(|_| 1000), Some(1));
    }

    #[test]
    fn leaving_in_the_middle_of_a_turn_passes_it_on() {
        let mut drr = Drr::new(3, 100);
        for id in 0..3 {
            drr.join(id);
        }
        assert_eq!(drr.pick(|_| 60), Some(0));
        drr.leave(0);
        assert_eq!(drr.pick(|_| 60), Some(1));
        drr.leave(2);
        drr.leave(1);
        assert_eq!(drr.pick(|_| 60), None);
    }
}
