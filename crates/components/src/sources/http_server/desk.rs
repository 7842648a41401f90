//! [`Desk`]: a request, from its head to its answer: its body is read into a slab that is paid for, cut, handed over, and
//! answered when its records are safe.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response, StatusCode};
use tidegate_flow::{Bytes as FlowBytes, Lease, Outcome, OutcomeCounts, OverBudget, Slab, SlabBuf};
use tidegate_record::codec::compress::{Compression, DecompressError, Limits, decompress_to};
use tidegate_record::{Form, RecordId};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::admission::Admission;
use super::body::{self, Fault};
use super::passage::{Late, Passage};
use super::refusal::{Answer, Refusal};
use super::requests::{Given, Ids, Meeting, Parcel, Reply, Verdict};
use super::rules::{Rules, Said, compression_of};
use super::silent::{Line, Silent};
use crate::contract::{BuildContext, Counter};
use crate::ids::IDS_MOST_BYTES;

/// In how many seconds to try again, where nothing better is known.
const RETRY_SECONDS: u64 = 1;

/// What every connection works with.
pub(super) struct Desk {
    pub(super) rules: Rules,
    pub(super) counts: Counts,
    meeting: Meeting,
    pub(super) given: Given,
    admission: Mutex<Admission>,
    late: Mutex<Late>,
    /// For connections.
    pub(super) places: Arc<Semaphore>,
    /// Connections that nobody speaks on.
    pub(super) silent: Silent,
    /// Whether connections end after the answer at hand.
    pub(super) closing: watch::Sender<bool>,
}

pub(super) struct Counts {
    pub(super) opened: Counter,
    pub(super) not_accepted: Counter,
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
    /// Connections that made room for others.
    pub(super) given_up: Counter,
    /// Requests whose ids were not those of their records.
    wrong_ids: Counter,
}

impl Counts {
    pub(super) fn new(node: &Arc<str>, cx: &BuildContext) -> Self {
        let counter = |name| cx.meters.counter(node, name);
        Self {
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
            given_up: counter("connections_given_up"),
            wrong_ids: counter("requests_with_wrong_ids"),
        }
    }

    /// A connection ended so, before the head of a request was whole.
    pub(super) fn no_request(&self, error: Option<hyper::Error>) {
        match error {
            Some(error) if error.is_timeout() => self.late.add(1),
            Some(error) if error.is_parse() => self.broken.add(1),
            _ => {}
        }
    }
}

impl Desk {
    pub(super) fn new(rules: Rules, counts: Counts, meeting: Meeting, given: Given) -> Self {
        let admission = Mutex::new(Admission::new(rules.ack_timeout));
        let places = Arc::new(Semaphore::new(rules.connections.min(Semaphore::MAX_PERMITS)));
        let (late, silent, closing) = (Mutex::default(), Silent::default(), watch::Sender::new(false));
        Self { rules, counts, meeting, given, admission, late, places, silent, closing }
    }

    pub(super) async fn answer(self: Arc<Self>, peer: SocketAddr, request: Request<Incoming>, line: &Line) -> Answer {
        let taken = self.take(peer, request, line).await;
        line.is_listened_to(self.given.clock.now());
        match taken {
            Ok(counts) => self.accepted(counts),
            Err(refusal) => refusal.answer(),
        }
    }

    /// Takes a request, from its head to the verdict on its records.
    async fn take(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: Request<Incoming>,
        line: &Line,
    ) -> Result<OutcomeCounts, Refusal> {
        self.rules.check(&request)?;
        let compression = compression_of(&request)?;
        let length = request.body().size_hint().exact();
        if length.is_some_and(|length| length > self.rules.max_body as u64) {
            return Err(self.too_large(format!("a body of more than {} bytes", self.rules.max_body)));
        }
        let mut passage = self.begin()?;
        let origin = Arc::new(self.rules.origin(peer, &request));
        let said = self.rules.ids(&request);
        let slab = self.read(request.into_body(), length, line).await?;
        line.is_answered();
        let slab = self.inflate(slab, compression)?;
        passage.read(slab.len());
        self.counts.bytes.add(slab.len() as u64);
        let (form, records, lease) = self.list(&slab)?;
        self.counts.requests.add(1);
        if records.is_empty() {
            return Ok(OutcomeCounts::default());
        }
        let (reply, count) = (Reply::default(), records.len() as u64);
        let ids = self.ids(said, &slab, records.len())?;
        let parcel = Parcel { body: slab, form, records: records.into(), ids, lease, origin, reply: reply.clone() };
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

    /// By what so many records of a body are known, as far as the sender said so.
    fn ids(&self, said: Option<Said>, body: &[u8], records: usize) -> Result<Ids, Refusal> {
        match said {
            None => Ok(Ids::Own),
            Some(Said::Key(key)) => Ok(Ids::Of(RecordId::new(key.stream(body), 0))),
            Some(Said::List(Ok(list))) if list.count() as usize == records => {
                let bytes = FlowBytes::from(2 * IDS_MOST_BYTES);
                let lease = self.given.holding.lease(bytes).map_err(|refused| self.no_memory(refused))?;
                Ok(Ids::Listed(Box::new(list), lease))
            }
            Some(Said::List(_)) => {
                self.counts.wrong_ids.add(1);
                Ok(Ids::Own)
            }
        }
    }

    /// Reads a body into a slab that is paid for before it is filled.
    async fn read(&self, mut body: Incoming, length: Option<u64>, line: &Line) -> Result<Slab, Refusal> {
        let reading = async {
            // What is said to come is not paid for before it comes: who says much and sends little would hold much.
            let mut slab = None;
            while let Some(frame) = body.frame().await {
                let broken = |error: hyper::Error| {
                    self.counts.broken.add(1);
                    Refusal::of(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
                };
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                line.is_listened_to(self.given.clock.now());
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
