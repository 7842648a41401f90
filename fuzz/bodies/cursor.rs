//! Cursor files: any bytes are a slot or none; a slot reads back; one that is damaged is not taken; and whatever stands in
//! the two files, the log opens and its reader stands where it can.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_store::cursor::{Cursors, NAMES, SLOT_BYTES, name_fits};
use tidegate_store::{Disk, DiskFile, Log, LogOptions, Read, SimulatedDisk, SyncPolicy};

use crate::dice::Dice;

const NOW: u64 = 1_000_000_000;
const IDENTITY: u64 = 7;

/// The first byte chooses: any bytes, a slot that is damaged, or two slots that say anything.
pub(crate) fn check(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    match dice.below(3) {
        0 => any(dice.rest()),
        1 => damaged(dice),
        _ => forged(dice),
    }
}

fn any(bytes: &[u8]) {
    let mut slot = bytes.to_vec();
    assert_eq!(Cursors::decode(&slot[..slot.len().min(SLOT_BYTES - 1)]), None, "it is too short");
    slot.resize(SLOT_BYTES, 0);
    reads_back(&slot);
    // The same with a checksum that is right, so that what is in it is looked at.
    let sum = crc32fast::hash(&slot[..SLOT_BYTES - 4]);
    slot[SLOT_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    reads_back(&slot);
}

/// What is understood is written as it was understood.
fn reads_back(slot: &[u8]) {
    let Some(cursors) = Cursors::decode(slot) else { return };
    let again = Cursors::decode(&cursors.encode()).expect("it was just written");
    let fits = |readers: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
        readers.iter().filter(|(name, _)| name_fits(name)).map(|(name, next)| (name.clone(), *next)).collect()
    };
    assert_eq!(again, Cursors { readers: fits(&cursors.readers), ..cursors });
}

fn cursors(dice: &mut Dice<'_>) -> Cursors {
    let mut readers = BTreeMap::new();
    for _ in 0..dice.below(5) {
        let name = ["r", "s", "", "a name", "forty-seven bytes are the most that fit in here"][dice.below(5)];
        readers.insert(name.to_owned(), word(dice));
    }
    Cursors { generation: word(dice), log: IDENTITY, durable: word(dice), readers }
}

/// Small numbers, and the largest ones.
fn word(dice: &mut Dice<'_>) -> u64 {
    match dice.below(8) {
        0 => u64::MAX - u64::from(dice.byte()),
        1 => u64::from(dice.byte()) << 56,
        _ => u64::from(dice.byte() % 16),
    }
}

/// Up to four bytes in a row, which the checksum always notices.
fn damaged(mut dice: Dice<'_>) {
    let whole = cursors(&mut dice).encode();
    // Numbers that no log comes to are damage too.
    if Cursors::decode(&whole).is_none() {
        return;
    }
    let mut slot = whole;
    let at = dice.below(SLOT_BYTES);
    for byte in slot[at..].iter_mut().take(1 + dice.below(4)) {
        *byte = dice.byte();
    }
    assert_eq!(Cursors::decode(&slot).is_some(), slot == whole, "damage at {at}");
}

/// A log whose cursor files were replaced: it opens, and what is in it comes out, or is said to be missing.
fn forged(mut dice: Dice<'_>) {
    let options = LogOptions::new(LogOptions::MIN_SIZE_BYTES).segment_bytes(4096).sync(SyncPolicy::Always);
    let options = options.identity(IDENTITY);
    let disk = SimulatedDisk::new(1);
    let mut log = Log::open(disk.clone(), options.clone(), &["r"], NOW).expect("nothing is wrong yet");
    let records = 1 + dice.below(12) as u64;
    for number in 0..records {
        log.appender.append(1, &Arc::from(&number.to_le_bytes()[..]), NOW).expect("there is room");
        log.committer.round(NOW + number);
    }
    drop(log);
    for name in NAMES {
        let mut slot = cursors(&mut dice).encode();
        if dice.below(4) == 0 {
            slot[dice.below(SLOT_BYTES)] ^= 1;
        }
        disk.open(name).and_then(|mut file| file.write_at(0, &slot)).expect("it is there");
    }
    let Ok(mut log) = Log::open(disk, options, &["r"], NOW) else { return };
    let begin = log.readers[0].position();
    let mut reads = 0;
    loop {
        reads += 1;
        assert!(reads < 100, "it reads for ever");
        match log.readers[0].read() {
            Ok(Read::Entry { entry, .. }) => {
                assert!(entry.first >= begin && entry.first < records);
                assert_eq!(entry.payload[..], entry.first.to_le_bytes());
            }
            Ok(Read::Damaged(_)) => {}
            Ok(Read::Empty) => break,
            Err(error) => panic!("no disk failed: {error}"),
        }
    }
}
