//! Priority lanes, their floors, and fair buckets.

use super::*;

#[test]
fn higher_lanes_go_first_and_unknown_lanes_are_the_lowest() {
    let mut bench = Bench::new(spec(100, 1000).lanes(&[0, 0, 0]), 1);
    for lane in [2, 1, 0, 9, 1, 0] {
        bench.send_in_lane(0, lane, 1);
    }
    assert_eq!(bench.take_all(), [3, 6, 2, 5, 1, 4]);
}

#[test]
fn a_floor_is_a_share_of_what_is_taken_out() {
    let mut bench = Bench::new(spec(1 << 20, 1 << 30).lanes(&[0, 10, 25]).buckets(1), 1);
    let mut bytes = [0_u64; 3];
    let sizes = [70, 100, 40];
    let mut lane_of = std::collections::HashMap::new();
    for lane in [0, 1, 2] {
        for _ in 0..20_000 {
            bench.send_in_lane(0, lane, sizes[usize::from(lane)]);
            lane_of.insert(bench.next, usize::from(lane));
        }
    }
    for _ in 0..10_000 {
        let lane = lane_of[&bench.take()];
        bytes[lane] += sizes[lane];
        let total: u64 = bytes.iter().sum();
        assert!(bytes[1] + 200 >= total / 10 && bytes[2] + 200 >= total / 4, "{bytes:?}");
    }
    let total: u64 = bytes.iter().sum();
    assert!(bytes[0] * 100 / total >= 64, "the rest is the highest lane's: {bytes:?}");
}

#[test]
fn what_a_lane_got_alone_is_not_held_against_its_floor() {
    let mut bench = Bench::new(spec(1 << 20, 1 << 30).lanes(&[0, 10]), 1);
    for _ in 0..1100 {
        bench.send_in_lane(0, 1, 100);
    }
    for _ in 0..1000 {
        bench.take();
    }
    for _ in 0..100 {
        bench.send_in_lane(0, 0, 100);
    }
    let low = (0..40).filter(|_| bench.take() <= 1100).count();
    assert!((4..=6).contains(&low), "{low} of 40 from the lane with a floor of 10 percent");
}

#[test]
fn a_lane_that_comes_back_batch_by_batch_gets_no_more_than_its_floor() {
    let mut bench = Bench::new(spec(1 << 20, 1 << 30).lanes(&[0, 10]), 1);
    for _ in 0..200 {
        bench.send_in_lane(0, 0, 100);
    }
    let mut low = 0;
    for _ in 0..100 {
        if bench.queue.lanes.weight_of(1).is_zero() {
            bench.send_in_lane(0, 1, 100);
        }
        low += u64::from(bench.take() > 200);
    }
    assert!((9..=11).contains(&low), "{low} of 100 from the lane with a floor of 10 percent");
}

#[test]
fn a_lane_saves_nothing_up_while_it_is_empty() {
    let mut bench = Bench::new(spec(1 << 20, 1 << 30).lanes(&[0, 10]), 1);
    for _ in 0..1100 {
        bench.send_in_lane(0, 0, 100);
    }
    for _ in 0..1000 {
        bench.take();
    }
    for _ in 0..100 {
        bench.send_in_lane(0, 1, 100);
    }
    let low = (0..40).filter(|_| bench.take() > 1100).count();
    assert!((3..=5).contains(&low), "{low} of 40 from the lane with a floor of 10 percent");
}

#[test]
fn a_floor_keeps_room_that_other_lanes_cannot_take() {
    let mut bench = Bench::new(spec(100, 1000).lanes(&[0, 20]), 2);
    assert_eq!(bench.send_in_lane(0, 0, 800), Offer::Admitted);
    assert_eq!(bench.send_in_lane(0, 0, 1), FULL);
    assert_eq!(
        bench.send_in_lane(1, 1, 200),
        Offer::Admitted,
        "its own floor is free, even past a waiting higher lane"
    );
    assert_eq!(bench.send_in_lane(1, 1, 1), FULL);
}

#[test]
fn while_a_higher_lane_waits_a_lower_one_gets_only_its_floor() {
    let mut bench = Bench::new(spec(100, 1000).lanes(&[0, 20]), 3);
    bench.send_in_lane(0, 0, 600);
    assert_eq!(bench.send_in_lane(0, 0, 400), FULL);
    assert_eq!(bench.send_in_lane(1, 1, 150), Offer::Admitted);
    assert_eq!(bench.send_in_lane(2, 1, 150), FULL, "there is room, but it is for the higher lane");
    assert_eq!(bench.take(), 1);
    assert_eq!(bench.woken(), [0, 2]);
}

#[test]
fn a_batch_too_large_for_its_lane_is_not_starved_by_the_others() {
    let mut bench = Bench::new(spec(1000, 1000).lanes(&[0, 20]), 2);
    assert_eq!(bench.send_in_lane(0, 0, 100), Offer::Admitted);
    assert_eq!(bench.send_in_lane(1, 1, 5000), FULL);
    let mut admitted = 0;
    for _ in 0..1000 {
        bench.slots[0] = None;
        bench.queue.cancel(bench.now, bench.producers[0]);
        admitted += u64::from(bench.send_in_lane(0, 0, 100) == Offer::Admitted) * 100;
        bench.take();
        if bench.woken().contains(&1) {
            assert!(admitted <= 1200, "passed over for {admitted} bytes");
            return;
        }
        // Never empty: the other lane trickles in.
        admitted += u64::from(bench.send_in_lane(0, 0, 100) == Offer::Admitted) * 100;
    }
    panic!("starved");
}

#[test]
fn buckets_share_a_lane_by_bytes() {
    let mut bench = Bench::new(spec(1 << 20, 1 << 30).buckets(8).quantum(Bytes::new(300)), 1);
    let sizes = [10_u64, 100, 300];
    let mut size_of = std::collections::HashMap::new();
    for (bucket, &size) in (0_u8..).zip(&sizes) {
        for _ in 0..5000 {
            let item = Item { bucket, ..bench.item(1, size) };
            size_of.insert(item.number, usize::from(bucket));
            bench.slots[0] = Some(item);
            assert_eq!(bench.resend(0), Offer::Admitted);
        }
    }
    let mut bytes = [0_u64; 3];
    for _ in 0..4000 {
        let bucket = size_of[&bench.take()];
        bytes[bucket] += sizes[bucket];
        let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        assert!(most - least <= 300 + 2 * 300, "{bytes:?}");
    }
}

#[test]
fn a_bucket_is_first_in_first_out() {
    let mut bench = Bench::new(spec(1000, 1 << 20).buckets(4), 1);
    let mut wanted: Vec<Vec<u64>> = vec![Vec::new(); 4];
    for index in 0..200_u8 {
        let item = Item { bucket: index % 7, ..bench.item(1, 1 + u64::from(index) * 37 % 100) };
        wanted[usize::from(index % 7 % 4)].push(item.number);
        bench.slots[0] = Some(item);
        bench.resend(0);
    }
    let taken = bench.take_all();
    for numbers in wanted {
        let seen: Vec<u64> = taken.iter().copied().filter(|number| numbers.contains(number)).collect();
        assert_eq!(seen, numbers);
    }
}
