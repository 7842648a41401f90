//! Torn and damaged bytes: no wrong record is ever read, what is missing is counted, and what follows is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

mod common;

use common::{SECOND, World};
use tidegate_store::{Log, Read, SimulatedDisk, SyncPolicy, cursor, frame, segment};

const RECORDS: u64 = 6;
const BYTES: usize = 40;

/// Six records in one segment, each durable before the next was written.
fn written() -> World {
    let mut world = World::new(1, World::small().sync(SyncPolicy::Always));
    for _ in 0..RECORDS {
        world.append(BYTES).unwrap();
        world.round();
    }
    world.log = None;
    world
}

/// Reopens and reads everything; returns the numbers that came and how many are said to be damaged.
fn reread(world: &World, disk: &SimulatedDisk) -> (Vec<u64>, u64) {
    let mut log = Log::open(disk.clone(), world.options.clone(), &["r"], world.now).unwrap();
    let (mut came, mut damaged) = (Vec::new(), 0);
    loop {
        match log.readers[0].read().unwrap() {
            Read::Empty => break,
            Read::Damaged(records) => damaged += records,
            Read::Entry { entry, .. } => {
                assert_eq!(world.appended.get(&entry.first).map(Vec::as_slice), Some(&entry.payload[..]));
                came.push(entry.first);
            }
        }
    }
    (came, damaged)
}

#[test]
fn any_flipped_bit_costs_at_most_its_own_record_and_is_counted() {
    let world = written();
    let end = segment::HEADER_BYTES as u64 + RECORDS * frame::frame_bytes(BYTES);
    for at in 0..end {
        let disk = world.disk.fork(at);
        disk.flip(&segment::name(0), at, (at % 8) as u8);
        let (came, damaged) = reread(&world, &disk);
        // Padding is not covered, the last record has no later one that would say that it was durable; the cursors do.
        assert!(came.len() as u64 + damaged >= RECORDS - 1, "byte {at}: {came:?}, {damaged} damaged");
        assert!(came.len() as u64 >= RECORDS - 1, "byte {at}: {came:?}");
    }
}

#[test]
fn a_tail_torn_at_any_byte_keeps_what_is_before_it() {
    let world = written();
    let frame_bytes = frame::frame_bytes(BYTES);
    for torn in segment::HEADER_BYTES as u64..segment::HEADER_BYTES as u64 + RECORDS * frame_bytes {
        for with in [0, 0xff] {
            let disk = world.disk.fork(torn);
            disk.tear(&segment::name(0), torn, with);
            let whole = (torn - segment::HEADER_BYTES as u64) / frame_bytes;
            let (came, _) = reread(&world, &disk);
            let numbers: Vec<u64> = (0..came.len() as u64).collect();
            assert_eq!(came, numbers);
            assert!(came.len() as u64 >= whole, "torn at {torn}");
        }
    }
}

#[test]
fn what_is_written_after_a_torn_tail_is_not_mixed_with_what_was_there() {
    for seed in 0..300 {
        let mut world = World::new(seed, World::small().sync(SyncPolicy::Always));
        for _ in 0..4 {
            world.append(BYTES).unwrap();
        }
        world.round();
        // Written and not synced: any of it may be on the disk after the crash.
        for _ in 0..4 {
            world.append(BYTES).unwrap();
        }
        world.disk.plan(world.disk.calls() + 1, tidegate_store::Fault::Power);
        world.round();
        world.crash();
        for _ in 0..3 {
            world.append(BYTES).unwrap();
            world.round();
        }
        world.crash();
    }
}

#[test]
fn a_segment_whose_header_is_damaged_is_read_all_the_same() {
    let world = written();
    let disk = world.disk.fork(1);
    disk.flip(&segment::name(0), 20, 3);
    assert_eq!(reread(&world, &disk).0.len() as u64, RECORDS);
}

/// Nothing then says where the segment begins, and the reader stands within its first batch.
#[test]
fn a_segment_whose_header_is_damaged_is_read_from_within_its_first_batch() {
    let disk = SimulatedDisk::new(1);
    let mut log = Log::open(disk.clone(), World::small(), &["r"], SECOND).unwrap();
    for n in 0..3 {
        log.appender.append(10, &std::sync::Arc::from(&[n; 50][..]), SECOND).unwrap();
        log.committer.round((2 + u64::from(n)) * SECOND);
    }
    log.readers[0].read().unwrap();
    log.readers[0].settle(4);
    log.committer.round(9 * SECOND);
    drop(log);
    disk.flip(&segment::name(0), 20, 3);
    let mut log = Log::open(disk, World::small(), &["r"], 10 * SECOND).unwrap();
    for expected in [(0, 4), (10, 0), (20, 0)] {
        let Read::Entry { entry, skip } = log.readers[0].read().unwrap() else { panic!("damage") };
        assert_eq!((entry.first, skip), expected);
    }
}

#[test]
fn one_damaged_cursor_file_costs_repeats_two_cost_more_none_costs_a_record() {
    let mut world = World::new(1, World::small());
    for _ in 0..20 {
        world.append(100).unwrap();
    }
    world.round();
    for until in [5, 10] {
        world.read(5);
        world.settle(until);
        world.now += SECOND;
        world.round();
    }
    world.log = None;
    for broken in [&cursor::NAMES[..1], &cursor::NAMES[1..], &cursor::NAMES[..]] {
        let disk = world.disk.fork(2);
        for name in broken {
            disk.tear(name, 100, 0x55);
        }
        let log = Log::open(disk.clone(), world.options.clone(), &["r"], world.now).unwrap();
        assert_eq!(log.recovered.cursors_lost, broken.len() == 2);
        assert!(log.readers[0].position() <= 10);
        drop(log);
        let (came, damaged) = reread(&world, &disk);
        assert_eq!((came.last(), damaged), (Some(&19), 0));
    }
}
