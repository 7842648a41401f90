//! Credit, claims, and who is woken when.

use super::*;

#[test]
fn an_empty_edge_admits_a_batch_of_any_size_but_only_one() {
    let mut bench = Bench::new(spec(10, 100), 2);
    assert_eq!(bench.send(0, 1000, 1 << 30), Offer::Admitted);
    assert_eq!(bench.send(1, 1, 1), FULL);
    assert_eq!(bench.take(), 1);
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.resend(1), Offer::Admitted);
}

#[test]
fn a_waiter_is_woken_when_half_of_either_unit_is_consumed_and_not_before() {
    for (records, bytes) in [(1, 1), (1, 100)] {
        let window = if bytes == 1 { spec(10, 1000) } else { spec(1000, 1000) };
        let mut bench = Bench::new(window, 2);
        for _ in 0..10 {
            assert_eq!(bench.send(0, records, bytes), Offer::Admitted);
        }
        assert_eq!(bench.send(1, records, bytes), FULL);
        for _ in 0..4 {
            bench.take();
            assert_eq!(bench.woken(), []);
        }
        bench.take();
        assert_eq!(bench.woken(), [1]);
        assert_eq!(bench.resend(1), Offer::Admitted);
    }
}

#[test]
fn before_it_parks_the_consumer_grants_all_there_is() {
    let mut bench = Bench::new(spec(10, 1000), 2);
    bench.send(0, 4, 1);
    bench.take();
    assert_eq!(bench.queue.credit.limit(), Weight::new(10, 1000));
    assert_eq!(bench.take(), 0);
    assert_eq!(bench.queue.credit.limit(), Weight::new(14, 1001));
}

#[test]
fn a_claim_that_needs_an_empty_edge_is_granted_as_soon_as_it_is_empty() {
    let mut bench = Bench::new(spec(100, 1000), 2);
    bench.send(0, 30, 1);
    assert_eq!(bench.send(1, 80, 1), FULL);
    bench.take();
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.resend(1), Offer::Admitted);
    assert!(bench.queue.credit.sent().fits(bench.queue.credit.limit()));
}

#[test]
fn credit_is_reserved_for_exactly_the_granted_batch() {
    let mut bench = Bench::new(spec(10, 1000), 3);
    bench.send(0, 10, 10);
    assert_eq!(bench.send(1, 7, 7), FULL);
    bench.take();
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.seen().reserved, Weight::new(7, 7));
    assert_eq!(bench.send(2, 4, 1), FULL, "the reserved credit is not free");
    bench.queue.cancel(bench.now, bench.producers[2]);
    bench.slots[2] = None;
    assert_eq!(bench.send(2, 3, 1), Offer::Admitted);
    assert_eq!(bench.resend(1), Offer::Admitted);
    assert_eq!(bench.seen().reserved, Weight::ZERO);
}

#[test]
fn a_cancelled_claim_passes_its_credit_on() {
    let mut bench = Bench::new(spec(10, 1000), 3);
    bench.send(0, 10, 10);
    assert_eq!(bench.send(1, 10, 10), FULL);
    assert_eq!(bench.send(2, 10, 10), FULL);
    bench.take();
    assert_eq!(bench.woken(), [1]);
    bench.queue.cancel(bench.now, bench.producers[1]);
    assert_eq!(bench.woken(), [2]);
    assert_eq!(bench.resend(2), Offer::Admitted);
    assert_eq!(bench.resend(1), FULL, "who gave up queues again");
}

#[test]
fn cancelling_a_claim_that_blocks_others_lets_them_go_on() {
    let mut bench = Bench::new(spec(10, 1000), 3);
    bench.send(0, 5, 1);
    assert_eq!(bench.send(1, 9, 1), FULL);
    assert_eq!(bench.send(2, 1, 1), FULL, "nobody overtakes a claim of the same lane");
    bench.queue.cancel(bench.now, bench.producers[1]);
    assert_eq!(bench.woken(), [2]);
}

#[test]
fn removing_a_producer_passes_its_credit_on() {
    let mut bench = Bench::new(spec(10, 1000), 3);
    bench.send(0, 10, 10);
    bench.send(1, 10, 10);
    bench.send(2, 10, 10);
    bench.take();
    bench.queue.remove_producer(bench.now, bench.producers[1]);
    assert_eq!(bench.woken(), [1, 2]);
}

#[test]
fn another_batch_means_another_claim() {
    let mut bench = Bench::new(spec(10, 1000), 2);
    bench.send(0, 10, 10);
    assert_eq!(bench.send(1, 10, 10), FULL);
    bench.take();
    bench.slots[1] = Some(bench.item(3, 3));
    assert_eq!(bench.resend(1), Offer::Admitted);
    assert_eq!((bench.seen().reserved, bench.seen().fill), (Weight::ZERO, Weight::new(3, 3)));
}

#[test]
fn who_watches_for_room_holds_none() {
    let mut bench = Bench::new(spec(1, 100), 9);
    bench.send(8, 1, 1);
    for &id in &bench.producers[..8] {
        assert!(!bench.queue.poll_room(id, None, Weight::new(1, 1)));
    }
    for round in 0..20 {
        assert_eq!(bench.take(), 1 + round);
        assert_eq!(bench.send(8, 1, 1), Offer::Admitted, "idle producers must not hold the only slot");
    }
    let mut woken = bench.woken();
    woken.sort_unstable();
    assert_eq!(woken, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn who_watches_is_not_woken_while_claims_go_first() {
    let mut bench = Bench::new(spec(2, 100), 3);
    bench.send(0, 2, 1);
    bench.send(1, 2, 1);
    assert!(!bench.queue.poll_room(bench.producers[2], None, Weight::new(1, 1)));
    bench.take();
    assert_eq!(bench.woken(), [1], "the claim takes all the room");
    bench.queue.cancel(bench.now, bench.producers[1]);
    assert_eq!(bench.woken(), [2]);
}

#[test]
fn a_starving_consumer_is_announced() {
    let mut bench = Bench::new(spec(2, 100), 1);
    assert!(!bench.queue.poll_starving(bench.producers[0]));
    bench.take();
    assert_eq!(bench.woken(), [0]);
    assert!(bench.queue.poll_starving(bench.producers[0]));
    bench.send(0, 1, 1);
    assert!(!bench.queue.is_starving());
}

/// Lets producers contend for an edge that holds one batch: whoever was served claims again at once. Gives the bytes
/// that each was granted after each grant.
fn contend(sizes: &[u64], quantum: u64, grants: usize) -> Vec<Vec<u64>> {
    let mut bench = Bench::new(spec(1, 1 << 30).quantum(Bytes::new(quantum)), sizes.len() + 1);
    let mut sent = vec![0; sizes.len()];
    assert_eq!(bench.send(sizes.len(), 1, 1), Offer::Admitted);
    for (who, &size) in sizes.iter().enumerate() {
        assert_eq!(bench.send(who, 1, size), FULL);
    }
    let mut seen = Vec::new();
    for _ in 0..grants {
        bench.take();
        let woken = bench.woken();
        let &[who] = woken.as_slice() else { panic!("one at a time: {woken:?}") };
        assert_eq!(bench.resend(who), Offer::Admitted);
        assert_eq!(bench.send(who, 1, sizes[who]), FULL);
        sent[who] += sizes[who];
        seen.push(sent.clone());
    }
    seen
}

#[test]
fn claims_share_by_bytes_within_a_quantum_and_two_batches() {
    for (sizes, quantum) in [(vec![100, 400, 1000], 500), (vec![1, 64 << 10], 64 << 10), (vec![7, 7, 7, 900], 1)] {
        let bound = quantum + 2 * sizes.iter().max().unwrap();
        for sent in contend(&sizes, quantum, 4000) {
            let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
            assert!(most - least <= bound, "{sizes:?} got {sent:?}, more than {bound} apart");
        }
    }
}

#[test]
fn the_budget_has_its_say_after_the_credit() {
    let mut bench = Bench::new(spec(10, 1000), 2);
    bench.memory = false;
    assert_eq!(bench.send(0, 1, 1), Offer::Waiting(Want::Budget));
    assert_eq!(bench.send(1, 1, 1), FULL, "behind the claim that the budget refused");
    assert_eq!(bench.resend(0), Offer::Waiting(Want::Budget));
    assert_eq!(bench.queue.level(bench.now), Level::Critical, "a refusal counts as full");
    assert_eq!(bench.woken(), [], "asking again wakes nobody, least of all the one who asks");
    bench.memory = true;
    bench.queue.budget_freed();
    assert_eq!(bench.woken(), [0, 1]);
    assert_eq!((bench.resend(0), bench.resend(1)), (Offer::Admitted, Offer::Admitted));
    assert_eq!(bench.take_all(), [1, 2]);
}

#[test]
fn a_claim_that_the_budget_refused_tries_again_when_something_leaves() {
    let mut bench = Bench::new(spec(10, 1000), 2);
    bench.send(0, 1, 1);
    bench.memory = false;
    assert_eq!(bench.send(1, 1, 1), Offer::Waiting(Want::Budget));
    bench.memory = true;
    bench.take();
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.resend(1), Offer::Admitted);
}

#[test]
fn growing_the_window_lets_waiters_on_and_shrinking_takes_nothing_back() {
    let mut bench = Bench::new(spec(10, 1000), 2);
    bench.send(0, 6, 6);
    assert_eq!(bench.send(1, 8, 8), FULL);
    bench.queue.set_window(bench.now, Weight::new(20, 1000));
    assert_eq!(bench.woken(), [1]);
    bench.queue.set_window(bench.now, Weight::new(2, 10));
    assert_eq!(bench.resend(1), Offer::Admitted);
    assert_eq!(bench.send(0, 6, 6), Offer::Admitted, "within what was granted before");
    assert_eq!(bench.seen().allowed, Weight::new(20, 1000));
    assert_eq!(bench.take_all(), [1, 2, 3]);
    assert_eq!(bench.seen().allowed, Weight::new(2, 980), "both units come down as they are consumed");
}

#[test]
fn two_lanes_that_the_budget_refused_do_not_bar_each_other() {
    let mut bench = Bench::new(spec(10, 1).lanes(&[10, 10]), 2);
    bench.memory = false;
    assert_eq!(bench.send_in_lane(0, 1, 5), Offer::Waiting(Want::Budget));
    assert_eq!(bench.send_in_lane(1, 0, 5), Offer::Waiting(Want::Budget));
    bench.take();
    assert_eq!(bench.woken(), [1], "the higher lane goes first, so that the lower one is due now");
    for who in [1, 1, 0, 0] {
        assert_eq!(bench.resend(who), Offer::Waiting(Want::Budget), "producer {who}");
    }
    bench.memory = true;
    assert_eq!(bench.resend(0), Offer::Admitted);
    assert_eq!(bench.take_all().len(), 1);
    assert_eq!(bench.resend(1), Offer::Admitted);
}

#[test]
fn a_refused_claim_that_is_taken_back_lets_the_others_go_on() {
    let mut bench = Bench::new(spec(10, 1000), 2);
    bench.memory = false;
    assert_eq!(bench.send(0, 1, 1), Offer::Waiting(Want::Budget));
    assert_eq!(bench.send(1, 1, 1), FULL);
    bench.memory = true;
    bench.queue.cancel(bench.now, bench.producers[0]);
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.resend(1), Offer::Admitted);
}
