//! What a survey says of a log, whole and damaged, at work and after a crash.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::World;
use tidegate_store::{Disk, DiskFile, Survey, segment};

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
