//! What a full edge does.

use std::cell::Cell;

use super::*;

fn numbers(shed: &[(u64, ShedReason)]) -> Vec<u64> {
    shed.iter().map(|(number, _)| *number).collect()
}

#[test]
fn drop_newest_sheds_only_when_there_is_truly_no_room() {
    let mut bench = Bench::new(spec(10, 1000).on_full(OnFull::DropNewest), 1);
    for _ in 0..10 {
        assert_eq!(bench.send(0, 1, 1), Offer::Admitted);
    }
    assert_eq!(bench.send(0, 1, 1), Offer::Shed(ShedReason::DropNewest));
    bench.take();
    assert_eq!(bench.send(0, 1, 1), Offer::Admitted, "one was consumed, though nothing was granted yet");
    assert_eq!(bench.shed(), [(11, ShedReason::DropNewest)]);
    assert_eq!(bench.seen().flows.shed_for(ShedReason::DropNewest), Records::new(1));
}

#[test]
fn drop_oldest_takes_only_as_many_as_it_needs() {
    let mut bench = Bench::new(spec(100, 100).on_full(OnFull::DropOldest), 1);
    for _ in 0..10 {
        bench.send(0, 1, 10);
    }
    assert_eq!(bench.send(0, 1, 25), Offer::Admitted);
    assert_eq!(bench.seen().flows.shed.iter().map(|records| records.get()).sum::<u64>(), 3);
    assert_eq!(bench.shed(), [(1, ShedReason::DropOldest), (2, ShedReason::DropOldest), (3, ShedReason::DropOldest)]);
    assert_eq!(bench.take_all(), [4, 5, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn drop_oldest_makes_room_for_a_batch_of_any_size() {
    let mut bench = Bench::new(spec(100, 100).on_full(OnFull::DropOldest), 1);
    bench.send(0, 1, 10);
    bench.send(0, 1, 10);
    assert_eq!(bench.send(0, 1, 5000), Offer::Admitted);
    assert_eq!(numbers(&bench.shed()), [1, 2]);
}

#[test]
fn drop_oldest_begins_with_the_lowest_lane_and_its_fullest_bucket() {
    let mut bench = Bench::new(spec(100, 100).lanes(&[0, 0]).buckets(4).on_full(OnFull::DropOldest), 1);
    for (lane, bucket, bytes) in [(0, 0, 10), (1, 0, 20), (1, 1, 15), (1, 1, 15), (1, 2, 29), (0, 0, 11)] {
        let item = Item { lane, bucket, ..bench.item(1, bytes) };
        bench.slots[0] = Some(item);
        assert_eq!(bench.resend(0), Offer::Admitted);
    }
    for _ in 0..7 {
        assert_eq!(bench.send_in_lane(0, 0, 10), Offer::Admitted);
    }
    assert_eq!(numbers(&bench.shed()), [3, 5, 2, 4], "30 in bucket 1, 29 in bucket 2, 20, 15; the high lane is spared");
}

#[test]
fn an_incoming_batch_never_evicts_a_higher_lane() {
    let mut bench = Bench::new(spec(100, 100).lanes(&[0, 0]).on_full(OnFull::DropOldest), 1);
    bench.send_in_lane(0, 0, 80);
    bench.send_in_lane(0, 1, 20);
    assert_eq!(bench.send_in_lane(0, 1, 50), Offer::Shed(ShedReason::DropOldest));
    assert_eq!(numbers(&bench.shed()), [3], "and what it could evict in vain is spared");
    assert_eq!(bench.send_in_lane(0, 1, 20), Offer::Admitted);
    assert_eq!(numbers(&bench.shed()), [3, 2]);
}

#[test]
fn a_floor_protects_from_eviction() {
    let mut bench = Bench::new(spec(100, 100).lanes(&[0, 30]).on_full(OnFull::DropOldest), 1);
    bench.send_in_lane(0, 0, 70);
    for _ in 0..3 {
        assert_eq!(bench.send_in_lane(0, 1, 10), Offer::Admitted);
    }
    assert_eq!(bench.send_in_lane(0, 0, 10), Offer::Admitted);
    assert_eq!(numbers(&bench.shed()), [1], "its own lane pays: the lower one is at its floor");
}

#[test]
fn sample_keeps_the_ratio_above_high_water_and_nothing_when_full() {
    let keep_half = OnFull::Sample(SampleRate::Ratio(0.5));
    let mut bench = Bench::new(spec(10, 1000).on_full(keep_half), 1);
    let sent: Vec<bool> = (0..14).map(|_| bench.send(0, 1, 1) == Offer::Admitted).collect();
    let kept = sent.iter().filter(|&&kept| kept).count();
    assert!(sent[..8].iter().all(|&kept| kept), "below high water everything is kept");
    assert_eq!(kept, 10);
    assert!(bench.shed().iter().all(|(_, reason)| *reason == ShedReason::Sample));
    assert_eq!(bench.seen().flows.shed_for(ShedReason::Sample), Records::new(4));
}

#[test]
fn thinning_out_below_full_is_not_a_refusal() {
    let mut bench = Bench::new(spec(100, 1000).on_full(OnFull::Sample(SampleRate::Ratio(0.0))), 1);
    bench.send(0, 85, 1);
    assert_eq!(bench.send(0, 1, 1), Offer::Shed(ShedReason::Sample));
    assert_eq!(bench.queue.level(bench.now), Level::High);
}

#[test]
fn the_rising_sample_sheds_more_the_fuller_the_edge_is() {
    let mut bench = Bench::new(spec(1000, 1 << 20).on_full(OnFull::Sample(SampleRate::RisingWithFill)), 1);
    let mut kept_at = Vec::new();
    for _ in 0..2500 {
        let fill = bench.seen().fill.records.get();
        kept_at.push((fill, bench.send(0, 1, 1) == Offer::Admitted));
    }
    assert!(kept_at.iter().all(|&(fill, kept)| kept || fill > 500));
    let share = |low: u64, high: u64| {
        let in_band: Vec<_> = kept_at.iter().filter(|(fill, _)| (low..high).contains(fill)).collect();
        in_band.iter().filter(|(_, kept)| *kept).count() * 100 / in_band.len()
    };
    assert!(share(500, 600) > 80 && (35..65).contains(&share(700, 800)) && share(900, 1000) < 20);
}

#[test]
fn fail_refuses_and_leaves_the_batch_with_its_producer() {
    let mut bench = Bench::new(spec(1, 1000).on_full(OnFull::Fail), 1);
    assert_eq!(bench.send(0, 1, 1), Offer::Admitted);
    assert_eq!(bench.send(0, 1, 1), Offer::Full);
    assert!(bench.slots[0].is_some());
    assert_eq!(bench.seen().flows.input, Records::new(1), "what stays with the producer is not counted");
    bench.take();
    assert_eq!(bench.resend(0), Offer::Admitted);
}

#[test]
fn diverted_batches_are_counted_and_balance() {
    let mut bench = Bench::new(spec(1, 1000).on_full(OnFull::Divert), 1);
    bench.send(0, 1, 1);
    assert_eq!(bench.send(0, 5, 1), Offer::Full);
    assert!(!bench.queue.poll_room(bench.producers[0], None, Weight::new(5, 1)));
    bench.queue.count_diverted(Records::new(5));
    assert_eq!(bench.seen().flows.diverted, Records::new(5));
}

#[test]
fn try_send_sees_the_true_fill_and_overtakes_nobody() {
    let mut bench = Bench::new(spec(10, 1000), 3);
    for _ in 0..10 {
        bench.send(0, 1, 1);
    }
    assert_eq!(bench.try_send(0, 1, 1), Offer::Full);
    bench.take();
    assert_eq!(bench.try_send(0, 1, 1), Offer::Admitted);
    assert_eq!(bench.send(1, 1, 1), FULL);
    bench.take();
    assert_eq!(bench.try_send(2, 1, 1), Offer::Full, "a claim goes first");
}

#[test]
fn a_refusal_of_the_budget_runs_the_policy() {
    let cases = [
        (OnFull::DropNewest, Offer::Shed(ShedReason::DropNewest)),
        (OnFull::DropOldest, Offer::Shed(ShedReason::DropOldest)),
        (OnFull::Sample(SampleRate::Ratio(1.0)), Offer::Shed(ShedReason::Sample)),
        (OnFull::Fail, Offer::Full),
        (OnFull::Divert, Offer::Full),
        (OnFull::Block { max: None }, Offer::Waiting(Want::Budget)),
    ];
    for (policy, wanted) in cases {
        let mut bench = Bench::new(spec(10, 1000).on_full(policy), 1);
        bench.memory = false;
        assert_eq!(bench.send(0, 1, 1), wanted, "{policy:?}");
        bench.seen();
    }
}

#[test]
fn drop_oldest_frees_memory_until_the_budget_agrees() {
    let mut bench = Bench::new(spec(10, 1000).on_full(OnFull::DropOldest), 1);
    for _ in 0..4 {
        bench.send(0, 1, 1);
    }
    bench.slots[0] = Some(bench.item(1, 1));
    let log = Rc::clone(&bench.log);
    let freed = Cell::new(0);
    let mut offer = || {
        let mut enough = |_: &mut Item| freed.get() >= 2;
        let offer = bench.queue.offer(bench.now, bench.producers[0], None, &mut bench.slots[0], &mut enough);
        freed.set(freed.get() + bench.queue.gone().drain(..).count());
        (offer, log.borrow().len())
    };
    assert_eq!(offer(), (Offer::Again, 1), "memory comes free when the victim is dropped, which its edge does not do");
    assert_eq!(offer(), (Offer::Again, 2));
    assert_eq!(offer(), (Offer::Admitted, 2));
    assert_eq!(numbers(&bench.shed()), [1, 2]);
    assert_eq!(bench.take_all(), [3, 4, 5]);
}

#[test]
fn what_is_shed_is_settled_by_the_edge_and_dropped_by_the_caller() {
    let policies = [OnFull::DropNewest, OnFull::DropOldest, OnFull::Sample(SampleRate::Ratio(0.0))];
    for (policy, victim) in policies.into_iter().zip([2, 1, 2]) {
        let mut bench = Bench::new(spec(1, 100).on_full(policy), 1);
        assert_eq!(bench.send(0, 1, 1), Offer::Admitted);
        let mut slot = Some(bench.item(1, 1));
        bench.queue.offer(bench.now, bench.producers[0], None, &mut slot, &mut |_| true);
        assert_eq!(numbers(&bench.shed()), [victim], "{policy:?}");
        let gone: Vec<u64> = bench.queue.gone().drain(..).map(|item| item.number).collect();
        assert_eq!(gone, [victim], "{policy:?}");
    }
}

#[test]
fn rows_that_expire_are_counted_by_the_edge_and_dropped_by_the_caller() {
    let mut bench = Bench::new(spec(10, 100), 1);
    for expired in [2, 1] {
        let deadline = Some((Records::new(expired), Time::from_nanos(5)));
        bench.slots[0] = Some(Item { deadline, ..bench.item(2, 2) });
        assert_eq!(bench.resend(0), Offer::Admitted);
    }
    bench.now = Time::from_nanos(5);
    let Take::Batch(mut item) = bench.queue.take(bench.now) else { panic!("one row is left") };
    assert_eq!((item.number, item.weight.records.get()), (2, 2));
    item.drop_expired(bench.now);
    assert_eq!(item.weight.records.get(), 1);
    assert_eq!(bench.queue.gone().len(), 1, "the batch of which every row had expired");
    let flows = bench.seen().flows;
    assert_eq!((flows.expired.get(), flows.output.get()), (3, 1));
}
