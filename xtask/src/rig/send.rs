//! Who sends: numbered records over TCP as fast as the other side takes them, or at a rate; or into a file.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::record::{RECORD_BYTES, Template};
use super::{Options, io, kernel_buffers, micros, pause};
use crate::shell::Fail;

/// Records in one write.
const BLOCK: u64 = 256;

/// `send --to ADDRESS [--records N] [--seconds S] [--rate N] [--connections N] [--send-buffer BYTES]`. While it runs, a
/// line on its standard input is answered with how much was sent so far.
pub(super) fn run(options: &Options) -> Result<(), Fail> {
    let to = options.text("to")?;
    let connections = options.number("connections", 1)?.max(1);
    let records = options.number("records", u64::MAX / 4)? / connections;
    let seconds = Duration::from_secs(options.number("seconds", 86_400)?);
    let rate = options.number("rate", 0)? / connections;
    let sent_so_far = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&sent_so_far);
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines().map_while(Result::ok) {
            println!("{{\"sent\":{}}}", asked.load(Relaxed));
        }
    });
    let sent = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|at| {
                let numbers = Numbers { first: at, step: connections, records };
                let count = &sent_so_far;
                scope.spawn(move || {
                    let stream = TcpStream::connect(to).map_err(|error| io(to, &error))?;
                    kernel_buffers(&stream, options)?;
                    Ok(send(stream, &numbers, seconds, rate, count))
                })
            })
            .collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Fail::red("a sender panicked"))));
        ended.sum::<Result<u64, Fail>>()
    })?;
    println!("{{\"sent\":{sent}}}");
    Ok(())
}

/// `generate --file PATH --records N`
pub(super) fn generate(options: &Options) -> Result<(), Fail> {
    let path = options.text("file")?;
    let mut file = std::fs::File::create(path).map_err(|error| io(path, &error))?;
    let (template, mut block) = (Template::new(), Vec::new());
    let records = options.number("records", 4_000_000)?;
    for from in (0..records).step_by(usize::try_from(BLOCK * 16).unwrap_or(1)) {
        block.clear();
        (from..records.min(from + BLOCK * 16)).for_each(|number| template.write(number, micros(), &mut block));
        file.write_all(&block).map_err(|error| io(path, &error))?;
    }
    Ok(())
}

/// Which records one connection sends.
struct Numbers {
    first: u64,
    step: u64,
    records: u64,
}

fn send(mut stream: TcpStream, numbers: &Numbers, seconds: Duration, rate: u64, count: &AtomicU64) -> u64 {
    let (template, mut block) = (Template::new(), Vec::with_capacity(256 * RECORD_BYTES));
    let begun = begin();
    let mut sent = 0;
    while sent < numbers.records && begun.elapsed() < seconds {
        let most = if rate > 0 { BLOCK.min(rate / 100).max(1) } else { BLOCK };
        let some = most.min(numbers.records - sent);
        block.clear();
        let now = micros();
        (sent..sent + some).for_each(|at| template.write(numbers.first + at * numbers.step, now, &mut block));
        if stream.write_all(&block).is_err() {
            break;
        }
        sent += some;
        count.fetch_add(some, Relaxed);
        if let Some(due) = (sent * 1_000_000).checked_div(rate) {
            pause(Duration::from_micros(due).saturating_sub(begun.elapsed()));
        }
    }
    sent
}

fn begin() -> Instant {
    Instant::now()
}
