//! What a survey says of a log, whole and damaged, at work and after a crash.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{SECOND, World};
use tidegate_store::{Disk, DiskFile, Fault, Log, Marks, Read, Renewal, Survey, SyncPolicy, WritePolicy, segment};

fn seen(world: &World) -> (Survey, Vec<u64>) {
    let mut seen = Vec::new();
    let survey = Survey::visit(&world.disk, |header, payload| {
        assert_eq!(world.appended.get(&header.first).map(Vec::as_slice), Some(payload));
        seen.push(header.first);
        true
    });
    (survey.unwrap(), seen)
}

#[test]
fn a_log_at_work_is_seen_as_it_is_and_not_changed() {
    let mut world = World::new(1, World::small());
    for _ in 0..40 {
        world.append(700).unwrap();
        world.round();
    }
    let calls = world.disk.calls();
    let (survey, records) = seen(&world);
    assert_eq!(world.disk.calls(), calls, "nothing was changed");
    assert_eq!((survey.end(), survey.settled(), survey.damaged()), (40, 0, 0));
    assert_eq!(records, (0..40).collect::<Vec<_>>());
    assert!(survey.segments.len() > 5 && survey.whole_slots == 2 && survey.strays.is_empty());
    let frames: u64 = survey.segments.iter().map(|segment| segment.frames).sum();
    assert_eq!(frames, 40);
    assert!(survey.disk_bytes >= survey.segments.iter().map(|segment| segment.size).sum());
}

#[test]
fn what_is_damaged_is_counted_and_what_was_settled_is_not_missed() {
    let mut world = World::new(2, World::small());
    for _ in 0..40 {
        world.append(700).unwrap();
        world.round();
    }
    world.read(10);
    world.settle(10);
    world.round();
    let (before, _) = seen(&world);
    assert_eq!((before.settled(), before.damaged()), (10, 0));
    // In the middle of a segment that is to be read still: one byte of one frame.
    let victim = before.segments.iter().find(|segment| segment.first > 12).unwrap().clone();
    let mut file = world.disk.open(&segment::name(victim.number)).unwrap();
    file.write_at(segment::HEADER_BYTES as u64 + 50, b"!").unwrap();
    let (after, records) = seen(&world);
    assert_eq!(after.damaged(), 1);
    assert!(!records.contains(&victim.first) && records.contains(&(victim.first + 1)));
}

#[test]
fn after_a_crash_nothing_that_was_durable_is_missing() {
    for seed in 0..50 {
        let mut world = World::new(seed, World::small());
        for _ in 0..30 {
            world.append(300 + 13 * usize::try_from(seed).unwrap()).unwrap();
            world.round();
        }
        let durable = world.durable;
        world.disk.crash();
        let survey = Survey::of(&world.disk).unwrap();
        assert_eq!(survey.damaged(), 0, "seed {seed}");
        assert!(survey.end() >= durable, "seed {seed}");
    }
}

#[test]
fn a_survey_stops_when_nobody_wants_more_and_what_is_settled_is_known_without_one() {
    let mut world = World::new(1, World::small());
    for _ in 0..40 {
        world.append(700).unwrap();
        world.round();
    }
    world.read(10);
    world.settle(7);
    world.round();
    let mut seen = 0;
    let survey = Survey::visit(&world.disk, |_, _| {
        seen += 1;
        seen < 3
    });
    let survey = survey.unwrap();
    assert_eq!((seen, survey.segments.len(), survey.damaged()), (3, 1, 0));
    assert_eq!(Survey::settled_on(&world.disk).unwrap(), 7);
    assert_eq!(Survey::settled_on(&world.disk).unwrap(), Survey::of(&world.disk).unwrap().settled());
}

#[test]
fn what_a_log_at_work_gives_up_while_it_is_looked_at_is_not_damage() {
    let mut world = World::new(1, World::small());
    for _ in 0..40 {
        world.append(700).unwrap();
        world.round();
    }
    let disk = world.disk.clone();
    let survey = Survey::visit(&disk, |header, _| {
        // The reader goes on behind the segment that is looked at, far enough that some of those behind it are given up.
        if header.first == 3 {
            world.read(30);
            world.settle(30);
            world.round();
            world.round();
        }
        true
    });
    let survey = survey.unwrap();
    assert_eq!((survey.damaged(), survey.settled(), survey.end()), (0, 30, 40));
    assert!(survey.segments.len() < 8, "some were gone: {:?}", survey.segments);
}

/// What is seen in the page cache may be marked, with a sync of the marks, before it is durable itself.
#[test]
fn numbers_of_records_that_were_marked_and_lost_are_not_given_out_again() {
    let calm = WritePolicy::UnderPressure { batches: 4, wait: Duration::from_secs(1) };
    for (seed, policy) in (0..40).flat_map(|seed| [(seed, WritePolicy::Always), (seed, calm)]) {
        let mut world = World::new(seed, World::small().sync(SyncPolicy::Always).write(policy));
        for _ in 0..4 {
            world.append(100).unwrap();
        }
        world.round();
        assert_eq!(world.durable, 4);
        // So that the cursors are saved, and nothing but the records is written next.
        world.now += SECOND;
        world.round();
        for _ in 0..4 {
            world.append(100).unwrap();
        }
        // Written, and the sync is pending.
        world.disk.plan(world.disk.calls() + 1, Fault::Failed);
        world.round();
        assert_eq!(world.durable, 4);
        world.disk.mend();
        let (survey, records) = seen(&world);
        assert_eq!(records.last(), Some(&7), "what is in the page cache is seen");
        let log = survey.log.unwrap();
        let mut marks = Marks::read(&world.disk, log).unwrap();
        (4..7).for_each(|number| marks.done(number));
        marks.renew(7, Renewal { attempts: 1, at: 1, cause: "no".into() });
        marks.save(&world.disk).unwrap();

        world.log = None;
        world.disk.crash();
        let options = world.options.clone();
        let mut opened = Log::open(world.disk.clone(), options, &["r"], world.now).unwrap();
        assert_eq!(opened.recovered.next, 8, "seed {seed}: those that were marked are not given out again");
        assert_eq!(opened.recovered.damaged_tail, 0);
        let others: Vec<_> =
            (0..4).map(|at| opened.appender.append(1, &Arc::from(&b"others"[..]), world.now + at).unwrap()).collect();
        assert_eq!(others, [9, 10, 11, 12]);
        opened.committer.round(world.now + SECOND);
        assert_eq!(opened.appender.durable(), 12);
        let marks = Marks::read(&world.disk, log).unwrap();
        assert!((8..12).all(|number| !marks.is_done(number) && marks.renewal(number).is_none()));
        // All of them come, and nothing is missing: also after another start.
        for _ in 0..2 {
            let mut came = Vec::new();
            loop {
                match opened.readers[0].read().unwrap() {
                    Read::Empty => break,
                    Read::Damaged(records) => panic!("seed {seed}: {records} are missing"),
                    Read::Entry { entry, skip } => came.push((entry.first, skip)),
                }
            }
            came.retain(|(number, _)| !(4..8).contains(number));
            assert_eq!(came, [0, 1, 2, 3, 8, 9, 10, 11].map(|number| (number, 0)), "seed {seed}");
            assert_eq!(Survey::of(&world.disk).unwrap().damaged(), 0);
            opened = Log::open(world.disk.clone(), world.options.clone(), &["r"], world.now).unwrap();
        }
    }
}

/// A reader that had read everything goes on with what is appended next, though it is not written.
#[test]
fn behind_numbers_that_were_marked_a_reader_goes_on() {
    let mut world = World::passing(1, World::small());
    world.log = None;
    let survey = Survey::of(&world.disk).unwrap();
    let mut marks = Marks::new(survey.log.unwrap());
    marks.done(5);
    marks.save(&world.disk).unwrap();
    let mut log = Log::open(world.disk.clone(), world.options.clone(), &["r"], world.now).unwrap();
    assert_eq!((log.recovered.next, log.readers[0].lag()), (6, 0));
    assert_eq!(log.appender.append(1, &Arc::from(&b"next"[..]), world.now).unwrap(), 7);
    log.committer.round(world.now);
    assert_eq!(log.appender.durable(), 0, "it waits in memory");
    assert!(matches!(log.readers[0].read().unwrap(), Read::Entry { entry, skip: 0 } if entry.first == 6));
    log.readers[0].settle(7);
    assert_eq!((log.appender.safe(), log.appender.counts().passed), (7, 1));
}
