//! [`HttpSink`]: one request at a time, for each batch one.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use tidegate_flow::{Bytes as FlowBytes, Meta, Nack};
use tidegate_record::codec::Encoder;
use tidegate_record::codec::compress::{Compression, compress_into, compressed_most};
use tidegate_runtime::{Accepted, Sink, SinkContext};

use super::answer::{self, Meaning};
use super::client::Client;
use crate::Rows;
use crate::ids::{IDS_HEADER, IDS_MOST_BYTES, ids_header};
use crate::sinks::desk::{Desk, Sheet};

/// What all requests of a sink have in common.
pub(super) struct Requests {
    pub(super) client: Client,
    pub(super) uri: Uri,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) encoder: Encoder,
    /// Written before and behind the records.
    pub(super) around: (String, String),
    pub(super) compression: Compression,
    /// Further statuses that are worth another try.
    pub(super) later: Vec<u16>,
    /// Whether requests say by what their records are known.
    pub(super) names_records: bool,
}

/// The most that is read of the body of an answer; more costs the connection.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// One of the sinks of a pool.
pub(super) struct HttpSink {
    requests: Arc<Requests>,
    desk: Desk,
    /// How long the receiver asked to be left alone, in its last answer.
    asked: Option<Duration>,
}

impl HttpSink {
    /// So many sinks that share their connections; `usual` is what the body of a request takes.
    pub(super) fn pool(requests: Requests, usual: FlowBytes, size: usize) -> Vec<Self> {
        let requests = Arc::new(requests);
        (0..size.max(1))
            .map(|_| Self { requests: Arc::clone(&requests), desk: Desk::new(usual), asked: None })
            .collect()
    }

    /// What the answer says.
    async fn judge(&mut self, answer: Response<Incoming>) -> Result<Accepted, Nack> {
        let status = answer.status();
        self.asked = answer::retry_after(answer.headers(), Utc::now());
        let meaning = answer::meaning(status, &self.requests.later);
        // Read to its end, so that the connection can be used again.
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        if meaning == Meaning::Accepted {
            return Ok(Accepted::All);
        }
        let said = body.map(|body| answer::excerpt(&body.to_bytes())).unwrap_or_default();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let cause = format!("{} answered {status}{said}", self.requests.receiver());
        match meaning {
            Meaning::Accepted => Ok(Accepted::All),
            Meaning::Later => Err(Nack::transient(cause)),
            Meaning::BadBatch => Err(Nack::permanent(cause)),
            Meaning::BadRequest => {
                let help = "no record would be accepted: check `uri`, `method`, `headers` and `auth`, or the receiver";
                Err(Nack::transient(format!("{cause} ({help})")))
            }
        }
    }
}

impl Requests {
    /// Who the receiver is, without what may be secret in an address.
    fn receiver(&self) -> String {
        let (scheme, host) = (self.uri.scheme_str().unwrap_or_default(), self.uri.host().unwrap_or_default());
        let port = self.uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{}", self.uri.path())
    }

    /// The most that the body of a request with these records takes: as text, and while it is compressed as both.
    fn body_most(&self, rows: &Rows) -> (usize, usize) {
        let around = self.around.0.len() + self.around.1.len();
        let header = if self.names_records { IDS_MOST_BYTES } else { 0 };
        let text = rows.encoded_most(self.encoder).saturating_add(around).saturating_add(header);
        (text, if self.compression == Compression::None { 0 } else { compressed_most(text) })
    }

    /// Makes the sheet hold the body of a request.
    fn write_body(&self, rows: &Rows, packed_most: usize, sheet: &mut Sheet) -> Result<(), Nack> {
        let text = &mut sheet.buffer;
        text.extend_from_slice(self.around.0.as_bytes());
        rows.encode(self.encoder, text);
        text.extend_from_slice(self.around.1.as_bytes());
        if self.compression != Compression::None {
            let packed = compress_into(self.compression, text, Vec::with_capacity(packed_most));
            let mut packed = packed.map_err(|error| Nack::transient(error.to_string()))?;
            packed.shrink_to_fit();
            sheet.replace(packed);
        }
        Ok(())
    }

    async fn send(&self, body: Bytes, ids: Option<HeaderValue>) -> Result<Response<Incoming>, Nack> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(ids) = ids {
            request.headers_mut().insert(IDS_HEADER, ids);
        }
        self.client
            .request(request)
            .await
            .map_err(|error| Nack::transient(format!("no answer from {}: {}", self.receiver(), with_causes(&error))))
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Sink<Rows> for HttpSink {
    fn open(&mut self, cx: SinkContext) {
        self.desk.open(cx);
    }

    fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.desk.poll_memory(task)
    }

    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        self.asked = None;
        if payload.is_empty() {
            return Ok(Accepted::All);
        }
        let requests = Arc::clone(&self.requests);
        let (text, packed) = requests.body_most(payload);
        let mut sheet = self.desk.take(text, packed, payload.len())?;
        if let Err(nack) = requests.write_body(payload, packed, &mut sheet) {
            self.desk.put_back(sheet);
            return Err(nack);
        }
        let body = Bytes::from(std::mem::take(&mut sheet.buffer));
        // What pays for the body stays in the sheet until the request is over.
        let ids = if requests.names_records { ids_header(payload) } else { None };
        let answer = requests.send(body, ids.and_then(|ids| ids.parse().ok())).await;
        self.desk.put_back(sheet);
        self.judge(answer?).await
    }

    fn release(&mut self) {
        self.desk.clear();
    }

    fn retry_after(&mut self) -> Option<Duration> {
        self.asked.take()
    }
}
