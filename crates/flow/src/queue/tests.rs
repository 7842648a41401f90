//! Tests of the edge as a whole, scenario by scenario. The random model test is in `tests/queue_model.rs`.

mod claims;
mod lanes;
mod policies;

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::outcome::Cause;
use crate::units::{Bytes, Records};

/// What became of batches, by number.
type Log = Rc<RefCell<Vec<(u64, ShedReason)>>>;

#[derive(Clone, Debug, PartialEq)]
struct Item {
    number: u64,
    weight: Weight,
    lane: u8,
    bucket: u8,
    /// Rows that expire, and when.
    deadline: Option<(Records, Time)>,
    log: Log,
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
        self.deadline.map(|(_, at)| at)
    }
    fn settle_expired(&mut self, _: Time) -> Records {
        self.deadline.map_or(Records::ZERO, |(rows, _)| rows)
    }
    fn drop_expired(&mut self, _: Time) {
        let rows = self.deadline.take().map_or(Records::ZERO, |(rows, _)| rows);
        self.weight.records -= rows;
    }
    fn settle_shed(&mut self, reason: ShedReason) {
        self.log.borrow_mut().push((self.number, reason));
    }
}

/// An edge under test: numbers its batches, and keeps the slot of each producer.
struct Bench {
    queue: Queue<Item>,
    producers: Vec<ProducerId>,
    slots: Vec<Option<Item>>,
    log: Log,
    next: u64,
    now: Time,
    /// Whether the budget says yes.
    memory: bool,
}

impl Bench {
    fn new(spec: EdgeSpec, producers: usize) -> Self {
        let mut queue = Queue::new(&spec).unwrap();
        let producers: Vec<_> = (0..producers).map(|_| queue.add_producer().unwrap()).collect();
        let slots = vec![None; producers.len()];
        Self { queue, producers, slots, log: Log::default(), next: 0, now: Time::ZERO, memory: true }
    }

    fn item(&mut self, records: u64, bytes: u64) -> Item {
        self.next += 1;
        Item {
            number: self.next,
            weight: Weight::new(records, bytes),
            lane: 0,
            bucket: 0,
            deadline: None,
            log: Rc::clone(&self.log),
        }
    }

    /// Producer `who` offers what it has in hand, or else a batch of this weight.
    fn send(&mut self, who: usize, records: u64, bytes: u64) -> Offer {
        let item = self.item(records, bytes);
        self.slots[who].get_or_insert(item);
        self.resend(who)
    }

    fn send_in_lane(&mut self, who: usize, lane: u8, bytes: u64) -> Offer {
        let item = Item { lane, ..self.item(1, bytes) };
        self.slots[who].get_or_insert(item);
        self.resend(who)
    }

    fn resend(&mut self, who: usize) -> Offer {
        let memory = self.memory;
        loop {
            let offer = self.queue.offer(self.now, self.producers[who], None, &mut self.slots[who], &mut |_| memory);
            self.queue.gone().clear();
            if offer != Offer::Again {
                return offer;
            }
        }
    }

    fn try_send(&mut self, who: usize, records: u64, bytes: u64) -> Offer {
        let item = self.item(records, bytes);
        self.slots[who].get_or_insert(item);
        let memory = self.memory;
        self.queue.try_offer(self.now, self.producers[who], None, &mut self.slots[who], &mut |_| memory)
    }

    /// The number of the batch that is taken, 0 where there is none.
    fn take(&mut self) -> u64 {
        match self.queue.take(self.now) {
            Take::Batch(item) => item.number,
            Take::Empty | Take::Control(_) | Take::Completed | Take::Failed(_) => 0,
        }
    }

    fn take_all(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| Some(self.take()).filter(|&number| number > 0)).collect()
    }

    /// Producers woken since the last look, in order.
    fn woken(&mut self) -> Vec<usize> {
        let wakes = std::mem::take(self.queue.wakes());
        wakes.producers.iter().map(|id| self.producers.iter().position(|known| known == id).unwrap()).collect()
    }

    fn seen(&mut self) -> Snapshot {
        let snapshot = self.queue.snapshot(self.now);
        assert!(snapshot.flows.balances(), "{:?}", snapshot.flows);
        snapshot
    }

    fn shed(&self) -> Vec<(u64, ShedReason)> {
        self.log.borrow().clone()
    }
}

fn spec(records: u64, bytes: u64) -> EdgeSpec {
    EdgeSpec::new("edge").records(records).bytes(Bytes::new(bytes))
}

const FULL: Offer = Offer::Waiting(Want::Credit);

#[test]
fn control_overtakes_data_needs_no_credit_and_is_bounded() {
    let mut bench = Bench::new(spec(1, 100).control_capacity(2), 1);
    assert_eq!(bench.send(0, 1, 1), Offer::Admitted);
    assert_eq!(bench.send(0, 1, 1), FULL);
    assert_eq!(bench.queue.send_control(Control::Flush), Ok(()));
    assert_eq!(bench.queue.send_control(Control::Checkpoint(7)), Ok(()));
    let refused = bench.queue.send_control(Control::Drain).unwrap_err();
    assert_eq!(refused.message, Control::Drain);
    assert!(refused.to_string().starts_with("edge \"edge\": "), "{refused}");
    assert_eq!(bench.queue.take(bench.now), Take::Control(Control::Flush));
    assert_eq!(bench.queue.take(bench.now), Take::Control(Control::Checkpoint(7)));
    assert_eq!(bench.take(), 1);
}

#[test]
fn control_wakes_a_parked_consumer() {
    let mut bench = Bench::new(spec(1, 100), 1);
    assert_eq!(bench.take(), 0);
    bench.queue.send_control(Control::Flush).unwrap();
    assert!(bench.queue.wakes().consumer);
}

#[test]
fn the_end_comes_after_the_data_and_only_once_all_producers_are_gone() {
    let mut bench = Bench::new(spec(10, 100), 2);
    bench.send(0, 1, 1);
    bench.queue.remove_producer(bench.now, bench.producers[0]);
    assert_eq!(bench.take(), 1);
    assert!(matches!(bench.queue.take(bench.now), Take::Empty));
    bench.send(1, 1, 1);
    bench.queue.remove_producer(bench.now, bench.producers[1]);
    assert!(bench.queue.wakes().consumer);
    assert_eq!(bench.take(), 2);
    assert!(matches!(bench.queue.take(bench.now), Take::Completed));
    assert!(matches!(bench.queue.take(bench.now), Take::Completed));
}

#[test]
fn a_failure_stops_intake_at_once_and_the_first_cause_stands() {
    let mut bench = Bench::new(spec(1, 100), 2);
    assert_eq!(bench.send(0, 1, 1), Offer::Admitted);
    assert_eq!(bench.send(1, 1, 1), FULL);
    bench.queue.fail(Cause::from("first"));
    bench.queue.fail(Cause::from("second"));
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.resend(1), Offer::Closed);
    assert!(bench.slots[1].is_some(), "the batch stays in its slot");
    assert_eq!(bench.take(), 1);
    match bench.queue.take(bench.now) {
        Take::Failed(cause) => assert_eq!(cause.as_str(), "first"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn closing_refuses_new_batches_and_keeps_old_ones() {
    let mut bench = Bench::new(spec(10, 100), 1);
    bench.send(0, 1, 1);
    bench.queue.close();
    assert_eq!(bench.send(0, 1, 1), Offer::Closed);
    assert_eq!(bench.take(), 1);
    assert!(matches!(bench.queue.take(bench.now), Take::Completed));
}

#[test]
fn a_consumer_that_goes_away_leaves_everything_abandoned_and_nobody_waiting() {
    let mut bench = Bench::new(spec(2, 100), 2);
    bench.send(0, 1, 1);
    bench.send(0, 1, 1);
    assert_eq!(bench.send(1, 1, 1), FULL);
    let dropped = bench.queue.cancel_consumer(bench.now);
    assert_eq!(dropped.len(), 2);
    assert_eq!(bench.woken(), [1]);
    let seen = bench.seen();
    assert_eq!((seen.flows.abandoned, seen.fill, seen.waiting_claims), (Records::new(2), Weight::ZERO, 0));
    assert_eq!(bench.resend(1), Offer::Closed);
    assert!(bench.queue.cancel_consumer(bench.now).is_empty(), "cancelling twice does nothing");
}

#[test]
fn a_batch_without_rows_is_nothing() {
    let mut bench = Bench::new(spec(1, 100), 1);
    assert_eq!(bench.send(0, 0, 10), Offer::Nothing);
    assert!(bench.slots[0].is_none());
    assert_eq!(bench.resend(0), Offer::Nothing);
    assert_eq!(bench.seen().flows, EdgeFlows::default());
}

#[test]
fn rows_past_their_deadline_are_shed_on_the_way_out() {
    let mut bench = Bench::new(spec(10, 100), 1);
    let at = |nanos| Time::from_nanos(nanos);
    for rows in [1, 3] {
        let item = Item { deadline: Some((Records::new(rows), at(50))), ..bench.item(3, 30) };
        bench.slots[0] = Some(item);
        assert_eq!(bench.resend(0), Offer::Admitted);
    }
    bench.send(0, 3, 30);
    bench.now = at(50);
    assert_eq!(bench.take_all(), [1, 3], "the second batch had expired whole");
    let seen = bench.seen();
    assert_eq!((seen.flows.expired, seen.flows.output), (Records::new(4), Records::new(5)));
    assert_eq!(seen.fill, Weight::ZERO, "all the credit is back");
}

#[test]
fn deadlines_in_the_future_are_not_looked_at() {
    let mut bench = Bench::new(spec(10, 100), 1);
    bench.slots[0] = Some(Item { deadline: Some((Records::new(1), Time::from_nanos(51))), ..bench.item(1, 1) });
    bench.resend(0);
    bench.now = Time::from_nanos(50);
    assert_eq!(bench.take(), 1);
    assert_eq!(bench.seen().flows.expired, Records::ZERO);
}

#[test]
fn the_level_moves_once_per_crossing_and_says_so() {
    let mut bench = Bench::new(spec(10, 1000), 1);
    let mut moves = Vec::new();
    for _ in 0..10 {
        bench.send(0, 1, 1);
        if std::mem::take(&mut bench.queue.wakes().watchers) {
            moves.push(bench.queue.level(bench.now));
        }
    }
    for _ in 0..10 {
        bench.take();
        if std::mem::take(&mut bench.queue.wakes().watchers) {
            moves.push(bench.queue.level(bench.now));
        }
    }
    assert_eq!(moves, [Level::High, Level::Critical, Level::High, Level::Normal]);
    assert_eq!(bench.seen().transitions, 4);
}

#[test]
fn a_refusal_is_critical_until_something_is_taken() {
    let mut bench = Bench::new(spec(10, 1000).on_full(OnFull::DropNewest), 1);
    bench.send(0, 6, 1);
    for _ in 0..5 {
        assert_eq!(bench.send(0, 6, 1), Offer::Shed(ShedReason::DropNewest));
        assert_eq!(bench.queue.level(bench.now), Level::Critical);
    }
    assert_eq!(bench.seen().transitions, 1);
    bench.take();
    assert_eq!(bench.queue.level(bench.now), Level::Normal);
}

#[test]
fn an_old_head_raises_the_level_when_somebody_looks() {
    let second = std::time::Duration::from_secs(1);
    let mut bench = Bench::new(spec(10, 1000).high_residence(second), 1);
    bench.send(0, 1, 1);
    bench.now = bench.now + second;
    assert_eq!(bench.queue.level(bench.now), Level::High);
    assert_eq!(bench.seen().head_age, second);
    bench.take();
    assert_eq!(bench.queue.level(bench.now), Level::Normal);
}

#[test]
fn producers_are_bounded_and_their_places_are_used_again() {
    let mut bench = Bench::new(spec(10, 100).max_producers(2), 2);
    let refused = bench.queue.add_producer().unwrap_err();
    assert!(refused.to_string().starts_with("edge \"edge\": "), "{refused}");
    bench.queue.remove_producer(bench.now, bench.producers[0]);
    assert!(bench.queue.add_producer().is_ok());
}
