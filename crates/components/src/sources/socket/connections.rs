//! [`Connections`]: one source that reads many connections in turns.
//!
//! A connection is *waiting* (nothing to read; only its own readiness wakes it) or *in line*. Each turn reads the first in
//! line once, into one slab, and puts it at the end of the line. So a busy connection takes no more than its share, and a
//! silent one costs its socket alone.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_flow::{Bytes, Cause, Lease, Time, Weight, kib};
use tidegate_record::{JsonText, Origin, Rows, frame};
use tidegate_runtime::{Clock, NoCommit, Pull, Readiness, Source, SourceContext};

use super::listener::{Peer, Stream, StreamListener};
use super::{CONNECTIONS, Socket};
use crate::clock::wall_time;
use crate::contract::{BuildContext, Counter};
use crate::ids::Counted;
use crate::sources::decode::{Decoder, most_rows};
use crate::sources::stream::{self, Memory, Outcome};

/// How long nobody is let in after accepting failed, as it does when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection takes beside its partial frame: its socket in the event loop, its place in the line, who it is of.
/// Less than 1 KiB measured by `footprint` for one that is silent.
const CONNECTION_BYTES: Bytes = kib(2);

/// The source at work.
pub(super) struct Connections {
    listener: StreamListener,
    limit: usize,
    framing: frame::Framing,
    max_length: usize,
    /// Nothing to read; each has its own waker.
    waiting: FuturesUnordered<Waiting>,
    /// To be read in this order.
    line: VecDeque<Box<Connection>>,
    memory: Option<Memory>,
    /// Pays for the next connection.
    next: Option<Lease>,
    clock: Option<Clock>,
    /// Nobody is let in before.
    pause_until: Option<Pause>,
    decoder: Decoder,
    numbers: Counted,
    counts: Counts,
}

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Counts {
    opened: Counter,
    closed: Counter,
    failed: Counter,
    refused: Counter,
    over_limit: Counter,
    not_accepted: Counter,
    oversize: Counter,
    cut_off: Counter,
    bytes: Counter,
}

/// One connection and its frames.
struct Connection {
    socket: Stream,
    frames: stream::Stream,
    origin: Origin,
    /// Given back behind all of it.
    _lease: Lease,
}

/// Gives the connection back when it can be read.
struct Waiting(Option<Box<Connection>>);

impl Future for Waiting {
    type Output = Box<Connection>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Box<Connection>> {
        let connection = self.0.take();
        match connection {
            // A connection that failed is read as well: that is how its error is learnt.
            Some(connection) if connection.socket.poll_ready(task).is_ready() => Poll::Ready(connection),
            connection => {
                self.0 = connection;
                Poll::Pending
            }
        }
    }
}

impl Connections {
    pub(super) fn new(config: &Socket, listener: StreamListener, node: &Arc<str>, cx: &BuildContext) -> Self {
        let counter = |name| cx.meters.counter(node, name);
        Self {
            listener,
            limit: config.connection_limit.unwrap_or(CONNECTIONS) as usize,
            framing: config.framing().cut(),
            max_length: config.max_length(),
            waiting: FuturesUnordered::new(),
            line: VecDeque::new(),
            memory: None,
            next: None,
            clock: None,
            pause_until: None,
            decoder: Decoder::new(&config.decoding, node, &cx.meters),
            numbers: Counted::fresh(node),
            counts: Counts {
                opened: counter("connections_opened"),
                closed: counter("connections_closed"),
                failed: counter("connections_failed"),
                refused: counter("connections_refused"),
                over_limit: counter("connections_over_limit"),
                not_accepted: counter("accepts_failed"),
                oversize: counter("frames_oversize"),
                cut_off: counter("frames_cut_off"),
                bytes: counter("bytes_read"),
            },
        }
    }

    /// Completes when a connection is in line and there is memory to read it.
    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<Readiness, Cause>> {
        self.accept(task);
        while let Poll::Ready(Some(connection)) = self.waiting.poll_next_unpin(task) {
            self.line.push_back(connection);
        }
        let Some(first) = self.line.front() else { return Poll::Pending };
        if let (false, Some(memory)) = (first.frames.has_uncut(), &mut self.memory) {
            ready!(memory.poll_ready(task))?;
        }
        Poll::Ready(Ok(Readiness::Ready))
    }

    /// Lets in who waits, up to the limit and as far as there is memory. Who is over the limit is told at once, by the
    /// end of the connection: in the line of the kernel nobody would hear of anything. For memory they wait there, as for
    /// everything else.
    fn accept(&mut self, task: &mut Context<'_>) {
        if let Some(pause) = &mut self.pause_until {
            if pause.as_mut().poll(task).is_pending() {
                return;
            }
            self.pause_until = None;
        }
        loop {
            let is_full = self.waiting.len() + self.line.len() >= self.limit;
            if let (false, None, Some(memory)) = (is_full, &self.next, &mut self.memory) {
                match memory.poll_stream_lease(task, CONNECTION_BYTES) {
                    Poll::Pending => return,
                    Poll::Ready(lease) => self.next = lease,
                }
            }
            match self.listener.poll_accept(task) {
                Poll::Pending => return,
                Poll::Ready(Ok(_)) if is_full => self.counts.over_limit.add(1),
                Poll::Ready(Ok((socket, peer))) => {
                    // There never will be memory for it.
                    let Some(lease) = self.next.take() else {
                        self.counts.refused.add(1);
                        continue;
                    };
                    self.counts.opened.add(1);
                    let connection = Connection::new(socket, peer, self.framing, self.max_length, lease);
                    self.waiting.push(Waiting(Some(Box::new(connection))));
                }
                Poll::Ready(Err(error)) if is_of_the_peer(&error) => self.counts.not_accepted.add(1),
                Poll::Ready(Err(_)) => {
                    self.counts.not_accepted.add(1);
                    let Some(clock) = self.clock else { return };
                    let until: Time = clock.now() + ACCEPT_PAUSE;
                    let mut pause: Pause = Box::pin(async move { clock.sleep_until(until).await });
                    // Polled once, so that it wakes this task.
                    if pause.as_mut().poll(task).is_pending() {
                        self.pause_until = Some(pause);
                    }
                    return;
                }
            }
        }
    }
}

/// Whether accepting failed because of who wanted to connect, and the next may do better.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl Connection {
    fn new(socket: Stream, Peer(address): Peer, framing: frame::Framing, max_length: usize, lease: Lease) -> Self {
        let mut origin = Origin::new("socket", tidegate_record::Timestamp::default());
        if let Some(address) = address {
            origin = origin
                .with_host(address.ip().to_string())
                .with_field("port", JsonText::number(u64::from(address.port())));
        }
        let frames = stream::Stream::new(framing, max_length);
        Self { socket, frames, origin, _lease: lease }
    }
}

impl Source for Connections {
    type Payload = Rows;
    type Position = ();
    type Committer = NoCommit;

    fn open(&mut self, cx: SourceContext) {
        self.memory = Some(Memory::new(&cx, self.max_length));
        self.clock = Some(cx.clock);
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        // A connection that never ends must not starve other stages.
        tokio::task::coop::consume_budget().await;
        poll_fn(|task| self.poll_ready(task)).await
    }

    fn read(&mut self, room: Weight, mut rows: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let (Some(memory), Some(mut connection)) = (&mut self.memory, self.line.pop_front()) else {
            return Ok(Pull { payload: rows, position: None });
        };
        let origin = Arc::new(Origin { received: wall_time(), ..connection.origin.clone() });
        let Connection { socket, frames, .. } = &mut *connection;
        let bytes = &self.counts.bytes;
        let read = |into: &mut [u8]| {
            let count = socket.try_read(into)?;
            bytes.add(count as u64);
            Ok(count)
        };
        let outcome = frames.pull(memory, read, most_rows(room), &origin, &mut rows);
        self.counts.oversize.add(frames.take_oversize());
        self.counts.cut_off.add(frames.take_cut_off());
        let has_uncut = frames.has_uncut();
        match outcome {
            // What was read is to be taken before more is read: one slab of one connection at a time.
            Outcome::Read if has_uncut => self.line.push_front(connection),
            Outcome::Read => self.line.push_back(connection),
            Outcome::Starved => self.line.push_front(connection),
            Outcome::Idle => self.waiting.push(Waiting(Some(connection))),
            Outcome::Ended => self.counts.closed.add(1),
            Outcome::Failed(_) => self.counts.failed.add(1),
            Outcome::NoMemory => self.counts.refused.add(1),
        }
        self.numbers.number(&mut rows);
        self.decoder.decode(&mut rows);
        Ok(Pull { payload: rows, position: None })
    }
}
