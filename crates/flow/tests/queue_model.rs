//! The edge against a plain reference model, under random steps.
//!
//! The model keeps what any reader would write down: the list of batches in the edge, three sums of credit, and who
//! claims what. After each step it says what may and what must have happened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

mod queue_model {
    pub(crate) mod reference;
    pub(crate) mod steps;
}

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use queue_model::reference::{Held, Model};
use queue_model::steps::{Step, spec, step};
use tidegate_flow::queue::{Control, EdgeSpec, Level, Load, Offer, OnFull, ProducerId, Queue, ShedReason, Take, Want};
use tidegate_flow::{Records, Time, Weight};

/// How a batch ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Fate {
    Shed(ShedReason),
    /// Every row was past its deadline.
    Expired,
    Dropped,
}

type Fates = Rc<RefCell<Vec<(u64, Fate)>>>;

/// A batch that says how it ended.
#[derive(Debug)]
struct Item {
    number: u64,
    weight: Weight,
    lane: u8,
    bucket: u8,
    deadline: Option<Time>,
    /// Rows that expire at the deadline.
    mortal: u64,
    /// Out of the edge, or still with its producer: its drop means nothing.
    safe: bool,
    fates: Fates,
}

impl Load for Item {
    fn weight(&self) -> Weight {
        self.weight
    }
    fn lane(&self) -> u8 {
        self.lane
    }
    fn bucket(&self) -> u8 {
        self.bucket
    }
    fn earliest(&self) -> Option<Time> {
        self.deadline
    }
    fn settle_expired(&mut self, now: Time) -> Records {
        assert!(self.deadline.is_some_and(|at| at <= now), "asked before its time");
        let rows = self.mortal.min(self.weight.records.get());
        if rows == self.weight.records.get() {
            self.safe = true;
            self.fates.borrow_mut().push((self.number, Fate::Expired));
        }
        Records::new(rows)
    }
    fn drop_expired(&mut self, now: Time) {
        assert!(self.deadline.take().is_some_and(|at| at <= now), "asked before its time");
        self.weight.records -= Records::new(self.mortal.min(self.weight.records.get()));
    }
    fn settle_shed(&mut self, reason: ShedReason) {
        assert!(!self.safe);
        self.safe = true;
        self.fates.borrow_mut().push((self.number, Fate::Shed(reason)));
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if !self.safe {
            self.fates.borrow_mut().push((self.number, Fate::Dropped));
        }
    }
}

struct Bench {
    queue: Queue<Item>,
    model: Model,
    producers: Vec<ProducerId>,
    slots: Vec<Option<Item>>,
    /// Producers whose last offer left a claim that has not been granted.
    claiming: Vec<bool>,
    fates: Fates,
    fates_seen: usize,
    next: u64,
    now: Time,
    memory: bool,
    level: Level,
    transitions: u64,
}

impl Bench {
    fn new(spec: &EdgeSpec) -> Self {
        let mut queue = Queue::new(spec).unwrap();
        let producers = (0..4).map(|_| queue.add_producer().unwrap()).collect();
        Self {
            queue,
            model: Model::new(spec),
            producers,
            slots: (0..4).map(|_| None).collect(),
            claiming: vec![false; 4],
            fates: Fates::default(),
            fates_seen: 0,
            next: 0,
            now: Time::ZERO,
            memory: true,
            level: Level::Normal,
            transitions: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { who, records, bytes, lane, bucket, expires_in } => {
                let deadline = expires_in.map(|nanos| Time::from_nanos(self.now.as_nanos() + nanos));
                self.fill_slot(who, Weight::new(records, bytes), lane, bucket, deadline);
                self.offer(who, false);
            }
            Step::TrySend { who, records, bytes, lane } => {
                self.fill_slot(who, Weight::new(records, bytes), lane, 0, None);
                self.offer(who, true);
            }
            Step::Resend { who } if self.slots[who].is_some() => self.offer(who, false),
            Step::Resend { .. } => {}
            Step::Cancel { who } => {
                self.queue.cancel(self.now, self.producers[who]);
                self.claiming[who] = false;
                self.model.granted.remove(&who);
                self.after();
            }
            // One waker for each producer: it either claims or watches.
            Step::Room { who } if self.claiming[who] => {}
            Step::Room { who } => {
                self.queue.poll_room(self.producers[who], None, Weight::new(1, 1));
            }
            Step::Take => {
                self.take();
            }
            Step::TakeAll => while self.take() {},
            Step::Window { records, bytes } => {
                self.model.window = Weight::new(records, bytes);
                self.queue.set_window(self.now, self.model.window);
                self.after();
            }
            Step::Wait { nanos } => self.now = Time::from_nanos(self.now.as_nanos() + nanos),
            Step::Memory { free } => {
                self.memory = free;
                if free {
                    self.queue.budget_freed();
                }
                self.after();
            }
            Step::Control => self.queue.send_control(Control::Flush).unwrap(),
        }
    }

    fn fill_slot(&mut self, who: usize, weight: Weight, lane: u8, bucket: u8, deadline: Option<Time>) {
        if self.slots[who].is_none() {
            self.next += 1;
            let mortal = self.next % 3 * 2;
            let (number, fates) = (self.next, Rc::clone(&self.fates));
            self.slots[who] = Some(Item { number, weight, lane, bucket, deadline, mortal, safe: false, fates });
        }
    }

    fn offer(&mut self, who: usize, only_try: bool) {
        let item = self.slots[who].as_ref().unwrap();
        let bucket = usize::from(item.bucket) % usize::from(self.model.spec.buckets);
        let held = Held {
            number: item.number,
            who,
            lane: self.model.lane(item.lane),
            bucket,
            weight: item.weight,
            deadline: item.deadline,
            mortal: item.mortal,
        };
        let had_credit = self.model.granted.remove(&who).is_some();
        self.claiming[who] = false;
        let memory = self.memory;
        let mut asked = 0;
        let mut charge = |_: &mut Item| {
            asked += 1;
            memory
        };
        let (now, id, slot) = (self.now, self.producers[who], &mut self.slots[who]);
        let answer = loop {
            let answer = if only_try {
                self.queue.try_offer(now, id, None, slot, &mut charge)
            } else {
                self.queue.offer(now, id, None, slot, &mut charge)
            };
            let gone = self.queue.gone();
            assert!(gone.iter().all(|item| item.safe), "only what is settled is dropped");
            assert!(answer != Offer::Again || !gone.is_empty(), "it would never end");
            gone.clear();
            if answer != Offer::Again {
                break answer;
            }
        };
        self.check_victims(&held, answer, asked);
        self.check_answer(held, answer, had_credit);
        self.after();
    }

    /// Every batch that the offer evicted was the right one, and was in the way.
    fn check_victims(&mut self, incoming: &Held, answer: Offer, asked: usize) {
        let fates = self.fates.borrow()[self.fates_seen..].to_vec();
        for (number, fate) in fates {
            if number == incoming.number {
                continue;
            }
            assert_eq!(fate, Fate::Shed(ShedReason::DropOldest));
            assert_eq!(self.model.spec.when_full, OnFull::DropOldest);
            let in_the_way = !self.model.has_true_room(incoming.lane, incoming.weight);
            assert!(in_the_way || !self.memory, "{number} was evicted though there was room");
            let index = self.model.victim(incoming.lane).expect("a victim by the book");
            let victim = self.model.remove(index);
            assert_eq!(victim.number, number, "not the victim by the book");
            assert!(victim.lane >= incoming.lane);
            self.model.shed += victim.weight.records.get();
        }
        let shed_incoming = matches!(answer, Offer::Shed(ShedReason::DropNewest | ShedReason::DropOldest));
        if shed_incoming || answer == Offer::Full {
            let room = self.model.has_true_room(incoming.lane, incoming.weight);
            let behind_a_claim = self.claiming.iter().any(|&claims| claims);
            assert!(!room || asked > 0 || behind_a_claim, "{answer:?} though there was room");
        }
        self.fates_seen = self.fates.borrow().len();
    }

    fn check_answer(&mut self, held: Held, answer: Offer, had_credit: bool) {
        let who = held.who;
        let records = held.weight.records.get();
        match answer {
            Offer::Admitted => {
                assert!(had_credit || self.model.has_true_room(held.lane, held.weight), "admitted without room");
                self.model.input += records;
                self.model.sent += held.weight;
                self.model.held.push(held);
            }
            Offer::Shed(reason) => {
                assert_eq!(self.fates.borrow().last(), Some(&(held.number, Fate::Shed(reason))));
                self.model.input += records;
                self.model.shed += records;
            }
            Offer::Waiting(want) => {
                assert!(matches!(self.model.spec.when_full, OnFull::Block { .. }));
                assert!(want == Want::Credit || !self.memory, "memory was there");
                self.claiming[who] = true;
            }
            Offer::Full if self.model.spec.when_full == OnFull::Divert => {
                let item = self.slots[who].take();
                item.unwrap().safe = true;
                self.queue.count_diverted(held.weight.records);
                self.model.input += records;
                self.model.diverted += records;
            }
            Offer::Full => assert!(self.slots[who].is_some()),
            Offer::Nothing | Offer::Closed | Offer::Again => panic!("{answer:?}"),
        }
        let taken = matches!(answer, Offer::Admitted | Offer::Shed(_)) || self.model.spec.when_full == OnFull::Divert;
        assert_eq!(self.slots[who].is_none(), taken, "{answer:?}");
    }

    /// Takes once; whether it was data or control.
    fn take(&mut self) -> bool {
        let before = self.model.held.clone();
        match self.queue.take(self.now) {
            Take::Batch(mut item) => {
                item.safe = true;
                if item.deadline.is_some_and(|at| at <= self.now) {
                    item.drop_expired(self.now);
                }
                self.check_taken(&item, &before);
                self.after();
                true
            }
            Take::Control(message) => {
                assert_eq!(message, Control::Flush);
                true
            }
            Take::Empty => {
                self.expire_whole();
                assert!(self.model.held.is_empty(), "it says it is empty");
                self.after();
                self.check_parked();
                false
            }
            Take::Completed | Take::Failed(_) => panic!("nobody ended it"),
        }
    }

    fn check_taken(&mut self, item: &Item, before: &[Held]) {
        self.expire_whole();
        let index = self.model.held.iter().position(|held| held.number == item.number).expect("it was in the edge");
        let held = self.model.remove(index);
        let first = before
            .iter()
            .filter(|other| (other.lane, other.bucket) == (held.lane, held.bucket))
            .find(|other| self.survives(other).is_some())
            .unwrap();
        assert_eq!(first.number, held.number, "a bucket is first in, first out");
        let has_floors = (0..4).any(|lane| self.model.spec.lanes.floor(lane) > 0);
        if !has_floors {
            assert!(before.iter().all(|other| other.lane >= held.lane || self.survives(other).is_none()));
        }
        let alive = self.survives(&held).expect("a batch without rows is not delivered");
        assert_eq!(item.weight.records.get(), alive);
        self.model.output += alive;
        self.model.expired += held.weight.records.get() - alive;
    }

    /// The rows of a batch that are within their deadline, if there are any.
    fn survives(&self, held: &Held) -> Option<u64> {
        let records = held.weight.records.get();
        let late = held.deadline.is_some_and(|at| at <= self.now);
        Some(if late { records - held.mortal.min(records) } else { records }).filter(|&alive| alive > 0)
    }

    /// Batches that expired whole and were dropped on the way to what was taken.
    fn expire_whole(&mut self) {
        let fates = self.fates.borrow()[self.fates_seen..].to_vec();
        self.fates_seen += fates.len();
        for (number, fate) in fates {
            assert_eq!(fate, Fate::Expired);
            let index = self.model.held.iter().position(|held| held.number == number).unwrap();
            let held = self.model.remove(index);
            assert_eq!(self.survives(&held), None);
            self.model.expired += held.weight.records.get();
        }
    }

    /// A consumer that found nothing has granted everything, and nobody waits who could go on.
    fn check_parked(&mut self) {
        let snapshot = self.queue.snapshot(self.now);
        assert!(snapshot.consumer_waits);
        assert!((self.model.consumed + self.model.window).fits(self.model.limit), "not all was granted");
        let waits_for_nothing = snapshot.waiting_claims > 0 && self.model.granted.is_empty();
        assert!(!waits_for_nothing, "the edge is empty, and yet {} claims wait", snapshot.waiting_claims);
    }

    /// Learns who was woken, and checks all that holds at any time.
    fn after(&mut self) {
        let wakes = std::mem::take(self.queue.wakes());
        for id in wakes.producers {
            let who = self.producers.iter().position(|known| *known == id).unwrap();
            if std::mem::take(&mut self.claiming[who]) {
                let item = self.slots[who].as_ref().expect("a claim needs a batch in hand");
                self.model.granted.insert(who, (self.model.lane(item.lane), item.weight));
            }
        }
        let snapshot = self.queue.snapshot(self.now);
        let model = &mut self.model;
        let held: Weight = model.held.iter().map(|held| held.weight).sum();
        assert_eq!((snapshot.fill, snapshot.batches), (held, model.held.len()));
        assert_eq!(snapshot.reserved, model.reserved(), "credit is reserved for exactly the granted batches");
        assert_eq!(snapshot.waiting_claims, self.claiming.iter().filter(|&&claims| claims).count());
        let flows = snapshot.flows;
        assert!(flows.balances(), "{flows:?}");
        let seen = [flows.input, flows.output, flows.expired, flows.diverted, flows.shed_total()].map(Records::get);
        assert_eq!(seen, [model.input, model.output, model.expired, model.diverted, model.shed]);
        let limit = Weight {
            records: snapshot.allowed.records + model.consumed.records,
            bytes: snapshot.allowed.bytes + model.consumed.bytes,
        };
        let most = model.limit.max(model.consumed + model.window).max(model.sent);
        assert!(limit.fits(most), "{limit} was allowed, {most} could have been");
        model.limit = model.limit.max(limit.min(model.limit.max(model.consumed + model.window)));
        let oversize = model.held.iter().chain(&[]).any(|held| !held.weight.fits(model.window));
        assert!(model.sent.fits(model.limit) || oversize, "sent {} of {}", model.sent, model.limit);
        self.check_level(snapshot.level, snapshot.transitions, snapshot.fill + snapshot.reserved);
    }

    fn check_level(&mut self, level: Level, transitions: u64, fill: Weight) {
        let window = self.model.window;
        let reaches = |share: u64| {
            fill.records.get() * 10 >= window.records.get() * share
                || fill.bytes.get() * 10 >= window.bytes.get() * share
        };
        assert!(level == Level::Critical || !reaches(10), "{level:?} though full");
        assert!(level != Level::Normal || !reaches(8), "normal above high water");
        assert_eq!(transitions - self.transitions, u64::from(self.level != level), "one transition per crossing");
        (self.level, self.transitions) = (level, transitions);
    }

    /// Everything goes out or comes back: nothing is left anywhere.
    fn finish(mut self) {
        self.memory = true;
        for who in 0..self.slots.len() {
            self.queue.cancel(self.now, self.producers[who]);
            self.claiming[who] = false;
            self.model.granted.remove(&who);
            self.after();
        }
        while self.take() {}
        assert_eq!(self.model.sent, self.model.consumed, "all the credit is back");
        for item in self.slots.iter_mut().flatten() {
            item.safe = true;
        }
        let dropped: Vec<_> = self.fates.borrow().iter().filter(|(_, fate)| *fate == Fate::Dropped).copied().collect();
        assert_eq!(dropped, [], "nothing was dropped without being settled");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_edge_does_what_the_model_says(spec in spec(), steps in prop::collection::vec(step(), 1..150)) {
        let mut bench = Bench::new(&spec);
        for step in steps {
            bench.step(step);
        }
        bench.finish();
    }
}
