//! The same peers over HTTP/1.1: who sends records in requests and notes which were answered, and who takes them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::receive::Book;
use super::record::{RECORD_BYTES, Template, read};
use super::{Options, io, listen, micros, pause};
use crate::shell::Fail;

/// How long a peer waits before it tries again.
const AGAIN: Duration = Duration::from_millis(20);

/// The largest body that is taken.
const BODY_MAX_BYTES: usize = 64 << 20;

/// `receive-http --listen ADDRESS [--keep PATH] [--delay-ms N] [--refuse-every N] [--receive-buffer BYTES]`; prints the
/// address that it listens on first. What a request holds is kept and counted, then comes the delay, then the answer. A
/// request that holds a record whose number can be divided by N is answered with 400, and not counted.
pub(super) fn receive(options: &Options) -> Result<(), Fail> {
    let listener = listen(options)?;
    let book = Arc::new(Book::new(0).keeping(options)?);
    let delay = Duration::from_millis(options.number("delay-ms", 0)?);
    let poison = options.number("refuse-every", 0)?;
    let accepting = Arc::clone(&book);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&accepting);
            std::thread::spawn(move || serve(stream, &book, delay, poison));
        }
    });
    book.answer();
    Ok(())
}

/// Answers the requests of one connection until it ends.
fn serve(stream: TcpStream, book: &Book, delay: Duration, poison: u64) -> Option<()> {
    // A small answer is not to wait for the next.
    stream.set_nodelay(true).ok()?;
    let mut answers = stream.try_clone().ok()?;
    let mut from = BufReader::with_capacity(256 * 1024, stream);
    let mut body = Vec::new();
    loop {
        let (_, length) = head(&mut from)?;
        body.resize(length.min(BODY_MAX_BYTES), 0);
        from.read_exact(&mut body).ok()?;
        if poison > 0 && body.chunks(RECORD_BYTES).any(|line| is_poisoned(line, poison)) {
            pause(delay);
            answers.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 8\r\n\r\npoisoned").ok()?;
            continue;
        }
        book.lines(&body);
        pause(delay);
        answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

fn is_poisoned(line: &[u8], every: u64) -> bool {
    read(line).is_some_and(|seen| seen.number.is_multiple_of(every))
}

/// The first line of a request or answer, and how long its body is; `None` at the end of the connection.
fn head(from: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut first, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some((first?, length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        first.get_or_insert_with(|| line.to_owned());
    }
}

/// `send-http --to ADDRESS --answered PATH [--seconds S] [--connections N] [--batch N]`: requests, one after the other on
/// each connection, each sent again until it is answered with 2xx; those are noted as `first count`, one a line.
pub(super) fn send(options: &Options) -> Result<(), Fail> {
    let (to, path) = (options.text("to")?, options.text("answered")?);
    let book = Mutex::new(File::create(path).map_err(|error| io(path, &error))?);
    let seconds = Duration::from_secs(options.number("seconds", 10)?);
    let batch = options.number("batch", 100)?.max(1);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.number("connections", 4)?.max(1) {
            scope.spawn(|| {
                let begun = begin();
                let mut stream = None;
                while begun.elapsed() < seconds {
                    let first = next.fetch_add(batch, Relaxed);
                    // The last one is given up when time is over: nobody was answered for it.
                    while begun.elapsed() < seconds * 2 {
                        if request(&mut stream, to, first, batch) == Some(true) {
                            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                            let _ = writeln!(book, "{first} {batch}");
                            break;
                        }
                        pause(AGAIN);
                    }
                }
            });
        }
        Ok::<(), Fail>(())
    })?;
    println!("{{\"sent\":{}}}", next.load(Relaxed));
    Ok(())
}

/// Sends one request, on the connection that there is or on a new one; whether it was answered with 2xx.
fn request(kept: &mut Option<BufReader<TcpStream>>, to: &str, first: u64, batch: u64) -> Option<bool> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(to).ok()?),
    };
    let (template, mut body) = (Template::new(), Vec::new());
    (first..first + batch).for_each(|number| template.write(number, micros(), &mut body));
    debug_assert_eq!(body.len() % RECORD_BYTES, 0, "whole records");
    let head_of_it = format!("POST / HTTP/1.1\r\nhost: {to}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(head_of_it.as_bytes()).ok()?;
    stream.get_mut().write_all(&body).ok()?;
    let (status, length) = head(&mut stream)?;
    std::io::copy(&mut Read::by_ref(&mut stream).take(length as u64), &mut std::io::sink()).ok()?;
    *kept = Some(stream);
    Some(status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')))
}

fn begin() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_up_to_the_body() {
        let mut text = &b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n"[..];
        assert_eq!(head(&mut text), Some(("POST / HTTP/1.1".to_owned(), 3)));
        assert_eq!(&text[..3], b"abc");
        text = &text[3..];
        assert_eq!(head(&mut text), Some(("HTTP/1.1 200 OK".to_owned(), 0)));
        assert_eq!(head(&mut text), None);
    }
}
