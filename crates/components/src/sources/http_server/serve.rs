//! [`Server`]: takes connections and requests, reads bodies into slabs, and answers. It runs in a task beside the source,
//! so that answers go out while the source is not read.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_flow::{Bytes as FlowBytes, Lease, Outcome, OutcomeCounts, OverBudget, Slab, SlabBuf};
use tidegate_record::codec::compress::{Compression, DecompressError, Limits, decompress_to};
use tidegate_record::{Form, JsonText, Origin};
use tidegate_runtime::{Companion, Intake};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::admission::Admission;
use super::body::{self, Cut, Fault};
use super::passage::{Late, Passage};
use super::requests::{Given, Meeting, Parcel, Reply, Verdict};
use super::{Auth, HttpServer};
use crate::clock::wall_time;
use crate::contract::{BuildContext, Counter, StartError};

/// How long connections may take to send their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How many connections the kernel keeps that were not accepted yet. With fewer (the standard library asks for 128) clients
/// that come all at once wait a second and more until they are let try again.
const BACKLOG: u32 = 1024;

/// How long nobody is let in after accepting failed, as it does when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most tasks that serve connections.
const MOST_TASKS: usize = 4;

/// The most that the head of a request may take, and that a connection holds of a body.
pub(super) const HEAD_BYTES: usize = 16 << 10;

/// In how many seconds to try again, where nothing better is known.
const RETRY_SECONDS: u64 = 1;

/// Listens; nothing is taken before it [serves](Server::serve).
pub(super) struct Server {
    listener: TcpListener,
    pub(super) meeting: Meeting,
    rules: Rules,
    counts: Counts,
}

/// What the configuration says about requests.
struct Rules {
    path: String,
    is_strict: bool,
    method: Method,
    /// The value of `Authorization` that is asked for.
    authorization: Option<String>,
    cut: Cut,
    headers: Vec<HeaderName>,
    path_key: Arc<str>,
    ok: StatusCode,
    max_body: usize,
    ack_timeout: Duration,
    read_timeout: Duration,
    connections: usize,
}

struct Counts {
    opened: Counter,
    not_accepted: Counter,
    requests: Counter,
    refused_early: Counter,
    malformed: Counter,
    too_large: Counter,
    /// The head or the body did not arrive within `read_timeout`.
    late: Counter,
    /// The head was no HTTP, or the body broke off.
    broken: Counter,
    timed_out: Counter,
    duplicates: Counter,
    bytes: Counter,
}

impl Counts {
    /// A connection ended so, before the head of a request was whole.
    fn no_request(&self, error: Option<hyper::Error>) {
        match error {
            Some(error) if error.is_timeout() => self.late.add(1),
            Some(error) if error.is_parse() => self.broken.add(1),
            _ => {}
        }
    }
}

/// What every connection works with.
pub(super) struct Desk {
    rules: Rules,
    counts: Counts,
    meeting: Meeting,
    pub(super) given: Given,
    admission: Mutex<Admission>,
    late: Mutex<Late>,
    /// For connections.
    places: Arc<Semaphore>,
    /// Whether connections end after the answer at hand.
    closing: watch::Sender<bool>,
}

type Answer = Response<Full<Bytes>>;

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
        let counter = |name| cx.meters.counter(node, name);
        let counts = Counts {
            opened: counter("connections_opened"),
            not_accepted: counter("accepts_failed"),
            requests: counter("requests_taken"),
            refused_early: counter("requests_refused_early"),
            malformed: counter("requests_malformed"),
            too_large: counter("requests_too_large"),
            late: counter("requests_late"),
            broken: counter("requests_broken"),
            timed_out: counter("requests_timed_out"),
            duplicates: counter("records_possibly_duplicated"),
            bytes: counter("bytes_read"),
        };
        Ok((Self { listener, meeting: Meeting::default(), rules: Rules::of(config)?, counts }, address))
    }

    /// Takes and answers requests until everything is settled and nothing more is read.
    ///
    /// That is the work of several tasks: each accepts, and serves the connections that it accepted.
    pub(super) fn serve(self, given: &Given, closing: &Intake) -> Vec<Companion> {
        let Self { listener, meeting, rules, counts } = self;
        let admission = Mutex::new(Admission::new(rules.ack_timeout));
        let places = Arc::new(Semaphore::new(rules.connections.min(Semaphore::MAX_PERMITS)));
        let (given, closing_now) = (given.clone(), watch::Sender::new(false));
        let late = Mutex::default();
        let desk = Arc::new(Desk { rules, counts, meeting, given, admission, late, places, closing: closing_now });
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
    {
        let mut stop = pin!(closing.shut());
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(()) = connections.next() => {}
                accepted = desk.accept(&listener) => match accepted {
                    Ok(accepted) => {
                        desk.counts.opened.add(1);
                        connections.push(Box::pin(connection(accepted, Arc::clone(&desk))));
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
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(peer, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(desk.rules.read_timeout).max_buf_size(HEAD_BYTES);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        // How a connection ends is its peer's affair; a request that never became one is counted.
        ended = &mut served => return desk.counts.no_request(ended.err()),
        _ = closing.wait_for(|closing| *closing) => {}
    }
    served.as_mut().graceful_shutdown();
    drop(served.await);
}

impl Desk {
    /// Lets a connection in, once there is a place for it, and memory. Cancel-safe.
    async fn accept(&self, listener: &TcpListener) -> std::io::Result<Connected> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(std::io::Error::other)?;
        let bytes = FlowBytes::from(HEAD_BYTES);
        let lease = loop {
            if let Some(lease) = self.given.holding.try_lease(bytes) {
                break lease;
            }
            let room = poll_fn(|task| self.given.holding.poll_room(task, bytes)).await;
            room.map_err(|refused| std::io::Error::other(refused.to_string()))?;
        };
        let (stream, peer) = listener.accept().await?;
        Ok(Connected { stream, peer, _place: place, _lease: lease })
    }

    async fn answer(self: Arc<Self>, peer: SocketAddr, request: Request<Incoming>) -> Answer {
        match self.take(peer, request).await {
            Ok(counts) => self.accepted(counts),
            Err(refusal) => refusal.answer(),
        }
    }

    /// Takes a request, from its head to the verdict on its records.
    async fn take(self: &Arc<Self>, peer: SocketAddr, request: Request<Incoming>) -> Result<OutcomeCounts, Refusal> {
        self.rules.check(&request)?;
        let compression = compression_of(&request)?;
        let length = request.body().size_hint().exact();
        if length.is_some_and(|length| length > self.rules.max_body as u64) {
            return Err(self.too_large(format!("a body of more than {} bytes", self.rules.max_body)));
        }
        let mut passage = self.begin()?;
        let origin = Arc::new(self.rules.origin(peer, &request));
        let slab = self.read(request.into_body(), length).await?;
        let slab = self.inflate(slab, compression)?;
        passage.read(slab.len());
        self.counts.bytes.add(slab.len() as u64);
        let (form, records, lease) = self.list(&slab)?;
        self.counts.requests.add(1);
        if records.is_empty() {
            return Ok(OutcomeCounts::default());
        }
        let (reply, count) = (Reply::default(), records.len() as u64);
        let parcel = Parcel { body: slab, form, records: records.into(), lease, origin, reply: reply.clone() };
        if !self.meeting.hand_over(parcel) {
            return Err(Refusal::again("stopping".to_owned(), RETRY_SECONDS));
        }
        passage.awaited = Some(reply.clone());
        let verdict = timeout(self.rules.ack_timeout, poll_fn(|task| reply.poll_verdict(task))).await;
        if let Ok(verdict) = &verdict {
            passage.awaited = None;
            passage.has_settled = matches!(verdict, Verdict::Safe(_));
        }
        match verdict {
            Ok(Verdict::Safe(counts)) => Ok(counts),
            // Why is for the log, where the refusal of the sink or the transform stands: it may name what is behind us.
            Ok(Verdict::Refused) => {
                let text = "not all records can be accepted; sending the same again will not help";
                Err(Refusal::of(StatusCode::BAD_REQUEST, text.to_owned()))
            }
            Ok(Verdict::Again) => {
                Err(Refusal::again("not all records could be taken for now; send them again".to_owned(), RETRY_SECONDS))
            }
            Err(_) => {
                self.counts.timed_out.add(1);
                self.counts.duplicates.add(count);
                let text = format!("not safe within {:?}; it may still arrive", self.rules.ack_timeout);
                Err(Refusal::again(text, RETRY_SECONDS))
            }
        }
    }

    /// Reads a body into a slab that is paid for before it is filled.
    async fn read(&self, mut body: Incoming, length: Option<u64>) -> Result<Slab, Refusal> {
        let reading = async {
            // What is said to come is not paid for before it comes: who says much and sends little would hold much.
            let mut slab = None;
            while let Some(frame) = body.frame().await {
                let broken = |error: hyper::Error| {
                    self.counts.broken.add(1);
                    Refusal::of(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
                };
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                if slab.is_none() {
                    slab = Some(self.slab(0)?);
                }
                if let Some(slab) = &mut slab {
                    self.put(slab, &data, length)?;
                }
            }
            Ok(slab.map(SlabBuf::freeze).unwrap_or_default())
        };
        let late = |_| {
            self.counts.late.add(1);
            Refusal::of(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())
        };
        timeout(self.rules.read_timeout, reading).await.map_err(late)?
    }

    /// Appends to a body of which `length` bytes will come, where that is known. It grows to double what has come.
    fn put(&self, slab: &mut SlabBuf, data: &[u8], length: Option<u64>) -> Result<(), Refusal> {
        let needed = slab.len() + data.len();
        if needed > self.rules.max_body {
            return Err(self.too_large(format!("a body of more than {} bytes", self.rules.max_body)));
        }
        if needed > slab.capacity() {
            let most = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(self.rules.max_body);
            let wanted = (2 * slab.capacity()).clamp(needed, most.min(self.rules.max_body).max(needed));
            slab.grow(wanted).map_err(|refused| self.no_memory(refused))?;
        }
        slab.put(data);
        Ok(())
    }

    /// The records of a body, as a list that is paid for before it is made.
    fn list(&self, slab: &Slab) -> Result<(Form, Vec<Range<usize>>, Lease), Refusal> {
        let most = body::most_records(slab, self.rules.cut);
        let bytes = |records: usize| FlowBytes::from(records.saturating_mul(size_of::<Range<usize>>()));
        let mut lease = self.given.holding.lease(bytes(most)).map_err(|refused| self.no_memory(refused))?;
        let (form, records) = body::records(slab, self.rules.cut, most).map_err(|fault| self.faulty(&fault))?;
        // Shrinking always works.
        let _fits: Result<(), OverBudget> = lease.resize(bytes(records.capacity()).min(lease.bytes()));
        Ok((form, records, lease))
    }

    /// What a body was before it was compressed, in a slab of its own.
    fn inflate(&self, slab: Slab, compression: Compression) -> Result<Slab, Refusal> {
        if compression == Compression::None || slab.is_empty() {
            return Ok(slab);
        }
        let limits = Limits { bytes: self.rules.max_body, ..Limits::default() };
        let mut into = self.slab(slab.len())?;
        let mut refusal = None;
        let unpacked = decompress_to(compression, &slab, limits, &mut |part| match self.put(&mut into, part, None) {
            Ok(()) => true,
            Err(refused) => {
                refusal = Some(refused);
                false
            }
        });
        match (unpacked, refusal) {
            (Ok(()), _) => Ok(into.freeze()),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error @ (DecompressError::Broken(_) | DecompressError::NotTaken)), None) => {
                self.counts.malformed.add(1);
                Err(Refusal::of(StatusCode::BAD_REQUEST, error.to_string()))
            }
            (Err(error @ (DecompressError::TooLarge(_) | DecompressError::TooDense(_))), None) => {
                Err(self.too_large(error.to_string()))
            }
        }
    }

    fn slab(&self, bytes: usize) -> Result<SlabBuf, Refusal> {
        self.given.pool.slab(bytes).map_err(|refused| self.no_memory(refused))
    }

    fn no_memory(&self, refused: OverBudget) -> Refusal {
        match refused {
            OverBudget::Never => self.too_large("a body of more than there is memory for".to_owned()),
            OverBudget::Busy => {
                self.counts.refused_early.add(1);
                Refusal::over("no memory for another body now".to_owned(), RETRY_SECONDS)
            }
        }
    }

    fn too_large(&self, text: String) -> Refusal {
        self.counts.too_large.add(1);
        Refusal::of(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    fn faulty(&self, fault: &Fault) -> Refusal {
        match fault {
            Fault::TooMany => self.too_large(fault.to_string()),
            Fault::Malformed(text) => {
                self.counts.malformed.add(1);
                Refusal::of(StatusCode::BAD_REQUEST, text.clone())
            }
        }
    }

    /// All is well. What a policy gave up is said.
    fn accepted(&self, counts: OutcomeCounts) -> Answer {
        let shed = counts.get(Outcome::Shed) + counts.get(Outcome::Expired);
        let text = if shed.is_zero() {
            String::new()
        } else {
            format!("{{\"accepted\":{},\"shed\":{}}}\n", counts.total().get(), shed.get())
        };
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        *answer.status_mut() = self.rules.ok;
        answer
    }

    pub(super) fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn late(&self) -> MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in, or says when to try again. Its body has not been read.
    fn begin(self: &Arc<Self>) -> Result<Passage, Refusal> {
        Passage::begin(self).map_err(|seconds| {
            self.counts.refused_early.add(1);
            Refusal::over("what is ahead would take too long".to_owned(), seconds)
        })
    }
}

/// Why a request is not accepted.
struct Refusal {
    status: StatusCode,
    text: String,
    retry_seconds: Option<u64>,
}

impl Refusal {
    fn of(status: StatusCode, text: String) -> Self {
        Self { status, text, retry_seconds: None }
    }

    /// Too much at the moment.
    fn over(text: String, seconds: u64) -> Self {
        Self { retry_seconds: Some(seconds), ..Self::of(StatusCode::TOO_MANY_REQUESTS, text) }
    }

    /// It was tried, and should be tried again.
    fn again(text: String, seconds: u64) -> Self {
        Self { retry_seconds: Some(seconds), ..Self::of(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    fn answer(self) -> Answer {
        let mut answer = Response::new(Full::new(Bytes::from(self.text + "\n")));
        *answer.status_mut() = self.status;
        if let Some(seconds) = self.retry_seconds {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tidegate\""));
        }
        answer
    }
}

impl Rules {
    fn of(config: &HttpServer) -> Result<Self, StartError> {
        let named = |name: &String| {
            HeaderName::try_from(name).map_err(|_| StartError::new(format!("`headers`: \"{name}\" cannot be a header")))
        };
        let credentials = |auth: &Auth| {
            let encoded =
                base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", auth.username, auth.password));
            format!("Basic {encoded}")
        };
        Ok(Self {
            path: config.path.clone(),
            is_strict: config.strict_path,
            method: match config.method {
                super::Method::Post => Method::POST,
                super::Method::Put => Method::PUT,
                super::Method::Patch => Method::PATCH,
            },
            authorization: config.auth.as_ref().map(credentials),
            cut: config.cut(),
            headers: config.headers.iter().map(named).collect::<Result<_, _>>()?,
            path_key: config.path_key.as_str().into(),
            ok: StatusCode::from_u16(config.response_code).unwrap_or(StatusCode::OK),
            max_body: config.max_body_bytes.as_len(),
            ack_timeout: config.ack_timeout.get(),
            read_timeout: config.read_timeout.get(),
            connections: config.connection_limit as usize,
        })
    }

    /// Whether a request is meant for us, by its head.
    fn check(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let path = request.uri().path();
        let is_ours = if self.is_strict { path == self.path } else { path.starts_with(&self.path) };
        if !is_ours {
            return Err(Refusal::of(StatusCode::NOT_FOUND, format!("send to {}", self.path)));
        }
        if request.method() != self.method {
            return Err(Refusal::of(StatusCode::METHOD_NOT_ALLOWED, format!("send with {}", self.method)));
        }
        let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        match &self.authorization {
            Some(wanted) if !given.is_some_and(|given| are_equal(given, wanted.as_bytes())) => {
                Err(Refusal::of(StatusCode::UNAUTHORIZED, "who are you?".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn origin(&self, peer: SocketAddr, request: &Request<Incoming>) -> Origin {
        let origin = Origin::new("http_server", wall_time()).with_host(peer.ip().to_string());
        let origin = origin.with_field(Arc::clone(&self.path_key), JsonText::string(request.uri().path()));
        self.headers.iter().fold(origin, |origin, name| match request.headers().get(name).map(HeaderValue::as_bytes) {
            Some(value) => origin.with_field(name.as_str(), JsonText::string(&String::from_utf8_lossy(value))),
            None => origin,
        })
    }
}

/// Takes as long whatever the first difference is.
fn are_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
}

fn compression_of(request: &Request<Incoming>) -> Result<Compression, Refusal> {
    let Some(name) = request.headers().get(CONTENT_ENCODING) else { return Ok(Compression::None) };
    name.to_str().ok().and_then(Compression::from_content_encoding).ok_or_else(|| {
        let text = "this Content-Encoding is not known; gzip, deflate and zstd are".to_owned();
        Refusal::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    })
}
