//! [`Server`]: takes connections, and serves each one request after the other. It runs in tasks beside the source, so that
//! answers go out while the source is not read.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_flow::{Bytes as FlowBytes, Lease, Time};
use tidegate_runtime::{Companion, Intake};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use super::HttpServer;
use super::desk::{Counts, Desk};
use super::requests::{Given, Meeting};
use super::rules::Rules;
use super::silent::GRACE;
use crate::contract::{BuildContext, StartError};

/// How long connections may take to send their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How many connections the kernel keeps that were not accepted yet. With fewer (the standard library asks for 128) clients
/// that come all at once wait a second and more until they are let try again.
const BACKLOG: u32 = 1024;

/// How long nobody is let in after accepting failed, as it does when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a connection that waits for a place looks whether another was silent for long enough to make room.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most tasks that serve connections.
const MOST_TASKS: usize = 4;

/// The most that the head of a request may take, and that a connection holds of a body.
pub(super) const HEAD_BYTES: usize = 16 << 10;

/// Listens; nothing is taken before it [serves](Server::serve).
pub(super) struct Server {
    listener: TcpListener,
    pub(super) meeting: Meeting,
    rules: Rules,
    counts: Counts,
}

impl Server {
    pub(super) fn bind(
        config: &HttpServer,
        node: &Arc<str>,
        cx: &BuildContext,
    ) -> Result<(Self, SocketAddr), StartError> {
        let failed = |error: std::io::Error| {
            StartError::new(format!("cannot listen on {}: {error}", config.address))
                .help("stop what listens there, or choose another port")
        };
        let listener = listen(config.address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let counts = Counts::new(node, cx);
        Ok((Self { listener, meeting: Meeting::default(), rules: Rules::of(config)?, counts }, address))
    }

    /// Takes and answers requests until everything is settled and nothing more is read.
    ///
    /// That is the work of several tasks: each accepts, and serves the connections that it accepted.
    pub(super) fn serve(self, given: &Given, closing: &Intake) -> Vec<Companion> {
        let Self { listener, meeting, rules, counts } = self;
        let desk = Arc::new(Desk::new(rules, counts, meeting, given.clone()));
        let listener = Arc::new(listener);
        let task =
            |_| -> Companion { Box::pin(take_connections(Arc::clone(&listener), Arc::clone(&desk), closing.clone())) };
        (0..tasks()).map(task).collect()
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How many tasks serve: as many as there are cores, but no more than other stages leave room for.
fn tasks() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_TASKS)
}

/// Accepts connections and serves them, until `closing` says that everything is settled.
async fn take_connections(listener: Arc<TcpListener>, desk: Arc<Desk>, mut closing: Intake) {
    let mut connections: Connections = FuturesUnordered::new();
    let mut newcomer = None;
    {
        let mut stop = pin!(closing.shut());
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(()) = connections.next() => {}
                admitted = admit(&desk, &listener, &mut newcomer) => match admitted {
                    Ok(admitted) => {
                        desk.counts.opened.add(1);
                        connections.push(Box::pin(connection(admitted, Arc::clone(&desk))));
                    }
                    Err(_) => {
                        desk.counts.not_accepted.add(1);
                        let until = desk.given.clock.now() + ACCEPT_PAUSE;
                        go_on(&desk.given, ACCEPT_PAUSE, &mut connections).await;
                        desk.given.clock.sleep_until(until).await;
                    }
                },
            }
        }
    }
    drop(listener);
    desk.closing.send_replace(true);
    go_on(&desk.given, LAST_ANSWERS, &mut connections).await;
}

/// A connection that was accepted, and waits for a place. Each task has one at most.
struct Newcomer {
    stream: TcpStream,
    peer: SocketAddr,
    /// When another one was given up for it.
    given_up_at: Option<Time>,
}

/// Lets a connection in, once there is a place for it, and memory; where there is none, the one that was silent for the
/// longest time makes room. Cancel-safe: who was accepted stays in `newcomer`.
async fn admit(desk: &Desk, listener: &TcpListener, newcomer: &mut Option<Newcomer>) -> std::io::Result<Connected> {
    if newcomer.is_none() {
        let (stream, peer) = listener.accept().await?;
        *newcomer = Some(Newcomer { stream, peer, given_up_at: None });
    }
    let (place, lease) = {
        let mut room = pin!(room(desk));
        loop {
            tokio::select! {
                biased;
                room = &mut room => break room?,
                () = std::future::ready(()) => {}
            }
            let now = desk.given.clock.now();
            if let Some(newcomer) = newcomer.as_mut()
                && newcomer.given_up_at.is_none_or(|at| now.since(at) >= GRACE)
                && desk.silent.give_up_oldest(now)
            {
                newcomer.given_up_at = Some(now);
                desk.counts.given_up.add(1);
            }
            tokio::select! {
                biased;
                room = &mut room => break room?,
                () = desk.given.clock.sleep_until(now + LOOK_EVERY) => {}
            }
        }
    };
    let Some(Newcomer { stream, peer, .. }) = newcomer.take() else {
        return Err(std::io::Error::other("nobody was accepted"));
    };
    Ok(Connected { stream, peer, _place: place, _lease: lease })
}

/// A place and memory for a connection, when there is both.
async fn room(desk: &Desk) -> std::io::Result<(OwnedSemaphorePermit, Lease)> {
    let place = Arc::clone(&desk.places).acquire_owned().await.map_err(std::io::Error::other)?;
    let bytes = FlowBytes::from(HEAD_BYTES);
    loop {
        if let Some(lease) = desk.given.holding.try_lease(bytes) {
            return Ok((place, lease));
        }
        let room = poll_fn(|task| desk.given.holding.poll_room(task, bytes)).await;
        room.map_err(|refused| std::io::Error::other(refused.to_string()))?;
    }
}

/// A connection, its place among those that there may be, and what pays for what it holds.
struct Connected {
    stream: TcpStream,
    peer: SocketAddr,
    /// Given back when the connection is over.
    _place: OwnedSemaphorePermit,
    /// For the head of a request and the part of a body that was not taken yet.
    _lease: Lease,
}

type Connections = FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Lets the connections go on for a while; ends early when there are none.
async fn go_on(given: &Given, time: Duration, connections: &mut Connections) {
    let mut over = pin!(given.clock.sleep_until(given.clock.now() + time));
    while !connections.is_empty() {
        tokio::select! {
            biased;
            () = &mut over => return,
            _ = connections.next() => {}
        }
    }
}

/// Serves one connection, one request after the other.
async fn connection(connected: Connected, desk: Arc<Desk>) {
    let Connected { stream, peer, _place, _lease } = connected;
    let mut closing = desk.closing.subscribe();
    let line = Arc::new(desk.silent.enter(desk.given.clock.now()));
    let service = service_fn(|request| {
        let (desk, line) = (Arc::clone(&desk), Arc::clone(&line));
        async move { Ok::<_, Infallible>(desk.answer(peer, request, &line).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(desk.rules.read_timeout).max_buf_size(HEAD_BYTES);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        // How a connection ends is its peer's affair; a request that never became one is counted.
        ended = &mut served => return desk.counts.no_request(ended.err()),
        () = line.given_up() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    served.as_mut().graceful_shutdown();
    drop(served.await);
}
