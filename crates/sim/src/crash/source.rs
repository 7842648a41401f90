//! Who offers records: over HTTP, where an answer is a promise; in a file, where every whole line is one; over TCP, where
//! nothing is.

use std::fs::File;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::book::Book;
use super::record;
use super::wait::{lock, pause};

/// How long a peer waits before it tries again.
const AGAIN: Duration = Duration::from_millis(10);
/// How long an answer is waited for: longer than anything that is done to the program takes.
const ANSWER: Duration = Duration::from_secs(60);
/// Connections, and records in a request.
const CONNECTIONS: u16 = 12;
const REQUEST: u64 = 1_000;
/// Records in one write to a file or a connection.
const WRITE: u64 = 200;

/// Where it sends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Http,
    File,
    Tcp,
}

/// Threads that offer records until they are told to stop.
pub(super) struct Source {
    stop: Arc<AtomicBool>,
    /// No more is issued while so many are not seen.
    most: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// What a thread needs.
#[derive(Clone)]
struct Offer {
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
}

impl Source {
    /// Begins to offer at this address, or in this file.
    pub(super) fn start(kind: Kind, at: &str, book: &Arc<Mutex<Book>>, most: u64) -> Result<Self, String> {
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(most)));
        let offer = Offer { book: Arc::clone(book), stop: Arc::clone(&stop), most: Arc::clone(&most) };
        let threads = match kind {
            Kind::Http => (0..CONNECTIONS)
                .map(|key| {
                    let (offer, at) = (offer.clone(), at.to_owned());
                    thread::spawn(move || offer.post(&at, key))
                })
                .collect(),
            Kind::Tcp => {
                let at = at.to_owned();
                vec![thread::spawn(move || offer.stream(&at))]
            }
            Kind::File => {
                let opened = File::options().create(true).append(true).open(Path::new(at));
                let file = opened.map_err(|error| format!("{at}: {error}"))?;
                vec![thread::spawn(move || offer.append(file))]
            }
        };
        Ok(Self { stop, most, threads })
    }

    /// So many may be unsettled from now on.
    pub(super) fn allow(&self, most: u64) {
        self.most.store(most, Relaxed);
    }

    /// Offers no more. What nobody answered is given up.
    pub(super) fn stop(self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            drop(thread.join());
        }
    }
}

impl Offer {
    fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Numbers for so many, when there is room for them; `None` when it is over.
    fn issue(&self, count: u64) -> Option<Range<u64>> {
        loop {
            if self.is_over() {
                return None;
            }
            let mut book = lock(&self.book);
            if book.unsettled() + count <= self.most.load(Relaxed) {
                return Some(book.issue(count));
            }
            drop(book);
            pause(Duration::from_millis(2));
        }
    }

    /// One request after the other, each again until it is answered with 2xx.
    fn post(&self, at: &str, key: u16) {
        let mut kept = None;
        while let Some(ids) = self.issue(REQUEST) {
            let body = text(&ids, key);
            loop {
                let stream = kept.take().or_else(|| connect(at));
                if let Some(mut stream) = stream
                    && let Some(status) = super::web::post(&mut stream, &body)
                {
                    kept = Some(stream);
                    if status / 100 == 2 {
                        lock(&self.book).ack(&ids);
                        break;
                    }
                }
                if self.is_over() {
                    return;
                }
                pause(AGAIN);
                lock(&self.book).sent_again(&ids);
            }
        }
    }

    /// Whole lines; each is a promise once it is in the file.
    fn append(&self, mut file: File) {
        while let Some(ids) = self.issue(WRITE) {
            if file.write_all(&text(&ids, 0)).is_err() {
                return;
            }
            lock(&self.book).ack(&ids);
        }
    }

    /// Lines over one connection after the other. What could not be written is written again: the other side may have a
    /// part of it.
    fn stream(&self, at: &str) {
        let mut kept: Option<TcpStream> = None;
        while let Some(ids) = self.issue(WRITE) {
            let block = text(&ids, 0);
            loop {
                if kept.is_none() {
                    kept = connect(at).map(BufReader::into_inner);
                }
                if kept.as_mut().is_some_and(|stream| stream.write_all(&block).is_ok()) {
                    break;
                }
                kept = None;
                if self.is_over() {
                    return;
                }
                pause(AGAIN);
                lock(&self.book).sent_again(&ids);
            }
        }
    }
}

fn text(ids: &Range<u64>, key: u16) -> Vec<u8> {
    let mut text = Vec::with_capacity(record::BYTES * usize::try_from(ids.end - ids.start).unwrap_or(0));
    ids.clone().for_each(|id| record::write(id, key, &mut text));
    text
}

/// With small buffers of the kernel's, so that what is lost in them is little.
fn connect(at: &str) -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_nodelay(true).ok()?;
    socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES / 2).ok()?;
    Some(BufReader::new(stream))
}

/// What the kernel takes for a sender, on its books.
pub(super) const SEND_BUFFER_BYTES: usize = 128 << 10;
