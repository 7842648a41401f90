//! Segments: whatever the bytes are, nothing panics or goes round in circles, and no record comes out of a log that was not
//! put into it, also when its files are damaged in any way.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_store::segment::{self, Found};
use tidegate_store::{Disk, DiskFile, Log, LogOptions, Read, SimulatedDisk, Survey, SyncPolicy, frame};

use crate::dice::Dice;

/// The number of the log that is written, and the time.
const IDENTITY: u64 = 7;
const NOW: u64 = 1_000_000_000;

/// The first byte chooses: a segment of any bytes, one whose frames are any but whole, or a log that is damaged.
pub(crate) fn check(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    match dice.below(3) {
        0 => any(dice.rest()),
        1 => forged(dice),
        _ => damaged(dice),
    }
}

fn options() -> LogOptions {
    LogOptions::new(LogOptions::MIN_SIZE_BYTES)
        .segment_bytes(4096)
        .memory_bytes(4096)
        .sync(SyncPolicy::Always)
        .identity(IDENTITY)
}

/// Frames are found in order, each whole, and the search ends.
fn walk(bytes: &[u8], salt: u32, mut expected: u64, durable: u64) {
    let mut at = 0;
    loop {
        let (from, header) = match segment::look(bytes, at, salt, expected, durable) {
            Found::Frame(header) => (at, header),
            Found::Damage { resume, header } => {
                assert!(resume >= at && header.end() > expected, "it goes back");
                (resume, header)
            }
            Found::End => return,
        };
        let start = usize::try_from(from).expect("it is in the slice");
        let head = bytes[start..].first_chunk().expect("it is whole");
        let payload = &bytes[start + frame::HEADER_BYTES..][..header.length as usize];
        assert!(frame::is_valid(salt, head, payload), "a frame that its checksum does not cover");
        at = from + header.frame_bytes();
        expected = header.end();
    }
}

/// A segment of these bytes, looked at and opened as a log.
fn any(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk() {
        let _ = segment::Header::decode(head);
    }
    let salt = segment::salt(IDENTITY, 0);
    for (expected, durable) in [(0, 0), (0, u64::MAX), (3, 4)] {
        walk(bytes, salt, expected, durable);
    }
    let disk = SimulatedDisk::new(1);
    put(&disk, &segment::name(0), bytes);
    read(&disk, None);
}

/// Headers and frames that say anything, with checksums that are right.
fn forged(mut dice: Dice<'_>) {
    let disk = SimulatedDisk::new(2);
    for number in 0..=dice.below(3) as u64 {
        let mut bytes = Vec::new();
        let header = segment::Header { number, first: word(&mut dice), time: word(&mut dice), log: IDENTITY };
        bytes.extend_from_slice(&header.encode());
        let salt = segment::salt(IDENTITY, number);
        for _ in 0..dice.below(6) {
            let payload = vec![dice.byte(); 1 + dice.below(60)];
            let length = if dice.below(8) == 0 { u32::MAX } else { payload.len() as u32 };
            let (first, durable) = (word(&mut dice), word(&mut dice));
            let records = u32::try_from(word(&mut dice)).unwrap_or(u32::MAX);
            let after_gap = dice.below(4) == 0;
            let header = frame::Header { length, first, records, time: word(&mut dice), durable, after_gap };
            bytes.extend_from_slice(&header.encode(salt, &payload));
            bytes.extend_from_slice(&payload);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        walk(&bytes, salt, word(&mut dice), word(&mut dice));
        put(&disk, &segment::name(number), &bytes);
    }
    read(&disk, None);
}

/// Small numbers, and the largest ones.
fn word(dice: &mut Dice<'_>) -> u64 {
    match dice.below(10) {
        0 => u64::MAX - u64::from(dice.byte()),
        1 => u64::from(dice.byte()) << 56,
        2 => u64::from(u32::MAX),
        _ => u64::from(dice.byte() % 16),
    }
}

/// A log of several segments whose files are changed behind its back.
fn damaged(mut dice: Dice<'_>) {
    let disk = SimulatedDisk::new(3);
    let mut written = BTreeMap::new();
    let mut log = Log::open(disk.clone(), options(), &["r"], NOW).expect("nothing is wrong yet");
    for number in 0..4 + dice.below(20) {
        let mut payload = (number as u64).to_le_bytes().to_vec();
        payload.resize(8 + dice.below(1_200), dice.byte());
        let records = 1 + dice.below(3) as u32;
        let end = log.appender.append(records, &Arc::from(&payload[..]), NOW).expect("there is room");
        written.insert(end - u64::from(records), (records, payload));
        log.committer.round(NOW + number as u64);
        if dice.below(5) == 0 {
            let _ = log.readers[0].read();
            let until = log.readers[0].position().saturating_sub(dice.below(3) as u64);
            log.readers[0].settle(until);
        }
    }
    drop(log);
    let names = disk.names().expect("it has names");
    while !dice.is_empty() {
        let name = &names[dice.below(names.len())];
        let mut file = disk.open(name).expect("it is there");
        let size = usize::try_from(file.size().expect("it has a size")).expect("it is small");
        let at = dice.below(size.max(1));
        match dice.below(4) {
            0 => disk.flip(name, at as u64, dice.byte()),
            1 => disk.tear(name, at as u64, dice.byte()),
            // A part of one file in another: what a disk does that mixes blocks up.
            2 => {
                let other = disk.open(&names[dice.below(names.len())]).expect("it is there");
                let mut part = vec![0; (1 + dice.below(600)).min(size - at)];
                let _ = other.read_at(dice.below(4096) as u64, &mut part);
                file.write_at(at as u64, &part).expect("it fits");
            }
            _ => {
                let part = vec![dice.byte(); (1 + dice.below(40)).min(size - at)];
                file.write_at(at as u64, &part).expect("it fits");
            }
        }
    }
    read(&disk, Some(&written));
}

fn put(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let mut file = disk.create(name, bytes.len() as u64).expect("it is new");
    file.write_at(0, bytes).expect("it fits");
}

/// Opens the log, reads all of it, appends to it and reads that; and looks at it from outside.
fn read(disk: &SimulatedDisk, written: Option<&BTreeMap<u64, (u32, Vec<u8>)>>) {
    let _ = Survey::of(disk);
    let Ok(mut log) = Log::open(disk.clone(), options(), &["r"], NOW) else { return };
    let mut reads = 0;
    let mut position = 0;
    loop {
        reads += 1;
        assert!(reads < 10_000, "it reads for ever");
        match log.readers[0].read() {
            Ok(Read::Entry { entry, .. }) => {
                let before = std::mem::replace(&mut position, entry.end());
                if let Some(written) = written {
                    assert!(entry.first >= before, "it goes back");
                    let what = written.get(&entry.first).expect("nobody wrote a record of this number");
                    assert_eq!((what.0, &what.1[..]), (entry.records, &entry.payload[..]));
                }
            }
            Ok(Read::Damaged(_)) => {}
            Ok(Read::Empty) => break,
            Err(_) => return,
        }
    }
    let next = log.recovered.next;
    // Frames that overlap, which nobody writes, leave the reader behind the log's end.
    if position > next {
        return;
    }
    if log.appender.append(1, &Arc::from(&b"fresh"[..]), NOW).is_err() {
        return;
    }
    for step in 1..20 {
        log.committer.round(NOW + step * NOW);
    }
    match log.readers[0].read() {
        Ok(Read::Entry { entry, .. }) => assert_eq!((entry.first, &entry.payload[..]), (next, &b"fresh"[..])),
        other => panic!("what is appended to a damaged log does not come out: {other:?}"),
    }
}
