//! A disk that fails at any call, and a power cut at any call: what was said to be durable is there, in order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

mod common;

use common::{SECOND, World};
use tidegate_store::{Fault, Health, LogOptions, Next, SyncPolicy, Trouble};

fn options() -> LogOptions {
    World::small().sync(SyncPolicy::Always)
}

/// Appends, reads and settles over several segments.
fn work(world: &mut World, rounds: usize) {
    for round in 0..rounds {
        for _ in 0..3 {
            let _ = world.append(200 + (round % 7) * 150);
        }
        world.round();
        let read = world.read(2);
        world.settle(read.saturating_sub(1));
        world.now += SECOND / 10;
    }
}

/// The same for a log that writes under pressure only: it is calm, under pressure, calm again, and so on.
fn work_on_and_off(world: &mut World, rounds: usize) {
    for round in 0..rounds {
        let calm = round % 5 < 2;
        for _ in 0..if calm { 2 } else { 5 } {
            let _ = world.append(200 + (round % 7) * 150);
        }
        let read = world.read(if calm { 10 } else { 3 });
        world.settle(if calm { read } else { read.saturating_sub(1) });
        world.round();
        world.now += SECOND / 10;
    }
}

/// How many calls of the disk the work makes when nothing fails.
fn calls(rounds: usize) -> (u64, u64) {
    let mut world = World::new(0, options());
    let opened = world.disk.calls();
    work(&mut world, rounds);
    (opened, world.disk.calls())
}

#[test]
fn the_power_goes_at_every_call() {
    let (_, last) = calls(12);
    for call in 0..last {
        for seed in 0..4 {
            let mut world = World::new(seed * 1_000 + call, options());
            world.disk.plan(world.disk.calls() + call, Fault::Power);
            work(&mut world, 12);
            world.crash();
            work(&mut world, 3);
            world.crash();
        }
    }
}

#[test]
fn the_power_goes_at_every_call_of_a_log_that_writes_under_pressure() {
    let mut world = World::passing(0, options());
    let opened = world.disk.calls();
    work_on_and_off(&mut world, 14);
    let counts = world.log().appender.counts();
    assert!(counts.passed > 10 && counts.written > 20, "the test must reach both: {counts:?}");
    for call in 0..world.disk.calls() - opened {
        for seed in 0..4 {
            let mut world = World::passing(seed * 1_000 + call, options());
            world.disk.plan(world.disk.calls() + call, Fault::Power);
            work_on_and_off(&mut world, 14);
            world.crash();
            work_on_and_off(&mut world, 4);
            world.crash();
        }
    }
}

#[test]
fn one_error_at_every_call_of_a_log_that_writes_under_pressure_is_survived() {
    for fault in [Fault::Failed, Fault::Full] {
        for call in 0..120 {
            let mut world = World::passing(call, options());
            world.disk.plan(world.disk.calls() + call, fault);
            work_on_and_off(&mut world, 14);
            for _ in 0..4 {
                world.now += 6 * SECOND;
                world.round();
            }
            assert_eq!(world.log().appender.health(), Health::Good, "{fault:?} at call {call}");
            let durable = world.durable;
            world.read_all();
            world.crash();
            assert!(world.durable >= durable, "{fault:?} at call {call}, then a power cut");
        }
    }
}

#[test]
fn the_power_goes_at_every_call_of_opening() {
    for call in 0..16 {
        for seed in 0..4 {
            let mut world = World::new(seed * 1_000 + call, options());
            work(&mut world, 6);
            world.log = None;
            world.disk.plan(world.disk.calls() + call, Fault::Power);
            world.try_open();
            world.crash();
            work(&mut world, 3);
            world.crash();
        }
    }
}

#[test]
fn one_error_at_every_call_is_survived_without_a_restart() {
    for fault in [Fault::Failed, Fault::Full] {
        let (_, last) = calls(12);
        for call in 0..last {
            let mut world = World::new(call, options());
            world.disk.plan(world.disk.calls() + call, fault);
            work(&mut world, 12);
            for _ in 0..4 {
                world.now += 6 * SECOND;
                world.round();
            }
            assert_eq!(world.log().appender.health(), Health::Good, "{fault:?} at call {call}");
            assert_eq!(world.durable, 36, "{fault:?} at call {call}");
            world.read_all();
            world.crash();
            assert_eq!(world.durable, 36, "{fault:?} at call {call}, then a power cut");
        }
    }
}

#[test]
fn a_full_disk_is_pressure_and_the_log_goes_on_by_itself() {
    let mut world = World::new(7, options());
    world.disk.set_capacity(40_000);
    let mut refused = 0;
    for _ in 0..200 {
        refused += usize::from(world.append(1_000).is_err());
        world.round();
    }
    assert!(refused > 100, "appends are refused, not lost");
    assert!(matches!(world.log().appender.health(), Health::Waiting(_)));
    let before = world.durable;

    // Reading and settling need no space, and give some back.
    world.read_all();
    let read = world.log().readers[0].position();
    world.settle(read);
    for _ in 0..4 {
        world.now += 6 * SECOND;
        world.round();
    }
    assert_eq!(world.log().appender.health(), Health::Good);
    assert!(world.durable > before, "what waited was written into the freed segments");
    world.crash();
}

/// The reader takes from memory all that waited for the disk, while more comes all the time: nobody waits for the disk then.
#[test]
fn a_full_disk_that_nobody_waits_for_is_forgotten() {
    let mut world = World::passing(1, World::small().sync(SyncPolicy::Always));
    world.disk.set_capacity(0);
    for _ in 0..8 {
        world.append(1_000).unwrap();
    }
    // Until the spare segment is used up, too.
    while world.log().appender.health() == Health::Good {
        world.append(1_000).unwrap();
        world.round();
    }
    assert!(matches!(world.log().appender.health(), Health::Waiting(Trouble::DiskFull)));
    for _ in 0..40 {
        let read = world.read(usize::MAX);
        world.settle(read);
        world.append(100).unwrap();
        world.round();
    }
    let now = world.now;
    let next = world.log().committer.round(now);
    assert_eq!(world.log().appender.health(), Health::Good, "one waits in memory, none for the disk");
    assert!(matches!(next, Next::At(at) if at > now), "it does not go round and round: {next:?}, now {now}");
    // When more has to be written than there is room for, that the disk is full is known again.
    for _ in 0..8 {
        world.append(1_000).unwrap();
    }
    world.round();
    assert!(matches!(world.log().appender.health(), Health::Waiting(Trouble::DiskFull)));
}

#[test]
fn a_disk_that_fails_for_long_loses_nothing() {
    let mut world = World::new(3, options());
    work(&mut world, 2);
    for call in 0..60 {
        world.disk.plan(world.disk.calls() + call, Fault::Failed);
    }
    for _ in 0..200 {
        let _ = world.append(500);
        world.round();
        world.now += SECOND / 4;
    }
    world.now += 10 * SECOND;
    world.round();
    assert_eq!(world.log().appender.health(), Health::Good);
    world.read_all();
    world.crash();
}

/// A cursor that stood in the page cache alone when the process was killed: segments are not given up on its word.
#[test]
fn a_cursor_that_was_not_synced_gives_up_nothing_after_a_restart() {
    for seed in 0..20 {
        let mut world = World::new(seed, options());
        for _ in 0..12 {
            world.append(900).unwrap();
            world.round();
        }
        let read = world.read(usize::MAX);
        world.settle(read);
        // The write of the cursors succeeds, and their sync does not.
        world.disk.plan(world.disk.calls() + 1, Fault::Failed);
        let now = world.now + SECOND;
        world.log().committer.round(now);
        world.open();
        // The power goes before anything else is saved; what the older cursors have not passed is there.
        world.log = None;
        world.disk.crash();
        world.settled = read;
        world.open();
        world.read_all();
    }
}

/// Frames that stood in the page cache alone, because their sync had failed, are written once more before they count.
#[test]
fn what_a_failed_sync_lost_is_not_taken_for_durable_after_a_restart() {
    for seed in 0..20 {
        let mut world = World::new(seed, options());
        world.append(100).unwrap();
        world.round();
        world.append(100).unwrap();
        // The write succeeds, the sync does not; nothing is written anew before the process dies.
        world.disk.plan(world.disk.calls() + 1, Fault::Failed);
        let now = world.now + SECOND / 1_000;
        world.log().committer.round(now);
        world.open();
        let durable = world.log().appender.durable();
        world.durable = durable;
        world.crash();
        assert_eq!(world.durable, durable, "seed {seed}: what was said to be durable is there");
    }
}

/// The name of a segment that was begun may be lost with the power, and what was written to it is in the spare one then.
#[test]
fn what_is_in_the_spare_segment_does_not_come_back() {
    for seed in 0..400 {
        let mut world = World::new(seed, options());
        world.append(17).unwrap();
        world.append(33).unwrap();
        world.disk.plan(world.disk.calls() + 4, Fault::Power);
        world.round();
        world.crash();
        let next = world.durable;
        world.append(8).unwrap();
        world.disk.plan(world.disk.calls() + 4, Fault::Power);
        world.round();
        world.crash();
        assert!(world.durable <= next + 1, "seed {seed}");
    }
}
