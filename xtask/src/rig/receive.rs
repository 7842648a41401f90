//! Who receives: reads lines from every connection, as fast as it can or at a rate, and counts each record by its
//! number. Ends when its standard input does, and says what it saw as one JSON object.

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::record::{RECORD_BYTES, read};
use super::{Options, io, listen, micros, pause};
use crate::shell::Fail;

/// The most records that can be told apart.
const MOST: u64 = 1 << 28;

/// How far a receiver with a rate may be behind it and still catch up.
const CATCHES_UP: Duration = Duration::from_millis(50);

/// What was seen so far; shared by all connections.
pub(super) struct Book {
    /// A bit for each number.
    seen: Vec<AtomicU64>,
    records: AtomicU64,
    repeated: AtomicU64,
    foreign: AtomicU64,
    /// Records by latency: a bucket for each eighth of a power of two microseconds.
    latency: Vec<AtomicU64>,
    /// The rate that all connections share, in records a second; 0 for none.
    rate: AtomicU64,
    turn: Mutex<()>,
    first: AtomicU64,
    last: AtomicU64,
    /// Where what was received is kept, which outlives a receiver that is killed.
    kept: Option<File>,
}

impl Book {
    pub(super) fn new(rate: u64) -> Self {
        let cells = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            seen: cells(usize::try_from(MOST / 64).unwrap_or(0)),
            records: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            latency: cells(64 * 8),
            rate: AtomicU64::new(rate),
            turn: Mutex::new(()),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            kept: None,
        }
    }

    /// Keeps what is received at the end of `--keep`, if that was given.
    pub(super) fn keeping(mut self, options: &Options) -> Result<Self, Fail> {
        if let Ok(path) = options.text("keep") {
            let opened = File::options().create(true).append(true).open(path);
            self.kept = Some(opened.map_err(|error| io(path, &error))?);
        }
        Ok(self)
    }

    fn line(&self, line: &[u8], now: u64) {
        let Some(seen) = read(line).filter(|seen| seen.number < MOST) else {
            self.foreign.fetch_add(1, Relaxed);
            return;
        };
        let bit = 1 << (seen.number % 64);
        let word = usize::try_from(seen.number / 64).unwrap_or(0);
        if self.seen[word].fetch_or(bit, Relaxed) & bit != 0 {
            self.repeated.fetch_add(1, Relaxed);
        }
        self.records.fetch_add(1, Relaxed);
        self.latency[bucket(now.saturating_sub(seen.sent))].fetch_add(1, Relaxed);
    }

    /// Keeps and counts the whole lines of a block; says how long they are.
    pub(super) fn lines(&self, block: &[u8]) -> usize {
        let now = micros();
        let whole = block.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if let Some(mut kept) = self.kept.as_ref() {
            // One call: what was kept is whole lines, also when the process is killed.
            if let Err(error) = kept.write_all(&block[..whole]) {
                eprintln!("rig: what is received cannot be kept: {error}");
                std::process::exit(1);
            }
        }
        let _ = self.first.compare_exchange(0, now, Relaxed, Relaxed);
        let mut from = 0;
        while let Some(length) = block[from..].iter().position(|byte| *byte == b'\n') {
            self.line(&block[from..from + length], now);
            from += length + 1;
        }
        self.last.store(now, Relaxed);
        from
    }

    fn percentile(&self, share: f64) -> u64 {
        let total: u64 = self.latency.iter().map(|count| count.load(Relaxed)).sum();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = (total as f64 * share) as u64;
        let mut below = 0;
        let at = self.latency.iter().position(|count| {
            below += count.load(Relaxed);
            below > rank
        });
        at.map_or(0, |at| (1_u64 << (at / 8)) * (8 + at as u64 % 8) / 8)
    }

    /// Answers on standard output until standard input ends.
    pub(super) fn answer(&self) {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match line.strip_prefix("rate ").and_then(|rate| rate.parse().ok()) {
                Some(rate) => self.rate.store(rate, Relaxed),
                None => self.print(),
            }
        }
        self.print();
    }

    /// How many of the numbers in a file of `first count` lines, one for each answered request, were not seen.
    fn unseen(&self, answered: &str) -> (u64, u64) {
        let ranges = answered.lines().filter_map(|line| {
            let (first, count) = line.split_once(' ')?;
            Some((first.parse::<u64>().ok()?, count.parse::<u64>().ok()?))
        });
        ranges.flat_map(|(first, count)| first..first + count).fold((0, 0), |(all, unseen), number| {
            let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
            let seen = self.seen.get(word).is_some_and(|word| word.load(Relaxed) & (1 << (number % 64)) != 0);
            (all + 1, unseen + u64::from(!seen))
        })
    }

    fn print(&self) {
        let get = |cell: &AtomicU64| cell.load(Relaxed);
        // Read first: the numbers of so many records are noted by then, while others may still come in.
        let records = get(&self.records);
        let unique: u64 = self.seen.iter().map(|word| u64::from(get(word).count_ones())).sum();
        println!(
            "{{\"records\":{records},\"unique\":{unique},\"repeated\":{},\"foreign\":{},\"micros\":{},\"p50_us\":{},\"p99_us\":{}}}",
            get(&self.repeated),
            get(&self.foreign),
            get(&self.last).saturating_sub(get(&self.first)),
            self.percentile(0.5),
            self.percentile(0.99),
        );
    }
}

fn bucket(micros: u64) -> usize {
    let power = micros.max(1).ilog2();
    let eighth = if power < 3 { 0 } else { (micros >> (power - 3)) & 7 };
    power as usize * 8 + usize::try_from(eighth).unwrap_or(0)
}

/// `receive --listen ADDRESS [--rate N] [--keep PATH] [--receive-buffer BYTES]`; prints the address that it listens on
/// first. While it runs, a line `rate N` on its standard input changes the rate, and any other line is answered with what
/// was seen so far.
pub(super) fn run(options: &Options) -> Result<(), Fail> {
    let listener = listen(options)?;
    let book = Arc::new(Book::new(options.number("rate", 0)?).keeping(options)?);
    let accepting = Arc::clone(&book);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&accepting);
            std::thread::spawn(move || follow(stream, &book));
        }
    });
    book.answer();
    Ok(())
}

/// `count --file PATH[,PATH] [--answered PATH]`; with the second, a line before it says how many records were answered
/// for, and how many of those are in no file.
pub(super) fn count(options: &Options) -> Result<(), Fail> {
    let book = Book::new(0);
    for path in options.text("file")?.split(',') {
        follow(File::open(path).map_err(|error| io(path, &error))?, &book);
    }
    if let Ok(path) = options.text("answered") {
        let answered = std::fs::read_to_string(path).map_err(|error| io(path, &error))?;
        let (all, unseen) = book.unseen(&answered);
        println!("{{\"answered\":{all},\"unseen\":{unseen}}}");
    }
    book.print();
    Ok(())
}

fn follow(mut from: impl Read, book: &Book) {
    let mut block = vec![0; 256 * 1024];
    let (mut kept, mut due) = (0, begin());
    loop {
        let rate = book.rate.load(Relaxed);
        let most = if rate == 0 { block.len() } else { block.len().min(kept + records_in(rate, 10)) };
        let _turn = (rate > 0).then(|| book.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(read @ 1..) = from.read(&mut block[kept..most.max(kept + 1)]) else { return };
        let filled = kept + read;
        let used = book.lines(&block[..filled]);
        block.copy_within(used..filled, 0);
        kept = filled - used;
        if rate > 0 {
            // By the clock and not by the length of each pause, which is always a little longer than was asked for; what
            // was not there to be taken is not caught up on.
            due = due.max(begin().checked_sub(CATCHES_UP).unwrap_or(due));
            due += Duration::from_micros(read as u64 * 1_000_000 / (rate * RECORD_BYTES as u64));
            pause(due.saturating_duration_since(begin()));
        }
    }
}

fn begin() -> Instant {
    Instant::now()
}

/// Bytes of as many records as come in so many milliseconds.
fn records_in(rate: u64, millis: u64) -> usize {
    usize::try_from((rate * millis / 1_000).max(1)).unwrap_or(1) * RECORD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::record::Template;

    #[test]
    fn records_are_counted_by_number_across_any_cuts() {
        let template = Template::new();
        let mut text = Vec::new();
        [0, 1, 2, 5, 5].into_iter().for_each(|number| template.write(number, micros(), &mut text));
        text.extend_from_slice(b"garbage\n");
        /// Gives a few bytes at a time.
        struct Slowly<'a>(&'a [u8]);
        impl Read for Slowly<'_> {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                let some = into.len().min(7).min(self.0.len());
                into[..some].copy_from_slice(&self.0[..some]);
                self.0 = &self.0[some..];
                Ok(some)
            }
        }
        let book = Book::new(0);
        follow(Slowly(&text), &book);
        let get = |cell: &AtomicU64| cell.load(Relaxed);
        assert_eq!((get(&book.records), get(&book.repeated), get(&book.foreign)), (5, 1, 1));
    }

    #[test]
    fn records_that_were_answered_for_and_not_seen_are_counted() {
        let template = Template::new();
        let mut text = Vec::new();
        [0, 1, 2, 70].into_iter().for_each(|number| template.write(number, micros(), &mut text));
        let book = Book::new(0);
        assert_eq!(book.lines(&text), text.len());
        assert_eq!(book.unseen("0 3\n70 1\n"), (4, 0));
        assert_eq!(book.unseen("0 3\n69 2\n999999999999 1\n"), (6, 2));
    }

    #[test]
    fn latencies_fall_into_rising_buckets() {
        let buckets: Vec<usize> = [0, 1, 8, 9, 15, 16, 1_000, 1_000_000].map(bucket).to_vec();
        assert!(buckets.is_sorted(), "{buckets:?}");
    }
}
