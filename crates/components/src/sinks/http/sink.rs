//! [`HttpSink`]: one request at a time, for each batch one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, Uri};
use tidegate_flow::{Meta, Nack};
use tidegate_record::codec::Encoder;
use tidegate_record::codec::compress::{Compression, compress};
use tidegate_runtime::{Accepted, Sink};

use super::answer::{self, Meaning};
use super::client::Client;
use crate::Rows;

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
}

/// The most that is read of the body of an answer; more costs the connection.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// One of the sinks of a pool.
pub(super) struct HttpSink {
    requests: Arc<Requests>,
    /// How long the receiver asked to be left alone, in its last answer.
    asked: Option<Duration>,
}

impl HttpSink {
    /// So many sinks that share their connections.
    pub(super) fn pool(requests: Requests, size: usize) -> Vec<Self> {
        let requests = Arc::new(requests);
        (0..size.max(1)).map(|_| Self { requests: Arc::clone(&requests), asked: None }).collect()
    }

    /// What the answer says.
    async fn judge(&mut self, answer: Response<Incoming>, records: usize) -> Result<Accepted, Nack> {
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
                let nack = Nack::permanent(cause);
                let every = (0..records).map(|row| (u32::try_from(row).unwrap_or(u32::MAX), nack.clone()));
                Ok(Accepted::all_but(every.collect()))
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

    fn body(&self, rows: &Rows) -> Result<Bytes, Nack> {
        let mut text = self.around.0.clone().into_bytes();
        rows.encode(self.encoder, &mut text);
        text.extend_from_slice(self.around.1.as_bytes());
        if self.compression == Compression::None {
            return Ok(text.into());
        }
        let packed = compress(self.compression, &text);
        packed.map(Bytes::from).map_err(|error| Nack::transient(error.to_string()))
    }

    async fn send(&self, rows: &Rows) -> Result<Response<Incoming>, Nack> {
        let mut request = Request::new(Full::new(self.body(rows)?));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
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
    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        self.asked = None;
        if payload.is_empty() {
            return Ok(Accepted::All);
        }
        let requests = Arc::clone(&self.requests);
        let answer = requests.send(payload).await?;
        self.judge(answer, payload.len()).await
    }

    fn retry_after(&mut self) -> Option<Duration> {
        self.asked.take()
    }
}
