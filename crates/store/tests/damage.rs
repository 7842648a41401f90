//! Torn and damaged bytes: no wrong record is ever read, what is missing is counted, and what follows is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

mod common;

use common::{SECOND, World};
use tidegate_store::{Disk as _, DiskFile as _, Log, Read, SimulatedDisk, SyncPolicy, cursor, frame, segment};

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

/// A header that was torn before anything behind it was durable is mended, since what comes to stand behind it will be; and
/// a cursor inside a batch does not hide that batch.
#[test]
fn a_segment_whose_header_is_damaged_is_read_from_inside_a_batch() {
    let disk = SimulatedDisk::new(1);
    let options = World::small().sync(SyncPolicy::Always).identity(7);
    let mut log = Log::open(disk.clone(), options.clone(), &["r"], SECOND).unwrap();
    for payload in [&b"three"[..], b"more"] {
        log.appender.append(3, &std::sync::Arc::from(payload), SECOND).unwrap();
        log.committer.round(2 * SECOND);
    }
    assert!(matches!(log.readers[0].read().unwrap(), Read::Entry { .. }));
    log.readers[0].settle(2);
    log.committer.round(4 * SECOND);
    drop(log);
    disk.tear(&segment::name(0), 0, 0);
    // Only its header: what was torn behind it is put back.
    let whole = {
        let disk = SimulatedDisk::new(1);
        let mut log = Log::open(disk.clone(), options.clone(), &["r"], SECOND).unwrap();
        for payload in [&b"three"[..], b"more"] {
            log.appender.append(3, &std::sync::Arc::from(payload), SECOND).unwrap();
            log.committer.round(2 * SECOND);
        }
        let mut bytes = vec![0; 4096];
        disk.open(&segment::name(0)).unwrap().read_at(0, &mut bytes).unwrap();
        bytes
    };
    let mut file = disk.open(&segment::name(0)).unwrap();
    file.write_at(segment::HEADER_BYTES as u64, &whole[segment::HEADER_BYTES..]).unwrap();
    file.sync().unwrap();
    for _ in 0..2 {
        let mut log = Log::open(disk.clone(), options.clone(), &["r"], 5 * SECOND).unwrap();
        assert_eq!((log.recovered.next, log.recovered.damaged_tail), (6, 0));
        let Read::Entry { entry, skip } = log.readers[0].read().unwrap() else { panic!("the batch is there") };
        assert_eq!((&entry.payload[..], skip), (&b"three"[..], 2));
        let Read::Entry { entry, .. } = log.readers[0].read().unwrap() else { panic!("and the one behind it") };
        assert_eq!(&entry.payload[..], b"more");
    }
    let survey = tidegate_store::Survey::of(&disk).unwrap();
    assert!(!survey.segments[0].damaged_header, "it is mended");
}

/// A write that was under way when the power went: its beginning or its end is there, up to or from any byte. What had been
/// durable is read, of the rest nothing but whole records in order, and nothing is said to be damaged.
#[test]
fn an_unsynced_write_torn_at_any_byte_costs_nothing_that_was_durable() {
    let mut world = World::new(3, World::small().sync(SyncPolicy::Always));
    for _ in 0..2 {
        world.append(BYTES).unwrap();
        world.round();
    }
    let from = segment::HEADER_BYTES as u64 + 2 * frame::frame_bytes(BYTES);
    let before = world.disk.fork(0);
    for _ in 0..3 {
        world.append(BYTES).unwrap();
    }
    let durable = world.durable;
    world.round();
    world.log = None;
    let mut written = vec![0; usize::try_from(3 * frame::frame_bytes(BYTES)).unwrap()];
    world.disk.open(&segment::name(0)).unwrap().read_at(from, &mut written).unwrap();
    for cut in 0..=written.len() {
        for part in [0..cut, cut..written.len()] {
            let disk = before.fork(cut as u64);
            let mut file = disk.open(&segment::name(0)).unwrap();
            file.write_at(from + part.start as u64, &written[part.clone()]).unwrap();
            file.sync().unwrap();
            let (came, damaged) = reread(&world, &disk);
            assert_eq!(came, (0..came.len() as u64).collect::<Vec<_>>(), "cut at {cut}, {part:?}");
            assert!(came.len() as u64 >= durable && damaged == 0, "cut at {cut}, {part:?}: {came:?}, {damaged}");
        }
    }
}
