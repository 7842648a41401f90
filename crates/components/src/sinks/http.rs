//! `http`: sends batches of records as HTTP requests.
//!
//! * **Accepted** means that the receiver answered with a status from 200 to 299. What it does then is its own affair.
//! * **Blocks** while as many requests are under way as `request.concurrency` allows, and while the receiver asks for a
//!   pause (429 or 503 with `Retry-After`, or any answer that is worth another try).
//! * **Sheds** nothing.
//! * **Settles** a batch when it was answered. A batch that is refused with 400, 409, 413 or 422 is halved until what is
//!   wrong with it is alone, and that is refused for good: it goes to the dead letters of the sink, which are a file in the
//!   data directory unless `dead_letter` says otherwise or every source before it tells its sender. Any other answer is
//!   tried again, with pauses that grow: 408, 429 and 5xx because they pass, and 401, 403, 404, 405, a redirect and the
//!   like because no record is at fault but the address, the method, the headers or the credentials, which somebody has to
//!   mend. So are timeouts and broken connections, where the receiver may then get the records twice.
//! * **Completes** with its input, when every request was answered.
//! * **Fails** never.
//!
//! The header `Tidegate-Ids` says by what the records of a request are known, in their order: the same for a record however
//! often it is sent, in whatever request, before and after a restart of a source that can read again. A receiver that
//! keeps them can be idempotent: it has a record of a stream and a number once. `1,Bv..9:100*3,+2` are the records 100, 101,
//! 102 and 104 of the stream `Bv..9`; numbers of a stream only grow. In full: `*` and how many follow each other, `+` and
//! how far behind the one before, `.1`, `.2` for the parts of a record that became several, `$0` for the first stream that
//! was named, `_` for a record that has no id. Where all that takes more than 4 KiB (about a thousand records that are not
//! neighbours), the ids are those of the whole request, and only the very same request can be known again. The source
//! `http_server` takes the header, and `dedupe` with `by: id` behind it filters what came before.
//!
//! Holds one encoded batch for each request under way, and while it is compressed that twice: charged before the batch is
//! taken, and reserved for one request. Where there is no memory for as many requests as `request.concurrency` allows, fewer
//! are under way. Proxies are not used, and redirects not followed.

mod answer;
mod auth;
mod client;
mod sink;

use std::collections::BTreeMap;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method as HttpMethod, Uri};
use rustls::pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::mib;
use tidegate_record::codec::{Codec, EncodeFraming, Encoder, compress};
use tidegate_runtime::BatchLimits;

pub use self::auth::Auth;
use self::sink::{HttpSink, Requests};
use super::encode::{JSON_OPTIONS, METRIC_TAGS, TIMES, with_fields};
use crate::contract::page::page;
use crate::contract::{Check, Ignored, SinkConfig, SinkKind, StartError};
use crate::options::{Acknowledgements, Batch, Encoding, EncodingCodec, Healthcheck, Request, SinkFraming, Tls};
use crate::wiring::SinkSlot;

/// The entry of the list.
pub const KIND: SinkKind = SinkKind::of::<Http>("http", "Sends batches of records as HTTP requests.", EXAMPLE)
    .page(page!("http.rs"))
    .ignores(&[
        Ignored { key: "proxy", why: "requests go straight to the address" },
        Ignored { key: "content_type", why: "it follows from `encoding` and `framing`; a header can say otherwise" },
        Ignored { key: "healthcheck.uri", why: "nothing is sent before the first records are" },
        Ignored { key: "request.adaptive_concurrency", why: "`request.concurrency` is a fixed number for now" },
        Ignored { key: "request.rate_limit_num", why: "a transform `throttle` before the sink limits the records" },
        Ignored { key: "request.rate_limit_duration_secs", why: "there is no limit of requests in a time yet" },
        Ignored {
            key: "retry_strategy",
            why: "all statuses are tried again but those that blame the records; `retry_statuses` adds those",
        },
        Ignored { key: "tls.alpn_protocols", why: "HTTP/2 and HTTP/1.1 are offered" },
        TIMES,
        METRIC_TAGS,
        JSON_OPTIONS,
    ])
    .lacks(&[Ignored { key: "tls.key_pass", why: "write the key to a file without a password" }]);

const EXAMPLE: &str = "\
type: http
uri: https://logs.example.com/ingest
encoding:
  codec: json
compression: gzip
auth:
  strategy: bearer
  token: secret
request:
  concurrency: 4
";

/// Sends batches of records as HTTP requests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where to, with `http://` or `https://`.
    pub uri: String,
    /// With which method. Default: `post`.
    #[serde(default)]
    pub method: Method,
    /// How a record is written. Default: as JSON.
    #[serde(default)]
    pub encoding: Encoding,
    /// How records are told apart. Default: an array of JSON with the codec `json`, a newline behind each otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<SinkFraming>,
    /// Written before the records of a request. Default: nothing.
    #[serde(default)]
    pub payload_prefix: String,
    /// Written behind the records of a request. Default: nothing.
    #[serde(default)]
    pub payload_suffix: String,
    /// How a request is compressed. Default: not at all.
    #[serde(default)]
    pub compression: Compression,
    /// Further headers, by name. Those under `request.headers` are sent too.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// How the connection is secured, with `https://`.
    #[serde(default)]
    pub tls: Tls,
    /// How the receiver is told by what records are known. Default: with a header.
    #[serde(default)]
    pub record_ids: RecordIds,
    /// Whether the receiver keeps the ids of `record_ids` and takes each record once. Nothing is sent otherwise because of
    /// it: `explain` believes it, and says what then holds. Default: no.
    #[serde(default)]
    pub idempotent: bool,
    /// Statuses that are worth another try, beyond those that are anyway: 409 where conflicts pass, for example.
    #[serde(default)]
    pub retry_statuses: Vec<u16>,
    /// How much goes into a request. Default: 1 MiB, or what came in 1 s; less where no request is under way.
    #[serde(default)]
    pub batch: Batch,
    /// How many requests are under way, and how they are tried again.
    #[serde(default)]
    pub request: Request,
    /// Whether sources wait for it.
    #[serde(default)]
    pub acknowledgements: Acknowledgements,
    /// Whether it is tried before the pipeline starts.
    #[serde(default)]
    pub healthcheck: Healthcheck,
}

/// The methods.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// `POST`.
    #[default]
    #[serde(alias = "POST")]
    Post,
    /// `PUT`.
    #[serde(alias = "PUT")]
    Put,
    /// `PATCH`.
    #[serde(alias = "PATCH")]
    Patch,
}

/// How the receiver is told by what records are known.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordIds {
    /// With the header `Tidegate-Ids`, of at most 4 KiB.
    #[default]
    Header,
    /// Not at all.
    None,
}

/// How requests are compressed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, level 6.
    Gzip,
    /// zlib (`deflate`), level 6.
    Zlib,
    /// Zstandard, level 3.
    Zstd,
}

impl From<Compression> for compress::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Zlib => Self::Zlib,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// Something that cannot be, and the key that says it.
type Fault = (String, StartError);

fn fault(key: impl Into<String>, text: impl Into<String>) -> Fault {
    (key.into(), StartError::new(text))
}

impl Http {
    fn encoder(&self) -> Encoder {
        match (&self.framing, self.encoding.codec) {
            (Some(framing), _) => self.encoding.encoder(framing),
            (None, EncodingCodec::Json) => Encoder { codec: Codec::Json, framing: EncodeFraming::JsonArray },
            (None, EncodingCodec::Text | EncodingCodec::RawMessage) => self.encoding.encoder(&SinkFraming::default()),
        }
    }

    fn address(&self) -> Result<Uri, Fault> {
        let uri: Uri = self.uri.parse().map_err(|error| {
            let (key, text) = fault("uri", format!("\"{}\" is no address: {error}", self.uri));
            (key, text.help("write it like \"https://logs.example.com/ingest\""))
        })?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
            _ => {
                let (key, text) =
                    fault("uri", format!("\"{}\" does not begin with http:// or https:// and a host", self.uri));
                Err((key, text.help("write it like \"https://logs.example.com/ingest\"")))
            }
        }
    }

    fn header_map(&self) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION"))));
        let encoder = self.encoder();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(match (encoder.codec, encoder.framing) {
                (Codec::Json, EncodeFraming::JsonArray) => "application/json",
                (Codec::Json, _) => "application/x-ndjson",
                (Codec::Text, _) => "text/plain",
            }),
        );
        if let Some(name) = compress::Compression::from(self.compression).content_encoding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        if let Some(auth) = &self.auth {
            headers.insert(hyper::header::AUTHORIZATION, auth.header().map_err(|error| ("auth".to_owned(), error))?);
        }
        let plain = self.headers.iter().map(|header| ("headers", header));
        let requests = self.request.headers.iter().map(|header| ("request.headers", header));
        for (table, (name, value)) in plain.chain(requests) {
            let key = || format!("{table}.{name}");
            let header: HeaderName =
                name.parse().map_err(|_| fault(key(), format!("\"{name}\" is no name of a header")))?;
            let value = value.parse::<HeaderValue>();
            headers
                .insert(header, value.map_err(|_| fault(key(), "its value has characters that no header can have"))?);
        }
        Ok(headers)
    }

    fn faults(&self) -> Vec<Fault> {
        [self.address().err(), self.header_map().err(), self.server_name().err()].into_iter().flatten().collect()
    }

    fn server_name(&self) -> Result<Option<ServerName<'static>>, Fault> {
        let parse = |name: &String| {
            ServerName::try_from(name.clone())
                .map_err(|_| fault("tls.server_name", format!("\"{name}\" is no name of a host")))
        };
        self.tls.server_name.as_ref().map(parse).transpose()
    }

    fn limits(&self) -> BatchLimits {
        let defaults = BatchLimits::records(65_536).bytes(mib(1)).linger(std::time::Duration::from_secs(1));
        self.batch.limits(defaults)
    }
}

impl SinkConfig for Http {
    fn check(&self, at: &mut Check<'_>) {
        at.under("encoding", |at| self.encoding.check(at));
        if let Some(framing) = &self.framing {
            at.under("framing", |at| framing.check(at));
        }
        at.under("batch", |at| self.batch.check(at));
        at.under("request", |at| self.request.check(at));
        if self.idempotent && self.record_ids == RecordIds::None {
            at.refuse(
                "idempotent",
                "the receiver cannot know records that are sent again: `record_ids: none` sends no ids",
            )
            .help("leave out one of the two");
        }
        let client = client::settings(&self.tls).err().map(|(key, error)| (format!("tls.{key}"), error));
        for (key, error) in self.faults().into_iter().chain(client) {
            let problem = at.refuse(&key, error.text);
            if let Some(help) = error.help {
                problem.help(help);
            }
        }
        for (number, status) in self.retry_statuses.iter().enumerate() {
            if !(300..=599).contains(status) {
                at.refuse(&format!("retry_statuses[{number}]"), format!("{status} is no status that refuses anything"))
                    .help("write statuses from 300 to 599");
            }
        }
    }

    fn compresses(&self) -> bool {
        self.compression != Compression::None
    }

    fn accepted(&self) -> &'static str {
        "answered with a status from 200 to 299"
    }

    fn required(&self) -> bool {
        self.acknowledgements.enabled
    }

    fn receiver_is_idempotent(&self) -> bool {
        self.idempotent && self.record_ids == RecordIds::Header
    }

    fn repeats(&self) -> Option<&'static str> {
        Some("an answer of the receiver was lost, late or an error though it had the records")
    }

    fn refuses_records(&self) -> bool {
        true
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        let named = |(key, error): Fault| StartError { text: format!("`{key}`: {}", error.text), help: error.help };
        let tls = client::settings(&self.tls).map_err(|(key, error)| named((format!("tls.{key}"), error)))?;
        let client = client::build(tls, self.server_name().map_err(named)?);
        let requests = Requests {
            client,
            uri: self.address().map_err(named)?,
            method: match self.method {
                Method::Post => HttpMethod::POST,
                Method::Put => HttpMethod::PUT,
                Method::Patch => HttpMethod::PATCH,
            },
            headers: self.header_map().map_err(named)?,
            encoder: self.encoder(),
            around: (self.payload_prefix.clone(), self.payload_suffix.clone()),
            compression: self.compression.into(),
            later: self.retry_statuses.clone(),
            names_records: self.record_ids == RecordIds::Header,
        };
        let limits = self.limits();
        let packs = self.compression != Compression::None;
        let usual = if packs { limits.bytes + limits.bytes } else { limits.bytes };
        let slot = with_fields(slot, &self.encoding).batch(limits).encoding(usual);
        let pool = HttpSink::pool(requests, usual, self.request.concurrency.get() as usize);
        slot.sinks(self.request.policy(), pool);
        Ok(())
    }
}
