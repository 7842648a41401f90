//! Who takes records: over HTTP, over TCP, or out of a file; and how that goes wrong.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::book::Book;
use super::wait::{lock, pause};

/// How it does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// It takes what comes.
    Open,
    /// It neither reads nor answers.
    Frozen,
    /// A request takes it 20 ms, a connection's read as long.
    Slow,
    /// It takes every second request and closes every connection unanswered.
    Broken,
    /// It answers 503; over TCP it closes the connection.
    Refusing,
}

const MODES: [Mode; 5] = [Mode::Open, Mode::Frozen, Mode::Slow, Mode::Broken, Mode::Refusing];
const SLOW: Duration = Duration::from_millis(20);

/// A receiver, until it is dropped.
pub(super) struct Sink {
    shared: Arc<Shared>,
    /// Where the program is to send or write to.
    pub(super) at: String,
}

struct Shared {
    book: Arc<Mutex<Book>>,
    mode: AtomicU8,
    is_over: AtomicBool,
    requests: AtomicU64,
    /// One connection over TCP is read at a time: what an older one had comes before what a newer one has.
    turn: Mutex<()>,
}

impl Sink {
    pub(super) fn http(book: &Arc<Mutex<Book>>) -> Result<Self, String> {
        Self::listen(book, |shared, stream| {
            let _ = shared.serve(stream);
        })
    }

    pub(super) fn tcp(book: &Arc<Mutex<Book>>) -> Result<Self, String> {
        Self::listen(book, Shared::follow_stream)
    }

    /// What is in a file that the program writes.
    pub(super) fn file(book: &Arc<Mutex<Book>>, path: PathBuf) -> Self {
        let shared = Arc::new(Shared::new(book));
        let at = path.display().to_string();
        let following = Arc::clone(&shared);
        thread::spawn(move || following.follow_file(&path));
        Self { shared, at }
    }

    fn listen(
        book: &Arc<Mutex<Book>>,
        serve: impl Fn(&Shared, TcpStream) + Copy + Send + 'static,
    ) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no free port: {error}"))?;
        let at = listener.local_addr().map_err(|error| format!("no address: {error}"))?.to_string();
        let shared = Arc::new(Shared::new(book));
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.is_over.load(Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Ok(Self { shared, at })
    }

    pub(super) fn set(&self, mode: Mode) {
        let at = MODES.iter().position(|other| *other == mode).unwrap_or(0);
        self.shared.mode.store(u8::try_from(at).unwrap_or(0), Relaxed);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        // So that whoever accepts looks up.
        drop(TcpStream::connect(&self.at));
    }
}

impl Shared {
    fn new(book: &Arc<Mutex<Book>>) -> Self {
        Self {
            book: Arc::clone(book),
            mode: AtomicU8::new(0),
            is_over: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Relaxed))]
    }

    /// How it does, once it is not frozen any more.
    fn thawed(&self) -> Mode {
        loop {
            match self.mode() {
                Mode::Frozen if !self.is_over.load(Relaxed) => pause(Duration::from_millis(2)),
                mode => return mode,
            }
        }
    }

    /// Answers the requests of one connection until it ends.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut answers = stream.try_clone().ok()?;
        let mut requests = BufReader::with_capacity(64 << 10, stream);
        loop {
            let (_, body) = super::web::message(&mut requests)?;
            let mode = self.thawed();
            let number = self.requests.fetch_add(1, Relaxed);
            match mode {
                Mode::Refusing => {
                    answers.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").ok()?;
                    continue;
                }
                Mode::Broken if number.is_multiple_of(2) => return None,
                Mode::Slow => pause(SLOW),
                Mode::Broken | Mode::Open | Mode::Frozen => {}
            }
            self.see(&body);
            if mode == Mode::Broken {
                return None;
            }
            answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }

    /// Notes the whole lines; says how long they are.
    fn see(&self, block: &[u8]) -> usize {
        let whole = block.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut book = lock(&self.book);
        for line in block[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            book.see(line);
        }
        whole
    }

    /// Reads lines until the connection ends; a line that is cut off by that is none.
    fn follow_stream(&self, mut stream: TcpStream) {
        // Small, so that what is lost in it is little; what the kernel had is known to the judge.
        let _ = socket2::SockRef::from(&stream).set_recv_buffer_size(RECEIVE_BUFFER_BYTES / 2);
        let _turn = lock(&self.turn);
        let (mut block, mut kept) = (vec![0; 32 << 10], 0);
        loop {
            match self.thawed() {
                Mode::Slow => pause(SLOW / 10),
                Mode::Broken | Mode::Refusing => return,
                Mode::Open | Mode::Frozen => {}
            }
            let Ok(read @ 1..) = stream.read(&mut block[kept..]) else { return };
            let filled = kept + read;
            let used = self.see(&block[..filled]);
            block.copy_within(used..filled, 0);
            kept = filled - used;
        }
    }

    /// Reads lines as they are written. What is behind the last whole one is looked at again: it may be taken back.
    fn follow_file(&self, path: &std::path::Path) {
        let mut at = 0;
        while !self.is_over.load(Relaxed) {
            if !self.read_on(path, &mut at).unwrap_or(false) {
                pause(Duration::from_millis(5));
            }
        }
    }

    /// Whether there was something.
    fn read_on(&self, path: &std::path::Path, at: &mut u64) -> std::io::Result<bool> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(*at))?;
        let mut block = Vec::new();
        file.take(4 << 20).read_to_end(&mut block)?;
        let used = self.see(&block);
        *at += used as u64;
        Ok(used > 0)
    }
}

/// What the kernel takes for a receiver over TCP, on its books.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 128 << 10;
