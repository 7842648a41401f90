//! The log as a queue: in, durable, out, settled, given up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{SECOND, World};
use tidegate_store::{
    Fault, Health, Log, LogOptions, Next, OpenError, Read, Refused, SimulatedDisk, Survey, SyncPolicy, TooLong,
    Trouble, cursor,
};

#[test]
fn nothing_is_durable_before_its_sync_and_nothing_is_read_before_that() {
    let mut world = World::new(1, World::small());
    let end = world.append(100).unwrap();
    assert_eq!(world.log().appender.durable(), 0);
    assert_eq!(world.log().readers[0].read().unwrap(), Read::Empty);
    world.round();
    assert_eq!(world.log().appender.durable(), end);
    world.read_all();
}

#[test]
fn the_group_commit_waits_for_its_time_unless_asked_to_hurry() {
    let mut world = World::new(1, World::small().sync(SyncPolicy::Every(Duration::from_millis(5))));
    world.append(100).unwrap();
    let now = world.now;
    let next = world.log().committer.round(now + 1_000_000);
    assert_eq!(world.log().appender.durable(), 0);
    assert_eq!(next, Next::At(now + 5_000_000));
    world.log().appender.hurry();
    world.log().committer.round(now + 1_000_001);
    assert_eq!(world.log().appender.durable(), 1);
}

#[test]
fn who_hurries_while_nothing_waits_hurries_once() {
    let mut world = World::new(1, World::small().sync(SyncPolicy::Always).save_every(Duration::from_secs(3_600)));
    for _ in 0..4 {
        world.append(100).unwrap();
    }
    world.round();
    world.read_all();
    world.round();
    world.log().appender.hurry();
    world.round();
    let calls = world.disk.calls();
    for settled in 1..=4 {
        world.settle(settled);
        world.round();
    }
    assert_eq!(world.disk.calls(), calls, "cursors wait for their time");
}

#[test]
fn one_sync_covers_what_came_together() {
    let mut world = World::new(1, World::small());
    for _ in 0..20 {
        world.append(50).unwrap();
    }
    world.round();
    let counts = world.log().appender.counts();
    assert_eq!((counts.durable, counts.syncs), (20, 1));
}

#[test]
fn a_reader_that_keeps_up_reads_from_memory_one_that_does_not_from_disk_both_in_order() {
    let mut world = World::new(1, World::small());
    for _ in 0..10 {
        world.append(500).unwrap();
    }
    world.round();
    world.read_all();
    assert_eq!(world.log().appender.counts().read_from_disk, 0);
    for _ in 0..20 {
        for _ in 0..10 {
            world.append(500).unwrap();
        }
        world.round();
    }
    world.read_all();
    let counts = world.log().appender.counts();
    assert!(counts.read_from_disk > 100 && counts.memory_bytes <= 16 << 10, "{counts:?}");
}

#[test]
fn after_a_restart_a_reader_goes_on_where_it_had_settled() {
    let mut world = World::new(1, World::small());
    for _ in 0..30 {
        world.append(300).unwrap();
    }
    world.round();
    world.read(12);
    world.settle(10);
    world.now += SECOND;
    world.round();
    world.open();
    assert_eq!(world.log().readers[0].position(), 10);
    world.read_all();
    world.append(300).unwrap();
    world.round();
    world.read_all();
    assert_eq!(world.durable, 31);
}

#[test]
fn settled_records_inside_a_batch_are_skipped() {
    let disk = SimulatedDisk::new(1);
    let mut log = Log::open(disk.clone(), World::small(), &["r"], SECOND).unwrap();
    log.appender.append(10, &Arc::from(&b"ten records"[..]), SECOND).unwrap();
    log.committer.round(2 * SECOND);
    assert!(matches!(log.readers[0].read().unwrap(), Read::Entry { skip: 0, .. }));
    log.readers[0].settle(4);
    log.committer.round(3 * SECOND);
    let mut log = Log::open(disk, World::small(), &["r"], 4 * SECOND).unwrap();
    assert!(matches!(log.readers[0].read().unwrap(), Read::Entry { skip: 4, .. }));
}

#[test]
fn at_its_size_the_log_refuses_says_why_and_goes_on_when_readers_settle() {
    let mut world = World::new(1, World::small());
    let mut refused = 0;
    for _ in 0..2_000 {
        if world.append(1_000) == Err(Refused::Full) {
            refused += 1;
        }
        world.round();
    }
    assert!(refused > 500);
    assert_eq!(world.log().appender.health(), Health::Waiting(Trouble::AtMaxSize));
    assert!(world.log().appender.counts().disk_bytes <= LogOptions::MIN_SIZE_BYTES);

    world.read_all();
    let end = world.log().readers[0].position();
    world.settle(end);
    world.round();
    world.round();
    assert_eq!(world.log().appender.health(), Health::Good);
    world.append(1_000).unwrap();
    world.round();
    world.read_all();
    assert!(world.log().appender.counts().disk_bytes <= 10 * 4096 + 2 * 4096 + 16 * 1024);
}

#[test]
fn dropping_the_oldest_makes_room_and_counts_what_went() {
    let mut world = World::new(1, World::small());
    let mut dropped = 0;
    for _ in 0..3_000 {
        if world.append(1_000) == Err(Refused::Full) {
            dropped += world.log().appender.drop_oldest();
            world.round();
            world.append(1_000).unwrap();
        }
        world.round();
    }
    assert!(dropped > 1_000);
    let counts = world.log().appender.counts();
    assert_eq!(counts.dropped, dropped);
    world.given_up = dropped;
    world.settled = dropped;
    world.read_all();
    let read = world.log().readers[0].position();
    world.settle(read);
    world.round();
    world.read_all();
    assert_eq!(world.log().readers[0].position(), 3_000);
}

#[test]
fn records_past_their_age_are_given_up_and_counted() {
    let mut world = World::new(1, World::small().max_age(Some(Duration::from_secs(60))));
    for _ in 0..20 {
        world.append(1_000).unwrap();
        world.round();
    }
    world.now += 61 * SECOND;
    world.round();
    let counts = world.log().appender.counts();
    assert_eq!(counts.expired, 20);
    assert_eq!(world.log().readers[0].read().unwrap(), Read::Empty);
    assert!(counts.disk_bytes <= 2 * 4096 + 8192, "{counts:?}");
}

#[test]
fn every_reader_has_its_own_place_and_the_slowest_pins_the_segments() {
    let disk = SimulatedDisk::new(1);
    let mut log = Log::open(disk.clone(), World::small(), &["fast", "slow"], SECOND).unwrap();
    for n in 0..100_u64 {
        log.appender.append(1, &Arc::from(&[0_u8; 1_000][..]), n).unwrap();
        log.committer.round(SECOND + n * SECOND);
    }
    while log.readers[0].read().unwrap() != Read::Empty {}
    log.readers[0].settle(100);
    log.committer.round(200 * SECOND);
    let pinned = log.appender.counts().disk_bytes;
    assert!(pinned > 100_000);
    while log.readers[1].read().unwrap() != Read::Empty {}
    log.readers[1].settle(100);
    log.committer.round(201 * SECOND);
    assert!(log.appender.counts().disk_bytes < pinned / 4);

    let mut log = Log::open(disk, World::small(), &["fast"], SECOND).unwrap();
    assert_eq!(log.recovered.orphans, ["slow"]);
    log.committer.forget("slow");
    log.committer.round(202 * SECOND);
}

#[test]
fn a_batch_larger_than_a_segment_gets_its_own_and_one_larger_than_a_quarter_of_the_log_is_refused() {
    let mut world = World::new(1, World::small());
    for bytes in [100, 20_000, 100] {
        world.append(bytes).unwrap();
        world.round();
    }
    world.read_all();
    assert_eq!(world.durable, 3);
    assert_eq!(world.append(300_000), Err(Refused::TooLarge));
    let nothing: Arc<[u8]> = Arc::from(&[][..]);
    assert_eq!(world.log().appender.append(1, &nothing, 0), Err(Refused::Empty));
    world.crash();
}

#[test]
fn closing_makes_durable_what_was_taken_and_ends() {
    let mut world = World::new(1, World::small());
    world.append(100).unwrap();
    world.log().appender.close();
    assert_eq!(world.append(100), Err(Refused::Closed));
    let now = world.now;
    assert_eq!(world.log().committer.round(now), Next::Done);
    assert_eq!(world.log().appender.durable(), 1);
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let mut world = World::new(1, World::small().max_age(Some(Duration::from_secs(60))));
    world.append(100).unwrap();
    world.round();
    world.now -= 900 * SECOND;
    world.append(100).unwrap();
    world.round();
    assert_eq!(world.durable, 2);
    world.read_all();
    world.settle(2);
    world.round();
    world.open();
    assert_eq!(
        world.log().readers[0].position(),
        2,
        "the cursor was saved although the clock stood before the last save"
    );
}

/// Two troubles with the cursors, one after the other: when they can be saved again, all is well, also while nothing comes.
#[test]
fn a_log_that_waits_for_nothing_any_more_says_so() {
    let mut world = World::new(1, World::small().sync(SyncPolicy::Always));
    world.append(100).unwrap();
    world.disk.plan(world.disk.calls(), Fault::Failed);
    world.round();
    world.now += 2 * SECOND;
    world.disk.plan(world.disk.calls(), Fault::Full);
    world.round();
    assert!(matches!(world.log().appender.health(), Health::Waiting(_)));
    for _ in 0..3 {
        world.now += 2 * SECOND;
        world.round();
    }
    assert_eq!(world.log().appender.health(), Health::Good);
}

#[test]
fn readers_must_have_names_that_fit() {
    for names in [&[""][..], &["a", "a"], &["a name that is longer than the forty-seven bytes it may have"]] {
        let refused = Log::open(SimulatedDisk::new(1), World::small(), names, 0);
        assert!(matches!(refused, Err(OpenError::Readers(_))), "{names:?}");
    }
}

/// What was read ahead of the newest frame was not written yet, and must not be taken for what is there now.
#[test]
fn a_reader_that_lags_in_the_segment_that_is_written_sees_what_is_written_behind_its_back() {
    let options = LogOptions::new(LogOptions::MIN_SIZE_BYTES).segment_bytes(64 << 10).memory_bytes(4096);
    let mut world = World::new(11, options);
    let (mut end, mut read) = (0, 0);
    for batches in [6, 7, 5, 9] {
        for _ in 0..batches {
            world.append(1500).unwrap();
            world.round();
        }
        end += batches;
        read = end.min(read + 4);
        assert_eq!(world.read(4), read);
    }
    assert_eq!(world.read(100), end);
    assert!(world.log().appender.counts().read_from_disk > 10);
}

#[test]
fn what_is_settled_before_it_was_written_never_is() {
    let mut world = World::passing(1, World::small());
    let calls = world.disk.calls();
    for _ in 0..100 {
        for _ in 0..3 {
            world.append(500).unwrap();
        }
        let read = world.read(10);
        world.settle(read - 1);
        world.round();
        assert_eq!(world.log().appender.safe(), read - 1);
        world.settle(read);
    }
    let counts = world.log().appender.counts();
    assert_eq!((counts.passed, counts.written, counts.syncs, counts.memory_bytes), (300, 0, 0, 0));
    assert!(world.disk.calls() - calls <= 3, "the disk was not asked for anything but its spare segment");
}

#[test]
fn writing_begins_under_pressure_of_any_kind_and_ends_behind_it() {
    let pressures: [fn(&mut World); 3] = [
        |world| (0..4).for_each(|_| assert!(world.append(100).is_ok())),
        |world| (0..2).for_each(|_| assert!(world.append(5_000).is_ok())),
        |world| {
            world.append(100).unwrap();
            world.now += SECOND;
        },
    ];
    for (which, press) in pressures.into_iter().enumerate() {
        let mut world = World::passing(1, World::small().sync(SyncPolicy::Always));
        world.append(100).unwrap();
        world.round();
        assert_eq!(world.durable, 0, "no pressure");
        press(&mut world);
        world.round();
        let end = world.durable;
        assert!(end >= 2, "pressure {which}");
        // While readers lag behind what was written, everything is.
        world.append(100).unwrap();
        world.round();
        assert_eq!(world.durable, end + 1);
        world.read_all();
        world.settle(end + 1);
        world.append(100).unwrap();
        world.round();
        assert_eq!(world.durable, end + 1, "calm again");
        assert_eq!(world.read(1), end + 2);
    }
}

#[test]
fn what_was_never_written_is_missing_nowhere() {
    let mut world = World::passing(3, World::small().sync(SyncPolicy::Always));
    for round in 0..60 {
        // Three that pass, then five that are written, of which one is not settled.
        for _ in 0..3 {
            world.append(300).unwrap();
        }
        let read = world.read(10);
        world.settle(read);
        for _ in 0..5 {
            world.append(300).unwrap();
        }
        world.round();
        let read = world.read(10);
        world.settle(read - u64::from(round % 2 == 0));
        world.round();
    }
    let counts = world.log().appender.counts();
    assert!(counts.passed >= 150 && counts.written >= 250 && counts.damaged == 0, "{counts:?}");
    let survey = Survey::of(&world.disk).unwrap();
    assert_eq!((survey.damaged(), survey.end()), (0, 480));
    world.crash();
    // Also when it is read again from the beginning, because nobody knows how far the readers were.
    world.log = None;
    for name in cursor::NAMES {
        world.disk.tear(name, 100, 0x55);
    }
    let mut log = Log::open(world.disk.clone(), world.options.clone(), &["r"], world.now).unwrap();
    assert!(log.recovered.cursors_lost && log.recovered.next == 480);
    loop {
        match log.readers[0].read().unwrap() {
            Read::Empty => break,
            Read::Damaged(records) => panic!("{records} are missing"),
            Read::Entry { entry, .. } => assert_eq!(world.appended.get(&entry.first).unwrap()[..], entry.payload[..]),
        }
    }
    assert_eq!(log.readers[0].position(), 480);
}

#[test]
fn a_batch_that_is_too_long_for_who_reads_is_refused_and_read_later() {
    let options = LogOptions::new(16 << 20).segment_bytes(1 << 20).memory_bytes(4096);
    let mut world = World::new(5, options);
    for bytes in [100, 3_000, 700_000, 100, 2_000_000, 100] {
        world.append(bytes).unwrap();
        world.round();
    }
    let reader = &mut world.log().readers[0];
    let mut came = Vec::new();
    loop {
        match reader.read_within(1_000).unwrap() {
            Ok(Read::Empty) => break,
            Ok(Read::Entry { entry, .. }) => came.push((entry.payload.len(), false)),
            Ok(Read::Damaged(records)) => panic!("{records} are damaged"),
            Err(TooLong(bytes)) => {
                let Ok(Read::Entry { entry, .. }) = reader.read_within(bytes).unwrap() else { panic!("{bytes}") };
                assert_eq!(entry.payload.len() as u64, bytes);
                came.push((entry.payload.len(), true));
            }
        }
    }
    let expected = [(100, false), (3_000, true), (700_000, true), (100, false), (2_000_000, true), (100, false)];
    assert_eq!(came, expected);
}
