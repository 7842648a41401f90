//! [`Rules`]: what the configuration says about requests, and whether one is meant for us by its head.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use siphasher::sip128::SipHasher13;
use tidegate_record::codec::compress::Compression;
use tidegate_record::{IdList, InvalidIds, JsonText, Origin, StreamId};

use super::body::{Cut, MOST_RECORDS};
use super::refusal::Refusal;
use super::{Auth, HttpServer};
use crate::clock::wall_time;
use crate::contract::StartError;
use crate::ids::{IDS_HEADER, IDS_MOST_BYTES};

/// What a sender says about the ids of its records.
pub(super) enum Said {
    /// A key of the request: its records are counted under it and their body.
    Key(Key),
    /// The id of each.
    List(Result<IdList, InvalidIds>),
}

/// A key that a sender gave to a request, and the path of it.
pub(super) struct Key {
    path: String,
    key: HeaderValue,
}

impl Key {
    /// The stream of the records in this body, after decompression: the same for the same request alone. Clients do not
    /// know the keys of one another, and two of them may well begin with "1".
    pub(super) fn stream(&self, body: &[u8]) -> StreamId {
        let digest = SipHasher13::new().hash(body).as_bytes();
        StreamId::of(&[b"idempotency-key", self.path.as_bytes(), self.key.as_bytes(), &digest])
    }
}

/// What the configuration says about requests.
pub(super) struct Rules {
    path: String,
    is_strict: bool,
    method: Method,
    /// The value of `Authorization` that is asked for.
    authorization: Option<String>,
    pub(super) cut: Cut,
    headers: Vec<HeaderName>,
    takes_ids: bool,
    path_key: Arc<str>,
    pub(super) ok: StatusCode,
    pub(super) max_body: usize,
    pub(super) ack_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) connections: usize,
}

impl Rules {
    pub(super) fn of(config: &HttpServer) -> Result<Self, StartError> {
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
            takes_ids: config.record_ids == super::RecordIds::FromSender,
            path_key: config.path_key.as_str().into(),
            ok: StatusCode::from_u16(config.response_code).unwrap_or(StatusCode::OK),
            max_body: config.max_body_bytes.as_len(),
            ack_timeout: config.ack_timeout.get(),
            read_timeout: config.read_timeout.get(),
            connections: config.connection_limit as usize,
        })
    }

    /// Whether a request is meant for us, by its head.
    pub(super) fn check(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
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

    /// What the sender says about the ids of its records.
    pub(super) fn ids(&self, request: &Request<Incoming>) -> Option<Said> {
        let header = |name: &str| request.headers().get(name).filter(|_| self.takes_ids);
        if let Some(list) = header(IDS_HEADER) {
            let text = list.to_str().ok().filter(|text| text.len() <= IDS_MOST_BYTES);
            let most = u32::try_from(MOST_RECORDS).unwrap_or(u32::MAX);
            return Some(Said::List(text.ok_or(InvalidIds::Version).and_then(|text| IdList::parse(text, most))));
        }
        let key = header("idempotency-key")?;
        Some(Said::Key(Key { path: request.uri().path().to_owned(), key: key.clone() }))
    }

    pub(super) fn origin(&self, peer: SocketAddr, request: &Request<Incoming>) -> Origin {
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

pub(super) fn compression_of(request: &Request<Incoming>) -> Result<Compression, Refusal> {
    let Some(name) = request.headers().get(CONTENT_ENCODING) else { return Ok(Compression::None) };
    name.to_str().ok().and_then(Compression::from_content_encoding).ok_or_else(|| {
        let text = "this Content-Encoding is not known; gzip, deflate and zstd are".to_owned();
        Refusal::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    })
}
