//! Repairs: what keeps a log shut is set aside, nothing is deleted, and what is whole is read afterwards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use tidegate_store::disk::{Disk as _, DiskFile as _};
use tidegate_store::repair::{Mend, repair};
use tidegate_store::{Log, LogOptions, Read, SimulatedDisk, Survey};

const SECOND: u64 = 1_000_000_000;

/// A log of 40 records in several segments, of which the first five are settled.
fn filled(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    let log = Log::open(disk.clone(), options(), &["edge"], SECOND).unwrap();
    let mut committer = log.committer;
    for number in 0..40_u64 {
        let payload: Arc<[u8]> = Arc::from(vec![u8::try_from(number).unwrap(); 500]);
        log.appender.append(1, &payload, SECOND).unwrap();
        log.appender.hurry();
        committer.round(SECOND);
    }
    log.readers[0].settler().settle(5);
    log.appender.close();
    committer.round(2 * SECOND);
    disk
}

fn options() -> LogOptions {
    LogOptions::new(LogOptions::MIN_SIZE_BYTES).segment_bytes(4096).memory_bytes(16 << 10).identity(7)
}

/// The first byte of every record that can be read.
fn read(disk: &SimulatedDisk) -> Vec<u8> {
    let mut log = Log::open(disk.clone(), options(), &["edge"], 3 * SECOND).unwrap();
    let mut found = Vec::new();
    loop {
        match log.readers[0].read().unwrap() {
            Read::Entry { entry, .. } => found.push(entry.payload[0]),
            Read::Damaged(_) => {}
            Read::Empty => return found,
        }
    }
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = disk.names().unwrap();
    names.sort();
    names
}

#[test]
fn a_log_that_is_whole_is_left_as_it_is() {
    let disk = filled(1);
    let repaired = repair(disk.clone(), "edge", false, 3 * SECOND).unwrap();
    assert_eq!((repaired.mends, repaired.gone, repaired.waiting), (Vec::new(), 0, 35));
    assert_eq!(read(&disk), (5..40).collect::<Vec<u8>>());
}

#[test]
fn a_segment_of_another_version_is_set_aside_and_the_log_opens() {
    let disk = filled(2);
    let victim = tidegate_store::segment::name(Survey::of(&disk).unwrap().segments[2].number);
    let mut file = disk.open(&victim).unwrap();
    let mut header = [0; 64];
    file.read_at(0, &mut header).unwrap();
    header[8] = 9;
    let sum = crc32fast::hash(&header[..60]);
    header[60..].copy_from_slice(&sum.to_le_bytes());
    file.write_at(0, &header).unwrap();
    file.sync().unwrap();
    assert!(Log::open(disk.clone(), options(), &["edge"], 3 * SECOND).is_err());

    let before = names(&disk);
    let dry = repair(disk.clone(), "edge", true, 3 * SECOND).unwrap();
    assert_eq!(names(&disk), before, "a dry run changes nothing");
    let repaired = repair(disk.clone(), "edge", false, 3 * SECOND).unwrap();
    assert_eq!(repaired.mends, dry.mends);
    assert!(repaired.mends.contains(&Mend::OtherVersion { file: victim.clone(), version: 9 }), "{:?}", repaired.mends);
    assert!(names(&disk).contains(&format!("{victim}.damaged")), "nothing is deleted");
    let found = read(&disk);
    assert!(found.len() > 20 && found.first() == Some(&5) && found.last() == Some(&39), "{found:?}");
    assert_eq!(u64::try_from(35 - found.len()).unwrap(), repaired.gone, "and it says how many are gone");
}

#[test]
fn cursors_that_are_both_damaged_are_made_anew_from_the_oldest_record_on() {
    let disk = filled(3);
    for name in ["cursors.a", "cursors.b"] {
        disk.flip(name, 100, 3);
    }
    let repaired = repair(disk.clone(), "edge", false, 3 * SECOND).unwrap();
    let files = vec!["cursors.a".to_owned(), "cursors.b".to_owned()];
    assert_eq!(repaired.mends, [Mend::Cursors { files, from: 0 }]);
    let found = read(&disk);
    assert_eq!(found, (0..40).collect::<Vec<u8>>(), "twice rather than never");
    assert_eq!(Survey::of(&disk).unwrap().whole_slots, 2);
    assert_eq!(Survey::of(&disk).unwrap().strays, Vec::<String>::new());
}

#[test]
fn without_cursors_and_with_a_damaged_header_the_other_segments_say_which_log_it_is() {
    for byte in [3, 20, 40, 60] {
        let disk = filled(3);
        for name in ["cursors.a", "cursors.b"] {
            disk.flip(name, 100, 3);
        }
        disk.flip(&tidegate_store::segment::name(Survey::of(&disk).unwrap().segments[0].number), byte, 2);
        let survey = Survey::of(&disk).unwrap();
        assert_eq!((survey.damaged(), survey.segments[0].damaged_header), (0, true));
        let repaired = repair(disk.clone(), "edge", false, 3 * SECOND).unwrap();
        assert_eq!((repaired.gone, repaired.mends.len()), (0, 1), "{:?}", repaired.mends);
        assert_eq!(read(&disk), (0..40).collect::<Vec<u8>>());
    }
}

#[test]
fn a_damaged_record_costs_itself_alone() {
    let disk = filled(4);
    let victim = tidegate_store::segment::name(Survey::of(&disk).unwrap().segments[1].number);
    disk.flip(&victim, 64 + 45, 1);
    let repaired = repair(disk.clone(), "edge", false, 3 * SECOND).unwrap();
    assert_eq!(repaired.gone, 1);
    assert!(matches!(&repaired.mends[..], [Mend::Damaged { file, gone: 1, .. }] if *file == victim), "{repaired:?}");
    assert_eq!(read(&disk).len(), 34);
}
